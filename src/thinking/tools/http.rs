//! Tools that are HTTP requests.
//!
//! In: checked arguments. Out: the answer's text, shortened. The model's arguments fill places in
//! the path and the query only, encoded, so that they cannot choose another host or climb out of
//! the path. [`crate::outbound`] says what can be reached.

use std::collections::BTreeMap;

use reqwest::header::HeaderMap;
use reqwest::{Client, Method, StatusCode, Url};
use serde_json::{Map, Value};

use super::Failure;
use super::config::Limits;
use crate::outbound::{self, Reach};
use crate::thinking::server::root_cause;

/// The longest answer that is read, in bytes.
const MAX_BODY: usize = 512 << 10;
/// So much of a refusal is told to the model, characters.
const MAX_REASON: usize = 300;

/// An address with places for arguments: `https://host/path/{a}?b={b}`.
#[derive(Clone)]
pub(super) struct Template {
    /// Text and places in turn, text first and last.
    texts: Vec<String>,
    places: Vec<String>,
}

impl std::fmt::Debug for Template {
    /// The text may hold a key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Template").field("places", &self.places).finish_non_exhaustive()
    }
}

impl Template {
    /// Reads an address; the error follows the word "url".
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || "is no address; give it like https://host/path/{name}".to_owned();
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        if !matches!(scheme, "http" | "https") {
            return Err(wrong());
        }
        let host = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
        if host.contains(['{', '}']) {
            return Err("has a { before its path; the model may not choose the host".to_owned());
        }
        if host.contains('@') {
            return Err("holds a password; put it into headers".to_owned());
        }
        let (mut texts, mut places) = (Vec::new(), Vec::new());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (place, behind) = after.split_once('}').ok_or("has a { without }")?;
            texts.push(before.to_owned());
            places.push(place.to_owned());
            rest = behind;
        }
        texts.push(rest.to_owned());
        let template = Self { texts, places };
        template.fill(&Map::new()).map(|_| template).map_err(|_| wrong())
    }

    pub(super) fn placeholders(&self) -> impl Iterator<Item = &String> {
        self.places.iter()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.places.iter().any(|place| place == name)
    }

    /// The address with the arguments in their places; what is absent stays empty.
    pub(super) fn fill(&self, arguments: &Map<String, Value>) -> Result<Url, Failure> {
        let filled = |value: &dyn Fn(&str) -> String| {
            let mut texts = self.texts.iter();
            let mut address = texts.next().cloned().unwrap_or_default();
            for (place, text) in self.places.iter().zip(texts) {
                address.push_str(&encode(&value(place)));
                address.push_str(text);
            }
            Url::parse(&address).map_err(|_| Failure::new("The arguments give no address."))
        };
        let url = filled(&|place| arguments.get(place).map_or_else(String::new, as_text))?;
        // "." and ".." would climb out of the path.
        let plain = filled(&|_| "x".to_owned())?;
        let segments = |url: &Url| url.path_segments().map_or(0, Iterator::count);
        if url.origin() != plain.origin() || segments(&url) != segments(&plain) {
            return Err(Failure::new("An argument may not be \".\" or \"..\"."));
        }
        Ok(url)
    }
}

/// Percent-encodes all but letters, digits, `-`, `_`, `.` and `~`.
fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// One tool.
#[derive(Debug)]
pub(super) struct HttpTool {
    url: Template,
    method: Method,
    headers: HeaderMap,
    /// The part of a JSON answer that is the result.
    pick: Option<String>,
    limits: Limits,
    client: Client,
}

