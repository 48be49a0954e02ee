//! Text to tokens.

use super::Fault;
use super::duration::duration_seconds;
use super::tree::{AGGREGATE_OPERATORS, Span};
use crate::labels::quoted;

/// A token.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// An identifier or keyword; metric names may hold colons.
    Word(String),
    /// A number or a duration (in seconds).
    Number(f64),
    /// A string, unescaped, and whether escapes left it valid UTF-8 (else what is not has been replaced).
    Text(String, bool),
    /// Punctuation or an operator.
    Symbol(&'static str),
    /// The end of the text.
    End,
}

/// A token and its place.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub token: Token,
    pub span: Span,
}

/// Longest first.
const SYMBOLS: [&str; 25] = [
    "==", "!=", "=~", "!~", ">=", "<=", ">/", "</", "=", ">", "<", "+", "-", "*", "/", "%", "^", "(", ")", "{", "}",
    "[", "]", ",", "@",
];

/// The tokens of a text; the last one is always [`Token::End`].
pub(super) struct Tokens {
    pub items: Vec<Item>,
    /// What is wrong where they end, if anything: no token, or something that was not closed.
    pub fault: Option<Fault>,
}

/// Splits a text into tokens, up to what is none.
pub(super) fn tokens(text: &str) -> Tokens {
    let mut items = Vec::new();
    let fault = split(text, &mut items).err();
    // Behind what is no token nothing is read.
    let end = match &fault {
        Some(fault) => items.last().map_or(0, |last: &Item| last.span.end).max(fault.offset.min(text.len())),
        None => text.len(),
    };
    items.push(Item { token: Token::End, span: Span { start: end, end } });
    Tokens { items, fault }
}

/// The same without the end.
fn split(text: &str, items: &mut Vec<Item>) -> Result<(), Fault> {
    let bytes = text.as_bytes();
    let mut place = 0;
    let mut bracket_depth = 0usize;
    let (mut parentheses, mut braces) = (0usize, 0usize);
    while let Some(&byte) = bytes.get(place) {
        let start = place;
        let token = match byte {
            b' ' | b'\t' | b'\n' | b'\r' => {
                place += 1;
                continue;
            }
            b'#' => {
                place = bytes[place..].iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |n| place + n);
                continue;
            }
            b'"' | b'\'' | b'`' => {
                let (content, length) = string_literal(&text[start..], start)?;
                place += length;
                match String::from_utf8(content) {
                    Ok(content) => Token::Text(content, true),
                    Err(error) => Token::Text(String::from_utf8_lossy(error.as_bytes()).into_owned(), false),
                }
            }
            b'0'..=b'9' => {
                place += number_length(&bytes[start..]);
                Token::Number(number(&text[start..place], start)?)
            }
            b'.' if bytes.get(place + 1).is_some_and(u8::is_ascii_digit) => {
                place += number_length(&bytes[start..]);
                Token::Number(number(&text[start..place], start)?)
            }
            b':' if bracket_depth > 0 => {
                place += 1;
                Token::Symbol(":")
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | b':' => {
                let inside =
                    |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || (*byte == b':' && bracket_depth == 0);
                place += bytes[start..].iter().take_while(|byte| inside(byte)).count().max(1);
                let word = &text[start..place];
                match word.to_ascii_lowercase().as_str() {
                    "inf" => Token::Number(f64::INFINITY),
                    "nan" => Token::Number(f64::NAN),
                    _ => Token::Word(word.to_owned()),
                }
            }
            _ => {
                let Some(symbol) = SYMBOLS.iter().find(|symbol| text[start..].starts_with(**symbol)) else {
                    let letter = text[start..].chars().next().unwrap_or(' ');
                    return Err(Fault::new(start, format!("unexpected character: {}", quoted_letter(letter))));
                };
                match *symbol {
                    "[" => bracket_depth += 1,
                    "]" if bracket_depth == 0 => return Err(Fault::new(start, "unexpected right bracket ']'")),
                    "]" => bracket_depth -= 1,
                    "(" => parentheses += 1,
                    ")" if parentheses == 0 => return Err(Fault::new(start + 1, "unexpected right parenthesis ')'")),
                    ")" => parentheses -= 1,
                    "{" => braces += 1,
                    "}" => braces = braces.saturating_sub(1),
                    _ => {}
                }
                place += symbol.len();
                Token::Symbol(symbol)
            }
        };
        items.push(Item { token, span: Span { start, end: place } });
    }
    let end = bytes.len();
    match (braces, parentheses) {
        (0, 0) => Ok(()),
        (0, _) => Err(Fault::new(end, "unclosed left parenthesis")),
        _ => Err(Fault::new(end, "unexpected end of input inside braces")),
    }
}

