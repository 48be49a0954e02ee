//! From text to tree: lexer, parser, type check.
//!
//! The grammar is that of Prometheus 3.14 with everything that it keeps behind feature flags: experimental functions,
//! duration expressions, `anchored` and `smoothed`, fill modifiers.

mod check;
mod duration;
mod lexer;
mod modifiers;
mod names;
mod outline;
mod parser;
mod print;
mod selector;
mod signatures;
pub mod tree;

pub use duration::duration_milliseconds;
pub use parser::parse;
pub use tree::Expr;

use tree::Span;

/// Why a text is not an expression: the message and its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: parse error: {message}")]
pub struct ParseError {
    /// What is wrong.
    pub message: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in bytes, from 1.
    pub column: usize,
}

/// Line and column (from 1, in bytes) of a place in a text.
pub(crate) fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..offset.min(text.len())];
    let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
    let line_start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |place| place + 1);
    (line, before.len() - line_start + 1)
}

/// An error before its place is counted in lines.
#[derive(Debug)]
struct Fault {
    message: String,
    offset: usize,
}

impl Fault {
    fn new(offset: usize, message: impl Into<String>) -> Fault {
        Fault { message: message.into(), offset }
    }

    fn at(span: Span, message: impl Into<String>) -> Fault {
        Fault::new(span.start, message)
    }
}
