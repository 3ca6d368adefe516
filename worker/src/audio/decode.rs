//! Packets to samples, one vector a channel, whatever the codec.

use std::sync::OnceLock;

use symphonia::core::codecs::audio::well_known as codec;
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::codecs::registry::CodecRegistry;
use symphonia::core::errors::Error as LibraryError;
use symphonia::core::packet::Packet;

use super::aac::AacConfig;
use super::error::AudioError;
use super::guard::guarded;
use super::opus::{OPUS_RATE_HZ, OpusDecoder, OpusHead, packet_frames};

/// Decoded samples at the source rate.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Planes {
    /// Sample rate, hertz.
    pub rate_hz: u32,
    /// One vector a channel, all of one length.
    pub planes: Vec<Vec<f32>>,
}

impl Planes {
    /// Frames (samples a channel).
    pub(super) fn frames(&self) -> usize {
        self.planes.first().map_or(0, Vec::len)
    }

    /// Keeps `from..to`.
    pub(super) fn crop(&mut self, from: usize, to: usize) {
        for plane in &mut self.planes {
            plane.truncate(to);
            plane.drain(..from.min(plane.len()));
        }
    }
}

enum Engine {
    Library { decoder: Box<dyn AudioDecoder>, params: Box<AudioCodecParameters> },
    Opus(OpusDecoder),
}

/// A decoder for one track.
pub(super) struct Decoder {
    engine: Engine,
    /// Short name of the codec, as documents carry it.
    pub codec: String,
    /// Sample rate of the core, hertz, of an HE-AAC stream of which only that is decoded.
    pub core_rate_hz: Option<u32>,
}

fn registry() -> &'static CodecRegistry {
    static REGISTRY: OnceLock<CodecRegistry> = OnceLock::new();
    REGISTRY.get_or_init(|| {
        let mut registry = CodecRegistry::new();
        symphonia::default::register_enabled_codecs(&mut registry);
        registry
    })
}

/// Only the Vorbis decoder trims by the packet's own numbers and has to (its first packet gives no samples); all other
/// trimming is the track's.
fn options(params: &AudioCodecParameters) -> AudioDecoderOptions {
    AudioDecoderOptions::default().gapless(params.codec == codec::CODEC_ID_VORBIS)
}

impl Decoder {
    /// Makes a decoder for a track.
    ///
    /// # Errors
    /// The codec by name when there is no decoder for it; corrupt codec headers.
    pub(super) fn new(params: &AudioCodecParameters) -> Result<Self, AudioError> {
        if params.codec == codec::CODEC_ID_OPUS {
            let head = OpusHead::read(params.extra_data.as_deref().unwrap_or_default())?;
            let engine = Engine::Opus(OpusDecoder::new(head)?);
            return Ok(Self { engine, codec: "opus".to_owned(), core_rate_hz: None });
        }
        if registry().get_audio_decoder(params.codec).is_none() {
            return Err(AudioError::unsupported(codec_name(params.codec)));
        }
        let mut params = params.clone();
        let core_rate_hz =
            if params.codec == codec::CODEC_ID_AAC { reduce_to_core(&mut params)? } else { None };
        let decoder = make(&params)?;
        let codec = decoder.codec_info().short_name.to_owned();
        let engine = Engine::Library { decoder, params: Box::new(params) };
        Ok(Self { engine, codec, core_rate_hz })
    }

    /// Decodes a packet. A decoder that panics is replaced by a fresh one.
    ///
    /// # Errors
    /// Why the packet cannot be decoded; the next may be.
    pub(super) fn decode(&mut self, packet: &Packet, out: &mut Planes) -> Result<(), String> {
        let result = match &mut self.engine {
            Engine::Library { decoder, .. } => guarded(|| match decoder.decode(packet) {
                Ok(decoded) => {
                    out.rate_hz = decoded.spec().rate();
                    decoded.copy_to_vecs_planar(&mut out.planes);
                    Ok(())
                }
                Err(error) => Err(error.to_string()),
            }),
            Engine::Opus(decoder) => guarded(|| {
                out.rate_hz = OPUS_RATE_HZ;
                decoder.decode(&packet.data, &mut out.planes)
            }),
        };
        result.unwrap_or_else(|gave_up| {
            self.renew();
            Err(gave_up.to_string())
        })
    }

