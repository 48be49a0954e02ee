//! What the kernel was seen to do: traces, programs, maps, commits.

pub mod bpftool_map;
pub mod bpftool_prog;
pub mod bpftrace_json;
pub mod bpftrace_text;
pub mod nft_monitor;
pub mod trace_line;
