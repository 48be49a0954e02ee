//! Why a metric is absent: which versions have it, in which mode of kube-proxy, and what to ask instead.
//!
//! The two catalogues are data (`metrics_kube_proxy.tsv`, `metrics_cilium.tsv`, whose first lines say what the columns
//! are): a new version is a changed line.

use std::sync::LazyLock;

use super::facts::{Facts, minor};

const KUBE_PROXY: &str = include_str!("metrics_kube_proxy.tsv");
const CILIUM: &str = include_str!("metrics_cilium.tsv");

/// In no version.
const NEVER: &str = "-";

/// One metric of a catalogue.
struct Known {
    name: &'static str,
    kind: &'static str,
    since: &'static str,
    until: &'static str,
    /// Modes of kube-proxy that register it, or what must be switched on.
    needs: &'static str,
    instead: &'static str,
    is_kube_proxy: bool,
}

static METRICS: LazyLock<Vec<Known>> = LazyLock::new(|| {
    let of = |text: &'static str, is_kube_proxy| {
        text.lines().filter(|line| !line.starts_with('#')).filter_map(move |line| {
            let mut cells = line.split('\t');
            let mut next = || cells.next();
            Some(Known {
                name: next()?,
                kind: next()?,
                since: next()?,
                until: next()?,
                needs: next()?,
                instead: next()?,
                is_kube_proxy,
            })
        })
    };
    of(KUBE_PROXY, true).chain(of(CILIUM, false)).collect()
});

/// The metric that a series is of: of a histogram without its suffix.
fn known(series: &str) -> Option<&'static Known> {
    let stem = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| series.strip_suffix(suffix));
    METRICS.iter().find(|one| one.name == series || one.kind == "histogram" && Some(one.name) == stem)
}

/// Modes of kube-proxy that alone register a metric; empty where all do, or where it is not known.
pub fn only_modes(series: &str) -> impl Iterator<Item = &'static str> {
    let found = known(series).filter(|one| one.is_kube_proxy);
    found.map_or("", |one| one.needs).split(',').filter(|mode| !mode.is_empty())
}

/// Metrics of kube-proxy that one mode alone registers, each with the mode: where there is one, the proxy runs so.
pub fn of_one_mode() -> impl Iterator<Item = (&'static str, &'static str)> {
    let single = |one: &&Known| one.is_kube_proxy && !one.needs.is_empty() && !one.needs.contains(',');
    METRICS.iter().filter(single).map(|one| (one.name, one.needs))
}

/// Whether a series is of the other dataplane's proxy: a run of this one cannot have it.
pub fn is_foreign(series: &str, dataplane: &str) -> bool {
    let theirs = |prefixes: &[&str]| prefixes.iter().any(|prefix| series.starts_with(prefix));
    match dataplane {
        "cilium" => theirs(&["kubeproxy_"]),
        other => other.starts_with("kube-proxy") && theirs(&["cilium_", "hubble_"]),
    }
}

