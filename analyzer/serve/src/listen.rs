//! Connections: the only async code. Each request is read whole, answered by [`Api::answer`] on a thread for work, and
//! written; everything has a limit and a time.
//!
//! | what a client may do | bound |
//! |---|---|
//! | connections | [`Limits::connections`]; more wait to be accepted |
//! | send a head | 64 KiB, 100 headers, 30 s, which is also how long a connection may be idle |
//! | send a body | 1 MiB, 30 s; all bodies that are being read or wait: 64 MiB, then 503 |
//! | have a call answered | as many at a time as cores; the rest wait within their timeout |
//! | ask for a page | one at a time, beside the calls |
//! | take its answer | 60 s without a byte taken; all answers under way: [`Limits::answers`], then 503 |

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_io_timeout::TimeoutStream;

use crate::api::Api;
use crate::{Failure, Request, Response};

/// Largest body of a request, bytes.
const LARGEST_BODY: usize = 1 << 20;
/// KiB of bodies that are held at a time.
const BODIES: usize = 64 << 10;
/// Largest head of a request, bytes.
const LARGEST_HEAD: usize = 64 << 10;
const HEAD_TIME: Duration = Duration::from_secs(30);
const BODY_TIME: Duration = Duration::from_secs(30);
const WRITE_TIME: Duration = Duration::from_secs(60);
/// Bytes of stack of a thread for work: expressions may nest.
const STACK: usize = 16 << 20;

/// What all clients together may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub connections: usize,
    /// Requests that are answered at a time.
    pub at_once: usize,
    /// Bytes of answers that are being written.
    pub answers: usize,
}

impl Limits {
    /// As many connections as files may be open (at most 4,096), a request a core.
    pub fn of_this_machine(answers: usize) -> Self {
        let files = open_files();
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self { connections: files.saturating_sub(64).clamp(16, 4096), at_once: cores, answers }
    }
}

/// How many files this process may open, after it asked for as many as it may have.
fn open_files() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let wanted = now.maximum.unwrap_or(8192).min(8192);
    let more = now.current.is_some_and(|current| current < wanted);
    if more && setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: now.maximum }).is_ok() {
        return usize::try_from(wanted).unwrap_or(1024);
    }
    now.current.map_or(8192, |current| usize::try_from(current).unwrap_or(8192))
}

/// A socket that is bound, before anything is served.
#[derive(Debug)]
pub struct Listening {
    socket: std::net::TcpListener,
    address: SocketAddr,
}

impl Listening {
    /// Binds an address.
    ///
    /// # Errors
    /// An address that is taken, or that is none of this machine.
    pub fn on(address: SocketAddr) -> std::io::Result<Self> {
        let socket = std::net::TcpListener::bind(address)?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    /// The address, with the port that was chosen where 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the process ends.
    ///
    /// # Errors
    /// The system gives no threads.
    pub fn serve(self, api: Arc<Api>, limits: Limits) -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(limits.at_once.clamp(1, 4))
            .max_blocking_threads(limits.at_once + 2)
            .thread_stack_size(STACK)
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let listener = TcpListener::from_std(self.socket)?;
            let shared = Arc::new(Shared {
                api,
                at_once: Arc::new(Semaphore::new(limits.at_once)),
                pages: Arc::new(Semaphore::new(1)),
                bodies: Arc::new(Semaphore::new(BODIES)),
                answers: Arc::new(Semaphore::new(kib(limits.answers).max(1))),
                most_answers: kib(limits.answers).max(1),
            });
            let connections = Arc::new(Semaphore::new(limits.connections));
            loop {
                let Ok(place) = Arc::clone(&connections).acquire_owned().await else { return Ok(()) };
                match listener.accept().await {
                    Ok((stream, _)) => {
                        tokio::spawn(connection(stream, Arc::clone(&shared), place));
                    }
                    // Too many files, or a client that went away: the next one may do better.
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        })
    }
}

/// What connections share.
struct Shared {
    api: Arc<Api>,
    at_once: Arc<Semaphore>,
    pages: Arc<Semaphore>,
    /// KiB.
    bodies: Arc<Semaphore>,
    /// KiB.
    answers: Arc<Semaphore>,
    most_answers: usize,
}

async fn connection(stream: TcpStream, shared: Arc<Shared>, _place: OwnedSemaphorePermit) {
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIME));
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(answered(request, shared).await) }
    });
    // What a client does wrong ends its connection, and nobody else's.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_headers(100)
        .max_buf_size(LARGEST_HEAD)
        .serve_connection(TokioIo::new(Box::pin(stream)), service)
        .await;
}

async fn answered(request: hyper::Request<Incoming>, shared: Arc<Shared>) -> hyper::Response<Full<Bytes>> {
    let asked = Instant::now();
    match read_and_answer(request, &shared, asked).await {
        Ok((answer, room)) => sent(answer, room),
        Err(failure) => sent(failure.into(), None),
    }
}

