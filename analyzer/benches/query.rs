//! PromQL against Prometheus itself, in one run on one machine: the same block, the same range queries.
//!
//! `cargo bench -p syncline --bench query [-- SERIES]` makes SERIES series (10,000 unless given) of six hours at 15 s, sends
//! them to a `prometheus` on loopback by remote write, takes a snapshot, serves it by a second `prometheus` and bundles it. For each
//! query it prints the median of five answers, JSON included: the engine alone, `syncline query` as a whole (process start and
//! load of the bundle included), the warm server, and how often the server's time holds ours. Both must answer with as many
//! points. The same follows for a snapshot of a real run, where `../shared/captures` is there. Without a `prometheus` only
//! the engine is timed.
//!
//! Then `syncline serve` over the bundle and the warm server are asked the same queries by as many clients for as long, one server
//! after the other: answers a second, and how long the middle one and the slowest hundredth took. Last, what block and bundle take on disk.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use syncline::bundle::{Bundle, MEMORY, witnesses};
use syncline_collector::bundle::{BundleOptions, bundle};
use syncline_promql::{Labels, MemoryStorage, Options, Series, parse, range, to_json};

/// First time, ms.
const START: i64 = 1_700_000_000_000;
/// Between samples, ms.
const STEP: i64 = 15_000;
const HOURS: i64 = 6;
const SAMPLES: i64 = HOURS * 3_600_000 / STEP;
/// Between evaluations, ms.
const RESOLUTION: i64 = 60_000;
const ROUNDS: usize = 5;

const QUERIES: [(&str, &str); 7] = [
    ("rate", "sum(rate(requests_total[5m]))"),
    ("rate by instance", "sum by (instance) (rate(requests_total[5m]))"),
    ("quantile of buckets", "histogram_quantile(0.99, sum by (le) (rate(latency_bucket[5m])))"),
    ("max over an hour", "max by (instance) (max_over_time(temperature[1h]))"),
    ("topk", "topk(5, rate(requests_total[5m]))"),
    ("join", "sum by (instance) (rate(errors_total[5m]) / on (instance, path) rate(requests_total[5m]))"),
    ("plain sum", "sum by (path) (requests_total)"),
];

/// A small generator (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// One tenth gauges, half buckets, the rest two counters of the same labels.
fn series(count: usize) -> Vec<Series> {
    let mut dice = Dice(0x5eed);
    let mut all = Vec::with_capacity(count);
    let instance = |at: usize| format!("10.0.0.{}:9100", at % 50);
    let mut push = |pairs: Vec<(&str, String)>, values: Vec<f64>| {
        let times = (0..SAMPLES).map(|at| START + at * STEP).collect();
        all.push(Series { labels: Labels::new(pairs), times, values: values.into(), ..Series::default() });
    };
    let grown = |dice: &mut Dice| -> Vec<f64> {
        let mut value = dice.below(1000) as f64;
        (0..SAMPLES)
            .map(|_| {
                value += dice.below(20) as f64;
                value
            })
            .collect()
    };
    for at in 0..count / 5 {
        for name in ["requests_total", "errors_total"] {
            let path = format!("/p{}", at / 50);
            push(vec![("__name__", name.to_owned()), ("instance", instance(at)), ("path", path)], grown(&mut dice));
        }
    }
    for at in 0..count / 20 {
        let mut sum = vec![0.0; SAMPLES as usize];
        for bound in ["0.005", "0.01", "0.05", "0.1", "0.5", "1", "2.5", "5", "10", "+Inf"] {
            let (name, path) = ("latency_bucket".to_owned(), format!("/p{}", at / 50));
            sum.iter_mut().zip(grown(&mut dice)).for_each(|(sum, own)| *sum += own);
            let pairs = vec![("__name__", name), ("instance", instance(at)), ("path", path), ("le", bound.to_owned())];
            push(pairs, sum.clone());
        }
    }
    for at in 0..count / 10 {
        let sensor = format!("s{}", at / 50);
        let level = (0..SAMPLES).map(|_| dice.below(1_000_000) as f64 / 1e4).collect();
        push(vec![("__name__", "temperature".to_owned()), ("instance", instance(at)), ("sensor", sensor)], level);
    }
    all
}

