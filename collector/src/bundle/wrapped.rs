//! One property instead of many cases: whatever layers are put around a sample of a format, what stands inside is the sample, byte for
//! byte but for line ends, and it is recognised as the format that it is of.

use super::recognise::{inside, is_apart, recognise};
use crate::form::stamp::Dating;
use crate::layers::LAYERS;
use crate::layers::layer::{Layer, Setting};
use crate::parse::FORMATS;

fn setting() -> Setting {
    let dating = Dating { year: Some(2026), utc_offset: Some(0), span: None };
    Setting { dating, limit: 1 << 20 }
}

/// Kind and text of what stands within the layers that a text wears.
fn bare(text: &[u8]) -> (String, Vec<String>) {
    let mut setting = setting();
    let what = recognise("x", text, true, &mut setting, None, &|| None);
    let sections = inside(&what.layers, text, true, &setting);
    let text: Vec<u8> = sections.into_iter().flat_map(|section| section.text).collect();
    let lines = String::from_utf8_lossy(&text);
    let lines = lines.lines().map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()).collect();
    (what.format.map_or("unread", |format| format.kind).to_owned(), lines)
}

/// Pairs of a layer and a format that cannot be told apart, and why.
fn excused(layer: &Layer, kind: &str) -> bool {
    match layer.name {
        // A time ahead of each line of a document makes no document, and a format whose lines begin with a time is that format.
        "times" | "margin" => true,
        // Formats that find their own lines behind other words need not have them taken off.
        "stern" | "compose" | "cloudwatch" | "numbered" if !layer.certain && matches!(kind, "audit" | "hubble") => true,
        // A log store holds lines of logs and events; it is recognised by them.
        "compose" | "stern" | "loki" | "syslog" | "journald" | "kubectl-prefix" | "cloudwatch" | "google" | "azure"
        | "splunk" | "opensearch" | "vector" | "fluent-bit" | "journald-json" | "docker" | "cluster-dump" => {
            !matches!(kind, "kube-proxy-log" | "cilium-log" | "audit" | "hubble")
        }
        _ => false,
    }
}

#[test]
fn a_stack_of_layers_leaves_the_sample_of_every_format() {
    let worn: Vec<_> = LAYERS.iter().filter_map(|layer| Some((*layer, layer.put_on?))).collect();
    assert!(worn.len() >= 15, "{} layers can be put on", worn.len());
    let (mut tried, mut wrong) = (0, Vec::new());
    for (row, format) in FORMATS.iter().enumerate() {
        let sample = format!("{}\n", format.sample.trim_end());
        let (kind, expected) = bare(sample.as_bytes());
        if kind != format.kind || is_apart(format) {
            continue;
        }
        for (column, (inner, put_inner)) in worn.iter().enumerate() {
            if excused(inner, format.kind) {
                continue;
            }
            let once = put_inner(sample.as_bytes());
            tried += 1;
            if bare(&once) != (kind.clone(), expected.clone()) {
                wrong.push(format!("{} in {}: {:?}", format.kind, inner.title, bare(&once).0));
                continue;
            }
            for (outer, put_outer) in &worn[(row + column) % 3..] {
                // A layer within itself is one that nobody makes.
                if excused(outer, format.kind) || outer.name == inner.name || outer.name == "preface" {
                    continue;
                }
                let twice = put_outer(&once);
                tried += 1;
                if bare(&twice) != (kind.clone(), expected.clone()) {
                    wrong.push(format!("{} in {} in {}: {:?}", format.kind, inner.title, outer.title, bare(&twice).0));
                }
            }
        }
    }
    let shown: Vec<String> = wrong.iter().take(40).cloned().collect();
    assert!(wrong.is_empty(), "{} of {tried}:\n{}", wrong.len(), shown.join("\n"));
    assert!(tried > 300, "only {tried} stacks");
}
