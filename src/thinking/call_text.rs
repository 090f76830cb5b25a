//! Calls of tools that a model writes into its text.
//!
//! In: the text of a reply as it comes. Out: what can be spoken, and the calls. Small models and
//! servers without a parser write a call as text: in Qwen's and Hermes' tags
//! (`<tool_call>{"name": …, "arguments": …}</tool_call>`), in other tags, in a code block, or bare.
//! None of it may be spoken, nor what a model makes up behind it before the tool has answered.

use serde_json::Value;

use super::ToolCall;

/// What may stand around a call, with what ends it.
const WRAPS: [(&str, &str); 5] = [
    ("<tool_call>", "</tool_call>"),
    ("<tools>", "</tools>"),
    ("<function_call>", "</function_call>"),
    ("```", "```"),
    ("{", ""),
];
/// The longest text that is held to see whether it is a call, bytes.
const MOST_HELD: usize = 16 << 10;

/// Finds calls in the text of one reply.
#[derive(Debug, Default)]
pub(super) struct CallText {
    /// Text that may become a call.
    held: String,
    /// A call was found: the rest is not spoken.
    called: bool,
    /// There was a rest.
    rambles: bool,
}

/// What a stretch of text turned out to be.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// What can be spoken.
    pub text: String,
    /// Whole calls.
    pub calls: Vec<ToolCall>,
}

impl CallText {
    /// Takes more text.
    pub(super) fn push(&mut self, text: &str) -> Found {
        self.held.push_str(text);
        let mut found = Found::default();
        while self.step(&mut found, false) {}
        found
    }

    /// The text has ended: gives what was held.
    pub(super) fn finish(&mut self) -> Found {
        let mut found = Found::default();
        while self.step(&mut found, true) {}
        found
    }

    /// Whether a call has begun, or may have.
    pub(super) fn in_call(&self) -> bool {
        !self.held.is_empty()
    }

    /// Whether the model goes on after a call with something else than another call.
    pub(super) fn rambles(&self) -> bool {
        self.rambles
    }

    /// Takes the next whole piece off what is held; false if more text is needed.
    fn step(&mut self, found: &mut Found, ended: bool) -> bool {
        if self.held.is_empty() {
            return false;
        }
        let Some(start) = start_of_wrap(&self.held) else {
            self.speak(self.held.len(), found);
            return false;
        };
        self.speak(start, found);
        let whole = match whole_wrap(&self.held) {
            Some(whole) => whole,
            None if ended || self.held.len() > MOST_HELD => self.held.len(),
            None => return false,
        };
        let piece: String = self.held.drain(..whole).collect();
        let calls = calls_in(&piece);
        if !calls.is_empty() {
            self.called = true;
            found.calls.extend(calls);
        } else if piece.starts_with("<tool_call>") {
            // Broken, and never speech: the model is told so when the call is run.
            self.called = true;
            found.calls.push(ToolCall::new("", piece));
        } else if !self.called {
            found.text.push_str(&piece);
        }
        true
    }

    fn speak(&mut self, until: usize, found: &mut Found) {
        let text = self.held.drain(..until);
        if self.called {
            self.rambles |= !text.as_str().trim().is_empty();
        } else {
            found.text.extend(text);
        }
    }
}

/// Where something begins that is, or may yet become, a wrap.
fn start_of_wrap(text: &str) -> Option<usize> {
    text.char_indices().map(|(at, _)| at).find(|&at| {
        let rest = &text[at..];
        WRAPS.iter().any(|(open, _)| rest.starts_with(open) || open.starts_with(rest))
    })
}

/// The length of the wrap at the text's beginning, once it is whole.
fn whole_wrap(text: &str) -> Option<usize> {
    let (open, close) = WRAPS.into_iter().find(|(open, _)| text.starts_with(open))?;
    if close.is_empty() {
        return end_of_object(text);
    }
    let inside = &text[open.len()..];
    inside.find(close).map(|at| open.len() + at + close.len())
}

