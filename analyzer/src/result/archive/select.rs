//! Which runs an SQL condition holds for, as `cilium = "1.19.4" AND scenario = 'scale-up'`.
//!
//! Columns are those of the table `runs`, `dataplane`, `scenario`, and every fact by its key in quotation marks (`"config/min-sync-period"`).
//! On the right of a comparison what stands in quotation marks is a text, of either kind: SQL calls `"…"` a column's name there too, people do not. Comparisons with null are null, as SQL has them, and a
//! run for which a condition is null is not selected. Versions compare as numbers where both sides begin with one: `1.9.1 < 1.17`.

use std::cmp::Ordering;

use anyhow::{Context, bail};
use sqlparser::ast::{BinaryOperator, Expr, UnaryOperator, Value};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::Parser;

use crate::events::{Window, Windows};
use crate::result::{Header, RunResult};

/// A condition.
#[derive(Clone, Debug)]
pub struct Condition {
    expression: Expr,
}

/// Columns that are no facts, for those who mistype one.
const COLUMNS: [&str; 20] = [
    "name",
    "dataplane",
    "scenario",
    "node",
    "synthetic",
    "started",
    "baseline_seconds",
    "action_seconds",
    "tail_seconds",
    "services",
    "baseline_endpoints",
    "service_under_test",
    "kubernetes",
    "cilium",
    "kube_proxy",
    "kernel",
    "nodes",
    "cores",
    "label",
    "run_id",
];

/// A value of a run, or of a literal.
#[derive(Clone, Debug, PartialEq)]
enum Cell {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
}

impl Condition {
    /// Parses one.
    ///
    /// # Errors
    /// No SQL, more than a condition, or what this program does not evaluate.
    pub fn parse(text: &str) -> anyhow::Result<Condition> {
        let wrong =
            || format!("--where {text:?}: expected a condition in SQL, as: cilium = '1.19.4' AND services >= 500");
        let mut parser =
            Parser::new(&GenericDialect {}).with_recursion_limit(64).try_with_sql(text).with_context(wrong)?;
        let expression = parser.parse_expr().with_context(wrong)?;
        if parser.peek_token_ref().token != sqlparser::tokenizer::Token::EOF {
            bail!("{}: found `{}` behind it", wrong(), parser.peek_token_ref());
        }
        Ok(Condition { expression })
    }

    /// Both conditions.
    pub fn and(self, other: Condition) -> Condition {
        let nested = |one: Condition| Box::new(Expr::Nested(Box::new(one.expression)));
        Condition { expression: Expr::BinaryOp { left: nested(self), op: BinaryOperator::And, right: nested(other) } }
    }

    /// Which of the runs it holds for.
    ///
    /// # Errors
    /// As [`Condition::holds`]; none.
    pub fn held(&self, results: &[RunResult]) -> anyhow::Result<Vec<bool>> {
        let held: Vec<bool> = results.iter().map(|one| self.holds(one)).collect::<anyhow::Result<_>>()?;
        if !held.contains(&true) {
            bail!("--where {}: holds for none of {} runs", self.expression, results.len());
        }
        Ok(held)
    }

    /// Whether it holds for a run.
    ///
    /// # Errors
    /// A column that no run has, or an expression that is none of a condition.
    pub fn holds(&self, result: &RunResult) -> anyhow::Result<bool> {
        Ok(truth(evaluate(&self.expression, result)?)? == Cell::Bool(true))
    }
}

