//! Records of comma-separated text: quoted cells with doubled quotes, cells over several lines. Where the first line has no
//! comma, semicolons (spreadsheets where the comma is the decimal mark) or tabs separate.

use super::line::{Chunk, Line};

/// One record.
pub struct Record<'a> {
    /// Where it begins; its bytes are the whole record without the last line end.
    pub line: Line<'a>,
    /// Its cells without quotes.
    pub cells: Vec<String>,
}

/// All records of a chunk. A quote that is never closed ends with its line.
pub fn records<'a>(chunk: &Chunk<'a>) -> Vec<Record<'a>> {
    let bytes = chunk.bytes;
    let separator = separator(bytes);
    let mut found = Vec::new();
    let (mut at, mut number) = (0, chunk.first_line);
    while at < bytes.len() {
        let (end, cells) = record(bytes, at, separator);
        let text = bytes[at..end].strip_suffix(b"\r").unwrap_or(&bytes[at..end]);
        let ended = end < bytes.len();
        if !text.trim_ascii().is_empty() {
            let line = Line { bytes: text, number, offset: chunk.offset + at as i64, ended };
            found.push(Record { line, cells });
        }
        number += memchr::memchr_iter(b'\n', &bytes[at..(end + 1).min(bytes.len())]).count() as i64;
        at = end + 1;
    }
    found
}

/// What separates the cells of a text, by its first line.
pub fn separator(bytes: &[u8]) -> u8 {
    let first = bytes.split(|byte| *byte == b'\n').find(|line| !line.trim_ascii().is_empty()).unwrap_or_default();
    let other = || [b';', b'\t'].into_iter().find(|mark| first.contains(mark));
    if first.contains(&b',') { b',' } else { other().unwrap_or(b',') }
}

/// The cells of one record.
pub fn cells(bytes: &[u8], separator: u8) -> Vec<String> {
    record(bytes, 0, separator).1
}

/// Where the record that begins at `from` ends (at its line end), and its cells.
fn record(bytes: &[u8], from: usize, separator: u8) -> (usize, Vec<String>) {
    let mut cells = Vec::new();
    let mut cell = Vec::new();
    let mut quoted = false;
    let mut at = from;
    loop {
        match bytes.get(at) {
            None => {
                if quoted {
                    // Never closed: the record is its first line, as it stands.
                    let end = memchr::memchr(b'\n', &bytes[from..]).map_or(bytes.len(), |length| from + length);
                    return (end, vec![String::from_utf8_lossy(&bytes[from..end]).into_owned()]);
                }
                break;
            }
            Some(b'"') if quoted && bytes.get(at + 1) == Some(&b'"') => {
                cell.push(b'"');
                at += 1;
            }
            Some(b'"') => quoted = !quoted,
            Some(byte) if *byte == separator && !quoted => cells.push(text(&mut cell)),
            Some(b'\n') if !quoted => break,
            Some(byte) => cell.push(*byte),
        }
        at += 1;
    }
    if cell.last() == Some(&b'\r') {
        cell.pop();
    }
    cells.push(text(&mut cell));
    (at, cells)
}

fn text(cell: &mut Vec<u8>) -> String {
    String::from_utf8_lossy(&std::mem::take(cell)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::records;
    use crate::form::Chunk;

    fn whole(bytes: &[u8]) -> Chunk<'_> {
        Chunk { bytes, first_line: 1, offset: 0, first: true, last: true, truncated: false, around: None }
    }

    #[test]
    fn quotes_hold_commas_line_ends_and_quotes() {
        let found = records(&whole(b"a,b\r\n1,\"x, \"\"y\"\"\nz\"\n\n3,\n"));
        let cells: Vec<Vec<String>> = found.iter().map(|record| record.cells.clone()).collect();
        assert_eq!(cells, [vec!["a", "b"], vec!["1", "x, \"y\"\nz"], vec!["3", ""]]);
        assert_eq!(found.iter().map(|record| record.line.number).collect::<Vec<_>>(), [1, 2, 5]);
        let found = records(&whole(b"a;b\n1,5;2\n"));
        assert_eq!(found[1].cells, ["1,5", "2"]);
    }

    #[test]
    fn a_quote_that_is_never_closed_costs_its_line() {
        let found = records(&whole(b"a,\"b\nc,d\n"));
        assert_eq!(found.len(), 2);
        assert_eq!(found[1].cells, ["c", "d"]);
    }
}
