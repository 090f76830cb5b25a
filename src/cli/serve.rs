//! `eva serve`: the gateway and its call page.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use axum_server::Handle;
use clap::ValueEnum;

use super::safety::SafetyArgs;
use crate::call::CallSettings;
use crate::chat::ChatSettings;
use crate::engines::{self, BrainChoice, EngineChoice};
use crate::gateway::{Gateway, GatewayConfig};
use crate::language::Language;
use crate::models;
use crate::observability;
use crate::personas::Personas;
use crate::recordings::Recordings;
use crate::rtc::RtcConfig;
use crate::signaling::{Access, Service, server, tls};
use crate::speaking::{Device, VoiceSpec, device};
use crate::storage::{DatabaseUrl, Retention, Storage};
use crate::thinking::tools::Toolbox;
use crate::turn;
use crate::voices::Voices;

/// How long requests under way may take when the gateway shuts down.
const GRACE: Duration = Duration::from_secs(2);

/// How to serve.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Args {
    /// Address and port of the call page. On any other address than this machine's own, HTTPS is
    /// served and a key is wanted.
    #[arg(long, env = "EVA_LISTEN", default_value = "127.0.0.1:8484")]
    listen: SocketAddr,
    /// Port of all sound, UDP and TCP; one above the page's by default.
    #[arg(long, env = "EVA_MEDIA_PORT")]
    media_port: Option<u16>,
    /// Address that sound is taken at; the page's by default, and a page for this machine only takes
    /// sound from this machine only. Behind a reverse proxy the page is on 127.0.0.1 and the sound on
    /// 0.0.0.0.
    #[arg(long, env = "EVA_MEDIA_ADDRESS", value_name = "ADDRESS")]
    media_address: Option<IpAddr>,
    /// Address that callers reach this machine at, if it is another than its own (behind NAT).
    #[arg(long = "public-address", env = "EVA_PUBLIC_ADDRESS", value_delimiter = ',')]
    public_addresses: Vec<IpAddr>,
    #[command(flatten)]
    safety: SafetyArgs,
    /// Folder of the TLS certificate (cert.pem, key.pem); one for development is made there if there
    /// is none.
    #[arg(long, env = "EVA_CERTS", default_value = "certs")]
    certs: PathBuf,
    /// Language of calls that ask for none.
    #[arg(long, env = "EVA_LANGUAGE", value_enum, default_value_t = LanguageArg::En)]
    language: LanguageArg,
    /// Voice of calls that ask for none: NAME, NAME#SPEAKER, NAME@SPEED or NAME#SPEAKER@SPEED;
    /// `eva voices` lists them. By default one that speaks the language.
    #[arg(long, env = "EVA_VOICE")]
    voice: Option<VoiceSpec>,
    /// What the voice runs on: cpu, cuda (cuda:1 is the second GPU), or auto, a GPU where there is one.
    #[arg(long, env = "EVA_DEVICE", default_value = "auto")]
    device: String,
    /// Say nothing ("Let me see…") while a reply is late.
    #[arg(long, env = "EVA_NO_FILLERS")]
    no_fillers: bool,
    /// Say no "mhm" while the person has the floor.
    #[arg(long, env = "EVA_NO_BACKCHANNELS")]
    no_backchannels: bool,
    /// Ask the language model for every reply of a chat, also to a greeting that opens it.
    #[arg(long, env = "EVA_NO_CACHED_GREETINGS")]
    no_cached_greetings: bool,
    /// File of conversation settings (TOML); docs/conversation.md explains each.
    #[arg(long, env = "EVA_CONVERSATION", value_name = "FILE")]
    conversation: Option<PathBuf>,
    /// Folder for traces of the calls' decisions, for `eva replay`. They hold what people say.
    #[arg(long, env = "EVA_TRACES", value_name = "FOLDER")]
    traces: Option<PathBuf>,
    /// Folder for recordings of the calls, both sides in one file each; callers are told so. They go
    /// with --keep-days, and with the session they belong to.
    #[arg(long, env = "EVA_RECORDINGS", value_name = "FOLDER")]
    recordings: Option<PathBuf>,
    /// Calls at once; one more is refused.
    #[arg(long, env = "EVA_MAX_CALLS", default_value_t = 8)]
    max_calls: usize,
    #[command(flatten)]
    brain: BrainArgs,
    /// Instructions to the language model, in place of the default persona's.
    #[arg(long, env = "EVA_INSTRUCTIONS")]
    instructions: Option<String>,
    /// File of the personas that callers choose among, in place of the built-in ones
    /// (docs/personas.md); the first one is that of calls that ask for none.
    #[arg(long, env = "EVA_PERSONAS", value_name = "FILE")]
    personas: Option<PathBuf>,
    /// File of the tools that the language model may call (docs/tools.md).
    #[arg(long, env = "EVA_TOOLS")]
    tools: Option<PathBuf>,
    #[command(flatten)]
    memory: MemoryArgs,
    /// Folder of the owner's own files of the pages (index.html, style.css, texts.js …); where it has
    /// none of a name, the built-in one is served.
    #[arg(long, env = "EVA_WEB", value_name = "FOLDER")]
    web: Option<PathBuf>,
    /// Folder of the models.
    #[arg(long, env = "EVA_MODELS_DIR")]
    models: Option<PathBuf>,
    /// Log one JSON object a line.
    #[arg(long)]
    log_json: bool,
}

