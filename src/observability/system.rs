//! What the process and its machine use: CPU, memory, files, GPUs.
//!
//! In: nothing but the system's own counters. Out: gauges, written when the metrics are read. Owned by
//! [`super::Metrics`]. Reads files and asks the GPU's driver, which takes a moment: not for async threads.

use std::sync::OnceLock;

use metrics::{counter, describe_counter, describe_gauge, gauge};
use metrics_process::Collector;
use nvml_wrapper::Nvml;

use super::journal::journal;
use crate::inference;

/// NVIDIA's library, loaded when the metrics are first read; `None` where there is none.
static NVML: OnceLock<Option<Nvml>> = OnceLock::new();

/// Linux counts CPU time in hundredths of a second.
const TICKS_A_SECOND: f64 = 100.0;

/// Says what the figures are.
pub(super) fn describe() {
    Collector::default().describe();
    describe_gauge!(
        "eva_machine_cpu_seconds_total",
        "CPU time of the whole machine since its start, by what for, all processors together."
    );
    describe_gauge!("eva_machine_cpus", "Processors.");
    describe_gauge!("eva_machine_memory_bytes", "Memory of the whole machine.");
    describe_gauge!("eva_gpu_used_ratio", "How busy a GPU was in its last sample, 0 to 1.");
    describe_gauge!("eva_gpu_memory_bytes", "Memory of a GPU.");
    describe_gauge!("eva_engine_waiting", "Jobs that wait for an engine, by its name.");
    describe_counter!("eva_log_events_total", "Warnings and errors logged, by level and code.");
}

/// Writes the figures of this moment.
pub(super) fn collect() {
    Collector::default().collect();
    machine();
    gpus();
    for (engine, waiting) in inference::waiting() {
        gauge!("eva_engine_waiting", "engine" => engine).set(waiting as f64);
    }
    for (level, code, count) in journal().counts() {
        counter!("eva_log_events_total", "level" => level, "code" => code).absolute(count);
    }
}

fn machine() {
    if let Ok(cpus) = std::thread::available_parallelism() {
        gauge!("eva_machine_cpus").set(cpus.get() as f64);
    }
    if let Some((busy, idle)) = read("/proc/stat").as_deref().and_then(cpu_seconds) {
        gauge!("eva_machine_cpu_seconds_total", "mode" => "busy").set(busy);
        gauge!("eva_machine_cpu_seconds_total", "mode" => "idle").set(idle);
    }
    if let Some(memory) = read("/proc/meminfo") {
        for (state, name) in [("total", "MemTotal:"), ("available", "MemAvailable:")] {
            if let Some(bytes) = memory_bytes(&memory, name) {
                gauge!("eva_machine_memory_bytes", "state" => state).set(bytes);
            }
        }
    }
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// Busy and idle seconds of all processors, of `/proc/stat`.
fn cpu_seconds(stat: &str) -> Option<(f64, f64)> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<f64> = line.split_whitespace().map_while(|word| word.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; what guests use is in user already.
    let all: f64 = ticks.iter().take(8).sum();
    let idle = ticks.get(3)? + ticks.get(4)?;
    Some(((all - idle) / TICKS_A_SECOND, idle / TICKS_A_SECOND))
}

/// One line of `/proc/meminfo`, in bytes.
fn memory_bytes(meminfo: &str, name: &str) -> Option<f64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib * 1024.0)
}

/// What NVIDIA's driver says of its devices; nothing where there is no driver.
fn gpus() {
    let Some(nvml) = NVML.get_or_init(|| Nvml::init().ok()) else { return };
    for index in 0..nvml.device_count().unwrap_or(0) {
        let Ok(device) = nvml.device_by_index(index) else { continue };
        let name = device.name().unwrap_or_else(|_| "GPU".to_owned());
        let labels = [("gpu", index.to_string()), ("name", name)];
        if let Ok(used) = device.utilization_rates() {
            gauge!("eva_gpu_used_ratio", &labels).set(f64::from(used.gpu) / 100.0);
        }
        if let Ok(memory) = device.memory_info() {
            for (state, bytes) in [("used", memory.used), ("total", memory.total)] {
                let [gpu, name] = labels.clone();
                let labels = [gpu, name, ("state", state.to_owned())];
                gauge!("eva_gpu_memory_bytes", &labels).set(bytes as f64);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_and_its_machine_are_told_of() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            describe();
            collect();
        });
        let text = recorder.handle().render();
        for name in [
            "process_cpu_seconds_total",
            "process_resident_memory_bytes",
            "process_threads",
            "process_open_fds",
            "process_start_time_seconds",
            "eva_machine_cpus",
            "eva_machine_cpu_seconds_total{mode=\"busy\"}",
            "eva_machine_memory_bytes{state=\"available\"}",
        ] {
            let line = text.lines().find(|line| line.starts_with(name));
            let value = line.and_then(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
            assert!(value.is_some_and(|value| value >= 0.0), "{name}: {line:?}");
        }
    }

    #[test]
    fn the_systems_files_are_read_as_they_are() {
        let stat = "cpu  100 20 30 400 50 6 7 8 9 10\ncpu0 1 2 3 4\n";
        assert_eq!(cpu_seconds(stat), Some((1.71, 4.5)));
        assert_eq!(cpu_seconds("nothing"), None);
        let meminfo = "MemTotal:       16 kB\nMemAvailable:   8 kB\n";
        assert_eq!(memory_bytes(meminfo, "MemAvailable:"), Some(8192.0));
        assert_eq!(memory_bytes(meminfo, "Swap:"), None);
    }
}