/// The length of the JSON object at the text's beginning, by its braces.
fn end_of_object(text: &str) -> Option<usize> {
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' if !in_string => depth += 1,
            b'}' if !in_string => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// The calls in a piece: every object with a name and arguments, alone or in an array.
fn calls_in(piece: &str) -> Vec<ToolCall> {
    let mut calls = Vec::new();
    let mut rest = piece;
    while let Some(start) = rest.find('{') {
        let object = &rest[start..];
        let end = end_of_object(object).unwrap_or(object.len());
        // Small models forget the last brace.
        let closed = object.rfind('}').map(|at| format!("{}}}", &object[..=at]));
        let value = serde_json::from_str::<Value>(&object[..end]).ok();
        let value = value.or_else(|| serde_json::from_str(&closed?).ok());
        calls.extend(value.as_ref().and_then(as_call));
        rest = &object[end..];
    }
    calls
}

/// A call as models write it.
fn as_call(object: &Value) -> Option<ToolCall> {
    let object = object.get("function").filter(|inner| inner.is_object()).unwrap_or(object);
    let name = object.get("name")?.as_str()?;
    let arguments = object.get("arguments").or_else(|| object.get("parameters"))?;
    let arguments = match arguments {
        Value::String(text) => text.clone(),
        Value::Object(_) => arguments.to_string(),
        _ => return None,
    };
    // The schema of a tool, repeated from the instructions, is no call.
    (object.get("description").is_none()).then(|| ToolCall::new(name, arguments))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The spoken text, and the calls as `name(arguments)`, with the text cut at every size.
    fn read(text: &str) -> (String, Vec<String>) {
        let mut outcomes = Vec::new();
        for size in [1, 2, 3, 7, text.len().max(1)] {
            let mut reader = CallText::default();
            let (mut spoken, mut calls) = (String::new(), Vec::new());
            let letters: Vec<char> = text.chars().collect();
            let parts = letters.chunks(size).map(|part| part.iter().collect::<String>());
            let mut found: Vec<Found> = parts.map(|part| reader.push(&part)).collect();
            found.push(reader.finish());
            for part in found {
                spoken.push_str(&part.text);
                let called = part.calls.into_iter();
                calls.extend(called.map(|c| format!("{}({})", c.name, c.arguments.reveal())));
            }
            outcomes.push((spoken, calls));
        }
        assert!(outcomes.windows(2).all(|pair| pair[0] == pair[1]), "{outcomes:?}");
        outcomes.remove(0)
    }

    #[test]
    fn a_call_in_tags_is_found_and_not_spoken_whatever_stands_around_it() {
        let call = r#"{"name": "weather", "arguments": {"city": "Paris"}}"#;
        for text in [
            format!("<tool_call>\n{call}\n</tool_call>"),
            format!("<tool_call>{call}</tool_call>\nIt is 20 degrees."),
            format!("<tool_call>\n{call}\n"),
            format!("<tool_call>\n{}\n</tool_call>", &call[..call.len() - 1]),
            format!("<tools>\n{call}\n</tools>"),
            format!("```json\n{call}\n```"),
            format!("```xml\n<tool_call>\n{call}\n</tool_call>\n```"),
            call.to_owned(),
            format!("{{\"type\": \"function\", \"function\": {call}}}"),
        ] {
            let (spoken, calls) = read(&text);
            assert_eq!(spoken.trim(), "", "{text}");
            assert_eq!(calls, [r#"weather({"city":"Paris"})"#], "{text}");
        }
        let (spoken, calls) = read(&format!("Let me check. <tool_call>{call}</tool_call>"));
        assert_eq!((spoken.as_str(), calls.len()), ("Let me check. ", 1));
    }

    #[test]
    fn several_calls_are_all_found() {
        let text = "<tool_call>\n{\"name\": \"a\", \"arguments\": {}}\n</tool_call>\n<tool_call>\n\
                    {\"name\": \"b\", \"arguments\": {}}\n</tool_call>";
        assert_eq!(read(text).1, ["a({})", "b({})"]);
        let array = r#"<tool_call>[{"name":"a","arguments":{}},{"name":"b","arguments":{}}]"#;
        assert_eq!(read(array).1, ["a({})", "b({})"]);
    }

    #[test]
    fn a_broken_call_is_told_of_and_not_spoken() {
        let (spoken, calls) = read("<tool_call>\n{\"name\": weather</tool_call>");
        assert_eq!((spoken.as_str(), calls.len()), ("", 1));
        assert!(calls[0].starts_with("(<tool_call>"), "{calls:?}");
    }

    #[test]
    fn speech_is_not_taken_for_a_call() {
        for text in [
            "Five is < than six, and a < b.",
            "Use the `ls` command.",
            "I ♥ you <3 {really}",
            "The set {\"name\": 1}.",
            "Write <b>this</b>.",
            "```\ncode\n```",
            "<",
        ] {
            assert_eq!(read(text), (text.to_owned(), Vec::new()));
        }
    }

    #[test]
    fn text_is_held_no_longer_than_it_may_be_a_call() {
        let mut reader = CallText::default();
        assert_eq!(reader.push("Hello <").text, "Hello ");
        assert_eq!(reader.push("3 you").text, "<3 you");
        assert!(!reader.in_call() && !reader.rambles());
        let long = format!("{{{}", "x".repeat(MOST_HELD));
        assert_eq!(reader.push(&long).text.len(), long.len());
    }
}
