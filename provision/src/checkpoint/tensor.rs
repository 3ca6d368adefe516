//! Tensors of a checkpoint: a view (offset, shape, stride) of a storage, made contiguous within bounds.

use super::CheckpointError;

/// Most dimensions of a tensor.
pub const DIMENSIONS_MAX: usize = 8;

/// Element type of a storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// 32-bit float.
    F32,
    /// 64-bit float.
    F64,
    /// 16-bit float.
    F16,
    /// 64-bit signed integer.
    I64,
    /// 32-bit signed integer.
    I32,
    /// 16-bit signed integer.
    I16,
    /// 8-bit signed integer.
    I8,
    /// 8-bit unsigned integer.
    U8,
    /// One byte, 0 or 1.
    Bool,
}

impl Dtype {
    /// The element type that a `torch` storage class stands for.
    #[must_use]
    pub fn of_storage_class(name: &str) -> Option<Self> {
        Some(match name {
            "FloatStorage" => Self::F32,
            "DoubleStorage" => Self::F64,
            "HalfStorage" => Self::F16,
            "LongStorage" => Self::I64,
            "IntStorage" => Self::I32,
            "ShortStorage" => Self::I16,
            "CharStorage" => Self::I8,
            "ByteStorage" => Self::U8,
            "BoolStorage" => Self::Bool,
            _ => return None,
        })
    }

    /// Bytes of one element.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::I16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }
}

/// A contiguous tensor, rows last, elements little-endian.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Element type.
    pub dtype: Dtype,
    /// Length of each dimension; empty for a scalar.
    pub shape: Vec<usize>,
    /// `product(shape)` elements.
    pub data: Vec<u8>,
}

impl Tensor {
    /// The elements as 32-bit floats, or `None` for any other element type.
    #[must_use]
    pub fn f32s(&self) -> Option<Vec<f32>> {
        (self.dtype == Dtype::F32).then(|| {
            let quads = self.data.chunks_exact(4);
            quads.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
        })
    }
}

/// A reference to a storage, as the pickle's persistent ids give it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StorageRef {
    pub key: String,
    pub dtype: Dtype,
    /// Elements that the pickle says it has.
    pub count: u64,
}

/// A tensor as the pickle describes it, not yet read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TensorView {
    pub storage: StorageRef,
    /// First element.
    pub offset: u64,
    pub shape: Vec<u64>,
    /// In elements.
    pub stride: Vec<u64>,
}

impl TensorView {
    /// Bytes of the contiguous tensor, or `None` on overflow.
    pub fn bytes(&self) -> Option<u64> {
        self.shape
            .iter()
            .try_fold(1u64, |product, dim| product.checked_mul(*dim))
            .and_then(|count| count.checked_mul(self.storage.dtype.bytes() as u64))
    }

    /// One past the last element that the view touches, or `None` on overflow; 0 for an empty tensor.
    fn reach(&self) -> Option<u64> {
        if self.shape.contains(&0) {
            return Some(0);
        }
        let span = self.shape.iter().zip(&self.stride).try_fold(0u64, |sum, (dim, stride)| {
            (dim - 1).checked_mul(*stride).and_then(|span| sum.checked_add(span))
        })?;
        self.offset.checked_add(span)?.checked_add(1)
    }

    /// Copies the view out of its storage. `bytes_max` bounds what is allocated, whatever the strides say.
    pub fn gather(&self, name: &str, storage: &[u8], bytes_max: u64) -> Result<Tensor, CheckpointError> {
        let outside = |what| CheckpointError::OutOfBounds { tensor: name.to_owned(), what };
        let size = self.storage.dtype.bytes();
        if self.storage.count.checked_mul(size as u64) != Some(storage.len() as u64) {
            return Err(outside("its storage does not have the stated size"));
        }
        let bytes = self.bytes().ok_or_else(|| outside("its size overflows"))?;
        if bytes > bytes_max {
            return Err(outside("it is larger than accepted"));
        }
        let reach = self.reach().ok_or_else(|| outside("its strides overflow"))?;
        if reach > self.storage.count {
            return Err(outside("it reaches past the end of its storage"));
        }
        let mut data = Vec::with_capacity(bytes as usize);
        let mut index = vec![0u64; self.shape.len()];
        let elements = bytes / size as u64;
        // Every index stays below `reach`, which is at most the storage's count, which is a slice's length.
        let mut at = self.offset;
        for _ in 0..elements {
            let byte = at as usize * size;
            data.extend_from_slice(&storage[byte..byte + size]);
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                // Wrapping: a dimension of length 1 may carry any stride, added here and taken back below.
                at = at.wrapping_add(self.stride[axis]);
                if index[axis] < self.shape[axis] {
                    break;
                }
                at = at.wrapping_sub(self.stride[axis].wrapping_mul(self.shape[axis]));
                index[axis] = 0;
            }
        }
        let shape = self.shape.iter().map(|dim| *dim as usize).collect();
        Ok(Tensor { dtype: self.storage.dtype, shape, data })
    }
}
