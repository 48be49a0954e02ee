//! Snapshots are rebuilt from what was written, and states fit what there is.

use super::snapshots::{Encoded, Encoder, PIECE};
use super::tables::Tables;
use crate::form::dissector::{Counters, Dissector, End, RuleFields};
use crate::form::file_series::FileSeries;
use crate::form::ledger::{Full, Ledger};
use crate::form::{Context, RawSnapshot, Reads};
use crate::write::integrity::Whole;

fn counters(piece: &[u8]) -> Counters {
    let end = piece.iter().position(|byte| *byte == b']');
    let colon = piece.iter().position(|byte| *byte == b':');
    match (piece.first(), colon, end) {
        (Some(b'['), Some(colon), Some(end)) if colon < end => {
            Counters { packets: Some(1..colon), bytes: Some(colon + 1..end) }
        }
        _ => Counters::default(),
    }
}

const LINES: Dissector = Dissector {
    knows: |_| true,
    again: |_| Vec::new(),
    rounded: |_| 0,
    format: "test",
    end: |_| End::Marked,
    split: crate::form::dissector::lines,
    section: |section, piece| {
        if piece.starts_with(b"*") {
            *section = String::from_utf8_lossy(piece).into_owned();
        }
    },
    counters,
    fields: |_, _, _| RuleFields { kind: "rule", ..Default::default() },
};

fn context(source: i32) -> Context {
    Context {
        source,
        path: "x".to_owned(),
        clock: "node".to_owned(),
        node: "node".to_owned(),
        year: None,
        utc_offset: None,
        mtime: None,
    }
}

fn snapshot(text: &[u8], dissector: &'static Dissector) -> RawSnapshot {
    RawSnapshot {
        dissector,
        record: 1,
        first_line: 1,
        time: None,
        resolution: None,
        until: None,
        unchanged: false,
        time_from: "none",
        text: text.to_vec(),
        complete: true,
        around: None,
        series: None,
    }
}

#[test]
fn a_state_that_does_not_fit_is_refused_with_the_looks_that_found_it_unchanged() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut tables = Tables::new(folder.path());
    let ledger = Ledger::new(100 * PIECE);
    let mut encoder = Encoder::new(ledger.clone());
    let mut encode = |text: &[u8]| {
        let unchanged = RawSnapshot { unchanged: true, ..snapshot(b"", &LINES) };
        let one = if text.is_empty() { unchanged } else { snapshot(text, &LINES) };
        encoder.encode(&context(0), &one, &mut tables).expect("written")
    };
    let refused = Encoded::Refused(Full { total: 100 * PIECE });
    assert_eq!(encode(b"a\nb\n"), Encoded::In(0));
    assert_eq!(encode(b""), Encoded::In(0));
    assert_eq!(encode(&b"\n".repeat(200)), refused);
    assert_eq!(encode(b""), refused, "nobody knows what it was like then");
    assert_eq!(encode(&b"c\n".repeat(3)), Encoded::In(0));
    assert_eq!(encode(b""), Encoded::In(0));
    encoder.end();
    assert_eq!(ledger.taken(), 0, "what a source had goes with it");
    tables.close().expect("closed");
    let again = crate::write::rebuild::snapshot(folder.path(), &Whole::default(), 0, 2).expect("rebuilt");
    assert_eq!(again, b"c\nc\nc\n");
}

#[test]
fn series_of_files_make_room_for_each_other_and_say_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut tables = Tables::new(folder.path());
    let mut encoder = Encoder::new(Ledger::new(45 * PIECE));
    let mut encode = |stem: &str, source: i32| {
        let series = Some(FileSeries { stem: stem.to_owned(), number: None });
        let one = RawSnapshot { series, time: Some(i64::from(source)), ..snapshot(&b"a\n".repeat(20), &LINES) };
        let encoded = encoder.encode(&context(source), &one, &mut tables).expect("written");
        encoder.end();
        encoded
    };
    assert_eq!(encode("a", 0), Encoded::In(0));
    assert_eq!(encode("b", 1), Encoded::In(1));
    assert_eq!(encode("b", 2), Encoded::In(1), "it was not forgotten");
    assert_eq!(encode("a", 3), Encoded::Anew(3));
}

#[test]
fn a_long_section_is_no_part_of_every_rule() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut tables = Tables::new(folder.path());
    let ledger = Ledger::new(8 << 20);
    let mut encoder = Encoder::new(ledger.clone());
    let mut text = b"*".to_vec();
    text.extend(b"x".repeat(1 << 20));
    (0..1_000).for_each(|number| text.extend(format!("\n{number}").into_bytes()));
    let encoded = encoder.encode(&context(0), &snapshot(&text, &LINES), &mut tables).expect("written");
    assert_eq!(encoded, Encoded::In(0));
    assert!(ledger.taken() < 3 << 20, "{}", ledger.taken());
}

#[test]
fn every_snapshot_of_a_real_stream_is_rebuilt() {
    rebuilds("iptables-scale-up-1/iptables/nat-save.stream.zst", &LINES);
}

#[test]
fn every_snapshot_of_nftables_is_rebuilt() {
    for (stream, format) in [
        ("nftables-rolling-restart-1/nft/table-kube-proxy.json.stream.zst", "nft-json"),
        ("nftables-rolling-restart-1/nft/ruleset.stream.zst", "nft-text"),
        ("nftables-rolling-restart-1/nft/chain-default-test.stream.zst", "nft-text"),
    ] {
        let one = crate::parse::FORMATS.iter().find(|one| one.kind == format).expect("a format");
        let Reads::State(dissector) = one.reads else { panic!("{format} is a state") };
        rebuilds(stream, dissector);
    }
}

fn rebuilds(stream: &str, dissector: &'static Dissector) {
    let stream = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../sample-data").join(stream);
    let text = zstd::decode_all(std::fs::File::open(&stream).expect("a sample")).expect("decompressed");
    let mark = b"# TIMESTAMP ";
    let mut starts: Vec<usize> = memchr::memmem::find_iter(&text, mark).collect();
    starts.push(text.len());
    let mut states: Vec<Vec<u8>> = starts.windows(2).map(|pair| text[pair[0]..pair[1]].to_vec()).collect();
    // Bytes that are no text, an empty state, and a state that begins anew.
    states.extend([b"[1:2] \xff\x01 a\n\n\r\n".to_vec(), Vec::new(), states[0].clone()]);
    assert!(states.len() > 10);
    let folder = tempfile::tempdir().expect("a folder");
    let mut tables = Tables::new(folder.path());
    let mut encoder = Encoder::new(Ledger::new(64 << 20));
    for state in &states {
        encoder.encode(&context(0), &snapshot(state, dissector), &mut tables).expect("encoded");
    }
    tables.close().expect("closed");
    for number in [0, 1, states.len() / 2, states.len() - 4, states.len() - 3, states.len() - 2, states.len() - 1] {
        let again =
            crate::write::rebuild::snapshot(folder.path(), &Whole::default(), 0, number as i64).expect("rebuilt");
        assert!(again == states[number], "snapshot {number} differs");
    }
}
