//! The headers of WAV, RF64, Wave64 and AU files, read for what recorders really write.
//!
//! Sizes in these headers are claims: a recorder that was killed leaves 0, one that writes to a pipe leaves 2³² - 1, a
//! file cut short keeps the old one. What lies in the file decides. Nothing is allocated by a claimed size.

use super::error::AudioError;
use super::sniff::Format;
use super::source::Source;

/// The GUID that starts a Wave64 file.
pub(super) const W64_RIFF: [u8; 16] =
    [0x72, 0x69, 0x66, 0x66, 0x2e, 0x91, 0xcf, 0x11, 0xa5, 0xd6, 0x28, 0xdb, 0x04, 0xc1, 0x00, 0x00];
/// What all other Wave64 chunk GUIDs end with, after the four letters of the RIFF chunk.
const W64_TAIL: [u8; 12] = [0xf3, 0xac, 0xd3, 0x11, 0x8c, 0xd1, 0x00, 0xc0, 0x4f, 0x8e, 0xdb, 0x8a];
/// The tail of the extensible sub-format GUIDs (`ksmedia.h`); the first two bytes are the format tag.
const SUBFORMAT_TAIL: [u8; 14] = [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71];
/// Most chunks before the samples.
const CHUNKS_MAX: usize = 4096;
/// Most bytes of a `fmt ` chunk that are looked at.
const FMT_BYTES_MAX: usize = 64;

/// How samples are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    /// Unsigned bytes.
    U8,
    /// Signed bytes (AU).
    I8,
    /// Little-endian integers of this many bytes (2 to 4).
    IntLe(u16),
    /// Big-endian integers of this many bytes (2 to 4).
    IntBe(u16),
    /// Little-endian floats of this many bytes (4, 8).
    FloatLe(u16),
    /// Big-endian floats of this many bytes (4, 8).
    FloatBe(u16),
    /// G.711 A-law.
    ALaw,
    /// G.711 µ-law.
    MuLaw,
    /// Microsoft ADPCM in blocks of `block_align` bytes.
    AdpcmMs,
    /// IMA ADPCM in blocks of `block_align` bytes.
    AdpcmIma,
}

/// Where the samples lie and what they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    /// How samples are written.
    pub coding: Coding,
    /// Channels, as claimed and not checked against limits.
    pub channels: u16,
    /// Sample rate, as claimed and not checked against limits.
    pub rate_hz: u32,
    /// Bytes of a frame (all channels of one instant), or of an ADPCM block.
    pub block_align: u16,
    /// First byte of the samples.
    pub data_start: u64,
    /// One past the last byte of the samples in the file.
    pub data_end: u64,
    /// Bytes of samples that the header claims, when it claims more than the file has.
    pub claimed_bytes: Option<u64>,
    /// Bytes behind the samples that belong to no chunk.
    pub unexplained_bytes: u64,
}

/// What a WAV holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Contents {
    /// Samples.
    Samples(Layout),
    /// A whole stream of MPEG audio or ADTS in the data chunk, at this range.
    Stream(u64, u64),
}

struct Fmt {
    tag: u16,
    channels: u16,
    rate_hz: u32,
    block_align: u16,
    bits: u16,
}

/// Reads the header of a WAV, RF64, BW64, Wave64 or AU file.
///
/// # Errors
/// Corrupt structure, or an encoding without a decoder, by name.
pub(super) fn read(source: &mut Source, format: Format) -> Result<Contents, AudioError> {
    match format {
        Format::Au => read_au(source).map(Contents::Samples),
        Format::Wave64 => read_chunks(source, &Wave64),
        _ => read_chunks(source, &Riff),
    }
}

/// One chunk header: four letters, body start, body length.
struct Chunk {
    id: [u8; 4],
    body: u64,
    bytes: u64,
}

