//! Frames in; sound out, as far as the context allows.
//!
//! The HiFi-GAN generator (Kong et al. 2020): transposed convolutions, each followed by several
//! residual blocks side by side. Both published kinds of block are run: kind 2 has one
//! convolution a step, kind 1 two. Every layer keeps the few samples its successors still need,
//! so that sound in pieces equals sound at once and costs the same.

use std::sync::Arc;

use super::conv::{Conv, Rectify, Sink, View, ViewMut};
use super::encoder::conv;
use super::kernels::{COLS, Simd};
use super::speakers::{Condition, Speaker, Speakers};
use super::track::Track;
use super::weights::{Missing, Weights};

/// Slope of the rectifiers; the last one has another.
const SLOPE: f32 = 0.1;
const LAST_SLOPE: f32 = 0.01;
/// The most samples of a frame: far more than any published voice's.
const LONGEST_FRAME: usize = 1 << 14;
/// Values of one stream computed at a time: a level's streams together stay in the L2 cache.
const BLOCK: usize = 24 * 1024;

/// The decoder's weights.
pub struct Decoder {
    /// From a speaker to `pre`'s outputs.
    condition: Option<Condition>,
    pre: Conv,
    levels: Vec<Level>,
    post: Conv,
}

/// One upsampling step and the residual blocks behind it.
struct Level {
    /// One output channel per channel and phase.
    up: Conv,
    stride: usize,
    /// Samples the transposed convolution drops at the start.
    cut: usize,
    channels: usize,
    /// Convolutions of each residual block in order; every `pairs` of them add the input again.
    blocks: Vec<Vec<Conv>>,
    /// Convolutions between two sums: 1 (kind 2) or 2 (kind 1).
    pairs: usize,
}

impl Decoder {
    /// Takes the weights below `dec`, which reads frames of `channels`.
    pub fn load(weights: &Weights, channels: usize, speakers: &Speakers) -> Result<Self, Missing> {
        let ups = weights.count("dec.ups", "weight");
        let kind2 = weights.find("dec.resblocks.0.convs.0.weight").is_some();
        let first = if kind2 { "convs.0.weight" } else { "convs1.0.weight" };
        let blocks = weights.count("dec.resblocks", first);
        if ups == 0 || blocks == 0 || !blocks.is_multiple_of(ups) {
            return Err(Missing("dec.resblocks.0.convs.0.weight".into()));
        }
        let pre = conv(weights, "dec.conv_pre", (0, channels))?;
        let mut channels = pre.outputs;
        let mut levels: Vec<Level> = Vec::new();
        for n in 0..ups {
            let level = Level::load(weights, n, channels, (blocks / ups, kind2))?;
            channels = level.channels;
            levels.push(level);
        }
        let rates = levels.iter().try_fold(1usize, |hop, level| hop.checked_mul(level.stride));
        if rates.is_none_or(|hop| hop > LONGEST_FRAME) {
            return Err(Missing(format!("dec.ups.{}.weight", ups - 1)));
        }
        let post = conv(weights, "dec.conv_post", (1, channels))?;
        let condition = Condition::load(weights, "dec.cond", pre.outputs, speakers)?;
        Ok(Self { condition, pre, levels, post })
    }

    /// What a speaker changes: the first convolution's bias.
    pub fn speaker(&self, embedding: &[f32]) -> Option<Vec<f32>> {
        let condition = self.condition.as_ref()?;
        Some(self.pre.biased(&condition.run(embedding)))
    }

    /// Floating-point operations of each frame.
    pub fn flops(&self) -> f64 {
        let mut rate = 1.0;
        let mut sum = self.pre.flops();
        for level in &self.levels {
            sum += rate * level.up.flops();
            rate *= level.stride as f64;
            sum += rate * level.blocks.iter().flatten().map(Conv::flops).sum::<f64>();
        }
        sum + rate * self.post.flops()
    }

