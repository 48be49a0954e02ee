//! A Prometheus in the cluster: the catalogue's series over the recording, asked for in pieces while it runs and at its end.
//!
//! ```text
//! GET /api/v1/query?query=kubeproxy_sync_proxy_rules_duration_seconds_bucket[300s]&time=1790000300.000
//! ```
//!
//! Asked is a range selector at one moment, not `query_range`: its answer has the samples at their own times, while
//! `query_range` would repeat them at the times of its steps. Reached directly by the Service's address, else through the API
//! server (`/api/v1/namespaces/NS/services/NAME:PORT/proxy/…`), which needs the right to do so. One answer a file.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::Value;
use syncline_schema::loss::RECORDER_GAP;

use super::fetch::{Fetcher, refused, shown};
use super::folder::Out;
use super::moment::{Moment, seconds};
use super::plan::Plan;
use super::scrape::has_path;
use super::source::{Found, Lack, Source};
use super::stop::Stop;
use crate::form::instant::SECOND;

/// A Prometheus.
pub const SOURCE: Source = Source {
    name: "prometheus",
    kinds: &["prometheus-api"],
    about: "the catalogue's series from a Prometheus in the cluster, or --scrape http://HOST:PORT of one",
    cadence: Some(Duration::from_secs(300)),
    prepares: false,
    needs,
    run,
};

/// Selectors of the catalogue's series: what the rows' queries name, of the proxies' containers and this node where a label tells.
pub const SELECTORS: &[&str] = &[
    "kubeproxy_sync_proxy_rules_duration_seconds_bucket",
    "kubeproxy_sync_proxy_rules_duration_seconds_sum",
    "kubeproxy_sync_proxy_rules_duration_seconds_count",
    "kubeproxy_network_programming_duration_seconds_count",
    "kubeproxy_sync_proxy_rules_iptables_total",
    "kubeproxy_sync_proxy_rules_iptables_last",
    "kubeproxy_sync_proxy_rules_iptables_restore_failures_total",
    "kubeproxy_sync_proxy_rules_iptables_partial_restore_failures_total",
    "kubeproxy_sync_proxy_rules_nftables_sync_failures_total",
    "cilium_endpoint_regeneration_time_stats_seconds_bucket",
    "cilium_endpoint_regeneration_time_stats_seconds_sum",
    "cilium_endpoint_regeneration_time_stats_seconds_count",
    "cilium_reconciler_duration_seconds_bucket",
    "cilium_reconciler_duration_seconds_sum",
    "cilium_reconciler_duration_seconds_count",
    "cilium_statedb_table_objects",
    "cilium_forward_count_total",
    "cilium_drop_count_total",
    "cilium_bpf_map_ops_total",
    "cilium_process_cpu_seconds_total",
    "cilium_process_resident_memory_bytes",
    "container_cpu_usage_seconds_total{container=~\"kube-proxy|cilium-agent\"}",
    "container_memory_working_set_bytes{container=~\"kube-proxy|cilium-agent\"}",
    "process_cpu_seconds_total{job=~\".*(kube-proxy|cilium).*\"}",
    "process_resident_memory_bytes{job=~\".*(kube-proxy|cilium).*\"}",
    "process_start_time_seconds{job=~\".*(kube-proxy|cilium).*\"}",
    "node_cpu_seconds_total",
    "machine_cpu_cores",
    "http_requests_total",
];

/// Labels by which the usual installations mark their Prometheus.
const MARKS: [&str; 3] = ["app.kubernetes.io/name=prometheus", "operated-prometheus=true", "app=prometheus"];
/// An answer within this time, or none.
const LIMIT: Duration = Duration::from_secs(10);
/// All answers of the last piece: sources may take no longer to end.
const LAST_LIMIT: Duration = Duration::from_secs(4);
/// The same while it is looked what there is.
const FIRST_LIMIT: Duration = Duration::from_millis(700);

/// How a server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Way {
    /// By its URL.
    Direct(String),
    /// Through the API server: the path up to `/proxy`.
    Through(String),
}

impl Way {
    fn words(&self) -> String {
        match self {
            Way::Direct(url) => shown(url),
            Way::Through(path) => format!("{path} of the API server"),
        }
    }

