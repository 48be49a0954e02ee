//! Prometheus TSDBs through a bundle: committed fixtures, what Debian's `promtool` and `prometheus` write, and damage.
//!
//! Tests that need these programs say so and pass where they are absent. The fixtures are what they (2.42) left behind:
//! `block` by `promtool tsdb create-blocks-from openmetrics`, `deleted` the same after samples were deleted through the API,
//! `snapshot` and `head` by remote write; `BLESS=1 cargo test -p syncline-collector --test tsdb` makes all but the first again.

#[path = "tsdb/bundled.rs"]
mod bundled;
#[path = "tsdb/prometheus.rs"]
mod prometheus;
mod promtool;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bundled::{Bundled, Points, assert_floats, read};
use promtool::promtool;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/prometheus-tsdb")
}

/// All folders below `folder` that hold a block.
fn blocks(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    if folder.join("index").is_file() {
        found.push(folder.to_owned());
    }
    for path in paths.iter().filter(|path| path.is_dir()) {
        blocks(path, found);
    }
}

/// What Prometheus wrote to `meta.json` about the samples of a block.
fn samples_of(block: &Path) -> u64 {
    let text = fs::read_to_string(block.join("meta.json")).expect("meta.json");
    let meta: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    meta["stats"]["numSamples"].as_u64().expect("numSamples")
}

fn shared() -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    ["../shared", "../../shared"].iter().map(|place| workspace.join(place)).find(|path| path.is_dir())
}

/// A small generator (xorshift), so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("copied");
        }
    }
}

#[test]
fn every_block_at_hand_is_read_whole() {
    let mut found = Vec::new();
    blocks(&fixtures(), &mut found);
    assert!(found.len() >= 2, "the fixtures hold blocks");
    match shared() {
        Some(shared) => blocks(&shared.join("corpus/tsdb_block"), &mut found),
        None => eprintln!("skipped: no folder ../shared beside the workspace"),
    }
    for block in found {
        let all = read(std::slice::from_ref(&block));
        assert_eq!(all.rejects, Vec::<String>::new(), "{}", block.display());
        assert_eq!(
            all.records("prometheus-tsdb") + all.lost("deleted-samples"),
            samples_of(&block),
            "{}",
            block.display()
        );
    }
}

#[test]
fn a_block_is_the_same_in_any_wrapping() {
    let block = fixtures().join("snapshot");
    let plain = read(std::slice::from_ref(&block));
    let folder = tempfile::tempdir().expect("a folder");
    for (archive, flag) in [("x.tar", "-cf"), ("x.tar.gz", "-czf")] {
        let archive = folder.path().join(archive);
        let made = Command::new("tar").arg(flag).arg(&archive).arg("-C").arg(fixtures()).arg("snapshot").status();
        assert!(made.expect("tar runs").success());
        let packed = read(&[archive]);
        assert_floats(&packed.floats, &plain.floats, flag);
        assert!(packed.histograms == plain.histograms, "{flag}");
        assert_eq!(packed.rejects, Vec::<String>::new());
    }
    // Each file compressed by itself.
    let each = folder.path().join("each");
    copy(&block, &each);
    let mut found = Vec::new();
    blocks(&each, &mut found);
    for file in ["index", "chunks/000001"].map(|name| found[0].join(name)) {
        let packed = zstd::encode_all(fs::read(&file).expect("read").as_slice(), 3).expect("zstd");
        fs::write(file.with_extension("zst"), packed).expect("written");
        fs::remove_file(file).expect("removed");
    }
    let packed = read(&[each]);
    assert_floats(&packed.floats, &plain.floats, "each file compressed");
    assert!(packed.histograms == plain.histograms, "each file compressed");
    assert!(plain.floats.len() > 3 && plain.histograms.len() > 1);
}

#[test]
fn every_file_is_a_source_with_its_hash() {
    let all = read(&[fixtures().join("snapshot")]);
    let members: Vec<_> = all.manifest.sources.iter().filter(|one| one.kind == "prometheus-tsdb-file").collect();
    let names: Vec<&str> = members.iter().filter_map(|one| one.path.split('/').next_back()).collect();
    assert_eq!(names, ["index", "meta.json", "tombstones", "000001"]);
    for one in members {
        let bytes = fs::read(fixtures().join("snapshot").join(&one.path)).expect("the file");
        assert_eq!((one.bytes, one.sha256.len()), (bytes.len() as u64, 64), "{}", one.path);
    }
    assert_eq!(all.manifest.sources.iter().filter(|one| one.kind == "prometheus-tsdb").count(), 1);
}

