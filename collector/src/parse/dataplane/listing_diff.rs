//! A unified diff of two listings of a dataplane (`diff -u before.txt after.txt`).
//!
//! ```text
//! --- iptables-before.txt 2026-11-26 09:41:17.909210369 +0000
//! +++ iptables-after.txt  2026-11-26 09:41:41.457141711 +0000
//! @@ -1,3 +1,3 @@
//!  Chain KUBE-SERVICES (2 references)
//! -    2218   133540 KUBE-SVC-AAAAAAAAAAAAAAAA  6    --  …
//! +    2230   134260 KUBE-SVC-AAAAAAAAAAAAAAAA  6    --  …
//! ```
//!
//! Both states are put together from what it shows. diff prints when each file was last written: when its listing ended. It shows
//! what changed and a few lines around it, so neither state is complete.

use syncline_schema::clock::ClockToken;
use syncline_schema::loss::{DIFF_OF_LISTINGS, NO_TIME};

use crate::form::dissector::Dissector;
use crate::form::stamp::{self, Dating, Stamp};
use crate::form::{Batch, Chunk, Context, Cut, Format, Head, RawSnapshot, Reads, Sniff};
use crate::parse::dataplane::{
    cilium_lb_list, cilium_service_list, ipset, iptables_list, iptables_save, ipvsadm, nft_text,
};

/// The format.
pub const FORMAT: Format = Format {
    kind: "listing-diff",
    title: "a unified diff of two listings",
    clock: ClockToken::Node,
    cut: Cut::Whole,
    sniff,
    reads: Reads::Rows(parse),
    sample: "--- before.txt\t2026-11-26 09:41:17.909210369 +0000\n+++ after.txt\t2026-11-26 09:41:41.457141711 +0000\n@@ -1,3 +1,3 @@\n Chain KUBE-SVC-A (1 references)\n target     prot opt source               destination\n-KUBE-SEP-A  all  --  0.0.0.0/0            0.0.0.0/0            /* default/test:http -> 10.0.0.1:8080 */\n+KUBE-SEP-B  all  --  0.0.0.0/0            0.0.0.0/0            /* default/test:http -> 10.0.0.2:8080 */\n",
    recognised: "lines `--- `, `+++ ` and `@@ ` ahead of lines of a listing that is read by itself",
    capture: "diff -u before.txt after.txt (better: give the two files)",
    proves: "what one listing had and the other had not",
};

/// Listings of which a part is a listing still.
const LISTINGS: [&Format; 7] = [
    &cilium_lb_list::FORMAT,
    &cilium_service_list::FORMAT,
    &iptables_save::FORMAT,
    &iptables_list::FORMAT,
    &ipvsadm::FORMAT,
    &ipset::FORMAT,
    &nft_text::FORMAT,
];

/// One side of a diff.
#[derive(Default)]
struct Side {
    stamp: Option<Stamp>,
    text: Vec<u8>,
    /// Line of the diff where its first line stands.
    first_line: i64,
}

impl Side {
    fn push(&mut self, line: &[u8], number: i64) {
        if self.text.is_empty() {
            self.first_line = number;
        }
        self.text.extend_from_slice(line);
        self.text.push(b'\n');
    }
}

