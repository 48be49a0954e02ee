//! What a source is: one thread that records one kind of thing.

use std::fmt;
use std::time::Duration;

use super::folder::Out;
use super::plan::Plan;
use super::stop::Stop;

/// What a source found, in words for people (`iptables-legacy in the namespace of kube-proxy (pid 812)`).
pub type Found = String;

/// Why something cannot be recorded, and what would help. Not an error: the recording goes on without it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// What is missing.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

impl Lack {
    /// Of two texts.
    pub fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.what, self.remedy)
    }
}

/// One source.
pub struct Source {
    /// Word of `--every` and `--without`.
    pub name: &'static str,
    /// Kinds of `syncline-collector formats` that its files are read as.
    pub kinds: &'static [&'static str],
    /// One line for people.
    pub about: &'static str,
    /// How often it looks unless `--every` says otherwise; null where events drive it.
    pub cadence: Option<Duration>,
    /// Whether the baseline waits for its first record, since it takes long to begin and loads the machine meanwhile.
    pub prepares: bool,
    /// What it found here, or what it lacks. Called ahead of the recording, and by `doctor`; changes nothing, and takes a second at most.
    pub needs: fn(&Plan) -> Result<Found, Lack>,
    /// Records until `stop` is set. An error, a panic or an early return is a named gap, and it is called again: then
    /// [`Out::file`] goes on in the same files.
    pub run: fn(&Plan, &mut Out, &Stop) -> anyhow::Result<()>,
}
