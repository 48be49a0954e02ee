//! The clocks of this machine, read together every few seconds; what its time servers say of it.
//!
//! `clocks/clock.tsv` is of the kind `clock`: monotonic, boottime, realtime, monotonic again, in this order, so that the width of each reading is
//! known. `clocks/chrony.csv` is of the kind `chrony`.

use std::time::{Duration, Instant};

use rustix::time::ClockId;
use syncline_schema::loss;

use super::folder::{Out, Packing};
use super::host;
use super::moment::read;
use super::plan::Plan;
use super::source::{Found, Lack, Source};
use super::stop::Stop;

/// The source.
pub const SOURCE: Source = Source {
    name: "clocks",
    kinds: &["clock", "chrony"],
    about: "realtime, boottime and monotonic clock read together; chronyc tracking where it answers",
    cadence: Some(Duration::from_secs(2)),
    prepares: false,
    needs,
    run,
};

/// How often chrony is asked: it changes with its own polls, which are a minute apart.
const CHRONY_EVERY: Duration = Duration::from_secs(30);
/// Goes of a reading; the narrowest is kept, since the kernel may take the processor away between two clocks.
const GOES: usize = 5;

fn needs(plan: &Plan) -> Result<Found, Lack> {
    Ok(match tracking(plan) {
        Ok(_) => "the clocks of this machine, and chronyd".to_owned(),
        Err(error) => format!("the clocks of this machine (no bound to other machines: {error})"),
    })
}

fn run(plan: &Plan, out: &mut Out, stop: &Stop) -> anyhow::Result<()> {
    let mut file = out.packed("clocks/clock.tsv", Packing::None)?;
    if file.is_new() {
        file.write_line("sample\tmonotonic_ns\tboottime_ns\trealtime_ns\tmonotonic_after_ns")?;
    }
    let mut next = Instant::now();
    let mut next_chrony = next;
    let mut answered = false;
    let mut sample = 0_u64;
    while stop.beat(&mut next, plan.every(SOURCE.name)) {
        sample += 1;
        file.write_line(&format!("{sample}\t{}", reading()))?;
        out.tick();
        if Instant::now() < next_chrony {
            continue;
        }
        next_chrony = Instant::now() + CHRONY_EVERY;
        match tracking(plan) {
            Ok(line) => {
                answered = true;
                out.packed("clocks/chrony.csv", Packing::None)?.write_line(&line)?;
            }
            // What never answered is said once, ahead of the recording.
            Err(error) if answered => out.lost(loss::RECORDER_GAP, 1, format!("chronyc: {error:#}")),
            Err(_) => {}
        }
    }
    // The clocks at the very end bound the drift of the whole recording.
    file.write_line(&format!("end\t{}", reading()))?;
    Ok(())
}

/// The narrowest of some readings, as the fields of a line.
fn reading() -> String {
    let one = || {
        let monotonic = read(ClockId::Monotonic);
        let boottime = read(ClockId::Boottime);
        let realtime = read(ClockId::Realtime);
        [monotonic, boottime, realtime, read(ClockId::Monotonic)]
    };
    let best = (0..GOES).map(|_| one()).min_by_key(|reading| reading[3] - reading[0]).unwrap_or_default();
    best.map(|time| time.to_string()).join("\t")
}

/// One line of `chronyc -c tracking`.
fn tracking(plan: &Plan) -> anyhow::Result<String> {
    let mut command = plan.host.command("chronyc", &["-c", "tracking"])?;
    let text = host::output(&mut command, Duration::from_millis(800))?;
    let line = String::from_utf8(text)?.trim().to_owned();
    let fields = line.split(',').count();
    anyhow::ensure!(fields == 14 && !line.contains('\n'), "chronyc printed {fields} fields instead of 14");
    anyhow::ensure!(!line.ends_with("Not synchronised"), "chronyd follows no time server");
    Ok(line)
}
