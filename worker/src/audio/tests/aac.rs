//! HE-AAC and MP4 boxes.
//!
//! `he_aac_v1.aac` and `he_aac_v2.aac` were encoded with FDK AAC (`fdk-aac` 0.8: object types HE-AAC mono and HE-AAC v2
//! stereo, 44.1 kHz, 24 kbit/s, ADTS) from 66,150 samples of three tones, 440 Hz at 0.3, 2,500 Hz at 0.1 and 9,000 Hz
//! at 0.05, silent from 0.7 to 0.8 s as a mark in time. The encoder states a delay of 5,058 samples for the first.

use super::*;

const VERSION_1: &[u8] = include_bytes!("he_aac_v1.aac");
const VERSION_2: &[u8] = include_bytes!("he_aac_v2.aac");
/// What the encoder states, at 44.1 kHz.
const ENCODER_DELAY: u32 = 5058;

/// Amplitude of a tone.
fn amplitude(samples: &[f32], hz: f64) -> f64 {
    let (mut re, mut im) = (0.0, 0.0);
    for (n, s) in samples.iter().enumerate() {
        let phase = std::f64::consts::TAU * hz * n as f64 / 16_000.0;
        re += f64::from(*s) * phase.cos();
        im += f64::from(*s) * phase.sin();
    }
    2.0 * re.hypot(im) / samples.len() as f64
}

/// The middle of the mark, seconds: where 20 ms are quietest on average, by the centre of what is quiet.
fn mark_s(samples: &[f32]) -> f64 {
    let window = 160;
    let quiet: Vec<usize> = (8000..18_000)
        .step_by(16)
        .filter(|&at| samples[at - window..at + window].iter().all(|s| s.abs() < 0.05))
        .collect();
    quiet.iter().sum::<usize>() as f64 / quiet.len() as f64 / 16_000.0
}

fn adts_packets(bytes: &[u8]) -> Vec<Vec<u8>> {
    let (mut packets, mut at) = (Vec::new(), 0);
    while let Some(header) = bytes.get(at..at + 7) {
        let bytes_long =
            usize::from(header[3] & 3) << 11 | usize::from(header[4]) << 3 | usize::from(header[5]) >> 5;
        packets.push(bytes[at + 7..at + bytes_long].to_vec());
        at += bytes_long;
    }
    packets
}

fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    [&(8 + body.len() as u32).to_be_bytes(), kind.as_slice(), body].concat()
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// An MP4 file with one AAC track of 2,048 ticks a packet at 44,100 ticks a second.
fn mp4(packets: &[Vec<u8>], config: &[u8], edit: Option<[u32; 2]>) -> Vec<u8> {
    let count = packets.len() as u32;
    let descriptor = |tag: u8, body: &[u8]| [&[tag, body.len() as u8], body].concat();
    let decoder = [&[0x40, 0x15, 0, 0, 0][..], &[0; 8], &descriptor(5, config)].concat();
    let stream = [&[0, 1, 0][..], &descriptor(4, &decoder), &descriptor(6, &[2])].concat();
    let esds = boxed(b"esds", &[&[0; 4][..], &descriptor(3, &stream)].concat());
    let entry = [
        &[0, 0, 0, 0, 0, 0, 0, 1][..],
        &[0; 8],
        &[0, 2, 0, 16, 0, 0, 0, 0],
        &(44_100u32 << 16).to_be_bytes(),
        &esds,
    ]
    .concat();
    let ftyp = boxed(b"ftyp", b"M4A \0\0\0\0M4A mp42");
    let table = |kind: &[u8; 4], numbers: &[u32]| boxed(kind, &words(numbers));
    let sizes = [vec![0, 0, count], packets.iter().map(|p| p.len() as u32).collect()].concat();
    let stbl = [
        boxed(b"stsd", &[&words(&[0, 1])[..], &boxed(b"mp4a", &entry)].concat()),
        table(b"stts", &[0, 1, count, 2048]),
        table(b"stsc", &[0, 1, 1, count, 1]),
        table(b"stsz", &sizes),
        table(b"stco", &[0, 1, ftyp.len() as u32 + 8]),
    ]
    .concat();
    let dinf = boxed(b"dinf", &boxed(b"dref", &[&words(&[0, 1])[..], &table(b"url ", &[1])].concat()));
    let minf = [boxed(b"smhd", &[0; 8]), dinf, boxed(b"stbl", &stbl)].concat();
    let mdia = [
        table(b"mdhd", &[0, 0, 0, 44_100, 2048 * count, 0x55c4_0000]),
        boxed(b"hdlr", &[&words(&[0, 0])[..], b"soun", &[0; 13]].concat()),
        boxed(b"minf", &minf),
    ]
    .concat();
    let tkhd = [words(&[7, 0, 0, 1, 0, 0]), vec![0; 60]].concat();
    let list = edit.map(|[length, from]| boxed(b"edts", &table(b"elst", &[0, 1, length, from, 0x1_0000])));
    let trak = [boxed(b"tkhd", &tkhd), list.unwrap_or_default(), boxed(b"mdia", &mdia)].concat();
    let mvhd = [words(&[0, 0, 0, 1000, 1500, 0x1_0000]), vec![0; 76]].concat();
    let moov = [boxed(b"mvhd", &mvhd), boxed(b"trak", &trak)].concat();
    [ftyp, boxed(b"mdat", &packets.concat()), boxed(b"moov", &moov)].concat()
}

