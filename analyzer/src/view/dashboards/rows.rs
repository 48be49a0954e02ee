//! Every row of the catalogue about one side: what the document asks on the left, what answers on the right.

use super::{Asked, Panel, drawn};
use crate::query::concerns;
use crate::verdict::catalogue::{Catalogue, ClaimKind, Row};
use crate::verdict::watch::Record;

/// Two panels a row; rows with the same queries share them. Rows that no PromQL answers are named in the last panel.
pub fn panels(catalogue: &Catalogue, records: &[&Record], side: &str) -> Vec<Panel> {
    let dataplane = if side == "cilium" { "cilium" } else { "kube-proxy-iptables" };
    let claims = |row: &&Row| row.side(dataplane).is_some_and(|side| side.kind != ClaimKind::None);
    let mut shown: Vec<(Vec<&Row>, Vec<String>, Vec<String>)> = Vec::new();
    let mut silent: Vec<&Row> = Vec::new();
    for row in catalogue.rows.iter().filter(claims) {
        let asks =
            |all: &[String]| -> Vec<String> { all.iter().filter(|text| concerns(text, dataplane)).cloned().collect() };
        let documented = asks(&row.documented.query);
        let watched: Vec<String> =
            row.watches.iter().filter(|watch| watch.on == side).filter_map(|watch| watch.value(records)).collect();
        let sound = if watched.is_empty() { asks(&row.sound.query) } else { watched };
        if documented.is_empty() && sound.is_empty() {
            silent.push(row);
            continue;
        }
        match shown.iter_mut().find(|(_, d, s)| *d == documented && *s == sound) {
            Some((rows, ..)) => rows.push(row),
            None => shown.push((vec![row], documented, sound)),
        }
    }
    let mut all = Vec::new();
    for (rows, documented, sound) in shown {
        let ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
        let title = format!("{}: {}", ids.join(", "), rows[0].claim);
        let asked = |queries: Vec<String>, documented: bool| -> Vec<Asked> {
            let one = |query: String| {
                let legend = if queries_by(&query) { "{{node}} {{instance}} {{run}}" } else { "" };
                Asked { query, documented, workload: false, legend: legend.to_owned() }
            };
            queries.into_iter().map(one).collect()
        };
        let row = Some(rows[0]);
        let left = if documented.is_empty() {
            let quote = rows[0].documented.quote.join("\n\n").replace('|', " ");
            note(title.clone(), format!("The document gives no query:\n\n> {}", quote.trim()))
        } else {
            drawn(title.clone(), row, &[side], None, "", asked(documented, true))
        };
        let right = if sound.is_empty() {
            note(format!("{title}, sound form"), format!("No query answers this. {}", rows[0].sound.reason))
        } else {
            let why = if left.targets.is_empty() { rows[0].sound.reason.as_str() } else { "" };
            drawn(format!("{title}, sound form"), row, &[side], None, why, asked(sound, false))
        };
        all.extend([left, right]);
    }
    if !silent.is_empty() {
        let lines = silent.iter().map(|row| format!("- {}, {}: {}", row.id, row.claim, row.sound.reason));
        let text = lines.collect::<Vec<_>>().join("\n");
        all.push(note("Measured from captures alone".to_owned(), format!("{text}\n\n`syncline report` judges these.")));
    }
    all
}

/// Whether each agent or proxy is a series of its own.
fn queries_by(query: &str) -> bool {
    query.contains("by (cluster, node, instance, run")
}

fn note(title: String, text: String) -> Panel {
    Panel { title, text, unit: "1".to_owned(), lines: Vec::new(), targets: Vec::new() }
}
