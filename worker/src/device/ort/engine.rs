//! The CPU engine: one session per network, one thread each. Lanes, not ONNX Runtime's pool, use the cores: two
//! sessions of one thread do 27 % more windows a second than one session of two.

use std::path::Path;

use common::model::manifest::EmbeddingKind;
use ort::environment::Environment;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::TensorRef;

use crate::device::bundle::Bundle;
use crate::device::engine::{Engine, EngineError};
use crate::diarize::fbank::{Fbank, subtract_mean};
use crate::diarize::powerset::Powerset;

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
    /// The bundle's kind of embedding needs another engine.
    #[error("this build cannot run bundles with a frame-level embedding trunk: `{bundle}`")]
    Unsupported {
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
    embedding: Session,
    dimension: usize,
    fbank: Fbank,
    input: Vec<f32>,
}

impl CpuEngine {
    /// Loads both networks.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn load(environment: &Environment, bundle: &Bundle) -> Result<Self, StartError> {
        let m = &bundle.manifest;
        let EmbeddingKind::Windowed { file, .. } = &m.embedding.kind else {
            return Err(StartError::Unsupported { bundle: m.name.clone() });
        };
        let open = |file: &str| {
            session(environment, &bundle.file(file))
                .map_err(|source| StartError::Session { file: file.to_owned(), source })
        };
        let s = &m.segmentation;
        Ok(Self {
            segmentation: open(&s.file)?,
            classes: Powerset::new(s.local_speakers as usize, s.simultaneous_speakers as usize).classes(),
            window: s.window_samples as usize,
            window_frames: s.frames as usize,
            embedding: open(file)?,
            dimension: m.embedding.dimension as usize,
            fbank: Fbank::new(&m.embedding.feature, s.sample_rate_hz),
            input: Vec::new(),
        })
    }
}

fn session(environment: &Environment, path: &Path) -> Result<Session, ort::Error> {
    Session::builder(environment)?
        .with_optimization_level(GraphOptimizationLevel::Level3)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .commit_from_file(path)
}

impl Engine for CpuEngine {
    fn segment(&mut self, rows: &[&[f32]], out: &mut Vec<f32>) -> Result<(), EngineError> {
        let length = rows.first().map_or(0, |r| r.len());
        self.input.clear();
        rows.iter().for_each(|row| self.input.extend_from_slice(row));
        let shape = [rows.len(), 1, length];
        let found = infer("segmentation", &mut self.segmentation, shape, &self.input, out)?;
        let frames_right = length != self.window || found.get(1) == Some(&(self.window_frames as i64));
        if found.len() != 3
            || found[0] != rows.len() as i64
            || found[2] != self.classes as i64
            || !frames_right
        {
            return Err(EngineError::OutputShape {
                network: "segmentation",
                found,
                expected: format!("[{}, {}, {}]", rows.len(), self.window_frames, self.classes),
            });
        }
        Ok(())
    }

    fn embed(&mut self, rows: &[&[f32]], out: &mut Vec<f32>) -> Result<(), EngineError> {
        let (bins, frames) = (self.fbank.bins(), self.fbank.frames(rows.first().map_or(0, |r| r.len())));
        self.input.clear();
        self.input.resize(rows.len() * frames * bins, 0.0);
        for (row, features) in rows.iter().zip(self.input.chunks_exact_mut((frames * bins).max(1))) {
            self.fbank.compute(row, features);
            subtract_mean(features, bins);
        }
        let shape = [rows.len(), frames, bins];
        let found = infer("embedding", &mut self.embedding, shape, &self.input, out)?;
        if found != [rows.len() as i64, self.dimension as i64] {
            let expected = format!("[{}, {}]", rows.len(), self.dimension);
            return Err(EngineError::OutputShape { network: "embedding", found, expected });
        }
        Ok(())
    }
}

/// Runs a network with one input and one output and appends the output; returns the output's shape.
fn infer(
    network: &'static str,
    session: &mut Session,
    shape: [usize; 3],
    input: &[f32],
    out: &mut Vec<f32>,
) -> Result<Vec<i64>, EngineError> {
    let library = |e: ort::Error| {
        let rows = shape[0];
        if e.message().contains("Failed to allocate") || e.message().contains("bad_alloc") {
            EngineError::OutOfMemory { rows }
        } else {
            EngineError::Library { network, source: Box::new(e) }
        }
    };
    let tensor = TensorRef::from_array_view((shape, input)).map_err(library)?;
    let outputs = session.run(ort::inputs![tensor]).map_err(library)?;
    let (shape, values) = outputs[0].try_extract_tensor::<f32>().map_err(library)?;
    if values.iter().any(|v| !v.is_finite()) {
        return Err(EngineError::NotFinite { network });
    }
    out.extend_from_slice(values);
    Ok(shape.to_vec())
}
