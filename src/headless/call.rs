//! One headless call.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

use super::ear::Ear;
use super::mouth::Mouth;
use super::signaling::Signaling;
use super::timeline::{Packet, Timeline, Told};
use super::{DialError, Room};
use crate::ids::CallId;
use crate::observability::Parts;
use crate::rtc::{Caller, CallerConfig, LegEvent, LegEvents, LegSender};

/// A reply is over when EVA listens and nothing was audible for this long.
const QUIET: Duration = Duration::from_millis(400);

/// How to call.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The gateway's key.
    pub key: Option<String>,
    /// Language to ask for.
    pub language: Option<String>,
    /// Voice to ask for.
    pub voice: Option<String>,
    /// The session to go on with.
    pub session: Option<String>,
    /// The persona to ask for.
    pub persona: Option<String>,
    /// Turns begin and end with a button: [`HeadlessCall::tell`] presses it.
    pub push_to_talk: bool,
    /// Accept any TLS certificate (development certificates).
    pub any_certificate: bool,
    /// Leave UDP aside.
    pub tcp_only: bool,
    /// Send the sound here instead of to the gateway's own UDP port: a relay on the way.
    pub via: Option<SocketAddr>,
}

/// What one spoken turn brought.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TurnReport {
    /// From the caller's last voiced packet to EVA's first audible one, milliseconds.
    pub voice_to_voice_ms: Option<f64>,
    /// EVA spoke before the caller had finished.
    pub taken_over: bool,
    /// What the gateway understood.
    pub understood: String,
    /// What EVA said, as text.
    pub answered: String,
    /// The parts; they add up to `voice_to_voice_ms`.
    pub parts_ms: Option<Parts>,
    /// When a filler sounded after the last voiced packet, milliseconds.
    pub filler_ms: Option<f64>,
    /// Errors the gateway told.
    pub errors: Vec<String>,
}

/// A call under way. It moves only while one of its methods is awaited.
pub struct HeadlessCall {
    signaling: Signaling,
    id: CallId,
    sender: LegSender,
    events: LegEvents,
    mouth: Mouth,
    ear: Ear,
    state: String,
    turn: TurnReport,
    /// All text frames, in order.
    log: Vec<Value>,
    /// When each of them came.
    told_at: Vec<Instant>,
    /// The microphone hears EVA.
    room: Option<Room>,
    closed: bool,
}

impl HeadlessCall {
    /// Calls the gateway at `url` and waits until the media flows and the channel is open.
    pub async fn dial(url: &str, options: &Options) -> Result<Self, DialError> {
        let signaling = Signaling::new(url, options.key.as_deref(), options.any_certificate)?;
        let media = |error: crate::rtc::RtcError| DialError::Media(error.to_string());
        let config = CallerConfig { tcp_only: options.tcp_only, ..CallerConfig::default() };
        let (caller, offer) = Caller::dial(config).await.map_err(media)?;
        let answer = signaling.offer(&offer, options).await?;
        let sdp = match options.via {
            Some(relay) => redirected(&answer.sdp, relay),
            None => answer.sdp,
        };
        let leg = caller.accept(&sdp).await.map_err(media)?;
        let (sender, events) = leg.split();
        let mut call = Self {
            signaling,
            id: answer.call_id,
            sender,
            events,
            mouth: Mouth::new(),
            ear: Ear::new(),
            state: String::new(),
            turn: TurnReport::default(),
            log: Vec::new(),
            told_at: Vec::new(),
            room: None,
            closed: false,
        };
        call.wait_until_ready().await?;
        Ok(call)
    }

    async fn wait_until_ready(&mut self) -> Result<(), DialError> {
        let give_up = Instant::now() + Duration::from_secs(15);
        while self.state.is_empty() {
            if self.closed || Instant::now() > give_up {
                let why =
                    "no connection within 15 s: is the media port open between here and there?";
                return Err(DialError::Media(why.to_owned()));
            }
            self.step().await;
        }
        Ok(())
    }

    /// The call's id.
    pub fn id(&self) -> CallId {
        self.id
    }

    /// Whether the gateway has hung up or is gone.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// What EVA said so far, 48 kHz mono.
    pub fn recording(&self) -> &[f32] {
        &self.ear.recording
    }

