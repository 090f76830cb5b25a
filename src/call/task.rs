//! The task of one call.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::client::Event;
use super::conversation::Conversation;
use super::ears::{COMMITTED, Ears, Heard as Hears};
use super::line::Line;
use super::live::Live;
use super::memory::Memory;
use super::own::{self, Own};
use super::playout::{Heard, Note, Playout};
use super::realtime::{self, Wishes};
use super::recorder::Recorder;
use super::reply::{Made, ReplyMaker};
use super::{CallSettings, Choices, Clock, Engines, Leg, Plan};
use crate::audio::opus::EncoderConfig;
use crate::audio::pacer::Pacer;
use crate::audio::sound_out::SoundOut;
use crate::audio::{SLOT_MS, SLOT_SAMPLES};
use crate::ids::{CallId, ReplyId, TurnId};
use crate::language::Language;
use crate::listening::speech_marks::SpeechMark;
use crate::observability::live::Post;
use crate::observability::{Metrics, Milestone, TurnClock};
use crate::private::Private;
use crate::realtime::{Happening, Session};
use crate::rtc::LegEvent;
use crate::speaking::clips::ClipId;
use crate::thinking::LlmError;
use crate::turn::{Action, At, Input, WhyHangUp};

/// A call that is not connected by then will not be.
const CONNECT_WITHIN: Duration = Duration::from_secs(20);
/// How far EVA's voice keeps ahead of its time on a WebSocket, in slots: 200 ms.
const AHEAD_ON_SOCKETS: u32 = 10;
/// So long the connection stays after a goodbye: a channel that closes drops what has not arrived.
const FAREWELL: Duration = Duration::from_millis(300);
const SLOT: Duration = Duration::from_millis(SLOT_MS as u64);

/// What a call is made of.
pub struct Setup {
    /// What carries it.
    pub leg: Leg,
    /// Its engines, with the voice it asks for.
    pub engines: Engines,
    /// What it starts with.
    pub settings: CallSettings,
    /// The session of a client that speaks OpenAI's Realtime protocol.
    pub realtime: Option<Box<Session>>,
    /// What it can be changed to while it lasts.
    pub choices: Choices,
    /// What it has chosen of that.
    pub plan: Plan,
    /// Where it says what it is doing.
    pub live: Post,
}

/// Runs a call to its end: the caller hangs up or vanishes, or `ended` is cancelled.
pub async fn run(id: CallId, setup: Setup, ended: CancellationToken) {
    let Setup { leg, engines, settings, realtime, choices, plan, live } = setup;
    let (out, mut events) = leg.split();
    tracing::info!(call = %id, "call begins");
    let began = Instant::now();
    let line = Line::new(out, realtime);
    let mut call = Call::new(id, line, &engines, settings, Own::new(choices, plan), live);
    call.follow_client();
    if call.settings.push_to_talk && call.line.session().is_none() {
        call.push_to_talk(true);
    }
    loop {
        let wake = call.clock.instant(call.next_wake());
        tokio::select! {
            biased;
            () = ended.cancelled() => {
                call.dismissed();
                break;
            }
            event = events.next() => if !call.leg_event(event) { break },
            () = tokio::time::sleep_until(wake.into()) => if !call.wake() { break },
            heard = call.ears.next(call.clock) => call.heard(heard),
            made = made(&mut call.reply, call.playout.has_room()) => call.made(made),
            voice = realtime::loaded(&mut call.record.wishes.voice) => call.take_voice(voice),
            (plan, cast) = own::loaded(&mut call.record.own.changing) => call.take_cast(plan, cast),
        }
        call.act();
        call.history.settle();
        if call.record.over || call.line.lost {
            break;
        }
    }
    call.end().await;
    let seconds = began.elapsed().as_secs();
    tracing::info!(call = %id, seconds, "call ended");
}

async fn made(reply: &mut Option<ReplyMaker>, room: bool) -> Made {
    match reply {
        Some(reply) if room => reply.next().await,
        _ => std::future::pending().await,
    }
}

/// All state of one call.
pub(super) struct Call {
    pub(super) id: CallId,
    pub(super) clock: Clock,
    pub(super) line: Line,
    pub(super) engines: Engines,
    pub(super) settings: CallSettings,
    pub(super) ears: Ears,
    pub(super) turn: Conversation,
    pub(super) history: Memory,
    pub(super) reply: Option<ReplyMaker>,
    pub(super) playout: Playout,
    pacer: Pacer,
    pub(super) record: Record,
}

