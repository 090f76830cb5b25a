//! `eva doctor`: what is missing or slow on this machine, in sentences.
//!
//! Looks, measures for about a second, changes nothing.

mod probe;

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::models::{ModelId, State, Store, human_size};
use crate::thinking::tools::Toolbox;

/// Says what is missing or slow on this machine.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// The address the gateway would listen on
    #[arg(long, env = "EVA_LISTEN", default_value = "127.0.0.1:8484")]
    listen: SocketAddr,
    /// File of the tools that the language model may call
    #[arg(long, env = "EVA_TOOLS")]
    tools: Option<PathBuf>,
    /// Print one JSON object instead of sentences
    #[arg(long)]
    json: bool,
}

/// How one thing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    /// As it should be.
    Good,
    /// Good to know.
    Note,
    /// EVA works, but slowly or with fewer calls.
    Slow,
    /// EVA does not work without it.
    Missing,
}

/// One thing looked at.
#[derive(Debug, Serialize)]
struct Finding {
    about: &'static str,
    verdict: Verdict,
    /// A sentence, with what to do about it.
    text: String,
}

#[derive(Serialize)]
struct Report {
    /// Whether nothing needed is missing.
    ready: bool,
    findings: Vec<Finding>,
}

/// Runs the command; the exit code is 1 if something needed is missing.
pub fn run(args: DoctorArgs) -> anyhow::Result<ExitCode> {
    let mut findings = vec![cpu(&read("/proc/cpuinfo")), cores(), memory(&read("/proc/meminfo"))];
    findings.extend(models());
    findings.extend([port(args.listen), gpu(), microphone(args.listen), llm_servers()]);
    findings.extend(args.tools.as_deref().map(tools));
    findings.extend(speed(&probe::measure()));
    let ready = findings.iter().all(|finding| finding.verdict != Verdict::Missing);
    let report = Report { ready, findings };
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print(&report);
    }
    Ok(if ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(report: &Report) {
    for Finding { about, verdict, text } in &report.findings {
        let mark = match verdict {
            Verdict::Good => "ok",
            Verdict::Note => "note",
            Verdict::Slow => "slow",
            Verdict::Missing => "MISSING",
        };
        println!("{mark:<8} {about:<11} {text}");
    }
    println!();
    if report.ready {
        println!("Nothing that EVA needs is missing.");
    } else {
        println!("Something that EVA needs is missing: see above.");
    }
}

fn finding(about: &'static str, verdict: Verdict, text: impl Into<String>) -> Finding {
    Finding { about, verdict, text: text.into() }
}

/// A file of the system; empty where there is none.
fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Judges by what the system says, not by detection in code: a program built for AVX2 takes AVX2
/// for granted.
fn cpu(cpuinfo: &str) -> Finding {
    let field = |name: &str| {
        let line = cpuinfo.lines().find(|line| line.starts_with(name))?;
        line.split_once(':').map(|(_, value)| value.trim())
    };
    let name = field("model name").unwrap_or("of unknown make");
    if !cfg!(target_arch = "x86_64") {
        let text =
            format!("The CPU ({name}) is not x86-64; the figures of the README do not apply.");
        return finding("cpu", Verdict::Note, text);
    }
    let Some(flags) = field("flags") else {
        return finding("cpu", Verdict::Note, "The system does not say what the CPU can do.");
    };
    let has = |flag: &str| flags.split_whitespace().any(|known| known == flag);
    let absent: Vec<_> =
        ["avx2", "fma", "f16c", "bmi2"].into_iter().filter(|flag| !has(flag)).collect();
    if !absent.is_empty() {
        let text = format!(
            "The CPU ({name}) lacks {}, which the program is built for; take a machine from 2015 \
             or later.",
            absent.join(", ")
        );
        return finding("cpu", Verdict::Missing, text);
    }
    if has("avx512f") {
        finding("cpu", Verdict::Good, format!("The CPU ({name}) has AVX2 and AVX-512."))
    } else {
        let text = format!("The CPU ({name}) has AVX2; with AVX-512 speech would be faster still.");
        finding("cpu", Verdict::Good, text)
    }
}

fn cores() -> Finding {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if cores < 2 {
        let text =
            "There is one core; with two, listening and speaking do not wait for each other.";
        finding("cores", Verdict::Slow, text)
    } else {
        finding("cores", Verdict::Good, format!("There are {cores} cores."))
    }
}

/// The models take about 1 GB once loaded, each call some 15 MB more.
fn memory(meminfo: &str) -> Finding {
    let bytes = |name: &str| {
        let line = meminfo.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
    };
    let Some(free) = bytes("MemAvailable:") else {
        return finding(
            "memory",
            Verdict::Note,
            "The system does not say how much memory is free.",
        );
    };
    let size = human_size(free);
    if free < 1_000_000_000 {
        let text = format!(
            "{size} of memory are free; 1 GB is needed. Stop something, or use a language model on \
             another machine (--llm-url)."
        );
        finding("memory", Verdict::Missing, text)
    } else if free < 2_000_000_000 {
        let text = format!("{size} of memory are free, enough for a few calls.");
        finding("memory", Verdict::Slow, text)
    } else {
        finding("memory", Verdict::Good, format!("{size} of memory are free."))
    }
}

fn models() -> Vec<Finding> {
    let store = match Store::open(None) {
        Ok(store) => store,
        Err(error) => return vec![finding("models", Verdict::Missing, format!("{error}."))],
    };
    let state = |id: &ModelId| store.state(id);
    let mut findings = Vec::new();
    for id in store.manifest().defaults() {
        match state(&id) {
            Ok(State::Whole) => {}
            Ok(State::Absent) => {
                let text = format!("The model {id} is not here; fetch it with `eva models pull`.");
                findings.push(finding("models", Verdict::Missing, text));
            }
            Ok(State::Broken(error)) | Err(error) => {
                findings.push(finding("models", Verdict::Missing, format!("{error}.")));
            }
        }
    }
    if findings.is_empty() {
        let text = format!("Every model of a call is here and whole ({}).", store.dir().display());
        findings.push(finding("models", Verdict::Good, text));
    }
    if !matches!(state(&ModelId::WHISPER_BASE), Ok(State::Whole)) {
        let text = "For languages other than English: `eva models pull whisper-base`.";
        findings.push(finding("models", Verdict::Note, text));
    }
    findings
}

fn port(listen: SocketAddr) -> Finding {
    let bound = TcpListener::bind(listen).and_then(|tcp| Ok((tcp, UdpSocket::bind(listen)?)));
    match bound {
        Ok(_) => finding("port", Verdict::Good, format!("{listen} is free.")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            let text = format!(
                "{listen} is in use, perhaps by an EVA that already runs; stop it, or choose \
                 another port with --listen."
            );
            finding("port", Verdict::Missing, text)
        }
        Err(error) => {
            let text = format!("{listen} cannot be listened on ({error}); choose another address.");
            finding("port", Verdict::Missing, text)
        }
    }
}

fn gpu() -> Finding {
    let driver = Path::new("/proc/driver/nvidia/version").exists();
    let (verdict, text) = match (driver, cfg!(feature = "cuda")) {
        (true, true) => (Verdict::Good, "An NVIDIA driver is here, and this build uses the GPU."),
        (true, false) => (
            Verdict::Note,
            "An NVIDIA driver is here, but this build speaks on the CPU; build with \
             `--features cuda` to use the GPU.",
        ),
        (false, true) => (
            Verdict::Slow,
            "This build is for an NVIDIA GPU, but there is no driver; EVA speaks on the CPU.",
        ),
        (false, false) => (Verdict::Note, "There is no NVIDIA driver; EVA runs on the CPU."),
    };
    finding("gpu", verdict, text)
}

fn microphone(listen: SocketAddr) -> Finding {
    let text = if listen.ip().is_loopback() {
        "Browsers give a page the microphone on http://localhost, or over https: open the page on \
         this machine, or serve others with `--listen 0.0.0.0:PORT --api-key KEY`, which is https."
    } else {
        "Browsers give a page the microphone only over https: use the https address that \
         `eva serve` prints, and accept its certificate once."
    };
    finding("microphone", Verdict::Note, text)
}

/// OpenAI-compatible servers as they come, with the port each listens on by default.
const LLM_SERVERS: [(&str, u16); 4] =
    [("Ollama", 11434), ("llama.cpp", 8080), ("vLLM", 8000), ("LM Studio", 1234)];
/// A server on this machine answers at once, or is too busy to be of use.
const LLM_TIMEOUT: Duration = Duration::from_millis(500);

fn llm_servers() -> Finding {
    let found = find_llm_servers(&LLM_SERVERS);
    if found.is_empty() {
        let text =
            "No language model server runs on this machine; EVA thinks with her built-in one.";
        return finding("brain", Verdict::Note, text);
    }
    finding("brain", Verdict::Good, format!("Found on this machine: {}.", found.join("; ")))
}

/// Those of `servers` that list models, with the first of them.
fn find_llm_servers(servers: &[(&str, u16)]) -> Vec<String> {
    // Fails only if the program has installed one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let client = reqwest::Client::builder().timeout(LLM_TIMEOUT).no_proxy().build();
    let (Ok(runtime), Ok(client)) = (runtime, client) else { return Vec::new() };
    runtime.block_on(async {
        let asked = servers.iter().map(async |(name, port)| {
            let url = format!("http://127.0.0.1:{port}/v1");
            let listed = client.get(format!("{url}/models")).send().await.ok()?;
            let listed: serde_json::Value = listed.error_for_status().ok()?.json().await.ok()?;
            let models = listed.get("data")?.as_array()?;
            let first = models.first().and_then(|model| model.get("id")?.as_str());
            Some(match first {
                Some(first) => format!("{name} at {url} with {first}"),
                None => format!("{name} at {url}, without a model"),
            })
        });
        futures::future::join_all(asked).await.into_iter().flatten().collect()
    })
}

/// Reads the file as `eva serve` would; asks no tool.
fn tools(file: &Path) -> Finding {
    match Toolbox::load(file) {
        Ok(tools) => {
            let text = format!("{} is fine: {}.", file.display(), tools.summary());
            finding("tools", Verdict::Good, text)
        }
        Err(error) => finding("tools", Verdict::Missing, format!("{error}.")),
    }
}

/// What is fast enough for one call: the recogniser and the voice then keep up with room to spare.
const GOOD_GFLOPS: f64 = 40.0;
/// The built-in brain reads its 0.4 GB of weights for every token; below this it speaks haltingly.
const GOOD_GB_PER_S: f64 = 8.0;

fn speed(probe: &probe::Speed) -> Vec<Finding> {
    let verdict = |good: bool| if good { Verdict::Good } else { Verdict::Slow };
    let fast = probe.gflops >= GOOD_GFLOPS;
    let compute = format!(
        "One core multiplies matrices at {:.0} GFLOP/s; {}.",
        probe.gflops,
        if fast {
            "that is fast enough"
        } else {
            "below 40 answers start late. Is the machine busy? Else prefer a newer CPU or a GPU"
        }
    );
    let wide = probe.gb_per_s >= GOOD_GB_PER_S;
    let memory = format!(
        "One core reads memory at {:.1} GB/s; {}.",
        probe.gb_per_s,
        if wide {
            "that is fast enough"
        } else {
            "below 8 the built-in brain is slow. Is the machine busy? Else use --llm-url"
        }
    );
    vec![finding("speed", verdict(fast), compute), finding("speed", verdict(wide), memory)]
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::{Verdict, cpu, find_llm_servers, memory, port, probe, speed};

    #[test]
    fn a_cpu_without_avx2_is_missing_something() {
        let old = cpu("model name\t: Old\nflags\t\t: fpu sse2 avx fma f16c bmi2\n");
        assert_eq!(old.verdict, Verdict::Missing);
        assert!(old.text.contains("lacks avx2"), "{}", old.text);
        let new = cpu("model name\t: New\nflags\t\t: avx2 fma f16c bmi2 avx512f\n");
        assert!(new.verdict == Verdict::Good && new.text.contains("AVX-512"), "{}", new.text);
    }

    #[test]
    fn little_memory_is_said() {
        let judge = |kib: u64| memory(&format!("MemTotal: 9 kB\nMemAvailable: {kib} kB\n")).verdict;
        assert_eq!(judge(500_000), Verdict::Missing);
        assert_eq!(judge(1_500_000), Verdict::Slow);
        assert_eq!(judge(8_000_000), Verdict::Good);
    }

    #[test]
    fn a_port_in_use_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = taken.local_addr().unwrap();
        let found = port(listen);
        assert_eq!(found.verdict, Verdict::Missing);
        assert!(found.text.contains(&listen.to_string()) && found.text.contains("--listen"));
    }

    #[test]
    fn a_language_model_server_is_found_with_its_model() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        let routes = axum::Router::new().route(
            "/v1/models",
            axum::routing::get(|| async { r#"{"object":"list","data":[{"id":"qwen"}]}"# }),
        );
        runtime.spawn(async move { axum::serve(listener, routes).await });
        let found = find_llm_servers(&[("Test", port), ("Nobody", 9)]);
        assert_eq!(found, [format!("Test at http://127.0.0.1:{port}/v1 with qwen")]);
    }

    #[test]
    fn a_slow_machine_is_told_what_helps() {
        let found = speed(&probe::Speed { gflops: 5.0, gb_per_s: 2.0 });
        assert!(found.iter().all(|finding| finding.verdict == Verdict::Slow));
        assert!(found[1].text.contains("--llm-url"));
    }
}
