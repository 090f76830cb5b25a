//! The file that gives EVA tools (`eva serve --tools FILE`), as TOML.
//!
//! In: its text and the environment. Out: tools and servers that can be used as they are, or one
//! sentence that names the file, the tool and the field. Reads nothing but the file; asks no server.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use toml::Table;

use super::http::{HttpTool, Template};
use super::mcp::{Reach, ServerConfig};
use crate::thinking::ToolSpec;

/// How long a tool may take where the file does not say.
const TIMEOUT: Duration = Duration::from_secs(8);
/// The longest time a person can be kept waiting, seconds.
const MOST_TIMEOUT_S: f64 = 60.0;
/// The longest result in characters where the file does not say; all of it is read by the model.
const MOST_RESULT: usize = 4000;
/// Tools of one file.
const MOST_TOOLS: usize = 64;

/// Why tools cannot be used; a sentence that names the file, the tool and the field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ToolsError(pub(super) String);

/// Limits of one tool or of all tools of a server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Limits {
    /// From the call to the whole result.
    pub within: Duration,
    /// Characters of a result that the model is told.
    pub most_result: usize,
}

/// What a file says, checked.
#[derive(Debug)]
pub(super) struct Config {
    pub http: Vec<(ToolSpec, HttpTool)>,
    pub mcp: Vec<ServerConfig>,
}

impl Config {
    /// Reads and checks a file; `${NAME}` stands for a variable of the environment.
    pub(super) fn load(path: &Path) -> Result<Self, ToolsError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| {
            ToolsError(format!("{name} cannot be read ({error}); --tools names a TOML file"))
        })?;
        Self::read(&name, &text, &|name| std::env::var(name).ok())
    }

    pub(super) fn read(
        file: &str,
        text: &str,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ToolsError> {
        let table: Table = text.parse().map_err(|error: toml::de::Error| {
            let before = error.span().map_or(0, |span| span.start.min(text.len()));
            let line = text.as_bytes()[..before].iter().filter(|byte| **byte == b'\n').count() + 1;
            let reason = error.message().lines().collect::<Vec<_>>().join("; ");
            ToolsError(format!("{file}, line {line}: {reason}"))
        })?;
        let top = Fields { place: file.to_owned(), table: &table, env };
        top.know(&["tool", "mcp"])?;
        let mut config = Self { http: Vec::new(), mcp: Vec::new() };
        for fields in top.tables("tool")? {
            let tool = http_tool(&fields)?;
            if config.http.iter().any(|(other, _)| other.name == tool.0.name) {
                return Err(fields.error("name", "is the name of another tool too"));
            }
            config.http.push(tool);
        }
        for fields in top.tables("mcp")? {
            let server = mcp_server(&fields)?;
            if config.mcp.iter().any(|other| other.name == server.name) {
                return Err(fields.error("name", "is the name of another server too"));
            }
            config.mcp.push(server);
        }
        if config.http.is_empty() && config.mcp.is_empty() {
            return Err(ToolsError(format!(
                "{file} has neither a [[tool]] nor an [[mcp]]; docs/tools.md shows both"
            )));
        }
        if config.http.len() > MOST_TOOLS {
            return Err(ToolsError(format!("{file} has more than {MOST_TOOLS} tools")));
        }
        Ok(config)
    }
}

