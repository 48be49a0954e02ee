//! Replays rules over captured series: every group at each of its times, one rule after the other, what they record visible to those
//! behind them.
//!
//! A rule that asks nothing which rules write is evaluated ahead, many times at once; the others one time after the other. That is a
//! matter of speed: the values are the same.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use syncline_promql::{EvalError, Labels, METRIC_NAME, Options, SampleValue, Series, Value, instant, range};

use super::alerts::{Alerts, Stretch, Terms};
use super::judged::{self, Status};
use super::read::{Group, ReadRule, Rules, What};
use super::storage::Live;

/// Most evaluations of a group; more are refused.
const MOST_EVALUATIONS: i64 = 1_000_000;
/// Evaluations that are done ahead at a time.
const AHEAD: i64 = 500;
/// Different messages of one rule that are kept.
const MESSAGES: usize = 5;

/// How rules are replayed.
#[derive(Clone, Debug)]
pub struct Settings {
    /// ms between the evaluations of a group that says nothing itself.
    pub interval: i64,
    pub options: Options,
}

/// What became of the rules over one run.
#[derive(Clone, Debug, Default)]
pub struct Replay {
    /// First and last time that there are samples of, ms since 1970; `None` without any.
    pub span: Option<(i64, i64)>,
    pub groups: Vec<GroupHistory>,
    /// Series that were captured, and that the rules write themselves: left aside, with their number.
    pub aside: BTreeMap<String, usize>,
}

/// What became of a group.
#[derive(Clone, Debug)]
pub struct GroupHistory {
    pub file: String,
    pub name: String,
    /// ms between evaluations.
    pub interval: i64,
    pub evaluations: usize,
    pub rules: Vec<RuleHistory>,
}

/// What became of a rule.
#[derive(Clone, Debug)]
pub struct RuleHistory {
    pub name: String,
    pub what: What,
    pub expr: String,
    pub status: Status,
    /// Why it is that, where there is more to say.
    pub why: String,
    /// Evaluations that gave anything.
    pub valued: usize,
    /// Most series or alerts at one evaluation.
    pub series: usize,
    pub stretches: Vec<Stretch>,
    /// What failed, with the number of evaluations.
    pub failures: BTreeMap<String, usize>,
    /// What else is to be said: warnings of the engine, templates that stand as written.
    pub notes: BTreeSet<String>,
}

/// A rule while it is replayed.
struct Playing<'r> {
    rule: &'r ReadRule,
    /// Whether it can be evaluated ahead, and what was.
    ahead: Option<Ahead>,
    alerts: Alerts,
    /// What it wrote at its last evaluation.
    wrote: HashSet<Labels>,
    valued: usize,
    series: usize,
    failures: BTreeMap<String, usize>,
    notes: BTreeSet<String>,
}

/// Elements of the evaluations up to a time.
#[derive(Default)]
struct Ahead {
    until: Option<i64>,
    elements: HashMap<i64, Vec<(Labels, SampleValue)>>,
}

/// Replays rules over the series of one run; `span` is the time over which the run has samples at all.
pub fn replay(rules: &Rules, series: Vec<Series>, span: Option<(i64, i64)>, settings: &Settings) -> Replay {
    let written = rules.written();
    let (own, captured): (Vec<Series>, Vec<Series>) =
        series.into_iter().partition(|one| written.contains(one.labels.metric_name()));
    let mut aside = BTreeMap::new();
    for one in own {
        *aside.entry(one.labels.metric_name().to_owned()).or_insert(0) += 1;
    }
    let mut live = Live::new(captured);
    let mut groups: Vec<Played<'_>> =
        rules.groups.iter().map(|group| Played::new(group, &written, span, settings)).collect();
    if let Some((start, _)) = span {
        let mut next: BTreeSet<(i64, usize)> =
            (0..groups.len()).filter(|at| groups[*at].times > 0).map(|at| (start, at)).collect();
        while let Some((time, at)) = next.pop_first() {
            let group = &mut groups[at];
            group.evaluate(time, &mut live, &settings.options);
            group.done += 1;
            if group.done < group.times {
                next.insert((time + group.interval, at));
            }
        }
    }
    let groups = groups.into_iter().map(|group| group.history(&live, span)).collect();
    Replay { span, groups, aside }
}

