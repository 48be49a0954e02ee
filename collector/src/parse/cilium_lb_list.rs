//! `cilium-dbg bpf lb list -o json`: Cilium's load-balancer map, as streams with stamps or one file a snapshot.
//!
//! ```text
//! # TIMESTAMP 1795408951.210283656
//! {
//!   "10.102.95.60:80/TCP (0)": [
//!     "0.0.0.0:0 (3) (0) [ClusterIP, non-routable] "
//!   ],
//!   "10.102.95.60:80/TCP (1)": [
//!     "10.244.0.107:8080/TCP (3) (1)"
//!   ]
//! }
//! ```
//!
//! The number in a key is the slot (0: the frontend itself). Behind a backend stand a revision and the slot.

use syncline_schema::clock::ClockToken;

use super::iptables_save::address_and_port;
use super::snapshot::{Counters, Dissector, RuleFields, Section, lines};
use super::{Cut, Format, Head, Sniff, stamped};

/// The format.
pub const CILIUM_LB_LIST: Format = Format {
    kind: "cilium-lb-list",
    title: "cilium-dbg bpf lb list -o json",
    clock: ClockToken::Node,
    cut: Cut::Marks(stamped::MARK),
    sniff,
    parse: |context, chunk, batch| stamped::push(context, chunk, "cilium-lb-list", complete, batch),
    sample: "# TIMESTAMP 1795408951.210283656\n{\n  \"10.102.95.60:80/TCP (1)\": [\n    \"10.244.0.107:8080/TCP (3) (1)\"\n  ],",
    recognised: "a JSON object whose keys are frontends with a slot in parentheses",
    capture: "while :; do echo \"# TIMESTAMP $(date +%s.%N)\"; cilium-dbg bpf lb list -o json; sleep 0.2; done",
    proves: "which backends a Service had in the load-balancer map at each snapshot",
};

/// How a snapshot is taken apart.
pub const DISSECTOR: Dissector =
    Dissector { format: "cilium-lb-list", split: lines, section, counters: |_| Counters::default(), fields };

fn sniff(head: &Head) -> Sniff {
    let body = stamped::behind_stamp(head.bytes);
    let first = body.strip_prefix(b"{").map(<[u8]>::trim_ascii_start).unwrap_or_default();
    let key = &first[..memchr::memchr(b'\n', first).unwrap_or(first.len().min(120))];
    if first.starts_with(b"\"") && frontend(key).is_some() { Sniff::Yes } else { Sniff::No }
}

/// Frontend (`ip:port/PROTO`) and slot of a key line.
fn frontend(line: &[u8]) -> Option<(String, i32)> {
    let text = std::str::from_utf8(line).ok()?.trim();
    let key = text.strip_prefix('"')?.split_once("\":")?.0;
    let (name, slot) = key.strip_suffix(')')?.rsplit_once(" (")?;
    Some((name.to_owned(), slot.parse().ok()?))
}

fn complete(text: &[u8]) -> bool {
    text.trim_ascii_end().ends_with(b"}")
}

fn section(section: &mut Section, piece: &[u8]) {
    if let Some((name, slot)) = frontend(piece) {
        *section = format!("{name}#{slot}");
    }
}

/// `10.244.0.107:8080/TCP` as address, port, protocol.
pub fn endpoint(text: &str) -> Option<(String, i32, Option<String>)> {
    let (address, protocol) = text.split_once('/').map_or((text, None), |(address, rest)| (address, Some(rest)));
    let (address, port) = address_and_port(address)?;
    Some((address, port, protocol.map(|protocol| protocol.split('/').next().unwrap_or_default().to_ascii_lowercase())))
}

fn fields(_path: &str, section: &Section, piece: &[u8]) -> RuleFields {
    let Some((name, slot)) = section.rsplit_once('#') else {
        return RuleFields { kind: "other", ..RuleFields::default() };
    };
    let slot = slot.parse().ok();
    let front = endpoint(name);
    let protocol = front.as_ref().and_then(|(_, _, protocol)| protocol.clone());
    let base = RuleFields { chain: Some(name.to_owned()), slot, protocol, ..RuleFields::default() };
    let text = String::from_utf8_lossy(piece).into_owned();
    if frontend(piece).is_some() {
        let (address, port) = front.map_or((None, None), |(address, port, _)| (Some(address), Some(port)));
        return RuleFields { kind: "frontend", address, port, ..base };
    }
    let backend = text.trim().trim_matches(|letter| letter == '"' || letter == ',');
    match endpoint(backend.split_whitespace().next().unwrap_or_default()) {
        Some((address, port, protocol)) if slot != Some(0) => RuleFields {
            kind: "backend",
            address: Some(address),
            port: Some(port),
            protocol: protocol.or(base.protocol.clone()),
            ..base
        },
        _ => RuleFields { kind: "other", ..base },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_is_read_under_its_frontend() {
        let mut place = Section::new();
        section(&mut place, b"  \"10.102.95.60:80/TCP (1)\": [\n");
        let found = fields("", &place, b"    \"10.244.0.107:8080/TCP (3) (1)\"\n");
        assert_eq!((found.kind, found.slot, found.port), ("backend", Some(1), Some(8080)));
        assert_eq!(found.chain.as_deref(), Some("10.102.95.60:80/TCP"));
        assert_eq!(found.protocol.as_deref(), Some("tcp"));
    }
}
