//! How a session answers, event by event.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::private::Private;

fn session(carrier: Carrier) -> Session {
    let abilities = Abilities {
        check_voice: Box::new(|voice| match voice {
            "known" => Ok(()),
            _ => Err(format!("There is no voice {voice}.")),
        }),
        check_language: Box::new(|_| Ok(())),
        own_voice: "joe".to_owned(),
        own_model: "brain".to_owned(),
    };
    Session::new(CallId::random(), carrier, Config::default(), abilities)
}

/// All that the session has to tell.
fn told(session: &mut Session) -> Vec<Value> {
    std::iter::from_fn(|| session.poll_event())
        .map(|text| serde_json::from_str(&text).expect("events are JSON"))
        .collect()
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().expect("a type")).collect()
}

fn asks(session: &mut Session) -> Vec<String> {
    std::iter::from_fn(|| session.poll_ask()).map(|ask| format!("{ask:?}")).collect()
}

fn send(session: &mut Session, event: Value) -> Vec<Value> {
    session.client(&event.to_string());
    told(session)
}

/// A turn is heard and answered.
fn turn(session: &mut Session, words: &str, reply: u32) {
    session.happened(Happening::SpeechStarted { at_ms: 100 });
    session.happened(Happening::Paused { at_ms: 900 });
    session.happened(Happening::Committed { turn: TurnId(1), words, key: None });
    session.happened(Happening::ReplyBegins { reply: ReplyId(reply) });
}

fn say(session: &mut Session, text: &str, words: &[(u64, usize)]) {
    session.happened(Happening::Sentence { text, words: words.to_vec() });
    session.happened(Happening::Sounds);
}

#[test]
fn a_turn_and_its_reply_are_told_in_openais_order() {
    let mut session = session(Carrier::DataChannel);
    session.happened(Happening::Opened);
    turn(&mut session, "Hello.", 1);
    say(&mut session, "Hi there.", &[(200, 2), (500, 9)]);
    session.happened(Happening::ReplyEnded { key: None, usage: Usage::default() });
    let events = told(&mut session);
    assert_eq!(
        kinds(&events),
        [
            "session.created",
            "input_audio_buffer.speech_started",
            "input_audio_buffer.speech_stopped",
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done",
            "conversation.item.input_audio_transcription.delta",
            "conversation.item.input_audio_transcription.completed",
            "response.created",
            "response.output_item.added",
            "conversation.item.added",
            "response.content_part.added",
            "response.output_audio_transcript.delta",
            "output_audio_buffer.started",
            "response.output_audio.done",
            "response.output_audio_transcript.done",
            "response.content_part.done",
            "response.output_item.done",
            "conversation.item.done",
            "response.done",
            "output_audio_buffer.stopped",
        ]
    );
    let done = &events[19]["response"];
    assert_eq!(done["status"], "completed");
    assert_eq!(done["output"][0]["content"][0]["transcript"], "Hi there.");
    // An item's place is told, and null belongs to the first one only.
    assert_eq!(events[4]["previous_item_id"], Value::Null);
    assert_eq!(events[10]["previous_item_id"], events[4]["item"]["id"]);
    assert_eq!(events[4]["item"]["content"][0].get("transcript"), Some(&Value::Null));
}

#[test]
fn speech_over_her_voice_is_told_when_it_interrupts_and_not_before() {
    let mut session = session(Carrier::DataChannel);
    turn(&mut session, "Tell me a story.", 1);
    say(&mut session, "Once upon a time.", &[(300, 4), (600, 9), (900, 17)]);
    told(&mut session);
    session.happened(Happening::SpeechStarted { at_ms: 5000 });
    assert!(told(&mut session).is_empty(), "it may be a mhm");
    session.happened(Happening::Discarded);
    assert!(told(&mut session).is_empty(), "it was one");
    session.happened(Happening::SpeechStarted { at_ms: 6000 });
    session.happened(Happening::ReplyCut {
        reply: ReplyId(1),
        heard: "Once upon",
        heard_ms: 650,
        key: None,
        usage: Usage::default(),
    });
    let events = told(&mut session);
    assert_eq!(events[0]["type"], "input_audio_buffer.speech_started");
    assert_eq!(events[0]["audio_start_ms"], 6000);
    let of = |kind: &str| events.iter().find(|event| event["type"] == kind).expect(kind);
    assert_eq!(of("response.done")["response"]["status"], "cancelled");
    assert_eq!(of("response.done")["response"]["status_details"]["reason"], "turn_detected");
    assert_eq!(of("conversation.item.truncated")["audio_end_ms"], 650);
    of("output_audio_buffer.cleared");
    let item = of("conversation.item.truncated")["item_id"].clone();
    let retrieve = json!({"type": "conversation.item.retrieve", "item_id": item});
    let retrieved = send(&mut session, retrieve);
    assert_eq!(retrieved[0]["item"]["content"][0]["transcript"], "Once upon");
    assert_eq!(retrieved[0]["item"]["status"], "incomplete");
}

