//! Reader of NumPy's `.npy` and `.npz`, as far as the recorded references need it.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// One array, its numbers widened to f64.
#[derive(Debug, Clone)]
pub struct Array {
    /// Length of each axis.
    pub shape: Vec<usize>,
    /// Row-major values.
    pub values: Vec<f64>,
}

impl Array {
    /// Values of entry `index` of the first axis.
    #[must_use]
    pub fn row(&self, index: usize) -> &[f64] {
        let width: usize = self.shape[1..].iter().product();
        &self.values[index * width..(index + 1) * width]
    }

    /// The values as f32.
    #[must_use]
    pub fn to_f32(&self) -> Vec<f32> {
        self.values.iter().map(|v| *v as f32).collect()
    }
}

/// Every array of an `.npz`.
///
/// # Panics
/// When the file is not what this reader knows: a test's input is broken.
#[must_use]
pub fn read_npz(path: &Path) -> BTreeMap<String, Array> {
    let file = std::fs::File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut archive = zip::ZipArchive::new(file).expect("an npz is a zip");
    (0..archive.len())
        .map(|i| {
            let mut member = archive.by_index(i).expect("a member of the npz");
            let name = member.name().trim_end_matches(".npy").to_owned();
            let mut bytes = Vec::new();
            member.read_to_end(&mut bytes).expect("a whole member");
            (name, parse_npy(&bytes))
        })
        .collect()
}

/// One `.npy` document.
///
/// # Panics
/// As [`read_npz`].
#[must_use]
pub fn parse_npy(bytes: &[u8]) -> Array {
    assert_eq!(&bytes[..6], b"\x93NUMPY", "an npy starts with its magic");
    let (length, start) = match bytes[6] {
        1 => (usize::from(u16::from_le_bytes([bytes[8], bytes[9]])), 10),
        _ => (u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]) as usize, 12),
    };
    let header = std::str::from_utf8(&bytes[start..start + length]).expect("an npy header is text");
    let after = |key: &str| header.split(key).nth(1).unwrap_or_else(|| panic!("{key} in {header}"));
    let kind = after("'descr':").split('\'').nth(1).expect("a quoted type");
    assert!(after("'fortran_order':").trim_start().starts_with("False"), "row-major arrays only");
    let shape: Vec<usize> = after("'shape':")
        .split(['(', ')'])
        .nth(1)
        .expect("a shape in parentheses")
        .split(',')
        .filter_map(|n| n.trim().parse().ok())
        .collect();
    let data = &bytes[start + length..];
    macro_rules! read {
        ($t:ty) => {
            data.chunks_exact(size_of::<$t>())
                .map(|b| <$t>::from_le_bytes(b.try_into().expect("whole numbers")) as f64)
                .collect()
        };
    }
    let values: Vec<f64> = match kind {
        "<f4" => read!(f32),
        "<f8" => read!(f64),
        "<i8" => read!(i64),
        "<i4" => read!(i32),
        "<i2" => read!(i16),
        "|u1" | "|b1" => read!(u8),
        "|i1" => read!(i8),
        other => panic!("numbers of type {other}"),
    };
    assert_eq!(values.len(), shape.iter().product::<usize>(), "as many values as the shape says");
    Array { shape, values }
}
