//! A piece of a snapshot without its counters, so that a rule whose packets were counted is still the same rule. `rebuild` writes it
//! again as it stood.

use syncline_schema::dataplane::COUNTER;

use super::rebuild::{WIDEST, padded};
use crate::form::dissector::Counters;

/// The piece with its counters cut out, and the counters.
pub fn template(piece: &[u8], counters: &Counters) -> (String, Option<i64>, Option<i64>) {
    let mut text = String::with_capacity(piece.len() + 4);
    let mut from = 0;
    let mut values = [None, None];
    for (value, range) in values.iter_mut().zip([&counters.packets, &counters.bytes]) {
        let Some((range, field)) = range.as_ref().and_then(|range| Some((range, piece.get(range.clone())?))) else {
            continue;
        };
        let digits = field.trim_ascii_start();
        let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<i64>().ok());
        // What would not be written again as it stood (`007`, `+1`, a suffix, tabs) stays in the text.
        let plain = number.is_some_and(|number| padded(number, field.len().min(WIDEST)).as_bytes() == field);
        if !plain || range.start < from {
            continue;
        }
        // Without padding any width will do: a counter that grows must not make another rule.
        let width = if digits.len() == field.len() { 0 } else { field.len() as u8 };
        escape(&piece[from..range.start], &mut text);
        text.push(COUNTER);
        text.push(char::from(b'0' + width));
        from = range.end;
        *value = number;
    }
    escape(&piece[from..], &mut text);
    (text, values[0], values[1])
}

/// Appends bytes as text. A byte that is no text, and `COUNTER` itself, becomes `COUNTER` and the character U+0100 + byte.
fn escape(bytes: &[u8], text: &mut String) {
    for chunk in bytes.utf8_chunks() {
        for (at, part) in chunk.valid().split(COUNTER).enumerate() {
            if at > 0 {
                text.push_str("\u{1}\u{101}");
            }
            text.push_str(part);
        }
        for byte in chunk.invalid() {
            text.push(COUNTER);
            text.extend(char::from_u32(0x100 + u32::from(*byte)));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::template;
    use crate::form::dissector::Counters;
    use crate::write::rebuild::render;

    proptest! {
        #[test]
        fn a_piece_is_written_again_as_it_stood(before: Vec<u8>, field in "( {0,9}[0-9]{1,20}|[0-9]{1,3}K|\\+1)", after: Vec<u8>) {
            let mut piece = before.clone();
            piece.extend(field.as_bytes());
            let packets = Some(before.len()..piece.len());
            piece.push(b':');
            let from = piece.len();
            piece.extend(field.as_bytes());
            let bytes = Some(from..piece.len());
            piece.extend(&after);
            let (text, packets, bytes) = template(&piece, &Counters { packets, bytes });
            let mut again = Vec::new();
            render(&text, packets, bytes, &mut again);
            prop_assert_eq!(again, piece);
        }
    }

    #[test]
    fn a_growing_counter_is_the_same_rule() {
        let rule = |text: &str| {
            let colon = text.find(':').expect("a colon");
            template(text.as_bytes(), &Counters { packets: Some(1..colon), bytes: Some(colon + 1..text.len() - 1) }).0
        };
        assert_eq!(rule("[9:480]"), rule("[10:99999]"));
    }

    #[test]
    fn a_counter_may_stand_behind_any_number_of_blanks() {
        let piece = format!("{}7 rest", " ".repeat(70_000));
        let counters = Counters { packets: Some(0..70_001), bytes: None };
        let (text, packets, _) = template(piece.as_bytes(), &counters);
        assert_eq!((text, packets), (piece, None));
    }
}
