//! What the reader tells the sequential pass.

use std::sync::Arc;

use syncline_schema::loss::Loss;
use syncline_schema::manifest::Source;

use crate::form::Context;
use crate::input::Skipped;

/// What the reader tells the write pass.
pub enum Said {
    Begin {
        source: Source,
        context: Arc<Context>,
        losses: Vec<Loss>,
    },
    Skipped {
        context: Arc<Context>,
        record: Skipped,
    },
    /// A record that would take more memory than there is: where it stands, and what was expected.
    Refused {
        context: Arc<Context>,
        line: i64,
        offset: i64,
        why: String,
    },
    Truncated {
        context: Arc<Context>,
        offset: i64,
        why: String,
    },
    Lost {
        context: Arc<Context>,
        loss: Loss,
    },
    Fact {
        context: Arc<Context>,
        key: String,
        value: String,
    },
    Unread {
        context: Arc<Context>,
        why: String,
    },
    /// A loss, how often, and what happened.
    Withheld {
        context: Arc<Context>,
        loss: Loss,
        count: u64,
        why: String,
    },
    End {
        index: i32,
        digest: Option<(String, u64)>,
    },
}
