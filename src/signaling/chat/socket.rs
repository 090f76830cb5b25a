//! `GET /ws/chat`: a conversation over a WebSocket, one JSON object a frame.
//!
//! In: `message`, `cancel`, `ping`. Out: `start`, `token`, `tool`, `end`, `error`, `pong`. One reply
//! at a time; a few messages may wait for their turn. The server pings, and closes a socket that
//! does not answer or does not read.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message as Frame, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

use super::stream::event;
use super::{Message, error_event};
use crate::chat::{Chat, Said, TextTurn};
use crate::ids::SessionId;
use crate::signaling::{ApiError, BODY_LIMIT, Caller, Service};

/// The server pings this often.
const PING_EVERY: Duration = Duration::from_secs(20);
/// A socket that nothing comes from for so long is closed.
const SILENT: Duration = Duration::from_secs(65);
/// A client that does not read for so long is given up.
const SLOW: Duration = Duration::from_secs(10);
/// Messages that may wait for the reply before theirs.
const WAITING: usize = 8;

/// The gateway ends (RFC 6455 section 7.4.1: going away).
const GOING_AWAY: u16 = 1001;

pub(super) async fn open(
    State(service): State<Service>,
    caller: Caller,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    let upgrade = upgrade.map_err(|_| {
        let message = "This address speaks WebSocket: connect with ws:// or wss://.";
        ApiError::new(StatusCode::UPGRADE_REQUIRED, "websocket_wanted", message)
    })?;
    let upgrade = upgrade.max_message_size(BODY_LIMIT).max_frame_size(BODY_LIMIT);
    let (chat, owner) = (service.gateway.chat().clone(), caller.owner().to_owned());
    Ok(upgrade.on_upgrade(move |socket| async move {
        let mut conversation = Conversation::new(socket, chat, owner);
        // An error means that the client is gone, or does not read.
        let _ = conversation.run().await;
    }))
}

/// What a client sends.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Told {
    Ping,
    Cancel,
    Message(Message),
}

/// The client is gone.
struct Gone;

struct Conversation {
    socket: WebSocket,
    chat: Arc<Chat>,
    owner: String,
    /// The session of messages that name none.
    session: Option<SessionId>,
    reply: Option<TextTurn>,
    waiting: VecDeque<(Message, Instant)>,
    heard: Instant,
    pings: Interval,
}

impl Conversation {
    fn new(socket: WebSocket, chat: Arc<Chat>, owner: String) -> Self {
        let mut pings = interval(PING_EVERY);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pings.reset();
        let (heard, waiting) = (Instant::now(), VecDeque::new());
        Self { socket, chat, owner, session: None, reply: None, waiting, heard, pings }
    }

    async fn run(&mut self) -> Result<(), Gone> {
        let chat = self.chat.clone();
        loop {
            if self.reply.is_none()
                && let Some((message, began)) = self.waiting.pop_front()
            {
                self.begin(message, began).await?;
                continue;
            }
            tokio::select! {
                () = chat.closed() => return self.close().await,
                frame = self.socket.recv() => self.take(frame).await?,
                said = next(&mut self.reply) => self.tell(said).await?,
                _ = self.pings.tick() => self.ping().await?,
            }
        }
    }

    async fn take(&mut self, frame: Option<Result<Frame, axum::Error>>) -> Result<(), Gone> {
        self.heard = Instant::now();
        match frame {
            None | Some(Err(_) | Ok(Frame::Close(_))) => Err(Gone),
            Some(Ok(Frame::Ping(_) | Frame::Pong(_))) => Ok(()),
            Some(Ok(Frame::Text(text))) => self.told(&text).await,
            Some(Ok(Frame::Binary(_))) => {
                self.refuse("not_json", "Send text frames, one JSON object each.").await
            }
        }
    }

    async fn told(&mut self, text: &str) -> Result<(), Gone> {
        match serde_json::from_str(text) {
            Ok(Told::Ping) => self.send(&json!({"type": "pong"})).await,
            Ok(Told::Cancel) => self.cancel().await,
            Ok(Told::Message(_)) if self.waiting.len() >= WAITING => {
                let sentence = "Too many messages wait for their replies; wait for some of them.";
                self.refuse("busy", sentence).await
            }
            Ok(Told::Message(message)) => {
                self.waiting.push_back((message, Instant::now()));
                Ok(())
            }
            Err(error) => {
                self.refuse("bad_request", &format!("The frame is not as expected: {error}.")).await
            }
        }
    }

    async fn begin(&mut self, message: Message, began: Instant) -> Result<(), Gone> {
        let session = message.session_id.or_else(|| self.session.clone());
        match self.chat.reply(&self.owner, session, &message.message, began).await {
            Ok(turn) => {
                let start = json!({"type": "start", "session_id": turn.session_id()});
                self.session = Some(turn.session_id().clone());
                self.reply = Some(turn);
                self.send(&start).await
            }
            Err(error) => self.send(&error_event(&error.into())).await,
        }
    }

    async fn tell(&mut self, said: Said) -> Result<(), Gone> {
        let Some(turn) = &self.reply else { return Ok(()) };
        let mut event = event(&said, turn.session_id());
        if said.is_end() {
            self.reply = None;
            if event["type"] == "done" {
                event["type"] = json!("end");
            }
        }
        self.send(&event).await
    }

    /// Withdraws the reply under way and what waits.
    async fn cancel(&mut self) -> Result<(), Gone> {
        self.waiting.clear();
        match self.reply.take() {
            Some(turn) => {
                let session = turn.session_id().clone();
                drop(turn);
                let end = json!({"type": "end", "session_id": session, "cancelled": true});
                self.send(&end).await
            }
            None => Ok(()),
        }
    }

    async fn ping(&mut self) -> Result<(), Gone> {
        if self.heard.elapsed() > SILENT {
            return Err(Gone);
        }
        self.send_frame(Frame::Ping(Default::default())).await
    }

    async fn close(&mut self) -> Result<(), Gone> {
        let reason = Utf8Bytes::from_static("The gateway is shutting down.");
        let frame = Frame::Close(Some(CloseFrame { code: GOING_AWAY, reason }));
        self.send_frame(frame).await?;
        Err(Gone)
    }

    async fn refuse(&mut self, code: &'static str, sentence: &str) -> Result<(), Gone> {
        self.send(&error_event(&ApiError::bad_request(code, sentence))).await
    }

    async fn send(&mut self, event: &Value) -> Result<(), Gone> {
        self.send_frame(Frame::Text(event.to_string().into())).await
    }

    async fn send_frame(&mut self, frame: Frame) -> Result<(), Gone> {
        match timeout(SLOW, self.socket.send(frame)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }
}

async fn next(reply: &mut Option<TextTurn>) -> Said {
    match reply {
        Some(turn) => turn.next().await,
        None => std::future::pending().await,
    }
}
