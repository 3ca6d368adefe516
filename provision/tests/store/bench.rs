//! A store, a machine's home, bundles, and the program between them.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use common::home::Home;
use common::model::manifest::{
    AhcParameters, BundleFile, Clustering, Embedding, EmbeddingKind, FILE_NAME, Feature, Manifest, SCHEMA,
    Segmentation, SelfTest, Tail, Taper, TrunkSpan,
};
use provision::digest;
use tests::conformance::object_store::noise;
use tests::s3_server::fault::Faults;
use tests::s3_server::{Bounds, Keys, S3Server};
use tests::servers::local;

/// An S3 server with the bucket `bucket`, in this process.
pub struct S3 {
    _runtime: tokio::runtime::Runtime,
    server: S3Server,
    _folder: tempfile::TempDir,
}

impl S3 {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("bucket")).unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let keys = Keys { access: "key".to_owned(), secret: "secret".to_owned() };
        let server = S3Server::start(folder.path(), local(0), keys, Bounds::default());
        let server = runtime.block_on(server).unwrap();
        Self { _runtime: runtime, server, _folder: folder }
    }

    pub fn faults(&self) -> &Faults {
        self.server.faults()
    }

    pub fn endpoint(&self) -> String {
        self.server.endpoint()
    }

    /// Requests for the archive's bytes so far.
    pub fn fetches(&self) -> Vec<String> {
        self.faults().requests("bundle.tar.zst").into_iter().filter(|line| line.starts_with("GET")).collect()
    }
}

/// No program of these tests takes longer; one that does is killed, and the test fails with what it said.
const PATIENCE: Duration = Duration::from_secs(100);

/// A program that is killed when it runs for longer than [`PATIENCE`], so that no test waits for ever.
pub struct Bounded {
    child: Child,
    _done: Sender<()>,
}

impl Bounded {
    fn spawn(command: &mut Command) -> Self {
        let child = command.spawn().unwrap();
        let (done, over) = channel();
        let id = child.id().to_string();
        std::thread::spawn(move || {
            if over.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                // The test fails by what is missing then.
                let _ = Command::new("kill").args(["-9", &id]).status();
            }
        });
        Self { child, _done: done }
    }

    /// The same, with both streams kept.
    pub fn heard(command: &mut Command) -> Self {
        Self::spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()))
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub fn finish(mut self) -> Run {
        let read = |stream: Option<Box<dyn Read + Send>>| {
            std::thread::spawn(move || {
                let mut text = String::new();
                stream.map(|mut stream| stream.read_to_string(&mut text)).transpose().unwrap();
                text
            })
        };
        let out = read(self.child.stdout.take().map(|stream| Box::new(stream) as _));
        let err = read(self.child.stderr.take().map(|stream| Box::new(stream) as _));
        // A program that was killed has no code.
        let code = self.wait().code().unwrap_or(-9);
        Run { code, out: out.join().unwrap(), err: err.join().unwrap() }
    }
}

/// What a run left.
pub struct Run {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Run {
    /// Fails with what was said unless the exit code is this one.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}{}", self.out, self.err);
        self
    }

    /// Fails unless this stands on stderr.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.err.contains(text), "{text:?} should stand in {}", self.err);
        self
    }
}

/// A machine.
pub struct Machine {
    pub folder: tempfile::TempDir,
    pub home: Home,
    pub store: String,
    endpoint: Option<String>,
}

impl Machine {
    pub fn new(store: &str, endpoint: Option<String>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let prover = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/prover.sh");
        symlink(prover, folder.path().join("worker")).unwrap();
        let home = Home::at(folder.path().join("home"));
        Self { folder, home, store: store.to_owned(), endpoint }
    }

    pub fn on_s3(s3: &S3) -> Self {
        Self::new("s3://bucket/fleet", Some(s3.endpoint()))
    }