/// What the call keeps for its latency records and clients.
pub(super) struct Record {
    connected: bool,
    pub(super) turn: Option<AnsweredTurn>,
    pub(super) clock: TurnClock,
    /// The filler and the backchannel said last, which are not the next ones.
    pub(super) filler: Option<ClipId>,
    pub(super) backchannel: Option<ClipId>,
    /// The language the person was found to speak.
    pub(super) language: Option<Language>,
    /// Whether the reply waits for its tools.
    tools: ToolWait,
    /// The call is to end.
    over: bool,
    /// Slots that were sent before they were due.
    ahead: u32,
    /// What a Realtime client wants.
    pub(super) wishes: Wishes,
    /// What a client of EVA's own protocol wants.
    pub(super) own: Own,
    /// What the operator sees and keeps of it.
    pub(super) live: Live,
}

/// The turn that the next reply answers.
#[derive(Clone, Copy)]
pub(super) struct AnsweredTurn {
    pub(super) id: TurnId,
    pub(super) typed: bool,
}

impl Record {
    fn new(wishes: Wishes, own: Own, live: Live) -> Self {
        Self {
            connected: false,
            turn: None,
            clock: TurnClock::default(),
            filler: None,
            backchannel: None,
            language: None,
            tools: ToolWait::None,
            over: false,
            ahead: 0,
            wishes,
            own,
            live,
        }
    }
}

/// How a reply waits for its tools.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum ToolWait {
    /// It does not.
    #[default]
    None,
    /// They work, and the reply may have sound meanwhile.
    Working,
    /// It has none.
    Silent,
}

impl Call {
    fn new(
        id: CallId,
        line: Line,
        engines: &Engines,
        mut settings: CallSettings,
        own: Own,
        live: Post,
    ) -> Self {
        let clock = Clock { began: Instant::now() };
        let out = SoundOut::new(EncoderConfig::default(), rand::random())
            .expect("libopus encodes 48 kHz mono");
        let live = Live::new(live, id, &settings);
        Self {
            id,
            clock,
            line,
            ears: Ears::new(engines, settings.language),
            turn: Conversation::new(
                settings.turn.clone(),
                settings.traces.as_deref().map(|folder| Recorder::start(folder, id)),
            ),
            history: Memory::new(&mut settings),
            reply: None,
            playout: Playout::new(out),
            pacer: Pacer::new(At::ZERO),
            record: Record::new(Wishes::of(&settings, engines), own, live),
            engines: engines.clone(),
            settings,
        }
    }

    /// When something is due without anything happening.
    fn next_wake(&self) -> At {
        let button = self.record.own.button.due();
        let others = [self.ears.poll_timeout(), self.turn.poll_timeout(), button];
        others.into_iter().flatten().fold(self.pacer.next_due(), At::min)
    }

    /// Does what is due now; false when the call is over.
    fn wake(&mut self) -> bool {
        let now = self.clock.now();
        let due = self.pacer.due(now);
        self.playout.skip(due.skip);
        if let Some(recording) = &mut self.record.live.recording {
            recording.passed(due.skip);
        }
        for _ in 0..due.send {
            self.slot(now);
        }
        self.ears.wake(now);
        if let Some(recording) = &mut self.record.live.recording {
            recording.hear(&self.ears);
        }
        self.report(now);
        self.wake_button(now);
        self.turn.wake(now);
        self.record.connected || now < CONNECT_WITHIN
    }

    /// A slot is due. On a WebSocket EVA's voice keeps ahead of it, so that clients without a jitter
    /// buffer have something to play when a slot is late.
    fn slot(&mut self, now: At) {
        let flowing = self.playout.is_flowing();
        if self.record.ahead > 0 && flowing == Some(false) {
            self.record.ahead -= 1;
            return;
        }
        self.tick(now);
        let most = if self.line.leg.is_socket() { AHEAD_ON_SOCKETS } else { 0 };
        while self.record.ahead < most && self.playout.is_flowing() == Some(true) {
            self.record.ahead += 1;
            self.tick(now + SLOT * self.record.ahead);
        }
    }

    /// Sends the next 20 ms.
    fn tick(&mut self, now: At) {
        let (packet, notes) = self.playout.tick();
        if let Some(recording) = &mut self.record.live.recording {
            recording.sent(self.playout.played());
        }
        if let Some(packet) = packet {
            self.ears.sent(now, self.playout.played());
            self.line.voice(self.playout.played());
            self.line.leg.send_opus(packet);
        }
        for note in notes {
            self.note(now, note);
        }
        self.wait_for_tools(now);
    }