    /// Samples at 48 kHz to drop at the start, by the codec's own header.
    pub(super) fn pre_skip(&self) -> Option<u64> {
        match &self.engine {
            Engine::Opus(decoder) => Some(u64::from(decoder.head().pre_skip)),
            Engine::Library { .. } => None,
        }
    }

    /// Frames that a packet stands for by its own header, where the container does not say.
    pub(super) fn frames_of(&self, packet: &Packet) -> Option<u64> {
        match &self.engine {
            Engine::Opus(_) => packet_frames(&packet.data),
            Engine::Library { .. } => None,
        }
    }

    /// Whether the decoder trims by the packet's numbers, so that the track must not.
    pub(super) fn trims_itself(&self) -> bool {
        matches!(&self.engine, Engine::Library { params, .. } if params.codec == codec::CODEC_ID_VORBIS)
    }

    /// Whether end trims on packets are exact (Opus in Ogg, where the last page states the end).
    pub(super) fn takes_packet_trims(&self) -> bool {
        matches!(self.engine, Engine::Opus(_))
    }

    fn renew(&mut self) {
        match &mut self.engine {
            Engine::Library { decoder, params } => {
                if let Ok(fresh) = make(params) {
                    *decoder = fresh;
                }
            }
            Engine::Opus(decoder) => {
                if let Ok(fresh) = OpusDecoder::new(decoder.head().clone()) {
                    *decoder = fresh;
                }
            }
        }
    }
}

fn make(params: &AudioCodecParameters) -> Result<Box<dyn AudioDecoder>, AudioError> {
    let made = guarded(|| registry().make_audio_decoder(params, &options(params)));
    match made {
        Ok(Ok(decoder)) => Ok(decoder),
        Ok(Err(LibraryError::Unsupported(_))) => Err(too_complex(params)),
        Ok(Err(error)) => Err(AudioError::corrupt(format!("the codec header: {error}"))),
        Err(gave_up) => Err(AudioError::corrupt(format!("the codec header: {gave_up}"))),
    }
}

/// Names what a decoder refused.
fn too_complex(params: &AudioCodecParameters) -> AudioError {
    let name = codec_name(params.codec);
    match &params.channels {
        Some(channels) if channels.count() > 2 => {
            AudioError::unsupported(format!("{name} with {} channels", channels.count()))
        }
        _ => AudioError::unsupported(format!("{name} of a kind that the decoder does not know")),
    }
}

/// Opens an announced HE-AAC stream as its AAC-LC core; gives the core's sample rate if it did.
fn reduce_to_core(params: &mut AudioCodecParameters) -> Result<Option<u32>, AudioError> {
    let Some(config) = params.extra_data.as_deref().and_then(AacConfig::read) else { return Ok(None) };
    if !config.high_efficiency && config.object_type == 2 {
        return Ok(None);
    }
    params.extra_data = Some(config.core()?.into_boxed_slice());
    Ok(Some(config.core_rate_hz()))
}

fn codec_name(id: AudioCodecId) -> String {
    let name = match id {
        codec::CODEC_ID_AAC => "AAC",
        codec::CODEC_ID_AC3 => "AC-3",
        codec::CODEC_ID_EAC3 => "E-AC-3",
        codec::CODEC_ID_AC4 => "AC-4",
        codec::CODEC_ID_DCA => "DTS",
        codec::CODEC_ID_SPEEX => "Speex",
        codec::CODEC_ID_WMA => "Windows Media Audio",
        codec::CODEC_ID_WAVPACK => "WavPack",
        codec::CODEC_ID_TTA => "True Audio",
        codec::CODEC_ID_TRUEHD => "Dolby TrueHD",
        codec::CODEC_ID_MUSEPACK => "Musepack",
        codec::CODEC_ID_ADPCM_G722 => "G.722",
        codec::CODEC_ID_ADPCM_G726 | codec::CODEC_ID_ADPCM_G726LE => "G.726",
        codec::CODEC_ID_MP1 => "MPEG layer I",
        codec::CODEC_ID_MP2 => "MPEG layer II",
        codec::CODEC_ID_MP3 => "MP3",
        codec::CODEC_ID_ALAC => "ALAC",
        codec::CODEC_ID_FLAC => "FLAC",
        codec::CODEC_ID_VORBIS => "Vorbis",
        other => return format!("the codec {other}"),
    };
    name.to_owned()
}
