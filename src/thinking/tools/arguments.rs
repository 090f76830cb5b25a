//! A model's arguments, checked against a tool's schema.
//!
//! Checks what small models get wrong: text that is no JSON, arguments that are missing or of
//! another type, values outside a list. Numbers and truth values in quotes are taken as meant, and
//! arguments that the tool does not have are left out.
//! Deeper parts of a schema are left to the tool.

use serde_json::{Map, Value};

use super::Failure;

/// The arguments as an object that fits, or a sentence for the model.
pub(super) fn check(text: &str, schema: &Value) -> Result<Map<String, Value>, Failure> {
    let text = if text.trim().is_empty() { "{}" } else { text };
    let arguments = match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(arguments)) => arguments,
        // Some servers put the object into a text once more.
        Ok(Value::String(inner)) => match serde_json::from_str::<Value>(&inner) {
            Ok(Value::Object(arguments)) => arguments,
            _ => return Err(Failure::new("The arguments are no JSON object.")),
        },
        Ok(Value::Null) => Map::new(),
        Ok(_) => return Err(Failure::new("The arguments are no JSON object.")),
        Err(_) => return Err(Failure::new("The arguments are not valid JSON.")),
    };
    let mut arguments: Map<String, Value> =
        arguments.into_iter().filter(|(_, value)| !value.is_null()).collect();
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    for name in required.filter_map(Value::as_str) {
        if !arguments.contains_key(name) {
            return Err(Failure::new(format!("The argument {name:?} is missing.")));
        }
    }
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return Ok(arguments);
    };
    // What a model adds of its own is not sent, unless the tool takes anything.
    if schema.get("additionalProperties").is_none_or(|more| more == &Value::Bool(false)) {
        arguments.retain(|name, _| properties.contains_key(name));
    }
    for (name, value) in &mut arguments {
        let Some(property) = properties.get(name) else { continue };
        fit(name, value, property)?;
    }
    Ok(arguments)
}

fn fit(name: &str, value: &mut Value, property: &Value) -> Result<(), Failure> {
    if let Some(kind) = property.get("type").and_then(Value::as_str) {
        if let Some(meant) = meant(value, kind) {
            *value = meant;
        }
        if !is_of(value, kind) {
            return Err(Failure::new(format!("The argument {name:?} must be of type {kind}.")));
        }
    }
    let allowed = property.get("enum").and_then(Value::as_array);
    match allowed {
        Some(allowed) if !allowed.contains(value) => {
            let allowed = allowed.iter().map(Value::to_string).collect::<Vec<_>>().join(", ");
            Err(Failure::new(format!("The argument {name:?} must be one of {allowed}.")))
        }
        _ => Ok(()),
    }
}

/// What a value of another type stands for.
fn meant(value: &Value, kind: &str) -> Option<Value> {
    match (value, kind) {
        (Value::String(text), "number" | "integer" | "boolean" | "array" | "object") => {
            serde_json::from_str(text.trim()).ok()
        }
        (Value::Number(_) | Value::Bool(_), "string") => Some(Value::String(value.to_string())),
        _ => None,
    }
}

fn is_of(value: &Value, kind: &str) -> bool {
    match kind {
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn outcome(text: &str) -> Result<Value, String> {
        let schema = json!({
            "type": "object",
            "required": ["city"],
            "properties": {
                "city": {"type": "string"},
                "days": {"type": "integer"},
                "in": {"type": "string", "enum": ["C", "F"]},
                "loud": {"type": "boolean"},
            },
        });
        check(text, &schema).map(Value::Object).map_err(|failure| failure.told())
    }

    #[test]
    fn arguments_that_fit_are_taken_and_what_is_meant_is_understood() {
        let city = json!({"city": "Paris"});
        assert_eq!(outcome(r#"{"city": "Paris"}"#).unwrap(), city);
        assert_eq!(outcome(r#""{\"city\": \"Paris\"}""#).unwrap(), city, "packed twice");
        assert_eq!(outcome(r#"{"city": "Paris", "in": null}"#).unwrap(), city);
        assert_eq!(
            outcome(r#"{"city": 75001, "days": "3", "loud": "true", "else": 1}"#).unwrap(),
            json!({"city": "75001", "days": 3, "loud": true}),
            "what the tool does not know is left out"
        );
    }

    #[test]
    fn mistakes_are_told_in_sentences() {
        for (text, wanted) in [
            ("{\"city\": ", "not valid JSON"),
            ("[1]", "no JSON object"),
            ("\"Paris\"", "no JSON object"),
            ("", "\"city\" is missing"),
            (r#"{"city": null}"#, "\"city\" is missing"),
            (r#"{"city": ["Paris"]}"#, "\"city\" must be of type string"),
            (r#"{"city": "Paris", "days": 1.5}"#, "\"days\" must be of type integer"),
            (r#"{"city": "Paris", "in": "K"}"#, "\"in\" must be one of \"C\", \"F\""),
        ] {
            let error = outcome(text).unwrap_err();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }
}
