//! Label sets: what identifies a series.

use std::fmt;
use std::sync::Arc;

/// The label that holds a metric's name.
pub const METRIC_NAME: &str = "__name__";

/// One label: name and value.
pub type Label = (Arc<str>, Arc<str>);

/// A label set, sorted by name, each name once, no empty values (a label with an empty value is the same as no label).
///
/// Cloning is cheap. The order is that of Prometheus: pair by pair, name before value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Labels(Arc<[Label]>);

impl Default for Labels {
    fn default() -> Self {
        Labels(Arc::from([]))
    }
}

impl Labels {
    /// Builds a label set from pairs in any order; of a repeated name the last one counts.
    pub fn new<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<Arc<str>>,
        V: Into<Arc<str>>,
    {
        let pairs: Vec<Label> = pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self::from_pairs(pairs)
    }

    /// The same from pairs that are built already.
    pub fn from_pairs(mut pairs: Vec<Label>) -> Self {
        if !pairs.windows(2).all(|two| two[0].0 < two[1].0) {
            pairs.sort_by(|a, b| a.0.cmp(&b.0));
            // `dedup_by` keeps the first of a run, the last one is wanted.
            pairs.reverse();
            pairs.dedup_by(|a, b| a.0 == b.0);
            pairs.reverse();
        }
        pairs.retain(|(_, value)| !value.is_empty());
        Labels(pairs.into())
    }

    /// The value of a label, empty if it is not set.
    pub fn get(&self, name: &str) -> &str {
        self.find(name).map_or("", |(_, value)| value)
    }

    /// Whether the label is set.
    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    fn find(&self, name: &str) -> Option<&Label> {
        // Label sets are short: a scan beats a binary search.
        self.0.iter().find(|(label, _)| &**label == name)
    }

    /// The metric's name, empty if there is none.
    pub fn metric_name(&self) -> &str {
        self.get(METRIC_NAME)
    }

    /// All pairs, sorted by name.
    pub fn pairs(&self) -> &[Label] {
        &self.0
    }

    /// Whether no label is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The set with one label added or replaced; an empty value removes it.
    pub fn with(&self, name: &str, value: &str) -> Labels {
        let mut pairs: Vec<Label> = self.0.iter().filter(|(label, _)| &**label != name).cloned().collect();
        if !value.is_empty() {
            let place = pairs.partition_point(|(label, _)| &**label < name);
            pairs.insert(place, (name.into(), value.into()));
        }
        Labels(pairs.into())
    }

    /// The set without the named labels.
    pub fn without<S: AsRef<str>>(&self, names: &[S]) -> Labels {
        Labels(
            self.0.iter().filter(|(label, _)| !names.iter().any(|name| name.as_ref() == &**label)).cloned().collect(),
        )
    }

    /// The set reduced to the named labels.
    pub fn only<S: AsRef<str>>(&self, names: &[S]) -> Labels {
        Labels(self.0.iter().filter(|(label, _)| names.iter().any(|name| name.as_ref() == &**label)).cloned().collect())
    }

    /// The set without the metric's name, and without the type and unit that go with it.
    pub fn without_name(&self) -> Labels {
        if self.has(METRIC_NAME) || self.has("__type__") || self.has("__unit__") {
            self.without(&[METRIC_NAME, "__type__", "__unit__"])
        } else {
            self.clone()
        }
    }
}

impl<N: Into<Arc<str>>, V: Into<Arc<str>>> FromIterator<(N, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Labels::new(pairs)
    }
}

/// Whether a label name can stand without quotes in an expression.
pub fn is_plain_label_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// As Prometheus prints a label set in messages: `{a="1", b="2"}`.
impl fmt::Display for Labels {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("{")?;
        for (index, (name, value)) in self.0.iter().enumerate() {
            if index > 0 {
                out.write_str(", ")?;
            }
            if is_plain_label_name(name) {
                write!(out, "{name}=")?;
            } else {
                write!(out, "{}=", quoted(name))?;
            }
            out.write_str(&quoted(value))?;
        }
        out.write_str("}")
    }
}

/// A string in double quotes, escaped as Go's `strconv.Quote` does.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0b' => out.push_str("\\v"),
            '\x0c' => out.push_str("\\f"),
            letter if is_printable(letter) => out.push(letter),
            letter => out.push_str(&match letter as u32 {
                code @ (..0x20 | 0x7f) => format!("\\x{code:02x}"),
                code @ ..0x1_0000 => format!("\\u{code:04x}"),
                code => format!("\\U{code:08x}"),
            }),
        }
    }
    out.push('"');
    out
}

/// Whether a character is shown as it is: a letter, mark, number, sign or the plain space.
fn is_printable(letter: char) -> bool {
    // The standard library knows; what extends the letter before it is escaped only at the start of a string.
    let escaped = || ['a', letter].iter().collect::<String>().escape_debug().count() > 2;
    letter.is_ascii_graphic() || letter == ' ' || !(letter.is_ascii() || escaped())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_quoted_as_go_does() {
        assert_eq!(quoted("a\"b\\c\n\r\t'"), r#""a\"b\\c\n\r\t'""#);
        assert_eq!(quoted("\x07\x08\x0b\x0c\x1b\x7f"), r#""\a\b\v\f\x1b\x7f""#);
        assert_eq!(quoted("ü 日 e\u{301} \u{1f600}"), "\"ü 日 e\u{301} \u{1f600}\"");
        assert_eq!(quoted("\u{a0}\u{200b}\u{e000}\u{10ffff}"), r#""\u00a0\u200b\ue000\U0010ffff""#);
    }

    #[test]
    fn a_label_set_is_sorted_unique_and_without_empty_values() {
        let labels = Labels::new([("b", "1"), ("a", "2"), ("b", "3"), ("c", "")]);
        assert_eq!(labels.to_string(), r#"{a="2", b="3"}"#);
        assert_eq!(labels.get("b"), "3");
        assert_eq!(labels.get("c"), "");
        assert_eq!(labels, Labels::new([("a", "2")]).with("b", "3"));
        assert_eq!(labels.with("b", ""), labels.only(&["a"]));
    }

    #[test]
    fn unusual_names_and_values_are_quoted() {
        let labels = Labels::new([("http.method", "a\"b\\\n")]);
        assert_eq!(labels.to_string(), r#"{"http.method"="a\"b\\\n"}"#);
    }
}
