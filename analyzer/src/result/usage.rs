//! What a run cost: CPU time by stage, and the most memory that the process had.

use std::fs;

/// CPU time by stage, s. Where several runs are worked on at once, threads of the libraries are none of a stage's: what they took is
/// `elsewhere`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stages {
    /// Opening a bundle and checking it, and bundling what is none.
    pub open: f64,
    /// Clocks, windows, episodes.
    pub load: f64,
    /// Measurements and queries.
    pub measure: f64,
    /// Rows for other programs, and the result.
    pub pack: f64,
    /// Files of the archive.
    pub write: f64,
    /// The rest of the process.
    pub elsewhere: f64,
}

impl Stages {
    /// Adds what another run cost.
    pub fn add(&mut self, other: &Stages) {
        self.open += other.open;
        self.load += other.load;
        self.measure += other.measure;
        self.pack += other.pack;
        self.write += other.write;
        self.elsewhere += other.elsewhere;
    }

    /// All of it.
    pub fn total(&self) -> f64 {
        self.open + self.load + self.measure + self.pack + self.write + self.elsewhere
    }

    /// What the process took beside the stages, since a watch of it began.
    pub fn finish(&mut self, process: &Stopwatch) {
        self.elsewhere = 0.0;
        self.elsewhere = (process.seconds() - self.total()).max(0.0);
    }
}

/// CPU time since it was made.
pub struct Stopwatch {
    of: fn() -> f64,
    begun: f64,
}

impl Stopwatch {
    /// Of this thread.
    pub fn thread() -> Self {
        Self { of: of_thread, begun: of_thread() }
    }

    /// Of a stage of one of so many runs that are worked on at once: with all threads, where it is alone.
    pub fn stage(jobs: usize) -> Self {
        if jobs == 1 { Self::process() } else { Self::thread() }
    }

    /// Of all threads of this process.
    pub fn process() -> Self {
        Self { of: of_process, begun: of_process() }
    }

    /// Seconds; 0 where the system does not tell.
    pub fn seconds(&self) -> f64 {
        (self.of)() - self.begun
    }
}

/// CPU time of this thread, s: the first number of `schedstat`, ns.
fn of_thread() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace().next().and_then(|word| word.parse::<f64>().ok()).map_or(0.0, |ns| ns / 1e9)
}

/// CPU time of all threads of this process, s: user and system time of `stat`, in hundredths as Linux gives them to programs.
fn of_process() -> f64 {
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the program stands in parentheses, and may hold blanks.
    let behind = text.rsplit(')').next().unwrap_or_default();
    let ticks: f64 = behind.split_whitespace().skip(11).take(2).filter_map(|word| word.parse::<f64>().ok()).sum();
    ticks / 100.0
}

/// The most memory that the process had at a time, bytes; nothing where the system does not tell.
pub fn peak_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib << 10)
}