    /// Samples per frame.
    pub fn hop(&self) -> usize {
        self.levels.iter().map(|level| level.stride).product()
    }

    /// How many frames after a frame its sound depends on.
    pub fn reach(&self) -> usize {
        let mut rate = 1.0;
        let mut reach = self.pre.reach() as f32;
        for level in &self.levels {
            reach += (level.up.taps - 1) as f32 / rate;
            rate *= level.stride as f32;
            reach += level.lag() as f32 / rate;
        }
        (reach + self.post.reach() as f32 / rate).ceil() as usize
    }
}

/// The convolutions of one residual block of `channels`, in order.
fn residual(
    weights: &Weights,
    module: &str,
    channels: usize,
    kind2: bool,
) -> Result<Vec<Conv>, Missing> {
    let parts: &[&str] = if kind2 { &["convs"] } else { &["convs1", "convs2"] };
    let count = weights.count(&format!("{module}.{}", parts[0]), "weight");
    if count == 0 {
        return Err(Missing(format!("{module}.{}.0.weight", parts[0])));
    }
    let names = (0..count).flat_map(|n| parts.iter().map(move |part| format!("{part}.{n}")));
    names.map(|part| conv(weights, &format!("{module}.{part}"), (channels, channels))).collect()
}

impl Level {
    /// Takes step `n`, which reads `inputs` channels and has `share` blocks behind it.
    fn load(
        weights: &Weights,
        n: usize,
        inputs: usize,
        (share, kind2): (usize, bool),
    ) -> Result<Self, Missing> {
        let module = format!("dec.ups.{n}");
        let name = format!("{module}.weight");
        let weight = weights.get(&name, &[inputs, 0, 0])?;
        let (channels, kernel) = (weight.dims[1], weight.dims[2]);
        let stride = weights.shape(&module).map_or(kernel / 2, |shape| shape.stride);
        if stride == 0 || kernel < stride || !(kernel - stride).is_multiple_of(2) {
            return Err(Missing(format!("{name} {:?}, with the stride {stride}", weight.dims)));
        }
        let bias = weights.get(&format!("{module}.bias"), &[channels])?;
        let phases: Vec<f32> =
            (0..channels * stride).map(|output| bias.values[output / stride]).collect();
        // Phase r of output block q is Σ over m of x[q - m] · w[r + m · stride].
        let taps = kernel.div_ceil(stride);
        let up = Conv::pack((channels * stride, inputs, taps), 1, Some(&phases), |o, i, t| {
            let at = o % stride + (taps - 1 - t) * stride;
            if at < kernel { weight.values[(i * channels + o / stride) * kernel + at] } else { 0.0 }
        });
        let blocks = (n * share..(n + 1) * share)
            .map(|block| residual(weights, &format!("dec.resblocks.{block}"), channels, kind2))
            .collect::<Result<_, _>>()?;
        let (cut, pairs) = ((kernel - stride) / 2, if kind2 { 1 } else { 2 });
        Ok(Self { up, stride, cut, channels, blocks, pairs })
    }

    /// How many samples the blocks' sum lags behind their input.
    fn lag(&self) -> usize {
        self.blocks.iter().map(|block| block.iter().map(Conv::reach).sum()).max().unwrap_or(0)
    }

    fn greatest_reach(&self) -> usize {
        self.blocks.iter().flatten().map(Conv::reach).max().unwrap_or(0)
    }
}

/// One sentence on its way through the decoder.
pub struct Decoding {
    total: usize,
    speaker: Arc<Speaker>,
    input: Track,
    levels: Vec<LevelStreams>,
    /// Input of the last convolution.
    output: Track,
    taken_out: usize,
}

