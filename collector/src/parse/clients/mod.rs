//! Who felt it: what load generators and clients measured.

mod bench_report;
pub mod client_summary;
pub mod cluster_loader;
pub mod k6;
mod k6_summary;
pub mod kube_burner;
pub mod request_csv;
pub mod requests;
mod summary_fact;
pub mod vegeta;
mod vegeta_report;
