//! The course of a recording: baseline, action, settling, tail, with a marker at each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::asked::{Action, Asked};
use super::cluster::action::{self, Ready};
use super::cluster::rollout;
use super::folder::{File, Folder, Packing};
use super::moment::{Moment, seconds, words};
use super::plan::Plan;
use super::secrets;
use super::source::Source;
use super::stop::{Phase, Stop};

/// How long ahead of the action beacons begin: so that even a slow server has answered some.
const AHEAD: Duration = Duration::from_secs(2);
/// How long nothing may have changed until the dataplane counts as quiet: beyond kube-proxy's `minSyncPeriod` and Cilium's batches.
const QUIET: Duration = Duration::from_secs(5);
/// How often a rollout is asked for.
const ASK: Duration = Duration::from_millis(250);
/// How often it is looked whether a source has begun.
const GLANCE: Duration = Duration::from_millis(50);
/// How long an action may take to settle unless `--for` says otherwise.
const SETTLES: Duration = Duration::from_secs(600);

/// How long the baseline waits for a source that takes long to begin.
const BEGINS: Duration = Duration::from_secs(60);

/// Waits until the sources that take long to begin have begun, or have failed to.
pub fn prepare(chosen: &[&'static Source], folder: &Folder, stop: &Stop, said: &dyn Fn(&str)) {
    let begun = Instant::now();
    let mut left: Vec<&str> = chosen.iter().filter(|source| source.prepares).map(|source| source.name).collect();
    while !left.is_empty() && begun.elapsed() < BEGINS && stop.sleep(GLANCE) {
        let tallies = folder.tallies();
        left.retain(|name| {
            let has_begun = tallies.iter().any(|(source, tally)| source == name && tally.has_begun());
            if has_begun {
                said(&format!("{name}: began after {}", words(begun.elapsed())));
            }
            !has_begun
        });
    }
    stop.enter(Phase::Baseline);
}

/// Follows it to its end. Gives what went wrong, in words; null where all went as asked.
pub fn follow(
    asked: &Asked,
    plan: &Plan,
    ready: &Ready,
    folder: &Arc<Folder>,
    stop: &Stop,
    said: &dyn Fn(&str),
) -> anyhow::Result<Option<String>> {
    let out = folder.out(super::RECORDER);
    let mut markers = out.packed("markers.tsv", Packing::None)?;
    markers.write_line("epoch_s\tlabel\tcommand")?;
    let now = || Moment::now().realtime;
    if asked.action == Action::Watch {
        // Whoever acts does so while it is recorded: all of it may matter.
        stop.approach();
        let lasts = asked.duration.unwrap_or(SETTLES);
        said(&format!("recording for {}", words(lasts)));
        mark(&mut markers, now(), "start", "")?;
        stop.sleep(lasts);
        mark(&mut markers, now(), "end", "")?;
        return Ok(None);
    }
    said(&format!("baseline: {}", words(asked.baseline)));
    mark(&mut markers, now(), "baseline_start", "")?;
    let began = Instant::now();
    if stop.sleep(asked.baseline.saturating_sub(AHEAD)) {
        stop.approach();
    }
    if !stop.sleep_until(began + asked.baseline) {
        mark(&mut markers, now(), "end", "")?;
        return Ok(Some("the recording ended ahead of the action".to_owned()));
    }
    mark(&mut markers, now(), "baseline_end", "")?;
    said(&format!("action: {}", ready.words));
    stop.enter(Phase::Action);
    let done = ready.perform(&plan.namespace, plan.api.as_deref(), stop);
    if let Some(line) = &done.beacon {
        out.file("action.jsonl")?.write_line(line)?;
    }
    stop.enter(Phase::Settling);
    let begun = if done.failed.is_none() { "action_start" } else { "command_failed" };
    mark(&mut markers, done.sent.realtime, begun, &ready.words)?;
    mark(&mut markers, done.returned.realtime, "action_returned", "")?;
    let mut trouble = done.failed.map(|error| format!("the action failed: {error}"));
    if trouble.is_none() {
        trouble = settle(asked, plan, ready, folder, stop, &mut markers, said)?;
    }
    stop.enter(Phase::Tail);
    mark(&mut markers, now(), "tail_start", "")?;
    said(&format!("tail: {}", words(asked.tail)));
    stop.sleep(asked.tail);
    mark(&mut markers, now(), "end", "")?;
    Ok(trouble)
}

fn mark(markers: &mut File, time: i64, label: &str, command: &str) -> std::io::Result<()> {
    // One line, whatever a command holds, and no token that was typed in it.
    let command = String::from_utf8_lossy(&secrets::of_line(command.as_bytes())).into_owned();
    let command: String =
        command.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(300).collect();
    markers.write_line(format!("{}\t{label}\t{command}", seconds(time)).trim_end())
}

/// Waits until the rollout is complete and nothing has changed for a while.
fn settle(
    asked: &Asked,
    plan: &Plan,
    ready: &Ready,
    folder: &Folder,
    stop: &Stop,
    markers: &mut File,
    said: &dyn Fn(&str),
) -> anyhow::Result<Option<String>> {
    let limit = asked.duration.unwrap_or(SETTLES);
    let until = Instant::now() + limit;
    let mut last = String::new();
    let mut next = Instant::now();
    loop {
        if !stop.beat(&mut next, ASK) {
            return Ok(Some("the recording ended ahead of the end of the rollout".to_owned()));
        }
        match rollout::is_complete(ready, &plan.namespace, plan.api.as_deref()) {
            Ok(true) => break,
            Ok(false) => last.clear(),
            Err(error) => last = format!(" ({error:#})"),
        }
        if Instant::now() >= until {
            return Ok(Some(format!("the rollout was not complete after {}{last}", words(limit))));
        }
    }
    let complete = Instant::now();
    if !matches!(ready.action, Action::Command { .. }) {
        mark(markers, Moment::now().realtime, "rollout_complete", "")?;
        said("the rollout is complete");
    }
    loop {
        let quiet_since = folder.last_change().map_or(complete, |change| change.max(complete));
        let quiet = quiet_since + QUIET;
        if Instant::now() >= quiet {
            return Ok(None);
        }
        if Instant::now() >= until {
            return Ok(Some(format!("the dataplane was not quiet after {}", words(limit))));
        }
        if !stop.sleep_until(quiet.min(until)) {
            return Ok(Some("the recording ended ahead of the dataplane's rest".to_owned()));
        }
    }
}

/// Puts the number of replicas back, and waits until that is done.
///
/// # Errors
/// The API server's, or it takes too long.
pub fn reset(ready: &Ready, plan: &Plan, said: &dyn Fn(&str)) -> anyhow::Result<()> {
    let (Action::Scale { workload, .. }, Some(replicas)) = (&ready.action, ready.replicas) else { return Ok(()) };
    let api = plan.api.as_deref().context("--reset needs the API server")?;
    said(&format!("back to {replicas} replicas"));
    action::scale(api, workload, &plan.namespace, replicas).context("--reset")?;
    let until = Instant::now() + SETTLES;
    while !rollout::is_complete(ready, &plan.namespace, Some(api)).unwrap_or(false) {
        anyhow::ensure!(Instant::now() < until, "--reset: not complete after {}", words(SETTLES));
        std::thread::sleep(ASK);
    }
    std::thread::sleep(QUIET);
    Ok(())
}
