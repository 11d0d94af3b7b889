//! Progress of a long command: one line that is overwritten on a terminal, and no output elsewhere.

use std::io::{self, IsTerminal as _, Write as _};

/// Columns of the bar.
const WIDTH: u64 = 30;

/// A bar on standard error.
pub(super) struct Progress {
    shown: bool,
    /// The amount of work at the end, where it is known.
    whole: Option<u64>,
    last: String,
}

impl Progress {
    /// Starts; with `whole` it shows a bar, else the text alone.
    pub(super) fn begin(whole: Option<u64>) -> Self {
        let whole = whole.filter(|whole| *whole > 0);
        Self { shown: io::stderr().is_terminal(), whole, last: String::new() }
    }

    /// Clears the line before other output is written.
    pub(super) fn hide(&mut self) {
        if self.shown && !self.last.is_empty() {
            let _ = write!(io::stderr(), "\r\x1b[2K");
            self.last.clear();
        }
    }

    /// Shows how much is done.
    pub(super) fn show(&mut self, done: u64, text: &str) {
        let line = match self.whole {
            Some(whole) => {
                let done = done.min(whole);
                let filled = done.saturating_mul(WIDTH) / whole;
                let bar: String = (0..WIDTH).map(|at| if at < filled { '#' } else { '.' }).collect();
                format!("[{bar}] {:3} %  {text}", done.saturating_mul(100) / whole)
            }
            None => text.to_owned(),
        };
        if self.shown && line != self.last {
            // A failure to show progress is ignored.
            let _ = write!(io::stderr(), "\r\x1b[2K{line}");
            self.last = line;
        }
    }
}

/// Dropping clears the progress line before the result is printed.
impl Drop for Progress {
    fn drop(&mut self) {
        self.hide();
    }
}
