//! What the clips say, language by language.
//!
//! Each is something espeak-ng reads as a word: of "mhm" and "mm" it spells the letters.

use super::Kind;

/// The language of clips for a voice whose language has none.
const FALLBACK: &str = "en";

/// One language's clips.
struct Texts {
    language: &'static str,
    /// Said while a reply or a tool is late: they promise one, and end open.
    fillers: &'static [&'static str],
    /// Said while the person speaks: I hear you, go on.
    backchannels: &'static [&'static str],
    /// An ordinary sentence: how loud the voice speaks is measured on it.
    reference: &'static str,
}

const TEXTS: &[Texts] = &[
    Texts {
        language: "en",
        fillers: &["Let me see…", "Hmm, let me think.", "One moment.", "Well…", "Just a second."],
        backchannels: &["Uh-huh.", "Right.", "I see.", "Okay.", "Yeah."],
        reference: "The evening train leaves the old station at a quarter past nine.",
    },
    Texts {
        language: "fr",
        fillers: &[
            "Voyons voir…",
            "Hmm, attendez.",
            "Un instant.",
            "Alors…",
            "Une petite seconde.",
        ],
        backchannels: &["Ah oui.", "D'accord.", "Je vois.", "Oui.", "Très bien."],
        reference: "Le train du soir quitte la vieille gare à neuf heures et quart.",
    },
    Texts {
        language: "de",
        fillers: &["Mal sehen…", "Hm, einen Moment.", "Augenblick.", "Also…", "Moment bitte."],
        backchannels: &["Aha.", "Genau.", "Verstehe.", "Okay.", "Ja."],
        reference: "Der Abendzug verlässt den alten Bahnhof um Viertel nach neun.",
    },
    Texts {
        language: "es",
        fillers: &["A ver…", "Déjeme pensar.", "Un momento.", "Pues…", "Un segundo."],
        backchannels: &["Ajá.", "Claro.", "Ya veo.", "Vale.", "Sí."],
        reference: "El tren de la noche sale de la vieja estación a las nueve y cuarto.",
    },
    Texts {
        language: "it",
        fillers: &["Vediamo…", "Mi faccia pensare.", "Un momento.", "Allora…", "Un attimo."],
        backchannels: &["Ah, sì.", "Certo.", "Capisco.", "Va bene.", "Sì."],
        reference: "Il treno della sera lascia la vecchia stazione alle nove e un quarto.",
    },
];

fn of(language: &str) -> &'static Texts {
    let find = |wanted: &str| TEXTS.iter().find(|texts| texts.language == wanted);
    find(language).or_else(|| find(FALLBACK)).expect("the fallback language is in the table")
}

/// All clips of a language, kind by kind.
pub(super) fn all(language: &str) -> impl Iterator<Item = (Kind, &'static str)> {
    let texts = of(language);
    let fillers = texts.fillers.iter().map(|text| (Kind::Filler, *text));
    fillers.chain(texts.backchannels.iter().map(|text| (Kind::Backchannel, *text)))
}

/// The sentence on which a voice's loudness is measured.
pub(super) fn reference(language: &str) -> &'static str {
    of(language).reference
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_has_several_of_each_and_none_twice() {
        for language in ["en", "fr", "de", "es", "it"] {
            let mut texts: Vec<_> = all(language).collect();
            for kind in [Kind::Filler, Kind::Backchannel] {
                assert!(
                    texts.iter().filter(|(found, _)| *found == kind).count() >= 4,
                    "{language}"
                );
            }
            let count = texts.len();
            texts.sort_by_key(|(_, text)| *text);
            texts.dedup_by_key(|(_, text)| *text);
            assert_eq!(texts.len(), count, "{language}");
            assert_eq!(of(language).language, language);
        }
        assert_eq!(of("tlh").language, "en");
    }
}
