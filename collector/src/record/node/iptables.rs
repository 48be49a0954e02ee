//! Table nat of iptables, in the variant (legacy or nft) and the network namespace that kube-proxy uses.
//!
//! `iptables/nat.txt` and `iptables/nat6.txt` are of the kind `iptables-save`. Both variants may be in use on one node: kube-proxy's is the one in which its
//! chains live. The legacy tables come into being when they are first read, so that they are looked at only where the kernel has them.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::generation::Generation;
use super::looks::{Looks, Pace};
use super::reader::{Reader, enter};
use super::tool::Limit;
use crate::record::folder::Out;
use crate::record::host::{self, Host};
use crate::record::moment::Moment;
use crate::record::plan::Plan;
use crate::record::source::{Found, Lack, Source};
use crate::record::stop::Stop;

/// The source.
pub const SOURCE: Source = Source {
    name: "iptables",
    kinds: &["iptables-save"],
    about: "iptables-save -c -t nat of the variant that kube-proxy uses, read again and again",
    cadence: Some(Duration::from_millis(100)),
    prepares: false,
    needs,
    run,
};

/// Arguments of a reading.
const ARGUMENTS: [&str; 3] = ["-c", "-t", "nat"];
/// Where the nft variant's rules are those of the reading ahead they are read all the same so often, for their counters.
const COUNTERS_EVERY: Duration = Duration::from_secs(5);

/// One way to read one table.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Variant {
    tool: &'static str,
    /// Of nf_tables: their generation tells whether anything changed.
    is_nft: bool,
    file: &'static str,
    /// kube-proxy's chains in it.
    chains: usize,
}

const IPV4: [(&str, Option<bool>); 3] =
    [("iptables-legacy-save", Some(false)), ("iptables-nft-save", Some(true)), ("iptables-save", None)];
const IPV6: [(&str, Option<bool>); 3] =
    [("ip6tables-legacy-save", Some(false)), ("ip6tables-nft-save", Some(true)), ("ip6tables-save", None)];

fn needs(plan: &Plan) -> Result<Found, Lack> {
    let found = variants(&plan.host)?;
    let words: Vec<String> =
        found.iter().map(|one| format!("{} ({} chains of kube-proxy)", one.tool, one.chains)).collect();
    let place = plan.host.netns.as_ref().map_or(String::new(), |path| format!(", in {}", path.display()));
    Ok(format!("{}{place}", words.join(", ")))
}

/// The variants that hold kube-proxy's chains, IPv4's first.
fn variants(host: &Host) -> Result<Vec<Variant>, Lack> {
    let mut found = Vec::new();
    let mut tried = Vec::new();
    for (tools, names, file) in
        [(IPV4, "ip_tables_names", "iptables/nat.txt"), (IPV6, "ip6_tables_names", "iptables/nat6.txt")]
    {
        let has_legacy = tables(host, names);
        let both = tools.iter().take(2).all(|(tool, _)| host.tool(tool).is_some());
        let mut best: Option<Variant> = None;
        for (tool, is_nft) in tools {
            // The plain name is one of both variants.
            if is_nft.is_none() && both || host.tool(tool).is_none() {
                continue;
            }
            if is_nft == Some(false)
                && has_legacy.as_deref().is_some_and(|tables| !tables.iter().any(|table| table == "nat"))
            {
                continue;
            }
            let Some((chains, says_nft)) = chains(host, tool) else { continue };
            tried.push(tool);
            if chains > best.as_ref().map_or(0, |best| best.chains) {
                best = Some(Variant { tool, is_nft: is_nft.unwrap_or(says_nft), file, chains });
            }
        }
        found.extend(best);
    }
    if !found.is_empty() {
        return Ok(found);
    }
    Err(match tried.is_empty() {
        true if IPV4.iter().all(|(tool, _)| host.tool(tool).is_none()) => {
            Lack::new("iptables-save is not installed", "install iptables, or use the image of collector/Dockerfile")
        }
        _ => Lack::new(
            "no chain of kube-proxy in table nat",
            "nothing where kube-proxy does not run in iptables mode; else run the recorder with hostNetwork and NET_ADMIN",
        ),
    })
}

