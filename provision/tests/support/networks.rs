//! Made-up weights of the right names and shapes, so that the builders can be tested without a download.

/// A tensor's name, shape and values.
pub type Weight = (String, Vec<usize>, Vec<f32>);

/// Collects weights; values repeat a fixed sequence in (0, 1], which suits variances too.
#[derive(Default)]
pub struct Weights {
    pub all: Vec<Weight>,
    state: u32,
}

impl Weights {
    fn add(&mut self, name: impl Into<String>, shape: &[usize]) {
        let values = (0..shape.iter().product())
            .map(|_| {
                self.state = self.state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                ((self.state >> 8) + 1) as f32 / (1 << 24) as f32
            })
            .collect();
        self.all.push((name.into(), shape.to_vec(), values));
    }

    fn norm(&mut self, prefix: &str, channels: usize) {
        for part in ["weight", "bias", "running_mean", "running_var"] {
            self.add(format!("{prefix}.{part}"), &[channels]);
        }
    }
}

pub fn segmentation() -> Vec<Weight> {
    let mut w = Weights::default();
    for (name, shape) in
        [("low_hz_", &[40, 1][..]), ("band_hz_", &[40, 1]), ("window_", &[125]), ("n_", &[1, 125])]
    {
        w.add(format!("sincnet.conv1d.0.filterbank.{name}"), shape);
    }
    for part in ["weight", "bias"] {
        w.add(format!("sincnet.wav_norm1d.{part}"), &[1]);
        for (layer, channels) in [80, 60, 60].into_iter().enumerate() {
            w.add(format!("sincnet.norm1d.{layer}.{part}"), &[channels]);
        }
    }
    for (layer, inputs) in [(1, 80), (2, 60)] {
        w.add(format!("sincnet.conv1d.{layer}.weight"), &[60, inputs, 5]);
        w.add(format!("sincnet.conv1d.{layer}.bias"), &[60]);
    }
    for layer in 0..4 {
        for direction in ["", "_reverse"] {
            w.add(format!("lstm.weight_ih_l{layer}{direction}"), &[512, if layer == 0 { 60 } else { 256 }]);
            w.add(format!("lstm.weight_hh_l{layer}{direction}"), &[512, 128]);
            w.add(format!("lstm.bias_ih_l{layer}{direction}"), &[512]);
            w.add(format!("lstm.bias_hh_l{layer}{direction}"), &[512]);
        }
    }
    for (prefix, inputs, outputs) in [("linear.0", 256, 128), ("linear.1", 128, 128), ("classifier", 128, 7)]
    {
        w.add(format!("{prefix}.weight"), &[outputs, inputs]);
        w.add(format!("{prefix}.bias"), &[outputs]);
    }
    w.all
}

pub fn campplus() -> Vec<Weight> {
    let mut w = Weights::default();
    w.add("head.conv1.weight", &[32, 1, 3, 3]);
    w.norm("head.bn1", 32);
    for block in ["1.0", "1.1", "2.0", "2.1"] {
        for conv in 1..=2 {
            w.add(format!("head.layer{block}.conv{conv}.weight"), &[32, 32, 3, 3]);
            w.norm(&format!("head.layer{block}.bn{conv}"), 32);
        }
        if block.ends_with('0') {
            w.add(format!("head.layer{block}.shortcut.0.weight"), &[32, 32, 1, 1]);
            w.norm(&format!("head.layer{block}.shortcut.1"), 32);
        }
    }
    w.add("head.conv2.weight", &[32, 32, 3, 3]);
    w.norm("head.bn2", 32);
    w.add("xvector.tdnn.linear.weight", &[128, 320, 5]);
    w.norm("xvector.tdnn.nonlinear.batchnorm", 128);
    let mut channels = 128;
    for (block, layers) in [(1, 12), (2, 24), (3, 16)] {
        for layer in 1..=layers {
            let p = format!("xvector.block{block}.tdnnd{layer}");
            w.norm(&format!("{p}.nonlinear1.batchnorm"), channels);
            w.add(format!("{p}.linear1.weight"), &[128, channels, 1]);
            w.norm(&format!("{p}.nonlinear2.batchnorm"), 128);
            w.add(format!("{p}.cam_layer.linear_local.weight"), &[32, 128, 3]);
            w.add(format!("{p}.cam_layer.linear1.weight"), &[64, 128, 1]);
            w.add(format!("{p}.cam_layer.linear1.bias"), &[64]);
            w.add(format!("{p}.cam_layer.linear2.weight"), &[32, 64, 1]);
            w.add(format!("{p}.cam_layer.linear2.bias"), &[32]);
            channels += 32;
        }
        w.norm(&format!("xvector.transit{block}.nonlinear.batchnorm"), channels);
        w.add(format!("xvector.transit{block}.linear.weight"), &[channels / 2, channels, 1]);
        channels /= 2;
    }
    w.norm("xvector.out_nonlinear.batchnorm", channels);
    w.add("xvector.dense.linear.weight", &[192, 2 * channels, 1]);
    // This normalisation has no affine part.
    w.add("xvector.dense.nonlinear.batchnorm.running_mean", &[192]);
    w.add("xvector.dense.nonlinear.batchnorm.running_var", &[192]);
    w.all
}

pub fn resnet34() -> Vec<Weight> {
    let mut w = Weights::default();
    w.add("resnet.conv1.weight", &[32, 1, 3, 3]);
    w.norm("resnet.bn1", 32);
    let mut inputs = 32;
    for (stage, (blocks, planes)) in (1..).zip([(3, 32), (4, 64), (6, 128), (3, 256)]) {
        for block in 0..blocks {
            let p = format!("resnet.layer{stage}.{block}");
            w.add(format!("{p}.conv1.weight"), &[planes, inputs, 3, 3]);
            w.norm(&format!("{p}.bn1"), planes);
            w.add(format!("{p}.conv2.weight"), &[planes, planes, 3, 3]);
            w.norm(&format!("{p}.bn2"), planes);
            if inputs != planes {
                w.add(format!("{p}.shortcut.0.weight"), &[planes, inputs, 1, 1]);
                w.norm(&format!("{p}.shortcut.1"), planes);
            }
            inputs = planes;
        }
    }
    w.add("resnet.seg_1.weight", &[256, 5_120]);
    w.add("resnet.seg_1.bias", &[256]);
    w.all
}
