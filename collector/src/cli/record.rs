//! `record`: from a cluster to a capture.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use syncline_schema::printable::{Printable, tell};

use crate::bundle::{BundleOptions, bundle};
use crate::record::asked::{Action, Asked, Kind, Workload};
use crate::record::stop::Stop;
use crate::record::{self, sources};

/// Arguments of `record`.
#[derive(Args, Debug)]
pub struct RecordArguments {
    /// Directory to record into; several replicates each get a folder in it
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    what: WhatArguments,
    /// Write the bundle of each capture too, as DIR.bundle
    #[arg(long)]
    bundle: bool,
}

/// What is to be recorded: arguments that `doctor` has too.
#[derive(Args, Debug)]
pub struct WhatArguments {
    /// How long to record where nothing is done; or how long an action may take to settle (10m)
    #[arg(long = "for", value_name = "D", value_parser = duration)]
    duration: Option<Duration>,
    /// Set the replicas of a workload: deploy/test=44
    #[arg(long, value_name = "KIND/NAME=N", value_parser = scale, group = "action")]
    scale: Option<Action>,
    /// Replace all pods of a workload: deploy/test
    #[arg(long, value_name = "KIND/NAME", value_parser = restart, group = "action")]
    restart: Option<Action>,
    /// Delete N pods without grace: app=test=1
    #[arg(long, value_name = "SELECTOR=N", value_parser = delete_pods, group = "action")]
    delete_pods: Option<Action>,
    /// Put the number of replicas back afterwards
    #[arg(long, requires = "scale")]
    reset: bool,
    /// Namespace of the workload
    #[arg(long, short, value_name = "NS")]
    namespace: Option<String>,
    /// Service under test (default: those of the namespace); repeatable
    #[arg(long = "service", value_name = "NS/NAME", value_parser = service)]
    services: Vec<(String, String)>,
    /// Ahead of the action
    #[arg(long, value_name = "D", default_value = "30s", value_parser = duration)]
    baseline: Duration,
    /// Behind the last change
    #[arg(long, value_name = "D", default_value = "30s", value_parser = duration)]
    tail: Duration,
    /// Record N replicates
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeat: u32,
    /// How often a source looks: iptables=50ms; repeatable
    #[arg(long, value_name = "SOURCE=D", value_parser = every)]
    every: Vec<(String, Duration)>,
    /// Leave a source out; repeatable
    #[arg(long, value_name = "SOURCE", value_parser = without)]
    without: Vec<String>,
    /// Send requests at a fixed rate: http://SERVICE.NS:PORT@200/s; repeatable
    #[arg(long, value_name = "URL[@RATE]")]
    probe: Vec<String>,
    /// Scrape metrics of a URL too; repeatable
    #[arg(long, value_name = "URL")]
    scrape: Vec<String>,
    /// The API server's audit log, where it is a file on this machine
    #[arg(long, value_name = "PATH")]
    audit_log: Option<PathBuf>,
    /// How to reach the API server (default: KUBECONFIG, the pod's account, ~/.kube/config)
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Most that a capture may take on disk
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = size)]
    max_size: u64,
    /// Most of one core that the recorder may take: 10% or 0.1; beyond, it looks less often and says so
    #[arg(long, value_name = "SHARE", default_value = "20%", value_parser = share)]
    max_cpu: f64,
    /// Replace names of namespaces, pods, nodes and addresses, consistently
    #[arg(long)]
    redact: bool,
    /// Run a command as the action
    #[arg(last = true, value_name = "COMMAND", group = "action")]
    command: Vec<String>,
}

impl WhatArguments {
    /// What they ask for, into a directory.
    ///
    /// # Errors
    /// In words: neither an action nor a duration is given.
    pub fn asked(self, out: PathBuf) -> anyhow::Result<Asked> {
        let asked = self.to_look(out);
        if asked.action == Action::Watch && asked.duration.is_none() {
            anyhow::bail!(
                "say what to record: --scale, --restart, --delete-pods, -- COMMAND, or --for 5m to watch only"
            );
        }
        Ok(asked)
    }

