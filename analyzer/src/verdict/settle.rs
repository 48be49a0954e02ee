//! What would settle an inconclusive verdict: how many more attempts or runs, how dense a sampling, which anchor.

use super::catalogue::Row;
use super::{RunResult, Status, Verdict};
use crate::events::Direction;
use crate::result::propagation::Widest;

/// Measurements whose bounds come from looks at the dataplane and from clocks.
const LOOKS: [&str; 5] =
    ["endpoint_propagation", "endpoint_removal", "settle_time", "convergence_time", "pod_ready_to_dataplane"];
/// More than this is not worth asking for.
const MOST: f64 = 1e7;

/// One sentence; `None` where the verdict is not inconclusive.
pub fn settle(row: &Row, verdict: &Verdict, runs: &[&RunResult], least: Option<u64>) -> Option<String> {
    if verdict.status != Status::Inconclusive {
        return None;
    }
    let said = if verdict.reason.is_load() {
        "repeat the run on a node whose CPU stays below 90 %, equally busy in whatever is compared; what is niced does not count".to_owned()
    } else if verdict.reason.is_ambiguous() && verdict.readings.iter().any(|one| one.reason.is_load()) {
        "repeat the run on a node whose CPU stays below 90 %: one of the two readings is open because of its load"
            .to_owned()
    } else if verdict.reason.is_ambiguous() {
        "no capture: the claim can be read in two ways, and the proposal must say which one it means".to_owned()
    } else if row.scenario == "alert" {
        "a run that is longer than the alert's `for:` under the same load".to_owned()
    } else if verdict.reason.is_too_few() {
        few(verdict, least.or(row.min_samples))
    } else if verdict.bound.as_deref() == Some("upper bound") {
        "a direct figure: dumps of `bpftool prog show -j` with kernel.bpf_stats_enabled=1 before and after the action (Cilium); kube-proxy has none, so that only a lower upper bound can decide".to_owned()
    } else if verdict.bound.as_deref() == Some("lower bound") {
        "the whole of it: the proxy's own log or metrics beside the kernel trace".to_owned()
    } else if LOOKS.iter().any(|name| verdict.measurement.starts_with(name)) {
        looks(verdict, runs)
    } else {
        sampling(verdict)
    };
    Some(format!("What would settle it: {said}."))
}

fn few(verdict: &Verdict, least: Option<u64>) -> String {
    let (n, least) = (verdict.n.max(1), least.unwrap_or(1));
    let times = least.div_ceil(n);
    format!(
        "{} more in one run ({least} in all): a window {times} times as long, or {times} times as many changes in it",
        least.saturating_sub(verdict.n)
    )
}

/// The end of the range that the bounds straddle, and how far the value is from it.
fn nearest(verdict: &Verdict) -> Option<(f64, f64)> {
    let (value, bounds) = (verdict.measured?, verdict.measured_bounds?);
    let straddled = |end: &f64| bounds[0].is_none_or(|low| low < *end) && bounds[1].is_none_or(|high| high > *end);
    let ends = verdict.expected_range.iter().flatten().copied().filter(straddled);
    ends.map(|end| (end, (value - end).abs())).min_by(|a, b| a.1.total_cmp(&b.1))
}

/// Bounds of sampling and clocks: the wider of the two is what to narrow.
fn looks(verdict: &Verdict, runs: &[&RunResult]) -> String {
    let wanted =
        if verdict.measurement.starts_with("endpoint_removal") { Direction::Removed } else { Direction::Added };
    let seen = runs.iter().filter_map(|result| result.widest.get(&wanted));
    let Some(Widest { look, clock, seen, committed }) = seen.max_by_key(|one| one.look + one.clock) else {
        return "a capture of the dataplane that begins before the action and ends after it".to_owned();
    };
    if clock > look {
        let advice = runs.iter().find_map(|result| result.run.clocks.advice(committed, seen));
        let anchor = advice.map_or_else(|| "a reading of both clocks".to_owned(), |advice| advice.capture);
        return format!(
            "a better anchor between the clocks {committed} and {seen}, now known to {:.0} ms: {anchor}",
            *clock as f64 / 1e6
        );
    }
    let now = *look as f64 / 1e6;
    match nearest(verdict) {
        Some((end, apart)) if apart > 0.0 && verdict.unit == "s" => {
            // Bounds reach about one look to each side of the value.
            let wanted = (apart * 1e3).min(now / 2.0);
            if wanted < 1.0 {
                return format!(
                    "hardly anything: the figure lies within {wanted:.2} ms of the range's end, {end} s; a kernel trace of every change is the best there is"
                );
            }
            format!(
                "looks at the dataplane every {wanted:.0} ms (they are up to {now:.0} ms apart), or a kernel trace of every change"
            )
        }
        _ => format!(
            "looks at the dataplane that are denser than the {now:.0} ms of now, up to the end of the last change"
        ),
    }
}

