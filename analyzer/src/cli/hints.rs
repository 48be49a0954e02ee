//! What to say of a query that found nothing: the nearest names that are there, and what the catalogues know of those asked for.

use std::collections::BTreeSet;

use arcstr::ArcStr;
use syncline_promql::Expr;

use crate::bundle::{Bundle, listed};
use crate::events::facts;
use crate::events::metric_names::absence;
use crate::verdict::Catalogue;

/// Names that are proposed at most.
const MOST: usize = 3;

/// One line a name that no bundle has.
///
/// # Errors
/// A table that cannot be read.
pub fn of(query: &Expr, bundles: &[Bundle]) -> anyhow::Result<Vec<String>> {
    let Some(asked) = query.metric_names() else { return Ok(Vec::new()) };
    let mut known: BTreeSet<ArcStr> = BTreeSet::new();
    for bundle in bundles {
        known.extend(listed::names(bundle)?);
    }
    let catalogue = Catalogue::built_in()?;
    let mut lines = Vec::new();
    for name in asked.iter().filter(|name| !known.contains(name.as_str())) {
        let nearest = nearest(name, &known);
        let near = if nearest.is_empty() { "no name is like it".to_owned() } else { nearest.join(", ") };
        lines.push(format!("no capture has a series {name}; nearest: {near}"));
        lines.extend(told(name, bundles)?.map(|why| format!("{name}: {why}")));
        for row in catalogue.rows.iter().filter(|row| row.documented.query.iter().any(|text| names(text, name))) {
            let instead = row.sound.query.first().map_or_else(String::new, |query| format!(" Ask: {query}"));
            lines.push(format!(
                "{name} stands in row {}: {}.{instead}",
                row.id,
                row.sound.reason.trim().trim_end_matches('.')
            ));
        }
    }
    Ok(lines)
}

/// Why the first bundle of which anything is known lacks a name.
fn told(name: &str, bundles: &[Bundle]) -> anyhow::Result<Option<String>> {
    for bundle in bundles {
        let path = |source: i32| {
            let source = usize::try_from(source).ok().and_then(|at| bundle.manifest.sources.get(at));
            source.map_or_else(|| "?".to_owned(), |source| source.path.clone())
        };
        let (facts, _) = facts::gather(bundle, &path)?;
        let dataplane = bundle.manifest.dataplane.as_deref().unwrap_or("unknown");
        if let Some(why) = absence(name, dataplane, &facts) {
            return Ok(Some(why));
        }
    }
    Ok(None)
}

/// Whether an expression names a metric.
fn names(expression: &str, name: &str) -> bool {
    let inside = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    expression.split(|c| !inside(c)).any(|word| word == name)
}

/// The names nearest to one that is not there, the nearest first: by the words that they share, then by letters to insert, delete, replace
/// or swap with their neighbour.
fn nearest<'k>(name: &str, known: &'k BTreeSet<ArcStr>) -> Vec<&'k str> {
    let words = |name: &str| -> BTreeSet<String> { name.split(['_', ':']).map(str::to_owned).collect() };
    let own = words(name);
    let mut found: Vec<(f64, &str)> = known
        .iter()
        .filter_map(|other| {
            let theirs = words(other);
            let shared = own.intersection(&theirs).count() as f64 / own.union(&theirs).count().max(1) as f64;
            let longest = name.len().max(other.len()).max(1);
            let letters = 1.0 - strsim::osa_distance(name, other) as f64 / longest as f64;
            let likeness = shared.max(letters);
            (likeness >= 0.5).then_some((likeness + shared / 100.0, other.as_str()))
        })
        .collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    found.into_iter().take(MOST).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_and_a_half_remembered_name_find_theirs() {
        let known: BTreeSet<ArcStr> =
            ["process_cpu_seconds_total", "container_cpu_usage_seconds_total", "up", "cilium_forward_count_total"]
                .map(ArcStr::from)
                .into();
        assert_eq!(nearest("proces_cpu_secodns_total", &known)[0], "process_cpu_seconds_total");
        assert_eq!(nearest("cpu_usage_seconds_total", &known)[0], "container_cpu_usage_seconds_total");
        assert!(nearest("nothing_like_it_at_all", &known).is_empty());
    }

    #[test]
    fn an_expression_names_whole_words() {
        assert!(names("rate(foo_sum[1m]) / rate(foo_count[1m])", "foo_count"));
        assert!(!names("rate(foo_sum_total[1m])", "foo_sum"));
    }
}