/// What differs between RIFF and Wave64.
trait Chunks {
    fn first(&self) -> u64;
    /// The chunk header at `at`; `None` where there is none.
    fn at(&self, source: &mut Source, at: u64) -> Result<Option<Chunk>, AudioError>;
    /// Where the next chunk starts.
    fn after(&self, chunk: &Chunk) -> u64;
    /// Sizes that stand for "not known".
    fn is_open(&self, bytes: u64) -> bool;
}

struct Riff;

impl Chunks for Riff {
    fn first(&self) -> u64 {
        12
    }

    fn at(&self, source: &mut Source, at: u64) -> Result<Option<Chunk>, AudioError> {
        let mut header = [0u8; 8];
        if source.read_at(at, &mut header)? < 8 {
            return Ok(None);
        }
        let [a, b, c, d, size @ ..] = header;
        Ok(Some(Chunk { id: [a, b, c, d], body: at + 8, bytes: u64::from(u32::from_le_bytes(size)) }))
    }

    fn after(&self, chunk: &Chunk) -> u64 {
        chunk.body + chunk.bytes + (chunk.bytes & 1)
    }

    fn is_open(&self, bytes: u64) -> bool {
        bytes == 0 || bytes == u64::from(u32::MAX)
    }
}

struct Wave64;

impl Chunks for Wave64 {
    fn first(&self) -> u64 {
        40
    }

    fn at(&self, source: &mut Source, at: u64) -> Result<Option<Chunk>, AudioError> {
        let mut header = [0u8; 24];
        if source.read_at(at, &mut header)? < 24 {
            return Ok(None);
        }
        let (id, rest) = header.split_first_chunk::<4>().expect("24 bytes hold 4");
        let (tail, size) = rest.split_first_chunk::<12>().expect("20 bytes hold 12");
        let size = u64::from_le_bytes(size.try_into().expect("8 bytes are left"));
        let id = if *tail == W64_TAIL { *id } else { *b"????" };
        Ok(Some(Chunk { id, body: at + 24, bytes: size.saturating_sub(24) }))
    }

    fn after(&self, chunk: &Chunk) -> u64 {
        (chunk.body.saturating_add(chunk.bytes)).saturating_add(7) & !7
    }

    fn is_open(&self, bytes: u64) -> bool {
        bytes == 0 || bytes >= u64::MAX >> 1
    }
}

fn read_chunks(source: &mut Source, chunks: &dyn Chunks) -> Result<Contents, AudioError> {
    let len = source.len();
    let mut at = chunks.first();
    let mut fmt = None;
    let mut data_bytes_64 = None;
    for _ in 0..CHUNKS_MAX {
        let Some(chunk) = chunks.at(source, at)? else {
            let missing = if fmt.is_some() { "data" } else { "fmt" };
            return Err(AudioError::corrupt(format!("the file ends before its `{missing}` chunk")));
        };
        match &chunk.id {
            b"fmt " => fmt = Some(read_fmt(source, &chunk)?),
            b"ds64" => {
                let mut body = [0u8; 16];
                if source.read_at(chunk.body, &mut body)? == 16 {
                    let (_, data) = body.split_last_chunk::<8>().expect("16 bytes hold 8");
                    data_bytes_64 = Some(u64::from_le_bytes(*data));
                }
            }
            b"data" => {
                let fmt = fmt
                    .ok_or_else(|| AudioError::corrupt("samples come before any `fmt ` chunk".to_owned()))?;
                let claim = if chunk.bytes == u64::from(u32::MAX) { data_bytes_64 } else { None };
                return contents(source, chunks, fmt, &chunk, claim);
            }
            _ => {}
        }
        at = chunks.after(&chunk);
        if at > len {
            let name = chunk.id.escape_ascii();
            return Err(AudioError::corrupt(format!("the file ends inside its chunk: `{name}`")));
        }
    }
    Err(AudioError::corrupt(format!("more chunks before the samples than the limit of {CHUNKS_MAX}")))
}

