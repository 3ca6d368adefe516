"""sherpa-onnx as a peer. Arguments: threads, segmentation network, speaker network, clustering threshold.

Everything else as it comes: step of a tenth of the window, turns under 0.3 s dropped, gaps under 0.5 s closed.
"""

import sys
import time

import peer_loop


def load():
    """A diarizer that has answered once, so that its first real recording is not slower than the others."""
    threads, segmentation, embedding, threshold = int(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4])
    started_s = time.perf_counter()
    import numpy
    import sherpa_onnx
    import soundfile
    from diarization_error import Turn

    imported_s = time.perf_counter() - started_s
    config = sherpa_onnx.OfflineSpeakerDiarizationConfig(
        segmentation=sherpa_onnx.OfflineSpeakerSegmentationModelConfig(
            pyannote=sherpa_onnx.OfflineSpeakerSegmentationPyannoteModelConfig(model=segmentation),
            num_threads=threads,
        ),
        embedding=sherpa_onnx.SpeakerEmbeddingExtractorConfig(model=embedding, num_threads=threads),
        clustering=sherpa_onnx.FastClusteringConfig(num_clusters=-1, threshold=threshold),
    )
    if not config.validate():
        sys.exit("sherpa-onnx refuses its configuration: the lines above say why")
    diarizer = sherpa_onnx.OfflineSpeakerDiarization(config)
    warming_s = time.perf_counter()
    noise = numpy.random.default_rng(0).normal(0, 0.1, 12 * 16000).astype(numpy.float32)
    diarizer.process(noise)
    warmed_s = time.perf_counter() - warming_s

    def diarize(wav):
        samples, _rate = soundfile.read(wav, dtype="float32")
        segments = diarizer.process(samples).sort_by_start_time()
        return {"turns": [Turn(s.start, s.end, f"SPEAKER_{s.speaker:02d}") for s in segments]}

    return diarize, {"import_s": imported_s, "warm_up_s": warmed_s, "threads": threads}


peer_loop.serve(load)