/// A group while it is replayed.
struct Played<'r> {
    group: &'r Group,
    interval: i64,
    /// Evaluations to do.
    times: usize,
    done: usize,
    /// Why there are none, where there could be.
    refused: Option<String>,
    rules: Vec<Playing<'r>>,
}

impl<'r> Played<'r> {
    fn new(group: &'r Group, written: &BTreeSet<String>, span: Option<(i64, i64)>, settings: &Settings) -> Self {
        let interval = group.interval.unwrap_or(settings.interval).max(1);
        let wanted = span.map_or(0, |(start, end)| end.saturating_sub(start) / interval + 1);
        let refused = (wanted > MOST_EVALUATIONS).then(|| {
            format!("would be evaluated {wanted} times, and {MOST_EVALUATIONS} is the most: give a longer interval")
        });
        let playing = |rule: &'r ReadRule| Playing {
            rule,
            ahead: asks_captures_alone(rule, written).then(Ahead::default),
            alerts: Alerts::default(),
            wrote: HashSet::new(),
            valued: 0,
            series: 0,
            failures: BTreeMap::new(),
            notes: BTreeSet::new(),
        };
        let times = if refused.is_some() { 0 } else { usize::try_from(wanted).unwrap_or(0) };
        Self { group, interval, times, done: 0, refused, rules: group.rules.iter().map(playing).collect() }
    }

    fn evaluate(&mut self, time: i64, live: &mut Live, options: &Options) {
        let asked = time.saturating_sub(self.group.offset);
        for playing in &mut self.rules {
            if live.samples() > options.max_samples {
                let message = format!("the rules wrote more than {} samples", options.max_samples);
                playing.fail(message);
                continue;
            }
            // The last evaluation that a look ahead may reach.
            let left = (self.times - self.done - 1) as i64;
            let elements = match playing.elements(asked, self.interval, left, live, options) {
                Ok(elements) => elements,
                Err(error) => {
                    playing.fail(error.to_string());
                    continue;
                }
            };
            let number = elements.len();
            let written = match playing.rule.what {
                What::Record => recorded(playing.rule, elements, self.group.limit),
                What::Alert { hold, keep } => {
                    let terms = Terms { hold, keep, limit: self.group.limit };
                    playing.alerts.evaluate(playing.rule, elements, time, terms).map(|active| {
                        active
                            .into_iter()
                            .flat_map(|(labels, since, firing)| series_of(playing.rule, &labels, since, firing))
                            .collect()
                    })
                }
            };
            match written {
                Ok(samples) => playing.write(samples, asked, live),
                Err(message) => {
                    playing.fail(message);
                    continue;
                }
            }
            playing.valued += usize::from(number > 0);
            playing.series = playing.series.max(number);
        }
    }

    fn history(self, live: &Live, span: Option<(i64, i64)>) -> GroupHistory {
        let Played { group, interval, done, refused, rules, .. } = self;
        let last = span.map(|(start, _)| start + interval * (done as i64 - 1).max(0));
        let history = |playing: Playing<'_>| {
            let Playing { rule, alerts, valued, series, failures, mut notes, .. } = playing;
            for beyond in &alerts.beyond {
                notes.insert(format!("{beyond} is beyond what is evaluated here: it stands as written"));
            }
            let mut one = RuleHistory {
                name: rule.name.clone(),
                what: rule.what,
                expr: rule.expr.text.clone(),
                status: Status::NoData,
                why: String::new(),
                valued,
                series,
                stretches: alerts.stretches(),
                failures,
                notes,
            };
            (one.status, one.why) = match &refused {
                Some(why) => (Status::Failed, why.clone()),
                None => judged::status(&one, rule, live, span.zip(last).map(|((start, _), last)| (start, last)), done),
            };
            one
        };
        GroupHistory {
            file: group.file.clone(),
            name: group.name.clone(),
            interval,
            evaluations: done,
            rules: rules.into_iter().map(history).collect(),
        }
    }
}

