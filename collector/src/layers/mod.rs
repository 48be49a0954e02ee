//! What others put around a capture, taken off.

pub mod log_line;
pub mod prompt;
