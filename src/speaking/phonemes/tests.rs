//! Ids, their words, any text at all, and what it costs.

use super::share;
use crate::speaking::text::{Language, words};

#[test]
fn a_number_gets_all_its_phoneme_groups() {
    let text = words("It costs $12.50 now", &Language::Other("xx".into()));
    let groups = ["ɪt", "kˈɔsts", "twˈɛlv", "dˈɑːlɚz", "fˈɪfti", "sˈɛnts", "nˈaʊ"];
    let shares = share(&groups, &text, |_| "twˈɛlv dˈɑːlɚz fˈɪfti sˈɛnts".into());
    assert_eq!(shares, [1, 1, 4, 1]);
}

#[cfg(feature = "espeak")]
mod espeak {
    use crate::speaking::phonemes::{Espeak, Phonemizer, Spoken, Symbols};
    use crate::speaking::text::words;

    /// A voice with every character as its own id.
    fn voice(name: &str) -> Phonemizer {
        let marks = ['^', '_', '$', ' ', '.', ',', '?', '!', ';', ':', 'ˈ', 'ˌ', 'ː'];
        let ids = ('a'..='z')
            .chain(marks)
            .chain('\u{e6}'..='\u{36f}')
            .chain('\u{370}'..='\u{3ff}')
            .chain('\u{1d00}'..='\u{1d7f}')
            .map(|c| (c, vec![u32::from(c)]));
        Phonemizer::new(Symbols::Espeak { voice: name.into(), ids: ids.collect() }).unwrap()
    }

    /// The phonemes without pads.
    fn read(spoken: &Spoken) -> String {
        let ids = spoken.utterances.iter().flat_map(|utterance| &utterance.ids);
        ids.filter_map(|&id| char::from_u32(id)).filter(|c| !"_^$".contains(*c)).collect()
    }

    #[test]
    fn a_sentence_becomes_the_ids_piper_gives_it() {
        let spoken = voice("en-us").phonemes("Hello, **world**!");
        let ids = &spoken.utterances[0].ids;
        let read: String = ids.iter().filter_map(|&id| char::from_u32(id)).collect();
        assert_eq!(read, "^_h_ə_l_ˈ_o_ʊ_,_ _w_ˈ_ɜ_ː_l_d_!_$");
        assert_eq!(spoken.words, [0..6, 9..17]);
        assert_eq!(spoken.utterances[0].words[2], Some(0));
        assert_eq!(spoken.utterances[0].words[18], Some(1));
        let symbols: String = spoken.utterances[0].symbols.iter().collect();
        assert_eq!(symbols, "^^hhəəllˈˈooʊʊ,,  wwˈˈɜɜːːlldd!!$");
    }

    #[test]
    fn spelled_letters_are_one_word_with_one_main_stress() {
        assert_eq!(read(&voice("en-us").phonemes("the API")), "ðɪ ˌeɪpˌiːˈaɪ.");
        assert_eq!(read(&voice("en-us").phonemes("the FBI")), "ðɪ ˌɛfbˌiːˈaɪ.");
        assert_eq!(read(&voice("fr-fr").phonemes("la SNCF")), "la ˌɛsˌɛnsˌeˈɛf.");
    }

    #[test]
    fn words_that_the_port_mispronounces_are_said_right() {
        let english = voice("en-us");
        assert_eq!(read(&english.phonemes("nineteen")), "nˈaɪntiːn.");
        assert_eq!(read(&english.phonemes("the nineties")), "ðə nˈaɪntiz.");
        assert_eq!(read(&english.phonemes("ninety")), "nˈaɪnti.");
    }

    #[test]
    fn what_cannot_be_read_is_no_silence_for_the_rest() {
        let english = voice("en-us");
        assert_eq!(read(&english.phonemes("hello Привет 世界 world 🎉")), "həlˈoʊ wˈɜːld.");
        assert!(english.phonemes("世界 🎉").utterances.is_empty());
    }

