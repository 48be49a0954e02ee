//! What to capture next: the captures that would decide most of what is undecided, most first, each with its command.

use serde::Serialize;

use super::dataplane_name;
use super::head_to_head::HeadToHead;
use super::rows::sentence;
use crate::math::compare::MINIMUM_RUNS;
use crate::verdict::{Catalogue, Status, Verdict, overall};

/// One capture.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Next {
    /// Stable name.
    pub capture: String,
    pub title: String,
    /// Why it decides, and what to watch.
    pub why: String,
    /// Lines of a shell; empty where no capture would help.
    pub command: String,
    /// Rows that it would decide.
    pub decides: Vec<Undecided>,
    /// The same for readers: a dataplane's name, and its rows.
    pub rows: Vec<(String, Vec<String>)>,
    /// Rows of the head to head that it would say more of.
    pub firmer: usize,
}

/// A row that could not be decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Undecided {
    pub id: String,
    pub dataplane: String,
    /// Name of the dataplane.
    pub name: String,
}

/// A kind of capture.
struct Kind {
    capture: &'static str,
    title: &'static str,
    why: &'static str,
    command: &'static str,
}

const RUNS: Kind = Kind {
    capture: "more-runs",
    title: "The same runs again",
    why: "One run says what happened once. With several a side a test says whether another run would turn out alike.",
    command: "for run in 1 2 3 4; do ./capture-one-run.sh run-$run; done   # the script that captured these",
};
const QUIET: Kind = Kind {
    capture: "quiet-node",
    title: "The same runs on a node with CPU to spare",
    why: "A saturated node lengthens latencies and loses requests by itself. See what keeps it busy, move that and the load generator away, and repeat.",
    command: "top -b -n 1 -o %CPU | head -n 20          # busy, and neither the proxy nor the workload?\nkubectl cordon NODE                       # no further pods on it",
};
const LONGER: Kind = Kind {
    capture: "longer-action",
    title: "A longer action, with more changes and attempts in it",
    why: "Too little happened for a verdict. More changes in one run, with a client that opens a connection for each request, narrow the bounds.",
    command: "vegeta attack -rate=400 -duration=300s -keepalive=false -targets=targets.txt | vegeta encode > requests.json &\nfor i in 1 2 3 4 5; do kubectl rollout restart deployment/test; kubectl rollout status deployment/test; done",
};
const ALERT: Kind = Kind {
    capture: "longer-than-the-alert",
    title: "Updates for longer than the alert waits",
    why: "The expression was above its threshold, but not for as long as the alert's “for” asks: whether it would fire is open.",
    command: "end=$((SECONDS + 420))\nwhile [ $SECONDS -lt $end ]; do\n  kubectl scale deployment/test --replicas=44; kubectl rollout status deployment/test\n  kubectl scale deployment/test --replicas=1; sleep 10\ndone",
};
const PROGRAMS: Kind = Kind {
    capture: "bpf-run-time",
    title: "The run time of the datapath programs",
    why: "Interrupt time divided by packets is an upper bound. The kernel's own count of each program is direct; kube-proxy has no such count, so that its rows stay bounds.",
    command: "sysctl -w kernel.bpf_stats_enabled=1\n(date +%s.%N; bpftool prog show -j) > bpf-before.json\n# … the action …\n(date +%s.%N; bpftool prog show -j) > bpf-after.json",
};
const LOOKS: Kind = Kind {
    capture: "denser-looks",
    title: "Denser looks at the dataplane",
    why: "The figure lies so near to an end of the claim that the time between two looks decides. A kernel trace of every change is denser still.",
    command: "while :; do echo \"# TIMESTAMP $(date +%s.%N)\"; iptables-save -c -t nat; done > iptables.txt        # kube-proxy\nwhile :; do echo \"# TIMESTAMP $(date +%s.%N)\"; cilium-dbg bpf lb list -o json; done > lb-list.txt   # Cilium",
};
const SIZES: Kind = Kind {
    capture: "more-sizes",
    title: "The same scenario with more Services",
    why: "Growth needs three sizes, the largest ten times the smallest, and runs in mixed order: an agent's memory grows with its age too.",
    command: "for i in $(seq 2000); do kubectl create service clusterip filler-$i --tcp=80:80; done",
};
const WORDS: Kind = Kind {
    capture: "no-capture",
    title: "No capture: the proposal must say what it means",
    why: "The claim can be read in two ways, and the readings differ. Both verdicts stand in the row.",
    command: "",
};

/// Which capture would decide a verdict.
fn kind(verdict: &Verdict) -> Option<&'static Kind> {
    let looks = ["endpoint_", "settle_time", "convergence_time", "pod_ready_to_dataplane", "recovery_time"];
    let counted =
        ["request_", "connection_", "packet_loss", "impact_", "sync_", "reconciler_", "cpu_", "rules_rewritten"];
    let of = |names: &[&str]| names.iter().any(|name| verdict.measurement.starts_with(name));
    Some(match verdict.reason.kind() {
        "load" => &QUIET,
        "ambiguous" => &WORDS,
        "briefly-above" => &ALERT,
        "few-sizes" | "too-wide" | "growth" => &SIZES,
        "upper-bound" | "ratio-of-upper-bounds" => &PROGRAMS,
        "too-few" => &LONGER,
        _ if verdict.status == Status::NotMeasured => return None,
        _ if of(&looks) => &LOOKS,
        _ if of(&counted) => &LONGER,
        _ => &RUNS,
    })
}

