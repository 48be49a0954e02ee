//! How a recording went, for people.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use syncline_schema::loss;

use super::folder::Lost;
use super::moment::words;

/// Of one capture.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Where it lies.
    pub root: PathBuf,
    /// In the order of the sources.
    pub sources: Vec<Recorded>,
    pub losses: Vec<Lost>,
    /// How long it took.
    pub lasted: Duration,
    /// CPU of the recorder and of its tools, seconds.
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
    pub kinds: &'static [&'static str],
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

/// A measurement, and what it takes.
struct Wanted {
    name: &'static str,
    /// One kind, or source by its name, of each group is needed.
    groups: &'static [&'static [&'static str]],
    remedy: &'static str,
}

/// Kinds that show which endpoints a dataplane holds.
const DATAPLANE: &[&str] =
    &["iptables-save", "nft-json", "nft-monitor", "ipvsadm", "bpftool-dump", "lb4-reader", "cilium-lb-list"];

/// What a capture can give, by the kinds of its sources. `doctor` says row by row of the catalogue what hangs on it.
const WANTED: &[Wanted] = &[
    Wanted {
        name: "endpoint propagation and removal",
        groups: &[DATAPLANE, &["watch", "audit"], &["beacon", "audit"]],
        remedy: "needs the dataplane's state (iptables, nft, ipvs, Cilium's maps), the API's watches, and beacons or the audit log",
    },
    Wanted {
        name: "convergence and settling",
        groups: &[DATAPLANE, &["watch", "audit"]],
        remedy: "needs the dataplane's state and the API's watches",
    },
    Wanted {
        name: "CPU and memory of the proxy",
        groups: &[&["scrape", "exposition", "prometheus-api"]],
        remedy: "needs the proxy's process (hostPID) or a scrape",
    },
    Wanted {
        name: "the proxy's syncs",
        groups: &[&["scrape", "exposition", "prometheus-api", "kube-proxy-log"]],
        remedy: "needs kube-proxy's metrics or log",
    },
    Wanted {
        name: "requests of clients",
        groups: &[&["requests"]],
        remedy: "give --probe http://SERVICE.NS:PORT@200/s",
    },
    Wanted { name: "kernel events", groups: &[&["kernel"]], remedy: "needs bpftrace, and a kernel with tracepoints" },
    Wanted { name: "flows", groups: &[&["hubble"]], remedy: "needs Cilium with Hubble" },
];

impl Summary {
    /// Measurements that the capture can give, and those that it cannot, with the remedy.
    pub fn measurements(&self) -> (Vec<&'static str>, Vec<(&'static str, &'static str)>) {
        let seen = |kinds: &&'static [&'static str]| {
            let live =
                self.sources.iter().filter(|source| source.counted.as_ref().is_some_and(|counted| counted.ticks > 0));
            live.into_iter()
                .any(|source| kinds.contains(&source.name) || source.kinds.iter().any(|kind| kinds.contains(kind)))
        };
        let (mut can, mut cannot) = (Vec::new(), Vec::new());
        for wanted in WANTED {
            if wanted.groups.iter().all(seen) {
                can.push(wanted.name);
            } else {
                cannot.push((wanted.name, wanted.remedy));
            }
        }
        (can, cannot)
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
        let (can, cannot) = self.measurements();
        writeln!(out, "\n  it can give: {}", if can.is_empty() { "nothing".to_owned() } else { can.join(", ") })?;
        for (name, remedy) in cannot {
            writeln!(out, "  it cannot give {name}: {remedy}")?;
        }
        let seconds = self.lasted.as_secs_f64().max(0.001);
        writeln!(
            out,
            "\n  cost: {:.2} % of a core ({:.1} % at most), {:.1} MB of memory, {:.2} MB on disk",
            self.cpu / seconds * 100.0,
            self.cpu_peak * 100.0,
            self.memory as f64 / 1e6,
            self.bytes as f64 / 1e6
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{Counted, Recorded, Summary};
    use std::time::Duration;

    fn summary(kinds: &[&'static [&'static str]]) -> Summary {
        let counted = Counted { ticks: 3, median: None, largest: Duration::ZERO, beats: true };
        let source = |kinds: &&'static [&'static str]| Recorded { name: "x", kinds, counted: Some(counted.clone()) };
        Summary {
            root: "run".into(),
            sources: kinds.iter().map(source).collect(),
            losses: Vec::new(),
            lasted: Duration::from_secs(60),
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
        let can = |kinds: &[&'static [&'static str]]| {
            summary(kinds).measurements().0.contains(&"endpoint propagation and removal")
        };
        assert!(can(&[&["iptables-save"], &["watch"], &["beacon"]]));
        assert!(can(&[&["iptables-save"], &["audit"]]));
        assert!(!can(&[&["iptables-save"], &["watch"]]));
        assert!(!can(&[&["watch"], &["beacon"]]));
        let mut silent = summary(&[&["iptables-save"], &["watch"], &["beacon"]]);
        silent.sources[2].counted = None;
        assert!(!silent.measurements().0.contains(&"endpoint propagation and removal"));
        assert!(silent.to_string().contains("2.00 % of a core"), "{silent}");
    }
}
