//! Expressions as Prometheus prints them: on one line ([`Expr`]'s `Display`), or broken where a part is longer than 100
//! characters ([`Expr::pretty`], as the HTTP API's `format_query` answers).

use std::fmt;

use super::duration::duration_seconds;
use super::tree::{
    Aggregate, At, Binary, BinaryOperator, Boundary, Cardinality, DurationNode, Expr, Matching, Node, NodeKind,
    Selector, Subquery,
};
use crate::labels::{METRIC_NAME, is_plain_label_name, quoted};
use crate::number::format_float_short;
use crate::storage::MatchOperator;

/// Longest part that stays on its line, characters.
const LONGEST: usize = 100;

impl fmt::Display for Expr {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.line(&self.root))
    }
}

impl Expr {
    /// The expression over as many lines as it needs, two spaces a level.
    pub fn pretty(&self) -> String {
        self.broken(&self.root, 0)
    }

    /// A part on one line.
    pub(super) fn line(&self, node: &Node) -> String {
        match &node.kind {
            NodeKind::Number(value) => self.number(node, *value),
            NodeKind::Text { text, .. } => quoted(text),
            NodeKind::Paren(inner) => format!("({})", self.line(inner)),
            NodeKind::Unary { minus, operand } => format!("{}{}", sign(*minus), self.line(operand)),
            NodeKind::Binary(binary) => {
                format!("{} {} {}", self.line(&binary.left), operation(binary), self.line(&binary.right))
            }
            NodeKind::Aggregate(aggregate) => {
                let arguments = [aggregate.parameter.as_ref(), Some(&aggregate.operand)];
                let arguments: Vec<String> = arguments.into_iter().flatten().map(|one| self.line(one)).collect();
                format!("{}({})", aggregation(aggregate), arguments.join(", "))
            }
            NodeKind::Call(call) => {
                let arguments: Vec<String> = call.arguments.iter().map(|one| self.line(one)).collect();
                format!("{}({})", call.function.name, arguments.join(", "))
            }
            NodeKind::Selector(one) => {
                format!("{}{}{}", selector(one), boundary(one.boundary), when(one.at, &one.offset))
            }
            NodeKind::RangeSelector { selector: one, range } => {
                format!("{}[{}]{}{}", selector(one), duration(range), boundary(one.boundary), when(one.at, &one.offset))
            }
            NodeKind::Subquery(subquery) => format!("{}{}", self.line(&subquery.inner), steps(subquery)),
        }
    }

    /// A part, with the blanks ahead of its first line.
    fn broken(&self, node: &Node, level: usize) -> String {
        let (blanks, line) = ("  ".repeat(level), self.line(node));
        let whole = line.chars().count() <= LONGEST;
        match &node.kind {
            // Its operand breaks by itself.
            NodeKind::Unary { minus, operand } => {
                format!("{blanks}{}{}", sign(*minus), self.broken(operand, level).trim_start())
            }
            NodeKind::Subquery(_) if whole => line,
            NodeKind::Subquery(subquery) => format!("{}{}", self.broken(&subquery.inner, level), steps(subquery)),
            _ if whole => format!("{blanks}{line}"),
            NodeKind::Paren(inner) => format!("{blanks}(\n{}\n{blanks})", self.broken(inner, level + 1)),
            NodeKind::Binary(binary) => {
                let [left, right] = [&binary.left, &binary.right].map(|side| self.broken(side, level + 1));
                format!("{left}\n{blanks}{}\n{right}", operation(binary))
            }
            NodeKind::Aggregate(aggregate) => {
                let arguments = [aggregate.parameter.as_ref(), Some(&aggregate.operand)];
                self.listed(&aggregation(aggregate), arguments.into_iter().flatten(), level)
            }
            NodeKind::Call(call) => self.listed(call.function.name, call.arguments.iter(), level),
            _ => format!("{blanks}{line}"),
        }
    }

    /// Arguments, a line each.
    fn listed<'n>(&self, name: &str, arguments: impl Iterator<Item = &'n Node>, level: usize) -> String {
        let blanks = "  ".repeat(level);
        let lines: Vec<String> = arguments.map(|one| self.broken(one, level + 1)).collect();
        format!("{blanks}{name}(\n{}\n{blanks})", lines.join(",\n"))
    }

    /// A number as `%v` of Go has it; one that was written as a duration stays one.
    fn number(&self, node: &Node, value: f64) -> String {
        let written = self.text.get(node.span.start..node.span.end).unwrap_or_default();
        match duration_seconds(written) {
            Some(seconds) => milliseconds((seconds * 1000.0).round() as i64),
            None => format_float_short(value),
        }
    }
}

