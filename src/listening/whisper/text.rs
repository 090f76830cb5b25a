//! From what the recogniser wrote to what a person said.

/// What the small models hear in silence and noise. Only doubted words are held against it.
const HEARD_IN_NOISE: &[&str] = &[
    "",
    "you",
    "thank you",
    "thanks",
    "thanks for watching",
    "thank you for watching",
    "bye",
    "bye bye",
    "oh",
    "so",
    "the",
    "i",
    "okay",
    "music",
    "merci",
    "sous titrage",
    "silence",
    "blank audio",
    "sous-titres réalisés para la communauté d'amara.org",
];

/// How sure the recogniser was.
#[derive(Clone, Copy, Debug)]
pub struct Certainty {
    /// Probability that there is no speech, 0-1.
    pub no_speech: f32,
    /// Mean probability of the tokens, 0-1.
    pub mean: f32,
    /// Mean log probability of the tokens.
    pub mean_log: f32,
}

/// The spoken words of `raw`: trimmed, without marks for sounds, empty if nothing was said.
pub fn spoken(raw: &str, certainty: Certainty) -> String {
    let text = without_marks(raw);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let doubted = certainty.no_speech > 0.6 && certainty.mean_log < -1.0;
    let unsure = certainty.no_speech > 0.3 || certainty.mean < 0.45;
    if doubted || !text.chars().any(char::is_alphanumeric) || (unsure && is_noise(&text)) {
        return String::new();
    }
    text
}

/// Whether the words are among those that small models hear in noise.
fn is_noise(text: &str) -> bool {
    let plain: String = text
        .to_lowercase()
        .chars()
        .map(|c| if c.is_alphanumeric() || c == '\'' { c } else { ' ' })
        .collect();
    let plain = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    HEARD_IN_NOISE.contains(&plain.as_str())
}

/// Removes `[…]`, `(…)`, `*…*` and notes. A bracket never closed runs to the end.
fn without_marks(raw: &str) -> String {
    let mut kept = String::with_capacity(raw.len());
    let mut closing = None;
    for c in raw.chars() {
        match closing {
            Some(end) if c == end => closing = None,
            Some(_) => {}
            None => match c {
                '[' => closing = Some(']'),
                '(' => closing = Some(')'),
                '*' => closing = Some('*'),
                '♪' | '♫' | '♩' | '♬' => {}
                _ => kept.push(c),
            },
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::{Certainty, spoken};

    const SURE: Certainty = Certainty { no_speech: 0.01, mean: 0.9, mean_log: -0.1 };
    const UNSURE: Certainty = Certainty { no_speech: 0.4, mean: 0.5, mean_log: -0.7 };
    const DOUBTED: Certainty = Certainty { no_speech: 0.8, mean: 0.2, mean_log: -1.6 };

    #[test]
    fn marks_for_sounds_are_removed() {
        assert_eq!(spoken(" [BLANK_AUDIO]", SURE), "");
        assert_eq!(spoken(" (music) Hello  there. [door", SURE), "Hello there.");
        assert_eq!(spoken("*coughs* ♪ .", SURE), "");
    }

    #[test]
    fn what_noise_sounds_like_needs_certainty() {
        assert_eq!(spoken(" Thank you.", UNSURE), "");
        assert_eq!(spoken(" Thank you.", SURE), "Thank you.");
        assert_eq!(spoken(" Thank you for the soup.", UNSURE), "Thank you for the soup.");
        assert_eq!(spoken(" Open the window.", DOUBTED), "");
    }
}
