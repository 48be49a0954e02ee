//! Facts of a run that change what a verdict means, as notes beside it.
//!
//! | fact | touches |
//! |---|---|
//! | Cilium 1.18 and later batch Service and EndpointSlice events (`lb-reflector-wait-time`, 500 ms) | times from a commit to the dataplane |
//! | kube-proxy's `min-sync-period` (1 s) only spaces consecutive syncs | the same |
//! | kube-proxy 1.26–1.28 and later rewrite changed chains only; `…_iptables_total` is wrong in 1.26 and 1.27 | syncs and rules |
//! | kube-proxy's metrics register in their own mode only | whatever of it is not measured |
//! | kube-proxy's metrics carry `ip_family` from 1.33 on | documented queries that sum |
//! | nobody has set the threshold of the network programming SLO | the claim of 30 s |
//! | the captures disagree on a version, the mode or a setting | every verdict that depends on it |

use super::catalogue::Row;
use super::{RunResult, Status, Verdict};
use crate::events::facts::{Facts, disagreeing, minor};

/// Measurements of the time from a commit to the dataplane.
const PROPAGATION: [&str; 5] =
    ["endpoint_propagation", "endpoint_removal", "convergence_time", "settle_time", "pod_ready_to_dataplane"];
const SYNCS: [&str; 4] = ["sync_duration", "sync_rate", "rules_rewritten_per_change", "update_work"];

/// What applies to a verdict that is made, for its runs; each thing once.
pub fn notes(row: &Row, verdict: &Verdict, runs: &[&RunResult]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for result in runs {
        let facts = &result.run.facts;
        for note in of_run(row, verdict, facts).into_iter().chain(contradicted(row, verdict, facts)) {
            if !found.contains(&note) {
                found.push(note);
            }
        }
        if row.shape {
            let seen = result.measurements.iter().filter(|one| one.name == "metric_shape" && one.missing.is_none());
            found.extend(
                seen.map(|one| format!("In the action of {}, {} is {}.", result.run.name, one.variant, one.method)),
            );
        }
    }
    found
}

/// What a verdict depends on and the captures disagree on: where a version or the mode differs, the figure may be of a mixture.
fn contradicted(row: &Row, verdict: &Verdict, facts: &Facts) -> Vec<String> {
    if verdict.status == Status::NotMeasured {
        return Vec::new();
    }
    let waits =
        row.readings.iter().any(|one| PROPAGATION.contains(&&*one.measurement) || SYNCS.contains(&&*one.measurement));
    let of_dataplane: &[&str] = match verdict.dataplane.as_str() {
        "cilium" => &["version/cilium"],
        _ => &["mode", "version/kube-proxy", "version/kubernetes"],
    };
    let of_settings: &[&str] = match verdict.dataplane.as_str() {
        _ if !waits => &[],
        "cilium" => &["config/lb-reflector-wait-time"],
        _ => &["config/min-sync-period"],
    };
    let always = ["dataplane", "scenario", "version/linux"];
    let keys = always.iter().chain(of_dataplane).chain(of_settings);
    let note = |key: &&str| {
        let told = disagreeing(facts, key);
        let each: Vec<String> = told.iter().map(|(place, value)| format!("{value} in {place}")).collect();
        (!told.is_empty()).then(|| {
            format!(
                "The captures disagree on {key} ({}): this verdict depends on it, and may mix them.",
                each.join(", ")
            )
        })
    };
    keys.filter_map(note).collect()
}

