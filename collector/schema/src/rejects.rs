//! What could not be parsed.

use crate::Text;

table! {
    /// One piece of input that no row was made of.
    pub struct RejectRow<'a> in "rejects" {
        /// Index of the source.
        source: i32,
        /// Line of the source.
        record: i64,
        /// Offset of its first byte in the decompressed source.
        offset: i64,
        /// Why: what was expected and what stood there.
        reason: Text<'a>,
        /// The first 200 characters of it.
        excerpt: Text<'a>,
    }
}
