//! What happened in a run: its scenario and windows, the life of every endpoint, the timeline.

mod belonging;
pub mod commits;
pub mod contradictions;
pub mod dataplane;
mod disagreements;
pub mod doings;
mod entrance;
pub mod episodes;
pub mod facts;
pub mod follow;
mod inference;
mod load;
pub mod metric_names;
pub mod moves;
mod nft_order;
pub mod pods;
pub mod probes;
mod programmed;
pub mod proxies;
pub mod received;
mod recorder;
pub mod run;
pub mod timeline;
pub mod windows;

pub use run::{Direction, Endpoint, Episode, Observed, Outcome, Phase, Run, Stage, Window, Windows};
