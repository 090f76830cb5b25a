//! The engines' threads.
//!
//! In: jobs with an [`Urgency`]. Out: whatever a job sends to its own channel. Each engine (VAD,
//! end of turn, recogniser, voice, built-in brain) is one [`Engine`]: a thread that owns the model
//! and runs jobs, the most urgent first, in order of arrival among equals. Long work is cut by its
//! author into steps of at most ~50 ms: a step that has more to do submits the next one, so that
//! whatever is more urgent runs in between. No model knowledge lives here.

mod engine;

pub use engine::{Engine, Overloaded, Resubmitter, Urgency, waiting};
