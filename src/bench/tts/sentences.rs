//! Sentences of a given number of words that no cache has seen.
//!
//! In: a seed and a number of words. Out: one English sentence of common words, without numbers or
//! names, so that what a recogniser hears can be compared word by word.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

const PEOPLE: [&str; 16] = [
    "teacher", "doctor", "farmer", "woman", "man", "driver", "student", "nurse", "manager", "boy",
    "girl", "cook", "visitor", "painter", "mayor", "singer",
];
const PLACES: [&str; 16] = [
    "market",
    "station",
    "hospital",
    "library",
    "school",
    "office",
    "museum",
    "village",
    "airport",
    "beach",
    "garden",
    "restaurant",
    "river",
    "hotel",
    "kitchen",
    "church",
];
const THINGS: [&str; 16] = [
    "table", "jacket", "camera", "bicycle", "guitar", "picture", "window", "basket", "computer",
    "blanket", "carpet", "mirror", "bottle", "lamp", "book", "piano",
];
const QUALITIES: [&str; 16] = [
    "new",
    "beautiful",
    "heavy",
    "small",
    "expensive",
    "wooden",
    "yellow",
    "simple",
    "large",
    "modern",
    "broken",
    "famous",
    "green",
    "strange",
    "cheap",
    "wonderful",
];
const FOODS: [&str; 12] = [
    "bread",
    "cheese",
    "apples",
    "milk",
    "chicken",
    "butter",
    "coffee",
    "sugar",
    "tomatoes",
    "fish",
    "rice",
    "chocolate",
];
const MEALS: [&str; 6] = ["breakfast", "lunch", "dinner", "party", "picnic", "wedding"];
const VEHICLES: [&str; 8] = ["train", "bus", "taxi", "boat", "plane", "doctor", "guide", "train"];
const TIMES: [&str; 4] = ["morning", "afternoon", "evening", "summer"];
const DAYS: [&str; 4] = ["yesterday", "today", "again", "recently"];
const GETTING: [&str; 6] = ["bought", "found", "lost", "sold", "forgot", "painted"];
const ACTING: [&str; 9] = [
    "listened",
    "waited",
    "agreed",
    "answered",
    "returned",
    "arrived",
    "smiled",
    "complained",
    "disappeared",
];
const ALONE: [&str; 24] = [
    "certainly",
    "wonderful",
    "tomorrow",
    "together",
    "yesterday",
    "absolutely",
    "welcome",
    "probably",
    "finally",
    "perfect",
    "exactly",
    "interesting",
    "obviously",
    "anyway",
    "goodbye",
    "maybe",
    "beautiful",
    "everything",
    "seriously",
    "definitely",
    "somewhere",
    "sometimes",
    "afterwards",
    "excellent",
];

/// Draws sentences; the same seed gives the same ones.
pub struct Sentences {
    random: StdRng,
}

impl Sentences {
    /// A sequence of its own for each seed.
    pub fn new(seed: u64) -> Self {
        Self { random: StdRng::seed_from_u64(seed) }
    }

    /// A sentence of `words` words: 1, 4, 10, or a multiple of ten.
    pub fn draw(&mut self, words: usize) -> String {
        let mut text = match words {
            0 | 1 => self.pick(&ALONE).to_owned(),
            2..10 => format!("the {} {} {}", self.person(), self.pick(&ACTING), self.pick(&DAYS)),
            _ => self.clauses(words / 10),
        };
        text[..1].make_ascii_uppercase();
        text + if self.random.random_bool(0.2) { "!" } else { "." }
    }

    /// Clauses of ten words each, one sentence together.
    fn clauses(&mut self, count: usize) -> String {
        let mut text = format!(
            "the {} {} the {} {} at the {} {}",
            self.person(),
            self.pick(&GETTING),
            self.pick(&QUALITIES),
            self.pick(&THINGS),
            self.pick(&PLACES),
            self.pick(&DAYS)
        );
        for clause in 1..count {
            let (person, place) = (self.person(), self.pick(&PLACES));
            text += &match clause % 3 {
                1 => {
                    let (food, meal) = (self.pick(&FOODS), self.pick(&MEALS));
                    format!(", because the {person} needed some more {food} for the {meal}")
                }
                2 => {
                    let vehicle = self.pick(&VEHICLES);
                    format!(", while the {person} waited for the {vehicle} near the {place}")
                }
                _ => {
                    let time = self.pick(&TIMES);
                    format!(", and the {person} walked to the {place} in the {time}")
                }
            };
        }
        text
    }

    fn person(&mut self) -> &'static str {
        self.pick(&PEOPLE)
    }

    fn pick(&mut self, from: &[&'static str]) -> &'static str {
        from.choose(&mut self.random).expect("the lists are not empty")
    }
}

#[cfg(test)]
mod tests {
    use super::Sentences;

    #[test]
    fn sentences_have_the_words_asked_for_and_do_not_repeat() {
        let mut sentences = Sentences::new(1);
        for words in [1, 4, 10, 20, 40] {
            let drawn: Vec<String> = (0..8).map(|_| sentences.draw(words)).collect();
            for text in &drawn {
                assert_eq!(text.split_whitespace().count(), words, "{text}");
            }
            let different: std::collections::HashSet<_> = drawn.iter().collect();
            assert!(words < 10 || different.len() == drawn.len());
        }
    }
}
