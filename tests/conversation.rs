//! The conversation bench itself, on a few turns: that it measures, not how well EVA does.

#![allow(clippy::disallowed_methods)]

mod common;

use std::sync::Arc;

use common::{engines_with_server, runtime};
use eva_voice::bench::conversation::{Plan, Size, run_on};
use eva_voice::bench::mock_llm::{MockConfig, MockLlm};
use eva_voice::speaking::Device;

#[test]
fn turns_interruptions_and_noises_are_measured() {
    runtime().block_on(async {
        let mock = Arc::new(MockLlm::start(MockConfig::default()).await.expect("a brain"));
        let engines = engines_with_server(mock.url());
        let scenarios = ["smooth_turn", "interruption", "heard_text", "backchannel"];
        let plan = Plan {
            scenarios: scenarios.map(str::to_owned).to_vec(),
            calls: 1,
            size: Size::Smoke,
            seed: 1,
            brain: None,
            device: Device::Cpu,
            models: None,
            call: eva_voice::call::CallSettings::default(),
        };
        let report = run_on(engines, mock, &plan).await.expect("the callers get through");
        let json = serde_json::to_value(&report).expect("a report");
        let told = json.to_string();
        for scenario in scenarios {
            assert_eq!(json["scenarios"][scenario]["n"], 2, "{scenario}: {told}");
        }
        let of = |place: &str| json.pointer(&format!("/scenarios{place}")).cloned();
        let number = |place: &str| of(place).and_then(|value| value.as_f64());
        let answered = number("/smooth_turn/voice_to_voice_ms/p50");
        assert!(answered.is_some_and(|ms| ms > 100.0), "{told}");
        assert!(number("/interruption/stop_ms/p95").is_some(), "{told}");
        // The reference of ducking and gaps is the reply's own sound.
        let misfit = number("/interruption/reference_misfit_db");
        assert!(misfit.is_some_and(|db| db < 1.5), "{told}");
        assert!(number("/heard_text/max_words_off").is_some(), "{told}");
        assert!(number("/backchannel/stopped").is_some(), "{told}");
    });
}
