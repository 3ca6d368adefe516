//! What every store does. Each case gets a store of its own, empty.

use std::time::Duration;

use bytes::Bytes;
use common::port::object_store::content::{Body, ByteSource, Content, Expected, NextChunk};
use common::port::object_store::{ByteRange, KEY_BYTES_MAX, ObjectStore, PutOptions, StoreError};
use futures::future::join_all;
use sha2::{Digest as _, Sha256};

/// Bytes that repeat late and do not compress.
#[must_use]
pub fn noise(bytes: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut all = Vec::with_capacity(bytes + 8);
    while all.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        all.extend_from_slice(&state.to_le_bytes());
    }
    all.truncate(bytes);
    all.into()
}

/// Gives bytes in pieces of a size, as an upload of unknown length would.
pub struct Pieces {
    rest: Bytes,
    size: usize,
}

impl Pieces {
    /// The bytes as content, in pieces of `size`.
    #[must_use]
    pub fn content(bytes: Bytes, size: usize) -> Content {
        Content::Stream(Body::new(Self { rest: bytes, size }))
    }
}

impl ByteSource for Pieces {
    fn next_chunk(&mut self) -> NextChunk<'_> {
        let piece = self.rest.split_to(self.size.min(self.rest.len()));
        Box::pin(std::future::ready(Ok((!piece.is_empty()).then_some(piece))))
    }
}

/// Fails in the middle.
struct Broken(u32);

impl ByteSource for Broken {
    fn next_chunk(&mut self) -> NextChunk<'_> {
        self.0 += 1;
        let failed = || StoreError::Source { detail: "the sender hung up".to_owned() };
        let next = if self.0 < 3 { Ok(Some(noise(100_000, 1))) } else { Err(failed()) };
        Box::pin(std::future::ready(next))
    }
}

/// Reads a body to its end.
///
/// # Errors
/// What the body says.
pub async fn drain(mut body: Body) -> Result<Vec<u8>, StoreError> {
    let mut all = Vec::new();
    while let Some(chunk) = body.next().await? {
        assert!(!chunk.is_empty(), "a piece is never empty");
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}

/// Writes an object of some bytes.
///
/// # Panics
/// When that fails.
pub async fn put<S: ObjectStore>(store: &S, key: &str, bytes: &Bytes) {
    let info = store.put(key, Content::Bytes(bytes.clone()), &PutOptions::default()).await.unwrap();
    assert_eq!(info.bytes, bytes.len() as u64);
}

/// Written, read, described, replaced, removed.
pub async fn objects_come_and_go<S: ObjectStore>(store: S) {
    let missing = |error: StoreError| assert!(matches!(error, StoreError::NotFound { .. }), "{error}");
    missing(store.get("a/b", ByteRange::ALL).await.unwrap_err());
    missing(store.head("a/b").await.unwrap_err());
    missing(store.read("a/b", 10).await.unwrap_err());
    store.delete("a/b").await.expect("nothing is there");
    for bytes in [noise(70_000, 1), noise(5, 2), Bytes::new()] {
        put(&store, "a/b", &bytes).await;
        let object = store.get("a/b", ByteRange::ALL).await.unwrap();
        assert_eq!(object.info.bytes, bytes.len() as u64);
        assert_eq!(object.info, store.head("a/b").await.unwrap());
        let age = object.info.modified.expect("stores tell the time").elapsed().unwrap_or_default();
        assert!(age < Duration::from_secs(60), "{age:?}");
        assert_eq!(drain(object.body).await.unwrap(), bytes);
    }
    store.delete("a/b").await.unwrap();
    missing(store.head("a/b").await.unwrap_err());
}

/// Of many that write where nothing is, one succeeds.
pub async fn one_of_many_writers_wins<S: ObjectStore>(store: S) {
    for round in 0..5 {
        let key = format!("race/{round}");
        let contents: Vec<_> = (0..16_u64).map(|writer| noise(3000, writer + 1)).collect();
        let puts = contents.iter().map(|content| {
            let (store, key, content) = (store.clone(), key.clone(), content.clone());
            tokio::spawn(
                async move { store.put(&key, Content::Bytes(content), &PutOptions::if_absent()).await },
            )
        });
        let results: Vec<_> = join_all(puts).await.into_iter().map(Result::unwrap).collect();
        let winners: Vec<_> = results.iter().enumerate().filter(|(_, result)| result.is_ok()).collect();
        assert_eq!(winners.len(), 1, "{results:?}");
        let lost =
            |result: &Result<_, _>| matches!(result, Ok(_) | Err(StoreError::PreconditionFailed { .. }));
        assert!(results.iter().all(lost), "{results:?}");
        assert_eq!(store.read(&key, 10_000).await.unwrap(), contents[winners[0].0]);
    }
    let parts =
        store.put("race/0", Pieces::content(noise(12 << 20, 9), 1 << 20), &PutOptions::if_absent()).await;
    assert!(matches!(parts, Err(StoreError::PreconditionFailed { .. })), "in parts too: {parts:?}");
}

/// Parts of objects, cut at the end, refused behind it.
pub async fn ranges_are_read<S: ObjectStore>(store: S) {
    let bytes = noise(600_000, 7);
    put(&store, "r", &bytes).await;
    for (start, end) in
        [(0, None), (1, None), (599_999, None), (0, Some(1)), (100, Some(300_000)), (5, Some(9_999_999))]
    {
        let object = store.get("r", ByteRange { start, end }).await.unwrap();
        assert_eq!(object.info.bytes, bytes.len() as u64, "the whole object's length");
        let last = end.map_or(bytes.len(), |end| (end as usize).min(bytes.len()));
        assert_eq!(drain(object.body).await.unwrap(), bytes[start as usize..last], "{start} {end:?}");
    }
    for (start, end) in [(600_000, None), (700_000, Some(800_000)), (5, Some(5)), (5, Some(4))] {
        let error = store.get("r", ByteRange { start, end }).await.unwrap_err();
        assert!(matches!(error, StoreError::Rejected { .. }), "{start} {end:?}: {error}");
    }
}

/// Reading a small object is bounded by the caller.
pub async fn reading_is_bounded<S: ObjectStore>(store: S) {
    put(&store, "s", &noise(1000, 3)).await;
    assert_eq!(store.read("s", 1000).await.unwrap().len(), 1000);
    let error = store.read("s", 999).await.unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { bytes: 1000, bytes_max: 999, .. }), "{error}");
}

