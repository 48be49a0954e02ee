//! The state of a dataplane: rules, maps, and series of their snapshots.

mod alike;
pub mod bpftool_dump;
mod btf_fields;
pub mod cilium_lb_list;
pub mod cilium_service_json;
pub mod cilium_service_list;
pub mod ipset;
pub mod iptables_list;
pub mod iptables_save;
pub mod ipvsadm;
pub mod lb4_reader;
pub mod listing_diff;
mod nft_iptables;
pub mod nft_json;
mod nft_listing;
pub mod nft_names;
pub mod nft_text;
pub mod rule_comment;
pub mod series;
mod standard_error;
