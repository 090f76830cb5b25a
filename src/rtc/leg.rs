//! One connected call: its handles, and the task that keeps it.
//!
//! In: the library's connection once offer and answer are exchanged. Out: [`LegEvents`] to the
//! call, and through [`LegSender`] packets and texts to the far side and to the call's players. The task owns the connection
//! and its entry in the table of calls; when it ends, for whatever reason, nothing is left.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rtc::rtcp::goodbye::Goodbye;
use rtc::statistics::StatsSelector;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, timeout};
use webrtc::data_channel::{DataChannel, DataChannelEvent};
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::peer_connection::{PeerConnection, RTCStatsReport};

use super::flight::{Flight, TICK};
use super::handle::LegHandle;
use super::ice::IceCredentials;
use super::inbox::{Inbox, LegEvents};
use super::mux::CallLine;
use super::peer::Channels;
use super::port::CallPort;
use super::voice::{Players, Seat, Voice};
use super::{CloseReason, EVENTS_CHANNEL, LegEvent, LegStats, Transport};

/// Texts and questions waiting for the leg's task; [`LegSender::send_text`] says when it is full.
const COMMANDS: usize = 256;
/// From the answer to a finished DTLS handshake. ICE alone is given up after `silence_limit`.
const CONNECT_LIMIT: Duration = Duration::from_secs(15);
/// What one step of closing may take; the library's own closing has no limit.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);
/// A call waits so long for its leg to end, whatever holds it up.
const END_WITHIN: Duration = Duration::from_secs(8);
/// Time for our goodbyes to leave before the connection is torn down.
const PARTING: Duration = Duration::from_millis(20);

/// A call's media leg: [`split`](Self::split) it, or use it whole.
pub struct WebLeg {
    sender: LegSender,
    events: LegEvents,
    /// Absent on the dialling side.
    handle: Option<LegHandle>,
    /// On the dialling side over TCP: what restarts ICE there.
    port: Option<Arc<CallPort>>,
}

impl WebLeg {
    /// The next event; `None` after [`LegEvent::Closed`]. Cancelling it loses nothing.
    pub async fn next_event(&mut self) -> Option<LegEvent> {
        self.events.next().await
    }

    /// The sending side.
    pub fn sender(&self) -> &LegSender {
        &self.sender
    }

    /// What signaling may do to the leg; `None` on the dialling side.
    pub fn handle(&self) -> Option<LegHandle> {
        self.handle.clone()
    }

    /// The dialling side's part of an ICE restart: these are the credentials of both sides from now
    /// on. `false` where the WebRTC library has sockets of its own: on the dialling side over UDP.
    pub fn restart_ice(&self, local: IceCredentials, remote: IceCredentials) -> bool {
        let Some(port) = &self.port else { return false };
        let restarted = port.sessions.restart(local, remote).is_ok();
        port.use_newest();
        restarted
    }

    /// Tells, as long as anybody asks, whether media has ever been able to flow. It does not keep
    /// the leg open.
    pub fn was_connected(&self) -> impl Fn() -> bool + Send + 'static {
        let inbox = self.sender.inbox.clone();
        move || inbox.was_connected()
    }

    /// The sending side and the events, to be owned apart.
    pub fn split(self) -> (LegSender, LegEvents) {
        (self.sender, self.events)
    }
}

/// Sends to the far side of one leg. When the last clone is dropped, the leg is closed.
#[derive(Clone)]
pub struct LegSender {
    inbox: Arc<Inbox>,
    /// Absent if the far side never listens.
    voice: Option<Arc<Voice>>,
    players: Arc<Players>,
    commands: mpsc::Sender<Command>,
}

enum Command {
    Text(String),
    Stats(oneshot::Sender<LegStats>),
    Close(oneshot::Sender<()>),
}

impl LegSender {
    /// Sends one Opus packet under the next sequence number to the far side, if it listens, and to
    /// the call's players. `timestamp` counts 48 kHz samples; `marker` belongs on the first packet
    /// after silence only. Never waits: `false` if the packet was dropped because nobody listens, or
    /// their drivers are 256 packets behind.
    pub fn send_opus(&self, payload: Bytes, timestamp: u32, marker: bool) -> bool {
        let played = self.players.send(&payload, timestamp, marker);
        let voice = self.voice.as_ref();
        let heard = voice.is_some_and(|voice| voice.send(payload, timestamp, marker));
        heard || played
    }

