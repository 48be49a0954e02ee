//! `bpftool map dump` of Cilium's load-balancer maps, as JSON and as text, joined as `cilium-dbg bpf lb list` joins them.
//!
//! ```text
//! # TIMESTAMP 1795408951.216680516
//! [{"key":["0x0a","0x66",…],"value":["0x03","0x00",…]}, …]      cilium_lb4_services_v2, -j
//! [{"key":["0x03","0x00","0x00","0x00"],"value":[…]}, …]        cilium_lb4_backends_v3, of the same moment
//!
//! key:
//! 0a 66 5f 3c 00 50 01 00  06 00 00 00                           without -j
//! value:
//! 03 00 00 00 00 00 00 03  00 00 00 00
//! Found 1 element
//! [{"key":{"address":1012885002,"dport":20480,"backend_slot":1,"proto":6,…},"value":{…}}]    with BTF, without -j
//! ```
//!
//! Which map an entry is of is told from the widths of its key and value (Cilium's bpf/lib/common.h: `lb4_key`,
//! `lb4_service`, `lb4_backend` and their kin for IPv6). Addresses, ports and the number of the reverse NAT stand in network
//! order, slots and backend numbers in that of a little-endian host. The snapshot that is kept is the list that the maps give
//! together, in the words of `cilium-lb-list`, with the count of slots behind each frontend, which that list does not show. A map of services alone names backends by number only: the loss says which map is
//! missing. Maps of other widths are counted and left out.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::Deserialize;
use serde_json::Value;
use syncline_schema::clock::ClockToken;
use syncline_schema::loss;

use crate::form::dissector::{Dissector, End};
use crate::form::stamp;
use crate::form::{Batch, Chunk, Context, Cut, Format, Head, Reads, Sniff};
use crate::parse::dataplane::btf_fields;
use crate::parse::dataplane::cilium_lb_list;
use crate::parse::dataplane::series;

/// The format.
pub const FORMAT: Format = Format {
    kind: "bpftool-dump",
    title: "bpftool map dump of Cilium's load-balancer maps",
    clock: ClockToken::Node,
    cut: Cut::Marks(stamp::MARK),
    sniff,
    reads: Reads::Rows(parse),
    sample: "# TIMESTAMP 1795408951.216680516\n[{\"key\":[\"0x0a\",\"0x60\",\"0x64\",\"0x64\",\"0x00\",\"0x50\",\"0x01\",\"0x00\",\"0x06\",\"0x00\",\"0x00\",\"0x00\"],\"value\":[\"0x03\",\"0x00\",\"0x00\",\"0x00\",\"0x00\",\"0x00\",\"0x00\",\"0x02\",\"0x00\",\"0x00\",\"0x00\",\"0x00\"]}]\n[{\"key\":[\"0x03\",\"0x00\",\"0x00\",\"0x00\"],\"value\":[\"0x0a\",\"0xf4\",\"0x00\",\"0x15\",\"0x1f\",\"0x90\",\"0x06\",\"0x00\",\"0x00\",\"0x00\",\"0x00\",\"0x00\"]}]\n",
    recognised: "entries `{\"key\":[\"0x…\"],\"value\":[…]}` or `key: …  value: …` with the widths of the load-balancer maps' keys and values",
    capture: "while :; do date '+# TIMESTAMP %s.%N'; for m in services_v2 backends_v3 reverse_nat; do bpftool map dump pinned /sys/fs/bpf/tc/globals/cilium_lb4_$m -j; done; sleep 0.2; done",
    proves: "which backends had a slot in the load-balancer map that gets new connections, between a stamp and the next",
};

/// An entry of any map.
pub(super) struct Pair {
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow)]
    key: Side<'a>,
    #[serde(borrow)]
    value: Option<Side<'a>>,
}

/// Raw bytes, or the fields of a struct that BTF describes.
#[derive(Deserialize)]
#[serde(untagged)]
enum Side<'a> {
    Bytes(#[serde(borrow)] Vec<Cow<'a, str>>),
    Fields(Value),
}

