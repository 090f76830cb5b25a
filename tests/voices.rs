//! Choosing a voice: on the command line, for a call, and its clips; with the real voice.

#![allow(clippy::disallowed_methods)]

mod common;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use common::{engines, gateway, runtime};
use eva_voice::audio::wav::{Sound, read_wav};
use eva_voice::call::Engines;
use eva_voice::headless::{DialError, HeadlessCall, Options};
use eva_voice::ids::ReplyId;
use eva_voice::inference::Urgency;
use eva_voice::models::{self, DEFAULT_VOICE};
use eva_voice::private::Private;
use eva_voice::speaking::clips::{Clips, Prepared, polish};
use eva_voice::speaking::{Device, Speech, Voice, VoiceSpec};
use eva_voice::voices::{VoiceError, Voices};
use serde_json::Value;

/// Runs the program with models from `folder` (the real ones where `None`).
fn eva(arguments: &[&str], folder: Option<&Path>, stdin: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_eva"));
    command.args(arguments).env_remove("EVA_VOICE").env("EVA_HUB", "off");
    if let Some(folder) = folder {
        command.env("EVA_MODELS_DIR", folder);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program runs");
    let mut input = child.stdin.take().expect("it has an input");
    // It may have ended without reading.
    let _ = input.write_all(stdin.as_bytes());
    drop(input);
    child.wait_with_output().expect("the program ends")
}

/// What a command that must fail says.
fn refusal(arguments: &[&str]) -> String {
    let output = eva(arguments, None, "");
    assert!(!output.status.success(), "{arguments:?} was accepted");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn speak(arguments: &[&str]) -> (Sound, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.wav");
    let arguments = [&["speak"], arguments, &["-o", path.to_str().expect("a plain path")]].concat();
    let output = eva(&arguments, None, "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    (read_wav(&path).expect("a WAV file"), said)
}

/// The middle one of the pitches of all voiced stretches, Hz.
fn pitch(sound: &Sound) -> f32 {
    let rate = sound.sample_rate as usize;
    let mut pitches: Vec<f32> = sound
        .samples
        .chunks_exact(rate / 20)
        .filter(|block| block.iter().map(|s| s * s).sum::<f32>() / block.len() as f32 > 1e-3)
        .filter_map(|block| {
            let energy: f32 = block.iter().map(|s| s * s).sum();
            let at = |lag: usize| block.iter().zip(&block[lag..]).map(|(a, b)| a * b).sum::<f32>();
            let lag = (rate / 220..rate / 70).max_by(|a, b| at(*a).total_cmp(&at(*b)))?;
            (at(lag) > 0.4 * energy).then_some(rate as f32 / lag as f32)
        })
        .collect();
    pitches.sort_by(f32::total_cmp);
    pitches[pitches.len() / 2]
}

#[test]
fn a_text_becomes_a_wav_file_and_its_words_have_times() {
    let (sound, said) = speak(&["It costs $12.50 today.", "--words"]);
    assert_eq!(sound.sample_rate, 22_050);
    let seconds = sound.samples.len() as f64 / 22_050.0;
    assert!((1.5..5.0).contains(&seconds), "{seconds} s");
    assert!(said.contains("first sound after"), "{said}");
    let words: Vec<(f64, f64, &str)> = said
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut parts = line.split_whitespace();
            Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?))
        })
        .collect();
    assert_eq!(
        words.iter().map(|word| word.2).collect::<Vec<_>>(),
        ["It", "costs", "$12.50", "today."]
    );
    assert!(words.iter().all(|(start, end, _)| start < end && *end <= seconds), "{words:?}");
}

#[test]
fn faster_is_shorter_at_the_same_pitch() {
    let text = "The evening train leaves the old station at a quarter past nine.";
    let (slow, _) = speak(&[text]);
    let (fast, said) = speak(&[text, "--voice", "en_US-joe-medium@1.5"]);
    assert!(said.starts_with("en_US-joe-medium@1.5:"), "{said}");
    let ratio = slow.samples.len() as f32 / fast.samples.len() as f32;
    assert!((1.25..1.6).contains(&ratio), "{ratio} times shorter");
    let (low, high) = (pitch(&slow), pitch(&fast));
    assert!((high / low - 1.0).abs() < 0.1, "{low} and {high} Hz");
}