/// Reads a request, waits for its turn, and answers it.
async fn read_and_answer(
    request: hyper::Request<Incoming>,
    shared: &Arc<Shared>,
    asked: Instant,
) -> Result<(Response, Option<OwnedSemaphorePermit>), Failure> {
    let (head, body) = request.into_parts();
    let (body, held) = match tokio::time::timeout(BODY_TIME, whole(body, shared)).await {
        Ok(read) => read?,
        Err(_) => return Err(Failure { status: 408, ..Failure::bad_data("the body did not come in time") }),
    };
    let (form, body) = if is_form(&head.headers) { (body, Vec::new()) } else { (Vec::new(), body) };
    let url = head.uri.path_and_query().map_or("/", |url| url.as_str());
    let text = |name: HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    // HTTP/1.0 needs no host; a host that is no text is as one that is not known.
    let host = head.headers.contains_key(header::HOST).then(|| text(header::HOST).unwrap_or_default());
    let request = Request {
        host: host.or_else(|| head.uri.authority().map(|own| own.as_str().to_owned())),
        origin: text(header::ORIGIN),
        gzip: text(header::ACCEPT_ENCODING).is_some_and(|all| takes_gzip(&all)),
        body,
        ..Request::new(head.method.as_str(), url, &form)
    };
    let wait = shared.api.served.timeout;
    let turns = if shared.api.is_call(&request) { &shared.at_once } else { &shared.pages };
    let turn = match tokio::time::timeout(wait, Arc::clone(turns).acquire_owned()).await {
        Ok(Ok(turn)) => turn,
        _ => return Err(Failure::timeout("query timed out in query queue")),
    };
    let api = Arc::clone(&shared.api);
    let work = tokio::task::spawn_blocking(move || {
        let answer = api.answer(&request, asked);
        drop((turn, held));
        answer
    });
    let Ok(answer) = work.await else {
        return Err(Failure { status: 500, kind: "internal", message: "the answer could not be made".to_owned() });
    };
    let size = kib(answer.body.len());
    if size > shared.most_answers {
        let message = format!("the answer takes {size} KiB, and {} is the most", shared.most_answers);
        return Err(Failure { status: 422, kind: "execution", message });
    }
    // Small answers need no room: connections are limited.
    if answer.body.len() <= LARGEST_HEAD {
        return Ok((answer, None));
    }
    let room = u32::try_from(size).ok().and_then(|size| Arc::clone(&shared.answers).try_acquire_many_owned(size).ok());
    match room {
        Some(room) => Ok((answer, Some(room))),
        None => Err(Failure::unavailable("too many answers wait to be taken by slow clients")),
    }
}

/// A body, and the room that it takes.
async fn whole(mut body: Incoming, shared: &Shared) -> Result<(Vec<u8>, Vec<OwnedSemaphorePermit>), Failure> {
    let (mut all, mut held, mut room) = (Vec::new(), Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Failure::bad_data("the body ended early"))?;
        let Ok(data) = frame.into_data() else { continue };
        if all.len() + data.len() > LARGEST_BODY {
            return Err(Failure { status: 413, ..Failure::bad_data("http: request body too large") });
        }
        if all.len() + data.len() > room {
            let more = kib(all.len() + data.len() - room).max(4);
            let taken = Arc::clone(&shared.bodies).try_acquire_many_owned(more as u32);
            held.push(taken.map_err(|_| Failure::unavailable("too many requests wait"))?);
            room += more << 10;
        }
        all.extend_from_slice(&data);
    }
    Ok((all, held))
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded"))
}

/// Whether gzip is among the encodings, and not with weight nought.
fn takes_gzip(encodings: &str) -> bool {
    encodings.split(',').any(|one| {
        let (name, weight) = one.split_once(';').unwrap_or((one, ""));
        name.trim().eq_ignore_ascii_case("gzip")
            && !matches!(weight.trim().strip_prefix("q=").map(str::parse::<f32>), Some(Ok(weight)) if weight == 0.0)
    })
}

fn kib(bytes: usize) -> usize {
    bytes.div_ceil(1 << 10)
}

/// Bytes of an answer, and the room that they take until they are written.
struct Room(Vec<u8>, #[allow(dead_code, reason = "held until it is dropped")] Option<OwnedSemaphorePermit>);

impl AsRef<[u8]> for Room {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

fn sent(answer: Response, room: Option<OwnedSemaphorePermit>) -> hyper::Response<Full<Bytes>> {
    let Response { status, content_type, headers, body } = answer;
    let mut out = hyper::Response::new(Full::new(Bytes::from_owner(Room(body, room))));
    *out.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    let own = out.headers_mut();
    if status != 204 {
        own.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    own.insert(header::VARY, HeaderValue::from_static("Origin, Accept-Encoding"));
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            own.insert(name, value);
        }
    }
    out
}
