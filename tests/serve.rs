//! `syncline serve`: the answers of `query`, Debian's Prometheus over the same block call by call, `promtool` as a client, and
//! clients who mean harm.

mod prometheus;
mod promtool;
mod served;
mod url;

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use prometheus::Prometheus;
use promtool::promtool;
use serde_json::{Value, json};
use served::{Reply, Server, ask, get};
use url::escaped;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn sample(run: &str) -> String {
    root().join("sample-data").join(run).to_string_lossy().into_owned()
}

#[test]
fn it_answers_what_query_answers_and_shows_the_report() {
    let run = sample("cilium-scale-up-1");
    let server = Server::start(&[&run]);
    let last = server.get("/api/v1/query?query=time()").json()["data"]["result"][0].as_f64().expect("a time");
    for (query, times) in [
        ("sum by (job) (node_cpu_seconds_total)", format!("time={last}")),
        ("sum(rate(node_cpu_seconds_total[30s]))", format!("start={}&end={last}&step=5", last - 60.0)),
        ("topk(3, {__name__=~\"cilium_.*\"})", format!("time={last}")),
        ("up ==", format!("time={last}")),
    ] {
        let call = if times.starts_with("time") { "query" } else { "query_range" };
        let served = server.get(&format!("/api/v1/{call}?query={}&{times}", escaped(query)));
        let mut command = Command::new(env!("CARGO_BIN_EXE_syncline"));
        command.args(["query", &run, query, "--format", "json"]);
        times.split('&').filter_map(|one| one.split_once('=')).for_each(|(name, value)| {
            command.arg(format!("--{name}={value}"));
        });
        let printed = command.output().expect("syncline runs").stdout;
        assert_eq!(served.body, String::from_utf8_lossy(&printed).trim_end(), "{query}");
        let posted = ask(
            server.address,
            &format!("POST /api/v1/{call} HTTP/1.0\r\n"),
            &format!("query={}&{times}", escaped(query)),
        );
        assert_eq!(posted.expect("an answer").body, served.body, "{query}: by POST");
    }
    let report = server.get("/");
    assert_eq!(report.status, 200, "{}", report.body);
    // As a browser reads it.
    let body = report.body.replace("&#x2f;", "/").replace("&amp;", "&");
    let link = body.split("href=\"").find_map(|rest| rest.strip_prefix("/api/v1/query_range?")?.split('"').next());
    let link = link.expect("a link to the answer of a query");
    assert_eq!(server.get(&format!("/api/v1/query_range?{link}")).status, 200, "{link}");
    let page =
        body.split("href=\"").find_map(|rest| rest.starts_with("runs/").then(|| rest.split('"').next())).flatten();
    let page = server.get(&format!("/{}", page.expect("a page of the run")));
    assert!(page.status == 200 && page.body.contains("id=\"timeline\""), "the run's page");
}

#[test]
fn several_runs_are_told_apart_and_moved_to_now() {
    let runs = [sample("cilium-scale-up-1"), sample("iptables-scale-up-1")];
    let server = Server::start(&[&runs[0], &runs[1], "--shift", "now"]);
    let runs = server.data("/api/v1/label/run/values");
    assert_eq!(runs, json!(["cilium-scale-up-1", "iptables-scale-up-1"]));
    let reply = server.get("/api/v1/query?query=count%20by%20(run)%20(node_cpu_seconds_total)").json();
    assert_eq!(reply["data"]["result"].as_array().map(Vec::len), Some(2), "{reply}");
    let infos = reply["infos"].to_string();
    assert!(infos.contains("run cilium-scale-up-1 was captured from 20"), "{infos}");
    let end = reply["data"]["result"][0]["value"][0].as_f64().expect("a time");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs_f64();
    assert!((now - end).abs() < 300.0, "{now} {end}");
}

#[test]
fn no_other_page_reads_and_no_path_leads_out() {
    let server = Server::start(&[&sample("cilium-scale-up-1"), "--allow-origin", "http://grafana.lan:3000"]);
    let with = |headers: &str| {
        ask(server.address, &format!("GET /api/v1/query?query=1 HTTP/1.1\r\nConnection: close\r\n{headers}"), "")
            .expect("an answer")
    };
    for (host, status) in [("127.0.0.1", 200), ("localhost:9095", 200), ("grafana.lan", 200), ("evil.example", 403)] {
        assert_eq!(with(&format!("Host: {host}\r\n")).status, status, "{host}");
    }
    let allowed = with("Host: localhost\r\nOrigin: http://grafana.lan:3000\r\n");
    assert!(
        allowed.head.to_lowercase().contains("access-control-allow-origin: http://grafana.lan:3000"),
        "{}",
        allowed.head
    );
    let other = with("Host: localhost\r\nOrigin: http://evil.example\r\n");
    assert!(!other.head.to_lowercase().contains("access-control"), "{}", other.head);
    for url in [
        "/../../../../etc/passwd",
        "/runs/..%2f..%2f..%2fetc%2fpasswd",
        "//etc/passwd",
        "/%2e%2e/Cargo.toml",
        "/api/v1/admin/tsdb/snapshot",
    ] {
        let reply = server.get(url);
        assert!(reply.status == 404 && !reply.body.contains("root:"), "{url}: {}", reply.status);
    }
}

