//! A progress bar on standard error, where a terminal watches.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};
use syncline_schema::printable::printable;

/// How far the reader is.
pub struct Progress(ProgressBar);

impl Progress {
    /// A bar over `files` files; a hidden one where none is wanted or standard error is no terminal.
    pub fn new(wanted: bool, files: usize) -> Self {
        if !wanted || !std::io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new(files as u64);
        if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos}/{len} files  {wide_msg}") {
            bar.set_style(style);
        }
        Self(bar)
    }

    /// A file begins.
    pub fn begin(&self, path: &str) {
        self.0.set_message(printable(path).into_owned());
    }

    /// A file was read.
    pub fn end(&self) {
        self.0.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
