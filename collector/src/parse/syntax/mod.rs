//! Shapes of text that several formats share.

pub mod borrowed;
pub mod csv;
pub mod json_pairs;
pub mod metric_line;
pub mod yaml;