#[test]
fn clients_who_mean_harm_do_none() {
    let server = Server::start(&[&sample("cilium-scale-up-1"), "--timeout", "2s", "--max-samples", "1000000"]);
    let fine = || server.data("/api/v1/query?query=1%2B1")["result"][1] == "2";
    assert!(fine());
    let long = get(server.address, &format!("/api/v1/query?query={}", "1%2B".repeat(60_000)));
    assert!((400..500).contains(&long.status), "{}", long.status);
    let large = ask(server.address, "POST /api/v1/query HTTP/1.0\r\n", &format!("query={}1", "1%2B".repeat(400_000)));
    assert!(large.is_none_or(|reply| reply.status == 413), "a body of 1.6 MB");
    let deep = format!("query={}1{}", "(".repeat(200_000), ")".repeat(200_000));
    let deep = ask(server.address, "POST /api/v1/query HTTP/1.0\r\n", &deep).expect("an answer");
    assert_eq!(deep.status, 400, "{}", deep.body);
    for query in ["count_over_time({__name__=~\".+\"}[365d:1ms])", "count_over_time({__name__=~\".+\"}[1d:1s])[1d:1s]"]
    {
        let reply = server.get(&format!("/api/v1/query?query={}", escaped(query)));
        assert!([422, 503].contains(&reply.status), "{query}: {} {}", reply.status, reply.body);
    }
    // Heads and bodies that never end, and connections that say nothing.
    let mut held = Vec::new();
    for at in 0..600 {
        let Ok(mut stream) = TcpStream::connect(server.address) else { break };
        let part: &[u8] = match at % 3 {
            0 => b"",
            1 => b"GET /api/v1/query?query=1 HTTP/1.1\r\nHost: lo",
            _ => b"POST /api/v1/query HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nquery=",
        };
        stream.write_all(part).expect("taken");
        held.push(stream);
    }
    assert!(fine(), "while {} connections are held", held.len());
    // Clients that ask for much and take nothing.
    let url = format!(
        "GET /api/v1/query_range?query={}&start=1&end=10000&step=1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        escaped("vector(1)")
    );
    for stream in held.iter_mut().filter(|_| true).take(60).step_by(3) {
        let _ = stream.write_all(url.as_bytes());
    }
    assert!(fine(), "while answers are not taken");
}

#[test]
fn a_prometheus_reads_from_it() {
    let server = Server::start(&[&sample("cilium-scale-up-1")]);
    let folder = tempfile::tempdir().expect("a folder");
    let remote = format!("remote_read:\n- {{url: \"http://{}/api/v1/read\", read_recent: true}}\n", server.address);
    let Some(theirs) = Prometheus::with(folder.path(), &remote) else { return };
    // Not at the times of samples: before version 3 a window held both of its ends.
    let last = server.data("/api/v1/query?query=time()")["result"][0].as_f64().expect("a time").floor() - 3.5;
    for (query, least) in [
        ("sum by (mode) (rate(node_cpu_seconds_total{mode!~\"nice|steal\"}[30s]))", 5),
        ("{__name__=~\"node_.*|cilium_.*\"}", 500),
        ("count({__name__!=\"\"})", 1),
        ("nothing", 0),
    ] {
        let url = format!("/api/v1/query?query={}&time={last}", escaped(query));
        let (own, other) = (server.get(&url).json(), get(theirs.address, &url).json());
        assert_eq!(own["data"], other["data"], "{query}");
        let elements = own["data"]["result"].as_array().expect("elements").len();
        assert!(elements >= least, "{query}: {elements} elements");
    }
    for (request, body, status) in [
        ("GET /api/v1/read HTTP/1.0\r\n", "", 405),
        ("POST /api/v1/read HTTP/1.0\r\n", "", 400),
        ("POST /api/v1/read HTTP/1.0\r\n", "query=up", 400),
    ] {
        assert_eq!(ask(server.address, request, body).expect("an answer").status, status, "{request}{body}");
    }
}

fn copied(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copied(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copied");
        }
    }
}

