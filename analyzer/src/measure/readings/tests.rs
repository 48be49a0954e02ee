//! Counters between their own stamps, witnesses, clocks, resets.

use super::{Estimate, Labels, Reading, Series, Window, distinct, events_in, increase, steps, widen};
use crate::measure::fixture;

#[test]
fn one_witness_is_used_and_nothing_is_counted_twice() {
    let folder = tempfile::tempdir().unwrap();
    let run = fixture::run(folder.path(), "cilium", |tables| {
        let minute: Vec<(i64, f64)> = (0..60).map(|t| (t, t as f64)).collect();
        fixture::series(tables, 0, "api", "x_total", r#"{"a":"1"}"#, &minute);
        fixture::series(tables, 1, "scrape", "x_total", r#"{"a":"1"}"#, &minute);
        fixture::series(tables, 2, "tsdb", "x_total", r#"{"a":"1"}"#, &minute[..5]);
        fixture::series(tables, 3, "scrape", "x_total", r#"{"a":"2"}"#, &minute);
        fixture::series(tables, 4, "scrape", "other_total", "{}", &minute);
    });
    // The TSDB block covers too little; the stream is better than the API's answer.
    let found = super::series(&run, "x_total", |_| true);
    assert_eq!(
        found.iter().map(|s| (s.witness.as_str(), s.label("a"))).collect::<Vec<_>>(),
        [("scrape", "1"), ("scrape", "2")]
    );
    assert!(found.iter().all(|s| s.readings.len() == 60));
    assert_eq!(super::series(&run, "x_total", |c| c.label("a") == "2").len(), 1);
    assert!(super::series(&run, "absent_total", |_| true).is_empty());
}

#[test]
fn equal_labels_on_two_clocks_are_two_series() {
    let folder = tempfile::tempdir().unwrap();
    let run = fixture::run(folder.path(), "cilium", |tables| {
        fixture::series(tables, 0, "scrape", "x_total", "{}", &[(1, 100.0), (2, 130.0)]);
        let other = syncline_schema::samples::SeriesRow {
            series: 1,
            clock: "node-b".into(),
            witness: "scrape".into(),
            name: "x_total".into(),
            labels: "{}".into(),
            ..Default::default()
        };
        tables.push(&other).unwrap();
        for (time, value) in [(1_000_000_000, 5000.0), (2_000_000_000, 5300.0)] {
            let row = syncline_schema::samples::SampleRow { series: 1, time, value, ..Default::default() };
            tables.push(&row).unwrap();
        }
    });
    let found = super::series(&run, "x_total", |_| true);
    let rises: Vec<f64> = found.iter().map(|one| one.readings[1].value - one.readings[0].value).collect();
    assert_eq!(rises, [30.0, 300.0]);
}

#[test]
fn staleness_markers_are_no_readings() {
    let folder = tempfile::tempdir().unwrap();
    let stale = f64::from_bits(syncline_schema::samples::STALE_NAN);
    let run = fixture::run(folder.path(), "cilium", |tables| {
        fixture::series(tables, 7, "scrape", "x_total", "{}", &[(1, 1.0), (2, stale), (3, 2.0)]);
    });
    let found = super::series(&run, "x_total", |_| true);
    assert_eq!(found[0].readings.iter().map(|r| r.value).collect::<Vec<_>>(), [1.0, 2.0]);
}

fn series(points: &[(i64, f64)]) -> Series {
    Series {
        name: "x_total".into(),
        labels: Labels::new(),
        clock: "node".into(),
        witness: "scrape".into(),
        began: points.first().map(|p| p.0 * 1_000_000_000),
        readings: points
            .iter()
            .map(|(t, value)| Reading {
                low: t * 1_000_000_000,
                high: t * 1_000_000_000,
                value: *value,
                source: 0,
                record: *t,
            })
            .collect(),
    }
}

fn window(start: i64, end: i64) -> Window {
    Window { start: start * 1_000_000_000, end: end * 1_000_000_000, slack: 0 }
}

#[test]
fn a_counter_is_differenced_between_its_own_stamps() {
    let s = series(&[(0, 1.0), (2, 2.0), (8, 5.0), (11, 50.0)]);
    let found = increase(&s, &window(1, 10), 0.0).unwrap();
    assert_eq!((found.delta.value, found.seconds.value, found.stamps), (Some(3.0), Some(6.0), 2));
    // Over all nine seconds: at least what rose between 2 and 8, at most what rose between 0 and 11.
    assert_eq!(found.rate(), Estimate { value: Some(0.5), low: Some(3.0 / 9.0), high: Some(49.0 / 9.0) });
    let ends = increase(&s, &window(0, 12), 0.0).unwrap().rate();
    assert_eq!(ends, Estimate::exact(49.0 / 11.0), "nothing is known beyond the first and the last stamp");
}

#[test]
fn stamps_that_span_too_little_are_refused() {
    let s = series(&[(0, 1.0), (1, 2.0), (6, 5.0)]);
    assert!(increase(&s, &window(0, 11), 0.0).unwrap_err().contains("55 %"));
    assert!(increase(&s, &window(100, 110), 0.0).is_err());
}

#[test]
fn a_reset_counter_begins_again_at_zero() {
    let s = series(&[(0, 10.0), (5, 12.0), (10, 3.0)]);
    assert_eq!(increase(&s, &window(0, 11), 0.0).unwrap().delta.value, Some(5.0));
}

#[test]
fn a_repeated_answer_of_the_api_is_one_sample_within_a_step() {
    let mut s = series(&[(0, 1.0), (1, 1.0), (2, 4.0), (3, 4.0), (4, 7.0)]);
    widen(&mut s.readings);
    let s = distinct(s);
    let found = increase(&s, &window(0, 5), 0.0).unwrap();
    assert_eq!(found.stamps, 3);
    // 6 in 4 seconds give or take the step at both ends.
    assert_eq!((found.rate().low, found.rate().value, found.rate().high), (Some(6.0 / 5.0), Some(1.5), Some(2.0)));
}

#[test]
fn resolution_widens_the_rate() {
    let s = series(&[(0, 1.0), (10, 1.05)]);
    let found = increase(&s, &window(0, 11), 0.01).unwrap().rate();
    assert!((found.low.unwrap() - 0.004).abs() < 1e-9 && (found.high.unwrap() - 0.006).abs() < 1e-9);
}

#[test]
fn a_counter_that_appears_later_began_at_zero() {
    let mut s = series(&[(20, 17.0), (21, 18.0)]);
    s.began = Some(0);
    assert_eq!(events_in(&s, &window(10, 30)), Some(18.0));
    assert_eq!(steps(&s, &window(10, 30)).len(), 2);
    s.began = Some(19_000_000_000);
    assert_eq!(events_in(&s, &window(10, 30)), Some(1.0));
    assert_eq!(events_in(&s, &window(21, 30)), None, "nothing tells of the time behind the last reading");
    assert_eq!(events_in(&series(&[(5, 7.0), (40, 7.0)]), &window(10, 30)), Some(0.0));
    assert_eq!(events_in(&series(&[(5, 7.0), (40, 9.0)]), &window(10, 30)), None);
}
