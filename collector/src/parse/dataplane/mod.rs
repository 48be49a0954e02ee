//! The state of a dataplane: rules, maps, and series of their snapshots.

pub mod bpftool_dump;
pub mod cilium_lb_list;
pub mod cilium_service_json;
pub mod cilium_service_list;
pub mod ipset;
pub mod iptables_list;
pub mod iptables_save;
pub mod ipvsadm;
pub mod lb4_reader;
pub mod nft_json;
pub mod nft_names;
pub mod nft_text;
pub mod rule_comment;
pub mod series;
