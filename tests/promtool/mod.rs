//! Prometheus' own tool, where it is installed.

use std::process::{Command, Stdio};

/// Whether `promtool` is there; says where not.
pub fn promtool() -> bool {
    let found = Command::new("promtool").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let found = found.is_ok_and(|status| status.success());
    if !found {
        eprintln!("skipped: no promtool (apt-get install prometheus)");
    }
    found
}