#[test]
fn the_fixtures_hold_what_was_written() {
    let expected = prometheus::written();
    for name in ["snapshot", "head"] {
        let all = read(&[fixtures().join(name)]);
        prometheus::same(&all, &expected, name);
        // A snapshot of the head leaves out what was deleted, the log has it still.
        assert_eq!(all.lost("deleted-samples") > 0, name == "head", "{name}");
    }
}

/// Of what a damaged copy gives, nothing may differ from the whole one but by absence.
fn assert_part(damaged: &Bundled, whole: &Bundled, what: &str) {
    for (series, points) in &damaged.floats {
        let all: BTreeMap<i64, u64> = whole.floats.get(series).cloned().unwrap_or_default().into_iter().collect();
        for (time, bits) in points {
            assert_eq!(all.get(time), Some(bits), "{what}: {series} at {time}");
        }
    }
    for (series, points) in &damaged.histograms {
        for point in points {
            assert!(whole.histograms[series].contains(point), "{what}: {series}: {point:?}");
        }
    }
}

fn count(points: &BTreeMap<String, Points>) -> usize {
    points.values().map(Vec::len).sum()
}

#[test]
fn damage_is_named_and_the_rest_is_kept() {
    let mut dice = Dice(0x5eed_0001);
    // Deletions are left out: a damaged tombstone brings samples back.
    for (root, files, rounds) in [
        ("block", vec!["index", "chunks/000001", "meta.json"], 40),
        ("head", vec!["wal/00000000", "chunks_head/000001"], 20),
    ] {
        let mut found = Vec::new();
        blocks(&fixtures().join(root), &mut found);
        let folder = found.first().cloned().unwrap_or_else(|| fixtures().join(root));
        let whole = read(std::slice::from_ref(&folder));
        assert!(count(&whole.floats) > 100, "{root}");
        let mut kept = 0;
        for file in &files {
            for round in 0..rounds {
                let place = tempfile::tempdir().expect("a folder");
                copy(&folder, place.path());
                let mut bytes = fs::read(folder.join(file)).expect("a file");
                // The used part: segments are padded with zeros.
                let used = bytes.iter().rposition(|byte| *byte != 0).map_or(1, |last| last + 1);
                let at = dice.below(used);
                let what = format!("{root}/{file}, round {round}, byte {at}");
                if round % 4 == 3 {
                    bytes.truncate(at);
                } else {
                    bytes[at] ^= 1 << dice.below(8);
                }
                fs::write(place.path().join(file), bytes).expect("written");
                let damaged = read(&[place.path().to_owned()]);
                let deleted_is_back = root == "head" && damaged.lost("deleted-samples") < whole.lost("deleted-samples");
                if !deleted_is_back {
                    assert_part(&damaged, &whole, &what);
                }
                let (now, before) = (count(&damaged.floats), count(&whole.floats));
                let told = !damaged.rejects.is_empty() || !damaged.manifest.losses.is_empty();
                assert!(now == before || told, "{what}: {now} of {before} and not a word");
                kept += usize::from(now * 2 > before);
            }
        }
        assert!(kept * 2 > rounds * files.len(), "{root}: a small damage leaves most: {kept} times");
    }
}

#[test]
fn a_damaged_chunk_is_refused_by_its_place() {
    let mut found = Vec::new();
    blocks(&fixtures().join("block"), &mut found);
    let place = tempfile::tempdir().expect("a folder");
    copy(&found[0], place.path());
    let file = place.path().join("chunks/000001");
    let mut bytes = fs::read(&file).expect("a file");
    bytes[20] ^= 1;
    fs::write(&file, bytes).expect("written");
    let (damaged, whole) = (read(&[place.path().to_owned()]), read(&found[..1]));
    assert_eq!(damaged.rejects, ["8: chunks/000001: expected a chunk that fits its checksum"]);
    assert!(count(&damaged.floats) < count(&whole.floats));
}

#[test]
fn full_chunks_of_the_head_are_read_where_the_log_ends_early() {
    let place = tempfile::tempdir().expect("a folder");
    copy(&fixtures().join("head"), place.path());
    let log = place.path().join("wal/00000000");
    let mut bytes = fs::read(&log).expect("a file");
    // The series stand at its beginning.
    bytes.truncate(bytes.len() / 4);
    fs::write(&log, bytes).expect("written");
    let both = read(&[place.path().to_owned()]);
    fs::remove_file(place.path().join("chunks_head/000001")).expect("removed");
    let (log_only, whole) = (read(&[place.path().to_owned()]), read(&[fixtures().join("head")]));
    assert_part(&both, &whole, "cut log");
    let histograms = |all: &Bundled| all.histograms.values().map(Vec::len).sum::<usize>();
    assert!(count(&both.floats) >= count(&log_only.floats) + 200, "{}", count(&both.floats));
    assert!(histograms(&both) > histograms(&log_only), "{}", histograms(&both));
    assert_eq!(log_only.rejects.len(), 1, "the cut is named: {:?}", log_only.rejects);
}

