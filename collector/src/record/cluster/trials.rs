//! The watches and the beacon against a server that breaks off, forgets, refuses and hangs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::api::Api;
use super::server::{Answer, Request, Server};
use super::{beacon, watch};
use crate::record::folder::Folder;
use crate::record::host::Host;
use crate::record::plan::Plan;
use crate::record::source::Source;
use crate::record::stop::Stop;
use crate::record::threads::Threads;

/// Longest wait for what must come; a loaded machine is slow, a fault never ends.
const PATIENCE: Duration = Duration::from_secs(90);

struct Trial {
    directory: tempfile::TempDir,
    folder: Arc<Folder>,
    plan: Arc<Plan>,
    stop: Stop,
    threads: Option<Threads>,
}

impl Trial {
    fn start(source: &'static Source, server: &Server) -> Self {
        Self::with(source, server, |_| {})
    }

    fn with(source: &'static Source, server: &Server, change: impl FnOnce(&mut Plan)) -> Self {
        let directory = tempfile::tempdir().expect("a folder");
        let folder = Folder::begin(directory.path(), 1 << 30).expect("a recording");
        let mut plan = Plan::of(Host::default());
        plan.api = Some(Arc::new(Api::plain(&server.url).expect("a server")));
        plan.cadences.insert("beacon".to_owned(), Duration::from_millis(5));
        change(&mut plan);
        let (plan, stop) = (Arc::new(plan), Stop::default());
        stop.approach();
        let threads = Threads::start(&[source], &plan, &folder, &stop).expect("threads");
        Self { directory, folder, plan, stop, threads: Some(threads) }
    }

    /// Waits until something has come; then ends the recording.
    fn until(&mut self, what: &str, come: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !come(self) {
            assert!(began.elapsed() < PATIENCE, "{what} did not come: {:?}", self.folder.losses());
            std::thread::sleep(Duration::from_millis(5));
        }
        self.stop.set();
        if let Some(api) = &self.plan.api {
            api.end_streams();
        }
        if let Some(threads) = self.threads.take() {
            threads.join();
        }
        self.folder.finish();
    }

    fn text(&self, path: &str) -> String {
        let file = std::fs::File::open(self.directory.path().join(format!("{path}.zst")));
        let Ok(file) = file else { return String::new() };
        String::from_utf8(zstd::decode_all(file).expect("whole frames")).expect("text")
    }

    fn lost(&self, loss: &str, words: &str) -> usize {
        self.folder.losses().iter().filter(|lost| lost.loss == loss && lost.what.contains(words)).count()
    }
}

const SLICES: &str = "/apis/discovery.k8s.io/v1/endpointslices";

