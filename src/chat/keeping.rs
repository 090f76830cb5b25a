//! Where chats are kept beyond this process. Nothing is, so far: sessions live in memory.

use crate::ids::SessionId;
use crate::private::Private;
use crate::thinking::Message;

/// One message and its reply, as they are kept.
#[expect(dead_code, reason = "read where chats are kept, once they are")]
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    /// Whose session it is.
    pub owner: String,
    /// The session.
    pub session: SessionId,
    /// What the person wrote.
    pub user: Private<String>,
    /// What was sent of the reply.
    pub reply: Private<String>,
    /// The calls of tools for the reply, and their results.
    pub tools: Vec<Message>,
    /// Until the reply began, milliseconds.
    pub latency_ms: Option<f64>,
}

/// What is kept of a session, oldest first.
pub(super) async fn load(_owner: &str, _session: &SessionId) -> Vec<Exchange> {
    Vec::new()
}

/// Keeps a turn; never waits.
pub(super) fn keep(_turn: Exchange) {}