fn sign(minus: bool) -> &'static str {
    if minus { "-" } else { "+" }
}

/// The operator with what belongs to it.
fn operation(binary: &Binary) -> String {
    let mut text = binary.operator.symbol().to_owned();
    if binary.returns_bool {
        text.push_str(" bool");
    }
    if let Some(matching) = &binary.matching {
        text.push_str(&matched(matching));
    }
    text
}

fn matched(matching: &Matching) -> String {
    let grouped = matches!(matching.cardinality, Cardinality::ManyToOne | Cardinality::OneToMany);
    let mut text = String::new();
    if !matching.labels.is_empty() || matching.on || grouped {
        let how = if matching.on { "on" } else { "ignoring" };
        text = format!(" {how} ({})", names(&matching.labels));
    }
    if grouped {
        let side = if matching.cardinality == Cardinality::ManyToOne { "left" } else { "right" };
        text.push_str(&format!(" group_{side} ({})", names(&matching.include)));
    }
    match (matching.fill_left, matching.fill_right) {
        (Some(left), Some(right)) if left.to_bits() == right.to_bits() => {
            text.push_str(&format!(" fill ({})", format_float_short(left)));
        }
        (left, right) => {
            for (side, fill) in [("left", left), ("right", right)] {
                if let Some(fill) = fill {
                    text.push_str(&format!(" fill_{side} ({})", format_float_short(fill)));
                }
            }
        }
    }
    text
}

fn names(labels: &[String]) -> String {
    let shown = |label: &String| if is_plain_label_name(label) { label.clone() } else { quoted(label) };
    labels.iter().map(shown).collect::<Vec<_>>().join(", ")
}

fn aggregation(aggregate: &Aggregate) -> String {
    let (name, labels) = (aggregate.operator.name(), names(&aggregate.grouping));
    if aggregate.without {
        format!("{name} without ({labels}) ")
    } else if !labels.is_empty() {
        format!("{name} by ({labels}) ")
    } else {
        name.to_owned()
    }
}

fn selector(selector: &Selector) -> String {
    let plain = |name: &str| {
        let mut bytes = name.bytes();
        bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_' || first == b':')
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':')
    };
    let name = selector.name.as_deref().unwrap_or_default();
    let own = |matcher: &&crate::storage::Matcher| {
        !(matcher.name == METRIC_NAME && matcher.operator == MatchOperator::Equal && matcher.value == name)
    };
    let mut matchers: Vec<String> = selector.matchers.iter().filter(own).map(ToString::to_string).collect();
    let mut text = String::new();
    if plain(name) {
        text.push_str(name);
    } else if !name.is_empty() {
        matchers.insert(0, quoted(name));
    }
    if !matchers.is_empty() || text.is_empty() {
        text.push_str(&format!("{{{}}}", matchers.join(",")));
    }
    text
}

fn boundary(boundary: Option<Boundary>) -> &'static str {
    match boundary {
        None => "",
        Some(Boundary::Anchored) => " anchored",
        Some(Boundary::Smoothed) => " smoothed",
    }
}

/// `@` and `offset`.
fn when(at: Option<At>, offset: &Option<DurationNode>) -> String {
    let at = match at {
        None => String::new(),
        Some(At::Start) => " @ start()".to_owned(),
        Some(At::End) => " @ end()".to_owned(),
        Some(At::Time(time)) => format!(" @ {:.3}", time as f64 / 1000.0),
    };
    match offset {
        Some(DurationNode::Seconds(0.0)) | None => at,
        Some(offset) => format!("{at} offset {}", duration(offset)),
    }
}

/// What follows the inner expression of a subquery.
fn steps(subquery: &Subquery) -> String {
    let step = subquery.step.as_ref().map(duration).unwrap_or_default();
    format!("[{}:{step}]{}", duration(&subquery.range), when(subquery.at, &subquery.offset))
}

fn duration(node: &DurationNode) -> String {
    match node {
        DurationNode::Seconds(seconds) => milliseconds((seconds * 1000.0).round() as i64),
        DurationNode::Step => "step()".to_owned(),
        DurationNode::Range => "range()".to_owned(),
        DurationNode::Negative(inner) => format!("-{}", operand(inner)),
        DurationNode::Smaller(a, b) => format!("min({}, {})", duration(a), duration(b)),
        DurationNode::Larger(a, b) => format!("max({}, {})", duration(a), duration(b)),
        DurationNode::Arithmetic(a, operator, b) => {
            format!("{} {} {}", operand(a), BinaryOperator::symbol(*operator), operand(b))
        }
    }
}

