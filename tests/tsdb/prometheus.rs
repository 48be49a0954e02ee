//! Debian's Prometheus on loopback: some series sent to it by remote write, and the folders that it leaves.
//!
//! Remote write is a protobuf message in snappy; the few messages that it needs are written by hand here.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::bundled::{Bundled, Points, assert_floats};

/// First time, ms.
const START: i64 = 1_700_000_000_000;
const STEP: i64 = 15_000;
const STALE: u64 = 0x7ff0_0000_0000_0002;

/// A native histogram, as it is sent.
#[derive(Clone, Debug, Default)]
pub struct Native {
    time: i64,
    floats: bool,
    schema: i64,
    threshold: f64,
    zero: f64,
    sum: f64,
    /// Spans (gap, length) and counts of each side.
    positive: (Vec<(i64, u64)>, Vec<f64>),
    negative: (Vec<(i64, u64)>, Vec<f64>),
}

impl Native {
    fn count(&self) -> f64 {
        self.zero + self.positive.1.iter().chain(&self.negative.1).sum::<f64>()
    }
}

/// What is sent: by name and label `n`.
pub struct Written {
    pub floats: BTreeMap<String, Points>,
    pub histograms: BTreeMap<String, Vec<Native>>,
}

fn key(name: &str, number: usize) -> String {
    format!("{name}{{\"n\":\"{number}\"}}")
}

/// Times of `deleted{n="0"}` that are deleted again.
const DELETED: (i64, i64) = (START + 50 * STEP, START + 59 * STEP);

/// The series that are sent.
pub fn written() -> Written {
    let mut floats = BTreeMap::new();
    for number in 0..3 {
        let counter = (0..260).map(|at| (START + at * STEP, ((at * 7 + number as i64) as f64).to_bits()));
        let mut counter: Points = counter.collect();
        if number == 1 {
            counter.push((START + 260 * STEP, STALE));
        }
        floats.insert(key("counter_total", number), counter);
    }
    let odd = [0.1, f64::NAN, f64::INFINITY, -3.25, f64::NEG_INFINITY, 1e-300, 5.0, 5.0, -0.0];
    let gauge = (0..130).map(|at| (START + at * STEP + at % 7, odd[at as usize % odd.len()].to_bits())).collect();
    floats.insert(key("gauge", 0), gauge);
    let deleted = (0..130).map(|at| (START + at * STEP, 1f64.to_bits()));
    let left = deleted.filter(|(time, _)| !(DELETED.0..=DELETED.1).contains(time)).collect();
    floats.insert(key("deleted", 0), left);
    let mut histograms = BTreeMap::new();
    for (number, name) in ["whole", "parts"].iter().enumerate() {
        let mut points: Vec<Native> = (0..150).map(|at| native(at, number == 1)).collect();
        points.push(Native { time: START + 150 * STEP, sum: f64::from_bits(STALE), ..Native::default() });
        points.iter_mut().for_each(|point| point.floats = number == 1);
        histograms.insert(key(name, number), points);
    }
    Written { floats, histograms }
}

fn native(at: i64, floats: bool) -> Native {
    let part = if floats { 0.25 } else { 1.0 };
    let grown = |share: i64| (at * share + 1) as f64 * part;
    // A bucket between the spans comes up on the way: the layout changes.
    let (spans, counts) = if at < 60 {
        (vec![(-2, 2), (3, 1)], vec![grown(1), grown(2), grown(3)])
    } else {
        (vec![(-2, 2), (1, 1), (1, 1)], vec![grown(1), grown(2), (at - 59) as f64 * part, grown(3)])
    };
    Native {
        time: START + at * STEP,
        floats,
        schema: 3,
        threshold: if floats { 0.0017 } else { 2f64.powi(-128) },
        zero: grown(1),
        sum: at as f64 * 1.7,
        positive: (spans, counts),
        negative: (vec![(0, 1)], vec![grown(5)]),
    }
}

/// Compares a bundle with what was sent.
pub fn same(all: &Bundled, expected: &Written, what: &str) {
    assert_eq!(all.rejects, Vec::<String>::new(), "{what}");
    assert_floats(&all.floats, &expected.floats, what);
    assert_eq!(all.histograms.keys().collect::<Vec<_>>(), expected.histograms.keys().collect::<Vec<_>>(), "{what}");
    for (series, points) in &expected.histograms {
        let found = &all.histograms[series];
        assert_eq!(found.len(), points.len(), "{what}: {series}: each sample once");
        for (found, sent) in found.iter().zip(points) {
            assert_eq!((found.0, found.2), (sent.time, sent.sum.to_bits()), "{what}: {series}");
            if sent.sum.is_nan() {
                continue;
            }
            assert_eq!(found.1, sent.count(), "{what}: {series} at {}", sent.time);
            assert_eq!(found.3.schema, 3, "{what}: {series}");
            for (found, (spans, counts)) in [(&found.3.positive, &sent.positive), (&found.3.negative, &sent.negative)] {
                assert_eq!(found, &indexed(spans, counts), "{what}: {series} at {}", sent.time);
            }
        }
    }
}

