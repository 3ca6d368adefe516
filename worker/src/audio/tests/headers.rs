//! WAV headers as recorders, editors and attackers write them.

use super::*;

fn pcm() -> Wav {
    Wav::pcm16(16_000, &[tone(16_000)])
}

fn quantised() -> Vec<f32> {
    tone(16_000).iter().map(|s| (s * 32767.0).round() / 32768.0).collect()
}

#[test]
fn sizes_that_were_never_filled_in_are_ignored() {
    for (riff, data) in [(0, 0), (u32::MAX, u32::MAX), (36, 0), (0, u32::MAX)] {
        let wav = Wav { riff_size: Some(riff), data_size: Some(data), ..pcm() };
        let heard = hear(&wav.build()).unwrap();
        assert_eq!(heard.outputs, [quantised()], "sizes {riff} and {data}");
        assert_eq!(heard.warnings(), Vec::<String>::new());
    }
}

#[test]
fn a_size_beyond_the_file_is_a_cut_file() {
    let wav = Wav { data_size: Some(64_000), ..pcm() }.build();
    let heard = hear(&wav).unwrap();
    assert_eq!(heard.outputs, [quantised()]);
    assert_eq!(heard.warnings(), ["the file ends at 1.00 s of the 2.00 s that it declares"]);
    // Cut in the middle of a sample.
    let heard = hear(&pcm().build()[..16_000 + 44 + 1]).unwrap();
    assert_eq!(heard.outputs[0], quantised()[..8000]);
}

#[test]
fn a_size_below_the_file_is_believed_and_the_rest_is_told() {
    let heard = hear(&Wav { data_size: Some(16_000), ..pcm() }.build()).unwrap();
    assert_eq!(heard.outputs[0], quantised()[..8000]);
    assert_eq!(heard.warnings(), ["bytes behind the samples belong to no chunk and were left out: 16000"]);
}

#[test]
fn other_chunks_are_stepped_over() {
    let mut wav = pcm();
    wav.before_data =
        [chunk(b"JUNK", &[0; 28]), chunk(b"LIST", b"INFOINAM\x03\0\0\0abc\0"), chunk(b"xyz ", &[1; 5])]
            .concat();
    wav.after_data = [chunk(b"id3 ", &[2; 9]), chunk(b"bext", &[0; 602])].concat();
    let heard = hear(&wav.build()).unwrap();
    assert_eq!(heard.outputs, [quantised()]);
    assert_eq!(heard.warnings(), Vec::<String>::new());
    // An empty data chunk in front of others is empty, and not a recording that was never finished.
    let empty = Wav { data: Vec::new(), ..wav };
    assert!(matches!(refusal(&empty.build()), AudioError::Empty { .. }));
}

#[test]
fn every_sample_format_gives_the_same_tone() {
    let ints = |bits: u16| {
        let full = f64::from(1u32 << (bits - 1)) - 1.0;
        let bytes = usize::from(bits / 8);
        let sample = |s: &f32| (f64::from(*s) * full).round() as i32;
        tone(16_000).iter().flat_map(|s| sample(s).to_le_bytes()[..bytes].to_vec()).collect::<Vec<u8>>()
    };
    let bytes = tone(16_000).iter().map(|s| (s * 127.0).round() as i8 as u8 ^ 0x80).collect();
    let doubles = tone(16_000).iter().flat_map(|s| f64::from(*s).to_le_bytes()).collect();
    let files = [
        (Wav::raw(1, 1, 16_000, 8, bytes), 1e-2),
        (Wav::raw(1, 1, 16_000, 24, ints(24)), 1e-6),
        (Wav::raw(1, 1, 16_000, 32, ints(32)), 1e-6),
        (Wav::raw(3, 1, 16_000, 64, doubles), 1e-7),
    ];
    for (wav, tolerance) in files {
        let off = largest_difference(&hear(&wav.build()).unwrap().outputs[0], &tone(16_000));
        assert!(off <= tolerance, "tag {}, {} bits: {off}", wav.tag, wav.bits);
        // The same as an extensible header.
        let mut extensible = wav.clone();
        extensible.fmt_extra = [22, 0].to_vec();
        extensible.fmt_extra.extend(wav.bits.to_le_bytes());
        extensible.fmt_extra.extend([4, 0, 0, 0]);
        extensible.fmt_extra.extend(wav.tag.to_le_bytes());
        extensible.fmt_extra.extend([0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71]);
        extensible.tag = 0xfffe;
        assert_eq!(hear(&extensible.build()).unwrap().outputs, hear(&wav.build()).unwrap().outputs);
    }
}

#[test]
fn telephone_codings_need_no_extension_field() {
    // Silence is 0xff in µ-law and 0xd5 in A-law; the loudest positive values are 0x80 and 0xaa.
    for (tag, quiet, loud) in [(7, 0xff, 0x80), (6, 0xd5, 0xaa)] {
        let data = [vec![quiet; 4000], vec![loud; 4000]].concat();
        let heard = hear(&Wav::raw(tag, 1, 16_000, 8, data).build()).unwrap();
        assert!(heard.outputs[0][..4000].iter().all(|s| s.abs() < 1e-3));
        assert!(heard.outputs[0][4000..].iter().all(|s| *s > 0.9), "tag {tag}");
    }
}

