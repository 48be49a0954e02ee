//! Which metrics an expression can ask for, and how far back: so that a caller loads no others, and knows what is missing.

use std::collections::BTreeSet;

use super::tree::{DurationNode, Expr, Node, NodeKind, Selector};
use crate::labels::METRIC_NAME;
use crate::storage::MatchOperator;

impl Expr {
    /// Names of all metrics that the expression selects; `None` where a selector leaves the name open (a pattern, no
    /// name at all, or `info`, which looks for metrics of its own).
    pub fn metric_names(&self) -> Option<BTreeSet<String>> {
        let (mut names, mut all) = (BTreeSet::new(), true);
        walk(&self.root, &mut |node| match &node.kind {
            NodeKind::Call(call) => all &= call.function.name != "info",
            NodeKind::Selector(selector) | NodeKind::RangeSelector { selector, .. } => match name(selector) {
                Some(name) => drop(names.insert(name.to_owned())),
                None => all = false,
            },
            _ => {}
        });
        all.then_some(names)
    }
}

impl Expr {
    /// How far before an evaluation the expression's windows reach, in milliseconds: ranges and offsets, those of a
    /// subquery and of what is in it added. Durations that depend on the query count as none, and so does the lookback
    /// of instant selectors.
    pub fn reach(&self) -> i64 {
        (reach(&self.root) * 1e3) as i64
    }
}

impl Expr {
    /// All selectors, in the order of the text: so that a caller can put further conditions into each.
    pub fn selectors(&self) -> Vec<&Selector> {
        let mut found = Vec::new();
        walk(&self.root, &mut |node| {
            if let NodeKind::Selector(selector) | NodeKind::RangeSelector { selector, .. } = &node.kind {
                found.push(&**selector);
            }
        });
        found.sort_by_key(|one| one.span.start);
        found
    }
}

/// Shows a node and all below it.
fn walk<'e>(node: &'e Node, see: &mut impl FnMut(&'e Node)) {
    see(node);
    match &node.kind {
        NodeKind::Number(_) | NodeKind::Text { .. } | NodeKind::Selector(_) | NodeKind::RangeSelector { .. } => {}
        NodeKind::Paren(inner) | NodeKind::Unary { operand: inner, .. } => walk(inner, see),
        NodeKind::Binary(binary) => [&binary.left, &binary.right].into_iter().for_each(|one| walk(one, see)),
        NodeKind::Aggregate(aggregate) => {
            walk(&aggregate.operand, see);
            aggregate.parameter.iter().for_each(|one| walk(one, see));
        }
        NodeKind::Call(call) => call.arguments.iter().for_each(|one| walk(one, see)),
        NodeKind::Subquery(subquery) => walk(&subquery.inner, see),
    }
}

/// The one metric name that a selector asks for.
fn name(selector: &Selector) -> Option<&str> {
    let fixed = selector.matchers.iter().find(|one| one.name == METRIC_NAME && one.operator == MatchOperator::Equal);
    fixed.map(|one| one.value.as_str()).filter(|name| !name.is_empty())
}

fn reach(node: &Node) -> f64 {
    let largest = |nodes: &[&Node]| nodes.iter().map(|one| reach(one)).fold(0.0, f64::max);
    match &node.kind {
        NodeKind::Number(_) | NodeKind::Text { .. } => 0.0,
        NodeKind::Paren(inner) | NodeKind::Unary { operand: inner, .. } => reach(inner),
        NodeKind::Binary(binary) => largest(&[&binary.left, &binary.right]),
        NodeKind::Aggregate(aggregate) => reach(&aggregate.operand),
        NodeKind::Call(call) => largest(&call.arguments.iter().collect::<Vec<_>>()),
        NodeKind::Selector(selector) => offset(selector.offset.as_ref()),
        NodeKind::RangeSelector { selector, range } => offset(selector.offset.as_ref()) + offset(Some(range)),
        NodeKind::Subquery(subquery) => {
            reach(&subquery.inner) + offset(Some(&subquery.range)) + offset(subquery.offset.as_ref())
        }
    }
}

fn offset(duration: Option<&DurationNode>) -> f64 {
    match duration {
        Some(DurationNode::Seconds(seconds)) => seconds.max(0.0),
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use crate::parse;

    #[test]
    fn reach_adds_ranges_and_offsets() {
        for (query, seconds) in [
            ("up", 0),
            ("rate(a[5m]) + rate(b[30s])", 300),
            ("rate(a[5m] offset 1m)", 360),
            ("max_over_time(rate(a[1m])[5m:10s] offset 1m)", 420),
            ("sum(a offset -5m)", 0),
        ] {
            assert_eq!(parse(query).expect(query).reach(), seconds * 1_000, "{query}");
        }
    }

    #[test]
    fn selectors_stand_where_they_say() {
        let query = "topk(scalar(k), a{x=\"y\"} / on (x) rate(b[5m] offset 1m)) > max_over_time({z=\"\",y=\"1\"}[1m:])";
        let expr = parse(query).expect(query);
        let found: Vec<&str> = expr.selectors().iter().map(|one| &query[one.span.start..]).collect();
        let begin = ["k)", "a{", "b[", "{z"];
        assert!(found.len() == 4 && found.iter().zip(begin).all(|(text, begin)| text.starts_with(begin)), "{found:?}");
    }

    #[test]
    fn names_are_found_wherever_a_selector_stands_or_none_are() {
        for (query, expected) in [
            ("1 + 2", Some("")),
            ("a / on (x) b", Some("a b")),
            ("topk(scalar(k), sum(rate(a[5m]))) > bool {__name__=\"b\"}", Some("a b k")),
            ("max_over_time(rate(a[1m])[5m:10s] offset 1m)", Some("a")),
            ("{\"a.b\", x=\"y\"}", Some("a.b")),
            ("{__name__=~\"a|b\"}", None),
            ("{job=\"x\"}", None),
            ("info(a)", None),
        ] {
            let names = parse(query).expect(query).metric_names();
            let joined = names.map(|names| names.into_iter().collect::<Vec<_>>().join(" "));
            assert_eq!(joined.as_deref(), expected, "{query}");
        }
    }
}
