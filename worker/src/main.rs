//! `rollcall-worker`: flags in, exit code out.

use std::fs::File;
use std::io::{ErrorKind, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail};
use clap::Parser;
use common::config::{Settings, SettingsError};
use common::environment;
use common::home::Home;
use common::job::spec::Channels;
use common::speech::transcript::{self, Limits, Transcript};
use common::telemetry::logs::{self, LogPlan};
use worker::audio::AudioLimits;
use worker::bench;
use worker::cli::{
    BenchArgs, ChannelsArg, Cli, Command, DoctorArgs, EngineArgs, GpuArgs, GpuCheck, RunArgs, SelftestArgs,
    ServeArgs,
};
use worker::device::bundle::Bundle;
use worker::device::cuda::CudaSetup;
use worker::device::ort::engine::CpuEngine;
use worker::device::ort::library;
use worker::diarize::speaker_limits::{SPEAKERS_MAX, SpeakerLimits};
use worker::doctor::{self, DoctorError};
use worker::gpu;
use worker::progress::{Display, line_on_stderr};
use worker::run::{self, Plan};
use worker::selftest;
use worker::serve::{self, ServeError};
use worker::voices::{self, FolderError};
use worker::workbench::{DEVICE_MEMORY, DeviceChoice, Setup, SetupError, Workbench};

/// The request or a job failed.
const FAILED: u8 = 1;
/// Wrong usage or configuration.
const MISUSED: u8 = 2;

/// What keeps ONNX Runtime from writing down, and sending to its makers, what runs where.
const NO_TELEMETRY: (&str, &str) = ("ORT_DISABLE_TELEMETRY", "1");

fn main() -> ExitCode {
    if let Err(error) = environment::settle(&[NO_TELEMETRY]) {
        let (name, value) = NO_TELEMETRY;
        let hint = format!("set {name}={value}");
        line_on_stderr(&format!(
            "warning: ONNX Runtime may keep telemetry ({hint}): cannot start again: {error}"
        ));
    }
    let cli = Cli::parse();
    let outcome = Settings::read(cli.config.as_deref()).map_err(anyhow::Error::from).and_then(|settings| {
        start_logging(&cli, &settings)?;
        match cli.command {
            Command::Run(args) => run_command(args, settings),
            Command::Serve(args) => serve_command(args, settings),
            Command::Bench(args) => bench_command(args, settings),
            Command::Doctor(args) => doctor_command(&args, cli.config.as_deref()),
            Command::Selftest(args) => selftest_command(&args, &settings),
            Command::Gpu(args) => gpu_command(args, settings),
        }
    });
    let unprinted = UNPRINTED.lock().unwrap_or_else(PoisonError::into_inner).take();
    let outcome = outcome.and_then(|good| match unprinted {
        Some(error) => Err(anyhow::Error::from(error).context("the output cannot be written")),
        None => Ok(good),
    });
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILED),
        Err(error) => {
            let voices = error.downcast_ref::<FolderError>().is_some_and(FolderError::is_misuse);
            let misused =
                error.is::<SetupError>() || error.is::<Usage>() || error.is::<SettingsError>() || voices;
            let serving = error.downcast_ref::<ServeError>().map(ServeError::exit_code);
            complain(&error, serving.unwrap_or(if misused { MISUSED } else { FAILED }))
        }
    }
}

/// A combination of flags that cannot work.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

fn start_logging(cli: &Cli, settings: &Settings) -> anyhow::Result<()> {
    let plan = LogPlan {
        filter: cli.log.as_deref().or(settings.log.as_deref()).unwrap_or("info"),
        // The demultiplexers log what they skip; the result's warnings say it better. ONNX Runtime tells its life story.
        quiet: "symphonia=off,ort=warn",
        format: cli.log_format.as_deref().or(settings.log_format.as_deref()).unwrap_or("text"),
        colour: std::io::stderr().is_terminal(),
    };
    let beside = matches!(cli.command, Command::Serve(_)).then(serve::traces).flatten();
    Ok(logs::start(plan, beside).map_err(|error| Usage(error.to_string()))?)
}

