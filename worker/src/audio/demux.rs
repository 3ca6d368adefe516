//! Containers to packets of one audio track.

use std::io;
use std::sync::Arc;

use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::errors::{Error as LibraryError, Result as LibraryResult};
use symphonia::core::formats::{FormatOptions, FormatReader, Track, TrackFlags, TrackType};
use symphonia::core::io::{MediaSourceStream, ReadBytes};
use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, TimeBase};
use symphonia::default::formats::{
    AdtsReader, AiffReader, CafReader, FlacReader, IsoMp4Reader, MkvReader, MpaReader, OggReader,
};

use super::decode::Decoder;
use super::error::AudioError;
use super::guard::guarded;
use super::limits::AudioLimits;
use super::mp4_edits::{self, Edit};
use super::pcm::PcmReader;
use super::sniff::{Format, Found, sniff};
use super::source::{Meter, Source};
use super::wave::{self, Contents};

/// How often a container may fail in a row before it is given up.
const FAILURES_MAX: u32 = 64;

/// What the container gave.
pub(super) enum Event {
    /// A packet of the chosen track.
    Packet(Packet),
    /// A packet of another track, or a place where the container was damaged and went on.
    Nothing {
        /// The container was damaged here.
        damaged: bool,
    },
    /// A new chained stream starts; the track is chosen again.
    NewLink,
    /// The end.
    End(Ending),
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    /// As it should.
    Complete,
    /// The file stops in the middle.
    CutShort,
    /// It cannot be followed any further, with the reason.
    Broken(String),
}

enum Reader {
    Library(Box<dyn FormatReader>),
    Pcm(Box<PcmReader>),
}

/// An open container with one track chosen.
pub(super) struct Demux {
    reader: Reader,
    format: Format,
    meter: Arc<Meter>,
    track: Track,
    failures: u32,
    bytes: u64,
    edits: Vec<Edit>,
}

impl Demux {
    /// Finds out what the source is, opens it, and chooses the audio track.
    ///
    /// # Errors
    /// No format, no audio track, or a broken header.
    pub(super) fn open(mut source: Source, limits: &AudioLimits) -> Result<(Self, Decoder), AudioError> {
        let found = sniff(&mut source)?;
        let meter = source.meter();
        let mut source = source.region(found.start, found.end);
        let bytes = source.len();
        let mut edits = Vec::new();
        let reader = match found.format {
            Format::Wave | Format::Wave64 | Format::Au => open_samples(source, found.format, limits)?,
            format => {
                if format == Format::IsoMp4 {
                    edits = mp4_edits::read(&mut source)?;
                }
                Reader::Library(open_library(source.region(0, bytes), format, &meter)?)
            }
        };
        let (track, decoder) = choose(reader.tracks(), found.format)?;
        Ok((Self { reader, format: found.format, meter, track, failures: 0, bytes, edits }, decoder))
    }

    /// The container's name.
    pub(super) fn container(&self) -> &'static str {
        self.format.name()
    }

    /// The container's kind.
    pub(super) fn format(&self) -> Format {
        self.format
    }

    /// The chosen track.
    pub(super) fn track(&self) -> &Track {
        &self.track
    }

    /// The codec parameters of the chosen track.
    pub(super) fn params(&self) -> &AudioCodecParameters {
        match &self.track.codec_params {
            Some(CodecParameters::Audio(params)) => params,
            _ => unreachable!("only audio tracks are chosen"),
        }
    }

    /// The part of the chosen track that is shown, where the container states one.
    pub(super) fn edit(&self) -> Option<Edit> {
        self.edits.iter().find(|edit| edit.track_id == self.track.id).copied()
    }

    /// Share of the file that was read, 0 to 1.
    pub(super) fn read_share(&self) -> f64 {
        (self.meter.spent() as f64 / self.bytes.max(1) as f64).min(1.0)
    }

    /// Length of the chosen track by the container, an estimate for some, seconds.
    pub(super) fn declared_s(&self) -> Option<f64> {
        if let Some(length_s) = self.edit().and_then(|edit| edit.length_s) {
            return Some(length_s);
        }
        let by_frames = match (self.track.num_frames, self.params().sample_rate) {
            (Some(frames), Some(rate_hz)) if rate_hz > 0 => Some(frames as f64 / f64::from(rate_hz)),
            _ => None,
        };
        let by_ticks = |base: Option<TimeBase>, duration: Option<Duration>| {
            base?.calc_duration(duration?).map(|time| time.as_secs_f64())
        };
        let by_file = || match &self.reader {
            Reader::Library(reader) => {
                let info = reader.media_info();
                by_ticks(info.time_base, info.duration)
            }
            Reader::Pcm(_) => None,
        };
        by_frames
            .or_else(|| by_ticks(self.track.time_base, self.track.duration))
            .or_else(by_file)
            .filter(|s| s.is_finite() && *s > 0.0)
    }

    /// Bytes behind the samples that belong to nothing (WAV only).
    pub(super) fn unexplained_bytes(&self) -> u64 {
        match &self.reader {
            Reader::Pcm(reader) => reader.layout().unexplained_bytes,
            Reader::Library(_) => 0,
        }
    }

    /// Chooses the track of a new chained stream.
    ///
    /// # Errors
    /// When it has none that can be decoded.
    pub(super) fn next_link(&mut self) -> Result<Decoder, AudioError> {
        let (track, decoder) = choose(self.reader.tracks(), self.format)?;
        self.track = track;
        Ok(decoder)
    }

    /// The next event. Ends after a bounded number of failures.
    ///
    /// # Errors
    /// Only when the file itself cannot be read or its structure loops.
    pub(super) fn next(&mut self) -> Result<Event, AudioError> {
        let packet = match guarded(|| self.reader.next_packet()) {
            Err(gave_up) => return Ok(Event::End(Ending::Broken(gave_up.to_string()))),
            Ok(packet) => packet,
        };
        match packet {
            Ok(Some(packet)) => {
                self.failures = 0;
                if packet.track_id == self.track.id {
                    return Ok(Event::Packet(packet));
                }
                Ok(Event::Nothing { damaged: false })
            }
            Ok(None) => Ok(Event::End(Ending::Complete)),
            Err(LibraryError::ResetRequired) => Ok(Event::NewLink),
            Err(LibraryError::IoError(error)) => {
                if let Some(error) = self.meter.blame() {
                    return Err(error);
                }
                let cut = error.kind() == io::ErrorKind::UnexpectedEof;
                let ending = if cut { Ending::CutShort } else { Ending::Broken(error.to_string()) };
                Ok(Event::End(ending))
            }
            Err(error) => {
                self.failures += 1;
                if self.failures > FAILURES_MAX {
                    return Ok(Event::End(Ending::Broken(error.to_string())));
                }
                Ok(Event::Nothing { damaged: true })
            }
        }
    }
}

