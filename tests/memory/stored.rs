//! Conversations in a file.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock};

use eva_voice::ids::SessionId;
use eva_voice::private::Private;
use eva_voice::storage::{
    Channel, DatabaseUrl, Health, Page, Retention, Storage, StorageError, Turn,
};
use eva_voice::thinking::{Message, ToolCall};

pub const DAY_MS: i64 = 86_400_000;

pub fn session(name: &str) -> SessionId {
    SessionId::parse(name).expect("a name")
}

pub fn said(owner: &str, name: &str, user: &str, reply: &str) -> Turn {
    let mut turn = Turn::new(owner, session(name), Channel::Chat);
    turn.user = Private::new(user.to_owned());
    turn.reply = Private::new(reply.to_owned());
    turn
}

async fn open(path: &Path, days: u32) -> Storage {
    let url = DatabaseUrl::Sqlite(path.to_owned());
    Storage::open(&url, Retention::days(days)).await.expect("the file opens")
}

async fn replies(storage: &Storage, owner: &str, name: &str) -> Vec<String> {
    let turns = storage.load(owner, &session(name)).await.expect("it answers");
    turns.into_iter().map(|turn| turn.reply.into_revealed()).collect()
}

/// What every database must do. `reopen` is a restart of the gateway.
pub async fn a_conversation_is_kept(reopen: impl AsyncFn() -> Storage) {
    let storage = reopen().await;
    assert_eq!(storage.health().await, Health::Healthy);
    assert!(storage.load("ann", &session("s1")).await.expect("it answers").is_empty());

    // Everything of a turn comes back, in order, after a restart.
    let call = ToolCall::new("weather", r#"{"city":"São \"Paulo\""}"#);
    let result = Message::result(&call, Private::new("{\"sky\":\"clear\"}\n☀".to_owned()));
    let mut first = said("ann", "s1", "How is the weather? \0☔", "Clear.");
    first.channel = Channel::Call;
    first.exchange = vec![Message::calling("Let me look.", vec![call]), result];
    first.latency_ms = Some(812.25);
    storage.keep(first.clone());
    for n in 2..=150 {
        storage.keep(said("ann", "s1", &format!("Question {n}"), &format!("Answer {n}")));
    }
    storage.close().await;
    let storage = reopen().await;
    let turns = storage.load("ann", &session("s1")).await.expect("it answers");
    assert_eq!(turns.len(), 100, "as many as a history can use");
    assert_eq!(turns[0].reply.reveal(), "Answer 51");
    assert_eq!(turns[99].reply.reveal(), "Answer 150");
    let export =
        storage.export("ann", &session("s1")).await.expect("it answers").expect("is there");
    assert_eq!(export.turns.len(), 150);
    let kept = &export.turns[0];
    assert_eq!(kept.user.reveal(), "How is the weather? ☔");
    assert_eq!((kept.channel, &kept.exchange), (Channel::Call, &first.exchange));
    assert_eq!((kept.at, kept.latency_ms), (first.at, first.latency_ms));
    let json = export.json();
    assert_eq!(json["turns"][0]["tools"][1]["content"], "{\"sky\":\"clear\"}\n☀");
    assert_eq!(json["turns"][149]["user"], "Question 150");

    // A correction changes a turn, and is no turn of its own.
    let mut cut = said("ann", "s2", "Tell me a story.", "Once upon a time there was a king.");
    storage.keep(cut.clone());
    cut.reply = Private::new("Once upon".to_owned());
    storage.correct(cut.clone());
    storage.keep(cut.clone());
    assert_eq!(replies(&storage, "ann", "s2").await, ["Once upon"]);

    // Others have sessions of their own, even under the same name.
    storage.keep(said("bob", "s1", "Hi.", "Hello Bob."));
    assert_eq!(replies(&storage, "bob", "s1").await, ["Hello Bob."]);
    assert!(storage.export("bob", &session("s2")).await.expect("it answers").is_none());
    assert!(!storage.delete("bob", &session("s2")).await.expect("it answers"));
    let of = async |owner: &str, page: Page| storage.sessions(owner, &page).await;
    let bobs = of("bob", Page::default()).await.expect("it answers");
    assert_eq!((bobs.data.len(), bobs.has_more, bobs.data[0].turns), (1, false, 1));

    // Pages show each session once, what changed last first.
    let mut later = said("ann", "s3", "Hi.", "Hello.");
    later.at += 1000;
    storage.keep(later);
    let mut seen = Vec::new();
    let mut page = Page { after: None, limit: Some(1) };
    loop {
        let sessions = of("ann", page.clone()).await.expect("it answers");
        seen.extend(sessions.data.iter().map(|session| session.id.to_string()));
        page.after = sessions.data.last().map(|session| session.id.clone());
        if !sessions.has_more {
            break;
        }
    }
    assert_eq!((seen.len(), seen[0].as_str()), (3, "s3"), "{seen:?}");
    let lost = Page { after: Some(session("gone")), limit: None };
    assert!(matches!(of("ann", lost).await, Err(StorageError::NoSuchPage)));

    // What is deleted is gone, also what waits, and a correction does not bring it back.
    storage.keep(said("ann", "s2", "And then?", "The end."));
    assert!(storage.delete("ann", &session("s2")).await.expect("it answers"));
    storage.correct(cut);
    assert!(replies(&storage, "ann", "s2").await.is_empty());
    assert!(!storage.delete("ann", &session("s2")).await.expect("it answers"));
    assert!(!replies(&storage, "bob", "s1").await.is_empty());

    // What is too old goes, and sessions without turns with it.
    let mut old = said("ann", "old", "Hi.", "Hello.");
    old.at -= 31 * DAY_MS;
    storage.keep(old.clone());
    old = Turn { id: said("", "x", "", "").id, session: session("s3"), ..old };
    storage.keep(old);
    storage.close().await;
    let storage = reopen().await;
    storage.flush().await;
    assert!(storage.export("ann", &session("old")).await.expect("it answers").is_none());
    assert_eq!(replies(&storage, "ann", "s3").await.len(), 1, "what was said since stays");
    storage.close().await;
}

#[tokio::test]
async fn a_conversation_is_kept_in_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("of/its/own/eva.db");
    a_conversation_is_kept(async || open(&path, 30).await).await;
    use std::os::unix::fs::PermissionsExt;
    for file in std::fs::read_dir(path.parent().unwrap()).unwrap() {
        let mode = file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "only its owner can read it");
    }
}

