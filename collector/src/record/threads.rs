//! The threads of the sources: started, begun again where they end, joined within a time limit.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use syncline_schema::loss;

use super::folder::{FLUSH, Folder, Out};
use super::plan::Plan;
use super::source::Source;
use super::stop::Stop;

/// First and longest wait ahead of beginning a source again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));
/// A source that ran this long was well: the next wait is the first one again.
const WELL: Duration = Duration::from_secs(60);
/// How long sources may take to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// Those that run.
pub struct Threads {
    sources: Vec<(Out, JoinHandle<()>)>,
    flusher: JoinHandle<()>,
    stop: Stop,
    /// Ends the flusher: it goes on until the last source has ended.
    flushed: Stop,
}

impl Threads {
    /// Starts the sources.
    ///
    /// # Errors
    /// No more threads can be had.
    pub fn start(
        sources: &[&'static Source],
        plan: &Arc<Plan>,
        folder: &Arc<Folder>,
        stop: &Stop,
    ) -> std::io::Result<Self> {
        let flushed = Stop::default();
        let flusher = {
            let (folder, flushed, stop) = (Arc::clone(folder), flushed.clone(), stop.clone());
            std::thread::Builder::new().name("flush".to_owned()).spawn(move || {
                while flushed.sleep(FLUSH) {
                    folder.flush();
                    if folder.is_full() {
                        stop.set();
                    }
                }
            })?
        };
        let mut running = Vec::new();
        for source in sources {
            let out = folder.out(source.name);
            let handle = {
                let (plan, out, stop, source) = (Arc::clone(plan), out.clone(), stop.clone(), *source);
                std::thread::Builder::new()
                    .name(source.name.to_owned())
                    .spawn(move || keep(source, &plan, out, &stop))?
            };
            running.push((out, handle));
        }
        Ok(Self { sources: running, flusher, stop: stop.clone(), flushed })
    }

    /// Stops all, and waits for them; one that hangs is named and left behind.
    pub fn join(self) {
        self.stop.set();
        let until = Instant::now() + PATIENCE;
        let mut left = self.sources;
        while !left.is_empty() && Instant::now() < until {
            let (done, still): (Vec<_>, Vec<_>) = left.into_iter().partition(|(_, handle)| handle.is_finished());
            for (_, handle) in done {
                let _ = handle.join();
            }
            left = still;
            if !left.is_empty() {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        for (out, _) in left {
            out.lost(
                loss::RECORDER_GAP,
                1,
                format!("did not end within {} s: its last records may be missing", PATIENCE.as_secs()),
            );
        }
        self.flushed.set();
        let _ = self.flusher.join();
    }
}

/// Runs one source until the recording ends, and begins it again where it ends ahead of that.
fn keep(source: &Source, plan: &Plan, mut out: Out, stop: &Stop) {
    let mut pause = PAUSES.0;
    loop {
        let begun = Instant::now();
        let ended = catch_unwind(AssertUnwindSafe(|| (source.run)(plan, &mut out, stop)));
        if stop.is_set() {
            if let Ok(Err(error)) = ended {
                // What a source meets while it is being ended is mostly that it is being ended; it is kept all the same.
                out.lost(loss::RECORDER_GAP, 0, format!("at the end: {error:#}"));
            }
            return;
        }
        let what = match ended {
            Ok(Ok(())) => "ended by itself".to_owned(),
            Ok(Err(error)) => format!("{error:#}"),
            Err(panic) => {
                let words = panic.downcast_ref::<&str>().map(ToString::to_string);
                let words = words.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
                format!("failed inside: {words}")
            }
        };
        out.broken(&what);
        if begun.elapsed() > WELL {
            pause = PAUSES.0;
        }
        if !stop.sleep(pause) {
            return;
        }
        pause = (pause * 2).min(PAUSES.1);
    }
}
