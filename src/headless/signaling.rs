//! The caller's HTTP side.

use reqwest::StatusCode;
use serde::{Deserialize, Serialize};

use super::Options;
use crate::ids::CallId;

/// Why a call does not come about.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Nothing answers there.
    #[error("no gateway answers at {url} ({reason}); is `eva serve` running there?")]
    Unreachable {
        /// The address.
        url: String,
        /// What the connection said.
        reason: String,
    },
    /// The gateway refuses.
    #[error("the gateway refuses the call ({status}): {message}")]
    Refused {
        /// HTTP status.
        status: StatusCode,
        /// Its sentence.
        message: String,
    },
    /// The media side failed.
    #[error("the call cannot be connected: {0}")]
    Media(String),
}

#[derive(Serialize)]
struct Offer<'a> {
    r#type: &'a str,
    sdp: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    voice: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    persona: Option<&'a str>,
    push_to_talk: bool,
}

/// What the gateway answers.
#[derive(Deserialize)]
pub(super) struct Answer {
    pub(super) sdp: String,
    pub(super) call_id: CallId,
}

/// A gateway's signaling address.
pub(super) struct Signaling {
    client: reqwest::Client,
    base: String,
    key: Option<String>,
}

impl Signaling {
    pub(super) fn new(
        url: &str,
        key: Option<&str>,
        any_certificate: bool,
    ) -> Result<Self, DialError> {
        let client = reqwest::Client::builder()
            .danger_accept_invalid_certs(any_certificate)
            .no_proxy()
            .build()
            .map_err(|error| DialError::Media(error.to_string()))?;
        let base = url.trim_end_matches('/').to_owned();
        Ok(Self { client, base, key: key.map(str::to_owned) })
    }

    fn authorised(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    pub(super) async fn offer(&self, sdp: &str, options: &Options) -> Result<Answer, DialError> {
        let unreachable = |error: reqwest::Error| DialError::Unreachable {
            url: self.base.clone(),
            reason: innermost(&error),
        };
        let request = self.client.post(format!("{}/offer", self.base));
        let offer = Offer {
            r#type: "offer",
            sdp,
            language: options.language.as_deref(),
            voice: options.voice.as_deref(),
            session_id: options.session.as_deref(),
            persona: options.persona.as_deref(),
            push_to_talk: options.push_to_talk,
        };
        let response = self.authorised(request).json(&offer).send().await.map_err(unreachable)?;
        let status = response.status();
        if !status.is_success() {
            let text = response.text().await.unwrap_or_default();
            return Err(DialError::Refused { status, message: sentence(&text) });
        }
        response.json().await.map_err(unreachable)
    }

    pub(super) async fn hang_up(&self, call: CallId) -> Result<(), DialError> {
        let request = self.client.delete(format!("{}/calls/{call}", self.base));
        self.authorised(request).send().await.map_err(|error| DialError::Unreachable {
            url: self.base.clone(),
            reason: innermost(&error),
        })?;
        Ok(())
    }
}

/// The sentence in `{"error":{"message"}}`, or the text itself.
fn sentence(body: &str) -> String {
    serde_json::from_str::<serde_json::Value>(body)
        .ok()
        .and_then(|json| json["error"]["message"].as_str().map(str::to_owned))
        .unwrap_or_else(|| body.chars().take(200).collect())
}

/// The cause at the bottom of an error: what the system said.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