/// The server, ended when dropped; its data go with it.
struct Server {
    child: Child,
    folder: tempfile::TempDir,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A request of HTTP/1.0, so that the answer comes in one piece; its body where it is good.
fn post(port: u16, path: &str, headers: &str, body: &[u8]) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let head = format!("POST {path} HTTP/1.0\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.lines().next()?.contains(" 20").then(|| body.to_owned())
}

/// A server over the blocks in `data` of a folder.
fn server(folder: tempfile::TempDir) -> Option<Server> {
    let config = folder.path().join("prometheus.yml");
    fs::write(&config, "global: {}\n").ok()?;
    let port = TcpListener::bind(("127.0.0.1", 0)).and_then(|socket| socket.local_addr()).ok()?.port();
    let child = Command::new("prometheus")
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .args(["--web.enable-remote-write-receiver", "--web.enable-admin-api"])
        .args(["--storage.tsdb.retention.time=100y", "--log.level=error"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let server = Server { child, folder, port };
    let begun = Instant::now();
    while post(port, "/api/v1/query", FORM, b"query=1").is_none() {
        if begun.elapsed() > Duration::from_secs(60) {
            return None;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Some(server)
}

/// Has a server write all it holds as blocks, and gives their folder to a new one.
fn restarted(server: Server) -> Option<Server> {
    post(server.port, "/api/v1/admin/tsdb/snapshot", FORM, b"")?;
    let snapshots = server.folder.path().join("data/snapshots");
    let snapshot = fs::read_dir(snapshots).ok()?.next()?.ok()?.path();
    let folder = tempfile::tempdir().ok()?;
    fs::rename(snapshot, folder.path().join("data")).ok()?;
    drop(server);
    self::server(folder)
}

const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Sends all samples, ten times of all series a message (protobuf in snappy).
fn send(server: &Server, all: &[Series]) -> Option<()> {
    let headers = "Content-Type: application/x-protobuf\r\nContent-Encoding: snappy\r\nX-Prometheus-Remote-Write-Version: 0.1.0\r\n";
    let labels: Vec<Vec<u8>> = all
        .iter()
        .map(|one| {
            let mut out = Vec::new();
            for (name, value) in one.labels.pairs() {
                let mut pair = Vec::new();
                field(&mut pair, 1, name.as_bytes());
                field(&mut pair, 2, value.as_bytes());
                field(&mut out, 1, &pair);
            }
            out
        })
        .collect();
    for from in (0..SAMPLES as usize).step_by(10) {
        let mut request = Vec::new();
        for (one, labels) in all.iter().zip(&labels) {
            let mut message = labels.clone();
            for at in from..(from + 10).min(one.times.len()) {
                let mut sample = vec![1 << 3 | 1];
                sample.extend_from_slice(&one.values[at].to_le_bytes());
                sample.push(2 << 3);
                varint(&mut sample, one.times[at] as u64);
                field(&mut message, 2, &sample);
            }
            field(&mut request, 1, &message);
        }
        let body = snap::raw::Encoder::new().compress_vec(&request).ok()?;
        post(server.port, "/api/v1/write", headers, &body)?;
    }
    Some(())
}

fn median(times: &[f64]) -> f64 {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Range and resolution of a question, ms.
#[derive(Clone, Copy)]
struct Times {
    start: i64,
    end: i64,
    step: i64,
}

/// The answer of `syncline query`, as a process.
fn command(bundle: &Path, text: &str, times: Times) -> String {
    let seconds = |time: i64| format!("{}.{:03}", time / 1000, time % 1000);
    let output = Command::new(env!("CARGO_BIN_EXE_syncline"))
        .arg("query")
        .arg(bundle)
        .arg(text)
        .args(["--start", &seconds(times.start), "--end", &seconds(times.end), "--step", &seconds(times.step)])
        .args(["--format", "json"])
        .output()
        .expect("syncline runs");
    String::from_utf8(output.stdout).expect("JSON")
}

/// Times all queries, and prints a line each.
fn compare(queries: &[(&str, &str)], storage: &MemoryStorage, bundle: Option<&Path>, port: Option<u16>, times: Times) {
    println!(
        "{:<22} {:>10} {:>11} {:>14} {:>14} {:>14}",
        "QUERY", "ENGINE ms", "COMMAND ms", "PROMETHEUS ms", "ENGINE faster", "COMMAND faster"
    );
    for (name, text) in queries {
        let query = parse(text).expect("a query");
        let (mut own, mut whole, mut other) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let begun = Instant::now();
            let answer =
                range(storage, &query, times.start, times.end, times.step, &Options::default()).expect("an answer");
            let json = to_json(&answer);
            own.push(begun.elapsed().as_secs_f64() * 1e3);
            // Times begin with 17; series are not counted, since of equal values `topk` may take any.
            let points = |json: &str| json.matches("[17").count();
            if let Some(bundle) = bundle {
                let begun = Instant::now();
                let answer = command(bundle, text, times);
                whole.push(begun.elapsed().as_secs_f64() * 1e3);
                assert_eq!(points(&answer), points(&json), "{name}: as many points by the command");
            }
            let Some(port) = port else { continue };
            let seconds = |time: i64| format!("{}.{:03}", time / 1000, time % 1000);
            let form = format!(
                "query={}&start={}&end={}&step={}",
                text.replace('+', "%2B"),
                seconds(times.start),
                seconds(times.end),
                seconds(times.step)
            );
            let begun = Instant::now();
            let theirs = post(port, "/api/v1/query_range", FORM, form.as_bytes()).expect("an answer of Prometheus");
            other.push(begun.elapsed().as_secs_f64() * 1e3);
            assert_eq!(points(&theirs), points(&json), "{name}: as many points");
        }
        let shown = |times: &[f64]| if times.is_empty() { "-".to_owned() } else { format!("{:.1}", median(times)) };
        let ratio = |times: &[f64]| match (times.is_empty(), other.is_empty()) {
            (false, false) => format!("{:.1}", median(&other) / median(times)),
            _ => "-".to_owned(),
        };
        println!(
            "{name:<22} {:>10} {:>11} {:>14} {:>14} {:>14}",
            shown(&own),
            shown(&whole),
            shown(&other),
            ratio(&own),
            ratio(&whole)
        );
    }
}

/// Clients that ask at a time, and for how long.
const CLIENTS: usize = 4;
const LOAD: Duration = Duration::from_secs(15);

/// What a server did under load: how long each answer took, ms.
fn load(port: u16, queries: &[(&str, &str)], times: Times) -> Vec<f64> {
    let seconds = |time: i64| format!("{}.{:03}", time / 1000, time % 1000);
    let forms: Vec<String> = queries
        .iter()
        .map(|(_, text)| {
            let (query, start, end) = (text.replace('+', "%2B"), seconds(times.start), seconds(times.end));
            format!("query={query}&start={start}&end={end}&step={}", seconds(times.step))
        })
        .collect();
    let begun = Instant::now();
    let mut all: Vec<f64> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let forms = &forms;
                scope.spawn(move || {
                    let mut took = Vec::new();
                    for at in client.. {
                        if begun.elapsed() > LOAD {
                            break;
                        }
                        let asked = Instant::now();
                        let answer = post(port, "/api/v1/query_range", FORM, forms[at % forms.len()].as_bytes());
                        assert!(answer.is_some_and(|body| body.starts_with("{\"status\":\"success\"")), "an answer");
                        took.push(asked.elapsed().as_secs_f64() * 1e3);
                    }
                    took
                })
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().expect("a client")).collect()
    });
    all.sort_by(f64::total_cmp);
    all
}

/// `syncline serve` over a bundle, and the warm server, under the same load.
fn served(queries: &[(&str, &str)], bundle: &Path, port: Option<u16>, times: Times) {
    let begun = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_syncline"))
        .arg("serve")
        .arg(bundle)
        .args(["--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("syncline serves");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
    let own = line.split("127.0.0.1:").nth(1).and_then(|rest| rest.split('/').next()?.parse().ok()).expect("a port");
    println!("serving after {:.1} s", begun.elapsed().as_secs_f64());
    let mut rates = Vec::new();
    for (name, port) in [("syncline serve", Some(own)), ("prometheus", port)] {
        let Some(port) = port else { continue };
        let took = load(port, queries, times);
        let rate = took.len() as f64 / LOAD.as_secs_f64();
        let of = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
        println!("{name:<16} {rate:>8.1} answers/s, p50 {:>8.1} ms, p99 {:>8.1} ms", of(0.5), of(0.99));
        rates.push(rate);
    }
    if let [own, other] = rates.as_slice() {
        println!("{:.1} times the throughput, {CLIENTS} clients", own / other);
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// Bytes of a folder.
fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| {
            let path = entry.path();
            if path.is_dir() { size(&path) } else { entry.metadata().map_or(0, |metadata| metadata.len()) }
        })
        .sum()
}

/// What a block and its bundle take for each sample.
fn sizes(data: &Path, bundle: &Path, samples: usize) {
    let [block, whole] = [data, bundle].map(|folder| size(folder) as f64 / samples as f64);
    let table =
        fs::metadata(bundle.join("samples.parquet")).map_or(0, |metadata| metadata.len()) as f64 / samples as f64;
    println!("{block:.2} bytes a sample in the block, {whole:.2} in the bundle ({table:.2} in its table of samples)");
}

fn bundled(inputs: Vec<PathBuf>, folder: &Path) -> PathBuf {
    let out = folder.join("bundle");
    let begun = Instant::now();
    bundle(&BundleOptions { inputs, out: out.clone(), ..BundleOptions::default() }).expect("a bundle");
    println!("bundled in {:.1} s", begun.elapsed().as_secs_f64());
    out
}

fn generated(count: usize) {
    let all = series(count);
    let samples = all.len() as i64 * SAMPLES;
    println!("{} series, {samples} samples, {HOURS} h, a value every {} s", all.len(), RESOLUTION / 1000);
    let server = tempfile::tempdir().ok().and_then(server).and_then(|server| {
        let begun = Instant::now();
        assert!(send(&server, &all).is_some(), "Prometheus takes the samples");
        println!("sent in {:.0} s", begun.elapsed().as_secs_f64());
        restarted(server)
    });
    // Not at the times of samples: before version 3 a window held both of its ends.
    let times = Times { start: START + 3_601_000, end: START + (SAMPLES - 1) * STEP, step: RESOLUTION };
    let folder = tempfile::tempdir().expect("a folder");
    let bundle = server.as_ref().map(|server| bundled(vec![server.folder.path().join("data")], folder.path()));
    let storage = MemoryStorage::new(all);
    let port = server.as_ref().map(|server| server.port);
    compare(&QUERIES, &storage, bundle.as_deref(), port, times);
    drop(storage);
    if let (Some(bundle), Some(server)) = (&bundle, &server) {
        served(&QUERIES, bundle, port, times);
        sizes(&server.folder.path().join("data"), bundle, samples as usize);
    }
}

/// A snapshot of a real run: a minute or two, 4,000 series.
const REAL: [(&str, &str); 6] = [
    ("rate", "sum(rate(container_cpu_usage_seconds_total[15s]))"),
    (
        "quantile of buckets",
        "histogram_quantile(0.9, sum by (le) (rate(apiserver_request_duration_seconds_bucket[30s])))",
    ),
    ("max over a minute", "max by (job) (max_over_time(process_resident_memory_bytes[1m]))"),
    ("topk", "topk(5, rate(apiserver_request_total[30s]))"),
    ("join", "sum by (job) (process_cpu_seconds_total * on (instance, job) group_left up)"),
    ("plain sum", "sum by (job) (process_resident_memory_bytes)"),
];

fn real() {
    let tar = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../shared/captures/iptables-scale-up-1/prometheus/tsdb-snapshot.tar.zst");
    if !tar.is_file() {
        println!("no captures of real runs beside the repository: their block is not timed");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let unpacked = Command::new("tar").arg("--zstd").arg("-xf").arg(&tar).arg("-C").arg(folder.path()).status();
    assert!(unpacked.is_ok_and(|status| status.success()), "tar unpacks the snapshot");
    let inner = blocks(folder.path()).expect("a folder of blocks");
    let data = tempfile::tempdir().expect("a folder");
    fs::rename(inner, data.path().join("data")).expect("the same file system");
    let server = server(data);
    let port = server.as_ref().map(|server| server.port);
    let out = tempfile::tempdir().expect("a folder");
    let path = bundled(vec![tar], out.path());
    let series = witnesses::series(&Bundle::open(&path, MEMORY).expect("a bundle"), None, None).expect("its series");
    let start = series.iter().filter_map(|one| one.times.first()).min().copied().expect("samples");
    let end = series.iter().filter_map(|one| one.times.last()).max().copied().expect("samples");
    println!("{} series of a real run, {} s", series.len(), (end - start) / 1000);
    let samples = series.iter().map(|one| one.times.len() + one.histograms.len()).sum();
    let storage = MemoryStorage::new(series);
    // Thousandths that no scrape has.
    let times = Times { start: start / 1000 * 1000 + 30_001, end, step: 1000 };
    compare(&REAL, &storage, Some(&path), port, times);
    served(&REAL, &path, port, times);
    if let Some(server) = &server {
        sizes(&server.folder.path().join("data"), &path, samples);
    }
}

/// The folder whose folders are blocks.
fn blocks(folder: &Path) -> Option<PathBuf> {
    let inner: Vec<PathBuf> = fs::read_dir(folder).ok()?.filter_map(|one| Some(one.ok()?.path())).collect();
    if inner.iter().any(|one| one.join("meta.json").is_file()) {
        return Some(folder.to_owned());
    }
    inner.iter().filter(|one| one.is_dir()).find_map(|one| blocks(one))
}

fn main() {
    let count = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(10_000);
    generated(count);
    real();
}
