//! The client: HTTP requests at a fixed rate to a Service, half of them over new connections, half over ones that are kept alive.
//!
//! ```text
//! {"ts":1790000000.123456789,"kind":"new","seq":12,"latency_ns":622950,"late_ns":71020,"connect_ns":124100,"status":200,"backend":"test-xlz7l","local":"10.244.0.22:41490"}
//! {"ts":1790000000.128456789,"kind":"keepalive","seq":13,"latency_ns":5000071020,"late_ns":71020,"err":"timeout: no whole answer in time","local":"…"}
//! ```
//!
//! `ts` is the scheduled moment and `latency_ns` counts from it; `late_ns` is how much later the request left, so that
//! `latency_ns - late_ns` is the time from its leaving. `connect_ns` is the time of connect(2) alone.

mod aim;
mod exchange;
mod pool;

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{TryRecvError, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::json;
use syncline_schema::loss::RECORDER_GAP;

pub use aim::Aim;
use exchange::Fault;
use pool::{Kind, LIMIT, Outcome, Pool, State, threads};

use super::folder::Out;
use super::moment::seconds;
use super::plan::Plan;
use super::source::{Found, Lack, Source};
use super::stop::Stop;

/// The client.
pub const SOURCE: Source = Source {
    name: "probe",
    kinds: &["requests"],
    about: "requests at a fixed rate, new connections and kept ones: latency, connect time, errors",
    cadence: None,
    prepares: false,
    needs,
    run,
};

/// How often a name is looked up again.
const LOOKED_UP: Duration = Duration::from_secs(5);
/// How long outcomes are gathered ahead of writing them.
const BATCH: Duration = Duration::from_millis(50);
/// How often what was not sent is written down.
const TOLD: Duration = Duration::from_secs(5);

fn needs(plan: &Plan) -> Result<Found, Lack> {
    if plan.probe.is_empty() {
        let remedy = match plan.services.iter().find_map(|one| Some((one, one.ports.first()?))) {
            Some((service, port)) => {
                format!("--probe http://{}.{}:{}@200/s", service.name, service.namespace, port.port)
            }
            None => "--probe http://SERVICE.NAMESPACE:PORT@200/s".to_owned(),
        };
        return Err(Lack::new("no client: --probe was not given", remedy));
    }
    let mut found = Vec::new();
    for aim in aims(plan).map_err(|words| Lack::new(words, "correct --probe"))? {
        let target = Target::of(plan, &aim);
        let address = target.look_up().map_err(|words| {
            Lack::new(format!("{aim}: {words}"), "name a Service of the cluster as SERVICE.NAMESPACE, or an address")
        })?;
        let local = match address.ip().is_loopback() {
            true => "; a loopback address takes no way through the dataplane",
            false => "",
        };
        found.push(format!("{aim} is {address}{local}"));
    }
    Ok(found.join("; "))
}

fn aims(plan: &Plan) -> Result<Vec<Aim>, String> {
    plan.probe.iter().map(|text| text.parse()).collect()
}

/// Where an aim lies: a ClusterIP that the API told, or a name for DNS.
enum Target {
    Fixed(SocketAddr),
    Named(String, u16),
}

impl Target {
    fn of(plan: &Plan, aim: &Aim) -> Self {
        if let Ok(address) = aim.host.parse::<IpAddr>() {
            return Self::Fixed(SocketAddr::new(address, aim.port));
        }
        let service = aim.service().and_then(|(name, namespace)| {
            let known = plan.services.iter().find(|one| one.name == name && one.namespace == namespace);
            known.and_then(|one| one.ips.first().copied()).or_else(|| asked(plan, name, namespace))
        });
        match service {
            Some(address) => Self::Fixed(SocketAddr::new(address, aim.port)),
            None => Self::Named(aim.host.clone(), aim.port),
        }
    }

    fn look_up(&self) -> Result<SocketAddr, String> {
        match self {
            Self::Fixed(address) => Ok(*address),
            Self::Named(host, port) => {
                let found = (host.as_str(), *port).to_socket_addrs().map_err(|error| format!("{host}: {error}"))?;
                found.into_iter().next().ok_or_else(|| format!("{host}: no address"))
            }
        }
    }
}

/// The ClusterIP of a Service that is not under test.
fn asked(plan: &Plan, name: &str, namespace: &str) -> Option<IpAddr> {
    let api = plan.api.as_ref()?;
    let service = api.json(&format!("/api/v1/namespaces/{namespace}/services/{name}")).ok()?;
    service["spec"]["clusterIP"].as_str()?.parse().ok()
}

/// A target's address; a name is looked up again every few seconds, by one of those who ask.
struct Address {
    target: Target,
    known: Mutex<(Instant, Result<SocketAddr, String>)>,
    busy: Mutex<()>,
}

impl Address {
    fn new(target: Target) -> Self {
        let found = target.look_up();
        Self { target, known: Mutex::new((Instant::now(), found)), busy: Mutex::new(()) }
    }

    fn get(&self) -> Result<SocketAddr, String> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, found) = known().clone();
        if matches!(self.target, Target::Fixed(_)) || at.elapsed() < LOOKED_UP {
            return found;
        }
        let Ok(_guard) = self.busy.try_lock() else { return found };
        let found = self.target.look_up();
        *known() = (Instant::now(), found.clone());
        found
    }
}

