use std::fs;

use super::super::cache_dir::Identity;
use super::*;

#[test]
fn what_killed_runs_left_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::at(folder.path().join("home"));
    let depot = Depot::open(&format!("file://{}", folder.path().join("store").display())).unwrap();
    let member = Member { path: "a".into(), bytes: 9_000_000, sha256: String::new(), required: true };
    let archive = Archive {
        depot: &depot,
        key: "key".into(),
        identity: Identity { bytes: 6 << 20, etag: "e".into() },
        members: vec![member],
        title: "toy@1".into(),
        cache: downloads(&home, "toy"),
        name: "toy-1".into(),
    };
    let whole = room::needed_bytes(6 << 20, 9_000_000);
    let lock = Lock::acquire(&home, "bundle-toy", || ()).unwrap();
    let left = |path: PathBuf| {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "of a killed run").unwrap();
        path
    };
    let begin = |free: u64| {
        let left =
            [left(home.partial().join("bundle-toy.1/new/a")), left(archive.cache.join("toy-0.download"))];
        begin(&archive, &lock, home.root(), |_| {
            assert!(!left.iter().any(|path| path.exists()), "swept before the disk is asked");
            Ok(free)
        })
    };
    let missing = |begun| match begun {
        Err(EnsureError::NoRoom { bytes, free, .. }) => Some((bytes, free)),
        _ => None,
    };
    assert_eq!(missing(begin(whole - 1)), Some((whole, whole - 1)));
    assert_eq!(fs::read_dir(&archive.cache).unwrap().count(), 0, "nothing was fetched and nothing stays");

    let (partial, download) = begin(whole).unwrap();
    download.note(&download.missing()[0]).unwrap();
    drop((partial, download));
    let rest = whole - (4 << 20);
    assert_eq!(missing(begin(rest - 1)), Some((rest, rest - 1)), "what came needs no room");
    assert!(begin(rest).unwrap().1.is_resumed(), "and stays");
}