impl HttpTool {
    /// The error follows the word "url".
    pub(super) fn new(
        url: Template,
        method: Method,
        headers: HeaderMap,
        pick: Option<String>,
        limits: Limits,
        allow_private: bool,
    ) -> Result<Self, String> {
        let place = url.fill(&Map::new()).map_err(|failure| failure.told())?;
        let client = outbound::client(&place, reach(&place, allow_private)).map_err(|error| {
            format!("cannot be asked from this machine: {}", root_cause(&error))
        })?;
        Ok(Self { url, method, headers, pick, limits, client })
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    /// Sends the request; the text of the answer, or a sentence.
    pub(super) async fn run(&self, arguments: &Map<String, Value>) -> Result<String, Failure> {
        let url = self.url.fill(arguments)?;
        let mut request =
            self.client.request(self.method.clone(), url).headers(self.headers.clone());
        if matches!(self.method, Method::POST | Method::PUT | Method::PATCH) {
            let rest: BTreeMap<&String, &Value> =
                arguments.iter().filter(|(name, _)| !self.url.has(name)).collect();
            request = request.json(&rest);
        }
        let mut response = request.send().await.map_err(|error| failure(&error))?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(|error| failure(&error))? {
            body.extend_from_slice(&part);
            if body.len() > MAX_BODY {
                return Err(Failure::new("The tool's answer is far too long."));
            }
        }
        self.result(status, &body)
    }

    fn result(&self, status: StatusCode, body: &[u8]) -> Result<String, Failure> {
        let text = String::from_utf8_lossy(body);
        let json = serde_json::from_str::<Value>(&text).ok();
        if !status.is_success() {
            let reason = json.map_or_else(|| text.trim().to_owned(), |json| json.to_string());
            let reason: String = reason.chars().take(MAX_REASON).collect();
            let sentence = format!("The tool answered with status {}.", status.as_u16());
            return Err(Failure::new(sentence).saying(reason));
        }
        let Some(json) = json else { return Ok(text.trim().to_owned()) };
        let picked = match &self.pick {
            None => &json,
            Some(pick) => json
                .pointer(pick)
                .ok_or_else(|| Failure::new("The tool's answer does not hold what it should."))?,
        };
        Ok(as_text(picked))
    }
}

/// What requests to an address that the file names may reach. An inner address or `localhost` that
/// stands there in so many words was meant; a name that turns out to point inwards was not, unless
/// the file says `allow_private = true`.
pub(super) fn reach(url: &Url, allow_private: bool) -> Reach {
    if allow_private || outbound::is_written_private(url) { Reach::Anywhere } else { Reach::Public }
}

/// A failed request as a sentence, without its address, which may hold a key.
fn failure(error: &reqwest::Error) -> Failure {
    Failure::new(format!("The tool cannot be reached: {}.", root_cause(error)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fill(template: &str, arguments: Value) -> Result<String, String> {
        let arguments = arguments.as_object().unwrap().clone();
        let url = Template::parse(template).unwrap().fill(&arguments);
        url.map(String::from).map_err(|failure| failure.told())
    }

    #[test]
    fn arguments_are_encoded_into_their_places() {
        let template = "https://a.example/v1/{city}/now?days={days}&in={city}";
        assert_eq!(
            fill(template, json!({"city": "São Paulo/a?b#c&d=e", "days": 3})).unwrap(),
            "https://a.example/v1/S%C3%A3o%20Paulo%2Fa%3Fb%23c%26d%3De/now?days=3&in=\
             S%C3%A3o%20Paulo%2Fa%3Fb%23c%26d%3De"
        );
        assert_eq!(
            fill(template, json!({"city": true})).unwrap(),
            "https://a.example/v1/true/now?days=&in=true"
        );
    }

    #[test]
    fn arguments_choose_neither_host_nor_path() {
        let template = "https://a.example/v1/{one}{two}/x";
        for (one, two) in [("..", ""), (".", "."), ("%2e", "."), (".", "")] {
            let filled = fill(template, json!({"one": one, "two": two}));
            let stays = |url: &String| url.starts_with("https://a.example/v1/%252e");
            assert!(filled.as_ref().map_or(true, stays), "{one}{two}: {filled:?}");
        }
        for hostile in ["@evil.example", "//evil.example/", "\\evil.example", "/../../admin"] {
            let url = fill("http://10.0.0.1/{one}", json!({"one": hostile})).unwrap();
            let url = Url::parse(&url).unwrap();
            assert_eq!(url.host_str(), Some("10.0.0.1"), "{hostile}");
            assert_eq!(url.path_segments().unwrap().count(), 1, "{hostile}: {url}");
        }
    }

    #[test]
    fn addresses_that_leave_the_host_open_are_refused() {
        for text in
            ["https://{host}/x", "https://a.{tld}/", "https://a.example{rest}", "http://a:{port}/"]
        {
            assert!(Template::parse(text).unwrap_err().contains("before its path"), "{text}");
        }
        assert!(Template::parse("https://me:pw@a.example/").unwrap_err().contains("password"));
        assert!(Template::parse("https://a.example/{x").unwrap_err().contains("without }"));
        assert!(Template::parse("{x}").is_err() && Template::parse("a.example/x").is_err());
    }
}
