//! What the collector costs, on the captures of `sample-data`: `cargo bench -p syncline-collector [-- PART...]`.
//!
//! - `formats`: parse speed of each format on one core, MB/s and records/s, of the uncompressed input; names of formats
//!   (`iptables-list nft-text`) for those alone.
//! - `audit`: audit JSON lines to Parquet by the built program on two threads, checksum included, against DuckDB's
//!   `COPY (SELECT … FROM read_json(…))` of the same file in the same run, with its columns given (those of our
//!   table `audit`; those of the bodies too, which our other tables hold) and inferred; time and peak memory. Needs a `python3` (or `$PYTHON`) with the package `duckdb`, else only ours is shown.
//! - `size`: each sample run's bundle against its captures under `zstd -9 --long=27`, and by table.
//! - `memory`: peak memory of the program over a capture of `$SYNCLINE_BENCH_GB` GB (2 where it is not set) made by
//!   repeating real ones, at several values of `--memory`.
//! - `instructions`: what `bundle` executes for each sample run, counted by `valgrind --tool=callgrind`, which nothing else that the machine
//!   does disturbs; with `$SYNCLINE_BENCH_OTHER`, a program that was built before, against that one.
//! - `open`: the check of a bundle ahead of reading it (hashes, footers, headers of pages) against its hashes alone and against
//!   reading all rows.
//!
//! Machines are noisy: compare by ratio within one run.

#![allow(clippy::print_stdout, reason = "a bench prints its figures")]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use sha2::{Digest, Sha256};
use syncline_collector::form::{Batch, Chunk, Context, Format, Head, Sniff};
use syncline_collector::input::Cutter;
use syncline_collector::parse::{FORMATS, read};
use syncline_collector::write::integrity;

type Outcome = Result<(), Box<dyn std::error::Error>>;

const PROGRAM: &str = env!("CARGO_BIN_EXE_syncline-collector");
/// Bytes of input for the comparison with DuckDB.
const AUDIT_BYTES: u64 = 400 << 20;

fn main() -> Outcome {
    let parts: Vec<String> = std::env::args().skip(1).filter(|one| !one.starts_with('-')).collect();
    let wanted = |name: &str| parts.is_empty() || parts.iter().any(|one| one == name);
    let runs = sample_runs()?;
    let scratch = tempfile::tempdir()?;
    let named = |format: &&Format| parts.iter().any(|one| one == format.kind);
    let few: Vec<&'static Format> = FORMATS.iter().copied().filter(named).collect();
    if wanted("formats") || !few.is_empty() {
        formats(&runs, if few.is_empty() { FORMATS } else { &few })?;
    }
    if wanted("audit") {
        audit(&runs, scratch.path())?;
    }
    if wanted("size") {
        size(&runs, scratch.path())?;
    }
    if wanted("memory") {
        memory(&runs, scratch.path())?;
    }
    if wanted("instructions") {
        instructions(&runs, scratch.path())?;
    }
    if wanted("open") {
        open(&runs, scratch.path())?;
    }
    Ok(())
}

fn sample_runs() -> std::io::Result<Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sample-data");
    let mut runs: Vec<PathBuf> =
        fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir()).collect();
    runs.sort();
    Ok(runs)
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() { files(&path, found)? } else { found.push(path) }
    }
    Ok(())
}

fn plain(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path)?;
    if path.extension().is_some_and(|ending| ending == "zst") {
        // Some captures were still being written when they were copied: what is there counts.
        let _ = zstd::Decoder::new(file)?.read_to_end(&mut bytes);
    } else {
        (&file).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

fn recognise(path: &Path, bytes: &[u8]) -> Option<&'static Format> {
    let name = path.to_string_lossy().trim_end_matches(".zst").to_owned();
    let head = Head { path: &name, bytes: &bytes[..bytes.len().min(64 << 10)], whole: bytes.len() <= 64 << 10 };
    let answer = |wanted: Sniff| FORMATS.iter().copied().find(|format| (format.sniff)(&head) == wanted);
    answer(Sniff::Yes).or_else(|| answer(Sniff::Perhaps))
}

