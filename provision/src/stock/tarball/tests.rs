//! Archives of another writer (the `tar` crate, gzip, zstd), and archives that lie in every way that has an error.

use std::io::Write as _;

use proptest::prelude::*;
use tar::{Builder, EntryType};

use super::*;

fn member(path: &str, content: &[u8]) -> Member {
    Member { path: path.to_owned(), bytes: content.len() as u64, sha256: digest::of(content), required: true }
}

/// What the tests' archives have to hold.
fn members() -> Vec<Member> {
    vec![member("manifest.json", b"{}"), member("net/a.onnx", &network())]
}

fn network() -> Vec<u8> {
    (0..100_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

fn zstd(tar: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(tar, 1).unwrap()
}

fn gzip(tar: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(tar).unwrap();
    out.finish().unwrap()
}

fn add(tar: &mut Builder<Vec<u8>>, path: &str, content: &[u8]) {
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, path, content).unwrap();
}

/// An entry whose name the crate would not write.
fn add_raw(tar: &mut Builder<Vec<u8>>, name: &[u8], kind: EntryType, link: &[u8], content: &[u8]) {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link);
    header.set_size(content.len() as u64);
    header.set_cksum();
    tar.append(&header, content).unwrap();
}

/// The tar of both members, with `more` done before the end.
fn tar_with(more: impl FnOnce(&mut Builder<Vec<u8>>)) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    add(&mut tar, "manifest.json", b"{}");
    add(&mut tar, "net/a.onnx", &network());
    more(&mut tar);
    tar.into_inner().unwrap()
}

fn unpacked(archive: &[u8]) -> Result<tempfile::TempDir, TarballError> {
    let folder = tempfile::tempdir().unwrap();
    unpack(archive, &members(), folder.path()).map(|()| folder)
}

fn refused(archive: &[u8]) -> TarballError {
    unpacked(archive).expect_err("the archive is refused")
}

#[test]
fn archives_of_other_writers_are_unpacked() {
    let plain = tar_with(|_| ());
    let mut dotted = Builder::new(Vec::new());
    add_raw(&mut dotted, b"./", EntryType::Directory, b"", b"");
    add_raw(&mut dotted, b"./net/", EntryType::Directory, b"", b"");
    add_raw(&mut dotted, b"./net/a.onnx", EntryType::Regular, b"", &network());
    add_raw(&mut dotted, b"./manifest.json", EntryType::Regular, b"", b"{}");
    for archive in [zstd(&plain), gzip(&plain), zstd(&dotted.into_inner().unwrap())] {
        let folder = unpacked(&archive).unwrap();
        assert_eq!(fs::read(folder.path().join("manifest.json")).unwrap(), b"{}");
        assert_eq!(fs::read(folder.path().join("net/a.onnx")).unwrap(), network());
    }
}

#[test]
fn our_archives_are_the_same_each_time_and_others_read_them() {
    let folder = tempfile::tempdir().unwrap();
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(130));
    let files: [(&str, &[u8]); 4] =
        [("manifest.json", b"{}"), ("net/a.onnx", &network()), ("empty", b""), (&long, b"deep")];
    for (path, content) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let members: Vec<_> = files.iter().map(|(path, content)| member(path, content)).collect();
    let archive = folder.path().join("one.tar.zst");
    let packed = pack(folder.path(), &members, &archive).unwrap();
    assert_eq!(pack(folder.path(), &members, &folder.path().join("two.tar.zst")).unwrap(), packed);
    assert_eq!(digest::of_file(&archive, u64::MAX - 1).unwrap(), (packed.sha256, packed.bytes));
    let plain = zstd::stream::decode_all(File::open(&archive).unwrap()).unwrap();
    let mut theirs = tar::Archive::new(plain.as_slice());
    let read: Vec<_> = theirs
        .entries()
        .unwrap()
        .map(|entry| {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (entry.path().unwrap().to_str().unwrap().to_owned(), content)
        })
        .collect();
    assert_eq!(read, files.map(|(path, content)| (path.to_owned(), content.to_vec())));
    let into = tempfile::tempdir().unwrap();
    unpack(File::open(&archive).unwrap(), &members, into.path()).unwrap();
    assert_eq!(fs::read(into.path().join(long)).unwrap(), b"deep");
    let mut changed = members.clone();
    changed[1].sha256 = digest::of(b"");
    assert!(matches!(
        pack(folder.path(), &changed, &archive),
        Err(TarballError::Digest { path, .. }) if path == "net/a.onnx"
    ));
}

