//! The store suite, for each adapter.

use std::time::Duration;

use common::adapter::folder::{Durability, FolderStore};
use common::adapter::memory::object_store::MemoryStore;
use common::adapter::s3::{RepeatPolicy, S3Access, S3Options, S3Store};
use common::port::object_store::ObjectStore as _;
use tests::s3_server::{Bounds, Keys, S3Server};
use tests::servers::local;
use tests::store_suite;

/// A server with an empty bucket `bucket`.
pub struct Server {
    pub server: S3Server,
    pub folder: tempfile::TempDir,
}

impl Server {
    pub async fn start(bounds: Bounds) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("bucket")).unwrap();
        let keys = Keys { access: "key".to_owned(), secret: "secret".to_owned() };
        let server = S3Server::start(folder.path(), local(0), keys, bounds).await.unwrap();
        Self { server, folder }
    }

    pub fn access(&self) -> S3Access {
        let keys = Some(("key".to_owned(), "secret".to_owned()));
        S3Access { endpoint: Some(self.server.endpoint()), keys, region: Some("us-east-1".to_owned()) }
    }

    pub async fn store(&self) -> S3Store {
        S3Store::connect("s3://bucket/some/prefix".parse().unwrap(), &self.access(), options()).await
    }
}

/// The smallest parts, and quick repetition.
pub fn options() -> S3Options {
    let repeat = RepeatPolicy {
        tries_max: 6,
        first: Duration::from_millis(10),
        longest: Duration::from_millis(200),
        within: Duration::from_secs(10),
    };
    S3Options { part_bytes: 5 << 20, repeat, silent_max: Duration::from_secs(3), ..S3Options::default() }
}

async fn folder(durability: Durability) -> (FolderStore, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (FolderStore::open(folder.path().join("store"), durability).await.unwrap(), folder)
}

async fn s3() -> (S3Store, Server) {
    let server = Server::start(Bounds::default()).await;
    (server.store().await, server)
}

store_suite!(memory, async { (MemoryStore::new(), ()) });
store_suite!(folder_cached, folder(Durability::Cached));
store_suite!(folder_synced, folder(Durability::Synced));
store_suite!(s3_server, s3());

#[tokio::test]
async fn a_folder_never_leaves_its_root_and_leaves_nothing_behind() {
    use common::port::object_store::content::Content;
    use common::port::object_store::{ByteRange, PutOptions, StoreError};
    let outer = tempfile::tempdir().unwrap();
    std::fs::write(outer.path().join("secret"), "secret").unwrap();
    let store = FolderStore::open(outer.path().join("store"), Durability::Cached).await.unwrap();
    std::os::unix::fs::symlink(outer.path(), outer.path().join("store/link")).unwrap();
    for key in ["../secret", "a/../../secret", "link/secret", "/secret", ".rollcall-tmp/x"] {
        let content = Content::from(b"x".to_vec());
        let refused =
            |error: &StoreError| matches!(error, StoreError::Rejected { .. } | StoreError::Forbidden { .. });
        assert!(refused(&store.put(key, content, &PutOptions::default()).await.unwrap_err()), "{key}");
        assert!(refused(&store.get(key, ByteRange::ALL).await.unwrap_err()), "{key}");
        assert!(refused(&store.delete(key).await.unwrap_err()), "{key}");
        assert!(refused(&store.copy(key, "x").await.unwrap_err()), "{key}");
    }
    assert_eq!(std::fs::read_to_string(outer.path().join("secret")).unwrap(), "secret");
    store.put("a/b/c", Content::from(b"x".to_vec()), &PutOptions::default()).await.unwrap();
    let under = store.put("a/b/c/d", Content::from(b"x".to_vec()), &PutOptions::default()).await.unwrap_err();
    assert!(matches!(under, StoreError::Rejected { .. }), "{under}");
    let over = store.put("a/b", Content::from(b"x".to_vec()), &PutOptions::default()).await.unwrap_err();
    assert!(matches!(over, StoreError::Rejected { .. }), "{over}");
    store.delete("a/b/c").await.unwrap();
    assert!(!outer.path().join("store/a").exists(), "empty folders go");
    let left = std::fs::read_dir(outer.path().join("store/.rollcall-tmp")).unwrap().count();
    assert_eq!(left, 0, "temporary files go");
}
