//! What happened in a run: its scenario and windows, the life of every endpoint, the timeline.

pub mod contradictions;
pub mod dataplane;
pub mod doings;
pub mod episodes;
pub mod facts;
pub mod follow;
mod load;
pub mod metric_names;
mod nft_order;
pub mod pods;
pub mod probes;
mod programmed;
pub mod received;
pub mod run;
pub mod timeline;
pub mod windows;

pub use run::{Direction, Endpoint, Episode, Observed, Outcome, Phase, Run, Stage, Window, Windows};