/// Decides how much of the file is samples.
fn contents(
    source: &mut Source,
    chunks: &dyn Chunks,
    fmt: Fmt,
    data: &Chunk,
    claim_64: Option<u64>,
) -> Result<Contents, AudioError> {
    let len = source.len();
    let available = len - data.body.min(len);
    let claim = match claim_64 {
        Some(bytes) => bytes,
        // A RIFF above 4 GiB cannot state its size.
        None if available > u64::from(u32::MAX) => u64::MAX >> 1,
        None => data.bytes,
    };
    let open = chunks.is_open(claim) && !(claim == 0 && follow(source, chunks, data.body)?);
    let bytes = if open || claim >= u64::MAX >> 1 { available } else { claim.min(available) };
    let data_end = data.body + bytes;
    let claimed_bytes = (!open && claim > available && claim < u64::MAX >> 1).then_some(claim);
    let behind = len - data_end;
    let end = chunks.after(&Chunk { id: data.id, body: data.body, bytes });
    let unexplained_bytes = if behind > 1 && !follow(source, chunks, end)? { behind } else { 0 };
    if is_stream(fmt.tag) {
        return Ok(Contents::Stream(data.body, data_end));
    }
    let (coding, block_align) = coding(&fmt)?;
    Ok(Contents::Samples(Layout {
        coding,
        channels: fmt.channels,
        rate_hz: fmt.rate_hz,
        block_align,
        data_start: data.body,
        data_end,
        claimed_bytes,
        unexplained_bytes,
    }))
}

/// Whether chunks follow one another from `at` exactly to the end of the file.
fn follow(source: &mut Source, chunks: &dyn Chunks, mut at: u64) -> Result<bool, AudioError> {
    let len = source.len();
    for _ in 0..CHUNKS_MAX {
        if at >= len {
            return Ok(true);
        }
        match chunks.at(source, at)? {
            Some(chunk) if chunk.id.iter().all(|b| b.is_ascii_graphic() || *b == b' ') => {
                at = chunks.after(&chunk);
                // The padding byte of the last chunk is often forgotten.
                if at > len + 8 {
                    return Ok(false);
                }
            }
            _ => return Ok(false),
        }
    }
    Ok(false)
}

fn read_fmt(source: &mut Source, chunk: &Chunk) -> Result<Fmt, AudioError> {
    let mut buf = [0u8; FMT_BYTES_MAX];
    let want = FMT_BYTES_MAX.min(usize::try_from(chunk.bytes).unwrap_or(FMT_BYTES_MAX));
    let filled = source.read_at(chunk.body, &mut buf[..want])?;
    if filled < 16 {
        return Err(AudioError::corrupt(format!("the `fmt ` chunk has {filled} bytes of at least 16")));
    }
    let u16_at = |at: usize| u16::from_le_bytes([buf[at], buf[at + 1]]);
    let mut fmt = Fmt {
        tag: u16_at(0),
        channels: u16_at(2),
        rate_hz: u32::from_le_bytes([buf[4], buf[5], buf[6], buf[7]]),
        block_align: u16_at(12),
        bits: u16_at(14),
    };
    if fmt.tag == 0xfffe && filled >= 40 {
        if buf[26..40] != SUBFORMAT_TAIL {
            return Err(AudioError::unsupported("WAV with a sub-format that is not known"));
        }
        fmt.tag = u16_at(24);
    }
    if fmt.channels == 0 {
        return Err(AudioError::corrupt("the header states 0 channels"));
    }
    Ok(fmt)
}

fn is_stream(tag: u16) -> bool {
    matches!(tag, 0x0050 | 0x0055 | 0x00ff | 0x1600 | 0x1602)
}