#[test]
fn long_names_are_read_in_both_forms() {
    let long = format!("{}/x", "n".repeat(200));
    let wanted = [member(&long, b"1")];
    let mut gnu = Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(1);
    gnu.append_data(&mut header, &long, &b"1"[..]).unwrap();
    let mut pax = Builder::new(Vec::new());
    pax.append_pax_extensions([("path", long.as_bytes()), ("mtime", &b"1.5"[..])]).unwrap();
    add(&mut pax, "short", b"1");
    for tar in [gnu.into_inner().unwrap(), pax.into_inner().unwrap()] {
        let folder = tempfile::tempdir().unwrap();
        unpack(zstd(&tar).as_slice(), &wanted, folder.path()).unwrap();
    }
}

#[test]
fn paths_that_lead_elsewhere() {
    for (name, expected) in [
        (&b"/etc/passwd"[..], "absolute"),
        (b"//manifest.json", "absolute"),
        (b"../manifest.json", "outside"),
        (b"net/../../a.onnx", "outside"),
        (b"net/..", "outside"),
        (b"net/\xff", "strange"),
        (b"net/\x1b[2J", "strange"),
    ] {
        for kind in [EntryType::Regular, EntryType::Directory] {
            let tar = tar_with(|tar| add_raw(tar, name, kind, b"", b""));
            let found = match refused(&zstd(&tar)) {
                TarballError::PathAbsolute { .. } => "absolute",
                TarballError::PathOutside { .. } => "outside",
                TarballError::PathStrange { .. } => "strange",
                other => panic!("{other}"),
            };
            assert_eq!(found, expected, "{name:?}");
        }
    }
    let mut hidden = Builder::new(Vec::new());
    hidden.append_pax_extensions([("path", &b"../outside"[..])]).unwrap();
    add(&mut hidden, "manifest.json", b"{}");
    let error = refused(&zstd(&hidden.into_inner().unwrap()));
    assert!(matches!(error, TarballError::PathOutside { .. }), "in an extension too: {error}");
}

#[test]
fn links_devices_and_unknown_kinds() {
    for kind in [EntryType::Symlink, EntryType::Link] {
        let tar = tar_with(|tar| add_raw(tar, b"net/a.onnx", kind, b"/etc/passwd", b""));
        let error = refused(&zstd(&tar));
        assert!(matches!(&error, TarballError::Link { target, .. } if target == "/etc/passwd"), "{error}");
    }
    for kind in [EntryType::Char, EntryType::Block, EntryType::Fifo] {
        let tar = tar_with(|tar| add_raw(tar, b"net/a.onnx", kind, b"", b""));
        assert!(matches!(refused(&zstd(&tar)), TarballError::Device { .. }));
    }
    for kind in [EntryType::GNUSparse, EntryType::new(b'V'), EntryType::new(b'7')] {
        let tar = tar_with(|tar| add_raw(tar, b"net/a.onnx", kind, b"", b""));
        assert!(matches!(refused(&zstd(&tar)), TarballError::UnknownKind { .. }));
    }
    let mut sparse = Builder::new(Vec::new());
    sparse.append_pax_extensions([("GNU.sparse.major", &b"1"[..])]).unwrap();
    add(&mut sparse, "manifest.json", b"{}");
    assert!(matches!(refused(&zstd(&sparse.into_inner().unwrap())), TarballError::UnknownKind { .. }));
}

