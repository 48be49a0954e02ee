//! The engine against Prometheus itself, in one run on one machine: the same samples, the same range queries.
//!
//! `cargo bench -p syncline-promql --bench against_prometheus [-- SERIES]` makes SERIES series (10,000 unless given) of six hours
//! at 15 s, sends them to a `prometheus` on loopback by remote write, and prints for each query the median of five
//! answers of both, JSON included, and the ratio. Both must answer with as many points. Without a `prometheus` only the engine
//! is timed.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

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
        all.push(Series { labels: Labels::new(pairs), times, values, ..Series::default() });
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

fn server() -> Option<Server> {
    let folder = tempfile::tempdir().ok()?;
    let config = folder.path().join("prometheus.yml");
    fs::write(&config, "global: {}\n").ok()?;
    let port = TcpListener::bind(("127.0.0.1", 0)).and_then(|socket| socket.local_addr()).ok()?.port();
    let child = Command::new("prometheus")
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .args(["--web.enable-remote-write-receiver", "--storage.tsdb.retention.time=100y", "--log.level=error"])
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

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() {
    let count = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(10_000);
    let all = series(count);
    println!(
        "{} series, {} samples, {HOURS} h, a value every {} s",
        all.len(),
        all.len() as i64 * SAMPLES,
        RESOLUTION / 1000
    );
    let server = server();
    match &server {
        None => println!("no prometheus: only the engine is timed"),
        Some(server) => {
            let begun = Instant::now();
            assert!(send(server, &all).is_some(), "Prometheus takes the samples");
            println!("sent in {:.0} s to {}", begun.elapsed().as_secs_f64(), server.folder.path().display());
        }
    }
    let storage = MemoryStorage::new(all);
    // Not at the times of samples: before version 3 a window held both of its ends.
    let (start, end) = (START + 3_601_000, START + (SAMPLES - 1) * STEP);
    println!("{:<22} {:>12} {:>15} {:>8}", "QUERY", "ENGINE ms", "PROMETHEUS ms", "RATIO");
    for (name, text) in QUERIES {
        let query = parse(text).expect("a query");
        let (mut own, mut other) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let begun = Instant::now();
            let answer = range(&storage, &query, start, end, RESOLUTION, &Options::default()).expect("an answer");
            let json = to_json(&answer);
            own.push(begun.elapsed().as_secs_f64() * 1e3);
            // Times begin with 17; series are not counted, since of equal values `topk` may take any.
            let points = json.matches("[17").count();
            let Some(server) = &server else { continue };
            let seconds = |time: i64| format!("{}.{:03}", time / 1000, time % 1000);
            let form = format!(
                "query={}&start={}&end={}&step={}",
                text.replace('+', "%2B"),
                seconds(start),
                seconds(end),
                RESOLUTION / 1000
            );
            let begun = Instant::now();
            let theirs =
                post(server.port, "/api/v1/query_range", FORM, form.as_bytes()).expect("an answer of Prometheus");
            other.push(begun.elapsed().as_secs_f64() * 1e3);
            assert_eq!(theirs.matches("[17").count(), points, "{name}: as many points");
        }
        let own = median(own);
        if other.is_empty() {
            println!("{name:<22} {own:>12.1} {:>15} {:>8}", "-", "-");
        } else {
            let other = median(other);
            println!("{name:<22} {own:>12.1} {other:>15.1} {:>8.2}", own / other);
        }
    }
}
