//! Pieces are whole records, nothing is lost, and what is too long is named.

use super::cutter::{Cutter, MOST_LINES, Piece};
use crate::form::Cut;
use crate::form::ledger::{CHUNK, SHORTEST_LINES};

fn pieces(text: &[u8], cut: Cut, limit: usize) -> Vec<Piece> {
    let (head, text) = text.split_at(text.len().min(1_000));
    let mut cutter = Cutter::new(head.to_vec(), text, cut, limit);
    std::iter::from_fn(|| cutter.next_piece()).collect()
}

#[test]
fn pieces_are_whole_records_and_nothing_is_lost() {
    let text: Vec<u8> = (0..400_000).flat_map(|n| format!("line {n} of a capture\n").into_bytes()).collect();
    let all = pieces(&text, Cut::Lines, 64 << 20);
    assert!(all.len() > 1);
    assert_eq!(all.iter().flat_map(|piece| piece.bytes.clone()).collect::<Vec<_>>(), text);
    for pair in all.windows(2) {
        assert!(pair[0].bytes.ends_with(b"\n"));
        let lines = pair[0].bytes.iter().filter(|byte| **byte == b'\n').count() as i64;
        assert_eq!(pair[1].first_line, pair[0].first_line + lines);
        assert_eq!(pair[1].offset, pair[0].offset + pair[0].bytes.len() as i64);
    }
    assert!(all.last().expect("one").last && all[0].first);
}

#[test]
fn a_file_that_ends_with_a_chunk_has_a_last_piece() {
    let text = b"0123456\n".repeat(2 * CHUNK / 8);
    let all = pieces(&text, Cut::Lines, 64 << 20);
    assert!(all.iter().all(|piece| !piece.bytes.is_empty()), "an empty piece is handed to no parser");
    assert_eq!(all.iter().filter(|piece| piece.last).count(), 1);
    assert_eq!(all.iter().map(|piece| piece.bytes.len()).sum::<usize>(), text.len());
}

#[test]
fn a_heading_stands_ahead_of_every_piece() {
    let rows: String = (0..600_000).map(|n| format!("{n},200\n")).collect();
    let text = format!("\ntime,status\n{rows}");
    let all = pieces(text.as_bytes(), Cut::Headed, 64 << 20);
    assert!(all.len() > 1);
    let mut found = Vec::new();
    for (number, piece) in all.iter().enumerate() {
        let said = std::str::from_utf8(&piece.bytes).expect("text");
        let mut lines = said.lines().zip(piece.first_line..).skip(usize::from(number == 0));
        assert_eq!(lines.next().map(|(line, _)| line), Some("time,status"));
        for (line, at) in lines {
            assert_eq!(line, format!("{},200", at - 3));
            found.push(at);
        }
        let place = piece.offset as usize + "time,status\n".len();
        assert!(number == 0 || text.as_bytes()[place..].starts_with(&piece.bytes["time,status\n".len()..]));
    }
    assert_eq!(found, (3..600_003).collect::<Vec<i64>>());
}

#[test]
fn a_large_document_is_cut_between_elements() {
    use serde_json::Value;
    let element = |n: usize| format!("{{\n  \"n\": {n}, \"text\": \"a ] \\\" }} , {{ [\", \"of\": [1, [2, {{}}]]\n}}");
    let list = |range: std::ops::Range<usize>| range.map(element).collect::<Vec<_>>().join(",\n ");
    let count = 120_000;
    for (before, after) in [("{\"a\": [1, 2],\n \"data\": {\"result\": [", "], \"more\": 1},\n \"b\": []}"), ("[", "]")]
    {
        let text = format!("{before}{}{after}\n", list(0..count));
        let all = pieces(text.as_bytes(), Cut::Whole, 64 << 20);
        assert!(all.len() > 1);
        let mut found = Vec::new();
        for piece in &all {
            let value: Value = serde_json::from_slice(&piece.bytes).expect("a document");
            let elements = value.pointer("/data/result").unwrap_or(&value).as_array().expect("elements");
            found.extend(elements.iter().map(|one| one["n"].as_u64().expect("a number")));
            // The first whole element stands on its own line of the file.
            let said = std::str::from_utf8(&piece.bytes).expect("text");
            let inner = said.find("\"n\": ").expect("an element");
            let line = piece.first_line + said[..inner].matches('\n').count() as i64;
            let number: u64 = elements[0]["n"].as_u64().expect("a number");
            let expected = 1 + text[..text.find(&format!("\"n\": {number},")).expect("there")].matches('\n').count();
            assert_eq!(line, expected as i64);
        }
        assert_eq!(found, (0..count as u64).collect::<Vec<_>>());
        assert_eq!(all.iter().filter(|piece| piece.last).count(), 1);
    }
    // Documents in a row are cut between two of them.
    let text = (0..count).map(element).collect::<Vec<_>>().join("\n");
    let all = pieces(text.as_bytes(), Cut::Whole, 64 << 20);
    assert!(all.len() > 1);
    let whole = |piece: &Piece| {
        let found: Result<Vec<Value>, _> = serde_json::Deserializer::from_slice(&piece.bytes).into_iter().collect();
        found.expect("documents").len()
    };
    assert_eq!(all.iter().map(whole).sum::<usize>(), count);
    assert_eq!(all.iter().flat_map(|piece| piece.bytes.clone()).collect::<Vec<_>>(), text.as_bytes());
}

