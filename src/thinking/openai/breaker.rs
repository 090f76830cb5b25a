//! Remembers whether a server fails, so that callers need not wait for it to fail again.

use std::time::Duration;

use crate::thinking::LlmError;

/// So many failures one after the other and the server counts as down.
const FAILURES: u32 = 3;

/// Told the time since any fixed moment.
#[derive(Debug)]
pub(super) struct Breaker {
    /// For so long replies fail at once; after that, one is tried.
    rest: Duration,
    failures: u32,
    /// Replies fail at once until then.
    open_until: Option<Duration>,
    last: Option<LlmError>,
}

impl Breaker {
    pub fn new(rest: Duration) -> Self {
        Self { rest, failures: 0, open_until: None, last: None }
    }

    /// The error to answer with at once, or `None`: ask the server. Once the rest is over, one
    /// request is let through and the others wait another rest for its outcome.
    pub fn refuses(&mut self, now: Duration) -> Option<LlmError> {
        match self.open_until {
            Some(until) if now < until => self.last.clone(),
            Some(_) => {
                self.open_until = Some(now + self.rest);
                None
            }
            None => None,
        }
    }

    /// The server did its work.
    pub fn succeeded(&mut self) {
        *self = Self::new(self.rest);
    }

    /// The server failed. True if it counts as down from now on and did not before.
    pub fn failed(&mut self, now: Duration, error: &LlmError) -> bool {
        let server = match error {
            LlmError::Refused { status, .. } => *status >= 500,
            LlmError::Unreachable { .. } | LlmError::Stalled(_) | LlmError::Model(_) => true,
            LlmError::Overloaded(_) | LlmError::Config(_) | LlmError::UnknownModel { .. } => false,
        };
        if !server {
            return false;
        }
        self.failures += 1;
        self.last = Some(error.clone());
        let was_open = self.open_until.is_some();
        if self.failures >= FAILURES {
            self.open_until = Some(now + self.rest);
        }
        self.failures >= FAILURES && !was_open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn it_opens_after_three_failures_in_a_row_and_tries_again_after_a_rest() {
        let mut breaker = Breaker::new(s(3));
        let stalled = LlmError::Stalled(10);
        assert!(!breaker.failed(s(0), &stalled) && !breaker.failed(s(1), &stalled));
        assert!(breaker.refuses(s(1)).is_none());
        assert!(breaker.failed(s(2), &stalled), "just opened");
        assert!(matches!(breaker.refuses(s(3)), Some(LlmError::Stalled(10))));
        assert!(breaker.refuses(s(5)).is_none(), "one is let through");
        assert!(breaker.refuses(s(5)).is_some(), "but only one");
        assert!(!breaker.failed(s(6), &stalled), "it was open before");
        assert!(breaker.refuses(s(7)).is_some());
        breaker.succeeded();
        assert!(breaker.refuses(s(7)).is_none());
    }

    #[test]
    fn refusals_that_are_the_requests_fault_do_not_count() {
        let mut breaker = Breaker::new(s(3));
        for _ in 0..10 {
            let bad = LlmError::Refused { status: 400, reason: String::new() };
            assert!(!breaker.failed(s(0), &bad));
        }
        assert!(breaker.refuses(s(0)).is_none());
    }
}