/// One line what failed, its causes, what to try.
fn complain(error: &anyhow::Error, code: u8) -> ExitCode {
    line_on_stderr(&format!("error: {error}"));
    for cause in error.chain().skip(1) {
        line_on_stderr(&format!("caused by: {cause}"));
    }
    let setup = error.downcast_ref::<SetupError>().map(SetupError::hints);
    let serving = || error.downcast_ref::<ServeError>().map(ServeError::hints);
    let looking = || error.downcast_ref::<DoctorError>().map(DoctorError::hints);
    let voices = || error.downcast_ref::<FolderError>().map(FolderError::hints);
    for hint in setup.or_else(serving).or_else(looking).or_else(voices).unwrap_or_default() {
        line_on_stderr(&format!("hint: {hint}"));
    }
    ExitCode::from(code)
}

fn home(given: Option<PathBuf>, settings: &Settings) -> anyhow::Result<Home> {
    given
        .or_else(|| settings.home.clone())
        .map(Home::at)
        .or_else(|| Home::from_environment(|name| std::env::var(name).ok()))
        .ok_or_else(|| {
            Usage("no home folder: none of `ROLLCALL_HOME`, `XDG_DATA_HOME` and `HOME` is set".into()).into()
        })
}

fn open(args: EngineArgs, settings: Settings, device_memory: Option<String>) -> anyhow::Result<Workbench> {
    let device = args.device.or_else(|| settings.device.clone()).unwrap_or_else(|| "auto".to_owned());
    Ok(Workbench::open(Setup {
        home: home(args.home, &settings)?,
        bundle: args.bundle.or(settings.bundle).unwrap_or_else(|| "starter".to_owned()),
        device: device.parse().map_err(Usage)?,
        threads: args.threads.map(usize::from),
        device_memory: device_memory.unwrap_or_else(|| DEVICE_MEMORY.to_owned()),
        batch_rows: args.batch_rows.map(usize::from),
        limits: AudioLimits::default(),
    })?)
}

fn run_command(args: RunArgs, settings: Settings) -> anyhow::Result<bool> {
    let is_address = |path: &Path| path.to_string_lossy().contains("://") && !path.exists();
    if let Some(path) = args.audio.iter().chain([&args.out]).find(|path| is_address(path)) {
        bail!(Usage(format!(
            "`run` works on files and folders of this machine; `rollcall submit` takes addresses: {}",
            path.display()
        )));
    }
    let speakers = speaker_limits(&args)?;
    let transcript =
        args.transcript.as_deref().map(|path| read_transcript(path, args.audio.len())).transpose()?;
    let display = Display::new(std::io::stderr().is_terminal());
    let bench = open(args.engine, settings, None)?;
    let voices = args.speakers.as_deref().map(|folder| {
        let line = display.line("voices");
        let known = voices::of_folder(&bench, folder, &line);
        line.finish(
            &known.as_ref().map_or_else(|_| String::new(), |k| format!("{} known voice(s)", k.voices.len())),
        );
        known
    });
    let plan = Plan {
        audio: args.audio,
        out: args.out,
        formats: args.formats,
        speakers,
        channels: match args.channels {
            ChannelsArg::Mix => Channels::Mix,
            ChannelsArg::Separate => Channels::Separate,
        },
        transcript,
        voices: Arc::new(voices.transpose()?.unwrap_or_default()),
        json: args.json,
        jobs: usize::from(args.jobs),
    };
    let failed = run::run(&bench, &plan, &display, &print);
    Ok(failed == 0)
}

fn speaker_limits(args: &RunArgs) -> anyhow::Result<SpeakerLimits> {
    let number = |n: Option<u8>| n.map(usize::from);
    let (min, max) = match number(args.num_speakers) {
        Some(n) => (n, n),
        None => (number(args.min_speakers).unwrap_or(1), number(args.max_speakers).unwrap_or(SPEAKERS_MAX)),
    };
    match SpeakerLimits::new(min, max) {
        Some(limits) => Ok(limits),
        None => bail!(Usage(format!("`--min-speakers` is above `--max-speakers`: {min} and {max}"))),
    }
}

