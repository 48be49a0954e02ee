//! Open loop: requests leave at scheduled moments, whether or not earlier ones were answered.
//!
//! ```text
//! slots     0    1    2    3    4    5        one every 1 / rate, from the beginning, absolute
//! worker a  ├──▶ sent, answered       ├──▶    takes the next slot, sleeps until its moment, sends
//! worker b       ├───────▶ answered late
//! worker c            ├──▶                    started because nobody was waiting when a slot was sent
//! ```
//!
//! A request's time counts from its slot: what a slow server, or a late machine, delays is not left out (Tene's *coordinated omission*).
//! How late it really left is told beside it. Threads are bounded; a slot that nobody could take within the time limit was not sent, and is
//! counted.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Mutex, PoisonError};
use std::thread::Scope;
use std::time::{Duration, Instant};

use super::exchange::{Answer, Failure, Fault, exchange};
use crate::record::moment::Moment;
use crate::record::stop::Stop;

/// A request without an answer is given up after this time: two retransmissions of a SYN lie in it.
pub const LIMIT: Duration = Duration::from_secs(5);
/// Threads that wait for a slot from the beginning.
const FIRST: usize = 3;
/// Kept-alive connections of one target: enough to reach several backends.
pub const KEPT_ALIVE: usize = 10;
/// Stack of a worker, bytes: it holds one buffer of 8 KiB.
const STACK: usize = 128 << 10;

/// New connection or one that was used before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    New,
    KeepAlive,
}

/// One request.
#[derive(Debug)]
pub struct Outcome {
    /// Which pool sent it.
    pub target: usize,
    pub slot: u64,
    pub kind: Kind,
    /// Its slot's moment on the realtime clock, ns.
    pub scheduled: i64,
    /// How much later it left.
    pub late: Duration,
    /// From its leaving to the whole answer or to its failure.
    pub took: Duration,
    /// Time of connect(2), where one was made.
    pub connect: Option<Duration>,
    pub local: Option<SocketAddr>,
    pub result: Result<Answer, Failure>,
}

/// Where the connections go: asked for each request, since a name may change its address.
pub type Resolve<'r> = dyn Fn() -> Result<SocketAddr, String> + Sync + 'r;

/// What the workers of one target share.
pub struct Pool<'p> {
    /// Its number.
    pub target: usize,
    pub stop: &'p Stop,
    pub resolve: &'p Resolve<'p>,
    /// Request with `Connection: close`, and without.
    pub request_new: Vec<u8>,
    pub request_kept: Vec<u8>,
    /// Moment of slot 0, and the distance of slots.
    pub begun: Instant,
    pub every: Duration,
    /// Most threads.
    pub most: usize,
    pub limit: Duration,
    pub state: State,
}

/// What changes while they run.
#[derive(Default)]
pub struct State {
    next: AtomicU64,
    waiting: AtomicUsize,
    threads: AtomicUsize,
    idle: Mutex<VecDeque<TcpStream>>,
    /// How often a kept-alive connection was wanted.
    wanted: AtomicUsize,
    /// Slots that nobody was free to take in time.
    pub not_sent: AtomicU64,
    /// Requests that were under way when the recording ended.
    pub given_up: AtomicU64,
}

/// Threads that a rate may need where no answer comes.
pub fn threads(rate: f64, limit: Duration) -> usize {
    // A whole number far below 2^53.
    ((rate * limit.as_secs_f64()).ceil() as usize + FIRST).clamp(8, 1024)
}

