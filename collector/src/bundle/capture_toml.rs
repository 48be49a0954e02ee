//! `capture.toml`: what the files of a capture cannot say themselves, written by whoever captured the run.
//!
//! ```toml
//! name = "iptables-scale-up-1"
//! dataplane = "kube-proxy-iptables"
//! scenario = "scale-up"
//! node = "node-a"
//! label = "min-sync-period 1s"
//! same_host = ["node-a", "apiserver", "prometheus", "operator"]
//! timezone = "UTC"
//! year = 2026
//!
//! [versions]
//! kube-proxy = "1.36.2"
//!
//! [source."odd/*.txt"]
//! kind = "iptables-save"
//! clock = "node"
//! ```

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::rules::{LONGEST, SourceRule, glob};

/// What was stated.
#[derive(Clone, Debug, Default)]
pub struct Statements {
    /// Path of the source that it is, without the ending of a compression, where there is one.
    pub path: Option<String>,
    /// Where, for people.
    pub shown: String,
    /// Name of the run.
    pub name: Option<String>,
    /// Dataplane.
    pub dataplane: Option<String>,
    /// Scenario.
    pub scenario: Option<String>,
    /// Node of the node-level captures.
    pub node: Option<String>,
    /// Year of logs that lack one.
    pub year: Option<i16>,
    /// Offset from UTC of logs that lack a zone, seconds.
    pub utc_offset: Option<i32>,
    /// Whether the captures were generated.
    pub synthetic: bool,
    /// Kinds and clocks of some files.
    pub sources: Vec<SourceRule>,
    /// Every statement with its line, as rows of `facts`.
    pub facts: Vec<(i64, String, String)>,
    /// What could not be used: its line, and what was expected there. The other statements count.
    pub refused: Vec<(i64, String)>,
}

/// Whether a path is that of a `capture.toml`.
pub fn is_one(path: &str) -> bool {
    path == "capture.toml" || path.ends_with("/capture.toml")
}

/// Refusals that are named one by one.
const REFUSED: usize = 100;

/// Where the lines of a text begin.
struct Lines(Vec<usize>);

impl Lines {
    fn new(text: &str) -> Self {
        let begins = memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1);
        // Behind the last line end no line begins: what is missing there is missing from the last one.
        Self(begins.filter(|begin| *begin < text.len()).collect())
    }

    /// Line of a byte offset, from 1.
    fn of(&self, offset: usize) -> i64 {
        1 + self.0.partition_point(|begin| *begin <= offset) as i64
    }
}

/// Parses the text. A line or a statement that is wrong is refused, and costs itself.
pub fn parse(bytes: &[u8]) -> Statements {
    let mut found = Statements::default();
    let mut text = String::with_capacity(bytes.len());
    for (at, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        match std::str::from_utf8(line) {
            Ok(line) => text.push_str(line),
            Err(_) => {
                found.refused.push((at as i64 + 1, "expected text in UTF-8".to_owned()));
                text.push('\n');
            }
        }
    }
    let (table, errors) = DeTable::parse_recoverable(&text);
    let mut reading = Reading { found, lines: Lines::new(&text), damaged: Vec::new(), globs: 0 };
    for error in errors {
        let at = error.span().map_or(0, |span| span.start);
        reading.damaged.push(at);
        let line = reading.lines.of(at);
        reading.found.refused.push((line, error.message().to_owned()));
    }
    reading.damaged.sort_unstable();
    for (key, value) in table.get_ref() {
        reading.statement(key, value);
    }
    let mut found = reading.found;
    found.refused.sort();
    // One mistake may be found twice.
    found.refused.dedup_by_key(|(line, _)| *line);
    if found.refused.len() > REFUSED {
        let more = found.refused.len() - REFUSED;
        found.refused.truncate(REFUSED);
        let (last, _) = found.refused[REFUSED - 1];
        found.refused.push((last, format!("{more} more lines that could not be used")));
    }
    found
}

type Key<'k> = Spanned<std::borrow::Cow<'k, str>>;
type Value<'k> = Spanned<DeValue<'k>>;

