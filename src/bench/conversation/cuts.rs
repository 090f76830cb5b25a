//! Real interruptions: somebody speaks over a sounding reply and means it.
//!
//! In: a stage. Out: what was played, with the replies and their references, for the scenarios
//! "interruption" and "heard text" to measure.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::StdRng;

use super::caller::{Caller, PATIENCE};
use super::sounds::chance;
use super::speech::{Sentence, trimmed};
use super::stage::{Stage, on_thread};
use crate::bench::mock_llm::MockLlm;
use crate::bench::questions::question;
use crate::headless::Timeline;

/// What is said over a reply by the voice.
const SPOKEN: [&str; 22] = [
    "Wait, what is the weather like?",
    "Stop, please.",
    "Tell me about London instead.",
    "No, I meant the other one.",
    "How much does it cost?",
    "Hold on a second.",
    "What time is it now?",
    "Sorry, who wrote that book?",
    "Can you say that again?",
    "That is not what I asked.",
    "Where is the station?",
    "Actually, call my brother.",
    "Never mind, play some music.",
    "What about tomorrow morning?",
    "Excuse me, I have a question.",
    "Please speak more slowly.",
    "Which train goes to Berlin?",
    "Give me the short version.",
    "Let us talk about something else.",
    "Why is the sky blue?",
    "Cancel the order, please.",
    "How do I get there?",
];

/// Human prompts that make sense over a reply.
const PROMPTS: [(&str, &str); 8] = [
    ("please-try-again", "Please try again."),
    ("something-terribly-wrong", "Something is terribly wrong."),
    ("check-number-dial-again", "Please check the number and dial again."),
    ("vm-nomore", "No more messages."),
    ("number-not-answering", "The number is not answering."),
    ("is-in-use", "Is in use."),
    ("feature-not-avail-line", "That feature is not available on this line."),
    ("tt-weasels", "Weasels have eaten our phone system."),
];

/// Tokens of the replies that are spoken over: some 20 s.
pub(super) const LONG_REPLY: usize = 78;
/// Interruptions of one call: its history stays short enough to be read again.
const PER_CALL: usize = 10;

/// One interruption.
#[derive(Clone, Debug)]
pub(super) struct Interruption {
    /// What the caller said.
    pub text: String,
    /// When the caller began to.
    pub began: Instant,
    /// The reply spoken over.
    pub reply: u64,
    /// The reply to it; `None` if none came.
    pub next: Option<u64>,
    /// What the brain was told that EVA had said last; `None` if nothing, or with a real brain.
    pub in_history: Option<String>,
}

/// One call full of them.
pub(super) struct Played {
    pub timeline: Timeline,
    pub interruptions: Vec<Interruption>,
}

/// What a caller will do.
pub(super) struct Script {
    question: Vec<f32>,
    /// Sounds, what they say, and how long after the reply's first sound they begin.
    over: Vec<(Sentence, Duration)>,
}

/// Plays `count` interruptions at random points of long replies.
pub(super) async fn play(stage: &Stage, count: usize) -> anyhow::Result<Vec<Played>> {
    stage.brain(LONG_REPLY, 50);
    let mut chance = chance(stage.seed, 3);
    let sentences = sentences(stage, count).await?;
    let mut played = Vec::new();
    for (number, chunk) in sentences.chunks(PER_CALL).enumerate() {
        let script = script(stage, chunk, number, &mut chance).await?;
        let (url, mock) = (stage.url(), stage.mock.clone());
        played.push(on_thread(async move || one_call(&url, script, mock).await).await?);
    }
    Ok(played)
}

/// The sounds of the interruptions: two of the voice, then a human prompt, and so on.
pub(super) async fn sentences(stage: &Stage, count: usize) -> anyhow::Result<Vec<Sentence>> {
    let (mut spoken, mut prompts) = (SPOKEN.iter().cycle(), PROMPTS.iter().cycle());
    let mut sentences = Vec::new();
    for index in 0..count {
        let human = (index % 4 == 3).then(|| prompts.next()).flatten();
        let human = human.and_then(|(name, text)| Sentence::prompt(name, text));
        let sentence = match (human, spoken.next()) {
            (Some(human), _) => human,
            (None, Some(text)) => stage.speak(text, [1.0, 1.1, 0.95][index % 3]).await?,
            (None, None) => break,
        };
        sentences.push(Sentence { sound: trimmed(sentence.sound), ..sentence });
    }
    Ok(sentences)
}

async fn script(
    stage: &Stage,
    over: &[Sentence],
    number: usize,
    chance: &mut StdRng,
) -> anyhow::Result<Script> {
    let question = stage.speak(&question(50 + number), 1.0).await?.sound;
    let over = over.iter().cloned();
    let over =
        over.map(|sentence| (sentence, Duration::from_secs_f32(chance.random_range(0.7..4.0))));
    Ok(Script { question, over: over.collect() })
}

async fn one_call(url: &str, script: Script, mock: Option<Arc<MockLlm>>) -> anyhow::Result<Played> {
    let mut caller = Caller::dial(url).await?;
    let mut interruptions = Vec::new();
    let mut sounding = None;
    for (sentence, after) in &script.over {
        // Each reply is spoken over in its turn; a lost one is asked for anew.
        let reply = match sounding.take() {
            Some(reply) => Some(reply),
            None => {
                caller.settle(Duration::from_secs(40)).await;
                caller.ask(&script.question).await
            }
        };
        let Some(reply) = reply else { continue };
        caller.wait(*after).await;
        let (began, next) = over(&mut caller, reply, &sentence.sound).await;
        interruptions.push(Interruption {
            text: sentence.text.clone(),
            began,
            reply,
            next,
            in_history: mock.as_ref().and_then(|mock| last_said(&mock.seen().last_request)),
        });
        sounding = next;
    }
    caller.wait(Duration::from_millis(300)).await;
    Ok(Played { timeline: caller.finish().await?, interruptions })
}

/// Speaks over a reply and waits for the next one.
pub(super) async fn over(caller: &mut Caller, reply: u64, sound: &[f32]) -> (Instant, Option<u64>) {
    let began = caller.say(sound).await;
    let limit = if caller.last_reply() > reply { Duration::ZERO } else { PATIENCE };
    let stopped = |call: &crate::headless::HeadlessCall| {
        let is_cut = |event: &serde_json::Value| {
            event["type"] == "eva.cut" && event["reply_id"].as_u64() == Some(reply)
        };
        call.log().iter().rev().any(is_cut)
    };
    // Whoever is not heard waits a few seconds, not for the reply's end.
    if !caller.call.run_until(limit.min(Duration::from_secs(4)), stopped).await {
        return (began, None);
    }
    (began, caller.reply_after(reply).await)
}

/// The assistant's last message in a request to the brain.
fn last_said(request: &serde_json::Value) -> Option<String> {
    let messages = request["messages"].as_array()?;
    let said = messages.iter().rev().find(|message| message["role"] == "assistant")?;
    said["content"].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::last_said;

    #[test]
    fn the_last_message_of_the_assistant_is_found() {
        let message = |role: &str, content: &str| json!({"role": role, "content": content});
        let request = json!({"messages": [message("system", "Be brief."),
            message("assistant", "One."), message("user", "Two?"), message("assistant", "Three"),
            message("user", "Stop.")]});
        assert_eq!(last_said(&request).as_deref(), Some("Three"));
        assert_eq!(last_said(&json!({})), None);
    }
}
