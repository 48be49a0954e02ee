//! The clocks of this machine, read together every few seconds; what its time servers say of it.
//!
//! `clocks/clock.tsv` is of the kind `clock`: monotonic, boottime, realtime, monotonic again, in this order, so that the width of each reading is
//! known. `clocks/chrony.csv` is of the kind `chrony`, `clocks/kernel.jsonl`, the kernel's own state of NTP (adjtimex), of the kind `recording`.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::time::ClockId;
use syncline_schema::loss;

use super::folder::{Out, Packing};
use super::host;
use super::moment::{read, seconds};
use super::plan::Plan;
use super::source::{Found, Lack, Source};
use super::stop::Stop;

/// The source.
pub const SOURCE: Source = Source {
    name: "clocks",
    kinds: &["clock", "chrony", "recording"],
    about: "realtime, boottime and monotonic clock read together; chronyc tracking where it answers, the kernel's state of NTP",
    cadence: Some(Duration::from_secs(2)),
    prepares: false,
    needs,
    run,
};

/// How often chrony and the kernel are asked: they change with polls of time servers, which are a minute apart.
const NTP_EVERY: Duration = Duration::from_secs(30);
/// Goes of a reading; the narrowest is kept, since the kernel may take the processor away between two clocks.
const GOES: usize = 5;

fn needs(plan: &Plan) -> Result<Found, Lack> {
    let Err(error) = tracking(plan) else { return Ok("the clocks of this machine, and chronyd".to_owned()) };
    Ok(match kernel(plan) {
        Ok(Ntp { synchronised: true, .. }) => "the clocks of this machine, and its kernel's state of NTP".to_owned(),
        Ok(_) => {
            format!(
                "the clocks of this machine (no bound to other machines: {error}; no time server steers its kernel)"
            )
        }
        Err(_) => format!("the clocks of this machine (no bound to other machines: {error})"),
    })
}

fn run(plan: &Plan, out: &mut Out, stop: &Stop) -> anyhow::Result<()> {
    let mut file = out.packed("clocks/clock.tsv", Packing::None)?;
    if file.is_new() {
        file.write_line("sample\tmonotonic_ns\tboottime_ns\trealtime_ns\tmonotonic_after_ns")?;
    }
    let mut next = Instant::now();
    let mut next_ntp = next;
    let mut answered = false;
    let mut sample = 0_u64;
    while stop.beat(&mut next, plan.every(SOURCE.name)) {
        sample += 1;
        file.write_line(&format!("{sample}\t{}", reading()))?;
        out.tick();
        if Instant::now() < next_ntp {
            continue;
        }
        next_ntp = Instant::now() + NTP_EVERY;
        if let Ok(ntp) = kernel(plan) {
            out.packed("clocks/kernel.jsonl", Packing::None)?.write_line(&ntp.line(read(ClockId::Realtime)))?;
        }
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

/// What the kernel knows of its clock's error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ntp {
    /// A time server steers it.
    synchronised: bool,
    /// Largest error, and the estimated one, µs.
    most: u64,
    estimated: u64,
}

impl Ntp {
    /// A line of the kind `recording`.
    fn line(self, now: i64) -> String {
        format!(
            "{{\"kernel_clock\":{{\"time\":{},\"synchronised\":{},\"maxerror\":{:.6},\"esterror\":{:.6}}}}}",
            seconds(now),
            self.synchronised,
            self.most as f64 / 1e6,
            self.estimated as f64 / 1e6
        )
    }
}

/// adjtimex(2), which changes nothing when it is asked so. By a tool: no safe call for it is at hand.
fn kernel(plan: &Plan) -> anyhow::Result<Ntp> {
    let ask = |tool: &str, arguments: &[&str]| -> anyhow::Result<Vec<u8>> {
        host::output(&mut plan.host.command(tool, arguments)?, Duration::from_millis(800))
    };
    let text = ask("busybox", &["adjtimex"]).or_else(|_| ask("adjtimex", &["--print"]))?;
    ntp(&String::from_utf8_lossy(&text)).context("adjtimex printed no maxerror, esterror and status")
}

/// Reads `maxerror: 16000000`, `status: 64 (UNSYNC)`: busybox's and Debian's tool print alike.
fn ntp(text: &str) -> Option<Ntp> {
    /// STA_UNSYNC of linux/timex.h.
    const UNSYNC: u64 = 0x40;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(':'))?;
        line.split_ascii_whitespace().next()?.parse::<u64>().ok()
    };
    Some(Ntp { synchronised: field("status")? & UNSYNC == 0, most: field("maxerror")?, estimated: field("esterror")? })
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

#[cfg(test)]
mod tests {
    use super::{Ntp, SOURCE, ntp};
    use crate::record::node::trial::{Machine, record};

    /// As busybox prints it where a time server steers the clock.
    const STEERED: &str = "    mode:         0\n-o  offset:       -812 ns\n-f  freq.adjust:  1183744 (65536 = 1ppm)\n    maxerror:     1250\n    esterror:     310\n    status:       8193 (PLL)\n-p  timeconstant: 7\n    return value: 0 (clock synchronized)\n";

    #[test]
    fn the_kernels_state_is_read() {
        assert_eq!(ntp(STEERED), Some(Ntp { synchronised: true, most: 1250, estimated: 310 }));
        let alone = "         mode: 0\n     maxerror: 16000000\n     esterror: 16000000\n       status: 64\n return value = 5\n";
        assert_eq!(ntp(alone), Some(Ntp { synchronised: false, most: 16_000_000, estimated: 16_000_000 }));
        assert_eq!(ntp("maxerror: x\n"), None);
    }

    #[test]
    fn what_bounds_the_clock_is_recorded_and_bundled() {
        let machine = Machine::new();
        machine.tool("busybox", &format!("printf '{}'", STEERED.replace('\n', "\\n")));
        machine.tool("chronyc", "exit 1");
        let recorded = record(&SOURCE, &machine.plan(), 2);
        recorded.ended.as_ref().expect("ends when it is told to");
        let manifest = recorded.manifest(&SOURCE);
        assert!(
            manifest.tables.iter().any(|table| table.name == "clock_anchors" && table.rows > 1),
            "{:?}",
            manifest.tables
        );
    }
}
