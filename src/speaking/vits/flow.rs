//! The prior's samples in, frame by frame; the decoder's input out, as far as the context allows.
//!
//! VITS's normalising flow (section 2.2.3), run backwards: mean-only coupling layers around
//! gated dilated convolutions (WaveNet). The flips between them are folded into the weights.

use std::sync::Arc;

use super::conv::{Conv, Sink, View, ViewMut};
use super::encoder::conv;
use super::kernels::Simd;
use super::speakers::{Condition, Speaker, Speakers};
use super::track::Track;
use super::weights::{Missing, Weights};

/// The flow's weights.
pub struct Flow {
    /// In the order they are undone.
    couplings: Vec<Coupling>,
    /// Channels of one half.
    half: usize,
}

/// Coupling layer: one half stays, and decides what is subtracted from the other.
struct Coupling {
    /// From a speaker to all layers' gates: [2 · hidden · layers].
    condition: Option<Condition>,
    pre: Conv,
    layers: Vec<Gated>,
    /// Negated.
    post: Conv,
}

struct Gated {
    /// [2 · hidden]: the tanh half, then the sigmoid half.
    gates: Conv,
    /// To the next layer; the last has none.
    residual: Option<Conv>,
    /// To the sum of all layers.
    skip: Conv,
}

impl Flow {
    /// Takes the weights below `flow`; `channels` come in and go out.
    pub fn load(weights: &Weights, channels: usize, speakers: &Speakers) -> Result<Self, Missing> {
        // Odd modules are flips, which have no weights.
        let count = (0..)
            .take_while(|n| weights.find(&format!("flow.flows.{}.pre.weight", 2 * n)).is_some())
            .count();
        if count == 0 || !count.is_multiple_of(2) || !channels.is_multiple_of(2) {
            return Err(Missing(format!("flow.flows.{}.pre.weight", 2 * count)));
        }
        let couplings: Vec<Coupling> = (0..count)
            .rev()
            .map(|n| {
                // A flip follows each layer; undone, an odd number of them precedes every other.
                let flipped = (count - n) % 2 == 1;
                let module = format!("flow.flows.{}", 2 * n);
                Coupling::load(weights, &module, (channels / 2, flipped), speakers)
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { couplings, half: channels / 2 })
    }

    /// Channels in and out.
    pub fn channels(&self) -> usize {
        2 * self.half
    }

    /// What a speaker changes: the bias of each gated layer of each coupling.
    pub fn speaker(&self, embedding: &[f32]) -> Vec<Vec<Vec<f32>>> {
        let biases = self.couplings.iter().map(|coupling| {
            let Some(condition) = &coupling.condition else { return Vec::new() };
            let values = condition.run(embedding);
            let mut rest = &values[..];
            let biases = coupling.layers.iter().map(|layer| {
                let (own, others) = rest.split_at(layer.gates.outputs);
                rest = others;
                layer.gates.biased(own)
            });
            biases.collect()
        });
        biases.collect()
    }

    /// Floating-point operations of each frame.
    pub fn flops(&self) -> f64 {
        let layer = |layer: &Gated| {
            let residual = layer.residual.as_ref().map_or(0.0, Conv::flops);
            layer.gates.flops() + layer.skip.flops() + residual
        };
        let coupling = |coupling: &Coupling| {
            let layers = coupling.layers.iter().map(layer).sum::<f64>();
            coupling.pre.flops() + layers + coupling.post.flops()
        };
        self.couplings.iter().map(coupling).sum()
    }

    /// How many frames to either side an output frame depends on.
    pub fn reach(&self) -> usize {
        let layers = self.couplings.iter().flat_map(|coupling| &coupling.layers);
        layers.map(|layer| layer.gates.reach()).sum()
    }
}

impl Coupling {
    fn load(
        weights: &Weights,
        module: &str,
        (half, flipped): (usize, bool),
        speakers: &Speakers,
    ) -> Result<Self, Missing> {
        let pre = weights.get(&format!("{module}.pre.weight"), &[0, half, 1])?;
        let hidden = pre.dims[0];
        let pre_bias = weights.get(&format!("{module}.pre.bias"), &[hidden])?;
        let post = weights.get(&format!("{module}.post.weight"), &[half, hidden, 1])?;
        let post_bias = weights.get(&format!("{module}.post.bias"), &[half])?;
        let channel = |c: usize| if flipped { half - 1 - c } else { c };
        let negated: Vec<f32> = (0..half).map(|c| -post_bias.values[channel(c)]).collect();
        let count = weights.count(&format!("{module}.enc.in_layers"), "weight");
        if count == 0 {
            return Err(Missing(format!("{module}.enc.in_layers.0.weight")));
        }
        let layers = (0..count)
            .map(|n| Gated::load(weights, &format!("{module}.enc"), (n, n + 1 == count), hidden))
            .collect::<Result<_, Missing>>()?;
        let condition = format!("{module}.enc.cond_layer");
        Ok(Self {
            condition: Condition::load(weights, &condition, 2 * hidden * count, speakers)?,
            pre: Conv::pack((hidden, half, 1), 1, Some(&pre_bias.values), |o, i, _| {
                pre.values[o * half + channel(i)]
            }),
            layers,
            post: Conv::pack((half, hidden, 1), 1, Some(&negated), |o, i, _| {
                -post.values[channel(o) * hidden + i]
            }),
        })
    }
}

impl Gated {
    fn load(
        weights: &Weights,
        module: &str,
        (n, last): (usize, bool),
        hidden: usize,
    ) -> Result<Self, Missing> {
        let gates = conv(weights, &format!("{module}.in_layers.{n}"), (2 * hidden, hidden))?;
        let name = format!("{module}.res_skip_layers.{n}");
        let outputs = if last { hidden } else { 2 * hidden };
        let weight = weights.get(&format!("{name}.weight"), &[outputs, hidden, 1])?;
        let bias = weights.get(&format!("{name}.bias"), &[outputs])?;
        let part = |from: usize| {
            let bias = &bias.values[from..from + hidden];
            Conv::pack((hidden, hidden, 1), 1, Some(bias), |o, i, _| {
                weight.values[(from + o) * hidden + i]
            })
        };
        let residual = (!last).then(|| part(0));
        Ok(Self { gates, residual, skip: part(if last { 0 } else { hidden }) })
    }
}

/// One sentence on its way through the flow.
pub struct Flowing {
    total: usize,
    speaker: Arc<Speaker>,
    /// Lower half, upper half, and what each coupling makes of the older one of the two before.
    halves: Vec<Track>,
    couplings: Vec<Streams>,
    gates: Vec<f32>,
    gated: Vec<f32>,
}

/// The streams inside one coupling.
struct Streams {
    /// Input of each gated layer.
    hidden: Vec<Track>,
    /// Sum of the skips up to each layer.
    skips: Vec<Track>,
}

impl Flowing {
    /// Without a sentence; [`Self::restart`] begins one.
    pub fn new(flow: &Flow) -> Self {
        let couplings = flow.couplings.iter().map(|coupling| Streams {
            hidden: coupling
                .layers
                .iter()
                .map(|layer| Track::new(layer.gates.inputs, layer.gates.reach()))
                .collect(),
            skips: coupling.layers.iter().map(|layer| Track::new(layer.skip.outputs, 0)).collect(),
        });
        Self {
            total: 0,
            speaker: Arc::default(),
            halves: (0..flow.couplings.len() + 2).map(|_| Track::new(flow.half, 0)).collect(),
            couplings: couplings.collect(),
            gates: Vec::new(),
            gated: Vec::new(),
        }
    }

