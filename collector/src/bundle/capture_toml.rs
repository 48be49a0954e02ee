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

use std::fs::File;
use std::io::{self, BufReader, Read};

use toml::de::{DeTable, DeValue};

use super::options::BundleError;
use super::rules::{SourceRule, plain_path};
use crate::input::{self, Entry};

/// What was stated.
#[derive(Clone, Debug, Default)]
pub struct Statements {
    /// Whether there is such a file.
    pub found: bool,
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
}

/// Whether a path is that of a `capture.toml`.
pub fn is_one(path: &str) -> bool {
    path == "capture.toml" || path.ends_with("/capture.toml")
}

/// Longest text that is taken for one.
const LONGEST: u64 = 1 << 20;

/// One that was found.
struct Found {
    /// Where, for people: the file, and what stands in it if that is an archive.
    shown: String,
    /// Path of the folder that its globs are relative to, with a `/` at its end.
    folder: String,
    text: String,
}

/// Reads the `capture.toml` among the entries, or, where there is none, in the archives among them.
///
/// # Errors
/// One that cannot be read, with path and line; or several, which contradict each other.
pub fn find(entries: &[Entry]) -> Result<Statements, BundleError> {
    let mut found = Vec::new();
    for entry in entries.iter().filter(|entry| is_one(&entry.path)) {
        let text = input::open(&entry.file, input::window_log(0))
            .and_then(|(mut reader, _)| text_of(&mut reader))
            .map_err(|error| BundleError::Io(entry.file.clone(), error))?;
        found.push(Found { shown: entry.file.display().to_string(), folder: folder_of(&entry.path), text });
    }
    if found.is_empty() {
        for entry in entries.iter().filter(|entry| !entry.skipped && !entry.once) {
            // What cannot be read is told when it is its turn.
            let _ = in_archive(entry, entries.len() == 1, &mut found);
        }
    }
    match found.as_slice() {
        [] => Ok(Statements::default()),
        [one] => {
            let mut statements =
                parse(&one.text).map_err(|(line, what)| BundleError::Usage(format!("{}:{line}: {what}", one.shown)))?;
            for rule in &mut statements.sources {
                rule.glob = format!("{}{}", one.folder, rule.glob);
            }
            Ok(statements)
        }
        [first, second, ..] => Err(BundleError::Usage(format!(
            "{} and {}: one run has one capture.toml; bundle runs one by one",
            first.shown, second.shown
        ))),
    }
}

fn folder_of(path: &str) -> String {
    path.strip_suffix("capture.toml").unwrap_or_default().to_owned()
}

fn text_of(reader: &mut dyn Read) -> io::Result<String> {
    let mut text = String::new();
    reader.take(LONGEST).read_to_string(&mut text)?;
    Ok(text)
}

/// Those of an archive. A compressed tar must be read to its end for it, which is done only where it is `alone`.
fn in_archive(entry: &Entry, alone: bool, found: &mut Vec<Found>) -> io::Result<()> {
    let mut head = Vec::new();
    File::open(&entry.file)?.take(512).read_to_end(&mut head)?;
    let plain = plain_path(&entry.path);
    let mut add = |name: &str, reader: &mut dyn Read| -> io::Result<()> {
        let folder = folder_of(&format!("{plain}/{name}"));
        found.push(Found { shown: format!("{}/{name}", entry.file.display()), folder, text: text_of(reader)? });
        Ok(())
    };
    if head.starts_with(b"PK\x03\x04") {
        let mut archive = zip::ZipArchive::new(BufReader::new(File::open(&entry.file)?))?;
        for at in 0..archive.len() {
            let mut file = archive.by_index(at)?;
            let name = String::from_utf8_lossy(file.name_raw()).into_owned();
            if is_one(&name) {
                add(&name, &mut file)?;
            }
        }
    } else if head.get(257..262) == Some(b"ustar") {
        let mut archive = tar::Archive::new(File::open(&entry.file)?);
        for file in archive.entries_with_seek()? {
            of_tar(&mut file?, &mut add)?;
        }
    } else if alone && (head.starts_with(&[0x1f, 0x8b]) || head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd])) {
        let (reader, _) = input::open(&entry.file, input::window_log(0))?;
        for file in tar::Archive::new(reader).entries()? {
            of_tar(&mut file?, &mut add)?;
        }
    }
    Ok(())
}

fn of_tar<R: Read>(
    file: &mut tar::Entry<'_, R>,
    add: &mut dyn FnMut(&str, &mut dyn Read) -> io::Result<()>,
) -> io::Result<()> {
    let name = String::from_utf8_lossy(&file.path_bytes()).into_owned();
    if is_one(&name) && file.header().entry_type().is_file() { add(&name, file) } else { Ok(()) }
}

/// Line of a byte offset, from 1.
fn line_of(text: &str, offset: usize) -> i64 {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count() as i64
}

