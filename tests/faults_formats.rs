//! Captures in the shapes that people make them, one format each (`fixtures/faults`): what the rows must say.

use std::path::Path;

#[path = "bundled/mod.rs"]
mod bundled;
use bundled::Bundle;

impl Bundle {
    /// How often a loss was counted.
    fn loss(&self, name: &str) -> u64 {
        self.manifest.losses.iter().filter(|loss| loss.name == name).map(|loss| loss.count).sum()
    }

    /// Kind, records and rejects of each source but `capture.toml`.
    fn sources(&self) -> Vec<(&str, u64, u64)> {
        let sources = self.manifest.sources.iter().filter(|source| source.kind != "capture-toml");
        sources.map(|source| (source.kind.as_str(), source.records, source.rejected)).collect()
    }

    /// What the source whose path ends so resembles.
    fn nearest(&self, ending: &str) -> String {
        let found = self.manifest.sources.iter().find(|source| source.path.ends_with(ending));
        found.and_then(|source| source.nearest.clone()).unwrap_or_default()
    }
}

#[test]
fn a_sync_that_failed_gives_no_latency() {
    let bundle = Bundle::of("c16-failed-sync");
    let syncs = bundle.rows("syncs", &["record", "moment", "duration", "family", "detail"]);
    assert_eq!(syncs, ["1 start - IPv4 -", "6 failed 50000000 IPv4 Failed to execute iptables-restore"]);
    let lines = bundle.rows("logs", &["record", "level", "time"]);
    assert_eq!(
        lines[1..4],
        ["2 error 1770091506149000000", "3 error 1770091506149000000", "4 error 1770091506149000000"]
    );
}

#[test]
fn one_family_may_fail_while_the_other_completes() {
    let text = concat!(
        "I0203 04:05:06.100000       1 proxier.go:1] \"Syncing iptables rules\" ipFamily=\"IPv4\"\n",
        "I0203 04:05:06.100000       1 proxier.go:1] \"Syncing iptables rules\" ipFamily=\"IPv6\"\n",
        "I0203 04:05:06.149500       1 proxier.go:1] \"Sync failed\" ipFamily=\"IPv4\" retryingTime=\"30s\"\n",
        "I0203 04:05:06.150000       1 proxier.go:1] \"SyncProxyRules complete\" ipFamily=\"IPv6\" elapsed=\"50ms\"\n",
        "I0203 04:05:06.150000       1 proxier.go:1] \"Syncing iptables rules\" ipFamily=\"IPv4\"\n",
        "I0203 04:05:06.250000       1 proxier.go:1] \"SyncProxyRules complete\" ipFamily=\"IPv4\" elapsed=\"100ms\"\n",
    );
    let syncs = Bundle::with("kube-proxy.log", text).rows("syncs", &["record", "moment", "family", "duration"]);
    assert_eq!(
        syncs[2..],
        ["3 failed IPv4 -", "4 complete IPv6 50000000", "5 start IPv4 -", "6 complete IPv4 100000000"]
    );
}

#[test]
fn an_entry_without_its_header_has_the_time_of_who_carried_it() {
    let text = "2026-02-03T04:05:06.2Z \"Syncing iptables rules\" ipFamily=\"IPv4\"\n2026-02-03T04:05:06.3Z \"SyncProxyRules complete\" ipFamily=\"IPv4\" elapsed=\"50ms\"\n";
    let bundle = Bundle::with("proxy.txt", text);
    let syncs = bundle.rows("syncs", &["moment", "time", "duration"]);
    assert_eq!(syncs, ["start 1770091506200000000 -", "complete 1770091506300000000 50000000"]);
}

#[test]
fn flows_in_an_agents_log_are_flows() {
    let bundle = Bundle::of("c07-flows-in-agent-log");
    assert_eq!(bundle.rows("flows", &["record", "verdict", "flags"]), ["5 DROPPED SYN", "6 DROPPED SYN"]);
    assert_eq!(bundle.rows("logs", &["record"]).len(), 4);
    // Also where the flows come first, or nothing else is there for long.
    let text = std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/faults/c07-flows-in-agent-log/cilium-agent.log"),
    );
    let turned: Vec<String> = text.expect("a fixture").lines().rev().map(str::to_owned).collect();
    let bundle = Bundle::with("agent.txt", &(turned.join("\n") + "\n"));
    assert_eq!((bundle.rows("flows", &["record"]).len(), bundle.rows("logs", &["record"]).len()), (2, 4));
}

