//! Questions no cache has seen.

const PLACES: &[&str] = &[
    "France", "Japan", "Brazil", "Kenya", "Norway", "Peru", "Canada", "Egypt", "Poland", "Vietnam",
    "Chile", "Greece",
];

const FORMS: &[&str] = &[
    "What is the capital of {}?",
    "Can you tell me something about the food in {}?",
    "How is the weather in {} in the summer?",
    "Which language do people speak in {}?",
    "How many people live in {} today?",
    "What should I see when I visit {}?",
    "Is it far from here to {}?",
    "Who was a famous writer from {}?",
];

/// The `index`th question; different for all indices below [`count`].
pub(super) fn question(index: usize) -> String {
    let place = PLACES[index % PLACES.len()];
    let form = FORMS[(index + index / PLACES.len()) % FORMS.len()];
    form.replace("{}", place)
}

/// How many different questions there are.
#[cfg(test)]
fn count() -> usize {
    PLACES.len() * FORMS.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_question_comes_twice() {
        let all: std::collections::HashSet<_> = (0..count()).map(question).collect();
        assert_eq!(all.len(), count());
    }
}
