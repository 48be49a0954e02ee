//! A waterfall of medians: for each run the stages from the commit to the dataplane, one behind the other.

use super::{Chart, Drawing, Scale, class_of};

/// One stage: its median and the bounds of that, s.
#[derive(Clone, Debug)]
pub struct Bar {
    pub label: String,
    pub seconds: f64,
    pub low: f64,
    pub high: f64,
}

/// One run.
#[derive(Clone, Debug)]
pub struct Lane {
    pub run: String,
    pub dataplane: String,
    pub bars: Vec<Bar>,
}

const WIDTH: f64 = 960.0;
const LEFT: f64 = 330.0;
const ROW: f64 = 17.0;
const TOP: f64 = 28.0;
/// Runs beyond this many are left to the table.
const MOST: usize = 24;

/// Draws the runs on one axis. `None` where no run has a stage.
pub fn draw(lanes: &[Lane]) -> Option<Chart> {
    let shown: Vec<&Lane> = lanes.iter().filter(|lane| !lane.bars.is_empty()).take(MOST).collect();
    let whole = |lane: &Lane| lane.bars.iter().map(|bar| bar.seconds).sum::<f64>();
    let longest = shown.iter().map(|lane| whole(lane)).fold(0.0, f64::max);
    if longest <= 0.0 {
        return None;
    }
    let rows: usize = shown.iter().map(|lane| lane.bars.len() + 1).sum();
    let height = TOP + rows as f64 * ROW + 34.0;
    let x = Scale { low: 0.0, high: longest * 1.05, from: LEFT, to: WIDTH - 110.0, log: false };
    let mut d = Drawing::new();
    for tick in x.ticks(7) {
        d.line("grid", x.at(tick), TOP - 8.0, x.at(tick), height - 30.0);
        d.text("tick", x.at(tick), height - 14.0, "middle", &format!("{} s", super::super::number::digits(tick)));
    }
    let mut y = TOP;
    for lane in &shown {
        d.text("head", 8.0, y + 10.0, "start", &lane.run);
        y += ROW;
        let mut begun = 0.0;
        for bar in &lane.bars {
            d.text("tick", LEFT - 10.0, y + 10.0, "end", &bar.label);
            let class = class_of(&lane.dataplane);
            let (from, to) = (x.at(begun), x.at(begun + bar.seconds));
            d.rect(&format!("bar {class}"), from, y + 2.0, (to - from).max(1.0), 9.0);
            let (least, most) = (x.within(begun + bar.low), x.within(begun + bar.high));
            d.line("event", least, y + 6.5, most, y + 6.5);
            let text = super::super::number::figure(bar.seconds, "s", super::super::number::Show::Unit);
            d.text("tick", to.max(most) + 6.0, y + 10.0, "start", &text);
            begun += bar.seconds;
            y += ROW;
        }
    }
    let left_out = lanes.iter().filter(|lane| !lane.bars.is_empty()).count() - shown.len();
    let rest = if left_out > 0 { format!(" {left_out} more runs stand in report.json.") } else { String::new() };
    let description = format!(
        "Median of each stage from the commit of the EndpointSlice to the dataplane, one behind the other; the dashed line spans the bounds of the median.{rest}"
    );
    Some(d.finish("stages", "Where the time goes", &description, WIDTH, height))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_stand_one_behind_the_other() {
        let bar = |label: &str, seconds| Bar { label: label.to_owned(), seconds, low: seconds, high: seconds + 0.1 };
        let lane = Lane {
            run: "<run>".to_owned(),
            dataplane: "cilium".to_owned(),
            bars: vec![bar("a → b", 0.5), bar("b → c", 0.25)],
        };
        let chart = draw(&[lane]).unwrap();
        assert_eq!(chart.svg.matches("<rect").count(), 2);
        assert!(!chart.svg.contains("<run>"));
        assert!(draw(&[]).is_none());
    }
}