    /// The same where it is only looked what could be recorded.
    pub fn to_look(self, out: PathBuf) -> Asked {
        let command = (!self.command.is_empty()).then_some(Action::Command { words: self.command });
        let action = self.scale.or(self.restart).or(self.delete_pods).or(command);
        Asked {
            out,
            action: action.unwrap_or(Action::Watch),
            duration: self.duration,
            reset: self.reset,
            namespace: self.namespace,
            services: self.services,
            baseline: self.baseline,
            tail: self.tail,
            repeat: self.repeat,
            every: self.every,
            without: self.without,
            probe: self.probe,
            scrape: self.scrape,
            audit_log: self.audit_log,
            kubeconfig: self.kubeconfig,
            max_size: self.max_size,
            max_cpu: self.max_cpu,
            redact: self.redact,
        }
    }
}

/// Records.
///
/// # Errors
/// The recording could not begin, or what it asked for could not be done.
pub fn run(arguments: RecordArguments) -> anyhow::Result<ExitCode> {
    let asked = arguments.what.asked(arguments.out)?;
    let stop = Stop::default();
    on_signals(&stop)?;
    let summaries = record::record(&asked, &stop, &|line| tell(format_args!("{line}")))?;
    let mut out = std::io::stdout().lock();
    for summary in &summaries {
        writeln!(Printable(&mut out), "{summary}")?;
        if arguments.bundle {
            bundle_of(&summary.root)?;
        }
    }
    let well = summaries.iter().all(|summary| summary.trouble.is_none());
    Ok(ExitCode::from(u8::from(!well)))
}

/// The first SIGINT or SIGTERM ends the recording in order, the second one ends the process.
fn on_signals(stop: &Stop) -> anyhow::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM])?;
    let stop = stop.clone();
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            if stop.is_set() {
                // What was flushed is readable.
                let _ = signal_hook::low_level::emulate_default_handler(signal);
            }
            tell(format_args!("ending the recording; once more ends it at once"));
            stop.set();
        }
    })?;
    Ok(())
}

/// Writes the bundle of a capture beside it.
fn bundle_of(root: &Path) -> anyhow::Result<()> {
    let mut name = root.as_os_str().to_owned();
    name.push(".bundle");
    let options = BundleOptions {
        inputs: vec![root.to_owned()],
        out: PathBuf::from(name),
        progress: true,
        ..BundleOptions::default()
    };
    let summary = bundle(&options)?;
    tell(format_args!(
        "{}: {} sources, {} records rejected",
        options.out.display(),
        summary.manifest.sources.len(),
        summary.rejected
    ));
    Ok(())
}

/// `90s`, `1m30s`, `250ms`, as Prometheus writes durations; a number alone is seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}`: expected a duration such as 30s, 1m30s or 100ms");
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map_err(|_| wrong());
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u32 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let letters = rest.find(|letter: char| letter.is_ascii_digit()).unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3600),
            _ => return Err(wrong()),
        };
        total = unit.checked_mul(number).and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
        rest = &rest[letters..];
    }
    // Longer than any recording; beyond it, sums of moments overflow.
    if text.is_empty() || total > Duration::from_secs(366 * 86_400) { Err(wrong()) } else { Ok(total) }
}

fn workload(text: &str) -> Result<Workload, String> {
    let wrong = || format!("`{text}`: expected KIND/NAME, such as deploy/test (Deployment, StatefulSet, DaemonSet)");
    let (kind, name) = text.split_once('/').ok_or_else(wrong)?;
    let kind = Kind::of(kind).ok_or_else(wrong)?;
    Ok(Workload { kind, name: object_name(name).ok_or_else(wrong)? })
}

/// A name that may stand in a path of the API.
fn object_name(text: &str) -> Option<String> {
    let plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-' || letter == '.';
    (!text.is_empty() && text.len() <= 253 && text.chars().all(plain) && !text.starts_with('.'))
        .then(|| text.to_owned())
}

fn scale(text: &str) -> Result<Action, String> {
    let wrong = || format!("`{text}`: expected KIND/NAME=N, such as deploy/test=44");
    let (name, replicas) = text.rsplit_once('=').ok_or_else(wrong)?;
    let workload = workload(name)?;
    if workload.kind == Kind::DaemonSet {
        return Err(format!("`{text}`: a DaemonSet has as many pods as there are nodes"));
    }
    Ok(Action::Scale { workload, replicas: replicas.parse().map_err(|_| wrong())? })
}

