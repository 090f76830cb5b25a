//! How words are judged: tables of what people say and what the recogniser writes.

use super::*;
use crate::language::Language::{Auto, En, Fr};

fn hold(ending_of: Ending, language: Language, texts: &[&str]) {
    for text in texts {
        assert_eq!(ending(text, language), ending_of, "{text}");
    }
}

#[test]
fn whole_sentences_are_finished() {
    hold(
        Ending::Finished,
        En,
        &[
            "What is the capital of France?",
            "Call me tomorrow.",
            "I don't know.",
            "I already tried that.",
            "Not really.",
            "Tell me more about that.",
            "How are you?",
            "Yes, I do.",
            "What is it?",
            "Seven.",
            "Call my mom.",
            "Wake me up.",
            "Does my insurance cover dental work?",
            "I just wanted to ask about my order.",
        ],
    );
    hold(
        Ending::Finished,
        Fr,
        &["Quelle heure est-il?", "Je voudrais un café.", "Oui.", "Appelle ma mère demain."],
    );
    hold(Ending::Unmarked, En, &["7.30", "the blue one", "John Smith", ""]);
}

#[test]
fn open_endings_are_seen_in_both_languages() {
    hold(
        Ending::Open,
        En,
        &[
            "I would like to",
            "and then,",
            "My number is",
            "I think that um",
            "Well...",
            "How long should I?",
            "You can reach me at.",
            "There's a problem with.",
            "He told me that.",
            "What time does the pharmacy",
            "Does my insurance?",
            "When was the",
            "it was raining so we",
            "Can you tell me?",
        ],
    );
    hold(
        Ending::Open,
        Fr,
        &[
            "Je voudrais une",
            "et puis parce que",
            "mon numéro est",
            "Est-ce que",
            "Je pense que, euh",
        ],
    );
    hold(
        Ending::Doubtful,
        En,
        &["Do you know if there's a good", "If I order today.", "My wife.", "The answer is up."],
    );
    assert!(looks_unfinished("Je voudrais une", Auto));
    assert!(looks_unfinished("I would like to", Auto));
}

#[test]
fn what_is_being_spelled_is_waited_for() {
    hold(
        Ending::Spelling,
        En,
        &[
            "My phone number is 555.",
            "My number is 617-555",
            "My phone number is 5, 5.",
            "5, 5, 5.",
            "My zip code is 941.",
            "It's spelled K-O-W.",
            "A, B, C.",
            "My email is john.smith",
            "My email is john.smith at gmail.",
        ],
    );
    hold(Ending::Spelling, Fr, &["Mon numéro est le 06 12 34", "Mon numéro est 06.12."]);
    hold(
        Ending::Open,
        En,
        &["My email is john.smith at", "The code is", "My last name is spelled"],
    );
    hold(
        Ending::Finished,
        En,
        &[
            "My phone number is 555-0142.",
            "My number is 617-555-9823.",
            "The code is 4729.",
            "My email is john.smith@gmail.com.",
            "What is your phone number?",
            "I have 2 cats.",
        ],
    );
    hold(Ending::Finished, Fr, &["Mon numéro est le 06 12 34 56 78."]);
}

#[test]
fn backchannels_are_told_from_answers() {
    let backchannels = [
        "Mm-hmm.",
        "Yeah.",
        "Okay!",
        "Oh, really?",
        "I see.",
        "Uh-huh, yeah.",
        "yeah yeah",
        "ok, ok",
        "Oh, okay.",
        "Yeah, right.",
        "Mmmm",
        "M-hmm",
        "MM.",
        "M&M.",
        "Make sense.",
        "No way.",
    ];
    for text in backchannels {
        assert!(is_backchannel(text, En), "{text}");
        assert!(!interrupts(text, En), "{text}");
    }
    for text in ["D’accord.", "Oui, oui.", "Ah d'accord.", "Ouais, ouais.", "Ah bon ?", "Mhm."] {
        assert!(is_backchannel(text, Fr), "{text}");
    }
    for text in ["Stop.", "Yeah, but what about Rome?", "No.", "", "Rome."] {
        assert!(!is_backchannel(text, En), "{text}");
    }
}

#[test]
fn some_words_take_the_floor_however_few() {
    for text in ["Stop.", "No, no.", "Wait a minute.", "Hold on", "Excuse me.", "Sorry?"] {
        assert!(interrupts(text, En), "{text}");
    }
    for text in ["Non.", "Attends !", "Stop.", "Excusez-moi.", "Ça suffit."] {
        assert!(interrupts(text, Fr), "{text}");
    }
    for text in ["Rome.", "Nobody.", "Stopping by woods.", "Yeah.", "Oh, no way."] {
        assert!(!interrupts(text, En), "{text}");
    }
}

#[test]
fn hypotheses_with_the_same_words_are_the_same() {
    assert!(same_words("What time is it?", "what time is it"));
    assert!(same_words("Mm-hmm.", "mm hmm"));
    assert!(same_words("D’accord", "d'accord."));
    assert!(!same_words("What time is it?", "What time was it?"));
    assert!(!same_words("Yes.", ""));
}

#[test]
fn an_echo_is_a_run_of_what_was_said() {
    let said =
        "The capital of France is Paris. It lies on the river Seine. Stop by and wait for me.";
    for heard in ["capital of France", "It lies on the river Sen", "is Paris, it lies", "the river"]
    {
        assert!(is_echo_of(heard, said), "{heard}");
    }
    for heard in
        ["Paris", "What about Rome?", "river of Paris", "Stop.", "wait for me", "", "stop by and"]
    {
        assert!(!is_echo_of(heard, said), "{heard}");
    }
    assert!(!is_echo_of("the capital", ""));
}

#[test]
fn words_that_only_take_the_floor_have_more_behind_them() {
    for (text, language) in [("Sorry.", En), ("Wait.", En), ("Excuse me.", En), ("Attendez.", Fr)] {
        assert_eq!(ending(text, language), Ending::Doubtful, "{text}");
    }
    for (text, language) in [("Stop.", En), ("No.", En), ("Sorry, who wrote it?", En), ("Non.", Fr)]
    {
        assert_eq!(ending(text, language), Ending::Finished, "{text}");
    }
}

#[test]
fn statements_are_told_from_questions_and_wishes() {
    for text in ["I called you yesterday.", "So I went to the shop.", "It's very cold today."] {
        assert!(is_statement(text, En), "{text}");
    }
    for text in ["What is the capital of Norway?", "Tell me about Rome.", "Thank you.", "Stop."] {
        assert!(!is_statement(text, En), "{text}");
    }
    assert!(is_statement("Je t'ai appelé hier.", Fr));
    assert!(!is_statement("Quelle heure est-il ?", Fr));
}

#[test]
fn a_house_number_has_a_street() {
    assert_eq!(ending("My address is 22.", En), Ending::Doubtful);
    assert_eq!(ending("My address is 22 Garden Street.", En), Ending::Finished);
}
