//! A bundle that is whole and whose values are a stranger's, through the analyzer: events, clocks, measurements, verdicts and the report.

use std::path::PathBuf;

use arbitrary::{Arbitrary, Unstructured};
use syncline::result::load::{Loaded, load};
use syncline::verdict::Catalogue;
use syncline::verdict::queries::questions;
use syncline::view::{Options, build};
use syncline::write::{Format, render};
use syncline_collector::write::integrity;

use crate::bundles::Damage;
use crate::{mutation, places};

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
    let asks = |dataplane: &str| questions(&catalogue, dataplane);
    let Ok(Loaded { results, unread }) = load(&[bundle], &asks, None, integrity::MEMORY) else { return };
    let judged = build(&results, &catalogue, &Options { nodes: Some(3), unread, ..Options::default() });
    let formats = Format::list("md,short,html,json").expect("formats");
    render(&judged, &results, &formats).expect("a report of any figures");
}

/// Bytes without order: each gives some values.
pub fn seeds() -> Vec<Vec<u8>> {
    mutation::noise(200)
}