#[test]
fn on_a_websocket_the_client_says_how_much_was_heard() {
    let mut session = session(Carrier::WebSocket);
    turn(&mut session, "Tell me a story.", 1);
    session.happened(Happening::Sound { payload: &[0, 1] });
    say(&mut session, "Once upon a time.", &[(300, 4), (600, 9), (900, 17)]);
    say(&mut session, "There was a king.", &[(1500, 5), (2000, 17)]);
    let events = told(&mut session);
    let delta = events.iter().find(|event| event["type"] == "response.output_audio.delta");
    assert_eq!(delta.expect("sound")["delta"], "AAE=");
    session.happened(Happening::ReplyCut {
        reply: ReplyId(1),
        heard: "Once upon a time. There",
        heard_ms: 1600,
        key: None,
        usage: Usage::default(),
    });
    let events = told(&mut session);
    assert!(!kinds(&events).contains(&"conversation.item.truncated"), "the client knows better");
    let item = events.iter().find(|event| event["type"] == "response.output_item.done");
    let item = item.expect("the item")["item"]["id"].clone();
    let truncate = json!({"type": "conversation.item.truncate", "item_id": item,
                          "content_index": 0, "audio_end_ms": 700});
    assert_eq!(send(&mut session, truncate)[0]["type"], "conversation.item.truncated");
    let retrieve = json!({"type": "conversation.item.retrieve", "item_id": item});
    let retrieved = send(&mut session, retrieve);
    assert_eq!(retrieved[0]["item"]["content"][0]["transcript"], "Once upon");
}

#[test]
fn a_turn_that_goes_on_takes_its_item_and_response_back() {
    let mut session = session(Carrier::DataChannel);
    turn(&mut session, "I would like", 1);
    told(&mut session);
    session.happened(Happening::SpeechStarted { at_ms: 1200 });
    session.happened(Happening::Reopened);
    let events = told(&mut session);
    let expected =
        ["response.done", "conversation.item.deleted", "input_audio_buffer.speech_started"];
    assert_eq!(kinds(&events), expected);
    session.happened(Happening::Committed {
        turn: TurnId(1),
        words: "I would like tea.",
        key: None,
    });
    session.happened(Happening::ReplyBegins { reply: ReplyId(1) });
    let events = told(&mut session);
    assert_eq!(kinds(&events).last(), Some(&"response.created"));
}

#[test]
fn a_tool_is_called_and_its_result_answered() {
    let mut session = session(Carrier::DataChannel);
    turn(&mut session, "How is the weather?", 1);
    let mut call = ToolCall::new("get_weather", "{\"city\":\"Paris\"}");
    call.id = "call_1".to_owned();
    session.happened(Happening::ToolsCalled { calls: &[call] });
    session.happened(Happening::ReplyEnded { key: None, usage: Usage::default() });
    let events = told(&mut session);
    let done = events.iter().find(|event| event["type"] == "response.output_item.done");
    let done = done.expect("a call");
    assert_eq!(done["item"]["type"], "function_call");
    assert_eq!(done["item"]["status"], "completed");
    assert_eq!(done["item"]["arguments"], "{\"city\":\"Paris\"}");
    assert!(done["response_id"].is_string());
    assert_eq!(kinds(&events).last(), Some(&"response.done"), "no sound, no playout to stop");
    asks(&mut session);
    let result = json!({"type": "conversation.item.create",
        "item": {"type": "function_call_output", "call_id": "call_1", "output": "sunny"}});
    assert_eq!(
        kinds(&send(&mut session, result)),
        ["conversation.item.added", "conversation.item.done"]
    );
    assert!(send(&mut session, json!({"type": "response.create"})).is_empty());
    let asked = asks(&mut session);
    assert!(asked[0].starts_with("Result") && asked[1] == "Respond", "{asked:?}");
    let unknown = json!({"type": "conversation.item.create", "event_id": "mine",
        "item": {"type": "function_call_output", "call_id": "call_9", "output": "sunny"}});
    let events = send(&mut session, unknown);
    assert_eq!(events[0]["error"]["event_id"], "mine");
    assert_eq!(events[0]["error"]["param"], "item.call_id");
}

