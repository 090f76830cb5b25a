//! The voice's engine, with the real voice.

// Tests may read the clock (clippy.toml).
#![allow(clippy::disallowed_methods)]

use std::sync::OnceLock;
use std::time::Instant;

use candle_core::Device;
use eva_voice::ids::ReplyId;
use eva_voice::inference::Urgency;
use eva_voice::models;
use eva_voice::private::Private;
use eva_voice::speaking::vits::{Style, Vits};
use eva_voice::speaking::{Speech, SpokenChunk, StartError, VitsVoice, Voice, WordSpan};

fn voice() -> &'static VitsVoice {
    static VOICE: OnceLock<VitsVoice> = OnceLock::new();
    VOICE.get_or_init(|| {
        let path = models::default_dir().join(models::VOICE_JOE);
        let voice = VitsVoice::start(&path, &Device::Cpu)
            .expect("the test needs the voice: `eva models pull`");
        voice.warm_up().expect("the voice warms up");
        voice
    })
}

fn speech(text: &str, urgency: Urgency) -> Speech {
    Speech { reply: ReplyId(1), text: Private::new(text.into()), urgency }
}

/// All sound of a text, the spans of its words, and the number of chunks.
fn speak(text: &str) -> (Vec<f32>, Vec<WordSpan>, usize) {
    let mut chunks = voice().speak(speech(text, Urgency::Now));
    let (mut pcm, mut words, mut count) = (Vec::new(), Vec::new(), 0);
    let began = Instant::now();
    while let Some(chunk) = chunks.blocking_recv() {
        let SpokenChunk { pcm: more, words: spans, last, .. } = chunk.expect("the voice speaks");
        if count == 0 {
            println!("first sound after {:.1} ms: {text}", began.elapsed().as_secs_f64() * 1e3);
        }
        assert!(count == 0 || spans.is_empty(), "spans come with the first chunk");
        pcm.extend(more);
        words.extend(spans);
        count += 1;
        if last {
            assert!(chunks.blocking_recv().is_none(), "nothing follows the last chunk");
            break;
        }
    }
    println!("all of it after {:.1} ms", began.elapsed().as_secs_f64() * 1e3);
    (pcm, words, count)
}

#[test]
fn sound_in_pieces_equals_sound_at_once() {
    let path = models::default_dir().join(models::VOICE_JOE);
    let (vits, config) =
        Vits::load(&path, &Device::Cpu).expect("the test needs the voice: `eva models pull`");
    // Any ids do: "the quick brown fox" would not be harder.
    let ids: Vec<u32> = (0..60).map(|n| [1, 14 + n % 25, 0][n as usize % 3]).collect();
    let style = Style { scales: config.scales, speaker: 0 };
    let begin = |seed| vits.begin(&ids, style, seed).expect("the CPU does not fail");
    let mut whole = Vec::new();
    begin(7).next(&vits, usize::MAX, &mut whole).expect("the CPU does not fail");
    for size in [1, 4, 7, 16, 64] {
        let mut sentence = begin(7);
        let mut pieces = Vec::new();
        while !sentence.finished() {
            let before = pieces.len();
            sentence.next(&vits, size, &mut pieces).expect("the CPU does not fail");
            assert!(pieces.len() > before, "every step brings sound");
        }
        assert_eq!(pieces.len(), whole.len());
        let apart = pieces.iter().zip(&whole).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart <= 1e-4, "pieces of {size} frames are {apart} apart");
    }
    let mut other = Vec::new();
    begin(8).next(&vits, usize::MAX, &mut other).expect("the CPU does not fail");
    assert_ne!(whole, other, "another seed sounds different");
}

#[test]
fn every_word_has_its_place_in_the_sound() {
    let text = "The ticket costs $12.50, Dr. **Smith** said 🎉 on 3 May: \"well-known\" facts!";
    let (pcm, words, chunks) = speak(text);
    assert!(chunks > 3, "sound comes in pieces");
    let spoken: Vec<&str> = words.iter().map(|word| &text[word.text.clone()]).collect();
    assert_eq!(
        spoken,
        [
            "The",
            "ticket",
            "costs",
            "$12.50,",
            "Dr.",
            "Smith",
            "said",
            "on",
            "3",
            "May:",
            "\"well-known\"",
            "facts!"
        ]
    );
    let mut at = 0;
    for word in &words {
        assert!(word.samples.start >= at && word.samples.end > word.samples.start, "{words:?}");
        at = word.samples.end;
    }
    assert!(at <= pcm.len());
    let length = |index: usize| words[index].samples.len();
    assert!(length(3) > 3 * length(0), "twelve dollars fifty cents outlasts the: {words:?}");
    let loudest = pcm.iter().fold(0.0f32, |peak, sample| peak.max(sample.abs()));
    assert!((0.05..=1.0).contains(&loudest), "peak {loudest}");
}

#[test]
fn nothing_to_say_is_an_empty_last_chunk() {
    for text in ["", "🎉", "...", "日本語"] {
        let (pcm, words, chunks) = speak(text);
        assert!(pcm.is_empty() && words.is_empty() && chunks == 1, "{text}");
    }
}

#[test]
fn several_sentences_in_one_text_are_all_spoken() {
    let text = "Yes. I think so! Do you?";
    let (_, words, _) = speak(text);
    assert_eq!(words.len(), 6);
}

#[test]
fn a_dropped_receiver_frees_the_engine() {
    let long =
        "This sentence goes on and on, about nothing at all, and nobody listens. ".repeat(30);
    let began = Instant::now();
    let mut chunks = voice().speak(speech(&long, Urgency::Later));
    assert!(chunks.blocking_recv().is_some());
    let prepared = began.elapsed();
    drop(chunks);
    // Lengths take about a seventh of a text's work: were the long text still under way, this
    // would wait for the other six.
    let began = Instant::now();
    let mut next = voice().speak(speech("Hello.", Urgency::Background));
    while next.blocking_recv().is_some_and(|chunk| !chunk.expect("it speaks").last) {}
    let waited = began.elapsed();
    assert!(waited < 2 * prepared, "{waited:?} after {prepared:?}");
}

#[test]
fn a_more_urgent_sentence_overtakes() {
    let long =
        "One two three four five six seven eight nine ten, and then some more of it.".repeat(4);
    let mut slow = voice().speak(speech(&long, Urgency::Later));
    let mut quick = voice().speak(speech("Stop now.", Urgency::Now));
    while quick.blocking_recv().is_some_and(|chunk| !chunk.expect("it speaks").last) {}
    let mut finished = false;
    while let Ok(chunk) = slow.try_recv() {
        finished |= chunk.expect("it speaks").last;
    }
    assert!(!finished, "the long sentence is still under way when the short one is done");
}

#[test]
fn missing_and_damaged_files_are_sentences() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("voice.onnx");
    let told = |expected: &str| {
        let error: StartError = VitsVoice::start(&path, &Device::Cpu).err().expect("it refuses");
        let text = error.to_string();
        assert!(text.contains(expected) && text.contains("eva models pull"), "{text}");
        text
    };
    assert!(told("voice.onnx.json").contains("cannot read"));
    let config = models::default_dir().join(format!("{}.json", models::VOICE_JOE));
    std::fs::copy(config, dir.path().join("voice.onnx.json")).expect("the voice is installed");
    assert!(told("voice.onnx").contains("cannot read"));
    std::fs::write(&path, b"<html>404</html>").expect("a file");
    told("not usable");
    let whole = std::fs::read(models::default_dir().join(models::VOICE_JOE)).expect("the voice");
    std::fs::write(&path, &whole[..whole.len() / 2]).expect("a file");
    told("not usable");
}
