//! Shapes of text that several formats share.

pub mod borrowed;
pub use crate::form::csv;
pub use crate::form::json_pairs;
pub mod key_values;
pub mod metric_line;
pub mod yaml;
