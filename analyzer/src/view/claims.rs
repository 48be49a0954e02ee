//! Is the document right? How many of its values were as claimed, below or above, for each dataplane, in words that say whether
//! that is good or bad for who runs the cluster.

use serde::Serialize;

use super::rows::Standing;
use super::{dataplane_name, plural};
use crate::result::RunResult;
use crate::verdict::{Catalogue, Status, Verdict, overall};

/// Counts of one dataplane.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Side {
    pub dataplane: String,
    pub name: String,
    pub class: String,
    pub runs: String,
    /// Rows with a documented value.
    pub total: u64,
    /// How many figures these rest on: several rows may ask for one.
    pub figures: u64,
    pub counts: Vec<Count>,
    /// The counts in one sentence.
    pub sentence: String,
}

/// How many rows stand alike.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Count {
    /// `as claimed`, `off the claim, good for you`, …
    pub words: String,
    pub class: String,
    pub mark: String,
    /// The token of the JSON.
    pub status: String,
    pub n: u64,
    /// Share of all rows, for the bar, percent with one decimal.
    pub share: String,
    /// Identifiers of the rows.
    pub ids: Vec<String>,
}

/// One for each dataplane that has documented values and a run.
pub fn build(runs: &[RunResult], verdicts: &[Verdict], catalogue: &Catalogue) -> Vec<Side> {
    ["cilium", "kube-proxy-iptables"]
        .into_iter()
        .filter(|dataplane| runs.iter().any(|r| r.run.dataplane == *dataplane))
        .map(|dataplane| side(dataplane, runs, verdicts, catalogue))
        .collect()
}

fn side(dataplane: &str, runs: &[RunResult], verdicts: &[Verdict], catalogue: &Catalogue) -> Side {
    let judged: Vec<(&str, &Verdict)> = catalogue
        .rows
        .iter()
        .filter_map(|row| Some((row.id.as_str(), overall(verdicts, &row.id, dataplane)?)))
        .collect();
    let figures: std::collections::BTreeSet<_> = judged
        .iter()
        .map(|(id, v)| {
            // What was not measured is a figure of its own.
            let own = if v.measured.is_some() { "" } else { *id };
            (v.measurement.as_str(), v.scenario.as_str(), v.services, v.measured.map(f64::to_bits), own)
        })
        .collect();
    let total = judged.len();
    // A claim that nothing could contradict is no claim that was confirmed.
    let idle = |v: &Verdict| !v.counts();
    let of = |status: Status, idles: bool| {
        let own = judged.iter().filter(|(_, v)| v.status == status && idle(v) == idles);
        own.map(|(id, _)| (*id).to_owned()).collect::<Vec<String>>()
    };
    let mut all: Vec<(Standing, Vec<String>)> =
        Status::ALL.into_iter().map(|status| (Standing::summary(status), of(status, false))).collect();
    let idles: Vec<String> = Status::ALL.into_iter().flat_map(|status| of(status, true)).collect();
    if !idles.is_empty() {
        let words = "claims nothing that could fail";
        all.push((Standing { words, class: "at-none", mark: "–", status: "" }, idles));
    }
    let counts: Vec<Count> = all
        .into_iter()
        .map(|(standing, ids)| Count {
            words: standing.words.into(),
            class: standing.class.into(),
            mark: standing.mark.into(),
            status: standing.status.into(),
            n: ids.len() as u64,
            share: format!("{:.1}", ids.len() as f64 * 100.0 / total.max(1) as f64),
            ids,
        })
        .collect();
    let n = |status: Status| counts.iter().find(|c| c.status == status.word()).map_or(0, |c| c.n);
    let idle =
        counts.get(Status::ALL.len()).map_or_else(String::new, |c| format!("; {} claim nothing that could fail", c.n));
    let own = runs.iter().filter(|r| r.run.dataplane == dataplane).count();
    let name = dataplane_name(dataplane);
    let sized: Vec<&str> = judged
        .iter()
        .filter(|(id, v)| v.status == Status::Better && catalogue.row(id).is_some_and(|row| row.sized))
        .map(|(id, _)| *id)
        .collect();
    let sized = match sized.as_slice() {
        [] => String::new(),
        ids => format!(" ({} says no more than that the cluster is small)", ids.join(", ")),
    };
    let off = |n: u64, word: &str| match n {
        0 => format!("none is off it to your {word}"),
        1 => format!("1 is off it to your {word}"),
        n => format!("{n} are off it to your {word}"),
    };
    let sentence = format!(
        "{name}: of {} documented values (resting on {} figures) {} were found as claimed; {}{sized}, {}; {} could not be decided and {} not measured{idle}.",
        total,
        figures.len(),
        n(Status::Holds),
        off(n(Status::Better), "advantage"),
        off(n(Status::Worse), "cost"),
        n(Status::Inconclusive),
        n(Status::NotMeasured)
    );
    Side {
        dataplane: dataplane.into(),
        class: super::chart::class_of(dataplane).into(),
        runs: plural(own, "run"),
        total: total as u64,
        figures: figures.len() as u64,
        name,
        counts,
        sentence,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_or_colour_of_a_count_praises_or_blames_a_dataplane() {
        for status in Status::ALL {
            let standing = Standing::summary(status);
            assert!(!standing.words.contains("better") && !standing.words.contains("worse"), "{}", standing.words);
            assert!(standing.class.starts_with("at-"), "{}", standing.class);
        }
    }
}
