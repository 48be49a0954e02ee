//! What can be recorded here: every source is asked what it found, at once and within a time limit. Nothing is changed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::plan::Plan;
use super::rows::{self, Dataplane};
use super::source::{Found, Lack, Source};

/// How long all sources together may take to look.
const PATIENCE: Duration = Duration::from_secs(10);

/// What one source said.
#[derive(Clone, Debug)]
pub struct Examined {
    pub source: &'static str,
    pub about: &'static str,
    /// What it found, or what it lacks.
    pub found: Result<Found, Lack>,
    /// Rows of the catalogue that it has a part in, on the dataplane of this node.
    pub decides: Vec<&'static str>,
}

/// Asks `sources`; those of `without` are left out by the user's wish.
pub fn examine(sources: &[&'static Source], plan: &Arc<Plan>, without: &[String]) -> Vec<Examined> {
    let dataplane = dataplane(plan);
    let (sender, receiver) = channel();
    for (at, source) in sources.iter().enumerate() {
        let (plan, sender, source) = (Arc::clone(plan), sender.clone(), *source);
        // Not joined: one that hangs is left behind.
        std::thread::spawn(move || {
            let found = catch_unwind(AssertUnwindSafe(|| (source.needs)(&plan)));
            let failed = || Lack::new("it failed inside", "report this, with what `doctor` printed");
            let _ = sender.send((at, found.unwrap_or_else(|_| Err(failed()))));
        });
    }
    drop(sender);
    let mut answers: Vec<Option<Result<Found, Lack>>> = sources.iter().map(|_| None).collect();
    let until = Instant::now() + PATIENCE;
    while answers.iter().any(Option::is_none) {
        match receiver.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok((at, found)) => answers[at] = Some(found),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
    }
    let examined = |(source, found): (&&'static Source, Option<Result<Found, Lack>>)| {
        let silent = || {
            Err(Lack::new(
                format!("no answer within {} s", PATIENCE.as_secs()),
                "look whether the machine is overloaded",
            ))
        };
        let left_out = without.iter().any(|name| name == source.name);
        let found = match left_out {
            true => Err(Lack::new("left out by --without", format!("drop --without {}", source.name))),
            false => found.unwrap_or_else(silent),
        };
        Examined { source: source.name, about: source.about, found, decides: rows::of_source(source.name, dataplane) }
    };
    sources.iter().zip(answers).map(examined).collect()
}

/// The dataplane of this node, as far as the rows differ.
pub fn dataplane(plan: &Plan) -> Option<Dataplane> {
    let runs = |name: &str| plan.proxy.processes.iter().any(|process| process.name == name);
    match plan.proxy.dataplane.as_deref() {
        Some("cilium") => Some(Dataplane::Cilium),
        Some(_) => Some(Dataplane::KubeProxy),
        None if runs("cilium-agent") => Some(Dataplane::Cilium),
        None if runs("kube-proxy") => Some(Dataplane::KubeProxy),
        None => None,
    }
}

/// Names of the sources that record here.
pub fn available(examined: &[Examined]) -> Vec<&'static str> {
    examined.iter().filter(|one| one.found.is_ok()).map(|one| one.source).collect()
}

#[cfg(test)]
mod tests {
    use super::{available, dataplane, examine};
    use crate::record::host::Host;
    use crate::record::plan::{Plan, Process};
    use crate::record::rows::Dataplane;
    use crate::record::source::{Lack, Source};
    use std::sync::Arc;

    const fn source(name: &'static str, needs: fn(&Plan) -> Result<String, Lack>) -> Source {
        Source { name, kinds: &[], about: "", cadence: None, prepares: false, needs, run: |_, _, _| Ok(()) }
    }

    static THERE: Source = source("kubernetes", |_| Ok("here".into()));
    static PANICS: Source = source("probe", |_| panic!("inside"));
    static LACKS: Source = source("iptables", |_| Err(Lack::new("nothing", "something")));

    #[test]
    fn all_sources_are_asked_and_one_that_panics_harms_none() {
        let plan = Arc::new(Plan::of(Host::default()));
        let examined = examine(&[&THERE, &PANICS, &LACKS], &plan, &[]);
        assert_eq!(available(&examined), ["kubernetes"]);
        assert!(examined[1].found.as_ref().is_err_and(|lack| lack.what.contains("inside")));
        assert!(examined[0].decides.contains(&"A1"));
        let examined = examine(&[&THERE], &plan, &["kubernetes".to_owned()]);
        assert!(examined[0].found.as_ref().is_err_and(|lack| lack.what.contains("--without")));
    }

    #[test]
    fn the_dataplane_is_that_of_the_process_where_nothing_else_tells() {
        let mut plan = Plan::of(Host::default());
        assert_eq!(dataplane(&plan), None);
        plan.proxy.processes = vec![Process { pid: 1, name: "cilium-agent".into() }];
        assert_eq!(dataplane(&plan), Some(Dataplane::Cilium));
        plan.proxy.dataplane = Some("kube-proxy-iptables".into());
        assert_eq!(dataplane(&plan), Some(Dataplane::KubeProxy));
    }
}
