//! Logits in; the next token out.

use rand::{Rng, SeedableRng};

/// Only this many of the likeliest tokens are drawn from.
const TOP_K: usize = 40;
/// And of those only the ones that together have this much probability (Holtzman et al., 2020).
const TOP_P: f32 = 0.9;
/// Logits of tokens said a moment ago are weakened by this (Keskar et al., 2019).
const REPETITION_PENALTY: f32 = 1.05;
/// How many tokens ago that is.
const REPETITION_WINDOW: usize = 64;

/// Draws the tokens of one reply.
pub(super) struct Sampler {
    temperature: f32,
    rng: rand::rngs::StdRng,
    recent: Vec<u32>,
}

impl Sampler {
    /// Temperature 0 (or less) always takes the likeliest token.
    pub(super) fn new(temperature: f32, seed: u64) -> Self {
        Self { temperature, rng: rand::rngs::StdRng::seed_from_u64(seed), recent: Vec::new() }
    }

    /// The next token.
    pub(super) fn next(&mut self, logits: &mut [f32]) -> u32 {
        if self.temperature <= 0. {
            return likeliest(logits);
        }
        let from = self.recent.len().saturating_sub(REPETITION_WINDOW);
        let mut said = self.recent[from..].to_vec();
        said.sort_unstable();
        said.dedup();
        for token in said {
            let logit = &mut logits[token as usize];
            *logit =
                if *logit > 0. { *logit / REPETITION_PENALTY } else { *logit * REPETITION_PENALTY };
        }
        let token = self.draw(&top(logits));
        self.recent.push(token);
        token
    }

    /// The likeliest token, whatever was said before: for what follows a grammar.
    pub(super) fn surest(&mut self, logits: &[f32]) -> u32 {
        let token = likeliest(logits);
        self.recent.push(token);
        token
    }

    /// Draws from the likeliest tokens, the likeliest first.
    fn draw(&mut self, top: &[(f32, u32)]) -> u32 {
        let most = top[0].0;
        let weights: Vec<f32> =
            top.iter().map(|(logit, _)| ((logit - most) / self.temperature).exp()).collect();
        let total: f32 = weights.iter().sum();
        let mut kept = 0.;
        let mut count = 0;
        for weight in &weights {
            kept += weight;
            count += 1;
            if kept >= TOP_P * total {
                break;
            }
        }
        let mut point = self.rng.random::<f32>() * kept;
        for ((_, token), weight) in top.iter().zip(&weights).take(count) {
            point -= weight;
            if point <= 0. {
                return *token;
            }
        }
        top[count - 1].1
    }
}

fn likeliest(logits: &[f32]) -> u32 {
    let mut best = (f32::NEG_INFINITY, 0);
    for (token, logit) in logits.iter().enumerate() {
        if *logit > best.0 {
            best = (*logit, token);
        }
    }
    best.1 as u32
}

/// The `TOP_K` likeliest tokens, the likeliest first.
fn top(logits: &[f32]) -> Vec<(f32, u32)> {
    let mut top: Vec<(f32, u32)> = Vec::with_capacity(TOP_K + 1);
    let mut floor = f32::NEG_INFINITY;
    for (token, logit) in logits.iter().enumerate() {
        if *logit > floor || top.is_empty() {
            let place = top.partition_point(|(other, _)| other >= logit);
            top.insert(place, (*logit, token as u32));
            if top.len() > TOP_K {
                top.pop();
                floor = top[TOP_K - 1].0;
            }
        }
    }
    top
}

#[cfg(test)]
mod tests {
    use super::{Sampler, top};

    #[test]
    fn the_same_seed_draws_the_same_tokens_and_only_likely_ones() {
        let logits: Vec<f32> = (0..1000).map(|i| ((i * 37 % 1000) as f32) / 100.).collect();
        let draw = |seed| {
            let mut sampler = Sampler::new(0.8, seed);
            (0..20).map(|_| sampler.next(&mut logits.clone())).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert!(draw(3).iter().all(|token| logits[*token as usize] > 9.));
    }

    #[test]
    fn temperature_zero_takes_the_likeliest() {
        let mut logits = vec![0., 3., -1., 2.9];
        assert_eq!(Sampler::new(0., 7).next(&mut logits), 1);
        assert_eq!(top(&logits)[..2], [(3., 1), (2.9, 3)]);
    }
}
