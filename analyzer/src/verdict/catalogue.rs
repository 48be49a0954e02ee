//! The expectation catalogue: what the source document claims, and what each claim is judged by.
//!
//! The built-in rows are `catalogue.toml`. A file given with `--expectations` has the same shape; a row whose `id`
//! exists replaces that row as a whole, any other id is added after the last; so it is with dashboards and their `uid`.

use std::path::Path;

use serde::{Deserialize, Serialize};
use syncline_collector::input::whole_text;
use thiserror::Error;

use super::dashboard::Dashboard;
use super::watch::Watch;

const BUILT_IN: &str = include_str!("catalogue.toml");
/// Longest catalogue, bytes; the built-in one has 49 kB.
const LONGEST: u64 = 4 << 20;

/// All rows, in the order of the source document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    #[serde(rename = "row")]
    pub rows: Vec<Row>,
    /// What Grafana shows of them.
    #[serde(default, rename = "dashboard", skip_serializing_if = "Vec::is_empty")]
    pub dashboards: Vec<Dashboard>,
}

/// One documented claim.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Stable identifier (`A1` … `K4`).
    pub id: String,
    /// `scale-up`, `rolling-restart`, `steady-state`, `pod-crash`, `any`, `alert`, `compare`.
    pub scenario: String,
    /// What is claimed, in a few words.
    pub claim: String,
    /// Unit of `low` and `high`: `s`, `ratio`, `cores`, `bytes`, `1/s`, `1`, `points`.
    pub unit: String,
    /// Which way is good.
    pub direction: Direction,
    /// Window that the figure is taken in.
    pub window: String,
    /// Least number of things measured that a verdict needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_samples: Option<u64>,
    /// Number of runs from which the figure is worth more than one endpoint's luck: with fewer that is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_runs: Option<usize>,
    /// Whether runs of another scenario may stand in where there is none of this one.
    #[serde(default, skip_serializing_if = "is_false")]
    pub borrow: bool,
    /// How its ratios are shown.
    #[serde(default, skip_serializing_if = "Show::is_default")]
    pub show: Show,
    /// Whether the figure measures the size of the cluster rather than its dataplane.
    #[serde(default, skip_serializing_if = "is_false")]
    pub sized: bool,
    /// Whether the shape of a metric is claimed: what each one did stands beside the verdict.
    #[serde(default, skip_serializing_if = "is_false")]
    pub shape: bool,
    /// Whether runs are grouped by their endpoints in the baseline as well (latencies that clients see).
    #[serde(default, skip_serializing_if = "is_false")]
    pub by_endpoints: bool,
    /// Status beyond an end of the range, where the direction alone does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beyond_low: Option<Beyond>,
    /// See `beyond_low`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beyond_high: Option<Beyond>,
    /// How several readings of one side make one verdict.
    #[serde(default, skip_serializing_if = "Combine::is_default")]
    pub combine: Combine,
    /// What a reader should know.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub notes: String,
    /// Why no alert rule watches it, or not both sides of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unwatched: String,
    pub documented: Documented,
    pub sound: Sound,
    pub cilium: Side,
    #[serde(rename = "kube-proxy")]
    pub kube_proxy: Side,
    #[serde(rename = "reading")]
    pub readings: Vec<Reading>,
    /// Alert rules that watch its limit.
    #[serde(default, rename = "watch", skip_serializing_if = "Vec::is_empty")]
    pub watches: Vec<Watch>,
}

fn is_false(value: &bool) -> bool {
    !*value
}

/// How a row's figures are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Show {
    /// By the unit: a ratio as a share (`5 %`).
    #[default]
    Unit,
    /// A ratio as a factor (`2.4 ×`).
    Times,
}

impl Show {
    fn is_default(&self) -> bool {
        *self == Show::Unit
    }
}

/// Which way is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    Lower,
    Higher,
    /// Neither: the low side is harmless unless `beyond_low` says otherwise.
    None,
}

/// Status of a value beyond an end of its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Beyond {
    Better,
    Worse,
}

