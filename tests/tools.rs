//! Tools: over HTTP and MCP, through the OpenAI wire, in a whole call.

#![allow(clippy::disallowed_methods)]

mod common;
mod tools_support;

use std::time::Duration;

use common::{engines, engines_with_server, gateway, runtime, say, transcribe};
use eva_voice::call::Engines;
use eva_voice::headless::{HeadlessCall, Options};
use eva_voice::ids::CallId;
use eva_voice::thinking::openai::{OpenAi, OpenAiConfig};
use eva_voice::thinking::tools::{Outcome, Toolbox};
use eva_voice::thinking::{Llm, LlmEvent, Message, Prompt, Role, ToolCall};
use serde_json::{Value, json};
use tools_support::{Brain, Turn, call, mcp_over_http, mcp_script, service, text};

const PATIENCE: Duration = Duration::from_secs(30);

/// A toolbox from the text of a file.
fn toolbox(text: &str) -> Toolbox {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tools.toml");
    std::fs::write(&file, text).expect("written");
    Toolbox::load(&file).unwrap_or_else(|error| panic!("{error}"))
}

/// The tools of the service.
fn service_tools(url: &str) -> Toolbox {
    toolbox(&format!(
        r#"
        [[tool]]
        name = "weather"
        description = "The weather in a city."
        url = "{url}/weather/{{city}}?days={{days}}"
        headers = {{ X-Key = "k3y" }}
        result = "/current"
        [tool.parameters]
        required = ["city"]
        properties.city = {{ type = "string" }}
        properties.days = {{ type = "integer" }}

        [[tool]]
        name = "book"
        description = "Books a table."
        method = "POST"
        url = "{url}/book"
        [tool.parameters]
        required = ["people"]
        properties.people = {{ type = "integer" }}

        [[tool]]
        name = "away"
        description = "Redirects to another host."
        url = "{url}/away"

        [[tool]]
        name = "here"
        description = "Redirects to the same host."
        url = "{url}/here"

        [[tool]]
        name = "slow"
        description = "Never answers."
        url = "{url}/slow"
        timeout_s = 0.3

        [[tool]]
        name = "long"
        description = "Answers at length."
        url = "{url}/long"
        max_result_chars = 200
        "#
    ))
}

async fn run(toolbox: &Toolbox, name: &str, arguments: Value) -> (bool, String) {
    let run = toolbox.prepare(&ToolCall::new(name, arguments.to_string()));
    let Outcome { ok, text, .. } =
        run.unwrap_or_else(|sentence| panic!("{}", sentence.reveal())).result.await;
    (ok, text.into_revealed())
}

