//! Cilium's load-balancer maps, fifty times a second, written when they change.
//!
//! `bpf/cilium_lb4_maps.json` and `bpf/cilium_lb6_maps.json` are of the kind `bpftool-dump`: of each moment the map of services and that of the backends
//! which it names. Every look has its stamp, so that a change is known to the gap between two.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use syncline_schema::loss;

use super::looks::{Looks, Pace, whole};
use super::pinned::{Family, Wanted};
use crate::record::folder::Out;
use crate::record::host::Host;
use crate::record::moment::Moment;
use crate::record::plan::Plan;
use crate::record::source::{Found, Lack, Source};
use crate::record::stop::Stop;

/// The source.
pub const SOURCE: Source = Source {
    name: "bpf-maps",
    kinds: &["bpftool-dump"],
    about: "Cilium's pinned load-balancer maps by bpf(2), written when they change",
    cadence: Some(Duration::from_millis(20)),
    needs,
    run,
};

/// How often new frontends are looked for; new slots of known ones are found at once.
const WALK_EVERY: Duration = Duration::from_secs(1);
/// Address families: prefix of the maps, width of an address, file.
const FAMILIES: [(&str, usize, &str); 2] =
    [("cilium_lb4", 4, "bpf/cilium_lb4_maps.json"), ("cilium_lb6", 16, "bpf/cilium_lb6_maps.json")];

/// Where the agent pins its maps.
fn folder(host: &Host) -> Option<PathBuf> {
    let own = host.sys.join("fs/bpf/tc/globals");
    // Where the pod has no bpffs of the machine mounted, PID 1 has one.
    let of_machine = host.proc.join("1/root/sys/fs/bpf/tc/globals");
    [own, of_machine]
        .into_iter()
        .find(|folder| folder.join("cilium_lb4_services_v2").exists() || folder.join("cilium_lb6_services_v2").exists())
}

fn needs(plan: &Plan) -> Result<Found, Lack> {
    let Some(folder) = folder(&plan.host) else {
        let mounted = plan.host.sys.join("fs/bpf").read_dir().is_ok_and(|mut entries| entries.next().is_some());
        let what =
            if mounted { "no map of Cilium's load balancer is pinned here" } else { "no bpffs with pinned maps" };
        let remedy = "nothing where Cilium does not run; else mount the machine's /sys/fs/bpf (hostPath, mountPropagation HostToContainer)";
        return Err(Lack::new(what, remedy));
    };
    match open(&folder, plan) {
        Ok(families) => {
            let words: Vec<String> =
                families.iter().map(|(family, file)| format!("{} entries for {file}", family.len())).collect();
            Ok(format!("{}: {}", folder.display(), words.join(", ")))
        }
        Err(error) => Err(Lack::new(
            format!("{error:#}"),
            "run the recorder privileged, or with CAP_BPF (before Linux 5.8 CAP_SYS_ADMIN)",
        )),
    }
}

/// The families that the agent serves, walked once.
fn open(folder: &std::path::Path, plan: &Plan) -> anyhow::Result<Vec<(Family, &'static str)>> {
    let mut found = Vec::new();
    for (prefix, width, file) in FAMILIES {
        if !folder.join(format!("{prefix}_services_v2")).exists() {
            continue;
        }
        let mut family = Family::open(folder, prefix, wanted(plan, width))?;
        family.walk()?;
        // The agent pins both families, whether it serves both or not.
        if family.len() > 0 || prefix == "cilium_lb4" {
            found.push((family, file));
        }
    }
    Ok(found)
}

/// The addresses of the Services that were named.
fn wanted(plan: &Plan, width: usize) -> Wanted {
    let addresses = plan.services.iter().flat_map(|service| &service.ips).map(|ip| match ip {
        std::net::IpAddr::V4(four) => four.octets().to_vec(),
        std::net::IpAddr::V6(six) => six.octets().to_vec(),
    });
    let of_width: std::collections::BTreeSet<Vec<u8>> = addresses.filter(|address| address.len() == width).collect();
    // Headless ones have no frontend: then every Service is looked at.
    (plan.named && plan.services.iter().any(|service| !service.ips.is_empty())).then_some(of_width)
}

fn run(plan: &Plan, out: &mut Out, stop: &Stop) -> anyhow::Result<()> {
    let folder = folder(&plan.host).context("the agent's maps are not pinned any more")?;
    let mut families = Vec::new();
    for (family, file) in open(&folder, plan)? {
        families.push((family, Looks::open(out, file, whole)?));
    }
    let (mut next, mut pace) = (Instant::now(), Pace::default());
    let mut every = plan.every(SOURCE.name);
    let mut next_walk = Instant::now();
    // The first look is written whole, whatever the walk ahead of it found.
    let mut first = true;
    let mut text = Vec::new();
    while stop.beat(&mut next, every) {
        let begun = Instant::now();
        let walks = begun >= next_walk;
        for (family, looks) in &mut families {
            let from = Moment::now().realtime;
            let changed = if walks { family.walk()? } else { family.look()? };
            let until = Moment::now().realtime;
            if changed || first {
                text.clear();
                family.dump(&mut text);
                looks.push(from, until, &text)?;
            } else {
                looks.unchanged(from, until)?;
            }
        }
        first = false;
        out.tick();
        if walks {
            next_walk = begun + WALK_EVERY;
            // A walk takes longer than a look, and is made once a second whatever the rate.
            continue;
        }
        let (wait, words) = pace.next(plan.every(SOURCE.name), begun.elapsed());
        if let Some(words) = words {
            out.lost(loss::RECORDER_SLOWED, 1, words);
        }
        every = wait;
    }
    Ok(())
}
