//! The tree as JSON, in the shape that the HTTP API's `parse_query` answers (Prometheus 3.0 on): an object a node, with
//! `type` and its parts; durations in milliseconds.

use serde_json::{Value, json};

use super::tree::{At, Boundary, Cardinality, DurationNode, Expr, Matching, Node, NodeKind, Selector, ValueType};
use crate::number::{format_float, format_json_number};

impl Expr {
    /// The tree as `parse_query` answers it. Durations that depend on the query's step or range are 0.
    pub fn outline(&self) -> Value {
        outline(&self.root)
    }
}

fn outline(node: &Node) -> Value {
    match &node.kind {
        NodeKind::Number(value) => json!({"type": "numberLiteral", "val": format_float(*value)}),
        NodeKind::Text { text, .. } => json!({"type": "stringLiteral", "val": text}),
        NodeKind::Paren(inner) => json!({"type": "parenExpr", "expr": outline(inner)}),
        NodeKind::Unary { minus, operand } => {
            json!({"type": "unaryExpr", "op": if *minus { "-" } else { "+" }, "expr": outline(operand)})
        }
        NodeKind::Binary(binary) => json!({
            "type": "binaryExpr",
            "op": binary.operator.symbol(),
            "lhs": outline(&binary.left),
            "rhs": outline(&binary.right),
            "matching": binary.matching.as_ref().map(matching),
            "bool": binary.returns_bool,
        }),
        NodeKind::Aggregate(aggregate) => json!({
            "type": "aggregation",
            "op": aggregate.operator.name(),
            "expr": outline(&aggregate.operand),
            "param": aggregate.parameter.as_ref().map(outline),
            "grouping": aggregate.grouping,
            "without": aggregate.without,
        }),
        NodeKind::Call(call) => json!({
            "type": "call",
            "func": {
                "name": call.function.name,
                "argTypes": call.function.arguments.iter().map(|one| type_name(*one)).collect::<Vec<_>>(),
                "variadic": call.function.variadic,
                "returnType": type_name(call.function.returns),
            },
            "args": call.arguments.iter().map(outline).collect::<Vec<_>>(),
        }),
        NodeKind::Selector(one) => selector("vectorSelector", one, None),
        NodeKind::RangeSelector { selector: one, range } => selector("matrixSelector", one, Some(range)),
        NodeKind::Subquery(subquery) => {
            let (timestamp, edge) = at(subquery.at);
            json!({
                "type": "subquery",
                "expr": outline(&subquery.inner),
                "range": milliseconds(Some(&subquery.range)),
                "step": milliseconds(subquery.step.as_ref()),
                "offset": milliseconds(subquery.offset.as_ref()),
                "timestamp": timestamp,
                "startOrEnd": edge,
            })
        }
    }
}

fn selector(kind: &str, selector: &Selector, range: Option<&DurationNode>) -> Value {
    let (timestamp, edge) = at(selector.at);
    let matchers: Vec<Value> = selector
        .matchers
        .iter()
        .map(|one| json!({"name": one.name, "value": one.value, "type": one.operator.to_string()}))
        .collect();
    let mut out = json!({
        "type": kind,
        "name": selector.name.as_deref().unwrap_or_default(),
        "offset": milliseconds(selector.offset.as_ref()),
        "matchers": matchers,
        "timestamp": timestamp,
        "startOrEnd": edge,
        "anchored": selector.boundary == Some(Boundary::Anchored),
        "smoothed": selector.boundary == Some(Boundary::Smoothed),
    });
    if let (Some(range), Some(fields)) = (range, out.as_object_mut()) {
        fields.insert("range".to_owned(), milliseconds(Some(range)));
    }
    out
}

/// `timestamp` and `startOrEnd`.
fn at(at: Option<At>) -> (Option<i64>, Option<&'static str>) {
    match at {
        None => (None, None),
        Some(At::Time(time)) => (Some(time), None),
        Some(At::Start) => (None, Some("start")),
        Some(At::End) => (None, Some("end")),
    }
}

fn milliseconds(duration: Option<&DurationNode>) -> Value {
    let seconds = duration.and_then(|one| one.seconds(0.0, 0.0).ok()).unwrap_or(0.0);
    json!((seconds * 1000.0).round() as i64)
}

fn matching(matching: &Matching) -> Value {
    let card = match matching.cardinality {
        Cardinality::OneToOne => "one-to-one",
        Cardinality::ManyToOne => "many-to-one",
        Cardinality::OneToMany => "one-to-many",
        Cardinality::ManyToMany => "many-to-many",
    };
    let fill = |value: Option<f64>| value.map(format_json_number);
    json!({
        "card": card,
        "labels": matching.labels,
        "on": matching.on,
        "include": matching.include,
        "fillValues": {"lhs": fill(matching.fill_left), "rhs": fill(matching.fill_right)},
    })
}

fn type_name(of: ValueType) -> &'static str {
    match of {
        ValueType::Scalar => "scalar",
        ValueType::String => "string",
        ValueType::Vector => "vector",
        ValueType::Matrix => "matrix",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::syntax::parse;

    #[test]
    fn every_kind_of_node_has_its_shape() {
        let text = "-sum by (a) (rate(x{b!=\"c\"}[5m] offset 1m)) / on (a) group_left (d) (y @ end()) > bool 1";
        let found = parse(text).unwrap().outline();
        assert_eq!(found["type"], "binaryExpr");
        assert_eq!((&found["op"], &found["bool"], &found["matching"]), (&json!(">"), &json!(true), &json!(null)));
        assert_eq!(found["rhs"], json!({"type": "numberLiteral", "val": "1"}));
        let division = &found["lhs"];
        assert_eq!(division["matching"]["card"], "many-to-one");
        assert_eq!(division["matching"]["include"], json!(["d"]));
        assert_eq!(division["rhs"]["expr"]["startOrEnd"], "end");
        let sum = &division["lhs"]["expr"];
        assert_eq!((&sum["type"], &sum["grouping"]), (&json!("aggregation"), &json!(["a"])));
        assert_eq!(sum["expr"]["func"]["argTypes"], json!(["matrix"]));
        let matrix = &sum["expr"]["args"][0];
        assert_eq!((&matrix["range"], &matrix["offset"]), (&json!(300_000), &json!(60_000)));
        assert_eq!(matrix["matchers"][0], json!({"name": "b", "value": "c", "type": "!="}));
    }
}
