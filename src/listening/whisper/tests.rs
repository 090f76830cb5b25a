//! The recogniser on human speech, with the models that ship.

use std::path::Path;

use super::{WhisperEngines, WhisperPaths};
use crate::listening::test_sound::{PROMPTS, model, prompt};
use crate::listening::{Language, ListenError, Pass, StartError, Transcriber, Transcript};

fn english() -> WhisperEngines {
    let en = Some(model(crate::models::WHISPER_TINY_EN));
    let engines = WhisperEngines::start(WhisperPaths { en, multilingual: None }).unwrap();
    engines.warm_up().unwrap();
    engines
}

fn multilingual() -> WhisperEngines {
    let multilingual = Some(model(crate::models::WHISPER_BASE));
    WhisperEngines::start(WhisperPaths { en: None, multilingual }).unwrap()
}

fn listen(
    engines: &WhisperEngines,
    sound: &[f32],
    language: Language,
    pass: Pass,
) -> Result<Transcript, ListenError> {
    let mut handle = engines.transcribe(sound.to_vec(), language, pass);
    futures::executor::block_on(&mut handle.result).unwrap()
}

fn final_words(engines: &WhisperEngines, sound: &[f32]) -> Vec<String> {
    words(listen(engines, sound, Language::En, Pass::Final).unwrap().text.reveal())
}

fn words(text: &str) -> Vec<String> {
    let plain = text.to_lowercase().replace("i'm", "i am");
    plain
        .split(|c: char| !c.is_alphanumeric() && c != '\'')
        .filter(|w| !w.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Words inserted, left out or replaced.
fn errors(heard: &[String], said: &[String]) -> usize {
    let mut row: Vec<usize> = (0..=said.len()).collect();
    for (i, heard) in heard.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, said) in said.iter().enumerate() {
            let replaced = diagonal + usize::from(heard != said);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[said.len()]
}

fn noise(seconds: usize, amplitude: f32) -> Vec<f32> {
    let mut state = 1u32;
    (0..seconds * 16_000)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((state >> 8) as f32 / 8_388_608.0 - 1.0) * amplitude
        })
        .collect()
}

#[test]
fn prompts_are_understood() {
    let engines = english();
    let (mut wrong, mut said) = (0, 0);
    for (name, text) in PROMPTS {
        let text = words(text);
        wrong += errors(&final_words(&engines, &prompt(name)), &text);
        said += text.len();
    }
    let rate = wrong as f32 / said as f32;
    assert!(rate <= 0.15, "{wrong} errors in {said} words");
}

#[test]
fn no_cut_runs_away() {
    let engines = english();
    for (name, text) in PROMPTS {
        let whole = prompt(name);
        let most = words(text).len() + 3;
        for eighths in [3, 5, 6, 7] {
            let heard = final_words(&engines, &whole[..whole.len() * eighths / 8]);
            assert!(heard.len() <= most, "{name} cut at {eighths}/8: {} words", heard.len());
        }
    }
}

#[test]
fn silence_and_noise_are_not_words() {
    let engines = english();
    let hum: Vec<f32> =
        (0..48_000).map(|i| (i as f32 * std::f32::consts::TAU * 50.0 / 16_000.0).sin()).collect();
    let mut clicks = vec![0.0; 32_000];
    clicks.iter_mut().step_by(8_000).for_each(|s| *s = 0.9);
    for (name, sound) in [
        ("silence", vec![0.0; 32_000]),
        ("no sound at all", Vec::new()),
        ("a breath of sound", noise(1, 0.01)[..800].to_vec()),
        ("faint noise", noise(2, 0.003)),
        ("noise", noise(3, 0.03)),
        ("loud noise", noise(2, 0.3)),
        ("hum", hum),
        ("clicks", clicks),
    ] {
        let heard = listen(&engines, &sound, Language::En, Pass::Final).unwrap();
        assert_eq!(heard.text.reveal(), "", "{name}");
    }
}

#[test]
fn a_partial_gives_way_to_a_final() {
    let engines = english();
    let long: Vec<f32> = prompt("agent-incorrect").repeat(4);
    let short = prompt("all-circuits-busy-now");
    let mut partial = engines.transcribe(long, Language::En, Pass::Partial);
    let mut last = engines.transcribe(short, Language::En, Pass::Final);
    let heard = futures::executor::block_on(&mut last.result).unwrap().unwrap();
    assert_eq!(words(heard.text.reveal()).join(" "), "all circuits are busy now");
    let outcome = futures::executor::block_on(&mut partial.result).unwrap();
    assert!(matches!(outcome, Err(ListenError::Withdrawn)));
}