/// Bounds of counting: they narrow with the root of the number.
fn sampling(verdict: &Verdict) -> String {
    let n = verdict.n.max(1) as f64;
    let zero = verdict.expected_range == [None, None];
    let bounds = verdict.measured_bounds.unwrap_or_default();
    let half = bounds[0].zip(bounds[1]).map(|(low, high)| (high - low) / 2.0);
    let apart = if zero { verdict.measured } else { nearest(verdict).map(|(_, apart)| apart) };
    if zero && verdict.measured == Some(0.0) {
        return "3,001 attempts or more without a failure in the action".to_owned();
    }
    match (half, apart) {
        (Some(half), Some(apart)) if apart > 0.0 && half > 0.0 => {
            let wanted = (n * (half / apart).powi(2) - 1e-6).ceil().max(n + 1.0);
            if wanted > MOST {
                return "no number of samples that can be captured: the figure lies at the end of the documented range"
                    .to_owned();
            }
            format!(
                "about {wanted:.0} samples (there are {n:.0}), if the figure stays as it is: a longer window or denser scrapes"
            )
        }
        (None, _) => {
            "an end to the figure's interval: captures that cover the action from before its start to after its end"
                .to_owned()
        }
        _ => "more runs of the same kind: from six on their median has an interval of its own".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::reason::{Loaded, Moved};
    use crate::verdict::{Catalogue, Reason};

    fn said(id: &str, change: impl Fn(&mut Verdict)) -> Option<String> {
        let catalogue = Catalogue::built_in().unwrap();
        let row = catalogue.row(id).unwrap();
        let mut verdict = super::super::row::blank(row, row.side("cilium").unwrap(), "cilium", "scale-up", None);
        verdict.status = Status::Inconclusive;
        change(&mut verdict);
        settle(row, &verdict, &[], None)
    }

    #[test]
    fn each_kind_of_doubt_has_its_remedy() {
        let check = |id: &str, part: &str, change: &dyn Fn(&mut Verdict)| {
            let found = said(id, change).unwrap();
            assert!(found.contains(part), "{found}");
        };
        check("A1", "19 more in one run", &|verdict| {
            (verdict.reason, verdict.n) = (Reason::TooFew { n: 1, least: 20 }, 1)
        });
        check("A1", "below 90 %", &|verdict| {
            verdict.reason = Reason::Load {
                loaded: Loaded::While { run: "x".to_owned(), busy: 0.97 },
                moved: Moved::Raised,
                otherwise: None,
            }
        });
        check("C2", "bpf_stats_enabled", &|verdict| verdict.bound = Some("upper bound".to_owned()));
        check("T5.1", "400 samples (there are 100)", &|verdict| {
            verdict.n = 100;
            verdict.expected_range = [Some(0.01), Some(0.05)];
            verdict.measured = Some(0.06);
            verdict.measured_bounds = Some([Some(0.04), Some(0.08)]);
        });
        check("A4", "3,001 attempts", &|verdict| {
            (verdict.measured, verdict.expected_range) = (Some(0.0), [None, None]);
        });
        check("AL1", "longer than the alert", &|_| ());
        assert_eq!(said("A1", |verdict| verdict.status = Status::Holds), None);
    }
}
