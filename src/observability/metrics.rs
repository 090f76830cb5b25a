//! Prometheus metrics.

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use super::{Parts, system};

/// Upper bounds in seconds: fine where a conversation feels the difference.
const LATENCY_BUCKETS: &[f64] =
    &[0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0, 1.3, 1.7, 2.5, 5.0, 10.0];

/// Records what happened and renders it for Prometheus.
#[derive(Clone)]
pub struct Metrics {
    rendered: Option<PrometheusHandle>,
}

impl Metrics {
    /// Installs the process-wide recorder. A second gateway in one process shares the first's
    /// recorder and renders nothing itself.
    pub fn install() -> Self {
        let rendered = PrometheusBuilder::new()
            .set_buckets(LATENCY_BUCKETS)
            .ok()
            .and_then(|builder| builder.install_recorder().ok());
        describe_gauge!("eva_calls_active", "Calls in progress.");
        describe_counter!("eva_calls_total", "Calls admitted.");
        describe_counter!("eva_calls_refused_total", "Calls refused, by reason.");
        describe_counter!("eva_turns_total", "Turns answered.");
        describe_counter!("eva_fillers_total", "Fillers said before late replies.");
        describe_counter!("eva_backchannels_total", "EVA's own \"mhm\"s.");
        describe_counter!("eva_interruptions_total", "Replies that were interrupted.");
        describe_counter!("eva_resumed_total", "Replies that went on after a false interruption.");
        describe_counter!("eva_withdrawn_total", "Replies made ahead and not wanted.");
        describe_counter!("eva_wasted_tokens_total", "Tokens of replies that were not wanted.");
        describe_counter!("eva_replies_failed_total", "Replies the language model failed to give.");
        describe_counter!("eva_turns_kept_total", "Turns written to the database.");
        describe_counter!("eva_turns_lost_total", "Turns that could not be kept, by reason.");
        describe_gauge!("eva_turns_waiting", "Turns that wait to be written to the database.");
        describe_histogram!("eva_turn_seconds", "End of speech to first sound, seconds.");
        describe_histogram!("eva_turn_part_seconds", "The parts of a turn, seconds.");
        describe_counter!("eva_recording_gaps_total", "Sound missing in recordings, by reason.");
        system::describe();
        Self { rendered }
    }

    /// The text that Prometheus reads. Takes a moment: not for async threads.
    pub fn render(&self) -> String {
        system::collect();
        self.rendered.as_ref().map(PrometheusHandle::render).unwrap_or_default()
    }

    /// A call was admitted; `active` calls are in progress.
    pub fn call_began(active: usize) {
        counter!("eva_calls_total").increment(1);
        gauge!("eva_calls_active").set(active as f64);
    }

    /// A call ended; `active` calls are in progress.
    pub fn call_ended(active: usize) {
        gauge!("eva_calls_active").set(active as f64);
    }

    /// A call was refused.
    pub fn call_refused(reason: &'static str) {
        counter!("eva_calls_refused_total", "reason" => reason).increment(1);
    }

    /// A reply failed.
    pub fn reply_failed() {
        counter!("eva_replies_failed_total").increment(1);
    }

    /// A filler was said before a late reply.
    pub fn filled() {
        counter!("eva_fillers_total").increment(1);
    }

    /// EVA said "mhm".
    pub fn confirmed() {
        counter!("eva_backchannels_total").increment(1);
    }

    /// A reply was interrupted.
    pub fn interrupted() {
        counter!("eva_interruptions_total").increment(1);
    }

    /// A reply went on after a false interruption.
    pub fn resumed() {
        counter!("eva_resumed_total").increment(1);
    }

    /// A reply that was made ahead was not wanted; the model had written this many tokens of it.
    pub fn withdrawn(tokens: u32) {
        counter!("eva_withdrawn_total").increment(1);
        counter!("eva_wasted_tokens_total").increment(tokens.into());
    }

    /// Turns were written to the database; `waiting` are still to be.
    pub fn turns_kept(count: usize, waiting: usize) {
        counter!("eva_turns_kept_total").increment(count as u64);
        gauge!("eva_turns_waiting").set(waiting as f64);
    }

    /// A turn could not be kept.
    pub fn turn_lost(reason: &'static str) {
        counter!("eva_turns_lost_total", "reason" => reason).increment(1);
    }

    /// Sound is missing in a recording.
    pub fn recording_gap(reason: &'static str) {
        counter!("eva_recording_gaps_total", "reason" => reason).increment(1);
    }

    /// A turn was answered.
    pub fn turn_answered(parts: &Parts) {
        counter!("eva_turns_total").increment(1);
        histogram!("eva_turn_seconds").record(parts.total() / 1e3);
        for (part, ms) in [
            ("pause", parts.pause),
            ("words", parts.words),
            ("committed", parts.committed),
            ("first_token", parts.first_token),
            ("first_piece", parts.first_piece),
            ("first_sound", parts.first_sound),
            ("wire", parts.wire),
        ] {
            histogram!("eva_turn_part_seconds", "part" => part).record(ms / 1e3);
        }
    }
}
