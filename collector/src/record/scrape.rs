//! Pages of metrics, each behind the time at which it was asked for: of kube-proxy, the Cilium agent, Hubble, the kubelet's cAdvisor,
//! node-exporter, and of URLs that were named.
//!
//! ```text
//! # SCRAPE 1790000000.671684257 1790000000.673120001 http://127.0.0.1:10249/metrics     asked, answered, where
//! # TYPE go_goroutines gauge
//! go_goroutines 203
//! ```
//!
//! Pages are kept whole: only a whole page shows that a series is not there. One thread a target, so that a slow one delays no other.
//! The proxies' own pages are read at the cadence, those of the node, which cost the node more, at a fifth of it.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::bail;
use syncline_schema::loss::RECORDER_GAP;

use super::fetch::{Fetcher, Token, refused, shown, stem};
use super::folder::Out;
use super::moment::{Moment, seconds};
use super::plan::Plan;
use super::prometheus::is_server;
use super::source::{Found, Lack, Source};
use super::stop::Stop;

/// Pages of metrics.
pub const SOURCE: Source = Source {
    name: "metrics",
    kinds: &["scrape"],
    about: "pages of metrics: kube-proxy, cilium-agent, Hubble, cAdvisor, node-exporter, --scrape",
    cadence: Some(Duration::from_secs(1)),
    prepares: false,
    needs,
    run,
};

/// A page within this time, or none.
const LIMIT: Duration = Duration::from_secs(10);
/// The same while it is looked what there is.
const FIRST_LIMIT: Duration = Duration::from_millis(800);
/// What a page may be: text, of either kind.
const ACCEPT: &str = "text/plain;version=0.0.4;q=0.9,application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1";
/// Where a pod finds the token of its account.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
/// The node's pages are read this many times less often.
const NODES: u32 = 5;

/// Something that may have a page.
#[derive(Clone, Debug)]
struct Target {
    /// For people.
    title: &'static str,
    /// The file's name.
    stem: String,
    /// Where it may answer, the first that does is taken.
    urls: Vec<String>,
    token: Option<Token>,
    /// Multiple of the cadence.
    slower: u32,
    /// Whether it is known to be there, so that its silence is a gap.
    expected: bool,
}

/// All that may have a page here.
fn targets(plan: &Plan) -> Vec<Target> {
    let runs = |name: &str| {
        plan.proxy.processes.iter().any(|process| process.name == name)
            || plan.proxy.pods.iter().any(|pod| pod.containers.iter().any(|container| container.name == name))
    };
    // A proxy's pod has the node's own address.
    let node: Option<IpAddr> = plan.proxy.pods.iter().find_map(|pod| pod.ip);
    let at = |scheme: &str, port: u16, path: &str| {
        let mut urls = vec![format!("{scheme}://127.0.0.1:{port}{path}")];
        match node {
            Some(IpAddr::V4(address)) => urls.push(format!("{scheme}://{address}:{port}{path}")),
            Some(IpAddr::V6(address)) => urls.push(format!("{scheme}://[{address}]:{port}{path}")),
            None => {}
        }
        urls
    };
    let target = |title, stem: &str, urls, slower, expected| Target {
        title,
        stem: stem.to_owned(),
        urls,
        token: None,
        slower,
        expected,
    };
    let token = Some(PathBuf::from(TOKEN)).filter(|path| path.exists()).map(Token);
    let mut all = vec![
        target("kube-proxy :10249", "kube-proxy", at("http", 10249, "/metrics"), 1, runs("kube-proxy")),
        target("cilium-agent :9962", "cilium-agent", at("http", 9962, "/metrics"), 1, runs("cilium-agent")),
        target("Hubble :9965", "hubble", at("http", 9965, "/metrics"), 1, false),
        target("node-exporter :9100", "node-exporter", at("http", 9100, "/metrics"), NODES, false),
    ];
    let cadvisor = target("cAdvisor :10250", "cadvisor", at("https", 10250, "/metrics/cadvisor"), NODES, false);
    all.push(Target { token, ..cadvisor });
    for url in plan.scrape.iter().filter(|url| refused(url).is_none()) {
        let url = match has_path(url) {
            true => url.clone(),
            // Without a path it may be a Prometheus, which `prometheus` asks; else its page is meant.
            false if is_server(url) => continue,
            false => format!("{}/metrics", url.trim_end_matches('/')),
        };
        all.push(Target {
            title: "--scrape",
            stem: stem(&url),
            urls: vec![url],
            token: None,
            slower: 1,
            expected: true,
        });
    }
    all
}

/// Whether a URL names more than a server.
pub fn has_path(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find('/').is_some_and(|at| rest[at..].len() > 1)
}

/// A target and what its first page was: the URL that answered, or why none did.
struct Looked {
    target: Target,
    found: Result<String, String>,
}

