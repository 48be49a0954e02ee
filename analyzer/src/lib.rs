//! From bundles to verdicts: each stage uses earlier ones only, and their names sort in the order of the flow.
//!
//! ```text
//! bundle ─ clock ─ events ─ math ─ measure ─ query ─ result ─ verdict ─ view ─ write
//! ```

pub mod bundle;
pub mod cli;
pub mod clock;
pub mod events;
pub mod math;
pub mod measure;
pub mod query;
pub mod result;
pub mod verdict;
pub mod view;
pub mod write;
