//! Every call over a small store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use syncline_promql::{Labels, MemoryStorage, Series};

use super::Api;
use crate::{Clock, Guard, Held, Metadata, Pages, Request, Response, Served};

struct NoPages;

impl Pages for NoPages {
    fn page(&self, path: &str) -> Option<Response> {
        path.is_empty().then(|| Response::text(200, "report"))
    }
}

fn series(pairs: &[(&'static str, &'static str)], times: &[i64]) -> Series {
    let values = times.iter().map(|time| *time as f64 / 1e3).collect();
    Series { labels: Labels::new(pairs.iter().copied()), times: times.to_vec().into(), values, ..Series::default() }
}

fn api() -> Api {
    let all = vec![
        series(&[("__name__", "up"), ("job", "a\"b"), ("run", "one")], &[1_000, 2_000, 61_000]),
        series(&[("__name__", "up"), ("job", "c"), ("run", "two")], &[60_000]),
        series(&[("__name__", "a.b"), ("k.l", "v"), ("instance", "i")], &[60_000]),
    ];
    let mut held = Held::default();
    all.iter().for_each(|one| held.add(one));
    let unknown = Metadata { kind: "gauge".into(), help: String::new(), unit: String::new() };
    let served = Served {
        storage: MemoryStorage::new(all),
        held,
        metadata: BTreeMap::from([("up".to_owned(), vec![unknown])]),
        rules: vec![
            json!({"name": "g", "file": "f", "rules": [{"type": "alerting", "name": "A"}, {"type": "recording", "name": "r"}]}),
        ],
        alerts: vec![json!({"state": "firing"})],
        notes: Vec::new(),
        clock: Clock::Captured(61_000),
        lookback: Duration::from_secs(300),
        timeout: Duration::from_secs(120),
        max_samples: 50_000_000,
        memory: 1 << 30,
        pages: Arc::new(NoPages),
        version: "0",
        started: 0,
        listen: "127.0.0.1:9095".into(),
    };
    Api::new(served, Guard::default())
}

fn asked(method: &str, url: &str) -> Response {
    api().answer(&Request::new(method, url, b""), Instant::now())
}

fn data(url: &str) -> Value {
    let answer = asked("GET", url);
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((answer.status, &body["status"]), (200, &json!("success")), "{url}: {body}");
    body["data"].clone()
}

fn error(url: &str) -> (u16, String, String) {
    let answer = asked("GET", url);
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    (answer.status, text("errorType"), text("error"))
}

#[test]
fn queries_are_answered_now_and_at_times() {
    assert_eq!(data("/api/v1/query?query=sum(up)")["result"][0]["value"], json!([61, "121"]));
    assert_eq!(data("/api/v1/query?query=sum(up)&time=2")["result"][0]["value"], json!([2, "2"]));
    let range = data("/api/v1/query_range?query=up{job=%22c%22}&start=60&end=62&step=1");
    assert_eq!(range["result"][0]["values"], json!([[60, "60"], [61, "60"], [62, "60"]]));
    let few = asked("GET", "/api/v1/query?query=up&limit=1");
    let few: Value = serde_json::from_slice(&few.body).unwrap();
    assert_eq!(few["data"]["result"].as_array().unwrap().len(), 1);
    assert_eq!(few["warnings"], json!(["results truncated due to limit"]));
    // A sample 59 s old, with a lookback of 10 s.
    assert_eq!(data("/api/v1/query?query=up{run=%22one%22}&time=59&lookback_delta=10s")["result"], json!([]));
}

#[test]
fn what_cannot_be_asked_is_said_as_prometheus_says_it() {
    let bad = |message: &str| (400, "bad_data".to_owned(), message.to_owned());
    for (url, message) in [
        ("query", "invalid parameter \"query\": 1:1: parse error: no expression found in input"),
        (
            "query?query=up&time=foo",
            "invalid parameter \"time\": Invalid time value for 'time': cannot parse \"foo\" to a valid timestamp",
        ),
        ("query?query=up&timeout=foo", "invalid parameter \"timeout\": cannot parse \"foo\" to a valid duration"),
        ("query?query=up&limit=-1", "invalid parameter \"limit\": limit must be non-negative"),
        ("query_range?query=1", "invalid parameter \"start\": cannot parse \"\" to a valid timestamp"),
        ("query_range?query=1&start=1&end=2", "invalid parameter \"step\": cannot parse \"\" to a valid duration"),
        (
            "query_range?query=1&start=2&end=1&step=1",
            "invalid parameter \"end\": end timestamp must not be before start time",
        ),
        (
            "query_range?query=1&start=1&end=2&step=-1",
            "invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer",
        ),
        (
            "query_range?query=up[1m]&start=1&end=99999&step=1",
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ),
        ("series", "no match[] parameter provided"),
        ("metadata?limit=x", "limit must be a number"),
        ("rules?type=x", "invalid parameter \"type\": not supported value \"x\""),
    ] {
        assert_eq!(error(&format!("/api/v1/{url}")), bad(message), "{url}");
    }
    let (status, kind, _) = error("/api/v1/query?query=up%2Bon()up");
    assert_eq!((status, kind.as_str()), (422, "execution"));
    let (status, kind, message) = error("/api/v1/query?query=up&timeout=0.000000001");
    assert_eq!((status, kind.as_str()), (503, "timeout"), "{message}");
}