#[test]
fn an_audit_event_in_a_proxys_log_is_an_event() {
    let event = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"a","stage":"ResponseComplete","verb":"get","requestReceivedTimestamp":"2026-02-03T04:05:06.100000Z","stageTimestamp":"2026-02-03T04:05:06.200000Z","objectRef":{"resource":"pods","namespace":"d","name":"x"}}"#;
    let text = format!(
        "I0203 04:05:06.100000       1 proxier.go:1] \"Syncing iptables rules\"\n{event}\n{{\"other\": 1}}\nI0203 04:05:06.200000       1 proxier.go:1] \"SyncProxyRules complete\" elapsed=\"50ms\"\n"
    );
    let bundle = Bundle::with("kube-proxy.log", &text);
    assert_eq!(bundle.rows("audit", &["record"]), ["2"], "{:?}", bundle.sources());
    assert_eq!((bundle.rows("syncs", &["record"]).len(), bundle.loss("foreign-lines")), (2, 1));
}

/// The rules of a kind, as `address:port`, of the snapshots of a bundle together with whether those are complete.
fn addresses(bundle: &Bundle) -> Vec<String> {
    bundle.rows("dataplane_rules", &["target", "address", "port"])
}

#[test]
fn a_line_that_a_warning_broke_is_joined_again() {
    let bundle = Bundle::of("n15-garbled-save");
    assert!(addresses(&bundle).contains(&"DNAT 10.0.0.2 8080".to_owned()), "{:?}", addresses(&bundle));
    assert_eq!(bundle.rows("dataplane_snapshots", &["complete"]), ["true"]);
    assert_eq!((bundle.loss("cleaned-lines"), bundle.loss("not-understood")), (1, 0));
}

#[test]
fn a_line_that_nothing_understood_makes_a_snapshot_incomplete() {
    let rules = "-A KUBE-SVC-A -j KUBE-SEP-A\n".repeat(20);
    let text = format!(
        "*nat\n{rules}-A KUBE-SEP-A -p tcp -j DNAT --to-destina\nsome program's words\ntion 10.0.0.2:8080\nCOMMIT\n"
    );
    let bundle = Bundle::with("save.txt", &text);
    assert_eq!(bundle.rows("dataplane_snapshots", &["complete"]), ["false"]);
    assert_eq!(bundle.loss("not-understood"), 3);
}

#[test]
fn two_listings_in_one_file_are_two_snapshots() {
    let bundle = Bundle::of("c09-two-listings");
    let snapshots = bundle.rows("dataplane_snapshots", &["record", "snapshot", "time", "time_from", "complete"]);
    assert_eq!(snapshots.len(), 2, "{snapshots:?}");
    assert!(snapshots.iter().all(|row| row.contains(" - none ")), "{snapshots:?}");
}

#[test]
fn files_of_two_machines_are_two_states_and_times_of_files_say_nothing() {
    let bundle = Bundle::of("n13-two-nodes");
    let streams = bundle.rows("dataplane_snapshots", &["stream"]);
    assert_eq!(streams.len(), 2);
    assert_ne!(streams[0], streams[1]);
    // Numbered files are one series where each says when it was taken, and none where only their copies' times do.
    let save = |port: u16| format!("*nat\n-A KUBE-SEP-A -p tcp -j DNAT --to-destination 10.0.0.1:{port}\nCOMMIT\n");
    for (stamped, expected) in [(true, 1), (false, 4)] {
        let folder = tempfile::tempdir().expect("a folder");
        for number in 1..=4_u16 {
            let stamp =
                if stamped { format!("# TIMESTAMP {}\n", 1_795_407_710 + i64::from(number)) } else { String::new() };
            let file = folder.path().join(format!("snap-{number}.txt"));
            std::fs::write(file, stamp + &save(number)).expect("written");
        }
        let bundle = Bundle::from(folder.path());
        let streams: std::collections::BTreeSet<String> =
            bundle.rows("dataplane_snapshots", &["stream"]).into_iter().collect();
        assert_eq!((streams.len(), bundle.loss("snapshot-gap")), (expected, 0), "{stamped}");
    }
}

#[test]
fn verdicts_of_policies_and_lost_events_are_read() {
    let bundle = Bundle::of("c17-hubble-compact");
    assert_eq!(
        bundle.rows("flows", &["verdict", "flags", "time"]),
        ["ALLOWED SYN 1770091506100000000", "AUDITED SYN 1770091506200000000"]
    );
    assert_eq!(bundle.loss("lost-flows"), 3);
}