/// Calls that both answer alike: status, content type, and the whole body.
const ALIKE: [&str; 40] = [
    "/api/v1/query?query=up",
    "/api/v1/query?query=count({__name__!=%22%22})&time=T",
    "/api/v1/query?query={__name__!=%22%22}&time=T",
    "/api/v1/query?query=sum%20by%20(job)%20(rate({__name__=~%22.%2Btotal%22}[5m]))&time=T",
    "/api/v1/query?query={__name__!=%22%22}[2m]&time=T",
    "/api/v1/query?query=%22text%22&time=T",
    "/api/v1/query?query=",
    "/api/v1/query?query=1&time=foo",
    "/api/v1/query?query=1&timeout=foo",
    "/api/v1/query?query=abs(1)&time=1",
    "/api/v1/query?query=up%2Bon(x)%20group_left()%20up&time=1",
    "/api/v1/query_range?query=count({__name__!=%22%22})&start=S&end=T&step=30",
    "/api/v1/query_range?query=1&start=1",
    "/api/v1/query_range?query=1&start=1&end=2",
    "/api/v1/query_range?query=1&start=2&end=1&step=1",
    "/api/v1/query_range?query=1&start=1&end=2&step=-1",
    "/api/v1/query_range?query=1&start=1&end=2&step=x",
    "/api/v1/query_range?query=1&start=1&end=99999&step=1",
    "/api/v1/series",
    "/api/v1/series?match[]={__name__!=%22%22}&start=S&end=T",
    "/api/v1/series?match[]={__name__!=%22%22}&start=1&end=2",
    "/api/v1/series?match[]=up&start=x",
    "/api/v1/labels",
    "/api/v1/labels?match[]=nothing",
    "/api/v1/label/__name__/values",
    "/api/v1/label/nothing/values",
    "/api/v1/metadata?limit=x",
    "/api/v1/query_exemplars?query=x",
    "/api/v1/query_exemplars",
    "/api/v1/format_query?query=sum(rate(x[90s]%20offset%201h))by(a,b)",
    "/api/v1/format_query",
    "/api/v1/rules",
    "/api/v1/rules?type=x",
    "/api/v1/alerts",
    "/api/v1/alertmanagers",
    "/api/v1/targets/metadata",
    "/api/v1/scrape_pools",
    "/api/v1/nothing",
    "/-/ready",
    "/-/healthy",
];

#[test]
fn it_answers_as_prometheus_does_over_the_same_block() {
    if !promtool() {
        return;
    }
    let block = root().join("tests/fixtures/prometheus-tsdb/block");
    let server = Server::start(&[&block.to_string_lossy()]);
    let folder = tempfile::tempdir().expect("a folder");
    copied(&block, &folder.path().join("data"));
    let Some(theirs) = Prometheus::over(folder.path()) else { return };
    // Not at the times of samples: before version 3 a window held both of its ends.
    let last = server.data("/api/v1/query?query=time()")["result"][0].as_f64().expect("a time").floor() - 3.5;
    let content = |reply: &Reply| {
        let lines = reply.head.lines().map(str::to_lowercase);
        lines.filter(|line| line.starts_with("content-type")).collect::<Vec<_>>()
    };
    let mut other_than_theirs = Vec::new();
    for url in ALIKE {
        let url = url.replace("=T", &format!("={last}")).replace("=S", &format!("={}", last - 600.0));
        let (own, other) = (server.get(&url), get(theirs.address, &url));
        let same = match serde_json::from_str::<Value>(&other.body) {
            Ok(expected) => own.json() == expected,
            Err(_) => own.body == other.body,
        };
        if !same || (own.status, content(&own)) != (other.status, content(&other)) {
            other_than_theirs.push(format!("{url}\n{}\n{}\n{}\n{}", own.head, own.body, other.head, other.body));
        }
    }
    assert!(other_than_theirs.is_empty(), "{}", other_than_theirs.join("\n\n"));
    for method in ["DELETE", "PUT", "OPTIONS"] {
        let of = |address| ask(address, &format!("{method} /api/v1/query HTTP/1.0\r\n"), "").expect("an answer").status;
        assert_eq!(of(server.address), of(theirs.address), "{method}");
    }
    // And with a fault: another block.
    let others = Server::start(&[&root().join("tests/fixtures/prometheus-tsdb/head").to_string_lossy()]);
    assert_ne!(
        others.get("/api/v1/label/__name__/values").json(),
        get(theirs.address, "/api/v1/label/__name__/values").json()
    );
}

#[test]
fn promtool_is_a_client() {
    if !promtool() {
        return;
    }
    let server = Server::start(&[&sample("cilium-scale-up-1")]);
    let url = format!("http://{}", server.address);
    let last = server.data("/api/v1/query?query=time()")["result"][0].as_f64().expect("a time");
    let (start, end) = (format!("{}", last - 60.0), format!("{last}"));
    for arguments in [
        vec!["query", "instant", "--time", &end, &url, "sum(node_cpu_seconds_total)"],
        vec!["query", "range", "--start", &start, "--end", &end, "--step", "15s", &url, "sum(node_cpu_seconds_total)"],
        vec!["query", "series", "--match", "node_cpu_seconds_total", "--start", &start, "--end", &end, &url],
        vec!["query", "labels", "--start", &start, "--end", &end, &url, "job"],
    ] {
        let output = Command::new("promtool").args(&arguments).output().expect("promtool runs");
        assert!(output.status.success() && !output.stdout.is_empty(), "{arguments:?}: {output:?}");
    }
}