    /// Sends a text on the data channel. `false` if it was dropped: no channel is open, or 256
    /// texts wait already. Texts also go missing when the far side leaves 1 MiB unread.
    pub fn send_text(&self, text: String) -> bool {
        self.inbox.is_channel_open() && self.commands.try_send(Command::Text(text)).is_ok()
    }

    /// Whether media can flow.
    pub fn is_connected(&self) -> bool {
        self.inbox.is_connected()
    }

    /// How the wire does. Costs tens of microseconds of the connection's lock: once a second is
    /// fine, once a packet is not.
    pub async fn stats(&self) -> LegStats {
        let (reply, stats) = oneshot::channel();
        let counted = self.inbox.stats();
        match self.commands.send(Command::Stats(reply)).await {
            Ok(()) => stats.await.unwrap_or(counted),
            Err(_) => counted,
        }
    }

    /// Hangs up, and returns when everything the leg held is released.
    pub async fn close(self) {
        let (done, closed) = oneshot::channel();
        let ended = async {
            if self.commands.send(Command::Close(done)).await.is_ok() {
                let _ = closed.await;
            }
        };
        if timeout(END_WITHIN, ended).await.is_err() {
            tracing::warn!("a leg did not end in time; its call ends without it");
        }
    }
}

/// What a leg is made of once its descriptions are exchanged.
pub(super) struct Parts {
    pub(super) connection: Arc<dyn PeerConnection>,
    /// Absent if the far side never listens.
    pub(super) voice: Option<Arc<Voice>>,
    pub(super) inbox: Arc<Inbox>,
    /// What is repeated while handshakes go on.
    pub(super) flight: Arc<Flight>,
    /// The channel this side opened, if it did.
    pub(super) channel: Option<Arc<dyn DataChannel>>,
    pub(super) channels: Channels,
    /// The call's place on the ports; none on the dialling side over UDP, which has its own.
    pub(super) line: Option<CallLine>,
    pub(super) players: Arc<Players>,
    /// The place among the players of a call, if this is one.
    pub(super) seat: Option<Seat>,
    pub(super) handle: Option<LegHandle>,
}

impl Parts {
    /// Starts the leg's task.
    pub(super) fn start(self) -> WebLeg {
        let (commands, received) = mpsc::channel(COMMANDS);
        let sender = LegSender {
            inbox: self.inbox.clone(),
            voice: self.voice.clone(),
            players: self.players.clone(),
            commands,
        };
        let events = LegEvents::new(self.inbox.clone());
        let handle = self.handle.clone();
        let dialled = self.line.as_ref().filter(|_| handle.is_none());
        let port = dialled.map(|line| line.port().clone());
        tokio::spawn(Task { parts: self, foreign: false, commands: received }.run());
        WebLeg { sender, events, handle, port }
    }
}

struct Task {
    parts: Parts,
    /// The channel has another label than ours: only its end counts.
    foreign: bool,
    commands: mpsc::Receiver<Command>,
}

impl Task {
    async fn run(mut self) {
        let deadline = tokio::time::sleep(CONNECT_LIMIT);
        tokio::pin!(deadline);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut waiting_for_close = None;
        let reason = loop {
            let connected = self.parts.inbox.is_connected();
            let settling = self.parts.inbox.is_settling();
            tokio::select! {
                event = channel_event(self.parts.channel.as_ref()) => {
                    if let Some(reason) = self.on_channel(event) {
                        break reason;
                    }
                }
                Some(channel) = self.parts.channels.recv() => self.on_new_channel(channel).await,
                command = self.commands.recv() => match command {
                    Some(Command::Text(text)) => self.send_text(&text).await,
                    Some(Command::Stats(reply)) => drop(reply.send(self.stats().await)),
                    Some(Command::Close(done)) => {
                        waiting_for_close = Some(done);
                        break CloseReason::Local;
                    }
                    None => break CloseReason::Local,
                },
                () = self.parts.inbox.ending.notified() => {
                    break self.parts.inbox.end_reason().unwrap_or(CloseReason::Failed);
                }
                _ = tick.tick(), if settling => self.parts.flight.repeat(Instant::now()),
                () = &mut deadline, if !connected => break CloseReason::Failed,
            }
        };
        self.end(reason).await;
        if let Some(done) = waiting_for_close {
            let _ = done.send(());
        }
    }