/// Whether any file of a folder holds these bytes.
fn on_disk(folder: &Path, words: &str) -> bool {
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    files.into_iter().any(|file| {
        let bytes = std::fs::read(file).unwrap();
        bytes.windows(words.len()).any(|window| window == words.as_bytes())
    })
}

#[tokio::test]
async fn what_is_deleted_leaves_no_trace_in_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(&dir.path().join("eva.db"), 30).await;
    let secret = "tangerine-umbrella";
    for n in 0..40 {
        let long = format!("{secret} {}", "word ".repeat(400 * (n % 3)));
        storage.keep(said("ann", &format!("{secret}-{}", n % 2), &long, &long));
        storage.keep(said("ann", "other", "Hi.", "Hello."));
    }
    storage.flush().await;
    assert!(on_disk(dir.path(), secret));
    for n in 0..2 {
        assert!(storage.delete("ann", &session(&format!("{secret}-{n}"))).await.unwrap());
    }
    assert!(!on_disk(dir.path(), secret), "before and after it is closed");
    storage.close().await;
    assert!(!on_disk(dir.path(), secret));
    assert_eq!(
        replies(&open(&dir.path().join("eva.db"), 30).await, "ann", "other").await.len(),
        40
    );
}

#[tokio::test]
async fn with_no_days_nothing_reaches_the_disk_and_with_off_nothing_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(&dir.path().join("eva.db"), 0).await;
    storage.keep(said("ann", "s", "Hi.", "Hello."));
    assert_eq!(replies(&storage, "ann", "s").await, ["Hello."]);
    assert!(storage.delete("ann", &session("s")).await.unwrap());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);

    let off = Storage::open(&DatabaseUrl::Off, Retention::default()).await.unwrap();
    off.keep(said("ann", "s", "Hi.", "Hello."));
    assert!(off.flush().await && off.healthy().await && off.is_off());
    assert!(replies(&off, "ann", "s").await.is_empty());
    assert!(off.sessions("ann", &Page::default()).await.unwrap().data.is_empty());
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_a_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("eva.db");
    std::fs::write(
        &path,
        "this is no database, and it is long enough to be looked at\n".repeat(99),
    )
    .unwrap();
    for path in [path.as_path(), Path::new("/proc/eva.db")] {
        let error =
            Storage::open(&DatabaseUrl::Sqlite(path.to_owned()), Retention::default()).await;
        let told = error.expect_err("no database").to_string();
        assert!(told.contains("--database off") && told.contains("eva.db"), "{told}");
    }
}