fn evaluate(expression: &Expr, run: &RunResult) -> anyhow::Result<Cell> {
    let of = |one: &Expr| evaluate(one, run);
    // What something is compared with.
    let with = |one: &Expr| match one {
        Expr::Identifier(name) if name.quote_style == Some('"') => Ok(Cell::Text(name.value.clone())),
        other => evaluate(other, run),
    };
    let not = |cell: Cell, negated: bool| match cell {
        Cell::Bool(value) => Cell::Bool(value != negated),
        other => other,
    };
    Ok(match expression {
        Expr::Nested(inner) => of(inner)?,
        Expr::Identifier(name) => column(&name.value, name.quote_style.is_some(), run)?,
        Expr::Value(value) => literal(&value.value)?,
        Expr::IsNull(inner) => Cell::Bool(of(inner)? == Cell::Null),
        Expr::IsNotNull(inner) => Cell::Bool(of(inner)? != Cell::Null),
        Expr::IsTrue(inner) => Cell::Bool(of(inner)? == Cell::Bool(true)),
        Expr::IsFalse(inner) => Cell::Bool(of(inner)? == Cell::Bool(false)),
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => not(truth(of(expr)?)?, true),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match of(expr)? {
            Cell::Number(number) => Cell::Number(-number),
            other => bail!("--where: a minus ahead of {other:?}: expected a number"),
        },
        Expr::BinaryOp { left, op, right } => binary(of(left)?, op, &with(right)?)?,
        Expr::InList { expr, list, negated } => {
            let value = of(expr)?;
            let mut found = Cell::Bool(false);
            for one in list {
                found = or(found, compare(&value, &with(one)?, Ordering::is_eq));
            }
            not(found, *negated)
        }
        Expr::Between { expr, negated, low, high } => {
            let value = of(expr)?;
            let within =
                and(compare(&value, &with(low)?, Ordering::is_ge), compare(&value, &with(high)?, Ordering::is_le));
            not(within, *negated)
        }
        Expr::Like { expr, pattern, negated, any: false, escape_char: None } => {
            not(like(of(expr)?, with(pattern)?, false)?, *negated)
        }
        Expr::ILike { expr, pattern, negated, any: false, escape_char: None } => {
            not(like(of(expr)?, with(pattern)?, true)?, *negated)
        }
        other => bail!(
            "--where: `{other}` is not understood: expected comparisons, AND, OR, NOT, IN, BETWEEN, LIKE, IS NULL"
        ),
    })
}

fn literal(value: &Value) -> anyhow::Result<Cell> {
    Ok(match value {
        Value::Number(text, _) => Cell::Number(text.to_string().parse().with_context(|| format!("--where: {text}"))?),
        Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => Cell::Text(text.clone()),
        Value::Boolean(value) => Cell::Bool(*value),
        Value::Null => Cell::Null,
        other => bail!("--where: `{other}`: expected a number, a text, true, false or null"),
    })
}

fn binary(left: Cell, op: &BinaryOperator, right: &Cell) -> anyhow::Result<Cell> {
    Ok(match op {
        BinaryOperator::And => and(truth(left)?, truth(right.clone())?),
        BinaryOperator::Or => or(truth(left)?, truth(right.clone())?),
        BinaryOperator::Eq => compare(&left, right, Ordering::is_eq),
        BinaryOperator::NotEq => compare(&left, right, Ordering::is_ne),
        BinaryOperator::Lt => compare(&left, right, Ordering::is_lt),
        BinaryOperator::LtEq => compare(&left, right, Ordering::is_le),
        BinaryOperator::Gt => compare(&left, right, Ordering::is_gt),
        BinaryOperator::GtEq => compare(&left, right, Ordering::is_ge),
        other => bail!("--where: the operator `{other}` is not understood: expected = <> < <= > >= AND OR"),
    })
}

fn truth(cell: Cell) -> anyhow::Result<Cell> {
    match cell {
        Cell::Bool(_) | Cell::Null => Ok(cell),
        other => bail!("--where: {other:?} is neither true nor false"),
    }
}

fn and(a: Cell, b: Cell) -> Cell {
    match (a, b) {
        (Cell::Bool(false), _) | (_, Cell::Bool(false)) => Cell::Bool(false),
        (Cell::Bool(true), Cell::Bool(true)) => Cell::Bool(true),
        _ => Cell::Null,
    }
}

fn or(a: Cell, b: Cell) -> Cell {
    match (a, b) {
        (Cell::Bool(true), _) | (_, Cell::Bool(true)) => Cell::Bool(true),
        (Cell::Bool(false), Cell::Bool(false)) => Cell::Bool(false),
        _ => Cell::Null,
    }
}

