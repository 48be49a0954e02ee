//! The bpftrace scripts, tailored: to the Services asked for, and to the tracepoints that a kernel has.
//!
//! ```text
//! tracepoint:tcp:tcp_retransmit_skb /IS_TARGET/   →   /(args->dport == 80 && args->daddr[0] == 10 && args->daddr[1] == 96 && …)/
//! ```
//!
//! Tracepoints only: they are there on every kernel from 5.4 on, whatever it was built with besides them, while `kprobe:__cilium_lxc*` and its
//! kin name functions that no kernel has. A script is made of blocks with a blank line between them; a block of a tracepoint that this
//! kernel lacks is left out, and the script says so.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

/// Services that a condition names one by one; of more, the ports alone are compared.
const NAMED: usize = 16;

/// A Service, or an address to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// `namespace/name`, or the address itself.
    pub name: String,
    pub at: SocketAddr,
}

/// A script.
#[derive(Clone, Debug)]
pub struct Script {
    /// File name.
    pub name: &'static str,
    pub text: String,
    /// Whether a probe is left in it that traces anything.
    pub traces: bool,
}

const TEXTS: [(&str, &str); 5] = [
    ("ipt-sync.bt", include_str!("scripts/ipt-sync.bt")),
    ("nft-sync.bt", include_str!("scripts/nft-sync.bt")),
    ("bpf-map.bt", include_str!("scripts/bpf-map.bt")),
    ("cpu.bt", include_str!("scripts/cpu.bt")),
    ("tcp.bt", include_str!("scripts/tcp.bt")),
];

/// All scripts for these targets; without any, of every connection. `has` says whether the kernel has a tracepoint `category:name`.
pub fn all(targets: &[Target], has: &dyn Fn(&str) -> bool) -> Vec<Script> {
    let (four, six): (Vec<_>, Vec<_>) = targets.iter().cloned().partition(|target| target.at.is_ipv4());
    let mut found = Vec::new();
    for (name, text) in TEXTS {
        if name != "tcp.bt" {
            found.push(fitted(name, text, has));
            continue;
        }
        if !four.is_empty() || targets.is_empty() {
            found.push(fitted(name, &tailored(text, &four, ""), has));
        }
        if !six.is_empty() {
            found.push(fitted("tcp6.bt", &tailored(text, &six, "_v6").replace("tcp.bt", "tcp6.bt"), has));
        }
    }
    found
}

/// One script by its name, whatever its targets.
pub fn one(name: &str, targets: &[Target], has: &dyn Fn(&str) -> bool) -> Vec<Script> {
    let stem = name.trim_end_matches(".bt");
    let of = |script: &Script| script.name == name || stem == "tcp" && script.name == "tcp6.bt";
    all(targets, has).into_iter().filter(of).collect()
}

/// Several scripts as one. Each keeps maps of its own, since `@s` of two would be one map, and both see the same thread; of BEGIN and END
/// bpftrace ahead of 0.22 takes one each.
pub fn together(parts: &[Script]) -> Script {
    let (mut begin, mut text, mut end) = (String::new(), String::new(), String::new());
    for (at, part) in parts.iter().enumerate() {
        for block in own_maps(&part.text, at).trim_end().split("\n\n") {
            let body = |probe: &str| block.strip_prefix(probe)?.trim().strip_prefix('{')?.strip_suffix('}');
            match (body("BEGIN "), body("END ")) {
                (Some(body), _) => begin.push_str(body),
                (_, Some(body)) => end.push_str(body),
                _ => {
                    text.push_str(block);
                    text.push_str("\n\n");
                }
            }
        }
    }
    let text = format!("BEGIN {{{begin}}}\n\n{text}END {{{end}}}\n");
    Script { name: "kernel.bt", text, traces: parts.iter().any(|part| part.traces) }
}

/// Maps of one letter are a script's own state, and get its number; those of longer names are printed, and keep theirs.
fn own_maps(text: &str, at: usize) -> String {
    let mut found = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(place) = rest.find('@') {
        let (ahead, behind) = rest.split_at(place + 1);
        found.push_str(ahead);
        let length = behind.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
        found.push_str(&behind[..length]);
        if length == 1 {
            found.push_str(&at.to_string());
        }
        rest = &behind[length..];
    }
    found.push_str(rest);
    found
}

/// Whether a kernel has a tracepoint, by the folders of tracefs; null where tracefs is not there to tell.
pub fn tracepoints(sys: &Path) -> Option<impl Fn(&str) -> bool + use<>> {
    let roots = [sys.join("kernel/tracing/events"), sys.join("kernel/debug/tracing/events")];
    let events = roots.into_iter().find(|root| root.join("sched").is_dir())?;
    Some(move |name: &str| {
        name.split_once(':').is_some_and(|(category, event)| events.join(category).join(event).is_dir())
    })
}

/// Leaves out the blocks that this kernel cannot run.
fn fitted(name: &'static str, text: &str, has: &dyn Fn(&str) -> bool) -> Script {
    let (mut kept, mut missing, mut traces) = (Vec::new(), Vec::new(), false);
    for block in text.split("\n\n") {
        let wanted: Vec<&str> = block.lines().filter_map(tracepoint).collect();
        let lacks: Vec<&str> = wanted.iter().copied().filter(|name| !has(name)).collect();
        traces |= !wanted.is_empty() && lacks.is_empty();
        if lacks.is_empty() { kept.push(block) } else { missing.extend(lacks) }
    }
    let mut text = kept.join("\n\n");
    if !missing.is_empty() {
        missing.dedup();
        text = format!("// Left out, since this kernel has no such tracepoint: {}.\n{text}", missing.join(", "));
    }
    Script { name, text, traces }
}

