//! Edit lists of MP4 files: which part of a track is shown, and when it starts.
//!
//! Encoders state their priming samples there (AAC starts 1,024 to 2,112 samples early), cameras a late start, and
//! phones what the user cut away. The library does not apply them. Only the boxes on the way to the list are read, each
//! by its own size, and nothing is allocated by a size from the file.

use super::error::AudioError;
use super::source::Source;

/// Most boxes looked at on one level.
const BOXES_MAX: usize = 4096;
/// Most tracks.
const TRACKS_MAX: usize = 64;

/// The shown part of one track.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Edit {
    /// The track's number in its header.
    pub track_id: u32,
    /// Silence before the track starts, seconds.
    pub late_s: f64,
    /// Start of the shown part in the track, seconds.
    pub from_s: f64,
    /// Length of the shown part, seconds; `None` for all that follows.
    pub length_s: Option<f64>,
}

struct Span {
    kind: [u8; 4],
    start: u64,
    end: u64,
}

struct Boxes<'a> {
    source: &'a mut Source,
}

impl Boxes<'_> {
    /// The boxes directly inside `start..end`.
    fn inside(&mut self, start: u64, end: u64) -> Result<Vec<Span>, AudioError> {
        let mut spans = Vec::new();
        let mut at = start;
        while at + 8 <= end && spans.len() < BOXES_MAX {
            let mut header = [0u8; 16];
            let filled = self.source.read_at(at, &mut header)?;
            if filled < 8 {
                break;
            }
            let [a, b, c, d, k0, k1, k2, k3, large @ ..] = header;
            let (bytes, head) = match u32::from_be_bytes([a, b, c, d]) {
                0 => (end - at, 8),
                1 if filled == 16 => (u64::from_be_bytes(large), 16),
                short => (u64::from(short), 8),
            };
            if bytes < head || bytes > end - at {
                break;
            }
            spans.push(Span { kind: [k0, k1, k2, k3], start: at + head, end: at + bytes });
            at += bytes;
        }
        Ok(spans)
    }

    fn find(&mut self, within: &Span, kind: &[u8; 4]) -> Result<Option<Span>, AudioError> {
        Ok(self.inside(within.start, within.end)?.into_iter().find(|span| &span.kind == kind))
    }

    /// The first bytes of a box, zeros behind its end.
    fn head<const N: usize>(&mut self, span: &Span) -> Result<[u8; N], AudioError> {
        let mut bytes = [0u8; N];
        let want = usize::try_from(span.end - span.start).unwrap_or(N).min(N);
        self.source.read_at(span.start, &mut bytes[..want])?;
        Ok(bytes)
    }

    /// The time scale in `mvhd` or `mdhd`: behind two times of 4 or, in version 1, 8 bytes.
    fn timescale(&mut self, span: &Span) -> Result<Option<u32>, AudioError> {
        let bytes: [u8; 24] = self.head(span)?;
        let at = if bytes[0] == 1 { 20 } else { 12 };
        Ok(Some(u32_at(&bytes, at)).filter(|&scale| scale > 0))
    }
}

/// Reads the edit lists of all tracks that have a simple one.
///
/// # Errors
/// Only when the file cannot be read; a broken structure has no edits.
pub(super) fn read(source: &mut Source) -> Result<Vec<Edit>, AudioError> {
    let len = source.len();
    let mut boxes = Boxes { source };
    let mut edits = Vec::new();
    let Some(moov) = boxes.inside(0, len)?.into_iter().find(|span| &span.kind == b"moov") else {
        return Ok(edits);
    };
    let Some(mvhd) = boxes.find(&moov, b"mvhd")? else { return Ok(edits) };
    let Some(movie_scale) = boxes.timescale(&mvhd)? else { return Ok(edits) };
    let tracks = boxes.inside(moov.start, moov.end)?;
    for trak in tracks.into_iter().filter(|span| &span.kind == b"trak").take(TRACKS_MAX) {
        if let Some(edit) = read_track(&mut boxes, &trak, movie_scale)? {
            edits.push(edit);
        }
    }
    Ok(edits)
}