fn compare(a: &Cell, b: &Cell, holds: impl Fn(Ordering) -> bool) -> Cell {
    let order = match (a, b) {
        (Cell::Null, _) | (_, Cell::Null) => return Cell::Null,
        (Cell::Number(a), Cell::Number(b)) => a.partial_cmp(b),
        (Cell::Bool(a), Cell::Bool(b)) => Some(a.cmp(b)),
        // A fact is a text though it may be a number.
        (Cell::Text(a), Cell::Number(b)) => a.trim().parse::<f64>().ok().and_then(|a| a.partial_cmp(b)),
        (Cell::Number(a), Cell::Text(b)) => b.trim().parse::<f64>().ok().and_then(|b| a.partial_cmp(&b)),
        (Cell::Text(a), Cell::Text(b)) => Some(texts(a, b)),
        _ => None,
    };
    order.map_or(Cell::Null, |order| Cell::Bool(holds(order)))
}

/// Texts in their order; of two versions that of their numbers.
fn texts(a: &str, b: &str) -> Ordering {
    let version = |text: &str| {
        let text = text.strip_prefix('v').unwrap_or(text);
        text.starts_with(|letter: char| letter.is_ascii_digit()).then(|| {
            let parts = text.split(['.', '-', '+']).map(|part| (part.parse::<u64>().ok(), part.to_owned()));
            parts.collect::<Vec<_>>()
        })
    };
    match (version(a), version(b)) {
        (Some(one), Some(other)) => one.cmp(&other),
        _ => a.cmp(b),
    }
}

/// `%` is any text, `_` any letter.
fn like(value: Cell, pattern: Cell, any_case: bool) -> anyhow::Result<Cell> {
    let (value, pattern) = match (value, pattern) {
        (Cell::Null, _) | (_, Cell::Null) => return Ok(Cell::Null),
        (Cell::Text(value), Cell::Text(pattern)) => (value, pattern),
        _ => bail!("--where: LIKE compares texts"),
    };
    let case = |text: &str| if any_case { text.to_lowercase() } else { text.to_owned() };
    let (value, pattern): (Vec<char>, Vec<char>) = (case(&value).chars().collect(), case(&pattern).chars().collect());
    // The last `%` is gone back to where the rest does not fit: linear in value × pattern.
    let (mut at, mut of, mut back) = (0, 0, None);
    while at < value.len() {
        match pattern.get(of) {
            Some('%') => {
                back = Some((at, of));
                of += 1;
            }
            Some(letter) if *letter == '_' || *letter == value[at] => (at, of) = (at + 1, of + 1),
            _ => {
                let Some((from, percent)) = back else { return Ok(Cell::Bool(false)) };
                back = Some((from + 1, percent));
                (at, of) = (from + 1, percent + 1);
            }
        }
    }
    Ok(Cell::Bool(pattern[of..].iter().all(|letter| *letter == '%')))
}

fn column(name: &str, quoted: bool, result: &RunResult) -> anyhow::Result<Cell> {
    let run = &result.run;
    let number = |value: Option<u64>| value.map_or(Cell::Null, |value| Cell::Number(value as f64));
    let text = |value: Option<&str>| value.map_or(Cell::Null, |value| Cell::Text(value.to_owned()));
    let fact = |key: &str| run.facts.get(key).map(|(value, _)| value.trim()).filter(|value| !value.is_empty());
    let count = |key: &str| {
        let number = fact(key).and_then(|value| value.parse::<f64>().ok());
        number.map_or(Cell::Null, Cell::Number)
    };
    let length = |window: &Option<Window>| window.as_ref().map_or(Cell::Null, |one| Cell::Number(one.seconds()));
    Ok(match name.to_ascii_lowercase().as_str() {
        "name" => text(Some(&run.name)),
        "dataplane" => text(Some(&run.dataplane)),
        "scenario" => text(Some(&run.scenario)),
        "node" => text(Some(&run.node)),
        "synthetic" => Cell::Bool(run.synthetic),
        "started" => begun(run).map_or(Cell::Null, |time| Cell::Number(time as f64)),
        "baseline_seconds" => length(&run.windows.baseline),
        "action_seconds" => length(&run.windows.action),
        "tail_seconds" => length(&run.windows.tail),
        "services" => number(run.services),
        "baseline_endpoints" => number(run.baseline_endpoints),
        "service_under_test" => text(run.service_under_test.as_deref()),
        "kubernetes" => text(fact("version/kubernetes")),
        "cilium" => text(fact("version/cilium")),
        "kube_proxy" | "kube-proxy" => text(fact("version/kube-proxy")),
        "kernel" | "linux" => text(fact("version/linux")),
        "nodes" => count("count/nodes"),
        "cores" => count("count/cores"),
        "label" => text(fact("label")),
        "run_id" => text(Some(&super::identity(&run.manifest.open()))),
        _ if run.facts.contains_key(name) => text(fact(name)),
        // A setting that this run does not tell.
        _ if name.contains('/') => Cell::Null,
        _ if quoted => Cell::Text(name.to_owned()),
        _ => bail!(
            "--where: no column `{name}`; there are {}, and facts by their keys in quotation marks, as \"config/min-sync-period\"",
            COLUMNS.join(", ")
        ),
    })
}

