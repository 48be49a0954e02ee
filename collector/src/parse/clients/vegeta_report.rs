//! The report that vegeta prints as text.
//!
//! ```text
//! Latencies     [min, mean, 50, 90, 95, 99, max]  92.562ms, 5.014s, 315.774ms, 4.562s, 7.139s, 2m0s, 2m0s
//! Success       [ratio]                           96.67%
//! Status Codes  [code:count]                      0:2  200:58
//! Error Set:
//! Get "http://10.0.0.1/": context deadline exceeded
//! ```

use super::summary_fact::{Figure, Said, is_quantity};

/// A line of the report; `in_errors` is whether it stands below `Error Set:`.
pub fn line(text: &str, in_errors: bool) -> Said {
    let bare = text.trim();
    if bare.is_empty() || bare == "Error Set:" {
        return Said::Nothing;
    }
    if let Some((metric, names, values)) = columns(bare) {
        return figures(&metric, names, values);
    }
    if in_errors { Said::Error(None, bare.to_owned()) } else { Said::Unknown }
}

fn figures(metric: &str, names: &str, values: &str) -> Said {
    if names == "code:count" {
        let pair = |word: &str| {
            let (code, count) = word.split_once(':')?;
            count.parse::<u64>().ok()?;
            Some(Figure::new(metric, code, count))
        };
        return values.split_whitespace().map(pair).collect::<Option<_>>().map_or(Said::Unknown, Said::Figures);
    }
    let (names, values): (Vec<&str>, Vec<&str>) = (names.split(", ").collect(), values.split(", ").collect());
    if names.len() != values.len() || !values.iter().all(|value| is_quantity(value.trim())) {
        return Said::Unknown;
    }
    let pairs = names.iter().zip(&values);
    Said::Figures(pairs.map(|(name, value)| Figure::new(metric, name.trim(), value.trim())).collect())
}

/// `Latencies     [min, mean]    1ms, 2ms`: the metric in small letters, its statistics, their values.
pub fn columns(line: &str) -> Option<(String, &str, &str)> {
    let (metric, rest) = line.split_once('[')?;
    let (names, values) = rest.split_once(']')?;
    let plain = !metric.trim().is_empty() && metric.trim().chars().all(|one| one.is_ascii_alphabetic() || one == ' ');
    (plain && !names.is_empty()).then(|| (metric.trim().to_ascii_lowercase().replace(' ', "_"), names, values.trim()))
}

#[cfg(test)]
mod tests {
    use super::{columns, line};
    use crate::parse::clients::summary_fact::{Figure, Said};

    #[test]
    fn lines_name_a_metric_and_its_statistics() {
        let (metric, names, values) = columns("Bytes In      [total, mean]    3714690, 3095.57").expect("a line");
        assert_eq!((metric.as_str(), names, values), ("bytes_in", "total, mean", "3714690, 3095.57"));
        let codes = vec![Figure::new("status_codes", "0", "535"), Figure::new("status_codes", "200", "665")];
        assert_eq!(line("Status Codes  [code:count]    0:535  200:665", false), Said::Figures(codes));
        assert_eq!(line("Latencies  [min, mean]  1ms, 2x.3ms", false), Said::Unknown);
        assert_eq!(line("Latencies  [min, mean]  1ms", false), Said::Unknown);
        assert_eq!(line("dial tcp: refused", true), Said::Error(None, "dial tcp: refused".to_owned()));
        assert_eq!(line("dial tcp: refused", false), Said::Unknown);
    }
}
