//! The settings of a Realtime session: what clients may set, checked, and as they are told them.
//!
//! In: the `session` object of `session.update`, of a client secret or of a call's request. Out: a
//! [`Config`] and its JSON. Settings that mean nothing here (`tracing`, `prompt`, `truncation`) are
//! taken and told back; what is known but wrong is refused with the name of its field.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::thinking::ToolSpec;

/// Voices that OpenAI's clients name; here they mean the gateway's own voice.
pub const FOREIGN_VOICES: &[&str] = &[
    "alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage",
    "shimmer", "verse",
];
/// The most tools of a session.
const MOST_TOOLS: usize = 128;
/// The longest instructions, bytes.
const LONGEST_INSTRUCTIONS: usize = 64 * 1024;

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConfigError {
    /// Its place, `session.audio.output.voice`.
    pub param: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// How sound travels on a WebSocket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SoundFormat {
    /// 16-bit little-endian samples, 24 kHz, one channel.
    #[default]
    Pcm24,
    /// G.711 µ-law, 8 kHz.
    MuLaw,
    /// G.711 A-law, 8 kHz.
    ALaw,
}

impl SoundFormat {
    /// Samples a second.
    pub fn rate(self) -> u32 {
        match self {
            Self::Pcm24 => 24_000,
            Self::MuLaw | Self::ALaw => 8_000,
        }
    }

    fn read(value: &Value, param: &str) -> Result<Self, ConfigError> {
        let kind = value.as_str().or_else(|| value["type"].as_str());
        match kind {
            Some("audio/pcm" | "pcm16") => match &value["rate"] {
                Value::Null => Ok(Self::Pcm24),
                rate if rate.as_f64() == Some(24_000.0) => Ok(Self::Pcm24),
                _ => Err(wrong(param, "audio/pcm is taken at a rate of 24000 only.")),
            },
            Some("audio/pcmu" | "g711_ulaw") => Ok(Self::MuLaw),
            Some("audio/pcma" | "g711_alaw") => Ok(Self::ALaw),
            _ => Err(wrong(param, "Choose audio/pcm, audio/pcmu or audio/pcma as the format.")),
        }
    }

    fn tell(self) -> Value {
        match self {
            Self::Pcm24 => json!({"type": "audio/pcm", "rate": 24_000}),
            Self::MuLaw => json!({"type": "audio/pcmu"}),
            Self::ALaw => json!({"type": "audio/pcma"}),
        }
    }
}

/// How fast a turn counts as over when it is judged by what was said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Eagerness {
    /// People may take their time.
    Low,
    /// The gateway's own settings.
    #[default]
    Auto,
    /// As soon as possible.
    High,
}

/// Who finds out that a turn is over.
#[derive(Clone, Debug, PartialEq)]
pub enum TurnDetection {
    /// Nobody: the client commits the sound and asks for replies.
    None,
    /// EVA, by voice, words and the end-of-turn vote.
    Semantic {
        /// How fast.
        eagerness: Eagerness,
    },
    /// EVA, by silence alone.
    Silence {
        /// Probability from which sound is a voice, 0-1.
        threshold: f32,
        /// Sound kept before the voice, milliseconds.
        prefix_padding_ms: u64,
        /// The silence that ends a turn, milliseconds.
        silence_duration_ms: u64,
        /// After such a silence EVA says something, milliseconds.
        idle_timeout_ms: Option<u64>,
    },
}

/// What the words of the person are transcribed with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transcription {
    /// The name that the client gave; the gateway's own recogniser works whatever it is.
    pub model: Option<String>,
    /// The language it named.
    pub language: Option<String>,
}

/// Which tools a reply may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ToolChoice {
    /// The model decides.
    #[default]
    Auto,
    /// None.
    None,
    /// At least one.
    Required,
    /// This one.
    Function(String),
}