impl Pool<'_> {
    /// Starts the first workers; they end with the recording.
    pub fn start<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>, outcomes: &Sender<Outcome>) {
        for _ in 0..FIRST.min(self.most) {
            self.hire(scope, outcomes.clone());
        }
    }

    fn hire<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>, outcomes: Sender<Outcome>) {
        let before = self.state.threads.fetch_add(1, Ordering::Relaxed);
        let worker = std::thread::Builder::new().name("probe".into()).stack_size(STACK);
        // Where the system gives no thread, those that there are go on, and slots that they miss are counted.
        if before >= self.most || worker.spawn_scoped(scope, move || self.work(scope, &outcomes)).is_err() {
            self.state.threads.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn work<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>, outcomes: &Sender<Outcome>) {
        // The recorder runs at a low priority; a client that did would measure how long it waits for a processor. Where the system does not
        // allow it `late_ns` says so.
        let _ = rustix::process::setpriority_process(None, 0);
        loop {
            self.state.waiting.fetch_add(1, Ordering::Relaxed);
            let slot = self.state.next.fetch_add(1, Ordering::Relaxed);
            let moment = self.begun + self.every.mul_f64(slot as f64);
            let goes_on = self.stop.sleep_until(moment);
            let waited = self.state.waiting.fetch_sub(1, Ordering::Relaxed);
            if !goes_on {
                return;
            }
            if waited == 1 {
                self.hire(scope, outcomes.clone());
            }
            if moment.elapsed() > self.limit {
                self.state.not_sent.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let outcome = self.request(slot, moment);
            if outcome.result.as_ref().is_err_and(|failure| failure.given_up) {
                self.state.given_up.fetch_add(1, Ordering::Relaxed);
            } else if outcomes.send(outcome).is_err() {
                return;
            }
        }
    }

    fn request(&self, slot: u64, moment: Instant) -> Outcome {
        let kind = if slot.is_multiple_of(2) { Kind::New } else { Kind::KeepAlive };
        // Both clocks at one instant: the slot's moment is as much earlier on the one as on the other.
        let (sent, now) = (Instant::now(), Moment::now());
        let late = sent.saturating_duration_since(moment);
        let ago = i64::try_from(late.as_nanos()).unwrap_or(i64::MAX);
        let mut outcome = Outcome {
            target: self.target,
            slot,
            kind,
            scheduled: now.realtime.saturating_sub(ago),
            late,
            took: Duration::ZERO,
            connect: None,
            local: None,
            result: Err(Failure::new(Fault::Other, "not sent")),
        };
        outcome.result = self.attempt(kind, sent + self.limit, &mut outcome.connect, &mut outcome.local);
        outcome.took = sent.elapsed();
        outcome
    }

    fn attempt(
        &self,
        kind: Kind,
        deadline: Instant,
        connect: &mut Option<Duration>,
        local: &mut Option<SocketAddr>,
    ) -> Result<Answer, Failure> {
        let rested = if kind == Kind::KeepAlive { self.take_idle() } else { None };
        let mut stream = match rested {
            Some(stream) => stream,
            None => {
                let address = (self.resolve)().map_err(|words| Failure::new(Fault::Dns, words))?;
                let begun = Instant::now();
                let left = deadline.saturating_duration_since(begun).max(Duration::from_millis(1));
                let stream =
                    TcpStream::connect_timeout(&address, left).map_err(|error| Failure::of(&error, "connect"))?;
                *connect = Some(begun.elapsed());
                // The request is one write: nothing is to be gathered.
                let _ = stream.set_nodelay(true);
                stream
            }
        };
        *local = stream.local_addr().ok();
        if kind == Kind::New {
            return exchange(&mut stream, &self.request_new, deadline, &|| self.stop.is_set());
        }
        let answer = exchange(&mut stream, &self.request_kept, deadline, &|| self.stop.is_set())?;
        let mut idle = self.idle();
        if answer.keep && idle.len() < KEPT_ALIVE {
            idle.push_back(stream);
        }
        Ok(answer)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, VecDeque<TcpStream>> {
        self.state.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection that rested longest; null until there are enough of them, so that several backends are reached.
    fn take_idle(&self) -> Option<TcpStream> {
        if self.state.wanted.fetch_add(1, Ordering::Relaxed) < KEPT_ALIVE {
            return None;
        }
        loop {
            let stream = self.idle().pop_front()?;
            // One that the server closed meanwhile is no failure: any client opens another one.
            if is_open(&stream) {
                return Some(stream);
            }
        }
    }
}

/// Whether a connection that rests is neither closed nor holds anything unread.
fn is_open(stream: &TcpStream) -> bool {
    let looked = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0_u8; 1]));
    let rests = matches!(&looked, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock);
    rests && stream.set_nonblocking(false).is_ok()
}

