//! Speech as an Ogg Opus stream (RFC 7845), page by page.
//!
//! In: 48 kHz samples, mono in portions of any size or stereo in slots. Out: the bytes of the file as far as they are
//! complete, so that a listener hears the beginning while the end is still being made. Owned by
//! whoever sends a file; wraps the crate `ogg`. Keeps at most one slot of sound and one packet back.

use ogg::writing::{PacketWriteEndInfo, PacketWriter};

use super::opus::{Encoder, EncoderConfig, OpusError, StereoEncoder};
use super::{SLOT_SAMPLES, WIRE_RATE};

/// Packets on a page: a fifth of a second, beyond the first page, which has one.
const PACKETS_ON_A_PAGE: u64 = 10;
/// Who made the file, in its comment header.
const VENDOR: &[u8] = b"EVA-Voice";

/// One Ogg Opus file in the making.
pub struct OggOpus {
    encoder: Encoder,
    file: Container,
    pending: Vec<f32>,
    /// Samples given so far.
    given: u64,
}

impl OggOpus {
    /// A file with a serial number that differs from other streams' in the same file.
    ///
    /// # Errors
    /// libopus cannot be set up.
    pub fn new(serial: u32) -> Result<Self, OpusError> {
        // A file loses no packets: no copy of the voice for them.
        let config = EncoderConfig { expected_loss: 0, ..EncoderConfig::default() };
        let mut encoder = Encoder::new(config)?;
        let file = Container::new(serial, 1, encoder.lookahead()?);
        Ok(Self { encoder, file, pending: Vec::new(), given: 0 })
    }

    /// Takes sound; gives what bytes are complete.
    ///
    /// # Errors
    /// libopus refuses the sound.
    pub fn push(&mut self, pcm: &[f32]) -> Result<Vec<u8>, OpusError> {
        self.given += pcm.len() as u64;
        self.pending.extend_from_slice(pcm);
        self.encode()?;
        Ok(self.file.take())
    }

    /// The rest of the file; it plays exactly the samples that were given.
    ///
    /// # Errors
    /// libopus refuses the sound.
    pub fn finish(mut self) -> Result<Vec<u8>, OpusError> {
        self.pending.resize(self.file.missing(self.given) * SLOT_SAMPLES, 0.0);
        self.encode()?;
        Ok(self.file.finish(self.given))
    }

    fn encode(&mut self) -> Result<(), OpusError> {
        let mut taken = 0;
        while let Some((slot, _)) = self.pending[taken..].split_first_chunk::<SLOT_SAMPLES>() {
            self.file.packet(self.encoder.encode(slot)?.to_vec());
            taken += SLOT_SAMPLES;
        }
        self.pending.drain(..taken);
        Ok(())
    }
}

/// One Ogg Opus file of two channels in the making, slot by slot. What was given so far can be played
/// though the file was never finished.
pub struct OggOpusStereo {
    encoder: StereoEncoder,
    file: Container,
    slots: u64,
}

impl OggOpusStereo {
    /// A file of so many bits a second on average.
    ///
    /// # Errors
    /// libopus cannot be set up.
    pub fn new(serial: u32, bitrate: u32) -> Result<Self, OpusError> {
        let mut encoder = StereoEncoder::new(bitrate)?;
        let file = Container::new(serial, 2, encoder.lookahead()?);
        Ok(Self { encoder, file, slots: 0 })
    }

    /// Takes 20 ms, left before right in each pair; gives what bytes are complete.
    ///
    /// # Errors
    /// libopus refuses the sound.
    pub fn push(&mut self, pcm: &[f32; 2 * SLOT_SAMPLES]) -> Result<Vec<u8>, OpusError> {
        self.slots += 1;
        self.file.packet(self.encoder.encode(pcm)?.to_vec());
        Ok(self.file.take())
    }

    /// The rest of the file.
    ///
    /// # Errors
    /// libopus refuses the sound.
    pub fn finish(mut self) -> Result<Vec<u8>, OpusError> {
        let given = self.slots * SLOT_SAMPLES as u64;
        for _ in 0..self.file.missing(given) {
            self.file.packet(self.encoder.encode(&[0.0; 2 * SLOT_SAMPLES])?.to_vec());
        }
        Ok(self.file.finish(given))
    }
}

/// How long an Ogg Opus file plays, in samples at 48 kHz, by its beginning and its end (64 KiB of each
/// are enough); `None` if it is none.
pub fn length48(beginning: &[u8], end: &[u8]) -> Option<u64> {
    let head = beginning.windows(8).position(|at| at == b"OpusHead")?;
    let skip = beginning.get(head + 10..head + 12)?;
    let pre_skip = u64::from(u16::from_le_bytes([skip[0], skip[1]]));
    // The granule position of the last page (RFC 3533 section 6).
    let page = end.windows(4).rposition(|at| at == b"OggS")?;
    let position = end.get(page + 6..page + 14)?.try_into().ok()?;
    Some(u64::from_le_bytes(position).saturating_sub(pre_skip))
}

