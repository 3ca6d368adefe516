//! Tensors out of PyTorch zip checkpoints. Nothing else can come out: no code runs, no class is looked up.
//!
//! A checkpoint is a zip of stored entries: `ROOT/data.pkl`, a pickle that describes the tensors, and
//! `ROOT/data/KEY`, their raw storages. The pickle is run by [`pickle`], a machine that can make numbers, strings,
//! tuples, lists, dictionaries and tensor descriptions; every class that it does not know becomes one inert value.
//!
//! A checkpoint is hostile until read: every size, offset, stride, count and depth in it is bounded by [`Limits`] or
//! by the size of the file, before anything of that size is allocated.

mod pickle;
mod tensor;

use std::collections::BTreeMap;

use crate::archive::{Archive, ArchiveError};
use pickle::Machine;
pub use pickle::PickleFault;
pub use tensor::{DIMENSIONS_MAX, Dtype, Tensor};

/// What a checkpoint may use up. The defaults take the networks at hand several times over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the pickle (`data.pkl`).
    pub pickle_bytes_max: u64,
    /// Values that the pickle may make, and references between them; each costs at most some 300 bytes.
    pub values_max: usize,
    /// Bytes of one storage.
    pub storage_bytes_max: u64,
    /// Bytes of all tensors together, after views of one storage have become tensors of their own.
    pub tensor_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            pickle_bytes_max: 8 << 20,
            values_max: 1 << 18,
            storage_bytes_max: 1 << 30,
            tensor_bytes_max: 2 << 30,
        }
    }
}

/// Why a checkpoint is refused. Nothing can be done about any of them but to get another file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The zip archive around it.
    #[error("the checkpoint's archive cannot be read")]
    Archive(#[from] ArchiveError),
    /// No `data.pkl`, or more than one.
    #[error("the checkpoint has {count} entries named `data.pkl`, not one")]
    NoPickle {
        /// How many there are.
        count: usize,
    },
    /// Written on a big-endian machine.
    #[error("the checkpoint is not little-endian")]
    ByteOrder,
    /// The pickle stops making sense.
    #[error("the checkpoint's pickle is refused at byte {at}: {fault}")]
    Pickle {
        /// Offset of the operation.
        at: usize,
        /// What is wrong with it.
        fault: PickleFault,
    },
    /// The pickle makes no dictionary of tensors.
    #[error("the checkpoint holds no dictionary of tensors")]
    NoTensors,
    /// A tensor named twice.
    #[error("the checkpoint has two tensors named `{tensor}`")]
    Duplicate {
        /// The name.
        tensor: String,
    },
    /// A tensor whose description does not fit its storage or the limits.
    #[error("tensor `{tensor}` is out of bounds: {what}")]
    OutOfBounds {
        /// The name.
        tensor: String,
        /// Which bound.
        what: &'static str,
    },
    /// A tensor that the caller needs is not there.
    #[error("the checkpoint has no tensor `{tensor}`")]
    Missing {
        /// The name.
        tensor: String,
    },
    /// A tensor of another element type or shape than the network needs.
    #[error("tensor `{tensor}` is {found}, not {wanted}")]
    Unfit {
        /// The name.
        tensor: String,
        /// Element type and shape found.
        found: String,
        /// Element type and shape that are needed.
        wanted: String,
    },
}

/// The tensors of a state dictionary, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StateDict {
    tensors: BTreeMap<String, Tensor>,
}

impl StateDict {
    /// Reads a checkpoint that lies in memory: the tensors of the dictionary under `state_dict`, or of the outermost
    /// dictionary when there is no such key. Values that are not tensors are left out.
    ///
    /// # Errors
    /// Any [`CheckpointError`] except those of missing or unfit tensors.
    pub fn read(file: &[u8], limits: &Limits) -> Result<Self, CheckpointError> {
        let archive = Archive::open(file)?;
        let root = root_of(&archive)?;
        let order = format!("{root}/byteorder");
        if archive.contains(&order) && archive.stored(&order, 16)? != b"little" {
            return Err(CheckpointError::ByteOrder);
        }
        let pickle = archive.stored(&format!("{root}/data.pkl"), limits.pickle_bytes_max)?;
        let machine = Machine::run(pickle, limits.values_max)?;
        let mut left = limits.tensor_bytes_max;
        let mut tensors = BTreeMap::new();
        for (name, view) in machine.state_dict()? {
            let key = format!("{root}/data/{}", view.storage.key);
            let storage = archive.stored(&key, limits.storage_bytes_max)?;
            let tensor = view.gather(name, storage, left)?;
            left -= tensor.data.len() as u64;
            if tensors.insert(name.to_owned(), tensor).is_some() {
                return Err(CheckpointError::Duplicate { tensor: name.to_owned() });
            }
        }
        Ok(Self { tensors })
    }

    /// A state dictionary of given tensors (networks made up in tests, or read from elsewhere).
    #[must_use]
    pub fn of(tensors: impl IntoIterator<Item = (String, Tensor)>) -> Self {
        Self { tensors: tensors.into_iter().collect() }
    }

    /// Names and tensors, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// Whether there is a tensor of this name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The elements of a 32-bit float tensor of exactly this shape.
    ///
    /// # Errors
    /// [`CheckpointError::Missing`] or [`CheckpointError::Unfit`].
    pub fn f32s(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, CheckpointError> {
        let missing = || CheckpointError::Missing { tensor: name.to_owned() };
        let tensor = self.tensors.get(name).ok_or_else(missing)?;
        tensor.f32s().filter(|_| tensor.shape == shape).ok_or_else(|| CheckpointError::Unfit {
            tensor: name.to_owned(),
            found: format!("{:?} {:?}", tensor.dtype, tensor.shape),
            wanted: format!("{:?} {shape:?}", Dtype::F32),
        })
    }
}

/// The folder inside the archive that holds everything.
fn root_of<'a>(archive: &'a Archive<'_>) -> Result<&'a str, CheckpointError> {
    let mut roots = archive.names().filter_map(|name| name.strip_suffix("/data.pkl"));
    match (roots.next(), roots.count()) {
        (Some(root), 0) => Ok(root),
        (first, more) => Err(CheckpointError::NoPickle { count: usize::from(first.is_some()) + more }),
    }
}
