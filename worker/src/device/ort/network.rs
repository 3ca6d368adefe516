//! One network: a session, and one run of it.

use ort::environment::Environment;
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{Session, SessionInputValue, SessionOutputs};
use ort::value::TensorRef;

use super::engine::StartError;
use crate::device::bundle::Bundle;
use crate::device::engine::EngineError;

/// A row-major float input.
#[derive(Clone, Copy)]
pub(super) struct Input<'a> {
    /// Length of each axis.
    pub shape: &'a [usize],
    /// The values.
    pub values: &'a [f32],
}

/// Loads a network of a bundle, to run in one thread.
pub(super) fn open(environment: &Environment, bundle: &Bundle, file: &str) -> Result<Session, StartError> {
    let load = || {
        Session::builder(environment)?
            .with_optimization_level(GraphOptimizationLevel::Level3)?
            .with_intra_threads(1)?
            .with_inter_threads(1)?
            .commit_from_file(bundle.file(file))
    };
    load().map_err(|source| StartError::Session { file: file.to_owned(), source })
}

/// Runs a network over its inputs in order and appends the first output; returns the output's shape.
pub(super) fn infer(
    network: &'static str,
    session: &mut Session,
    inputs: &[Input<'_>],
    out: &mut Vec<f32>,
) -> Result<Vec<i64>, EngineError> {
    let failed = failure(network, inputs.first().map_or(0, |input| input.shape[0]));
    let outputs = match inputs {
        [one] => session.run(ort::inputs![tensor(one).map_err(&failed)?]),
        [one, two] => session.run(ort::inputs![tensor(one).map_err(&failed)?, tensor(two).map_err(&failed)?]),
        _ => return Err(EngineError::NoSuchNetwork { network }),
    };
    take(network, &outputs.map_err(&failed)?, None, &failed, out)
}

/// Runs a network over named inputs and appends the output named `output`, or the first; returns its shape.
pub(super) fn infer_named(
    network: &'static str,
    session: &mut Session,
    (name, input): (&str, Input<'_>),
    (length_name, lengths): (&str, &[i64]),
    output: Option<&str>,
    out: &mut Vec<f32>,
) -> Result<Vec<i64>, EngineError> {
    let failed = failure(network, input.shape[0]);
    let lengths = TensorRef::from_array_view(([lengths.len()], lengths)).map_err(&failed)?;
    let inputs = ort::inputs![
        name.to_owned() => tensor(&input).map_err(&failed)?,
        length_name.to_owned() => lengths,
    ];
    let outputs = session.run(inputs).map_err(&failed)?;
    take(network, &outputs, output, &failed, out)
}

/// Runs a network over one input and appends the output of a name.
pub(super) fn infer_output(
    network: &'static str,
    session: &mut Session,
    input: Input<'_>,
    output: &str,
    out: &mut Vec<f32>,
) -> Result<Vec<i64>, EngineError> {
    let failed = failure(network, input.shape[0]);
    let outputs = session.run(ort::inputs![tensor(&input).map_err(&failed)?]).map_err(&failed)?;
    take(network, &outputs, Some(output), &failed, out)
}

fn tensor<'a>(input: &Input<'a>) -> Result<SessionInputValue<'a>, ort::Error> {
    Ok(TensorRef::from_array_view((input.shape.to_vec(), input.values))?.into())
}

fn take(
    network: &'static str,
    outputs: &SessionOutputs<'_>,
    name: Option<&str>,
    failed: &impl Fn(ort::Error) -> EngineError,
    out: &mut Vec<f32>,
) -> Result<Vec<i64>, EngineError> {
    let output = match name {
        // Its presence was checked when the network was loaded.
        Some(name) => outputs.get(name).ok_or(EngineError::NoSuchNetwork { network })?,
        None => &outputs[0],
    };
    let (shape, values) = output.try_extract_tensor::<f32>().map_err(failed)?;
    if values.iter().any(|v| !v.is_finite()) {
        return Err(EngineError::NotFinite { network });
    }
    out.extend_from_slice(values);
    Ok(shape.to_vec())
}

fn failure(network: &'static str, rows: usize) -> impl Fn(ort::Error) -> EngineError {
    move |e| {
        if e.message().contains("Failed to allocate") || e.message().contains("bad_alloc") {
            EngineError::OutOfMemory { rows }
        } else {
            EngineError::Library { network, source: Box::new(e) }
        }
    }
}