#[cfg(test)]
mod tests {
    use super::{Kind, LIMIT, Outcome, Pool, State, threads};
    use crate::record::probe::exchange::Fault;
    use crate::record::stop::Stop;
    use std::io::{Read as _, Write as _};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::sync::atomic::Ordering;
    use std::sync::mpsc::channel;
    use std::time::{Duration, Instant};

    /// Outcomes of at least `count` slots of a pool with `most` threads; then it ends.
    fn outcomes(address: SocketAddr, count: usize, most: usize, limit: Duration) -> (Vec<Outcome>, u64) {
        let stop = Stop::default();
        let resolve = move || Ok(address);
        let pool = Pool {
            target: 0,
            stop: &stop,
            resolve: &resolve,
            request_new: b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_vec(),
            request_kept: b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
            begun: Instant::now(),
            every: Duration::from_millis(2),
            most,
            limit,
            state: State::default(),
        };
        let mut found = Vec::new();
        std::thread::scope(|scope| {
            let (sender, receiver) = channel();
            pool.start(scope, &sender);
            drop(sender);
            while found.len() < count {
                found.push(receiver.recv().expect("workers are there until the recording ends"));
            }
            stop.set();
            found.extend(receiver);
        });
        (found, pool.state.not_sent.load(Ordering::Relaxed))
    }

    /// A server that answers each request, and keeps connections.
    fn server(answer: fn(&mut TcpStream) -> bool) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                std::thread::spawn(move || {
                    let mut request = [0_u8; 1024];
                    while stream.read(&mut request).is_ok_and(|count| count > 0) && answer(&mut stream) {}
                });
            }
        });
        address
    }

    #[test]
    fn half_the_requests_make_new_connections_and_the_rest_use_few() {
        let answer =
            |stream: &mut TcpStream| stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na\n").is_ok();
        let (found, not_sent) = outcomes(server(answer), 200, 64, LIMIT * 100);
        assert_eq!(not_sent, 0);
        let new: Vec<&Outcome> = found.iter().filter(|one| one.kind == Kind::New).collect();
        assert!(new.iter().all(|one| one.connect.is_some() && one.result.is_ok()));
        let kept: Vec<&Outcome> = found.iter().filter(|one| one.kind == Kind::KeepAlive).collect();
        let opened = kept.iter().filter(|one| one.connect.is_some()).count();
        assert!(new.len().abs_diff(kept.len()) < 80 && opened > 0 && opened < kept.len(), "{opened} of {}", kept.len());
        // No slot is told twice.
        let mut slots: Vec<u64> = found.iter().map(|one| one.slot).collect();
        slots.sort_unstable();
        slots.dedup();
        assert_eq!(slots.len(), found.len());
    }

    #[test]
    fn refusals_and_resets_are_told_apart() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (found, _) = outcomes(closed, 4, 8, LIMIT * 100);
        assert!(
            found.iter().all(|one| one.result.as_ref().is_err_and(|failure| failure.fault == Fault::Refused)),
            "{found:?}"
        );
        let (found, _) = outcomes(server(|_| false), 4, 8, LIMIT * 100);
        let early = |one: &Outcome| {
            one.result.as_ref().is_err_and(|failure| matches!(failure.fault, Fault::Closed | Fault::Reset))
        };
        assert!(found.iter().all(early), "{found:?}");
    }

    #[test]
    fn a_full_pool_counts_what_it_did_not_send() {
        // Accepts (the backlog does) and never answers: two threads are busy, and the slots pass.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (found, not_sent) = outcomes(listener.local_addr().unwrap(), 6, 2, Duration::from_millis(40));
        assert!(found.iter().all(|one| one.result.as_ref().is_err_and(|failure| failure.fault == Fault::Timeout)));
        assert!(not_sent > 0);
        assert_eq!(threads(200.0, Duration::from_secs(5)), 1003);
        assert_eq!(threads(1.0, Duration::from_secs(5)), 8);
    }
}
