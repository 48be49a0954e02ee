//! `doctor`: what can be recorded here, what not and why, and what would stay undecided because of it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use syncline_schema::printable::{printable, printable_json, tell};

use super::record::WhatArguments;
use crate::record::cluster::facts;
use crate::record::examine::{Examined, available, dataplane, examine};
use crate::record::host::Host;
use crate::record::rows::{self, Dataplane};
use crate::record::sources;

/// Arguments of `doctor`.
#[derive(Args, Debug)]
pub struct DoctorArguments {
    #[command(flatten)]
    what: WhatArguments,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

/// Prints it. Exit code 1 where propagation could not be measured.
///
/// # Errors
/// Standard output that cannot be written.
pub fn run(arguments: DoctorArguments) -> anyhow::Result<ExitCode> {
    let asked = arguments.what.to_look(PathBuf::new());
    let known = facts::learn(&asked, Host::default());
    for what in &known.unknown {
        tell(format_args!("not known: {what}"));
    }
    let plan = Arc::new(known.plan);
    let examined = examine(sources::SOURCES, &plan, &asked.without);
    let dataplane = dataplane(&plan);
    let text = match arguments.format {
        Format::Table => table(&examined, dataplane),
        Format::Json => json(&examined)?,
    };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    let measured = rows::measures_propagation(&available(&examined), dataplane);
    Ok(if measured { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// `source`, `available`, `why`, `remedy`, `decides[]`: one object a source.
fn json(examined: &[Examined]) -> anyhow::Result<String> {
    let all: Vec<serde_json::Value> = examined
        .iter()
        .map(|one| {
            let (why, remedy) = match &one.found {
                Ok(found) => (found.as_str(), None),
                Err(lack) => (lack.what.as_str(), Some(lack.remedy.as_str())),
            };
            serde_json::json!({
                "source": one.source,
                "available": one.found.is_ok(),
                "why": why,
                "remedy": remedy,
                "decides": one.decides,
            })
        })
        .collect();
    Ok(printable_json(&serde_json::to_string_pretty(&all)?).into_owned() + "\n")
}

fn table(examined: &[Examined], dataplane: Option<Dataplane>) -> String {
    let mut out = String::new();
    // Names of the sources that are built in.
    let width = examined.iter().map(|one| one.source.len()).max().unwrap_or(0);
    let pad = |text: &str| " ".repeat(width.saturating_sub(text.len()));
    for one in examined {
        let (word, why) = match &one.found {
            Ok(found) => ("yes", found.as_str()),
            Err(lack) => ("no ", lack.what.as_str()),
        };
        let _ = writeln!(out, "{}{}  {word}  {}", one.source, pad(one.source), printable(why));
        if let Err(lack) = &one.found {
            let _ = writeln!(out, "{}       remedy: {}", pad(""), printable(&lack.remedy));
        }
    }
    let side = match dataplane {
        Some(Dataplane::KubeProxy) => "kube-proxy",
        Some(Dataplane::Cilium) => "Cilium",
        None => "a dataplane that is not known: neither kube-proxy nor a Cilium agent was found",
    };
    let available = available(examined);
    let undecided = rows::undecided(&available, dataplane);
    let (count, all) = (undecided.len(), rows::ROWS.len());
    let _ = writeln!(out, "\nrows of the catalogue that nothing here decides ({side}): {count} of {all}");
    for words in rows::in_words(&undecided) {
        let _ = writeln!(out, "  {words}");
    }
    let word = if rows::measures_propagation(&available, dataplane) { "can be" } else { "cannot be" };
    let _ = writeln!(out, "propagation {word} measured here");
    out
}

#[cfg(test)]
mod tests {
    use super::{json, table};
    use crate::record::examine::Examined;
    use crate::record::rows::Dataplane;
    use crate::record::source::Lack;

    fn examined() -> Vec<Examined> {
        let one = |source, found| Examined { source, about: "", found, decides: vec!["A1"] };
        vec![
            one("kubernetes", Ok("https://a".to_owned())),
            one("iptables", Err(Lack::new("not installed", "install it"))),
        ]
    }

    #[test]
    fn what_is_missing_and_what_follows_is_told() {
        let text = table(&examined(), Some(Dataplane::KubeProxy));
        assert!(text.contains("kubernetes  yes  https://a\n"), "{text}");
        assert!(text.contains("iptables    no   not installed\n                 remedy: install it\n"), "{text}");
        assert!(
            text.contains("  A1 T3.1 T3.4 C7: no beacon or audit-log, and iptables or nftables or ipvs\n"),
            "{text}"
        );
        assert!(text.ends_with("propagation cannot be measured here\n"));
    }

    #[test]
    fn the_same_as_json() {
        let value: serde_json::Value = serde_json::from_str(&json(&examined()).unwrap()).unwrap();
        assert_eq!(
            value[0],
            serde_json::json!({"source": "kubernetes", "available": true, "why": "https://a", "remedy": null, "decides": ["A1"]})
        );
        assert_eq!(value[1]["remedy"], "install it");
    }
}