/// Which conversations are kept, and where.
#[derive(clap::Args, Clone, Debug)]
struct MemoryArgs {
    /// Where conversations are kept (docs/api/memory.md): an SQLite file,
    /// postgres://USER:PASSWORD@HOST/DATABASE, or off. By default eva.db in the user's data folder,
    /// ~/.local/share/eva-voice.
    #[arg(long, env = "EVA_DATABASE", value_name = "URL", hide_env_values = true)]
    database: Option<String>,
    /// Days that what was said is kept; 0 keeps it in memory only, and no longer than the gateway runs.
    #[arg(long, env = "EVA_KEEP_DAYS", value_name = "N", default_value_t = 30)]
    keep_days: u32,
}

impl MemoryArgs {
    fn url(&self) -> anyhow::Result<DatabaseUrl> {
        match &self.database {
            Some(url) => url.parse().context("--database cannot be used"),
            None => Ok(DatabaseUrl::Sqlite(models::data_dir().join("eva.db"))),
        }
    }

    /// Opens the database; what is kept, for people.
    async fn open(&self) -> anyhow::Result<(Storage, String)> {
        let url = self.url()?;
        let storage = Storage::open(&url, Retention::days(self.keep_days)).await?;
        let kept = match (&url, self.keep_days) {
            (DatabaseUrl::Off, _) => "conversations are not kept".to_owned(),
            (_, 0) => "conversations are kept in memory only".to_owned(),
            (_, 1) => format!("conversations are kept for a day: {url}"),
            (_, days) => format!("conversations are kept for {days} days: {url}"),
        };
        Ok((storage, kept))
    }
}

/// Which language model answers.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct BrainArgs {
    /// An OpenAI-compatible server; a key for it is read from EVA_LLM_API_KEY or OPENAI_API_KEY.
    /// Without it a server on this machine is looked for, then the built-in model is used.
    #[arg(long, env = "EVA_LLM_URL")]
    pub(super) llm_url: Option<String>,
    /// The model to ask for there; its first one by default.
    #[arg(long, env = "EVA_LLM_MODEL")]
    pub(super) llm_model: Option<String>,
    /// Use the built-in language model, whatever else runs on this machine.
    #[arg(long, conflicts_with = "llm_url")]
    pub(super) builtin: bool,
}

impl BrainArgs {
    pub(super) fn choice(&self) -> BrainChoice {
        match (&self.llm_url, self.builtin) {
            (Some(url), _) => {
                BrainChoice::Server { url: url.clone(), model: self.llm_model.clone() }
            }
            (None, true) => BrainChoice::Builtin,
            (None, false) => BrainChoice::Find { model: self.llm_model.clone() },
        }
    }
}

/// The languages, as the command line names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LanguageArg {
    /// English.
    En,
    /// French.
    Fr,
    /// Whatever the person speaks.
    Auto,
}

impl From<LanguageArg> for Language {
    fn from(language: LanguageArg) -> Self {
        match language {
            LanguageArg::En => Self::En,
            LanguageArg::Fr => Self::Fr,
            LanguageArg::Auto => Self::Auto,
        }
    }
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    observability::start_logging(args.log_json);
    let access = args.safety.access(args.listen, args.max_calls)?;
    super::runtime()?.block_on(serve(args, access))
}

