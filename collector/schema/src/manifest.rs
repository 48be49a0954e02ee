//! `manifest.json`: what is in a bundle and what it was made of.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Name of the manifest in a bundle.
pub const MANIFEST: &str = "manifest.json";

/// The manifest.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Manifest {
    /// [`crate::FORMAT_VERSION`] of the writer.
    pub format_version: u32,
    /// SHA-256 over the sources' hashes and the statements: the run's identity.
    pub run_id: String,
    /// Name of the run (`capture.toml`), where given.
    pub name: Option<String>,
    /// `cilium`, `kube-proxy-iptables`, `kube-proxy-nftables`, `kube-proxy-ipvs`; null where unknown.
    pub dataplane: Option<String>,
    /// `scale-up`, `rolling-restart`, `steady-state`, `pod-crash`; null where unknown.
    pub scenario: Option<String>,
    /// Nodes of the node-level captures.
    pub nodes: Vec<String>,
    /// True where the captures were generated, not measured.
    #[serde(default)]
    pub synthetic: bool,
    /// Versions found in the captures, by component.
    pub versions: BTreeMap<String, String>,
    /// Every file of the capture.
    pub sources: Vec<Source>,
    /// Every table.
    pub tables: Vec<Table>,
    /// Every loss.
    pub losses: Vec<LossEntry>,
}

/// One file of a capture.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Source {
    /// Path relative to the argument.
    pub path: String,
    /// Kind of its format; `unread` where nothing could read it.
    pub kind: String,
    /// What a file of kind `unread` resembles, for people; absent where it resembles nothing, and of all that were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nearest: Option<String>,
    /// What lay around the format and was taken off, outermost first (`docker`, `stern`, …).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<String>,
    /// Path of the source with the same content that was read instead of this one, which then has no records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_as: Option<String>,
    /// Clock domain of its times; null where it has none.
    pub clock: Option<String>,
    /// Size of the file as it lies there (compressed).
    pub bytes: u64,
    /// SHA-256 of the file as it lies there, hex. Of a folder that is read as one (`prometheus-tsdb`) that of the lines
    /// `<hash>  <name>` of its files, which are sources too.
    pub sha256: String,
    /// Records read.
    pub records: u64,
    /// Records rejected.
    pub rejected: u64,
    /// Earliest time in it, ns on `clock`.
    pub first: Option<i64>,
    /// Latest time in it, ns on `clock`.
    pub last: Option<i64>,
}

/// One table of a bundle.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Table {
    pub name: String,
    pub rows: u64,
    /// Size of its Parquet file.
    pub bytes: u64,
    /// SHA-256 of that file, hex; empty in bundles of format version 1.
    #[serde(default)]
    pub sha256: String,
    /// BLAKE3 of that file, hex, which is known several times as fast; where it is absent or differs, the SHA-256 decides.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub blake3: String,
}

/// One loss of a bundle.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct LossEntry {
    pub name: String,
    pub severity: String,
    pub count: u64,
    /// Path of the source; null where it concerns the whole bundle.
    pub source: Option<String>,
    pub meaning: String,
    pub remedy: String,
}