/// Asks all targets at once.
fn look(plan: &Plan) -> Vec<Looked> {
    let ask = |target: Target| {
        let mut found = Err("it has no address".to_owned());
        for url in &target.urls {
            found = enter(plan)
                .and_then(|()| page(&Fetcher::new(FIRST_LIMIT), url, target.token.as_ref()))
                .map(|_| url.clone())
                .map_err(|error| format!("{error:#}"));
            if found.is_ok() {
                break;
            }
        }
        Looked { target, found }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = targets(plan).into_iter().map(|target| scope.spawn(|| ask(target))).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
    })
}

/// Enters the network namespace of the proxy on this thread, where the recorder is in another one.
fn enter(plan: &Plan) -> anyhow::Result<()> {
    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
    let Some(path) = &plan.host.netns else { return Ok(()) };
    let file = std::fs::File::open(path)?;
    Ok(move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), Some(LinkNameSpaceType::Network))?)
}

fn needs(plan: &Plan) -> Result<Found, Lack> {
    if let Some((url, why)) = plan.scrape.iter().find_map(|url| Some((url, refused(url)?))) {
        return Err(Lack::new(format!("--scrape {}: {why}", shown(url)), "--scrape http://ADDRESS:PORT/metrics"));
    }
    let looked = look(plan);
    let mut found: Vec<String> = Vec::new();
    let mut missing: Vec<String> = Vec::new();
    for one in &looked {
        match &one.found {
            Ok(url) if one.target.token.is_some() => {
                found.push(format!("{} (by the account's token; its certificate is not checked)", shown(url)))
            }
            Ok(url) => found.push(shown(url)),
            Err(why) if one.target.expected || why.contains("answered") => {
                missing.push(format!("{}: {why}", one.target.title))
            }
            Err(_) => {}
        }
    }
    let silent = if missing.is_empty() { String::new() } else { format!("; not {}", missing.join("; not ")) };
    if found.is_empty() {
        let what = format!("no page of metrics answers on this node{silent}");
        let remedy = "let kube-proxy listen (metricsBindAddress 127.0.0.1:10249) or Cilium (--set prometheus.enabled=true), or name pages with --scrape URL";
        return Err(Lack::new(what, remedy));
    }
    Ok(format!("{}{silent}", found.join(", ")))
}

/// One page, checked to be one.
fn page(fetcher: &Fetcher, url: &str, token: Option<&Token>) -> anyhow::Result<Vec<u8>> {
    let mut text = fetcher.get(url, ACCEPT, token)?;
    let first = text.split(|byte| *byte == b'\n').find(|line| !line.trim_ascii().is_empty()).unwrap_or_default();
    let begins =
        first.first().is_some_and(|letter| letter.is_ascii_alphabetic() || matches!(letter, b'_' | b':' | b'#' | b'{'));
    if !begins || first.starts_with(b"{\"") {
        bail!("what it answers is no page of metrics");
    }
    // A line that looks like the stamp of a page would end this one.
    if text.starts_with(b"# SCRAPE ") || memchr::memmem::find(&text, b"\n# SCRAPE ").is_some() {
        bail!("it is a recording of pages, not a page");
    }
    if text.last() != Some(&b'\n') {
        text.push(b'\n');
    }
    Ok(text)
}

fn run(plan: &Plan, out: &mut Out, stop: &Stop) -> anyhow::Result<()> {
    let wanted: Vec<Looked> = look(plan).into_iter().filter(|one| one.found.is_ok() || one.target.expected).collect();
    if wanted.is_empty() {
        bail!("no page of metrics answers on this node");
    }
    let out: &Out = out;
    std::thread::scope(|scope| {
        let threads: Vec<_> = wanted.iter().map(|one| scope.spawn(move || follow(plan, out, stop, one))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| bail!("a thread panicked")))
    })
}

/// A stretch in which a target gave no page.
struct Silence {
    from: i64,
    pages: u64,
    why: String,
}

