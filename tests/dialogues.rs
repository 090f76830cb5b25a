//! Recorded dialogues: the turn machine decides today what it decided when they were right.
//!
//! Each file of `tests/dialogues/` is a trace of `eva serve --traces`; a bug in a conversation adds
//! one. When a decision changes on purpose, look at `eva replay FILE` and record it anew.

use eva_voice::turn::trace::{What, replay};

#[test]
fn all_dialogues_go_as_they_went() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogues");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("the folder of dialogues")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "jsonl"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no dialogue in {}", folder.display());
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a readable file");
        let replay = replay(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let differences: Vec<_> = replay
            .events
            .iter()
            .filter(|event| matches!(event.what, What::Missing(_) | What::Unexpected(_)))
            .collect();
        assert!(replay.same, "{}: {differences:?}", file.display());
    }
}
