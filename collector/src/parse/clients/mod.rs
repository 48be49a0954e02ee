//! Who felt it: what load generators and clients measured.

pub mod client_summary;
pub mod cluster_loader;
pub mod k6;
pub mod kube_burner;
pub mod request_csv;
pub mod requests;
pub mod vegeta;