    /// Tells the turn machine when a reply falls silent because a tool is at work, and when it
    /// sounds again.
    fn wait_for_tools(&mut self, now: At) {
        let Some(reply) = self.reply.as_ref().map(|reply| reply.id) else {
            self.record.tools = ToolWait::None;
            return;
        };
        match (self.record.tools, self.playout.is_dry()) {
            (ToolWait::Working, true) => {
                self.record.tools = ToolWait::Silent;
                self.turn.tell(now, Input::ReplyWaits { reply });
            }
            (ToolWait::Silent, false) => {
                self.record.tools = ToolWait::None;
                self.turn.tell(now, Input::ReplyFlows { reply });
            }
            _ => {}
        }
    }

    fn note(&mut self, now: At, note: Note) {
        match note {
            Note::Sounds(reply) => {
                self.line.happened(Happening::Sounds);
                self.record.clock.pass(Milestone::Wire, now);
                self.ears.sound.settle();
                self.tell_latency(reply);
                self.turn.tell(now, Input::ReplySounds { reply });
            }
            Note::Sentence { reply, sentence, rtp_start } => {
                self.tell_words(reply, &sentence, rtp_start);
                self.turn.tell(now, Input::SentenceSounds { reply, text: sentence.text });
            }
            Note::Ended(reply, text) => {
                self.reply_ended(reply, text);
                self.turn.tell(now, Input::ReplyEnded { reply });
            }
        }
    }

    /// Takes what the leg brings; false when the call is over.
    fn leg_event(&mut self, event: Option<LegEvent>) -> bool {
        match event {
            Some(LegEvent::Connected) => {
                self.record.connected = true;
                self.record.live.post.update(|status| status.connected = true);
                // The usual instructions have been read ahead at the start.
                let unusual = self.record.own.plan != self.record.own.choices.usual();
                if self.history.goes_on() || unusual {
                    self.engines.llm.read_ahead(self.prompt(&Private::default()));
                }
            }
            Some(LegEvent::ChannelOpen) => {
                self.line.happened(Happening::Opened);
                self.tell_ready();
            }
            Some(LegEvent::Rtp(packet)) => {
                let at = self.clock.at(packet.arrived);
                self.ears.packet(at, packet);
            }
            Some(LegEvent::Text(text)) => self.client(&text),
            Some(LegEvent::Closed(reason)) => {
                tracing::info!(call = %self.id, ?reason, "the caller is gone");
                return false;
            }
            None => return false,
        }
        true
    }

    fn heard(&mut self, heard: Hears) {
        let now = self.clock.now();
        match heard {
            Hears::Mark(mark) => self.mark(now, mark),
            Hears::Partial { stable, whole } => {
                if !stable.reveal().is_empty() {
                    self.line.happened(Happening::Partial { text: stable.reveal() });
                    self.tell(&Event::Partial { text: stable.reveal() });
                    self.engines.llm.read_ahead(self.prompt(&stable));
                }
                self.turn.tell(now, Input::PartialWords(whole));
            }
            Hears::Final(COMMITTED, words) => self.committed_sound(words),
            Hears::Final(pass, Some((heard, language))) => {
                self.record.clock.pass_again(Milestone::Words, now);
                self.spoken(now, language);
                self.turn.tell(now, Input::FinalWords { pass, heard });
            }
            Hears::Final(pass, None) => self.turn.tell(now, Input::PassFailed { pass }),
            Hears::Vote(pass, Some(probability)) => {
                self.turn.tell(now, Input::EndOfTurn { pass, probability });
            }
            Hears::Vote(_, None) => {}
        }
    }

    /// The person speaks this language: EVA answers with the voice, the fillers and the lists for it.
    fn spoken(&mut self, now: At, language: Language) {
        let known = self.record.language.unwrap_or(self.settings.language);
        if self.settings.language != Language::Auto
            || language == Language::Auto
            || language == known
        {
            return;
        }
        self.record.language = Some(language);
        self.speak(language);
        self.turn.tell(now, Input::Speaks { language });
    }