/// Builds the list from the verdicts that stand for their rows.
pub fn build(verdicts: &[Verdict], catalogue: &Catalogue, table: &HeadToHead) -> Vec<Next> {
    let mut found: Vec<Next> = Vec::new();
    let mut add = |next: Next, undecided: Option<Undecided>| {
        let at = found.iter().position(|one| one.capture == next.capture).unwrap_or_else(|| {
            found.push(next);
            found.len() - 1
        });
        if let (Some(one), Some(undecided)) = (found.get_mut(at), undecided) {
            match one.rows.iter_mut().find(|(name, _)| *name == undecided.name) {
                Some((_, ids)) => ids.push(undecided.id.clone()),
                None => one.rows.push((undecided.name.clone(), vec![undecided.id.clone()])),
            }
            one.decides.push(undecided);
        }
    };
    let few = table.all.iter().filter(|one| {
        let sides: Vec<usize> = one.sides.iter().flatten().map(|side| side.runs).collect();
        sides.len() > 1 && sides.iter().any(|runs| *runs < MINIMUM_RUNS)
    });
    let mut questions: Vec<&str> = few.map(|one| one.question.as_str()).collect();
    questions.dedup();
    if !questions.is_empty() {
        add(Next { firmer: questions.len(), ..of_kind(&RUNS) }, None);
    }
    for row in &catalogue.rows {
        for dataplane in ["cilium", "kube-proxy-iptables"] {
            let Some(verdict) = overall(verdicts, &row.id, dataplane) else { continue };
            if !matches!(verdict.status, Status::Inconclusive | Status::NotMeasured) {
                continue;
            }
            let undecided =
                Undecided { id: row.id.clone(), dataplane: dataplane.into(), name: dataplane_name(dataplane) };
            let next = kind(verdict).map_or_else(|| of_remedy(verdict), of_kind);
            add(next, Some(undecided));
        }
    }
    // What no capture decides stands last, whatever its number.
    found.sort_by_key(|one| (one.capture == WORDS.capture, std::cmp::Reverse(one.decides.len() + one.firmer)));
    found
}

fn of_kind(kind: &Kind) -> Next {
    Next {
        capture: kind.capture.into(),
        title: kind.title.into(),
        why: kind.why.into(),
        command: kind.command.into(),
        ..Next::default()
    }
}

/// What the measurement itself asks for; commands in it stand between backticks.
fn of_remedy(verdict: &Verdict) -> Next {
    let (what, remedy) = verdict
        .missing
        .as_ref()
        .map_or_else(|| (verdict.reason.to_string(), String::new()), |one| (one.what.clone(), one.remedy.clone()));
    let commands: Vec<&str> = remedy.split('`').skip(1).step_by(2).collect();
    Next {
        capture: format!("missing: {}", if remedy.is_empty() { &what } else { &remedy }),
        title: if remedy.is_empty() { sentence(&what) } else { sentence(&remedy.replace('`', "")) },
        why: format!("Missing now: {}", sentence(&what).trim_end_matches('.').to_owned() + "."),
        command: commands.join("\n"),
        ..Next::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Reason;

    fn verdict(id: &str, dataplane: &str, status: Status, reason: Reason) -> Verdict {
        let catalogue = Catalogue::built_in().unwrap();
        let row = catalogue.row(id).unwrap();
        let side = row.side(dataplane).unwrap();
        let mut verdict = crate::verdict::row::blank(row, side, dataplane, "scale-up", None);
        (verdict.status, verdict.reason) = (status, reason);
        verdict
    }

    #[test]
    fn what_decides_most_comes_first_and_what_nothing_decides_last() {
        let catalogue = Catalogue::built_in().unwrap();
        let few = || Reason::TooFew { n: 1, least: 20 };
        let two = || Reason::Ambiguous { readings: Vec::new(), not_worse: false };
        let all = [
            verdict("A2", "cilium", Status::Inconclusive, two()),
            verdict("T3.2", "cilium", Status::Inconclusive, two()),
            verdict("T4.2", "cilium", Status::Inconclusive, two()),
            verdict("A1", "cilium", Status::Inconclusive, few()),
            verdict("A1", "kube-proxy-iptables", Status::Inconclusive, few()),
            verdict("K2", "cilium", Status::Inconclusive, Reason::SlopeTooWide { half: 1.0 }),
            verdict("T5.1", "cilium", Status::Holds, Reason::Inside),
        ];
        let found = build(&all, &catalogue, &HeadToHead::default());
        let names: Vec<(&str, usize)> = found.iter().map(|one| (one.capture.as_str(), one.decides.len())).collect();
        assert_eq!(names, [("longer-action", 2), ("more-sizes", 1), ("no-capture", 3)]);
        assert!(found.iter().all(|one| one.command.is_empty() == (one.capture == "no-capture")));
    }

    #[test]
    fn a_missing_capture_is_asked_for_in_its_own_words() {
        let mut one = verdict("T1.2", "kube-proxy-iptables", Status::NotMeasured, Reason::NoFigure);
        one.missing = Some(crate::measure::Missing {
            what: "no sync was captured".into(),
            remedy: "run `kubectl logs -n kube-system kube-proxy` and save it".into(),
        });
        let found = build(&[one], &Catalogue::built_in().unwrap(), &HeadToHead::default());
        assert_eq!(found[0].command, "kubectl logs -n kube-system kube-proxy");
        assert!(found[0].why.contains("no sync was captured") || found[0].why.contains("No sync was captured"));
    }
}