fn indexed(spans: &[(i64, u64)], counts: &[f64]) -> BTreeMap<i64, f64> {
    let (mut next, mut counts, mut found) = (0, counts.iter(), BTreeMap::new());
    for (gap, length) in spans {
        next += gap;
        for _ in 0..*length {
            found.insert(next, *counts.next().expect("a count"));
            next += 1;
        }
    }
    found
}

/// A protobuf message.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn number(&mut self, field: u64, value: u64) {
        self.varint(field << 3);
        self.varint(value);
    }

    fn signed(&mut self, field: u64, value: i64) {
        self.number(field, (value << 1 ^ value >> 63) as u64);
    }

    fn double(&mut self, field: u64, value: f64) {
        self.varint(field << 3 | 1);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }
}

fn series(key: &str) -> Message {
    let (name, labels) = key.split_once('{').expect("a key");
    let number = labels.split('"').nth(3).expect("a number");
    let mut message = Message::default();
    for (label, value) in [("__name__", name), ("n", number)] {
        let mut pair = Message::default();
        pair.bytes(1, label.as_bytes());
        pair.bytes(2, value.as_bytes());
        message.bytes(1, &pair.0);
    }
    message
}

fn float(time: i64, value: f64) -> Message {
    let mut message = Message::default();
    message.double(1, value);
    message.number(2, time as u64);
    message
}

fn histogram(one: &Native) -> Message {
    let mut message = Message::default();
    if one.floats {
        message.double(2, one.count());
    } else {
        message.number(1, one.count() as u64);
    }
    message.double(3, one.sum);
    message.signed(4, one.schema);
    message.double(5, one.threshold);
    if one.floats {
        message.double(7, one.zero);
    } else {
        message.number(6, one.zero as u64);
    }
    for (field, (spans, counts)) in [(8, &one.negative), (11, &one.positive)] {
        for (gap, length) in spans {
            let mut span = Message::default();
            span.signed(1, *gap);
            span.number(2, *length);
            message.bytes(field, &span.0);
        }
        let mut packed = Message::default();
        let mut before = 0;
        for count in counts {
            if one.floats {
                packed.0.extend_from_slice(&count.to_le_bytes());
            } else {
                let difference = *count as i64 - before;
                before = *count as i64;
                packed.varint((difference << 1 ^ difference >> 63) as u64);
            }
        }
        message.bytes(if one.floats { field + 2 } else { field + 1 }, &packed.0);
    }
    message.number(15, one.time as u64);
    message
}

fn post(port: u16, path: &str, headers: &str, body: &[u8]) -> Option<String> {
    // A busy machine may drop a connection; what is sent twice is stored once.
    (0..3).find_map(|_| answered(port, path, headers, body, "1.1"))
}

