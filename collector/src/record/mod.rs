//! Conductor of a recording: a cluster in, the files of a capture out, in formats that `parse` reads.
//!
//! What each source records stands in `collector/src/record/sources.rs`; all share one [`plan::Plan`] and one [`folder::Folder`].

pub mod asked;
mod audit_tail;
mod clocks;
pub mod cluster;
pub mod examine;
mod fetch;
pub mod folder;
pub mod host;
mod hubble;
mod logs;
pub mod manifest;
pub mod moment;
pub mod node;
pub mod plan;
pub mod probe;
mod prometheus;
pub mod redact;
pub mod rows;
mod scrape;
pub mod secrets;
pub mod source;
pub mod sources;
pub mod stop;
mod tally;
mod threads;

use std::sync::Arc;
use std::time::Duration;

use asked::Asked;
use folder::Folder;
use host::Host;
use plan::Plan;
use sources::SOURCES;
use stop::Stop;
use threads::Threads;

/// Records what was asked for.
///
/// # Errors
/// The recording could not begin, or what it asked for could not be done.
pub fn record(asked: &Asked) -> anyhow::Result<()> {
    let folder = Folder::begin(&asked.out, asked.max_size)?;
    let plan = Arc::new(Plan::of(Host::default()));
    let stop = Stop::default();
    let threads = Threads::start(SOURCES, &plan, &folder, &stop)?;
    stop.sleep(asked.duration.unwrap_or(Duration::from_secs(60)));
    threads.join();
    Ok(())
}