fn http_tool(fields: &Fields<'_>) -> Result<(ToolSpec, HttpTool), ToolsError> {
    fields.know(&[
        "name",
        "description",
        "parameters",
        "url",
        "method",
        "headers",
        "timeout_s",
        "max_result_chars",
        "result",
        "allow_private",
    ])?;
    let name = fields.needed("name")?;
    if !is_tool_name(&name) {
        return Err(fields.error("name", "may hold letters, digits, _ and - only, at most 64"));
    }
    let spec =
        ToolSpec { name, description: fields.needed("description")?, parameters: schema(fields)? };
    let method = fields.text("method")?.unwrap_or_else(|| "GET".to_owned());
    let method = match method.as_str() {
        "GET" => reqwest::Method::GET,
        "POST" => reqwest::Method::POST,
        "PUT" => reqwest::Method::PUT,
        "PATCH" => reqwest::Method::PATCH,
        "DELETE" => reqwest::Method::DELETE,
        _ => return Err(fields.error("method", "is GET, POST, PUT, PATCH or DELETE")),
    };
    let url = Template::parse(&fields.expanded("url")?.ok_or_else(|| fields.missing("url"))?)
        .map_err(|reason| fields.error("url", &reason))?;
    let known = |name: &str| spec.parameters["properties"].get(name).is_some();
    if let Some(unknown) = url.placeholders().find(|name| !known(name)) {
        return Err(fields.error("url", &format!("has {{{unknown}}}, which is no parameter")));
    }
    let has_body = matches!(method.as_str(), "POST" | "PUT" | "PATCH");
    let properties = spec.parameters["properties"].as_object().into_iter().flatten();
    let unused = properties.map(|(name, _)| name).find(|name| !url.has(name));
    if let Some(unused) = unused.filter(|_| !has_body) {
        let reason = format!("has no {{{unused}}}, so that parameter is never sent");
        return Err(fields.error("url", &reason));
    }
    let pick = fields.text("result")?;
    if pick.as_ref().is_some_and(|pick| !pick.starts_with('/')) {
        return Err(fields.error("result", "is a JSON pointer, like \"/current/temperature\""));
    }
    let (headers, limits) = (headers(fields)?, limits(fields)?);
    let allow_private = fields.flag("allow_private")?;
    let tool = HttpTool::new(url, method, headers, pick, limits, allow_private)
        .map_err(|reason| fields.error("url", &reason))?;
    Ok((spec, tool))
}

fn mcp_server(fields: &Fields<'_>) -> Result<ServerConfig, ToolsError> {
    fields.know(&[
        "name",
        "url",
        "headers",
        "command",
        "args",
        "env",
        "timeout_s",
        "max_result_chars",
        "only",
        "allow_private",
    ])?;
    let name = fields.needed("name")?;
    if !is_tool_name(&name) {
        return Err(fields.error("name", "may hold letters, digits, _ and - only, at most 64"));
    }
    let reach = match (fields.expanded("url")?, fields.text("command")?) {
        (Some(url), None) => {
            fields.not_with("url", &["args", "env"])?;
            let parsed = reqwest::Url::parse(&url).ok();
            let parsed = parsed.filter(|url| matches!(url.scheme(), "http" | "https"));
            let url = parsed.ok_or_else(|| {
                fields.error("url", "is no address; give it like http://host/mcp")
            })?;
            let allow_private = fields.flag("allow_private")?;
            Reach::Http { url, headers: headers(fields)?, allow_private }
        }
        (None, Some(command)) => {
            fields.not_with("command", &["headers", "allow_private"])?;
            let args = fields.list("args")?;
            Reach::Program { command, args, env: fields.map("env")? }
        }
        (Some(_), Some(_)) => {
            return Err(fields.error("command", "stands beside a url; a server has one of them"));
        }
        (None, None) => return Err(fields.error("url", "is missing, and so is command")),
    };
    let only = fields.table.contains_key("only").then(|| fields.list("only")).transpose()?;
    Ok(ServerConfig { name, reach, only, limits: limits(fields)? })
}

/// Whether all servers take it as a tool's name.
pub(super) fn is_tool_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    (1..=64).contains(&name.len()) && name.chars().all(allowed)
}

/// The parameters as a JSON schema of an object; without any, of an empty one.
fn schema(fields: &Fields<'_>) -> Result<Value, ToolsError> {
    let Some(parameters) = fields.table.get("parameters") else {
        return Ok(json!({"type": "object", "properties": {}}));
    };
    let wrong = |reason: &str| Err(fields.error("parameters", reason));
    let mut schema = serde_json::to_value(parameters).unwrap_or_default();
    let Some(object) = schema.as_object_mut() else {
        return wrong("is a table: [tool.parameters]");
    };
    if object.get("type").is_some_and(|kind| kind != "object") {
        return wrong("has another type than \"object\"");
    }
    object.insert("type".to_owned(), json!("object"));
    let properties = object.entry("properties").or_insert_with(|| json!({}));
    let Some(properties) = properties.as_object() else {
        return wrong("has properties that are no table");
    };
    if let Some((name, _)) = properties.iter().find(|(_, property)| !property.is_object()) {
        return wrong(&format!("has a property {name:?} that is no table"));
    }
    let names: Vec<String> = properties.keys().cloned().collect();
    let required = object.entry("required").or_insert_with(|| json!([]));
    let Some(required) = required.as_array() else {
        return wrong("has a required that is no list of names");
    };
    let known = |name: &&Value| name.as_str().is_some_and(|name| names.iter().any(|n| n == name));
    match required.iter().find(|name| !known(name)) {
        Some(name) => wrong(&format!("requires {name}, which is none of its properties")),
        None => Ok(schema),
    }
}

