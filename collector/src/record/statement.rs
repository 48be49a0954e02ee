//! What the recorder knows of a capture: `capture.toml`, and the markers.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use super::asked::Action;
use super::plan::Plan;

/// Text of `capture.toml`.
pub fn text(plan: &Plan, versions: &BTreeMap<String, String>, name: &str, scenario: Option<&str>) -> String {
    let mut out = String::from("# Written by syncline-collector record.\n");
    let mut line = |key: &str, value: Option<&str>| {
        if let Some(value) = value {
            let _ = writeln!(out, "{key} = {}", toml::Value::from(value));
        }
    };
    line("name", Some(name));
    line("dataplane", plan.proxy.dataplane.as_deref());
    line("scenario", scenario);
    line("node", plan.node.as_deref());
    line("timezone", Some("UTC"));
    // The recorder stamps all on one clock: what it read on the node, and what it did as the operator.
    let _ = writeln!(out, "same_host = [{}, \"operator\"]", toml::Value::from(plan.node.as_deref().unwrap_or("node")));
    if !versions.is_empty() {
        let _ = writeln!(out, "\n[versions]");
        for (component, version) in versions {
            let _ =
                writeln!(out, "{} = {}", toml::Value::from(component.as_str()), toml::Value::from(version.as_str()));
        }
    }
    out
}

/// The scenario of an action, where it is one that is judged; null where it is not certain.
pub fn scenario(action: &Action, replicas: Option<u64>) -> Option<&'static str> {
    match action {
        Action::Scale { replicas: wanted, .. } => {
            replicas.is_none_or(|before| u64::from(*wanted) > before).then_some("scale-up")
        }
        Action::Restart { .. } => Some("rolling-restart"),
        Action::DeletePods { .. } => Some("pod-crash"),
        Action::Watch | Action::Command { .. } => None,
    }
}

/// Name of a capture: that of its folder, with the one around it where it is a number.
pub fn name(root: &Path) -> String {
    let parts: Vec<String> =
        root.components().rev().take(2).map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    match parts.as_slice() {
        [last, around] if last.bytes().all(|byte| byte.is_ascii_digit()) => format!("{around}-{last}"),
        [last, ..] => last.clone(),
        [] => "capture".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{name, text};
    use crate::record::host::Host;
    use crate::record::plan::Plan;
    use std::path::Path;

    #[test]
    fn what_is_stated_is_what_bundle_reads() {
        let mut plan = Plan::of(Host::default());
        plan.node = Some("node \"a\"\n".to_owned());
        plan.proxy.dataplane = Some("kube-proxy-iptables".to_owned());
        let versions = [("kube-proxy".to_owned(), "1.20.2".to_owned())].into();
        let text = text(&plan, &versions, "run-1", Some("scale-up"));
        let found = crate::bundle::capture_toml::parse(text.as_bytes());
        assert_eq!(found.refused, []);
        assert_eq!((found.node.as_deref(), found.scenario.as_deref()), (Some("node \"a\"\n"), Some("scale-up")));
        assert!(found.facts.iter().any(|(_, key, value)| key == "version/kube-proxy" && value == "1.20.2"));
        assert!(found.facts.iter().any(|(_, key, value)| key == "same_host" && value.ends_with(",operator")));
    }

    #[test]
    fn a_replicate_is_called_after_its_folder_too() {
        assert_eq!(name(Path::new("/x/run/2")), "run-2");
        assert_eq!(name(Path::new("run-a")), "run-a");
    }
}
