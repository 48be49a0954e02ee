//! What the node itself tells: its dataplane, its kernel, its processes.

pub mod agent;
pub mod bpf_maps;
mod cgroup;
mod generation;
pub mod iptables;
pub mod ipvs;
mod looks;
pub mod nftables;
mod pinned;
mod proc;
pub mod programs;
mod reader;
pub mod scripts;
mod tool;
pub mod top;
pub mod trace;
#[cfg(test)]
pub(crate) mod trial;
pub mod usage;