fn sniff(head: &Head) -> Sniff {
    let mut seen = 0;
    let mut ours = 0;
    let named = ["lb4_", "lb6_"].iter().any(|part| head.path.contains(part));
    for (text, _) in texts(head.bytes) {
        for pair in pairs(text).0.iter().take(50) {
            seen += 1;
            ours += match kind_of(pair) {
                Kind::Service => 1,
                // Other maps have entries as wide as these.
                Kind::Backend | Kind::ReverseNat if named || seen > 1 && ours > 0 => 1,
                Kind::Backend if hash_of_backend(pair) => 1,
                _ => 0,
            };
        }
        if seen > 0 {
            break;
        }
    }
    if ours > 0 && ours * 2 >= seen { Sniff::Yes } else { Sniff::No }
}

/// Whether an entry that is as wide as a backend says so itself: a protocol that exists, and nothing in the padding.
fn hash_of_backend(pair: &Pair) -> bool {
    let at = if pair.value.len() > 12 { 18 } else { 6 };
    let protocol = pair.value.get(at).copied().unwrap_or(255);
    let padding = pair.value.get(at + 2..).unwrap_or_default();
    matches!(protocol, 0 | 6 | 17 | 132) && padding.iter().skip(2).all(|byte| *byte == 0) && pair.value[0] != 0
}

/// The text of each snapshot in a head.
fn texts(bytes: &[u8]) -> Vec<(&[u8], bool)> {
    let mut found = Vec::new();
    let mut from = 0;
    let mark = stamp::MARK.as_bytes();
    for at in memchr::memmem::find_iter(bytes, mark).chain([bytes.len()]) {
        if at > from {
            let text = &bytes[from..at];
            let text = if text.starts_with(mark) {
                &text[memchr::memchr(b'\n', text).map_or(text.len(), |end| end + 1)..]
            } else {
                text
            };
            found.push((text, at < bytes.len()));
        }
        from = at;
    }
    found
}

/// Read as the list that it is turned into; whether a dump came to its end is judged by its entries.
const DUMPED: Dissector = Dissector {
    end: |text| if text.iter().all(u8::is_ascii_whitespace) { End::Broken } else { End::Marked },
    knows: |_| true,
    again: |_| Vec::new(),
    ..cilium_lb_list::DISSECTOR
};

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    let before = batch.snapshots.len();
    series::take(context, chunk, batch, &DUMPED);
    let taken = batch.snapshots.split_off(before);
    for mut snapshot in taken {
        if snapshot.unchanged {
            batch.snapshots.push(snapshot);
            continue;
        }
        let (pairs, closed) = pairs(&snapshot.text);
        let joined = Joined::of(&pairs);
        match (joined.services.is_empty(), joined.backends.is_empty()) {
            (false, false) => {
                let (text, whole) = joined.list();
                snapshot.text = text.into_bytes();
                snapshot.complete &= closed && whole;
                batch.snapshots.push(snapshot);
            }
            // Without the other map nothing can be told of any backend.
            (false, true) => batch.loss(loss::BACKENDS_MAP_MISSING, 1),
            _ => batch.loss(loss::SERVICES_MAP_MISSING, 1),
        }
    }
}

/// The entries of a text, and whether every dump in it came to its end.
fn pairs(text: &[u8]) -> (Vec<Pair>, bool) {
    let start = text.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(text.len());
    if text.get(start) == Some(&b'[') { of_json(&text[start..]) } else { of_text(text) }
}

fn of_json(text: &[u8]) -> (Vec<Pair>, bool) {
    let (mut found, mut at, mut open) = (Vec::new(), 0, false);
    while at < text.len() {
        match text[at] {
            b'[' if !open => (open, at) = (true, at + 1),
            b']' if open => (open, at) = (false, at + 1),
            b'{' if open => {
                let mut items = serde_json::Deserializer::from_slice(&text[at..]).into_iter::<Item<'_>>();
                let Some(Ok(item)) = items.next() else { return (found, false) };
                at += items.byte_offset();
                if let (key, Some(value)) = (item.key, item.value) {
                    found.extend(bytes_of(&key, &value));
                }
            }
            byte if byte.is_ascii_whitespace() || byte == b',' => at += 1,
            // A word on standard error between two dumps.
            _ if !open => at += memchr::memchr(b'\n', &text[at..]).map_or(text.len() - at, |end| end + 1),
            _ => return (found, false),
        }
    }
    (found, !open)
}

