//! Tables of kube-proxy in nftables mode: listed when the generation of the rules has changed, and every change as the kernel reports it.
//!
//! `nftables/kube-proxy.json` (and `kube-proxy6.json`) is of the kind `nft-json`, `nftables/monitor.jsonl` of the kind `nft-monitor`: each line behind the time at which it came.

use std::time::{Duration, Instant};

use anyhow::bail;

use super::generation::Generation;
use super::looks::{Looks, Pace, whole};
use super::reader::{Reader, enter};
use super::tool::{self, Limit};
use crate::record::folder::Out;
use crate::record::host;
use crate::record::moment::{Moment, seconds};
use crate::record::plan::Plan;
use crate::record::source::{Found, Lack, Source};
use crate::record::stop::Stop;

/// The tables.
pub const SOURCE: Source = Source {
    name: "nftables",
    kinds: &["nft-json"],
    about: "nft -j list table of kube-proxy's tables, when the rules have changed",
    cadence: Some(Duration::from_millis(100)),
    prepares: false,
    needs,
    run,
};

/// The changes.
pub const MONITOR: Source = Source {
    name: "nft-monitor",
    kinds: &["nft-monitor"],
    about: "nft -j monitor: every change of the rules, with the time at which it came",
    cadence: None,
    prepares: false,
    needs,
    run: monitor,
};

/// kube-proxy's tables: family, file.
const TABLES: [(&str, &str); 2] = [("ip", "nftables/kube-proxy.json"), ("ip6", "nftables/kube-proxy6.json")];
/// A table that is the one ahead is listed all the same so often: an `unchanged` rests on the kernel's word alone.
const LIST_EVERY: Duration = Duration::from_secs(10);

fn needs(plan: &Plan) -> Result<Found, Lack> {
    if plan.host.tool("nft").is_none() {
        return Err(Lack::new("nft is not installed", "install nftables, or use the image of collector/Dockerfile"));
    }
    let found: Vec<&str> = tables(plan).iter().map(|(family, _)| *family).collect();
    if found.is_empty() {
        let remedy = "nothing where kube-proxy does not run in nftables mode; else run the recorder with hostNetwork and NET_ADMIN";
        return Err(Lack::new("no table kube-proxy", remedy));
    }
    Ok(format!("table kube-proxy of {}", found.join(" and ")))
}

fn tables(plan: &Plan) -> Vec<(&'static str, &'static str)> {
    let has = |family: &str| {
        let name = format!("table {family} kube-proxy");
        let mut command = plan.host.command_in_netns("nft", &["list", "tables"]).ok()?;
        let text = host::output(&mut command, Duration::from_millis(900)).ok()?;
        String::from_utf8_lossy(&text).lines().any(|line| line.trim() == name).then_some(())
    };
    TABLES.into_iter().filter(|(family, _)| has(family).is_some()).collect()
}

fn run(plan: &Plan, out: &mut Out, stop: &Stop) -> anyhow::Result<()> {
    enter(&plan.host)?;
    let generation = Generation::open().ok();
    let mut all = Vec::new();
    for (family, file) in tables(plan) {
        let reader = Reader::new(&plan.host, "nft", &["-j", "list", "table", family, "kube-proxy"])?;
        all.push((reader, Looks::open(out, file, whole)?));
    }
    if all.is_empty() {
        bail!("the table kube-proxy is gone");
    }
    let (mut next, mut pace) = (Instant::now(), Pace::default());
    let mut every = plan.every(SOURCE.name);
    let mut listed: Option<(u32, Instant)> = None;
    while stop.beat(&mut next, every) {
        let begun = Instant::now();
        let from = Moment::now().realtime;
        let number = generation.as_ref().map(Generation::now).transpose()?;
        let is_same =
            number.zip(listed).is_some_and(|(number, (last, when))| number == last && when.elapsed() < LIST_EVERY);
        if is_same {
            let until = Moment::now().realtime;
            for (_, looks) in &mut all {
                looks.unchanged(from, until)?;
            }
            out.tick();
            every = plan.every(SOURCE.name);
            continue;
        }
        for (reader, looks) in &mut all {
            let reading = reader.read(Limit::TABLE)?;
            if !reading.text.trim_ascii().starts_with(b"{\"nftables\"")
                || !reading.text.trim_ascii_end().ends_with(b"]}")
            {
                bail!("nft printed what is no listing");
            }
            looks.push(reading.from, reading.until, reading.text)?;
        }
        listed = number.map(|number| (number, Instant::now()));
        out.tick();
        every = pace.after(plan.every(SOURCE.name), begun.elapsed(), out);
    }
    Ok(())
}

fn monitor(plan: &Plan, out: &mut Out, stop: &Stop) -> anyhow::Result<()> {
    enter(&plan.host)?;
    let mut file = out.file("nftables/monitor.jsonl")?;
    let reader = Reader::new(&plan.host, "nft", &["-j", "monitor"])?;
    tool::follow(
        "nft",
        &mut reader.command(),
        || stop.is_set(),
        |line| {
            let mut record = seconds(Moment::now().realtime).into_bytes();
            record.push(b' ');
            record.extend_from_slice(line);
            file.write_record(&record)?;
            out.tick();
            Ok(())
        },
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{MONITOR, SOURCE, needs};
    use crate::record::node::trial::{Machine, record};

    const LISTING: &str = r#"{"nftables": [{"metainfo": {"version": "1.0.6", "json_schema_version": 1}}, {"table": {"family": "ip", "name": "kube-proxy", "handle": 1}}, {"chain": {"family": "ip", "table": "kube-proxy", "name": "services", "handle": 2}}]}"#;
    const CHANGE: &str = r#"{"add": {"chain": {"family": "ip", "table": "kube-proxy", "name": "service-JKB34KST-default/test/tcp/http", "handle": 54}}}"#;

    fn machine(monitor: &str) -> Machine {
        let machine = Machine::new();
        machine.tool("nft", &format!("case \"$*\" in 'list tables') echo 'table ip kube-proxy';; '-j monitor') {monitor};; *) printf '%s\\n' '{LISTING}';; esac"));
        machine
    }

    #[test]
    fn listings_and_changes_are_read() {
        let machine = machine(&format!("printf '%s\\n' '{CHANGE}' '{CHANGE}'; exec sleep 1000"));
        let plan = machine.plan();
        assert_eq!(needs(&plan).expect("a table"), "table kube-proxy of ip");
        let recorded = record(&SOURCE, &plan, 4);
        recorded.ended.as_ref().expect("ends when it is told to");
        assert!(recorded.text("nftables/kube-proxy.json.zst").contains(" unchanged\n"));
        recorded.manifest(&SOURCE);
        let mut plan = plan;
        // `sleep` is not one of the fake machine's own tools.
        plan.host.tools.get_or_insert_default().push("/bin".into());
        let recorded = record(&MONITOR, &plan, 2);
        recorded.ended.as_ref().expect("ends when it is told to");
        assert_eq!(recorded.manifest(&MONITOR).sources.iter().map(|source| source.records).sum::<u64>(), 2);
    }

    #[test]
    fn a_monitor_that_dies_is_a_fault_and_no_table_is_said() {
        let machine = machine("echo killed >&2; exit 1");
        let recorded = record(&MONITOR, &machine.plan(), 1);
        assert!(format!("{:#}", recorded.ended.expect_err("a fault")).contains("killed"));
        machine.tool("nft", "");
        assert_eq!(needs(&machine.plan()).expect_err("none").what, "no table kube-proxy");
    }
}
