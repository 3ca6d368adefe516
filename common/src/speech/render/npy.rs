//! `embeddings.npy`: one NumPy array file, format version 1.0 (NumPy enhancement proposal 1), little-endian float32 in C
//! order.

/// Magic bytes and format version.
const PREFIX: &[u8; 8] = b"\x93NUMPY\x01\x00";
/// The header's end is padded to a multiple of this, so that the data can be mapped.
const ALIGNMENT: usize = 64;

/// The file of an array `[rows, columns]`; rows are speakers in label order, columns the dimensions of the embedding.
///
/// # Panics
/// When `values` has another length than `rows * columns`.
#[must_use]
pub fn write(values: &[f32], rows: usize, columns: usize) -> Vec<u8> {
    assert_eq!(Some(values.len()), rows.checked_mul(columns), "values are [rows, columns]");
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    // Prefix, two bytes of length, header, a line break.
    let used = PREFIX.len() + 2 + header.len() + 1;
    header.extend(std::iter::repeat_n(' ', used.next_multiple_of(ALIGNMENT) - used));
    header.push('\n');
    let length = u16::try_from(header.len()).expect("two numbers fit in a short header");
    let mut out = Vec::with_capacity(PREFIX.len() + 2 + header.len() + 4 * values.len());
    out.extend_from_slice(PREFIX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(header.as_bytes());
    for value in values {
        out.extend_from_slice(&value.to_le_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_and_values_lie_where_numpy_looks() {
        let file = write(&[1.0, -2.5, 0.0, 3.0, 4.0, 5.0], 2, 3);
        assert_eq!(&file[..8], b"\x93NUMPY\x01\x00");
        let length = usize::from(u16::from_le_bytes([file[8], file[9]]));
        assert_eq!((10 + length) % 64, 0);
        let header = std::str::from_utf8(&file[10..10 + length]).unwrap();
        assert_eq!(header.trim_end(), "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }");
        assert!(header.ends_with('\n'));
        assert_eq!(file[10 + length..].len(), 24);
        assert_eq!(&file[14 + length..18 + length], (-2.5_f32).to_le_bytes());
    }

    #[test]
    fn nobody_spoke() {
        let file = write(&[], 0, 192);
        assert_eq!(file.len() % 64, 0);
        assert!(String::from_utf8_lossy(&file).contains("'shape': (0, 192)"));
    }
}
