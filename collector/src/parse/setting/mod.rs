//! The setting of a run: clocks, markers, commands typed, versions, configuration.

pub mod chrony;
pub mod chrony_text;
pub mod cilium_config;
pub mod cilium_status;
pub mod clock;
pub mod markers;
pub mod recording;
pub mod session;
pub mod timed;
pub mod transcript;
pub mod versions;
