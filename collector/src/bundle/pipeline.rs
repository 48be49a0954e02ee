//! Reads in order, parses in parallel, hands the results on in order.
//!
//! ```text
//! reader (one thread) ──chunks──▶ workers ──batches──┐
//!    └──────────────── messages, in order ───────────┴──▶ write (one pass)
//! ```
//!
//! The order of messages is that of the capture, whatever the number of workers, so the bundle is too. Bytes under way
//! are bounded by a budget that the reader takes from and the write pass gives back to: those that a chunk is expected to take with its
//! rows. A chunk that makes more of itself hands it on in parts, each of which waits until the write pass took the one ahead.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use arrow_array::RecordBatch;
use syncline_schema::Column;

use super::settle;
use crate::form::columns::TableBuilder;
use crate::form::ledger::CHUNK;
use crate::form::{Around, Batch, Chunk, Context, Format, Place};
use crate::input::Piece;
use crate::parse;

/// Memory that a parsed chunk takes at most, as a multiple of its bytes (measured on all formats: 2 to 3.5).
const AMPLIFICATION: usize = 4;

/// Memory that what stands between two commas takes at most, bytes: a value of JSON or a cell, and room to grow by half.
const CELL: usize = 48;
/// Memory that a line takes at most beside its bytes: a row, a reject, a piece of a snapshot.
const LINE: usize = 160;

/// What a chunk of usual size may weigh however little memory there is.
const LEAST: usize = 32 * CHUNK;

/// Memory that a chunk takes with what is built from it. In captures it is the bytes that count: lines have some hundred of them.
fn weight(piece: &Piece) -> usize {
    let bytes = piece.bytes.len().saturating_mul(AMPLIFICATION);
    if piece.rows > 0 {
        return piece.rows.max(bytes);
    }
    let places = piece.around.as_ref().map_or(0, |around| around.places.len() * size_of::<Place>());
    let (cells, lines) = (counted(&piece.bytes, b','), counted(&piece.bytes, b'\n'));
    bytes.max(cells.saturating_mul(CELL).saturating_add(lines.saturating_mul(LINE))) + places
}

fn counted(bytes: &[u8], one: u8) -> usize {
    memchr::memchr_iter(one, bytes).count()
}

/// Messages that may be under way: a million sections of a session are as many.
const MOST_MESSAGES: usize = 4 << 10;

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
        let wanted = bytes.min(self.total);
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
    /// Whether no part of the chunk follows.
    is_last: bool,
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
    messages: SyncSender<Message<T>>,
    jobs: Sender<Job>,
    budget: Arc<Budget>,
    /// Memory that one chunk may take.
    most: usize,
}

/// Why a chunk was not handed on.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nobody listens any more.
    Over,
    /// It would take more memory than there is: what was expected.
    TooLarge(String),
}

impl<T> Outlet<T> {
    /// Hands a message on. False once nobody listens any more.
    pub fn say(&self, message: T) -> bool {
        self.messages.send(Message::Said(message)).is_ok()
    }