    /// Some reason if the leg is over.
    fn on_channel(&mut self, event: Option<DataChannelEvent>) -> Option<CloseReason> {
        match event {
            Some(DataChannelEvent::OnOpen) if self.foreign => self.parts.inbox.channel_held(),
            Some(DataChannelEvent::OnOpen) => self.parts.inbox.channel_opened(),
            Some(DataChannelEvent::OnMessage(message)) if message.is_string && !self.foreign => {
                if let Ok(text) = String::from_utf8(message.data.to_vec()) {
                    self.parts.inbox.text(text);
                }
            }
            Some(DataChannelEvent::OnClose) | None => return Some(CloseReason::ChannelClosed),
            Some(_) => {}
        }
        None
    }

    async fn on_new_channel(&mut self, channel: Arc<dyn DataChannel>) {
        let ours = channel.label().await.is_ok_and(|label| label == EVENTS_CHANNEL);
        let unwanted = match &self.parts.channel {
            None => {
                self.foreign = !ours;
                self.parts.channel.replace(channel)
            }
            Some(_) if ours && self.foreign => {
                self.foreign = false;
                self.parts.channel.replace(channel)
            }
            Some(_) => Some(channel),
        };
        if let Some(channel) = unwanted {
            // Nobody would read it, and its messages would be kept.
            let _ = channel.close().await;
        }
    }

    async fn send_text(&self, text: &str) {
        if let Some(channel) = &self.parts.channel
            && let Err(error) = channel.try_send_text(text).await
        {
            tracing::debug!(%error, bytes = text.len(), "a text could not be sent");
        }
    }

    async fn stats(&self) -> LegStats {
        let report = self.parts.connection.get_stats(Instant::now(), StatsSelector::None).await;
        let transport = match &self.parts.line {
            Some(line) => line.port().transport(),
            None => Some(Transport::Udp),
        };
        LegStats { rtt: round_trip(&report), transport, ..self.parts.inbox.stats() }
    }

    async fn end(self, reason: CloseReason) {
        let Parts { connection, voice, inbox, channel, line, players, seat, .. } = self.parts;
        let connected = inbox.is_connected();
        inbox.close(reason);
        players.close();
        if reason == CloseReason::Local && connected {
            let part = async {
                if let Some(channel) = &channel {
                    let _ = channel.close().await;
                }
                if let Some(voice) = &voice {
                    let goodbye = Goodbye { sources: vec![voice.ssrc], reason: Bytes::new() };
                    let _ = voice.track.write_rtcp(vec![Box::new(goodbye)]).await;
                }
                tokio::time::sleep(PARTING).await;
            };
            let _ = timeout(CLOSE_WITHIN, part).await;
        }
        match timeout(CLOSE_WITHIN, connection.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "closing the connection failed"),
            Err(_) => tracing::warn!("closing the connection takes too long; it is dropped"),
        }
        if let Some(voice) = &voice {
            let _ = timeout(CLOSE_WITHIN, voice.track.unbind()).await;
        }
        drop((line, seat));
    }
}

async fn channel_event(channel: Option<&Arc<dyn DataChannel>>) -> Option<DataChannelEvent> {
    match channel {
        Some(channel) => channel.poll().await,
        None => std::future::pending().await,
    }
}

/// Round-trip time on the candidate pair media travels on.
fn round_trip(report: &RTCStatsReport) -> Option<Duration> {
    let pair = report
        .candidate_pairs()
        .filter(|pair| pair.nominated)
        .max_by_key(|pair| pair.responses_received)?;
    Duration::try_from_secs_f64(pair.current_round_trip_time).ok().filter(|rtt| !rtt.is_zero())
}
