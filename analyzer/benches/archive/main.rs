//! What an archive costs: so many runs at first, again, with one more, and what is read from it.
//!
//! `cargo bench -p syncline --bench archive [-- RUNS]` bundles the sample runs, varies them until there are RUNS (1,000 unless given) and prints for each
//! command wall time, CPU time and the most memory that it had; then how much two jobs are faster than one, over 160 of them,
//! and `report` of 16 bundles on two threads against one. What belongs together is measured in one run.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod variation;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use syncline_collector::bundle::{BundleOptions, bundle};

/// What a command took: wall time and CPU time, s, and its peak of memory, MB.
struct Cost {
    wall: f64,
    cpu: f64,
    peak: u64,
}

/// Runs `syncline` (on so many threads, where it is said), and looks at it every few milliseconds.
fn cost(arguments: &[&str], threads: Option<usize>) -> Cost {
    let begun = Instant::now();
    let mut command = Command::new(env!("CARGO_BIN_EXE_syncline"));
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    if let Some(threads) = threads {
        let threads = threads.to_string();
        command.env("RAYON_NUM_THREADS", &threads).env("POLARS_MAX_THREADS", &threads);
    }
    let mut child = command.spawn().expect("syncline starts");
    let (mut cpu, mut peak) = (0.0, 0);
    let place = PathBuf::from(format!("/proc/{}", child.id()));
    loop {
        // A process that has ended, and was not waited for, still tells its CPU time.
        let ended = fs::read_to_string(place.join("stat")).ok().map(|stat| {
            let behind: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
            let ticks = [11, 12].iter().filter_map(|at| behind.get(*at)?.parse::<f64>().ok()).sum::<f64>();
            cpu = ticks / 100.0;
            behind.first() == Some(&"Z")
        });
        let status = fs::read_to_string(place.join("status")).unwrap_or_default();
        let high = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let high = high.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
        peak = peak.max(high.unwrap_or(0) >> 10);
        if ended != Some(false) {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let status = child.wait().expect("it ends");
    assert!(status.code().is_some_and(|code| code < 2), "{arguments:?}: {status}");
    Cost { wall: begun.elapsed().as_secs_f64(), cpu, peak }
}

fn say(what: &str, runs: usize, cost: &Cost) {
    let each = cost.cpu / runs as f64;
    println!("{what:<44} {:>8.2} s {:>8.2} s CPU {each:>8.4} a run {:>6} MB", cost.wall, cost.cpu, cost.peak);
}

/// The catalogue with another limit in one of its rows.
fn other_limit() -> anyhow::Result<String> {
    let printed = Command::new(env!("CARGO_BIN_EXE_syncline")).args(["expectations", "--format", "toml"]).output()?;
    let mut catalogue: toml::Table = String::from_utf8(printed.stdout)?.parse()?;
    let rows = catalogue.get_mut("row").and_then(toml::Value::as_array_mut);
    let row =
        rows.and_then(|rows| rows.iter_mut().find(|row| row.get("id").and_then(toml::Value::as_str) == Some("T5.1")));
    let limit = row.and_then(|row| row.get_mut("cilium")?.get_mut("high")).expect("a limit of T5.1");
    *limit = toml::Value::Float(0.75);
    Ok(toml::to_string(&catalogue)?)
}

fn main() -> anyhow::Result<()> {
    let runs: usize = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(1_000);
    let scratch = tempfile::tempdir()?;
    let path = |name: &str| scratch.path().join(name).to_string_lossy().into_owned();
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sample-data");
    let mut bundles = Vec::new();
    let mut folders: Vec<PathBuf> = fs::read_dir(samples)?.flatten().map(|entry| entry.path()).collect();
    folders.retain(|folder| folder.is_dir());
    folders.sort();
    for folder in folders {
        let out = scratch.path().join("bundled").join(folder.file_name().unwrap_or_default());
        fs::create_dir_all(scratch.path().join("bundled"))?;
        bundle(&BundleOptions { inputs: vec![folder], out: out.clone(), ..BundleOptions::default() })?;
        bundles.push(out);
    }
    let varied = |root: &str, from: usize, to: usize| -> anyhow::Result<()> {
        (from..to).try_for_each(|number| {
            let of = &bundles[number % bundles.len()];
            let name = format!("{}-{number:05}", of.file_name().unwrap_or_default().to_string_lossy());
            variation::vary(of, &scratch.path().join(root).join(name), number as i64)
        })
    };
    varied("runs", 0, runs)?;
    let (root, archive) = (path("runs"), path("archive"));
    println!("{runs} runs; {} threads", syncline::result::work::cores());
    say("archive, first", runs, &cost(&["archive", &root, "--out", &archive, "--memory", "1GiB"], None));
    say("archive, nothing changed", runs, &cost(&["archive", &root, "--out", &archive], None));
    varied("runs", runs, runs + 1)?;
    say("archive, one run more", 1, &cost(&["archive", &root, "--out", &archive], None));
    let report = path("report");
    say("report, all formats", runs, &cost(&["report", &archive, "--out", &report], None));
    say(
        "report, html and md",
        runs,
        &cost(&["report", &archive, "--out", &report, "--force", "--formats", "html,md"], None),
    );
    say("check", runs, &cost(&["check", &archive], None));
    let other = path("other.toml");
    fs::write(&other, other_limit()?)?;
    say("check, catalogue changed", runs, &cost(&["check", &archive, "--expectations", &other], None));
    let judged_anew = ["archive", &root, "--out", &archive, "--expectations", &other];
    say("archive, catalogue changed", runs, &cost(&judged_anew, None));
    let (a, b) = ("cilium < '1.19.2'", "cilium >= '1.19.2'");
    say("compare", runs, &cost(&["compare", &archive, "--against", &archive, "--where-a", a, "--where-b", b], None));

    let some = runs.min(160);
    varied("some", 0, some)?;
    let root = path("some");
    let jobs = |jobs: &str, threads: usize| {
        cost(&["archive", &root, "--out", &path(&format!("jobs-{jobs}")), "--jobs", jobs], Some(threads))
    };
    let (one, two) = (jobs("1", 1), jobs("2", 1));
    say("archive of some, one job", some, &one);
    say("archive of some, two jobs", some, &two);
    println!("two jobs are {:.2} times as fast as one", one.wall / two.wall);
    let few: Vec<String> = (0..16.min(some))
        .map(|number| {
            let of = &bundles[number % bundles.len()];
            let name = format!("{}-{number:05}", of.file_name().unwrap_or_default().to_string_lossy());
            scratch.path().join("some").join(name).to_string_lossy().into_owned()
        })
        .collect();
    let of_few = |out: &str| {
        let mut arguments = vec!["report"];
        arguments.extend(few.iter().map(String::as_str));
        arguments.extend(["--out", out]);
        arguments.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    for threads in [1, 2] {
        let arguments = of_few(&path(&format!("few-{threads}")));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        say(
            &format!("report of {} bundles, {threads} threads", few.len()),
            few.len(),
            &cost(&arguments, Some(threads)),
        );
    }
    Ok(())
}