struct LevelStreams {
    /// Rectified input, at the rate before.
    input: Track,
    /// Blocks of `stride` samples made so far.
    made: isize,
    /// Samples in all, at this level's rate.
    total: usize,
    phases: Vec<f32>,
    sum: Vec<f32>,
    /// The blocks' common input, and the same rectified.
    raw: Track,
    act: Track,
    /// What each convolution but the last of each block makes: (sum, rectified).
    inner: Vec<Vec<(Option<Track>, Track)>>,
    /// Samples of the blocks' sum made so far.
    done: isize,
}

impl Decoding {
    /// Without a sentence; [`Self::restart`] begins one.
    pub fn new(decoder: &Decoder) -> Self {
        Self {
            total: 0,
            speaker: Arc::default(),
            input: Track::new(decoder.pre.inputs, decoder.pre.reach()),
            levels: decoder.levels.iter().map(LevelStreams::new).collect(),
            output: Track::new(decoder.post.inputs, decoder.post.reach()),
            taken_out: 0,
        }
    }

    /// Begins a sentence of `total` frames, in the memory of the one before.
    pub fn restart(&mut self, decoder: &Decoder, total: usize, speaker: Arc<Speaker>) {
        (self.total, self.speaker, self.taken_out) = (total, speaker, 0);
        self.input.restart();
        self.output.restart();
        let mut samples = total;
        for (level, streams) in decoder.levels.iter().zip(&mut self.levels) {
            samples *= level.stride;
            streams.restart(samples);
        }
    }

    /// Takes in `count` more frames, which `fill(channel, frames)` writes, and appends to `pcm`
    /// what sound can be made of all frames so far.
    pub fn push(
        &mut self,
        (simd, decoder): (Simd, &Decoder),
        count: usize,
        mut fill: impl FnMut(usize, &mut [f32]),
        pcm: &mut Vec<f32>,
    ) {
        let room = self.input.room(count);
        for row in 0..decoder.pre.inputs {
            fill(row, &mut room.data[row * room.stride..][..count]);
        }
        self.input.advance(count);
        let reach = decoder.pre.reach();
        self.input.close(self.total, reach);
        let first = &mut self.levels[0].input;
        let at = first.end();
        let count = (self.input.end() - reach as isize - at).max(0) as usize;
        let rectify = Rectify { scale: 1.0, slope: SLOPE };
        let mut sink = Sink {
            bias: self.speaker.decoder.as_deref(),
            act: Some((first.room(count), rectify)),
            ..Sink::default()
        };
        decoder.pre.run(simd, self.input.view(0, at - reach as isize), count, &mut sink);
        first.advance(count);
        self.input.release(at + count as isize - reach as isize);
        self.level((simd, decoder), 0, pcm);
    }

    /// Runs level `n` and those after it on all input that level has.
    fn level(&mut self, (simd, decoder): (Simd, &Decoder), n: usize, pcm: &mut Vec<f32>) {
        let Some(level) = decoder.levels.get(n) else {
            return self.finish(simd, decoder, pcm);
        };
        let scale = 1.0 / level.blocks.len() as f32;
        let last = n + 1 == decoder.levels.len();
        let rectify = Rectify { scale, slope: if last { LAST_SLOPE } else { SLOPE } };
        loop {
            let (here, after) = self.levels.split_at_mut(n + 1);
            let streams = &mut here[n];
            if !streams.upsample(simd, level) {
                return;
            }
            let next = after.first_mut().map_or(&mut self.output, |next| &mut next.input);
            streams.blocks(simd, level, rectify, next);
            self.level((simd, decoder), n + 1, pcm);
        }
    }

    fn finish(&mut self, simd: Simd, decoder: &Decoder, pcm: &mut Vec<f32>) {
        let reach = decoder.post.reach();
        self.output.close(self.total * decoder.hop(), reach);
        let at = self.taken_out as isize;
        let count = (self.output.end() - reach as isize - at).max(0) as usize;
        let start = pcm.len();
        pcm.resize(start + count, 0.0);
        let sound = ViewMut { data: &mut pcm[start..], stride: count };
        let mut sink = Sink { raw: Some(sound), ..Sink::default() };
        decoder.post.run(simd, self.output.view(0, at - reach as isize), count, &mut sink);
        simd.tanh(&mut pcm[start..]);
        self.taken_out += count;
        self.output.release(self.taken_out as isize - reach as isize);
    }
}

