//! How far a long command is: a bar on a terminal, a line for every tenth elsewhere. On standard error.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output::warn;

/// Progress through a known number of steps.
pub(super) struct Progress {
    total: usize,
    done: usize,
    bar: Option<ProgressBar>,
}

impl Progress {
    pub(super) fn new(total: usize) -> Self {
        let bar = ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len}, {elapsed} gone, {eta} left {msg}");
        let bar = bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let bar = (!bar.is_hidden()).then_some(bar);
        Self { total, done: 0, bar }
    }

    /// One more is done.
    pub(super) fn step(&mut self) {
        let tenth = |done: usize| (done * 10).checked_div(self.total).unwrap_or(0);
        let (before, after) = (tenth(self.done), tenth(self.done + 1));
        self.done += 1;
        match &self.bar {
            Some(bar) => bar.inc(1),
            None if after > before => {
                warn(&format!("{} % ({} of {})", (self.done * 100).checked_div(self.total).unwrap_or(0), self.done, self.total));
            }
            None => {}
        }
    }

    /// Says something about the run.
    pub(super) fn note(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(format!("({text})")),
            None => warn(text),
        }
    }

    /// Says something that stays, above the bar.
    pub(super) fn above(&self, say: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(say),
            None => say(),
        }
    }

    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
    }
}
