//! Progress of a long command: one line that is overwritten on a terminal, and no output elsewhere.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A line on standard error. Dropping clears it before the result is printed.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// Starts; with `whole`, the amount of work at the end, it shows a bar, else the text alone.
    pub(super) fn begin(whole: Option<u64>) -> Self {
        let whole = whole.filter(|whole| *whole > 0);
        let bar = ProgressBar::with_draw_target(whole, ProgressDrawTarget::stderr());
        let template = if whole.is_some() { "[{bar:30}] {percent:>3} %  {msg}" } else { "{msg}" };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("#.."));
        }
        Self(bar)
    }

    /// Clears the line before other output is written.
    pub(super) fn hide(&self) {
        self.0.finish_and_clear();
    }

    /// Shows how much is done.
    pub(super) fn show(&self, done: u64, text: String) {
        if self.0.is_finished() {
            self.0.reset();
        }
        self.0.set_position(done);
        self.0.set_message(text);
    }
}
