//! What is cut where, in whatever portions the text comes.

use proptest::prelude::*;

use super::{MAX_WORDS, Piece, PieceKind, Splitter};

/// What a reply is cut into. All but a few are written as whole replies, so the first piece may be
/// a clause.
const CASES: &[(&str, &[&str])] = &[
    // Plain sentences.
    ("", &[]),
    ("   ", &[]),
    ("Hello", &["Hello"]),
    ("Hello.", &["Hello."]),
    ("Paris. It is big.", &["Paris.", "It is big."]),
    ("Yes! It is. Is it? Yes.", &["Yes!", "It is.", "Is it?", "Yes."]),
    ("Really?! No way!! Yes.", &["Really?!", "No way!!", "Yes."]),
    ("One.  Two.   Three.", &["One.", "Two.", "Three."]),
    ("It rains. and so on.", &["It rains. and so on."]),
    // Titles, names, abbreviations.
    ("Dr. Smith is here. He waits.", &["Dr. Smith is here.", "He waits."]),
    ("Ask Mr. Jones or Mrs. Jones. Go.", &["Ask Mr. Jones or Mrs. Jones.", "Go."]),
    ("Prof. Lee vs. Dr. No. It was fun.", &["Prof. Lee vs. Dr. No.", "It was fun."]),
    ("Try fruit, e.g. apples. Or pears.", &["Try fruit, e.g. apples.", "Or pears."]),
    ("Eat well, i.e. Mediterranean food. Good.", &["Eat well, i.e. Mediterranean food.", "Good."]),
    ("Bring tea, milk etc. and sit. Now.", &["Bring tea, milk etc. and sit.", "Now."]),
    ("Bring tea, milk etc. Then sit.", &["Bring tea, milk etc.", "Then sit."]),
    ("J. R. R. Tolkien wrote it. Yes.", &["J. R. R. Tolkien wrote it.", "Yes."]),
    ("It is by J. K. Rowling. Yes.", &["It is by J. K. Rowling.", "Yes."]),
    ("George W. Bush spoke. He left.", &["George W. Bush spoke.", "He left."]),
    ("Choose plan B. Then wait.", &["Choose plan B.", "Then wait."]),
    ("Eat vitamin C. It helps.", &["Eat vitamin C.", "It helps."]),
    ("I live in the U.S. It is big.", &["I live in the U.S.", "It is big."]),
    ("The U.S. Senate met. It voted.", &["The U.S. Senate met.", "It voted."]),
    ("Come at 5 p.m. Then we eat.", &["Come at 5 p.m.", "Then we eat."]),
    ("Come at 5 p.m. on Monday. Bye.", &["Come at 5 p.m. on Monday.", "Bye."]),
    ("She has a Ph.D. She is smart.", &["She has a Ph.D.", "She is smart."]),
    ("Acme Inc. Europe grew. Good.", &["Acme Inc. Europe grew.", "Good."]),
    ("He works at Acme Inc. He likes it.", &["He works at Acme Inc.", "He likes it."]),
    ("St. John is on Main St. The end.", &["St. John is on Main St.", "The end."]),
    ("See No. 5 and p. 12. Thanks.", &["See No. 5 and p. 12.", "Thanks."]),
    ("I said no. Then I left.", &["I said no.", "Then I left."]),
    ("Born Jan. 5 in Rome. Died Feb. 6.", &["Born Jan. 5 in Rome.", "Died Feb. 6."]),
    ("It is me. I am here.", &["It is me.", "I am here."]),
    // French abbreviations and punctuation.
    ("M. Dupont arrive. Il sourit.", &["M. Dupont arrive.", "Il sourit."]),
    ("Avec M. Le Pen. Oui.", &["Avec M. Le Pen.", "Oui."]),
    ("Voici Mme. Curie et M. Curie. Bien.", &["Voici Mme. Curie et M. Curie.", "Bien."]),
    ("Un fruit, p. ex. une pomme. Oui.", &["Un fruit, p. ex. une pomme.", "Oui."]),
    ("Bonjour ! Ça va ? Oui.", &["Bonjour !", "Ça va ?", "Oui."]),
    ("Bonjour\u{202f}! Ça va\u{a0}? Oui.", &["Bonjour\u{202f}!", "Ça va\u{a0}?", "Oui."]),
    ("« Bonjour ! » dit-il. Elle rit.", &["« Bonjour ! » dit-il.", "Elle rit."]),
    ("Il dit « Oui ! » Elle rit.", &["Il dit « Oui ! »", "Elle rit."]),
    ("« Il pleut. Il vente. » Voilà.", &["« Il pleut.", "Il vente. »", "Voilà."]),
    ("Rue No. 3. C’est là.", &["Rue No. 3.", "C’est là."]),
    // Numbers, versions, lists.
    ("Pi is 3.14 or so. Yes.", &["Pi is 3.14 or so.", "Yes."]),
    ("It costs 1,000 dollars today. Ok.", &["It costs 1,000 dollars today.", "Ok."]),
    ("Use version 2.0. It works.", &["Use version 2.0.", "It works."]),
    ("The answer is 42. The end.", &["The answer is 42.", "The end."]),
    ("It was 1984. Big Brother.", &["It was 1984.", "Big Brother."]),
    ("1. First\n2. Second\n", &["1. First", "2. Second"]),
    ("- **Tea.** Hot.\n- Milk\n", &["- **Tea.**", "Hot.", "- Milk"]),
    ("# Title\n\nText here. More.", &["# Title", "Text here.", "More."]),
    ("a. One thing\nb. Another", &["a. One thing", "b. Another"]),
    ("On May 5, 2024, it rained all day. Yes.", &["On May 5, 2024,", "it rained all day.", "Yes."]),
    ("Line one\r\nLine two", &["Line one", "Line two"]),
    // Ellipses, quotes, brackets.
    ("Well... let me think. Yes.", &["Well... let me think.", "Yes."]),
    ("Hmm... I see. Ok.", &["Hmm...", "I see.", "Ok."]),
    ("Hmm… I see… yes. Ok.", &["Hmm…", "I see… yes.", "Ok."]),
    ("Wait . . . what? Ok.", &["Wait . . . what?", "Ok."]),
    ("He said \"Go!\" She went.", &["He said \"Go!\"", "She went."]),
    (
        "\"Really?\" she asked. \"Yes.\" He left.",
        &["\"Really?\" she asked.", "\"Yes.\"", "He left."],
    ),
    ("“Stop.” They did.", &["“Stop.”", "They did."]),
    ("It is (as you know.) Then go.", &["It is (as you know.)", "Then go."]),
    ("It works (see below). (It does.) Ok.", &["It works (see below).", "(It does.)", "Ok."]),
    ("**Yes.** That is *right!* Good.", &["**Yes.**", "That is *right!*", "Good."]),
    // Addresses and code.
    ("Visit example.com. It is free.", &["Visit example.com.", "It is free."]),
    ("Go to https://a.io/x?y=1.2&z!q now. Ok.", &["Go to https://a.io/x?y=1.2&z!q now.", "Ok."]),
    ("Mail bob.s@mail.co.uk. Thanks.", &["Mail bob.s@mail.co.uk.", "Thanks."]),
    ("Node.js and .NET work. Yes.", &["Node.js and .NET work.", "Yes."]),
    // Emoji.
    ("Great! 😀 Let's go.", &["Great!", "😀 Let's go."]),
    ("Great.😀 Let's go.", &["Great.😀", "Let's go."]),
    ("Hi 👋🏽 you. Bye.", &["Hi 👋🏽 you.", "Bye."]),
    // Chinese and Japanese, other scripts.
    ("你好。我是小明。", &["你好。", "我是小明。"]),
    ("真的吗？！好的！再见。", &["真的吗？！", "好的！", "再见。"]),
    ("他说「你好。」然后走了。", &["他说「你好。」", "然后走了。"]),
    ("「你好。我是小明。」他说。", &["「你好。", "我是小明。」", "他说。"]),
    ("当然可以，我来帮你。好。", &["当然可以，", "我来帮你。", "好。"]),
    ("OK!好的。", &["OK!", "好的。"]),
    ("यह है। ठीक है।", &["यह है।", "ठीक है।"]),
    ("ما اسمك؟ أنا بخير.", &["ما اسمك؟", "أنا بخير."]),
    // The first piece may be a clause, later ones may not.
    (
        "I think so too, but let me look. That is it, as far as I know, for today.",
        &["I think so too,", "but let me look.", "That is it, as far as I know, for today."],
    ),
    ("Well, I can help. Ok.", &["Well, I can help.", "Ok."]),
    ("Well, you know, I can help. Ok.", &["Well, you know,", "I can help.", "Ok."]),
    ("I can help you, sir. Ok.", &["I can help you, sir.", "Ok."]),
    ("I am doing well, thanks!", &["I am doing well, thanks!"]),
    ("Paris is lovely — the food is good. Ok.", &["Paris is lovely —", "the food is good.", "Ok."]),
    ("Paris is lovely—the food is good.", &["Paris is lovely—", "the food is good."]),
    ("It is a well-known old town. Ok.", &["It is a well-known old town.", "Ok."]),
    ("Between 5 - 6 people - or so - came.", &["Between 5 - 6 people -", "or so - came."]),
    ("Here is the thing: it is late. Ok.", &["Here is the thing:", "it is late.", "Ok."]),
    ("The train leaves at 5:30 today. Ok.", &["The train leaves at 5:30 today.", "Ok."]),
    ("I like salt and pepper on it. Ok.", &["I like salt and pepper on it.", "Ok."]),
    ("You can take the bus and then walk. Ok.", &["You can take the bus", "and then walk.", "Ok."]),
    ("Je peux vous aider mais il est tard.", &["Je peux vous aider", "mais il est tard."]),
    ("This (that is, the first, one) is it.", &["This (that is, the first, one) is it."]),
    ("Il y a trois choix : le bus, le train.", &["Il y a trois choix :", "le bus, le train."]),
];

