//! What is found, however the text comes in and whatever is damaged; what is held meanwhile.

use super::{Piece, Scan};
use crate::form::Place;

const PATHS: &[&str] = &["", "[]", "events[]", "data.result[].values[]"];
const SAMPLES: [&str; 5] = [
    "{\"log\":\"a \\\"b\\\"\\n\",\"stream\":\"stderr\"}\n{\"log\":\"c\"}\nplain\n\n{\"log\":\"d\"}\n",
    "{\n  \"events\": [\n    {\n      \"timestamp\": 1,\n      \"message\": \"x\"\n    },\n    {\n      \"timestamp\": 2,\n      \"message\": \"y\"\n    }\n  ],\n  \"next\": \"z\"\n}\n",
    "{\"status\":\"success\",\"data\":{\"result\":[{\"stream\":{\"a\":\"b\"},\"values\":[[\"1\",\"x\"],[\"2\",\"y\"]]},{\"stream\":{},\"values\":[[\"3\",\"z\"]]}]}}\n",
    "[{\"a\":{\"b\":[1,2,{\"c\":\"d\"}]}},{\"a\":1},\n{\"a\":2}\n]\n",
    "{\"events\":[{\"message\":\"x\"},{\"message\":\"y\"}]}\n{\"events\":[{\"message\":\"z\"}]}",
];

/// What is found, with its line; texts are told from entries.
fn found(parts: &[&[u8]], by_bytes: bool) -> Vec<(i64, char, String)> {
    let mut scan = Scan::new(PATHS, 1 << 20);
    let mut found = Vec::new();
    let mut take = |piece: Piece<'_>, place: Place, _: &super::Context| {
        let (kind, text) = match piece {
            Piece::Entry { json, .. } => {
                if serde_json::from_slice::<serde::de::IgnoredAny>(json).is_err() {
                    return false;
                }
                ('e', json)
            }
            Piece::Line { text, .. } => ('l', text),
            Piece::Damaged { text, .. } => ('d', text),
        };
        found.push((place.line, kind, String::from_utf8_lossy(text).into_owned()));
        kind != 'l'
    };
    for (at, part) in parts.iter().enumerate() {
        if by_bytes {
            scan.bytes(part, &mut take);
        } else {
            let ended = part.ends_with(b"\n");
            let line = part.strip_suffix(b"\n").unwrap_or(part);
            scan.line(line, ended, Place::bare(at as i64 + 1, 0), &mut take);
        }
    }
    scan.end(by_bytes, &mut take);
    found
}

/// A small generator: the same damage on every run.
fn next(state: &mut u64) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize
}

#[test]
fn what_is_found_does_not_depend_on_how_the_text_comes_in() {
    let mut state = 5;
    for round in 0..4_000 {
        let mut text = SAMPLES[round % SAMPLES.len()].repeat(1 + round % 3).into_bytes();
        for _ in 0..round / SAMPLES.len() % 4 {
            let place = next(&mut state) % text.len();
            match next(&mut state) % 4 {
                0 => text.truncate(place.max(1)),
                1 => {
                    text.remove(place);
                }
                2 => text[place] = b"\"\\\n[]{}:, x"[next(&mut state) % 11],
                _ => text.insert(place, b"\"\\\n[]{}:, x"[next(&mut state) % 11]),
            }
            if text.is_empty() {
                text.push(b'x');
            }
        }
        let shown = String::from_utf8_lossy(&text).into_owned();
        let whole = found(&[&text], true);
        let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
        assert_eq!(found(&lines, false), whole, "line by line: {shown}");
        for size in [1, 7] {
            let parts: Vec<&[u8]> = text.chunks(size).collect();
            assert_eq!(found(&parts, true), whole, "{size} bytes at once: {shown}");
        }
    }
}

#[test]
fn damage_takes_no_time() {
    // Each entry breaks off, none is ever closed: every byte is looked at a few times at most.
    for broken in ["{\"a\":1,\"b\":[", "{\"a\":\"x", "{\"events\":[{\"a\":", "[[{"] {
        let text = broken.repeat(200_000);
        assert!(!found(&[text.as_bytes()], true).is_empty(), "{broken}");
    }
    // Each of these goes on for long before it breaks off.
    let text = format!("{{\"a\":[{}", "1,".repeat(2_000)).repeat(1_000);
    assert!(!found(&[text.as_bytes()], true).is_empty());
}

#[test]
fn what_is_held_is_bounded_by_bytes_and_lines() {
    let mut scan = Scan::new(PATHS, 1 << 20);
    let mut given = 0;
    let mut take = |piece: Piece<'_>, _: Place, _: &super::Context| {
        given += match piece {
            Piece::Entry { json: text, .. } | Piece::Line { text, .. } | Piece::Damaged { text, .. } => text.len(),
        };
        false
    };
    // Blanks behind a bracket, line ends within an entry, values ahead of the entries.
    scan.bytes(b"{\"a\":1}\n{", &mut take);
    for part in [&b" ".repeat(4 << 10)[..], &b"{\"a\":[\n"[..], &b"\n".repeat(4 << 10)[..]] {
        for _ in 0..2_000 {
            scan.bytes(part, &mut take);
            assert!(scan.text.len() <= (1 << 20) + (64 << 10), "{}", scan.text.len());
            assert!(
                scan.lines.len() <= (1 << 20) / crate::form::ledger::SHORTEST_LINES + (8 << 10),
                "{}",
                scan.lines.len()
            );
        }
    }
    let mut scan = Scan::new(PATHS, 1 << 20);
    scan.bytes(b"{\"data\":{\"result\":[{", &mut take);
    for number in 0..10_000 {
        scan.bytes(format!("\"k{number}\":\"{}\",", "x".repeat(100)).as_bytes(), &mut take);
    }
    scan.bytes(b"\"values\":[[\"1\",\"x\"]]", &mut take);
    assert!(scan.context.0.len() <= super::MOST_VALUES);
}

#[test]
fn a_bracket_without_a_key_ahead_of_it_is_damage() {
    // Ahead of it something else was given away, or nothing.
    for ahead in ["", "x\n", "{\"log\":\"a\"}\n"] {
        for bracket in ["{:[", "{: [\n 6\n{\n: [", "{:{", "{[", "{,["] {
            let text = format!("{ahead}{bracket}");
            let parts: Vec<&[u8]> = text.as_bytes().split_inclusive(|byte| *byte == b'\n').collect();
            for by_bytes in [false, true] {
                let found = found(&parts, by_bytes);
                assert!(found.iter().any(|(_, kind, _)| matches!(kind, 'd' | 'l')), "{text}: {found:?}");
            }
        }
    }
}