#[test]
fn failures_of_clients_are_kept() {
    let bundle = Bundle::of("p06-client-summaries");
    let facts = bundle.rows("facts", &["key", "value"]);
    for fact in [
        "client/k6/http_req_failed/count 62",
        "client/k6/http_req_failed/total 766355",
        "client/k6/http_reqs/rate 7365.158697/s",
        "client/vegeta/status_codes/0 2",
        "client/vegeta/success/ratio 96.67%",
        "client/vegeta/error/1 Get \"http://10.0.0.1/\": context deadline exceeded",
    ] {
        assert!(facts.contains(&fact.to_owned()), "{fact}: {facts:?}");
    }
    assert!(bundle.sources().iter().all(|(_, _, rejected)| *rejected == 0), "{:?}", bundle.sources());
    // A garbled line is refused, not read up to where it is garbled.
    let bundle = Bundle::of("p05-facts-that-disagree/two-summaries");
    let rejects = bundle.rows("rejects", &["excerpt"]);
    assert!(rejects.len() == 1 && rejects[0].contains("12 0.1.158697/s"), "{rejects:?}");
}

#[test]
fn a_request_that_an_assertion_failed_is_a_failed_request() {
    let bundle = Bundle::of("p07-jmeter-success");
    assert_eq!(bundle.rows("requests", &["status", "error"]), ["200 -", "200 not successful"]);
}

#[test]
fn answers_of_an_api_in_a_loop_are_all_read() {
    let bundle = Bundle::of("p09-api-answers-in-a-loop");
    assert_eq!(bundle.rows("samples", &["value"]).len(), 3);
    // Also where the file is cut into chunks.
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/faults/p09-api-answers-in-a-loop");
    let text = std::fs::read_to_string(folder.join("api-loop-pretty.json")).expect("a fixture");
    let bundle = Bundle::with("loop.json", text.repeat(6_000));
    assert_eq!(bundle.sources(), [("prometheus-api", 18_000, 0)]);
}

#[test]
fn exports_of_other_stores_and_clients_are_read() {
    let bundle = Bundle::of("p19-other-exports");
    assert_eq!(
        bundle.rows("samples", &["time", "value"]),
        ["1700000100000000000 1", "1700000115000000000 1", "1700000130000000000 0"]
    );
    let requests = bundle.rows("requests", &["time", "latency", "connect", "error"]);
    assert_eq!(requests, ["1700000100000000000 31000000 3000000 -"]);
}

#[test]
fn cells_of_a_table_stand_below_their_names() {
    let bundle = Bundle::of("c19-events-wide");
    assert_eq!(
        bundle.rows("logs", &["caller", "message"]),
        ["deployment/cart ScalingReplicaSet: Scaled up cart-5 to 3", "pod/cart-5-a Started: Started container cart"]
    );
}

#[test]
fn tables_of_pods_and_endpoints_are_rows_of_what_they_show() {
    let text = concat!(
        "1795686490.5 NAMESPACE   NAME    READY   STATUS             RESTARTS   AGE\n",
        "1795686490.5 default     web-1   0/1     ContainerCreating  0          1s\n",
        "1795686492.5 default     web-1   1/1     Running            0          3s\n",
    );
    let bundle = Bundle::with("pods.txt", text);
    assert_eq!(
        bundle.rows("pods", &["time", "resolution", "event", "name", "phase", "ready"]),
        [
            "1795686490500000000 100000000 LIST web-1 ContainerCreating false",
            "1795686492500000000 100000000 MODIFIED web-1 Running true"
        ]
    );
    let text = concat!(
        "NAME         ENDPOINTS                                     AGE\n",
        "kubernetes   10.0.0.9:6443                                 5d\n",
        "cart         10.9.0.1:8080,10.9.0.2:8080 + 41 more...      5d\n",
        "none         <none>                                        5d\n",
    );
    let bundle = Bundle::with("endpoints.txt", text);
    assert_eq!(
        bundle.rows("endpoints", &["kind", "service", "address", "port"]),
        [
            "Endpoints kubernetes 10.0.0.9 6443",
            "Endpoints cart 10.9.0.1 8080",
            "Endpoints cart 10.9.0.2 8080",
            "Endpoints none - -"
        ]
    );
    assert_eq!(bundle.loss("cut-list"), 1);
    let text = "NAME         ADDRESSTYPE   PORTS   ENDPOINTS                 AGE\ncart-x7k2p   IPv4          8080    10.9.0.1,10.9.0.2         5d\n";
    let bundle = Bundle::with("slices.txt", text);
    assert_eq!(
        bundle.rows("endpoints", &["kind", "slice", "address", "port"]),
        ["EndpointSlice cart-x7k2p 10.9.0.1 8080", "EndpointSlice cart-x7k2p 10.9.0.2 8080"]
    );
}

#[test]
fn counters_that_were_rounded_have_no_value() {
    let bundle = Bundle::of("n17-rounded-counters");
    let changes = bundle.rows("dataplane_changes", &["packets", "bytes"]);
    assert!(changes.contains(&"10 600".to_owned()) && changes.contains(&"2218 -".to_owned()), "{changes:?}");
    assert_eq!(bundle.loss("rounded-counters"), 1);
}