/// Parses the text.
///
/// # Errors
/// Line and what was expected there.
pub fn parse(text: &str) -> Result<Statements, (i64, String)> {
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(text, span.start));
        (line, error.message().to_owned())
    })?;
    let mut found = Statements { found: true, ..Statements::default() };
    for (key, value) in table.get_ref() {
        let line = line_of(text, key.span().start);
        let name: &str = key.get_ref();
        let wanted = |what: &str| (line, format!("`{name}`: expected {what}"));
        match (name, value.get_ref()) {
            ("name" | "dataplane" | "scenario" | "node" | "label" | "timezone", DeValue::String(text)) => {
                let text = text.to_string();
                found.facts.push((line, name.to_owned(), text.clone()));
                match name {
                    "name" => found.name = Some(text),
                    "dataplane" => {
                        found.dataplane =
                            Some(one_of(&text, &DATAPLANES).ok_or_else(|| wanted(&DATAPLANES.join(", ")))?)
                    }
                    "scenario" => {
                        found.scenario = Some(one_of(&text, &SCENARIOS).ok_or_else(|| wanted(&SCENARIOS.join(", ")))?)
                    }
                    "node" => found.node = Some(text),
                    // Tells runs apart that differ in something no capture shows; the analyzer reads it among the facts.
                    "label" => {}
                    _ => {
                        found.utc_offset = Some(utc_offset(&text).ok_or_else(|| wanted("UTC or an offset as +02:00"))?)
                    }
                }
            }
            ("year", DeValue::Integer(number)) => {
                let year = number.as_str().parse().map_err(|_| wanted("a year"))?;
                found.year = Some(year);
                found.facts.push((line, "year".to_owned(), year.to_string()));
            }
            ("synthetic", DeValue::Boolean(flag)) => {
                found.synthetic = *flag;
                found.facts.push((line, "synthetic".to_owned(), flag.to_string()));
            }
            ("same_host", DeValue::Array(items)) => {
                let mut domains = Vec::new();
                for item in items {
                    let DeValue::String(domain) = item.get_ref() else { return Err(wanted("a list of clock domains")) };
                    domains.push(domain.to_string());
                }
                found.facts.push((line, "same_host".to_owned(), domains.join(",")));
            }
            ("versions", DeValue::Table(versions)) => {
                for (component, version) in versions {
                    let line = line_of(text, component.span().start);
                    let DeValue::String(version) = version.get_ref() else {
                        return Err((line, format!("`versions.{}`: expected a string", component.get_ref())));
                    };
                    found.facts.push((line, format!("version/{}", component.get_ref()), version.to_string()));
                }
            }
            ("source", DeValue::Table(sources)) => {
                // The first that matches counts, and a table has an order of its own.
                let mut sources: Vec<_> = sources.iter().collect();
                sources.sort_by_key(|(glob, _)| glob.span().start);
                for (glob, rule) in sources {
                    let line = line_of(text, glob.span().start);
                    let DeValue::Table(rule) = rule.get_ref() else {
                        return Err((
                            line,
                            format!("`source.\"{}\"`: expected a table with kind and clock", glob.get_ref()),
                        ));
                    };
                    let mut one = SourceRule { glob: glob.get_ref().to_string(), kind: None, clock: None };
                    for (key, value) in rule {
                        let line = line_of(text, key.span().start);
                        match (key.get_ref().as_ref(), value.get_ref()) {
                            ("kind", DeValue::String(kind)) => one.kind = Some(kind.to_string()),
                            ("clock", DeValue::String(clock)) => one.clock = Some(clock.to_string()),
                            (other, _) => return Err((line, format!("`{other}`: expected kind or clock, as strings"))),
                        }
                    }
                    check_kind(one.kind.as_deref()).map_err(|what| (line, what))?;
                    found.facts.push((
                        line,
                        format!("source/{}", one.glob),
                        format!("{}@{}", one.kind.as_deref().unwrap_or(""), one.clock.as_deref().unwrap_or("")),
                    ));
                    found.sources.push(one);
                }
            }
            ("name" | "dataplane" | "scenario" | "node" | "label" | "timezone", _) => return Err(wanted("a string")),
            ("year", _) => return Err(wanted("a whole number")),
            ("synthetic", _) => return Err(wanted("true or false")),
            ("same_host", _) => return Err(wanted("a list of clock domains")),
            ("versions" | "source", _) => return Err(wanted("a table")),
            _ => {
                return Err((
                    line,
                    format!(
                        "`{name}`: expected name, dataplane, scenario, node, label, same_host, year, timezone, synthetic, [versions] or [source.\"glob\"]"
                    ),
                ));
            }
        }
    }
    Ok(found)
}

/// Dataplanes that can be stated.
pub const DATAPLANES: [&str; 4] = ["cilium", "kube-proxy-iptables", "kube-proxy-nftables", "kube-proxy-ipvs"];
/// Scenarios that can be stated.
pub const SCENARIOS: [&str; 4] = ["scale-up", "rolling-restart", "steady-state", "pod-crash"];

fn one_of(text: &str, choices: &[&str]) -> Option<String> {
    choices.contains(&text).then(|| text.to_owned())
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
        let found = parse(text).expect("valid");
        assert_eq!((found.name.as_deref(), found.year, found.utc_offset), (Some("a"), Some(2026), Some(7200)));
        assert!(found.facts.contains(&(5, "same_host".to_owned(), "n,operator".to_owned())));
        assert!(found.facts.contains(&(7, "version/cilium".to_owned(), "1.19.4".to_owned())));
    }

    #[test]
    fn rules_stand_in_the_order_of_the_file() {
        let text = "[source.\"b/trace*\"]\nclock = \"b/boottime\"\n[source.\"b/*\"]\nclock = \"b\"\n[source.\"a\"]\nclock = \"a\"\n";
        let globs: Vec<String> = parse(text).expect("valid").sources.into_iter().map(|one| one.glob).collect();
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
    fn an_error_names_its_line() {
        for (text, line) in [
            ("name = \"a\"\ndataplane = \"ipfire\"\n", 2),
            ("\n\nyears = 3\n", 3),
            ("name = \n", 1),
            ("[source.\"x\"]\nkind = \"no-such\"\n", 1),
        ] {
            let (at, what) = parse(text).expect_err("wrong");
            assert_eq!(at, line, "{what}");
        }
    }
}