/// What a server without anything answers.
fn nothing(request: &Request) -> Answer {
    match request.path.contains("watch=1") {
        true => Answer::Open(String::new()),
        false => Answer::Text(200, r#"{"apiVersion":"v1","metadata":{"resourceVersion":"5"},"items":[]}"#.to_owned()),
    }
}

fn event(kind: &str, version: u32) -> String {
    format!(
        r#"{{"type":"{kind}","object":{{"kind":"EndpointSlice","metadata":{{"name":"a","resourceVersion":"{version}"}}}}}}"#
    )
}

#[test]
fn a_watch_that_breaks_off_goes_on_where_it_ended() {
    let server = Server::start(|request| {
        if !request.path.starts_with(SLICES) {
            return nothing(request);
        }
        let from = |version: &str| request.path.ends_with(&format!("resourceVersion={version}"));
        if from("5") {
            Answer::Broken(format!("{}\n{}\n", event("ADDED", 6), event("BOOKMARK", 9)))
        } else if from("9") {
            // The server ends it in the middle of an event.
            Answer::Lines(vec![event("MODIFIED", 11)])
        } else if from("11") {
            Answer::Open(format!("{}\n", event("DELETED", 12)))
        } else {
            nothing(request)
        }
    });
    let mut trial = Trial::start(&watch::SOURCE, &server);
    trial.until("the third watch", |_| server.seen().iter().any(|one| one.path.ends_with("resourceVersion=11")));
    let text = trial.text("kubernetes/endpointslices.jsonl");
    for kind in ["ADDED", "MODIFIED"] {
        assert!(text.contains(kind), "{text}");
    }
    assert_eq!(
        trial.lost("recorder-gap", "endpointslices: the connection broke off"),
        1,
        "{:?}",
        trial.folder.losses()
    );
    assert_eq!(trial.lost("watch-gap", ""), 0);
    // It was listed once.
    assert_eq!(
        server.seen().iter().filter(|one| one.path.starts_with(SLICES) && one.path.contains("limit=")).count(),
        1
    );
}

/// Nothing happened, which is no gap; and what had happened on a dead connection, which is one.
#[test]
fn a_silent_watch_is_begun_anew() {
    let silent = AtomicUsize::new(0);
    let server = Server::start(move |request| {
        if request.path.starts_with(SLICES) && request.path.ends_with("resourceVersion=5") {
            return match silent.fetch_add(1, Ordering::SeqCst) {
                0 => Answer::Open(String::new()),
                _ => Answer::Open(format!("{}\n", event("ADDED", 6))),
            };
        }
        nothing(request)
    });
    let mut trial = Trial::with(&watch::SOURCE, &server, |plan| plan.silence = Duration::from_millis(50));
    trial.until("silence of all watches", |_| {
        let begun = |name: &str| {
            server.seen().iter().filter(|one| one.path.contains(name) && one.path.contains("watch=1")).count()
        };
        begun("resourceVersion=6") >= 2 && begun("/nodes") >= 3
    });
    let losses = trial.folder.losses();
    assert_eq!(trial.lost("recorder-gap", "endpointslices: the connection was dead"), 1, "{losses:?}");
    assert_eq!(losses.len(), 1, "{losses:?}");
    assert!(trial.text("kubernetes/endpointslices.jsonl").contains("ADDED"));
}

#[test]
fn what_is_gone_or_damaged_is_listed_anew_and_named() {
    for (number, first) in [
        Answer::Text(410, r#"{"reason":"Expired","message":"too old resource version"}"#.to_owned()),
        Answer::Lines(vec![
            r#"{"type":"ERROR","object":{"kind":"Status","code":410,"message":"too old resource version"}}"#.to_owned(),
        ]),
        Answer::Lines(vec!["{\"type\":\"ADDED\",\"obj".to_owned(), event("ADDED", 6)]),
    ]
    .into_iter()
    .enumerate()
    {
        let first = std::sync::Mutex::new(Some(first));
        let lists = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&lists);
        let server = Server::start(move |request| {
            if request.path.starts_with(SLICES) && request.path.contains("watch=1") {
                return first.lock().expect("the answer").take().unwrap_or_else(|| nothing(request));
            }
            if request.path.starts_with(SLICES) {
                counted.fetch_add(1, Ordering::SeqCst);
                let item = r#"{"metadata":{"name":"a","resourceVersion":"4"},"endpoints":[]}"#;
                return Answer::Text(
                    200,
                    format!(
                        r#"{{"apiVersion":"discovery.k8s.io/v1","metadata":{{"resourceVersion":"5"}},"items":[{item}]}}"#
                    ),
                );
            }
            nothing(request)
        });
        let mut trial = Trial::start(&watch::SOURCE, &server);
        trial.until("the second watch", |_| {
            lists.load(Ordering::SeqCst) >= 2
                && server
                    .seen()
                    .iter()
                    .filter(|one| one.path.starts_with(SLICES) && one.path.contains("watch=1"))
                    .count()
                    >= 2
        });
        assert_eq!(trial.lost("watch-gap", "endpointslices"), 1, "{number}: {:?}", trial.folder.losses());
        let text = trial.text("kubernetes/endpointslices.jsonl");
        assert_eq!(text.matches("\"LISTED\"").count(), 2, "{number}: {text}");
        assert!(text.contains(r#""kind":"EndpointSlice""#) && text.contains("discovery.k8s.io/v1"), "{text}");
        assert!(!text.contains("ERROR"));
    }
}

#[test]
fn an_older_server_refusals_and_pages_are_coped_with() {
    let server = Server::start(|request| {
        let old = "/apis/discovery.k8s.io/v1beta1/endpointslices";
        if request.path.starts_with(SLICES) {
            Answer::Text(404, "404 page not found".to_owned())
        } else if request.path.starts_with(old) && request.path.contains("continue=a%2Fb") {
            Answer::Text(
                200,
                r#"{"metadata":{"resourceVersion":"5"},"items":[{"metadata":{"name":"second"}}]}"#.to_owned(),
            )
        } else if request.path.starts_with(old) && !request.path.contains("watch=1") {
            Answer::Text(
                200,
                r#"{"metadata":{"resourceVersion":"5","continue":"a/b"},"items":[{"metadata":{"name":"first"}}]}"#
                    .to_owned(),
            )
        } else if request.path.contains("/leases") {
            Answer::Text(403, r#"{"reason":"Forbidden","message":"leases is forbidden"}"#.to_owned())
        } else {
            nothing(request)
        }
    });
    let mut trial = Trial::start(&watch::SOURCE, &server);
    trial.until("the watch", |trial| {
        server.seen().iter().any(|one| one.path.contains("v1beta1") && one.path.contains("watch=1"))
            && trial.lost("source-not-recorded", "leases") == 1
    });
    let text = trial.text("kubernetes/endpointslices.jsonl");
    assert!(text.contains("first") && text.contains("second"), "{text}");
    assert!(trial.text("kubernetes/reads.jsonl").contains(r#""by":"read","resourceVersion":"5""#));
    assert_eq!(trial.lost("watch-gap", ""), 0);
}

#[test]
fn no_environment_and_no_argument_reaches_a_capture() {
    let server = Server::start(|request| {
        if !request.path.starts_with("/api/v1/namespaces/default/pods") || request.path.contains("watch=1") {
            return nothing(request);
        }
        let pod = r#"{"metadata":{"name":"a","annotations":{"kubectl.kubernetes.io/last-applied-configuration":"hunter2"},"managedFields":[{"x":"hunter2"}]},
            "spec":{"containers":[{"name":"c","image":"i","env":[{"name":"P","value":"hunter2"}],"args":["--password=hunter2"],"command":["hunter2"]}]}}"#;
        Answer::Text(200, format!(r#"{{"metadata":{{"resourceVersion":"5"}},"items":[{pod}]}}"#))
    });
    let mut trial = Trial::start(&watch::SOURCE, &server);
    trial.until("the watch of pods", |_| {
        server.seen().iter().any(|one| one.path.contains("default/pods") && one.path.contains("watch=1"))
    });
    let text = trial.text("kubernetes/pods.jsonl");
    assert!(text.contains("\"image\":\"i\"") && !text.contains("hunter2"), "{text}");
}

#[test]
fn the_beacon_is_made_written_and_removed_and_its_gaps_are_named() {
    let written = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&written);
    let server = Server::start(move |request| match request.method.as_str() {
        "PATCH" => match counted.fetch_add(1, Ordering::SeqCst) {
            0 => Answer::Text(404, r#"{"reason":"NotFound"}"#.to_owned()),
            3..5 => Answer::Text(500, "etcdserver: request timed out".to_owned()),
            number => Answer::Text(200, format!(r#"{{"metadata":{{"resourceVersion":"{}"}}}}"#, 100 + number)),
        },
        "POST" | "DELETE" => Answer::Text(200, "{}".to_owned()),
        _ => nothing(request),
    });
    let mut trial = Trial::start(&beacon::SOURCE, &server);
    trial.until("beacons behind the gap", |_| written.load(Ordering::SeqCst) > 9);
    let path = format!("/api/v1/namespaces/default/configmaps/{}", beacon::NAME);
    let seen = server.seen();
    let bodies: Vec<&str> = seen.iter().filter(|one| one.method == "PATCH").map(|one| one.body.as_str()).collect();
    assert!(
        bodies.iter().enumerate().all(|(at, body)| !bodies[..at].contains(body)),
        "an equal patch gets no revision of its own"
    );
    assert_eq!(seen.iter().filter(|one| one.method == "POST").count(), 1);
    assert_eq!(seen.last().map(|one| (one.method.as_str(), one.path.as_str())), Some(("DELETE", path.as_str())));
    let text = trial.text("beacon.jsonl");
    assert!(text.contains(r#""by":"write","resourceVersion":"101""#) && text.contains(r#""by":"read""#), "{text}");
    // Once when it began, once when it was over.
    assert_eq!(trial.lost("recorder-gap", "etcdserver: request timed out"), 2, "{:?}", trial.folder.losses());
    assert_eq!(beacon::NAME, crate::record::manifest::BEACON_NAME);
}

#[test]
fn a_server_that_hangs_does_not_keep_the_recording() {
    let server = Server::start(|request| match request.path.contains("watch=1") {
        true => Answer::Open(String::new()),
        false => nothing(request),
    });
    let mut trial = Trial::start(&watch::SOURCE, &server);
    trial.until("the watches", |_| server.seen().iter().filter(|one| one.path.contains("watch=1")).count() >= 7);
    assert!(trial.folder.losses().is_empty(), "{:?}", trial.folder.losses());
}

#[test]
fn a_token_is_sent_and_never_shown() {
    let server = Server::start(|request| match &request.authorization {
        Some(header) if header == "Bearer hunter2" => Answer::Text(200, "{}".to_owned()),
        _ => Answer::Text(401, r#"{"reason":"Unauthorized","message":"Unauthorized"}"#.to_owned()),
    });
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("config");
    let config = |token: &str| {
        format!(
            "current-context: c\nclusters: [{{name: c, cluster: {{server: '{}'}}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\nusers: [{{name: u, user: {{token: {token}}}}}]\n",
            server.url
        )
    };
    std::fs::write(&path, config("hunter2")).expect("written");
    let api = Api::find(Some(&path)).expect("a way");
    assert!(api.json("/version").is_ok());
    assert!(!format!("{api:?}").contains("hunter2"));
    std::fs::write(&path, config("hunter3")).expect("written");
    let error = Api::find(Some(&path)).expect("a way").json("/version").expect_err("refused");
    assert_eq!(error.code(), Some(401));
    assert!(!error.to_string().contains("hunter3"));
}