/// When the first phase of a run began, ns on the clock of its windows.
pub fn begun(run: &Header) -> Option<i64> {
    let Windows { baseline, action, tail, .. } = &run.windows;
    [baseline, action, tail].into_iter().flatten().map(|one| one.start).min()
}

#[cfg(test)]
mod tests {
    use crate::clock::Evidence;

    use super::*;

    fn run(facts: &[(&str, &str)]) -> RunResult {
        let fact = |(key, value): &(&str, &str)| ((*key).to_owned(), ((*value).to_owned(), Evidence::default()));
        let run = Header {
            name: "a".to_owned(),
            dataplane: "cilium".to_owned(),
            scenario: "scale-up".to_owned(),
            services: Some(500),
            facts: facts.iter().map(fact).collect(),
            ..Header::default()
        };
        RunResult { run, ..RunResult::default() }
    }

    fn holds(condition: &str) -> bool {
        let run = run(&[("version/cilium", "1.19.4"), ("config/min-sync-period", "1s"), ("count/cores", "8")]);
        Condition::parse(condition).unwrap().holds(&run).unwrap_or_else(|error| panic!("{condition}: {error}"))
    }

    #[test]
    fn conditions_hold_as_people_write_them() {
        for condition in [
            "cilium = \"1.19.4\" and scenario = \"scale-up\"",
            "cilium = '1.19.4' AND services >= 500",
            "cilium > '1.9.10' AND cilium < '1.20'",
            "dataplane IN ('cilium', 'kube-proxy-iptables')",
            "dataplane = \"cilium\" AND \"dataplane\" IN (\"cilium\")",
            "services BETWEEN 100 AND 1000",
            "\"config/min-sync-period\" = '1s'",
            "cilium LIKE '1.19%' AND NOT scenario LIKE '%crash'",
            "kernel IS NULL",
            "(cores = 8 OR kernel = 'x') AND name <> 'b'",
            "scenario ILIKE 'SCALE-__'",
            "NOT synthetic",
        ] {
            assert!(holds(condition), "{condition}");
        }
        for condition in [
            "cilium = '1.19.5'",
            // Null is not true, nor is its negation.
            "kernel = '6.1'",
            "NOT kernel = '6.1'",
            "kernel <> '6.1'",
            "kernel IN ('6.1')",
            "kernel NOT IN ('6.1')",
            "\"config/absent\" = '1s'",
            "services > 500",
            "cilium LIKE '1.19'",
        ] {
            assert!(!holds(condition), "{condition}");
        }
    }

    #[test]
    fn what_is_no_condition_is_said() {
        let run = run(&[]);
        for (condition, part) in [
            ("cilum = '1'", "no column `cilum`"),
            ("cilium = '1' GROUP BY x", "found `GROUP`"),
            ("cilium = ", "expected a condition"),
            ("services + 1 = 3", "operator `+`"),
            ("upper(cilium) = 'X'", "is not understood"),
            ("name", "neither true nor false"),
            ("1; DROP TABLE runs", "found `;`"),
        ] {
            let tried = Condition::parse(condition).and_then(|one| one.holds(&run));
            let error = format!("{:#}", tried.expect_err(condition));
            assert!(error.contains(part), "{condition}: {error}");
        }
        // Nested without end is refused, not a stack that is used up.
        let deep = format!("{}1=1{}", "(".repeat(100_000), ")".repeat(100_000));
        assert!(Condition::parse(&deep).is_err());
        assert!(like(Cell::Text("a".repeat(2_000)), Cell::Text("%a".repeat(500) + "b"), false).is_ok());
    }
}