fn quoted_letter(letter: char) -> String {
    match letter {
        '\'' => "'\\''".to_owned(),
        letter => format!("'{letter}'"),
    }
}

/// Bytes of the number or duration at the front: hexadecimal, decimal with exponent, or digits with units.
fn number_length(bytes: &[u8]) -> usize {
    let hexadecimal = bytes[0] == b'0' && bytes.get(1).is_some_and(|byte| matches!(byte, b'x' | b'X'));
    let mut length = 0;
    while let Some(&byte) = bytes.get(length) {
        let exponent_sign = !hexadecimal
            && matches!(byte, b'+' | b'-')
            && matches!(bytes[length - 1], b'e' | b'E')
            && bytes.get(length + 1).is_some_and(u8::is_ascii_digit);
        if byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'_' || exponent_sign {
            length += 1;
        } else {
            break;
        }
    }
    length
}

fn number(text: &str, start: usize) -> Result<f64, Fault> {
    if let Some(seconds) = duration_seconds(text) {
        return Ok(seconds);
    }
    let plain: String = text.chars().filter(|letter| *letter != '_').collect();
    let lower = plain.to_ascii_lowercase();
    let value = if let Some(digits) = lower.strip_prefix("0x") {
        u64::from_str_radix(digits, 16).ok().map(|value| value as f64)
    } else if plain.bytes().all(|byte| byte.is_ascii_digit()) && plain.len() > 1 && plain.starts_with('0') {
        // As Go reads integers: a leading zero means octal, unless it cannot.
        u64::from_str_radix(&plain, 8).ok().map(|value| value as f64).or_else(|| plain.parse().ok())
    } else if lower.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'+' | b'-')) {
        plain.parse().ok()
    } else {
        None
    };
    value.ok_or_else(|| Fault::new(start, format!("bad number or duration syntax: {}", quoted(text))))
}

