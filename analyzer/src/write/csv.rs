//! Cells of comma-separated values (RFC 4180), as a spreadsheet opens them: captured text is never a formula.
//!
//! | cell | becomes |
//! |---|---|
//! | text that begins with `=`, `+`, `-`, `@`, a tab or a line end (also their full-width forms, also behind blanks) | `'` ahead of it |
//! | text with a comma, a quote or a line end | in quotes |
//! | what cannot be seen, or drives a terminal | its escape |
//! | a number | itself |

use syncline_schema::printable::printable;

/// A cell of captured or given text, in quotes where it needs them.
pub fn text(text: &str) -> String {
    quoted(inert(text))
}

/// Text that no spreadsheet takes for a formula.
fn inert(text: &str) -> String {
    // A spreadsheet drops blanks ahead of a cell, some of them invisible ones.
    let first = text.trim_start_matches([' ', '\u{a0}', '\u{feff}']).chars().next();
    let formula = first.is_some_and(|c| "=+-@\t\r\n＝＋－＠".contains(c));
    let shown = printable(text);
    if formula { format!("'{shown}") } else { shown.into_owned() }
}

/// A cell of this program's own making, as a number.
pub fn plain(text: &str) -> String {
    quoted(printable(text).into_owned())
}

/// A cell of a value: text is in quotes, whatever stands in it, numbers are numbers.
pub fn of_json(value: &serde_json::Value) -> String {
    match value.as_str() {
        Some(text) => format!("\"{}\"", inert(text).replace('"', "\"\"")),
        None => plain(&value.to_string()),
    }
}

fn quoted(text: String) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_is_a_formula() {
        for (cell, written) in [
            ("up", "up"),
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-2", "'-2"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\\t=1"),
            ("\r=1", "'\\r=1"),
            ("  =1", "'  =1"),
            ("\u{feff}=1", "'\\u{feff}=1"),
            ("＝1", "'＝1"),
            ("=HYPERLINK(\"http://x\",\"y\")", "\"'=HYPERLINK(\"\"http://x\"\",\"\"y\"\")\""),
            ("a,b", "\"a,b\""),
            ("a\nb", "a\\nb"),
            ("\u{1b}[2J\u{202e}", "\\u{1b}[2J\\u{202e}"),
        ] {
            assert_eq!(text(cell), written);
        }
    }

    #[test]
    fn numbers_stay_numbers() {
        assert_eq!(plain("-5"), "-5");
        assert_eq!(plain("+Inf"), "+Inf");
        assert_eq!(of_json(&serde_json::json!(-5)), "-5");
        assert_eq!(of_json(&serde_json::json!(null)), "null");
        assert_eq!(of_json(&serde_json::json!("-5")), "\"'-5\"");
    }
}