fn read_track(boxes: &mut Boxes<'_>, trak: &Span, movie_scale: u32) -> Result<Option<Edit>, AudioError> {
    let Some(tkhd) = boxes.find(trak, b"tkhd")? else { return Ok(None) };
    let Some(edts) = boxes.find(trak, b"edts")? else { return Ok(None) };
    let Some(elst) = boxes.find(&edts, b"elst")? else { return Ok(None) };
    let Some(mdia) = boxes.find(trak, b"mdia")? else { return Ok(None) };
    let Some(mdhd) = boxes.find(&mdia, b"mdhd")? else { return Ok(None) };
    let Some(media_scale) = boxes.timescale(&mdhd)? else { return Ok(None) };
    let header: [u8; 24] = boxes.head(&tkhd)?;
    let track_id = u32_at(&header, if header[0] == 1 { 20 } else { 12 });
    let list: [u8; 48] = boxes.head(&elst)?;
    let entries = u32_at(&list, 4);
    let wide = list[0] == 1;
    let entry = |index: usize| {
        if wide {
            let at = 8 + 20 * index;
            (u64_at(&list, at), u64_at(&list, at + 8).cast_signed())
        } else {
            let at = 8 + 12 * index;
            (u64::from(u32_at(&list, at)), i64::from(u32_at(&list, at + 4).cast_signed()))
        }
    };
    // One shown part, perhaps behind an empty one (start -1): anything else is left as it lies in the file.
    let (late, (length, from)) = match entries {
        1 => (0, entry(0)),
        2 if entry(0).1 == -1 => (entry(0).0, entry(1)),
        _ => return Ok(None),
    };
    if from < 0 {
        return Ok(None);
    }
    #[allow(clippy::cast_precision_loss, reason = "times of files are far below 2^53 ticks")]
    let seconds = |ticks: u64, scale: u32| ticks as f64 / f64::from(scale);
    Ok(Some(Edit {
        track_id,
        late_s: seconds(late, movie_scale),
        from_s: seconds(from.unsigned_abs(), media_scale),
        length_s: (length > 0).then(|| seconds(length, movie_scale)),
    }))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().fold(0, |value, byte| value << 8 | u32::from(*byte))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8].iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::limits::AudioLimits;

    fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        [&(8 + body.len() as u32).to_be_bytes(), kind.as_slice(), body].concat()
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    fn file(list: &[u32]) -> Vec<u8> {
        let trak = [
            boxed(b"tkhd", &words(&[0, 0, 0, 7, 0, 0])),
            boxed(b"edts", &boxed(b"elst", &words(list))),
            boxed(b"mdia", &boxed(b"mdhd", &words(&[0, 0, 0, 44_100, 0]))),
        ]
        .concat();
        let moov = [boxed(b"mvhd", &words(&[0, 0, 0, 1000, 0])), boxed(b"trak", &trak)].concat();
        [boxed(b"ftyp", b"M4A "), boxed(b"free", &[0; 9]), boxed(b"moov", &moov)].concat()
    }

    fn edits(bytes: &[u8]) -> Vec<Edit> {
        read(&mut Source::from_bytes(bytes.into(), &AudioLimits::default()).unwrap()).unwrap()
    }

    #[test]
    fn priming_and_length_are_read() {
        let found = edits(&file(&[0, 1, 30_000, 1024, 0x1_0000]));
        let edit = Edit { track_id: 7, late_s: 0.0, from_s: 1024.0 / 44_100.0, length_s: Some(30.0) };
        assert_eq!(found, [edit]);
    }

    #[test]
    fn a_late_start_is_read_and_a_montage_is_not() {
        let found = edits(&file(&[0, 2, 500, u32::MAX, 0x1_0000, 0, 0, 0x1_0000]));
        assert_eq!(found, [Edit { track_id: 7, late_s: 0.5, from_s: 0.0, length_s: None }]);
        assert_eq!(edits(&file(&[0, 3, 1, 0, 1, 1, 9, 1, 1, 20, 1])), []);
        assert_eq!(edits(&file(&[0, 1, 500, u32::MAX, 0x1_0000])), []);
    }

    #[test]
    fn broken_boxes_have_no_edits() {
        let whole = file(&[0, 1, 30_000, 1024, 0x1_0000]);
        for cut in 1..whole.len() {
            assert_eq!(edits(&whole[..cut]), []);
        }
        // A box that states a size below its own header, and one beyond its parent.
        let mut small = whole.clone();
        let moov = small.windows(4).position(|w| w == b"moov").unwrap();
        small[moov - 4..moov].copy_from_slice(&4u32.to_be_bytes());
        assert_eq!(edits(&small), []);
        small[moov - 4..moov].copy_from_slice(&u32::MAX.to_be_bytes());
        assert_eq!(edits(&small), []);
    }
}