#[test]
fn files_that_are_not_what_the_manifest_says() {
    let of = |files: &[(&str, &[u8])]| {
        let mut tar = Builder::new(Vec::new());
        files.iter().for_each(|(path, content)| add(&mut tar, path, content));
        refused(&zstd(&tar.into_inner().unwrap()))
    };
    let mut other = network();
    other[77] ^= 1;
    let error = of(&[("manifest.json", b"{}"), ("net/a.onnx", &other)]);
    assert!(matches!(&error, TarballError::Digest { path, .. } if path == "net/a.onnx"), "{error}");
    let error = of(&[("manifest.json", b"{}"), ("net/a.onnx", &network()[1..])]);
    assert!(matches!(error, TarballError::Size { found: 399_999, expected: 400_000, .. }));
    let error = of(&[("manifest.json", b"{}"), ("net/b.onnx", b"")]);
    assert!(matches!(&error, TarballError::NotListed { path } if path == "net/b.onnx"), "{error}");
    let error = of(&[("manifest.json", b"{}"), ("manifest.json", b"{}")]);
    assert!(matches!(error, TarballError::Twice { .. }));
    let error = of(&[("net/a.onnx", &network())]);
    assert!(matches!(&error, TarballError::Missing { path } if path == "manifest.json"), "{error}");
}

