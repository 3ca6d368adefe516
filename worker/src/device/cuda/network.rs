//! One network on a board: a session, and a binding for each fixed shape.

use ort::environment::Environment;
use ort::session::{RunOptions, Session};

use super::binding::{Binding, Output, Port};
use super::board::{Address, Board, Opened};
use super::desk::Desk;
use super::memory::Buffer;
use crate::device::bundle::Bundle;
use crate::device::engine::EngineError;
use crate::device::ort::engine::StartError;

/// A network, and the shapes that it was run with before.
pub(super) struct Network {
    session: Session,
    /// See [`Opened::whole`].
    whole: bool,
    options: RunOptions,
    inputs: Vec<String>,
    output: String,
    /// Name of the input that wants the length of each row.
    lengths: Option<String>,
    fixed: Vec<Fixed>,
}

/// What is run again and again.
struct Fixed {
    inputs: Vec<(Address, Vec<usize>)>,
    binding: Binding,
    output: Buffer,
    shape: Vec<i64>,
}

/// An input: where it stands, and the length of each axis.
pub(super) type Given<'a> = (Address, &'a [usize]);

/// Whether a shape comes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// One of the few that are run all the time: it keeps its memory.
    Fixed,
    /// The end of some recording.
    Odd,
}

impl Network {
    /// Loads a network. `lengths` and `output` are names that a manifest gives.
    pub fn open(
        board: &mut impl Board,
        environment: &Environment,
        bundle: &Bundle,
        file: &str,
        lengths: Option<&String>,
        output: Option<&String>,
    ) -> Result<Self, StartError> {
        let refused = |source| StartError::Session { file: file.to_owned(), source };
        let Opened { session, whole } = board.open(environment, bundle, file).map_err(refused)?;
        let missing = |port: &str| StartError::NoPort { file: file.to_owned(), port: port.to_owned() };
        let names = |outlets: &[ort::value::Outlet]| -> Vec<String> {
            outlets.iter().map(|outlet| outlet.name().to_owned()).collect()
        };
        let (mut inputs, outputs) = (names(session.inputs()), names(session.outputs()));
        if let Some(lengths) = lengths {
            let found = inputs.iter().position(|name| name == lengths).ok_or_else(|| missing(lengths))?;
            inputs.remove(found);
        }
        let output = match output {
            Some(name) => outputs.into_iter().find(|found| found == name).ok_or_else(|| missing(name))?,
            None => outputs.into_iter().next().ok_or_else(|| missing("any output"))?,
        };
        let mut options = RunOptions::new().map_err(refused)?;
        // Whoever reads the output waits for it.
        options.disable_device_sync().map_err(refused)?;
        Ok(Self { session, whole, options, inputs, output, lengths: lengths.cloned(), fixed: Vec::new() })
    }

    /// Runs it over `given`, in the order of its inputs, and lets `then` use its output, `[shape]` at an address. `length`
    /// is what a network that wants lengths is told.
    pub fn run<B: Board>(
        &mut self,
        desk: &mut Desk<'_, B>,
        given: &[Given<'_>],
        length: usize,
        shape: Shape,
        then: impl FnOnce(&mut Desk<'_, B>, &[i64], Address) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let shape = if self.whole {
            shape
        } else {
            // Binding copies what stands there now, and in no order with our stream: bound anew each time, once it stands there.
            desk.board.wait().map_err(|error| desk.error(error))?;
            Shape::Odd
        };
        let same = |fixed: &Fixed| {
            fixed.inputs.iter().map(|(at, shape)| (*at, shape.as_slice())).eq(given.iter().copied())
        };
        if shape == Shape::Fixed
            && let Some(fixed) = self.fixed.iter().find(|fixed| same(fixed))
        {
            desk.board.running(true);
            let outcome = fixed.binding.run(&mut self.session, &self.options);
            desk.board.running(false);
            outcome.map_err(|error| desk.explain(error))?;
            return then(desk, &fixed.shape, fixed.output.at);
        }
        let binding = self
            .bind(desk.board, given, length, Output::Theirs(&self.output))
            .map_err(|error| desk.explain(error))?;
        let mut found = Vec::new();
        desk.board.running(true);
        let outcome = binding.run_free(&mut self.session, &self.options, |shape, at| {
            found = shape.to_vec();
            then(desk, shape, at)
        });
        desk.board.running(false);
        outcome.map_err(|error| desk.explain(error))??;
        if shape == Shape::Fixed {
            self.keep(desk, given, length, found)?;
        }
        Ok(())
    }

    /// Prepares for running the same shape, in the same place, again.
    fn keep<B: Board>(
        &mut self,
        desk: &mut Desk<'_, B>,
        given: &[Given<'_>],
        length: usize,
        shape: Vec<i64>,
    ) -> Result<(), EngineError> {
        // A buffer that has moved leaves its bindings behind.
        let stale = |fixed: &Fixed| {
            fixed.inputs.iter().zip(given).any(|((at, shape), new)| shape == new.1 && *at != new.0)
        };
        while let Some(at) = self.fixed.iter().position(stale) {
            desk.board.release(self.fixed.swap_remove(at).output.at);
        }
        let lengths: Vec<usize> = shape.iter().map(|n| usize::try_from(*n).unwrap_or(0)).collect();
        let output = Buffer::new(desk.board, lengths.iter().product()).map_err(|error| desk.error(error))?;
        let ours = Output::Ours(Port { name: &self.output, shape: &lengths, at: output.at });
        match self.bind(desk.board, given, length, ours) {
            Ok(binding) => {
                let inputs = given.iter().map(|(at, shape)| (*at, shape.to_vec())).collect();
                self.fixed.push(Fixed { inputs, binding, output, shape });
                Ok(())
            }
            Err(error) => {
                desk.board.release(output.at);
                Err(desk.explain(error))
            }
        }
    }

    fn bind(
        &self,
        board: &impl Board,
        given: &[Given<'_>],
        length: usize,
        output: Output<'_>,
    ) -> ort::Result<Binding> {
        let ports: Vec<Port<'_>> =
            self.inputs.iter().zip(given).map(|(name, (at, shape))| Port { name, shape, at: *at }).collect();
        let rows = given.first().map_or(0, |(_, shape)| shape[0]);
        let lengths = self.lengths.as_deref().map(|name| (name, vec![length as i64; rows]));
        Binding::new(&self.session, board.memory(), &ports, lengths, output)
    }

    /// Forgets every shape, and gives its memory back.
    pub fn forget(&mut self, board: &mut impl Board) {
        for fixed in self.fixed.drain(..) {
            board.release(fixed.output.at);
        }
    }
}
