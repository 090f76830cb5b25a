//! The file of API keys (`eva serve --keys FILE`), as TOML.
//!
//! In: its text. Out: keys, kept as SHA-256 hashes. A key holds 192 random bits that nobody can
//! guess, so a plain hash is enough; slow hashes are for passwords. `eva keys` writes the file.

use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use subtle::ConstantTimeEq;
use toml::{Table, Value};

use super::secrets::random_text;
use super::{KeyHash, Scope, Scopes, hash};
use crate::signaling::limits::Rate;

/// Keys of one file.
const MOST_KEYS: usize = 10_000;
/// The fields of a key.
const FIELDS: [&str; 7] = [
    "name",
    "sha256",
    "scopes",
    "expires",
    "calls_at_once",
    "call_starts_per_minute",
    "requests_per_second",
];

/// Why keys cannot be used; a sentence that names the file, the key and the field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeysError(String);

/// One key.
pub(super) struct Key {
    pub name: Arc<str>,
    pub hash: KeyHash,
    pub scopes: Scopes,
    pub expires: Option<SystemTime>,
    /// Calls at once.
    pub calls: Option<usize>,
    pub call_starts: Option<Rate>,
    pub requests: Option<Rate>,
}

/// All keys of a gateway.
#[derive(Default)]
pub struct Keys(Vec<Key>);

/// What `eva keys list` shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyLine {
    /// Its name.
    pub name: String,
    /// What it is good for.
    pub scopes: Vec<&'static str>,
    /// When it ends, as `YYYY-MM-DD`, and whether it has.
    pub expires: Option<(String, bool)>,
}

impl Keys {
    /// One key with all scopes, named `owner`.
    pub(super) fn one(key: &str) -> Self {
        Self(vec![Key {
            name: "owner".into(),
            hash: hash(key),
            scopes: Scopes::all(),
            expires: None,
            calls: None,
            call_starts: None,
            requests: None,
        }])
    }

    /// Adds the one key of `--api-key`.
    #[must_use]
    pub fn and_key(mut self, key: &str) -> Self {
        self.0.extend(Self::one(key).0);
        self
    }

    /// Reads and checks a file.
    ///
    /// # Errors
    /// If it cannot be read, or a key in it cannot be used.
    pub fn load(path: &Path) -> Result<Self, KeysError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| {
            KeysError(format!("{name} cannot be read ({error}); make it with `eva keys new NAME`"))
        })?;
        Self::read(&name, &text)
    }

    /// Checks a file's text; `file` names it to people.
    ///
    /// # Errors
    /// If a key in it cannot be used.
    pub fn read(file: &str, text: &str) -> Result<Self, KeysError> {
        let table: Table = text
            .parse()
            .map_err(|error: toml::de::Error| KeysError(format!("{file}: {}", error.message())))?;
        let entries = match table.get("key") {
            None => &Vec::new(),
            Some(Value::Array(entries)) => entries,
            Some(_) => return Err(KeysError(format!("{file}: a key is written [[key]]"))),
        };
        if let Some(unknown) = table.keys().find(|name| *name != "key") {
            return Err(KeysError(format!("{file}: {unknown} is not known here; [[key]] is")));
        }
        if entries.len() > MOST_KEYS {
            return Err(KeysError(format!("{file} has more than {MOST_KEYS} keys")));
        }
        let mut keys: Vec<Key> = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            let key = key(entry)
                .map_err(|reason| KeysError(format!("{file}, key {}: {reason}", index + 1)))?;
            if keys.iter().any(|other| other.name == key.name) {
                return Err(KeysError(format!("{file}: two keys are named {:?}", key.name)));
            }
            keys.push(key);
        }
        Ok(Self(keys))
    }

    /// The key with this hash. All keys are compared, each in constant time.
    pub(super) fn find(&self, given: &KeyHash) -> Option<&Key> {
        let mut found = None;
        for key in &self.0 {
            if bool::from(key.hash.ct_eq(given)) {
                found = Some(key);
            }
        }
        found
    }

    pub(super) fn named(&self, name: &str) -> Option<&Key> {
        self.0.iter().find(|key| &*key.name == name)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys, for people.
    pub fn lines(&self, now: SystemTime) -> Vec<KeyLine> {
        let line = |key: &Key| KeyLine {
            name: key.name.to_string(),
            scopes: key.scopes.iter().map(Scope::name).collect(),
            expires: key.expires.map(|ends| (date_of(ends), ends <= now)),
        };
        self.0.iter().map(line).collect()
    }
}