/// The string at the front: its content and how many bytes it takes. Escapes are those of Go.
fn string_literal(text: &str, start: usize) -> Result<(Vec<u8>, usize), Fault> {
    let quote = text.chars().next().unwrap_or('"');
    let unterminated =
        || Fault::new(start, if quote == '`' { "unterminated raw string" } else { "unterminated quoted string" });
    if quote == '`' {
        let end = text[1..].find('`').ok_or_else(unterminated)?;
        return Ok((text.as_bytes()[1..=end].to_vec(), end + 2));
    }
    let mut content: Vec<u8> = Vec::new();
    let mut letters = text.char_indices().skip(1);
    while let Some((place, letter)) = letters.next() {
        match letter {
            '\n' => return Err(unterminated()),
            letter if letter == quote => {
                return Ok((content, place + 1));
            }
            '\\' => {
                let (_, escape) = letters.next().ok_or_else(unterminated)?;
                let digits = |count: usize,
                              radix: u32,
                              first: Option<char>,
                              letters: &mut dyn Iterator<Item = (usize, char)>| {
                    let mut value = first.and_then(|digit| digit.to_digit(radix)).unwrap_or(0);
                    for _ in 0..count {
                        let digit = letters.next().and_then(|(_, digit)| digit.to_digit(radix));
                        value = value
                            .checked_mul(radix)
                            .and_then(|value| value.checked_add(digit?))
                            .ok_or_else(|| Fault::new(start + place, "unknown escape sequence"))?;
                    }
                    Ok::<u32, Fault>(value)
                };
                let mut push = |letter: char| content.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                match escape {
                    'a' => push('\x07'),
                    'b' => push('\x08'),
                    'f' => push('\x0c'),
                    'n' => push('\n'),
                    'r' => push('\r'),
                    't' => push('\t'),
                    'v' => push('\x0b'),
                    '\\' => push('\\'),
                    escape if escape == quote => push(escape),
                    'x' => content.push(digits(2, 16, None, &mut letters)? as u8),
                    'u' => push(char::from_u32(digits(4, 16, None, &mut letters)?).unwrap_or('\u{fffd}')),
                    'U' => push(char::from_u32(digits(8, 16, None, &mut letters)?).unwrap_or('\u{fffd}')),
                    '0'..='7' => content.push(digits(2, 8, Some(escape), &mut letters)? as u8),
                    escape => {
                        return Err(Fault::new(
                            start + place,
                            format!("unknown escape sequence {}", quoted_letter(escape)),
                        ));
                    }
                }
            }
            letter => content.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Err(unterminated())
}

const KEYWORDS: [&str; 13] = [
    "offset",
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "bool",
    "fill",
    "fill_left",
    "fill_right",
    "anchored",
    "smoothed",
];

/// How an error message names a token.
pub(super) fn describe(item: &Item, text: &str) -> String {
    let written = &text[item.span.start..item.span.end];
    match &item.token {
        Token::End => "end of input".to_owned(),
        Token::Word(word) => {
            let lower = word.to_ascii_lowercase();
            if AGGREGATE_OPERATORS.iter().any(|(name, _)| *name == lower) {
                format!("<aggr:{written}>")
            } else if matches!(lower.as_str(), "and" | "or" | "unless" | "atan2") {
                format!("<op:{written}>")
            } else if KEYWORDS.contains(&lower.as_str()) {
                format!("<{written}>")
            } else if word.contains(':') {
                format!("metric identifier {}", quoted(written))
            } else {
                format!("identifier {}", quoted(written))
            }
        }
        Token::Number(_) => {
            let kind = if duration_seconds(written).is_some() { "duration" } else { "number" };
            format!("{kind} {}", quoted(written))
        }
        Token::Text(..) => format!("string {}", quoted(written)),
        Token::Symbol("," | "(" | ")" | "[" | "]" | "{" | "}" | ":" | "=") => quoted(written),
        Token::Symbol(_) => format!("<op:{written}>"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Token {
        tokens(text).items.swap_remove(0).token
    }

    #[test]
    fn numbers_of_all_documented_forms() {
        for (text, value) in [
            ("23", 23.0),
            ("3.4e-9", 3.4e-9),
            ("0x8f", 143.0),
            ("1_000_000", 1e6),
            (".123_456_789", 0.123456789),
            ("0x_53_AB_F3_82", f64::from(0x53AB_F382_u32)),
            ("1h30m", 5400.0),
            ("100ms", 0.1),
            ("Inf", f64::INFINITY),
        ] {
            assert_eq!(one(text), Token::Number(value), "{text}");
        }
        assert!(tokens("1x").fault.is_some());
        assert!(tokens("1m1h").fault.is_some());
    }

    #[test]
    fn strings_with_escapes() {
        assert_eq!(one(r#""a\"\n\x41\u00e4""#), Token::Text("a\"\nAä".to_owned(), true));
        assert_eq!(one(r#""a\xff""#), Token::Text("a\u{fffd}".to_owned(), false));
        assert_eq!(one(r"`a\n`"), Token::Text(r"a\n".to_owned(), true));
        assert_eq!(one(r"'it\'s'"), Token::Text("it's".to_owned(), true));
        for text in ["\"a", "'a\n'", "`a", r#""\q""#, r#""\x4""#, "\"\\"] {
            assert!(tokens(text).fault.is_some(), "{text}");
        }
    }

    #[test]
    fn colons_belong_to_names_except_in_brackets() {
        assert_eq!(one("a:b:c"), Token::Word("a:b:c".to_owned()));
        assert_eq!(tokens("a[5m:1m]").items.len(), 7);
    }
}
