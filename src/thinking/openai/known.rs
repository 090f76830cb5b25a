//! What is known of a server's state, from replies and from lists of models.

use std::time::Duration;

use crate::thinking::{Health, LlmError};

/// What is known stays so for this long.
const FRESH: Duration = Duration::from_secs(5);

/// Told the time since any fixed moment.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// When the newest news came, and what went wrong then.
    news: Option<(Duration, Option<LlmError>)>,
    probing: bool,
}

impl Known {
    /// What is known, and whether to go and see; then [`Self::probed`] is expected.
    pub fn ask(&mut self, now: Duration) -> (Health, bool) {
        let fresh = self.news.as_ref().is_some_and(|(at, _)| now.saturating_sub(*at) < FRESH);
        let stale = !fresh && !self.probing;
        self.probing |= stale;
        let health = match &self.news {
            None => Health::Unknown,
            Some((_, None)) => Health::Up,
            Some((_, Some(error))) => Health::Down(error.clone()),
        };
        (health, stale)
    }

    /// A reply came to its end.
    pub fn succeeded(&mut self, now: Duration) {
        self.news = Some((now, None));
    }

    /// A reply failed. A request that was at fault says nothing of the server.
    pub fn failed(&mut self, now: Duration, error: &LlmError) {
        if is_servers(error) {
            self.news = Some((now, Some(error.clone())));
        }
    }

    /// The list of models came, or did not. A server without a list is up all the same.
    pub fn probed(&mut self, now: Duration, error: Option<LlmError>) {
        self.probing = false;
        self.news = Some((now, error.filter(is_servers)));
    }
}

fn is_servers(error: &LlmError) -> bool {
    match error {
        LlmError::Refused { status, .. } => *status >= 500 || matches!(status, 401 | 403),
        LlmError::Unreachable { .. } | LlmError::Stalled(_) | LlmError::Model(_) => true,
        LlmError::Overloaded(_) | LlmError::Config(_) | LlmError::UnknownModel { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn one_look_at_a_time_and_news_from_replies_save_it() {
        let mut known = Known::default();
        assert!(matches!(known.ask(s(0)), (Health::Unknown, true)));
        assert!(matches!(known.ask(s(1)), (Health::Unknown, false)), "somebody looks already");
        known.probed(s(1), Some(LlmError::Stalled(2)));
        assert!(matches!(known.ask(s(2)), (Health::Down(_), false)));
        known.succeeded(s(3));
        assert!(matches!(known.ask(s(7)), (Health::Up, false)));
        assert!(matches!(known.ask(s(9)), (Health::Up, true)));
        known.failed(s(9), &LlmError::Refused { status: 400, reason: String::new() });
        assert!(matches!(known.ask(s(9)), (Health::Up, _)), "that was the request's fault");
        known.probed(s(10), Some(LlmError::Refused { status: 404, reason: String::new() }));
        assert!(matches!(known.ask(s(11)), (Health::Up, false)), "it keeps no list");
    }
}