/// `1.28` as numbers.
fn version(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Why no capture of a run has a series, as far as the catalogues and the run's facts tell; a clause for people.
pub fn absence(series: &str, dataplane: &str, facts: &Facts) -> Option<String> {
    let one = known(series)?;
    let component = match one.is_kube_proxy {
        true => "kube-proxy",
        false if one.name.starts_with("hubble_") => "Hubble",
        false => "Cilium",
    };
    let here = if one.is_kube_proxy {
        minor(facts, "version/kube-proxy").or_else(|| minor(facts, "version/kubernetes"))
    } else {
        minor(facts, "version/cilium")
    };
    let shown = here.map(|(major, minor)| format!("{major}.{minor}"));
    let instead = if one.instead.is_empty() { String::new() } else { format!("; ask {} instead", one.instead) };
    if one.since == NEVER {
        return Some(format!("no version of {component} has it{instead}"));
    }
    let old = here.zip(version(one.since)).is_some_and(|(here, since)| here < since);
    let gone = here.zip(version(one.until)).is_some_and(|(here, until)| here > until);
    let shown = shown.unwrap_or_default();
    if old {
        return Some(format!("{component} has it from {} on, this is {shown}", one.since));
    }
    if gone {
        return Some(format!("{component} had it up to {}, this is {shown}{instead}", one.until));
    }
    let modes: Vec<&str> = only_modes(series).collect();
    let mode = facts.get("mode").map(|(mode, _)| mode.as_str()).or(dataplane.strip_prefix("kube-proxy-"));
    if let Some(mode) = mode.filter(|mode| !modes.is_empty() && !modes.contains(mode)) {
        return Some(format!(
            "kube-proxy registers it in mode {} only, and this one runs in mode {mode}",
            modes.join(" or ")
        ));
    }
    if !one.is_kube_proxy && !one.needs.is_empty() {
        return Some(format!("it needs {}'s metrics to be switched on", one.needs));
    }
    if here.is_none() {
        return Some(format!(
            "whether this version of {component} has it is not known, for no capture tells the version{instead}"
        ));
    }
    Some(format!("{component} {shown} has it: it was not captured, or has counted nothing yet{instead}"))
}

/// Which versions, modes or exporters give a series, a clause for people; `None` where nothing is known of it. Where there is no run at hand;
/// of a run: [`absence`].
pub fn availability(series: &str) -> Option<String> {
    let Some(one) = known(series) else {
        let exporters = [
            ("container_", "the kubelet's cAdvisor exports it"),
            ("machine_", "the kubelet's cAdvisor exports it"),
            ("node_", "node_exporter exports it"),
            ("kube_", "kube-state-metrics exports it"),
            ("endpoint_slice_", "kube-controller-manager exports it"),
            ("process_", "every process with a Go or Python client exports it"),
            ("http_", "the application's own, where it exposes it"),
            ("client_", "the test client's own, where there is one"),
        ];
        let found = exporters.iter().find(|(prefix, _)| series.starts_with(prefix));
        return found.map(|(_, what)| (*what).to_owned());
    };
    let component = match one.is_kube_proxy {
        true => "kube-proxy",
        false if one.name.starts_with("hubble_") => "Hubble",
        false => "Cilium",
    };
    let instead = if one.instead.is_empty() { String::new() } else { format!("; ask {} instead", one.instead) };
    if one.since == NEVER {
        return Some(format!("no version of {component} has it{instead}"));
    }
    let versions = match (one.since, one.until) {
        ("", "") => format!("{component} has it, once it has counted something"),
        (since, "") => format!("{component} has it from {since} on"),
        ("", until) => format!("{component} had it up to {until}"),
        (since, until) => format!("{component} had it from {since} to {until}"),
    };
    let needs = match (one.needs, one.is_kube_proxy) {
        ("", _) => String::new(),
        (modes, true) => format!(", in mode {} only", modes.replace(',', " or ")),
        (needs, false) => format!(", where {needs}'s metrics are switched on"),
    };
    let gone = if one.until.is_empty() { String::new() } else { instead };
    Some(format!("{versions}{needs}{gone}"))
}

#[cfg(test)]
mod tests {
    use super::{METRICS, NEVER, absence, availability, is_foreign, known, only_modes, version};
    use crate::clock::Evidence;
    use crate::events::facts::Facts;

    fn facts(pairs: &[(&str, &str)]) -> Facts {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), ((*value).to_owned(), Evidence::default()))).collect()
    }

    #[test]
    fn the_catalogues_are_well_formed() {
        assert!(METRICS.len() > 50);
        for one in METRICS.iter() {
            assert!(["counter", "gauge", "histogram"].contains(&one.kind), "{}", one.name);
            assert_eq!(one.since == NEVER, one.until == NEVER, "{}", one.name);
            for text in [one.since, one.until] {
                assert!(text.is_empty() || text == NEVER || version(text).is_some(), "{}: {text}", one.name);
            }
            assert!(one.since != NEVER || !one.instead.is_empty(), "{}: what to ask instead", one.name);
            assert_eq!(METRICS.iter().filter(|other| other.name == one.name).count(), 1, "{} stands twice", one.name);
        }
    }

    #[test]
    fn where_a_series_is_to_be_found() {
        let said = |series: &str| availability(series).unwrap_or_default();
        assert!(said("cilium_events_total").starts_with("no version of Cilium has it; ask "));
        assert_eq!(said("cilium_reconciler_duration_seconds_count"), "Cilium has it from 1.18 on");
        assert_eq!(
            said("kubeproxy_sync_proxy_rules_nftables_sync_failures_total"),
            "kube-proxy has it from 1.31 on, in mode nftables only"
        );
        assert!(said("cilium_policy_l7_denied_total").starts_with("Cilium had it up to 1.14; ask "));
        assert!(said("hubble_drop_total").ends_with("where hubble's metrics are switched on"));
        assert!(said("container_memory_working_set_bytes").contains("cAdvisor"));
        assert_eq!(availability("mine_total"), None);
    }

    #[test]
    fn an_absence_has_its_reason() {
        let kube_proxy = facts(&[("version/kubernetes", "1.26.3")]);
        let said = |series: &str| absence(series, "kube-proxy-nftables", &kube_proxy).unwrap_or_default();
        assert!(said("kubeproxy_sync_proxy_rules_errors_total").starts_with("no version of kube-proxy has it; ask "));
        assert_eq!(said("kubeproxy_sync_proxy_rules_iptables_last"), "kube-proxy has it from 1.28 on, this is 1.26");
        assert!(said("kubeproxy_sync_proxy_rules_iptables_total").contains("in mode iptables only"));
        assert!(
            said("kubeproxy_sync_proxy_rules_duration_seconds_bucket").contains("1.26 has it: it was not captured")
        );
        assert_eq!(absence("http_requests_total", "kube-proxy-nftables", &kube_proxy), None);
        let cilium = facts(&[("version/cilium", "1.19.4")]);
        let said =
            absence("cilium_policy_regeneration_time_stats_seconds_count", "cilium", &cilium).unwrap_or_default();
        assert!(said.starts_with("Cilium had it up to 1.16, this is 1.19; ask "), "{said}");
        let unknown = absence("cilium_forward_count_total", "cilium", &facts(&[])).unwrap_or_default();
        assert!(unknown.contains("not known"), "{unknown}");
        assert!(known("cilium_forward_count_total_bucket").is_none());
        assert!(is_foreign("cilium_version", "kube-proxy-nftables") && is_foreign("kubeproxy_x", "cilium"));
        assert!(!is_foreign("cilium_version", "unknown") && !is_foreign("up", "cilium"));
        assert_eq!(only_modes("kubeproxy_sync_proxy_rules_iptables_last").collect::<Vec<_>>(), ["iptables"]);
    }
}