#[test]
fn a_size_that_lies_is_refused_before_a_byte_is_written() {
    let mut header = tar::Header::new_ustar();
    header.set_path("net/a.onnx").unwrap();
    header.set_size(1 << 32);
    header.set_cksum();
    let mut tar = header.as_bytes().to_vec();
    tar.extend(network());
    let folder = tempfile::tempdir().unwrap();
    let error = unpack(zstd(&tar).as_slice(), &members(), folder.path()).unwrap_err();
    assert!(matches!(error, TarballError::Size { .. }), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn cut_anywhere_it_is_cut_short() {
    let tar = tar_with(|_| ());
    for whole in [zstd(&tar), gzip(&tar)] {
        for cut in [0, 1, 3, 4, 10, 100, whole.len() / 2, whole.len() - 1] {
            let error = refused(&whole[..cut]);
            let fits = matches!(error, TarballError::Truncated)
                // Too little to tell what it is.
                || (cut < 4 && matches!(error, TarballError::UnknownCompression));
            assert!(fits, "{cut} of {}: {error}", whole.len());
        }
    }
    // Whole as far as the decompressor knows, but without the tar's end.
    for cut in [tar.len() - 1024, 512, 700] {
        assert!(matches!(refused(&zstd(&tar[..cut])), TarballError::Truncated), "{cut}");
    }
}

#[test]
fn what_is_no_archive() {
    assert!(matches!(refused(b"PK\x03\x04 a zip"), TarballError::UnknownCompression));
    assert!(matches!(refused(&tar_with(|_| ())), TarballError::UnknownCompression), "an uncompressed tar");
    assert!(matches!(refused(&zstd(&[b'x'; 1024])), TarballError::NotTar));
    let mut tar = tar_with(|_| ());
    tar[0] ^= 1;
    assert!(matches!(refused(&zstd(&tar)), TarballError::NotTar), "a header that does not sum up");
    let mut damaged = zstd(&tar_with(|_| ()));
    let middle = damaged.len() / 2;
    for byte in &mut damaged[middle..middle + 64] {
        *byte ^= 0x55;
    }
    let error = refused(&damaged);
    assert!(matches!(error, TarballError::Compression { .. } | TarballError::Digest { .. }), "{error}");
}

#[test]
fn bombs_are_not_unpacked() {
    // Zeros without end behind the archive: 64 MB in a few kB.
    let mut tar = tar_with(|_| ());
    tar.resize(64 << 20, 0);
    let archive = zstd(&tar);
    assert!(archive.len() < 1 << 20);
    assert!(matches!(refused(&archive), TarballError::Bomb { .. }));
    // At the bound, and one past it.
    let bound = usize::try_from(unpacked_bytes_max(&members())).unwrap();
    tar.resize(bound, 0);
    assert!(unpacked(&zstd(&tar)).is_ok());
    tar.push(0);
    assert!(matches!(refused(&zstd(&tar)), TarballError::Bomb { bytes_max } if bytes_max == bound as u64));
}

#[test]
fn a_window_beyond_the_bound_is_refused() {
    let mut out = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    out.long_distance_matching(true).unwrap();
    out.window_log(28).unwrap();
    out.write_all(&tar_with(|_| ())).unwrap();
    let error = refused(&out.finish().unwrap());
    assert!(matches!(error, TarballError::Compression { .. }), "{error}");
}

#[test]
fn entries_are_counted() {
    let folders = |count: usize| {
        tar_with(|tar| (2..count).for_each(|_| add_raw(tar, b"net/", EntryType::Directory, b"", b"")))
    };
    assert!(unpacked(&zstd(&folders(MEMBERS_MAX))).is_ok(), "at the bound");
    assert!(matches!(refused(&zstd(&folders(MEMBERS_MAX + 1))), TarballError::TooMany { .. }));
    // Extensions that never come to an entry count as well.
    let mut endless = Builder::new(Vec::new());
    for _ in 0..=MEMBERS_MAX {
        endless.append_pax_extensions([("comment", &b"x"[..])]).unwrap();
    }
    assert!(matches!(refused(&zstd(&endless.into_inner().unwrap())), TarballError::TooMany { .. }));
}

#[test]
fn extensions_are_bounded() {
    let with = |bytes: usize| {
        let mut tar = Builder::new(Vec::new());
        let comment = vec![b'c'; bytes - "65536 comment=\n".len()];
        tar.append_pax_extensions([("comment", comment.as_slice())]).unwrap();
        add(&mut tar, "manifest.json", b"{}");
        add(&mut tar, "net/a.onnx", &network());
        unpacked(&zstd(&tar.into_inner().unwrap()))
    };
    assert!(with(EXTENSION_BYTES_MAX as usize).is_ok(), "at the bound");
    assert!(matches!(with(EXTENSION_BYTES_MAX as usize + 1), Err(TarballError::Extension)));
    let tar = tar_with(|tar| add_raw(tar, b"pax", EntryType::XHeader, b"", b"no records"));
    assert!(matches!(refused(&zstd(&tar)), TarballError::Extension));
    let tar = tar_with(|tar| add_raw(tar, b"pax", EntryType::XGlobalHeader, b"", b"12 path=/etc\n"));
    assert!(matches!(refused(&zstd(&tar)), TarballError::Extension), "a path for all that follow");
}

#[test]
fn nothing_follows_the_end() {
    let mut tar = tar_with(|_| ());
    tar.extend(b"more");
    assert!(matches!(refused(&zstd(&tar)), TarballError::TrailingData));
    let mut second = tar_with(|_| ());
    second.extend(tar_with(|_| ()));
    assert!(matches!(refused(&zstd(&second)), TarballError::TrailingData), "an archive behind the archive");
    let mut archive = zstd(&tar_with(|_| ()));
    archive.extend(b"no frame");
    assert!(unpacked(&archive).is_err(), "behind the compressed bytes");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_archives_are_refused_or_the_same(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let wanted = [member("a", b"alpha"), member("b", &[7; 1000])];
        let mut tar = Builder::new(Vec::new());
        add(&mut tar, "a", b"alpha");
        add(&mut tar, "b", &[7; 1000]);
        let mut tar = tar.into_inner().unwrap();
        for (at, byte) in changes {
            let at = at.index(tar.len());
            tar[at] = byte;
        }
        let folder = tempfile::tempdir().unwrap();
        if unpack(zstd(&tar).as_slice(), &wanted, folder.path()).is_ok() {
            prop_assert_eq!(fs::read(folder.path().join("a")).unwrap(), b"alpha");
            prop_assert_eq!(fs::read(folder.path().join("b")).unwrap(), [7; 1000]);
            prop_assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        }
    }
}
