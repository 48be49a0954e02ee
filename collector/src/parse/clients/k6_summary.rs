//! The summary that k6 prints at its end, of versions 0 and 1.
//!
//! ```text
//!     http_req_duration..............: avg=63.18ms min=0s med=37.06ms max=2.31s p(90)=118.66ms p(95)=133.4ms
//!     http_req_failed................: 0.00%  62 out of 766355                  version 1
//!     http_req_failed................: 0.00%  ✓ 62       ✗ 766293               version 0
//!     http_reqs......................: 766355 7365.158697/s
//!     data_received..................: 95 MB  913 kB/s
//!     vus............................: 1      min=1      max=100
//! ```

use super::summary_fact::{Figure, Said, is_number, is_quantity};

/// Beginnings of lines that say nothing of the run as a whole.
const AROUND: [&str; 13] = [
    "execution:",
    "script:",
    "output:",
    "scenarios:",
    "web dashboard:",
    "* ",
    "running (",
    "init [",
    "default ",
    "HTTP",
    "EXECUTION",
    "NETWORK",
    "CUSTOM",
];

/// A line of the summary.
pub fn line(text: &str) -> Said {
    let bare = text.trim();
    if let Some((metric, values)) = metric_of(bare) {
        return match figures(metric, values) {
            Some(found) => Said::Figures(found),
            None => Said::Unknown,
        };
    }
    if let Some(error) = failed_request(bare) {
        return Said::Error(None, error.to_owned());
    }
    if let Some(check) = bare.strip_prefix(['\u{2713}', '\u{2717}', '\u{21b3}']) {
        return check_of(check.trim());
    }
    let picture = !bare.chars().any(char::is_alphanumeric) || bare.starts_with('\u{2588}') || is_logo(bare);
    let around = AROUND.iter().any(|start| bare.starts_with(start)) || bare == "THRESHOLDS" || bare == "checks";
    if picture || around { Said::Nothing } else { Said::Unknown }
}

/// The letters of k6's name in its logo: `|   (‾)  \|  |    (   / ‾‾\`, and `Grafana` beside it.
fn is_logo(bare: &str) -> bool {
    let letters: String = bare.chars().filter(|letter| letter.is_alphanumeric()).collect();
    matches!(letters.as_str(), "io" | "Grafana" | "k6io") && bare.contains(['/', '\\', '|', '.'])
}

/// `http_req_duration..........: avg=1ms …`: the metric, with `{…}` for a part of it, and its values.
pub fn metric_of(line: &str) -> Option<(&str, &str)> {
    let (metric, values) = line.split_once("..: ").or_else(|| line.split_once(".: "))?;
    let metric = metric.trim_matches([' ', '.', '\u{2713}', '\u{2717}']).trim();
    let plain = !metric.is_empty() && metric.chars().all(|one| one.is_ascii_alphanumeric() || "_{}: ".contains(one));
    plain.then_some((metric, values))
}

fn figures(metric: &str, values: &str) -> Option<Vec<Figure>> {
    let words: Vec<&str> = values.split_whitespace().collect();
    let named = |words: &[&str]| -> Option<Vec<Figure>> {
        let figure = |word: &&str| {
            let (name, value) = word.split_once('=')?;
            is_quantity(value).then(|| Figure::new(metric, name, value))
        };
        words.iter().map(figure).collect()
    };
    let counted = |share: &str, count: &str, total: u64| {
        vec![
            Figure::new(metric, "value", share),
            Figure::new(metric, "count", count),
            Figure::new(metric, "total", &total.to_string()),
        ]
    };
    let number = |text: &str| text.parse::<u64>().ok();
    match words.as_slice() {
        [] => None,
        [first, ..] if first.contains('=') => named(&words),
        [share, count, "out", "of", total] if share.ends_with('%') => {
            number(count)?;
            Some(counted(share, count, number(total)?))
        }
        [share, "\u{2713}", yes, "\u{2717}", no] if share.ends_with('%') => {
            Some(counted(share, yes, number(yes)?.checked_add(number(no)?)?))
        }
        [value] if is_quantity(value) => Some(vec![Figure::new(metric, "value", value)]),
        [value, rest @ ..] if is_number(value) && rest.iter().all(|word| word.contains('=')) => {
            let mut found = vec![Figure::new(metric, "value", value)];
            found.extend(named(rest)?);
            Some(found)
        }
        // A count or an amount, and its rate: `766355 7365.158697/s`, `95 MB 913 kB/s`.
        [value, rate] if is_quantity(value) => {
            let per_second = rate.strip_suffix("/s").filter(|rate| is_number(rate))?;
            Some(vec![Figure::new(metric, "value", value), Figure::new(metric, "rate", &format!("{per_second}/s"))])
        }
        [value, unit, rate, per] if is_number(value) && is_number(rate) && per.ends_with("/s") => Some(vec![
            Figure::new(metric, "value", &format!("{value} {unit}")),
            Figure::new(metric, "rate", &format!("{rate} {per}")),
        ]),
        _ => None,
    }
}

