//! The voice's engine on a device that runs several sentences as one batch: candle's CPU device,
//! with the real voice.

use candle_core::Device;
use eva_voice::ids::ReplyId;
use eva_voice::inference::Urgency;
use eva_voice::models;
use eva_voice::private::Private;
use eva_voice::speaking::{SpeakError, Speech, SpokenChunk, VitsVoice, Voice};
use tokio::sync::mpsc::Receiver;

type Chunks = Receiver<Result<SpokenChunk, SpeakError>>;

fn model() -> std::path::PathBuf {
    models::default_dir().join(models::VOICE_JOE)
}

fn speech(text: &str, urgency: Urgency) -> Speech {
    Speech { reply: ReplyId(1), text: Private::new(text.into()), urgency }
}

/// All sound that still comes, and how many words it has.
fn listen(chunks: &mut Chunks) -> (Vec<f32>, usize) {
    let (mut pcm, mut words) = (Vec::new(), 0);
    while let Some(chunk) = chunks.blocking_recv() {
        let chunk = chunk.expect("the voice speaks");
        pcm.extend(chunk.pcm);
        words += chunk.words.len();
        if chunk.last {
            return (pcm, words);
        }
    }
    panic!("a text ends with its last chunk");
}

#[test]
fn sentences_at_once_sound_as_each_does_alone() {
    const TEXTS: [(&str, Urgency); 6] = [
        ("Hello.", Urgency::Now),
        ("Yes. I think so!", Urgency::Later),
        ("", Urgency::Now),
        ("The train leaves at 9:15.", Urgency::Later),
        ("Well, I never.", Urgency::Background),
        ("Nobody waits for this one, which goes on and on and on.", Urgency::Later),
    ];
    // Both number their texts alike, so that the noise is the same.
    let alone = VitsVoice::start(&model(), &Device::Cpu);
    let alone = alone.expect("the test needs the voice: `eva models pull`");
    let together = VitsVoice::start_batched(&model(), &Device::Cpu).expect("the same voice");
    let mut begun: Vec<Chunks> =
        TEXTS.iter().map(|(text, urgency)| together.speak(speech(text, *urgency))).collect();
    // The last one's listener goes away in the middle.
    let mut leaving = begun.pop().expect("six texts");
    assert!(leaving.blocking_recv().is_some_and(|chunk| chunk.is_ok()));
    drop(leaving);
    for ((text, urgency), chunks) in TEXTS.iter().zip(&mut begun) {
        let (expected, spoken) = listen(&mut alone.speak(speech(text, *urgency)));
        let (sound, words) = listen(chunks);
        assert_eq!((sound.len(), words), (expected.len(), spoken), "{text}");
        assert_eq!(words, text.split_whitespace().count());
        let apart = sound.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        println!("{text:?}: {apart:e}");
        assert!(apart <= 1e-4, "{text}: {apart}");
    }
    // Whoever comes after the one that left is served.
    let (sound, _) = listen(&mut together.speak(speech("Bye.", Urgency::Now)));
    assert!(!sound.is_empty());
}