#[test]
fn damaged_symbols_are_made_again() {
    let mut found = Vec::new();
    blocks(&fixtures().join("block"), &mut found);
    let place = tempfile::tempdir().expect("a folder");
    copy(&found[0], place.path());
    let file = place.path().join("index");
    let mut bytes = fs::read(&file).expect("a file");
    // The third letter of the first symbols.
    bytes[16] ^= 1;
    fs::write(&file, bytes).expect("written");
    let (damaged, whole) = (read(&[place.path().to_owned()]), read(&found[..1]));
    assert_floats(&damaged.floats, &whole.floats, "symbols");
    assert_eq!(damaged.rejects.len(), 1, "{:?}", damaged.rejects);
    assert!(damaged.rejects[0].contains("made again"), "{:?}", damaged.rejects);
}

/// Name and labels of a series as [`read`] writes them.
fn dissected(series: &str) -> (&str, BTreeMap<String, String>) {
    let (name, labels) = series.split_at(series.find('{').expect("labels"));
    (name, serde_json::from_str(labels).expect("JSON"))
}

/// The value that a query at `time` sees.
fn seen(points: &Points, time: i64) -> Option<f64> {
    let newest = points[..points.partition_point(|(at, _)| *at <= time)].last()?;
    let value = f64::from_bits(newest.1);
    (newest.0 > time - 300_000 && newest.1 != 0x7ff0_0000_0000_0002).then_some(value)
}

#[test]
fn a_snapshot_agrees_with_the_other_witnesses_of_its_run() {
    let Some(shared) = shared() else { return eprintln!("skipped: no folder ../shared beside the workspace") };
    let (mut answers, mut scrapes) = (0, 0);
    for run in ["iptables-scale-up-1", "cilium-pod-crash-1", "nftables-steady-1"] {
        let folder = shared.join("captures").join(run).join("prometheus");
        let stored = read(&[folder.join("tsdb-snapshot.tar.zst")]);
        assert_eq!(stored.rejects, Vec::<String>::new(), "{run}");
        assert!(count(&stored.floats) > 100_000, "{run}");
        // The API answers from the same database.
        for (series, points) in read(&[folder.join("query_range")]).floats {
            let Some(known) = stored.floats.get(&series) else { continue };
            for (time, bits) in points {
                // What was scraped after the snapshot is not in it.
                if time > known.last().map_or(0, |last| last.0) {
                    continue;
                }
                let value = f64::from_bits(bits);
                let found = seen(known, time);
                assert!(
                    found == Some(value) || value.is_nan() && found.is_some_and(f64::is_nan),
                    "{run}: {series} at {time}: the API has {value}, the database {found:?}"
                );
                answers += 1;
            }
        }
        // A stream of scrapes read the same counters a moment earlier or later.
        let (stream, job) = if run.starts_with("cilium") {
            ("cilium-agent.metrics.stream.zst", "cilium-agent")
        } else {
            ("kube-proxy.metrics.stream.zst", "kube-proxy")
        };
        let scraped = read(&[folder.join(stream)]).floats;
        for (series, points) in &stored.floats {
            let (name, mut labels) = dissected(series);
            if labels.get("job").map(String::as_str) != Some(job)
                || !(name.ends_with("_count") || name.ends_with("_bucket"))
            {
                continue;
            }
            ["job", "instance", "node"].iter().for_each(|label| drop(labels.remove(*label)));
            let bare = format!("{name}{}", serde_json::to_string(&labels).expect("JSON"));
            let Some(others) = scraped.get(&bare) else { continue };
            let value = |(_, bits): &(i64, u64)| Some(f64::from_bits(*bits)).filter(|value| !value.is_nan());
            for point in points {
                let near = others.partition_point(|(time, _)| *time <= point.0);
                let (before, after) = (near.checked_sub(2).and_then(|at| others.get(at)), others.get(near + 1));
                let bounds = (before.and_then(value), value(point), after.and_then(value));
                let (Some(low), Some(found), Some(high)) = bounds else { continue };
                // Where the process began anew in between nothing can be said.
                assert!(low > high || (low..=high).contains(&found), "{run}: {series} at {}: {bounds:?}", point.0);
                scrapes += 1;
            }
        }
    }
    assert!(answers > 10_000 && scrapes > 10_000, "{answers} answers, {scrapes} scrapes compared");
}

