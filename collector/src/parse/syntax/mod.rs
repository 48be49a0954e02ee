//! Shapes of text that several formats share.

pub mod borrowed;
pub mod key_values;
pub mod metric_line;
pub mod yaml;
