//! JUnit's XML, as CI systems read it: a test case a verdict or a comparison.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::changes::FailOn;
use super::template::escape;
use super::terminal::Failing;
use crate::verdict::change::{Change, Word};
use crate::verdict::{Status, Verdict};
use crate::view::changes::words;
use crate::view::dataplane_name;
use crate::view::rows::group_label;

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Passed,
    Failed,
    Skipped,
}

/// One case.
pub(super) struct Case {
    pub suite: String,
    pub name: String,
    pub outcome: Outcome,
    /// One line.
    pub message: String,
    /// Beside it: evidence, figures of runs.
    pub detail: Vec<String>,
}

/// The verdicts, and the comparisons with a baseline of which `costlier` says which fail. What is inconclusive or not measured
/// is skipped unless it fails; so is what is worse as it was in the baseline.
pub fn verdicts(
    all: &[Verdict],
    failing: &Failing<'_>,
    against: &[Change],
    costlier: &dyn Fn(&Change) -> bool,
) -> String {
    let case = |(at, one): (usize, &Verdict)| {
        let column = if one.column.is_empty() { String::new() } else { format!(" {}", one.column) };
        let figure = format!("measured by {}", one.measurement);
        let evidence = one.evidence.iter().map(|line| format!("{}:{} {}", line.path, line.record, line.what));
        let known = if failing.known.contains(&at) { ", as in the baseline" } else { "" };
        Case {
            suite: format!("{}{column}, {}", dataplane_name(&one.dataplane), group_label(&one.scenario, one.services)),
            name: format!("{} {}", one.id, one.claim),
            outcome: match one.status {
                _ if failing.fails(at, one) => Outcome::Failed,
                Status::Holds | Status::Better => Outcome::Passed,
                Status::Worse | Status::Inconclusive | Status::NotMeasured => Outcome::Skipped,
            },
            message: format!("{}{known} (claimed: {}): {}", one.status.word(), one.expected, one.reason),
            detail: std::iter::once(figure).filter(|_| !one.measurement.is_empty()).chain(evidence.take(20)).collect(),
        }
    };
    let mut cases: Vec<Case> = all.iter().enumerate().map(case).collect();
    cases.extend(against.iter().map(|one| {
        let case = change(one, costlier);
        Case { suite: format!("against the baseline, {}", case.suite), ..case }
    }));
    document("syncline check", cases)
}

/// The comparisons: what `fail_on` says fails, what cannot be told is skipped.
pub fn changes(all: &[Change], fail_on: Option<FailOn>) -> String {
    let fails = |one: &Change| fail_on.is_some_and(|rule| rule.fails(one));
    document("syncline compare", all.iter().map(|one| change(one, &fails)).collect())
}

fn change(one: &Change, fails: &dyn Fn(&Change) -> bool) -> Case {
    let figure = |label: &str, runs: &[(String, crate::math::Estimate)]| {
        let each: Vec<String> =
            runs.iter().map(|(run, one)| format!("{run} {:?}", one.value.unwrap_or(f64::NAN))).collect();
        format!("{label}: {}", each.join(", "))
    };
    Case {
        suite: group_label(&one.scenario, one.services),
        name: words::figure(&one.figure),
        outcome: match one.word {
            _ if fails(one) => Outcome::Failed,
            Word::CannotTell => Outcome::Skipped,
            _ => Outcome::Passed,
        },
        message: format!("{}: {}, p {}", words::meaning(one), words::ratio(one), words::p(one)),
        detail: vec![figure("a", &one.a.runs), figure("b", &one.b.runs), format!("unit: {}", one.unit)],
    }
}

pub(super) fn document(name: &str, cases: Vec<Case>) -> String {
    let mut suites: BTreeMap<String, Vec<Case>> = BTreeMap::new();
    for case in cases {
        suites.entry(case.suite.clone()).or_default().push(case);
    }
    let mut out = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"{}\">\n", escape(name));
    for (suite, cases) in suites {
        let count = |outcome: Outcome| cases.iter().filter(|case| case.outcome == outcome).count();
        let (failed, skipped) = (count(Outcome::Failed), count(Outcome::Skipped));
        let _ = writeln!(
            out,
            "<testsuite name=\"{}\" tests=\"{}\" failures=\"{failed}\" errors=\"0\" skipped=\"{skipped}\">",
            escape(&suite),
            cases.len()
        );
        for case in &cases {
            let (name, message) = (escape(&case.name), escape(&case.message));
            let detail = escape(&case.detail.join("\n"));
            let _ = write!(out, "<testcase classname=\"{}\" name=\"{name}\">", escape(&suite));
            let _ = match case.outcome {
                Outcome::Passed => write!(out, "<system-out>{message}\n{detail}</system-out>"),
                Outcome::Failed => write!(out, "<failure message=\"{message}\">{detail}</failure>"),
                Outcome::Skipped => write!(out, "<skipped message=\"{message}\"/>"),
            };
            out.push_str("</testcase>\n");
        }
        out.push_str("</testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(suite: &str, outcome: Outcome) -> Case {
        let evil = "a<b> & \"c\" \u{0}\u{1b}[2J ]]>".to_owned();
        Case { suite: suite.to_owned(), name: evil.clone(), outcome, message: evil.clone(), detail: vec![evil] }
    }

    #[test]
    fn cases_are_counted_by_suite_and_hostile_text_is_text() {
        let text =
            document("x", vec![case("s", Outcome::Passed), case("s", Outcome::Failed), case("t", Outcome::Skipped)]);
        assert!(
            text.contains("<testsuite name=\"s\" tests=\"2\" failures=\"1\" errors=\"0\" skipped=\"0\">"),
            "{text}"
        );
        assert!(
            text.contains("<testsuite name=\"t\" tests=\"1\" failures=\"0\" errors=\"0\" skipped=\"1\">"),
            "{text}"
        );
        assert!(!text.contains('\u{0}') && !text.contains('\u{1b}') && !text.contains("a<b>"), "{text}");
        assert!(!text.contains("]]>"), "{text}");
        let open = |tag: &str| text.matches(&format!("<{tag}")).count();
        assert_eq!((open("testcase "), text.matches("</testcase>").count()), (3, 3));
    }
}
