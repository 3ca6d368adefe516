//! The CPU engine: one session per network, one thread each. Lanes, not ONNX Runtime's pool, use the cores: two
//! sessions of one thread do 27 % more windows a second than one session of two.

use ort::environment::Environment;
use ort::session::Session;

use super::embedder::{FrameLevel, Windowed};
use super::network::{self, Input, infer};
use crate::device::bundle::Bundle;
use crate::device::engine::{Engine, EngineError, check_shape};
use crate::diarize::powerset::Powerset;
use common::model::manifest::EmbeddingKind;

/// Why an engine cannot be made from a bundle.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The library refused a network.
    #[error("cannot load `{file}`")]
    Session {
        /// The network's file.
        file: String,
        /// Why.
        source: ort::Error,
    },
    /// A network has no input or output of a name that the manifest gives.
    #[error("`{file}` has no input or output named `{port}`")]
    NoPort {
        /// The network's file.
        file: String,
        /// What the manifest calls it.
        port: String,
    },
    /// A part of a network cannot be shown to compute what the network does.
    #[error("`{file}` could not be tried out on the device")]
    Proof {
        /// The network's file.
        file: String,
        /// Why.
        source: Box<EngineError>,
    },
    /// The device refuses something while it is set up.
    #[error("the device cannot be set up")]
    Device {
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The manifest describes no features for a network that reads some.
    #[error("the manifest of bundle `{bundle}` describes no features")]
    NoFeatures {
        /// The bundle's name.
        bundle: String,
    },
}

/// Runs a bundle's networks on the CPU, in the calling thread.
pub struct CpuEngine {
    segmentation: Session,
    classes: usize,
    window: usize,
    window_frames: usize,
    embedder: Embedder,
    input: Vec<f32>,
}

/// The embedding network of either kind.
enum Embedder {
    Windowed(Windowed),
    FrameLevel(FrameLevel),
}

impl CpuEngine {
    /// Loads the networks.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn load(environment: &Environment, bundle: &Bundle) -> Result<Self, StartError> {
        let m = &bundle.manifest;
        let s = &m.segmentation;
        Ok(Self {
            segmentation: network::open(environment, bundle, &s.file)?,
            classes: Powerset::new(s.local_speakers as usize, s.simultaneous_speakers as usize).classes(),
            window: s.window_samples as usize,
            window_frames: s.frames as usize,
            embedder: match &m.embedding.kind {
                EmbeddingKind::Windowed { .. } => Embedder::Windowed(Windowed::load(environment, bundle)?),
                EmbeddingKind::FrameLevel { .. } => {
                    Embedder::FrameLevel(FrameLevel::load(environment, bundle)?)
                }
            },
            input: Vec::new(),
        })
    }

    fn frame_level(&mut self, network: &'static str) -> Result<&mut FrameLevel, EngineError> {
        match &mut self.embedder {
            Embedder::FrameLevel(network) => Ok(network),
            Embedder::Windowed(_) => Err(EngineError::NoSuchNetwork { network }),
        }
    }
}

impl Engine for CpuEngine {
    fn segment(&mut self, rows: &[&[f32]], out: &mut Vec<f32>) -> Result<(), EngineError> {
        let length = rows.first().map_or(0, |r| r.len());
        self.input.clear();
        rows.iter().for_each(|row| self.input.extend_from_slice(row));
        let input = Input { shape: &[rows.len(), 1, length], values: &self.input };
        let found = infer("segmentation", &mut self.segmentation, &[input], out)?;
        let frames = (length == self.window).then_some(self.window_frames);
        check_shape("segmentation", &found, &[Some(rows.len()), frames, Some(self.classes)])
    }

    fn embed(&mut self, rows: &[&[f32]], out: &mut Vec<f32>) -> Result<(), EngineError> {
        match &mut self.embedder {
            Embedder::Windowed(network) => network.embed(rows, out),
            Embedder::FrameLevel(_) => Err(EngineError::NoSuchNetwork { network: "windowed" }),
        }
    }

    fn embed_locals(
        &mut self,
        rows: &[&[f32]],
        weights: &[&[f32]],
        out: &mut Vec<f32>,
    ) -> Result<(), EngineError> {
        self.frame_level("frame-level")?.embed_locals(rows, weights, out)
    }

    fn trunk(&mut self, rows: &[&[f32]], out: &mut Vec<f32>) -> Result<(), EngineError> {
        self.frame_level("trunk")?.trunk(rows, out).map(|_| ())
    }

    fn pool(&mut self, rows: &[&[f32]], weights: &[&[f32]], out: &mut Vec<f32>) -> Result<(), EngineError> {
        self.frame_level("pooling")?.pool(rows, weights, out)
    }
}
