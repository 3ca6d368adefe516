//! Any bytes as a checkpoint: an error or tensors within the limits. A second form puts the bytes where the pickle is, in
//! an archive that is in order, since few inputs get past the archive's own checks.
#![no_main]

use libfuzzer_sys::fuzz_target;
use provision::checkpoint::{Limits, StateDict};

const LIMITS: Limits = Limits {
    pickle_bytes_max: 1 << 16,
    values_max: 4_096,
    storage_bytes_max: 1 << 16,
    tensor_bytes_max: 1 << 18,
};

fn check(file: &[u8]) {
    let Ok(tensors) = StateDict::read(file, &LIMITS) else { return };
    let mut elements = 0_usize;
    for (name, tensor) in tensors.iter() {
        let count = tensor.shape.iter().product::<usize>();
        elements += count;
        if let Ok(values) = tensors.f32s(name, &tensor.shape) {
            assert_eq!(values.len(), count);
        }
    }
    assert!(elements as u64 <= LIMITS.tensor_bytes_max);
}

fuzz_target!(|data: &[u8]| {
    check(data);
    let (pickle, storage) = data.split_at(data.len() - data.len() / 4);
    check(&zip(&[("r/data.pkl", pickle), ("r/data/0", storage), ("r/byteorder", b"little")]));
});

/// A zip of stored entries.
fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in entries {
        let at = out.len() as u32;
        let length = (content.len() as u32).to_le_bytes();
        // Version, flags, method 0, time, date; CRC, both sizes, lengths of the name and of the extra field.
        let mut common = vec![20, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        common.extend(crc(content).to_le_bytes());
        common.extend(length);
        common.extend(length);
        common.extend((name.len() as u16).to_le_bytes());
        common.extend([0, 0]);
        out.extend(b"PK\x03\x04");
        out.extend(&common);
        out.extend(name.as_bytes());
        out.extend(*content);
        directory.extend(b"PK\x01\x02\x14\0");
        directory.extend(&common);
        // Comment length, disk, attributes.
        directory.extend([0; 10]);
        directory.extend(at.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let start = out.len() as u32;
    let count = (entries.len() as u16).to_le_bytes();
    out.extend(&directory);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend(count);
    out.extend(count);
    out.extend((directory.len() as u32).to_le_bytes());
    out.extend(start.to_le_bytes());
    out.extend([0, 0]);
    out
}

/// CRC-32 as zip has it, bit by bit.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}