/// A duration as a part of another one: parentheses keep its parts together.
fn operand(node: &DurationNode) -> String {
    match node {
        DurationNode::Arithmetic(..) => format!("({})", duration(node)),
        _ => duration(node),
    }
}

/// A duration as Prometheus prints it: `1h30m`; years and weeks only where they fit as a whole.
fn milliseconds(all: i64) -> String {
    const UNITS: [(&str, u64, bool); 7] = [
        ("y", 31_536_000_000, true),
        ("w", 604_800_000, true),
        ("d", 86_400_000, false),
        ("h", 3_600_000, false),
        ("m", 60_000, false),
        ("s", 1_000, false),
        ("ms", 1, false),
    ];
    if all == 0 {
        return "0s".to_owned();
    }
    let mut text = if all < 0 { "-".to_owned() } else { String::new() };
    let mut rest = all.unsigned_abs();
    for (unit, size, whole) in UNITS {
        if rest >= size && (!whole || rest.is_multiple_of(size)) {
            text.push_str(&format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use crate::syntax::parse;

    /// Each as Prometheus 2.42 answered `format_query`.
    #[test]
    fn expressions_print_as_prometheus_prints_them() {
        for (text, expected) in [
            ("1000000", "1e+06"),
            ("0.0001", "0.0001"),
            ("+Inf", "+Inf"),
            ("foo{a=\"b\",c!~\"d\"}[5m:] offset 5m", "foo{a=\"b\",c!~\"d\"}[5m:] offset 5m"),
            ("foo offset -1m @ 12", "foo @ 12.000 offset -1m"),
            ("sum without(a) (x)", "sum without (a) (x)"),
            ("sum by() (x)", "sum(x)"),
            ("sum(x) by (a,b)", "sum by (a, b) (x)"),
            ("topk(5, x)", "topk(5, x)"),
            ("a + on(x) group_left(y,z) b", "a + on (x) group_left (y, z) b"),
            ("a + ignoring() b", "a + b"),
            ("a == bool 1", "a == bool 1"),
            ("'te\"xt'", "\"te\\\"xt\""),
            ("foo[90s:1m] @ end()", "foo[1m30s:1m] @ end()"),
            ("{__name__=\"a b\"}", "{__name__=\"a b\"}"),
            ("{__name__=\"ab\"}", "{__name__=\"ab\"}"),
            ("-foo^2", "-foo ^ 2"),
            ("a[1d1h] offset 1y", "a[1d1h] offset 1y"),
        ] {
            let query = parse(text).unwrap();
            assert_eq!(query.to_string(), expected, "{text}");
            assert_eq!(query.pretty(), expected, "{text}: short enough for a line");
        }
    }

    #[test]
    fn what_is_printed_means_the_same() {
        for text in [
            "sum(rate({\"a b\", \"c d\"=~\"e\"}[5m] smoothed @ start() offset -(1m * 2)))",
            "a + on (x) group_left (y) fill_right (0) b",
            "max_over_time(x[max(step(), 1m):30s])",
            "a * 1h30m",
            "quantile_over_time(0.5, (a - b)[1w:5m] offset 1d)",
        ] {
            let printed = parse(text).unwrap().to_string();
            let again = parse(&printed).unwrap_or_else(|error| panic!("{printed}: {error}"));
            assert_eq!(again.to_string(), printed, "{text}");
        }
    }

    #[test]
    fn long_parts_take_a_line_each() {
        let (a, b) = ("a".repeat(60), "b".repeat(60));
        let pretty = |text: &str| parse(text).unwrap().pretty();
        assert_eq!(pretty(&format!("topk(5,{a}+{b})")), format!("topk(\n  5,\n    {a}\n  +\n    {b}\n)"));
        assert_eq!(pretty(&format!("-({a}+{b})")), format!("-(\n    {a}\n  +\n    {b}\n)"));
        assert_eq!(pretty(&format!("({a}+{b})[5m:1m]")), format!("(\n    {a}\n  +\n    {b}\n)[5m:1m]"));
        let by = format!("sum by ({a}, {b}) (x)");
        assert_eq!(pretty(&by), format!("sum by ({a}, {b}) (\n  x\n)"));
    }
}