async fn serve(args: Args, access: Access) -> anyhow::Result<ExitCode> {
    // Taken first: a port in use is said before the models are loaded.
    let listener = std::net::TcpListener::bind(args.listen).with_context(|| {
        format!(
            "cannot listen on {}: is another gateway running there? Choose another port with \
             --listen",
            args.listen
        )
    })?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let ice = args.safety.ice.servers()?;
    let tools = args.tools.as_deref().map(Toolbox::load).transpose()?.unwrap_or_default();
    let language = Language::from(args.language);
    let voice = match &args.voice {
        Some(voice) => voice.clone(),
        None => Voices::open(args.models.clone(), Device::Cpu)?.default_for(language),
    };
    let choice = EngineChoice {
        models: args.models.clone(),
        multilingual: language != Language::En,
        voice,
        device: device::pick(&args.device)?,
        brain: args.brain.choice(),
    };
    let personas = personas(&args)?;
    let call = call_settings(&args, language, &personas)?;
    let (storage, kept) = args.memory.open().await?;
    tools.connect().await;
    let loaded = engines::start_with_tools(choice, &call.instructions(), tools.clone()).await?;
    tokio::spawn(tools.tend());
    let config = GatewayConfig {
        rtc: rtc_config(&args, address),
        max_calls: args.max_calls,
        call,
        chat: ChatSettings { cached_greetings: !args.no_cached_greetings },
        multilingual: loaded.multilingual,
        personas: Arc::new(personas),
        storage: storage.clone(),
    };
    let gateway = Gateway::start(config, loaded.engines).await?;
    if let Some(recordings) = gateway.recordings() {
        tokio::spawn(sweep(recordings.clone()));
    }
    let access = Arc::new(access);
    let service = Service {
        gateway: gateway.clone(),
        access: access.clone(),
        ice: Arc::new(ice),
        web: args.web.clone().map(Arc::from),
    };
    let handle = Handle::new();
    tokio::spawn(shut_down_on_signal(gateway.clone(), handle.clone()));
    let renewal = if address.ip().is_loopback() {
        announce(&gateway, &args, &access, &format!("http://{address}/"), None);
        println!("  {kept}");
        None
    } else {
        let certificate = tls::load_or_make(&args.certs, &own_addresses(address.ip()))?;
        access.set_strict_transport(!certificate.development);
        let page = format!("https://{}:{}/", reachable(address.ip()), address.port());
        announce(&gateway, &args, &access, &page, Some(&certificate));
        println!("  {kept}");
        Some(tls::Renewal::new(&args.certs, &certificate))
    };
    let tls = renewal.as_ref().map(tls::Renewal::serving);
    let safety = args.safety.clone();
    let patience = safety.patience();
    tokio::spawn(safety.keep_fresh(access, renewal));
    server::serve(listener, service, tls, handle, patience).await?;
    gateway.shut_down().await;
    storage.close().await;
    Ok(ExitCode::SUCCESS)
}

/// Who EVA can be.
fn personas(args: &Args) -> anyhow::Result<Personas> {
    let personas = match &args.personas {
        Some(file) => Personas::load(file).with_context(|| format!("in {}", file.display()))?,
        None => Personas::default(),
    };
    Ok(match &args.instructions {
        Some(instructions) => personas.instructed(instructions),
        None => personas,
    })
}

/// What every call starts with.
fn call_settings(
    args: &Args,
    language: Language,
    personas: &Personas,
) -> anyhow::Result<CallSettings> {
    let mut turn = turn_settings(args.conversation.as_deref())?;
    turn.fillers.on &= !args.no_fillers;
    turn.backchannels.on &= !args.no_backchannels;
    let mut call = CallSettings {
        persona: personas.default_one().clone(),
        traces: traces(args.traces.clone())?,
        recordings: recordings(args)?,
        turn,
        ..Default::default()
    };
    call.set_language(language);
    Ok(call)
}

/// The settings of conversations, with the changes that a TOML file makes.
pub(super) fn turn_settings(file: Option<&Path>) -> anyhow::Result<turn::Settings> {
    let settings = turn::Settings::default();
    let Some(file) = file else { return Ok(settings) };
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read the conversation's settings {}", file.display()))?;
    let changes: serde_json::Value =
        toml::from_str(&text).with_context(|| format!("{} is not TOML", file.display()))?;
    settings.changed_by(&changes).with_context(|| format!("in {}", file.display()))
}