/// Listings are in byte order, by pages, and only of the prefix.
pub async fn listings_are_paged<S: ObjectStore>(store: S) {
    let mut keys: Vec<String> = (0..25).map(|number| format!("list/{number:02}/file")).collect();
    // Folders and files whose order differs between "by name" and "by key".
    keys.extend(["list-", "list/10", "list/10-x", "list/10.x/y", "list/é", "lisu"].map(str::to_owned));
    // A file and a folder of one name cannot both be in a folder.
    keys.retain(|key| key != "list/10" && key != "list/10/file");
    let puts = keys.iter().map(|key| {
        let (store, key) = (store.clone(), key.clone());
        async move { put(&store, &key, &Bytes::from_static(b"x")).await }
    });
    join_all(puts).await;
    keys.sort_unstable();
    let all = store.list("", None, 1000).await.unwrap();
    assert_eq!(all.next, None);
    assert_eq!(all.objects.iter().map(|row| row.key.clone()).collect::<Vec<_>>(), keys);
    assert!(all.objects.iter().all(|row| row.info.bytes == 1 && row.info.modified.is_some()));
    for prefix in ["", "list/", "list", "list/1", "list/10.", "nothing"] {
        let expected: Vec<_> = keys.iter().filter(|key| key.starts_with(prefix)).cloned().collect();
        for limit in [1, 7, 1000] {
            let (mut found, mut after) = (Vec::new(), None::<String>);
            loop {
                let page = store.list(prefix, after.as_deref(), limit).await.unwrap();
                assert!(page.objects.len() <= limit);
                found.extend(page.objects.into_iter().map(|row| row.key));
                match page.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
            assert_eq!(found, expected, "prefix {prefix:?}, limit {limit}");
        }
    }
}

/// Copies are objects of their own; a copy onto itself is new.
pub async fn copies_are_made_inside<S: ObjectStore>(store: S) {
    let bytes = noise(5000, 4);
    put(&store, "from dir/ä+b%c", &bytes).await;
    store.copy("from dir/ä+b%c", "to").await.unwrap();
    put(&store, "from dir/ä+b%c", &noise(3, 5)).await;
    assert_eq!(store.read("to", 10_000).await.unwrap(), bytes);
    let before = store.head("to").await.unwrap().modified.unwrap();
    // Stores tell seconds: the next one shows that the object is new.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    store.copy("to", "to").await.unwrap();
    let after = store.head("to").await.unwrap();
    assert!(after.modified.unwrap() > before);
    assert_eq!(store.read("to", 10_000).await.unwrap(), bytes);
    let error = store.copy("missing", "to").await.unwrap_err();
    assert!(matches!(error, StoreError::NotFound { .. }), "{error}");
    assert_eq!(store.read("to", 10_000).await.unwrap(), bytes, "a failed copy changes nothing");
}

/// Content from files and streams, small and in parts, with its digest.
pub async fn content_of_every_kind<S: ObjectStore>(store: S) {
    let folder = tempfile::tempdir().unwrap();
    for (bytes, size) in [
        (noise(0, 1), 1),
        (noise(1000, 2), 7),
        (noise((11 << 20) + 1, 3), 100_000),
        (noise(10 << 20, 4), 1 << 20),
    ] {
        let path = folder.path().join("content");
        std::fs::write(&path, &bytes).unwrap();
        let contents =
            [Content::File(path), Pieces::content(bytes.clone(), size), Content::Bytes(bytes.clone())];
        for (kind, content) in contents.into_iter().enumerate() {
            let key = format!("kinds/{kind}");
            let info = store.put(&key, content, &PutOptions::default()).await.unwrap();
            assert_eq!(info.bytes, bytes.len() as u64);
            let expected = Expected { bytes: Some(info.bytes), sha256: Some(Sha256::digest(&bytes).into()) };
            let object = store.get(&key, ByteRange::ALL).await.unwrap();
            assert!(drain(object.body.verified(&key, expected)).await.unwrap() == bytes, "kind {kind}");
            let wrong = Expected { sha256: Some([7; 32]), ..expected };
            let object = store.get(&key, ByteRange::ALL).await.unwrap();
            let error = drain(object.body.verified(&key, wrong)).await.unwrap_err();
            assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
        }
    }
}

/// A put whose content breaks off leaves what was there.
pub async fn a_broken_source_writes_nothing<S: ObjectStore>(store: S) {
    put(&store, "kept", &noise(10, 1)).await;
    let content = Content::Stream(Body::new(Broken(0)));
    let error = store.put("kept", content, &PutOptions::default()).await.unwrap_err();
    assert!(matches!(error, StoreError::Source { .. }), "{error}");
    let missing = Content::File("/nowhere/at/all".into());
    let error = store.put("kept", missing, &PutOptions::default()).await.unwrap_err();
    assert!(matches!(error, StoreError::Source { .. }), "{error}");
    assert_eq!(store.read("kept", 100).await.unwrap(), noise(10, 1));
}

/// Readers see one version or another, never a mixture, never a part.
pub async fn replacing_is_atomic<S: ObjectStore>(store: S) {
    let versions = [noise(200_000, 1), noise(150_000, 2)];
    put(&store, "v", &versions[0]).await;
    let writing = async {
        for round in 1..20 {
            put(&store, "v", &versions[round % 2]).await;
        }
    };
    let reading = async {
        for _ in 0..30 {
            match store.read("v", 1 << 20).await {
                Ok(found) => assert!(versions.contains(&found), "{} bytes", found.len()),
                // A download that broke off finds another version and says so instead of mixing them.
                Err(error) => assert!(matches!(error, StoreError::PreconditionFailed { .. }), "{error}"),
            }
        }
    };
    tokio::join!(writing, reading);
}

/// Of many that replace the version they saw, one succeeds; nothing is made where nothing was.
pub async fn one_of_many_replacements_wins<S: ObjectStore>(store: S) {
    let put_if = |etag: &str, content: Bytes| {
        let (store, options) = (store.clone(), PutOptions::if_etag(etag));
        async move { store.put("p", Content::Bytes(content), &options).await }
    };
    let error = put_if("none", noise(10, 9)).await.unwrap_err();
    let refused = matches!(error, StoreError::PreconditionFailed { .. } | StoreError::NotFound { .. });
    assert!(refused, "{error}");
    put(&store, "p", &noise(100, 1)).await;
    let mut seen = vec![store.head("p").await.unwrap().etag.unwrap()];
    for round in 0..5 {
        let etag = seen.last().unwrap().clone();
        let puts = (0..8_u64).map(|writer| tokio::spawn(put_if(&etag, noise(100, 10 * round + writer + 2))));
        let results: Vec<_> = join_all(puts).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
        let now = store.head("p").await.unwrap().etag.unwrap();
        let won = results.into_iter().flatten().next().unwrap();
        assert_eq!(won.etag.as_ref(), Some(&now), "a put tells the ETag of what it wrote");
        seen.push(now);
    }
    let error = put_if(&seen[0], noise(10, 9)).await.unwrap_err();
    assert!(
        matches!(error, StoreError::PreconditionFailed { .. }),
        "an old version is none to replace: {error}"
    );
}

/// Keys of every legal kind; none outside the bounds.
pub async fn keys_are_bounded<S: ObjectStore>(store: S) {
    for key in ["a", "with space", "ü/é", "a+b&c=d?e#f%20", "..hidden", "x/.y", &"k".repeat(200)] {
        put(&store, key, &Bytes::from_static(b"1")).await;
        assert_eq!(store.read(key, 1).await.unwrap(), "1", "{key}");
    }
    for key in ["", "a\nb", &"k".repeat(KEY_BYTES_MAX + 1)] {
        let error = store.put(key, Content::Bytes(Bytes::new()), &PutOptions::default()).await.unwrap_err();
        assert!(matches!(error, StoreError::Rejected { .. }), "{error}");
        assert!(store.get(key, ByteRange::ALL).await.is_err());
    }
}

/// Makes a test of each case for one adapter. `$make` is an expression that gives a fresh, empty store and whatever has
/// to live as long.
#[macro_export]
macro_rules! store_suite {
    ($name:ident, $make:expr) => {
        mod $name {
            use super::*;
            $crate::store_suite!(@cases $make;
                objects_come_and_go,
                one_of_many_writers_wins,
                ranges_are_read,
                reading_is_bounded,
                listings_are_paged,
                copies_are_made_inside,
                content_of_every_kind,
                a_broken_source_writes_nothing,
                replacing_is_atomic,
                one_of_many_replacements_wins,
                keys_are_bounded,
            );
        }
    };
    (@cases $make:expr; $($case:ident,)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let (store, _alive) = $make.await;
                $crate::conformance::object_store::$case(store).await;
            }
        )+
    };
}
