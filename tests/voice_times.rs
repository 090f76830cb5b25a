//! The times of words against the sound itself: after a pause, a word starts where sound starts.

use eva_voice::ids::ReplyId;
use eva_voice::inference::Urgency;
use eva_voice::models;
use eva_voice::private::Private;
use eva_voice::speaking::{Device, Speech, VitsVoice, Voice, WordSpan};

/// Clauses parted by pauses that can be found in the sound.
const SENTENCES: [&str; 20] = [
    "Paris, London, Tokyo, and Berlin.",
    "Take the bus, not the train.",
    "Monday, Tuesday, Thursday, and Sunday.",
    "Yes, please come in, sit down, take a cup of tea.",
    "Bread, butter, cheese, tomatoes.",
    "Go left, then right, then keep going.",
    "Dogs, cats, birds, goats, donkeys.",
    "To be fair, Peter did try, but failed.",
    "Table, chair, cupboard, bed.",
    "Call me today, call me tomorrow, call me on Tuesday.",
    "Peas, beans, carrots, potatoes.",
    "Please wait, the doctor is coming, do not go away.",
    "Guitar, piano, drums, bass.",
    "Twenty, thirty, ten, two.",
    "Turn it off, turn it on, try again.",
    "Cold, damp, dark, bitter.",
    "Two tickets, please, to Canada.",
    "Ten days, twelve nights, two cities.",
    "Take a deep breath, count to ten, begin again.",
    "Dear Tom, Kate came by, Bob did not.",
];

/// Samples of one step of the envelope: 5 ms.
const STEP: usize = 110;
fn speak(voice: &VitsVoice, text: &str) -> (Vec<f32>, Vec<WordSpan>) {
    let speech =
        Speech { reply: ReplyId(1), text: Private::new(text.into()), urgency: Urgency::Now };
    let mut chunks = voice.speak(speech);
    let (mut pcm, mut words) = (Vec::new(), Vec::new());
    while let Some(chunk) = chunks.blocking_recv() {
        let chunk = chunk.expect("the voice speaks");
        pcm.extend(chunk.pcm);
        words.extend(chunk.words);
    }
    (pcm, words)
}

/// Samples at which sound starts: at the beginning, and after each of the `pauses` longest
/// stretches of silence.
fn onsets(pcm: &[f32], pauses: usize) -> Vec<usize> {
    let level = |step: &[f32]| (step.iter().map(|s| s * s).sum::<f32>() / step.len() as f32).sqrt();
    let envelope: Vec<f32> = pcm.chunks(STEP).map(level).collect();
    let threshold = envelope.iter().fold(0.0f32, |a, &b| a.max(b)) * 0.02;
    let (mut quiet, mut first, mut found) = (0, None, Vec::new());
    for (index, &level) in envelope.iter().enumerate() {
        if level < threshold {
            quiet += 1;
            continue;
        }
        if first.is_none() {
            first = Some(index * STEP);
        } else {
            found.push((quiet, index * STEP));
        }
        quiet = 0;
    }
    found.sort_unstable_by(|a, b| b.cmp(a));
    let mut onsets: Vec<usize> = found.iter().take(pauses).map(|&(_, at)| at).collect();
    onsets.extend(first);
    onsets.sort_unstable();
    onsets
}

/// Words that begin the sentence or follow a comma.
fn beginnings(text: &str, words: &[WordSpan]) -> Vec<usize> {
    let after = |word: &WordSpan| text[..word.text.start].trim_end();
    let begins = |word: &&WordSpan| after(word).is_empty() || after(word).ends_with(',');
    words.iter().filter(begins).map(|word| word.samples.start).collect()
}

#[test]
fn words_start_where_sound_starts() {
    let path = models::default_dir().join(models::VOICE_JOE);
    let voice =
        VitsVoice::start(&path, &Device::Cpu).expect("the test needs the voice: `eva models pull`");
    let ms = |samples: usize| samples as f64 * 1e3 / f64::from(voice.sample_rate());
    let mut apart = Vec::new();
    for text in SENTENCES {
        let (pcm, words) = speak(&voice, text);
        let told = beginnings(text, &words);
        assert_eq!(told.len(), text.matches(',').count() + 1, "{text}: {words:?}");
        // In order, one to one: no onset is picked because it fits.
        let heard = onsets(&pcm, told.len() - 1);
        apart.extend(heard.iter().zip(&told).map(|(&a, &b)| ms(a.abs_diff(b))));
    }
    apart.sort_by(f64::total_cmp);
    let (median, most) = (apart[apart.len() / 2], apart[apart.len() * 9 / 10]);
    println!("{} word starts: median {median:.1} ms off, 90 % within {most:.1} ms", apart.len());
    assert!(median <= 40.0, "median {median:.1} ms");
    assert!(most <= 80.0, "90 % within {most:.1} ms");
}
