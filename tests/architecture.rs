//! The rules of the code that a machine can check.

use std::fs;
use std::path::{Path, PathBuf};

const STATIONS: &[&str] = &["rtc", "audio", "listening", "turn", "thinking", "speaking"];
const JOINERS: &[&str] = &[
    "call",
    "chat",
    "gateway",
    "signaling",
    "headless",
    "bench",
    "cli",
    "engines",
    "voices",
    "personas",
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("the source folder can be read") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            files.push(path);
        }
    }
    files
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The lines of code of a file, without comments and without its tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("a source file can be read");
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

fn name(path: &Path) -> String {
    path.strip_prefix(src()).expect("a file of src").display().to_string()
}

fn is_test(path: &Path) -> bool {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    stem == "tests" || stem.ends_with("_tests")
}

#[test]
fn stations_do_not_import_each_other() {
    let mut wrong = Vec::new();
    for station in STATIONS {
        for path in sources(&src().join(station)).into_iter().filter(|path| !is_test(path)) {
            let code = code(&path);
            for other in STATIONS.iter().chain(JOINERS).filter(|other| *other != station) {
                if code.contains(&format!("crate::{other}::"))
                    || code.contains(&format!("crate::{other};"))
                {
                    wrong.push(format!("{} imports {other}", name(&path)));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "only call joins stations: {wrong:#?}");
}

#[test]
fn a_foreign_library_is_named_in_one_place() {
    let places: &[(&[&str], &[&str])] = &[
        (&["webrtc::", "rtc::rtp", "rtc::peer", "rtc::shared", "rtc::ice"], &["rtc/"]),
        (
            &["opus::Encoder", "opus::Decoder", "use opus::", "::opus::Application"],
            &["audio/opus.rs", "audio/", "call/", "headless/"],
        ),
        (&["symphonia::", "ogg::writing"], &["audio/"]),
        (&["whisper_rs"], &["listening/"]),
        (&["candle_"], &["speaking/", "thinking/builtin", "inference/"]),
        (&["async_openai"], &["thinking/"]),
        (&["sqlx::"], &["storage/"]),
        (&["rmcp::"], &["thinking/tools/mcp.rs"]),
        (&["rten::", "rten_tensor"], &["listening/", "speaking/"]),
        (&["espeak_ng"], &["speaking/"]),
    ];
    let mut wrong = Vec::new();
    for path in sources(&src()).iter().filter(|path| !is_test(path)) {
        let code = code(path);
        let file = name(path);
        for (marks, homes) in places {
            let at_home = homes.iter().any(|home| file.starts_with(home));
            let named = marks.iter().any(|mark| {
                code.lines().any(|line| line.contains(mark) && !line.contains("crate::"))
            });
            if named && !at_home {
                wrong.push(format!("{file} names {marks:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn tasks_and_threads_are_started_by_their_owners_only() {
    let tasks = [
        "gateway.rs",
        "rtc/",
        "call/",
        "cli/",
        "bench/",
        "thinking/openai",
        "headless/",
        "storage/",
    ];
    let threads = ["inference/", "bench/", "models/", "cli/"];
    let mut wrong = Vec::new();
    for path in sources(&src()).iter().filter(|path| !is_test(path)) {
        let code = code(path);
        let file = name(path);
        let at_home = |homes: &[&str]| homes.iter().any(|home| file.starts_with(home));
        if code.contains("tokio::spawn(") && !at_home(&tasks) {
            wrong.push(format!("{file} starts a task"));
        }
        if (code.contains("thread::spawn(") || code.contains("thread::Builder"))
            && !at_home(&threads)
        {
            wrong.push(format!("{file} starts a thread"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_queue_is_unbounded() {
    let wrong: Vec<_> = sources(&src())
        .iter()
        .filter(|path| !is_test(path))
        .filter(|path| {
            let code = code(path);
            code.contains("unbounded_channel")
                || code.contains("mpsc::channel::<") && code.contains("std::sync::mpsc")
        })
        .map(|path| name(path))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_module_opens_with_its_purpose() {
    let wrong: Vec<_> = sources(&src())
        .iter()
        .filter(|path| !fs::read_to_string(path).expect("readable").starts_with("//!"))
        .map(|path| name(path))
        .collect();
    assert!(wrong.is_empty(), "modules without a first line of purpose: {wrong:#?}");
}
