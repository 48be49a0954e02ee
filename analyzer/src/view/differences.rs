//! The three differences that matter most, chosen by a rule and not by taste:
//!
//! 1. a row with a figure for both dataplanes in the same scenario and size, from direct measurements on both sides;
//!    measured under loads that are alike, or whose difference works against the conclusion;
//! 2. whose intervals do not overlap: the *proven factor* is the distance of their near ends, as a ratio;
//! 3. at most one row a quantity (rows that rest on one measurement say one thing);
//! 4. the largest proven factors first.

use serde::Serialize;

use super::number;
use super::rows;
use crate::verdict::catalogue::Direction;
use crate::verdict::{Catalogue, Status, Verdict, saturation};

/// One difference.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    pub id: String,
    pub claim: String,
    /// `Cilium is at least 2.1 × lower`.
    pub title: String,
    pub cilium: String,
    pub kube_proxy: String,
    pub group: String,
}

/// Finds them.
pub fn build(verdicts: &[Verdict], catalogue: &Catalogue) -> Vec<Difference> {
    let mut found: Vec<(f64, String, Difference)> = Vec::new();
    for row in catalogue
        .rows
        .iter()
        .filter(|r| r.direction != Direction::None && r.scenario != "compare" && r.scenario != "alert")
    {
        for a in verdicts.iter().filter(|v| v.id == row.id && v.dataplane == "cilium") {
            let same = |v: &&Verdict| {
                v.id == row.id
                    && v.dataplane == "kube-proxy-iptables"
                    && v.scenario == a.scenario
                    && v.services == a.services
            };
            let Some(b) = verdicts.iter().find(same) else { continue };
            let usable = |v: &Verdict| v.status != Status::NotMeasured && v.bound.is_none() && v.measured.is_some();
            if !usable(a) || !usable(b) {
                continue;
            }
            // Different measurements under one row (a sync, a reconciliation) do not compare.
            if a.measurement != b.measurement {
                continue;
            }
            let (Some([Some(al), Some(ah)]), Some([Some(bl), Some(bh)])) = (a.measured_bounds, b.measured_bounds)
            else {
                continue;
            };
            let (factor, lower) = if ah < bl && ah > 0.0 {
                (bl / ah, "Cilium")
            } else if bh < al && bh > 0.0 {
                (al / bh, "kube-proxy")
            } else {
                continue;
            };
            let (below, above) = if lower == "Cilium" { (a, b) } else { (b, a) };
            let load = saturation::could_have_parted(&a.measurement, &below.runs, &above.runs);
            if !factor.is_finite() || factor < 1.05 || load.is_some() {
                continue;
            }
            let show = row.show;
            let words = |v: &Verdict, bounds: [f64; 2]| {
                format!(
                    "{} ({})",
                    rows::measured(v.measured, [Some(bounds[0]), Some(bounds[1])], &v.unit, show),
                    number::interval(Some(bounds[0]), Some(bounds[1]), &v.unit, show)
                )
            };
            let quantity = a.measurement.split(' ').next().unwrap_or_default().to_owned();
            let difference = Difference {
                id: row.id.clone(),
                claim: row.claim.clone(),
                title: format!("{lower} is lower by a factor of at least {}", number::digits(factor)),
                cilium: words(a, [al, ah]),
                kube_proxy: words(b, [bl, bh]),
                group: rows::group_label(&a.scenario, a.services),
            };
            match found.iter_mut().find(|(_, q, _)| *q == quantity) {
                Some(held) if held.0 < factor => *held = (factor, quantity, difference),
                Some(_) => {}
                None => found.push((factor, quantity, difference)),
            }
        }
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    found.into_iter().take(3).map(|(_, _, d)| d).collect()
}