    fn get(&self, plan: &Plan, limit: Duration, path: &str) -> anyhow::Result<Vec<u8>> {
        match self {
            Way::Direct(url) => {
                let url = format!("{}{path}", url.trim_end_matches('/'));
                Fetcher::new(limit).get(&url, "application/json", None)
            }
            Way::Through(ahead) => {
                let api = plan.api.as_ref().context("no API server")?;
                Ok(api.get(&format!("{ahead}{path}"))?)
            }
        }
    }
}

/// Whether a server answers as a Prometheus does.
pub fn is_server(url: &str) -> bool {
    let url = format!("{}/api/v1/status/buildinfo", url.trim_end_matches('/'));
    Fetcher::new(FIRST_LIMIT).get(&url, "application/json", None).is_ok_and(|body| is_success(&body))
}

fn is_success(body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body).is_ok_and(|answer| answer["status"] == "success")
}

/// The Services that may be one, as ways to them: direct first.
fn candidates(plan: &Plan) -> Vec<Way> {
    let mut found: Vec<Way> = Vec::new();
    for url in plan.scrape.iter().filter(|url| refused(url).is_none() && !has_path(url)) {
        found.push(Way::Direct(url.clone()));
    }
    let Some(api) = &plan.api else { return found };
    let mut through = Vec::new();
    for mark in MARKS {
        let Ok(list) = api.json(&format!("/api/v1/services?limit=20&labelSelector={}", encoded(mark))) else {
            continue;
        };
        for service in list["items"].as_array().into_iter().flatten() {
            of_service(service, &mut found, &mut through);
        }
    }
    found.append(&mut through);
    found
}

fn of_service(service: &Value, direct: &mut Vec<Way>, through: &mut Vec<Way>) {
    let text = |name: &str| service["metadata"][name].as_str().unwrap_or_default();
    let (name, namespace) = (text("name"), text("namespace"));
    let ports: Vec<&Value> = service["spec"]["ports"].as_array().into_iter().flatten().collect();
    let named = |port: &&&Value| matches!(port["name"].as_str(), Some("web" | "http" | "http-web"));
    let usual = |port: &&&Value| port["port"] == 9090;
    let Some(port) = ports.iter().find(usual).or_else(|| ports.iter().find(named)).or(ports.first()) else { return };
    let Some(number) = port["port"].as_u64() else { return };
    let add = |list: &mut Vec<Way>, way: Way| {
        if !list.contains(&way) {
            list.push(way);
        }
    };
    if let Some(address) = service["spec"]["clusterIP"].as_str().and_then(|text| text.parse::<std::net::IpAddr>().ok())
    {
        add(
            direct,
            Way::Direct(format!("http://{}", std::net::SocketAddr::new(address, u16::try_from(number).unwrap_or(0)))),
        );
    }
    add(through, Way::Through(format!("/api/v1/namespaces/{namespace}/services/{name}:{number}/proxy")));
}

/// The first that answers.
fn look(plan: &Plan) -> Result<Way, String> {
    let all = candidates(plan);
    let mut why = match plan.api {
        Some(_) => "no Service of the cluster is labelled as one".to_owned(),
        None => "the cluster could not be asked for one".to_owned(),
    };
    // The direct ways need no right; each may take its time limit, so not many are tried.
    for way in all.into_iter().take(4) {
        match way.get(plan, FIRST_LIMIT, "/api/v1/status/buildinfo") {
            Ok(body) if is_success(&body) => return Ok(way),
            Ok(_) => why = format!("{}: it answers otherwise than a Prometheus", way.words()),
            Err(error) => why = format!("{}: {error:#}", way.words()),
        }
    }
    Err(why)
}

fn needs(plan: &Plan) -> Result<Found, Lack> {
    look(plan).map(|way| way.words()).map_err(|why| {
        let remedy =
            "nothing where `metrics` has the pages themselves; else --scrape http://ADDRESS:9090 of a Prometheus";
        Lack::new(format!("no Prometheus: {why}"), remedy)
    })
}

