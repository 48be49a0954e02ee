//! Rule files as YAML: plain, as Prometheus reads them, or as the object of Prometheus' operator.

use serde::Serialize;

use crate::query::rules::{RuleFile, RuleGroup};

/// A rule file with what it does not watch as comments at its top.
///
/// # Errors
/// Text that YAML cannot hold.
pub fn plain(file: &RuleFile, unwatched: &[(&str, &str)]) -> anyhow::Result<String> {
    Ok(format!("{}{}", head(unwatched), yaml(file)?))
}

/// The same as a `PrometheusRule` (monitoring.coreos.com/v1).
///
/// # Errors
/// Text that YAML cannot hold.
pub fn object(file: &RuleFile, unwatched: &[(&str, &str)]) -> anyhow::Result<String> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Object<'f> {
        api_version: &'static str,
        kind: &'static str,
        metadata: Metadata,
        spec: Spec<'f>,
    }
    #[derive(Serialize)]
    struct Metadata {
        name: &'static str,
        labels: Labels,
    }
    #[derive(Serialize)]
    struct Labels {
        release: &'static str,
    }
    #[derive(Serialize)]
    struct Spec<'f> {
        groups: &'f [RuleGroup],
    }
    let object = Object {
        api_version: "monitoring.coreos.com/v1",
        kind: "PrometheusRule",
        // What kube-prometheus-stack selects rules by, under the name that the document installs it with.
        metadata: Metadata { name: "syncline", labels: Labels { release: "kube-prometheus" } },
        spec: Spec { groups: &file.groups },
    };
    Ok(format!("{}{}", head(unwatched), yaml(&object)?))
}

/// YAML with every text on a line of its own, however long: a folded query is found by no search.
///
/// # Errors
/// Text that YAML cannot hold.
pub(super) fn yaml<T: Serialize>(value: &T) -> anyhow::Result<String> {
    let options = serde_saphyr::ser_options! { folded_wrap_chars: 1_000_000 };
    Ok(serde_saphyr::to_string_with_options(value, options)?)
}

fn head(unwatched: &[(&str, &str)]) -> String {
    let mut text = "# Made by `syncline rules` from its catalogue of documented values (`syncline expectations`).\n\
        # Labels: rows = rows of the catalogue, form = as documented or sound. An alert is a reason to look, no verdict.\n"
        .to_owned();
    if !unwatched.is_empty() {
        text.push_str("#\n# Not watched, or for one side only:\n");
    }
    for (id, why) in unwatched {
        // A comment ends with its line.
        let why: String = why.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
        let id: String = id.chars().filter(|letter| !letter.is_control()).collect();
        text.push_str(&format!("#   {id}: {why}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::*;
    use crate::query::rules::Rule;

    #[test]
    fn any_text_reads_back_as_it_was() {
        for text in [
            "a: b # c",
            "yes",
            "1",
            "- x",
            "{{ $value }}  two  spaces ",
            "tab\t\"quoted\" 'and' é\u{202e}\u{1b}",
            "two\nlines\n",
            &"long ".repeat(100),
        ] {
            let rule = Rule {
                alert: Some(text.to_owned()),
                expr: text.to_owned(),
                annotations: BTreeMap::from([(text.to_owned(), text.to_owned())]),
                ..Rule::default()
            };
            let file = RuleFile { groups: vec![RuleGroup { name: text.to_owned(), rules: vec![rule] }] };
            let written = plain(&file, &[("A\n1", "why\ngroups: []")]).expect("YAML");
            let back: Value = serde_saphyr::from_str(&written).unwrap_or_else(|error| panic!("{error}\n{written}"));
            assert_eq!(back, serde_json::to_value(&file).expect("JSON"), "{written}");
            let object: Value = serde_saphyr::from_str(&object(&file, &[]).expect("YAML")).expect("YAML");
            assert_eq!(object["spec"], back);
        }
    }
}