#[test]
fn a_partial_hears_the_words_so_far() {
    let engines = english();
    let whole = prompt("agent-pass");
    let heard = listen(&engines, &whole[..whole.len() / 2], Language::En, Pass::Partial).unwrap();
    assert!(heard.text.reveal().starts_with("Please enter your pass"));
}

#[test]
fn a_withdrawn_pass_is_not_made() {
    let engines = english();
    let long: Vec<f32> = prompt("agent-incorrect").repeat(5);
    let one = listen(&engines, &long, Language::En, Pass::Final).unwrap().engine_ms;
    let begun = std::time::Instant::now();
    for _ in 0..20 {
        drop(engines.transcribe(long.clone(), Language::En, Pass::Final));
    }
    let last = final_words(&engines, &prompt("vm-goodbye"));
    assert_eq!(last, ["goodbye"]);
    assert!(begun.elapsed().as_secs_f32() * 1000.0 < 5.0 * one, "20 withdrawn passes took time");
}

#[test]
fn what_is_longer_than_the_window_keeps_its_end() {
    let engines = english();
    let mut sound = noise(30, 0.001);
    sound.extend(prompt("all-circuits-busy-now"));
    assert!(final_words(&engines, &sound).ends_with(&words("busy now")));
}

#[test]
fn the_language_is_found_out() {
    let engines = multilingual();
    let sound = prompt("invalid");
    let heard = listen(&engines, &sound, Language::Auto, Pass::Final).unwrap();
    assert_eq!(heard.language, Language::En);
    assert!(errors(&words(heard.text.reveal()), &words(PROMPTS[8].1)) <= 1);
    let heard = listen(&engines, &sound, Language::Fr, Pass::Final).unwrap();
    assert_eq!(heard.language, Language::Fr);
}

#[test]
fn a_call_in_french_needs_the_multilingual_model() {
    let outcome = listen(&english(), &prompt("vm-goodbye"), Language::Fr, Pass::Final);
    assert!(outcome.unwrap_err().to_string().contains("multilingual"));
}

#[test]
fn missing_and_broken_models_are_named() {
    let start = |path: &Path| {
        let en = Some(path.to_owned());
        let outcome = WhisperEngines::start(WhisperPaths { en, multilingual: None });
        outcome.err().expect("it must not start")
    };
    let missing = start(Path::new("/nowhere/tiny.bin"));
    assert!(matches!(missing, StartError::Missing { .. }));
    assert!(missing.to_string().contains("eva models pull"), "{missing}");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), b"<html>404</html>").unwrap();
    assert!(matches!(start(file.path()), StartError::Broken { .. }));
    let whole = std::fs::read(model(crate::models::WHISPER_TINY_EN)).unwrap();
    for cut in [30, 100_000, 2_000_000, whole.len() / 2] {
        std::fs::write(file.path(), &whole[..cut]).unwrap();
        assert!(matches!(start(file.path()), StartError::Broken { .. }), "cut at {cut}");
    }
    let none = WhisperEngines::start(WhisperPaths::default()).err();
    assert!(matches!(none, Some(StartError::NoModel)));
}

fn median(mut times: Vec<f32>) -> f32 {
    times.sort_by(f32::total_cmp);
    times[times.len() / 2]
}

/// `cargo test --release --lib final_pass_times -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn final_pass_times() {
    let sound = prompt("agent-incorrect");
    for (name, engines) in [("tiny.en", english()), ("base", multilingual())] {
        for seconds in [1.4, 3.0, 5.0] {
            let cut = &sound[..(seconds * 16_000.0) as usize];
            for pass in [Pass::Final, Pass::Partial] {
                let times: Vec<f32> = (0..11)
                    .map(|_| listen(&engines, cut, Language::En, pass).unwrap().engine_ms)
                    .collect();
                let least = times.iter().copied().fold(f32::MAX, f32::min);
                println!(
                    "{name} {pass:?} {seconds} s: median {:.0} ms, least {least:.0}",
                    median(times)
                );
            }
        }
    }
}

/// `cargo test --release --lib withdrawal_times -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn withdrawal_times() {
    let engines = english();
    let sound = prompt("agent-incorrect");
    for seconds in [1.4, 3.0, 5.0] {
        let cut = &sound[..(seconds * 16_000.0) as usize];
        let times = (0..20u64).map(|i| {
            let mut handle = engines.transcribe(cut.to_vec(), Language::En, Pass::Partial);
            std::thread::sleep(std::time::Duration::from_millis(5 * i));
            let begun = std::time::Instant::now();
            handle.withdrawn.store(true, std::sync::atomic::Ordering::Release);
            let _ = futures::executor::block_on(&mut handle.result);
            begun.elapsed().as_secs_f32() * 1000.0
        });
        println!("{seconds} s: stops after {:.0} ms (median)", median(times.collect()));
    }
}
