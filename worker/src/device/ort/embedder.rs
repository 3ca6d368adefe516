//! The two kinds of embedding network: over windows, and frame-level with masked pooling.

use common::model::manifest::{EmbeddingKind, InputLayout, WindowInput};
use ort::environment::Environment;
use ort::session::Session;

use super::engine::StartError;
use super::network::{self, Input, infer, infer_named, infer_output};
use crate::device::bundle::Bundle;
use crate::device::engine::{EngineError, check_shape, squeezed};
use crate::diarize::fbank::{Fbank, subtract_mean};
use crate::diarize::masks::to_steps;

/// The features of a bundle's embedding network.
fn features(bundle: &Bundle) -> Result<Fbank, StartError> {
    let m = &bundle.manifest;
    let feature =
        m.embedding.feature.as_ref().ok_or_else(|| StartError::NoFeatures { bundle: m.name.clone() })?;
    Ok(Fbank::new(feature, m.segmentation.sample_rate_hz))
}

/// A network with global context, over one window at a time.
pub(super) struct Windowed {
    session: Session,
    /// Name of the input that is not the length.
    name: String,
    input: WindowInput,
    dimension: usize,
    /// Absent for a network that reads samples.
    fbank: Option<Fbank>,
    buffer: Vec<f32>,
    features: Vec<f32>,
}

impl Windowed {
    pub fn load(environment: &Environment, bundle: &Bundle) -> Result<Self, StartError> {
        let m = &bundle.manifest;
        let EmbeddingKind::Windowed { file, input, .. } = &m.embedding.kind else {
            return Err(StartError::NoFeatures { bundle: m.name.clone() });
        };
        let session = network::open(environment, bundle, file)?;
        let missing = |port: &String| StartError::NoPort { file: file.clone(), port: port.clone() };
        if let Some(output) = &input.output
            && !session.outputs().iter().any(|port| port.name() == output)
        {
            return Err(missing(output));
        }
        if let Some(length) = &input.length_input
            && !session.inputs().iter().any(|port| port.name() == length)
        {
            return Err(missing(length));
        }
        let mut names = session.inputs().iter().map(|port| port.name().to_owned());
        let name = names.find(|name| Some(name) != input.length_input.as_ref()).unwrap_or_default();
        Ok(Self {
            session,
            name,
            input: input.clone(),
            dimension: m.embedding.dimension as usize,
            fbank: match input.layout {
                InputLayout::Samples => None,
                InputLayout::FramesMel | InputLayout::MelFrames => Some(features(bundle)?),
            },
            buffer: Vec::new(),
            features: Vec::new(),
        })
    }

    pub fn embed(&mut self, rows: &[&[f32]], out: &mut Vec<f32>) -> Result<(), EngineError> {
        let samples = rows.first().map_or(0, |r| r.len());
        let (shape, length) = self.fill(rows, samples);
        let input = Input { shape: &shape, values: &self.buffer };
        let session = &mut self.session;
        let found = match (&self.input.length_input, &self.input.output) {
            (None, None) => infer("embedding", session, &[input], out)?,
            (None, Some(output)) => infer_output("embedding", session, input, output, out)?,
            (Some(name), output) => {
                let lengths = vec![length as i64; rows.len()];
                let input = (self.name.as_str(), input);
                infer_named("embedding", session, input, (name, &lengths), output.as_deref(), out)?
            }
        };
        check_shape("embedding", &squeezed(&found), &[Some(rows.len()), Some(self.dimension)])
    }

    /// Fills the buffer; gives the input's shape and the length of a row in what the network counts.
    fn fill(&mut self, rows: &[&[f32]], samples: usize) -> (Vec<usize>, usize) {
        self.buffer.clear();
        let Some(fbank) = &mut self.fbank else {
            rows.iter().for_each(|row| self.buffer.extend_from_slice(row));
            return (vec![rows.len(), samples], samples);
        };
        let (bins, frames) = (fbank.bins(), fbank.frames(samples));
        self.buffer.resize(rows.len() * frames * bins, 0.0);
        for (row, features) in rows.iter().zip(self.buffer.chunks_exact_mut((frames * bins).max(1))) {
            fbank.compute(row, features);
            subtract_mean(features, bins);
            if self.input.layout == InputLayout::MelFrames {
                self.features.clear();
                self.features.extend_from_slice(features);
                for (frame, values) in self.features.chunks_exact(bins).enumerate() {
                    for (bin, value) in values.iter().enumerate() {
                        features[bin * frames + frame] = *value;
                    }
                }
            }
        }
        match self.input.layout {
            InputLayout::MelFrames => (vec![rows.len(), bins, frames], frames),
            InputLayout::FramesMel | InputLayout::Samples => (vec![rows.len(), frames, bins], frames),
        }
    }
}

