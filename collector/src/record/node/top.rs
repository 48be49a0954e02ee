//! Who takes the node's CPU: on-CPU time by command, every two seconds, so that a foreign load is seen.
//!
//! `node/top.txt` is of the kind `bpftrace-text`, in the form in which `scripts/cpu.bt` prints it, and needs no bpftrace. A process that began and ended
//! between two looks is not seen; of a proxy its children are counted with it once it has waited for them.
//!
//! ```text
//! # SECOND nsecs=6811539155252
//! @oncpu_ns[kube-proxy]: 90000000
//! ```

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::proc::{self, Stat};
use super::usage::PROXIES;
use crate::record::folder::Out;
use crate::record::moment::Moment;
use crate::record::plan::Plan;
use crate::record::source::{Found, Lack, Source};
use crate::record::stop::Stop;

/// The source.
pub const SOURCE: Source = Source {
    name: "processes",
    kinds: &["bpftrace-text"],
    about: "the commands that take most of the node's CPU",
    cadence: Some(Duration::from_secs(2)),
    prepares: false,
    needs,
    run,
};

/// Commands of a print.
const NAMED: usize = 15;

fn needs(plan: &Plan) -> Result<Found, Lack> {
    match proc::pids(&plan.host.proc) {
        Ok(pids) if !pids.is_empty() => Ok(format!("{} processes", pids.len())),
        _ => Err(Lack::new("/proc is not to be seen", "mount the machine's /proc, or run with hostPID")),
    }
}

fn run(plan: &Plan, out: &mut Out, stop: &Stop) -> anyhow::Result<()> {
    let mut file = out.file("node/top.txt")?;
    let mut next = Instant::now();
    let mut before: Option<HashMap<u32, Stat>> = None;
    while stop.beat(&mut next, plan.every(SOURCE.name)) {
        let now = look(plan)?;
        let moment = Moment::now();
        if let Some(before) = &before {
            file.write_record(print(moment.boottime, &used(before, &now)).as_bytes())?;
        }
        before = Some(now);
        out.tick();
    }
    Ok(())
}

fn look(plan: &Plan) -> std::io::Result<HashMap<u32, Stat>> {
    let pids = proc::pids(&plan.host.proc)?;
    Ok(pids.into_iter().filter_map(|pid| Some((pid, proc::stat_of(&plan.host.proc, pid)?))).collect())
}

/// Ticks by command between two looks.
fn used(before: &HashMap<u32, Stat>, now: &HashMap<u32, Stat>) -> BTreeMap<String, u64> {
    let is_proxy = |stat: &Stat| PROXIES.contains(&stat.comm.as_str());
    let mut found: BTreeMap<String, u64> = BTreeMap::new();
    for (pid, stat) in now {
        // A proxy's children come with it when they have ended.
        if now.get(&stat.parent).is_some_and(is_proxy) {
            continue;
        }
        // A command may have been replaced by exec: the time is that of the process.
        let old = before.get(pid).filter(|old| old.start == stat.start);
        let mut ticks = stat.own.saturating_sub(old.map_or(0, |old| old.own));
        if is_proxy(stat)
            && let Some(old) = old
        {
            ticks += stat.children.saturating_sub(old.children);
        }
        *found.entry(stat.comm.clone()).or_default() += ticks;
    }
    found
}

fn print(boottime: i64, used: &BTreeMap<String, u64>) -> String {
    let mut order: Vec<(&String, &u64)> = used.iter().collect();
    order.sort_by(|one, other| other.1.cmp(one.1).then(one.0.cmp(other.0)));
    let mut text = format!("# SECOND nsecs={boottime}\n");
    for (comm, ticks) in order.into_iter().take(NAMED) {
        // A command may hold anything; a line end or a bracket would break the line.
        let plain: String =
            comm.chars().map(|letter| if letter.is_control() || letter == ']' { '_' } else { letter }).collect();
        let _ = writeln!(text, "@oncpu_ns[{plain}]: {}", ticks.saturating_mul(proc::tick()));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::{SOURCE, print, used};
    use crate::record::node::proc::{Stat, tick};
    use crate::record::node::trial::{Machine, record};

    #[test]
    fn what_is_printed_is_read() {
        let machine = Machine::new();
        for (pid, comm) in [(1, "init"), (7, "Web Content] x")] {
            machine.file(
                &format!("proc/{pid}/stat"),
                &format!("{pid} ({comm}) S 1 1 1 0 -1 0 9 8 7 6 150 25 40 2 20 0 1 0 3456 7 91 1\n"),
            );
        }
        let recorded = record(&SOURCE, &machine.plan(), 3);
        recorded.ended.as_ref().expect("ends when it is told to");
        recorded.manifest(&SOURCE);
    }

    fn process(comm: &str, parent: u32, own: u64, children: u64, start: u64) -> Stat {
        Stat { comm: comm.to_owned(), parent, own, children, start, pages: 0 }
    }

    #[test]
    fn a_proxy_has_its_children_and_a_number_that_came_again_is_another_process() {
        let before = HashMap::from([
            (1, process("init", 0, 100, 9000, 1)),
            (5, process("kube-proxy", 1, 50, 70, 2)),
            (9, process("old", 1, 500, 0, 3)),
        ]);
        let now = HashMap::from([
            (1, process("init", 0, 101, 9999, 1)),
            (5, process("kube-proxy", 1, 55, 90, 2)),
            (7, process("iptables-restor", 5, 30, 0, 8)),
            (9, process("rustc", 1, 40, 0, 9)),
        ]);
        let found = used(&before, &now);
        let words: Vec<(&str, u64)> = found.iter().map(|(comm, ticks)| (comm.as_str(), *ticks)).collect();
        assert_eq!(words, [("init", 1), ("kube-proxy", 25), ("rustc", 40)]);
        let text = print(7, &found);
        assert!(
            text.starts_with(&format!("# SECOND nsecs=7\n@oncpu_ns[rustc]: {}\n@oncpu_ns[kube-proxy]", 40 * tick())),
            "{text}"
        );
    }
}