#[test]
fn marks_begin_pieces() {
    let text: Vec<u8> =
        (0..300).flat_map(|n| format!("# TIMESTAMP {n}\n{}", "x y z\n".repeat(5_000)).into_bytes()).collect();
    let all = pieces(&text, Cut::Marks("# TIMESTAMP "), 64 << 20);
    assert!(all.len() > 1);
    assert!(all.iter().all(|piece| piece.bytes.starts_with(b"# TIMESTAMP ")));
}

#[test]
fn a_chunk_of_short_lines_has_few_bytes() {
    let text = b"\n".repeat(3 * MOST_LINES + 5);
    for cut in [Cut::Lines, Cut::Headed] {
        let all = pieces(&text, cut, 64 << 20);
        assert_eq!(
            all.iter().map(|piece| piece.bytes.len()).collect::<Vec<_>>(),
            [MOST_LINES, MOST_LINES, MOST_LINES, 5]
        );
        assert_eq!(all.iter().filter(|piece| piece.last).count(), 1);
        assert_eq!(all[3].first_line, 3 * MOST_LINES as i64 + 1);
    }
    // Ahead of a mark, wherever one stands.
    let text = b"# TIMESTAMP 1\n".repeat(2 * MOST_LINES);
    let all = pieces(&text, Cut::Marks("# TIMESTAMP "), 64 << 20);
    assert!(all.len() >= 2 && all.iter().all(|piece| piece.bytes.starts_with(b"# TIMESTAMP 1\n")));
    assert!(all.iter().all(|piece| piece.bytes.len() / 14 <= MOST_LINES));
    assert_eq!(all.iter().flat_map(|piece| piece.bytes.clone()).collect::<Vec<_>>(), text);
    let long = [b"# TIMESTAMP 1\n".as_slice(), &b"\n".repeat(MOST_LINES + 9), b"# TIMESTAMP 2\nx\n"].concat();
    let all = pieces(&long, Cut::Marks("# TIMESTAMP "), 64 << 20);
    assert_eq!(all.iter().map(|piece| piece.bytes.len()).collect::<Vec<_>>(), [long.len() - 16, 16]);
}

#[test]
fn a_long_record_is_a_chunk_by_itself() {
    let line = [&b"x".repeat(2 * CHUNK)[..], b"\nb\nc\n"].concat();
    let all = pieces(&[b"a\n", &line[..]].concat(), Cut::Lines, 64 << 20);
    assert_eq!(all.iter().map(|piece| piece.bytes.len()).collect::<Vec<_>>(), [2, 2 * CHUNK + 1, 4]);
}

#[test]
fn a_record_of_more_lines_than_its_bytes_may_have_is_skipped_and_named() {
    let most = CHUNK / SHORTEST_LINES;
    let lines = b"\n".repeat(most + 1);
    let document = [b"{\"a\":".as_slice(), &lines, b"1}"].concat();
    let all = pieces(&document, Cut::Whole, CHUNK);
    assert_eq!(all.iter().map(|piece| (piece.bytes.len(), piece.skipped.len())).collect::<Vec<_>>(), [(0, 1)]);
    assert_eq!(all[0].skipped[0].length, document.len() as u64);
    let stream = [b"# TIMESTAMP 1\na\n# TIMESTAMP 2\n".as_slice(), &lines, b"# TIMESTAMP 3\nb\n"].concat();
    let all = pieces(&stream, Cut::Marks("# TIMESTAMP "), CHUNK);
    let kept: Vec<u8> = all.iter().flat_map(|piece| piece.bytes.clone()).collect();
    assert_eq!(kept, b"# TIMESTAMP 1\na\n# TIMESTAMP 3\nb\n");
    let skipped: Vec<i64> = all.iter().flat_map(|piece| piece.skipped.iter().map(|one| one.line)).collect();
    assert_eq!(skipped, [3]);
}

#[test]
fn of_two_records_beyond_the_limit_both_are_named() {
    let mut text = Vec::new();
    for _ in 0..2 {
        text.extend(vec![b'x'; 2 * CHUNK]);
        text.push(b'\n');
    }
    text.extend(b"last\n");
    let all = pieces(&text, Cut::Lines, CHUNK);
    let lines: Vec<i64> = all.iter().flat_map(|piece| piece.skipped.iter().map(|one| one.line)).collect();
    assert_eq!(lines, [1, 2]);
}

#[test]
fn a_record_beyond_the_limit_is_skipped_and_named() {
    let mut text = b"first\n".to_vec();
    text.extend(vec![b'x'; 3 * CHUNK]);
    text.extend(b"\nlast\n");
    let all = pieces(&text, Cut::Lines, CHUNK);
    let kept: Vec<u8> = all.iter().flat_map(|piece| piece.bytes.clone()).collect();
    assert_eq!(kept, b"first\nlast\n");
    assert_eq!(
        all.iter().flat_map(|piece| piece.skipped.iter().map(|one| (one.line, one.offset))).collect::<Vec<_>>(),
        [(2, 6)]
    );
}