impl Playing<'_> {
    fn fail(&mut self, message: String) {
        if self.failures.len() < MESSAGES || self.failures.contains_key(&message) {
            *self.failures.entry(message).or_insert(0) += 1;
        } else {
            *self.failures.entry("other failures".to_owned()).or_insert(0) += 1;
        }
    }

    /// What the expression gives at a time: out of what was evaluated ahead, which is done again where it is used up.
    fn elements(
        &mut self,
        time: i64,
        interval: i64,
        left: i64,
        live: &Live,
        options: &Options,
    ) -> Result<Vec<(Labels, SampleValue)>, EvalError> {
        if let Some(ahead) = &mut self.ahead {
            if ahead.until.is_some_and(|until| time <= until) {
                return Ok(ahead.elements.remove(&time).unwrap_or_default());
            }
            let until = time + interval * left.min(AHEAD - 1);
            match range(live, &self.rule.expr, time, until, interval, options) {
                Ok(answer) => {
                    self.notes.extend(answer.warnings);
                    ahead.until = Some(until);
                    ahead.elements = by_time(answer.value);
                    return Ok(ahead.elements.remove(&time).unwrap_or_default());
                }
                // It may be of one time alone, or of so many at once.
                Err(_) => self.ahead = None,
            }
        }
        let answer = instant(live, &self.rule.expr, time, options)?;
        self.notes.extend(answer.warnings);
        Ok(match answer.value {
            Value::Vector(elements) => elements.into_iter().map(|one| (one.labels, one.value)).collect(),
            Value::Scalar { value, .. } => vec![(Labels::default(), SampleValue::Float(value))],
            Value::String { .. } | Value::Matrix(_) => Vec::new(),
        })
    }

    /// Writes what it gave, and ends what it gave before and no more.
    fn write(&mut self, samples: Vec<(Labels, SampleValue)>, time: i64, live: &mut Live) {
        let mut now = HashSet::with_capacity(samples.len());
        for (labels, value) in samples {
            live.write(&labels, time, value);
            now.insert(labels);
        }
        for labels in self.wrote.difference(&now) {
            live.end(labels, time);
        }
        self.wrote = now;
    }
}

fn by_time(value: Value) -> HashMap<i64, Vec<(Labels, SampleValue)>> {
    let mut all: HashMap<i64, Vec<(Labels, SampleValue)>> = HashMap::new();
    let Value::Matrix(series) = value else { return all };
    for one in series {
        for (time, value) in one.floats {
            all.entry(time).or_default().push((one.labels.clone(), SampleValue::Float(value)));
        }
        for (time, histogram) in one.histograms {
            all.entry(time).or_default().push((one.labels.clone(), SampleValue::Histogram(histogram)));
        }
    }
    all
}

/// Whether a rule asks only for series that no rule writes, and nothing that depends on how many times are asked for at once.
fn asks_captures_alone(rule: &ReadRule, written: &BTreeSet<String>) -> bool {
    let text = rule.expr.text.replace(char::is_whitespace, "");
    let whole = ["start()", "end()", "step()", "range()"].iter().any(|word| text.contains(word));
    !whole && rule.expr.metric_names().is_some_and(|names| names.is_disjoint(written))
}

/// The series of a recording rule at one evaluation.
fn recorded(
    rule: &ReadRule,
    elements: Vec<(Labels, SampleValue)>,
    limit: usize,
) -> Result<Vec<(Labels, SampleValue)>, String> {
    let mut seen = HashSet::new();
    let mut all = Vec::with_capacity(elements.len());
    for (labels, value) in elements {
        let mut labels = labels.without_name().with(METRIC_NAME, &rule.name);
        for (name, value) in &rule.labels {
            labels = labels.with(name, value);
        }
        if !seen.insert(labels.clone()) {
            return Err("vector contains metrics with the same labelset after applying rule labels".to_owned());
        }
        all.push((labels, value));
    }
    if limit > 0 && all.len() > limit {
        return Err(format!("exceeded limit of {limit} with {} series", all.len()));
    }
    Ok(all)
}

/// `ALERTS` and `ALERTS_FOR_STATE` of an alert, as Prometheus writes them: a label of the rule that came to nothing stands there as it is written.
fn series_of(rule: &ReadRule, labels: &Labels, since: i64, firing: bool) -> [(Labels, SampleValue); 2] {
    let empty = rule.labels.iter().filter(|(name, _)| labels.get(name).is_empty());
    let labels = empty.fold(labels.clone(), |labels, (name, value)| labels.with(name, value));
    let state = if firing { "firing" } else { "pending" };
    let alerts = labels.with(METRIC_NAME, "ALERTS").with("alertstate", state);
    let since = (since.div_euclid(1_000)) as f64;
    [(alerts, SampleValue::Float(1.0)), (labels.with(METRIC_NAME, "ALERTS_FOR_STATE"), SampleValue::Float(since))]
}