#[test]
fn unread_files_are_named_for_what_they_are() {
    let bundle = Bundle::of("n18-advice");
    for (file, name) in [("conntrack.txt", "conntrack"), ("tcpdump.txt", "tcpdump")] {
        let said = bundle.nearest(file);
        assert!(said.contains(name) && said.contains("instead"), "{file}: {said}");
    }
    // Two of the four are captures.
    let kinds: Vec<&str> = bundle.sources().iter().map(|(kind, _, _)| *kind).collect();
    assert!(kinds.contains(&"bpftool-prog") && kinds.contains(&"bpftrace-text"), "{kinds:?}");
    assert!(bundle.rows("logs", &["message"]).contains(&"No probes to attach".to_owned()));
    assert_eq!(bundle.loss("no-probe-attached"), 1);
    let said = Bundle::of("p18-statistics-words").nearest("nearest-min-avg-max.txt");
    assert!(said.contains("ping") && !said.contains("chrony"), "{said}");
}

#[test]
fn klog_of_other_components_and_prose_are_no_proxys_log() {
    let bundle = Bundle::of("c05-klog-of-others");
    assert!(bundle.sources().iter().all(|(kind, _, _)| *kind != "kube-proxy-log"), "{:?}", bundle.sources());
    let said = bundle.nearest("kcm.log");
    assert!(said.contains("controller manager"), "{said}");
}

#[test]
fn a_diff_of_two_listings_is_two_incomplete_states() {
    let bundle = Bundle::of("n19-diff");
    assert_eq!(
        bundle.rows("dataplane_snapshots", &["time", "complete"]),
        ["1795686077909210369 false", "1795686101457141711 false"]
    );
    assert_eq!(bundle.loss("diff-of-listings"), 1);
}

#[test]
fn rules_of_iptables_seen_through_nft_say_what_iptables_says() {
    let bundle = Bundle::of("n14-iptables-nft-by-nft");
    let rules = bundle.rows("dataplane_rules", &["kind", "chain", "target", "protocol", "address", "port"]);
    for rule in [
        "rule KUBE-SERVICES KUBE-SVC-AAAAAAAAAAAAAAAA tcp 10.96.0.5 80",
        "rule KUBE-SVC-AAAAAAAAAAAAAAAA KUBE-SEP-BBBBBBBBBBBBBBB1 - - -",
        "rule KUBE-SEP-BBBBBBBBBBBBBBB1 DNAT tcp 10.0.0.1 8080",
    ] {
        assert!(rules.contains(&rule.to_owned()), "{rule}: {rules:?}");
    }
}

#[test]
fn statistics_of_ipvs_are_a_listing() {
    let bundle = Bundle::of("n20-indented/ipvs-stats.txt");
    let rules = bundle.rows("dataplane_rules", &["kind", "address", "port"]);
    assert!(rules.contains(&"backend 10.0.0.1 8080".to_owned()), "{rules:?}");
    assert_eq!(bundle.rows("dataplane_snapshots", &["complete"]), ["true"]);
}

#[test]
fn rules_without_their_table_are_cut_at_stamps_and_at_rules_that_come_again() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/faults/n02-epoch-lines-in-save");
    let text = std::fs::read_to_string(folder.join("loop.txt")).expect("a fixture");
    // The fixture's lines of seconds are stamps, as the collector writes them.
    let stamped: String = text
        .lines()
        .map(|line| if line.starts_with("17956") { format!("# TIMESTAMP {line}\n") } else { format!("{line}\n") })
        .collect();
    let times = Bundle::with("loop.txt", &stamped).rows("dataplane_snapshots", &["time", "resolution"]);
    assert_eq!(times, ["1795686490146651693 -", "1795686493786651693 -"]);
    let bare: String = text.lines().filter(|line| !line.starts_with("17956")).map(|line| format!("{line}\n")).collect();
    let snapshots = Bundle::with("loop.txt", &bare).rows("dataplane_snapshots", &["time", "time_from"]);
    assert_eq!(snapshots.len(), 2, "{snapshots:?}");
}

#[test]
fn a_log_that_begins_in_the_middle_of_its_flags_says_so() {
    let text = "I1126 11:20:01.677668       1 flags.go:64] FLAG: --vmodule=\"\"\nI1126 11:20:01.872987       1 proxier.go:236] \"Using nftables mark\"\n";
    assert_eq!(Bundle::with("kube-proxy.log", text).loss("log-begins-late"), 1);
    let whole = text.replace("--vmodule", "--add-dir-header");
    assert_eq!(Bundle::with("kube-proxy.log", &whole).loss("log-begins-late"), 0);
}
