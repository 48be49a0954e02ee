//! Captures in the shapes that people make them: actions and their windows, syncs, convergence. Each folder of
//! `tests/fixtures/faults` that is named here stands for a kind; where a kind has other members, they are made up below.

use std::path::{Path, PathBuf};

use syncline::bundle::MEMORY;
use syncline::events::Run;
use syncline::measure::{self, Measurement};
use syncline::result::given;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("in the workspace").join("tests/fixtures/faults").join(name)
}

/// A run and what was measured of it.
struct Loaded {
    run: Run,
    rows: Vec<Measurement>,
}

impl Loaded {
    fn of(folder: &Path) -> Self {
        let (bundle, _temporary) = given::one(folder, MEMORY).expect("a capture that is bundled");
        let run = Run::load(bundle).expect("a run");
        let rows = measure::all(&run).expect("measured");
        Self { run, rows }
    }

    fn row(&self, name: &str, variant: &str) -> &Measurement {
        let found = self.rows.iter().find(|row| row.name == name && row.variant == variant);
        found.unwrap_or_else(|| {
            let all: Vec<_> = self.rows.iter().filter(|row| row.name == name).map(|row| &row.variant).collect();
            panic!("{name} {variant:?} among {all:?}")
        })
    }

    /// Low, value, high, in units of 0.1 ms.
    fn estimate(&self, name: &str, variant: &str) -> [Option<i64>; 3] {
        let row = self.row(name, variant);
        assert!(row.missing.is_none(), "{name} {variant}: {:?}", row.missing);
        let estimate = row.estimate;
        [estimate.low, estimate.value, estimate.high].map(|one| one.map(|one| (one * 1e4).round() as i64))
    }

    fn finding(&self, part: &str) -> bool {
        self.run.findings.iter().any(|finding| finding.title.contains(part) || finding.detail.contains(part))
    }

    fn titles(&self) -> Vec<&str> {
        self.run.findings.iter().map(|finding| finding.title.as_str()).collect()
    }
}

/// A fault folder, with files of another content in their place.
fn with(name: &str, files: &[(&str, &str)]) -> Loaded {
    let place = tempfile::tempdir().expect("a folder");
    if !name.is_empty() {
        for entry in std::fs::read_dir(fixture(name)).expect("a folder") {
            let entry = entry.expect("an entry");
            std::fs::copy(entry.path(), place.path().join(entry.file_name())).expect("copied");
        }
    }
    for (file, text) in files {
        std::fs::write(place.path().join(file), text).expect("written");
    }
    Loaded::of(place.path())
}

#[test]
fn n06_kubectl_delete_and_n07_rolled_back_are_actions() {
    let found = Loaded::of(&fixture("n06-kubectl-delete"));
    let exact = |tenths: i64| [Some(tenths); 3];
    assert_eq!(found.estimate("api_processing_time", ""), exact(311_492), "31.149 s");
    assert_eq!(found.run.scenario, "pod-crash");
    let row = found.row("api_processing_time", "");
    assert_eq!(row.evidence.iter().map(|one| one.record).collect::<Vec<_>>(), [2, 4]);
    assert!(row.notes[0].contains("between the two dates") || row.notes[0].contains("Between the two dates"));
    let found = Loaded::of(&fixture("n07-rolled-back"));
    assert_eq!(found.estimate("api_processing_time", ""), exact(1_492));
    assert_eq!(found.run.scenario, "rolling-restart");
}

#[test]
fn n05_a_script_s_recording_is_a_transcript() {
    let found = Loaded::of(&fixture("n05-script-recording"));
    assert_eq!(found.estimate("api_processing_time", "")[1], Some(1_492));
    assert_eq!(found.rows.iter().filter(|row| row.name == "api_processing_time").count(), 1);
}

