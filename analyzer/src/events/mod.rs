//! What happened in a run: its scenario and windows, the life of every endpoint, the timeline.

pub mod dataplane;
pub mod episodes;
pub mod follow;
mod load;
pub mod run;
pub mod timeline;
pub mod windows;

pub use run::{Direction, Endpoint, Episode, Observed, Outcome, Phase, Run, Stage, Window, Windows};