/// How several readings of one side make one verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Combine {
    /// Two honest readings of one claim: if their verdicts differ it is ambiguous.
    #[default]
    Agree,
    /// Conditions that must all be met: the worst counts.
    All,
    /// The first that was measured decides.
    First,
}

impl Combine {
    fn is_default(&self) -> bool {
        *self == Combine::Agree
    }
}

/// The document's own words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Documented {
    /// Part and heading of the source document (the provenance).
    pub heading: String,
    /// Its words, verbatim.
    pub quote: Vec<String>,
    /// Its queries or commands, verbatim; empty where it gives none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub query: Vec<String>,
}

/// What the verdict rests on; the readings name the measurements.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sound {
    /// Why the documented query cannot answer, or what replaces an absent one.
    pub reason: String,
    /// PromQL that asks what the row is about, where there is such a thing. Shown beside the verdict.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub query: Vec<String>,
}

/// What is claimed for one dataplane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Side {
    /// As documented.
    pub text: String,
    pub kind: ClaimKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
    /// Overrides the row's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_samples: Option<u64>,
}

/// How `low` and `high` are meant; `catalogue.toml` opens with the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClaimKind {
    Range,
    About,
    Possible,
    Zero,
    None,
    Alert,
    Ratio,
    Growth,
    Slope,
    SizeRatio,
}

/// Which figure of a run is held against the claim.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reading {
    /// `cilium` or `kube-proxy`; both where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<String>,
    /// Name of the measurement.
    pub measurement: String,
    /// Its variant; absent: the main one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// `value` (the measurement's main figure), `p50` … `max`, `p95/p50`, `mean`, or the name of a detail.
    pub statistic: String,
    /// Which reading of the claim this is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Shown with the verdict that it would give; never decides.
    #[serde(default, skip_serializing_if = "is_false")]
    pub shown_only: bool,
    /// Whether the figure bounds the claimed thing only from above, whatever the measurement itself says.
    #[serde(default, skip_serializing_if = "is_false")]
    pub upper_bound: bool,
    /// Overrides the side's range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    /// Overrides the side's range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
    /// Factor from the measurement's unit to the row's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
    /// Nothing is claimed in its unit: shown, never judged.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unclaimed: bool,
}

/// What can be wrong with a catalogue.
#[derive(Debug, Error)]
pub enum CatalogueError {
    #[error("{path}: cannot be read: {error}")]
    Read { path: String, error: std::io::Error },
    #[error(
        "{path}: is no expectation catalogue (expected TOML as `syncline expectations --format toml` prints it):\n{error}"
    )]
    Toml { path: String, error: Box<toml::de::Error> },
    #[error("{path}: row {row}: {problem}")]
    Row { path: String, row: String, problem: String },
    #[error("{path}: dashboard {dashboard}: {problem}")]
    Dashboard { path: String, dashboard: String, problem: String },
}

impl Catalogue {
    /// The built-in rows.
    ///
    /// # Errors
    /// None in a program whose tests passed.
    pub fn built_in() -> Result<Self, CatalogueError> {
        Self::parse(BUILT_IN, "built-in catalogue")
    }

    /// Rows of a text in TOML; `path` names it in errors.
    ///
    /// # Errors
    /// Not TOML, not of the catalogue's shape, or a row that contradicts itself.
    pub fn parse(text: &str, path: &str) -> Result<Self, CatalogueError> {
        let catalogue: Catalogue = toml::from_str(text)
            .map_err(|error| CatalogueError::Toml { path: path.to_owned(), error: Box::new(error) })?;
        for (at, row) in catalogue.rows.iter().enumerate() {
            let problem = row
                .problem()
                .or_else(|| catalogue.rows[..at].iter().any(|r| r.id == row.id).then(|| "stands twice".to_owned()));
            if let Some(problem) = problem {
                let row = if row.id.is_empty() { format!("number {}", at + 1) } else { row.id.clone() };
                return Err(CatalogueError::Row { path: path.to_owned(), row, problem });
            }
        }
        if let Some((dashboard, problem)) = catalogue.dashboards.iter().find_map(|one| Some((one, one.problem()?))) {
            let dashboard = dashboard.uid.clone();
            return Err(CatalogueError::Dashboard { path: path.to_owned(), dashboard, problem });
        }
        Ok(catalogue)
    }

