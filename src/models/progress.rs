//! What a pull shows: a bar on a terminal, plain lines elsewhere, or nothing.

use std::borrow::Cow;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Where a pull reports to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The standard error stream: bars if it is a terminal, else one line for each step.
    Terminal,
    /// Nowhere.
    Hidden,
}

impl Progress {
    /// One line for the person.
    pub(super) fn say(self, line: &str) {
        if self == Self::Terminal {
            eprintln!("{line}");
        }
    }

    /// A bar of `total` bytes.
    pub(super) fn bar(self, label: String, total: u64) -> Bar {
        let bar = ProgressBar::with_draw_target(Some(total), self.target());
        let style =
            "  {msg:<34} {bar:26} {bytes:>10} of {total_bytes:<10} {bytes_per_sec:>11} {eta:>4}";
        bar.set_style(ProgressStyle::with_template(style).expect("the bar's template is valid"));
        if self == Self::Terminal && !std::io::stderr().is_terminal() {
            match total {
                0 => eprintln!("  {label}"),
                total => eprintln!("  {label} ({})", super::disk::human(total)),
            }
        }
        bar.set_message(label);
        Bar(bar)
    }

    /// A turning sign for work without a measure.
    pub(super) fn spinner(self, label: impl Into<Cow<'static, str>>) -> Bar {
        let bar = ProgressBar::with_draw_target(None, self.target());
        bar.set_style(
            ProgressStyle::with_template("  {msg} {spinner}")
                .expect("the spinner's template is valid"),
        );
        bar.set_message(label);
        bar.enable_steady_tick(Duration::from_millis(120));
        Bar(bar)
    }

    fn target(self) -> ProgressDrawTarget {
        match self {
            Self::Terminal => ProgressDrawTarget::stderr_with_hz(8),
            Self::Hidden => ProgressDrawTarget::hidden(),
        }
    }
}

/// A bar or spinner; it leaves the screen when dropped.
pub(super) struct Bar(ProgressBar);

impl Bar {
    /// Bytes there so far.
    pub(super) fn at(&self, bytes: u64) {
        self.0.set_position(bytes);
    }

    /// Bytes there will be, where that was not known at first.
    pub(super) fn of(&self, total: u64) {
        self.0.set_length(total);
    }

    /// Bytes there from an earlier run: they do not count for the rate.
    pub(super) fn resume_at(&self, bytes: u64) {
        self.0.set_position(bytes);
        self.0.reset_eta();
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
