"""Makes copies of a bundle's two networks that sherpa-onnx accepts: `sherpa_networks.py BUNDLE FOLDER`.

sherpa-onnx reads geometry from metadata inside the ONNX files. It also gives the speaker network whole chunks of up
to 10 s, while the starter bundle's CAM++ is the short form, for at most 200 frames: there the context of each gate
is twice the mean over the input. The copy gets the long form back: the mean over the input plus the mean over the
100 steps around (segments counted from the start, the last one as long as it is).
"""

import json
import os
import sys
from pathlib import Path

import onnx
from onnx import helper

SEGMENT_STEPS = 100
"""`seg_len` of the published CAM++, in steps after its stride-2 convolution."""


def with_metadata(model, pairs):
    """Replaces the model's metadata."""
    del model.metadata_props[:]
    for key, value in pairs.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, str(value)
    return model


def lengthened(model):
    """Turns `mean + mean` of every gate into `mean + mean of the segment`; returns how many gates there were."""
    graph = model.graph
    means = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "ReduceMean"}
    nodes, gates = [], 0
    for node in graph.node:
        if node.op_type == "Add" and node.input[0] == node.input[1] and node.input[0] in means:
            mean, inner = node.input[0], means[node.input[0]]
            if not gates:
                nodes += _segment_of_each_step(inner)
            pooled, repeated = f"segment_mean_{gates}", f"segment_mean_of_step_{gates}"
            nodes += [
                helper.make_node(
                    "AveragePool", [inner], [pooled], kernel_shape=[SEGMENT_STEPS], strides=[SEGMENT_STEPS], ceil_mode=1
                ),
                helper.make_node("Gather", [pooled, "segment_of_step"], [repeated], axis=2),
                helper.make_node("Add", [mean, repeated], list(node.output)),
            ]
            gates += 1
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    return gates


def _segment_of_each_step(like):
    """Nodes for `segment_of_step`: 0 for the first 100 steps of `like`, then 1, and so on."""
    scalars = {"lengthen_zero": 0, "lengthen_one": 1, "lengthen_axis": 2, "lengthen_segment": SEGMENT_STEPS}
    constants = [
        helper.make_node("Constant", [], [name], value=helper.make_tensor(name, onnx.TensorProto.INT64, [], [value]))
        for name, value in scalars.items()
    ]
    return constants + [
        helper.make_node("Shape", [like], ["lengthen_shape"]),
        helper.make_node("Gather", ["lengthen_shape", "lengthen_axis"], ["lengthen_steps"]),
        helper.make_node("Range", ["lengthen_zero", "lengthen_steps", "lengthen_one"], ["lengthen_range"]),
        helper.make_node("Div", ["lengthen_range", "lengthen_segment"], ["segment_of_step"]),
    ]


def main():
    bundle, folder = Path(sys.argv[1]), Path(sys.argv[2])
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    geometry, speaker = manifest["segmentation"], manifest["embedding"]
    if speaker["feature"]["taper"] != "povey" or speaker["kind"]["kind"] != "windowed":
        sys.exit("sherpa-onnx is compared on the starter bundle's networks: this bundle has other ones")

    segmentation = with_metadata(
        onnx.load(bundle / geometry["file"]),
        {
            "model_type": "pyannote-segmentation-3.0",
            "version": 1,
            "sample_rate": geometry["sample_rate_hz"],
            "num_speakers": geometry["local_speakers"],
            "powerset_max_classes": geometry["simultaneous_speakers"],
            "num_classes": 7,
            "window_size": geometry["window_samples"],
            "receptive_field_size": geometry["receptive_field_samples"],
            "receptive_field_shift": geometry["frame_step_samples"],
        },
    )
    network = onnx.load(bundle / speaker["kind"]["file"])
    gates = lengthened(network)
    print(f"speaker network: {gates} gates given their segments back" if gates else "speaker network: the long form")
    with_metadata(
        network,
        {
            "framework": "3d-speaker",
            "language": "Chinese-English",
            "sample_rate": geometry["sample_rate_hz"],
            "output_dim": speaker["dimension"],
            "normalize_samples": int(speaker["feature"]["sample_scale"] == 1.0),
            "feature_normalize_type": "global-mean",
        },
    )
    folder.mkdir(parents=True, exist_ok=True)
    for model, name in ((segmentation, "segmentation.onnx"), (network, "speaker.onnx")):
        onnx.checker.check_model(model)
        onnx.save(model, folder / (name + ".partial"))
        os.replace(folder / (name + ".partial"), folder / name)


main()
