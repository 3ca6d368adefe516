//! What a file is, from its content alone.
//!
//! Formats with a magic number are known by it, after any ID3v2 tags. MPEG audio and ADTS have only a sync word of 11
//! or 12 bits, which random bytes contain everywhere: they are accepted where several frames follow one another
//! exactly, at the start or after at most [`SEARCH_BYTES_MAX`] of garbage. Formats without a decoder get their name, so
//! that the refusal can say it.

use super::error::AudioError;
use super::source::Source;

/// How far MPEG audio may start behind garbage, bytes.
const SEARCH_BYTES_MAX: usize = 1 << 20;
/// Frames that must follow one another before bytes without a magic number count as audio.
const CHAIN_FRAMES: usize = 4;
/// Most ID3v2 tags in a row.
const TAGS_MAX: usize = 16;
/// How much of the start is looked at for magic numbers, bytes.
const HEAD_BYTES: usize = 512;

/// A format that can be taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// RIFF WAVE, RF64 or BW64.
    Wave,
    /// Sony Wave64.
    Wave64,
    /// Sun or NeXT `.au`.
    Au,
    /// AIFF or AIFF-C.
    Aiff,
    /// Apple Core Audio Format.
    Caf,
    /// Ogg.
    Ogg,
    /// Matroska or WebM.
    Matroska,
    /// MP4, M4A, MOV, 3GP.
    IsoMp4,
    /// Native FLAC.
    Flac,
    /// MPEG-1/2/2.5 layers I to III without a container.
    Mpeg,
    /// AAC frames without a container.
    Adts,
}

impl Format {
    /// The name that documents and errors carry.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Wave => "wav",
            Self::Wave64 => "w64",
            Self::Au => "au",
            Self::Aiff => "aiff",
            Self::Caf => "caf",
            Self::Ogg => "ogg",
            Self::Matroska => "matroska",
            Self::IsoMp4 => "mp4",
            Self::Flac => "flac",
            Self::Mpeg => "mpeg audio",
            Self::Adts => "adts",
        }
    }
}

/// A format and the range of bytes that it fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// What it is.
    pub format: Format,
    /// First byte.
    pub start: u64,
    /// One past the last byte (a trailing ID3v1 tag is cut off).
    pub end: u64,
}

/// Looks at the content.
///
/// # Errors
/// [`AudioError::Unsupported`] with the name of what was found, or a read error.
pub(super) fn sniff(source: &mut Source) -> Result<Found, AudioError> {
    let len = source.len();
    let mut start = 0;
    let mut head = [0u8; HEAD_BYTES];
    let mut filled = source.read_at(0, &mut head)?;
    for _ in 0..TAGS_MAX {
        let Some(tag_bytes) = id3v2_bytes(&head[..filled]) else { break };
        start = (start + tag_bytes).min(len);
        filled = source.read_at(start, &mut head)?;
    }
    let head = &head[..filled];
    let whole = |format| Found { format, start, end: len };
    if let Some(name) = unsupported_name(head) {
        return Err(AudioError::unsupported(name));
    }
    if let Some(format) = by_magic(head) {
        return Ok(whole(format));
    }
    if let Some(found) = search_frames(source, start)? {
        return Ok(found);
    }
    if is_text(head) {
        return Err(AudioError::unsupported("the file contains text"));
    }
    Err(AudioError::unsupported("the content is no audio format that is known"))
}

fn by_magic(head: &[u8]) -> Option<Format> {
    let at = |offset: usize, magic: &[u8]| head.get(offset..offset + magic.len()) == Some(magic);
    let riff = at(0, b"RIFF") || at(0, b"RF64") || at(0, b"BW64");
    Some(match () {
        () if riff && at(8, b"WAVE") => Format::Wave,
        () if at(0, &super::wave::W64_RIFF) => Format::Wave64,
        () if at(0, b".snd") => Format::Au,
        () if at(0, b"FORM") && (at(8, b"AIFF") || at(8, b"AIFC")) => Format::Aiff,
        () if at(0, b"caff") => Format::Caf,
        () if at(0, b"OggS") => Format::Ogg,
        () if at(0, &[0x1a, 0x45, 0xdf, 0xa3]) => Format::Matroska,
        () if at(4, b"ftyp") => Format::IsoMp4,
        () if at(0, b"fLaC") => Format::Flac,
        () => return None,
    })
}