/// Reads the pages of one target until the recording ends.
fn follow(plan: &Plan, out: &Out, stop: &Stop, looked: &Looked) -> anyhow::Result<()> {
    enter(plan)?;
    let target = &looked.target;
    let url = looked.found.as_ref().ok().or(target.urls.first()).cloned().unwrap_or_default();
    let fetcher = Fetcher::new(LIMIT);
    let mut file = out.file(&format!("metrics/{}.stream", target.stem))?;
    let mut silence: Option<Silence> = None;
    let mut next = Instant::now();
    while stop.beat(&mut next, plan.every(SOURCE.name).saturating_mul(target.slower)) {
        let asked = Moment::now().realtime;
        let found = page(&fetcher, &url, target.token.as_ref());
        let answered = Moment::now().realtime;
        match found {
            Ok(text) => {
                let mut record =
                    format!("# SCRAPE {} {} {}\n", seconds(asked), seconds(answered), shown(&url)).into_bytes();
                record.extend_from_slice(&text);
                file.write_record(&record)?;
                if target.slower == 1 {
                    out.tick();
                }
                if let Some(Silence { from, pages, why }) = silence.take() {
                    let what = format!("{}: back after {pages} pages that were not read: {why}", shown(&url));
                    out.lost_between(RECORDER_GAP, pages - 1, from, asked, what);
                }
            }
            Err(error) => {
                let why = format!("{error:#}");
                match &mut silence {
                    // The first one is told at once: a recording that is killed says it too.
                    None => {
                        out.lost(RECORDER_GAP, 1, format!("{}: {why}", shown(&url)));
                        silence = Some(Silence { from: asked, pages: 1, why });
                    }
                    Some(silence) => silence.pages += 1,
                }
            }
        }
    }
    if let Some(Silence { from, pages, why }) = silence.filter(|silence| silence.pages > 1) {
        let what = format!("{}: {pages} pages to the end were not read: {why}", shown(&url));
        out.lost_between(RECORDER_GAP, pages - 1, from, Moment::now().realtime, what);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{SOURCE, has_path, needs, page};
    use crate::record::fetch::Fetcher;
    use crate::record::fetch::tests::{ok, server};
    use crate::record::folder::Folder;
    use crate::record::host::Host;
    use crate::record::plan::Plan;
    use crate::record::stop::Stop;
    use std::io::Read as _;
    use std::time::Duration;

    fn plan(url: String) -> Plan {
        let mut plan = Plan::of(Host::default());
        plan.scrape = vec![url];
        plan.cadences.insert("metrics".to_owned(), Duration::from_millis(5));
        plan
    }

    #[test]
    fn a_page_that_fails_is_a_named_gap_and_the_rest_is_written() {
        // The first request looks what there is; then a page, three that fail, and pages.
        let (address, asked) = server(|number| match number {
            2 => b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n".to_vec(),
            3 => ok("", b"<html>a 1</html>"),
            4 => b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\na 1\n".to_vec(),
            _ => ok("", format!("# TYPE a counter\na {number}").as_bytes()),
        });
        let folder = tempfile::tempdir().expect("a folder");
        let capture = Folder::begin(folder.path(), u64::MAX).expect("a capture");
        let stop = Stop::default();
        let plan = plan(format!("http://{address}/metrics"));
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| (SOURCE.run)(&plan, &mut capture.out("metrics"), &stop));
            (0..8).for_each(|_| drop(asked.recv().expect("requests")));
            stop.set();
            thread.join().expect("no panic").expect("no error");
        });
        capture.finish();
        let losses = capture.losses();
        // A busy machine may fail another one.
        let failed: u64 = losses.iter().map(|lost| lost.count).sum();
        assert!(failed >= 3, "{losses:?}");
        assert!(losses[0].what.contains("it answered 500"), "{losses:?}");
        let name = format!("metrics/127.0.0.1-{}.stream.zst", address.port());
        let mut text = String::new();
        let file = std::fs::File::open(folder.path().join(name)).expect("the pages");
        zstd::Decoder::new(file).expect("zstd").read_to_string(&mut text).expect("text");
        let values: Vec<&str> = text.lines().filter(|line| line.starts_with("a ")).collect();
        assert!(values[0] == "a 1" && values.len() as u64 + failed >= 7, "{failed} failed: {text}");
        assert!(!["a 2", "a 3", "a 4"].iter().any(|value| values.contains(value)), "{text}");
        assert_eq!(text.matches("# SCRAPE 1").count(), values.len());
    }

    #[test]
    fn what_is_no_page_is_refused() {
        let read = |body: &'static [u8]| {
            let (address, _asked) = server(move |_| ok("", body));
            page(&Fetcher::new(Duration::from_secs(20)), &format!("http://{address}/"), None)
        };
        assert_eq!(read(b"a 1").expect("a page"), b"a 1\n");
        for wrong in [b"".as_slice(), b"<html>", b"{\"a\": 1}", b"# SCRAPE 1\na 1\n", b"a 1\n# SCRAPE 1790000000.5\n"] {
            assert!(read(wrong).is_err(), "{}", String::from_utf8_lossy(wrong));
        }
    }

    #[test]
    fn what_answers_is_told_and_passwords_are_refused() {
        let (address, _asked) = server(|_| ok("", b"a 1\n"));
        let found = needs(&plan(format!("http://{address}/metrics"))).expect("it answers");
        assert!(found.contains(&format!("http://{address}/metrics")), "{found}");
        let lack = needs(&plan("http://user:SECRET@127.0.0.1:1/metrics".to_owned())).expect_err("a password");
        assert!(!lack.to_string().contains("SECRET"), "{lack}");
        assert!(has_path("http://a:1/metrics") && !has_path("http://a:1") && !has_path("http://a:1/"));
    }
}