/// The settings of one session.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The name of the model that the client asked for.
    pub model: Option<String>,
    /// Instructions, in place of the gateway's own.
    pub instructions: Option<String>,
    /// Whether replies are spoken; else they are text.
    pub spoken: bool,
    /// Tools that the client runs itself.
    pub tools: Arc<[ToolSpec]>,
    /// Which of them replies may use.
    pub tool_choice: ToolChoice,
    /// The most tokens of a reply; the gateway's own limit where `None`.
    pub max_tokens: Option<u32>,
    /// Sampling temperature.
    pub temperature: Option<f32>,
    /// How the person's side is set up.
    pub input: Input,
    /// How EVA's side is set up.
    pub output: Output,
    /// Whether EVA's own events (`eva.*`) are sent as well.
    pub eva_events: bool,
    /// What was set and means nothing here, as it came.
    pub others: Map<String, Value>,
}

/// The person's side.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// Format on a WebSocket.
    pub format: SoundFormat,
    /// Whether transcripts are told.
    pub transcription: Option<Transcription>,
    /// Who ends turns.
    pub turn_detection: TurnDetection,
    /// Whether a turn is answered without being asked.
    pub create_response: bool,
    /// Whether the person can interrupt.
    pub interrupt_response: bool,
    /// As it was set; callers' own echo and noise control does this work.
    pub noise_reduction: Value,
}

/// EVA's side.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// Format on a WebSocket.
    pub format: SoundFormat,
    /// The voice; the call's own where `None`.
    pub voice: Option<String>,
    /// How fast she speaks, 1 is the voice's own speed.
    pub speed: f32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            model: None,
            instructions: None,
            spoken: true,
            tools: Arc::from([]),
            tool_choice: ToolChoice::Auto,
            max_tokens: None,
            temperature: None,
            input: Input {
                format: SoundFormat::Pcm24,
                transcription: Some(Transcription::default()),
                turn_detection: TurnDetection::Semantic { eagerness: Eagerness::Auto },
                create_response: true,
                interrupt_response: true,
                noise_reduction: Value::Null,
            },
            output: Output { format: SoundFormat::Pcm24, voice: None, speed: 1.0 },
            eva_events: false,
            others: Map::new(),
        }
    }
}

impl Config {
    /// The same with the changes that a `session` object names. Fields that nobody knows are left
    /// out.
    ///
    /// # Errors
    /// [`ConfigError`], if a known field cannot be used; nothing is changed then.
    pub fn changed_by(&self, session: &Value) -> Result<Self, ConfigError> {
        let mut config = self.clone();
        let Some(session) = session.as_object() else {
            return Err(wrong("session", "Send the session's settings as an object."));
        };
        for (name, value) in session {
            config.change(name, value)?;
        }
        Ok(config)
    }

    fn change(&mut self, name: &str, value: &Value) -> Result<(), ConfigError> {
        let param = format!("session.{name}");
        match name {
            "type" if value != "realtime" => {
                return Err(wrong(&param, "This gateway has sessions of type \"realtime\" only."));
            }
            "model" => self.model = optional_text(value, &param)?,
            "instructions" => self.instructions = instructions(value, &param)?,
            "output_modalities" | "modalities" => self.spoken = spoken(value, &param)?,
            "tools" => self.tools = tools(value, &param)?,
            "tool_choice" => self.tool_choice = tool_choice(value, &param)?,
            "max_output_tokens" | "max_response_output_tokens" => {
                self.max_tokens = max_tokens(value, &param)?;
            }
            "temperature" => self.temperature = optional_number(value, 0.0, 2.0, &param)?,
            "audio" => return self.change_audio(value),
            "eva_events" => self.eva_events = flag(value, &param)?,
            "tracing" | "prompt" | "truncation" | "include" | "reasoning" => {
                self.others.insert(name.to_owned(), value.clone());
            }
            _ => {}
        }
        Ok(())
    }