impl LevelStreams {
    fn new(level: &Level) -> Self {
        let channels = level.channels;
        let inner = level.blocks.iter().map(|block| {
            let made = block.iter().enumerate().skip(1).map(|(index, conv)| {
                let sum = index % level.pairs == 0;
                (sum.then(|| Track::new(channels, 0)), Track::new(channels, conv.reach()))
            });
            made.collect()
        });
        Self {
            input: Track::new(level.up.inputs, level.up.taps - 1),
            made: 0,
            total: 0,
            phases: Vec::new(),
            sum: Vec::new(),
            raw: Track::new(channels, 0),
            act: Track::new(channels, level.greatest_reach()),
            inner: inner.collect(),
            done: 0,
        }
    }

    /// Begins a sentence of `total` samples at this level's rate.
    fn restart(&mut self, total: usize) {
        (self.made, self.total, self.done) = (0, total, 0);
        for track in [&mut self.input, &mut self.raw, &mut self.act] {
            track.restart();
        }
        for (raw, act) in self.inner.iter_mut().flatten() {
            raw.iter_mut().for_each(Track::restart);
            act.restart();
        }
    }

    /// Makes up to one block of the transposed convolution's output; whether there was any.
    fn upsample(&mut self, simd: Simd, level: &Level) -> bool {
        let extra = level.up.taps - 1;
        self.input.close(self.total / level.stride, extra);
        let limit = BLOCK / (level.channels * level.stride) / COLS * COLS;
        let limit = limit.max(COLS);
        let count = ((self.input.end() - self.made).max(0) as usize).min(limit);
        if count == 0 {
            return false;
        }
        let (stride, channels) = (level.stride, level.channels);
        self.phases.resize(channels * stride * count, 0.0);
        let phases = ViewMut { data: &mut self.phases, stride: count };
        let mut sink = Sink { raw: Some(phases), ..Sink::default() };
        level.up.run(simd, self.input.view(0, self.made - extra as isize), count, &mut sink);
        // Sample `made · stride` of the untrimmed output is sample `made · stride - cut` of ours.
        let first = self.made * stride as isize - level.cut as isize;
        self.made += count as isize;
        let end = (self.made * stride as isize - level.cut as isize).min(self.total as isize);
        let start = self.raw.end();
        let fresh = (end - start).max(0) as usize;
        self.input.release(self.made - extra as isize);
        if fresh == 0 {
            return true;
        }
        let skip = (start - first) as usize;
        let raw = self.raw.room(fresh);
        let act = self.act.room(fresh);
        let mut line = vec![0.0; count * stride];
        for channel in 0..channels {
            let rows = &self.phases[channel * stride * count..][..stride * count];
            interleave(rows, stride, count, &mut line);
            let line = &line[skip..skip + fresh];
            raw.data[channel * raw.stride..][..fresh].copy_from_slice(line);
            let rectified = &mut act.data[channel * act.stride..][..fresh];
            for (out, &value) in rectified.iter_mut().zip(line) {
                *out = value.max(value * SLOPE);
            }
        }
        self.raw.advance(fresh);
        self.act.advance(fresh);
        self.act.close(self.total, level.greatest_reach());
        true
    }