/// How often a short sample is parsed where no run has a file of the format.
const AGAIN: usize = 2_000;

/// The shortest of several goes, and what they gave: whatever else the machine does only lengthens one.
fn best_of(go: impl Fn() -> u64) -> (Duration, u64) {
    let timed = |_| {
        let start = Instant::now();
        let found = std::hint::black_box(go());
        (start.elapsed(), found)
    };
    (0..7).map(timed).min().unwrap_or_default()
}

fn formats(runs: &[PathBuf], chosen: &[&'static Format]) -> Outcome {
    println!(
        "parse speed on one core, sample-data, rows included, Parquet not; `*`: its own short sample again and again"
    );
    println!("{:<22} {:>8} {:>10} {:>12}", "FORMAT", "MB", "MB/s", "RECORDS/s");
    let mut found = Vec::new();
    for run in runs {
        files(run, &mut found)?;
    }
    let kinds: Vec<Option<&str>> = found
        .iter()
        .map(|path| Ok(recognise(path, &plain(path)?).map(|format| format.kind)))
        .collect::<std::io::Result<_>>()?;
    for format in chosen.iter().copied() {
        let (mut bytes, mut records, mut spent) = (0usize, 0u64, Duration::ZERO);
        let context_of = |path: &Path| {
            Arc::new(Context {
                source: 0,
                path: path.to_string_lossy().into_owned(),
                clock: "none".into(),
                node: "node".into(),
                year: None,
                utc_offset: None,
                mtime: None,
            })
        };
        for (path, _) in found.iter().zip(&kinds).filter(|(_, kind)| **kind == Some(format.kind)) {
            let content = plain(path)?;
            let context = context_of(path);
            bytes += content.len();
            let mut nothing = std::io::empty();
            let mut cutter = Cutter::new(content, &mut nothing, format.cut, 64 << 20);
            while let Some(piece) = cutter.next_piece() {
                let chunk = Chunk {
                    bytes: &piece.bytes,
                    first_line: piece.first_line,
                    offset: piece.offset,
                    first: piece.first,
                    last: piece.last,
                    truncated: false,
                    around: None,
                };
                let (best, found) = best_of(|| {
                    let mut batch = Batch::default();
                    read(format, &context, &chunk, &mut batch);
                    batch.records
                });
                (spent, records) = (spent + best, records + found);
                if piece.last {
                    break;
                }
            }
        }
        let is_sample = bytes == 0;
        if is_sample {
            let context = context_of(Path::new("sample"));
            let chunk = Chunk {
                bytes: format.sample.as_bytes(),
                first_line: 1,
                offset: 0,
                first: true,
                last: true,
                truncated: false,
                around: None,
            };
            let (best, found) = best_of(|| {
                let once = || {
                    let mut batch = Batch::default();
                    read(format, &context, &chunk, &mut batch);
                    batch.records
                };
                (0..AGAIN).map(|_| once()).sum()
            });
            (bytes, spent, records) = (AGAIN * chunk.bytes.len(), best, found);
        }
        if spent > Duration::ZERO {
            let seconds = spent.as_secs_f64();
            let mega = bytes as f64 / 1e6;
            let kind = format!("{}{}", format.kind, if is_sample { " *" } else { "" });
            println!("{kind:<22} {mega:>8.1} {:>10.0} {:>12.0}", mega / seconds, records as f64 / seconds);
        }
    }
    println!();
    Ok(())
}

/// Wall time and peak resident memory of a command (0 where `/proc` is not there).
fn watched(command: &mut Command) -> std::io::Result<(f64, u64)> {
    let start = Instant::now();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        if let Ok(text) = fs::read_to_string(&status) {
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kib = line.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
            peak = peak.max(kib.unwrap_or(0) * 1024);
        }
        if let Some(code) = child.try_wait()? {
            let seconds = start.elapsed().as_secs_f64();
            return if code.success() {
                Ok((seconds, peak))
            } else {
                Err(std::io::Error::other(format!("{command:?} ended with {code}")))
            };
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Repeats a file's content until `bytes` are written; the answer is how many.
fn repeated(content: &[u8], bytes: u64, path: &Path) -> std::io::Result<u64> {
    let mut out = std::io::BufWriter::new(File::create(path)?);
    let mut written = 0;
    while written < bytes {
        out.write_all(content)?;
        written += content.len() as u64;
    }
    out.flush()?;
    Ok(written)
}

/// What DuckDB is asked for: the fields of the table `audit`; these and what the rows of other tables are made of; all.
const KINDS: [(&str, &str); 3] = [
    ("given", "DuckDB, columns of `audit` given"),
    ("bodies", "DuckDB, columns of bodies too"),
    ("inferred", "DuckDB, columns inferred"),
];

const DUCKDB: &str = r#"
import duckdb, resource, sys, time
file, out, kind = sys.argv[1], sys.argv[2], sys.argv[3]
columns = "" if kind == "inferred" else """, columns={
  auditID: 'VARCHAR', stage: 'VARCHAR', level: 'VARCHAR', verb: 'VARCHAR', requestURI: 'VARCHAR', userAgent: 'VARCHAR',
  user: 'STRUCT(username VARCHAR)',
  objectRef: 'STRUCT(resource VARCHAR, subresource VARCHAR, namespace VARCHAR, name VARCHAR, apiGroup VARCHAR)',
  responseStatus: 'STRUCT(code INTEGER)', requestReceivedTimestamp: 'VARCHAR', stageTimestamp: 'VARCHAR'}"""
# The status of a refusal is a text where that of an object is an object.
forgiving = ", ignore_errors=true" if kind == "bodies" else ""
if kind == "bodies":
    columns = columns[:-1] + """, responseObject: 'STRUCT(kind VARCHAR, metadata STRUCT(name VARCHAR, uid VARCHAR, resourceVersion VARCHAR,
      labels MAP(VARCHAR, VARCHAR), annotations MAP(VARCHAR, VARCHAR)), addressType VARCHAR, ports STRUCT(name VARCHAR, port INTEGER)[],
      endpoints STRUCT(addresses VARCHAR[], conditions STRUCT(ready BOOLEAN, serving BOOLEAN, terminating BOOLEAN), nodeName VARCHAR,
      targetRef STRUCT(name VARCHAR, uid VARCHAR))[], spec STRUCT(nodeName VARCHAR, clusterIP VARCHAR, replicas BIGINT, renewTime VARCHAR),
      status STRUCT(podIP VARCHAR, phase VARCHAR, conditions STRUCT(type VARCHAR, status VARCHAR, lastTransitionTime VARCHAR)[]))'}"""
fields = """auditID, stage, level, verb, requestURI, userAgent, "user".username, objectRef.resource, objectRef.subresource,
  objectRef.namespace, objectRef.name, objectRef.apiGroup, responseStatus.code, requestReceivedTimestamp, stageTimestamp""" + (", responseObject" if kind == "bodies" else "")
db = duckdb.connect(config={"threads": 2})
start = time.time()
db.execute(f"COPY (SELECT {fields} FROM read_json('{file}', format='newline_delimited'{columns}{forgiving})) TO '{out}' (FORMAT parquet, COMPRESSION zstd)")
print(time.time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"#;

fn audit(runs: &[PathBuf], scratch: &Path) -> Outcome {
    let mut content = Vec::new();
    for run in runs {
        let path = run.join("k8s/audit.jsonl.zst");
        if path.exists() {
            content.extend(plain(&path)?);
        }
    }
    let file = scratch.join("audit.jsonl");
    let bytes = repeated(&content, AUDIT_BYTES, &file)? as f64 / 1e6;
    println!("audit JSON lines to Parquet, {bytes:.0} MB, two threads");
    println!("{:<34} {:>8} {:>10} {:>12}", "PROGRAM", "s", "MB/s", "PEAK MB");
    let ours = |memory: &str| {
        let mut command = Command::new(PROGRAM);
        command.args(["bundle", "--force", "--memory", memory, "--out"]).arg(scratch.join("bundle")).arg(&file);
        watched(command.env("RAYON_NUM_THREADS", "2"))
    };
    let mut best = ours("512MiB")?;
    for _ in 0..2 {
        let again = ours("512MiB")?;
        best = if again.0 < best.0 { again } else { best };
    }
    let line = |name: &str, (seconds, peak): (f64, u64)| {
        println!("{name:<34} {seconds:>8.2} {:>10.0} {:>12.0}", bytes / seconds, peak as f64 / 1e6);
    };
    line("syncline-collector (checksum too)", best);
    line("syncline-collector --memory 64MiB", ours("64MiB")?);
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    for (kind, name) in KINDS {
        let out = scratch.join("duckdb.parquet");
        let mut theirs: Option<(f64, u64)> = None;
        for _ in 0..3 {
            let answer = Command::new(&python).args(["-c", DUCKDB]).arg(&file).arg(&out).arg(kind).output()?;
            let text = String::from_utf8_lossy(&answer.stdout);
            let mut numbers = text.split_whitespace().map(str::parse::<f64>);
            let (Some(Ok(seconds)), Some(Ok(peak))) = (numbers.next(), numbers.next()) else {
                println!("DuckDB cannot be asked: {}", String::from_utf8_lossy(&answer.stderr).trim());
                return Ok(());
            };
            if theirs.is_none_or(|known| seconds < known.0) {
                theirs = Some((seconds, peak as u64));
            }
        }
        if let Some(theirs) = theirs {
            line(name, theirs);
            println!(
                "  ratio: {:.2} × its speed, {:.2} × its memory",
                theirs.0 / best.0,
                best.1 as f64 / theirs.1 as f64
            );
        }
    }
    println!();
    Ok(())
}

fn size(runs: &[PathBuf], scratch: &Path) -> Outcome {
    println!("size of a bundle against its captures under zstd -9 --long=27");
    let mut tables: std::collections::BTreeMap<String, u64> = std::collections::BTreeMap::new();
    for run in runs {
        let mut found = Vec::new();
        files(run, &mut found)?;
        let mut raw = 0u64;
        for path in &found {
            let mut encoder = zstd::Encoder::new(Vec::new(), 9)?;
            encoder.long_distance_matching(true)?;
            encoder.window_log(27)?;
            encoder.write_all(&plain(path)?)?;
            raw += encoder.finish()?.len() as u64;
        }
        let out = scratch.join("size");
        watched(Command::new(PROGRAM).args(["bundle", "--force", "--out"]).arg(&out).arg(run))?;
        let mut made = 0;
        for entry in fs::read_dir(&out)? {
            let entry = entry?;
            let bytes = entry.metadata()?.len();
            made += bytes;
            *tables.entry(entry.file_name().to_string_lossy().into_owned()).or_default() += bytes;
        }
        let name = run.file_name().unwrap_or_default().to_string_lossy();
        println!(
            "{name:<32} {:>9.2} MB {:>9.2} MB  × {:.2}",
            raw as f64 / 1e6,
            made as f64 / 1e6,
            made as f64 / raw as f64
        );
    }
    for (table, bytes) in tables {
        println!("  {table:<32} {:>9.2} MB", bytes as f64 / 1e6);
    }
    println!();
    Ok(())
}

fn instructions(runs: &[PathBuf], scratch: &Path) -> Outcome {
    let counted = |program: &Path, run: &Path| -> Result<u64, Box<dyn std::error::Error>> {
        let mut command = Command::new("valgrind");
        command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program);
        command.args(["bundle", "--force", "--out"]).arg(scratch.join("counted")).arg(run);
        let said = String::from_utf8(command.output()?.stderr)?;
        let count = said.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
        count.ok_or_else(|| format!("expected the count of valgrind, found: {said}").into())
    };
    let other = std::env::var_os("SYNCLINE_BENCH_OTHER").map(PathBuf::from);
    println!("millions of instructions of `bundle`{}", if other.is_some() { ", and of the other program" } else { "" });
    for run in runs {
        let own = counted(Path::new(PROGRAM), run)?;
        print!("{:<32} {:>10}", run.file_name().unwrap_or_default().to_string_lossy(), own / 1_000_000);
        if let Some(other) = &other {
            let theirs = counted(other, run)?;
            print!(" {:>10}  {:+.1} %", theirs / 1_000_000, 100.0 * (own as f64 / theirs as f64 - 1.0));
        }
        println!();
    }
    println!();
    Ok(())
}

fn open(runs: &[PathBuf], scratch: &Path) -> Outcome {
    println!("the check of a bundle, ms: all of it; hashes alone; and reading all rows");
    for run in runs {
        let out = scratch.join("opened");
        watched(Command::new(PROGRAM).args(["bundle", "--force", "--out"]).arg(&out).arg(run))?;
        let manifest = integrity::manifest(&out)?;
        let paths: Vec<PathBuf> =
            manifest.tables.iter().map(|table| out.join(format!("{}.parquet", table.name))).collect();
        let (checked, _) = best_of(|| u64::from(integrity::check(&out, &manifest).is_ok()));
        let hash = |path: &PathBuf| fs::read(path).map_or(0, |bytes| u64::from(Sha256::digest(bytes)[0]));
        let (hashed, _) = best_of(|| paths.iter().map(hash).sum());
        let rows = |path: &PathBuf| {
            let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).ok()?).ok()?.build().ok()?;
            Some(reader.flatten().map(|batch| batch.num_rows() as u64).sum::<u64>())
        };
        let (read, _) = best_of(|| paths.iter().filter_map(rows).sum());
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let bytes: u64 = manifest.tables.iter().map(|table| table.bytes).sum();
        println!(
            "{:<32} {:>7.2} MB {:>8.2} {:>8.2} {:>8.2}",
            run.file_name().unwrap_or_default().to_string_lossy(),
            bytes as f64 / 1e6,
            ms(checked),
            ms(hashed),
            ms(read)
        );
    }
    println!();
    Ok(())
}

fn memory(runs: &[PathBuf], scratch: &Path) -> Outcome {
    let gigabytes: f64 = std::env::var("SYNCLINE_BENCH_GB").ok().and_then(|text| text.parse().ok()).unwrap_or(2.0);
    let Some(run) = runs.iter().find(|run| run.ends_with("iptables-scale-up-1")).or(runs.first()) else {
        return Ok(());
    };
    let folder = scratch.join("large");
    fs::create_dir_all(&folder)?;
    let mut found = Vec::new();
    files(run, &mut found)?;
    let mut streams = Vec::new();
    for path in found {
        let content = plain(&path)?;
        if content.len() > 1 << 20 {
            streams.push((path, content));
        }
    }
    let each = (gigabytes * 1e9 / streams.len().max(1) as f64) as u64;
    for (path, content) in &streams {
        let name = path.file_stem().unwrap_or_default();
        repeated(content, each, &folder.join(name))?;
    }
    println!("peak memory over {gigabytes} GB: {} streams of one run, each repeated", streams.len());
    for limit in ["64MiB", "512MiB"] {
        let mut command = Command::new(PROGRAM);
        command.args(["bundle", "--force", "--memory", limit, "--out"]).arg(scratch.join("large-bundle")).arg(&folder);
        let (seconds, peak) = watched(&mut command)?;
        println!(
            "--memory {limit:<8} {seconds:>8.1} s {:>8.0} MB/s  peak {:>6.0} MB",
            gigabytes * 1e3 / seconds,
            peak as f64 / 1e6
        );
    }
    Ok(())
}