    /// Deviation of each received packet's spacing from 20 ms, milliseconds.
    pub fn pacing_ms(&self) -> &[f64] {
        &self.ear.pacing_ms
    }

    /// Everything the gateway told, in order.
    pub fn log(&self) -> &[Value] {
        &self.log
    }

    /// Packets received so far.
    pub fn packets(&self) -> u64 {
        self.ear.packets
    }

    /// Says this (48 kHz mono) at real-time pace and waits until EVA has answered, at most `patience`
    /// after the last frame.
    pub async fn ask(&mut self, sound: &[f32], patience: Duration) -> TurnReport {
        self.turn = TurnReport::default();
        self.ear.listen_afresh();
        self.mouth.last_voiced = None;
        self.mouth.say(sound);
        while self.mouth.is_speaking() && !self.closed {
            self.step().await;
        }
        let give_up = Instant::now() + patience;
        while !self.closed && Instant::now() < give_up && !self.answered() {
            self.step().await;
        }
        self.report()
    }

    /// Lets the call run, saying `sound` if there is any, for this long.
    pub async fn run_for(&mut self, sound: &[f32], span: Duration) {
        self.mouth.say(sound);
        let until = Instant::now() + span;
        while !self.closed && Instant::now() < until {
            self.step().await;
        }
    }

    /// Begins to say `sound` with the next frame, behind what is being said; returns at once.
    pub fn say(&mut self, sound: &[f32]) {
        self.mouth.say(sound);
    }

    /// Mixes `sound` into the microphone, beside what is being said, in `delay` from now; returns at
    /// once.
    pub fn mix(&mut self, delay: Duration, sound: Vec<f32>) {
        self.mouth.mix(delay, sound);
    }

    /// Sends a frame of EVA's own protocol (docs/wire.md).
    pub fn tell(&self, frame: &Value) {
        self.sender.send_text(frame.to_string());
    }

    /// From now on the microphone hears EVA as this room sends her back; `None` ends it.
    pub fn set_room(&mut self, room: Option<Room>) {
        self.room = room;
    }

    /// Holds the caller's packets back, as a phone does on call waiting, or sends them again.
    pub fn hold(&mut self, held: bool) {
        self.mouth.held = held;
    }

    /// Lets the call run until `condition` is met (true) or `limit` has passed (false).
    pub async fn run_until(&mut self, limit: Duration, condition: impl Fn(&Self) -> bool) -> bool {
        let give_up = Instant::now() + limit;
        while !self.closed && Instant::now() < give_up {
            if condition(self) {
                return true;
            }
            self.step().await;
        }
        condition(self)
    }

    /// Who has the floor, as the gateway told last.
    pub fn state(&self) -> &str {
        &self.state
    }

    /// Whether the caller still has something to say.
    pub fn is_speaking(&self) -> bool {
        self.mouth.is_speaking()
    }

    /// The packets received so far, in order.
    pub fn heard(&self) -> &[Packet] {
        &self.ear.heard
    }

    /// How long nothing audible came, fillers included.
    pub fn quiet_for(&self) -> Duration {
        let heard = self.ear.heard.iter().rev();
        let last = heard.take_while(|packet| packet.dbfs <= super::REPLY_AUDIBLE_DBFS).last();
        let Some(first_quiet) = last else {
            // The newest packet is audible; the stream stops in silence.
            return self.ear.heard.last().map_or(Duration::MAX, |packet| packet.arrived.elapsed());
        };
        first_quiet.arrived.elapsed()
    }

    /// All that happened so far; the call keeps nothing of it.
    pub fn take_timeline(&mut self) -> Timeline {
        let told_at = std::mem::take(&mut self.told_at).into_iter();
        let told = told_at.zip(std::mem::take(&mut self.log));
        Timeline {
            said: std::mem::take(&mut self.mouth.said),
            packets: std::mem::take(&mut self.ear.heard),
            told: told.map(|(arrived, event)| Told { arrived, event }).collect(),
            recording: std::mem::take(&mut self.ear.recording),
            pacing_ms: std::mem::take(&mut self.ear.pacing_ms),
        }
    }

