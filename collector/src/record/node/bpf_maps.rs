//! Cilium's load-balancer maps, fifty times a second, written when they change.
//!
//! Of more entries than can be looked at so often those of the Services under test are, and every Service once a second, in a file of its own
//! (`bpf/cilium_lb4_all.json`): a stamp says of all that stands in its file that it was looked at.
//!
//! `bpf/cilium_lb4_maps.json` and `bpf/cilium_lb6_maps.json` are of the kind `bpftool-dump`: of each moment the map of services and that of the backends
//! which it names. Every look has its stamp, so that a change is known to the gap between two.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;

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
    prepares: false,
    needs,
    run,
};

/// How often new frontends are looked for; new slots of known ones are found at once.
const WALK_EVERY: Duration = Duration::from_secs(1);
/// Address families: prefix of the maps, width of an address, files of what is looked at often and each second.
const FAMILIES: [(&str, usize, [&str; 2]); 2] = [
    ("cilium_lb4", 4, ["bpf/cilium_lb4_maps.json", "bpf/cilium_lb4_all.json"]),
    ("cilium_lb6", 16, ["bpf/cilium_lb6_maps.json", "bpf/cilium_lb6_all.json"]),
];
/// Entries that are looked at fifty times a second at about 2 % of a core.
const MANY: usize = 600;

/// Maps of one family, and how they are looked at.
struct Opened {
    family: Family,
    file: &'static str,
    /// Once a second.
    seldom: bool,
}

/// Where the agent pins its maps.
fn folder(host: &Host) -> Option<PathBuf> {
    let own = host.sys.join("fs/bpf/tc/globals");
    // Where the pod has no bpffs of the machine mounted, PID 1 has one.
    let of_machine = host.proc.join("1").join("root").join("sys/fs/bpf/tc/globals");
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
                families.iter().map(|one| format!("{} entries for {}", one.family.len(), one.file)).collect();
            Ok(format!("{}: {}", folder.display(), words.join(", ")))
        }
        Err(error) => Err(Lack::new(
            format!("{error:#}"),
            "run the recorder privileged, or with CAP_BPF (before Linux 5.8 CAP_SYS_ADMIN)",
        )),
    }
}

/// The families that the agent serves, walked once.
fn open(folder: &std::path::Path, plan: &Plan) -> anyhow::Result<Vec<Opened>> {
    let mut found = Vec::new();
    for (prefix, width, [often, each_second]) in FAMILIES {
        if !folder.join(format!("{prefix}_services_v2")).exists() {
            continue;
        }
        let walked = |wanted: Wanted| -> anyhow::Result<Family> {
            let mut family = Family::open(folder, prefix, wanted)?;
            family.walk()?;
            Ok(family)
        };
        let under_test = under_test(plan, width);
        let all = walked(if plan.named { under_test.clone() } else { None })?;
        if !plan.named && under_test.is_some() && all.len() > MANY {
            let family = walked(under_test)?;
            // Headless Services have no entry.
            if family.len() > 0 {
                found.push(Opened { family, file: often, seldom: false });
                found.push(Opened { family: all, file: each_second, seldom: true });
                continue;
            }
        }
        // The agent pins both families, whether it serves both or not.
        if all.len() > 0 || prefix == "cilium_lb4" {
            found.push(Opened { family: all, file: often, seldom: false });
        }
    }
    Ok(found)
}

/// The addresses of the Services under test; null where none has one.
fn under_test(plan: &Plan, width: usize) -> Wanted {
    let addresses = plan.services.iter().flat_map(|service| &service.ips).map(|ip| match ip {
        std::net::IpAddr::V4(four) => four.octets().to_vec(),
        std::net::IpAddr::V6(six) => six.octets().to_vec(),
    });
    let is_any = plan.services.iter().any(|service| !service.ips.is_empty());
    is_any.then(|| addresses.filter(|address| address.len() == width).collect())
}

