//! What is read, and where it stands.

use super::{Language, words};

fn read(text: &str, language: &Language) -> String {
    let words = words(text, language).into_iter().map(|word| {
        let spoken = if word.spelled { word.spoken.to_uppercase() } else { word.spoken };
        spoken + &word.pause.map(String::from).unwrap_or_default()
    });
    words.collect::<Vec<_>>().join(" ")
}

fn check(language: &Language, cases: &[(&str, &str)]) {
    let wrong: Vec<String> = cases
        .iter()
        .map(|(text, expected)| (text, expected, read(text, language)))
        .filter(|(_, expected, said)| **expected != *said)
        .map(|(text, expected, said)| format!("{text:?}\n  want {expected}\n  said {said}"))
        .collect();
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn markup_and_pictures_are_not_read() {
    check(
        &Language::American,
        &[
            ("**Paris** is _big_.", "Paris is big."),
            ("# Title\n- one\n- two", "Title. one. two."),
            ("## A plan\nFirst this.\n\nThen that", "A plan. First this. Then that."),
            ("1. Eggs\n2. Milk", "one. Eggs. two. Milk."),
            ("See [the docs](https://a.b/c?d) now", "See the docs now."),
            ("![a cat](cat.png) sits", "a cat sits."),
            ("`code` and <b>bold</b>", "code and bold."),
            ("Run:\n```rust\nlet it be\n```\nDone", "Run: let it be. Done."),
            ("| Name | Age |\n|------|-----|\n| Ann | 12 |", "Name, Age. Ann, twelve."),
            ("> Quoted text\n---\nEnd", "Quoted text. End."),
            ("~~old~~ new", "old new."),
            ("Great! 🎉👍🏽 Yes", "Great! Yes."),
            ("2 * 3", "two three."),
            ("a line\nthat goes on", "a line that goes on."),
            ("", ""),
            ("🎉", ""),
            ("...", ""),
            ("```", ""),
        ],
    );
}

#[test]
fn pauses_follow_the_punctuation() {
    check(
        &Language::American,
        &[
            ("Hello, world", "Hello, world."),
            ("Really?!", "Really?"),
            ("Dr. Smith came at 10:30.", "doctor Smith came at ten thirty."),
            ("Well... yes", "Well, yes."),
            ("a dog — a big one — barked", "a dog, a big one, barked."),
            ("She said “no.” Then left", "She said no. Then left."),
            ("one (or two) days", "one, or two, days."),
            ("don’t", "don't."),
        ],
    );
}

#[test]
fn english_numbers_are_written_out() {
    check(
        &Language::American,
        &[
            ("0", "zero."),
            ("7 cats and 42 dogs", "seven cats and forty two dogs."),
            ("105", "one hundred five."),
            ("1,234.5", "one thousand two hundred thirty four point five."),
            ("1,000,000 people", "one million people."),
            ("12,345", "twelve thousand three hundred forty five."),
            ("3.14", "three point one four."),
            ("-5 degrees", "minus five degrees."),
            ("+3", "plus three."),
            (".5", "zero point five."),
            ("007", "zero zero seven."),
            (
                "10000000000000000000",
                "one zero zero zero zero zero zero zero zero zero zero zero zero zero zero zero zero zero zero zero.",
            ),
            ("1st, 2nd, 3rd and 21st", "first, second, third and twenty first."),
            ("the 12th", "the twelfth."),
            ("the 100th time", "the one hundredth time."),
            ("in 1984", "in nineteen eighty four."),
            ("in 1905 and 1900", "in nineteen oh five and nineteen hundred."),
            ("in 2005", "in two thousand five."),
            ("in 2026", "in twenty twenty six."),
            ("the 1990s", "the nineteen nineties."),
            ("the '80s", "the eighties."),
            ("2,026 items", "two thousand twenty six items."),
            ("1/2 cup", "one half cup."),
            ("3/4", "three quarters."),
            ("2½ hours", "two and a half hours."),
            ("½", "one half."),
            ("3 1/4 miles", "three and one quarter miles."),
            ("2 1/2 cups", "two and a half cups."),
            ("12 24/7 shops", "twelve twenty four seven shops."),
            ("He is #1, she #23.", "He is number one, she number twenty three."),
            ("24/7", "twenty four seven."),
            ("5–10 people", "five to ten people."),
            ("5-10 km", "five to ten kilometers."),
            ("$5–10", "five to ten dollars."),
            ("10:00–11:30", "ten o'clock to eleven thirty."),
            ("1914-1918", "nineteen fourteen to nineteen eighteen."),
            ("version 1.2.3", "version one point two point three."),
            ("v2.0", "version two point zero."),
            ("#1", "number one."),
            ("1920x1080", "one thousand nine hundred twenty by one thousand eighty."),
            ("10²", "ten to the power of two."),
            ("MP3", "M P three."),
            ("H2O", "H two O."),
            ("a 4K TV", "a four K T V."),
            ("50k users", "fifty thousand users."),
        ],
    );
}

#[test]
fn english_money_and_units_are_written_out() {
    check(
        &Language::American,
        &[
            ("$12.50", "twelve dollars fifty."),
            ("$1", "one dollar."),
            ("$0.99", "ninety nine cents."),
            ("$3.05", "three dollars oh five."),
            ("$5 million", "five million dollars."),
            ("$1.5M", "one point five million dollars."),
            ("-$20", "minus twenty dollars."),
            ("€20", "twenty euros."),
            ("20 €", "twenty euros."),
            ("£1.20", "one pound twenty."),
            ("100 USD", "one hundred dollars."),
            ("US$7", "seven dollars."),
            ("¥500", "five hundred yen."),
            ("$1,299.00.", "one thousand two hundred ninety nine dollars."),
            ("50%", "fifty percent."),
            ("3.5 %", "three point five percent."),
            ("100 km/h", "one hundred kilometers per hour."),
            ("1 km", "one kilometer."),
            ("20°C", "twenty degrees Celsius."),
            ("-4 °F", "minus four degrees Fahrenheit."),
            ("a 90° turn", "a ninety degrees turn."),
            ("16GB of RAM", "sixteen gigabytes of ram."),
            ("5 MB", "five megabytes."),
            ("70 kg", "seventy kilograms."),
            ("25 m²", "twenty five square meters."),
            ("in 5 min.", "in five minutes."),
            ("10x faster", "ten times faster."),
            ("5G", "five G."),
        ],
    );
}

#[test]
fn english_dates_and_times_are_written_out() {
    check(
        &Language::American,
        &[
            ("2026-11-21", "November twenty first twenty twenty six."),
            ("11/21/2026", "November twenty first twenty twenty six."),
            ("3/4/2026", "March fourth twenty twenty six."),
            ("21/11/2026", "November twenty first twenty twenty six."),
            ("3 May", "the third of May."),
            ("3 May 2026", "the third of May twenty twenty six."),
            ("May 3, 2026", "May third twenty twenty six."),
            ("on May 3rd", "on May third."),
            ("Nov. 5", "November fifth."),
            ("July 4th, 1776", "July fourth seventeen seventy six."),
            ("10:05", "ten oh five."),
            ("at 9:30 am", "at nine thirty A M."),
            ("5 pm", "five P M."),
            ("5pm", "five P M."),
            ("5 p.m. today", "five P M today."),
            ("12:00", "twelve o'clock."),
            ("12:00 PM", "twelve P M."),
            ("23:45:10", "twenty three forty five and ten seconds."),
            ("from 9am-5pm", "from nine A M to five P M."),
            ("at 8 p.m. Then go", "at eight P M. Then go."),
            ("a 3:2 ratio", "a three two ratio."),
            ("99:99", "ninety nine ninety nine."),
        ],
    );
    check(
        &Language::British,
        &[
            ("3/4/2026", "the third of April twenty twenty six."),
            ("2026-11-21", "the twenty first of November twenty twenty six."),
            ("350", "three hundred and fifty."),
            ("1,005", "one thousand and five."),
        ],
    );
}

#[test]
fn english_abbreviations_and_capitals_are_read() {
    check(
        &Language::American,
        &[
            ("Mr. and Mrs. Lee", "mister and missus Lee."),
            ("St. Paul lives on Main St.", "saint Paul lives on Main street."),
            ("cats, dogs, etc.", "cats, dogs, et cetera."),
            ("fruit, e.g. apples", "fruit, for example apples."),
            ("No. 5", "number five."),
            ("No. That is wrong", "No. That is wrong."),
            ("us vs. them", "us versus them."),
            ("The U.S. is big", "The U S is big."),
            ("the USA and the FBI", "the U S A and the F B I."),
            ("NASA and NATO", "nasa and nato."),
            ("I am OK", "I am O K."),
            ("STOP that", "stop that."),
            ("PLEASE do NOT go", "please do not go."),
            ("THIS IS AN API", "this is an api."),
            ("an HTTP API", "an H T T P A P I."),
            ("an API key", "an A P I key."),
            ("two CEOs", "two C E O'S."),
            ("R&D", "R and D."),
            ("Tom & Jerry", "Tom and Jerry."),
            ("and/or", "and or."),
            ("2 + 2 = 4", "two plus two equals four."),
            ("Louis XIV", "Louis the fourteenth."),
            ("Louis XIV's life", "Louis the fourteenth's life."),
            ("Chapter IV", "Chapter four."),
            ("World War II", "World War two."),
            ("Henry VIII. was king", "Henry the eighth. was king."),
            ("I mix it", "I mix it."),
            ("vitamin C", "vitamin C."),
            ("C++ and C#", "C plus plus and C sharp."),
            ("7 > 5", "seven is greater than five."),
            ("I'm 5'11\" tall", "I'm five foot eleven tall."),
            ("on Mon., Jan. 5th", "on Monday January fifth."),
            ("Call 555-123-4567", "Call five five five one two three four five six seven."),
            ("+1 555 123 4567", "plus one five five five one two three four five six seven."),
        ],
    );
}

#[test]
fn french_numbers_are_written_out() {
    check(
        &Language::French,
        &[
            ("0", "zéro."),
            ("21 chats", "vingt et un chats."),
            (
                "71, 80, 81 et 99",
                "soixante et onze, quatre-vingts, quatre-vingt-un et quatre-vingt-dix-neuf.",
            ),
            ("200 et 201", "deux cents et deux cent un."),
            ("1000", "mille."),
            ("80 000", "quatre-vingt mille."),
            ("1 234,5", "mille deux cent trente-quatre virgule cinq."),
            (
                "1\u{202f}234\u{202f}567",
                "un million deux cent trente-quatre mille cinq cent soixante-sept.",
            ),
            ("3,14", "trois virgule quatorze."),
            ("0,05", "zéro virgule zéro cinq."),
            ("3.14", "trois point quatorze."),
            ("-5", "moins cinq."),
            ("en 1984", "en mille neuf cent quatre-vingt-quatre."),
            ("1er, 2e et 3ème", "premier, deuxième et troisième."),
            ("la 1re fois", "la première fois."),
            ("le 21e", "le vingt et unième."),
            ("le XXe siècle", "le vingtième siècle."),
            ("Louis XIV", "Louis quatorze."),
            ("François Ier", "François premier."),
            ("chapitre IV", "chapitre quatre."),
            ("1/2", "un demi."),
            ("3/4", "trois quarts."),
            ("le #2", "le numéro deux."),
            ("5–10 minutes", "cinq à dix minutes."),
            ("2½", "deux et un demi."),
            ("version 1.2.3", "version un point deux point trois."),
            ("06 12 34 56 78", "zéro six douze trente-quatre cinquante-six soixante-dix-huit."),
            ("06.12.34.56.78", "zéro six douze trente-quatre cinquante-six soixante-dix-huit."),
            (
                "+33 6 12 34 56 78",
                "plus trente-trois six douze trente-quatre cinquante-six soixante-dix-huit.",
            ),
        ],
    );
}

#[test]
fn french_money_units_dates_and_times_are_written_out() {
    check(
        &Language::French,
        &[
            ("12,50 €", "douze euros cinquante."),
            ("12,50€", "douze euros cinquante."),
            ("1 €", "un euro."),
            ("0,99 €", "quatre-vingt-dix-neuf centimes."),
            ("1 299,00 €", "mille deux cent quatre-vingt-dix-neuf euros."),
            ("5 millions €", "cinq millions d'euros."),
            ("5 M€", "cinq millions d'euros."),
            ("2 millions d’euros", "deux millions d'euros."),
            ("20 $", "vingt dollars."),
            ("1 £", "une livre."),
            ("50 %", "cinquante pour cent."),
            ("3,5%", "trois virgule cinq pour cent."),
            ("90 km/h", "quatre-vingt-dix kilomètres heure."),
            ("1,5 km", "un virgule cinq kilomètre."),
            ("20 °C", "vingt degrés."),
            ("16 Go", "seize gigaoctets."),
            ("21 min", "vingt et une minutes."),
            ("25 m²", "vingt-cinq mètres carrés."),
            ("2026-11-21", "vingt et un novembre deux mille vingt-six."),
            ("21/11/2026", "vingt et un novembre deux mille vingt-six."),
            ("01/05/2026", "premier mai deux mille vingt-six."),
            ("le 3 mai 2026", "le trois mai deux mille vingt-six."),
            ("le 1er mai", "le premier mai."),
            ("14h30", "quatorze heures trente."),
            ("8h", "huit heures."),
            ("à 14 h 30", "à quatorze heures trente."),
            ("1h05", "une heure cinq."),
            ("21h", "vingt et une heures."),
            ("10:05", "dix heures cinq."),
            ("de 8h à 10h", "de huit heures à dix heures."),
        ],
    );
}

#[test]
fn french_abbreviations_and_capitals_are_read() {
    check(
        &Language::French,
        &[
            ("M. Dupont et Mme Durand", "monsieur Dupont et madame Durand."),
            ("MM. Petit", "messieurs Petit."),
            ("M. et Mme Martin", "monsieur et madame Martin."),
            ("Me Dupont et Le Havre", "maître Dupont et Le Havre."),
            ("La Mer de Mars", "La Mer de Mars."),
            ("Dr. Leroy", "docteur Leroy."),
            ("le no 5", "le numéro cinq."),
            ("le n° 5", "le numéro cinq."),
            ("des pommes, etc.", "des pommes, et cetera."),
            ("la SNCF", "la S N C F."),
            ("l’API", "L'A P I."),
            ("l’ONU et l’OTAN", "l'onu et l'otan."),
            ("NON, merci", "non, merci."),
            ("c.-à-d. oui", "c'est-à-dire oui."),
            ("Tom & Jerry", "Tom et Jerry."),
            ("Allez sur www.exemple.fr !", "Allez sur exemple point fr!"),
            ("joe@exemple.fr", "joe arobase exemple point fr."),
            ("Qui est-ce ?", "Qui est-ce?"),
            ("« Bonjour », dit-il", "Bonjour, dit-il."),
        ],
    );
}

#[test]
fn addresses_are_read_aloud() {
    check(
        &Language::American,
        &[
            ("Go to https://www.example.com/docs/?q=1.", "Go to example dot com slash docs."),
            ("Mail joe_b@mail.example.org!", "Mail joe underscore b at mail dot example dot org!"),
            ("See example.com or <https://a.io>", "See example dot com or a dot io."),
        ],
    );
    let german = Language::named("de");
    check(&german, &[("siehe www.beispiel.de", "siehe beispiel Punkt de.")]);
}

#[test]
fn other_languages_keep_their_numbers() {
    check(&Language::named("de"), &[("Es kostet 12,50 € (etwa).", "Es kostet 12,50 €, etwa.")]);
}

#[test]
fn words_keep_their_place_in_the_text() {
    let text = "Hi, **naïve** 🎉 “café”. It cost $12.50 on May 3, 2026, e.g. 5 km/h.";
    let words = words(text, &Language::American);
    let places: Vec<(&str, &str)> =
        words.iter().map(|word| (&text[word.source.clone()], word.spoken.as_str())).collect();
    assert_eq!(
        places,
        [
            ("Hi,", "Hi"),
            ("naïve", "naïve"),
            ("“café”.", "café"),
            ("It", "It"),
            ("cost", "cost"),
            ("$12.50", "twelve dollars fifty"),
            ("on", "on"),
            ("May", "May"),
            ("3,", "third"),
            ("2026,", "twenty twenty six"),
            ("e.g.", "for example"),
            ("5 km/h.", "five kilometers per hour"),
        ]
    );
}
