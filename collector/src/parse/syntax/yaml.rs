//! YAML as `kubectl get -o yaml` and sysdumps write it, piece by piece as JSON.
//!
//! ```text
//! apiVersion: v1
//! items:
//! - apiVersion: v1          ← a piece
//!   kind: Service
//! - apiVersion: v1          ← a piece
//!   kind: Service
//! kind: List
//! ```
//!
//! Documents are cut at `---`, lists at their items, so that damage in one item costs that item, and no more than one is
//! held as a tree. Each piece goes on as JSON text: whatever reads objects reads both notations.

use serde_json::Value;

/// One document, or one item of a list.
pub struct Piece<'a> {
    /// Its text.
    pub text: &'a [u8],
    /// Number of its first line within the file, from 1, and its offset.
    pub line: i64,
    pub offset: usize,
    /// JSON, or what was expected.
    pub json: Result<Vec<u8>, String>,
    /// Kind of the list that it is an item of, without `List`.
    pub list_kind: String,
}

/// Bytes of a piece at most.
const LONGEST: usize = 8 << 20;

/// Whether a text may be YAML documents with these keys at the left margin, all of them.
pub fn has_keys(text: &[u8], keys: &[&str]) -> bool {
    let begins = text.trim_ascii_start().first();
    begins.is_some_and(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'-' | b'#' | b'%'))
        && keys.iter().all(|key| {
            text.split(|byte| *byte == b'\n')
                .any(|line| line.strip_prefix(key.as_bytes()).is_some_and(|rest| rest.starts_with(b":")))
        })
}

/// Every piece of a text, in order; `take` gets one after the other.
pub fn pieces<'a>(text: &'a [u8], first_line: i64, mut take: impl FnMut(Piece<'a>)) {
    let mut document = (0, first_line);
    let mut at = 0;
    for (line, part) in (first_line..).zip(text.split_inclusive(|byte| *byte == b'\n')) {
        if part.trim_ascii_end() == b"---" || part.starts_with(b"--- ") {
            one_document(&text[document.0..at], document.0, document.1, &mut take);
            document = (at + part.len(), line + 1);
        }
        at += part.len();
    }
    one_document(&text[document.0..], document.0, document.1, &mut take);
}

fn one_document<'a>(text: &'a [u8], offset: usize, first_line: i64, take: &mut impl FnMut(Piece<'a>)) {
    let says_nothing = |line: &[u8]| {
        let line = line.trim_ascii();
        line.is_empty() || line.starts_with(b"#") || line == b"..."
    };
    if text.split(|byte| *byte == b'\n').all(says_nothing) {
        return;
    }
    let mut starts: Vec<(usize, i64)> = Vec::new();
    let mut kind = "";
    let (mut at, mut in_items, mut indent) = (0, false, None);
    let mut end = text.len();
    for (number, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let blanks = line.iter().take_while(|byte| **byte == b' ').count();
        let at_margin = blanks == 0 && line.first().is_some_and(u8::is_ascii_alphabetic);
        if at_margin {
            if in_items {
                end = at;
            }
            in_items = line.trim_ascii_end() == b"items:";
            if let Some(name) = line.strip_prefix(b"kind:") {
                kind = std::str::from_utf8(name.trim_ascii()).unwrap_or_default();
            }
        } else if in_items && line[blanks..].starts_with(b"- ") && indent.is_none_or(|indent| indent == blanks) {
            indent = Some(blanks);
            starts.push((at, first_line + number as i64));
        }
        at += line.len();
    }
    let list_kind = kind.strip_suffix("List").unwrap_or_default().to_owned();
    if starts.is_empty() {
        let json = to_json(text);
        take(Piece { text, line: first_line, offset, json, list_kind: String::new() });
        return;
    }
    for (index, (start, line)) in starts.iter().enumerate() {
        let stop = starts.get(index + 1).map_or(end.max(*start), |next| next.0);
        let item = &text[*start..stop];
        let blanks = item.iter().take_while(|byte| **byte == b' ').count();
        let mut plain = item.to_vec();
        plain[blanks] = b' ';
        take(Piece {
            text: item,
            line: *line,
            offset: offset + start,
            json: to_json(&plain),
            list_kind: list_kind.clone(),
        });
    }
}

/// One YAML document as JSON.
///
/// # Errors
/// What was expected and did not stand there.
pub fn to_json(text: &[u8]) -> Result<Vec<u8>, String> {
    if text.len() > LONGEST {
        return Err(format!("expected YAML of {LONGEST} bytes at most, found {}", text.len()));
    }
    let text = std::str::from_utf8(text).map_err(|error| format!("expected YAML in UTF-8: {error}"))?;
    let value: Value = serde_saphyr::from_str(text).map_err(|error| {
        let said = error.to_string();
        format!("expected YAML: {}", said.lines().next().unwrap_or_default())
    })?;
    serde_json::to_vec(&value).map_err(|error| format!("expected YAML that JSON can hold: {error}"))
}

#[cfg(test)]
mod tests {
    use super::{has_keys, pieces};

    fn found(text: &str) -> Vec<(i64, String, bool)> {
        let mut found = Vec::new();
        pieces(text.as_bytes(), 1, |piece| {
            let json = piece.json.map(|json| String::from_utf8(json).expect("text"));
            found.push((piece.line, json.clone().unwrap_or_default(), json.is_ok()));
        });
        found
    }

    #[test]
    fn lists_are_cut_at_their_items() {
        let text = "---\napiVersion: v1\nitems:\n- kind: Service\n  spec:\n    ports:\n    - port: 80\n- kind: Pod\n  metadata: {}\nkind: List\n";
        assert_eq!(
            found(text),
            [
                (4, r#"{"kind":"Service","spec":{"ports":[{"port":80}]}}"#.to_owned(), true),
                (8, r#"{"kind":"Pod","metadata":{}}"#.to_owned(), true)
            ]
        );
        assert!(has_keys(text.as_bytes(), &["apiVersion", "items"]) && !has_keys(b"{\"items\": 1}", &["items"]));
    }

    #[test]
    fn damage_in_an_item_costs_that_item() {
        let text = "items:\n  - a: 1\n  - b: [\n  - c: 3\nkind: PodList\n";
        let ok: Vec<bool> = found(text).into_iter().map(|(_, _, ok)| ok).collect();
        assert_eq!(ok, [true, false, true]);
        for broken in ["---", "items:", "items:\n- ", "a: &a [*a, *a]\n", "\u{feff}a: 1", "- \n-\n", ": : :"] {
            found(broken);
        }
    }

    #[test]
    fn documents_and_times_are_kept_as_they_stand() {
        let text = "# a comment\n---\nkind: Event\nwhen: 2021-08-03T09:20:26Z\nversion: \"22309\"\n---\nkind: Pod\n";
        let found = found(text);
        assert_eq!(found[0].1, r#"{"kind":"Event","version":"22309","when":"2021-08-03T09:20:26Z"}"#);
        assert_eq!(found[1].0, 7);
    }
}