#[tokio::test]
async fn http_tools_are_asked_as_the_file_says() {
    let (url, asked) = service().await;
    let tools = service_tools(&url);
    let (ok, text) = run(&tools, "weather", json!({"city": "São Paulo", "days": "2"})).await;
    assert_eq!((ok, text.as_str()), (true, r#"{"city":"São Paulo","degrees":21,"sky":"clear"}"#));
    let (ok, text) = run(&tools, "book", json!({"people": 4})).await;
    assert_eq!((ok, text.as_str()), (true, r#"{"booked":{"people":4}}"#));
    assert!(run(&tools, "here", json!({})).await.0, "a redirect on the same host is followed");
    let asked = asked.lock().unwrap().clone();
    assert_eq!(asked[0].1, "/weather/S%C3%A3o%20Paulo?days=2");
    assert_eq!((asked[0].0.as_str(), asked[0].2.as_str()), ("GET", "k3y"));
    assert_eq!((asked[1].0.as_str(), &asked[1].3), ("POST", &json!({"people": 4})));
}

#[tokio::test]
async fn http_tools_that_fail_are_answered_with_sentences() {
    let (url, _) = service().await;
    let tools = service_tools(&url);
    let (ok, text) = run(&tools, "away", json!({})).await;
    assert!(!ok && text.contains("redirects to another host"), "{text}");
    let (ok, text) = run(&tools, "slow", json!({})).await;
    assert!(!ok && text.contains("took longer than 0.3 s"), "{text}");
    let (ok, text) = run(&tools, "long", json!({})).await;
    assert!(ok && text.len() < 240 && text.ends_with("(the rest is left out)"), "{text}");
    let down = service_tools("http://127.0.0.1:9");
    let (ok, text) = run(&down, "weather", json!({"city": "Rome"})).await;
    assert!(!ok && text.contains("cannot be reached"), "{text}");
}

fn shop() -> Toolbox {
    toolbox(&format!(
        "[[mcp]]\nname = \"shop\"\ncommand = \"python3\"\nargs = [{:?}]\n\
         env = {{ SHOP = \"1\" }}\ntimeout_s = 1.5\n",
        mcp_script().display().to_string()
    ))
}

#[tokio::test]
async fn an_mcp_server_that_eva_starts_lists_its_tools_and_answers() {
    // SAFETY: no other test of this program reads the environment meanwhile.
    unsafe { std::env::set_var("EVA_TEST_SECRET", "1") };
    let tools = shop();
    assert!(tools.specs().is_empty(), "it is not started yet");
    assert_eq!(tools.connect().await, [""; 0]);
    let specs = tools.specs();
    let names: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
    assert_eq!(names, ["opening_hours", "shop_secret", "fail"]);
    let (ok, text) = run(&tools, "opening_hours", json!({"day": "Monday"})).await;
    assert_eq!((ok, text.as_str()), (true, "From 9 to 5 on Monday"));
    let (_, text) = run(&tools, "shop_secret", json!({})).await;
    assert!(text.contains("SHOP") && text.contains("PATH"), "{text}");
    assert!(!text.contains("EVA_TEST_SECRET"), "EVA's own environment stays hers: {text}");
}

#[tokio::test]
async fn an_mcp_server_that_fails_is_told_of_and_started_again() {
    let tools = shop();
    tools.connect().await;
    let (ok, text) = run(&tools, "fail", json!({})).await;
    assert!(!ok && text.starts_with("Error: The tool failed. the till is empty"), "{text}");
    let (ok, text) = run(&tools, "fail", json!({"how": "sleep"})).await;
    assert!(!ok && text.contains("took longer than 1.5 s"), "{text}");
    // It sleeps on and answers nobody: the next call is late too, then it is killed by its owner.
    let tools = shop();
    tools.connect().await;
    let (ok, text) = run(&tools, "fail", json!({"how": "die"})).await;
    assert!(!ok && text.contains("went away"), "{text}");
    let (ok, text) = run(&tools, "opening_hours", json!({"day": "Friday"})).await;
    assert!(ok, "started again: {text}");
}

#[tokio::test]
async fn an_mcp_server_over_http_answers() {
    let url = mcp_over_http().await;
    let tools = toolbox(&format!("[[mcp]]\nname = \"adder\"\nurl = {url:?}\n"));
    assert_eq!(tools.connect().await, [""; 0]);
    assert_eq!(tools.specs()[0].name, "add");
    assert_eq!(run(&tools, "add", json!({"a": 2, "b": 3})).await, (true, "5".to_owned()));
}

#[tokio::test]
async fn servers_that_are_down_are_said_and_the_others_work() {
    let (url, _) = service().await;
    let tools = toolbox(&format!(
        "[[tool]]\nname = \"here\"\ndescription = \"x\"\nurl = \"{url}/here\"\n\
         [[mcp]]\nname = \"gone\"\nurl = \"http://127.0.0.1:9/mcp\"\n\
         [[mcp]]\nname = \"none\"\ncommand = \"no-such-program\"\n\
         [[mcp]]\nname = \"mute\"\ncommand = \"true\"\n"
    ));
    let down = tools.connect().await;
    assert_eq!(down.len(), 3, "{down:?}");
    assert!(down[0].starts_with("the MCP server gone is down: "), "{down:?}");
    assert!(down[1].contains("no-such-program cannot be started"), "{down:?}");
    assert!(down[2].contains("true does not speak MCP"), "{down:?}");
    assert_eq!(tools.specs().len(), 1);
    assert!(run(&tools, "here", json!({})).await.0);
}

fn client(brain: &Brain) -> OpenAi {
    OpenAi::new(OpenAiConfig::new(&brain.url)).expect("a client")
}

fn ask(tools: &Toolbox) -> Prompt {
    let messages = vec![Message::new(Role::User, "How warm is it in Paris?")];
    let call = CallId::random();
    Prompt { call, messages, offer: tools.offer(), max_tokens: 100, temperature: 0. }
}

/// A reply's text and calls as `name arguments`.
async fn read(client: &OpenAi, prompt: Prompt) -> (String, Vec<String>) {
    let mut events = client.reply(prompt);
    let (mut text, mut calls) = (String::new(), Vec::new());
    while let Some(event) = events.recv().await {
        match event {
            LlmEvent::Text(part) => text.push_str(part.reveal()),
            LlmEvent::ToolCall(call) => {
                assert!(!call.id.is_empty());
                calls.push(format!("{} {}", call.name, call.arguments.reveal()));
            }
            LlmEvent::Done(_) => return (text, calls),
            LlmEvent::Failed(error) => panic!("{error}"),
        }
    }
    panic!("a reply ends with Done or Failed")
}

#[tokio::test]
async fn calls_come_over_the_openai_wire_however_a_server_sends_them() {
    let tools = service_tools("http://127.0.0.1:9");
    let city = json!({"city": "Paris"});
    let whole = json!({"id": "", "function": {"name": "weather", "arguments": city}});
    let written =
        format!("<tool_call>{}</tool_call>", json!({"name": "weather", "arguments": city}));
    let brain = Brain::start([
        call("Let me check.", "weather", &city),
        Turn::Deltas(vec![json!({"content": "Let me check.", "tool_calls": [whole]})]),
        Turn::Deltas(vec![json!({"content": "Let me check."}), json!({"content": written})]),
    ])
    .await;
    let client = client(&brain);
    for _ in 0..3 {
        let (text, calls) = read(&client, ask(&tools)).await;
        assert_eq!(text, "Let me check.");
        assert_eq!(calls, [r#"weather {"city":"Paris"}"#]);
    }
    let request = &brain.requests()[0];
    let function = &request["tools"][0]["function"];
    assert_eq!(
        (&request["tools"][0]["type"], &function["name"]),
        (&json!("function"), &json!("weather"))
    );
    assert_eq!(function["parameters"]["required"], json!(["city"]));
    assert!(request.get("tool_choice").is_none());
    assert_eq!(
        request["messages"][0],
        json!({"role": "user", "content": "How warm is it in Paris?"})
    );
}

#[tokio::test]
async fn calls_and_results_go_back_over_the_openai_wire() {
    let tools = service_tools("http://127.0.0.1:9");
    let brain = Brain::start([text("It is 21 degrees.")]).await;
    let mut prompt = ask(&tools);
    let called = ToolCall::new("weather", r#"{"city":"Paris"}"#);
    prompt.messages.push(Message::calling("", vec![called.clone()]));
    prompt.messages.push(Message::result(&called, eva_voice::private::Private::new("21".into())));
    prompt.offer.words_only = true;
    assert_eq!(read(&client(&brain), prompt).await.0, "It is 21 degrees.");
    let request = &brain.requests()[0];
    let function = json!({"name": "weather", "arguments": r#"{"city":"Paris"}"#});
    let calls = json!([{"id": called.id, "type": "function", "function": function}]);
    assert_eq!(
        request["messages"][1],
        json!({"role": "assistant", "content": "", "tool_calls": calls})
    );
    assert_eq!(
        request["messages"][2],
        json!({"role": "tool", "content": "21", "tool_call_id": called.id})
    );
    assert_eq!(request["tool_choice"], "none");
}

#[tokio::test]
async fn a_server_that_knows_no_tools_is_asked_without_them_from_then_on() {
    let tools = service_tools("http://127.0.0.1:9");
    let refusal = Turn::RefuseTools(400, "gemma:2b does not support tools");
    let brain = Brain::start([refusal, text("Hello."), text("Hello again.")]).await;
    let client = client(&brain);
    assert_eq!(read(&client, ask(&tools)).await.0, "Hello.");
    assert_eq!(read(&client, ask(&tools)).await.0, "Hello again.");
    let has_tools = |request: &Value| request.get("tools").is_some();
    assert_eq!(brain.requests().iter().map(has_tools).collect::<Vec<_>>(), [true, false, false]);
}

/// The engines with a scripted brain and these tools.
fn engines_with(brain: &Brain, tools: &Toolbox) -> Engines {
    let llm = std::sync::Arc::new(client(brain));
    Engines { llm, tools: tools.clone(), ..engines() }
}

#[test]
fn a_question_is_answered_with_a_tools_result_by_voice() {
    runtime().block_on(async {
        let (url, asked) = service().await;
        let tools = service_tools(&url);
        let brain = Brain::start([
            call("Let me have a look.", "weather", &json!({"city": "Paris"})),
            text("It is twenty one degrees and clear."),
            text("You are welcome."),
        ])
        .await;
        let gateway = gateway(engines_with(&brain, &tools)).await;
        let mut call = HeadlessCall::dial(&gateway.url, &Options::default()).await.expect("a call");
        let report = call.ask(&say("How is the weather in Paris today?").await, PATIENCE).await;
        assert!(report.answered.contains("twenty one degrees"), "{report:?}");
        let heard = transcribe(call.recording()).await;
        assert!(heard.contains("look") && heard.contains("clear"), "{heard}");
        assert_eq!(asked.lock().unwrap().len(), 1);
        let told = brain.requests()[1].to_string();
        assert!(told.contains("degrees") && told.contains("tool_call_id"), "{told}");
        // The exchange stays in the history, in its order.
        let report = call.ask(&say("Thank you very much for the help.").await, PATIENCE).await;
        assert!(report.answered.contains("welcome"), "{report:?}");
        let messages = brain.requests()[2]["messages"].clone();
        let roles: Vec<&str> =
            messages.as_array().unwrap().iter().filter_map(|m| m["role"].as_str()).collect();
        assert_eq!(roles, ["system", "user", "assistant", "tool", "assistant", "user"]);
        assert_eq!(messages[2]["content"], "Let me have a look.");
        assert_eq!(messages[2]["tool_calls"][0]["function"]["name"], "weather");
        assert_eq!(messages[4]["content"], "It is twenty one degrees and clear.");
        call.hang_up().await.expect("hung up");
        gateway.shut_down().await;
    });
}

#[test]
fn a_call_without_tools_offers_none() {
    runtime().block_on(async {
        let brain = Brain::start([text("Hello there, my friend.")]).await;
        let gateway = gateway(engines_with_server(&brain.url)).await;
        let mut call = HeadlessCall::dial(&gateway.url, &Options::default()).await.expect("a call");
        call.ask(&say("Hello, how are you today?").await, PATIENCE).await;
        assert!(brain.requests()[0].get("tools").is_none());
        call.hang_up().await.expect("hung up");
        gateway.shut_down().await;
    });
}