/// The folder of recordings, made if need be.
fn recordings(args: &Args) -> anyhow::Result<Option<Recordings>> {
    let Some(folder) = &args.recordings else { return Ok(None) };
    anyhow::ensure!(
        args.memory.keep_days > 0,
        "--recordings keeps calls on disk, --keep-days 0 keeps nothing: leave one of them out"
    );
    let opened = Recordings::open(folder.clone(), args.memory.keep_days);
    let opened = opened
        .with_context(|| format!("cannot use the folder of recordings {}", folder.display()))?;
    Ok(Some(opened))
}

/// Removes recordings that have been kept for long enough, now and every hour.
async fn sweep(recordings: Recordings) {
    loop {
        let kept = recordings.clone();
        let swept = tokio::task::spawn_blocking(move || kept.sweep(SystemTime::now())).await;
        match swept {
            Ok(Ok(0)) => {}
            Ok(Ok(count)) => tracing::info!(count, "recordings were kept for long enough"),
            Ok(Err(error)) => tracing::warn!(%error, "old recordings could not be removed"),
            Err(error) => tracing::error!(%error, "the removal of old recordings broke"),
        }
        tokio::time::sleep(Duration::from_secs(3600)).await;
    }
}

/// The folder of traces, made if need be.
pub(super) fn traces(folder: Option<PathBuf>) -> anyhow::Result<Option<PathBuf>> {
    if let Some(folder) = &folder {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder of traces {}", folder.display()))?;
    }
    Ok(folder)
}

fn rtc_config(args: &Args, page: SocketAddr) -> RtcConfig {
    let port = args.media_port.unwrap_or(match args.listen.port() {
        0 => 0,
        port => port.checked_add(1).unwrap_or(0),
    });
    // A browser on this machine may call from any of the machine's addresses (`rtc::nearby`).
    let this_machine_only = page.ip().is_loopback() && args.media_address.is_none();
    let everywhere = match page {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let near = if this_machine_only { everywhere } else { page.ip() };
    let media = SocketAddr::new(args.media_address.unwrap_or(near), port);
    RtcConfig {
        tcp: Some(media),
        this_machine_only,
        public_addresses: args.public_addresses.clone(),
        ..RtcConfig::new(media)
    }
}

/// Tells people where to go. The first line is what scripts wait for.
fn announce(
    gateway: &Gateway,
    args: &Args,
    access: &Access,
    page: &str,
    certificate: Option<&tls::Certificate>,
) {
    let about = gateway.about();
    println!("EVA-Voice answers at {page}");
    println!("  voice {}, brain {}", about.voice, about.brain);
    if args.recordings.is_some() {
        println!("  calls are recorded");
    }
    println!("  sound on port {} (UDP and TCP)", gateway.endpoint().udp_addr().port());
    if let Some(certificate) = certificate {
        println!("  certificate SHA-256 {}", certificate.fingerprint);
        if certificate.development {
            println!("  (made for development: your browser will ask whether you trust it)");
        }
    } else if !access.needs_key() {
        println!("  open without a key, to this machine only");
    }
    if args.safety.open && certificate.is_some() {
        println!("  WARNING: anybody who can reach this machine can call; --api-key closes it");
    }
}

/// The addresses of this machine that the certificate should name.
fn own_addresses(listen: IpAddr) -> Vec<IpAddr> {
    let mut addresses = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
    if !listen.is_unspecified() {
        addresses.push(listen);
        return addresses;
    }
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    addresses.extend(interfaces.iter().map(if_addrs::Interface::ip).filter(|ip| !ip.is_loopback()));
    addresses
}

/// The address to print for people: the machine's own where it listens on all.
fn reachable(listen: IpAddr) -> String {
    let own = own_addresses(listen).into_iter().find(|ip| !ip.is_loopback() && ip.is_ipv4());
    match own.unwrap_or(listen) {
        IpAddr::V4(ip) if ip.is_unspecified() => "localhost".to_owned(),
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

async fn shut_down_on_signal(gateway: Arc<Gateway>, handle: Handle<SocketAddr>) {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .expect("the runtime handles signals");
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    eprintln!("Hanging up.");
    gateway.shut_down().await;
    handle.graceful_shutdown(Some(GRACE));
}