#[test]
fn standard_input_and_output_make_a_filter() {
    let output = eva(&["speak", "-", "-o", "-"], None, "Hello from a pipe.\n");
    assert!(output.status.success() && output.stdout.starts_with(b"RIFF"));
    let stated = u32::from_le_bytes(output.stdout[4..8].try_into().expect("four bytes"));
    assert_eq!(stated as usize + 8, output.stdout.len());
    assert!(String::from_utf8_lossy(&output.stderr).contains("first sound after"));
}

#[test]
fn what_cannot_be_spoken_is_answered_with_a_sentence() {
    for (arguments, expected) in [
        (&["", "-o", "x.wav"][..], "nothing to say"),
        (&["-", "-o", "x.wav"], "nothing to say"),
        (&["🎉", "-o", "x.wav"], "nothing in the text can be spoken"),
        (&["Hi.", "--voice", "siwis", "-o", "x.wav"], "did you mean fr_FR-siwis"),
        (&["Hi.", "--voice", "it_IT-paola-medium", "-o", "x.wav"], "eva voices add it_IT-paola"),
        (&["Hi.", "--voice", "en_US-joe-medium@fast", "-o", "x.wav"], "is no speed"),
        (&["Hi.", "--speed", "-1", "-o", "x.wav"], "speed"),
        (&["Hi.", "--speaker", "bob", "-o", "x.wav"], "has no speaker bob"),
        (&["Hi.", "-o", "/nonexistent/x.wav"], "cannot be written"),
    ] {
        let arguments = [&["speak"], arguments].concat();
        let said = refusal(&arguments);
        assert!(said.contains(expected), "{arguments:?}: {said}");
        assert!(!Path::new("x.wav").exists(), "{arguments:?} left a file");
    }
}