    /// Begins a sentence of `total` frames, in the memory of the one before.
    pub fn restart(&mut self, total: usize, speaker: Arc<Speaker>) {
        (self.total, self.speaker) = (total, speaker);
        self.halves.iter_mut().for_each(Track::restart);
        for streams in &mut self.couplings {
            streams.hidden.iter_mut().for_each(Track::restart);
            streams.skips.iter_mut().for_each(Track::restart);
        }
    }

    /// Frames taken in so far.
    pub fn taken(&self) -> usize {
        self.halves[0].end() as usize
    }

    /// Takes in `count` more frames, which `fill` writes: `fill(channel, frames)`.
    pub fn push(
        &mut self,
        (simd, flow): (Simd, &Flow),
        count: usize,
        mut fill: impl FnMut(usize, &mut [f32]),
    ) {
        for (side, half) in self.halves.iter_mut().take(2).enumerate() {
            let room = half.room(count);
            for row in 0..flow.half {
                fill(side * flow.half + row, &mut room.data[row * room.stride..][..count]);
            }
            half.advance(count);
        }
        for index in 0..flow.couplings.len() {
            self.couple(simd, flow, index);
        }
    }

    /// The finished frames from `position` on, as (lower half, upper half, one past the last).
    pub fn output(&self) -> (&Track, &Track, isize) {
        let last = self.halves.len() - 1;
        (&self.halves[last - 1], &self.halves[last], self.halves[last].end())
    }