#[test]
fn settings_are_taken_checked_and_told_back() {
    let mut session = session(Carrier::DataChannel);
    asks(&mut session);
    let update =
        |settings: Value| json!({"type": "session.update", "event_id": "u", "session": settings});
    let events = send(
        &mut session,
        update(json!({
            "type": "realtime", "instructions": "Be kind.", "tracing": "auto",
            "output_modalities": ["audio"],
            "audio": {"input": {"turn_detection": {"type": "server_vad", "silence_duration_ms": 700},
                                "format": {"type": "audio/pcmu"}},
                      "output": {"voice": "marin", "speed": 1.2}},
            "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}],
        })),
    );
    assert_eq!(kinds(&events), ["error"], "there is no voice joe@1.2");
    assert_eq!(events[0]["error"]["param"], "session.audio.output.voice");
    let events = send(
        &mut session,
        update(json!({
            "instructions": "Be kind.", "tracing": "auto",
            "audio": {"input": {"turn_detection": {"type": "server_vad", "silence_duration_ms": 700}},
                      "output": {"voice": "marin"}},
            "tools": [{"type": "function", "name": "f"}],
        })),
    );
    assert_eq!(kinds(&events), ["session.updated"]);
    let told = &events[0]["session"];
    assert_eq!(told["audio"]["input"]["turn_detection"]["silence_duration_ms"], 700);
    assert_eq!(told["audio"]["input"]["turn_detection"]["create_response"], true);
    assert_eq!(told["audio"]["output"]["voice"], "marin");
    assert_eq!(told["tracing"], "auto");
    assert_eq!(told["tools"][0]["name"], "f");
    assert_eq!(asks(&mut session), ["Configure"]);
    // The same again is acknowledged and changes nothing.
    assert_eq!(kinds(&send(&mut session, update(json!({"tracing": "auto"})))), ["session.updated"]);
    assert!(asks(&mut session).is_empty());
    let wrong = [
        (json!({"type": "transcription"}), "session.type"),
        (json!({"output_modalities": ["video"]}), "session.output_modalities"),
        (json!({"temperature": 7}), "session.temperature"),
        (json!({"tools": [{"type": "mcp"}]}), "session.tools[0].type"),
        (
            json!({"audio": {"input": {"format": {"type": "audio/pcm", "rate": 8000}}}}),
            "session.audio.input.format",
        ),
        (json!({"audio": {"output": {"voice": "nobody"}}}), "session.audio.output.voice"),
        (json!(7), "session"),
    ];
    for (settings, param) in wrong {
        let events = send(&mut session, update(settings));
        assert_eq!(events[0]["error"]["param"], param);
        assert_eq!(events[0]["error"]["event_id"], "u");
    }
}