    /// Takes the voice for this language, where the call has one for each.
    pub(super) fn speak(&mut self, language: Language) {
        if let Some(tongue) = self.engines.tongues.iter().find(|tongue| tongue.language == language)
        {
            (self.engines.voice, self.engines.clips) = (tongue.voice.clone(), tongue.clips.clone());
        }
    }

    fn mark(&mut self, now: At, mark: SpeechMark) {
        let input = match mark {
            SpeechMark::Started { at_sample: onset } => {
                let onset = self.ears.voice_started(now, onset, self.playout.is_sounding());
                self.line.happened(Happening::SpeechStarted { at_ms: millis(onset) });
                Input::SpeechStarted { onset }
            }
            SpeechMark::FirstSilence { .. } => {
                self.record.clock = TurnClock::default();
                Input::SilenceHint
            }
            SpeechMark::Resumed { .. } => {
                self.ears.voice_resumed(now);
                Input::SpeechResumed
            }
            SpeechMark::Paused { last_voiced_sample, .. } => {
                let last_voiced = self.ears.arrival(last_voiced_sample);
                self.record.clock.pass_again(Milestone::SpeechEnd, last_voiced);
                self.record.clock.pass_again(Milestone::Pause, now);
                self.line.happened(Happening::Paused { at_ms: millis(last_voiced) });
                Input::Paused { last_voiced }
            }
        };
        self.turn.tell(now, input);
    }

    fn made(&mut self, made: Made) {
        let now = self.clock.now();
        let Some(reply) = &mut self.reply else { return };
        let id = reply.id;
        match made {
            Made::FirstToken => self.record.clock.pass(Milestone::FirstToken, now),
            Made::Piece => self.record.clock.pass(Milestone::FirstPiece, now),
            Made::Sound(sound) => {
                self.record.clock.pass(Milestone::FirstSound, now);
                self.playout.queue(id, sound);
            }
            Made::Text(delta) => self.line.happened(Happening::Text { delta: delta.reveal() }),
            Made::HandedOver(calls) => self.hand_over(id, &calls),
            Made::ToolStarted { name } => {
                self.record.tools = ToolWait::Working;
                tracing::info!(call = %self.id, name, "a tool runs");
                self.tell(&Event::Tool { reply_id: id, name: &name, ok: None });
            }
            Made::ToolEnded { name, ok, took } => {
                let took_ms = took.as_millis();
                tracing::info!(call = %self.id, name, ok, took_ms, "a tool has ended");
                self.tell(&Event::Tool { reply_id: id, name: &name, ok: Some(ok) });
            }
            Made::Failed(error) => self.apologise(&error),
            Made::Finished if reply.is_empty() && !reply.has_apologised() => {
                self.apologise(&LlmError::Model("the reply was empty".to_owned()));
            }
            Made::Finished => self.playout.complete(id),
        }
    }

    /// Does what the turn machine says.
    fn act(&mut self) {
        while let Some(action) = self.turn.poll_action() {
            match action {
                Action::StartPass { pass } => self.ears.start_pass(self.clock.now(), pass),
                Action::DropPass { pass } => self.ears.drop_pass(pass),
                Action::StartReply { reply, words } => self.start_reply(reply, &words),
                Action::Release { reply } => {
                    self.line.happened(Happening::ReplyBegins { reply });
                    self.reply.iter_mut().filter(|r| r.id == reply).for_each(ReplyMaker::permit);
                    self.playout.release(reply);
                }
                Action::Withhold { reply } => {
                    self.reply.iter_mut().filter(|r| r.id == reply).for_each(ReplyMaker::forbid);
                    self.playout.withhold(reply);
                }
                Action::Filler { reply } => self.fill(reply),
                Action::Withdraw { reply } => {
                    Metrics::withdrawn(self.reply.as_ref().map_or(0, ReplyMaker::tokens_seen));
                    // A tool that ran has run, whatever becomes of the reply.
                    self.keep_exchange(reply);
                    self.tell_cut(reply, &Heard::nothing());
                    self.drop_reply(reply);
                    self.playout.withdraw(reply);
                }
                Action::Commit { turn, words } => self.commit(turn, &words),
                Action::CommitTyped { turn, words } => self.commit_typed(turn, &words),
                Action::Reopen { turn } => {
                    tracing::debug!(call = %self.id, turn = turn.0, "the turn goes on");
                    self.history.reopen();
                    self.line.happened(Happening::Reopened);
                    self.ears.sound.reopen();
                }
                Action::Discard => {
                    self.ears.sound.discard();
                    self.ears.turn_over();
                    self.line.happened(Happening::Discarded);
                    self.tell(&Event::Partial { text: "" });
                }
                Action::Duck => self.playout.duck(),
                Action::Unduck => self.playout.unduck(),
                Action::Suspend { reply } => self.playout.suspend(reply),
                Action::Resume { reply } => {
                    Metrics::resumed();
                    self.playout.resume(reply);
                }
                Action::Stop { reply } => self.stop(reply),
                Action::Backchannel => self.confirm(),
                Action::Hush => self.playout.hush(),
                Action::AskIfThere { reply } => self.ask_if_there(reply),
                Action::Answer { reply } => self.answer(reply),
                Action::HangUp(why) => self.hang_up(why),
                Action::Show(state) => {
                    self.record.live.post.update(|status| status.state = state);
                    self.tell(&Event::Turn { state });
                }
            }
        }
    }