    fn answered(&self) -> bool {
        let said = self.ear.audible.is_some() && !self.turn.answered.is_empty();
        said && self.state == "listening" && self.ear.quiet_for(Instant::now()) > QUIET
    }

    fn report(&mut self) -> TurnReport {
        let mut report = std::mem::take(&mut self.turn);
        if let (Some(spoke), Some(filler)) = (self.mouth.last_voiced, self.ear.filler) {
            report.filler_ms = Some(filler.saturating_duration_since(spoke).as_secs_f64() * 1e3);
        }
        if let (Some(spoke), Some((heard, _))) = (self.mouth.last_voiced, self.ear.audible) {
            report.taken_over = heard < spoke;
            if !report.taken_over {
                let whole = (heard - spoke).as_secs_f64() * 1e3;
                report.voice_to_voice_ms = Some(whole);
                // The gateway's milestones are anchored at the first sound's arrival: what its
                // parts do not explain lies before the pause, the wire's both ways included.
                if let Some(parts) = &mut report.parts_ms {
                    parts.pause = (whole - (parts.total() - parts.pause)).max(0.0);
                }
            }
        }
        report
    }

    /// Hangs up and waits until the gateway knows.
    pub async fn hang_up(self) -> Result<(), DialError> {
        self.signaling.hang_up(self.id).await?;
        self.sender.close().await;
        Ok(())
    }

    /// Hangs up as a browser does: by closing its connection, without a request.
    pub async fn close(self) {
        self.sender.close().await;
    }

    /// One packet in, one frame out, or one event.
    async fn step(&mut self) {
        tokio::select! {
            biased;
            event = self.events.next() => self.event(event),
            () = tokio::time::sleep_until(self.mouth.next.into()) => {
                let echo = self.room.as_ref().zip(self.ear.playing_at(self.mouth.next));
                let echo = echo.map(|(room, now)| room.frame(&self.ear.recording, now));
                if let Some((payload, timestamp, marker)) = self.mouth.frame(echo) {
                    self.sender.send_opus(payload, timestamp, marker);
                }
            }
        }
    }

    fn event(&mut self, event: Option<LegEvent>) {
        match event {
            Some(LegEvent::Rtp(packet)) => self.ear.packet(&packet),
            Some(LegEvent::Text(text)) => {
                if let Ok(json) = serde_json::from_str::<Value>(&text) {
                    self.told(json);
                }
            }
            Some(LegEvent::Connected | LegEvent::ChannelOpen) => {}
            Some(LegEvent::Closed(_)) | None => self.closed = true,
        }
    }

    fn told(&mut self, json: Value) {
        let text = |field: &str| json[field].as_str().unwrap_or_default().to_owned();
        match json["type"].as_str().unwrap_or_default() {
            "eva.turn" => self.state = text("state"),
            "eva.final" => self.turn.understood = text("text"),
            "eva.words" => {
                if !self.turn.answered.is_empty() {
                    self.turn.answered.push(' ');
                }
                self.turn.answered.push_str(text("text").trim());
            }
            "eva.latency" => {
                self.turn.parts_ms = serde_json::from_value(json["parts_ms"].clone()).ok();
            }
            "eva.filler" => {
                let at = |field: &str| json[field].as_u64().map(|at| at as u32);
                if let (Some(start), Some(end)) = (at("rtp_start"), at("rtp_end")) {
                    self.ear.expect_filler(start, end);
                }
            }
            "eva.error" => self.turn.errors.push(text("message")),
            _ => {}
        }
        self.told_at.push(Instant::now());
        self.log.push(json);
    }
}

/// The answer with its UDP candidates (RFC 8839 section 5.1) at another address.
fn redirected(sdp: &str, relay: SocketAddr) -> String {
    let line = |line: &str| {
        let mut fields: Vec<&str> = line.split(' ').collect();
        let (address, port) = (relay.ip().to_string(), relay.port().to_string());
        if line.starts_with("a=candidate:")
            && fields.len() > 5
            && fields[2].eq_ignore_ascii_case("udp")
        {
            fields[4] = &address;
            fields[5] = &port;
        }
        fields.join(" ") + "\r\n"
    };
    sdp.lines().map(line).collect()
}
