//! `eva bench tts`: how soon and how cheaply the voice speaks, beside Piper's own engine.
//!
//! In: a [`Plan`] and a voice. Out: a [`Report`]. Ours and the peer speak the same new sentences in
//! turn, in the same run, so that a busy machine slows both; figures are medians. Measures, and
//! decides nothing.

mod intelligible;
mod measure;
mod peer;
mod sentences;

use std::path::PathBuf;

use serde::Serialize;

pub use intelligible::{Heard, Listener};
pub use measure::{Spoken, at_once, one};
pub use peer::Peer;
pub use sentences::Sentences;

use super::Spread;
use super::stats::peak_mib;
use crate::audio::wav::read_wav;
use crate::speaking::vits::limit::gemm_flops;
use crate::speaking::{Device, VitsVoice, Voice, device};

/// Sentences spoken at once in the last part.
const AT_ONCE: usize = 4;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The lengths of sentences, in words.
    pub words: Vec<usize>,
    /// Sentences of each length.
    pub rounds: usize,
    /// Decides the sentences.
    pub seed: u64,
    /// Sentences that a recogniser writes down; none if 0.
    pub transcribed: usize,
    /// Folder of the models, for the recogniser.
    pub models: Option<PathBuf>,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where the voice ran.
    pub device: String,
    /// The voice.
    pub voice: String,
    /// One entry for each length.
    pub sentences: Vec<Sentence>,
    /// What bounds the voice on one thread of the CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    /// The most memory this process held while speaking, MiB.
    pub peak_mib: f64,
    /// The same of the peer's process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_peak_mib: Option<f64>,
    /// Four sentences of 20 words at once.
    pub at_once: AtOnce,
    /// How long the next sentence waits, beyond its own time, when a caller hangs up in
    /// mid-sentence; median.
    pub after_cancelling_ms: f64,
    /// What a recogniser made of the sound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intelligible: Option<Intelligible>,
}

/// Sentences of one length; medians.
#[derive(Clone, Debug, Serialize)]
pub struct Sentence {
    /// Words.
    pub words: usize,
    /// From the text to the first sound.
    pub first_sound_ms: f64,
    /// From the text to the last sound.
    pub whole_ms: f64,
    /// Seconds of sound.
    pub audio_s: f64,
    /// Processor time for a second of sound.
    pub cpu_ms_per_audio_s: f64,
    /// The same of the peer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<PeerTimes>,
    /// Ours over the peer's; medians of each sentence's ratio.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<Ratio>,
}

/// The peer's side of a [`Sentence`].
#[derive(Clone, Debug, Serialize)]
pub struct PeerTimes {
    /// From the text to the first sound.
    pub first_sound_ms: f64,
    /// From the text to the last sound.
    pub whole_ms: f64,
    /// Processor time for a second of sound.
    pub cpu_ms_per_audio_s: f64,
}

/// Ours over the peer's: below one is better.
#[derive(Clone, Debug, Serialize)]
pub struct Ratio {
    /// Time to the first sound.
    pub first_sound: f64,
    /// Processor time for a second of sound.
    pub cpu: f64,
}

/// How far the voice is from what one thread can compute.
#[derive(Clone, Debug, Serialize)]
pub struct Limit {
    /// Operations of a second of sound (flow and decoder).
    pub gflop_per_audio_s: f64,
    /// What the voice reaches in the longest sentences.
    pub gflops: f64,
    /// What a plain product of matrices reaches in this run.
    pub gemm_gflops: f64,
}

/// Several sentences at once.
#[derive(Clone, Debug, Serialize)]
pub struct AtOnce {
    /// How many.
    pub sentences: usize,
    /// Sentences with a gap after their first chunk.
    pub underruns: usize,
    /// How early the latest of all chunks came.
    pub least_slack_ms: f64,
    /// The last sentence's first sound.
    pub last_first_sound_ms: f64,
}

/// Word errors of a recogniser that listens over Opus.
#[derive(Clone, Debug, Serialize)]
pub struct Intelligible {
    /// Sentences.
    pub sentences: usize,
    /// Share of words misheard.
    pub word_error_rate: f64,
    /// The same of the peer's sound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_word_error_rate: Option<f64>,
}

/// One sentence on both sides.
struct Pair {
    ours: Spoken,
    peer: Option<peer::Answer>,
}

/// Runs the plan with a warm voice. Blocks.
pub fn run(
    voice: &VitsVoice,
    device: &Device,
    mut peer: Option<Peer>,
    plan: &Plan,
) -> anyhow::Result<Report> {
    let rate = f64::from(voice.sample_rate());
    let mut drawn = Sentences::new(plan.seed);
    // Both are warm before the clock counts.
    if let Some(peer) = &mut peer {
        peer.speak(&drawn.draw(10), None)?;
    }
    measure::one(voice, &drawn.draw(10))?;
    let mut pairs: Vec<Vec<Pair>> = plan.words.iter().map(|_| Vec::new()).collect();
    for round in 0..plan.rounds {
        for (&words, pairs) in plan.words.iter().zip(&mut pairs) {
            pairs.push(pair(voice, &mut peer, &drawn.draw(words), round % 2 == 0)?);
        }
    }
    let peer_peak_mib =
        pairs.iter().flatten().filter_map(|pair| Some(pair.peer.as_ref()?.peak_mib));
    let peer_peak_mib = peer_peak_mib.reduce(f64::max);
    let sentences = plan.words.iter().zip(&pairs);
    let sentences: Vec<Sentence> =
        sentences.map(|(&words, pairs)| summary(words, pairs, rate)).collect();
    let limit = device.is_cpu().then(|| limit(voice, &sentences));
    let at_once = several(voice, &mut drawn)?;
    let cancelled: Result<Vec<f64>, _> = (0..plan.rounds.max(3))
        .map(|_| measure::after_cancelling(voice, &drawn.draw(40), &drawn.draw(1)))
        .collect();
    let after_cancelling_ms = Spread::of(cancelled?).p50;
    let peak_mib = peak_mib();
    let intelligible = match plan.transcribed {
        0 => None,
        _ => Some(listen(voice, &mut peer, &mut drawn, plan)?),
    };
    Ok(Report {
        device: device::name(device),
        voice: voice.name(),
        sentences,
        limit,
        peak_mib,
        peer_peak_mib,
        at_once,
        after_cancelling_ms,
        intelligible,
    })
}