fn bytes_of(key: &Side<'_>, value: &Side<'_>) -> Option<Pair> {
    let hex = |words: &[Cow<'_, str>]| -> Option<Vec<u8>> {
        words.iter().map(|word| u8::from_str_radix(word.strip_prefix("0x")?, 16).ok()).collect()
    };
    match (key, value) {
        (Side::Bytes(key), Side::Bytes(value)) => Some(Pair { key: hex(key)?, value: hex(value)? }),
        (Side::Fields(key), Side::Fields(value)) => btf_fields::pair(key, value),
        _ => None,
    }
}

/// `key: 01 00  value: 0a …` or each on lines of their own; `Found N elements` ends a dump.
fn of_text(text: &[u8]) -> (Vec<Pair>, bool) {
    let mut found: Vec<Pair> = Vec::new();
    let (mut behind, mut ended) = (None, false);
    for line in text.split(|byte| *byte == b'\n') {
        if line.starts_with(b"Found ") {
            ended = true;
            continue;
        }
        for word in String::from_utf8_lossy(line).split_ascii_whitespace() {
            match word {
                "key:" => {
                    found.push(Pair { key: Vec::new(), value: Vec::new() });
                    (behind, ended) = (Some(false), false);
                }
                "value:" => behind = behind.map(|_| true),
                word if word.len() == 2 && behind.is_some() => {
                    let Ok(byte) = u8::from_str_radix(word, 16) else { break };
                    if let Some(pair) = found.last_mut() {
                        if behind == Some(true) { pair.value.push(byte) } else { pair.key.push(byte) }
                    }
                }
                // Prose, a prompt: nothing of an entry.
                _ => {
                    behind = None;
                    break;
                }
            }
        }
    }
    (found, ended)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Service,
    Backend,
    ReverseNat,
    Other,
}

fn kind_of(pair: &Pair) -> Kind {
    match (pair.key.len(), pair.value.len()) {
        (12 | 24, 12) => Kind::Service,
        // v1 has numbers of 16 bits; v2 lacks the cluster and the zone that v3 has.
        (2, 8 | 20) | (4, 8 | 12 | 20 | 24) => Kind::Backend,
        (2, 6 | 18) => Kind::ReverseNat,
        _ => Kind::Other,
    }
}

/// Frontend of a slot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Frontend {
    address: IpAddr,
    port: u16,
    protocol: u8,
    slot: u16,
}

/// What the services map holds for a slot.
struct Slot {
    backend: u32,
    /// Of slot 0: how many of the others get new connections. Those behind belong to backends that are leaving.
    count: u16,
    revision: u16,
    flags: u8,
}

/// The maps of one moment.
#[derive(Default)]
struct Joined {
    services: BTreeMap<Frontend, Slot>,
    /// By address family and number.
    backends: BTreeMap<(bool, u32), String>,
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(|four| Ipv4Addr::from(four).into()),
        _ => <[u8; 16]>::try_from(bytes).ok().map(|sixteen| Ipv6Addr::from(sixteen).into()),
    }
}

fn place(address: IpAddr, port: u16, protocol: u8) -> String {
    let protocol = match protocol {
        6 => "TCP",
        17 => "UDP",
        132 => "SCTP",
        _ => "ANY",
    };
    format!("{}/{protocol}", std::net::SocketAddr::new(address, port))
}

impl Joined {
    fn of(pairs: &[Pair]) -> Self {
        let mut joined = Joined::default();
        for pair in pairs {
            joined.add(pair);
        }
        joined
    }

    fn add(&mut self, Pair { key, value }: &Pair) -> Option<()> {
        let word = |bytes: &[u8], at: usize| Some([*bytes.get(at)?, *bytes.get(at + 1)?]);
        match kind_of(&Pair { key: key.clone(), value: value.clone() }) {
            Kind::Service => {
                let width = key.len() - 8;
                let frontend = Frontend {
                    address: address(&key[..width])?,
                    port: u16::from_be_bytes(word(key, width)?),
                    slot: u16::from_le_bytes(word(key, width + 2)?),
                    protocol: key[width + 4],
                };
                let slot = Slot {
                    backend: u32::from_le_bytes(<[u8; 4]>::try_from(&value[..4]).ok()?),
                    count: u16::from_le_bytes(word(value, 4)?),
                    revision: u16::from_be_bytes(word(value, 6)?),
                    flags: value[8],
                };
                self.services.insert(frontend, slot);
            }
            Kind::Backend => {
                let width = if value.len() > 12 { 16 } else { 4 };
                let mut number = [0; 4];
                number[..key.len()].copy_from_slice(key);
                let shown =
                    place(address(&value[..width])?, u16::from_be_bytes(word(value, width)?), *value.get(width + 2)?);
                self.backends.insert((width == 16, u32::from_le_bytes(number)), shown);
            }
            Kind::ReverseNat | Kind::Other => {}
        }
        Some(())
    }

