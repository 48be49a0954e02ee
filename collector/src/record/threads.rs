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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::{Duration, Instant};

    use super::Threads;
    use crate::record::folder::Folder;
    use crate::record::host::Host;
    use crate::record::plan::Plan;
    use crate::record::source::Source;
    use crate::record::stop::Stop;

    static GOES: AtomicU32 = AtomicU32::new(0);

    /// Fails in three ways, then is well.
    static FICKLE: Source = Source {
        name: "fickle",
        kinds: &[],
        about: "",
        cadence: None,
        prepares: false,
        needs: |_| Ok(String::new()),
        run: |_, out, stop| {
            let mut file = out.file("fickle.txt")?;
            let go = GOES.fetch_add(1, Ordering::SeqCst);
            file.write_line(&format!("go {go}"))?;
            match go {
                0 => anyhow::bail!("no such table"),
                1 => panic!("on purpose"),
                2 => Ok(()),
                _ => {
                    out.tick();
                    stop.sleep(Duration::from_secs(3600));
                    Ok(())
                }
            }
        },
    };

    #[test]
    fn a_source_that_ends_is_begun_again_and_each_gap_is_named() {
        let directory = tempfile::tempdir().expect("a folder");
        let folder = Folder::begin(directory.path(), 1 << 30).expect("a recording");
        let stop = Stop::default();
        let threads =
            Threads::start(&[&FICKLE], &Arc::new(Plan::of(Host::default())), &folder, &stop).expect("threads");
        let began = Instant::now();
        while folder.tallies().iter().all(|(_, tally)| tally.ticks == 0) {
            assert!(began.elapsed() < Duration::from_secs(90), "it did not come back");
            std::thread::sleep(Duration::from_millis(10));
        }
        threads.join();
        folder.finish();
        let lost: Vec<String> = folder.losses().into_iter().map(|lost| lost.what).collect();
        assert_eq!(lost.len(), 4, "{lost:?}");
        assert_eq!(&lost[..3], ["no such table", "failed inside: on purpose", "ended by itself"]);
        assert!(lost[3].starts_with("no such table; back after"), "{lost:?}");
        let file = std::fs::File::open(directory.path().join("fickle.txt.zst")).expect("the file");
        assert_eq!(zstd::decode_all(file).expect("frames"), b"go 0\ngo 1\ngo 2\ngo 3\n");
    }
}