    /// Hands a chunk to the workers.
    ///
    /// # Errors
    /// Nobody listens any more, or what is built from it would not fit.
    pub fn chunk(&self, piece: Piece, context: &Arc<Context>, format: &'static Format) -> Result<(), Refusal> {
        let bytes = piece.bytes.len();
        let weight = weight(&piece);
        if weight > self.most {
            return Err(Refusal::TooLarge(format!(
                "expected a record that fits --memory: {bytes} bytes in {} lines and {} cells make too much of themselves",
                counted(&piece.bytes, b'\n'),
                counted(&piece.bytes, b',')
            )));
        }
        let cost = self.budget.take(weight);
        let (answer, receiver) = sync_channel(1);
        let source = context.source;
        let job = Job { piece, context: Arc::clone(context), format, answer };
        let sent = self.jobs.send(job).is_ok()
            && self.messages.send(Message::Chunk { source, answer: receiver, cost, bytes }).is_ok();
        if sent { Ok(()) } else { Err(Refusal::Over) }
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
    let (messages, inbox) = sync_channel(MOST_MESSAGES);
    let (jobs, queue) = channel::<Job>();
    let queue = Arc::new(Mutex::new(queue));
    thread::scope(|scope| {
        let outlet = Outlet { messages, jobs, budget: Arc::clone(&budget), most: memory.max(LEAST) };
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
        let mut awaited: Option<Awaited> = None;
        let mut steps = std::iter::from_fn(|| {
            loop {
                let Some(chunk) = &mut awaited else {
                    match inbox.recv().ok()? {
                        Message::Said(said) => return Some(Step::Said(said)),
                        Message::Chunk { source, answer, cost, bytes } => {
                            awaited = Some(Awaited { source, answer, cost, bytes, is_whole: false });
                        }
                    }
                    continue;
                };
                if let Some(parsed) = chunk.next() {
                    return Some(Step::Parsed { source: chunk.source, bytes: chunk.bytes, parsed: Box::new(parsed) });
                }
                budget.give(chunk.cost);
                awaited = None;
            }
        });
        let result = write(&mut steps);
        // Where `write` stopped early the reader may wait for budget: run the rest dry.
        for _ in steps {}
        result
    })
}

/// A chunk whose parts are taken.
struct Awaited {
    source: i32,
    answer: Receiver<Parsed>,
    cost: usize,
    bytes: usize,
    /// Whether its last part came.
    is_whole: bool,
}

impl Awaited {
    /// Its next part; none behind the last.
    fn next(&mut self) -> Option<Parsed> {
        if self.is_whole {
            return None;
        }
        let parsed = self.answer.recv().unwrap_or_else(|_| failed("a worker ended".to_owned()));
        self.is_whole = parsed.is_last;
        Some(parsed)
    }
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
        let (answer, around) = (job.answer.clone(), piece.around.clone());
        let hand_on = move |tables, mut batch: Batch| {
            let tables = finished(tables, around.as_deref());
            if let Some(around) = &around {
                settle::batch(&mut batch, around);
            }
            // Who does not listen any more has an error of its own.
            let _ = answer.send(Parsed { batch, tables, is_last: false, panic: None });
        };
        let mut batch = Batch::of_chunk(piece.bytes.len(), Box::new(hand_on));
        parse::read(job.format, &job.context, &chunk, &mut batch);
        let tables = finished(batch.take_tables(), piece.around.as_deref());
        if let Some(around) = &piece.around {
            settle::batch(&mut batch, around);
        }
        Parsed { batch, tables, is_last: true, panic: None }
    }));
    outcome.unwrap_or_else(|cause| {
        let text =
            cause.downcast_ref::<String>().cloned().or_else(|| cause.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        failed(text.unwrap_or_default())
    })
}

/// Of a chunk that is lost.
fn failed(why: String) -> Parsed {
    Parsed { batch: Batch::default(), tables: Vec::new(), is_last: true, panic: Some(why) }
}

/// Rows with what lay around their lines.
fn finished(tables: Vec<TableBuilder>, around: Option<&Around>) -> Vec<(&'static str, &'static [Column], RecordBatch)> {
    let settled = |mut builder: TableBuilder| {
        let rows = builder.finish().ok()?;
        let rows = around.map(|around| settle::table(builder.table, &rows, around)).unwrap_or(rows);
        Some((builder.table, builder.columns(), rows))
    };
    tables.into_iter().filter_map(settled).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Refusal, Step, counted, run, weight};
    use crate::form::ledger::CHUNK;
    use crate::input::Piece;
    use crate::parse::harness::context;
    use crate::parse::logs::kube_proxy_log;

    fn piece(bytes: Vec<u8>) -> Piece {
        Piece { bytes, first_line: 1, first: true, last: true, ..Piece::default() }
    }

    #[test]
    fn what_is_built_is_weighed_and_not_the_bytes_alone() {
        let line = b"I1123 04:22:33.606679       1 proxier.go:662] \"SyncProxyRules complete\" elapsed=\"1ms\"\n";
        let log = line.repeat(1_000);
        assert_eq!((counted(&log, b'\n'), weight(&piece(log.clone()))), (1_000, 4 * log.len()));
        assert_eq!(counted(&b",".repeat(1_000), b','), 1_000);
        assert_eq!([b"0,", b"x\n"].map(|text| weight(&piece(text.repeat(1_000)))), [48_000, 160_000]);
    }

    #[test]
    fn a_record_of_too_many_parts_is_refused_and_the_rest_goes_on() {
        let context = Arc::new(context());
        let (mut refused, mut parsed) = (None, 0);
        let read = |outlet: &super::Outlet<String>| {
            for bytes in [b"0,".repeat(16 * CHUNK), b"W1123 04:22:33.606679       1 a.go:1] b\n".to_vec()] {
                if let Err(Refusal::TooLarge(why)) = outlet.chunk(piece(bytes), &context, &kube_proxy_log::FORMAT) {
                    outlet.say(why);
                }
            }
        };
        let write = |steps: &mut dyn Iterator<Item = Step<String>>| -> Result<(), ()> {
            for step in steps {
                match step {
                    Step::Said(why) => refused = Some(why),
                    Step::Parsed { parsed: one, .. } => parsed += one.batch.records,
                }
            }
            Ok(())
        };
        assert_eq!(run(1, 256 << 20, read, write), Ok(()));
        assert!(refused.is_some_and(|why| why.contains("67108864 cells")) && parsed == 1);
    }
}
