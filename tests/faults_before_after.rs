//! What was read before and after, and what absence proves: captures as the document's reader types them
//! (`fixtures/faults/n10…`, `n11…`, `n22…`), and others of the same kinds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use serde_json::Value;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/faults").join(name)
}

/// A capture in a folder of its own: files of a fixture, and others.
struct Capture {
    folder: tempfile::TempDir,
}

impl Capture {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("run")).expect("a folder");
        let capture = Self { folder };
        for (name, text) in files {
            capture.write(name, text);
        }
        capture
    }

    fn of(name: &str, files: &[(&str, &str)]) -> Self {
        let capture = Self::new(&[]);
        for entry in fs::read_dir(fixture(name)).expect("a fixture") {
            let path = entry.expect("an entry").path();
            let text = fs::read_to_string(&path).expect("text");
            capture.write(path.file_name().and_then(|name| name.to_str()).expect("a name"), &text);
        }
        for (name, text) in files {
            capture.write(name, text);
        }
        capture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("run").join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(path, text).expect("written");
    }

    /// Gives a file a modification time, so many hours after 2026-11-26.
    fn touch(&self, name: &str, hours: u64) {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_651_200 + hours * 3600) + Duration::from_nanos(7);
        let file = fs::File::options().write(true).open(self.path(name)).expect("opened");
        file.set_modified(time).expect("a time");
    }

    fn syncline(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_syncline"));
        command.current_dir(self.folder.path()).args(arguments);
        let output = command.output().expect("syncline starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("panicked"), "{said}");
        output
    }

    fn report(&self) -> Report {
        let output = self.syncline(&["report", "run", "--out", "report", "--force"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let read = |name: &str| fs::read_to_string(self.folder.path().join("report").join(name)).expect("a report");
        let json = serde_json::from_str(&read("report.json")).expect("JSON");
        Report { json, html: read("report.html"), markdown: read("report.md") }
    }
}

struct Report {
    json: Value,
    html: String,
    markdown: String,
}

impl Report {
    fn verdict(&self, id: &str) -> &Value {
        let all = self.json["verdicts"].as_array().expect("verdicts");
        all.iter().find(|one| one["id"] == id).unwrap_or_else(|| panic!("{id} in {all:#?}"))
    }

    fn change(&self, what: &str) -> &Value {
        let all = self.json["before_after"].as_array().expect("before_after");
        let said = |one: &&Value| one["what"].as_str().is_some_and(|text| text.starts_with(what));
        all.iter().find(said).unwrap_or_else(|| panic!("{what} in {all:#?}"))
    }

    fn finding(&self, title: &str) -> Option<&Value> {
        let all = self.json["runs"][0]["findings"].as_array().expect("findings");
        all.iter().find(|one| one["title"] == title)
    }
}

fn near(value: &Value, expected: f64) {
    let value = value.as_f64().unwrap_or_else(|| panic!("expected {expected}, not {value}"));
    assert!((value - expected).abs() < 1e-6 * expected.abs().max(1.0), "{value}, not {expected}");
}

const KUBE_PROXY: &str = "dataplane = \"kube-proxy-iptables\"\nscenario = \"scale-up\"\n";

/// A page of kube-proxy: what every page of it has, and more.
fn page(syncs: u32, more: &str) -> String {
    format!(
        "# TYPE kubeproxy_sync_proxy_rules_duration_seconds histogram\nkubeproxy_sync_proxy_rules_duration_seconds_sum {}\nkubeproxy_sync_proxy_rules_duration_seconds_count {syncs}\n# TYPE go_goroutines gauge\ngo_goroutines 60\n# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds 1.7956e+09\n# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total 12.5\n{more}",
        f64::from(syncs) * 0.05
    )
}

#[test]
fn an_answer_about_another_metric_proves_no_absence() {
    let report = Capture::of("n10-false-holds", &[]).report();
    let verdict = report.verdict("E4");
    assert_eq!(verdict["status"], "not measured", "{verdict:#}");
    assert!(verdict["reason"].as_str().expect("a reason").contains("prove nothing"), "{verdict:#}");
    assert!(verdict["missing"]["remedy"].as_str().expect("a remedy").contains("curl -s"), "{verdict:#}");
}

#[test]
fn whole_pages_prove_that_no_failure_was_counted_and_filtered_ones_do_not() {
    let scale = fs::read_to_string(fixture("n10-false-holds").join("scale.txt")).expect("text");
    let status = |before: &str, after: &str| {
        let files =
            [("capture.toml", KUBE_PROXY), ("scale.txt", &scale), ("kp-before.prom", before), ("kp-after.prom", after)];
        let capture = Capture::new(&files);
        // Copied: the later page has the older time.
        capture.touch("kp-before.prom", 5);
        capture.touch("kp-after.prom", 3);
        let verdict = capture.report().verdict("E4").clone();
        (verdict["status"].as_str().expect("a word").to_owned(), verdict["measured"].as_f64())
    };
    let failures = |count: u32| {
        format!(
            "# TYPE kubeproxy_sync_proxy_rules_iptables_restore_failures_total counter\nkubeproxy_sync_proxy_rules_iptables_restore_failures_total {count}\n"
        )
    };
    assert_eq!(status(&page(10, ""), &page(15, "")), ("holds".to_owned(), Some(0.0)));
    assert_eq!(status(&page(10, &failures(1)), &page(15, &failures(3))), ("holds".to_owned(), Some(2.0)));
    let filtered =
        |text: &str| text.lines().filter(|line| line.contains("kubeproxy")).collect::<Vec<_>>().join("\n") + "\n";
    assert_eq!(status(&filtered(&page(10, "")), &filtered(&page(15, ""))).0, "not measured");
}

#[test]
fn two_readings_of_sum_and_count_are_syncs_work_and_a_mean() {
    let report = Capture::of("n11-before-after", &[("capture.toml", KUBE_PROXY)]).report();
    let change = report.change("kubeproxy_sync_proxy_rules_duration_seconds{");
    near(&change["difference"]["value"], 7.0);
    near(&change["total"], 0.42);
    near(&change["mean"]["value"], 0.06);
    near(&change["seconds"]["value"], 59.675);
    assert_eq!(change["evidence"].as_array().map(Vec::len), Some(4), "both readings of both: {change:#}");
    let schema: Value = serde_json::from_str(include_str!("../templates/report.schema.json")).expect("schema");
    let required = schema["properties"]["before_after"]["items"]["required"].as_array().expect("names");
    assert!(required.iter().all(|name| change.get(name.as_str().expect("a name")).is_some()));
    assert_eq!(change.as_object().expect("an object").len(), required.len(), "nothing that the schema does not name");

    // Seven: the longest is judged, 60 ms at least (52.5 with one more or less) and 0.42 s at most.
    for id in ["T1.2", "C1"] {
        let verdict = report.verdict(id);
        assert_eq!(verdict["status"], "better", "{verdict:#}");
        near(&verdict["measured_bounds"][0], 0.0525);
        near(&verdict["measured_bounds"][1], 0.42);
    }
    let rate = report.verdict("C5");
    near(&rate["measured"], 7.0 / 59.675);
    // How old the samples of the answers were is not told: the rate has no upper end, and does not hold.
    assert_eq!((rate["status"].as_str(), &rate["measured_bounds"][1]), (Some("inconclusive"), &Value::Null));
    for page in [&report.html, &report.markdown] {
        assert!(page.contains("Before and after") && page.contains("420 ms in all, 60 ms (52.5 to 70 ms) each"));
    }
}

#[test]
fn a_counter_that_fell_has_no_difference() {
    let answer = |time: &str, value: &str| {
        format!(
            "{{\"status\":\"success\",\"data\":{{\"resultType\":\"vector\",\"result\":[{{\"metric\":{{\"__name__\":\"kubeproxy_sync_proxy_rules_duration_seconds_count\",\"instance\":\"a\"}},\"value\":[{time},\"{value}\"]}}]}}}}"
        )
    };
    let files = [("pre.json", &answer("1795686076", "1523")), ("post.json", &answer("1795686136", "4"))];
    let capture = Capture::new(&[("capture.toml", KUBE_PROXY), (files[0].0, files[0].1), (files[1].0, files[1].1)]);
    let report = capture.report();
    let change = report.change("kubeproxy_sync");
    assert_eq!(change["difference"]["value"], Value::Null);
    assert!(change["notes"][0].as_str().expect("a note").contains("reset"), "{change:#}");
    assert_eq!(report.verdict("C5")["status"], "not measured");
}

#[test]
fn what_changed_between_lists_and_answers_stands_in_the_report_whatever_the_files_times() {
    for (before, after) in [(1, 2), (2, 1), (1, 1)] {
        let capture = Capture::of("n22-document-cilium", &[("capture.toml", "dataplane = \"cilium\"\n")]);
        capture.touch("metrics-before.txt", before);
        capture.touch("metrics-after.txt", after);
        let report = capture.report();
        for (what, difference) in [
            ("cilium_bpf_map_ops_total{map_name=\"lb4_backends_v3\"", 88.0),
            ("cilium_bpf_map_ops_total{map_name=\"lb4_services_v2\"", 133.0),
            ("cilium_drop_count_total{direction=\"EGRESS\"", 26.0),
            ("cilium_forward_count_total", 771_288.0),
            ("cilium_services_events_total", 44.0),
            ("cilium_endpoint_regenerations_total", 5.0),
            ("cilium_endpoint_regeneration_time_stats_seconds_sum", 8.4),
        ] {
            near(&report.change(what)["difference"]["value"], difference);
        }
        // The lists have no time: their differences stand, without a rate.
        let list = report.change("cilium_forward_count_total");
        assert_eq!((&list["seconds"]["value"], &list["rate"]["value"]), (&Value::Null, &Value::Null));
        assert!(list["notes"][0].as_str().expect("a note").contains("unknown"), "{list:#}");
        near(&report.change("cilium_endpoint_regeneration_time_stats_seconds_sum")["seconds"]["value"], 59.7);
        for page in [&report.html, &report.markdown] {
            assert!(page.contains("8.4 s") && page.contains("771,288"));
        }
    }
}

#[test]
fn listings_before_and_after_tell_rules_and_packets() {
    let listing = |rules: &[(u32, &str)]| {
        let mut text = "Chain KUBE-SVC-AAAAAAAAAAAAAAAA (1 references)\n    pkts      bytes target     prot opt in     out     source               destination         \n".to_owned();
        for (packets, name) in rules {
            text += &format!(
                "{packets:8} {:10} KUBE-SEP-{name}  6    --  *      *       0.0.0.0/0            0.0.0.0/0            /* default/test:http -> 10.0.0.1:8080 */\n",
                packets * 60
            );
        }
        text
    };
    let before = listing(&[(2218, "BBBBBBBBBBBBBBB1"), (500, "BBBBBBBBBBBBBBB2")]);
    let after = listing(&[(7, "BBBBBBBBBBBBBBB2"), (2230, "BBBBBBBBBBBBBBB1"), (1, "BBBBBBBBBBBBBBB3")]);
    let files = [("capture.toml", KUBE_PROXY), ("iptables-before.txt", &before), ("iptables-after.txt", &after)];
    let capture = Capture::new(&files);
    capture.touch("iptables-before.txt", 9);
    capture.touch("iptables-after.txt", 1);
    let report = capture.report();
    let rules = report.change("rules of");
    near(&rules["before"], 2.0);
    near(&rules["after"], 3.0);
    assert!(rules["notes"][0].as_str().expect("a note").starts_with("1 added: KUBE-SEP-BBBBBBBBBBBBBBB3"), "{rules:#}");
    let all = report.json["before_after"].as_array().expect("rows");
    let packets = |name: &str| {
        let own = |one: &&Value| one["kind"] == "rule" && one["what"].as_str().is_some_and(|what| what.contains(name));
        all.iter().find(own).unwrap_or_else(|| panic!("{name} in {all:#?}"))
    };
    near(&packets("BBBBBBBBBBBBBBB1")["difference"]["value"], 12.0);
    // Its chain was rewritten: the counter began anew.
    assert_eq!(packets("BBBBBBBBBBBBBBB2")["difference"]["value"], Value::Null);
}

#[test]
fn new_connections_of_a_service_are_counted_once_however_many_rules_they_pass() {
    let listing = |counts: &[u32]| {
        let heading = "pkts bytes target     prot opt in     out     source               destination\n";
        let rule = |packets: u32, target: &str, rest: &str| {
            format!(
                "{packets:5} {:5} {target}  6    --  *      *       0.0.0.0/0            0.0.0.0/0            /* default/test:http{rest}\n",
                packets * 60
            )
        };
        let sum: u32 = counts.iter().sum();
        let mut text = format!(
            "Chain KUBE-SERVICES (2 references)\n{heading}{}\nChain KUBE-SVC-AAAAAAAAAAAAAAAA (1 references)\n{heading}",
            rule(sum, "KUBE-SVC-AAAAAAAAAAAAAAAA", " cluster IP */ tcp dpt:80")
        );
        for (at, packets) in counts.iter().enumerate() {
            text += &rule(*packets, &format!("KUBE-SEP-BBBBBBBBBBBBBBB{at}"), &format!(" -> 10.0.0.{at}:8080 */"));
        }
        for (at, packets) in counts.iter().enumerate() {
            text += &format!("\nChain KUBE-SEP-BBBBBBBBBBBBBBB{at} (1 references)\n{heading}");
            text += &rule(*packets, "DNAT", &format!(" */ tcp to:10.0.0.{at}:8080"));
        }
        text
    };
    let sums = |before: &[u32], after: &[u32]| {
        let (before, after) = (listing(before), listing(after));
        let report =
            Capture::new(&[("capture.toml", KUBE_PROXY), ("nat-before.txt", &before), ("nat-after.txt", &after)])
                .report();
        let row = report.change("new connections of default/test:http");
        (row["before"].as_f64(), row["after"].as_f64(), row["difference"]["value"].as_f64())
    };
    // An endpoint that came began at zero.
    assert_eq!(sums(&[100, 50], &[130, 60, 5]), (Some(150.0), Some(195.0), Some(45.0)));
    // One that went took what it counted since along, and a chain that was rewritten its counters.
    assert_eq!(sums(&[100, 50], &[130]), (Some(150.0), Some(130.0), None));
    assert_eq!(sums(&[100, 50], &[130, 6]), (Some(150.0), Some(136.0), None));
}

#[test]
fn two_states_of_two_nodes_are_no_before_and_after() {
    let listing = |packets: u32| {
        format!(
            "Chain KUBE-SVC-AAAAAAAAAAAAAAAA (1 references)\n    pkts      bytes target     prot opt in     out     source               destination         \n{packets:8}       600 KUBE-SEP-BBBBBBBBBBBBBBB1  6    --  *      *       0.0.0.0/0            0.0.0.0/0            /* default/test:http -> 10.0.0.1:8080 */\n"
        )
    };
    for names in
        [["iptables-worker1.txt", "iptables-worker2.txt"], ["node-1.txt", "node-2.txt"], ["nat-1.txt", "nat-2.txt"]]
    {
        let (one, two) = (listing(10), listing(99));
        let capture = Capture::new(&[("capture.toml", KUBE_PROXY), (names[0], &one), (names[1], &two)]);
        let report = capture.report();
        assert_eq!(report.json["before_after"], Value::Array(Vec::new()), "{names:?}");
    }
}

#[test]
fn the_documents_own_procedure_stands_in_the_answer() {
    let report = Capture::of("n10-false-holds", &[]).report();
    for (page, from, to) in
        [(&report.html, "id=\"answer\"", "id=\"verdicts\""), (&report.markdown, "## Head to head", "## All rows")]
    {
        let answer = page.split(from).nth(1).and_then(|rest| rest.split(to).next()).expect("the answer");
        assert!(
            answer.contains("own procedure") && answer.contains("149 ms"),
            "{}",
            &answer[answer.len().saturating_sub(2000)..]
        );
    }
}

#[test]
fn every_figure_stands_somewhere_on_the_page() {
    let report = Capture::of("n11-before-after", &[("capture.toml", KUBE_PROXY)]).report();
    let rows = report.json["verdicts"].as_array().expect("verdicts");
    let read =
        |name: &str| rows.iter().any(|row| row["measurement"].as_str().is_some_and(|text| text.starts_with(name)));
    for one in report.json["measurements"].as_array().expect("measurements") {
        let name = one["name"].as_str().expect("a name");
        if one["missing"].is_null() && !one["value"].is_null() && !read(name) {
            assert!(report.html.contains(name) || report.html.contains("API processing time"), "{name}");
            assert!(report.markdown.contains(&name.replace('_', "\\_")), "{name}");
        }
    }
}

#[test]
fn a_trace_that_attached_to_nothing_is_named_for_what_it_is() {
    let report = Capture::of("n22-document-cilium", &[("capture.toml", "dataplane = \"cilium\"\n")]).report();
    let finding = report.finding("A trace attached to nothing").expect("a finding");
    assert_eq!(finding["evidence"][0]["path"], "bpftrace.txt");
    assert_eq!(finding["evidence"][0]["record"], 4);
    for page in [&report.html, &report.markdown] {
        assert!(page.contains("A trace attached to nothing") && page.contains("tracepoint:syscalls:sys_enter_bpf"));
    }
    let script = "@calls[args-&gt;cmd] = count();";
    assert!(report.html.contains(script) || report.html.contains("@calls[args->cmd] = count();"), "verbatim");
    assert!(report.markdown.contains("@calls[args->cmd] = count();"), "verbatim");
}

#[test]
fn the_number_that_a_list_prints_for_a_histogram_is_no_count() {
    let list = |value: &str| {
        format!(
            "Metric                              Labels                                                            Value\ncilium_reconciler_duration_seconds  module_id=agent.controlplane.loadbalancer-reconciler op=update  {value}\ncilium_forward_count_total  direction=INGRESS  7.000000\n"
        )
    };
    let (before, after) = (list("0.000495"), list("0.002230"));
    let files = [("capture.toml", "dataplane = \"cilium\"\n"), ("m-before.txt", &before), ("m-after.txt", &after)];
    let report = Capture::new(&files).report();
    assert_eq!(report.change("cilium_reconciler_duration_seconds")["kind"], "gauge");
    for id in ["C5", "C1", "T1.3"] {
        assert_eq!(report.verdict(id)["status"], "not measured", "{id}");
    }
}

#[test]
fn a_list_in_another_order_was_not_rewritten() {
    let rows = [
        "10.96.0.1:443/TCP (0)       0.0.0.0:0 (7) (0) [ClusterIP, non-routable]",
        "10.96.0.1:443/TCP (1)       172.30.0.1:6443/TCP (7) (1)",
        "10.96.0.5:80/TCP (0)        0.0.0.0:0 (6) (0) [ClusterIP, non-routable]",
        "10.96.0.5:80/TCP (1)        10.0.0.1:8080/TCP (6) (1)",
        "10.96.0.5:80/TCP (2)        10.0.0.2:8080/TCP (6) (2)",
    ];
    let mut text = String::new();
    for (at, order) in
        [[0, 1, 2, 3].as_slice(), &[3, 1, 0, 2], &[2, 0, 3, 1], &[1, 4, 0, 3, 2], &[4, 3, 2, 1, 0]].iter().enumerate()
    {
        text += &format!(
            "# TIMESTAMP {}.427401\nSERVICE ADDRESS             BACKEND ADDRESS (REVNAT_ID) (SLOT)\n",
            1_795_686_080 + at
        );
        for row in *order {
            text += &format!("{}\n", rows[*row]);
        }
    }
    let scale = fs::read_to_string(fixture("n10-false-holds").join("scale.txt")).expect("text");
    let toml = "dataplane = \"cilium\"\nnode = \"node-a\"\nsame_host = [\"node-a\", \"operator\"]\n";
    let report = Capture::new(&[("capture.toml", toml), ("lb.stream", &text), ("scale.txt", &scale)]).report();
    let all = report.json["measurements"].as_array().expect("measurements");
    let own = |one: &&Value| one["name"] == "rules_rewritten_per_change" && one["variant"] == "services";
    let one = all.iter().find(own).expect("a measurement");
    assert_eq!((one["n"].as_u64(), one["value"].as_f64()), (Some(1), Some(1.0)), "{one:#}");
}

#[test]
fn a_page_that_lost_labels_makes_no_differences() {
    let list = |twice: &str| format!("cilium_a_total{{}} 1\ncilium_b_total{{}} 2\n{twice}");
    let page = format!("# TYPE cilium_a_total counter\n{}", list("cilium_b_total{} 7\n"));
    let capture = Capture::new(&[("capture.toml", "dataplane = \"cilium\"\n"), ("page.prom", &page)]);
    assert_eq!(capture.report().json["before_after"], Value::Array(Vec::new()));
}

#[test]
fn a_histogram_that_bpftrace_printed_is_a_distribution() {
    let text = "Attaching 2 probes...\n^C\n\n@latency: \n[1K, 2K)               5 |@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@|\n[2K, 4K)               3 |@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@                     |\n\n";
    let capture = Capture::new(&[("capture.toml", "dataplane = \"cilium\"\n"), ("bpftrace.txt", text)]);
    let report = capture.report();
    let all = report.json["measurements"].as_array().expect("measurements");
    let one = all.iter().find(|one| one["name"] == "trace_distribution").expect("a distribution");
    assert_eq!((one["n"].as_u64(), one["variant"].as_str()), (Some(8), Some("@latency")));
    near(&one["quantiles"]["p50"]["bounds"][0], 1.024e-6);
    near(&one["quantiles"]["max"]["bounds"][1], 4.096e-6);
    for page in [&report.html, &report.markdown] {
        assert!(page.contains("Distributions that a trace printed") && page.contains("1.02 to 2.05 µs"));
    }
}