/// Legacy tables that the kernel holds in the namespace; null where it does not say.
fn tables(host: &Host, names: &str) -> Option<Vec<String>> {
    let of_namespace = host.netns.as_ref().and_then(|path| Some(path.parent()?.parent()?.join("net")));
    let folder: PathBuf = of_namespace.filter(|path| path.is_dir()).unwrap_or_else(|| host.proc.join("net"));
    // Without the module there is no such file, and no table.
    match std::fs::read_to_string(folder.join(names)) {
        Ok(text) => Some(text.split_whitespace().map(str::to_owned).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && folder.is_dir() => Some(Vec::new()),
        Err(_) => None,
    }
}

/// kube-proxy's chains in the table, and whether the tool says that it is the nft variant; null where it cannot be read.
fn chains(host: &Host, tool: &str) -> Option<(usize, bool)> {
    let mut command = host.command_in_netns(tool, &["-t", "nat"]).ok()?;
    let text = host::output(&mut command, Duration::from_millis(900)).ok()?;
    let count = text
        .split(|byte| *byte == b'\n')
        .filter(|line| line.starts_with(b":KUBE-SVC-") || line.starts_with(b":KUBE-SERVICES "))
        .count();
    let first = String::from_utf8_lossy(text.split(|byte| *byte == b'\n').next().unwrap_or_default()).into_owned();
    Some((count, first.contains("nf_tables")))
}

/// A table as it is read.
struct Table {
    reader: Reader,
    looks: Looks,
    /// Of the nft variant: what tells whether anything changed; the generation of the last listing, and when that was.
    generation: Option<Generation>,
    listed: Option<(u32, Instant)>,
}

fn run(plan: &Plan, out: &mut Out, stop: &Stop) -> anyhow::Result<()> {
    enter(&plan.host)?;
    let found = variants(&plan.host).map_err(|lack| anyhow::anyhow!(lack.what))?;
    let mut tables = Vec::new();
    for one in found {
        tables.push(Table {
            reader: Reader::new(&plan.host, one.tool, &ARGUMENTS)?,
            looks: Looks::open(out, one.file, kept)?,
            // Without it every reading lists the table.
            generation: if one.is_nft { Generation::open().ok() } else { None },
            listed: None,
        });
    }
    let (mut next, mut pace) = (Instant::now(), Pace::default());
    let mut every = plan.every(SOURCE.name);
    while stop.beat(&mut next, every) {
        let begun = Instant::now();
        for table in &mut tables {
            table.look()?;
        }
        out.tick();
        every = pace.after(plan.every(SOURCE.name), begun.elapsed(), out);
    }
    Ok(())
}

impl Table {
    fn look(&mut self) -> anyhow::Result<()> {
        let from = Moment::now().realtime;
        // Asked ahead of the listing: what changes while it is made is listed again.
        let number = self.generation.as_ref().map(Generation::now).transpose()?;
        if let (Some(number), Some((listed, when))) = (number, self.listed)
            && number == listed
            && when.elapsed() < COUNTERS_EVERY
        {
            return Ok(self.looks.unchanged(from, Moment::now().realtime)?);
        }
        let reading = self.reader.read(Limit::TABLE)?;
        whole(reading.text)?;
        self.looks.push(reading.from, reading.until, reading.text)?;
        self.listed = number.map(|number| (number, Instant::now()));
        Ok(())
    }
}

/// Refuses what is no whole table: it would prove absences.
fn whole(text: &[u8]) -> anyhow::Result<()> {
    let has = |mark: &[u8]| text.starts_with(&mark[1..]) || memchr::memmem::find(text, mark).is_some();
    if !has(b"\n*nat\n") {
        let first = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let first = String::from_utf8_lossy(&first[..first.len().min(80)]).into_owned();
        bail!("iptables-save printed no table nat: {first}");
    }
    has(b"\nCOMMIT\n").then_some(()).context("iptables-save ended ahead of COMMIT")
}

/// A line without the counters at its beginning (of a rule) or its end (of a chain); nothing of a comment, which holds the date.
fn kept(line: &[u8]) -> (&[u8], &[u8]) {
    match line.first() {
        Some(b'#') => (&[], &[]),
        Some(b'[') => (memchr::memchr(b' ', line).map_or(line, |at| &line[at..]), &[]),
        Some(b':') => (memchr::memrchr(b'[', line).map_or(line, |at| &line[..at]), &[]),
        _ => (line, &[]),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{SOURCE, kept, needs};
    use crate::record::node::trial::{Machine, record};

    const TABLE: &str = r#"# Generated by iptables-save v1.8.9 on Mon Nov 23 04:21:50 2026
*nat
:KUBE-SERVICES - [0:0]
:KUBE-SVC-YEZFJYGKNSPCOFP3 - [0:0]
[2218:133540] -A KUBE-SVC-YEZFJYGKNSPCOFP3 -m comment --comment "default/test:http -> 10.244.0.252:8080" -j KUBE-SEP-2FPKVZBYZLLQOE3G
[2218:133540] -A KUBE-SEP-2FPKVZBYZLLQOE3G -p tcp -m comment --comment "default/test:http" -m tcp -j DNAT --to-destination 10.244.0.252:8080
COMMIT
# Completed on Mon Nov 23 04:21:50 2026
"#;

    fn machine(legacy: &str) -> Machine {
        let machine = Machine::new();
        machine.file("proc/net/ip_tables_names", "nat\nfilter\n");
        machine.file("table", TABLE);
        machine.tool("iptables-legacy-save", legacy);
        machine.tool("iptables-nft-save", "printf '*nat\\n:KUBE-SERVICES - [0:0]\\nCOMMIT\\n'");
        machine
    }

    /// `machine/table`, by the shell's own means: a fake machine has no other tools.
    fn print(machine: &Machine) -> String {
        format!("while IFS= read -r line; do printf '%s\\n' \"$line\"; done < {}/table", machine.path().display())
    }

    #[test]
    fn the_variant_with_more_chains_is_read_and_what_is_equal_is_written_once() {
        let machine = machine("");
        machine.tool("iptables-legacy-save", &print(&machine));
        let plan = machine.plan();
        assert_eq!(needs(&plan).expect("a table"), "iptables-legacy-save (2 chains of kube-proxy)");
        let recorded = record(&SOURCE, &plan, 5);
        recorded.ended.as_ref().expect("ends when it is told to");
        let text = recorded.text("iptables/nat.txt.zst");
        assert!(
            text.matches(" unchanged\n").count() >= 3 && text.contains("--to-destination 10.244.0.252:8080"),
            "{text}"
        );
        let manifest = recorded.manifest(&SOURCE);
        let table = |name: &str| manifest.tables.iter().find(|table| table.name == name).map_or(0, |table| table.rows);
        assert!(table("dataplane_snapshots") >= 5);
        // A line of the table is inserted once.
        assert_eq!(table("dataplane_changes") as usize, TABLE.lines().count());
    }

    #[test]
    fn legacy_tables_are_not_made_by_looking() {
        let machine = machine("");
        machine.tool(
            "iptables-legacy-save",
            &format!("echo made >> {}/made; {}", machine.path().display(), print(&machine)),
        );
        machine.file("proc/net/ip_tables_names", "");
        assert_eq!(needs(&machine.plan()).expect("the other"), "iptables-nft-save (1 chains of kube-proxy)");
        assert!(!machine.path().join("made").exists());
    }

    #[test]
    fn what_is_missing_is_said() {
        let machine = Machine::new();
        assert_eq!(needs(&machine.plan()).expect_err("no tool").what, "iptables-save is not installed");
        machine.tool("iptables-save", "printf '*nat\\n:PREROUTING ACCEPT [0:0]\\nCOMMIT\\n'");
        assert_eq!(needs(&machine.plan()).expect_err("no chain").what, "no chain of kube-proxy in table nat");
    }

    #[test]
    fn rubbish_half_a_table_and_a_bad_end_are_named() {
        for (script, words) in [
            ("printf 'hello\\n'", "printed no table nat: hello"),
            ("printf '*nat\\n:KUBE-SERVICES - [0:0]\\n'", "ended ahead of COMMIT"),
            ("echo cannot >&2; exit 4", "cannot"),
        ] {
            // Well at first, and when the source begins.
            let machine = machine("");
            let good = print(&machine);
            let count = format!(
                "{0}/count; read n < {0}/count || n=0; n=$((n+1)); echo $n > {0}/count",
                machine.path().display()
            );
            machine.file("count", "0\n");
            let count = count.split_once(';').map_or("", |(_, rest)| rest).trim().to_owned();
            machine.tool("iptables-legacy-save", &format!("{count}; if [ $n -le 3 ]; then {good}; else {script}; fi"));
            let mut plan = machine.plan();
            plan.cadences.insert("iptables".into(), Duration::from_millis(1));
            let recorded = record(&SOURCE, &plan, u64::MAX);
            let error = format!("{:#}", recorded.ended.as_ref().expect_err("a fault"));
            assert!(error.contains(words), "{error}");
            recorded.manifest(&SOURCE);
        }
    }

    #[test]
    fn counters_and_dates_are_no_change() {
        for (one, other) in [
            ("[1:60] -A KUBE-SVC-A -j X", "[22:1320] -A KUBE-SVC-A -j X"),
            (":KUBE-SVC-A - [1:2]", ":KUBE-SVC-A - [3:4]"),
            ("# Completed on Mon", "# Completed on Tue"),
        ] {
            assert_eq!(kept(one.as_bytes()), kept(other.as_bytes()));
        }
        assert_ne!(kept(b"[1:60] -A KUBE-SVC-A -j X"), kept(b"[1:60] -A KUBE-SVC-A -j Y"));
    }
}
