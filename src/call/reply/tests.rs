//! Replies with tools: a scripted model, a voice that beeps, a real HTTP server.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::rounds::Rounds;
use super::{Made, Manner, ReplyMaker};
use crate::ids::{CallId, ReplyId};
use crate::private::Private;
use crate::speaking::{SpeakError, Speech, SpokenChunk, Voice, WordSpan};
use crate::thinking::tools::Toolbox;
use crate::thinking::{
    EVENT_QUEUE, Llm, LlmEvent, Message, Offer, Prompt, Role, ToolCall, ToolSpec, Usage,
};

/// Nothing in these tests takes longer.
const LONG: Duration = Duration::from_secs(10);
/// Time for something that must not happen.
const A_WHILE: Duration = Duration::from_millis(150);

/// What the model does in one round.
#[derive(Clone, Copy)]
enum Say {
    Text(&'static str),
    Call(&'static str, &'static str),
}

/// A model that does as it is told, round by round, and keeps its prompts.
#[derive(Default)]
struct Scripted {
    rounds: Mutex<VecDeque<Vec<Say>>>,
    prompts: Mutex<Vec<Prompt>>,
}

impl Llm for Scripted {
    fn reply(&self, prompt: Prompt) -> mpsc::Receiver<LlmEvent> {
        let (events, receiver) = mpsc::channel(EVENT_QUEUE);
        self.prompts.lock().unwrap().push(prompt);
        let round = self.rounds.lock().unwrap().pop_front().unwrap_or_default();
        let usage = Usage { completion_tokens: round.len() as u32, ..Usage::default() };
        for say in round {
            let event = match say {
                Say::Text(text) => LlmEvent::Text(Private::new(text.to_owned())),
                Say::Call(name, arguments) => LlmEvent::ToolCall(ToolCall::new(name, arguments)),
            };
            events.try_send(event).unwrap();
        }
        events.try_send(LlmEvent::Done(usage)).unwrap();
        receiver
    }

    fn name(&self) -> String {
        "scripted".to_owned()
    }
}

/// A voice that beeps for each sentence.
struct Beep;

impl Voice for Beep {
    fn speak(&self, speech: Speech) -> mpsc::Receiver<Result<SpokenChunk, SpeakError>> {
        let (chunks, receiver) = mpsc::channel(1);
        let words = vec![WordSpan { text: 0..speech.text.reveal().len(), samples: 0..160 }];
        let chunk = SpokenChunk { pcm: vec![0.5; 160], words, phonemes: Vec::new(), last: true };
        chunks.try_send(Ok(chunk)).unwrap();
        receiver
    }

    fn sample_rate(&self) -> u32 {
        16_000
    }

    fn name(&self) -> String {
        "beep".to_owned()
    }
}

/// A weather service: how often it was asked, and how many requests it has open.
#[derive(Default)]
struct Weather {
    asked: AtomicUsize,
    open: AtomicUsize,
}

struct Open(Arc<Weather>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The service, and a toolbox with it: `Nowhere` is no city, `Slow` takes for ever.
async fn weather() -> (Arc<Weather>, Toolbox) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let seen = Arc::new(Weather::default());
    let server = seen.clone();
    let answer = async move |Path(city): Path<String>| {
        server.asked.fetch_add(1, Ordering::SeqCst);
        server.open.fetch_add(1, Ordering::SeqCst);
        let _open = Open(server.clone());
        match city.as_str() {
            "Nowhere" => Err(axum::http::StatusCode::NOT_FOUND),
            "Slow" => std::future::pending().await,
            _ => Ok(format!("21 degrees in {city}")),
        }
    };
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = Router::new().route("/{city}", get(answer));
    tokio::spawn(axum::serve(listener, routes).into_future());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tools.toml");
    let text = format!(
        "[[tool]]\nname = \"weather\"\ndescription = \"The weather in a city.\"\n\
         url = \"http://{address}/{{city}}\"\ntimeout_s = 0.5\n\
         [tool.parameters]\nrequired = [\"city\"]\n\
         [tool.parameters.properties.city]\ntype = \"string\"\n"
    );
    std::fs::write(&file, text).unwrap();
    (seen, Toolbox::load(&file).unwrap())
}

fn make(toolbox: &Toolbox, rounds: &[&[Say]]) -> (ReplyMaker, Arc<Scripted>) {
    make_in(toolbox, rounds, Manner::default())
}

fn make_in(toolbox: &Toolbox, rounds: &[&[Say]], manner: Manner) -> (ReplyMaker, Arc<Scripted>) {
    let llm = Arc::new(Scripted::default());
    *llm.rounds.lock().unwrap() = rounds.iter().map(|round| round.to_vec()).collect();
    let messages = vec![Message::new(Role::User, "How warm is it?")];
    let mut offer = toolbox.offer();
    offer.tools = offer.tools.iter().chain(manner.handed_over.iter()).cloned().collect();
    let prompt =
        Prompt { call: CallId::random(), messages, offer, max_tokens: 100, temperature: 0. };
    let rounds = Rounds::new(llm.clone(), toolbox.clone(), prompt);
    let rounds = rounds.handing_over(manner.handed_over);
    let tokens = rounds.ask();
    let mut reply = ReplyMaker::new(ReplyId(1), Arc::new(Beep), rounds, Some(tokens));
    reply.written = manner.mute.then(String::new);
    (reply, llm)
}

/// What is made until the end, in words.
async fn all_made(reply: &mut ReplyMaker) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        match timeout(LONG, reply.next()).await.expect("the reply ends") {
            Made::Sound(sound) => {
                all.extend(sound.sentence.map(|sentence| sentence.text.into_revealed()));
            }
            Made::Text(text) => all.push(text.into_revealed()),
            Made::HandedOver(calls) => {
                all.extend(calls.iter().map(|call| format!("the client runs {}", call.name)));
            }
            Made::ToolStarted { name } => all.push(format!("{name} starts")),
            Made::ToolEnded { name, ok, .. } => all.push(format!("{name} ends {ok}")),
            Made::Failed(error) => all.push(error.to_string()),
            Made::FirstToken | Made::Piece => {}
            Made::Finished => return all,
        }
    }
}