impl Key {
    pub(super) fn is_over(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|ends| ends <= now)
    }
}

fn key(entry: &Value) -> Result<Key, String> {
    let table = entry.as_table().ok_or("is written [[key]]")?;
    if let Some(unknown) = table.keys().find(|field| !FIELDS.contains(&field.as_str())) {
        return Err(format!("{unknown} is not known here; these are: {}", FIELDS.join(", ")));
    }
    let text = |field: &str| table.get(field).and_then(Value::as_str);
    let name = text("name").ok_or("name is missing")?;
    check_name(name)?;
    let hash = text("sha256").and_then(from_hex).ok_or("sha256 is not 64 hexadecimal digits")?;
    let scopes = match table.get("scopes") {
        Some(Value::Array(names)) => names
            .iter()
            .map(|name| name.as_str().and_then(Scope::parse))
            .collect::<Option<Scopes>>()
            .ok_or("scopes are of call, chat, speech and admin")?,
        _ => return Err("scopes is a list, like [\"call\"]".to_owned()),
    };
    let number = |field: &str| match table.get(field) {
        None => Ok(None),
        Some(value) => value
            .as_integer()
            .and_then(|number| u32::try_from(number).ok().and_then(NonZeroU32::new))
            .map(Some)
            .ok_or_else(|| format!("{field} is a whole number from 1 on")),
    };
    Ok(Key {
        name: name.into(),
        hash,
        scopes,
        expires: table.get("expires").map(expiry).transpose()?,
        calls: number("calls_at_once")?.map(|calls| calls.get() as usize),
        call_starts: number("call_starts_per_minute")?.map(Rate::per_minute),
        requests: number("requests_per_second")?.map(Rate::per_second),
    })
}

/// Names stand in logs, file names and TURN credentials.
fn check_name(name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !(1..=64).contains(&name.len()) || !name.chars().all(plain) {
        return Err("name may hold letters, digits, . _ and - only, at most 64".to_owned());
    }
    if matches!(name, "owner" | "anybody") {
        return Err(format!("name may not be {name}, which stands for callers without this file"));
    }
    Ok(())
}

/// A TOML date (the day begins at midnight, UTC) or date and time with its offset.
fn expiry(value: &Value) -> Result<SystemTime, String> {
    let wrong = "expires is a date, like 2027-01-31 or 2027-01-31T12:00:00Z";
    let stamp = value.as_datetime().ok_or(wrong)?;
    let date = stamp.date.ok_or(wrong)?;
    let days = days_from_civil(i64::from(date.year), i64::from(date.month), i64::from(date.day));
    let mut seconds = days * 86_400;
    if let Some(time) = stamp.time {
        let second = time.second.unwrap_or(0);
        seconds += i64::from(time.hour) * 3600 + i64::from(time.minute) * 60 + i64::from(second);
    }
    if let Some(toml::value::Offset::Custom { minutes }) = stamp.offset {
        seconds -= i64::from(minutes) * 60;
    }
    let seconds = u64::try_from(seconds).map_err(|_| wrong)?;
    Ok(UNIX_EPOCH + Duration::from_secs(seconds))
}

/// Days since 1970 (H. Hinnant, "chrono-compatible low-level date algorithms").
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The day as `YYYY-MM-DD`, UTC; the same author's inverse.
fn date_of(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let days = i64::try_from(seconds / 86_400).unwrap_or(0) + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let (day, month) = (of_year - (153 * shifted + 2) / 5 + 1, (shifted + 2) % 12 + 1);
    format!("{:04}-{month:02}-{day:02}", year + era * 400 + i64::from(month <= 2))
}

fn from_hex(text: &str) -> Option<KeyHash> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// A new key and the text that a keys file holds of it.
pub struct NewKey {
    /// The key itself; shown once, kept nowhere.
    pub key: String,
    /// Its `[[key]]` table.
    pub entry: String,
}