    fn start_reply(&mut self, id: ReplyId, words: &Private<String>) {
        self.record.tools = ToolWait::None;
        self.playout.begin(id);
        let manner = self.manner();
        self.reply = Some(ReplyMaker::start(id, &self.engines, self.prompt(words), manner));
    }

    /// Somebody has ended the call: its client is told, so that it does not call again.
    fn dismissed(&mut self) {
        if let Some(why) = self.record.live.post.hang_up() {
            self.hang_up(why);
        }
    }

    fn hang_up(&mut self, why: WhyHangUp) {
        tracing::info!(call = %self.id, ?why, "EVA hangs up");
        self.tell(&Event::HangUp { reason: why });
        self.record.over = true;
    }

    fn drop_reply(&mut self, id: ReplyId) {
        let Some(reply) = self.reply.take_if(|reply| reply.id == id) else { return };
        tracing::debug!(call = %self.id, tokens = reply.tokens_seen(), "a reply is dropped");
    }

    /// What tools did for a reply stays in the history.
    pub(super) fn keep_exchange(&mut self, id: ReplyId) {
        if let Some(reply) = self.reply.as_mut().filter(|reply| reply.id == id) {
            self.history.exchange(id, reply.take_exchange());
        }
    }

    fn commit(&mut self, turn: TurnId, words: &Private<String>) {
        let now = self.clock.now();
        self.record.clock.pass(Milestone::Committed, now);
        self.record.turn = Some(AnsweredTurn { id: turn, typed: false });
        let key = self.history.user(words.reveal());
        self.line.happened(Happening::Committed { turn, words: words.reveal(), key });
        self.ears.sound.commit();
        self.ears.turn_over();
        self.tell(&Event::Final { turn_id: turn, text: words.reveal(), typed: false });
    }

    /// What the person typed enters the history; what they say meanwhile goes on.
    fn commit_typed(&mut self, turn: TurnId, words: &Private<String>) {
        self.record.clock.pass(Milestone::Committed, self.clock.now());
        self.record.turn = Some(AnsweredTurn { id: turn, typed: true });
        self.history.user(words.reveal());
        self.tell(&Event::Final { turn_id: turn, text: words.reveal(), typed: true });
    }

    /// The person interrupts: what was heard stays in the history, and the clients are told.
    fn stop(&mut self, id: ReplyId) {
        self.keep_exchange(id);
        let unheard = u64::from(self.record.ahead) * SLOT_SAMPLES as u64;
        let Some(heard) = self.playout.stop(id, unheard) else { return self.drop_reply(id) };
        Metrics::interrupted();
        self.record.live.post.update(|status| status.figures.interruptions += 1);
        if !heard.text.reveal().is_empty() && !self.is_apart() {
            self.history.assistant(id, heard.text.reveal());
        }
        self.tell_cut(id, &heard);
        self.drop_reply(id);
        let event =
            Event::Cut { reply_id: id, heard_text: heard.text.reveal(), rtp_at: heard.rtp_at };
        self.tell(&event);
    }

    pub(super) fn tell(&mut self, event: &Event<'_>) {
        self.line.tell(event);
    }

    /// Frees what others hold for this call.
    async fn end(self) {
        self.engines.llm.forget(self.id);
        if self.record.over {
            tokio::time::sleep(FAREWELL).await;
        }
        self.line.leg.close().await;
        if let Some(recording) = self.record.live.recording {
            recording.finish().await;
        }
    }
}

fn millis(at: At) -> u64 {
    u64::try_from(at.as_millis()).unwrap_or(u64::MAX)
}