impl Reader {
    fn tracks(&self) -> &[Track] {
        match self {
            Self::Library(reader) => reader.tracks(),
            Self::Pcm(reader) => std::slice::from_ref(reader.track()),
        }
    }

    fn next_packet(&mut self) -> LibraryResult<Option<Packet>> {
        match self {
            Self::Library(reader) => reader.next_packet(),
            Self::Pcm(reader) => reader.next_packet(),
        }
    }
}

fn open_samples(mut source: Source, format: Format, limits: &AudioLimits) -> Result<Reader, AudioError> {
    match wave::read(&mut source, format)? {
        Contents::Samples(layout) => {
            Ok(Reader::Pcm(Box::new(PcmReader::new(source, layout, format.name(), limits)?)))
        }
        Contents::Stream(from, to) => {
            let mut inner = source.region(from, to);
            let found = sniff(&mut inner)?;
            if !matches!(found.format, Format::Mpeg | Format::Adts) {
                return Err(AudioError::unsupported(format!("WAV with {} inside", found.format.name())));
            }
            let meter = inner.meter();
            let Found { format, start, end } = found;
            Ok(Reader::Library(open_library(inner.region(start, end), format, &meter)?))
        }
    }
}

fn open_library(source: Source, format: Format, meter: &Meter) -> Result<Box<dyn FormatReader>, AudioError> {
    let opened = guarded(|| -> LibraryResult<Box<dyn FormatReader>> {
        let mut stream = MediaSourceStream::new(Box::new(source), Default::default());
        let options = FormatOptions::default();
        Ok(match format {
            Format::Aiff => Box::new(AiffReader::try_new(stream, options)?),
            Format::Caf => Box::new(CafReader::try_new(stream, options)?),
            Format::Ogg => Box::new(OggReader::try_new(stream, options)?),
            Format::Matroska => Box::new(MkvReader::try_new(stream, options)?),
            Format::IsoMp4 => {
                // This reader expects to stand behind the size of the first box, where its marker is.
                stream.read_quad_bytes()?;
                Box::new(IsoMp4Reader::try_new(stream, options)?)
            }
            Format::Flac => Box::new(FlacReader::try_new(stream, options)?),
            Format::Mpeg => Box::new(MpaReader::try_new(stream, options)?),
            Format::Adts => Box::new(AdtsReader::try_new(stream, options)?),
            Format::Wave | Format::Wave64 | Format::Au => unreachable!("read by this crate"),
        })
    });
    let name = format.name();
    match opened {
        Ok(Ok(reader)) => Ok(reader),
        Ok(Err(LibraryError::IoError(error))) => Err(meter.blame().unwrap_or_else(|| {
            let cut = error.kind() == io::ErrorKind::UnexpectedEof;
            let why = if cut { "the file ends inside it".to_owned() } else { error.to_string() };
            AudioError::corrupt(format!("the {name} header: {why}"))
        })),
        Ok(Err(LibraryError::Unsupported(what))) if what.contains("moov") => {
            Err(AudioError::corrupt("the mp4 index (`moov` box) is missing: the file was cut short"))
        }
        Ok(Err(LibraryError::Unsupported(what))) => Err(AudioError::unsupported(what)),
        Ok(Err(error)) => Err(AudioError::corrupt(format!("the {name} header: {error}"))),
        Err(gave_up) => Err(AudioError::corrupt(format!("the {name} header: {gave_up}"))),
    }
}

/// The default audio track where it can be decoded, else the first that can.
fn choose(tracks: &[Track], format: Format) -> Result<(Track, Decoder), AudioError> {
    let audio = |track: &&Track| track.track_type() == Some(TrackType::Audio);
    let preferred = tracks.iter().filter(audio).filter(|track| is_default(track));
    let others = tracks.iter().filter(audio).filter(|track| !is_default(track));
    let mut first_error = None;
    for track in preferred.chain(others) {
        let Some(CodecParameters::Audio(params)) = &track.codec_params else { continue };
        match Decoder::new(params) {
            Ok(decoder) => return Ok((track.clone(), decoder)),
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    let container = format.name();
    Err(first_error.unwrap_or(AudioError::NoAudioTrack { container, tracks: tracks.len() }))
}

fn is_default(track: &Track) -> bool {
    track.flags.contains(TrackFlags::DEFAULT)
}
