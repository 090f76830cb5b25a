//! `eva speak`: text in, a WAV file out.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, bail};

use crate::audio::wav::{WavWriter, wav_bytes};
use crate::ids::ReplyId;
use crate::inference::Urgency;
use crate::models::DEFAULT_VOICE;
use crate::private::Private;
use crate::speaking::{Speech, VitsVoice, Voice, VoiceSpec, device};
use crate::voices::Voices;

/// A longer text is spoken in parts, cut between sentences or words, of about so many bytes.
const PART: usize = 2000;
/// The longest text, in bytes: about an hour.
const LONGEST: usize = 64 * 1024;

/// What to say, and how.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Args {
    /// The text; `-` reads it from standard input.
    text: String,
    /// The voice: NAME, NAME#SPEAKER, NAME@SPEED or NAME#SPEAKER@SPEED; `eva voices` lists them.
    #[arg(long, env = "EVA_VOICE", default_value = DEFAULT_VOICE)]
    voice: VoiceSpec,
    /// Name or number of the speaker, in a voice of several.
    #[arg(long)]
    speaker: Option<String>,
    /// 1 is the voice's own speed, 1.2 is faster; the pitch stays.
    #[arg(long, allow_negative_numbers = true)]
    speed: Option<f32>,
    /// The WAV file to write (16 bit mono, at the voice's own rate); `-` is standard output.
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// Print each word with its start and end in seconds.
    #[arg(long)]
    words: bool,
    /// What the voice runs on: cpu, cuda (cuda:1 is the second GPU), or auto.
    #[arg(long, env = "EVA_DEVICE", default_value = "auto")]
    device: String,
    /// Folder of the models.
    #[arg(long, env = "EVA_MODELS_DIR")]
    models: Option<PathBuf>,
}

/// What was spoken.
struct Spoken {
    pcm: Vec<f32>,
    /// Words with their first and last sample.
    words: Vec<(String, std::ops::Range<usize>)>,
    first_sound_ms: f64,
    whole_ms: f64,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    crate::observability::start_quiet_logging();
    let text = text(&args.text)?;
    let mut spec = args.voice.clone();
    if args.speaker.is_some() {
        spec.speaker.clone_from(&args.speaker);
    }
    if let Some(speed) = args.speed {
        spec = spec.at_speed(speed)?;
    }
    let to_stdout = args.out == Path::new("-");
    if !to_stdout {
        check_writable(&args.out)?;
    }
    let voice = Voices::open(args.models, device::pick(&args.device)?)?.get(&spec)?;
    let spoken = speak(&voice, &text)?;
    if spoken.pcm.is_empty() {
        bail!("nothing in the text can be spoken by {}", voice.name());
    }
    let rate = voice.sample_rate();
    if to_stdout {
        std::io::stdout()
            .write_all(&wav_bytes(&spoken.pcm, rate))
            .context("the sound could not be written to standard output")?;
    } else {
        let mut wav = WavWriter::create(&args.out, rate, 1)?;
        wav.write(&spoken.pcm)?;
        wav.finish()?;
    }
    report(&spoken, &voice, args.words, to_stdout);
    Ok(ExitCode::SUCCESS)
}

/// The text of the command line, or of standard input.
fn text(given: &str) -> anyhow::Result<String> {
    let text = if given == "-" {
        let mut text = Vec::new();
        let limit = LONGEST as u64 + 1;
        std::io::stdin()
            .take(limit)
            .read_to_end(&mut text)
            .context("standard input cannot be read")?;
        String::from_utf8_lossy(&text).into_owned()
    } else {
        given.to_owned()
    };
    if text.trim().is_empty() {
        bail!("there is nothing to say: give a text, or `-` and text on standard input");
    }
    if text.len() > LONGEST {
        bail!("the text is longer than {} KiB: speak it in parts", LONGEST / 1024);
    }
    Ok(text)
}

/// An unwritable file is said before the voice is loaded; an existing one is left as it is.
fn check_writable(path: &Path) -> anyhow::Result<()> {
    let existed = path.exists();
    std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .with_context(|| format!("{} cannot be written", path.display()))?;
    if !existed {
        std::fs::remove_file(path)
            .with_context(|| format!("{} cannot be written", path.display()))?;
    }
    Ok(())
}

fn speak(voice: &VitsVoice, text: &str) -> anyhow::Result<Spoken> {
    let began = Instant::now();
    let ms = || began.elapsed().as_secs_f64() * 1e3;
    let mut spoken =
        Spoken { pcm: Vec::new(), words: Vec::new(), first_sound_ms: 0.0, whole_ms: 0.0 };
    for part in parts(text) {
        let text = Private::new(part.to_owned());
        let mut chunks = voice.speak(Speech { reply: ReplyId(0), text, urgency: Urgency::Now });
        let start = spoken.pcm.len();
        loop {
            let chunk = chunks.blocking_recv().context("the voice broke off")??;
            if spoken.pcm.is_empty() && !chunk.pcm.is_empty() {
                spoken.first_sound_ms = ms();
            }
            spoken.words.extend(chunk.words.iter().map(|word| {
                let samples = start + word.samples.start..start + word.samples.end;
                (part[word.text.clone()].to_owned(), samples)
            }));
            spoken.pcm.extend(chunk.pcm);
            if chunk.last {
                break;
            }
        }
    }
    spoken.whole_ms = ms();
    Ok(spoken)
}

/// The text in parts of about [`PART`] bytes, cut behind a sentence if one ends in the second half.
fn parts(mut text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    while text.len() > PART {
        let mut end = PART;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let head = &text[..end];
        let sentence = [". ", "! ", "? ", "\n"].iter().filter_map(|mark| head.rfind(mark)).max();
        let cut =
            sentence.filter(|at| *at > PART / 2).or_else(|| head.rfind(' ')).unwrap_or(end - 1);
        let mut cut = cut + 1;
        while !text.is_char_boundary(cut) {
            cut += 1;
        }
        let (part, rest) = text.split_at(cut);
        parts.push(part);
        text = rest;
    }
    parts.push(text);
    parts
}

/// For people, on standard error where the sound takes standard output.
fn report(spoken: &Spoken, voice: &VitsVoice, words: bool, to_stderr: bool) {
    let rate = f64::from(voice.sample_rate());
    let mut lines = vec![format!(
        "{}: {:.2} s of sound at {rate} Hz; first sound after {:.1} ms, all of it after {:.1} ms",
        voice.name(),
        spoken.pcm.len() as f64 / rate,
        spoken.first_sound_ms,
        spoken.whole_ms
    )];
    if words {
        lines.extend(spoken.words.iter().map(|(word, samples)| {
            format!("{:8.3} {:8.3}  {word}", samples.start as f64 / rate, samples.end as f64 / rate)
        }));
    }
    for line in lines {
        if to_stderr { eprintln!("{line}") } else { println!("{line}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_sentences_or_words_and_nothing_is_lost() {
        let sentences = "This is a sentence of some length. ".repeat(300);
        let words = "word ".repeat(2000);
        let one = "ä".repeat(5000);
        for text in ["Hello.", &sentences, &words, &one] {
            let parts = parts(text);
            assert_eq!(parts.concat(), text);
            assert!(parts.iter().all(|part| part.len() <= PART + 4), "{}", text.len());
        }
        assert!(parts(&sentences).iter().all(|part| part.trim_end().ends_with('.')));
    }
}