#[test]
fn whole_seconds_are_known_to_a_second_on_each_side() {
    let text = "$ date; kubectl scale deploy/test --replicas=44; date\nThu Nov 26 09:41:20 UTC 2026\ndeployment.apps/test scaled\nThu Nov 26 09:41:21 UTC 2026\n";
    let found = with("", &[("scale.txt", text)]);
    assert_eq!(found.estimate("api_processing_time", ""), [Some(0), Some(10_000), Some(20_000)]);
    assert_eq!(found.run.scenario, "scale-up");
}

#[test]
fn several_commands_of_one_session_are_several_actions() {
    let text = "$ date +%s.%N; kubectl scale deploy/a --replicas=4; date +%s.%N\n1795686080.5\ndeployment.apps/a scaled\n1795686080.75\n$ kubectl rollout status deploy/a\nWaiting for deployment \"a\" rollout to finish: 1 of 4 updated replicas are available...\ndeployment \"a\" successfully rolled out\n$ date +%s.%N; kubectl -n shop set image deploy/b app=b:2; date +%s.%N\n1795686180.0\ndeployment.apps/b image updated\n1795686180.25\n";
    let found = with("", &[("session.txt", text)]);
    assert_eq!(found.row("api_processing_time", "").estimate.value, Some(0.25));
    assert_eq!(found.row("api_processing_time", "action 2").estimate.value, Some(0.25));
    let action = found.run.windows.action.as_ref().expect("an action");
    assert!(action.end <= 1_795_686_180_000_000_000, "the next action ends it");
}

#[test]
fn n08_a_command_s_return_does_not_end_its_action() {
    let found = Loaded::of(&fixture("n08-action-window"));
    assert_eq!(found.row("sync_duration", "action").n, 1);
    assert_eq!(found.estimate("sync_duration", "action")[1], Some(551));
    assert_eq!(found.row("sync_rate", "").details["count"], 1.0);
    let action = found.run.windows.action.as_ref().expect("an action");
    assert!(action.seconds() > 3.1 && action.seconds() < 4.5, "{}", action.seconds());
    assert!(found.run.windows.from.contains("nobody stated the action's end"), "{}", found.run.windows.from);
}

#[test]
fn c21_a_window_that_nobody_stated_holds_its_last_reading() {
    let found = Loaded::of(&fixture("c21-last-sync"));
    assert_eq!(found.row("sync_duration", "").n, 3);
    assert_eq!(found.estimate("sync_duration", "")[1], Some(9_000));
    assert_eq!(found.row("sync_duration", "").statistic, "max");
}

#[test]
fn n09_durations_need_no_date() {
    let found = Loaded::of(&fixture("n09-log-without-year"));
    assert_eq!(found.row("sync_duration", "").n, 1);
    assert_eq!(found.estimate("sync_duration", "")[1], Some(551));
    let said = |row: &Measurement| row.missing.as_ref().is_some_and(|one| one.what.contains("no sync"));
    assert!(!found.rows.iter().any(|row| row.name.starts_with("sync") && said(row)), "a sync was captured");
    // Its listing shows the entrance alone.
    assert!(found.finding("KUBE-SERVICES alone"), "{:?}", found.titles());
    assert!(found.finding("iptables -t nat -L KUBE-SVC-AAAAAAAAAAAAAAAA"), "the chain that would show it");
}

#[test]
fn two_proxies_are_never_pooled() {
    let found = Loaded::of(&fixture("n21-two-proxies"));
    for proxy in ["kube-proxy-aaaaa", "kube-proxy-bbbbb"] {
        let all: Vec<_> =
            found.rows.iter().filter(|row| row.name == "sync_rate" && row.variant.contains(proxy)).collect();
        assert_eq!(all.len(), 3, "{proxy} has a rate in each window");
        let action = all.iter().find(|row| row.window == "action").expect("the action");
        assert_eq!(action.details["count"], 2.0);
    }
    assert_eq!(found.row("sync_rate", "").details["count"], 2.0, "the row takes one of them");
    let share = found.row("sync_share", "").estimate.value.expect("a share");
    assert!((share - 2.0 * 0.055067 / 10.0).abs() < 1e-6, "{share}");
    let found = Loaded::of(&fixture("c15-several-proxies"));
    assert_eq!(found.estimate("sync_duration", "")[1], Some(700));
    assert_eq!(found.row("sync_duration", "").n, 1);
    assert!(!found.finding("several proxies in one log"), "their names tell them apart");
}