/// The text of an error that k6 logs for a request: `… msg="Request Failed" error="Get …"`.
fn failed_request(line: &str) -> Option<&str> {
    let (_, behind) = line.split_once("Request Failed")?;
    let (_, error) = behind.split_once("error=")?;
    Some(error.trim().trim_matches('"'))
}

/// `99% — ✓ 766293 / ✗ 62` below the name of a check; the name says nothing by itself.
fn check_of(text: &str) -> Said {
    let mut words = text.split_whitespace();
    let (Some(share), Some(_), Some("\u{2713}"), Some(yes), Some("/"), Some("\u{2717}"), Some(no)) = (
        words.next().filter(|share| share.ends_with('%')),
        words.next(),
        words.next(),
        words.next(),
        words.next(),
        words.next(),
        words.next(),
    ) else {
        return Said::Nothing;
    };
    Said::Figures(vec![
        Figure::new("check", "value", share),
        Figure::new("check", "passed", yes),
        Figure::new("check", "failed", no),
    ])
}

#[cfg(test)]
mod tests {
    use super::{line, metric_of};
    use crate::parse::clients::summary_fact::Said;

    fn said(text: &str) -> String {
        match line(text) {
            Said::Figures(found) => {
                let found = found.iter().map(|one| format!("{}/{}={}", one.metric, one.statistic, one.value));
                found.collect::<Vec<_>>().join(" ")
            }
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn both_versions_say_how_many_failed() {
        let expected = "http_req_failed/value=0.00% http_req_failed/count=62 http_req_failed/total=766355";
        assert_eq!(said("    http_req_failed................: 0.00%  62 out of 766355"), expected);
        assert_eq!(said("   ✗ http_req_failed..: 0.00%  ✓ 62        ✗ 766293"), expected);
        assert_eq!(said("http_reqs...: 766355 7365.158697/s"), "http_reqs/value=766355 http_reqs/rate=7365.158697/s");
        assert_eq!(said("data_received....: 95 MB  913 kB/s"), "data_received/value=95 MB data_received/rate=913 kB/s");
        assert_eq!(said("vus.....: 1      min=1      max=100"), "vus/value=1 vus/min=1 vus/max=100");
    }

    #[test]
    fn what_is_garbled_is_not_understood() {
        for text in ["http_reqs......: 12 0.1.158697/s", "http_req_duration.: avg=6x.18ms min", "words of somebody 12"]
        {
            assert_eq!(line(text), Said::Unknown, "{text}");
        }
        for text in
            ["", "  HTTP", "  █ TOTAL RESULTS ", "     ✓ status is 200", "default   [ 33% ] 10 VUs", " /\\ |‾‾| /‾‾/ "]
        {
            assert_eq!(line(text), Said::Nothing, "{text}");
        }
        let log = "time=\"2026-11-23T04:24:06Z\" level=warning msg=\"Request Failed\" error=\"Get \\\"http://x\\\": refused\"";
        assert!(matches!(line(log), Said::Error(None, text) if text.contains("refused")));
        assert_eq!(metric_of("     http_reqs......: 1000    3.3/s"), Some(("http_reqs", "1000    3.3/s")));
        assert!(metric_of("Error: a b: c").is_none());
    }
}
