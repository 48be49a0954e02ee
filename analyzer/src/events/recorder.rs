//! What a recorder says that it could not see: a finding for each of its sources.

use std::collections::BTreeMap;

use super::facts::Facts;
use crate::clock::{Evidence, Finding};

/// How such facts begin; behind it stand the loss, the source and a number.
const LOST: &str = "lost/";
/// Loss of a source that was not there: not there is not lost.
const ABSENT: &str = "source-not-recorded";
/// Words of one source that are told.
const MOST_SAID: usize = 4;

/// One finding for each source that lost something, and one for all that were not there. The facts that it is told from are taken
/// out: they say nothing else.
pub fn findings(facts: &mut Facts) -> Vec<Finding> {
    let mut lost: BTreeMap<String, Vec<(String, Evidence)>> = BTreeMap::new();
    let mut absent: BTreeMap<String, (String, Evidence)> = BTreeMap::new();
    facts.retain(|key, told| {
        let Some(rest) = key.strip_prefix(LOST) else { return true };
        let (loss, source) = rest.split_once('/').unwrap_or(("", rest));
        let source = source.split('/').next().unwrap_or(source);
        if loss == ABSENT {
            absent.entry(source.to_owned()).or_insert_with(|| told.clone());
        } else {
            lost.entry(source.to_owned()).or_default().push(told.clone());
        }
        false
    });
    let mut found: Vec<Finding> = lost.into_iter().map(|(source, told)| finding(&source, told)).collect();
    if !absent.is_empty() {
        let words: Vec<String> =
            absent.iter().map(|(source, (what, _))| format!("{source} ({})", first(what))).collect();
        found.push(Finding {
            title: "sources that the recorder did not find, or left out".to_owned(),
            detail: words.join(", "),
            evidence: absent.into_values().map(|(_, evidence)| evidence).take(MOST_SAID).collect(),
        });
    }
    found
}

/// What was missing, without the remedy behind it.
fn first(what: &str) -> &str {
    what.split_once(": ").map_or(what, |(missing, _)| missing)
}

fn finding(source: &str, mut told: Vec<(String, Evidence)>) -> Finding {
    told.sort_by(|(_, a), (_, b)| (&a.path, a.record).cmp(&(&b.path, b.record)));
    // The same words again and again are said once.
    let mut said: Vec<(&str, usize)> = Vec::new();
    for (words, _) in &told {
        match said.iter_mut().find(|(known, _)| known == words) {
            Some((_, count)) => *count += 1,
            None => said.push((words, 1)),
        }
    }
    let more = said.len().saturating_sub(MOST_SAID);
    let mut words: Vec<String> = said
        .iter()
        .take(MOST_SAID)
        .map(|(words, count)| if *count > 1 { format!("{words} (×{count})") } else { (*words).to_owned() })
        .collect();
    if more > 0 {
        words.push(format!("and {more} more"));
    }
    Finding {
        title: format!("the recorder could not see all of {source}"),
        detail: words.join("; "),
        evidence: told.into_iter().take(MOST_SAID).map(|(_, evidence)| evidence).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_source_lost_is_told_once_in_the_order_of_the_file() {
        let fact = |key: &str, value: &str, record: i64| {
            (key.to_owned(), (value.to_owned(), Evidence { record, ..Evidence::default() }))
        };
        let mut facts: Facts = [
            fact("lost/recorder-gap/iptables/10", "no answer within 5 s", 10),
            fact("lost/recorder-gap/iptables/9", "killed, began again", 9),
            fact("lost/recorder-gap/iptables/11", "no answer within 5 s", 11),
            fact("lost/watch-gap/watch/2", "410 Gone", 2),
            fact("lost/source-not-recorded/hubble/3", "no Hubble: nothing where Cilium is not used", 3),
            fact("lost/source-not-recorded/ipvs/4", "left out by --without", 4),
            fact("mode", "iptables", 1),
        ]
        .into();
        let found = findings(&mut facts);
        assert_eq!(facts.keys().collect::<Vec<_>>(), ["mode"]);
        let told: Vec<(&str, &str)> = found.iter().map(|one| (one.title.as_str(), one.detail.as_str())).collect();
        assert_eq!(
            told,
            [
                ("the recorder could not see all of iptables", "killed, began again; no answer within 5 s (×2)"),
                ("the recorder could not see all of watch", "410 Gone"),
                (
                    "sources that the recorder did not find, or left out",
                    "hubble (no Hubble), ipvs (left out by --without)"
                )
            ]
        );
    }
}
