//! Interoperation with the `zip` crate's writer, and archives that lie.

use std::io::{Cursor, Write};

use proptest::prelude::*;
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

use super::*;

fn archive(entries: &[(&str, &[u8], CompressionMethod)]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content, method) in entries {
        writer.start_file(*name, SimpleFileOptions::default().compression_method(*method)).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn both() -> Vec<u8> {
    let text = b"a text that repeats a text that repeats a text".repeat(20);
    archive(&[("stored", &text, CompressionMethod::Stored), ("d/packed", &text, CompressionMethod::Deflated)])
}

#[test]
fn reads_what_another_writer_wrote() {
    let file = both();
    let archive = Archive::open(&file).unwrap();
    assert_eq!(archive.names().collect::<Vec<_>>(), ["d/packed", "stored"]);
    assert_eq!(archive.read("stored", 1 << 20).unwrap(), archive.read("d/packed", 1 << 20).unwrap());
    assert_eq!(archive.stored("stored", 1 << 20).unwrap().len(), 920);
    assert!(matches!(archive.stored("d/packed", 1 << 20), Err(ArchiveError::Unsupported { .. })));
    assert_eq!(archive.read("none", 9), Err(ArchiveError::Missing { name: "none".into() }));
}

#[test]
fn sizes_are_bounded_before_anything_is_unpacked() {
    let file = both();
    let archive = Archive::open(&file).unwrap();
    for name in ["stored", "d/packed"] {
        assert!(archive.read(name, 920).is_ok(), "at the bound");
        let refused = archive.read(name, 919);
        assert_eq!(refused, Err(ArchiveError::TooLarge { name: name.into(), bytes: 920, bytes_max: 919 }));
    }
}

#[test]
fn a_bomb_is_not_unpacked_beyond_its_stated_size() {
    let zeros = vec![0; 8 << 20];
    let mut file = archive(&[("bomb", &zeros, CompressionMethod::Deflated)]);
    assert!(file.len() < 64 << 10);
    let directory = find(&file, b"PK\x01\x02");
    file[directory + 24..directory + 28].copy_from_slice(&16u32.to_le_bytes());
    let archive = Archive::open(&file).unwrap();
    assert_eq!(archive.read("bomb", 1 << 30), Err(ArchiveError::Damaged { name: "bomb".into() }));
}

#[test]
fn damage_is_noticed() {
    let mut file = both();
    let content = find(&file, b"a text");
    file[content] ^= 1;
    assert_eq!(
        Archive::open(&file).unwrap().read("stored", 1 << 20),
        Err(ArchiveError::Damaged { name: "stored".into() })
    );
    let mut file = both();
    let directory = find(&file, b"PK\x01\x02");
    file[directory + 42..directory + 46].copy_from_slice(&0x7fff_0000u32.to_le_bytes());
    assert_eq!(
        Archive::open(&file).unwrap().read("stored", 1 << 20),
        Err(ArchiveError::Damaged { name: "stored".into() }),
        "a header far outside"
    );
}

#[test]
fn what_is_not_read_is_named() {
    let change = |at: usize, bytes: &[u8]| {
        let mut file = both();
        let directory = find(&file, b"PK\x01\x02");
        file[directory + at..directory + at + bytes.len()].copy_from_slice(bytes);
        Archive::open(&file).unwrap_err()
    };
    assert_eq!(change(8, &[1, 0]), ArchiveError::Unsupported { what: "encryption" });
    assert_eq!(change(10, &[12, 0]), ArchiveError::Unsupported { what: "a compression other than deflate" });
    assert_eq!(change(24, &[0xff; 4]), ArchiveError::Unsupported { what: "zip64" });
    assert!(matches!(change(28, &[0xff, 0xff]), ArchiveError::Malformed { .. }), "too long a name");
}

#[test]
fn what_is_no_archive_is_refused() {
    for data in [&b""[..], b"PK\x05\x06", &[0; 22], &[b'P'; 70_000]] {
        assert!(matches!(Archive::open(data), Err(ArchiveError::Malformed { .. })));
    }
    assert_eq!(Archive::open(b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0").unwrap().names().count(), 0);
}

fn find(data: &[u8], pattern: &[u8]) -> usize {
    data.windows(pattern.len()).position(|window| window == pattern).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_archives_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut file = both();
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        let cut = cut.index(2 * file.len());
        file.truncate(cut);
        if let Ok(archive) = Archive::open(&file) {
            for name in archive.names() {
                if let Ok(content) = archive.read(name, 1 << 16) {
                    prop_assert!(content.len() <= 1 << 16);
                }
            }
        }
    }
}
