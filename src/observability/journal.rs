//! The gateway's own warnings and errors: the newest ones, and how many there were.
//!
//! In: what is logged, as a `tracing` layer. Out: [`Entry`]s, newest first, and counts by level and
//! [`code`](Entry::code). Owned by the process, as its log is. Bounded: [`KEPT`] entries, each cut to size;
//! one that comes again moves to the front and is counted. It holds what the log holds, which is
//! nothing that people say.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::live::unix_ms;

/// Entries that are kept.
pub const KEPT: usize = 200;
/// The longest text of an entry, in characters.
const LONGEST: usize = 500;
/// The most fields of an entry.
const FIELDS: usize = 12;

/// A warning or an error.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// When it came last, milliseconds since 1970.
    pub at_ms: u64,
    /// When it came first, milliseconds since 1970.
    pub first_ms: u64,
    /// How often it came.
    pub count: u64,
    /// `warn` or `error`.
    pub level: &'static str,
    /// The part of the program that says it: `call.ears`. It is the metric's `code` as well.
    pub code: String,
    /// What it says.
    pub message: String,
    /// What it says it of.
    pub fields: BTreeMap<&'static str, String>,
}

#[derive(Default)]
struct Kept {
    entries: VecDeque<Entry>,
    counts: BTreeMap<(&'static str, String), u64>,
}

/// The newest warnings and errors.
#[derive(Default)]
pub struct Journal {
    kept: Mutex<Kept>,
}

static JOURNAL: Journal =
    Journal { kept: Mutex::new(Kept { entries: VecDeque::new(), counts: BTreeMap::new() }) };

/// The process's own.
pub fn journal() -> &'static Journal {
    &JOURNAL
}

impl Journal {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The entries, newest first.
    pub fn entries(&self) -> Vec<Entry> {
        self.lock().entries.iter().cloned().collect()
    }

    /// How many there were since the start, by level and code.
    pub fn counts(&self) -> Vec<(&'static str, String, u64)> {
        let kept = self.lock();
        kept.counts.iter().map(|((level, code), count)| (*level, code.clone(), *count)).collect()
    }

    fn note(&self, mut entry: Entry) {
        let mut kept = self.lock();
        *kept.counts.entry((entry.level, entry.code.clone())).or_default() += 1;
        let same = |old: &Entry| {
            (old.level, &old.code, &old.message, &old.fields)
                == (entry.level, &entry.code, &entry.message, &entry.fields)
        };
        if let Some(old) = kept.entries.iter().position(same).and_then(|at| kept.entries.remove(at))
        {
            entry.first_ms = old.first_ms;
            entry.count += old.count;
        }
        kept.entries.truncate(KEPT - 1);
        kept.entries.push_front(entry);
    }
}

/// Takes what is logged to the process's journal.
pub(super) struct ToJournal;

impl<S: Subscriber> Layer<S> for ToJournal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warn",
            _ => return,
        };
        let mut said = Said::default();
        event.record(&mut said);
        let at_ms = unix_ms(SystemTime::now());
        JOURNAL.note(Entry {
            at_ms,
            first_ms: at_ms,
            count: 1,
            level,
            code: code(event.metadata().target()),
            message: said.message,
            fields: said.fields,
        });
    }
}

/// The part of the program, by its module: `eva_voice::call::ears` is `call.ears`, and what a library
/// says has the library's name.
fn code(target: &str) -> String {
    match target.strip_prefix("eva_voice") {
        Some(module) => module.trim_start_matches("::").replace("::", "."),
        None => target.split("::").next().unwrap_or_default().to_owned(),
    }
}

/// The parts of one event.
#[derive(Default)]
struct Said {
    message: String,
    fields: BTreeMap<&'static str, String>,
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = Cut(String::new());
        // A text that is too long ends the writing; what is there stays.
        let _ = write!(text, "{value:?}");
        match field.name() {
            "message" => self.message = text.0,
            name if self.fields.len() < FIELDS && !name.starts_with("log.") => {
                self.fields.insert(name, text.0);
            }
            _ => {}
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

/// A text of bounded length.
struct Cut(String);

impl Write for Cut {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = LONGEST.saturating_sub(self.0.chars().count());
        self.0.extend(text.chars().take(room));
        if text.chars().nth(room).is_some() { Err(fmt::Error) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(message: &str) -> Entry {
        Entry {
            at_ms: 2,
            first_ms: 1,
            count: 1,
            level: "warn",
            code: "call.ears".to_owned(),
            message: message.to_owned(),
            fields: BTreeMap::new(),
        }
    }

    #[test]
    fn the_journal_is_bounded_and_counts_what_comes_again() {
        let journal = Journal::default();
        for number in 0..3 * KEPT {
            journal.note(entry(&number.to_string()));
        }
        journal.note(entry("599"));
        journal.note(entry("500"));
        let entries = journal.entries();
        assert_eq!(entries.len(), KEPT);
        assert_eq!((entries[0].message.as_str(), entries[0].count), ("500", 2));
        assert_eq!((entries[1].message.as_str(), entries[1].count), ("599", 2));
        assert_eq!(journal.counts(), [("warn", "call.ears".to_owned(), 3 * KEPT as u64 + 2)]);
    }

    #[test]
    fn codes_are_short_and_texts_are_cut() {
        assert_eq!(code("eva_voice::call::ears"), "call.ears");
        assert_eq!(code("webrtc_ice::agent"), "webrtc_ice");
        let mut cut = Cut(String::new());
        let _ = write!(cut, "{}", "é".repeat(LONGEST * 2));
        assert_eq!(cut.0.chars().count(), LONGEST);
    }
}