fn tracepoint(line: &str) -> Option<&str> {
    line.strip_prefix("tracepoint:")?.split([' ', '{', '/']).next()
}

/// Puts the targets in; `suffix` is that of the fields of an address family.
fn tailored(text: &str, targets: &[Target], suffix: &str) -> String {
    let names: Vec<String> = targets.iter().map(named).collect();
    let whom = if names.is_empty() { "all servers".to_owned() } else { names.join(", ") };
    text.replace("WHOM", &whom)
        .replace("IS_TARGET", &condition(targets))
        .replace("SADDR", &format!("saddr{suffix}"))
        .replace("DADDR", &format!("daddr{suffix}"))
}

fn named(target: &Target) -> String {
    let at = target.at.to_string();
    // A name goes into a comment: nothing that ends one.
    let plain: String = target.name.chars().filter(|letter| !letter.is_control()).collect();
    if plain == at { at } else { format!("{plain} ({at})") }
}

fn condition(targets: &[Target]) -> String {
    if targets.is_empty() {
        return "1".to_owned();
    }
    if targets.len() > NAMED {
        let mut ports: Vec<u16> = targets.iter().map(|target| target.at.port()).collect();
        ports.sort_unstable();
        ports.dedup();
        let each: Vec<String> = ports.iter().map(|port| format!("args->dport == {port}")).collect();
        return format!("({})", each.join(" || "));
    }
    let each: Vec<String> = targets.iter().map(|target| address(target.at)).collect();
    format!("({})", each.join(" || "))
}

fn address(at: SocketAddr) -> String {
    let (field, bytes) = match at.ip() {
        IpAddr::V4(four) => ("daddr", four.octets().to_vec()),
        IpAddr::V6(six) => ("daddr_v6", six.octets().to_vec()),
    };
    let mut text = format!("(args->dport == {}", at.port());
    for (place, byte) in bytes.iter().enumerate() {
        // Writing to a text cannot fail.
        let _ = write!(text, " && args->{field}[{place}] == {byte}");
    }
    text.push(')');
    text
}

#[cfg(test)]
mod tests {
    use super::{Target, all, one};

    fn target(name: &str, at: &str) -> Target {
        Target { name: name.to_owned(), at: at.parse().expect("an address") }
    }

    #[test]
    fn a_script_names_the_services_and_nothing_else() {
        let targets = [target("default/test", "10.96.100.100:80"), target("[fd00::a]:53", "[fd00::a]:53")];
        let scripts = all(&targets, &|_| true);
        let names: Vec<&str> = scripts.iter().map(|script| script.name).collect();
        assert_eq!(names, ["ipt-sync.bt", "nft-sync.bt", "bpf-map.bt", "cpu.bt", "tcp.bt", "tcp6.bt"]);
        let text = &scripts[4].text;
        assert!(text.contains("default/test (10.96.100.100:80)") && text.contains("args->daddr[3] == 100"), "{text}");
        assert!(!text.contains("IS_TARGET") && !text.contains("WHOM") && !text.contains("ADDR"), "{text}");
        assert!(
            scripts[5].text.contains("args->daddr_v6[15] == 10") && scripts[5].text.contains("ntop(args->saddr_v6)")
        );
        assert!(scripts.iter().all(|script| script.traces && script.text.contains("// Cannot see: ")));
        // Every connection where none is named; of many Services the ports.
        assert!(all(&[], &|_| true)[4].text.contains("&& 1/"));
        let many: Vec<Target> = (0..40).map(|at| target("a/b", &format!("10.0.0.{at}:{}", 80 + at % 2))).collect();
        assert!(all(&many, &|_| true)[4].text.contains("(args->dport == 80 || args->dport == 81)"));
    }

    #[test]
    fn what_a_kernel_lacks_is_left_out_and_said() {
        let scripts = all(&[], &|name| name != "syscalls:sys_enter_flock");
        let text = &scripts[0].text;
        assert!(text.starts_with("// Left out, since this kernel has no such tracepoint: syscalls:sys_enter_flock.\n"));
        assert!(
            !text.contains("tracepoint:syscalls:sys_exit_flock")
                && text.contains("tracepoint:syscalls:sys_enter_setsockopt")
        );
        assert!(scripts[0].traces);
        let both = super::together(&all(&[], &|_| true));
        assert_eq!((both.text.matches("BEGIN {").count(), both.text.matches("END {").count()), (1, 1));
        assert!(both.text.contains("# nft-sync.bt start") && both.text.contains("# tcp.bt end"), "{}", both.text);
        assert!(
            both.text.contains("@s0[tid]") && both.text.contains("@s1[tid]") && both.text.contains("@run_us[comm]")
        );
        assert!(!both.text.contains("@s[") && !both.text.contains("@x["));
        let without = one("bpf-map.bt", &[], &|name| !name.starts_with("syscalls:"));
        assert!(without.len() == 1 && !without[0].traces);
    }
}