    /// A machine whose store is a folder of its own.
    pub fn with_folder() -> Self {
        let mut machine = Self::new("", None);
        machine.store = format!("file://{}", machine.path("store").display());
        machine
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rollcall-provision"));
        command.args(arguments).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("ROLLCALL_HOME", self.home.root()).env("ROLLCALL_STORE_URL", &self.store);
        command.env("HOME", self.folder.path()).env("AWS_EC2_METADATA_DISABLED", "true");
        command.env("AWS_ACCESS_KEY_ID", "key").env("AWS_SECRET_ACCESS_KEY", "secret");
        if let Some(endpoint) = &self.endpoint {
            command.env("AWS_ENDPOINT_URL_S3", endpoint);
        }
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Run {
        self.start(arguments).finish()
    }

    /// Starts the program.
    pub fn start(&self, arguments: &[&str]) -> Bounded {
        Bounded::heard(&mut self.command(arguments))
    }

    fn ensure_arguments(&self, bundle: &str) -> Vec<String> {
        let worker = self.path("worker").display().to_string();
        ["ensure", bundle, "--worker", &worker].map(str::to_owned).to_vec()
    }

    pub fn ensure(&self, bundle: &str) -> Run {
        self.ensure_with(bundle, &[])
    }

    pub fn ensure_with(&self, bundle: &str, more: &[&str]) -> Run {
        let mut arguments = self.ensure_arguments(bundle);
        arguments.extend(more.iter().map(|text| (*text).to_owned()));
        self.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Starts `ensure`; what it says on stderr can be read along.
    pub fn start_ensure(&self, bundle: &str) -> (Bounded, BufReader<ChildStderr>) {
        let arguments = self.ensure_arguments(bundle);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut started = self.start(&arguments);
        let said = BufReader::new(started.child.stderr.take().unwrap());
        (started, said)
    }

    pub fn push(&self, folder: &Path) -> Run {
        self.run(&["push", folder.to_str().unwrap()])
    }

    pub fn current(&self) -> Option<String> {
        let link = fs::read_link(self.home.bundle_current("toy")).ok()?;
        Some(link.to_str().unwrap().to_owned())
    }

    /// The current version is this one and whole, and nothing half-done lies about.
    #[track_caller]
    pub fn holds(&self, version: &str) {
        assert_eq!(self.current().as_deref(), Some(version));
        self.run(&["verify", "toy"]).expect(0);
        self.nothing_half_done();
    }

    #[track_caller]
    pub fn nothing_half_done(&self) {
        for folder in [self.home.partial(), self.home.cache().join("bundles/toy")] {
            let left: Vec<_> = fs::read_dir(&folder).into_iter().flatten().flatten().collect();
            assert!(left.is_empty(), "{left:?}");
        }
    }

    /// Every file below the home folder with its size, but for locks.
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        let mut files = Vec::new();
        let mut folders = vec![self.home.root().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let kind = entry.file_type().unwrap();
                if kind.is_dir() {
                    folders.push(entry.path());
                } else if !entry.path().ends_with("locks")
                    && entry.path().extension() != Some("lock".as_ref())
                {
                    files.push((entry.path(), entry.metadata().unwrap().len()));
                }
            }
        }
        files.sort();
        files
    }
}

/// The parts that the journal in a folder of downloads names.
pub fn noted(cache: &Path) -> BTreeSet<u64> {
    let journals = fs::read_dir(cache).into_iter().flatten().flatten().map(|entry| entry.path());
    let journal = journals.into_iter().find(|path| path.extension() == Some("parts".as_ref()));
    let text = journal.and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
    text.lines().skip(1).map(|line| line.parse().unwrap()).collect()
}

/// Reads along until a line contains `text`; `false` when the program ended before.
pub fn read_until(said: &mut BufReader<ChildStderr>, text: &str) -> bool {
    let mut line = String::new();
    while said.read_line(&mut line).unwrap() > 0 {
        if line.contains(text) {
            return true;
        }
        line.clear();
    }
    false
}

/// A bundle `toy` of one file of `bytes` incompressible bytes, in a folder of its own.
pub fn bundle(version: &str, bytes: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let seed = version.bytes().map(u64::from).sum();
    let content = noise(bytes, seed);
    fs::create_dir(folder.path().join("net")).unwrap();
    fs::write(folder.path().join("net/a.onnx"), &content).unwrap();
    fs::write(folder.path().join("LICENSES.txt"), version).unwrap();
    let manifest = manifest(version, &[("LICENSES.txt", version.as_bytes()), ("net/a.onnx", &content)]);
    fs::write(folder.path().join(FILE_NAME), manifest.to_json()).unwrap();
    folder
}

/// The manifest of a toy bundle of these files.
pub fn manifest(version: &str, files: &[(&str, &[u8])]) -> Manifest {
    let files = files.iter().map(|(path, content)| BundleFile {
        path: (*path).to_owned(),
        sha256: digest::of(content),
        bytes: content.len() as u64,
        licence: "MIT".into(),
        attribution: "nobody".into(),
        source: "nowhere".into(),
    });
    let feature = Feature {
        mel_bins: 80,
        frame_samples: 400,
        frame_step_samples: 160,
        sample_scale: 1.0,
        taper: Taper::Povey,
        low_hz: 20.0,
        high_hz: 8_000.0,
    };
    let kind = EmbeddingKind::FrameLevel {
        trunk_file: "net/a.onnx".into(),
        head_file: "net/a.onnx".into(),
        trunk_channels: 2560,
        trunk_steps: 125,
        step_frames: 8,
        context_frames: 112,
        clean_frames_min: 3,
        span: TrunkSpan::Chunk,
    };
    Manifest {
        schema: SCHEMA.into(),
        name: "toy".into(),
        version: version.into(),
        files: files.collect(),
        segmentation: Segmentation {
            file: "net/a.onnx".into(),
            sample_rate_hz: 16_000,
            window_samples: 160_000,
            step_samples: 40_000,
            frames: 589,
            frame_step_samples: 270,
            receptive_field_samples: 991,
            local_speakers: 3,
            simultaneous_speakers: 2,
            tail: Tail::default(),
        },
        embedding: Embedding { dimension: 1, feature: Some(feature), kind },
        clustering: Clustering::Ahc(AhcParameters {
            threshold: 0.7,
            min_cluster_size: 2,
            clean_share_min: 0.2,
            exact_max: 1_000,
        }),
        voices: Default::default(),
        selftest: Some(SelfTest {
            segmentation_classes: vec![[0, 589]],
            segmentation_tolerance: 0.01,
            embedding: vec![1.0],
            embedding_tolerance: 0.0001,
        }),
    }
}
