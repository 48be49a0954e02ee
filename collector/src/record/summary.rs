//! How a recording went, for people.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use syncline_schema::loss;

use super::folder::Lost;
use super::moment::words;
use super::rows::{self, Dataplane};

/// Of one capture.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Where it lies.
    pub root: PathBuf,
    /// In the order of the sources.
    pub sources: Vec<Recorded>,
    /// Of the node; null where it is not known.
    pub dataplane: Option<Dataplane>,
    pub losses: Vec<Lost>,
    /// How long it took since all sources had begun.
    pub lasted: Duration,
    /// Time and seconds of CPU until all sources had begun.
    pub beginning: (Duration, f64),
    /// CPU of the recorder and of its tools since then, seconds.
    pub cpu: f64,
    /// Largest share of a core over two seconds.
    pub cpu_peak: f64,
    /// Largest resident memory, bytes.
    pub memory: u64,
    /// On disk, bytes.
    pub bytes: u64,
    /// What went wrong with the action or its settling; null where all went as asked.
    pub trouble: Option<String>,
    /// A signal ended it.
    pub interrupted: bool,
}

/// Of one source.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub name: &'static str,
    /// Null where it was not recorded; the losses say why.
    pub counted: Option<Counted>,
}

/// What a source counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Counted {
    pub ticks: u64,
    pub median: Option<Duration>,
    pub largest: Duration,
    /// Whether it looks at a fixed rate: then cadence and gap mean something.
    pub beats: bool,
}

impl Summary {
    /// Sources that gave something.
    fn available(&self) -> Vec<&'static str> {
        let live = |source: &&Recorded| source.counted.as_ref().is_some_and(|counted| counted.ticks > 0);
        self.sources.iter().filter(live).map(|source| source.name).collect()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{}: recorded {}", self.root.display(), words(self.lasted))?;
        if self.interrupted {
            writeln!(out, "  ended by a signal: in order, but ahead of its time")?;
        }
        if let Some(trouble) = &self.trouble {
            writeln!(out, "  {trouble}")?;
        }
        writeln!(out, "\n  {:<14} {:>9} {:>10} {:>12}", "source", "readings", "median", "largest gap")?;
        for source in &self.sources {
            match &source.counted {
                Some(counted) if counted.beats => writeln!(
                    out,
                    "  {:<14} {:>9} {:>10} {:>12}",
                    source.name,
                    counted.ticks,
                    counted.median.map(words).unwrap_or_default(),
                    words(counted.largest)
                )?,
                Some(counted) => writeln!(out, "  {:<14} {:>9} {:>10}", source.name, counted.ticks, "on events")?,
                None => writeln!(out, "  {:<14} {:>9}", source.name, "–")?,
            }
        }
        let absent = |lost: &&Lost| lost.loss == loss::SOURCE_NOT_RECORDED.name;
        let (missing, lost): (Vec<&Lost>, Vec<&Lost>) = self.losses.iter().partition(absent);
        for (title, list) in [("lost", lost), ("not recorded", missing)] {
            writeln!(out, "\n  {title}:{}", if list.is_empty() { " nothing" } else { "" })?;
            for one in list {
                writeln!(out, "    {}: {}", one.source, one.what)?;
            }
        }
        let available = self.available();
        let undecided = rows::undecided(&available, self.dataplane);
        let (all, word) = (rows::ROWS.len(), rows::measures_propagation(&available, self.dataplane));
        writeln!(out, "\n  propagation {} be measured in it", if word { "can" } else { "cannot" })?;
        writeln!(out, "  rows of the catalogue that nothing in it decides: {} of {all}", undecided.len())?;
        for words in rows::in_words(&undecided) {
            writeln!(out, "    {words}")?;
        }
        let seconds = self.lasted.as_secs_f64().max(0.001);
        writeln!(
            out,
            "\n  cost: {:.2} % of a core ({:.1} % in its busiest two seconds), {:.1} MB of memory, {:.2} MB on disk; to begin: {} and {:.2} s of CPU",
            self.cpu / seconds * 100.0,
            self.cpu_peak * 100.0,
            self.memory as f64 / 1e6,
            self.bytes as f64 / 1e6,
            words(self.beginning.0),
            self.beginning.1
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{Counted, Recorded, Summary};
    use crate::record::rows::Dataplane;
    use std::time::Duration;

    fn summary(names: &[&'static str]) -> Summary {
        let counted = Counted { ticks: 3, median: None, largest: Duration::ZERO, beats: true };
        let source = |name: &&'static str| Recorded { name, counted: Some(counted.clone()) };
        Summary {
            root: "run".into(),
            sources: names.iter().map(source).collect(),
            dataplane: Some(Dataplane::KubeProxy),
            losses: Vec::new(),
            lasted: Duration::from_secs(60),
            beginning: (Duration::from_secs(2), 1.25),
            cpu: 1.2,
            cpu_peak: 0.03,
            memory: 20 << 20,
            bytes: 1 << 20,
            trouble: None,
            interrupted: false,
        }
    }

    #[test]
    fn propagation_takes_three_witnesses() {
        let can = |summary: &Summary| summary.to_string().contains("propagation can be measured");
        assert!(can(&summary(&["iptables", "kubernetes", "beacon"])));
        assert!(!can(&summary(&["iptables", "audit-log"])));
        assert!(!can(&summary(&["iptables", "kubernetes"])));
        assert!(!can(&summary(&["kubernetes", "beacon"])));
        let mut silent = summary(&["iptables", "kubernetes", "beacon"]);
        silent.sources[2].counted.as_mut().expect("counted").ticks = 0;
        assert!(!can(&silent));
        let text = silent.to_string();
        assert!(text.contains("A1 T3.1 T3.4 C7: no beacon or audit-log\n"), "{text}");
        assert!(text.contains("2.00 % of a core") && text.contains("1.25 s of CPU"), "{text}");
    }
}
