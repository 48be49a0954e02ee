//! Which BPF maps exist, and which file descriptor of the agent is which map.
//!
//! ```text
//! [{"id":951,"type":"hash","name":"cilium_ratelimi","flags":0,"bytes_key":4,"bytes_value":8,"max_entries":64,…}]
//!
//! 38  968  1
//! ```
//!
//! A trace of bpf(2) names a map by the descriptor of the process. Facts join the two: `bpf-map-fd/38` = `968` (from
//! /proc/PID/fdinfo: descriptor, map id, type), `bpf-map/968` = the name (bpftool: 15 characters of it).

use std::borrow::Cow;

use serde::Deserialize;
use syncline_schema::clock::ClockToken;

use crate::form::{Batch, Chunk, Context, Cut, Format, Head, Line, Reads, Sniff};

/// Maps of the kernel.
pub const LIST: Format = Format {
    kind: "bpftool-map",
    title: "BPF maps of the kernel",
    clock: ClockToken::None,
    cut: Cut::Whole,
    sniff: sniff_list,
    reads: Reads::Rows(parse_list),
    sample: r#"[{"id":951,"type":"hash","name":"cilium_ratelimi","flags":0,"bytes_key":4,"bytes_value":8,"max_entries":64}]"#,
    recognised: "a JSON array of objects with `id`, `type`, `bytes_key` and `max_entries`",
    capture: "bpftool map list -j",
    proves: "the names of the maps",
};

/// Descriptors of a process.
pub const DESCRIPTORS: Format = Format {
    kind: "bpf-map-fds",
    title: "Map descriptors of the agent",
    clock: ClockToken::None,
    cut: Cut::Whole,
    sniff: sniff_descriptors,
    reads: Reads::Rows(parse_descriptors),
    sample: "38\t968\t1\n",
    recognised: "a file `*map-fds*` with lines of three numbers: descriptor, map id, map type",
    capture: "for f in /proc/PID/fdinfo/*; do awk -v fd=${f##*/} '/^map_id/{i=$2} /^map_type/{t=$2} END{if(i)print fd\"\\t\"i\"\\t\"t}' $f; done > agent-map-fds.tsv",
    proves: "which map a trace of bpf(2) means by a descriptor",
};

#[derive(Deserialize)]
struct Map<'a> {
    id: u64,
    #[serde(borrow, default)]
    name: Cow<'a, str>,
}

fn sniff_list(head: &Head) -> Sniff {
    let compact: Vec<u8> = head.bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).take(1000).collect();
    let has = |mark: &[u8]| memchr::memmem::find(&compact, mark).is_some();
    let map = compact.starts_with(b"[{\"id\":") && has(b"\"bytes_key\":") && has(b"\"max_entries\":");
    if map { Sniff::Yes } else { Sniff::No }
}

fn sniff_descriptors(head: &Head) -> Sniff {
    let mut lines = head.bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).peekable();
    let named = head.path.rsplit('/').next().unwrap_or_default().contains("map-fds");
    let all = head.whole && lines.peek().is_some() && lines.all(|line| descriptor(line).is_some());
    if named && all { Sniff::Yes } else { Sniff::No }
}

/// Descriptor and map id of a line of three numbers.
fn descriptor(line: &[u8]) -> Option<(u64, u64)> {
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace().map(str::parse::<u64>);
    let (descriptor, id, _, None) = (words.next()?.ok()?, words.next()?.ok()?, words.next()?.ok()?, words.next())
    else {
        return None;
    };
    Some((descriptor, id))
}

fn fact(context: &Context, record: i64, key: String, value: &str, batch: &mut Batch) {
    batch.record(None);
    batch.fact(context, record, &key, value);
}

fn parse_list(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    match serde_json::from_slice::<Vec<Map>>(chunk.bytes) {
        Ok(maps) => {
            maps.iter().for_each(|map| fact(context, chunk.first_line, format!("bpf-map/{}", map.id), &map.name, batch))
        }
        Err(error) => {
            let line = Line { bytes: chunk.bytes, number: chunk.first_line, offset: chunk.offset, ended: true };
            batch.reject(context, &line, &format!("expected an array of BPF maps: {error}"));
        }
    }
}

fn parse_descriptors(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    for line in chunk.lines().filter(|line| !line.bytes.trim_ascii().is_empty()) {
        match descriptor(line.bytes) {
            Some((descriptor, id)) => {
                fact(context, line.number, format!("bpf-map-fd/{descriptor}"), &id.to_string(), batch);
            }
            None => batch.reject(context, &line, "expected descriptor, map id and map type"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{DESCRIPTORS, LIST};
    use crate::form::Sniff;
    use crate::parse::harness::{files, head, parse_text};

    #[test]
    fn takes_only_its_own_files() {
        for (path, bytes) in files(&["captures/cilium-scale-up-1".to_owned()]) {
            for (format, name) in [(&LIST, "bpftool-map-list.json"), (&DESCRIPTORS, "agent-map-fds.tsv")] {
                let expected = if path.ends_with(name) { Sniff::Yes } else { Sniff::No };
                assert_eq!((format.sniff)(&head(&path, &bytes)), expected, "{path}");
                if expected == Sniff::Yes {
                    let batch = parse_text(format, &String::from_utf8_lossy(&bytes));
                    assert!(batch.rejected == 0 && batch.records > 10, "{path}");
                }
            }
        }
    }
}
