//! Answers of `syncline query` as people and spreadsheets read them.

use std::fmt::Write as _;
use std::io::Write;

use syncline_promql::{Answer, Labels, MatrixSeries, PlanStep, SampleValue, Value, format_float, format_time};

use crate::write::csv;
use crate::write::grid::{Cell, Screen, Style, grid};

/// Columns of a drawn course.
const CHART_WIDTH: usize = 40;
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// One line a value: labels, time, value.
fn rows(answer: &Answer) -> Vec<[String; 3]> {
    match &answer.value {
        Value::Scalar { time, value } => vec![[String::new(), format_time(*time), format_float(*value)]],
        Value::String { time, text } => vec![[String::new(), format_time(*time), text.clone()]],
        Value::Vector(elements) => elements
            .iter()
            .map(|element| {
                let value = match &element.value {
                    SampleValue::Float(value) => format_float(*value),
                    SampleValue::Histogram(histogram) => histogram.to_string(),
                };
                [series_text(&element.labels), format_time(element.time), value]
            })
            .collect(),
        Value::Matrix(series) => series
            .iter()
            .flat_map(|one| {
                let labels = series_text(&one.labels);
                let row = |time: i64, value: String| [labels.clone(), format_time(time), value];
                let mut rows: Vec<[String; 3]> =
                    one.floats.iter().map(|(time, value)| row(*time, format_float(*value))).collect();
                rows.extend(one.histograms.iter().map(|(time, histogram)| row(*time, histogram.to_string())));
                rows
            })
            .collect(),
    }
}

/// A series as a selector has it: `up{job="node"}`.
fn series_text(labels: &Labels) -> String {
    let name = labels.metric_name();
    if !is_plain(name) {
        return labels.to_string();
    }
    let rest = labels.without_name();
    if rest.is_empty() { name.to_owned() } else { format!("{name}{rest}") }
}

/// Whether a metric name needs no quotes.
fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_' || letter == ':')
        && !name.starts_with(|letter: char| letter.is_ascii_digit())
}

/// Aligned columns.
///
/// # Errors
/// The output cannot be written.
pub fn table(out: &mut impl Write, answer: &Answer, screen: Screen) -> std::io::Result<()> {
    let mut lines = vec![["series", "time", "value"].map(|text| Cell::new(text, Style::Dim)).to_vec()];
    lines.extend(rows(answer).into_iter().map(|row| row.map(Cell::from).to_vec()));
    out.write_all(grid(&lines, screen).as_bytes())
}

/// Comma-separated values with a heading (RFC 4180).
///
/// # Errors
/// The output cannot be written.
pub fn csv(out: &mut impl Write, answer: &Answer) -> std::io::Result<()> {
    writeln!(out, "series,time,value")?;
    // What PromQL calls a string is text; every other value is a number, or a histogram.
    let is_text = matches!(answer.value, Value::String { .. });
    for [labels, time, value] in rows(answer) {
        let value = if is_text { csv::text(&value) } else { csv::plain(&value) };
        writeln!(out, "{},{time},{value}", csv::text(&labels))?;
    }
    Ok(())
}

/// One line a series: its least, greatest and last value, and its course over time in blocks, all series on one scale of time.
/// What is no series of floats is printed as a table.
///
/// # Errors
/// The output cannot be written.
pub fn chart(out: &mut impl Write, answer: &Answer, screen: Screen) -> std::io::Result<()> {
    let Value::Matrix(series) = &answer.value else { return table(out, answer, screen) };
    let times = || series.iter().flat_map(|one| one.floats.iter().map(|(time, _)| *time));
    let (Some(first), Some(last)) = (times().min(), times().max()) else { return table(out, answer, screen) };
    let times = format!("from {} to {}", format_time(first), format_time(last));
    let header = ["series".to_owned(), "least".to_owned(), "greatest".to_owned(), "last".to_owned(), times];
    let mut lines = vec![header.map(|text| Cell::new(text, Style::Dim)).to_vec()];
    for one in series.iter().filter(|one| !one.floats.is_empty()) {
        let values = || one.floats.iter().map(|(_, value)| *value).filter(|value| value.is_finite());
        let (least, greatest) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
        let shown = |value: f64| if value.is_finite() { short(value) } else { "-".to_owned() };
        let ending = one.floats.last().map_or_else(String::new, |(_, value)| short(*value));
        let numbers = [shown(least), shown(greatest), ending].map(Cell::number);
        let mut line = vec![Cell::from(series_text(&one.labels))];
        line.extend(numbers);
        line.push(Cell::whole(course(one, (first, last), (least, greatest))));
        lines.push(line);
    }
    out.write_all(grid(&lines, screen).as_bytes())?;
    let histograms = series.iter().filter(|one| !one.histograms.is_empty()).count();
    if histograms > 0 {
        writeln!(out, "{histograms} series of native histograms are not drawn; --format table prints them")?;
    }
    Ok(())
}