    /// What lies before `position` was taken out.
    pub fn release(&mut self, position: isize) {
        let last = self.halves.len() - 1;
        self.halves[last].release(position);
        self.halves[last - 1].release(position);
    }

    fn couple(&mut self, simd: Simd, flow: &Flow, index: usize) {
        let coupling = &flow.couplings[index];
        let streams = &mut self.couplings[index];
        let still = &self.halves[index + 1];
        // What stays enters the first layer.
        let first = &mut streams.hidden[0];
        let at = first.end();
        let count = (still.end() - at).max(0) as usize;
        let mut sink = Sink { raw: Some(first.room(count)), ..Sink::default() };
        coupling.pre.run(simd, still.view(0, at), count, &mut sink);
        first.advance(count);
        for (n, layer) in coupling.layers.iter().enumerate() {
            let bias = self.speaker.flow.get(index).and_then(|biases| biases.get(n));
            let bias = bias.map(Vec::as_slice);
            let buffers = (&mut self.gates, &mut self.gated);
            streams.layer(simd, (layer, n, bias), self.total, buffers);
        }
        let (before, after) = self.halves.split_at_mut(index + 2);
        let moved = &mut before[index];
        let out = &mut after[0];
        let skip = streams.skips.last_mut().expect("a coupling has layers");
        let at = out.end();
        let count = (skip.end() - at).max(0) as usize;
        let mut sink = Sink {
            add: [Some(moved.view(0, at)), None],
            raw: Some(out.room(count)),
            ..Sink::default()
        };
        coupling.post.run(simd, skip.view(0, at), count, &mut sink);
        out.advance(count);
        let done = out.end();
        moved.release(done);
        skip.release(done);
    }
}

impl Streams {
    fn layer(
        &mut self,
        simd: Simd,
        (layer, n, bias): (&Gated, usize, Option<&[f32]>),
        total: usize,
        (gates, gated): (&mut Vec<f32>, &mut Vec<f32>),
    ) {
        let reach = layer.gates.reach();
        self.hidden[n].close(total, reach);
        let at = self.skips[n].end();
        let count = (self.hidden[n].end() - reach as isize - at).max(0) as usize;
        if count == 0 {
            return;
        }
        let inner = layer.gates.outputs / 2;
        gates.resize(2 * inner * count, 0.0);
        gated.resize(inner * count, 0.0);
        let whole = ViewMut { data: gates, stride: count };
        let mut sink = Sink { bias, raw: Some(whole), ..Sink::default() };
        layer.gates.run(simd, self.hidden[n].view(0, at - reach as isize), count, &mut sink);
        let (tanh, sigmoid) = gates.split_at(inner * count);
        simd.gate(gated, tanh, sigmoid);
        let gated = View { data: gated, stride: count };
        let (older, newer) = self.skips.split_at_mut(n);
        let mut sink = Sink {
            add: [older.last().map(|skip| skip.view(0, at)), None],
            raw: Some(newer[0].room(count)),
            ..Sink::default()
        };
        layer.skip.run(simd, gated, count, &mut sink);
        newer[0].advance(count);
        if let Some(older) = older.last_mut() {
            older.release(at + count as isize);
        }
        let (inputs, next) = self.hidden.split_at_mut(n + 1);
        if let (Some(residual), Some(next)) = (&layer.residual, next.first_mut()) {
            let mut sink = Sink {
                add: [Some(inputs[n].view(0, at)), None],
                raw: Some(next.room(count)),
                ..Sink::default()
            };
            residual.run(simd, gated, count, &mut sink);
            next.advance(count);
        }
        inputs[n].release(at + count as isize - reach as isize);
    }
}