fn run(plan: &Plan, out: &mut Out, stop: &Stop) -> anyhow::Result<()> {
    let aims = aims(plan).map_err(anyhow::Error::msg)?;
    let mut files = Vec::new();
    for aim in &aims {
        files.push(out.file(&format!("client/{}.jsonl", aim.stem()))?);
    }
    let addresses: Vec<Address> = aims.iter().map(|aim| Address::new(Target::of(plan, aim))).collect();
    let resolves: Vec<_> = addresses.iter().map(|address| move || address.get()).collect();
    let pools: Vec<Pool<'_>> = aims
        .iter()
        .zip(&resolves)
        .enumerate()
        .map(|(target, (aim, resolve))| Pool {
            target,
            stop,
            resolve,
            request_new: request(aim, "close"),
            request_kept: request(aim, "keep-alive"),
            begun: Instant::now(),
            every: Duration::from_secs_f64(1.0 / aim.rate),
            most: threads(aim.rate, LIMIT),
            limit: LIMIT,
            state: State::default(),
        })
        .collect();
    let mut told = Told { not_sent: vec![0; pools.len()], ours: vec![0; pools.len()], at: Instant::now() };
    std::thread::scope(|scope| -> anyhow::Result<()> {
        let (sender, receiver) = channel::<Outcome>();
        pools.iter().for_each(|pool| pool.start(scope, &sender));
        drop(sender);
        let written = loop {
            let mut ended = false;
            let mut written = Ok(());
            while written.is_ok() {
                match receiver.try_recv() {
                    Ok(outcome) => {
                        out.tick();
                        if matches!(&outcome.result, Err(failure) if failure.fault == Fault::Ours) {
                            told.ours[outcome.target] += 1;
                        } else {
                            written = files[outcome.target].write_line(&line(&outcome));
                        }
                    }
                    Err(TryRecvError::Empty) => break,
                    // All workers are gone: the recording ended, or the system gave no thread at all.
                    Err(TryRecvError::Disconnected) => {
                        ended = true;
                        break;
                    }
                }
            }
            if ended || written.is_err() {
                break written;
            }
            if told.at.elapsed() > TOLD {
                told.tell(out, &aims, &pools);
            }
            // In batches: a thread that woke up for every line would cost as much as the requests.
            std::thread::sleep(BATCH);
        };
        // Dropped here: workers that go on see that nobody listens.
        drop(receiver);
        written.context("requests")
    })?;
    told.tell(out, &aims, &pools);
    for (aim, pool) in aims.iter().zip(&pools) {
        let given_up = pool.state.given_up.load(Ordering::Relaxed);
        if given_up > 0 {
            out.lost(RECORDER_GAP, given_up, format!("{aim}: under way when the recording ended: no outcome"));
        }
    }
    anyhow::ensure!(stop.is_set(), "no thread could be started");
    Ok(())
}

/// What was said so far of requests that tell nothing.
struct Told {
    not_sent: Vec<u64>,
    ours: Vec<u64>,
    at: Instant,
}