    /// Runs the residual blocks as far as the input reaches and appends their rectified mean.
    fn blocks(&mut self, simd: Simd, level: &Level, rectify: Rectify, next: &mut Track) {
        let mut end = isize::MAX;
        for (block, inner) in level.blocks.iter().zip(&mut self.inner) {
            let reached =
                chain(simd, (block, level.pairs), (&self.raw, &self.act), inner, self.total);
            end = end.min(reached);
        }
        let count = (end - self.done).max(0) as usize;
        if count > 0 {
            self.sum.resize(level.channels * count, 0.0);
            self.add_up(simd, level, count, rectify, next);
            next.advance(count);
            self.done += count as isize;
        }
        // Every reader is at `done` or later, and reads no further back than the greatest reach.
        let keep = self.done - level.greatest_reach() as isize;
        self.raw.release(keep);
        self.act.release(keep);
        for (raw, act) in self.inner.iter_mut().flatten() {
            act.release(keep);
            if let Some(raw) = raw {
                raw.release(keep);
            }
        }
    }

    /// The last convolution of every block, summed: all but the last block into `sum`, that one
    /// into `next`.
    fn add_up(
        &mut self,
        simd: Simd,
        level: &Level,
        count: usize,
        rectify: Rectify,
        next: &mut Track,
    ) {
        let last = level.blocks.len() - 1;
        for (index, (block, inner)) in level.blocks.iter().zip(&self.inner).enumerate() {
            let conv = block.last().expect("a residual block has convolutions");
            let act = inner.last().map_or(&self.act, |(_, act)| act);
            let raw = inner.iter().rev().find_map(|(raw, _)| raw.as_ref()).unwrap_or(&self.raw);
            let from = act.view(0, self.done - conv.reach() as isize);
            let raw = Some(raw.view(0, self.done));
            if index < last {
                let mut sink = Sink {
                    add: [raw, None],
                    accumulate: index > 0,
                    raw: Some(ViewMut { data: &mut self.sum, stride: count }),
                    ..Sink::default()
                };
                conv.run(simd, from, count, &mut sink);
            } else {
                let sum = View { data: &self.sum, stride: count };
                let mut sink = Sink {
                    add: [raw, (index > 0).then_some(sum)],
                    act: Some((next.room(count), rectify)),
                    ..Sink::default()
                };
                conv.run(simd, from, count, &mut sink);
            }
        }
    }
}

/// Runs all convolutions of a block but the last as far as they can go; returns how far the last
/// one could.
fn chain(
    simd: Simd,
    (block, pairs): (&[Conv], usize),
    (raw, act): (&Track, &Track),
    inner: &mut [(Option<Track>, Track)],
    total: usize,
) -> isize {
    let rectify = Rectify { scale: 1.0, slope: SLOPE };
    for index in 0..inner.len() {
        let (before, now) = inner.split_at_mut(index);
        let (out_raw, out_act) = &mut now[0];
        let from = before.last().map_or(act, |(_, act)| act);
        // The sum that this step adds to: the latest one before it.
        let base = before.iter().rev().find_map(|(raw, _)| raw.as_ref()).unwrap_or(raw);
        let conv = &block[index];
        let reach = conv.reach() as isize;
        let at = out_act.end();
        let end = (from.end() - reach).min(total as isize);
        let count = (end - at).max(0) as usize;
        let mut sink = Sink { act: Some((out_act.room(count), rectify)), ..Sink::default() };
        if let Some(out_raw) = out_raw {
            sink.add[0] = Some(base.view(0, at));
            sink.raw = Some(out_raw.room(count));
        }
        conv.run(simd, from.view(0, at - reach), count, &mut sink);
        out_act.advance(count);
        if let Some(out_raw) = out_raw {
            out_raw.advance(count);
        }
        out_act.close(total, block[index + 1].reach());
    }
    debug_assert!(pairs == 1 || pairs == 2);
    let reach = block.last().map_or(0, Conv::reach) as isize;
    (inner.last().map_or(act, |(_, act)| act).end() - reach).min(total as isize)
}

/// `stride` rows of `count` samples each become one row in which they take turns.
fn interleave(rows: &[f32], stride: usize, count: usize, line: &mut [f32]) {
    for (phase, row) in rows.chunks_exact(count).enumerate() {
        for (out, &value) in line.iter_mut().skip(phase).step_by(stride).zip(row) {
            *out = value;
        }
    }
}
