//! The calls of tools in a stream, joined from their pieces.
//!
//! OpenAI sends a call as pieces with the call's index: first its id and name, then its arguments
//! bit by bit. Others send it whole, without index, with an empty id, one index for all, the name
//! again in each piece, or the arguments as an object; all of that is understood.

use serde_json::Value;

use crate::private::Private;
use crate::thinking::ToolCall;

/// Calls in one reply; what comes beyond is dropped.
const MOST_CALLS: usize = 8;
/// The longest arguments, bytes; what comes beyond is dropped, and they are no JSON then.
const MOST_ARGUMENTS: usize = 64 << 10;

/// The calls of one reply so far.
#[derive(Debug, Default)]
pub(super) struct Calls(Vec<Part>);

#[derive(Debug, Default)]
struct Part {
    index: Option<u64>,
    id: String,
    name: String,
    arguments: String,
}

impl Calls {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes the calls of one chunk; whether there were any.
    pub(super) fn take(&mut self, chunk: &Value) -> bool {
        let lists = ["/choices/0/delta/tool_calls", "/choices/0/message/tool_calls"];
        let list = lists.iter().find_map(|at| chunk.pointer(at)?.as_array());
        for piece in list.into_iter().flatten() {
            self.join(piece);
        }
        // What OpenAI had before there were several calls.
        let old = chunk.pointer("/choices/0/delta/function_call").filter(|old| old.is_object());
        if let Some(function) = old {
            self.join(&serde_json::json!({"index": 0, "function": function}));
        }
        list.is_some_and(|list| !list.is_empty()) || old.is_some()
    }

    fn join(&mut self, piece: &Value) {
        let text = |at: &str| piece.pointer(at).and_then(Value::as_str).unwrap_or_default();
        let (id, name) = (text("/id"), text("/function/name"));
        let index = piece.get("index").and_then(Value::as_u64);
        let at = match index {
            Some(_) => self.0.iter().rposition(|part| part.index == index),
            None => self.0.len().checked_sub(1),
        };
        let goes_on = |part: &Part| {
            let same_id = id.is_empty() || part.id.is_empty() || part.id == id;
            // Without an index a name says that another call begins.
            let same_name = name.is_empty() || index.is_some() && part.name == name;
            same_id && (same_name || part.name.is_empty())
        };
        let at = at.filter(|&at| goes_on(&self.0[at]));
        let at = at.unwrap_or_else(|| {
            self.0.push(Part { index, ..Part::default() });
            self.0.len() - 1
        });
        let part = &mut self.0[at];
        if part.id.is_empty() {
            id.clone_into(&mut part.id);
        }
        if part.name.is_empty() {
            name.clone_into(&mut part.name);
        }
        match piece.pointer("/function/arguments") {
            Some(Value::String(more)) if part.arguments.len() < MOST_ARGUMENTS => {
                part.arguments.push_str(more);
            }
            Some(whole @ Value::Object(_)) => part.arguments = whole.to_string(),
            _ => {}
        }
        self.0.truncate(MOST_CALLS);
    }

    /// The calls, whole; each with an id.
    pub(super) fn finish(self) -> Vec<ToolCall> {
        let named = self.0.into_iter().filter(|part| !part.name.is_empty());
        named
            .map(|part| {
                let empty = part.arguments.trim().is_empty();
                let arguments = if empty { "{}".to_owned() } else { part.arguments };
                let call = ToolCall::new(part.name, "");
                let id = if part.id.is_empty() { call.id } else { part.id };
                ToolCall { id, name: call.name, arguments: Private::new(arguments) }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The calls of a stream as `id name arguments`.
    fn read(deltas: &[Value]) -> Vec<String> {
        let mut calls = Calls::default();
        for delta in deltas {
            assert!(calls.take(&json!({"choices": [{"delta": delta}]})));
        }
        let whole = calls.finish().into_iter();
        whole.map(|c| format!("{} {} {}", c.id, c.name, c.arguments.reveal())).collect()
    }

    fn piece(index: Value, id: Value, name: Value, arguments: Value) -> Value {
        let function = json!({"name": name, "arguments": arguments});
        json!({"index": index, "id": id, "function": function})
    }

    #[test]
    fn pieces_are_joined_by_their_index() {
        let null = Value::Null;
        let calls = read(&[
            json!({"tool_calls": [piece(json!(0), json!("a"), json!("f"), json!(""))]}),
            json!({"tool_calls": [{"index": 0, "function": {"arguments": "{\"x\""}}]}),
            json!({"tool_calls": [piece(json!(1), json!("b"), json!("g"), json!("{"))]}),
            json!({"tool_calls": [piece(json!(0), null.clone(), null.clone(), json!(":1}"))]}),
            json!({"tool_calls": [piece(json!(1), json!("b"), json!("g"), json!("}"))]}),
        ]);
        assert_eq!(calls, ["a f {\"x\":1}", "b g {}"]);
    }

    #[test]
    fn calls_that_come_whole_are_taken_as_they_are() {
        let call = |index: Value, id: &str, name: &str| {
            piece(index, json!(id), json!(name), json!({"x": 1}))
        };
        // One index for all, or none.
        for index in [json!(0), Value::Null] {
            let list = [call(index.clone(), "a", "f"), call(index.clone(), "b", "f")];
            let calls = read(&[json!({"tool_calls": list})]);
            assert_eq!(calls, ["a f {\"x\":1}", "b f {\"x\":1}"], "{index}");
        }
        let calls = read(&[json!({"function_call": {"name": "f", "arguments": "{}"}})]);
        assert!(calls[0].ends_with(" f {}"));
    }

    #[test]
    fn empty_ids_and_arguments_are_filled_in() {
        let call = piece(Value::Null, json!(""), json!("f"), Value::Null);
        let calls = read(&[json!({"tool_calls": [call.clone(), call]})]);
        assert_eq!(calls.len(), 2);
        assert!(calls[0] != calls[1], "ids differ: {calls:?}");
        assert!(calls.iter().all(|call| call.len() > 6 && call.ends_with(" f {}")), "{calls:?}");
    }

    #[test]
    fn what_is_no_call_is_left_out() {
        let mut calls = Calls::default();
        for chunk in [
            json!({}),
            json!({"choices": [{"delta": {"tool_calls": null}}]}),
            json!({"choices": [{"delta": {"tool_calls": []}}]}),
            json!({"choices": [{"delta": {"tool_calls": "f"}}]}),
        ] {
            assert!(!calls.take(&chunk), "{chunk}");
        }
        calls.take(&json!({"choices": [{"delta": {"tool_calls": [1, {}, {"id": "x"}]}}]}));
        assert!(calls.finish().is_empty());
    }
}
