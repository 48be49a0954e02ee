//! From bundles to verdicts: each stage uses earlier ones only, and their names sort in the order of the flow.
//!
//! ```text
//! bundle ─ clock ─ events ─ math ─ measure ─ verdict ─ view ─ write
//! ```

pub mod bundle;
pub mod cli;
pub mod clock;
pub mod events;
pub mod math;
pub mod measure;
pub mod verdict;
pub mod view;
pub mod write;
