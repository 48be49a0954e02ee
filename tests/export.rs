//! `syncline export`: the trace against the timeline, the series through real `promtool` and `prometheus` against `syncline query`.

#[allow(dead_code, reason = "its notes are for reports")]
mod hostile;
mod prometheus;
mod promtool;
mod url;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use prometheus::Prometheus;
use promtool::promtool;
use prost::Message;
use serde_json::Value as Json;
use syncline::write::perfetto::messages::{Argument, Data, EventType, Trace, TrackDescriptor};
use syncline_collector::bundle::{BundleOptions, bundle};
use url::escaped;

fn sample(run: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../sample-data").join(run)
}

fn bundled(folder: &Path, inputs: Vec<PathBuf>) -> String {
    let out = folder.join("run.bundle");
    bundle(&BundleOptions { inputs, out: out.clone(), ..BundleOptions::default() }).expect("bundled");
    out.to_string_lossy().into_owned()
}

fn syncline(arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_syncline")).args(arguments).output().expect("syncline starts");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"), "{output:?}");
    output
}

/// Exports and answers what standard error says.
fn export(run: &str, format: &str, out: &Path) -> String {
    let out = out.to_string_lossy();
    let output = syncline(&["export", run, "--format", format, "--out", &out]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).expect("UTF-8")
}

/// An event of a trace, its numbers resolved.
#[derive(Clone, Debug, Default)]
struct Told {
    kind: i32,
    track: u64,
    time: u64,
    category: String,
    arguments: BTreeMap<String, String>,
    flows: Vec<u64>,
    ends: Vec<u64>,
    value: Option<f64>,
}

/// What a reader makes of a trace.
#[derive(Default)]
struct Decoded {
    events: Vec<Told>,
    tracks: HashMap<u64, TrackDescriptor>,
    /// All texts of it.
    texts: BTreeSet<String>,
}

fn decoded(path: &Path) -> Decoded {
    let trace = Trace::decode(fs::read(path).expect("read").as_slice()).expect("a trace");
    let (mut names, mut categories, mut texts) = (HashMap::new(), HashMap::new(), HashMap::new());
    let mut read = Decoded::default();
    for (at, packet) in trace.packet.into_iter().enumerate() {
        assert_eq!(packet.sequence_flags, Some(if at == 0 { 3 } else { 2 }), "what is interned begins once");
        if let Some(interned) = packet.interned_data {
            for (all, known) in [
                (interned.debug_annotation_names, &mut names),
                (interned.event_categories, &mut categories),
                (interned.debug_annotation_string_values, &mut texts),
            ] {
                for one in all {
                    let name = one.name.expect("a text");
                    read.texts.insert(name.clone());
                    assert!(known.insert(one.iid.expect("a number"), name).is_none(), "a number is given once");
                }
            }
        }
        match packet.data.expect("a packet holds something") {
            Data::TrackDescriptor(track) => {
                let parent = track.parent_uuid.is_none_or(|parent| read.tracks.contains_key(&parent));
                assert!(parent, "its group stands ahead of a track: {track:?}");
                read.texts.extend(track.name.iter().chain(&track.description).cloned());
                assert!(read.tracks.insert(track.uuid.expect("a number"), track).is_none());
            }
            Data::TrackEvent(event) => {
                let track = event.track_uuid.expect("a track");
                assert!(read.tracks.contains_key(&track), "a track stands ahead of its events");
                let mut arguments = BTreeMap::new();
                for one in event.debug_annotations {
                    let value = match one.value.expect("a value") {
                        Argument::Bool(is) => is.to_string(),
                        Argument::Int(number) => number.to_string(),
                        Argument::Text(text) => text,
                        Argument::Interned(number) => texts[&number].clone(),
                    };
                    read.texts.insert(value.clone());
                    arguments.insert(names[&one.name_iid.expect("a name")].clone(), value);
                }
                read.texts.extend(event.name);
                read.events.push(Told {
                    kind: event.r#type.expect("a type"),
                    track,
                    time: packet.timestamp.expect("a time"),
                    category: event.category_iids.first().map(|iid| categories[iid].clone()).unwrap_or_default(),
                    arguments,
                    flows: event.flow_ids,
                    ends: event.terminating_flow_ids,
                    value: event.double_counter_value,
                });
            }
            Data::ClockSnapshot(_) => {}
        }
    }
    read
}

const BEGIN: i32 = EventType::SliceBegin as i32;
const END: i32 = EventType::SliceEnd as i32;

/// Slices of each track nest: what begins ends, in turn, no event ahead of the one before it in a stack.
fn assert_nested(read: &Decoded) {
    let mut by_track: BTreeMap<u64, Vec<&Told>> = BTreeMap::new();
    for event in read.events.iter().filter(|event| event.kind != EventType::Counter as i32) {
        by_track.entry(event.track).or_default().push(event);
    }
    for (track, mut events) in by_track {
        let name = &read.tracks[&track].name;
        assert!(events.is_sorted_by_key(|event| event.time), "a lane is filled in order: {name:?}");
        events.sort_by_key(|event| event.time);
        let mut depth = 0;
        for event in events {
            depth += i32::from(event.kind == BEGIN) - i32::from(event.kind == END);
            assert!(depth >= 0, "{name:?}: an end without a beginning");
        }
        assert_eq!(depth, 0, "{name:?}: a slice without an end");
    }
}