#[test]
fn voices_are_listed_and_added_only_with_their_licence() {
    let output = eva(&["voices", "--json"], None, "");
    let voices: Vec<Value> = serde_json::from_slice(&output.stdout).expect("a JSON array");
    assert!(voices.len() >= 13);
    let joe =
        voices.iter().find(|voice| voice["name"] == DEFAULT_VOICE).expect("the default voice");
    assert_eq!(joe["state"], "installed", "{joe}");
    assert_eq!((&joe["sample_rate"], &joe["licence"]), (&22_050.into(), &"CC0-1.0".into()));
    for name in ["en_US-ryan-high", "mms-fra"] {
        let said = refusal(&["voices", "add", name]);
        assert!(said.contains("commercial") && said.contains("--accept-licence"), "{said}");
    }
    let said = refusal(&["models", "pull", "en_US-ryan-high"]);
    assert!(said.contains("--accept-licence"), "{said}");
    for (arguments, expected) in [
        (["voices", "add", "nobody"], "there is no voice called nobody"),
        (["voices", "add", "./nowhere.onnx"], "no such file"),
        (["voices", "remove", "fr_FR-siwis-medium"], "is not installed"),
        (["voices", "remove", "nobody"], "there is no voice called nobody"),
    ] {
        let said = refusal(&arguments);
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
}

#[test]
fn ones_own_voice_is_taken_over_and_spoken_with() {
    let (folder, elsewhere) =
        (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let joe = models::default_dir().join(models::VOICE_JOE);
    let mine = elsewhere.path().join("mine.onnx");
    std::fs::copy(&joe, &mine).expect("the voice is installed: `eva models pull`");
    std::fs::copy(format!("{}.json", joe.display()), mine.with_extension("json"))
        .expect("its file");
    let mine = mine.to_str().expect("a plain path");
    let run = |arguments: &[&str]| {
        let output = eva(arguments, Some(folder.path()), "");
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    };
    let (added, said) = run(&["voices", "add", mine]);
    assert!(added && said.contains("mine is installed"), "{said}");
    let (_, said) = run(&["voices"]);
    assert!(said.contains("your own"), "{said}");
    let out = elsewhere.path().join("a.wav");
    let out = out.to_str().expect("a plain path");
    let (spoken, said) = run(&["speak", "Mine.", "--voice", "mine", "-o", out]);
    assert!(spoken && said.starts_with("mine:"), "{said}");
    let (removed, said) = run(&["voices", "remove", "mine"]);
    assert!(!removed && said.contains("--force"), "{said}");
    assert!(run(&["voices", "remove", "mine", "--force"]).0);
    assert!(!run(&["speak", "Mine.", "--voice", "mine", "-o", out]).0);

    std::fs::write(elsewhere.path().join("bad.onnx"), b"no network").expect("a file");
    std::fs::write(elsewhere.path().join("bad.onnx.json"), b"{}").expect("a file");
    let bad = elsewhere.path().join("bad.onnx");
    let (added, said) = run(&["voices", "add", bad.to_str().expect("a plain path")]);
    assert!(!added && said.contains("is no voice that can be spoken with"), "{said}");
    let left = std::fs::read_dir(folder.path().join("voices")).expect("a folder").count();
    assert_eq!(left, 0, "nothing is left of a voice that was refused");
}

/// A small random network of several speakers at 16 kHz that reads characters, as `other`.
fn bring_fixture(folder: &Path) {
    let fixture =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/vits/multi-stochastic");
    let from = folder.join("elsewhere/other");
    std::fs::create_dir_all(&from).expect("a folder");
    for item in std::fs::read_dir(fixture).expect("the fixture").flatten() {
        std::fs::copy(item.path(), from.join(item.file_name())).expect("a copy");
    }
    let output = eva(&["voices", "add", from.to_str().expect("a plain path")], Some(folder), "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_folder_of_hugging_face_is_a_voice_of_its_own_rate_and_speakers() {
    let folder = tempfile::tempdir().expect("a folder");
    bring_fixture(folder.path());
    let voices =
        Voices::open(Some(folder.path().to_owned()), Device::Cpu).expect("the folder of models");
    assert_eq!(voices.installed(), ["other"]);
    let speak = |voice: &str| {
        let voice = voices.get(&voice.parse().expect("a voice")).expect("it is loaded");
        assert_eq!(voice.sample_rate(), 16_000);
        let text = Private::new("abc cab".to_owned());
        let mut chunks = voice.speak(Speech { reply: ReplyId(1), text, urgency: Urgency::Now });
        let mut pcm = Vec::new();
        loop {
            let chunk = chunks.blocking_recv().expect("a chunk").expect("it speaks");
            pcm.extend(chunk.pcm);
            if chunk.last {
                return pcm;
            }
        }
    };
    for voice in ["other", "other#0", "other#2", "other@0.5"] {
        assert!(!speak(voice).is_empty(), "{voice}");
    }
    let nobody = voices.get(&"other#99".parse().expect("a voice"));
    assert!(nobody.err().expect("nobody").to_string().contains("has no speaker 99"));
}

#[test]
fn a_call_may_have_a_voice_of_another_rate() {
    runtime().block_on(async {
        let folder = tempfile::tempdir().expect("a folder");
        bring_fixture(folder.path());
        let voices = Voices::open(Some(folder.path().to_owned()), Device::Cpu)
            .expect("the folder of models");
        let engines = Engines { voices: Arc::new(voices), ..engines() };
        let gateway = gateway(engines).await;
        let options = Options { voice: Some("other#1".to_owned()), ..Options::default() };
        let question = common::say("What is the capital of France?").await;
        let mut call = HeadlessCall::dial(&gateway.url, &options).await.expect("a call");
        let report = call.ask(&question, Duration::from_secs(30)).await;
        assert!(!report.answered.is_empty() && report.errors.is_empty(), "{report:?}");
        assert!(call.packets() > 10, "the voice of random weights is noise, but it is sent");
        call.hang_up().await.expect("hung up");
        gateway.shut_down().await;
    });
}

#[test]
fn voices_of_one_model_share_its_network() {
    let voices = Voices::open(None, Device::Cpu).expect("the folder of models");
    let spec = VoiceSpec::of(DEFAULT_VOICE);
    assert!(voices.loaded(&spec).expect("it has a speaker").is_none());
    let first = voices.get(&spec).expect("the voice is installed: `eva models pull`");
    let fast: VoiceSpec = "en_US-joe-medium#0@2".parse().expect("a voice");
    let second = voices.loaded(&fast).expect("it has a speaker 0").expect("the network is there");
    assert_eq!(second.name(), "en_US-joe-medium#0@2");
    assert_ne!(first.fingerprint(), second.fingerprint());
    assert_eq!((first.language(), first.sample_rate()), ("en", 22_050));
    let nobody: VoiceSpec = "en_US-joe-medium#1".parse().expect("a voice");
    assert!(matches!(voices.get(&nobody), Err(VoiceError::Speaker(_))));
}

#[test]
fn clips_are_as_loud_as_the_voice_and_the_second_start_makes_none() {
    let dir = tempfile::tempdir().expect("a folder");
    let voice = engines().voices.get(&VoiceSpec::of(DEFAULT_VOICE)).expect("it is loaded");
    let prepare = || {
        let clips = Clips::new();
        let prepared = clips.clone().prepare(&voice, &voice.fingerprint(), "en", dir.path());
        (clips, prepared)
    };
    let (clips, prepared) = prepare();
    assert_eq!(prepared, Prepared { made: 10, cached: 0 });
    let all = clips.all();
    let loudness: Vec<f32> = all
        .iter()
        .map(|clip| polish::loudness(&clip.pcm, clip.sample_rate).expect("a clip is heard"))
        .collect();
    let (low, high) = loudness.iter().fold((0f32, -99f32), |(l, h), x| (l.min(*x), h.max(*x)));
    assert!(high - low < 2.0, "from {low} to {high} dBFS");
    for clip in &all {
        let seconds = clip.pcm.len() as f32 / clip.sample_rate as f32;
        assert!((0.1..2.5).contains(&seconds), "{} lasts {seconds} s", clip.text);
        let ends = [clip.pcm[0], clip.pcm[clip.pcm.len() - 1]];
        assert!(ends.iter().all(|end| end.abs() < 0.001), "{} clicks: {ends:?}", clip.text);
    }
    let (again, prepared) = prepare();
    assert_eq!(prepared, Prepared { made: 0, cached: 10 });
    assert!(again.all().iter().zip(&all).all(|(a, b)| a.pcm == b.pcm && a.id == b.id));
}

#[test]
fn a_call_asks_for_its_own_voice() {
    runtime().block_on(async {
        let gateway = gateway(engines()).await;
        let asks = |voice: &str| Options { voice: Some(voice.to_owned()), ..Options::default() };
        let call =
            HeadlessCall::dial(&gateway.url, &asks("en_US-joe-medium@1.4")).await.expect("a call");
        let ready = call.log().iter().find(|event| event["type"] == "eva.ready").cloned();
        assert_eq!(ready.expect("it is ready")["voice"], "en_US-joe-medium@1.4");
        for (voice, expected) in [
            ("fr_FR-nobody-low", "installed are en_US-joe-medium"),
            ("en_US-joe-medium#7", "has no speaker 7"),
            ("en_US-joe-medium@0", "is no speed"),
        ] {
            match HeadlessCall::dial(&gateway.url, &asks(voice)).await {
                Err(DialError::Refused { status, message }) => {
                    assert_eq!(status.as_u16(), 400);
                    assert!(message.contains(expected), "{message}");
                }
                _ => panic!("{voice} was accepted"),
            }
        }
        assert_eq!(gateway.gateway.active(), 1, "a refused call leaves no place taken");
        call.hang_up().await.expect("hung up");
        gateway.shut_down().await;
    });
}
