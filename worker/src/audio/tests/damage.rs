//! Streams that are cut, garbled or joined.

use super::*;

/// Frames of MPEG-1 layer III, 128 kbit/s, 44.1 kHz, mono: no side information, so every frame is silence.
pub(in crate::audio) fn silent_mp3(frames: usize) -> Vec<u8> {
    let mut frame = vec![0u8; 417];
    frame[..4].copy_from_slice(&[0xff, 0xfb, 0x90, 0xc0]);
    frame.repeat(frames)
}

/// Ogg pages with their checksum (RFC 3533, section 6).
pub(in crate::audio) struct Ogg {
    pub bytes: Vec<u8>,
    serial: u32,
    sequence: u32,
}

impl Ogg {
    pub(in crate::audio) fn new(serial: u32) -> Self {
        Self { bytes: Vec::new(), serial, sequence: 0 }
    }

    pub(in crate::audio) fn page(&mut self, flags: u8, granule: u64, packets: &[Vec<u8>]) {
        let mut lacing = Vec::new();
        for packet in packets {
            lacing.extend(std::iter::repeat_n(255u8, packet.len() / 255));
            lacing.push((packet.len() % 255) as u8);
        }
        let mut page = b"OggS\0".to_vec();
        page.push(flags);
        page.extend(granule.to_le_bytes());
        page.extend(self.serial.to_le_bytes());
        page.extend(self.sequence.to_le_bytes());
        page.extend([0; 4]);
        page.push(lacing.len() as u8);
        page.extend(lacing);
        page.extend(packets.concat());
        let sum = page.iter().fold(0u32, |sum, byte| {
            (0..8).fold(sum ^ u32::from(*byte) << 24, |sum, _| {
                if sum >> 31 == 1 { sum << 1 ^ 0x04c1_1db7 } else { sum << 1 }
            })
        });
        page[22..26].copy_from_slice(&sum.to_le_bytes());
        self.bytes.extend(page);
        self.sequence += 1;
    }
}

/// An Ogg Opus file of a tone: `samples` at 48 kHz, exactly, in packets of 20 ms and pages of ten.
pub(in crate::audio) fn opus(samples: &[f32], serial: u32, pre_skip: u16) -> Vec<u8> {
    let mut encoder =
        ropus::Encoder::builder(48_000, ropus::Channels::Mono, ropus::Application::Audio).build().unwrap();
    let mut padded = samples.to_vec();
    padded.resize((samples.len() + usize::from(pre_skip)).next_multiple_of(960), 0.0);
    let mut buf = vec![0u8; 4000];
    let packets: Vec<Vec<u8>> = padded
        .chunks(960)
        .map(|frame| {
            let bytes = encoder.encode_float(frame, &mut buf).unwrap();
            buf[..bytes].to_vec()
        })
        .collect();
    let mut ogg = Ogg::new(serial);
    let mut head = b"OpusHead\x01\x01".to_vec();
    head.extend(pre_skip.to_le_bytes());
    head.extend([0x80, 0xbb, 0, 0, 0, 0, 0]);
    ogg.page(2, 0, &[head]);
    ogg.page(0, 0, &[b"OpusTags\x04\0\0\0test\0\0\0\0".to_vec()]);
    let pages = packets.chunks(10).count();
    for (index, page) in packets.chunks(10).enumerate() {
        let is_last = index + 1 == pages;
        let granule = if is_last { samples.len() + usize::from(pre_skip) } else { (index + 1) * 9600 };
        ogg.page(if is_last { 4 } else { 0 }, granule as u64, page);
    }
    ogg.bytes
}

fn opus_tone(hz: f64, seconds: f64, serial: u32) -> Vec<u8> {
    opus(&sine(hz, 48_000, (seconds * 48_000.0) as usize, 0.5), serial, 312)
}

/// Loudest difference from a tone at 16 kHz that starts at 0, by energy, in decibels below the tone.
fn purity_db(heard: &[f32], hz: f64, from: usize, to: usize) -> f64 {
    let ideal = sine(hz, 16_000, to, 0.5);
    let (mut power, mut error) = (0.0, 0.0);
    for n in from..to {
        power += f64::from(ideal[n]).powi(2);
        error += f64::from(heard[n] - ideal[n]).powi(2);
    }
    10.0 * (power / error).log10()
}

#[test]
fn opus_starts_and_ends_exactly() {
    let heard = hear(&opus_tone(440.0, 2.345, 1)).unwrap();
    assert_eq!(heard.outputs[0].len(), (2.345f64 * 16_000.0) as usize);
    assert!((heard.summary.duration_s - 2.345).abs() < 1e-9);
    // The pre-skip puts the tone where it was: a shift of one millisecond would leave 1 dB.
    let db = purity_db(&heard.outputs[0], 440.0, 2000, 30_000);
    assert!(db > 15.0, "{db} dB");
    assert_eq!((heard.info.codec.as_str(), heard.info.sample_rate_hz), ("opus", 48_000));
    assert_eq!(heard.warnings(), Vec::<String>::new());
}

#[test]
fn chained_streams_are_one_recording() {
    let chained = [opus_tone(440.0, 1.5, 1), opus_tone(660.0, 1.0, 2), opus_tone(440.0, 0.7, 3)].concat();
    let heard = hear(&chained).unwrap();
    assert_eq!(heard.outputs[0].len(), 51_200);
    let second = purity_db(&heard.outputs[0][24_000..], 660.0, 2000, 14_000);
    assert!(second > 15.0, "{second} dB");
}