fn texts(pieces: &[Piece]) -> Vec<&str> {
    pieces.iter().map(|piece| piece.text.as_str()).collect()
}

fn split(portions: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<Piece> {
    let mut splitter = Splitter::new();
    let mut pieces = Vec::new();
    for portion in portions {
        pieces.extend(splitter.push(portion.as_ref()));
    }
    pieces.extend(splitter.finish());
    pieces
}

fn by_char(text: &str) -> Vec<Piece> {
    split(text.chars().map(String::from))
}

/// The text in portions of pseudo-random length, 1 to 7 characters.
fn portions(text: &str, seed: u64) -> Vec<String> {
    let chars = text.chars().collect::<Vec<_>>();
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let (mut at, mut out) = (0, Vec::new());
    while at < chars.len() {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let end = (at + 1 + (state >> 33) as usize % 7).min(chars.len());
        out.push(chars[at..end].iter().collect());
        at = end;
    }
    out
}

#[test]
fn replies_are_cut_where_a_speaker_would_pause() {
    assert!(CASES.len() >= 60);
    let mut wrong = Vec::new();
    for (text, expected) in CASES {
        let pieces = split([text]);
        if texts(&pieces) != *expected {
            wrong.push(format!("{text:?}\n  is {:?}\n  not {expected:?}", texts(&pieces)));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn portions_of_the_text_change_nothing() {
    for (text, _) in CASES {
        let whole = split([text]);
        assert_eq!(by_char(text), whole, "{text:?} by character");
        for seed in 0..20 {
            assert_eq!(split(portions(text, seed)), whole, "{text:?} with seed {seed}");
        }
    }
}

/// After which of these portions each piece comes out.
fn arrivals(portions: &[&str]) -> Vec<(usize, String)> {
    let mut splitter = Splitter::new();
    let mut out = Vec::new();
    for (i, portion) in portions.iter().enumerate() {
        out.extend(splitter.push(portion).into_iter().map(|piece| (i, piece.text)));
    }
    out
}

#[test]
fn a_piece_comes_with_the_first_token_that_decides_it() {
    let at = |i: usize, text: &str| (i, text.to_owned());
    assert_eq!(arrivals(&["It", " is", " Paris", ".", " It"]), [at(4, "It is Paris.")]);
    assert_eq!(arrivals(&["Is", " it", "?", " "]), [at(3, "Is it?")]);
    assert_eq!(arrivals(&["One", " line", "\n"]), [at(2, "One line")]);
    assert_eq!(arrivals(&["你好", "。"]), [at(1, "你好。")]);
    assert_eq!(
        arrivals(&["I", " think", " so", ",", " but", " not"]),
        [at(5, "I think so,")],
        "a clause waits for one whole word after it"
    );
    assert_eq!(arrivals(&["Ask", " Dr", ".", " Smith", " now"]), []);
    assert_eq!(arrivals(&["The", " U.S", ".", " It", " is"]), [at(4, "The U.S.")]);
}

#[test]
fn only_the_first_piece_that_can_be_spoken_is_the_first() {
    let pieces = split(["---\nHello there. Bye.\n```\n"]);
    assert_eq!(texts(&pieces), ["---", "Hello there.", "Bye.", "```"]);
    assert_eq!(pieces.iter().map(|p| p.first).collect::<Vec<_>>(), [false, true, false, false]);
    let kinds = pieces.iter().map(|p| p.kind).collect::<Vec<_>>();
    use PieceKind::{Sentence, Silent};
    assert_eq!(kinds, [Silent, Sentence, Sentence, Silent]);
}

#[test]
fn pieces_say_what_they_are() {
    let kinds = |text| split([text]).iter().map(|p| p.kind).collect::<Vec<_>>();
    use PieceKind::{Clause, Line, Sentence};
    assert_eq!(kinds("I think so, but I am not sure. Ok"), [Clause, Sentence, Line]);
    assert_eq!(kinds("# Title\n\"It is.\"\n"), [Line, Sentence]);
}

#[test]
fn a_splitter_can_be_used_again_after_finish() {
    let mut splitter = Splitter::new();
    splitter.push("One. Two");
    splitter.finish();
    assert_eq!(splitter.finish(), None);
    assert!(splitter.push("Three. Four. ").iter().any(|p| p.first && p.text == "Three."));
}

#[test]
fn long_sentences_are_split_at_a_comma_or_a_conjunction_and_else_at_a_space() {
    let comma = format!("Hi! {}, {}.", ["word"; 20].join(" "), ["more"; 20].join(" "));
    let pieces = split([&comma]);
    assert_eq!(texts(&pieces)[1], format!("{},", ["word"; 20].join(" ")));
    assert_eq!(pieces[1].kind, PieceKind::Clause);
    let conjunction = format!("Hi! {} and {}.", ["word"; 20].join(" "), ["more"; 20].join(" "));
    assert_eq!(texts(&split([&conjunction]))[1], ["word"; 20].join(" "));
    let plain = format!("Hi! {}.", ["word"; 70].join(" "));
    assert_eq!(split([&plain])[1].text.split(' ').count(), MAX_WORDS as usize);
    let chinese = "好".repeat(100);
    assert!(split([&chinese]).iter().all(|p| p.text.chars().count() <= MAX_WORDS as usize));
    let endless = "x".repeat(5000);
    assert!(split([&endless]).iter().all(|p| p.text.len() <= super::HARD_UNITS as usize));
}

fn without_spaces(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

fn holds(text: &str, seed: u64) -> Result<(), TestCaseError> {
    let whole = split([text]);
    let joined = whole.iter().map(|p| p.text.as_str()).collect::<String>();
    prop_assert_eq!(without_spaces(&joined), without_spaces(text));
    prop_assert_eq!(&by_char(text), &whole);
    prop_assert_eq!(&split(portions(text, seed)), &whole);
    for piece in &whole {
        prop_assert!(!piece.text.is_empty());
        prop_assert_eq!(piece.text.trim(), piece.text.as_str());
        prop_assert!(
            piece.text.split_whitespace().count() <= MAX_WORDS as usize + 1
                || piece.kind == PieceKind::Silent
                || !piece.text.is_ascii()
        );
    }
    prop_assert!(whole.iter().filter(|p| p.first).count() <= 1);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nothing_is_lost_in_any_text(text in ".{0,300}", seed: u64) {
        holds(&text, seed)?;
    }

    #[test]
    fn nothing_is_lost_in_text_full_of_marks(
        text in "([A-Za-z]{1,3}|[0-9]{1,4}|[ .!?…,;:'\"«»()*\n\u{a0}-]{1,2}|and the|Dr|U\\.S\\.|。|，|「|好|😀){0,120}",
        seed: u64,
    ) {
        holds(&text, seed)?;
    }
}