#[test]
fn what_cannot_be_used_is_answered_and_ends_nothing() {
    let mut session = session(Carrier::DataChannel);
    for (event, code) in [
        ("{", "invalid_json"),
        ("7", "invalid_event"),
        ("{}", "missing_type"),
        (r#"{"type":"response.nonsense"}"#, "unknown_event"),
        (r#"{"type":"conversation.item.retrieve","item_id":"x"}"#, "item_not_found"),
        (r#"{"type":"input_audio_buffer.append","audio":"AA=="}"#, "not_on_a_call"),
        (r#"{"type":"input_audio_buffer.commit"}"#, "turn_detection_is_on"),
        (r#"{"type":"response.cancel"}"#, "response_cancel_not_active"),
        (
            r#"{"type":"conversation.item.create","item":{"type":"message","role":"user",
             "content":[{"type":"input_image"}]}}"#,
            "invalid_value",
        ),
    ] {
        session.client(event);
        let events = told(&mut session);
        assert_eq!(events[0]["error"]["code"], code, "{event}");
    }
    session.client(r#"{"type":"output_audio_buffer.clear"}"#);
    assert!(told(&mut session).is_empty());
    session.client(r#"{"type":"response.create"}"#);
    session.client(r#"{"type":"response.create","event_id":"second"}"#);
    let events = told(&mut session);
    assert_eq!(events[0]["error"]["code"], "conversation_already_has_active_response");
    assert_eq!(events[0]["error"]["event_id"], "second");
}

#[test]
fn a_response_apart_is_written_and_leaves_nothing() {
    let mut session = session(Carrier::DataChannel);
    let create = json!({"type": "response.create", "response": {
        "conversation": "none", "output_modalities": ["text"], "metadata": {"topic": "x"},
        "instructions": "Classify.",
        "input": [{"type": "message", "role": "user",
                   "content": [{"type": "input_text", "text": "Hello"}]}]}});
    assert!(send(&mut session, create).is_empty());
    let options = session.options();
    assert!(options.apart && options.spoken == Some(false));
    assert_eq!(options.input.expect("input")[0].content, Private::new("Hello".to_owned()));
    session.happened(Happening::ReplyBegins { reply: ReplyId(1) });
    session.happened(Happening::Text { delta: "greet" });
    session.happened(Happening::Text { delta: "ing" });
    session.happened(Happening::ReplyEnded { key: None, usage: Usage::default() });
    let events = told(&mut session);
    assert_eq!(
        kinds(&events),
        [
            "response.created",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.done",
        ]
    );
    let response = &events[8]["response"];
    assert_eq!(response["metadata"]["topic"], "x");
    assert_eq!(response["output"][0]["content"][0]["text"], "greeting");
    assert_eq!(response["conversation_id"], Value::Null);
    assert!(session.items.last_id().is_none());
}

#[test]
fn a_conversation_has_a_length() {
    let mut session = session(Carrier::WebSocket);
    let text = "x".repeat(100_000);
    let item = json!({"type": "conversation.item.create", "item": {"type": "message",
        "role": "user", "content": [{"type": "input_text", "text": text}]}});
    let refused = (0..30).map(|_| send(&mut session, item.clone()));
    let refused: Vec<_> = refused.filter(|events| kinds(events) == ["error"]).collect();
    assert_eq!(refused.len(), 10, "2 MiB hold 20 of them");
    assert_eq!(refused[0][0]["error"]["code"], "conversation_too_long");
}

/// Events of clients, sensible and not.
fn client_event() -> impl Strategy<Value = String> {
    let kind = prop::sample::select(vec![
        "session.update",
        "conversation.item.create",
        "conversation.item.delete",
        "conversation.item.retrieve",
        "conversation.item.truncate",
        "input_audio_buffer.append",
        "input_audio_buffer.commit",
        "input_audio_buffer.clear",
        "response.create",
        "response.cancel",
        "output_audio_buffer.clear",
        "x",
    ]);
    let value = prop::sample::select(vec![
        json!(null),
        json!(7),
        json!("root"),
        json!([]),
        json!({}),
        json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": "ü"}]}),
        json!({"type": "function_call_output", "call_id": "c", "output": "o"}),
        json!({"audio": {"input": {"turn_detection": null}}}),
    ]);
    (kind, value.clone(), value.clone(), value, 0u64..2000).prop_map(|(kind, a, b, c, ms)| {
        json!({"type": kind, "session": a, "item": b, "response": c, "audio": a, "item_id": b,
               "previous_item_id": c, "audio_end_ms": ms})
        .to_string()
    })
}

#[derive(Clone, Debug)]
enum Step {
    Client(String),
    Call(u8),
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    /// Whatever comes in whatever order: every event is whole, responses begin and end in pairs.
    #[test]
    fn every_sequence_is_told_in_order(steps in prop::collection::vec(prop_oneof![
        client_event().prop_map(Step::Client), "\\PC{0,30}".prop_map(Step::Client),
        (0u8..12).prop_map(Step::Call),
    ], 0..60), socket in any::<bool>()) {
        let carrier = if socket { Carrier::WebSocket } else { Carrier::DataChannel };
        let mut session = session(carrier);
        let (mut open, mut replies) = (false, 0);
        for step in steps {
            match step {
                Step::Client(text) => session.client(&text),
                Step::Call(what) => happen(&mut session, what, &mut replies),
            }
            for event in told(&mut session) {
                prop_assert!(event["event_id"].is_string() && event["type"].is_string());
                match event["type"].as_str().unwrap() {
                    "response.created" => prop_assert!(!std::mem::replace(&mut open, true)),
                    "response.done" => prop_assert!(std::mem::take(&mut open)),
                    kind if kind.starts_with("response.") => prop_assert!(open, "{kind}"),
                    _ => {}
                }
            }
            while session.poll_ask().is_some() {}
        }
    }
}

fn happen(session: &mut Session, what: u8, replies: &mut u32) {
    let usage = Usage::default();
    let reply = ReplyId(*replies);
    session.happened(match what {
        0 => Happening::Opened,
        1 => Happening::SpeechStarted { at_ms: 10 },
        2 => Happening::Paused { at_ms: 20 },
        3 => Happening::Committed { turn: TurnId(1), words: "Zoë, hi.", key: None },
        4 => Happening::Reopened,
        5 => Happening::Discarded,
        6 => {
            *replies += 1;
            Happening::ReplyBegins { reply: ReplyId(*replies) }
        }
        7 => Happening::Sounds,
        8 => Happening::Sentence { text: " Zoë, hi.", words: vec![(10, 6), (20, 10)] },
        9 => Happening::Text { delta: "é" },
        10 => Happening::ReplyEnded { key: None, usage },
        _ => Happening::ReplyCut { reply, heard: "Zoë,", heard_ms: 10, key: None, usage },
    });
}
