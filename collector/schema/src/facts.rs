//! What the captures (and `capture.toml`) say of the run itself.

use crate::Text;

table! {
    /// One statement: versions, mode, settings, same_host.
    pub struct FactRow<'a> in "facts" {
        /// Index of the source; null for an option of the command line.
        source: Option<i32>,
        /// Line of the source.
        record: i64,
        /// Key: `name`, `dataplane`, `scenario`, `node`, `same_host`, `version/kubernetes`, `version/cilium`, `config/lb-reflector-wait-time`, …
        key: Text<'a>,
        /// Value as text; lists joined by commas.
        value: Text<'a>,
    }
}