#[test]
fn syncs_that_overlap_without_names_are_a_finding() {
    let log = std::fs::read_to_string(fixture("c15-several-proxies").join("kubectl-prefix.log")).expect("a log");
    let bare: String = log.lines().filter_map(|line| Some(line.split_once("] ")?.1.to_owned() + "\n")).collect();
    let statement = std::fs::read_to_string(fixture("c15-several-proxies").join("capture.toml")).expect("a statement");
    let found = with("", &[("kube-proxy.log", &bare), ("capture.toml", &statement)]);
    assert!(found.finding("several proxies in one log"), "{:?}", found.titles());
}

#[test]
fn c16_a_failed_sync_is_no_latency_and_an_error() {
    let found = Loaded::of(&fixture("c16-failed-sync"));
    let row = found.row("sync_duration", "");
    assert!(row.missing.is_some() && row.n == 0, "{:?}", row.estimate);
    assert_eq!(found.row("restore_failures", "").estimate.value, Some(1.0));
}

#[test]
fn n12_stable_from_snapshots_alone() {
    let found = Loaded::of(&fixture("n12-stable-without-audit"));
    let [low, value, high] = found.estimate("convergence_time", "").map(|one| one.expect("an end") as f64 / 1e4);
    assert!(
        (low - 3.0).abs() < 1e-3 && value > low && value < 3.5 && (high - 4.0).abs() < 1e-3,
        "{low} {value} {high}"
    );
    assert_eq!(found.run.service_under_test.as_deref(), Some("default/test"));
    assert!(found.run.windows.action.as_ref().is_some_and(|one| one.seconds() > 3.5));
    // Less than 5 s of looks behind the last change prove nothing.
    let stream = std::fs::read_to_string(fixture("n12-stable-without-audit").join("nat.stream")).expect("a stream");
    let cut = stream.find("# TIMESTAMP 1795686088").expect("a look 7 s behind the command");
    let found = with("n12-stable-without-audit", &[("nat.stream", &stream[..cut])]);
    let row = found.row("convergence_time", "");
    assert_eq!(row.estimate.value, None);
    assert!(row.notes.iter().any(|note| note.starts_with("Right-censored")), "{:?}", row.notes);
    // Nor does it where nobody says whose clock stamped the command.
    let found = with(
        "n12-stable-without-audit",
        &[("capture.toml", "dataplane = \"kube-proxy-iptables\"\nnode = \"node-a\"\n")],
    );
    assert!(found.row("convergence_time", "").missing.is_some());
    assert!(found.row("convergence_time", "if both are of one clock").estimate.value.is_some());
    // A prompt does.
    let typed = std::fs::read_to_string(fixture("n12-stable-without-audit").join("scale.txt")).expect("a transcript");
    let typed = typed.replacen("$ date", "root@node-a:~# date", 1);
    let found = with(
        "n12-stable-without-audit",
        &[("capture.toml", "dataplane = \"kube-proxy-iptables\"\nnode = \"node-a\"\n"), ("scale.txt", &typed)],
    );
    assert!(found.row("convergence_time", "").estimate.value.is_some());
}

#[test]
fn n14_rules_of_iptables_seen_through_nft() {
    let found = Loaded::of(&fixture("n14-iptables-nft-by-nft"));
    let [low, _, high] = found.estimate("convergence_time", "").map(|one| one.unwrap_or(-1));
    assert!(low >= 31_990 && high <= 34_010, "{low} {high}");
    let seen = found.run.episodes.iter().find(|one| one.endpoint.address == "10.0.0.2").expect("an episode");
    assert!(seen.dataplane.is_some());
    // Nobody states the dataplane.
    let found = with(
        "n14-iptables-nft-by-nft",
        &[("capture.toml", "node = \"node-a\"\nsame_host = [\"node-a\", \"operator\"]\n")],
    );
    assert_eq!(found.run.dataplane, "kube-proxy-iptables");
    assert!(found.estimate("convergence_time", "")[1].is_some());
}

