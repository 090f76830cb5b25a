//! One sentence being spoken: lengths first, then sound piece by piece.

use std::sync::{Arc, Mutex};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::conv::Mat;
use super::decoder::Decoding;
use super::flow::Flowing;
use super::graph::Flowed;
use super::speakers::Speaker;
use super::{DeviceError, Kernels, Network, Request, Style, Vits};

/// The most frames one phoneme may last: about three seconds. The spline's tails are linear, so
/// that unlucky noise could ask for hours.
const LONGEST_PHONEME: f32 = 256.0;

/// Frames the flow takes at a time once sound is under way.
const FLOW_PIECE: usize = 96;

/// A sentence on its way to sound.
pub struct Sentence {
    /// Frames of each phoneme id.
    frames: Vec<usize>,
    pub(super) total: usize,
    /// Samples of one frame, and samples handed out.
    pub(super) hop: usize,
    pub(super) spoken: usize,
    pub(super) way: Way,
}

/// How the sound is made.
pub(super) enum Way {
    Kernels(Box<Stream>),
    Graph(Flowed),
}

/// A sentence on the CPU's own kernels.
pub(super) struct Stream {
    /// [2 · channels, ids]: means, then deviations (scaled).
    prior: Mat,
    noisy: bool,
    noise: Normal,
    /// Frames of each id not yet taken, with the id, in order.
    left: std::vec::IntoIter<(usize, usize)>,
    current: (usize, usize),
    total: usize,
    /// Taken from the spares, and given back at the end.
    streams: Option<Streams>,
    spares: Spares,
    /// Frames given to the decoder.
    decoded: usize,
}

/// Streams of finished sentences, whose memory the next ones use: it need not be asked for again,
/// page by page, before the first sound.
pub(super) type Spares = Arc<Mutex<Vec<Streams>>>;

/// As many are kept: a few sentences take turns.
const MOST_SPARES: usize = 4;

/// What a sentence streams through.
pub(super) struct Streams {
    flowing: Flowing,
    decoding: Decoding,
}

impl Streams {
    fn take(network: &Kernels, total: usize, speaker: Arc<Speaker>) -> Self {
        let spare = network.spares.lock().ok().and_then(|mut spares| spares.pop());
        let mut streams = spare.unwrap_or_else(|| Self {
            flowing: Flowing::new(&network.flow),
            decoding: Decoding::new(&network.decoder),
        });
        streams.flowing.restart(total, speaker.clone());
        streams.decoding.restart(&network.decoder, total, speaker);
        streams
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let (Some(streams), Ok(mut spares)) = (self.streams.take(), self.spares.lock())
            && spares.len() < MOST_SPARES
        {
            spares.push(streams);
        }
    }
}

impl Sentence {
    pub(super) fn begin(
        vits: &Vits,
        ids: &[u32],
        style: Style,
        noise: Normal,
    ) -> Result<Self, DeviceError> {
        match &vits.network {
            Network::Kernels(network) => {
                let (frames, stream) = Stream::begin(network, ids, style, noise);
                let total = frames.iter().sum();
                let way = Way::Kernels(Box::new(stream));
                Ok(Self { frames, total, hop: vits.hop(), spoken: 0, way })
            }
            Network::Graph(graph) => {
                let begun = graph.begin(&[Request { ids, style, seed: 0 }], vec![noise])?.pop();
                let (frames, flowed) = begun.unwrap_or_else(|| (Vec::new(), Flowed::empty()));
                Ok(Self::of(frames, flowed, vits.hop()))
            }
        }
    }

    /// A sentence that candle's operations have begun.
    pub(super) fn of(frames: Vec<usize>, flowed: Flowed, hop: usize) -> Self {
        let total = frames.iter().sum();
        Self { frames, total, hop, spoken: 0, way: Way::Graph(flowed) }
    }

    /// Frames of each phoneme id, in order.
    pub fn frames(&self) -> &[usize] {
        &self.frames
    }

    /// Samples of the whole sentence.
    pub fn samples(&self) -> usize {
        self.total * self.hop
    }

    /// Whether all sound has been made.
    pub fn finished(&self) -> bool {
        self.spoken >= self.samples()
    }

    /// Appends about `frames` more frames of sound to `pcm` (all that is left, if that is less).
    pub fn next(
        &mut self,
        vits: &Vits,
        frames: usize,
        pcm: &mut Vec<f32>,
    ) -> Result<(), DeviceError> {
        if self.finished() {
            return Ok(());
        }
        let Network::Kernels(network) = &vits.network else {
            pcm.extend(vits.next_all(&mut [self], frames)?.concat());
            return Ok(());
        };
        let Way::Kernels(stream) = &mut self.way else {
            panic!("a sentence is continued by another voice than began it");
        };
        let before = pcm.len();
        let from = self.spoken / self.hop;
        let wanted = from.saturating_add(frames.max(1)).min(self.total);
        stream.next(network, wanted, pcm);
        self.spoken += pcm.len() - before;
        Ok(())
    }
}

/// Frames of each id from the logarithms of their lengths.
pub(super) fn frames_of(logs: &[f32], length: f32) -> Vec<usize> {
    let frames = logs.iter().map(|log| {
        let frames = (log.exp() * length).ceil();
        if frames.is_finite() { frames.clamp(0.0, LONGEST_PHONEME) as usize } else { 1 }
    });
    frames.collect()
}

