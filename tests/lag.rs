//! Propagation against figures that an independent script computed (`fixtures/LAG.tsv`).
//!
//! The script counts, for each address that is new in the EndpointSlice watch, the seconds from its receipt to the
//! stamp of the first snapshot that shows it; a stamp precedes its reading, so its figures are lower ones. Ours must
//! agree within the run's largest sampling interval, and the bounds of the median may be no wider than twice it.
//! Always over `sample-data`; over all captures where `../shared/captures` is there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use syncline::bundle::MEMORY;
use syncline::measure::Measurement;
use syncline::result::load::{load, nothing};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("in the workspace").to_owned()
}

/// Rows of the table by run, columns by name.
fn table() -> BTreeMap<String, BTreeMap<String, String>> {
    let text = std::fs::read_to_string(root().join("tests/fixtures/LAG.tsv")).expect("the table");
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().expect("a header").split('\t').collect();
    lines
        .map(|line| {
            let row: BTreeMap<String, String> =
                names.iter().map(|name| (*name).to_owned()).zip(line.split('\t').map(str::to_owned)).collect();
            (row["run"].clone(), row)
        })
        .collect()
}

fn number(row: &BTreeMap<String, String>, name: &str) -> Option<f64> {
    row.get(name)?.parse().ok()
}

/// What does not agree.
fn compare(row: &BTreeMap<String, String>, added: &Measurement, removed: &Measurement) -> Vec<String> {
    let run = &row["run"];
    let within = number(row, "sample_max_s").expect("the largest sampling interval");
    let mut complaints = Vec::new();
    let mut check = |what: &str, wanted: Option<f64>, found: Option<f64>| match (wanted, found) {
        (Some(wanted), Some(found)) if (wanted - found).abs() <= within => {}
        (Some(wanted), found) => {
            complaints.push(format!("{run}: {what}: {found:?}, the script has {wanted} ± {within}"))
        }
        (None, _) => {}
    };
    let quantile = |one: &Measurement, name: &str| one.quantiles.get(name).and_then(|estimate| estimate.value);
    check("minimum", number(row, "lag_min_s"), added.details.get("minimum").copied());
    check("median", number(row, "lag_median_s"), quantile(added, "p50"));
    check("p90", number(row, "lag_p90_s"), quantile(added, "p90"));
    check("maximum", number(row, "lag_max_s"), quantile(added, "max"));
    if number(row, "removed").is_some_and(|count| count > 0.0) {
        check("median of removals", number(row, "removal_median_s"), quantile(removed, "p50"));
        check("p90 of removals", number(row, "removal_p90_s"), quantile(removed, "p90"));
    }
    let counted = added.n as f64;
    if number(row, "new_endpoints") > Some(counted) {
        complaints.push(format!("{run}: {counted} endpoints, the script has {:?}", row["new_endpoints"]));
    }
    match added.quantiles.get("p50").map(|median| (median.low, median.high)) {
        Some((Some(low), Some(high))) if high - low <= 2.0 * within => {}
        bounds => complaints.push(format!("{run}: bounds of the median {bounds:?}, wider than 2 × {within}")),
    }
    complaints
}

fn check_folder(folder: &Path) {
    let table = table();
    let runs: Vec<PathBuf> = table.keys().map(|run| folder.join(run)).filter(|path| path.is_dir()).collect();
    assert!(runs.len() >= 8, "only {} runs in {}", runs.len(), folder.display());
    let results = load(&runs, &nothing, None, MEMORY).expect("the captures load").results;
    let mut complaints = Vec::new();
    for result in &results {
        let find = |name: &str| result.measurements.iter().find(|one| one.name == name).expect("every name has a row");
        let (added, removed) = (find("endpoint_propagation"), find("endpoint_removal"));
        complaints.extend(compare(&table[&result.run.name], added, removed));
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn sample_data_agrees() {
    check_folder(&root().join("sample-data"));
}

#[test]
fn all_captures_agree() {
    let places = ["../shared/captures", "../../shared/captures"].map(|place| root().join(place));
    match places.iter().find(|place| place.is_dir()) {
        Some(folder) => check_folder(folder),
        None => eprintln!("skipped: {} is not there", places[0].display()),
    }
}