/// What stands in a table in the order of the text, where the first that fits counts: a table has an order of its own.
fn in_order<'t, 'k>(table: &'t DeTable<'k>) -> Vec<(&'t Key<'k>, &'t Value<'k>)> {
    let mut all: Vec<_> = table.iter().collect();
    all.sort_by_key(|(key, _)| key.span().start);
    all
}

struct Reading {
    found: Statements,
    lines: Lines,
    /// Where the text is no TOML.
    damaged: Vec<usize>,
    /// Bytes of globs so far.
    globs: usize,
}

impl Reading {
    fn line(&self, key: &Key<'_>) -> i64 {
        self.lines.of(key.span().start)
    }

    /// Whether something between a key and the end of its value, or of its line, is no TOML: what is made of the rest is a guess.
    fn is_damaged(&self, key: &Key<'_>, value: &Value<'_>) -> bool {
        let end = self.lines.0.partition_point(|begin| *begin <= value.span().end.max(key.span().end));
        let end = self.lines.0.get(end).copied().unwrap_or(usize::MAX);
        let first = self.damaged.partition_point(|at| *at < key.span().start);
        self.damaged.get(first).is_some_and(|at| *at < end)
    }

    fn refuse(&mut self, line: i64, what: String) {
        self.found.refused.push((line, what));
    }

    fn fact(&mut self, line: i64, key: impl Into<String>, value: impl Into<String>) {
        self.found.facts.push((line, key.into(), value.into()));
    }

    fn statement(&mut self, key: &Key<'_>, value: &Value<'_>) {
        let name: &str = key.get_ref();
        match (name, value.get_ref()) {
            ("versions", DeValue::Table(versions)) => {
                for (component, version) in versions {
                    self.version(component, version);
                }
            }
            ("source", DeValue::Table(sources)) => {
                for (glob, rule) in in_order(sources) {
                    self.source(glob, rule);
                }
            }
            _ if self.is_damaged(key, value) => {}
            _ => {
                if let Err(wanted) = self.plain(name, self.line(key), value.get_ref()) {
                    self.refuse(self.line(key), format!("`{name}`: expected {wanted}"));
                }
            }
        }
    }