    /// The built-in rows with those of a file in their place.
    ///
    /// # Errors
    /// As [`Catalogue::parse`], and a file that cannot be read.
    pub fn with_file(path: &Path) -> Result<Self, CatalogueError> {
        let name = path.display().to_string();
        let text = whole_text(path, LONGEST).map_err(|error| CatalogueError::Read { path: name.clone(), error })?;
        let mut catalogue = Self::built_in()?;
        let Catalogue { rows, dashboards } = Self::parse(&text, &name)?;
        for row in rows {
            match catalogue.rows.iter_mut().find(|r| r.id == row.id) {
                Some(place) => *place = row,
                None => catalogue.rows.push(row),
            }
        }
        for dashboard in dashboards {
            match catalogue.dashboards.iter_mut().find(|d| d.uid == dashboard.uid) {
                Some(place) => *place = dashboard,
                None => catalogue.dashboards.push(dashboard),
            }
        }
        Ok(catalogue)
    }

    /// A row by its identifier.
    pub fn row(&self, id: &str) -> Option<&Row> {
        self.rows.iter().find(|r| r.id == id)
    }
}

impl Row {
    /// What is claimed for a dataplane. nftables and ipvs runs stand beside the claim for iptables mode.
    pub fn side(&self, dataplane: &str) -> Option<&Side> {
        match side_of(dataplane)? {
            "cilium" => Some(&self.cilium),
            _ => Some(&self.kube_proxy),
        }
    }

    /// Readings that apply to a dataplane.
    pub fn readings_of(&self, dataplane: &str) -> Vec<&Reading> {
        let side = side_of(dataplane);
        self.readings.iter().filter(|r| r.on.is_none() || r.on.as_deref() == side).collect()
    }

    fn problem(&self) -> Option<String> {
        const SCENARIOS: [&str; 7] =
            ["scale-up", "rolling-restart", "steady-state", "pod-crash", "any", "alert", "compare"];
        if self.id.is_empty() {
            return Some("has no id".into());
        }
        if !SCENARIOS.contains(&self.scenario.as_str()) {
            return Some(format!("scenario is {:?}, expected one of {}", self.scenario, SCENARIOS.join(", ")));
        }
        if self.documented.quote.iter().all(|q| q.trim().is_empty()) {
            return Some("documented.quote is empty: a row says where it was claimed".into());
        }
        for (name, low, high) in [("cilium", &self.cilium), ("kube-proxy", &self.kube_proxy)]
            .map(|(name, side)| (name, side.low, side.high))
            .into_iter()
            .chain(self.readings.iter().map(|r| ("reading", r.low, r.high)))
        {
            if [low, high].into_iter().flatten().any(|x| !x.is_finite()) {
                return Some(format!("{name}: low and high must be finite numbers; leave an open end out"));
            }
            if let (Some(low), Some(high)) = (low, high)
                && low > high
            {
                return Some(format!("{name}: low ({low}) is above high ({high})"));
            }
        }
        for (name, side) in [("cilium", &self.cilium), ("kube-proxy", &self.kube_proxy)] {
            let bounded = |r: &&Reading| r.low.is_some() || r.high.is_some() || r.shown_only || r.unclaimed;
            let own = side.low.is_some() || side.high.is_some();
            let needs_range = matches!(
                side.kind,
                ClaimKind::Range | ClaimKind::About | ClaimKind::Ratio | ClaimKind::Slope | ClaimKind::SizeRatio
            );
            if needs_range && !own && !self.readings_of(name).iter().all(bounded) {
                return Some(format!("{name}: kind {:?} needs low, high or both", side.kind));
            }
            if side.kind != ClaimKind::None && self.readings_of(name).is_empty() && side.kind != ClaimKind::Growth {
                return Some(format!("{name}: makes a claim but no reading says what to measure"));
            }
        }
        for reading in &self.readings {
            if let Some(on) = &reading.on
                && on != "cilium"
                && on != "kube-proxy"
            {
                return Some(format!("reading: on is {on:?}, expected cilium or kube-proxy"));
            }
            if reading.scale.is_some_and(|s| !s.is_finite() || s <= 0.0) {
                return Some("reading: scale must be a positive number".into());
            }
        }
        self.watches.iter().find_map(|one| one.problem(self))
    }
}