#[test]
fn every_event_of_the_timeline_is_in_the_trace() {
    for run in ["iptables-scale-up-1", "cilium-rolling-restart-1", "kube-proxy-recorded-scale-up"] {
        let folder = tempfile::tempdir().expect("a folder");
        let bundle = bundled(folder.path(), vec![sample(run)]);
        let path = folder.path().join("run.pftrace");
        let said = export(&bundle, "perfetto", &path);
        let timeline = syncline(&["timeline", &bundle, "--format", "json"]);
        let timeline: Json = serde_json::from_slice(&timeline.stdout).expect("JSON");
        let events = timeline["events"].as_array().expect("events");
        assert!(events.len() > 20, "{run}: {} events", events.len());
        assert!(said.contains(&format!("{} events, ", events.len())), "{run}: {said}");
        let fields = ["low", "high", "kind", "object", "what", "source", "record", "order_open"];
        let text = |value: &Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let mut expected: Vec<Vec<String>> =
            events.iter().map(|event| fields.iter().map(|field| text(&event[field])).collect()).collect();
        let read = decoded(&path);
        let of_timeline = |event: &&Told| event.category == "timeline";
        let argument = |event: &Told, field: &str| {
            let name = if ["low", "high"].contains(&field) { format!("{field}_ns") } else { field.to_owned() };
            event.arguments.get(&name).cloned().unwrap_or_default()
        };
        let mut found: Vec<Vec<String>> = read
            .events
            .iter()
            .filter(of_timeline)
            .map(|event| fields.iter().map(|field| argument(event, field)).collect())
            .collect();
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "{run}");
        for event in read.events.iter().filter(of_timeline) {
            assert!(
                event.arguments.contains_key("uncertainty_ns") && event.arguments.contains_key("clock"),
                "{event:?}"
            );
            let number = |name: &str| event.arguments[name].parse::<u64>().expect("a number");
            let within = (number("low_ns")..=number("high_ns")).contains(&event.time);
            assert!(within, "{run}: {event:?}");
        }
        // What stands beside them cites its line too.
        for event in read.events.iter().filter(|event| ["stage", "change", "sync"].contains(&event.category.as_str())) {
            assert!(event.arguments.contains_key("source") && event.arguments.contains_key("record"), "{event:?}");
        }
        assert_nested(&read);
        let begun: BTreeSet<u64> = read.events.iter().flat_map(|event| event.flows.iter().copied()).collect();
        let ended: BTreeSet<u64> = read.events.iter().flat_map(|event| event.ends.iter().copied()).collect();
        assert!(
            !ended.is_empty() && ended.is_subset(&begun),
            "{run}: arrows from commits to presence: {begun:?} {ended:?}"
        );
        let categories: BTreeSet<&str> = read.events.iter().map(|event| event.category.as_str()).collect();
        for wanted in ["phase", "change", "stage"] {
            assert!(categories.contains(wanted), "{run}: {categories:?}");
        }
        let counted = |name: &str| {
            let is = |uuid: &u64| read.tracks[uuid].name.as_deref().is_some_and(|own| own.starts_with(name));
            read.events.iter().filter(|event| event.value.is_some() && is(&event.track)).count()
        };
        assert!(counted("endpoints ready") > 1 && counted("endpoints in the dataplane") > 1, "{run}");
    }
}

