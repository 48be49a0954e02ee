//! What a recorder read of the node's processes and containers itself, beside an exporter that tells the same: no query may sum both.

use std::collections::{BTreeMap, HashMap};

use super::identity::Chosen;

/// Label `job` of a recorder's own readings.
pub const RECORDER: &str = "syncline-recorder";

/// Labels that name who read a series, not what it is of.
const READERS: [&str; 3] = ["job", "instance", "node"];

/// For each series whether it is a recorder's, and an exporter has one of the same thing: the witness of that, else nothing.
/// Queries are written for the exporters' series; measurements prefer the recorder's.
pub fn told_twice(chosen: &[Chosen]) -> Vec<Option<String>> {
    let is_recorded = |one: &Chosen| one.labels.get("job").is_some_and(|job| job == RECORDER);
    if !chosen.iter().any(is_recorded) {
        return vec![None; chosen.len()];
    }
    let mut exported: HashMap<&str, Vec<&Chosen>> = HashMap::new();
    for one in chosen.iter().filter(|one| !is_recorded(one)) {
        exported.entry(&one.name).or_default().push(one);
    }
    let same = |own: &BTreeMap<String, String>, other: &BTreeMap<String, String>| {
        let mut told = own.iter().filter(|(name, _)| !READERS.contains(&name.as_str()));
        told.all(|(name, value)| other.get(name).is_some_and(|known| known == value))
    };
    let twice = |one: &Chosen| {
        let others = exported.get(one.name.as_str()).filter(|_| is_recorded(one))?;
        others.iter().find(|other| same(&one.labels, &other.labels)).map(|other| other.row.witness.to_string())
    };
    chosen.iter().map(twice).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::listed::Listed;

    #[test]
    fn a_container_that_an_exporter_tells_too_is_told_twice() {
        let one = |name: &str, labels: &[(&str, &str)]| Chosen {
            name: name.to_owned(),
            labels: labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            row: Listed { witness: "api".into(), ..Listed::default() },
            parts: Vec::new(),
            others: Vec::new(),
        };
        let chosen = [
            one("cpu", &[("job", RECORDER), ("container", "kube-proxy"), ("pod", "a")]),
            one("cpu", &[("job", "kubelet"), ("container", "kube-proxy"), ("pod", "a"), ("image", "x")]),
            one("cpu", &[("job", RECORDER), ("container", "kube-proxy"), ("pod", "b")]),
            one("memory", &[("job", RECORDER), ("container", "kube-proxy"), ("pod", "a")]),
        ];
        assert_eq!(told_twice(&chosen), [Some("api".to_owned()), None, None, None]);
    }
}