/// Column of the document that a dataplane is held against: `cilium` or `kube-proxy`.
pub fn side_of(dataplane: &str) -> Option<&'static str> {
    match dataplane {
        "cilium" => Some("cilium"),
        d if d.starts_with("kube-proxy") => Some("kube-proxy"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_rows_are_the_46_of_the_document() {
        let catalogue = Catalogue::built_in().expect("built-in");
        let ids: Vec<_> = catalogue.rows.iter().map(|r| r.id.as_str()).collect();
        let expected = "A1 A2 A3 A4 B1 B2 B3 T1.1 T1.2 T1.3 T2.1 T2.2 T2.3 T3.1 T3.2 T3.3 T3.4 T4.1 T4.2 T4.3 T4.4 T5.1 T5.2 T5.3 \
                        T5.4 AL1 AL2 E1 E2 E3 E4 E5 E6 E7 E8 C1 C2 C3 C4 C5 C6 C7 K1 K2 K3 K4";
        assert_eq!(ids, expected.split_whitespace().collect::<Vec<_>>());
    }

    #[test]
    fn quotes_and_queries_are_verbatim() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/source-document.md");
        let path = if path.exists() {
            path
        } else {
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/source-document.md")
        };
        let Ok(document) = std::fs::read_to_string(&path) else {
            eprintln!("skipped: no source document beside the repository");
            return;
        };
        let plain = document.replace("**", "");
        for row in Catalogue::built_in().expect("built-in").rows {
            for words in row.documented.quote.iter().chain(&row.documented.query) {
                assert!(document.contains(words.as_str()), "{}: not in the document: {words}", row.id);
            }
            for part in row.documented.heading.split(" › ").skip(1) {
                assert!(plain.contains(part), "{}: no such heading: {part}", row.id);
            }
        }
    }

    #[test]
    fn errors_say_what_is_wrong_and_where() {
        let rows = vec![Catalogue::built_in().expect("built-in").rows[0].clone()];
        let good = toml::to_string(&Catalogue { rows, dashboards: Vec::new() }).expect("toml");
        for (from, to, words) in [
            ("scenario = \"scale-up\"", "scenario = \"scaleup\"", "row A1: scenario is \"scaleup\""),
            ("low = 0.05", "low = 0.9", "row A1: cilium: low (0.9) is above high (0.5)"),
            ("low = 0.05", "low = nan", "must be finite"),
            ("direction = \"lower\"", "direction = \"down\"", "unknown variant `down`"),
            ("[row.cilium]", "[row.cillium]", "unknown field `cillium`"),
            ("statistic = \"max\"", "statstic = \"max\"", "unknown field `statstic`"),
        ] {
            assert!(good.contains(from), "{from} not in\n{good}");
            let error = Catalogue::parse(&good.replacen(from, to, 1), "x.toml").expect_err(to).to_string();
            assert!(error.contains(words) && error.contains("x.toml"), "{error}");
        }
        let twice = format!("{good}\n{good}");
        assert!(Catalogue::parse(&twice, "x.toml").expect_err("twice").to_string().contains("stands twice"));
    }

    #[test]
    fn a_file_replaces_rows_and_adds_others() {
        let mut row = Catalogue::built_in().expect("built-in").rows[0].clone();
        row.claim = "mine".into();
        let mut other = row.clone();
        other.id = "X1".into();
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("mine.toml");
        std::fs::write(
            &path,
            toml::to_string(&Catalogue { rows: vec![row, other], dashboards: Vec::new() }).expect("toml"),
        )
        .expect("write");
        let merged = Catalogue::with_file(&path).expect("merged");
        assert_eq!(merged.rows.len(), 47);
        assert_eq!(merged.rows[0].claim, "mine");
        assert_eq!(merged.rows[46].id, "X1");
    }
}