#[test]
fn rf64_and_wave64_are_read() {
    let plain = pcm();
    let data = plain.data.clone();
    let mut rf64 = b"RF64\xff\xff\xff\xffWAVE".to_vec();
    let ds64 = [&[0u8; 8][..], &(data.len() as u64).to_le_bytes(), &[0; 12]].concat();
    rf64.extend(chunk(b"ds64", &ds64));
    rf64.extend(plain.fmt_chunk());
    rf64.extend(b"data\xff\xff\xff\xff");
    rf64.extend(&data);
    let behind = chunk(b"LIST", b"INFO");
    rf64.extend(&behind);
    let heard = hear(&rf64).unwrap();
    assert_eq!(heard.outputs, [quantised()]);
    assert_eq!(heard.warnings(), Vec::<String>::new());

    let tail = [0xf3, 0xac, 0xd3, 0x11, 0x8c, 0xd1, 0x00, 0xc0, 0x4f, 0x8e, 0xdb, 0x8a];
    let w64_chunk = |id: &[u8; 4], body: &[u8]| {
        let mut bytes = [id.as_slice(), &tail, &(24 + body.len() as u64).to_le_bytes(), body].concat();
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    };
    let mut w64 = wave::W64_RIFF.to_vec();
    w64.extend(0u64.to_le_bytes());
    w64.extend([b"wave".as_slice(), &tail].concat());
    w64.extend(w64_chunk(b"fmt ", &plain.fmt_chunk()[8..]));
    w64.extend(w64_chunk(b"data", &data));
    let heard = hear(&w64).unwrap();
    assert_eq!((heard.outputs, heard.info.container), (vec![quantised()], "w64"));
}

#[test]
fn sun_au_is_read_in_both_byte_sizes_it_knows() {
    let au = |encoding: u32, size: u32, data: Vec<u8>| {
        let header = [28u32, size, encoding, 16_000, 1, 0].map(u32::to_be_bytes).concat();
        [b".snd".to_vec(), header, data].concat()
    };
    let data: Vec<u8> =
        tone(16_000).iter().flat_map(|s| ((s * 32767.0).round() as i16).to_be_bytes()).collect();
    for size in [32_000, u32::MAX] {
        assert_eq!(hear(&au(3, size, data.clone())).unwrap().outputs, [quantised()]);
    }
    assert_eq!(hear(&au(1, 4, vec![0xff; 4])).unwrap().outputs[0].len(), 4);
    assert!(matches!(refusal(&au(23, 4, vec![0; 4])), AudioError::Unsupported { .. }));
}

#[test]
fn absurd_headers_are_refused_by_name() {
    let say = |wav: Wav| refusal(&wav.build()).to_string();
    let rate = |rate_hz| say(Wav { rate_hz, ..pcm() });
    assert_eq!(rate(0), "unsupported audio: a sample rate of 0 Hz, outside 2000 to 768000 Hz");
    assert_eq!(rate(1), "unsupported audio: a sample rate of 1 Hz, outside 2000 to 768000 Hz");
    assert!(rate(u32::MAX).contains("4294967295 Hz"));
    assert_eq!(say(Wav { channels: 0, ..pcm() }), "corrupt audio: the header states 0 channels");
    assert_eq!(say(Wav { channels: 65_535, ..pcm() }), "unsupported audio: 65535 channels");
    assert_eq!(say(Wav { bits: 0, ..pcm() }), "corrupt audio: the header states 0 bits a sample");
    assert_eq!(say(Wav { tag: 0x1234, ..pcm() }), "unsupported audio: WAV with the format tag 0x1234");
    assert_eq!(say(Wav { tag: 0x31, ..pcm() }), "unsupported audio: WAV with GSM 6.10");
    assert_eq!(say(Wav { data: Vec::new(), ..pcm() }), "the file contains no audio samples (wav)");
    assert_eq!(say(Wav { tag: 2, bits: 4, ..pcm() }), "corrupt audio: the header states blocks of 0 bytes");
}

#[test]
fn rates_hold_at_the_bounds_and_one_past_them() {
    for (rate_hz, passes) in [(1_999, false), (2_000, true), (768_000, true), (768_001, false)] {
        let samples = vec![0.1; rate_hz as usize / 10];
        assert_eq!(hear(&Wav::pcm16(rate_hz, &[samples]).build()).is_ok(), passes, "{rate_hz} Hz");
    }
}

#[test]
fn missing_parts_are_told() {
    let whole = pcm().build();
    assert_eq!(refusal(&whole[..16]).to_string(), "corrupt audio: the file ends before its `fmt` chunk");
    let short = refusal(&whole[..30]).to_string();
    assert_eq!(short, "corrupt audio: the `fmt ` chunk has 10 bytes of at least 16");
    assert_eq!(refusal(&whole[..40]).to_string(), "corrupt audio: the file ends before its `data` chunk");
    assert!(matches!(refusal(&whole[..44]), AudioError::Empty { .. }));
    let mut reversed = b"RIFF\0\0\0\0WAVE".to_vec();
    reversed.extend(chunk(b"data", &[0; 64]));
    reversed.extend(pcm().fmt_chunk());
    assert_eq!(refusal(&reversed).to_string(), "corrupt audio: samples come before any `fmt ` chunk");
}

#[test]
fn a_few_samples_are_audio() {
    for count in [1, 80] {
        let heard = hear(&Wav::pcm16(16_000, &[vec![0.25; count]]).build()).unwrap();
        assert_eq!(heard.outputs[0].len(), count);
    }
}

#[test]
fn every_prefix_and_every_flipped_byte_of_a_header_ends_in_a_result() {
    let mut wav = pcm();
    wav.data.truncate(2000);
    wav.before_data = chunk(b"LIST", b"INFOINAM\x04\0\0\0abcd");
    wav.after_data = chunk(b"id3 ", &[1; 10]);
    let whole = wav.build();
    for end in 0..whole.len().min(100) {
        let _ = hear(&whole[..end]);
    }
    for at in 0..100 {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] = value;
            if let Ok(heard) = hear(&bytes) {
                assert!(heard.outputs[0].len() <= 20_000, "byte {at} as {value}");
            }
        }
    }
}
