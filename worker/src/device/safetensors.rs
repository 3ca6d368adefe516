//! Arrays of 64-bit floats out of a `safetensors` file.
//!
//! Eight bytes of length, a JSON header, then the numbers, little-endian:
//! <https://huggingface.co/docs/safetensors/index#format>. Every offset is checked against the file.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Largest header that is read, bytes.
const HEADER_BYTES_MAX: u64 = 1 << 16;
/// Key of the header that describes no array.
const METADATA: &str = "__metadata__";

/// Why a file gives no arrays.
#[derive(Debug, thiserror::Error)]
pub enum SafetensorsError {
    /// Cut short, or not such a file.
    #[error("not a whole safetensors file: {what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
    /// The header does not parse.
    #[error("the header of the safetensors file does not parse")]
    Header(#[source] serde_json::Error),
    /// An array of another element type, or that does not fit the file.
    #[error("array `{array}` of the safetensors file is not usable: {what}")]
    Array {
        /// Which.
        array: String,
        /// What is wrong.
        what: &'static str,
    },
}

#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [usize; 2],
}

/// The arrays of a file, by name, each row-major.
///
/// # Errors
/// See [`SafetensorsError`].
pub fn arrays(file: &[u8]) -> Result<BTreeMap<String, Vec<f64>>, SafetensorsError> {
    let cut = || SafetensorsError::Malformed { what: "it ends too early" };
    let (length, rest) = file.split_first_chunk::<8>().ok_or_else(cut)?;
    let length = u64::from_le_bytes(*length);
    if length > HEADER_BYTES_MAX {
        return Err(SafetensorsError::Malformed { what: "its header is too long" });
    }
    let (header, data) = rest.split_at_checked(length as usize).ok_or_else(cut)?;
    let header: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(header).map_err(SafetensorsError::Header)?;
    let mut found = BTreeMap::new();
    for (array, value) in header.into_iter().filter(|(name, _)| name != METADATA) {
        let entry: Entry = serde_json::from_value(value).map_err(SafetensorsError::Header)?;
        let unusable = |what| SafetensorsError::Array { array: array.clone(), what };
        if entry.dtype != "F64" {
            return Err(unusable("it does not hold 64-bit floats"));
        }
        let [start, end] = entry.data_offsets;
        let raw = data.get(start..end).ok_or_else(|| unusable("it lies outside the file"))?;
        let bytes = entry.shape.iter().try_fold(8u64, |product, dim| product.checked_mul(*dim));
        if bytes != Some(raw.len() as u64) {
            return Err(unusable("its size is not that of its shape"));
        }
        let numbers = raw.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)).collect();
        found.insert(array, numbers);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[f64]) -> Vec<u8> {
        let mut out = (header.len() as u64).to_le_bytes().to_vec();
        out.extend(header.as_bytes());
        data.iter().for_each(|v| out.extend(v.to_le_bytes()));
        out
    }

    #[test]
    fn arrays_are_read_by_name() {
        let header = r#"{"__metadata__":{"by":"x"},"a":{"dtype":"F64","shape":[2],"data_offsets":[0,16]},
            "b":{"dtype":"F64","shape":[1,1],"data_offsets":[16,24]}}"#;
        let found = arrays(&file(header, &[1.5, -2.0, 3.0])).unwrap();
        assert_eq!((&found["a"][..], &found["b"][..]), (&[1.5, -2.0][..], &[3.0][..]));
    }

    #[test]
    fn files_that_lie_are_refused() {
        let entry = |text: &str| arrays(&file(&format!(r#"{{"a":{text}}}"#), &[1.0, 2.0]));
        for text in [
            r#"{"dtype":"F32","shape":[4],"data_offsets":[0,16]}"#,
            r#"{"dtype":"F64","shape":[2],"data_offsets":[8,24]}"#,
            r#"{"dtype":"F64","shape":[3],"data_offsets":[0,16]}"#,
            r#"{"dtype":"F64","shape":[2],"data_offsets":[16,0]}"#,
            r#"{"dtype":"F64","shape":[9223372036854775807,9],"data_offsets":[0,16]}"#,
        ] {
            assert!(matches!(entry(text), Err(SafetensorsError::Array { .. })), "{text}");
        }
        assert!(matches!(entry("7"), Err(SafetensorsError::Header(_))));
        assert!(matches!(arrays(b"short"), Err(SafetensorsError::Malformed { .. })));
        assert!(matches!(arrays(&[0xff; 16]), Err(SafetensorsError::Malformed { .. })));
        assert!(matches!(arrays(&[9, 0, 0, 0, 0, 0, 0, 0, b'{']), Err(SafetensorsError::Malformed { .. })));
    }
}
