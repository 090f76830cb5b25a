//! Digits to words: what a run of digits may be, in a language's own words.

use super::tongue::{LARGEST, Tongue};

/// A number as written, without its grouping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Number {
    pub negative: bool,
    pub whole: String,
    pub fraction: Option<String>,
    /// Whether its decimal mark is that of other languages.
    pub foreign: bool,
    /// Whether its thousands were grouped: then it is no year.
    pub grouped: bool,
}

impl Number {
    /// Digits with the language's marks: `-1,234.5`. `None` for anything else.
    pub fn parse(text: &str, tongue: &Tongue) -> Option<Self> {
        let (negative, text) = match text.strip_prefix(['-', '\u{2212}']) {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let other = if tongue.decimal == ',' { '.' } else { ',' };
        let mut foreign = false;
        let (whole, fraction) = match text.rsplit_once(tongue.decimal) {
            Some((whole, fraction)) => (whole, Some(fraction)),
            // Many write the other language's mark; a group of three is no fraction.
            None => match text.split_once(other) {
                Some((whole, fraction))
                    if tongue.decimal == ',' && fraction.len() != 3 && is_digits(fraction) =>
                {
                    foreign = true;
                    (whole, Some(fraction))
                }
                _ => (text, None),
            },
        };
        if fraction.is_some_and(|digits| !is_digits(digits)) {
            return None;
        }
        let groups: Vec<&str> = whole.split([tongue.group, ' ', '\'']).collect();
        let grouped = groups.len() > 1;
        let whole = groups.concat();
        let well = !grouped
            || (1..=3).contains(&groups[0].len())
                && groups[1..].iter().all(|group| group.len() == 3);
        let empty = whole.is_empty() && fraction.is_some();
        if !well || !(is_digits(&whole) || empty) {
            return None;
        }
        let whole = if empty { "0".into() } else { whole };
        Some(Self { negative, whole, fraction: fraction.map(str::to_owned), foreign, grouped })
    }

    /// The whole part if it is small enough to say.
    pub fn value(&self) -> Option<u64> {
        self.whole.parse().ok().filter(|value| *value <= LARGEST)
    }

    /// Whether the noun after it is in the singular.
    pub fn is_one(&self, tongue: &Tongue) -> bool {
        // French: below two is singular; English: exactly one.
        let value = self.value();
        if tongue.decimal == ',' {
            value.is_some_and(|value| value < 2)
        } else {
            self.fraction.is_none() && value == Some(1)
        }
    }

    /// In words, for a noun that is `feminine` or not.
    pub fn say(&self, tongue: &Tongue, feminine: bool) -> String {
        let mut said = String::new();
        if self.negative {
            said.push_str(tongue.minus);
            said.push(' ');
        }
        let zeros = self.whole.len() > 1 && self.whole.starts_with('0');
        match self.value().filter(|_| !zeros) {
            Some(value) if feminine && self.fraction.is_none() => {
                said.push_str(&(tongue.feminine)(value));
            }
            Some(value) => said.push_str(&(tongue.cardinal)(value)),
            None => said.push_str(&digits(&self.whole, tongue)),
        }
        if let Some(fraction) = &self.fraction {
            let point = if self.foreign { "point" } else { tongue.point };
            said.push_str(&format!(" {point} {}", (tongue.fraction)(fraction)));
        }
        said
    }

    /// As [`Self::say`], but what may be a year is read as one.
    pub fn say_alone(&self, tongue: &Tongue) -> String {
        let year = self.value().filter(|value| (1100..2100).contains(value));
        match year {
            Some(year) if self.whole.len() == 4 && !self.grouped && self.fraction.is_none() => {
                let minus =
                    if self.negative { format!("{} ", tongue.minus) } else { String::new() };
                minus + &(tongue.year)(year)
            }
            _ => self.say(tongue, false),
        }
    }
}

/// Whether all of it is ASCII digits, at least one.
pub(super) fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Digit by digit.
pub(super) fn digits(text: &str, tongue: &Tongue) -> String {
    let digits = text.bytes().filter(u8::is_ascii_digit);
    let said = digits.map(|digit| (tongue.cardinal)(u64::from(digit - b'0')));
    said.collect::<Vec<_>>().join(" ")
}

/// A group of a phone number: in pairs where the language reads them so, else digit by digit.
pub(super) fn phone_group(group: &str, tongue: &Tongue) -> String {
    if !tongue.pairs {
        return digits(group, tongue);
    }
    let odd = group.len() % 2;
    let mut said: Vec<String> = Vec::new();
    if odd == 1 {
        said.push(digits(&group[..1], tongue));
    }
    for pair in group.as_bytes()[odd..].chunks(2) {
        let value = pair.iter().fold(0, |value, digit| value * 10 + u64::from(digit - b'0'));
        if pair[0] == b'0' {
            said.push((tongue.cardinal)(0));
            if value == 0 {
                said.push((tongue.cardinal)(0));
                continue;
            }
        }
        said.push((tongue.cardinal)(value));
    }
    said.join(" ")
}

/// The value of a Roman numeral in capitals (1..=3999), written the usual way.
pub(super) fn roman(text: &str) -> Option<u64> {
    const SIGNS: [(&str, u64); 13] = [
        ("M", 1000),
        ("CM", 900),
        ("D", 500),
        ("CD", 400),
        ("C", 100),
        ("XC", 90),
        ("L", 50),
        ("XL", 40),
        ("X", 10),
        ("IX", 9),
        ("V", 5),
        ("IV", 4),
        ("I", 1),
    ];
    if text.is_empty() || text.len() > 15 {
        return None;
    }
    let (mut rest, mut value, mut again) = (text, 0, String::new());
    for (sign, worth) in SIGNS {
        let mut times = 0;
        while times < 3
            && let Some(after) = rest.strip_prefix(sign)
        {
            (rest, value, times) = (after, value + worth, times + 1);
            again.push_str(sign);
            if sign.len() == 2 || matches!(sign, "D" | "L" | "V") {
                break;
            }
        }
    }
    (rest.is_empty() && again == text && is_usual(text)).then_some(value)
}

/// `IXI` and the like parse greedily but are no numerals.
fn is_usual(text: &str) -> bool {
    !["IXI", "IXV", "IVI", "XCX", "XCL", "XLX", "CMC", "CMD", "CDC"]
        .iter()
        .any(|odd| text.contains(odd))
}