#[test]
fn a_lost_page_leaves_silence_of_its_length() {
    let whole = opus_tone(440.0, 4.0, 1);
    let starts: Vec<usize> =
        whole.windows(4).enumerate().filter(|(_, w)| w == b"OggS").map(|(at, _)| at).collect();
    // Page 10 is audio page 8: 0.2 s at 1.6 s less the pre-skip.
    let cut = [&whole[..starts[10]], &whole[starts[11]..]].concat();
    let heard = hear(&cut).unwrap();
    assert!((heard.outputs[0].len() as f64 - 64_000.0).abs() <= 1.0, "{}", heard.outputs[0].len());
    let warnings = heard.warnings();
    assert!(warnings.len() == 1 && warnings[0].starts_with("missing audio"), "{warnings:?}");
    let after = purity_db(&heard.outputs[0], 440.0, 40_000, 60_000);
    assert!(after > 10.0, "{after} dB");
}

#[test]
fn a_file_cut_in_the_middle_gives_what_is_there() {
    let whole = opus_tone(440.0, 4.0, 1);
    let heard = hear(&whole[..whole.len() / 2]).unwrap();
    assert!((1.5..2.5).contains(&heard.summary.duration_s), "{}", heard.summary.duration_s);
    assert!(heard.warnings()[0].starts_with("the file was cut short at"), "{:?}", heard.warnings());
}

#[test]
fn damaged_packets_keep_their_time() {
    let tone = sine(440.0, 48_000, 192_000, 0.5);
    let mut bytes = opus(&tone, 1, 312);
    // A table-of-contents byte that promises 48 frames of 60 ms: refused by every decoder. The checksum is set again,
    // so that the page passes.
    let starts: Vec<usize> =
        bytes.windows(4).enumerate().filter(|(_, w)| w == b"OggS").map(|(at, _)| at).collect();
    let (start, end) = (starts[8], starts[9]);
    let segments = usize::from(bytes[start + 26]);
    bytes[start + 27 + segments] = 0x1b;
    bytes[start + 28 + segments] = 48;
    bytes[start + 22..start + 26].fill(0);
    let sum = bytes[start..end].iter().fold(0u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte) << 24, |sum, _| {
            if sum >> 31 == 1 { sum << 1 ^ 0x04c1_1db7 } else { sum << 1 }
        })
    });
    bytes[start + 22..start + 26].copy_from_slice(&sum.to_le_bytes());
    let heard = hear(&bytes).unwrap();
    let length = heard.outputs[0].len() as f64;
    assert!((length - 64_000.0).abs() < 3200.0, "{length}");
    assert!(heard.warnings().iter().any(|w| w.starts_with("damaged audio")), "{:?}", heard.warnings());
}

#[test]
fn silent_mp3_frames_have_their_length() {
    let heard = hear(&silent_mp3(50)).unwrap();
    assert_eq!((heard.info.codec.as_str(), heard.info.container), ("mp3", "mpeg audio"));
    assert!((heard.summary.duration_s - 50.0 * 1152.0 / 44_100.0).abs() < 0.06, "{:?}", heard.summary);
    assert!(heard.outputs[0].iter().all(|s| s.abs() < 1e-6));
}

#[test]
fn mp3_inside_a_wav_and_behind_garbage_is_found() {
    let wav = Wav::raw(0x55, 1, 44_100, 0, silent_mp3(20)).build();
    assert_eq!(hear(&wav).unwrap().info.codec, "mp3");
    let garbage = [Noise::new(1).bytes(3000), silent_mp3(20)].concat();
    assert_eq!(hear(&garbage).unwrap().info.codec, "mp3");
}

#[test]
fn random_bytes_fail_at_once() {
    for seed in 0..10 {
        let error = refusal(&Noise::new(seed).bytes(50_000));
        assert!(matches!(error, AudioError::Unsupported { .. }), "{error}");
    }
}

#[test]
fn random_bytes_behind_every_magic_end_in_a_result() {
    let magics: [&[u8]; 9] = [
        b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0",
        b"OggS\0\x02",
        b"fLaC\0\0\0\x22",
        b"caff\0\x01\0\0desc",
        b"FORM\0\0\xff\xffAIFFCOMM\0\0\0\x12",
        b"\x1a\x45\xdf\xa3\x9fB\x86\x81\x01",
        b"\0\0\0\x18ftypM4A \0\0\0\0",
        b".snd\0\0\0\x18",
        b"\xff\xf1\x50\x80",
    ];
    for magic in magics {
        for seed in 0..30 {
            let bytes = [magic, &Noise::new(seed).bytes(4000)].concat();
            if let Ok(heard) = hear(&bytes) {
                assert!(
                    heard.summary.duration_s < 60.0,
                    "{:?} gave {:?}",
                    magic.escape_ascii(),
                    heard.summary
                );
            }
        }
    }
}

#[test]
fn flipped_bytes_of_an_opus_file_end_in_a_result() {
    let whole = opus_tone(440.0, 0.5, 1);
    let mut noise = Noise::new(11);
    for _ in 0..200 {
        let mut bytes = whole.clone();
        for _ in 0..1 + noise.next() % 4 {
            let at = noise.next() as usize % bytes.len();
            bytes[at] = noise.next() as u8;
        }
        if let Ok(heard) = hear(&bytes) {
            assert!(heard.summary.duration_s <= 3700.0);
        }
    }
}
