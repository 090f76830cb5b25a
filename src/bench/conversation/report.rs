//! Figures beside their limits.
//!
//! In: what the scenarios measured. Out: lines for people. The JSON is the scenarios' own.

/// One figure, its limit and whether it holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// What was measured.
    pub figure: String,
    /// The limit, in words.
    pub limit: String,
    /// What came out, in words.
    pub got: String,
    /// Whether the limit holds; `None` where there is none, or nothing was measured.
    pub ok: Option<bool>,
}

impl Line {
    /// A figure that may be at most `limit`.
    pub fn at_most(figure: &str, limit: f64, got: f64, unit: &str) -> Self {
        Self {
            figure: figure.to_owned(),
            limit: format!("<= {limit}{unit}"),
            got: format!("{}{unit}", short(got)),
            ok: Some(got <= limit),
        }
    }

    /// Something that is to be so for `wanted` of `of`.
    pub fn count(figure: &str, limit: &str, got: usize, of: usize, ok: bool) -> Self {
        Self {
            figure: figure.to_owned(),
            limit: limit.to_owned(),
            got: format!("{got} of {of}"),
            ok: (of > 0).then_some(ok),
        }
    }

    /// A figure without a limit.
    pub fn plain(figure: &str, got: impl Into<String>) -> Self {
        Self { figure: figure.to_owned(), limit: String::new(), got: got.into(), ok: None }
    }

    /// The same without a verdict where nothing was measured.
    pub fn unless_empty(mut self, measured: usize) -> Self {
        if measured == 0 {
            self.ok = None;
            self.got = "not measured".to_owned();
        }
        self
    }

    /// The line as it is printed.
    pub fn print(&self) -> String {
        let verdict = match self.ok {
            Some(true) => "ok",
            Some(false) => "MISSED",
            None => "",
        };
        let line = format!("  {:<52}{:>14}{:>18}   {verdict}", self.figure, self.limit, self.got);
        line.trim_end().to_owned()
    }
}

/// A number without digits that mean nothing.
fn short(number: f64) -> String {
    if number.fract() == 0.0 || number.abs() >= 100.0 {
        format!("{number:.0}")
    } else {
        format!("{number:.1}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_whether_its_limit_holds() {
        let line = Line::at_most("stopped p50", 650.0, 651.2, " ms");
        assert_eq!(line.ok, Some(false));
        assert!(line.print().ends_with("<= 650 ms            651 ms   MISSED"), "{}", line.print());
        assert_eq!(line.unless_empty(0).ok, None);
        assert_eq!(Line::count("stopped", "all", 0, 0, true).ok, None);
    }
}