impl Stream {
    fn begin(
        network: &Kernels,
        ids: &[u32],
        style: Style,
        mut noise: Normal,
    ) -> (Vec<usize>, Self) {
        let scales = style.scales;
        let speaker = network.speaker(style.speaker);
        let (frames, mut prior) = if ids.is_empty() {
            (Vec::new(), Mat::new(2 * network.flow.channels(), 0, 0))
        } else {
            let encoded = network.encoder.run(network.simd, ids);
            let draws = [(); 2].map(|()| {
                (0..ids.len()).map(|_| noise.draw() * scales.duration_noise).collect::<Vec<f32>>()
            });
            let logs = network.durations.run(network.simd, &encoded.hidden, draws, &speaker);
            (frames_of(&logs, scales.length), encoded.prior)
        };
        for row in prior.rows / 2..prior.rows {
            network.simd.scaled_exp(prior.row_mut(row), scales.noise);
        }
        let total = frames.iter().sum();
        let left: Vec<(usize, usize)> = frames.iter().copied().enumerate().collect();
        let stream = Self {
            prior,
            noisy: scales.noise != 0.0,
            noise,
            left: left.into_iter(),
            current: (0, 0),
            total,
            streams: Some(Streams::take(network, total, speaker)),
            spares: network.spares.clone(),
            decoded: 0,
        };
        (frames, stream)
    }

    /// Makes sound up to about frame `wanted`.
    fn next(&mut self, network: &Kernels, wanted: usize, pcm: &mut Vec<f32>) {
        let Some(mut streams) = self.streams.take() else { return };
        let decode = (wanted + network.decoder.reach()).min(self.total);
        let flow = (decode + network.flow.reach()).min(self.total);
        let taken = streams.flowing.taken();
        let missing = flow.saturating_sub(taken);
        if missing > 0 {
            // After the first piece the flow runs ahead, because its weights exceed the caches.
            let ahead = if taken > 0 { FLOW_PIECE } else { 0 };
            let count = missing.max(ahead).min(self.total - taken);
            self.push_prior(network, &mut streams.flowing, count);
        }
        let (lower, upper, end) = streams.flowing.output();
        let half = network.flow.channels() / 2;
        // No more than this piece needs, even where the flow is further on.
        let (at, count) = (self.decoded as isize, decode.min(end as usize) - self.decoded);
        let fill = |channel: usize, out: &mut [f32]| {
            let (side, row) =
                if channel < half { (lower, channel) } else { (upper, channel - half) };
            out.copy_from_slice(side.row(row, at, count));
        };
        if count > 0 {
            streams.decoding.push((network.simd, &network.decoder), count, fill, pcm);
            self.decoded += count;
            streams.flowing.release(self.decoded as isize);
        }
        self.streams = Some(streams);
    }

    /// Draws `count` frames from the prior into the flow.
    fn push_prior(&mut self, network: &Kernels, flowing: &mut Flowing, count: usize) {
        let channels = network.flow.channels();
        let ids: Vec<usize> = (0..count).map(|_| self.next_frame()).collect();
        // Frame by frame, so that the draws do not depend on the size of the pieces.
        let draws: Vec<f32> = if self.noisy {
            (0..count * channels).map(|_| self.noise.draw()).collect()
        } else {
            vec![0.0; count * channels]
        };
        let prior = &self.prior;
        flowing.push((network.simd, &network.flow), count, |channel, out| {
            let (means, deviations) = (prior.row(channel), prior.row(channels + channel));
            for (frame, (value, &id)) in out.iter_mut().zip(&ids).enumerate() {
                *value = means[id] + deviations[id] * draws[frame * channels + channel];
            }
        });
    }

    /// The id that the next frame belongs to.
    fn next_frame(&mut self) -> usize {
        while self.current.1 == 0 {
            self.current = self.left.next().expect("no more frames are taken than there are");
        }
        self.current.1 -= 1;
        self.current.0
    }
}

/// Standard normal numbers (Box and Muller 1958), the same for the same seed.
pub(super) struct Normal {
    uniform: StdRng,
    spare: Option<f32>,
    /// What a test gives instead.
    #[cfg(test)]
    given: Option<std::vec::IntoIter<f32>>,
}

impl Normal {
    pub fn new(seed: u64) -> Self {
        Self {
            uniform: StdRng::seed_from_u64(seed),
            spare: None,
            #[cfg(test)]
            given: None,
        }
    }

    /// These numbers, and no more.
    #[cfg(test)]
    pub fn given(numbers: Vec<f32>) -> Self {
        Self { given: Some(numbers.into_iter()), ..Self::new(0) }
    }

    pub fn draw(&mut self) -> f32 {
        #[cfg(test)]
        if let Some(given) = &mut self.given {
            return given.next().expect("no more noise is drawn than is given");
        }
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let radius = (-2.0 * (1.0 - self.uniform.random::<f32>()).ln()).sqrt();
        let (sin, cos) = (std::f32::consts::TAU * self.uniform.random::<f32>()).sin_cos();
        self.spare = Some(radius * sin);
        radius * cos
    }
}