#[test]
fn a_file_that_is_there_is_replaced_on_request_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let bundle = bundled(folder.path(), vec![sample("iptables-steady-1")]);
    let out = folder.path().join("run.txt");
    let path = out.to_string_lossy();
    export(&bundle, "openmetrics", &out);
    let first = fs::read(&out).expect("read");
    assert!(first.ends_with(b"# EOF\n"));
    let again = ["export", &bundle, "--format", "perfetto", "--out", &path];
    let refused = syncline(&again);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--force"), "{refused:?}");
    assert_eq!(fs::read(&out).expect("read"), first);
    assert!(syncline(&[&again[..], &["--force"]].concat()).status.success());
    let traced = fs::read(&out).expect("read");
    assert!(traced != first);
    assert!(syncline(&[&again[..], &["--force"]].concat()).status.success());
    assert_eq!(fs::read(&out).expect("read"), traced, "the same run, the same bytes");
    let left: Vec<_> =
        fs::read_dir(folder.path()).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("partial")), "{left:?}");
    for wrong in [&["export", "nothing-there", "--format", "perfetto", "--out", "x"][..], &["export", &bundle]] {
        assert_eq!(syncline(wrong).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn what_a_stranger_wrote_is_text_in_a_trace_and_data_in_a_label() {
    let folder = tempfile::tempdir().expect("a folder");
    for run in ["cilium-pod-crash-1", "iptables-pod-crash-1"] {
        let folder = tempfile::tempdir_in(folder.path()).expect("a folder");
        let bundle = bundled(folder.path(), vec![hostile::capture(folder.path(), run)]);
        let trace = folder.path().join("run.pftrace");
        let said = export(&bundle, "perfetto", &trace);
        let series = folder.path().join("run.txt");
        let said = said + &export(&bundle, "openmetrics", &series);
        let read = decoded(&trace);
        assert_nested(&read);
        let texts: Vec<&str> = read.texts.iter().map(String::as_str).collect();
        let complaints =
            [hostile::complaints("stderr", &said), hostile::complaints("trace", &texts.join("\n"))].concat();
        assert!(complaints.is_empty(), "{}", complaints.join("\n"));
        let text = fs::read_to_string(&series).expect("UTF-8");
        assert!(text.ends_with("# EOF\n"));
        if promtool() {
            create_blocks(folder.path(), "run.txt");
        }
    }
}

fn create_blocks(folder: &Path, series: &str) {
    let made = Command::new("promtool")
        .args(["tsdb", "create-blocks-from", "openmetrics", series, "data"])
        .current_dir(folder)
        .output()
        .expect("promtool starts");
    assert!(made.status.success(), "{made:?}");
}

/// Values of an instant query by their labels.
fn values(answer: &str) -> BTreeMap<String, f64> {
    let answer: Json = serde_json::from_str(answer).expect("JSON");
    let result = answer["data"]["result"].as_array().unwrap_or_else(|| panic!("no result: {answer}"));
    let value = |one: &Json| one["value"][1].as_str().expect("a value").parse().expect("a number");
    result.iter().map(|one| (one["metric"].to_string(), value(one))).collect()
}

/// The same but for the last digits, in which summation may differ.
fn same(found: &BTreeMap<String, f64>, expected: &BTreeMap<String, f64>) -> bool {
    let near = |a: f64, b: f64| {
        a.to_bits() == b.to_bits() || a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-9 * b.abs()
    };
    found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| a.0 == b.0 && near(*a.1, *b.1))
}

/// Blocks made of the export answer as `query` does over the capture: every series, and what is computed of them.
#[test]
fn a_prometheus_of_the_export_answers_as_query_does() {
    if !promtool() {
        return;
    }
    for run in ["iptables-scale-up-1", "cilium-scale-up-1"] {
        let folder = tempfile::tempdir().expect("a folder");
        let bundle = bundled(folder.path(), vec![sample(run)]);
        let said = export(&bundle, "openmetrics", &folder.path().join("run.txt"));
        // The times of the samples, as they were written.
        let text = fs::read_to_string(folder.path().join("run.txt")).expect("UTF-8");
        let times = text.lines().filter(|line| !line.starts_with('#'));
        let times: Vec<f64> =
            times.map(|line| line.rsplit(' ').next().expect("a time").parse().expect("a time")).collect();
        assert!(said.contains(&format!("{} samples of ", times.len())), "{said}");
        let (first, last) =
            times.iter().fold((f64::MAX, f64::MIN), |(low, high), time| (low.min(*time), high.max(*time)));
        create_blocks(folder.path(), "run.txt");
        let Some(server) = Prometheus::over(folder.path()) else { return };
        let mut compared = 0;
        for part in [0.05, 0.3, 0.55, 0.8, 1.0] {
            // No sample lies on the edge of a window, on which Debian's 2.42 and later versions differ.
            let time = format!("{:.3}", (first + (last - first) * part).floor() + 0.9137);
            for expression in [
                "{__name__=~\".+\"}",
                "count({__name__=~\".+\"}) by (__name__)",
                "timestamp(process_cpu_seconds_total)",
                "sum by (job, instance) (rate(process_cpu_seconds_total[20s]))",
                "histogram_quantile(0.95, sum by (le) (rate(kubeproxy_sync_proxy_rules_duration_seconds_bucket[30s])))",
                "max_over_time(go_goroutines[30s])",
                "count_over_time(process_cpu_seconds_total[25s])",
            ] {
                let path = format!("/api/v1/query?query={}&time={time}", escaped(expression));
                let (status, theirs) = server.get(&path).expect("an answer");
                assert_eq!(status, 200, "{expression}: {theirs}");
                let ours = syncline(&["query", &bundle, expression, "--time", &time, "--format", "json"]);
                let ours = String::from_utf8(ours.stdout).expect("UTF-8");
                let (theirs, ours) = (values(&theirs), values(&ours));
                compared += theirs.len();
                let differ: Vec<_> =
                    ours.iter().filter(|(labels, value)| theirs.get(*labels) != Some(value)).take(3).collect();
                assert!(
                    same(&theirs, &ours),
                    "{run}: {expression} at {time}: {} and {} values, {differ:?}\n{said}",
                    theirs.len(),
                    ours.len()
                );
            }
        }
        assert!(compared > 500, "{run}: {compared} values");
        eprintln!("{run}: {compared} values are the same");
    }
}
