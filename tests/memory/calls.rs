//! Calls to a gateway that is killed and started again: the real program, with a scripted brain.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use eva_voice::bench::mock_llm::{MockConfig, MockLlm};
use eva_voice::headless::{HeadlessCall, Options};
use serde_json::Value;

use crate::common::{human, runtime};

const PATIENCE: Duration = Duration::from_secs(30);

/// `eva serve`, on ports of its own choice.
struct Serve {
    child: Child,
    url: String,
    /// What it told when it started.
    told: String,
}

impl Serve {
    fn start(database: &Path, brain: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_eva"))
            .args(["serve", "--listen", "127.0.0.1:0", "--no-fillers", "--llm-url", brain])
            .arg("--database")
            .arg(database)
            .stdout(Stdio::piped())
            .spawn()
            .expect("eva runs");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut told = String::new();
        while !told.contains("conversations") {
            told += &lines.next().expect("eva serves").expect("text");
            told.push('\n');
        }
        let url = told.split_once("http://").and_then(|(_, rest)| rest.split('/').next());
        let url = format!("http://{}", url.expect("an address"));
        // A pipe that nobody reads would end it.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, url, told }
    }

    fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("gone");
    }

    /// Ends it as an owner does; whether it ended well.
    fn end(mut self) -> bool {
        let id = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &id]).status().expect("kill runs");
        self.child.wait().expect("gone").success()
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let url = format!("{}{path}", self.url);
        let response = reqwest::get(url).await.expect("an answer");
        (response.status().as_u16(), response.json().await.unwrap_or_default())
    }

    async fn delete(&self, path: &str) -> u16 {
        let request = reqwest::Client::new().delete(format!("{}{path}", self.url));
        request.send().await.expect("an answer").status().as_u16()
    }

    async fn call(&self, session: Option<&str>) -> HeadlessCall {
        let options = Options { session: session.map(str::to_owned), ..Options::default() };
        HeadlessCall::dial(&self.url, &options).await.expect("a call")
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn session_of(call: &HeadlessCall) -> String {
    let ready = call.log().iter().find(|event| event["type"] == "eva.ready").expect("it is ready");
    ready["session_id"].as_str().expect("a session").to_owned()
}

#[test]
fn a_session_goes_on_after_the_gateway_was_killed_in_the_middle_of_a_turn() {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("eva.db");
    runtime().block_on(async {
        let mock = MockLlm::start(MockConfig::default()).await.expect("a brain");
        let (one, two) = (human("vm-goodbye.wav"), human("vm-nobodyavail.wav"));

        // One turn is answered, the next is in flight.
        let gateway = Serve::start(&database, mock.url());
        assert!(gateway.told.contains("for 30 days"), "{}", gateway.told);
        let mut call = gateway.call(Some("ann.2026:1")).await;
        assert_eq!(session_of(&call), "ann.2026:1");
        let first = call.ask(&one, PATIENCE).await;
        assert!(first.answered.contains("Answer number"), "{first:?}");
        let replies = |call: &HeadlessCall| {
            call.log().iter().filter(|event| event["type"] == "eva.words").count()
        };
        let before = replies(&call);
        call.ask(&two, Duration::ZERO).await;
        assert!(call.run_until(PATIENCE, |call| replies(call) > before).await, "it answers");
        gateway.kill();

        // The answered turn is there.
        let gateway = Serve::start(&database, mock.url());
        let (status, kept) = gateway.get("/sessions/ann.2026:1").await;
        assert_eq!((status, kept["turns"].as_array().map(Vec::len)), (200, Some(1)), "{kept}");
        let turn = &kept["turns"][0];
        assert_eq!((&turn["channel"], &turn["user"]), (&"call".into(), &first.understood.into()));
        assert_eq!(turn["reply"], first.answered.trim());
        assert!(turn["latency_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{turn}");

        // The next call goes on from it, and another caller knows nothing of it.
        let mut again = gateway.call(Some("ann.2026:1")).await;
        assert!(again.ask(&two, PATIENCE).await.voice_to_voice_ms.is_some());
        let prompt = mock.seen().last_request["messages"].clone();
        assert_eq!(prompt[1]["content"], turn["user"], "{prompt}");
        assert_eq!(prompt[2]["content"], turn["reply"], "{prompt}");
        again.hang_up().await.expect("hung up");
        let mut other = gateway.call(None).await;
        assert!(other.ask(&one, PATIENCE).await.voice_to_voice_ms.is_some());
        assert_eq!(mock.seen().last_request["messages"].as_array().map(Vec::len), Some(2));
        let others = session_of(&other);
        assert_eq!(others.len(), 32);
        other.hang_up().await.expect("hung up");
        let (_, list) = gateway.get("/sessions").await;
        let ids: Vec<_> = list["data"].as_array().unwrap().iter().map(|s| &s["id"]).collect();
        assert_eq!(ids, [others.as_str(), "ann.2026:1"]);
        let (_, page) = gateway.get("/sessions?limit=1").await;
        assert_eq!((page["data"][0]["turns"].as_i64(), &page["has_more"]), (Some(1), &true.into()));
        assert_eq!(gateway.get(&format!("/sessions?after={others}")).await.1["has_more"], false);

        // It is the person's to delete.
        assert_eq!(gateway.get("/health").await.1["services"]["database"]["state"], "healthy");
        assert_eq!(gateway.delete("/sessions/ann.2026:1").await, 204);
        assert_eq!(gateway.delete("/sessions/ann.2026:1").await, 404);
        let (status, gone) = gateway.get("/sessions/ann.2026:1").await;
        assert_eq!((status, &gone["error"]["code"]), (404, &"unknown_session".into()));
        for (path, param) in [
            ("/sessions/a%20b", "session_id"),
            ("/sessions?after=ann.2026:1", "after"),
            ("/sessions?after=%00", "after"),
            ("/sessions?limit=0", "limit"),
        ] {
            let (status, told) = gateway.get(path).await;
            assert_eq!((status, &told["error"]["param"]), (400, &param.into()), "{path}: {told}");
        }
        assert_eq!(gateway.get("/sessions?limit=many").await.1["error"]["code"], "bad_request");

        // An orderly end keeps what was said last.
        let mut last = gateway.call(Some("last")).await;
        last.ask(&one, Duration::ZERO).await;
        let final_words =
            |call: &HeadlessCall| call.log().iter().any(|event| event["type"] == "eva.final");
        assert!(last.run_until(PATIENCE, final_words).await);
        assert!(gateway.end(), "eva ends well");
        let url = eva_voice::storage::DatabaseUrl::Sqlite(database.clone());
        let storage = eva_voice::storage::Storage::open(&url, Default::default()).await.unwrap();
        let turns = storage.load("anybody", &crate::stored::session("last")).await.unwrap();
        assert_eq!(turns.len(), 1);
    });
}