/// Six significant digits.
fn short(value: f64) -> String {
    let rounded = format!("{value:.5e}").parse().unwrap_or(value);
    format_float(rounded)
}

/// The greatest value of each column's stretch of time, from least to greatest of the series; a gap is blank, NaN a question mark.
fn course(series: &MatrixSeries, (first, last): (i64, i64), (least, greatest): (f64, f64)) -> String {
    let mut columns = [None::<f64>; CHART_WIDTH];
    for (time, value) in &series.floats {
        let share = if last > first { (time - first) as f64 / (last - first) as f64 } else { 0.0 };
        let column = &mut columns[((share * CHART_WIDTH as f64) as usize).min(CHART_WIDTH - 1)];
        *column = Some(column.map_or(*value, |before| before.max(*value)));
    }
    let block = |value: f64| {
        if value.is_nan() {
            return '?';
        }
        let share = if greatest > least { ((value - least) / (greatest - least)).clamp(0.0, 1.0) } else { 0.0 };
        BLOCKS[((share * BLOCKS.len() as f64) as usize).min(BLOCKS.len() - 1)]
    };
    columns.iter().map(|column| column.map_or(' ', block)).collect()
}

/// The plan, a line a part: how long it took with the parts inside it, alone, and how many series it gave.
pub fn plan(steps: &[PlanStep]) -> String {
    let mut text = String::new();
    if steps.is_empty() {
        return text;
    }
    let _ = writeln!(text, "{:>10}  {:>10}  {:>8}  part of the expression", "ms", "alone ms", "series");
    for (at, step) in steps.iter().enumerate() {
        let within = steps[at + 1..].iter().take_while(|inner| inner.depth > step.depth);
        let inner: f64 = within.filter(|inner| inner.depth == step.depth + 1).map(|inner| inner.seconds).sum();
        let alone = (step.seconds - inner).max(0.0);
        let indent = "  ".repeat(step.depth);
        let (all, alone) = (step.seconds * 1e3, alone * 1e3);
        let _ = writeln!(text, "{all:>10.3}  {alone:>10.3}  {:>8}  {indent}{}", step.series, step.text);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(points: &[(i64, f64)]) -> Answer {
        let labels = Labels::new([("job", "a")]);
        let value = Value::Matrix(vec![MatrixSeries { labels, floats: points.to_vec(), histograms: Vec::new() }]);
        Answer { value, warnings: Vec::new(), infos: Vec::new(), selected: Vec::new(), plan: Vec::new() }
    }

    fn printed(print: impl Fn(&mut Vec<u8>, &Answer) -> std::io::Result<()>, answer: &Answer) -> String {
        let mut out = Vec::new();
        print(&mut out, answer).expect("memory takes it");
        String::from_utf8(out).expect("text")
    }

    fn drawn(out: &mut Vec<u8>, answer: &Answer) -> std::io::Result<()> {
        chart(out, answer, Screen::default())
    }

    #[test]
    fn a_course_rises_has_gaps_and_says_where_there_is_no_number() {
        let points: Vec<(i64, f64)> = (0..40).filter(|at| *at != 20).map(|at| (at * 1000, at as f64)).collect();
        let text = printed(drawn, &of(&points));
        let line = text.lines().nth(1).expect("a series");
        let words: Vec<&str> = line.split_whitespace().take(5).collect();
        assert_eq!(words[..4], ["{job=\"a\"}", "0", "39", "39"], "{text}");
        assert!(words[4].starts_with('▁'), "{text}");
        assert!(line.ends_with('█') && line.chars().filter(|letter| BLOCKS.contains(letter)).count() == 39, "{text}");
        let text = printed(drawn, &of(&[(0, f64::NAN), (1000, 2.0)]));
        assert!(text.contains('?'), "{text}");
    }

    #[test]
    fn a_field_with_a_comma_is_quoted() {
        let answer = Answer { value: Value::String { time: 0, text: "a,\"b\"".into() }, ..of(&[]) };
        assert_eq!(printed(csv, &answer), "series,time,value\n,0,\"a,\"\"b\"\"\"\n");
    }

    #[test]
    fn a_part_is_charged_for_itself_only() {
        let step = |depth, seconds: f64, text: &str| PlanStep { text: text.to_owned(), depth, seconds, series: 1 };
        let text = plan(&[step(0, 0.010, "a + b"), step(1, 0.004, "a"), step(2, 0.003, "x"), step(1, 0.005, "b")]);
        let alone: Vec<&str> = text.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)).collect();
        assert_eq!(alone, ["1.000", "1.000", "3.000", "5.000"], "{text}");
    }
}
