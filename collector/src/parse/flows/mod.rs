//! Packets and flows, as Hubble and the agent tell them.

pub mod cilium_monitor;
pub mod hubble;
pub mod hubble_dict;
pub mod hubble_text;