fn of_run(row: &Row, verdict: &Verdict, facts: &Facts) -> Vec<String> {
    let about = |names: &[&str]| names.iter().any(|name| row.readings.iter().any(|one| one.measurement == *name));
    let asks = |text: &str| row.documented.query.iter().any(|query| query.contains(text));
    let value = |key: &str| facts.get(key).map(|(value, _)| value.as_str());
    let mut found = Vec::new();
    if verdict.dataplane == "cilium" {
        let batches = value("config/lb-reflector-wait-time");
        let late = minor(facts, "version/cilium").is_some_and(|version| version >= (1, 18));
        if about(&PROPAGATION) && (late || batches.is_some()) {
            let version = value("version/cilium").unwrap_or("of this run");
            found.push(match batches {
                Some(time) => format!("Cilium {version} batches Service and EndpointSlice events for lb-reflector-wait-time, here {time}: up to that much of each time is waiting."),
                None => format!("Cilium {version} batches Service and EndpointSlice events for lb-reflector-wait-time (500 ms by default from 1.18 on; the captures do not show the setting): about 0–500 ms of each time is waiting."),
            });
        }
        return found;
    }
    let version = minor(facts, "version/kube-proxy").or_else(|| minor(facts, "version/kubernetes"));
    if about(&PROPAGATION) {
        let period = value("config/min-sync-period").map_or_else(
            || "1 s by default; the captures do not show the setting".to_owned(),
            |period| format!("here {period}"),
        );
        found.push(format!("kube-proxy's min-sync-period ({period}) only spaces consecutive syncs: the first change after a quiet period is programmed at once."));
    }
    if about(&SYNCS)
        && let Some((major, minor)) = version.filter(|version| *version >= (1, 26))
    {
        found.push(match minor {
            26 | 27 if major == 1 => format!("Kubernetes {major}.{minor}: a sync may rewrite only the changed chains (a feature gate that became general in 1.28)."),
            _ => format!("Kubernetes {major}.{minor}: since 1.28 a sync rewrites only the changed chains."),
        });
    }
    let counted = asks("iptables_total") || row.readings.iter().any(|one| one.measurement == "rules_total");
    if counted && version.is_some_and(|version| [(1, 26), (1, 27)].contains(&version)) {
        found.push(
            "kubeproxy_sync_proxy_rules_iptables_total is wrong in Kubernetes 1.26 and 1.27: the snapshots count."
                .to_owned(),
        );
    }
    if asks("kubeproxy_") {
        if verdict.status == Status::NotMeasured {
            found.push(match value("mode").or_else(|| verdict.dataplane.strip_prefix("kube-proxy-")) {
                Some(mode) => format!("kube-proxy's metrics register in their own mode only: it ran in {mode} mode, so that what is absent was not scraped, or belongs to another mode."),
                None => "kube-proxy's metrics register in their own mode only, and nothing tells the mode: that one is absent means nothing.".to_owned(),
            });
        }
        let families = value("metrics/ip_family").filter(|families| families.contains(','));
        if let Some(families) = families {
            found.push(format!(
                "The documented query sums over ip_family ({families}): it counts the syncs of IPv4 and IPv6 together."
            ));
        } else if version.is_some_and(|version| version >= (1, 33)) && value("metrics/ip_family").is_some() {
            found.push("kube-proxy's metrics carry ip_family here (from Kubernetes 1.33 on): on a dual-stack cluster the documented query would count IPv4 and IPv6 together.".to_owned());
        }
    }
    if about(&PROPAGATION) && verdict.expected_range[1] == Some(30.0) {
        found.push("Nobody has ever set the threshold of SIG Scalability's network programming SLO: 30 s is ClusterLoader2's default.".to_owned());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Evidence;
    use crate::verdict::Catalogue;

    fn check(id: &str, dataplane: &str, status: Status, facts: &[(&str, &str)], expected: &[&str]) {
        let catalogue = Catalogue::built_in().unwrap();
        let row = catalogue.row(id).unwrap();
        let mut verdict = super::super::row::blank(row, row.side(dataplane).unwrap(), dataplane, "scale-up", None);
        verdict.status = status;
        let facts: Facts =
            facts.iter().map(|(key, value)| ((*key).to_owned(), ((*value).to_owned(), Evidence::default()))).collect();
        let found = of_run(row, &verdict, &facts);
        assert_eq!(found.len(), expected.len(), "{id}: {found:#?}");
        assert!(found.iter().zip(expected).all(|(note, part)| note.contains(part)), "{id}: {found:#?}");
    }

    #[test]
    fn versions_and_settings_stand_beside_what_they_change() {
        check("A1", "cilium", Status::Holds, &[("version/cilium", "1.19.4")], &["about 0–500 ms"]);
        check(
            "A1",
            "cilium",
            Status::Holds,
            &[("version/cilium", "1.19.4"), ("config/lb-reflector-wait-time", "200ms")],
            &["here 200ms"],
        );
        check("A1", "cilium", Status::Holds, &[("version/cilium", "1.17.3")], &[]);
        check(
            "A1",
            "kube-proxy-iptables",
            Status::Better,
            &[("config/min-sync-period", "2s")],
            &["here 2s", "ClusterLoader2"],
        );
        let partial = [("version/kube-proxy", "1.36.2")];
        check("A2", "kube-proxy-iptables", Status::Worse, &partial, &["only the changed chains"]);
        check("A2", "kube-proxy-iptables", Status::Worse, &[("version/kube-proxy", "1.25.0")], &[]);
    }

    #[test]
    fn a_verdict_says_that_the_captures_disagree_on_what_it_depends_on() {
        let catalogue = Catalogue::built_in().unwrap();
        let row = catalogue.row("A2").unwrap();
        let side = row.side("kube-proxy-iptables").unwrap();
        let mut verdict = super::super::row::blank(row, side, "kube-proxy-iptables", "scale-up", None);
        let pairs = [
            ("version/kube-proxy", "1.36.2"),
            ("version/kube-proxy@node-a", "1.36.2"),
            ("version/kube-proxy@node-b", "1.31.0"),
        ];
        let facts: Facts =
            pairs.iter().map(|(key, value)| ((*key).to_owned(), ((*value).to_owned(), Evidence::default()))).collect();
        assert!(contradicted(row, &verdict, &facts).is_empty(), "nothing was judged");
        verdict.status = Status::Holds;
        let notes = contradicted(row, &verdict, &facts);
        assert_eq!(notes.len(), 1);
        assert!(notes[0].contains("version/kube-proxy (1.36.2 in node-a, 1.31.0 in node-b)"), "{notes:?}");
    }

    #[test]
    fn absent_metrics_mean_nothing_without_the_mode() {
        check(
            "T1.2",
            "kube-proxy-iptables",
            Status::NotMeasured,
            &[("mode", "nftables")],
            &["it ran in nftables mode"],
        );
        check(
            "T1.2",
            "kube-proxy-iptables",
            Status::Better,
            &[("metrics/ip_family", "IPv4,IPv6")],
            &["IPv4 and IPv6 together"],
        );
    }
}