#[tokio::test]
async fn a_queue_that_is_full_drops_the_newest_and_nobody_waits() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("eva.db");
    let storage = open(&path, 30).await;
    storage.flush().await;
    // Somebody else writes, and does not end.
    let other = sqlx::SqlitePool::connect(&format!("sqlite:{}", path.display())).await.unwrap();
    let mut held = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    sqlx::query("DELETE FROM turns").execute(&mut *held).await.unwrap();
    let began = std::time::Instant::now();
    for n in 0..3000 {
        storage.keep(said("ann", "s", &n.to_string(), "."));
    }
    assert!(began.elapsed().as_millis() < 500, "{:?}", began.elapsed());
    held.rollback().await.unwrap();
    assert!(storage.flush().await);
    let turns = storage.export("ann", &session("s")).await.unwrap().unwrap().turns;
    assert!((1024..3000).contains(&turns.len()), "{}", turns.len());
    let kept = turns.iter().map(|turn| turn.user.reveal().parse::<usize>().unwrap());
    assert!(kept.eq(0..turns.len()), "the oldest are kept, in order");
}

const CHILD: &str = "a_child_that_writes_until_it_is_killed";

#[tokio::test]
#[ignore = "run by another test"]
async fn a_child_that_writes_until_it_is_killed() {
    let Ok(path) = std::env::var("EVA_TEST_DATABASE") else { return };
    let round = std::env::var("EVA_TEST_ROUND").expect("which round");
    let storage = open(Path::new(&path), 30).await;
    for n in 0.. {
        storage.keep(said("ann", &round, &n.to_string(), &"so it goes ".repeat(n % 200)));
        if n % 3 == 0 {
            assert!(storage.flush().await);
            println!("\nkept {n}");
        }
    }
}

#[tokio::test]
async fn a_gateway_that_is_killed_while_it_writes_loses_what_was_in_flight_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("eva.db");
    let name = module_path!()
        .split_once("::")
        .map_or(CHILD.to_owned(), |(_, module)| format!("{module}::{CHILD}"));
    for round in 0..6 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &name, "--ignored", "--nocapture"])
            .env("EVA_TEST_DATABASE", &path)
            .env("EVA_TEST_ROUND", format!("round-{round}"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let kept = lines
            .map_while(Result::ok)
            .filter_map(|line| line.strip_prefix("kept ").and_then(|n| n.parse::<usize>().ok()));
        let told = kept.take_while(|n| *n <= 20 + 97 * round).last().expect("it writes");
        // SIGKILL.
        child.kill().unwrap();
        child.wait().unwrap();
        let storage = open(&path, 30).await;
        let name = session(&format!("round-{round}"));
        let turns = storage.export("ann", &name).await.unwrap().expect("a session").turns;
        assert!(turns.len() > told, "told {told}, kept {}", turns.len());
        for (n, turn) in turns.iter().enumerate() {
            assert_eq!(turn.user.reveal(), &n.to_string(), "none is missing");
            assert_eq!(turn.reply.reveal(), &"so it goes ".repeat(n % 200), "all are whole");
        }
        storage.close().await;
        let check = sqlx::SqlitePool::connect(&format!("sqlite:{}", path.display())).await.unwrap();
        let whole: String =
            sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&check).await.unwrap();
        assert_eq!(whole, "ok");
    }
}

/// Everything that is logged in this program, at every level.
fn log() -> &'static Mutex<Vec<u8>> {
    static LOG: OnceLock<Mutex<Vec<u8>>> = OnceLock::new();
    struct Log;
    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            log().lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let log_of = LOG.get_or_init(Mutex::default);
    static STARTED: OnceLock<()> = OnceLock::new();
    STARTED.get_or_init(|| {
        let lines = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE);
        let _ = lines.with_writer(|| Log).try_init();
    });
    log_of
}

#[tokio::test]
async fn nothing_that_was_said_is_logged_at_any_level() {
    log();
    tracing::info!("the log works");
    let dir = tempfile::tempdir().unwrap();
    let storage = open(&dir.path().join("eva.db"), 30).await;
    let mut turn = said("ann", "s", "marmalade", "marmalade indeed");
    turn.exchange = vec![Message::calling("", vec![ToolCall::new("t", "marmalade")])];
    storage.keep(turn.clone());
    storage.correct(turn.clone());
    storage.load("ann", &session("s")).await.unwrap();
    let export = storage.export("ann", &session("s")).await.unwrap();
    tracing::info!(?turn, ?export, ?storage);
    // What the database refuses is not quoted either.
    let path = format!("sqlite:{}", dir.path().join("eva.db").display());
    let other = sqlx::SqlitePool::connect(&path).await.unwrap();
    sqlx::query("DROP TABLE turns").execute(&other).await.unwrap();
    storage.keep(said("ann", "s", "marmalade", "marmalade"));
    assert!(storage.flush().await, "what is refused does not block");
    assert!(storage.load("ann", &session("s")).await.is_err());
    assert!(!storage.healthy().await);
    let logged = String::from_utf8_lossy(&log().lock().unwrap()).into_owned();
    assert!(logged.contains("the log works") && logged.contains("refuses turns"), "{logged}");
    assert!(!logged.contains("marmalade"));
}