fn run(plan: &Plan, out: &mut Out, stop: &Stop) -> anyhow::Result<()> {
    let folder = folder(&plan.host).context("the agent's maps are not pinned any more")?;
    let mut families = Vec::new();
    for one in open(&folder, plan)? {
        let looks = Looks::open(out, one.file, whole)?;
        families.push((one, looks));
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
        for (Opened { family, seldom, .. }, looks) in &mut families {
            if *seldom && !walks {
                continue;
            }
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
        every = pace.after(plan.every(SOURCE.name), begun.elapsed(), out);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::process::Command;
    use std::time::Duration;

    use aya::maps::{HashMap, MapData};

    use super::{SOURCE, needs};
    use crate::form::look::Look;
    use crate::record::moment::Moment;
    use crate::record::node::tool::{Limit, run};
    use crate::record::node::trial::{Machine, record};

    /// Where the inner test finds a bpffs.
    const PLACE: &str = "SYNCLINE_TEST_BPFFS";

    #[test]
    fn without_maps_it_says_why() {
        let machine = Machine::new();
        assert_eq!(needs(&machine.plan()).expect_err("none").what, "no bpffs with pinned maps");
        machine.file("sys/fs/bpf/other", "");
        assert_eq!(needs(&machine.plan()).expect_err("none").what, "no map of Cilium's load balancer is pinned here");
        machine.file("sys/fs/bpf/tc/globals/cilium_lb4_services_v2", "no map");
        assert!(needs(&machine.plan()).expect_err("none").remedy.contains("CAP_BPF"));
    }

    /// Runs the test below in a mount namespace of its own, with a bpffs in it; where that is not permitted it is skipped. It needs a
    /// kernel and a quiet machine, so it runs where that is asked for.
    #[test]
    fn known_changes_lie_within_the_looks_around_them() {
        if std::env::var_os("SYNCLINE_LIVE").is_none() {
            eprintln!("skipped: SYNCLINE_LIVE=1 makes maps in a bpffs of this machine");
            return;
        }
        let machine = Machine::new();
        let place = machine.path().join("sys/fs/bpf");
        std::fs::create_dir_all(&place).expect("a folder");
        let test = "record::node::bpf_maps::tests::inside_a_bpffs";
        let script = format!(
            "mount -t bpf bpf {0} && mkdir -p {0}/tc/globals && exec {1} --exact {test} --ignored --nocapture 2>&1",
            place.display(),
            std::env::current_exe().expect("a path").display()
        );
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", &script]).env(PLACE, machine.path());
        let mut text = Vec::new();
        let ended = run(&mut command, Limit { time: Duration::from_secs(180), bytes: 4 << 20 }, &mut text);
        let text = String::from_utf8_lossy(&text);
        match ended {
            Ok(()) => eprintln!("{text}"),
            Err(fault) if !text.contains("running 1 test") => {
                eprintln!("skipped: no bpffs can be mounted here ({fault})")
            }
            Err(fault) => panic!("{fault}\n{text}"),
        }
    }

    /// A map of a pair of Cilium's, pinned; null where the kernel does not permit it.
    fn pinned<const K: usize, const V: usize>(folder: &Path, name: &str) -> Option<HashMap<MapData, [u8; K], [u8; V]>> {
        match HashMap::<MapData, [u8; K], [u8; V]>::create(4096, 0) {
            Ok(map) => {
                map.pin(folder.join(name)).expect("pinned");
                let data = MapData::from_pin(folder.join(name)).expect("a map");
                Some(HashMap::try_from(aya::maps::Map::HashMap(data)).expect("a hash map"))
            }
            Err(error) => {
                eprintln!("skipped: no map can be made here ({error})");
                None
            }
        }
    }

    fn service(slot: u16, backend: u32, count: u16) -> ([u8; 12], [u8; 12]) {
        let mut key = [10, 96, 100, 100, 0, 80, 0, 0, 6, 0, 0, 0];
        key[6..8].copy_from_slice(&slot.to_ne_bytes());
        let mut value = [0; 12];
        value[..4].copy_from_slice(&backend.to_ne_bytes());
        value[4..6].copy_from_slice(&count.to_ne_bytes());
        value[7] = 3;
        (key, value)
    }

    /// Of many entries those of the Services under test are looked at often, the others in a file of their own.
    fn many(plan: &mut crate::record::plan::Plan, folder: &Path) {
        let data = MapData::from_pin(folder.join("cilium_lb4_services_v2")).expect("a map");
        let mut services: HashMap<MapData, [u8; 12], [u8; 12]> =
            HashMap::try_from(aya::maps::Map::HashMap(data)).expect("a hash map");
        let other = |number: usize| {
            let (mut key, value) = service(0, 0, 0);
            key[1] = 97;
            key[2..4].copy_from_slice(&(number as u16).to_be_bytes());
            (key, value)
        };
        for (key, value) in (0..=super::MANY).map(other) {
            services.insert(key, value, 0).expect("set");
        }
        let ip = "10.96.100.100".parse().expect("an address");
        plan.services = vec![crate::record::plan::Service { ips: vec![ip], ..Default::default() }];
        let opened = |plan: &_| -> Vec<(usize, bool)> {
            let all = super::open(folder, plan).expect("maps");
            all.iter().map(|one| (one.family.len(), one.seldom)).collect()
        };
        assert_eq!(opened(plan), [(2, false), (super::MANY + 3, true)]);
        plan.named = true;
        assert_eq!(opened(plan), [(2, false)]);
        (plan.named, plan.services) = (false, Vec::new());
        assert_eq!(opened(plan), [(super::MANY + 3, false)]);
        for (key, _) in (0..=super::MANY).map(other) {
            services.remove(&key).expect("gone");
        }
        assert_eq!(opened(plan), [(2, false)]);
    }

    #[test]
    #[ignore = "needs a bpffs: known_changes_lie_within_the_looks_around_them makes one and runs it"]
    fn inside_a_bpffs() {
        let Some(root) = std::env::var_os(PLACE).map(PathBuf::from) else { return };
        let folder = root.join("sys/fs/bpf/tc/globals");
        let Some(mut services) = pinned::<12, 12>(&folder, "cilium_lb4_services_v2") else { return };
        let Some(mut backends) = pinned::<4, 12>(&folder, "cilium_lb4_backends_v3") else { return };
        let machine = Machine::new();
        let mut plan = machine.plan();
        plan.host.sys = root.join("sys");
        plan.cadences.insert("bpf-maps".into(), Duration::from_millis(20));
        let backend = |number: u8| [10, 244, 0, number, 0x1f, 0x90, 6, 0, 0, 0, 0, 0];
        // One at the beginning; the others come one by one, and go again.
        backends.insert(1_u32.to_ne_bytes(), backend(1), 0).expect("set");
        for (key, value) in [service(1, 1, 0), service(0, 0, 1)] {
            services.insert(key, value, 0).expect("set");
        }
        eprintln!("{}", needs(&plan).expect("maps"));
        many(&mut plan, &folder);
        let mut truth = Vec::new();
        let recorded = std::thread::scope(|scope| {
            let running = scope.spawn(|| record(&SOURCE, &plan, 250));
            std::thread::sleep(Duration::from_millis(300));
            for number in 2..=30_u16 {
                std::thread::sleep(Duration::from_millis(67));
                let before = Moment::now().realtime;
                backends.insert(u32::from(number).to_ne_bytes(), backend(number as u8), 0).expect("set");
                let (key, value) = service(number, u32::from(number), 0);
                services.insert(key, value, 0).expect("set");
                let (key, value) = service(0, 0, number);
                services.insert(key, value, 0).expect("set");
                truth.push((number, true, before, Moment::now().realtime));
            }
            for number in (21..=30_u16).rev() {
                std::thread::sleep(Duration::from_millis(67));
                let before = Moment::now().realtime;
                let (key, value) = service(0, 0, number - 1);
                services.insert(key, value, 0).expect("set");
                services.remove(&service(number, 0, 0).0).expect("gone");
                truth.push((number, false, before, Moment::now().realtime));
            }
            running.join().expect("no panic")
        });
        recorded.ended.as_ref().expect("ends when it is told to");
        let text = recorded.text("bpf/cilium_lb4_maps.json.zst");
        let mut looks: Vec<(Look, String)> = Vec::new();
        for line in text.lines() {
            match Look::of(line.as_bytes()) {
                Some(look) if look.unchanged => {
                    let held = looks.last().map(|(_, text)| text.clone()).expect("a first look is written whole");
                    looks.push((look, held));
                }
                Some(look) => looks.push((look, String::new())),
                None => looks.last_mut().expect("behind a stamp").1.push_str(line),
            }
        }
        let mut widths = Vec::new();
        for (number, comes, begun, ended) in &truth {
            let slot = format!("\"key\":[\"0x0a\",\"0x60\",\"0x64\",\"0x64\",\"0x00\",\"0x50\",\"0x{number:02x}\"");
            // From the first look that shows it; for one that goes from the first behind its last.
            let at = looks.iter().position(|(look, text)| look.until > *begun && text.contains(&slot) == *comes);
            let at = at.unwrap_or_else(|| panic!("{number} was never seen to change"));
            let (low, high) = (looks[at - 1].0.from, looks[at].0.until);
            assert!(low <= *ended && *begun <= high, "{number}: {begun} to {ended} outside of {low} to {high}");
            assert_eq!(looks[at - 1].1.contains(&slot), !comes, "{number}: the look ahead shows it already");
            widths.push((high - low) as f64 / 1e6);
        }
        widths.sort_by(f64::total_cmp);
        let median = widths[widths.len() / 2];
        eprintln!("{} changes, median width {median:.2} ms, widest {:.2} ms", widths.len(), widths[widths.len() - 1]);
        recorded.manifest(&SOURCE);
    }
}
