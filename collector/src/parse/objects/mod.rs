//! What the API was told: audit events, watches, lists, tables of objects.

pub mod audit;
pub mod audit_document;
pub mod audit_event;
pub mod audit_list;
pub mod beacon;
mod kubectl_columns;
mod kubectl_rows;
pub mod kubectl_table;
pub mod kubernetes;
pub mod kubernetes_facts;
pub mod list;
pub mod watch;