/// Makes a key. `expires` is its last day.
///
/// # Errors
/// If the name cannot be used, or there are no scopes.
pub fn new_key(
    name: &str,
    scopes: Scopes,
    expires: Option<SystemTime>,
) -> Result<NewKey, KeysError> {
    check_name(name).map_err(KeysError)?;
    if scopes == Scopes::default() {
        return Err(KeysError("a key without scopes opens nothing; give --scopes".to_owned()));
    }
    let key = format!("eva_{}", random_text());
    let hex: String = hash(&key).iter().map(|byte| format!("{byte:02x}")).collect();
    let scopes: Vec<String> = scopes.iter().map(|scope| format!("{:?}", scope.name())).collect();
    let mut entry = format!("[[key]]\nname = \"{name}\"\nsha256 = \"{hex}\"\n");
    entry.push_str(&format!("scopes = [{}]\n", scopes.join(", ")));
    if let Some(expires) = expires {
        entry.push_str(&format!("expires = {}\n", date_of(expires)));
    }
    Ok(NewKey { key, entry })
}

/// A file's text without the key of this name; `None` if there is none. Comments stay.
pub fn without(text: &str, name: &str) -> Option<String> {
    let (mut kept, mut block, mut found) = (String::new(), String::new(), false);
    let is_it = |block: &str| {
        let table = block.parse::<Table>().ok();
        let key = table.as_ref().and_then(|table| table.get("key")?.get(0)?.get("name")?.as_str());
        key == Some(name)
    };
    for line in text.split_inclusive('\n').chain(["[[key]]"]) {
        if line.trim_start().starts_with("[[key]]") {
            if is_it(&block) {
                found = true;
            } else {
                kept.push_str(&block);
            }
            block.clear();
        }
        block.push_str(line);
    }
    found.then_some(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(days: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(days * 86_400)
    }

    #[test]
    fn a_new_key_is_found_by_itself_only() {
        let scopes: Scopes = [Scope::Call, Scope::Chat].into_iter().collect();
        let new = new_key("shop", scopes, Some(of(20_000))).unwrap();
        let other = new_key("other", Scopes::all(), None).unwrap();
        assert!(!new.entry.contains(&new.key) && new.key.len() == 36);
        let text = format!("# mine\n{}calls_at_once = 3\n\n{}", new.entry, other.entry);
        let keys = Keys::read("keys.toml", &text).unwrap();
        let key = keys.find(&hash(&new.key)).unwrap();
        assert_eq!((&*key.name, key.scopes, key.calls), ("shop", scopes, Some(3)));
        assert!(!key.is_over(of(19_999)) && key.is_over(of(20_000)));
        assert!(keys.find(&hash("eva_nonsense")).is_none());
        let rest = without(&text, "shop").unwrap();
        assert!(rest.starts_with("# mine\n"), "{rest}");
        let keys = Keys::read("keys.toml", &rest).unwrap();
        assert_eq!(keys.lines(of(0)).len(), 1);
        assert!(keys.find(&hash(&new.key)).is_none() && keys.find(&hash(&other.key)).is_some());
        assert_eq!(without(&rest, "shop"), None);
    }

    #[test]
    fn dates_go_both_ways() {
        for (days, text) in [(0, "1970-01-01"), (11_016, "2000-02-29"), (20_819, "2027-01-01")] {
            assert_eq!(date_of(of(days)), text);
            let value: Table = format!("x = {text}").parse().unwrap();
            assert_eq!(expiry(&value["x"]), Ok(of(days)), "{text}");
        }
        let value: Table = "x = 1970-01-02T02:00:00+02:00".parse().unwrap();
        assert_eq!(expiry(&value["x"]), Ok(of(1)));
    }

    #[test]
    fn a_wrong_file_is_a_sentence() {
        let hash = "00".repeat(32);
        let key = |more: &str| format!("[[key]]\nname = \"a\"\nsha256 = \"{hash}\"\n{more}");
        for (text, part) in [
            ("nonsense".to_owned(), "keys.toml"),
            ("key = 1".to_owned(), "[[key]]"),
            ("[[keys]]".to_owned(), "keys is not known"),
            (key(""), "scopes is a list"),
            (key("scopes = [\"everything\"]"), "call, chat, speech and admin"),
            (key("scopes = []\nscope = 1"), "scope is not known"),
            (key("scopes = []\nexpires = 7"), "expires is a date"),
            (key("scopes = []\ncalls_at_once = 0"), "whole number"),
            (key("scopes = []\n").replace("00", "0g"), "64 hexadecimal"),
            (key("scopes = []\n").replace("\"a\"", "\"owner\""), "may not be owner"),
            (format!("{0}{0}", key("scopes = []\n")), "two keys"),
        ] {
            let error = Keys::read("keys.toml", &text).err().map(|error| error.to_string());
            assert!(error.as_ref().is_some_and(|error| error.contains(part)), "{text}: {error:?}");
        }
    }
}
