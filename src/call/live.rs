//! What one call says of itself to the operator, and its recording.
//!
//! In: the call's turns, and every other second how its wire does. Out: changes on its [`Post`]. Holds
//! nothing of what is said, and never waits: the connection is asked by a task of its own.

use std::time::Duration;

use super::CallSettings;
use super::leg::LegOut;
use super::recording::Recording;
use super::task::Call;
use crate::ids::CallId;
use crate::observability::live::{CallWire, Post};
use crate::rtc::{LegStats, Transport};
use crate::turn::At;

/// How often the wire is looked at.
const EVERY: Duration = Duration::from_secs(2);

/// One call's reporter.
pub(super) struct Live {
    pub(super) post: Post,
    /// The call's sound, where it is kept.
    pub(super) recording: Option<Recording>,
    due: At,
    /// Packets of the caller's that had come, and those that had not, at the last look.
    before: (u64, u64),
}

impl Live {
    /// The call's recording begins, where its owner wants one.
    pub(super) fn new(post: Post, call: CallId, settings: &CallSettings) -> Self {
        let recording = settings.recordings.as_ref().map(|recordings| {
            let session = settings.memory.as_ref();
            let session = session.map(|recall| (recall.owner.as_str(), &recall.session));
            Recording::start(recordings.path_for(call, session))
        });
        Self { post, recording, due: EVERY, before: (0, 0) }
    }
}

impl Call {
    /// Looks at the wire when it is time.
    pub(super) fn report(&mut self, now: At) {
        if now < self.record.live.due {
            return;
        }
        self.record.live.due = now + EVERY;
        let mut wire = CallWire::default();
        if let Some(stats) = self.ears.line() {
            let counted = (stats.received, stats.lost);
            let (before_received, before_lost) =
                std::mem::replace(&mut self.record.live.before, counted);
            let lost = stats.lost.saturating_sub(before_lost);
            let all = lost + stats.received.saturating_sub(before_received);
            wire.lost_percent = (all > 0).then(|| lost as f32 * 100.0 / all as f32);
            wire.jitter_ms = Some(stats.jitter_ms);
        }
        let voice = self.engines.voice.name();
        let language = self.record.language.unwrap_or(self.settings.language).code();
        let persona = self.record.own.plan.persona.name.clone();
        self.record.live.post.update(|status| {
            status.about.voice = voice;
            status.about.language = language;
            status.about.persona = Some(persona);
        });
        let post = self.record.live.post.clone();
        let LegOut::Web(leg) = &self.line.leg else {
            return post.update(|status| status.wire = wire);
        };
        let leg = leg.clone();
        tokio::spawn(async move {
            add(&mut wire, leg.stats().await);
            post.update(|status| status.wire = wire);
        });
    }
}

fn add(wire: &mut CallWire, stats: LegStats) {
    wire.transport = stats.transport.map(|transport| match transport {
        Transport::Udp => "udp",
        Transport::Tcp => "tcp",
    });
    wire.lost_by_caller_percent = Some(stats.fraction_lost_by_remote * 100.0);
    wire.rtt_ms = stats.rtt.map(|rtt| rtt.as_secs_f32() * 1e3);
}
