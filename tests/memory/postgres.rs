//! Conversations on a PostgreSQL server: the real one, started here.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use eva_voice::storage::{DatabaseUrl, Health, Retention, Storage};

use crate::stored::{a_conversation_is_kept, said, session};

/// A server of its own, in a folder, on a socket in that folder; ends when dropped.
struct Server {
    dir: tempfile::TempDir,
    programs: PathBuf,
}

impl Server {
    fn start() -> Self {
        let programs = programs().unwrap_or_else(|| {
            panic!(
                "PostgreSQL is not installed: run `scripts/setup.sh test`, or install postgresql"
            )
        });
        let dir = tempfile::tempdir_in("/tmp").expect("a folder");
        if let Some(user) = other_user() {
            std::os::unix::fs::chown(dir.path(), Some(user), Some(user)).expect("this is root");
        }
        let server = Self { dir, programs };
        let (data, password) = (server.data(), server.dir.path().join("password"));
        std::fs::write(&password, "s3cr@t").expect("a file");
        let password = format!("--pwfile={}", password.display());
        let options = ["-D", &data, "-U", "eva", "-A", "scram-sha-256", &password];
        server.run("initdb", &[&options[..], &["-E", "UTF8", "-N"]].concat());
        server.up();
        server
    }

    fn data(&self) -> String {
        self.dir.path().join("data").display().to_string()
    }

    fn up(&self) {
        self.up_with("-c listen_addresses=''");
    }

    fn up_with(&self, more: &str) {
        let folder = self.dir.path().display().to_string();
        let log = self.dir.path().join("log").display().to_string();
        let options = format!("{more} -c fsync=off -k {folder}");
        self.run(
            "pg_ctl",
            &["-D", &self.data(), "-w", "-t", "60", "-l", &log, "-o", &options, "start"],
        );
    }

    fn down(&self) {
        self.run("pg_ctl", &["-D", &self.data(), "-w", "-m", "immediate", "stop"]);
    }

    /// Runs one of its programs, as somebody other than root: it refuses root.
    fn run(&self, program: &str, arguments: &[&str]) {
        let mut command = Command::new(self.programs.join(program));
        command.args(arguments).current_dir(self.dir.path()).stdin(Stdio::null());
        if let Some(user) = other_user() {
            command.uid(user).gid(user);
        }
        let log = self.dir.path().join(format!("{program}.log"));
        let file = std::fs::File::create(&log).expect("a log");
        command.stdout(file.try_clone().expect("a log")).stderr(file);
        let status = command.status().unwrap_or_else(|error| panic!("{program}: {error}"));
        let told = std::fs::read_to_string(&log).unwrap_or_default();
        let own = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        assert!(status.success(), "PostgreSQL's {program} failed ({status}): {told}{own}");
    }

    fn url(&self) -> DatabaseUrl {
        let folder = self.dir.path().display();
        format!("postgres://eva:s3cr%40t@localhost/postgres?host={folder}")
            .parse()
            .expect("an address")
    }

    async fn open(&self) -> Storage {
        Storage::open(&self.url(), Retention::days(30)).await.expect("the server answers")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let stop = ["-D", &self.data(), "-m", "immediate", "stop"];
            let mut command = Command::new(self.programs.join("pg_ctl"));
            if let Some(user) = other_user() {
                command.uid(user).gid(user);
            }
            let _ = command.args(stop).stdout(Stdio::null()).stderr(Stdio::null()).status();
        } else {
            self.down();
        }
    }
}

/// The newest version's programs; Debian keeps them outside of PATH.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let debian = versions.map(|version| version.path().join("bin")).max();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = debian.into_iter().chain(std::env::split_paths(&path));
    let mut folders = folders.filter(|folder| folder.join("initdb").exists());
    folders.next()
}

/// Root cannot run a server: then it is `nobody`'s.
fn other_user() -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    let own = Path::new("/proc/self").metadata().expect("Linux").uid();
    (own == 0).then_some(65534)
}

#[tokio::test]
async fn a_conversation_is_kept_on_a_server() {
    let server = Server::start();
    a_conversation_is_kept(async || server.open().await).await;
}

#[tokio::test]
async fn a_server_that_crashes_is_waited_for_and_nothing_is_kept_twice() {
    let server = Server::start();
    let storage = server.open().await;
    storage.keep(said("ann", "s", "0", "."));
    assert!(storage.flush().await);
    server.down();
    for n in 1..50 {
        storage.keep(said("ann", "s", &n.to_string(), "."));
    }
    assert_eq!(storage.health().await, Health::Failing);
    assert!(storage.load("ann", &session("s")).await.is_err());
    server.up();
    while !storage.flush().await {}
    let turns = storage.export("ann", &session("s")).await.unwrap().unwrap().turns;
    let kept = turns.iter().map(|turn| turn.user.reveal().parse::<usize>().unwrap());
    assert!(kept.eq(0..50));
    assert_eq!(storage.health().await, Health::Healthy);
    storage.close().await;
}

#[tokio::test]
async fn gateways_share_a_server() {
    let server = Server::start();
    let (one, two) = tokio::join!(server.open(), server.open());
    for n in 0..200 {
        [&one, &two][n % 2].keep(said("ann", "s", &n.to_string(), "."));
    }
    assert!(one.flush().await && two.flush().await);
    let export = two.export("ann", &session("s")).await.unwrap().unwrap();
    assert_eq!(export.turns.len(), 200);
    one.close().await;
    two.close().await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_sentence_without_the_password() {
    let url: DatabaseUrl = "postgres://eva:s3cret@127.0.0.1:9/talks".parse().unwrap();
    let error = Storage::open(&url, Retention::default()).await.expect_err("nobody is there");
    let told = error.to_string();
    assert!(told.contains("PostgreSQL at 127.0.0.1:9/talks") && !told.contains("s3cret"), "{told}");
    let server = Server::start();
    let folder = server.dir.path().display();
    let wrong = format!("postgres://eva:wr0ng@localhost/postgres?host={folder}").parse().unwrap();
    let error = Storage::open(&wrong, Retention::default()).await.expect_err("it is wrong");
    let told = error.to_string();
    assert!(told.contains("password authentication failed") && !told.contains("wr0ng"), "{told}");
}

#[tokio::test]
async fn a_server_far_away_is_reached_over_tls_and_must_prove_who_it_is() {
    let server = Server::start();
    server.down();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = server.dir.path().join("server.crt");
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    // The server takes a key that only it can read.
    let key = server.dir.path().join("server.key");
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    if let Some(user) = other_user() {
        std::os::unix::fs::chown(&key, Some(user), Some(user)).unwrap();
    }
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (shown, secret) = (certificate.display(), key.display());
    server.up_with(&format!(
        "-c listen_addresses=127.0.0.1 -c port={port} -c ssl=on -c ssl_cert_file={shown} \
         -c ssl_key_file={secret}"
    ));
    let url = format!("postgres://eva:s3cr%40t@localhost:{port}/postgres?sslmode=verify-full");
    let proven = format!("{url}&sslrootcert={shown}").parse().unwrap();
    let storage =
        Storage::open(&proven, Retention::default()).await.expect("it is who it should be");
    storage.keep(said("ann", "s", "Hi.", "Hello."));
    assert_eq!(storage.load("ann", &session("s")).await.unwrap().len(), 1);
    storage.close().await;
    let unproven = url.parse().unwrap();
    assert!(Storage::open(&unproven, Retention::default()).await.is_err(), "nobody vouches for it");
}