fn coding(fmt: &Fmt) -> Result<(Coding, u16), AudioError> {
    let bits = fmt.bits;
    let no_such = || AudioError::corrupt(format!("the header states {bits} bits a sample"));
    let (coding, sample_bytes) = match fmt.tag {
        0x0001 => {
            // Bytes a sample by the block size where it is plausible, since 20-bit samples take three bytes.
            let by_block =
                fmt.block_align.is_multiple_of(fmt.channels).then(|| fmt.block_align / fmt.channels);
            let by_bits = bits.div_ceil(8);
            let bytes = by_block.filter(|&n| n >= by_bits && n <= 4).unwrap_or(by_bits);
            match (bits, bytes) {
                (0, _) => return Err(no_such()),
                (_, 1) => (Coding::U8, 1),
                (_, 2..=4) => (Coding::IntLe(bytes), bytes),
                _ => return Err(no_such()),
            }
        }
        0x0003 if bits == 32 || bits == 64 => (Coding::FloatLe(bits / 8), bits / 8),
        0x0003 => return Err(no_such()),
        0x0006 => (Coding::ALaw, 1),
        0x0007 => (Coding::MuLaw, 1),
        0x0002 => return Ok((Coding::AdpcmMs, fmt.block_align)),
        0x0011 => return Ok((Coding::AdpcmIma, fmt.block_align)),
        tag if is_stream(tag) => return Err(no_such()),
        tag => return Err(AudioError::unsupported(tag_name(tag))),
    };
    let block_align = fmt.channels.checked_mul(sample_bytes);
    let too_many = || AudioError::unsupported(format!("{} channels", fmt.channels));
    Ok((coding, block_align.ok_or_else(too_many)?))
}

fn tag_name(tag: u16) -> String {
    let name = match tag {
        0x0031 => "GSM 6.10",
        0x0022 => "TrueSpeech",
        0x0040 | 0x0045 | 0x0064 => "G.721 or G.726 ADPCM",
        0x0028 | 0x0065 | 0x028f => "G.722 ADPCM",
        0x0042 | 0x0111 => "G.723.1",
        0x0083 | 0x0133 => "G.729",
        0x0092 | 0x2000 => "AC-3",
        0x2001 => "DTS",
        0x0160..=0x0163 => "Windows Media Audio",
        0x0270 => "ATRAC3",
        0xa109 => "Speex",
        _ => return format!("WAV with the format tag {tag:#06x}"),
    };
    format!("WAV with {name}")
}

/// Sun and NeXT: big-endian, a data offset and an encoding number.
fn read_au(source: &mut Source) -> Result<Layout, AudioError> {
    let len = source.len();
    let mut header = [0u8; 24];
    if source.read_at(0, &mut header)? < 24 {
        return Err(AudioError::corrupt("the AU header is cut off"));
    }
    let word = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let (start, claim, encoding) = (u64::from(word(4)), u64::from(word(8)), word(12));
    let (coding, sample_bytes) = match encoding {
        1 => (Coding::MuLaw, 1),
        2 => (Coding::I8, 1),
        3..=5 => (Coding::IntBe(encoding as u16 - 1), encoding as u16 - 1),
        6 => (Coding::FloatBe(4), 4),
        7 => (Coding::FloatBe(8), 8),
        27 => (Coding::ALaw, 1),
        _ => return Err(AudioError::unsupported(format!("AU with the encoding {encoding}"))),
    };
    let channels = word(20);
    let too_many = || AudioError::unsupported(format!("{channels} channels"));
    let channels_16 = u16::try_from(channels).map_err(|_| too_many())?;
    if channels_16 == 0 || start < 24 {
        return Err(AudioError::corrupt(format!(
            "the AU header states {channels} channels at offset {start}"
        )));
    }
    let available = len.saturating_sub(start);
    let open = claim == u64::from(u32::MAX) || claim == 0;
    Ok(Layout {
        coding,
        channels: channels_16,
        rate_hz: word(16),
        block_align: channels_16.checked_mul(sample_bytes).ok_or_else(too_many)?,
        data_start: start.min(len),
        data_end: start.min(len) + if open { available } else { claim.min(available) },
        claimed_bytes: (!open && claim > available).then_some(claim),
        unexplained_bytes: 0,
    })
}