    /// The list as JSON, and whether every backend was found.
    fn list(&self) -> (String, bool) {
        let mut rows: BTreeMap<String, String> = BTreeMap::new();
        let mut whole = true;
        for (frontend, slot) in &self.services {
            let six = frontend.address.is_ipv6();
            let backend = if frontend.slot == 0 {
                let none = if six { "[::]:0" } else { "0.0.0.0:0" };
                format!("{none} ({}) (0) [{}] count {}", slot.revision, flags(slot.flags), slot.count)
            } else {
                match self.backends.get(&(six, slot.backend)) {
                    Some(backend) => format!("{backend} ({}) ({})", slot.revision, frontend.slot),
                    None => {
                        whole = false;
                        format!("backend {} not found", slot.backend)
                    }
                }
            };
            let name = place(frontend.address, frontend.port, frontend.protocol);
            rows.insert(format!("{name} ({})", frontend.slot), backend);
        }
        let mut text = "{\n".to_owned();
        for (at, (key, backend)) in rows.iter().enumerate() {
            let comma = if at + 1 < rows.len() { "," } else { "" };
            // Writing to a text cannot fail.
            let _ = write!(text, "  \"{key}\": [\n    \"{backend}\"\n  ]{comma}\n");
        }
        text.push_str("}\n");
        (text, whole)
    }
}