fn restart(text: &str) -> Result<Action, String> {
    Ok(Action::Restart { workload: workload(text)? })
}

fn delete_pods(text: &str) -> Result<Action, String> {
    let wrong = || format!("`{text}`: expected SELECTOR=N, such as app=test=1");
    let (selector, count) = text.rsplit_once('=').ok_or_else(wrong)?;
    let count: u32 = count.parse().map_err(|_| wrong())?;
    if selector.is_empty() || count == 0 {
        return Err(wrong());
    }
    Ok(Action::DeletePods { selector: selector.to_owned(), count })
}

pub(super) fn service(text: &str) -> Result<(String, String), String> {
    let wrong = || format!("`{text}`: expected NAMESPACE/NAME");
    let (namespace, name) = text.split_once('/').ok_or_else(wrong)?;
    Ok((object_name(namespace).ok_or_else(wrong)?, object_name(name).ok_or_else(wrong)?))
}

fn known(name: &str) -> Result<String, String> {
    if sources::names().any(|known| known == name) {
        return Ok(name.to_owned());
    }
    Err(format!("`{name}`: expected one of {}", sources::names().collect::<Vec<_>>().join(", ")))
}

fn every(text: &str) -> Result<(String, Duration), String> {
    let (name, every) =
        text.split_once('=').ok_or_else(|| format!("`{text}`: expected SOURCE=D, such as iptables=50ms"))?;
    let every = duration(every)?;
    if every < Duration::from_millis(1) {
        return Err(format!("`{text}`: at least 1ms"));
    }
    Ok((known(name)?, every))
}

fn without(text: &str) -> Result<String, String> {
    known(text)
}

fn share(text: &str) -> Result<f64, String> {
    let wrong = || format!("`{text}`: expected a share of one core, such as 10% or 0.1");
    let (number, unit) = match text.strip_suffix('%') {
        Some(number) => (number, 100.0),
        None => (text, 1.0),
    };
    let share = number.trim().parse::<f64>().map_err(|_| wrong())? / unit;
    if share.is_finite() && (0.001..=1000.0).contains(&share) { Ok(share) } else { Err(wrong()) }
}

fn size(text: &str) -> Result<u64, String> {
    let bytes = super::sizes::bytes(text)?;
    if bytes < 1 << 20 {
        return Err(format!("`{text}`: at least 1MiB is needed"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::{delete_pods, duration, scale, service, share, size, workload};
    use crate::record::asked::Action;
    use std::time::Duration;

    #[test]
    fn durations_are_those_of_prometheus() {
        for (text, millis) in
            [("30s", 30_000), ("1m30s", 90_000), ("100ms", 100), ("2", 2_000), ("0.5", 500), ("1h", 3_600_000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "5x", "1m30", "-1", "nan", "99999999999h", "5 s", "4000000000h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn actions_are_read_as_kubectl_names_objects() {
        assert!(matches!(scale("deploy/test=44"), Ok(Action::Scale { replicas: 44, .. })));
        assert!(matches!(scale("deployment.apps/test=0"), Ok(Action::Scale { replicas: 0, .. })));
        for text in ["deploy/test", "deploy=4", "ds/x=4", "deploy/../x=4", "deploy/test=-1", "job/x=1"] {
            assert!(scale(text).is_err(), "{text}");
        }
        assert!(workload("sts/web").is_ok() && workload("deploy/").is_err());
        let wanted = Action::DeletePods { selector: "app=test".to_owned(), count: 1 };
        assert_eq!(delete_pods("app=test=1"), Ok(wanted));
        assert!(delete_pods("app=test").is_err() && delete_pods("app=test=0").is_err());
        assert!(service("a/b").is_ok() && service("a").is_err() && service("a/b/c").is_err());
    }

    #[test]
    fn shares_and_sizes_have_units() {
        assert_eq!((share("10%"), share("0.1")), (Ok(0.1), Ok(0.1)));
        assert!(share("0").is_err() && share("x%").is_err() && share("inf").is_err());
        assert_eq!(size("2MiB"), Ok(2 << 20));
        assert!(size("10k").is_err());
    }
}