/// Whether the storage takes requests. Asked by GET: a POST is refused alike before and after.
fn is_ready(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let asked = stream.write_all(b"GET /-/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let mut answer = String::new();
    asked.is_ok() && stream.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.1 200 ")
}

fn answered(port: u16, path: &str, headers: &str, body: &[u8], version: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/{version}\r\nHost: x\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// One server at a time: a port that was free may be taken by the other one.
static ALONE: Mutex<()> = Mutex::new(());

/// The server, ended when dropped.
struct Server(Child, #[expect(dead_code, reason = "held, not read")] MutexGuard<'static, ()>);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Server {
    /// Lets it end by itself.
    fn stop(mut self) {
        let asked = Command::new("kill").arg(self.0.id().to_string()).status().expect("kill runs");
        assert!(asked.success() && self.0.wait().is_ok());
    }
}

/// What Prometheus left.
pub struct Left {
    /// A snapshot.
    pub snapshot: PathBuf,
    /// Log and chunks, copied while it ran.
    pub running: PathBuf,
    /// Log and chunks after it ended: chunks are written late.
    pub head: PathBuf,
    /// The whole folder, with the snapshot in it.
    pub stopped: PathBuf,
    /// Answers of the API: all samples of the native histograms.
    pub answers: PathBuf,
}

/// Starts Prometheus with a data folder; none where there is none.
fn start(folder: &Path, data: &Path) -> Option<(Server, u16)> {
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let config = folder.join("prometheus.yml");
    fs::write(&config, "global: {}\n").expect("written");
    let port = TcpListener::bind(("127.0.0.1", 0)).and_then(|socket| socket.local_addr()).expect("a port").port();
    let child = Command::new("prometheus")
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", data.display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .args(["--web.enable-remote-write-receiver", "--web.enable-admin-api", "--log.level=error"])
        .args(["--enable-feature=native-histograms", "--storage.tsdb.retention.time=100y"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(child) = child else {
        eprintln!("skipped: no prometheus (apt-get install prometheus)");
        return None;
    };
    let server = Server(child, alone);
    let begun = Instant::now();
    while !is_ready(port) {
        assert!(begun.elapsed() < Duration::from_secs(60), "Prometheus starts");
        std::thread::sleep(Duration::from_millis(100));
    }
    Some((server, port))
}

/// Has samples of a metric deleted, from one time (ms) to another.
fn delete(port: u16, metric: &str, (from, to): (i64, i64)) {
    let (from, to) = (from as f64 / 1e3, to as f64 / 1e3);
    let query = format!("/api/v1/admin/tsdb/delete_series?match[]={metric}&start={from}&end={to}");
    let answer = post(port, &query, "", b"").expect("an answer");
    assert!(answer.contains(" 204 "), "{answer}");
}

/// Deletes samples in the blocks of a data folder; false where there is no Prometheus.
pub fn delete_in(folder: &Path, data: &Path, metric: &str, times: (i64, i64)) -> bool {
    let Some((_server, port)) = start(folder, data) else { return false };
    delete(port, metric, times);
    true
}

/// Runs Prometheus in a folder; none where there is none.
pub fn run(folder: &Path) -> Option<Left> {
    let data = folder.join("data");
    let (server, port) = start(folder, &data)?;
    send(port);
    delete(port, "deleted", DELETED);
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let answers = folder.join("answers");
    fs::create_dir(&answers).expect("a folder");
    // One by one: in one answer, 2.42 mixes up the histograms of two series.
    for name in ["whole", "parts"] {
        let query = format!("query={name}[3h]&time={}", START / 1000 + 9000);
        // HTTP/1.0: the answer is not cut into chunks.
        let answer = answered(port, "/api/v1/query", form, query.as_bytes(), "1.0").expect("an answer");
        let body = answer.split_once("\r\n\r\n").expect("a body").1;
        fs::write(answers.join(name).with_extension("json"), body).expect("written");
    }
    let answer = post(port, "/api/v1/admin/tsdb/snapshot", "", b"").expect("an answer");
    let name = answer.split("\"name\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a snapshot");
    let running = folder.join("running");
    for part in ["wal", "chunks_head"] {
        super::copy(&data.join(part), &running.join(part));
    }
    let snapshot = folder.join("snapshot");
    super::copy(&data.join("snapshots").join(name), &snapshot);
    server.stop();
    let head = folder.join("head");
    for part in ["wal", "chunks_head"] {
        super::copy(&data.join(part), &head.join(part));
    }
    Some(Left { snapshot, running, head, stopped: data, answers })
}

/// Sends everything, fifty steps a message, each series by itself.
fn send(port: u16) {
    let all = written();
    let mut parts: BTreeMap<i64, Vec<Message>> = BTreeMap::new();
    let part = |time: i64| (time - START) / (50 * STEP);
    for (key, points) in &all.floats {
        let mut points = points.clone();
        if key.starts_with("deleted") {
            points.extend((50..60).map(|at| (START + at * STEP, 1f64.to_bits())));
            points.sort_unstable();
        }
        for chunk in points.chunk_by(|a, b| part(a.0) == part(b.0)) {
            let mut message = series(key);
            for (time, bits) in chunk {
                message.bytes(2, &float(*time, f64::from_bits(*bits)).0);
            }
            parts.entry(part(chunk[0].0)).or_default().push(message);
        }
    }
    for (key, points) in &all.histograms {
        for chunk in points.chunk_by(|a, b| part(a.time) == part(b.time)) {
            let mut message = series(key);
            chunk.iter().for_each(|one| message.bytes(4, &histogram(one).0));
            parts.entry(part(chunk[0].time)).or_default().push(message);
        }
    }
    let headers = "Content-Type: application/x-protobuf\r\nContent-Encoding: snappy\r\nX-Prometheus-Remote-Write-Version: 0.1.0\r\n";
    for messages in parts.into_values() {
        let mut request = Message::default();
        messages.iter().for_each(|message| request.bytes(1, &message.0));
        let body = snap::raw::Encoder::new().compress_vec(&request.0).expect("snappy");
        let answer = post(port, "/api/v1/write", headers, &body).expect("an answer");
        assert!(answer.contains(" 204 "), "{answer}");
    }
}