/// Names of formats that are known and cannot be decoded.
fn unsupported_name(head: &[u8]) -> Option<&'static str> {
    const NAMES: &[(usize, &[u8], &str)] = &[
        (0, &[0x30, 0x26, 0xb2, 0x75, 0x8e, 0x66, 0xcf, 0x11], "ASF (Windows Media)"),
        (0, b"#!AMR", "AMR"),
        (0, b"wvpk", "WavPack"),
        (0, b"MAC ", "Monkey's Audio"),
        (0, b"MPCK", "Musepack"),
        (0, b"MP+", "Musepack"),
        (0, b"TTA1", "True Audio"),
        (0, b"DSD ", "DSD"),
        (0, b"FRM8", "DSD"),
        (0, b".RMF", "RealMedia"),
        (0, b".ra\xfd", "RealAudio"),
        (0, b"#!SILK_V3", "SILK"),
        (0, b"\x02#!SILK_V3", "SILK"),
        (0, &[0x0b, 0x77], "AC-3 or E-AC-3"),
        (0, &[0x7f, 0xfe, 0x80, 0x01], "DTS"),
        (28, b"Speex   ", "Speex"),
        (0, b"MThd", "MIDI"),
        (0, b"FLV", "Flash video"),
        (8, b"AVI ", "AVI"),
        (0, &[0x00, 0x00, 0x01, 0xba], "MPEG program stream"),
        (0, &[0xff, 0xd8, 0xff], "a JPEG picture"),
        (0, b"\x89PNG", "a PNG picture"),
        (0, b"GIF8", "a GIF picture"),
        (0, b"%PDF", "a PDF document"),
        (0, b"PK\x03\x04", "a zip archive"),
        (0, &[0x1f, 0x8b], "a gzip archive"),
        (0, &[0x7f, b'E', b'L', b'F'], "a program"),
        (4, b"moov", "QuickTime without a file type box"),
        (4, b"mdat", "QuickTime without a file type box"),
        (4, b"wide", "QuickTime without a file type box"),
    ];
    let hit =
        NAMES.iter().find(|(offset, magic, _)| head.get(*offset..*offset + magic.len()) == Some(*magic));
    if let Some((_, _, name)) = hit {
        return Some(name);
    }
    let transport = [0, 188, 376].iter().all(|&at| head.get(at) == Some(&0x47));
    transport.then_some("MPEG transport stream")
}

/// Length of an ID3v2 tag at the start of `head`, bytes.
fn id3v2_bytes(head: &[u8]) -> Option<u64> {
    let tag: &[u8; 10] = head.first_chunk()?;
    if &tag[..3] != b"ID3" || tag[3] == 0xff || tag[6..].iter().any(|b| b & 0x80 != 0) {
        return None;
    }
    let body = tag[6..].iter().fold(0u64, |sum, b| sum << 7 | u64::from(*b));
    let footer = if tag[5] & 0x10 != 0 { 10 } else { 0 };
    Some(10 + body + footer)
}

fn is_text(head: &[u8]) -> bool {
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // The end of the head may cut a character in two.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !text.is_empty() && text.chars().all(|c| !c.is_control() || c.is_ascii_whitespace())
}

/// Finds the first run of frames that follow one another.
fn search_frames(source: &mut Source, start: u64) -> Result<Option<Found>, AudioError> {
    let len = source.len();
    let window = usize::try_from(len - start).unwrap_or(usize::MAX).min(SEARCH_BYTES_MAX + (64 << 10));
    let mut bytes = vec![0u8; window];
    let filled = source.read_at(start, &mut bytes)?;
    bytes.truncate(filled);
    let reaches_end = start + filled as u64 == len;
    for offset in 0..bytes.len().min(SEARCH_BYTES_MAX) {
        if bytes[offset] != 0xff {
            continue;
        }
        let rest = &bytes[offset..];
        let format = if is_chain(rest, reaches_end, mpeg_frame) {
            Format::Mpeg
        } else if is_chain(rest, reaches_end, adts_frame) {
            Format::Adts
        } else {
            continue;
        };
        let end = if has_id3v1(source)? { len - 128 } else { len };
        return Ok(Some(Found { format, start: start + offset as u64, end }));
    }
    Ok(None)
}