fn read_transcript(path: &Path, recordings: usize) -> anyhow::Result<Arc<Transcript>> {
    if recordings != 1 {
        bail!(Usage(format!("`--transcript` goes with one recording, not with {recordings}")));
    }
    let limits = Limits::default();
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(limits.bytes_max as u64 + 1).read_to_end(&mut bytes))
        .with_context(|| format!("cannot read the transcript: {}", path.display()))?;
    let transcript = transcript::read(&bytes, limits)
        .with_context(|| format!("not a transcript that can be used: {}", path.display()))?;
    Ok(Arc::new(transcript))
}

fn serve_command(args: ServeArgs, settings: Settings) -> anyhow::Result<bool> {
    let home = home(args.engine.home.clone(), &settings)?;
    let (engine, fallback, memory) = (args.engine.clone(), settings.clone(), args.device_memory.clone());
    Ok(serve::serve(args, &settings, &home, || open(engine, fallback, memory))??)
}

fn bench_command(args: BenchArgs, settings: Settings) -> anyhow::Result<bool> {
    let json = args.json;
    let bench = open(args.engine, settings, None)?;
    let report = bench::measure(&bench, &args.audio, usize::from(args.repeat))?;
    print(&if json { report.to_json() } else { report.to_table() });
    Ok(true)
}

fn doctor_command(args: &DoctorArgs, config: Option<&Path>) -> anyhow::Result<bool> {
    let worker = std::env::current_exe().context("cannot tell where this program lies")?;
    let path = std::env::var("PATH").unwrap_or_default();
    // Comes back only where the other program could not be started.
    Err(doctor::become_it(args, &worker, config, &path).into())
}

fn selftest_command(args: &SelftestArgs, settings: &Settings) -> anyhow::Result<bool> {
    let home = home(args.home.clone(), settings)?;
    let environment = library::environment(&library::expected_path(&home)).map_err(SetupError::from)?;
    let bundle = Bundle::open(&args.bundle.to_string_lossy(), &home).map_err(SetupError::from)?;
    let mut engine = CpuEngine::load(&environment, &bundle)?;
    if args.record {
        let test = selftest::measure(&mut engine, &bundle.manifest)?;
        selftest::record(&bundle.dir, bundle.manifest.clone(), test)?;
        print("recorded\n");
    } else {
        selftest::check(&mut engine, &bundle.manifest)?;
        print("ok\n");
    }
    Ok(true)
}

fn gpu_command(args: GpuArgs, settings: Settings) -> anyhow::Result<bool> {
    let findings = if let GpuCheck::Compile { nvrtc, arch } = &args.check {
        gpu::compile(nvrtc, arch)?
    } else {
        let home = home(args.engine.home, &settings)?;
        let bundle = args.engine.bundle.or(settings.bundle).unwrap_or_else(|| "starter".to_owned());
        let device = args.engine.device.unwrap_or_else(|| "cuda".to_owned());
        let DeviceChoice::Cuda(number) = device.parse().map_err(Usage)? else {
            bail!(Usage(format!("not a GPU (`cuda` or `cuda:N`): `{device}`")));
        };
        let setup = CudaSetup {
            memory: args.device_memory.unwrap_or_else(|| DEVICE_MEMORY.to_owned()),
            lanes: args.engine.threads.map(usize::from),
            batch_rows: args.engine.batch_rows.map(usize::from),
        };
        let bench = gpu::Bench::open(&home, &bundle, number, &setup)?;
        match &args.check {
            GpuCheck::Parity { audio } => bench.parity(audio)?,
            GpuCheck::Leaks { batches } => bench.leaks(*batches)?,
            GpuCheck::Kernels | GpuCheck::Compile { .. } => bench.kernels()?,
        }
    };
    print(&findings.text);
    Ok(findings.good)
}

/// Why something did not come to stdout.
static UNPRINTED: Mutex<Option<std::io::Error>> = Mutex::new(None);

/// Everything that belongs on stdout goes through here. What cannot be written is told at the end, when the work is done.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // A closed pipe (`| head`) is the reader's choice, not an error.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            UNPRINTED.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        }
        _ => {}
    }
}
