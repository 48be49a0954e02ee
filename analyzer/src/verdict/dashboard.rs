//! What Grafana shows of the catalogue: dashboards of sections of panels, each panel of a row's queries in one of their forms.

use serde::{Deserialize, Serialize};

/// One dashboard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dashboard {
    /// Grafana's identifier, and the stem of the file.
    pub uid: String,
    pub title: String,
    /// Where the source document defines it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heading: Option<String>,
    /// What it shows, and what not.
    pub about: String,
    #[serde(rename = "section")]
    pub sections: Vec<Section>,
}

/// Panels below a heading.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Section {
    pub title: String,
    /// Instead of panels of its own: those of every row that claims something of this side, documented beside sound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_of: Option<String>,
    #[serde(default, rename = "panel", skip_serializing_if = "Vec::is_empty")]
    pub panels: Vec<Panel>,
}

/// One panel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Panel {
    pub title: String,
    /// The row whose claim is drawn as lines, and whose queries the targets are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<String>,
    /// The side whose claim it is; absent: both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<String>,
    /// Unit, as rows have it; absent: the row's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// What it can show and what not, beside what the row says.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    #[serde(rename = "target")]
    pub targets: Vec<Target>,
}

/// One query of a panel: of a row, or its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The row; absent: the panel's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<String>,
    /// The side that a `watch` is of; absent: the panel's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<String>,
    /// Which of the row's queries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub form: Option<PanelForm>,
    /// Which of them, from 0.
    #[serde(default)]
    pub at: usize,
    /// PromQL of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// Its own query is the document's: shown as written.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub documented: bool,
    /// The series are the workload's: the variable `namespace` selects them too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub workload: bool,
    pub legend: String,
}

/// In which form a panel shows a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PanelForm {
    /// The document's queries, as written.
    Documented,
    /// What answers the question, over all that is selected.
    Sound,
    /// What an alert watches: each agent or proxy by itself.
    Watch,
}

impl Dashboard {
    /// What contradicts itself in it.
    pub(super) fn problem(&self) -> Option<String> {
        let fit = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
        if self.uid.is_empty() || self.uid.len() > 40 || !self.uid.chars().all(fit) {
            return Some("uid: expected 1 to 40 letters, digits, - and _".into());
        }
        for section in &self.sections {
            let side = |on: &Option<String>| on.as_deref().is_none_or(|on| on == "cilium" || on == "kube-proxy");
            if !side(&section.rows_of) || !section.panels.iter().all(|panel| side(&panel.on)) {
                return Some(format!("section {:?}: a side is none of cilium and kube-proxy", section.title));
            }
            for panel in &section.panels {
                let wrong = |one: &&Target| {
                    let row = one.row.is_some() || panel.row.is_some();
                    !side(&one.on) || one.query.is_some() == one.form.is_some() || one.form.is_some() && !row
                };
                if panel.targets.iter().any(|one| wrong(&one)) {
                    return Some(format!("panel {:?}: a target has a query, or a row's in a form", panel.title));
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::Catalogue;

    #[test]
    fn a_dashboard_that_contradicts_itself_is_named() {
        let text = toml::to_string(&Catalogue::built_in().expect("built-in")).expect("toml");
        for (from, to, words) in [
            ("uid = \"syncline-scaling\"", "uid = \"../x\"", "expected 1 to 40 letters"),
            ("rows_of = \"cilium\"", "rows_of = \"ipvs\"", "a side is none of"),
            ("form = \"sound\"", "query = \"up\"\nform = \"sound\"", "a target has a query, or"),
        ] {
            assert!(text.contains(from), "{from}");
            let error = Catalogue::parse(&text.replacen(from, to, 1), "x.toml").expect_err(to).to_string();
            assert!(error.contains(words) && error.contains("dashboard"), "{error}");
        }
    }
}
