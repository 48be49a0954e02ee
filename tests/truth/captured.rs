//! What a recorder on a node writes, in the formats of real recordings: beacons, its watch, its looks with both their ends.

use std::fmt::Write as _;

use super::cluster::{Cluster, FIRST, Look, MS, Node, START};
use super::files::{epoch, held, slice};

/// Beacons of the recorder on the first node, with both of its clocks.
pub fn beacons(cluster: &Cluster) -> String {
    let node = &cluster.nodes[0];
    let mut text = String::new();
    for beat in &cluster.recorded.beats {
        let by = if beat.written { "" } else { "\"by\":\"read\"," };
        let real = |time: i64| epoch(node.clock.read(time));
        let boot = |time: i64| epoch(time - node.booted);
        let _ = writeln!(
            text,
            "{{\"beacon\":{{{by}\"resourceVersion\":\"{}\",\"sent\":{},\"returned\":{},\"sent_boottime\":{},\"returned_boottime\":{}}}}}",
            beat.revision,
            real(beat.sent),
            real(beat.returned),
            boot(beat.sent),
            boot(beat.returned)
        );
    }
    text
}

/// What the recorder's watch delivered, on the first node's clock.
pub fn recorded(cluster: &Cluster) -> String {
    let line = |time: i64, kind: &str, body: String| {
        let stamp = epoch(cluster.nodes[0].clock.read(time));
        (time, format!("{{\"received\":{stamp},\"event\":{{\"type\":\"{kind}\",\"object\":{body}}}}}\n"))
    };
    let mut lines = vec![line(START + 200 * MS, "LISTED", slice(cluster, 0, FIRST))];
    for (number, version) in cluster.versions.iter().enumerate() {
        let body = || slice(cluster, version.count, cluster.revisions[number]);
        lines.extend(cluster.recorded.delivered[number].map(|time| line(time, "MODIFIED", body())));
        if let Some((error, listed, _)) = cluster.recorded.relisted.filter(|(.., shown)| *shown == number) {
            let gone = "{\"kind\":\"Status\",\"code\":410,\"reason\":\"Expired\"}".to_owned();
            lines.extend([line(error, "ERROR", gone), line(listed, "LISTED", body())]);
        }
    }
    lines.sort_by_key(|(time, _)| *time);
    lines.into_iter().map(|(_, text)| text).collect()
}

/// The Service, as the recorder listed it.
pub fn services(cluster: &Cluster) -> String {
    let stamp = epoch(cluster.nodes[0].clock.read(START + 210 * MS));
    format!(
        "{{\"received\":{stamp},\"event\":{{\"type\":\"LISTED\",\"object\":{{\"kind\":\"Service\",\"metadata\":{{\"name\":\"test\",\"namespace\":\"default\"}},\"spec\":{{\"clusterIP\":\"10.96.100.100\",\"ports\":[{{\"name\":\"http\",\"port\":80,\"protocol\":\"TCP\"}}]}}}}}}}}\n"
    )
}

/// The stamp of a recorder's look: both ends, and whether it found what the look ahead had found.
pub fn stamped(node: &Node, look: &Look, last: &mut Option<usize>) -> (String, bool) {
    let (from, until) = (epoch(node.clock.read(look.stamp)), epoch(node.clock.read(look.over)));
    let count = held(node, look.read);
    let unchanged = last.replace(count) == Some(count);
    (format!("# TIMESTAMP {from} {until}{}\n", if unchanged { " unchanged" } else { "" }), unchanged)
}

/// Cilium's maps as bpf(2) gives them, of each look both. Behind the slots that get new connections one of a backend that
/// is leaving may stand.
pub fn maps(cluster: &Cluster, node: &Node) -> String {
    let hex = |bytes: &[u8]| {
        let words: Vec<String> = bytes.iter().map(|byte| format!("\"0x{byte:02x}\"")).collect();
        format!("[{}]", words.join(","))
    };
    let pair = |key: &[u8], value: &[u8]| format!("{{\"key\":{},\"value\":{}}}", hex(key), hex(value));
    let address = |text: &str| -> Vec<u8> { text.split('.').map(|part| part.parse().expect("a byte")).collect() };
    let mut text = String::new();
    let (mut last, mut most) = (None, 0);
    for look in &node.looks {
        let (line, unchanged) = stamped(node, look, &mut last);
        text.push_str(&line);
        if unchanged {
            continue;
        }
        let count = held(node, look.read);
        let leaving = usize::from(count < most && cluster.plan.seed.is_multiple_of(2));
        most = most.max(count);
        let addresses: Vec<&str> = std::iter::once("10.244.0.1")
            .chain(cluster.members[..count + leaving].iter().map(|member| member.address.as_str()))
            .collect();
        let service = |slot: u16, backend: u32, count: u16| {
            let mut key = vec![10, 96, 100, 100, 0, 80];
            key.extend(slot.to_le_bytes());
            key.extend([6, 0, 0, 0]);
            let mut value = backend.to_le_bytes().to_vec();
            value.extend(count.to_le_bytes());
            value.extend([0, 7, 0, 0, 0, 0]);
            pair(&key, &value)
        };
        let mut slots = vec![service(0, 0, count as u16 + 1)];
        slots.extend((1..=addresses.len()).map(|at| service(at as u16, at as u32, 0)));
        let backend = |(at, one): (usize, &&str)| {
            let mut value = address(one);
            value.extend([0x1f, 0x90, 6, 0, 0, 0, 0, 0]);
            pair(&(at as u32 + 1).to_le_bytes(), &value)
        };
        let backends: Vec<String> = addresses.iter().enumerate().map(backend).collect();
        let _ = writeln!(text, "[{}]\n[{}]", slots.join(","), backends.join(","));
    }
    text
}