/// A frame-level trunk, and masked statistics pooling for each local speaker.
pub(super) struct FrameLevel {
    trunk: Session,
    head: Session,
    channels: usize,
    local_speakers: usize,
    /// Samples of a full chunk, and the steps that it has.
    full: (usize, usize),
    dimension: usize,
    fbank: Fbank,
    input: Vec<f32>,
    output: Vec<f32>,
    steps: Vec<f32>,
}

impl FrameLevel {
    pub fn load(environment: &Environment, bundle: &Bundle) -> Result<Self, StartError> {
        let m = &bundle.manifest;
        let EmbeddingKind::FrameLevel { trunk_file, head_file, trunk_channels, trunk_steps, .. } =
            &m.embedding.kind
        else {
            return Err(StartError::NoFeatures { bundle: m.name.clone() });
        };
        Ok(Self {
            trunk: network::open(environment, bundle, trunk_file)?,
            head: network::open(environment, bundle, head_file)?,
            channels: *trunk_channels as usize,
            local_speakers: m.segmentation.local_speakers as usize,
            full: (m.segmentation.window_samples as usize, *trunk_steps as usize),
            dimension: m.embedding.dimension as usize,
            fbank: features(bundle)?,
            input: Vec::new(),
            output: Vec::new(),
            steps: Vec::new(),
        })
    }

    /// Features of each chunk, centred over the chunk; trunk; pooling.
    pub fn embed_locals(
        &mut self,
        rows: &[&[f32]],
        weights: &[&[f32]],
        out: &mut Vec<f32>,
    ) -> Result<(), EngineError> {
        let samples = rows.first().map_or(0, |r| r.len());
        let (bins, frames) = (self.fbank.bins(), self.fbank.frames(samples));
        self.input.clear();
        self.input.resize(rows.len() * frames * bins, 0.0);
        for (row, features) in rows.iter().zip(self.input.chunks_exact_mut((frames * bins).max(1))) {
            self.fbank.compute(row, features);
            subtract_mean(features, bins);
        }
        let mut output = std::mem::take(&mut self.output);
        output.clear();
        let expected = (samples == self.full.0).then_some(self.full.1);
        let steps = self.run_trunk(rows.len(), frames, expected, &mut output)?;
        let answer = self.run_head(&output, steps, weights, out);
        self.output = output;
        answer
    }

    /// Trunk output of rows of features; gives its steps.
    pub fn trunk(&mut self, rows: &[&[f32]], out: &mut Vec<f32>) -> Result<usize, EngineError> {
        self.input.clear();
        rows.iter().for_each(|row| self.input.extend_from_slice(row));
        let frames = rows.first().map_or(0, |r| r.len()) / self.fbank.bins();
        self.run_trunk(rows.len(), frames, None, out)
    }

    /// Embeddings of rows of trunk output.
    pub fn pool(
        &mut self,
        rows: &[&[f32]],
        weights: &[&[f32]],
        out: &mut Vec<f32>,
    ) -> Result<(), EngineError> {
        let features = rows.concat();
        let steps = rows.first().map_or(0, |r| r.len()) / self.channels;
        self.run_head(&features, steps, weights, out)
    }

    /// Runs the trunk over `self.input`; gives its steps.
    fn run_trunk(
        &mut self,
        rows: usize,
        frames: usize,
        steps: Option<usize>,
        out: &mut Vec<f32>,
    ) -> Result<usize, EngineError> {
        let shape = [rows, frames, self.fbank.bins()];
        let input = Input { shape: &shape, values: &self.input };
        let found = infer("trunk", &mut self.trunk, &[input], out)?;
        check_shape("trunk", &found, &[Some(rows), Some(self.channels), steps])?;
        Ok(found[2] as usize)
    }

    fn run_head(
        &mut self,
        features: &[f32],
        steps: usize,
        weights: &[&[f32]],
        out: &mut Vec<f32>,
    ) -> Result<(), EngineError> {
        let (rows, speakers) = (weights.len(), self.local_speakers);
        self.steps.clear();
        for weights in weights {
            for of_speaker in weights.chunks_exact((weights.len() / speakers).max(1)) {
                to_steps(of_speaker, steps, &mut self.steps);
            }
        }
        let inputs = [
            Input { shape: &[rows, self.channels, steps], values: features },
            Input { shape: &[rows, speakers, steps], values: &self.steps },
        ];
        let found = infer("pooling", &mut self.head, &inputs, out)?;
        check_shape("pooling", &found, &[Some(rows), Some(speakers), Some(self.dimension)])
    }
}