    fn change_audio(&mut self, audio: &Value) -> Result<(), ConfigError> {
        let _ = members(audio, "session.audio")?;
        for (name, value) in members(&audio["input"], "session.audio.input")? {
            let param = format!("session.audio.input.{name}");
            match name.as_str() {
                "format" if value.is_null() => {}
                "format" => self.input.format = SoundFormat::read(value, &param)?,
                "transcription" => self.input.transcription = transcription(value, &param)?,
                "noise_reduction" => self.input.noise_reduction = value.clone(),
                "turn_detection" => self.input.change_turn_detection(value, &param)?,
                _ => {}
            }
        }
        for (name, value) in members(&audio["output"], "session.audio.output")? {
            let param = format!("session.audio.output.{name}");
            match name.as_str() {
                "format" if value.is_null() => {}
                "format" => self.output.format = SoundFormat::read(value, &param)?,
                "voice" => {
                    let voice = value.as_str().or_else(|| value["id"].as_str());
                    let voice = voice.map(str::to_owned);
                    if voice.is_none() && !value.is_null() {
                        return Err(wrong(&param, "Name the voice as text."));
                    }
                    self.output.voice = voice;
                }
                "speed" => {
                    self.output.speed = optional_number(value, 0.25, 1.5, &param)?.unwrap_or(1.0);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The voice that the session asks for, as [`VoiceSpec`](crate::speaking::VoiceSpec) reads it:
    /// `None` for the call's own at its own speed. OpenAI's names mean `own`.
    pub fn voice_spec(&self, own: &str) -> Option<String> {
        let named = self.output.voice.as_deref().filter(|name| !FOREIGN_VOICES.contains(name));
        let fast = (self.output.speed - 1.0).abs() > 1e-3;
        match (named, fast) {
            (None, false) => None,
            (Some(name), false) => Some(name.to_owned()),
            (name, true) => {
                let name = name.unwrap_or(own).split('@').next().unwrap_or(own);
                Some(format!("{name}@{}", self.output.speed))
            }
        }
    }

    /// The whole of the settings, as clients are told them.
    pub fn tell(&self, id: &str, own_voice: &str, own_model: &str) -> Value {
        let input = &self.input;
        let tools: Vec<Value> = self.tools.iter().map(tell_tool).collect();
        let modality = if self.spoken { "audio" } else { "text" };
        let mut told = json!({
            "type": "realtime",
            "object": "realtime.session",
            "id": id,
            "model": self.model.as_deref().unwrap_or(own_model),
            "output_modalities": [modality],
            "instructions": self.instructions.as_deref().unwrap_or_default(),
            "tools": tools,
            "tool_choice": self.tool_choice.tell(),
            "max_output_tokens": self.max_tokens.map_or(json!("inf"), |most| json!(most)),
            "tracing": null,
            "truncation": "auto",
            "prompt": null,
            "include": null,
            "audio": {
                "input": {
                    "format": input.format.tell(),
                    "transcription": input.transcription.as_ref().map(|asked| json!({
                        "model": asked.model.as_deref().unwrap_or("whisper-1"),
                        "language": asked.language,
                    })),
                    "noise_reduction": input.noise_reduction,
                    "turn_detection": input.tell_turn_detection(),
                },
                "output": {
                    "format": self.output.format.tell(),
                    "voice": self.output.voice.as_deref().unwrap_or(own_voice),
                    "speed": self.output.speed,
                },
            },
        });
        if let Some(temperature) = self.temperature {
            told["temperature"] = json!(temperature);
        }
        for (name, value) in &self.others {
            told[name] = value.clone();
        }
        told
    }
}

impl Input {
    fn change_turn_detection(&mut self, value: &Value, param: &str) -> Result<(), ConfigError> {
        if value.is_null() {
            self.turn_detection = TurnDetection::None;
            return Ok(());
        }
        let at = |name: &str| format!("{param}.{name}");
        let before = match &self.turn_detection {
            TurnDetection::None => "semantic_vad",
            TurnDetection::Semantic { .. } => "semantic_vad",
            TurnDetection::Silence { .. } => "server_vad",
        };
        let _ = members(value, param)?;
        let kind = optional_text(&value["type"], &at("type"))?;
        self.turn_detection = match kind.as_deref().unwrap_or(before) {
            "semantic_vad" => TurnDetection::Semantic {
                eagerness: eagerness(&value["eagerness"], &at("eagerness"))?,
            },
            "server_vad" => TurnDetection::Silence {
                threshold: optional_number(&value["threshold"], 0.0, 1.0, &at("threshold"))?
                    .unwrap_or(0.5),
                prefix_padding_ms: millis(&value["prefix_padding_ms"], &at("prefix_padding_ms"))?
                    .unwrap_or(300),
                silence_duration_ms: millis(
                    &value["silence_duration_ms"],
                    &at("silence_duration_ms"),
                )?
                .unwrap_or(500),
                idle_timeout_ms: millis(&value["idle_timeout_ms"], &at("idle_timeout_ms"))?,
            },
            _ => return Err(wrong(&at("type"), "Choose semantic_vad, server_vad or null.")),
        };
        self.create_response = optional_flag(&value["create_response"], &at("create_response"))?;
        self.interrupt_response =
            optional_flag(&value["interrupt_response"], &at("interrupt_response"))?;
        Ok(())
    }

    fn tell_turn_detection(&self) -> Value {
        let mut told = match &self.turn_detection {
            TurnDetection::None => return Value::Null,
            TurnDetection::Semantic { eagerness } => {
                let eagerness = match eagerness {
                    Eagerness::Low => "low",
                    Eagerness::Auto => "auto",
                    Eagerness::High => "high",
                };
                json!({"type": "semantic_vad", "eagerness": eagerness})
            }
            TurnDetection::Silence {
                threshold,
                prefix_padding_ms,
                silence_duration_ms,
                idle_timeout_ms,
            } => json!({
                "type": "server_vad",
                "threshold": threshold,
                "prefix_padding_ms": prefix_padding_ms,
                "silence_duration_ms": silence_duration_ms,
                "idle_timeout_ms": idle_timeout_ms,
            }),
        };
        told["create_response"] = json!(self.create_response);
        told["interrupt_response"] = json!(self.interrupt_response);
        told
    }
}

impl ToolChoice {
    fn tell(&self) -> Value {
        match self {
            Self::Auto => json!("auto"),
            Self::None => json!("none"),
            Self::Required => json!("required"),
            Self::Function(name) => json!({"type": "function", "name": name}),
        }
    }
}

pub(super) fn wrong(param: &str, message: &str) -> ConfigError {
    ConfigError { param: param.to_owned(), message: message.to_owned() }
}

fn members<'a>(
    value: &'a Value,
    param: &str,
) -> Result<impl Iterator<Item = (&'a String, &'a Value)>, ConfigError> {
    match value {
        Value::Null | Value::Object(_) => Ok(value.as_object().into_iter().flatten()),
        _ => Err(wrong(param, "Send an object here.")),
    }
}

pub(super) fn optional_text(value: &Value, param: &str) -> Result<Option<String>, ConfigError> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        _ => Err(wrong(param, "Send text here.")),
    }
}

pub(super) fn instructions(value: &Value, param: &str) -> Result<Option<String>, ConfigError> {
    let text = optional_text(value, param)?;
    if text.as_ref().is_some_and(|text| text.len() > LONGEST_INSTRUCTIONS) {
        return Err(wrong(param, "The instructions are longer than 64 KiB."));
    }
    Ok(text)
}

fn optional_number(
    value: &Value,
    least: f64,
    most: f64,
    param: &str,
) -> Result<Option<f32>, ConfigError> {
    match value.as_f64() {
        Some(number) if (least..=most).contains(&number) => Ok(Some(number as f32)),
        None if value.is_null() => Ok(None),
        _ => Err(wrong(param, &format!("Send a number between {least} and {most}."))),
    }
}

fn millis(value: &Value, param: &str) -> Result<Option<u64>, ConfigError> {
    match value.as_f64() {
        Some(number) if (0.0..=60_000.0).contains(&number) => Ok(Some(number as u64)),
        None if value.is_null() => Ok(None),
        _ => Err(wrong(param, "Send milliseconds between 0 and 60000.")),
    }
}

fn flag(value: &Value, param: &str) -> Result<bool, ConfigError> {
    value.as_bool().ok_or_else(|| wrong(param, "Send true or false."))
}

/// Absent means yes.
fn optional_flag(value: &Value, param: &str) -> Result<bool, ConfigError> {
    if value.is_null() { Ok(true) } else { flag(value, param) }
}

pub(super) fn spoken(value: &Value, param: &str) -> Result<bool, ConfigError> {
    let kinds: Option<Vec<&str>> =
        value.as_array().map(|kinds| kinds.iter().filter_map(Value::as_str).collect());
    match kinds.as_deref() {
        // Spoken replies carry their text with them.
        Some(["audio"] | ["audio", "text"] | ["text", "audio"]) => Ok(true),
        Some(["text"]) => Ok(false),
        _ => Err(wrong(param, "Choose [\"audio\"] or [\"text\"].")),
    }
}

pub(super) fn max_tokens(value: &Value, param: &str) -> Result<Option<u32>, ConfigError> {
    match value.as_u64() {
        _ if value.is_null() || value == "inf" => Ok(None),
        Some(most @ 1..=4096) => Ok(Some(most as u32)),
        _ => Err(wrong(param, "Send a number between 1 and 4096, or \"inf\".")),
    }
}

fn transcription(value: &Value, param: &str) -> Result<Option<Transcription>, ConfigError> {
    if value.is_null() {
        return Ok(None);
    }
    let _ = members(value, param)?;
    Ok(Some(Transcription {
        model: optional_text(&value["model"], &format!("{param}.model"))?,
        language: optional_text(&value["language"], &format!("{param}.language"))?,
    }))
}

fn eagerness(value: &Value, param: &str) -> Result<Eagerness, ConfigError> {
    match value.as_str() {
        Some("low") => Ok(Eagerness::Low),
        Some("auto" | "medium") => Ok(Eagerness::Auto),
        Some("high") => Ok(Eagerness::High),
        None if value.is_null() => Ok(Eagerness::Auto),
        _ => Err(wrong(param, "Choose low, medium, high or auto.")),
    }
}

/// The tools a client runs; `mcp` tools belong into the gateway's own file.
pub(super) fn tools(value: &Value, param: &str) -> Result<Arc<[ToolSpec]>, ConfigError> {
    let none = Vec::new();
    let tools = match value {
        Value::Null => &none,
        Value::Array(tools) if tools.len() <= MOST_TOOLS => tools,
        _ => return Err(wrong(param, "Send a list of at most 128 tools.")),
    };
    tools.iter().enumerate().map(|(at, tool)| tool_spec(tool, &format!("{param}[{at}]"))).collect()
}

fn tool_spec(tool: &Value, param: &str) -> Result<ToolSpec, ConfigError> {
    if tool["type"] != "function" {
        let message = "Only tools of type \"function\" can be given here; the gateway's owner \
                       adds MCP servers with --tools.";
        return Err(wrong(&format!("{param}.type"), message));
    }
    let name = tool["name"].as_str().unwrap_or_default();
    let usable = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || name.len() > 64 || !name.chars().all(usable) {
        let message = "Name the tool with 1 to 64 letters, digits, _ or -.";
        return Err(wrong(&format!("{param}.name"), message));
    }
    let parameters = match &tool["parameters"] {
        Value::Null => json!({"type": "object", "properties": {}}),
        object @ Value::Object(_) => object.clone(),
        _ => return Err(wrong(&format!("{param}.parameters"), "Send a JSON Schema object.")),
    };
    Ok(ToolSpec {
        name: name.to_owned(),
        description: optional_text(&tool["description"], &format!("{param}.description"))?
            .unwrap_or_default(),
        parameters,
    })
}

fn tell_tool(tool: &ToolSpec) -> Value {
    json!({
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
    })
}

pub(super) fn tool_choice(value: &Value, param: &str) -> Result<ToolChoice, ConfigError> {
    match (value.as_str(), value["name"].as_str()) {
        (Some("none"), _) => Ok(ToolChoice::None),
        (Some("required"), _) => Ok(ToolChoice::Required),
        (Some("auto"), _) => Ok(ToolChoice::Auto),
        (None, Some(name)) => Ok(ToolChoice::Function(name.to_owned())),
        (None, None) if value.is_null() => Ok(ToolChoice::Auto),
        _ => {
            Err(wrong(param, "Choose auto, none, required or {\"type\":\"function\",\"name\":…}."))
        }
    }
}