fn has_id3v1(source: &mut Source) -> Result<bool, AudioError> {
    let mut tag = [0u8; 3];
    let Some(at) = source.len().checked_sub(128) else { return Ok(false) };
    Ok(source.read_at(at, &mut tag)? == 3 && &tag == b"TAG")
}

/// What must agree between the frames of one stream, and the length of this frame in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Frame {
    kind: u32,
    bytes: usize,
}

/// Whether frames of one kind follow one another: [`CHAIN_FRAMES`], or at least two up to the end of a short file.
fn is_chain(bytes: &[u8], reaches_end: bool, parse: fn(&[u8]) -> Option<Frame>) -> bool {
    let Some(first) = parse(bytes) else { return false };
    let mut at = first.bytes;
    let mut frames = 1;
    while frames < CHAIN_FRAMES {
        match bytes.get(at..).and_then(parse) {
            Some(next) if next.kind == first.kind => {
                at += next.bytes;
                frames += 1;
            }
            // The end of a short file, perhaps in the middle of a frame.
            None if reaches_end && at + 4 > bytes.len() => return frames >= 2,
            _ => return false,
        }
    }
    true
}

/// ISO/IEC 11172-3 and 13818-3, section 2.4.1.3; MPEG-2.5 has version bits 00.
fn mpeg_frame(bytes: &[u8]) -> Option<Frame> {
    const RATES_HZ: [u32; 3] = [44_100, 48_000, 32_000];
    // Kilobits a second by (MPEG-1 layer I, II, III; MPEG-2 layer I; MPEG-2 layer II and III).
    const KBPS: [[u16; 15]; 5] = [
        [0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
        [0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
        [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
        [0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
        [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
    ];
    let word = u32::from_be_bytes(*bytes.first_chunk()?);
    let (version, layer) = (word >> 19 & 3, word >> 17 & 3);
    let (bitrate, rate, padding) = ((word >> 12 & 15) as usize, (word >> 10 & 3) as usize, word >> 9 & 1);
    if word >> 21 != 0x7ff || version == 1 || layer == 0 || bitrate == 0 || bitrate == 15 || rate == 3 {
        return None;
    }
    let mpeg1 = version == 3;
    let table = match (mpeg1, layer) {
        (true, 3) => 0,
        (true, 2) => 1,
        (true, _) => 2,
        (false, 3) => 3,
        (false, _) => 4,
    };
    let halvings = match version {
        3 => 0,
        2 => 1,
        _ => 2,
    };
    let rate_hz = RATES_HZ[rate] >> halvings;
    let bits = u32::from(KBPS[table][bitrate]) * 1000;
    let frame_bytes = match (layer, mpeg1) {
        (3, _) => (12 * bits / rate_hz + padding) * 4,
        (1, false) => 72 * bits / rate_hz + padding,
        _ => 144 * bits / rate_hz + padding,
    };
    // Version, layer and sample rate are the same in every frame of a stream.
    Some(Frame { kind: word & 0x001e_0c00, bytes: frame_bytes.max(4) as usize })
}

/// ISO/IEC 13818-7, section 6.2.
fn adts_frame(bytes: &[u8]) -> Option<Frame> {
    let header: &[u8; 7] = bytes.first_chunk()?;
    let frame_bytes =
        usize::from(header[3] & 3) << 11 | usize::from(header[4]) << 3 | usize::from(header[5]) >> 5;
    let synced = header[0] == 0xff && header[1] & 0xf6 == 0xf0;
    if !synced || header[2] >> 2 & 15 > 12 || frame_bytes < 8 {
        return None;
    }
    let kind = u32::from_be_bytes([0, header[1] & 0x0e, header[2] & 0xfd, header[3] & 0xc0]);
    Some(Frame { kind, bytes: frame_bytes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::fixtures::Noise;
    use crate::audio::limits::AudioLimits;

    fn look(bytes: &[u8]) -> Result<Found, AudioError> {
        sniff(&mut Source::from_bytes(bytes.into(), &AudioLimits::default()).unwrap())
    }

    /// An MPEG-1 layer III frame of 128 kbit/s at 44.1 kHz: 417 bytes.
    fn mp3_frames(count: usize) -> Vec<u8> {
        let mut frame = vec![0u8; 417];
        frame[..4].copy_from_slice(&[0xff, 0xfb, 0x90, 0x00]);
        frame.repeat(count)
    }

    #[test]
    fn frame_lengths_follow_the_standard() {
        let bytes = |word: u32| mpeg_frame(&word.to_be_bytes()).map(|frame| frame.bytes);
        assert_eq!(bytes(0xfffb_9000), Some(417)); // MPEG-1 III 128k 44.1
        assert_eq!(bytes(0xfffb_9200), Some(418)); // with padding
        assert_eq!(bytes(0xfff3_8800), Some(288)); // MPEG-2 III 64k 16 kHz: 72 * 64000 / 16000
        assert_eq!(bytes(0xffe3_2800), Some(144)); // MPEG-2.5 III 16k 8 kHz: 72 * 16000 / 8000
        assert_eq!(bytes(0xfffd_8400), Some(384)); // MPEG-1 II 128k 48: 144 * 128000 / 48000
        assert_eq!(bytes(0xffff_9400), Some(288)); // MPEG-1 I 288k 48: (12 * 288000 / 48000) * 4
        assert_eq!(bytes(0xfffb_f000), None);
        assert_eq!(bytes(0xfffb_9c00), None);
        assert_eq!(bytes(0xffeb_9000), None);
    }

    #[test]
    fn mp3_is_found_at_the_start_and_behind_garbage() {
        assert_eq!(look(&mp3_frames(8)).unwrap(), Found { format: Format::Mpeg, start: 0, end: 8 * 417 });
        let mut bytes = Noise::new(1).bytes(3000);
        bytes.extend(mp3_frames(8));
        assert_eq!(look(&bytes).unwrap().start, 3000);
        bytes.extend([b"TAG".as_slice(), &[0; 125]].concat());
        assert_eq!(look(&bytes).unwrap().end, 3000 + 8 * 417);
    }

    #[test]
    fn a_short_file_needs_two_frames() {
        assert!(look(&mp3_frames(1)).is_err());
        assert!(look(&mp3_frames(2)).is_ok());
        assert!(look(&mp3_frames(3)[..1000]).is_ok());
    }

    #[test]
    fn random_bytes_are_no_mp3() {
        for seed in 0..20 {
            let found = look(&Noise::new(seed).bytes(50_000));
            assert!(matches!(found, Err(AudioError::Unsupported { .. })), "seed {seed}: {found:?}");
        }
    }

    #[test]
    fn tags_in_front_are_skipped() {
        let tag = |body: usize| {
            let mut tag = b"ID3\x04\x00\x00".to_vec();
            tag.extend([0, 0, (body >> 7) as u8, (body & 0x7f) as u8]);
            tag.resize(10 + body, 0);
            tag
        };
        let flac = [tag(300), tag(5), b"fLaC____".to_vec()].concat();
        assert_eq!(look(&flac).unwrap(), Found { format: Format::Flac, start: 325, end: 333 });
        assert_eq!(look(&[tag(300), mp3_frames(5)].concat()).unwrap().start, 310);
    }

    #[test]
    fn what_cannot_be_decoded_is_named() {
        let name = |bytes: &[u8]| look(bytes).unwrap_err().to_string();
        assert_eq!(name(b"#!AMR\n123456"), "unsupported audio: AMR");
        assert_eq!(name(&[0xff, 0xd8, 0xff, 0xe0, 0, 0]), "unsupported audio: a JPEG picture");
        assert_eq!(name("Liebe Grüße,\nM\u{e4}x".as_bytes()), "unsupported audio: the file contains text");
        assert_eq!(name(&[0, 1, 2, 3, 4]), "unsupported audio: the content is no audio format that is known");
    }
}