impl Told {
    fn tell(&mut self, out: &Out, aims: &[Aim], pools: &[Pool<'_>]) {
        self.at = Instant::now();
        for (target, (aim, pool)) in aims.iter().zip(pools).enumerate() {
            let not_sent = pool.state.not_sent.load(Ordering::Relaxed);
            let more = not_sent - std::mem::replace(&mut self.not_sent[target], not_sent);
            if more > 0 {
                let what = format!(
                    "{aim}: not sent, since all {} connections were waiting for answers or the machine stood still",
                    pool.most
                );
                out.lost(RECORDER_GAP, more, what);
            }
            let ours = std::mem::take(&mut self.ours[target]);
            if ours > 0 {
                let what =
                    format!("{aim}: not sent for want of local ports or descriptors on this machine: lower the rate");
                out.lost(RECORDER_GAP, ours, what);
            }
        }
    }
}

fn request(aim: &Aim, connection: &str) -> Vec<u8> {
    let (path, authority) = (&aim.path, aim.authority());
    format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: syncline-probe\r\nAccept: */*\r\nConnection: {connection}\r\n\r\n")
        .into_bytes()
}

/// The line of a request.
fn line(outcome: &Outcome) -> String {
    let ns = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let kind = match outcome.kind {
        Kind::New => "new",
        Kind::KeepAlive => "keepalive",
    };
    let mut text = format!(
        "{{\"ts\":{},\"kind\":\"{kind}\",\"seq\":{},\"latency_ns\":{},\"late_ns\":{}",
        seconds(outcome.scheduled),
        outcome.slot,
        ns(outcome.late + outcome.took),
        ns(outcome.late)
    );
    let mut add = |name: &str, value: serde_json::Value| text.push_str(&format!(",\"{name}\":{value}"));
    if let Some(connect) = outcome.connect {
        match outcome.kind {
            Kind::New => add("connect_ns", ns(connect).into()),
            // Its time lies in the latency, which that of other kept-alive requests must not be compared with.
            Kind::KeepAlive => add("opened_ns", ns(connect).into()),
        }
    }
    match &outcome.result {
        Ok(answer) => {
            add("status", answer.status.into());
            if let Some(backend) = &answer.backend {
                add("backend", json!(backend));
            }
        }
        Err(failure) => add("err", json!(format!("{}: {}", failure.fault.word(), failure.words))),
    }
    if let Some(local) = outcome.local {
        add("local", json!(local.to_string()));
    }
    text.push('}');
    text
}

#[cfg(test)]
mod tests {
    use super::exchange::{Answer, Failure, Fault};
    use super::pool::{Kind, Outcome};
    use super::{Aim, Target, line, needs};
    use crate::record::host::Host;
    use crate::record::plan::{Plan, Port, Service};
    use std::time::Duration;

    #[test]
    fn lines_say_all_that_is_known() {
        let mut outcome = Outcome {
            target: 0,
            slot: 12,
            kind: Kind::New,
            scheduled: 1_790_000_000_123_456_789,
            late: Duration::from_nanos(70),
            took: Duration::from_nanos(500),
            connect: Some(Duration::from_nanos(120)),
            local: "10.0.0.1:4000".parse().ok(),
            result: Ok(Answer { status: 200, backend: Some("a\"b".into()), keep: true }),
        };
        assert_eq!(
            line(&outcome),
            r#"{"ts":1790000000.123456789,"kind":"new","seq":12,"latency_ns":570,"late_ns":70,"connect_ns":120,"status":200,"backend":"a\"b","local":"10.0.0.1:4000"}"#
        );
        outcome.kind = Kind::KeepAlive;
        outcome.local = None;
        outcome.result = Err(Failure::new(Fault::Refused, "connect: no"));
        assert_eq!(
            line(&outcome),
            r#"{"ts":1790000000.123456789,"kind":"keepalive","seq":12,"latency_ns":570,"late_ns":70,"opened_ns":120,"err":"refused: connect: no"}"#
        );
    }

    #[test]
    fn a_service_under_test_is_reached_by_its_address() {
        let mut plan = Plan::of(Host::default());
        let lack = needs(&plan).unwrap_err();
        assert!(lack.remedy.contains("--probe"), "{lack}");
        let port = Port { name: "http".into(), protocol: "TCP".into(), port: 80, node_port: None };
        let ips = vec!["10.96.0.9".parse().unwrap()];
        plan.services = vec![Service { namespace: "shop".into(), name: "cart".into(), ips, ports: vec![port] }];
        assert!(needs(&plan).unwrap_err().remedy.contains("http://cart.shop:80"));
        let aim: Aim = "http://cart.shop:80".parse().unwrap();
        assert!(matches!(Target::of(&plan, &aim), Target::Fixed(address) if address.to_string() == "10.96.0.9:80"));
        plan.probe = vec!["http://cart.shop:80@50".into()];
        assert_eq!(needs(&plan).unwrap(), "http://cart.shop:80/@50/s is 10.96.0.9:80");
        plan.probe = vec!["cart.shop".into()];
        assert!(needs(&plan).unwrap_err().what.contains("expected http://"));
    }
}
