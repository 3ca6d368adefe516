//! Memory of a board that grows until it is large enough, and is kept.

use super::board::{Address, Board, BoardError};

/// Memory for so many 4-byte values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Buffer {
    /// Where it stands.
    pub at: Address,
    values: usize,
}

impl Buffer {
    /// A new one.
    pub fn new(board: &mut impl Board, values: usize) -> Result<Self, BoardError> {
        Ok(Self { at: board.allocate(values)?, values })
    }
}

/// A buffer that is there once it was needed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Growing(Option<Buffer>);

impl Growing {
    /// Where so many values fit; what stood there before is lost when it grows.
    pub fn room(&mut self, board: &mut impl Board, values: usize) -> Result<Address, BoardError> {
        match self.0 {
            Some(buffer) if buffer.values >= values => Ok(buffer.at),
            old => {
                if let Some(old) = old {
                    // First, so that a budget needs to hold one of them only.
                    board.release(old.at);
                    self.0 = None;
                }
                let buffer = Buffer::new(board, values)?;
                self.0 = Some(buffer);
                Ok(buffer.at)
            }
        }
    }

    /// Gives it back: after a batch that found no memory, so that a smaller one finds some.
    pub fn release(&mut self, board: &mut impl Board) {
        if let Some(buffer) = self.0.take() {
            board.release(buffer.at);
        }
    }
}
