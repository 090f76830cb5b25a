//! The Opus codec (RFC 6716), mono, as this program uses it.
//!
//! In: packets from the wire, or 20 ms of 48 kHz sound. Out: samples, or packets. Owned by
//! [`super::sound_in`] and [`super::sound_out`]. The only file that names libopus; it keeps no
//! queue and knows no time.

use bytes::Bytes;

use super::{SLOT_SAMPLES, WIRE_RATE};

/// 2.5 ms at 48 kHz: libopus conceals whole multiples of it.
pub const STEP_48: u32 = 120;

/// 120 ms at 48 kHz: the longest packet (RFC 6716 section 3.2).
pub const MAX_PACKET_48: u32 = 5_760;

/// The largest packet the encoder may make; one datagram with room for the headers.
const MAX_PACKET_BYTES: usize = 1_200;

/// Why the codec refused.
#[derive(Debug, thiserror::Error)]
pub enum OpusError {
    /// libopus could not be set up as asked.
    #[error("Opus could not be set up ({0}); check the encoder's settings")]
    Setup(&'static str),
    /// The packet is not Opus or was damaged on the way.
    #[error("the packet is not valid Opus ({0}); conceal it")]
    Packet(&'static str),
    /// The sound could not be encoded.
    #[error("the sound could not be encoded ({0}); give 20 ms of 48 kHz mono")]
    Encode(&'static str),
}

/// How long a packet sounds, in samples at 48 kHz; `None` if its table of contents is invalid
/// (RFC 6716 section 3.4).
pub fn packet_samples48(packet: &[u8]) -> Option<u32> {
    if packet.is_empty() {
        return None;
    }
    ::opus::packet::get_nb_samples(packet, WIRE_RATE)
        .ok()
        .map(|n| n as u32)
        .filter(|n| (STEP_48..=MAX_PACKET_48).contains(n))
}

/// Whether the packet carries a low-bit-rate copy (LBRR) of the frame before it, so that
/// [`Decoder::decode_fec`] gives more than concealment (RFC 6716 section 4.2.4).
pub fn carries_fec(packet: &[u8]) -> bool {
    let Some(&toc) = packet.first() else { return false };
    // Configurations 16-31 are CELT only, which has no LBRR (RFC 6716 table 2).
    if toc & 0x80 != 0 {
        return false;
    }
    let Ok(parsed) = ::opus::packet::parse(packet) else { return false };
    let Some(&header) = parsed.frames.first().and_then(|f| f.first()) else { return false };
    // One VAD bit per 20 ms of SILK comes first, then the LBRR bit; stereo has the pair twice.
    let silk_frames = match ::opus::packet::get_samples_per_frame(packet, WIRE_RATE) {
        Ok(n) => (n as u32).div_ceil(960).clamp(1, 3),
        Err(_) => return false,
    };
    let mid = header >> (7 - silk_frames) & 1 != 0;
    let stereo = toc & 0x04 != 0;
    let side = stereo && header >> (6 - 2 * silk_frames) & 1 != 0;
    mid || side
}

/// Opus packets to mono samples at one rate; stereo packets come out mixed down.
pub struct Decoder {
    inner: ::opus::Decoder,
    rate: u32,
    /// Room for the longest packet at `rate`.
    scratch: Vec<f32>,
}

impl Decoder {
    /// A decoder to 16 kHz, for listening. libopus then decodes only the lower bands.
    pub fn for_listening() -> Result<Self, OpusError> {
        Self::at(super::HEARING_RATE)
    }

    /// A decoder to 48 kHz, for recordings.
    pub fn full_band() -> Result<Self, OpusError> {
        Self::at(WIRE_RATE)
    }

    fn at(rate: u32) -> Result<Self, OpusError> {
        let inner = ::opus::Decoder::new(rate, ::opus::Channels::Mono)
            .map_err(|e| OpusError::Setup(e.description()))?;
        let longest = (MAX_PACKET_48 / (WIRE_RATE / rate)) as usize;
        Ok(Self { inner, rate, scratch: vec![0.0; longest] })
    }

    /// The rate of its samples in Hz.
    pub fn sample_rate(&self) -> u32 {
        self.rate
    }

    /// Appends the packet's sound (2.5-120 ms) to `out`; returns how many samples.
    ///
    /// Fails if the packet is damaged: conceal its length then.
    pub fn decode(&mut self, packet: &[u8], out: &mut Vec<f32>) -> Result<usize, OpusError> {
        // An empty packet means "lost" to libopus; that is what `conceal` is for.
        if packet.is_empty() {
            return Err(OpusError::Packet("empty"));
        }
        let n = self
            .inner
            .decode_float(packet, &mut self.scratch, false)
            .map_err(|e| OpusError::Packet(e.description()))?;
        out.extend(self.scratch[..n].iter().map(|s| sane(*s)));
        Ok(n)
    }

    /// Appends `samples` of concealment (at this decoder's rate, rounded up to 2.5 ms): what was
    /// heard last goes on and fades. Silence if libopus cannot.
    pub fn conceal(&mut self, samples: usize, out: &mut Vec<f32>) {
        self.extend_lost(&[], samples, out);
    }

    /// Appends `samples` for a lost packet from the copy that `next`, the packet after it, carries;
    /// concealment where `next` has none.
    pub fn decode_fec(&mut self, next: &[u8], samples: usize, out: &mut Vec<f32>) {
        self.extend_lost(next, samples, out);
    }

    fn extend_lost(&mut self, next: &[u8], samples: usize, out: &mut Vec<f32>) {
        let step = self.rate as usize / 400;
        let mut left = samples.div_ceil(step) * step;
        while left > 0 {
            let n = left.min(self.scratch.len());
            let (packet, fec) = if n == left { (next, !next.is_empty()) } else { (&[][..], false) };
            match self.inner.decode_float(packet, &mut self.scratch[..n], fec) {
                Ok(done) if done == n => {
                    out.extend(self.scratch[..n].iter().map(|s| sane(*s)));
                }
                _ => out.resize(out.len() + n, 0.0),
            }
            left -= n;
        }
    }
}

/// A damaged packet may decode to anything.
fn sane(sample: f32) -> f32 {
    if sample.is_finite() { sample.clamp(-1.0, 1.0) } else { 0.0 }
}

/// How speech is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncoderConfig {
    /// Bits per second, on average (variable bit rate).
    pub bitrate: u32,
    /// libopus's complexity, 0-10.
    pub complexity: u8,
    /// Packet loss to expect, in percent; above 1 a packet carries a copy of the voice in the one
    /// before.
    pub expected_loss: u8,
    /// Discontinuous transmission. Off: [`super::sound_out`] knows where silence is and stops
    /// sending itself.
    pub dtx: bool,
}

impl Default for EncoderConfig {
    fn default() -> Self {
        Self { bitrate: 32_000, complexity: 8, expected_loss: 5, dtx: false }
    }
}

/// 20 ms of 48 kHz mono sound to one packet.
pub struct Encoder {
    inner: ::opus::Encoder,
}

impl Encoder {
    /// Sets libopus up for speech (VoIP mode: it may use SILK, which in-band FEC needs).
    pub fn new(config: EncoderConfig) -> Result<Self, OpusError> {
        let setup = |e: ::opus::Error| OpusError::Setup(e.description());
        let mut inner =
            ::opus::Encoder::new(WIRE_RATE, ::opus::Channels::Mono, ::opus::Application::Voip)
                .map_err(setup)?;
        let bitrate = i32::try_from(config.bitrate).unwrap_or(i32::MAX);
        inner.set_bitrate(::opus::Bitrate::Bits(bitrate)).map_err(setup)?;
        inner.set_vbr(true).map_err(setup)?;
        inner.set_signal(::opus::Signal::Voice).map_err(setup)?;
        // Voices are made at up to 24 kHz. With the full band, libopus finds no bits for FEC at
        // 32 kb/s and 3-5 % loss.
        inner.set_max_bandwidth(::opus::Bandwidth::Superwideband).map_err(setup)?;
        inner.set_complexity(i32::from(config.complexity)).map_err(setup)?;
        inner.set_inband_fec(true).map_err(setup)?;
        inner.set_packet_loss_perc(i32::from(config.expected_loss)).map_err(setup)?;
        inner.set_dtx(config.dtx).map_err(setup)?;
        Ok(Self { inner })
    }

    /// Sets the packet loss to expect, in percent (more than 100 counts as 100), from the other
    /// side's receiver reports.
    pub fn set_expected_loss(&mut self, percent: u8) -> Result<(), OpusError> {
        self.inner
            .set_packet_loss_perc(i32::from(percent.min(100)))
            .map_err(|e| OpusError::Setup(e.description()))
    }

    /// Samples by which what comes out is later than what went in, at 48 kHz.
    pub fn lookahead(&mut self) -> Result<u32, OpusError> {
        let samples = self.inner.get_lookahead().map_err(|e| OpusError::Setup(e.description()))?;
        Ok(samples.unsigned_abs())
    }

    /// Encodes exactly 960 samples (20 ms of 48 kHz mono, -1..1).
    pub fn encode(&mut self, pcm: &[f32; SLOT_SAMPLES]) -> Result<Bytes, OpusError> {
        let mut packet = [0u8; MAX_PACKET_BYTES];
        let n = self
            .inner
            .encode_float(pcm, &mut packet)
            .map_err(|e| OpusError::Encode(e.description()))?;
        Ok(Bytes::copy_from_slice(&packet[..n]))
    }
}

/// 20 ms of 48 kHz stereo sound to one packet, for recordings whose channels have nothing in common.
pub struct StereoEncoder {
    inner: ::opus::Encoder,
}

impl StereoEncoder {
    /// Sets libopus up for two voices apart, at `bitrate` bits a second on average.
    ///
    /// # Errors
    /// libopus cannot be set up.
    pub fn new(bitrate: u32) -> Result<Self, OpusError> {
        let setup = |e: ::opus::Error| OpusError::Setup(e.description());
        // Not VoIP: that may mix the channels to save bits.
        let mut inner =
            ::opus::Encoder::new(WIRE_RATE, ::opus::Channels::Stereo, ::opus::Application::Audio)
                .map_err(setup)?;
        let bitrate = i32::try_from(bitrate).unwrap_or(i32::MAX);
        inner.set_bitrate(::opus::Bitrate::Bits(bitrate)).map_err(setup)?;
        inner.set_vbr(true).map_err(setup)?;
        inner.set_force_channels(Some(::opus::Channels::Stereo)).map_err(setup)?;
        inner.set_complexity(5).map_err(setup)?;
        Ok(Self { inner })
    }

    /// As [`Encoder::lookahead`].
    ///
    /// # Errors
    /// libopus does not say.
    pub fn lookahead(&mut self) -> Result<u32, OpusError> {
        let samples = self.inner.get_lookahead().map_err(|e| OpusError::Setup(e.description()))?;
        Ok(samples.unsigned_abs())
    }

    /// Encodes exactly 960 pairs of samples (20 ms of 48 kHz, -1..1), left before right.
    ///
    /// # Errors
    /// libopus refuses the sound.
    pub fn encode(&mut self, pcm: &[f32; 2 * SLOT_SAMPLES]) -> Result<Bytes, OpusError> {
        let mut packet = [0u8; 2 * MAX_PACKET_BYTES];
        let n = self
            .inner
            .encode_float(pcm, &mut packet)
            .map_err(|e| OpusError::Encode(e.description()))?;
        Ok(Bytes::copy_from_slice(&packet[..n]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(start: usize) -> [f32; SLOT_SAMPLES] {
        std::array::from_fn(|i| {
            let t = (start + i) as f32 / 48_000.0;
            // A pulse-like, voiced sound: harmonics of 140 Hz.
            (1..12)
                .map(|h| (t * 140.0 * h as f32 * std::f32::consts::TAU).sin() / h as f32)
                .sum::<f32>()
                * 0.15
        })
    }

    #[test]
    fn a_packet_decodes_to_20_ms_at_either_rate() {
        let mut encoder = Encoder::new(EncoderConfig::default()).unwrap();
        let mut low = Decoder::for_listening().unwrap();
        let mut high = Decoder::full_band().unwrap();
        let (mut at16, mut at48) = (Vec::new(), Vec::new());
        for slot in 0..10 {
            let packet = encoder.encode(&tone(slot * 960)).unwrap();
            assert_eq!(packet_samples48(&packet), Some(960));
            assert_eq!(low.decode(&packet, &mut at16).unwrap(), 320);
            assert_eq!(high.decode(&packet, &mut at48).unwrap(), 960);
        }
        assert!(super::super::level::rms_dbfs(&at16[640..]) > -20.0);
        assert!(super::super::level::rms_dbfs(&at48[1920..]) > -20.0);
    }

    #[test]
    fn the_next_packet_brings_back_a_lost_one() {
        let mut encoder = Encoder::new(EncoderConfig::default()).unwrap();
        let packets: Vec<_> = (0..12).map(|i| encoder.encode(&tone(i * 960)).unwrap()).collect();
        assert!(packets[6..].iter().all(|p| carries_fec(p)), "FEC is on");

        let mut whole = Decoder::for_listening().unwrap();
        let mut lossy = Decoder::for_listening().unwrap();
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for (i, p) in packets.iter().enumerate() {
            whole.decode(p, &mut a).unwrap();
            if i == 8 {
                lossy.decode_fec(&packets[9], 320, &mut b);
            } else {
                lossy.decode(p, &mut b).unwrap();
            }
        }
        assert_eq!(a.len(), b.len());
        let lost = 8 * 320..9 * 320;
        let error: Vec<f32> = lost.clone().map(|i| a[i] - b[i]).collect();
        let gain = super::super::level::rms_dbfs(&a[lost]) - super::super::level::rms_dbfs(&error);
        assert!(gain > 3.0, "recovered sound resembles the lost one: {gain} dB");
    }

    #[test]
    fn a_celt_packet_carries_no_fec() {
        assert!(!carries_fec(&[0xfc, 0xff, 0xfe]));
        assert!(!carries_fec(&[]));
    }

    #[test]
    fn damaged_packets_are_errors_or_sound_and_concealment_follows() {
        let mut decoder = Decoder::for_listening().unwrap();
        let mut out = Vec::new();
        assert!(decoder.decode(&[], &mut out).is_err());
        assert!(decoder.decode(&[0xff, 0x00], &mut out).is_err());
        out.clear();
        decoder.conceal(320, &mut out);
        assert_eq!(out.len(), 320);
        decoder.conceal(5_000, &mut out);
        assert_eq!(out.len(), 320 + 5_000);
    }

    #[test]
    fn every_length_opus_knows_is_decoded() {
        // CELT-only wideband, one frame of 2.5, 5, 10, 20 ms; then three frames of 20 ms.
        let mut decoder = Decoder::for_listening().unwrap();
        for (toc, samples) in [(0xa0u8, 40), (0xa8, 80), (0xb0, 160), (0xb8, 320)] {
            let mut out = Vec::new();
            assert_eq!(decoder.decode(&[toc, 0, 0, 0], &mut out).unwrap(), samples);
        }
        let mut out = Vec::new();
        let three = [0xbb, 0x03, 1, 2, 3, 4, 5, 6];
        assert_eq!(packet_samples48(&three), Some(2_880));
        assert_eq!(decoder.decode(&three, &mut out).unwrap(), 960);
    }

    #[test]
    fn a_stereo_packet_comes_out_mono() {
        let mut stereo =
            ::opus::Encoder::new(48_000, ::opus::Channels::Stereo, ::opus::Application::Audio)
                .unwrap();
        let pcm: Vec<f32> = tone(0).iter().flat_map(|s| [*s, *s]).collect();
        let packet = stereo.encode_vec_float(&pcm, 1_500).unwrap();
        let mut out = Vec::new();
        Decoder::for_listening().unwrap().decode(&packet, &mut out).unwrap();
        assert_eq!(out.len(), 320);
    }
}
