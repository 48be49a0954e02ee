//! Reads in order, parses in parallel, hands the results on in order.
//!
//! ```text
//! reader (one thread) ──chunks──▶ workers ──batches──┐
//!    └──────────────── messages, in order ───────────┴──▶ write (one pass)
//! ```
//!
//! The order of messages is that of the capture, whatever the number of workers, so the bundle is too. Bytes under way
//! are bounded by a budget that the reader takes from and the write pass gives back to.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use arrow_array::RecordBatch;
use syncline_schema::Column;

use super::settle;
use crate::form::{Batch, Chunk, Context, Format};
use crate::input::{CHUNK, Piece};
use crate::parse;

/// Memory that a parsed chunk takes at most, as a multiple of its bytes (measured on all formats: 2 to 3.5).
const AMPLIFICATION: usize = 4;

/// Bytes that may be under way.
pub struct Budget {
    free: Mutex<usize>,
    changed: Condvar,
    total: usize,
}

impl Budget {
    /// A budget of `total` bytes.
    pub fn new(total: usize) -> Self {
        Self { free: Mutex::new(total), changed: Condvar::new(), total }
    }

    fn take(&self, bytes: usize) -> usize {
        let wanted = bytes.saturating_mul(AMPLIFICATION).min(self.total);
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        while *free < wanted {
            free = self.changed.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        *free -= wanted;
        wanted
    }

    fn give(&self, bytes: usize) {
        *self.free.lock().unwrap_or_else(PoisonError::into_inner) += bytes;
        self.changed.notify_all();
    }
}

/// A chunk to be parsed.
struct Job {
    piece: Piece,
    context: Arc<Context>,
    format: &'static Format,
    answer: SyncSender<Parsed>,
}

/// A parsed chunk.
pub struct Parsed {
    /// What the sequential pass needs.
    pub batch: Batch,
    /// Finished rows by table.
    pub tables: Vec<(&'static str, &'static [Column], RecordBatch)>,
    /// Set where the parser panicked: what it said. The chunk is then lost as a whole, and counted.
    pub panic: Option<String>,
}

/// What the write pass receives, in the order of the capture.
pub enum Message<T> {
    /// Something the reader says (a source begins, ends, …).
    Said(T),
    /// A chunk of a source; its result is awaited from the receiver.
    Chunk {
        /// Index of the source.
        source: i32,
        /// Result.
        answer: Receiver<Parsed>,
        /// Budget to give back.
        cost: usize,
        /// Input bytes.
        bytes: usize,
    },
}

/// The reader's end.
pub struct Outlet<T> {
    messages: Sender<Message<T>>,
    jobs: Sender<Job>,
    budget: Arc<Budget>,
}

impl<T> Outlet<T> {
    /// Hands a message on. False once nobody listens any more.
    pub fn say(&self, message: T) -> bool {
        self.messages.send(Message::Said(message)).is_ok()
    }

    /// Hands a chunk to the workers. False once nobody listens any more.
    pub fn chunk(&self, piece: Piece, context: &Arc<Context>, format: &'static Format) -> bool {
        let bytes = piece.bytes.len();
        let cost = self.budget.take(bytes.max(piece.rows / AMPLIFICATION));
        let (answer, receiver) = sync_channel(1);
        let source = context.source;
        let job = Job { piece, context: Arc::clone(context), format, answer };
        self.jobs.send(job).is_ok()
            && self.messages.send(Message::Chunk { source, answer: receiver, cost, bytes }).is_ok()
    }
}

/// Runs `read` on a thread of its own, the parsers on `threads` others, and `write` here.
///
/// # Errors
/// Whatever `write` answers.
pub fn run<T: Send, E>(
    threads: usize,
    memory: usize,
    read: impl FnOnce(&Outlet<T>) + Send,
    write: impl FnOnce(&mut dyn Iterator<Item = Step<T>>) -> Result<(), E>,
) -> Result<(), E> {
    // A few chunks for each thread keep all of them busy; more would only fill memory.
    let enough = (2 * threads.max(1) + 2) * CHUNK * AMPLIFICATION;
    let budget = Arc::new(Budget::new(memory.min(enough)));
    let (messages, inbox) = channel();
    let (jobs, queue) = channel::<Job>();
    let queue = Arc::new(Mutex::new(queue));
    thread::scope(|scope| {
        let outlet = Outlet { messages, jobs, budget: Arc::clone(&budget) };
        scope.spawn(move || read(&outlet));
        for _ in 0..threads.max(1) {
            let queue = Arc::clone(&queue);
            scope.spawn(move || {
                loop {
                    let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(job) = job else { return };
                    // Nobody listens any more when the write pass failed: its error is what counts.
                    let _ = job.answer.send(parse(&job));
                }
            });
        }
        let mut given = 0;
        let mut steps = std::iter::from_fn(|| {
            budget.give(std::mem::take(&mut given));
            match inbox.recv().ok()? {
                Message::Said(said) => Some(Step::Said(said)),
                Message::Chunk { source, answer, cost, bytes } => {
                    given = cost;
                    let parsed = answer.recv().unwrap_or_else(|_| Parsed {
                        batch: Batch::default(),
                        tables: Vec::new(),
                        panic: Some("a worker ended".to_owned()),
                    });
                    Some(Step::Parsed { source, bytes, parsed: Box::new(parsed) })
                }
            }
        });
        let result = write(&mut steps);
        // Where `write` stopped early the reader may wait for budget: run the rest dry.
        for _ in steps {}
        result
    })
}

/// One step of the write pass.
pub enum Step<T> {
    /// Something the reader said.
    Said(T),
    /// A parsed chunk.
    Parsed {
        /// Index of the source.
        source: i32,
        /// Input bytes.
        bytes: usize,
        /// Result.
        parsed: Box<Parsed>,
    },
}

fn parse(job: &Job) -> Parsed {
    let piece = &job.piece;
    let chunk = Chunk {
        bytes: &piece.bytes,
        first_line: piece.first_line,
        offset: piece.offset,
        first: piece.first,
        last: piece.last,
        truncated: piece.truncated.is_some(),
        around: piece.around.as_deref(),
    };
    // A parser must not panic; should one do so all the same, one chunk is lost and named, not the whole bundle.
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut batch = Batch::default();
        parse::read(job.format, &job.context, &chunk, &mut batch);
        let tables = batch
            .take_tables()
            .into_iter()
            .filter_map(|mut builder| {
                let rows = builder.finish().ok()?;
                let rows =
                    piece.around.as_ref().map(|around| settle::table(builder.table, &rows, around)).unwrap_or(rows);
                Some((builder.table, builder.columns(), rows))
            })
            .collect();
        if let Some(around) = &piece.around {
            settle::batch(&mut batch, around);
        }
        Parsed { batch, tables, panic: None }
    }));
    outcome.unwrap_or_else(|cause| {
        let text =
            cause.downcast_ref::<String>().cloned().or_else(|| cause.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        Parsed { batch: Batch::default(), tables: Vec::new(), panic: Some(text.unwrap_or_default()) }
    })
}