/// Type and reach of a Service, from the first byte of its flags.
fn flags(byte: u8) -> String {
    let kinds = [(0x01, "ExternalIPs"), (0x20, "LoadBalancer"), (0x02, "NodePort"), (0x08, "HostPort")];
    let kind = kinds.iter().find(|(bit, _)| byte & bit != 0).map_or("ClusterIP", |(_, name)| name);
    if byte & 0x40 == 0 { format!("{kind}, non-routable") } else { kind.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::{FORMAT, Joined, pairs};
    use crate::form::Sniff;
    use crate::parse::harness::{files, head, parse_text};

    const TEXT: &str = "key:\n0a 60 00 01 01 bb 00 00  06 00 00 00\nvalue:\n00 00 00 00 01 00 00 07  00 00 00 00\nkey:\n0a 60 00 01 01 bb 01 00  06 00 00 00\nvalue:\n01 00 00 00 00 00 00 07  00 00 00 00\nFound 2 elements\nkey: 01 00 00 00  value: ac 13 00 02 19 2b 06 00  00 00 00 00\nFound 1 element\n";

    fn list(text: &str) -> String {
        Joined::of(&pairs(text.as_bytes()).0).list().0
    }

    #[test]
    fn a_reading_that_found_nothing_new_is_kept() {
        let text =
            format!("# TIMESTAMP 1795407710.5 1795407710.51\n{TEXT}# TIMESTAMP 1795407710.7 1795407710.71 unchanged\n");
        let batch = parse_text(&FORMAT, &text);
        let seen: Vec<_> = batch.snapshots.iter().map(|one| (one.unchanged, one.until.is_some())).collect();
        assert_eq!((seen, batch.losses.len()), (vec![(false, true), (true, true)], 0));
    }

    #[test]
    fn maps_are_joined_as_the_agent_lists_them() {
        let expected = "{\n  \"10.96.0.1:443/TCP (0)\": [\n    \"0.0.0.0:0 (7) (0) [ClusterIP, non-routable] count 1\"\n  ],\n  \"10.96.0.1:443/TCP (1)\": [\n    \"172.19.0.2:6443/TCP (7) (1)\"\n  ]\n}\n";
        assert_eq!(list(TEXT), expected);
        let fields = r#"[{"key":{"address":16801802,"dport":47873,"backend_slot":0,"proto":6,"scope":0,"pad":[0,0]},"value":{"":{"backend_id":0,"affinity_timeout":0},"count":1,"rev_nat_index":1792,"flags":0,"flags2":0,"qcount":0}},{"key":{"address":16801802,"dport":47873,"backend_slot":1,"proto":6},"value":{"":{"backend_id":1},"count":0,"rev_nat_index":1792,"flags":0,"flags2":0}}]
[{"key":1,"value":{"address":33559468,"port":11033,"proto":6,"flags":0,"cluster_id":0,"zone":0}}]"#;
        // 0x0100600a is 10.96.0.1 as a little-endian host reads it.
        assert_eq!(list(&fields.replace("16801802", &0x0100_600a_u32.to_string())), expected);
        let batch = parse_text(&FORMAT, TEXT);
        assert_eq!((batch.snapshots.len(), batch.snapshots[0].dissector.format), (1, "cilium-lb-list"));
        assert!(batch.snapshots[0].complete && batch.rejected == 0);
    }

    #[test]
    fn six_is_read_and_a_missing_backend_is_no_whole_list() {
        let six = "key:\nfd 00 00 00 00 00 00 00  00 00 00 00 00 00 00 0a\n00 35 01 00 11 00 00 00\nvalue:\n02 00 00 00 00 00 00 01  02 00 00 00\nkey:\nfd 00 00 00 00 00 00 00  00 00 00 00 00 00 00 0a\n00 35 02 00 11 00 00 00\nvalue:\n03 00 00 00 00 00 00 01  02 00 00 00\nkey: 02 00 00 00\nvalue:\nfd 01 00 00 00 00 00 00  00 00 00 00 00 00 00 05\n14 e9 11 00 00 00 00 00\nFound 3 elements\n";
        let (text, whole) = Joined::of(&pairs(six.as_bytes()).0).list();
        assert!(text.contains("\"[fd00::a]:53/UDP (1)\": [\n    \"[fd01::5]:5353/UDP (1) (1)\""), "{text}");
        assert!(text.contains("backend 3 not found") && !whole);
    }

    #[test]
    fn a_map_alone_says_which_one_is_missing() {
        let services = &TEXT[..TEXT.find("Found").expect("an end")];
        let backends = &TEXT[TEXT.rfind("key:").expect("an entry")..];
        let batch = parse_text(&FORMAT, services);
        assert!(batch.snapshots.is_empty() && batch.losses.contains_key("backends-map-missing"));
        let batch = parse_text(&FORMAT, backends);
        assert!(batch.snapshots.is_empty() && batch.losses.contains_key("services-map-missing"));
    }

    #[test]
    fn a_dump_that_broke_off_is_incomplete() {
        let batch = parse_text(&FORMAT, &TEXT[..TEXT.len() - "Found 1 element\n".len()]);
        assert!(!batch.snapshots[0].complete);
        for cut in 0..TEXT.len() {
            parse_text(&FORMAT, &TEXT[..cut]);
            parse_text(&FORMAT, &FORMAT.sample[..cut.min(FORMAT.sample.len())]);
        }
    }

    /// The frontends of the real map are those that the agent listed 6 ms earlier; it does not list the count of slots.
    #[test]
    fn a_real_map_has_the_frontends_of_the_agents_list() {
        let of = |part: &str| {
            let found = files(&["captures/cilium-scale-up-1/bpf".to_owned()]);
            found.into_iter().find(|(name, _)| name.contains(part))
        };
        let (Some((name, dump)), Some((_, listed))) = (of("bpftool-lb4-services"), of("bpf-lb-list.json")) else {
            return;
        };
        assert_eq!((FORMAT.sniff)(&head(&name, &dump[..64 << 10])), Sniff::Yes);
        let first = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes).into_owned();
            text.split("# TIMESTAMP ")
                .nth(1)
                .and_then(|one| Some(one.split_once('\n')?.1.to_owned()))
                .unwrap_or_default()
        };
        let ours = Joined::of(&pairs(first(&dump).as_bytes()).0).list().0;
        let frontends = |text: &str| -> Vec<(String, String)> {
            let object: std::collections::BTreeMap<String, Vec<String>> =
                serde_json::from_str(text).expect("an object");
            object
                .into_iter()
                .map(|(key, list)| {
                    let list = if key.ends_with("(0)") { list.concat() } else { String::new() };
                    let said = list.split(" count ").next().unwrap_or_default().trim_end().to_owned();
                    (key, said)
                })
                .collect()
        };
        assert_eq!(frontends(&ours), frontends(&first(&listed)));
    }
}