/// Pages of packets of 20 ms each.
struct Container {
    pages: PacketWriter<'static, Vec<u8>>,
    serial: u32,
    /// Samples that a player leaves out at the beginning: the encoder's delay.
    pre_skip: u64,
    /// Packets so far.
    packets: u64,
    /// The newest packet: the last of all is marked as such.
    held: Option<Vec<u8>>,
}

impl Container {
    fn new(serial: u32, channels: u8, pre_skip: u32) -> Self {
        let mut head = b"OpusHead\x01".to_vec();
        head.push(channels);
        head.extend_from_slice(&(pre_skip as u16).to_le_bytes());
        head.extend_from_slice(&WIRE_RATE.to_le_bytes());
        // Gain 0, and the mapping of one channel or two.
        head.extend_from_slice(&[0, 0, 0]);
        let mut tags = b"OpusTags".to_vec();
        tags.extend_from_slice(&(VENDOR.len() as u32).to_le_bytes());
        tags.extend_from_slice(VENDOR);
        tags.extend_from_slice(&0u32.to_le_bytes());
        let pages = PacketWriter::new(Vec::new());
        let mut file = Self { pages, serial, pre_skip: pre_skip.into(), packets: 0, held: None };
        file.write(head, PacketWriteEndInfo::EndPage, 0);
        file.write(tags, PacketWriteEndInfo::EndPage, 0);
        file
    }

    /// Packets that are missing until so many samples can be played.
    fn missing(&self, samples: u64) -> usize {
        let slots = (self.pre_skip + samples).div_ceil(SLOT_SAMPLES as u64).max(1);
        slots.saturating_sub(self.packets) as usize
    }

    fn packet(&mut self, packet: Vec<u8>) {
        if let Some(before) = self.held.replace(packet) {
            let ends_page = self.packets % PACKETS_ON_A_PAGE == 1;
            let end = if ends_page {
                PacketWriteEndInfo::EndPage
            } else {
                PacketWriteEndInfo::NormalPacket
            };
            self.write(before, end, self.packets * SLOT_SAMPLES as u64);
        }
        self.packets += 1;
    }

    /// The bytes that are complete.
    fn take(&mut self) -> Vec<u8> {
        std::mem::take(self.pages.inner_mut())
    }

    fn finish(mut self, samples: u64) -> Vec<u8> {
        if let Some(last) = self.held.take() {
            self.write(last, PacketWriteEndInfo::EndStream, self.pre_skip + samples);
        }
        self.pages.into_inner()
    }

    fn write(&mut self, packet: Vec<u8>, end: PacketWriteEndInfo, position: u64) {
        self.pages
            .write_packet(packet, self.serial, end, position)
            .expect("writing into memory does not fail");
    }
}

#[cfg(test)]
mod tests {
    use ogg::PacketReader;

    use super::*;

    #[test]
    fn a_file_plays_as_long_as_what_was_given() {
        for samples in [1usize, 960, 4_000, 48_000] {
            let sound: Vec<f32> = (0..samples).map(|i| (i as f32 * 0.05).sin() * 0.3).collect();
            let mut file = OggOpus::new(7).unwrap();
            let mut bytes = Vec::new();
            for part in sound.chunks(700) {
                bytes.extend(file.push(part).unwrap());
            }
            bytes.extend(file.finish().unwrap());
            let mut reader = PacketReader::new(std::io::Cursor::new(bytes));
            let head = reader.read_packet_expected().unwrap();
            assert!(head.data.starts_with(b"OpusHead"));
            let skip = u64::from(u16::from_le_bytes([head.data[10], head.data[11]]));
            assert!(reader.read_packet_expected().unwrap().data.starts_with(b"OpusTags"));
            let (mut packets, mut end, mut over) = (0, 0, false);
            while let Some(packet) = reader.read_packet().unwrap() {
                packets += 1;
                assert!(!over, "nothing follows the last packet");
                (end, over) = (packet.absgp_page(), packet.last_in_stream());
            }
            assert!(over);
            assert_eq!(end, skip + samples as u64);
            assert_eq!(packets, end.div_ceil(960));
        }
    }

    #[test]
    fn the_first_sound_leaves_with_the_second_packet() {
        let mut file = OggOpus::new(7).unwrap();
        let headers = file.push(&[0.1; 960]).unwrap().len();
        assert!(headers < 120, "headers alone");
        assert!(!file.push(&[0.1; 960]).unwrap().is_empty());
    }
}
