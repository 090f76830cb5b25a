//! Voices from a hub on this machine, by language, and brought by people.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Response, Uri};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::{VoiceState, mms};
use crate::models::manifest::{Manifest, Source};
use crate::models::progress::Progress;
use crate::models::store::Store;

type Files = HashMap<&'static str, (Vec<u8>, Option<String>)>;

/// A hub: files by path, each with the hash it states.
struct Hub {
    address: SocketAddr,
    _runtime: tokio::runtime::Runtime,
}

impl Hub {
    fn start(files: Files) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let files = Arc::new(files);
        let routes = Router::new().fallback(move |uri: Uri| {
            let files = files.clone();
            async move {
                let Some((content, stated)) = files.get(uri.path()) else {
                    return Response::builder().status(404).body(Body::empty()).unwrap();
                };
                let mut response = Response::builder();
                if let Some(stated) = stated {
                    response = response.header("x-linked-etag", format!("\"{stated}\""));
                }
                response.body(content.clone().into()).unwrap()
            }
        });
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move { axum::serve(listener, routes).await });
        Self { address, _runtime: runtime }
    }

    fn store(&self, dir: &Path, manifest: Manifest) -> Store {
        Store {
            dir: dir.to_owned(),
            manifest,
            hub: Some(format!("http://{}", self.address)),
            python: "/nonexistent/python3".into(),
        }
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn md5(bytes: &[u8]) -> String {
    md5::Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn built_in() -> Manifest {
    Manifest::load(Path::new("/nonexistent")).unwrap()
}

#[test]
fn the_list_has_voices_in_five_languages_and_says_which_licences_must_be_accepted() {
    let manifest = built_in();
    let voices: Vec<_> = manifest.entries().iter().filter(|entry| entry.voice.is_some()).collect();
    for (language, count) in
        [("en_US", 4), ("en_GB", 2), ("fr_", 3), ("de_", 2), ("es_", 2), ("it_", 2)]
    {
        let of = voices.iter().filter(|entry| entry.id.as_str().starts_with(language)).count();
        assert!(of >= count, "{of} voices for {language}");
    }
    for entry in voices {
        let voice = entry.voice.as_ref().unwrap();
        assert_eq!(entry.files[0].path, format!("voices/{0}/{0}.onnx", voice.name));
        assert_eq!(entry.files[1].path, format!("{}.json", entry.files[0].path));
        assert!(entry.files[0].size > 10_000_000, "{}", voice.name);
        let free = ["CC0", "CC-BY-4", "CC-BY-3", "CC-BY-SA", "public domain", "Unlicense"];
        let free = free.iter().any(|licence| entry.licence.starts_with(licence));
        assert_eq!(voice.accept.is_none(), free, "{}: {}", voice.name, entry.licence);
        for file in &entry.files {
            let hashes = (entry.known_hashes(&file.path), entry.known_md5s(&file.path));
            assert!(!(hashes.0.is_empty() && hashes.1.is_empty()), "{} has no hash", file.path);
        }
    }
    let siwis = manifest.voice("fr_FR-siwis-medium").unwrap();
    let Source::Hub { files } = &siwis.sources[0] else { panic!("not at the hub") };
    assert_eq!(
        files[0].from,
        "rhasspy/piper-voices/resolve/main/fr/fr_FR/siwis/medium/fr_FR-siwis-medium.onnx"
    );
}

#[test]
fn a_piper_voice_is_held_against_the_published_md5() {
    let (model, config) = (vec![5u8; 70_000], br#"{"language":{"code":"xx_YY"}}"#.to_vec());
    let list = |model_md5: &str| {
        let text = format!(
            "[[voice]]\nname = \"xx_YY-ada-low\"\nlicence = \"MIT\"\n\
             model = {{ size = {}, md5 = \"{model_md5}\" }}\n\
             config = {{ size = {}, md5 = \"{}\" }}\n",
            model.len(),
            config.len(),
            md5(&config)
        );
        Manifest::parse("of the test", &text).unwrap()
    };
    let at = "/rhasspy/piper-voices/resolve/main/xx/xx_YY/ada/low/xx_YY-ada-low.onnx";
    let hub = Hub::start(HashMap::from([
        (at, (model.clone(), Some(sha256(&model)))),
        (Box::leak(format!("{at}.json").into_boxed_str()), (config.clone(), None)),
    ]));
    let dir = TempDir::new().unwrap();
    let store = hub.store(dir.path(), list(&md5(&model)));
    store.pull_voice("xx_YY-ada-low", Progress::Hidden).unwrap();
    let path = store.voice_path("xx_YY-ada-low").unwrap();
    assert!(path.ends_with("voices/xx_YY-ada-low/xx_YY-ada-low.onnx"));
    let id = store.manifest().entries()[0].id.clone();
    store.verify(&id).unwrap();
    let mut damaged = model.clone();
    damaged[9] = 0;
    std::fs::write(&path, damaged).unwrap();
    assert!(store.verify(&id).is_err(), "a damaged file is noticed");
    store.remove_voice("xx_YY-ada-low").unwrap();
    let error = store.voice_path("xx_YY-ada-low").unwrap_err().to_string();
    assert!(error.contains("eva voices add xx_YY-ada-low"), "{error}");

    let dir = TempDir::new().unwrap();
    let store = hub.store(dir.path(), list(&md5(b"another model")));
    let error = store.pull_voice("xx_YY-ada-low", Progress::Hidden).unwrap_err().to_string();
    assert!(error.contains("wrong MD5"), "{error}");
    assert!(store.voice_path("xx_YY-ada-low").is_err());
    for name in ["ada", "xx_YY-ada", "ada-low-x"] {
        let text = format!(
            "[[voice]]\nname = \"{name}\"\nlicence = \"MIT\"\nmodel = {{ size = 1, md5 = \"\" }}\n\
             config = {{ size = 1, md5 = \"\" }}\n"
        );
        assert!(Manifest::parse("of the test", &text).is_err(), "{name}");
    }
}

/// The files of a made-up language at the hub, which states a hash of the model.
fn mms_hub(stated: Option<String>) -> Hub {
    let at = |file: &str| -> &'static str {
        Box::leak(format!("/facebook/mms-tts-xyz/resolve/main/{file}").into_boxed_str())
    };
    Hub::start(HashMap::from([
        (at("model.safetensors"), (vec![3u8; 90_000], stated)),
        (at("config.json"), (br#"{"sampling_rate":16000,"num_speakers":1}"#.to_vec(), None)),
        (at("vocab.json"), (b"{}".to_vec(), None)),
        (at("tokenizer_config.json"), (br#"{"language":"xyz"}"#.to_vec(), None)),
    ]))
}

#[test]
fn a_language_of_mms_is_fetched_without_a_list_and_remembered() {
    let hub = mms_hub(Some(sha256(&[3u8; 90_000])));
    let dir = TempDir::new().unwrap();
    let store = hub.store(dir.path(), built_in());
    store.pull_voice("mms-xyz", Progress::Hidden).unwrap();

    // As the next start finds it.
    let store = hub.store(dir.path(), Manifest::load(dir.path()).unwrap());
    assert!(store.voice_path("mms-xyz").unwrap().ends_with("voices/mms-xyz"));
    let voices = store.voices().unwrap();
    let listed = voices.iter().find(|voice| voice.name == "mms-xyz").unwrap();
    assert_eq!(listed.state, VoiceState::Installed);
    assert_eq!((listed.sample_rate, &*listed.licence), (Some(16_000), "CC-BY-NC-4.0"));
    assert!(listed.accept.is_some() && listed.size > 90_000);
    let id = store.manifest().voice("mms-xyz").unwrap().id.clone();
    store.verify(&id).unwrap();
    std::fs::write(dir.path().join("voices/mms-xyz/vocab.json"), "[]").unwrap();
    assert!(store.verify(&id).unwrap_err().to_string().contains("vocab.json"));
    store.remove_voice("mms-xyz").unwrap();
    assert!(!dir.path().join("voices/mms-xyz").exists());
}

#[test]
fn what_is_not_what_the_hub_states_is_thrown_away() {
    let hub = mms_hub(Some(sha256(b"something else")));
    let dir = TempDir::new().unwrap();
    let store = hub.store(dir.path(), built_in());
    let error = store.pull_voice("mms-xyz", Progress::Hidden).unwrap_err().to_string();
    assert!(error.contains("wrong sha256"), "{error}");
    assert!(!dir.path().join("voices/mms-xyz").exists());
    let error = store.pull_voice("mms-zyx", Progress::Hidden).unwrap_err().to_string();
    assert!(error.contains("404"), "{error}");
}

#[test]
fn only_codes_are_languages_of_mms() {
    for name in ["mms-fra", "mms-uig-script_arabic"] {
        assert!(mms::entry(name).is_some_and(|entry| entry.voice.unwrap().accept.is_some()));
    }
    for name in ["mms-", "mms-fr", "mms-FRA", "mms-../../x", "fra", "mms-fra/x"] {
        assert!(mms::entry(name).is_none(), "{name}");
    }
}

fn write(dir: &Path, name: &str, content: &str) {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

const OWN: &str = r#"{"language":{"code":"de_DE"},"audio":{"quality":"high","sample_rate":22050},
    "num_speakers":2,"speaker_id_map":{"eva":1,"adam":0}}"#;

#[test]
fn voices_put_into_the_folder_are_listed_and_found() {
    let dir = TempDir::new().unwrap();
    for name in ["voices/bare.onnx", "voices/box/inside.onnx", "voices/hf/model.safetensors"] {
        write(dir.path(), name, "weights");
    }
    for name in ["voices/bare.onnx.json", "voices/box/inside.onnx.json"] {
        write(dir.path(), name, OWN);
    }
    write(dir.path(), "voices/hf/config.json", r#"{"sampling_rate":16000,"num_speakers":3}"#);
    write(dir.path(), "voices/lonely.onnx", "no configuration");
    write(dir.path(), "voices/.adding-1-x/x.onnx", "left behind");
    let store = Store { manifest: built_in(), ..Store::open(Some(dir.path().to_owned())).unwrap() };
    let voices = store.voices().unwrap();
    let own: Vec<_> = voices.iter().filter(|voice| voice.licence == "your own").collect();
    let names: Vec<&str> = own.iter().map(|voice| &*voice.name).collect();
    assert_eq!(names, ["bare", "hf", "inside"]);
    assert_eq!(own[0].speaker_names, ["adam", "eva"]);
    assert_eq!((&*own[0].language, &*own[0].quality, own[0].speakers), ("de_DE", "high", 2));
    assert_eq!((own[1].sample_rate, own[1].speakers), (Some(16_000), 3));
    assert!(store.voice_path("inside").unwrap().ends_with("voices/box/inside.onnx"));
    for name in names {
        store.remove_voice(name).unwrap();
        assert!(store.voice_path(name).is_err(), "{name}");
    }
    assert!(dir.path().join("voices/lonely.onnx").exists());
}

#[test]
fn a_voice_from_elsewhere_is_copied_and_kept_only_if_wanted() {
    let (dir, elsewhere) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let store = Store::open(Some(dir.path().to_owned())).unwrap();
    let path = elsewhere.path().join("mine.onnx");
    let refused = |path: &Path| store.bring_voice(path).unwrap_err().to_string();
    assert!(refused(&path).contains("no such file"));
    write(elsewhere.path(), "mine.onnx", "weights");
    assert!(refused(&path).contains("mine.onnx.json is missing"));
    assert!(refused(elsewhere.path()).contains("cannot be added"));
    write(elsewhere.path(), "mine.json", OWN);
    drop(store.bring_voice(&path).unwrap());
    assert!(store.voice_path("mine").is_err());
    let brought = store.bring_voice(&path).unwrap();
    assert!(brought.path().is_file());
    brought.keep().unwrap();
    assert!(store.voice_path("mine").unwrap().ends_with("voices/mine/mine.onnx"));
    assert!(refused(&path).contains("there is a voice called mine"));
    assert_eq!(std::fs::read_dir(dir.path().join("voices")).unwrap().count(), 1);
    write(elsewhere.path(), "bad name.onnx", "weights");
    assert!(refused(&elsewhere.path().join("bad name.onnx")).contains("rename it"));
}

#[test]
fn unknown_voices_are_answered_with_names_like_them() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(Some(dir.path().to_owned())).unwrap();
    let said = |name: &str| store.voice_path(name).unwrap_err().to_string();
    assert!(said("siwis").contains("did you mean fr_FR-siwis-low, fr_FR-siwis-medium?"));
    assert!(said("de_DE-torsten-medium").contains("de_DE-thorsten-medium"));
    let nothing = said("zzzz");
    assert!(
        !nothing.contains("did you mean") && nothing.contains("installed are none"),
        "{nothing}"
    );
    assert!(said("../../etc/passwd").contains("there is no voice called"));
}