fn headers(fields: &Fields<'_>) -> Result<HeaderMap, ToolsError> {
    let mut headers = HeaderMap::new();
    for (name, value) in fields.map("headers")? {
        let wrong = || fields.error("headers", &format!("has {name:?}, which is no header"));
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        let mut value = HeaderValue::from_str(value.trim()).map_err(|_| wrong())?;
        value.set_sensitive(true);
        headers.insert(header, value);
    }
    Ok(headers)
}

fn limits(fields: &Fields<'_>) -> Result<Limits, ToolsError> {
    let within = match fields.number("timeout_s")? {
        None => TIMEOUT,
        Some(seconds) if seconds > 0.0 && seconds <= MOST_TIMEOUT_S => {
            Duration::from_secs_f64(seconds)
        }
        Some(_) => return Err(fields.error("timeout_s", "is a number of seconds up to 60")),
    };
    let most_result = match fields.number("max_result_chars")? {
        None => MOST_RESULT,
        Some(characters) if (100.0..=20_000.0).contains(&characters) => characters as usize,
        Some(_) => return Err(fields.error("max_result_chars", "is from 100 to 20000")),
    };
    Ok(Limits { within, most_result })
}

/// One table of the file, and how to name it to people.
struct Fields<'a> {
    /// The file, and the tool or server.
    place: String,
    table: &'a Table,
    env: &'a dyn Fn(&str) -> Option<String>,
}

impl<'a> Fields<'a> {
    fn error(&self, field: &str, reason: &str) -> ToolsError {
        ToolsError(format!("{}: {field} {reason}", self.place))
    }

    fn missing(&self, field: &str) -> ToolsError {
        self.error(field, "is missing")
    }

    /// Refuses fields that are none.
    fn know(&self, known: &[&str]) -> Result<(), ToolsError> {
        let Some(unknown) = self.table.keys().find(|key| !known.contains(&key.as_str())) else {
            return Ok(());
        };
        let near = known.iter().min_by_key(|name| strsim::levenshtein(name, unknown));
        let near = near.filter(|name| strsim::levenshtein(name, unknown) <= 2);
        let hint = match near {
            Some(name) => format!("is not known here; {name} is"),
            None => format!("is not known here; these are: {}", known.join(", ")),
        };
        Err(self.error(unknown, &hint))
    }

    fn not_with(&self, field: &str, others: &[&str]) -> Result<(), ToolsError> {
        match others.iter().find(|other| self.table.contains_key(**other)) {
            Some(other) => Err(self.error(other, &format!("does not go with {field}"))),
            None => Ok(()),
        }
    }