/// Both sides of the first diff in a text, and how many lines belong to none.
fn sides(bytes: &[u8]) -> Option<(Side, Side, u64)> {
    let (mut old, mut new, mut strange) = (Side::default(), Side::default(), 0);
    let (mut heads, mut in_hunk) = (0, false);
    let chunk = Chunk { bytes, first_line: 1, offset: 0, first: true, last: true, truncated: false, around: None };
    for line in chunk.lines() {
        let bytes = line.bytes;
        if !in_hunk && (bytes.starts_with(b"--- ") || bytes.starts_with(b"+++ ")) {
            let text = String::from_utf8_lossy(&bytes[4..]);
            let stamp = text.split_once('\t').and_then(|(_, when)| stamp::line(when.trim().as_bytes()));
            let side = if bytes[0] == b'-' { &mut old } else { &mut new };
            side.stamp = stamp;
            heads += 1;
        } else if bytes.starts_with(b"@@ -") && heads == 2 {
            in_hunk = true;
        } else if in_hunk {
            match bytes.first() {
                Some(b'-') => old.push(&bytes[1..], line.number),
                Some(b'+') => new.push(&bytes[1..], line.number),
                Some(b' ') | None => {
                    let rest = bytes.get(1..).unwrap_or_default();
                    old.push(rest, line.number);
                    new.push(rest, line.number);
                }
                // `\\ No newline at end of file`
                Some(b'\\') => {}
                Some(_) => strange += 1,
            }
        } else if !bytes.starts_with(b"diff ") && !bytes.starts_with(b"index ") && !bytes.trim_ascii().is_empty() {
            strange += 1;
        }
    }
    (heads == 2 && in_hunk).then_some((old, new, strange))
}

/// What the sides are listings of.
fn dissector(old: &Side, new: &Side) -> Option<&'static Dissector> {
    let of = |side: &Side| {
        let head = Head { path: "", bytes: &side.text, whole: true };
        LISTINGS.into_iter().find(|format| (format.sniff)(&head) == Sniff::Yes)
    };
    match of(new).or_else(|| of(old))?.reads {
        Reads::State(dissector) => Some(dissector),
        Reads::Rows(_) => None,
    }
}

fn sniff(head: &Head) -> Sniff {
    if !head.bytes.starts_with(b"--- ") && !head.bytes.starts_with(b"diff ") {
        return Sniff::No;
    }
    let found = sides(head.bytes).and_then(|(old, new, _)| dissector(&old, &new));
    if found.is_some() { Sniff::Yes } else { Sniff::No }
}

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    let Some((old, new, strange)) = sides(chunk.bytes) else { return };
    let Some(dissector) = dissector(&old, &new) else { return };
    batch.loss(DIFF_OF_LISTINGS, 1);
    if strange > 0 {
        batch.loss(syncline_schema::loss::NOT_UNDERSTOOD, strange);
    }
    let dating = Dating { year: context.year, utc_offset: context.utc_offset, span: None };
    for (number, side) in [old, new].into_iter().enumerate() {
        let time = side.stamp.and_then(|stamp| stamp.time(&dating));
        if time.is_none() {
            batch.loss(NO_TIME, 1);
        }
        batch.record(time);
        batch.snapshots.push(RawSnapshot {
            dissector,
            record: chunk.first_line + number as i64,
            first_line: chunk.first_line + side.first_line - 1,
            time,
            resolution: side.stamp.filter(|_| time.is_some()).map(|stamp| stamp.resolution).filter(|unit| *unit > 1),
            until: None,
            unchanged: false,
            time_from: if time.is_some() { "stamp" } else { "none" },
            text: side.text,
            complete: false,
            around: None,
            series: None,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::FORMAT;
    use crate::form::Sniff;
    use crate::parse::harness::{head, parse_text};

    #[test]
    fn both_states_and_their_times_are_read() {
        assert_eq!((FORMAT.sniff)(&head("x.diff", FORMAT.sample.as_bytes())), Sniff::Yes);
        let batch = parse_text(&FORMAT, FORMAT.sample);
        let texts: Vec<String> =
            batch.snapshots.iter().map(|one| String::from_utf8_lossy(&one.text).into_owned()).collect();
        assert!(texts[0].contains("KUBE-SEP-A") && !texts[0].contains("KUBE-SEP-B"), "{texts:?}");
        assert!(texts[1].contains("KUBE-SEP-B") && !texts[1].contains("KUBE-SEP-A"), "{texts:?}");
        assert_eq!(batch.snapshots[0].time, Some(1_795_686_077_909_210_369));
        assert!(batch.snapshots.iter().all(|one| !one.complete));
        let other = "--- a.txt\n+++ b.txt\n@@ -1 +1 @@\n-apples\n+pears\n";
        assert_eq!((FORMAT.sniff)(&head("x.diff", other.as_bytes())), Sniff::No);
    }
}