/// Object type 5 or 29, core 22.05 kHz, one channel, output 44.1 kHz, core AAC-LC.
fn explicit_config(object_type: u32) -> Vec<u8> {
    (object_type << 27 | 7 << 23 | 1 << 19 | 4 << 15 | 2 << 10).to_be_bytes()[..3].to_vec()
}

#[test]
fn he_aac_gives_its_core_at_the_right_level() {
    for bytes in [VERSION_1, VERSION_2] {
        let heard = hear(bytes).unwrap();
        assert_eq!((heard.info.sample_rate_hz, heard.info.container), (22_050, "adts"));
        let packets = adts_packets(bytes).len() as f64;
        assert!((heard.summary.duration_s - packets * 1024.0 / 22_050.0).abs() < 1e-9);
        let samples = &heard.outputs[0][3200..11_200];
        let (low, middle) = (amplitude(samples, 440.0), amplitude(samples, 2500.0));
        assert!((low / 0.3 - 1.0).abs() < 0.1 && (middle / 0.1 - 1.0).abs() < 0.2, "{low} {middle}");
    }
}

#[test]
fn announced_he_aac_opens_as_its_core_and_says_so() {
    for (bytes, object_type) in [(VERSION_1, 5), (VERSION_2, 29)] {
        let packets = adts_packets(bytes);
        let heard = hear(&mp4(&packets, &explicit_config(object_type), None)).unwrap();
        assert_eq!(heard.outputs, hear(bytes).unwrap().outputs);
        assert_eq!(heard.warnings(), ["HE-AAC was decoded without its treble, at 22050 Hz"]);
        assert_eq!((heard.info.codec.as_str(), heard.info.container), ("aac", "mp4"));
    }
}

#[test]
fn an_edit_list_puts_he_aac_where_it_was() {
    let packets = adts_packets(VERSION_1);
    let heard = hear(&mp4(&packets, &explicit_config(5), Some([1200, ENCODER_DELAY]))).unwrap();
    assert!((heard.summary.duration_s - 1.2).abs() < 0.03, "{}", heard.summary.duration_s);
    let mark = mark_s(&heard.outputs[0]);
    assert!((mark - 0.75).abs() < 0.006, "{mark}");
}

#[test]
fn a_cut_index_is_told() {
    let whole = mp4(&adts_packets(VERSION_1), &explicit_config(5), None);
    let moov = whole.windows(4).position(|w| w == b"moov").unwrap();
    let error = refusal(&whole[..moov - 4]);
    assert_eq!(
        error.to_string(),
        "corrupt audio: the mp4 index (`moov` box) is missing: the file was cut short"
    );
}
