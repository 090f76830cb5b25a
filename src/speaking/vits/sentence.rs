//! One sentence being spoken: lengths first, then sound piece by piece.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::config::Scales;
use super::conv::Mat;
use super::decoder::Decoding;
use super::flow::Flowing;
use super::graph::Flowed;
use super::{DeviceError, Kernels, Network, Vits, math};

/// The most frames one phoneme may last: about three seconds. The spline's tails are linear, so
/// that unlucky noise could ask for hours.
const LONGEST_PHONEME: f32 = 256.0;

/// Frames the flow takes at a time once sound is under way.
const FLOW_PIECE: usize = 96;

/// A sentence on its way to sound.
pub struct Sentence {
    /// Frames of each phoneme id.
    frames: Vec<usize>,
    total: usize,
    /// Samples of one frame, and samples handed out.
    hop: usize,
    spoken: usize,
    way: Way,
}

/// How the sound is made.
enum Way {
    Kernels(Box<Stream>),
    Graph(Flowed),
}

/// A sentence on the CPU's own kernels.
struct Stream {
    /// [2 · channels, ids]: means, then deviations (scaled).
    prior: Mat,
    noisy: bool,
    noise: Normal,
    /// Frames of each id not yet taken, with the id, in order.
    left: std::vec::IntoIter<(usize, usize)>,
    current: (usize, usize),
    total: usize,
    flowing: Flowing,
    decoding: Decoding,
    /// Frames given to the decoder.
    decoded: usize,
}

impl Sentence {
    pub(super) fn begin(
        vits: &Vits,
        ids: &[u32],
        scales: Scales,
        seed: u64,
    ) -> Result<Self, DeviceError> {
        let mut noise = Normal::new(seed);
        let (frames, way) = match &vits.network {
            Network::Kernels(network) => {
                let (frames, stream) = Stream::begin(network, ids, scales, noise);
                (frames, Way::Kernels(Box::new(stream)))
            }
            Network::Graph(graph, _) => {
                let (frames, flowed) = graph.begin(ids, scales, &mut noise)?;
                (frames, Way::Graph(flowed))
            }
        };
        let total = frames.iter().sum();
        Ok(Self { frames, total, hop: vits.hop(), spoken: 0, way })
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
        let before = pcm.len();
        let from = self.spoken / self.hop;
        let wanted = from.saturating_add(frames.max(1)).min(self.total);
        match (&vits.network, &mut self.way) {
            (Network::Kernels(network), Way::Kernels(stream)) => stream.next(network, wanted, pcm),
            (Network::Graph(graph, shape), Way::Graph(flowed)) => {
                pcm.extend(graph.decode(flowed, from, wanted, shape.reach)?);
            }
            _ => panic!("a sentence is continued by another voice than began it"),
        }
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
        scales: Scales,
        mut noise: Normal,
    ) -> (Vec<usize>, Self) {
        let (frames, mut prior) = if ids.is_empty() {
            (Vec::new(), Mat::new(2 * network.flow.channels(), 0, 0))
        } else {
            let encoded = network.encoder.run(network.simd, ids);
            let draws = [(); 2].map(|()| {
                (0..ids.len()).map(|_| noise.draw() * scales.duration_noise).collect::<Vec<f32>>()
            });
            let logs = network.durations.run(network.simd, &encoded.hidden, draws);
            (frames_of(&logs, scales.length), encoded.prior)
        };
        for row in prior.rows / 2..prior.rows {
            for value in prior.row_mut(row) {
                *value = math::exp(*value) * scales.noise;
            }
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
            flowing: Flowing::new(&network.flow, total),
            decoding: Decoding::new(&network.decoder, total),
            decoded: 0,
        };
        (frames, stream)
    }

    /// Makes sound up to about frame `wanted`.
    fn next(&mut self, network: &Kernels, wanted: usize, pcm: &mut Vec<f32>) {
        let decode = (wanted + network.decoder.reach()).min(self.total);
        let flow = (decode + network.flow.reach()).min(self.total);
        let missing = flow.saturating_sub(self.flowing.taken());
        if missing > 0 {
            // After the first piece the flow runs ahead, because its weights exceed the caches.
            let ahead = if self.flowing.taken() > 0 { FLOW_PIECE } else { 0 };
            self.push_prior(network, missing.max(ahead).min(self.total - self.flowing.taken()));
        }
        let (lower, upper, end) = self.flowing.output();
        let half = network.flow.channels() / 2;
        // No more than this piece needs, even where the flow is further on.
        let (at, count) = (self.decoded as isize, decode.min(end as usize) - self.decoded);
        let fill = |channel: usize, out: &mut [f32]| {
            let (side, row) =
                if channel < half { (lower, channel) } else { (upper, channel - half) };
            out.copy_from_slice(side.row(row, at, count));
        };
        if count > 0 {
            self.decoding.push((network.simd, &network.decoder), count, fill, pcm);
            self.decoded += count;
            self.flowing.release(self.decoded as isize);
        }
    }

    /// Draws `count` frames from the prior into the flow.
    fn push_prior(&mut self, network: &Kernels, count: usize) {
        if count == 0 {
            return;
        }
        let channels = network.flow.channels();
        let ids: Vec<usize> = (0..count).map(|_| self.next_frame()).collect();
        // Frame by frame, so that the draws do not depend on the size of the pieces.
        let draws: Vec<f32> = if self.noisy {
            (0..count * channels).map(|_| self.noise.draw()).collect()
        } else {
            vec![0.0; count * channels]
        };
        let prior = &self.prior;
        self.flowing.push((network.simd, &network.flow), count, |channel, out| {
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
}

impl Normal {
    pub fn new(seed: u64) -> Self {
        Self { uniform: StdRng::seed_from_u64(seed), spare: None }
    }

    pub fn draw(&mut self) -> f32 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let radius = (-2.0 * (1.0 - self.uniform.random::<f32>()).ln()).sqrt();
        let (sin, cos) = (std::f32::consts::TAU * self.uniform.random::<f32>()).sin_cos();
        self.spare = Some(radius * sin);
        radius * cos
    }
}