    /// A statement that is no table; what was expected in its place.
    fn plain(&mut self, name: &str, line: i64, value: &DeValue<'_>) -> Result<(), String> {
        match (name, value) {
            ("name" | "node" | "label" | "dataplane" | "scenario" | "timezone", DeValue::String(text)) => {
                let text = text.to_string();
                let found = &mut self.found;
                match name {
                    "name" => found.name = Some(text.clone()),
                    "node" => found.node = Some(text.clone()),
                    "dataplane" => found.dataplane = Some(one_of(&text, &DATAPLANES)?),
                    "scenario" => found.scenario = Some(one_of(&text, &SCENARIOS)?),
                    "timezone" => found.utc_offset = Some(utc_offset(&text).ok_or("UTC or an offset as +02:00")?),
                    // Tells runs apart that differ in something no capture shows; the analyzer reads it among the facts.
                    _ => {}
                }
                self.fact(line, name, text);
            }
            ("year", DeValue::Integer(number)) => {
                let year = number.as_str().parse().ok().filter(|year| (1970..=9999).contains(year)).ok_or("a year")?;
                self.found.year = Some(year);
                self.fact(line, name, year.to_string());
            }
            ("synthetic", DeValue::Boolean(flag)) => {
                self.found.synthetic = *flag;
                self.fact(line, name, flag.to_string());
            }
            ("same_host", DeValue::Array(items)) => {
                let domain = |item: &Value<'_>| match item.get_ref() {
                    DeValue::String(domain) => Ok(domain.to_string()),
                    _ => Err("a list of clock domains"),
                };
                let domains: Vec<String> = items.iter().map(domain).collect::<Result<_, _>>()?;
                self.fact(line, name, domains.join(","));
            }
            ("name" | "node" | "label" | "dataplane" | "scenario" | "timezone", _) => return Err("a string".to_owned()),
            ("year", _) => return Err("a whole number".to_owned()),
            ("synthetic", _) => return Err("true or false".to_owned()),
            ("same_host", _) => return Err("a list of clock domains".to_owned()),
            ("versions" | "source", _) => return Err("a table".to_owned()),
            _ => {
                return Err("name, dataplane, scenario, node, label, same_host, year, timezone, synthetic, [versions] or [source.\"glob\"]".to_owned());
            }
        }
        Ok(())
    }

    fn version(&mut self, component: &Key<'_>, version: &Value<'_>) {
        let line = self.line(component);
        let name: &str = component.get_ref();
        match version.get_ref() {
            _ if self.is_damaged(component, version) => {}
            DeValue::String(version) => self.fact(line, format!("version/{name}"), version.to_string()),
            _ => self.refuse(line, format!("`versions.{name}`: expected a string")),
        }
    }

    fn source(&mut self, path: &Key<'_>, rule: &Value<'_>) {
        let line = self.line(path);
        let mut one = SourceRule { glob: path.get_ref().to_string(), kind: None, clock: None };
        let DeValue::Table(rule) = rule.get_ref() else {
            return self.refuse(line, format!("`source.\"{}\"`: expected a table with kind and clock", one.glob));
        };
        // What is left of a statement of which a part is wrong would be another one.
        let mut is_whole = true;
        for (key, value) in rule {
            let wrong = match (key.get_ref().as_ref(), value.get_ref()) {
                _ if self.is_damaged(key, value) => {
                    is_whole = false;
                    continue;
                }
                ("kind", DeValue::String(kind)) => {
                    one.kind = Some(kind.to_string());
                    check_kind(Some(kind)).err()
                }
                ("clock", DeValue::String(clock)) => {
                    one.clock = Some(clock.to_string());
                    None
                }
                (other, _) => Some(format!("`{other}`: expected kind or clock, as strings")),
            };
            if let Some(wrong) = wrong {
                self.refuse(self.line(key), wrong);
                is_whole = false;
            }
        }
        self.globs += one.glob.len();
        if let Err(wrong) = glob(&one.glob) {
            self.refuse(line, wrong);
        } else if self.globs > LONGEST {
            self.refuse(line, format!("expected globs of at most {LONGEST} bytes in all"));
        } else if is_whole {
            let (kind, clock) = (one.kind.as_deref().unwrap_or(""), one.clock.as_deref().unwrap_or(""));
            self.fact(line, format!("source/{}", one.glob), format!("{kind}@{clock}"));
            self.found.sources.push(one);
        }
    }
}

/// Dataplanes that can be stated.
pub const DATAPLANES: [&str; 4] = ["cilium", "kube-proxy-iptables", "kube-proxy-nftables", "kube-proxy-ipvs"];
/// Scenarios that can be stated.
pub const SCENARIOS: [&str; 4] = ["scale-up", "rolling-restart", "steady-state", "pod-crash"];

fn one_of(text: &str, choices: &[&str]) -> Result<String, String> {
    choices.contains(&text).then(|| text.to_owned()).ok_or_else(|| choices.join(", "))
}

/// Whether a stated kind exists.
///
/// # Errors
/// The sentence to show.
pub fn check_kind(kind: Option<&str>) -> Result<(), String> {
    match kind {
        Some(kind) if !crate::parse::FORMATS.iter().any(|format| format.kind == kind) => {
            Err(format!("`{kind}`: expected a kind that `syncline-collector formats` lists"))
        }
        _ => Ok(()),
    }
}

