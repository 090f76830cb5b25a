//! What people say never reaches a log.
//!
//! [`Private`] wraps speech, transcripts and numbers; its `Debug` and `Display` hide the content.

use std::fmt;

/// A value that must not be printed. Read it with [`Private::reveal`] where the person it belongs
/// to, or their own language model, is the receiver.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Private<T>(T);

impl<T> Private<T> {
    /// Wraps a value.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself.
    pub fn reveal(&self) -> &T {
        &self.0
    }

    /// The value itself, taken out.
    pub fn into_revealed(self) -> T {
        self.0
    }
}

impl<T> fmt::Debug for Private<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[private]")
    }
}

impl<T> fmt::Display for Private<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[private]")
    }
}

#[cfg(test)]
mod tests {
    use super::Private;

    #[test]
    fn content_is_hidden_from_every_kind_of_print() {
        let words = Private::new("my number is 555 0100".to_owned());
        assert_eq!(format!("{words} {words:?}"), "[private] [private]");
        assert_eq!(words.reveal(), "my number is 555 0100");
    }
}