/// The messages of a prompt behind the question.
fn told(llm: &Scripted, round: usize) -> Vec<(Role, String)> {
    let prompts = llm.prompts.lock().unwrap();
    let messages = prompts[round].messages.iter().skip(1);
    messages.map(|message| (message.role, message.content.reveal().clone())).collect()
}

const PARIS: Say = Say::Call("weather", r#"{"city": "Paris"}"#);
const SLOW: Say = Say::Call("weather", r#"{"city": "Slow"}"#);

#[tokio::test]
async fn a_tools_result_goes_back_to_the_model_and_its_answer_goes_on_in_the_same_reply() {
    let (seen, toolbox) = weather().await;
    let (mut reply, llm) =
        make(&toolbox, &[&[Say::Text("Let me check. "), PARIS], &[Say::Text("It is 21 degrees.")]]);
    reply.permit();
    let mut made = all_made(&mut reply).await;
    // The voice and the tool work side by side.
    made.sort();
    assert_eq!(made, ["It is 21 degrees.", "Let me check.", "weather ends true", "weather starts"]);
    let exchange = [
        (Role::Assistant, "Let me check.".to_owned()),
        (Role::Tool, "21 degrees in Paris".to_owned()),
    ];
    assert_eq!(told(&llm, 1), exchange);
    assert_eq!(seen.asked.load(Ordering::SeqCst), 1);
    assert_eq!(reply.tokens_seen(), 3);
    let messages = reply.take_exchange();
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[0].calls[0].name, "weather");
    assert_eq!(messages[1].answers.as_ref(), Some(&messages[0].calls[0].id));
}

#[tokio::test]
async fn a_held_reply_speaks_but_never_runs_its_tools() {
    let (seen, toolbox) = weather().await;
    let script: &[&[Say]] =
        &[&[Say::Text("Let me check. "), PARIS], &[Say::Text("It is 21 degrees.")]];
    let (mut reply, llm) = make(&toolbox, script);
    let mut spoken = 0;
    while let Ok(made) = timeout(A_WHILE, reply.next()).await {
        assert!(!matches!(made, Made::ToolStarted { .. } | Made::Finished), "{made:?}");
        spoken += usize::from(matches!(made, Made::Sound(_)));
    }
    assert_eq!((spoken, reply.tokens_seen()), (1, 2), "what it says first is ready");
    assert!(reply.take_exchange().is_empty());
    // Withdrawn: nothing has happened.
    drop(reply);
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(seen.asked.load(Ordering::SeqCst), 0);
    assert_eq!(llm.prompts.lock().unwrap().len(), 1);
    // Released instead: it goes on.
    let (mut reply, _) = make(&toolbox, script);
    while timeout(A_WHILE, reply.next()).await.is_ok() {}
    assert_eq!(seen.asked.load(Ordering::SeqCst), 0);
    reply.permit();
    let made = all_made(&mut reply).await;
    assert_eq!(made, ["weather starts", "weather ends true", "It is 21 degrees."]);
}

#[tokio::test]
async fn mistakes_are_told_to_the_model_which_may_correct_them() {
    let (seen, toolbox) = weather().await;
    let (mut reply, llm) = make(
        &toolbox,
        &[
            &[Say::Call("weather", "{\"town\""), Say::Call("wether", "{}")],
            &[Say::Call("weather", r#"{"city": "Nowhere"}"#)],
            &[Say::Text("I could not find it.")],
        ],
    );
    reply.permit();
    let made = all_made(&mut reply).await;
    assert_eq!(made, ["weather starts", "weather ends false", "I could not find it."]);
    let (first, then) = (told(&llm, 1), told(&llm, 2));
    assert!(first[1].1.starts_with("Error: The arguments are not valid JSON."), "{first:?}");
    assert!(first[2].1.contains("no such tool. There are: weather."), "{first:?}");
    assert!(then[4].1.starts_with("Error: The tool answered with status 404."), "{then:?}");
    assert_eq!(seen.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_tool_that_takes_too_long_is_given_up() {
    let (seen, toolbox) = weather().await;
    let (mut reply, llm) = make(&toolbox, &[&[SLOW, PARIS], &[Say::Text("Sorry.")]]);
    reply.permit();
    let made = all_made(&mut reply).await;
    let ends = ["weather ends true", "weather ends false", "Sorry."];
    assert_eq!(made[2..], ends, "both run at once: {made:?}");
    let told = told(&llm, 1);
    assert!(told[1].1.starts_with("Error: The tool took longer than 0.5 s."), "{told:?}");
    assert_eq!(told[2].1, "21 degrees in Paris");
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(seen.open.load(Ordering::SeqCst), 0, "the request is withdrawn");
}

#[tokio::test]
async fn dropping_a_reply_ends_its_tool_and_the_history_is_told_that_it_ran() {
    let (seen, toolbox) = weather().await;
    let (mut reply, _) = make(&toolbox, &[&[PARIS], &[Say::Text("Now for "), SLOW]]);
    reply.permit();
    while seen.open.load(Ordering::SeqCst) == 0 || seen.asked.load(Ordering::SeqCst) < 2 {
        let _ = timeout(Duration::from_millis(10), reply.next()).await;
    }
    let exchange = reply.take_exchange();
    let texts: Vec<&str> = exchange.iter().map(|m| m.content.reveal().as_str()).collect();
    assert_eq!(texts[..3], ["", "21 degrees in Paris", "Now for"]);
    assert!(texts[3].contains("The person interrupted"), "{texts:?}");
    drop(reply);
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(seen.open.load(Ordering::SeqCst), 0, "the request is withdrawn");
}

#[tokio::test]
async fn after_three_rounds_the_model_must_answer() {
    let (_, toolbox) = weather().await;
    let (mut reply, llm) = make(&toolbox, &[&[PARIS], &[PARIS], &[PARIS], &[PARIS]]);
    reply.permit();
    let made = all_made(&mut reply).await;
    assert_eq!(made.iter().filter(|made| *made == "weather starts").count(), 3);
    assert!(made.last().unwrap().contains("said nothing to the results"), "{made:?}");
    let words_only = |prompt: &Prompt| prompt.offer.words_only;
    let prompts = llm.prompts.lock().unwrap();
    assert_eq!(prompts.iter().map(words_only).collect::<Vec<_>>(), [false, false, false, true]);
    assert_eq!(reply.take_exchange().len(), 6);
}

#[tokio::test]
async fn without_tools_nothing_is_called() {
    let (mut reply, _) = make(&Toolbox::default(), &[&[Say::Text("Hello there."), PARIS]]);
    reply.permit();
    assert_eq!(all_made(&mut reply).await, ["Hello there."]);
    assert!(Offer::default().tools.is_empty() && reply.take_exchange().is_empty());
}

fn lamp() -> Arc<[ToolSpec]> {
    let parameters = serde_json::json!({"type": "object"});
    Arc::from([ToolSpec { name: "lamp".to_owned(), description: String::new(), parameters }])
}

const LAMP: Say = Say::Call("lamp", "{}");

#[tokio::test]
async fn what_the_client_runs_ends_the_reply_and_waits_for_its_release() {
    let (seen, toolbox) = weather().await;
    let manner = Manner { mute: false, handed_over: lamp() };
    let (mut reply, llm) = make_in(&toolbox, &[&[Say::Text("One moment. "), LAMP]], manner);
    while let Ok(made) = timeout(A_WHILE, reply.next()).await {
        assert!(!matches!(made, Made::HandedOver(_) | Made::Finished), "{made:?}");
    }
    assert!(reply.take_exchange().is_empty(), "nobody was told");
    reply.permit();
    assert_eq!(all_made(&mut reply).await, ["the client runs lamp"]);
    assert_eq!(llm.prompts.lock().unwrap().len(), 1, "the model is not asked again");
    let messages = reply.take_exchange();
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].calls[0].name, "lamp");
    assert_eq!(messages[0].content.reveal(), "One moment.");
    assert!(reply.take_exchange().is_empty(), "kept once");
    assert_eq!(seen.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn tools_of_both_sides_in_one_round_run_here_first() {
    let (_, toolbox) = weather().await;
    let manner = Manner { mute: false, handed_over: lamp() };
    let (mut reply, llm) = make_in(&toolbox, &[&[PARIS, LAMP]], manner);
    reply.permit();
    let made = all_made(&mut reply).await;
    assert_eq!(made, ["weather starts", "weather ends true", "the client runs lamp"]);
    assert_eq!(llm.prompts.lock().unwrap().len(), 1);
    let messages = reply.take_exchange();
    assert_eq!(messages[0].calls.len(), 2);
    assert_eq!(messages.len(), 2, "one result is known");
}

#[tokio::test]
async fn a_reply_can_be_written_and_not_spoken() {
    let manner = Manner { mute: true, ..Manner::default() };
    let script: &[&[Say]] = &[&[Say::Text("Hello "), Say::Text("there.")]];
    let (mut reply, _) = make_in(&Toolbox::default(), script, manner);
    reply.permit();
    assert_eq!(all_made(&mut reply).await, ["Hello ", "there."]);
    assert_eq!(reply.written(), Some("Hello there."));
}