fn run(plan: &Plan, out: &mut Out, stop: &Stop) -> anyhow::Result<()> {
    let way = look(plan).map_err(anyhow::Error::msg)?;
    let begun = Moment::now().realtime;
    let mut narrow = Narrow::of(plan);
    let mut from = begun;
    let mut next = Instant::now() + plan.every(SOURCE.name);
    loop {
        let goes_on = stop.beat(&mut next, plan.every(SOURCE.name));
        let until = Moment::now().realtime;
        let limit = if goes_on { LIMIT * 3 } else { LAST_LIMIT };
        piece(plan, out, &way, &mut narrow, (from, until), Instant::now() + limit);
        out.tick();
        from = until;
        if !goes_on {
            return Ok(());
        }
    }
}

/// By which label the series of this node are told from those of others; the first that gives any is kept.
struct Narrow {
    /// Matchers to try, `,name="value"` each; the last one is empty.
    matchers: Vec<String>,
}

impl Narrow {
    fn of(plan: &Plan) -> Self {
        let mut matchers = Vec::new();
        if let Some(address) = plan.proxy.pods.iter().find_map(|pod| pod.ip) {
            let plain = address.to_string().replace('.', "[.]");
            matchers.push(format!("instance=~\"\\\\[?{plain}\\\\]?(:[0-9]+)?\""));
        }
        if let Some(node) = &plan.node {
            matchers.push(format!("node=\"{node}\""));
            matchers.push(format!("instance=\"{node}\""));
        }
        matchers.push(String::new());
        Self { matchers }
    }
}

/// Asks for the samples of `(from, until]`, a file a selector.
fn piece(plan: &Plan, out: &Out, way: &Way, narrow: &mut Narrow, (from, until): (i64, i64), deadline: Instant) {
    // Two pieces share a second: a sample that stands twice is one sample.
    let span = ((until - from).max(0) + SECOND - 1) / SECOND + 1;
    let mut failed: Vec<String> = Vec::new();
    let mut written = 0_usize;
    for tried in 0..narrow.matchers.len() {
        let Some(matcher) = narrow.matchers.get(tried).cloned() else { break };
        for selector in SELECTORS {
            let query = format!("{}[{span}s]", with(selector, &matcher));
            let path = format!("/api/v1/query?query={}&time={}", encoded(&query), seconds(until));
            let name = selector.split('{').next().unwrap_or_default();
            let left = deadline.saturating_duration_since(Instant::now()).min(LIMIT).max(Duration::from_millis(1));
            let asked = way.get(plan, left, &path).and_then(|body| write(out, name, until, &body));
            match asked {
                Ok(any) => written += usize::from(any),
                Err(error) => failed.push(format!("{name}: {error:#}")),
            }
            // A server that does not answer the first ones answers none.
            if failed.len() >= 3 && written == 0 {
                break;
            }
        }
        if written > 0 {
            // Known from now on.
            narrow.matchers = vec![matcher];
            break;
        }
        if !failed.is_empty() {
            break;
        }
    }
    if let Some(first) = failed.first() {
        let what = format!("{}: {} questions without an answer, the first: {first}", way.words(), failed.len());
        out.lost_between(RECORDER_GAP, failed.len() as u64, from, until, what);
    } else if written == 0 {
        let what = format!("{}: it has none of the catalogue's series for this stretch", way.words());
        out.lost_between(RECORDER_GAP, 1, from, until, what);
    }
}

/// A selector with one more matcher.
fn with(selector: &str, matcher: &str) -> String {
    match (matcher.is_empty(), selector.strip_suffix('}')) {
        (true, _) => selector.to_owned(),
        (false, Some(open)) => format!("{open},{matcher}}}"),
        (false, None) => format!("{selector}{{{matcher}}}"),
    }
}

/// Writes an answer; false where it has no series.
fn write(out: &Out, name: &str, until: i64, body: &[u8]) -> anyhow::Result<bool> {
    let answer: Value = serde_json::from_slice(body).context("expected JSON")?;
    if answer["status"] != "success" {
        bail!("{}", answer["error"].as_str().unwrap_or("it failed without a word"));
    }
    let Some(result) = answer["data"]["result"].as_array() else { bail!("an answer without a result") };
    if result.is_empty() {
        return Ok(false);
    }
    let mut file = out.file(&format!("prometheus/{name}-{}.json", until / SECOND))?;
    let mut text = body.to_vec();
    text.push(b'\n');
    file.write_record(&text)?;
    Ok(true)
}

