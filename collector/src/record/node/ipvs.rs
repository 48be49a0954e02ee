//! Virtual servers of kube-proxy in ipvs mode, and the sets of addresses beside them.
//!
//! `ipvs/ipvsadm.txt` is of the kind `ipvsadm`, `ipvs/ipset.txt` of the kind `ipset`.

use std::time::{Duration, Instant};

use anyhow::bail;
use syncline_schema::loss;

use super::looks::{Looks, Pace, whole};
use super::reader::{Reader, enter};
use super::tool::Limit;
use crate::record::folder::Out;
use crate::record::host;
use crate::record::plan::Plan;
use crate::record::source::{Found, Lack, Source};
use crate::record::stop::Stop;

/// The source.
pub const SOURCE: Source = Source {
    name: "ipvs",
    kinds: &["ipvsadm", "ipset"],
    about: "ipvsadm -Ln, and ipset save each second",
    cadence: Some(Duration::from_millis(100)),
    prepares: false,
    needs,
    run,
};

/// Sets hold virtual addresses, not endpoints: they matter less.
const SETS_EVERY: Duration = Duration::from_secs(1);

fn needs(plan: &Plan) -> Result<Found, Lack> {
    if plan.host.tool("ipvsadm").is_none() {
        return Err(Lack::new("ipvsadm is not installed", "install ipvsadm, or use the image of collector/Dockerfile"));
    }
    let none = || {
        Lack::new(
            "no virtual server of ipvs",
            "nothing where kube-proxy does not run in ipvs mode; else run the recorder with hostNetwork and NET_ADMIN",
        )
    };
    let mut command = plan.host.command_in_netns("ipvsadm", &["-Ln"]).map_err(|_| none())?;
    let text = host::output(&mut command, Duration::from_millis(900)).map_err(|_| none())?;
    let servers = servers(&text);
    let sets = if plan.host.tool("ipset").is_some() { "" } else { " (ipset is not installed)" };
    if servers == 0 { Err(none()) } else { Ok(format!("{servers} virtual servers{sets}")) }
}

fn servers(text: &[u8]) -> usize {
    let of = |line: &[u8]| [&b"TCP "[..], b"UDP ", b"SCTP "].iter().any(|word| line.starts_with(word));
    text.split(|byte| *byte == b'\n').filter(|line| of(line)).count()
}

fn run(plan: &Plan, out: &mut Out, stop: &Stop) -> anyhow::Result<()> {
    enter(&plan.host)?;
    let mut servers = Reader::new(&plan.host, "ipvsadm", &["-Ln"])?;
    let mut looks = Looks::open(out, "ipvs/ipvsadm.txt", kept)?;
    let mut sets = match plan.host.tool("ipset") {
        Some(_) => Some((Reader::new(&plan.host, "ipset", &["save"])?, Looks::open(out, "ipvs/ipset.txt", whole)?)),
        None => None,
    };
    let (mut next, mut next_sets, mut pace) = (Instant::now(), Instant::now(), Pace::default());
    let mut every = plan.every(SOURCE.name);
    while stop.beat(&mut next, every) {
        let begun = Instant::now();
        let reading = servers.read(Limit::TABLE)?;
        if memchr::memmem::find(reading.text, b"Prot LocalAddress:Port").is_none() {
            bail!("ipvsadm printed what is no listing");
        }
        looks.push(reading.from, reading.until, reading.text)?;
        out.tick();
        every = pace.after(plan.every(SOURCE.name), begun.elapsed(), out);
        if let Some((reader, looks)) = &mut sets
            && begun >= next_sets
        {
            next_sets = begun + SETS_EVERY;
            match reader.read(Limit::TABLE) {
                Ok(reading) => drop(looks.push(reading.from, reading.until, reading.text)?),
                // Endpoints are told all the same.
                Err(fault) => {
                    out.lost(loss::RECORDER_GAP, 1, fault);
                    sets = None;
                }
            }
        }
    }
    Ok(())
}

/// A real server's line without its counts of connections.
fn kept(line: &[u8]) -> (&[u8], &[u8]) {
    if !line.starts_with(b"  -> ") {
        return (line, &[]);
    }
    let mut end = line.trim_ascii_end().len();
    for _ in 0..2 {
        let word = line[..end].iter().rposition(|byte| *byte == b' ').unwrap_or(0);
        end = line[..word].trim_ascii_end().len();
    }
    (&line[..end], &[])
}

#[cfg(test)]
mod tests {
    use super::{SOURCE, kept, needs, servers};
    use crate::record::node::trial::{Machine, record};

    #[test]
    fn servers_and_sets_are_read() {
        let machine = Machine::new();
        machine.tool("ipvsadm", "printf 'IP Virtual Server version 1.2.1 (size=4096)\\nProt LocalAddress:Port Scheduler Flags\\n  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\\nTCP  10.96.0.1:443 rr\\n  -> 172.30.0.1:6443              Masq    1      0          0         \\n'");
        machine.tool("ipset", "printf 'create KUBE-CLUSTER-IP hash:ip,port family inet hashsize 1024 maxelem 65536\\nadd KUBE-CLUSTER-IP 10.96.0.1,tcp:443\\n'");
        let plan = machine.plan();
        assert_eq!(needs(&plan).expect("servers"), "1 virtual servers");
        let recorded = record(&SOURCE, &plan, 4);
        recorded.ended.as_ref().expect("ends when it is told to");
        assert!(recorded.text("ipvs/ipvsadm.txt.zst").contains(" unchanged\n"));
        let manifest = recorded.manifest(&SOURCE);
        for kind in SOURCE.kinds {
            assert!(manifest.sources.iter().any(|source| source.kind == *kind && source.records > 0), "{kind}");
        }
        // Without the sets the servers are read all the same, and that is said.
        machine.tool("ipset", "echo no module >&2; exit 1");
        let recorded = record(&SOURCE, &machine.plan(), 4);
        recorded.ended.as_ref().expect("goes on");
        assert!(recorded.losses.iter().any(|what| what.contains("no module")), "{:?}", recorded.losses);
    }

    #[test]
    fn connections_are_no_change() {
        let one = b"  -> 10.244.0.5:8080             Masq    1      0          0         ";
        let other = b"  -> 10.244.0.5:8080             Masq    1      12         345       ";
        assert_eq!(kept(one).0, kept(other).0);
        assert_ne!(kept(one).0, kept(b"  -> 10.244.0.5:8080             Masq    0      0          0").0);
        assert_eq!(kept(b"TCP  10.96.0.1:443 rr").0, b"TCP  10.96.0.1:443 rr");
        assert_eq!(kept(b"  -> ").0, b"");
        assert_eq!(
            servers(b"IP Virtual Server version 1.2.1\nTCP  10.96.0.1:443 rr\n  -> a\nUDP  10.96.0.10:53 rr\n"),
            2
        );
    }
}