/// Ours and the peer's, the first in turn.
fn pair(
    voice: &dyn Voice,
    peer: &mut Option<Peer>,
    text: &str,
    ours_first: bool,
) -> anyhow::Result<Pair> {
    let early = if ours_first { Some(measure::one(voice, text)?) } else { None };
    let peer = peer.as_mut().map(|peer| peer.speak(text, None)).transpose()?;
    let ours = early.map_or_else(|| measure::one(voice, text), Ok)?;
    Ok(Pair { ours, peer })
}

fn summary(words: usize, pairs: &[Pair], rate: f64) -> Sentence {
    let median =
        |value: &dyn Fn(&Pair) -> Option<f64>| Spread::of(pairs.iter().filter_map(value)).p50;
    let ms = |time: std::time::Duration| 1e3 * time.as_secs_f64();
    let cpu = |pair: &Pair| ms(pair.ours.cpu) * rate / pair.ours.pcm.len().max(1) as f64;
    let peer_cpu = |pair: &Pair| pair.peer.as_ref().map(|peer| peer.cpu_ms / peer.audio_s);
    let with_peer = pairs.iter().any(|pair| pair.peer.is_some());
    let peer = |value: fn(&peer::Answer) -> f64| median(&|pair| pair.peer.as_ref().map(value));
    Sentence {
        words,
        first_sound_ms: median(&|pair| Some(ms(pair.ours.first()))),
        whole_ms: median(&|pair| Some(ms(pair.ours.whole()))),
        audio_s: median(&|pair| Some(pair.ours.pcm.len() as f64 / rate)),
        cpu_ms_per_audio_s: median(&|pair| Some(cpu(pair))),
        peer: with_peer.then(|| PeerTimes {
            first_sound_ms: peer(|answer| answer.first_sound_ms),
            whole_ms: peer(|answer| answer.whole_ms),
            cpu_ms_per_audio_s: median(&peer_cpu),
        }),
        ratio: with_peer.then(|| Ratio {
            first_sound: median(&|pair| {
                Some(ms(pair.ours.first()) / pair.peer.as_ref()?.first_sound_ms)
            }),
            cpu: median(&|pair| Some(cpu(pair) / peer_cpu(pair)?)),
        }),
    }
}

fn limit(voice: &VitsVoice, sentences: &[Sentence]) -> Limit {
    let tenth = |value: f64| (value * 10.0).round() / 10.0;
    let gflop = voice.flops_per_second_of_sound() / 1e9;
    let least = sentences.last().map_or(f64::INFINITY, |sentence| sentence.cpu_ms_per_audio_s);
    Limit {
        gflop_per_audio_s: (gflop * 100.0).round() / 100.0,
        gflops: tenth(1e3 * gflop / least),
        gemm_gflops: tenth(gemm_flops() / 1e9),
    }
}

fn several(voice: &dyn Voice, drawn: &mut Sentences) -> anyhow::Result<AtOnce> {
    let texts: Vec<String> = (0..AT_ONCE).map(|_| drawn.draw(20)).collect();
    let all = measure::at_once(voice, &texts)?;
    let slacks: Vec<f64> = all.iter().map(|spoken| spoken.slack(voice.sample_rate())).collect();
    let last = all.iter().map(|spoken| spoken.first().as_secs_f64()).fold(0.0, f64::max);
    let hundredth = |value: f64| (value * 100.0).round() / 100.0;
    Ok(AtOnce {
        sentences: AT_ONCE,
        underruns: slacks.iter().filter(|&&slack| slack < 0.0).count(),
        least_slack_ms: hundredth(1e3 * slacks.iter().copied().fold(f64::INFINITY, f64::min)),
        last_first_sound_ms: hundredth(1e3 * last),
    })
}

/// The recogniser on our sound and on the peer's.
fn listen(
    voice: &dyn Voice,
    peer: &mut Option<Peer>,
    drawn: &mut Sentences,
    plan: &Plan,
) -> anyhow::Result<Intelligible> {
    let listener = Listener::start(plan.models.clone())?;
    let wav = std::env::temp_dir().join(format!("eva-bench-tts-{}.wav", std::process::id()));
    let (mut ours, mut theirs) = (Heard::default(), Heard::default());
    for index in 0..plan.transcribed {
        let text = drawn.draw([4, 10, 10, 20][index % 4]);
        let spoken = measure::one(voice, &text)?;
        ours.add(&text, &listener.write_down(&spoken.pcm, voice.sample_rate())?);
        if let Some(peer) = peer {
            peer.speak(&text, Some(&wav))?;
            let sound = read_wav(&wav)?;
            theirs.add(&text, &listener.write_down(&sound.samples, sound.sample_rate)?);
        }
    }
    if peer.is_some() {
        let _ = std::fs::remove_file(&wav);
    }
    Ok(Intelligible {
        sentences: plan.transcribed,
        word_error_rate: ours.error_rate(),
        peer_word_error_rate: peer.is_some().then(|| theirs.error_rate()),
    })
}
