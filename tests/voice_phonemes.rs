//! The times of phonemes and of the mouth's shapes, with the real voice.

use candle_core::Device;
use eva_voice::ids::ReplyId;
use eva_voice::inference::Urgency;
use eva_voice::models;
use eva_voice::private::Private;
use eva_voice::speaking::visemes::{Viseme, track};
use eva_voice::speaking::{PhonemeSpan, Speech, VitsVoice, Voice, WordSpan};

struct Sound {
    samples: usize,
    words: Vec<WordSpan>,
    phonemes: Vec<PhonemeSpan>,
}

fn speak(voice: &VitsVoice, text: &str) -> Sound {
    let text = Private::new(text.into());
    let mut chunks = voice.speak(Speech { reply: ReplyId(1), text, urgency: Urgency::Now });
    let mut sound = Sound { samples: 0, words: Vec::new(), phonemes: Vec::new() };
    while let Some(chunk) = chunks.blocking_recv() {
        let chunk = chunk.expect("the voice speaks");
        sound.samples += chunk.pcm.len();
        sound.words.extend(chunk.words);
        sound.phonemes.extend(chunk.phonemes);
    }
    sound
}

#[test]
fn phonemes_and_shapes_cover_the_whole_sound_and_agree_with_the_words() {
    let path = models::default_dir().join(models::VOICE_JOE);
    let voice =
        VitsVoice::start(&path, &Device::Cpu).expect("the test needs the voice: `eva models pull`");
    let text = "Bob's map: 🎉 it cost $12.50 on 2026-11-21! The API moves at 5 km/h.";
    let sound = speak(&voice, text);
    let phonemes = &sound.phonemes;
    assert_eq!(phonemes.first().map(|span| span.samples.start), Some(0));
    assert_eq!(phonemes.last().map(|span| span.samples.end), Some(sound.samples));
    assert!(phonemes.windows(2).all(|pair| pair[0].samples.end == pair[1].samples.start));
    for (index, word) in sound.words.iter().enumerate() {
        let own: Vec<_> = phonemes.iter().filter(|span| span.word == Some(index)).collect();
        let (first, last) = (own.first().expect("a phoneme"), own.last().expect("a phoneme"));
        assert_eq!(first.samples.start..last.samples.end, word.samples, "{}", index);
    }
    let places: Vec<&str> = sound.words.iter().map(|word| &text[word.text.clone()]).collect();
    assert_eq!(
        places,
        [
            "Bob's",
            "map:",
            "it",
            "cost",
            "$12.50",
            "on",
            "2026-11-21!",
            "The",
            "API",
            "moves",
            "at",
            "5 km/h."
        ]
    );
    let shapes = track(phonemes, voice.sample_rate());
    assert_eq!(shapes.last().map(|shape| shape.samples.end), Some(sound.samples));
    let first = shapes.iter().find(|shape| shape.viseme != Viseme::Sil).expect("a shape");
    assert_eq!(first.viseme, Viseme::Pp, "Bob begins with closed lips");
    assert!(sound.words[0].samples.contains(&first.samples.start));
}
