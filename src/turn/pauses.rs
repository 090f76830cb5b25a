//! The person's own pauses.

use std::time::Duration;

/// What is known of the person's pauses.
#[derive(Clone, Debug, Default)]
pub(super) struct Pauses {
    last: Option<Duration>,
}

impl Pauses {
    /// The person went on after a pause this long.
    pub(super) fn inner(&mut self, length: Duration) {
        self.last = Some(length);
    }
}
