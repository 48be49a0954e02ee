//! A bundle that is whole and whose values are a stranger's, through the analyzer: events, clocks, measurements, verdicts and the report.

use std::path::PathBuf;

use arbitrary::{Arbitrary, Unstructured};
use syncline::result::load::load;
use syncline::verdict::Catalogue;
use syncline::verdict::queries::questions;
use syncline::view::{Options, build};
use syncline::write::{Format, render};

use crate::bundles::Damage;
use crate::{mutation, places};

/// Bytes that the rows of a bundle may come to.
const MEMORY: u64 = 256 << 20;

/// Takes an input.
///
/// # Panics
/// Where the report cannot be rendered.
pub fn run(data: &[u8]) {
    let Ok(damage) = Damage::arbitrary_take_rest(Unstructured::new(data)) else { return };
    let folder = places::folder();
    let bundle: PathBuf = folder.path().join("run");
    damage.of_cells().write(&bundle);
    let catalogue = Catalogue::built_in().expect("the catalogue of the program");
    let Ok(loaded) = load(&[bundle], &|dataplane| questions(&catalogue, dataplane), MEMORY) else { return };
    let results = loaded.results;
    let judged = build(&results, &catalogue, &Options { nodes: Some(3), ..Options::default() });
    let formats = Format::list("md,short,html,json").expect("formats");
    render(&judged, &results, &formats).expect("a report of any figures");
}

/// Bytes without order: each gives some values.
pub fn seeds() -> Vec<Vec<u8>> {
    mutation::noise(200)
}