#[test]
fn n16_every_kind_of_source_tells_the_dataplane() {
    let found = Loaded::of(&fixture("n16-cilium-by-log"));
    assert_eq!(found.run.dataplane, "cilium");
    let finding = found.run.findings.iter().find(|one| one.title.starts_with("dataplane taken")).expect("a finding");
    let paths: Vec<&str> = finding.evidence.iter().map(|one| one.path.as_str()).collect();
    assert!(paths.contains(&"cilium.log") && paths.contains(&"metrics.txt"), "{paths:?}");
}

#[test]
fn blocks_of_whole_seconds_bound_by_a_second_more() {
    let block = |second: usize, endpoints: &str| {
        format!(
            "# TIMESTAMP {}\n*nat\n-A KUBE-SERVICES -d 10.96.0.5/32 -p tcp -m comment --comment \"default/test:http cluster IP\" -m tcp --dport 80 -j KUBE-SVC-A\n{endpoints}COMMIT\n",
            1_795_686_075 + second
        )
    };
    let one = "-A KUBE-SVC-A -m comment --comment \"default/test:http -> 10.0.0.1:80\" -j KUBE-SEP-1\n";
    let two = format!("{one}-A KUBE-SVC-A -m comment --comment \"default/test:http -> 10.0.0.2:80\" -j KUBE-SEP-2\n");
    // Two blocks a second; the third second holds the change between its blocks.
    let text: String = (0..40).map(|half| block(half / 2, if half < 17 { one } else { &two })).collect();
    let found = with("n12-stable-without-audit", &[("nat.stream", &text)]);
    let [low, _, high] = found.estimate("convergence_time", "").map(|one| one.expect("an end") as f64 / 1e4);
    // The last old look was stamped in 83, the look behind the first new one in 84: read before 85.
    let command = 1_795_686_080.927_401 - 1_795_686_075.0;
    assert!((low - (8.0 - command)).abs() < 1e-3 && (high - (10.0 - command)).abs() < 1e-3, "{low} {high}");
}

/// Runs typed by hand on real clusters, with the truth that was taken beside them (`../shared/typed`, where it is at hand).
#[test]
fn stability_of_typed_runs_lies_within_its_bounds() {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("in the workspace").join("../shared/typed");
    for run in ["cilium-scale", "nftables-scale"] {
        let Ok(truth) = std::fs::read_to_string(place.join(run).join("truth/truth.json")) else {
            eprintln!("skipped: no folder ../shared/typed beside the workspace");
            return;
        };
        let truth: serde_json::Value = serde_json::from_str(&truth).expect("JSON");
        let found = Loaded::of(&place.join(run).join("typed"));
        let row = found.row("convergence_time", "");
        assert!(row.missing.is_none(), "{run}: {:?}", row.missing);
        let (low, high) = (row.estimate.low.expect("a lower end"), row.estimate.high.expect("an upper end"));
        let stable = truth["command_to_stable_s"].as_f64().expect("a number");
        assert!(low <= stable && stable <= high && high - low < 2.5, "{run}: {stable} in {low}..{high}");
        let dates = found.row("api_processing_time", "").estimate.value.expect("a value");
        assert!((dates - truth["typed_dates_difference_s"].as_f64().expect("a number")).abs() < 1e-4, "{run}: {dates}");
        let last = found.run.windows.tail.as_ref().expect("a tail").end;
        let action = found.run.windows.action.as_ref().expect("an action");
        assert!(last - action.start < 120_000_000_000, "{run}: a copy's modification time ends no capture");
    }
}
