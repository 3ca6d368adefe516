//! Arrays out of NumPy's `.npz`: zip archives of `.npy` documents.
//!
//! Only numbers: an array of objects is a pickle, and is refused. Layout of a document:
//! <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

use std::collections::BTreeMap;

use crate::archive::{Archive, ArchiveError};

/// Most arrays of a file.
const ARRAYS_MAX: usize = 64;
/// Largest array that is read, bytes.
const ARRAY_BYTES_MAX: u64 = 64 << 20;
/// Longest header that is read, bytes.
const HEADER_BYTES_MAX: usize = 4_096;

/// Why a file gives no arrays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NpzError {
    /// The zip archive around them.
    #[error("the archive of arrays cannot be read")]
    Archive(#[from] ArchiveError),
    /// More arrays than are looked at.
    #[error("there are too many arrays: {count}, at most {ARRAYS_MAX}")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// A document that is cut short, or of another kind.
    #[error("array `{array}` is refused: {what}")]
    Array {
        /// Which.
        array: String,
        /// What is wrong.
        what: &'static str,
    },
}

/// An array, its numbers widened to 64 bits.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Length of each axis.
    pub shape: Vec<usize>,
    /// Row-major values.
    pub values: Vec<f64>,
}

/// Every array of a file, by name.
///
/// # Errors
/// See [`NpzError`].
pub fn arrays(file: &[u8]) -> Result<BTreeMap<String, Array>, NpzError> {
    let archive = Archive::open(file)?;
    let names: Vec<&str> = archive.names().collect();
    if names.len() > ARRAYS_MAX {
        return Err(NpzError::TooMany { count: names.len() });
    }
    names
        .into_iter()
        .filter_map(|member| Some((member, member.strip_suffix(".npy")?)))
        .map(|(member, name)| {
            let document = archive.read(member, ARRAY_BYTES_MAX)?;
            let array = array(&document).map_err(|what| NpzError::Array { array: name.to_owned(), what })?;
            Ok((name.to_owned(), array))
        })
        .collect()
}

/// One document.
fn array(document: &[u8]) -> Result<Array, &'static str> {
    let rest = document.strip_prefix(b"\x93NUMPY").ok_or("it is no NumPy array")?;
    let (length, rest) = match rest {
        [1, _, a, b, rest @ ..] => (usize::from(u16::from_le_bytes([*a, *b])), rest),
        [2 | 3, _, a, b, c, d, rest @ ..] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, rest),
        _ => return Err("it has an unknown version"),
    };
    if length > HEADER_BYTES_MAX {
        return Err("its header is too long");
    }
    let (header, data) = rest.split_at_checked(length).ok_or("it ends within its header")?;
    let header = std::str::from_utf8(header).map_err(|_| "its header is no text")?;
    let after = |key: &str| header.split_once(key).map(|(_, rest)| rest).ok_or("its header lacks a key");
    let kind = after("'descr':")?.split('\'').nth(1).ok_or("its type is no string")?;
    let columns_first = match after("'fortran_order':")?.trim_start() {
        order if order.starts_with("False") => false,
        order if order.starts_with("True") => true,
        _ => return Err("its order is neither"),
    };
    let shape = after("'shape':")?.split(['(', ')']).nth(1).ok_or("its shape is no tuple")?;
    let shape: Vec<usize> = shape
        .split(',')
        .map(str::trim)
        .filter(|length| !length.is_empty())
        .map(|length| length.parse().map_err(|_| "its shape is no tuple of numbers"))
        .collect::<Result<_, _>>()?;
    let count = shape.iter().try_fold(1usize, |n, length| n.checked_mul(*length)).ok_or("it is too large")?;
    let values: Vec<f64> = match kind {
        "<f8" => data.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
        "<f4" => data.as_chunks::<4>().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect(),
        _ => return Err("it does not hold 32-bit or 64-bit floats"),
    };
    let bytes = if kind == "<f8" { 8 } else { 4 };
    if Some(data.len()) != count.checked_mul(bytes) {
        return Err("its size is not that of its shape");
    }
    let values = if columns_first { row_major(&values, &shape) } else { values };
    Ok(Array { shape, values })
}

/// Values stored with the first axis running fastest, brought into row-major order.
fn row_major(values: &[f64], shape: &[usize]) -> Vec<f64> {
    let mut index = vec![0; shape.len()];
    let mut out = Vec::with_capacity(values.len());
    for _ in 0..values.len() {
        let at = index.iter().zip(shape).rev().fold(0, |at, (i, length)| at * length + i);
        out.push(values[at]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(header: &str, data: &[f64]) -> Vec<u8> {
        let mut out = b"\x93NUMPY\x01\x00".to_vec();
        out.extend((header.len() as u16).to_le_bytes());
        out.extend(header.as_bytes());
        data.iter().for_each(|v| out.extend(v.to_le_bytes()));
        out
    }

    #[test]
    fn both_orders_and_both_widths_are_read() {
        let six = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let rows = document("{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), }", &six);
        assert_eq!(array(&rows), Ok(Array { shape: vec![2, 3], values: six.to_vec() }));
        let columns = document("{'descr': '<f8', 'fortran_order': True, 'shape': (2, 3), }", &six);
        assert_eq!(array(&columns).unwrap().values, [1.0, 3.0, 5.0, 2.0, 4.0, 6.0]);
        let mut narrow = document("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", &[]);
        narrow.extend([0.5f32.to_le_bytes(), (-2.0f32).to_le_bytes()].concat());
        assert_eq!(array(&narrow).unwrap().values, [0.5, -2.0]);
    }

    #[test]
    fn documents_that_lie_are_refused() {
        let of = |header: &str| array(&document(header, &[1.0, 2.0])).unwrap_err();
        assert_eq!(
            of("{'descr': '|O', 'fortran_order': False, 'shape': (2,), }"),
            "it does not hold 32-bit or 64-bit floats"
        );
        assert_eq!(
            of("{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }"),
            "its size is not that of its shape"
        );
        let huge = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({0}, {0}), }}", usize::MAX);
        assert_eq!(of(&huge), "it is too large");
        assert_eq!(of("{'descr': '<f8', 'shape': (2,), }"), "its header lacks a key");
        assert_eq!(array(b"\x93NUMPY\x01\x00\xff\xff"), Err("its header is too long"));
        assert_eq!(array(b"\x93NUMPY\x01\x00\x09\x00{"), Err("it ends within its header"));
        assert_eq!(array(b"PK"), Err("it is no NumPy array"));
    }
}