/// Percent-encoded for the query of a URL.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{SOURCE, Way, encoded, needs, of_service, with};
    use crate::record::fetch::tests::{ok, server};
    use crate::record::folder::Folder;
    use crate::record::host::Host;
    use crate::record::plan::Plan;
    use crate::record::stop::Stop;
    use std::io::Read as _;

    #[test]
    fn the_series_of_the_run_are_asked_for_at_its_end() {
        let (address, asked) = server(|number| {
            let matrix = br#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"a"},"values":[[1790000000.5,"1"]]}]}}"#;
            match number {
                0 => ok("", br#"{"status":"success","data":{"version":"3"}}"#),
                2 => b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n".to_vec(),
                3 => ok("", br#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#),
                _ => ok("", matrix),
            }
        });
        let mut plan = Plan::of(Host::default());
        plan.scrape = vec![format!("http://{address}")];
        let folder = tempfile::tempdir().expect("a folder");
        let capture = Folder::begin(folder.path(), u64::MAX).expect("a capture");
        let stop = Stop::default();
        stop.set();
        (SOURCE.run)(&plan, &mut capture.out("prometheus"), &stop).expect("it answers");
        capture.finish();
        assert!(asked.iter().take(2).any(|request| request.contains("/api/v1/query?query=kubeproxy_sync")));
        let losses = capture.losses();
        assert!(losses.len() == 1 && losses[0].what.contains("503"), "{losses:?}");
        let files: Vec<_> = std::fs::read_dir(folder.path().join("prometheus")).expect("answers").flatten().collect();
        assert_eq!(files.len(), super::SELECTORS.len() - 2);
        let mut text = String::new();
        let file = std::fs::File::open(files[0].path()).expect("an answer");
        zstd::Decoder::new(file).expect("zstd").read_to_string(&mut text).expect("text");
        assert!(text.starts_with("{\"status\":\"success\""), "{text}");
    }

    #[test]
    fn a_server_of_another_kind_is_none() {
        let (address, _asked) = server(|_| ok("", b"<html>"));
        let mut plan = Plan::of(Host::default());
        plan.scrape = vec![format!("http://{address}")];
        assert!(needs(&plan).expect_err("no Prometheus").what.contains("otherwise than a Prometheus"));
        plan.scrape.clear();
        assert!(needs(&plan).expect_err("nothing to ask").what.contains("could not be asked"));
    }

    #[test]
    fn services_are_reached_directly_and_through_the_api() {
        let service = serde_json::json!({"metadata": {"name": "kube-prometheus-prometheus", "namespace": "monitoring"},
            "spec": {"clusterIP": "10.96.3.4", "ports": [{"name": "reloader-web", "port": 8080}, {"name": "http-web", "port": 9090}]}});
        let (mut direct, mut through) = (Vec::new(), Vec::new());
        of_service(&service, &mut direct, &mut through);
        assert_eq!(direct, [Way::Direct("http://10.96.3.4:9090".into())]);
        let path = "/api/v1/namespaces/monitoring/services/kube-prometheus-prometheus:9090/proxy";
        assert_eq!(through, [Way::Through(path.into())]);
        let headless = serde_json::json!({"metadata": {"name": "p", "namespace": "m"}, "spec": {"clusterIP": "None", "ports": [{"port": 9090}]}});
        let (mut direct, mut through) = (Vec::new(), Vec::new());
        of_service(&headless, &mut direct, &mut through);
        assert_eq!((direct.len(), through.len()), (0, 1));
    }

    #[test]
    fn selectors_take_one_more_matcher() {
        assert_eq!(with("a", "b=\"c\""), "a{b=\"c\"}");
        assert_eq!(with("a{d=\"e\"}", "b=\"c\""), "a{d=\"e\",b=\"c\"}");
        assert_eq!(with("a", ""), "a");
        assert_eq!(encoded("a{b=~\"c|d\"}[5s]"), "a%7Bb%3D~%22c%7Cd%22%7D%5B5s%5D");
    }
}