    /// The `[[field]]` tables, each with its own place.
    fn tables(&self, field: &str) -> Result<Vec<Fields<'a>>, ToolsError> {
        let Some(value) = self.table.get(field) else { return Ok(Vec::new()) };
        let tables = value
            .as_array()
            .and_then(|array| array.iter().map(toml::Value::as_table).collect::<Option<Vec<_>>>());
        let wrong = || self.error(field, &format!("is written [[{field}]]"));
        let tables = tables.ok_or_else(wrong)?.into_iter().enumerate();
        let kind = if field == "mcp" { "MCP server" } else { field };
        let named = tables.map(|(index, table)| {
            let name = table.get("name").and_then(toml::Value::as_str);
            let name = name.map_or_else(|| (index + 1).to_string(), |name| format!("{name:?}"));
            Fields { place: format!("{}, {kind} {name}", self.place), table, env: self.env }
        });
        Ok(named.collect())
    }

    fn text(&self, field: &str) -> Result<Option<String>, ToolsError> {
        match self.table.get(field) {
            None => Ok(None),
            Some(toml::Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(self.error(field, "is a text in quotes")),
        }
    }

    fn needed(&self, field: &str) -> Result<String, ToolsError> {
        let text = self.text(field)?.ok_or_else(|| self.missing(field))?;
        if text.trim().is_empty() { Err(self.error(field, "is empty")) } else { Ok(text) }
    }

    fn expanded(&self, field: &str) -> Result<Option<String>, ToolsError> {
        self.text(field)?.map(|text| self.expand(field, &text)).transpose()
    }

    /// `true` or `false`; `false` where it is absent.
    fn flag(&self, field: &str) -> Result<bool, ToolsError> {
        match self.table.get(field) {
            None => Ok(false),
            Some(toml::Value::Boolean(flag)) => Ok(*flag),
            Some(_) => Err(self.error(field, "is true or false")),
        }
    }

    fn number(&self, field: &str) -> Result<Option<f64>, ToolsError> {
        match self.table.get(field) {
            None => Ok(None),
            Some(toml::Value::Integer(number)) => Ok(Some(*number as f64)),
            Some(toml::Value::Float(number)) => Ok(Some(*number)),
            Some(_) => Err(self.error(field, "is a number")),
        }
    }

    fn list(&self, field: &str) -> Result<Vec<String>, ToolsError> {
        let wrong = || self.error(field, "is a list of texts: [\"one\", \"two\"]");
        let Some(value) = self.table.get(field) else { return Ok(Vec::new()) };
        let texts = value.as_array().ok_or_else(wrong)?.iter();
        let texts = texts.map(|text| Some(text.as_str()?.to_owned()));
        let texts: Vec<String> = texts.collect::<Option<_>>().ok_or_else(wrong)?;
        texts.iter().map(|text| self.expand(field, text)).collect()
    }

    fn map(&self, field: &str) -> Result<BTreeMap<String, String>, ToolsError> {
        let wrong = || self.error(field, "is a table of texts: { Name = \"value\" }");
        let Some(value) = self.table.get(field) else { return Ok(BTreeMap::new()) };
        let entries = value.as_table().ok_or_else(wrong)?.iter();
        entries
            .map(|(name, value)| {
                let value = value.as_str().ok_or_else(wrong)?;
                Ok((name.clone(), self.expand(field, value)?))
            })
            .collect()
    }

    /// Puts the environment's variables in.
    fn expand(&self, field: &str, text: &str) -> Result<String, ToolsError> {
        let mut expanded = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let (before, after) = rest.split_at(at);
            let Some((name, behind)) = after[2..].split_once('}') else { break };
            let value = (self.env)(name).ok_or_else(|| {
                let reason = format!("needs the environment variable {name}, which is not set");
                self.error(field, &reason)
            })?;
            expanded.push_str(before);
            expanded.push_str(&value);
            rest = behind;
        }
        expanded.push_str(rest);
        Ok(expanded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEATHER: &str = r#"
        [[tool]]
        name = "weather"
        description = "How the weather is in a city."
        url = "https://api.example.com/v1/{city}?key=${KEY}"
        headers = { Authorization = "Bearer ${KEY}" }
        [tool.parameters]
        required = ["city"]
        [tool.parameters.properties.city]
        type = "string"
    "#;

    fn read(text: &str) -> Result<Config, String> {
        let env = |name: &str| (name == "KEY").then(|| "s3cret".to_owned());
        Config::read("tools.toml", text, &env).map_err(|error| error.to_string())
    }

    fn refusal(text: &str) -> String {
        read(text).map(|_| ()).expect_err(text)
    }

    #[test]
    fn a_file_gives_tools_and_servers_and_its_secrets_do_not_show() {
        let text = format!(
            "{WEATHER}
            [[mcp]]
            name = \"home\"
            command = \"home-server\"
            args = [\"--key\", \"${{KEY}}\"]
            env = {{ TOKEN = \"${{KEY}}\" }}
            timeout_s = 2.5
            [[mcp]]
            name = \"notes\"
            url = \"http://127.0.0.1:9/mcp\"
            headers = {{ Authorization = \"Bearer ${{KEY}}\" }}
            only = [\"search\"]"
        );
        let config = read(&text).unwrap();
        let (spec, tool) = &config.http[0];
        assert_eq!(spec.parameters["type"], "object");
        assert_eq!(tool.limits().within, TIMEOUT);
        assert_eq!(config.mcp[0].limits.within, Duration::from_millis(2500));
        assert_eq!(config.mcp[1].only, Some(vec!["search".to_owned()]));
        let Reach::Program { args, env, .. } = &config.mcp[0].reach else { panic!("a program") };
        assert_eq!((args[1].as_str(), env["TOKEN"].as_str()), ("s3cret", "s3cret"));
        assert!(!format!("{config:?}").contains("s3cret"), "{config:?}");
    }

    #[test]
    fn mistakes_are_answered_with_file_tool_and_field() {
        let with = |from: &str, to: &str| {
            assert!(WEATHER.contains(from), "{from}");
            refusal(&WEATHER.replace(from, to))
        };
        let place = "tools.toml, tool \"weather\": ";
        for (from, to, wanted) in [
            ("url =", "ulr =", "ulr is not known here; url is"),
            ("{city}", "{town}", "url has {town}, which is no parameter"),
            ("{city}", "all", "url has no {city}, so that parameter is never sent"),
            ("https://api.example.com", "https://{city}.com", "url has a { before its path"),
            ("https://", "ftp://", "url is no address"),
            ("Bearer ${KEY}", "${NO_KEY}", "headers needs the environment variable NO_KEY"),
            ("{ Authorization", "{ \"a b\"", "headers has \"a b\", which is no header"),
            ("[\"city\"]", "[\"town\"]", "parameters requires \"town\""),
            ("required = [", "type = \"array\"\nrequired = [", "parameters has another type"),
            ("description = \"How the weather is in a city.\"", "", "description is missing"),
            ("url =", "timeout_s = 0\nurl =", "timeout_s is a number of seconds"),
            ("url =", "timeout_s = \"8\"\nurl =", "timeout_s is a number"),
            ("url =", "method = \"get\"\nurl =", "method is GET, POST"),
            ("url =", "result = \"now\"\nurl =", "result is a JSON pointer"),
        ] {
            let error = with(from, to);
            assert!(error.starts_with(&format!("{place}{wanted}")), "{from} → {to}: {error}");
            assert!(!error.contains("s3cret") && error.lines().count() == 1, "{error}");
        }
        let twice = refusal(&format!("{WEATHER}{WEATHER}"));
        assert!(twice.contains("name is the name of another tool"), "{twice}");
        let spaces = with("\"weather\"", "\"the weather\"");
        assert!(spaces.contains("name may hold letters"), "{spaces}");
        let unnamed = refusal("[[tool]]\ndescription = \"x\"");
        assert_eq!(unnamed, "tools.toml, tool 1: name is missing");
        let broken = refusal("[[tool]]\nname = \"a\"\nname = \"b\"");
        assert!(broken.starts_with("tools.toml, line 3: "), "{broken}");
        assert!(refusal("").contains("neither a [[tool]] nor an [[mcp]]"));
        assert!(refusal("tool = 3").contains("tool is written [[tool]]"));
    }

    #[test]
    fn a_server_has_an_address_or_a_command() {
        let server = |fields: &str| refusal(&format!("[[mcp]]\nname = \"home\"\n{fields}"));
        let place = "tools.toml, MCP server \"home\": ";
        for (fields, wanted) in [
            ("", "url is missing, and so is command"),
            ("url = \"http://a/\"\ncommand = \"b\"", "command stands beside a url"),
            ("url = \"a\"", "url is no address"),
            ("url = \"http://a/\"\nargs = []", "args does not go with url"),
            ("command = \"a\"\nargs = \"b\"", "args is a list of texts"),
        ] {
            let error = server(fields);
            assert!(error.starts_with(&format!("{place}{wanted}")), "{fields}: {error}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = Config::load(Path::new("/nowhere/tools.toml")).unwrap_err().to_string();
        assert!(error.contains("/nowhere/tools.toml") && error.contains("--tools"), "{error}");
    }
}
