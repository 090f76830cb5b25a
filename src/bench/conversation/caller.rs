//! A scripted caller: a headless call and the few things that all scripts do.
//!
//! In: a gateway's address. Out: a conversation under way, then its timeline. It measures nothing.

use std::time::{Duration, Instant};

use crate::headless::{HeadlessCall, Options, REPLY_AUDIBLE_DBFS, Timeline};

/// How long a caller waits for an answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(12);
/// A call has settled when nobody spoke for so long.
const SETTLED: Duration = Duration::from_millis(600);

/// A caller on the line.
pub(super) struct Caller {
    pub call: HeadlessCall,
}

impl Caller {
    /// Dials, and listens for a moment.
    pub async fn dial(url: &str) -> anyhow::Result<Self> {
        let mut call = HeadlessCall::dial(url, &Options::default()).await?;
        call.run_for(&[], Duration::from_millis(400)).await;
        Ok(Self { call })
    }

    /// The reply whose words were told last; 0 before the first.
    pub fn last_reply(&self) -> u64 {
        last_reply(&self.call)
    }

    /// Says something to its end; when its first frame went out.
    pub async fn say(&mut self, sound: &[f32]) -> Instant {
        let began = Instant::now();
        self.call.say(sound);
        self.call.run_until(Duration::from_secs(120), |call| !call.is_speaking()).await;
        began
    }

    /// Waits until a reply after `earlier` sounds; its id.
    pub async fn reply_after(&mut self, earlier: u64) -> Option<u64> {
        let sounds = |call: &HeadlessCall| {
            last_reply(call) > earlier
                && call.heard().last().is_some_and(|packet| packet.dbfs > REPLY_AUDIBLE_DBFS)
        };
        self.call.run_until(PATIENCE, sounds).await.then(|| self.last_reply())
    }

    /// Asks, and waits until the answer sounds; its id.
    pub async fn ask(&mut self, question: &[f32]) -> Option<u64> {
        let earlier = self.last_reply();
        self.say(question).await;
        self.reply_after(earlier).await
    }

    /// Lets the call run for so long.
    pub async fn wait(&mut self, span: Duration) {
        self.call.run_for(&[], span).await;
    }

    /// Waits until nobody speaks; whether that came in time.
    pub async fn settle(&mut self, limit: Duration) -> bool {
        let settled = |call: &HeadlessCall| {
            call.state() == "listening" && !call.is_speaking() && call.quiet_for() > SETTLED
        };
        self.call.run_until(limit, settled).await
    }

    /// Hangs up; what happened.
    pub async fn finish(mut self) -> anyhow::Result<Timeline> {
        let timeline = self.call.take_timeline();
        self.call.hang_up().await?;
        Ok(timeline)
    }
}

fn last_reply(call: &HeadlessCall) -> u64 {
    let words = call.log().iter().rev().find(|event| event["type"] == "eva.words");
    words.and_then(|event| event["reply_id"].as_u64()).unwrap_or_default()
}