#[test]
fn promtool_makes_blocks() {
    if !promtool() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut dice = Dice(7);
    let mut expected: BTreeMap<String, Points> = BTreeMap::new();
    let mut text = String::from("# TYPE m gauge\n");
    for series in 0..12 {
        let name = format!("m{{\"a\":\"x \\\\\\\"{series}\",\"z\":\"ü\"}}");
        let mut points = Points::new();
        // Five hours: three blocks.
        for step in 0..400 {
            let seconds = 1_700_000_000 + step * 45 + series;
            let value = [0.0, -1.5, f64::INFINITY, 1e300, dice.below(1_000_000) as f64 / 7.0][dice.below(5)];
            points.push((seconds * 1000, value.to_bits()));
            text += &format!("m{{z=\"ü\",a=\"x \\\\\\\"{series}\"}} {value} {seconds}\n").replace("inf", "+Inf");
        }
        expected.insert(name, points);
    }
    text += "# EOF\n";
    let input = folder.path().join("input.om");
    fs::write(&input, text).expect("written");
    let out = folder.path().join("data");
    let made = Command::new("promtool")
        .args(["tsdb", "create-blocks-from", "openmetrics"])
        .args([&input, &out])
        .output()
        .expect("promtool runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let all = read(std::slice::from_ref(&out));
    assert_eq!(all.rejects, Vec::<String>::new());
    assert!(all.manifest.sources.iter().filter(|one| one.kind == "prometheus-tsdb").count() >= 3, "several blocks");
    assert_floats(&all.floats, &expected, "blocks");
    // The same as promtool says itself.
    fs::create_dir(out.join("wal")).expect("a folder, which promtool wants");
    let dump = Command::new("promtool").args(["tsdb", "dump"]).arg(&out).output().expect("promtool runs");
    let file = folder.path().join("dump.txt");
    fs::write(&file, dump.stdout).expect("written");
    assert_floats(&read(&[file]).floats, &expected, "dump");
}

#[test]
fn what_was_deleted_in_a_block_is_left_out() {
    let times = (1_700_000_150_000, 1_700_000_299_000);
    let bless = std::env::var_os("BLESS").is_some();
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    copy(&fixtures().join("block"), &data);
    let fresh = prometheus::delete_in(folder.path(), &data, "room_celsius", times);
    if bless && fresh {
        for part in ["wal", "chunks_head", "lock", "queries.active"].map(|name| data.join(name)) {
            let _ = fs::remove_dir_all(&part).or_else(|_| fs::remove_file(&part));
        }
        copy(&data, &fixtures().join("deleted"));
    }
    let whole = read(&[fixtures().join("block")]);
    for data in fresh.then_some(data).into_iter().chain([fixtures().join("deleted")]) {
        let all = read(&[data]);
        assert_eq!(all.rejects, Vec::<String>::new());
        let mut expected = whole.floats.clone();
        expected.get_mut("room_celsius{}").expect("the series").retain(|(time, _)| !(times.0..=times.1).contains(time));
        assert_floats(&all.floats, &expected, "deleted");
        assert_eq!(all.lost("deleted-samples"), 10);
    }
}

#[test]
fn prometheus_writes_what_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(left) = prometheus::run(folder.path()) else { return };
    let expected = prometheus::written();
    let all =
        [("snapshot", &left.snapshot), ("running", &left.running), ("head", &left.head), ("stopped", &left.stopped)];
    for (name, path) in all {
        let all = read(std::slice::from_ref(path));
        prometheus::same(&all, &expected, name);
    }
    // The API gives the bounds of buckets: the schema is told from them.
    let (answered, stored) = (read(std::slice::from_ref(&left.answers)), read(std::slice::from_ref(&left.snapshot)));
    assert_eq!(answered.rejects, Vec::<String>::new());
    for (series, points) in &stored.histograms {
        let present: Vec<_> = points.iter().filter(|point| !f64::from_bits(point.2).is_nan()).collect();
        // Prometheus 2.42 gives the last float histogram once more at the time of its staleness marker.
        let found: Vec<_> = answered.histograms[series].iter().take(present.len()).collect();
        assert_eq!(found.len(), present.len(), "{series}");
        for (a, b) in found.into_iter().zip(present) {
            assert_eq!(a, b, "{series}");
        }
    }
    if std::env::var_os("BLESS").is_some() {
        for (name, path) in [("snapshot", &left.snapshot), ("head", &left.head)] {
            let target = fixtures().join(name);
            let _ = fs::remove_dir_all(&target);
            copy(path, &target);
            trim(&target);
        }
    }
}

/// Cuts off the zeros that running Prometheus makes room with.
fn trim(folder: &Path) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            trim(&path);
        } else if path.components().any(|part| part.as_os_str() == "chunks_head" || part.as_os_str() == "wal") {
            let bytes = fs::read(&path).expect("read");
            let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            fs::write(&path, &bytes[..bytes.len().min(used + 64)]).expect("written");
        }
    }
}