    /// Text put together at random from odd pieces, in `round`.
    fn odd_text(round: u32) -> String {
        const ODD: &[&str] = &[
            "\u{0}",
            "\u{1}50S",
            "[[",
            "]]",
            "<p>",
            "&amp;",
            "1e9999",
            "٣٤",
            "½",
            "²",
            "ﬃ",
            "İ",
            "ß",
            "'s",
            "--",
            "\u{202e}",
            "e\u{301}\u{301}",
            "👩‍👩‍👧",
            "999999999999999999999",
            "-0.",
            "1,2,3.",
            "$",
            "10:99",
            "IIII",
            "a.b.c",
            "#",
            "http://",
            "@.",
            "(",
            "…",
            "\n",
            "\t",
            " ",
            "$1,234.5",
            "12,50 €",
            "1 234",
            "5–10",
            "3/4/2026",
            "21/11/2026",
            "0:00",
            "24:00",
            "14h",
            "25h61",
            "pm",
            "km/h",
            "%",
            "°C",
            "XIV",
            "Louis ",
            "Chapter ",
            "St.",
            "e.g.",
            "M. ",
            "1st",
            "1er",
            "2ème",
            "+33 6 12 34",
            "v1..2",
            "..",
            "1.2.3.4",
            "|a|b|",
            "```x\n",
            "- ",
            "1. ",
            "## ",
            "](",
            "![",
            "**",
            "\u{5d0}\u{5d1}",
            "\u{627}\u{644}",
            "ﷺ",
            "⅞",
            "10⁹",
            "₂",
            "\u{300}",
            "\u{2028}",
            "\u{a0}",
            "€5M",
            "US$",
            "-$",
            "80s",
            "May 3",
            "3 May",
            "l'API",
            "U.S.",
            "ΑΒΓ",
            "００１",
            "Ⅳ",
            "\u{2212}5",
            "–",
            "x@y.com",
            "a.com",
        ];
        let mut state = round.wrapping_mul(2_654_435_761).wrapping_add(12_345);
        let mut next = move |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) % below
        };
        let mut text = String::new();
        for _ in 0..next(12) {
            match next(6) {
                0 | 1 => text.push_str(ODD[next(ODD.len() as u32) as usize]),
                2 => text.extend(char::from_u32(next(0x11_0000))),
                3 => text.extend(char::from_u32(next(0x800))),
                4 => text.push(' '),
                _ => text.extend((0..=next(5)).filter_map(|_| char::from_u32(0x21 + next(0x5e)))),
            }
        }
        text
    }

    fn thread_cpu_ms() -> f64 {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the pointer is to a timespec of our own.
        let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
        assert_eq!(failed, 0, "the thread has a clock");
        time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
    }

    /// No panic, little time, and every word in its place: 10,000 texts through normalisation,
    /// every second one (of `odd` rounds or the others) through espeak-ng too, which takes longer.
    fn check_any_text(name: &str, odd: u32) {
        let phonemizer = voice(name);
        let mut slowest = 0.0f64;
        for round in 0..10_000 {
            let text = odd_text(round);
            let start = thread_cpu_ms();
            let words = words(&text, &phonemizer.language);
            assert!(thread_cpu_ms() - start < 20.0, "round {round}: {text:?}");
            assert!(words.is_sorted_by_key(|word| word.source.start), "round {round}: {text:?}");
            assert!(words.iter().all(|word| text.get(word.source.clone()).is_some()));
            if round % 2 != odd {
                continue;
            }
            let start = thread_cpu_ms();
            let spoken = phonemizer.phonemes(&text);
            let took = thread_cpu_ms() - start;
            slowest = slowest.max(took);
            assert!(took < 250.0, "round {round}: {took} ms for {text:?}");
            for range in &spoken.words {
                assert!(text.get(range.clone()).is_some(), "round {round}: {text:?}");
                assert!(!range.is_empty(), "round {round}: {text:?}");
            }
            assert!(spoken.words.is_sorted_by_key(|range| range.start), "round {round}: {text:?}");
            for utterance in &spoken.utterances {
                assert_eq!(utterance.ids.len(), utterance.words.len());
                assert_eq!(utterance.ids.len(), utterance.symbols.len());
                let mut words = utterance.words.iter().flatten();
                assert!(words.clone().is_sorted(), "round {round}: {text:?}");
                assert!(words.all(|&word| word < spoken.words.len()));
            }
        }
        println!("{name}: the slowest of 5,000 texts took {slowest:.1} ms");
    }

    #[test]
    fn any_text_is_spoken_or_skipped_in_english() {
        check_any_text("en-us", 0);
    }

    #[test]
    fn any_text_is_spoken_or_skipped_in_french() {
        check_any_text("fr-fr", 1);
    }

    #[test]
    fn long_odd_texts_take_bounded_time() {
        let phonemizer = voice("en-us");
        for piece in
            ["[", "`", "1", "1 ", "\n", "- ", "<a", "5–", "|", "$", "A", "e\u{301}", "1,", "('"]
        {
            let text = piece.repeat(4096 / piece.len());
            let start = thread_cpu_ms();
            let spoken = phonemizer.phonemes(&text);
            let took = thread_cpu_ms() - start;
            assert!(took < 2_000.0, "{took} ms for {piece:?}");
            assert!(spoken.words.iter().all(|range| text.get(range.clone()).is_some()));
        }
    }

    /// Sentences of 20 words, no two alike.
    fn sentences(count: usize) -> Vec<String> {
        const WORDS: &[&str] = &[
            "the",
            "weather",
            "in",
            "mountains",
            "was",
            "cold",
            "and",
            "clear",
            "so",
            "we",
            "walked",
            "for",
            "hours",
            "before",
            "anyone",
            "thought",
            "of",
            "turning",
            "back",
            "home",
            "a",
            "record",
            "to",
            "read",
            "about",
            "children",
            "are",
            "playing",
            "near",
            "an",
            "old",
            "bridge",
            "while",
            "their",
            "parents",
            "prepare",
            "some",
            "food",
            "although",
            "nobody",
            "knows",
            "whether",
            "rain",
            "will",
            "come",
            "later",
            "this",
            "afternoon",
            "your",
            "question",
            "is",
            "interesting",
            "because",
            "it",
            "has",
            "several",
            "answers",
            "that",
            "depend",
            "on",
            "what",
            "you",
            "really",
            "want",
            "from",
            "me",
        ];
        let mut state = 7u32;
        let mut next = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            WORDS[(state >> 8) as usize % WORDS.len()]
        };
        let sentence = |_| (0..20).map(|_| next()).collect::<Vec<_>>().join(" ") + ".";
        (0..count).map(sentence).collect()
    }

    #[test]
    fn a_sentence_of_twenty_words_takes_a_millisecond() {
        let phonemizer = voice("en-us");
        let mut took: Vec<f64> = sentences(300)
            .iter()
            .map(|sentence| {
                let start = thread_cpu_ms();
                assert!(!phonemizer.phonemes(sentence).utterances.is_empty());
                thread_cpu_ms() - start
            })
            .collect();
        took.sort_by(f64::total_cmp);
        let (median, high) = (took[took.len() / 2], took[took.len() * 95 / 100]);
        println!("20 words to ids: median {median:.2} ms of CPU, 95 % below {high:.2} ms");
        // Without optimisation, or beside others, a multiple of it.
        assert!(median < if cfg!(debug_assertions) { 30.0 } else { 3.0 }, "{median} ms");
    }

    #[test]
    fn words_sound_as_espeak_makes_them_of_the_whole_text() {
        let (phonemizer, espeak) = (voice("en-us"), Espeak::start("en-us").unwrap());
        let without_spaces = |text: &str| text.chars().filter(|c| !" .".contains(*c)).collect();
        let (mut same, mut all) = (0, 0);
        for sentence in sentences(300) {
            let whole: String = without_spaces(&espeak.ipa(&sentence));
            let ours: String = without_spaces(&read(&phonemizer.phonemes(&sentence)));
            all += 1;
            same += usize::from(whole == ours);
        }
        // The others have words that run together.
        println!("{same} of {all} sentences as espeak-ng's port makes them whole");
        assert!(same * 2 > all, "{same} of {all}");
    }

    #[test]
    fn function_words_run_together() {
        let english = voice("en-us");
        let spoken = english.phonemes("in the middle of the day");
        assert_eq!(read(&spoken), "ɪnðə mˈɪdəl ʌvðə dˈeɪ.");
        let words: Vec<_> = spoken.utterances[0].words.iter().flatten().collect();
        assert!((0..6).all(|word| words.contains(&&word)), "each keeps its own phonemes");
        assert_eq!(read(&english.phonemes("It has been for a while.")), "ɪt hɐzbɪn fɚɹə wˈaɪl.");
        assert_eq!(read(&english.phonemes("Think of, the")), "θˈɪŋk ʌv, ðˈə.");
    }

    #[test]
    fn german_endings_and_french_verbs_are_said_right() {
        let (german, french) = (voice("de"), voice("fr"));
        assert_eq!(read(&german.phonemes("Vielen Dank")), "fˈiːlən dˈaŋk.");
        assert_eq!(read(&german.phonemes("die Hilfe")), "diː hˈɪlfə.");
        assert_eq!(read(&french.phonemes("s'il vous plaît")), "sil vu plˈɛ.");
    }
}
