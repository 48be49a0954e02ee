//! The catalogue as a table, as JSON or as TOML: what `syncline expectations` prints.

use serde_json::{Value, json};

use super::catalogue::{Catalogue, CatalogueError, ClaimKind, Row, Side};

/// Formats of `syncline expectations`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListFormat {
    Table,
    Json,
    Toml,
}

/// The whole catalogue as text, with a line end.
///
/// # Errors
/// A catalogue that its format cannot express; none of the built-in one.
pub fn list(catalogue: &Catalogue, format: ListFormat) -> Result<String, CatalogueError> {
    match format {
        ListFormat::Table => Ok(table(catalogue)),
        ListFormat::Json => {
            let rows: Vec<Value> = catalogue.rows.iter().map(row_json).collect();
            Ok(format!("{:#}\n", Value::Array(rows)))
        }
        ListFormat::Toml => toml::to_string(catalogue).map_err(|error| CatalogueError::Row {
            path: "catalogue".into(),
            row: "?".into(),
            problem: error.to_string(),
        }),
    }
}

fn table(catalogue: &Catalogue) -> String {
    let header = ["ID", "SCENARIO", "CLAIM", "CILIUM", "KUBE-PROXY (IPTABLES)", "JUDGED BY"].map(str::to_owned);
    let mut lines = vec![header];
    for row in &catalogue.rows {
        let judged: Vec<String> = row
            .readings
            .iter()
            .filter(|r| !r.shown_only && !r.unclaimed)
            .map(|r| {
                if r.statistic == "value" {
                    r.measurement.clone()
                } else {
                    format!("{} {}", r.measurement, r.statistic)
                }
            })
            .fold(Vec::new(), |mut seen, r| {
                if !seen.contains(&r) {
                    seen.push(r);
                }
                seen
            });
        lines.push([
            row.id.clone(),
            row.scenario.clone(),
            row.claim.clone(),
            row.cilium.text.clone(),
            row.kube_proxy.text.clone(),
            judged.join(", "),
        ]);
    }
    columns(&lines)
}

/// Columns of equal width; the last one is not padded.
pub fn columns<const N: usize>(lines: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for line in lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for line in lines {
        let mut out = String::new();
        for (cell, width) in line.iter().zip(widths) {
            out.push_str(cell);
            out.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count()) + 2));
        }
        text.push_str(out.trim_end());
        text.push('\n');
    }
    text
}

fn side_json(side: &Side) -> Value {
    if side.kind == ClaimKind::None {
        return Value::Null;
    }
    json!({ "text": side.text, "kind": side.kind, "low": side.low, "high": side.high })
}

fn row_json(row: &Row) -> Value {
    let readings: Vec<Value> = row
        .readings
        .iter()
        .map(|r| {
            json!({
                "on": r.on, "measurement": r.measurement, "variant": r.variant, "statistic": r.statistic,
                "label": r.label, "shown_only": r.shown_only, "unclaimed": r.unclaimed, "low": r.low, "high": r.high,
            })
        })
        .collect();
    json!({
        "id": row.id,
        "scenario": row.scenario,
        "claim": row.claim,
        "expected": { "cilium": side_json(&row.cilium), "kube-proxy-iptables": side_json(&row.kube_proxy) },
        "unit": row.unit,
        "direction": row.direction,
        "show": row.show,
        "sized": row.sized,
        "documented": { "quote": row.documented.quote.join(" … "), "query": row.documented.query.join("\n") },
        "sound": { "reason": row.sound.reason, "query": row.sound.query, "readings": readings, "combine": row.combine },
        "provenance": row.documented.heading,
        "min_samples": row.min_samples,
        "min_runs": row.min_runs,
        "window": row.window,
        "notes": row.notes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn toml_reads_back_and_json_has_every_field() {
        let catalogue = Catalogue::built_in().expect("built-in");
        let toml = list(&catalogue, ListFormat::Toml).expect("toml");
        assert_eq!(Catalogue::parse(&toml, "x").expect("again"), catalogue);
        let json: Value = serde_json::from_str(&list(&catalogue, ListFormat::Json).expect("json")).expect("json");
        let rows = json.as_array().expect("array");
        assert_eq!(rows.len(), 46);
        for row in rows {
            for key in ["id", "scenario", "claim", "expected", "documented", "sound", "provenance", "min_samples"] {
                assert!(row.get(key).is_some(), "{key}");
            }
        }
        assert_eq!(list(&catalogue, ListFormat::Table).expect("table").lines().count(), 47);
    }
}