fn utc_offset(text: &str) -> Option<i32> {
    if ["UTC", "Z", "GMT"].contains(&text) {
        return Some(0);
    }
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = text[1..].split_once(':').unwrap_or((&text[1..], "0"));
    // A sign of their own, or more of them, is no offset.
    let number = |digits: &str| -> Option<i32> {
        let plain = (1..=2).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| digits.parse().ok()).flatten()
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (hours <= 14 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_read_with_their_lines() {
        let text = "name = \"a\"\ndataplane = \"cilium\"\nyear = 2026\ntimezone = \"+02:00\"\nsame_host = [\"n\", \"operator\"]\n[versions]\ncilium = \"1.19.4\"\n";
        let found = parse(text.as_bytes());
        assert_eq!((found.name.as_deref(), found.year, found.utc_offset), (Some("a"), Some(2026), Some(7200)));
        assert!(found.facts.contains(&(5, "same_host".to_owned(), "n,operator".to_owned())));
        assert!(found.facts.contains(&(7, "version/cilium".to_owned(), "1.19.4".to_owned())));
        assert_eq!(found.refused, []);
    }

    #[test]
    fn rules_stand_in_the_order_of_the_file() {
        let text = "[source.\"b/trace*\"]\nclock = \"b/boottime\"\n[source.\"b/*\"]\nclock = \"b\"\n[source.\"a\"]\nclock = \"a\"\n";
        let globs: Vec<String> = parse(text.as_bytes()).sources.into_iter().map(|one| one.glob).collect();
        assert_eq!(globs, ["b/trace*", "b/*", "a"]);
    }

    #[test]
    fn an_offset_is_a_sign_and_two_digits_of_hours() {
        for (text, offset) in [("+02:00", Some(7200)), ("-5", Some(-18_000)), ("+14:59", Some(53_940)), ("Z", Some(0))]
        {
            assert_eq!(utc_offset(text), offset, "{text}");
        }
        for text in ["+9223379", "+-9", "--9", "+-999999", "+1:-30", "+:30", "+15", "+02:60", "-", "+é", ""] {
            assert_eq!(utc_offset(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_costs_itself_and_is_named_with_its_line() {
        for (wrong, line) in [
            ("dataplane = \"ipfire\"\n", 1),
            ("\n\nyears = 3\n", 3),
            ("node = \n", 1),
            ("node = \"a\n", 1),
            ("node = 3\n", 1),
            ("]]]\n", 1),
            ("\nyear = 20260\n", 2),
            ("same_host = [\"a\",\n  3]\n", 1),
            ("same_host = [\"a\",\n  ?]\n", 2),
        ] {
            let text =
                format!("{wrong}label = \"kept\"\n[source.\"*\"]\nkind = \"iptables-save\"\n[versions]\na = \"1\"\n");
            let found = parse(text.as_bytes());
            let lines: Vec<i64> = found.refused.iter().map(|(line, _)| *line).collect();
            assert_eq!(lines, [line], "{wrong}: {:?}", found.refused);
            let keys: Vec<&str> = found.facts.iter().map(|(_, key, _)| key.as_str()).collect();
            assert_eq!(keys, ["label", "source/*", "version/a"], "{wrong}");
            assert_eq!((found.node, found.year, found.dataplane), (None, None, None), "{wrong}");
        }
    }

    #[test]
    fn a_rule_counts_whole_or_not_at_all() {
        let rules = "[source.\"a\"]\nkind = \"no-such\"\nclock = \"b\"\n[source.\"[a\"]\nclock = \"b\"\n[source.\"c\"]\nkind = \nclock = \"b\"\n[source.\"d\"]\nclock = \"b\"\n";
        let found = parse(rules.as_bytes());
        assert_eq!(found.sources.iter().map(|one| one.glob.as_str()).collect::<Vec<_>>(), ["d"]);
        assert_eq!(found.refused.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 4, 7]);
        let many: String = (0..3000).map(|at| format!("[source.\"*a*{at}\"]\nclock = \"b\"\n")).collect();
        let found = parse(many.as_bytes());
        assert!(found.sources.len() > 1000 && found.refused.len() == REFUSED + 1, "{}", found.sources.len());
    }

    #[test]
    fn what_is_missing_at_the_end_is_missing_from_the_last_line() {
        for (text, line) in [
            (b"label = \"a\"\nname = \"\"\"x\n".as_slice(), 2),
            (b"name = \"\"\"x\n\xff", 2),
            (b"name = '''", 1),
            (b"name\n", 1),
        ] {
            let found = parse(text);
            assert!(!found.refused.is_empty(), "{}", text.escape_ascii());
            assert!(found.refused.iter().all(|(at, _)| *at <= line), "{}: {:?}", text.escape_ascii(), found.refused);
        }
    }

    #[test]
    fn bytes_that_are_no_text_cost_their_line() {
        let found = parse(b"node = \"\xff\"\nname = \"a\"\n");
        assert_eq!((found.name.as_deref(), found.node), (Some("a"), None));
        assert_eq!(found.refused, [(1, "expected text in UTF-8".to_owned())]);
    }
}