#[test]
fn series_and_labels_are_listed_by_matcher_and_time() {
    let all = data("/api/v1/series?match[]=up&match[]=up{job=%22c%22}");
    assert_eq!(all.as_array().unwrap().len(), 2, "each once");
    assert_eq!(data("/api/v1/series?match[]=up&end=50").as_array().unwrap().len(), 1);
    assert_eq!(data("/api/v1/labels"), json!(["__name__", "instance", "job", "k.l", "run"]));
    assert_eq!(data("/api/v1/labels?match[]=up"), json!(["__name__", "job", "run"]));
    assert_eq!(data("/api/v1/label/run/values"), json!(["one", "two"]));
    assert_eq!(data("/api/v1/label/run/values?limit=1"), json!(["one"]));
    assert_eq!(data("/api/v1/label/U__k_2e_l/values"), json!(["v"]));
    assert_eq!(data("/api/v1/label/k.l/values"), json!(["v"]));
    assert_eq!(data("/api/v1/label/none/values"), json!([]));
    assert_eq!(data("/api/v1/metadata"), json!({"up": [{"type": "gauge", "help": "", "unit": ""}]}));
    assert_eq!(error("/api/v1/series?match[]=1").0, 400);
}

#[test]
fn rules_are_chosen_by_type_and_name() {
    let rules = |query: &str| data(&format!("/api/v1/rules{query}"))["groups"].clone();
    assert_eq!(rules("")[0]["rules"].as_array().unwrap().len(), 2);
    assert_eq!(rules("?type=alert")[0]["rules"], json!([{"type": "alerting", "name": "A"}]));
    assert_eq!(rules("?rule_name[]=none"), json!([]));
    assert_eq!(data("/api/v1/alerts")["alerts"][0]["state"], "firing");
}

#[test]
fn what_a_server_tells_of_itself_names_no_path() {
    for what in ["buildinfo", "runtimeinfo", "flags", "tsdb", "config", "walreplay"] {
        let text = data(&format!("/api/v1/status/{what}")).to_string();
        assert!(!text.contains("/home") && !text.contains("/work") && !text.contains("/root"), "{what}: {text}");
    }
    assert_eq!(data("/api/v1/status/tsdb")["headStats"]["numSeries"], 3);
    let own = String::from_utf8(asked("GET", "/metrics").body).unwrap();
    assert!(own.contains("syncline_series 3"), "{own}");
}

#[test]
fn the_newest_samples_are_federated() {
    let text = String::from_utf8(asked("GET", "/federate?match[]=up").body).unwrap();
    assert_eq!(
        text,
        "# TYPE up untyped\nup{job=\"a\\\"b\",run=\"one\",instance=\"\"} 61 61000\nup{job=\"c\",run=\"two\",instance=\"\"} 60 60000\n"
    );
    assert_eq!(asked("GET", "/federate?match[]={").status, 400);
}

#[test]
fn only_what_reads_is_answered() {
    for (method, url, status) in [
        ("DELETE", "/api/v1/query", 405),
        ("PUT", "/api/v1/query", 405),
        ("POST", "/api/v1/metadata", 405),
        ("OPTIONS", "/api/v1/query", 204),
        ("POST", "/api/v1/admin/tsdb/delete_series", 404),
        ("POST", "/api/v1/write", 404),
        ("GET", "/../../etc/passwd", 404),
        ("GET", "/runs/..%2f..%2fetc%2fpasswd", 404),
        ("GET", "/api/v1/label/a/b/values", 404),
        ("GET", "/", 200),
        ("POST", "/", 404),
    ] {
        assert_eq!(asked(method, url).status, status, "{method} {url}");
    }
}

#[test]
fn large_answers_are_packed_for_who_takes_it() {
    let request =
        Request { gzip: true, ..Request::new("GET", "/api/v1/query_range?query=up&start=0&end=1000&step=1", b"") };
    let packed = api().answer(&request, Instant::now());
    assert!(packed.headers.iter().any(|(name, value)| *name == "Content-Encoding" && value == "gzip"));
    let mut plain = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(packed.body.as_slice()), &mut plain).unwrap();
    assert_eq!(plain, asked("GET", "/api/v1/query_range?query=up&start=0&end=1000&step=1").body);
}
