//! Run time and run count of BPF programs, as `bpftool prog show -j` lists them.
//!
//! `bpf/bpftool-prog.json` is of the kind `bpftool-prog`. The kernel counts only where it is asked to, which costs some 20 ns a run: it is switched on while
//! the recording lasts (`BPF_ENABLE_STATS`, which ends with its descriptor, also by `kill -9`; before Linux 5.8 the sysctl, which is put back).

use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use aya::programs::loaded_programs;
use aya::sys::{Stats, enable_stats};
use serde_json::{Value, json};

use crate::record::folder::Out;
use crate::record::moment::{Moment, seconds};
use crate::record::plan::Plan;
use crate::record::source::{Found, Lack, Source};
use crate::record::stop::Stop;

/// The source.
pub const SOURCE: Source = Source {
    name: "bpf-programs",
    kinds: &["bpftool-prog"],
    about: "run time of every BPF program, with the kernel's statistics switched on meanwhile",
    cadence: Some(Duration::from_secs(5)),
    prepares: false,
    needs,
    run,
};

fn needs(_: &Plan) -> Result<Found, Lack> {
    match listing() {
        Ok(programs) if programs.is_empty() => {
            Err(Lack::new("no BPF program is loaded", "nothing where Cilium does not run"))
        }
        Ok(programs) => Ok(format!("{} programs", programs.len())),
        Err(error) => Err(Lack::new(
            format!("{error:#}"),
            "run the recorder privileged, or with CAP_BPF (before Linux 5.8 CAP_SYS_ADMIN)",
        )),
    }
}

fn run(plan: &Plan, out: &mut Out, stop: &Stop) -> anyhow::Result<()> {
    let _counting = Counting::begin(plan)?;
    let mut file = out.file("bpf/bpftool-prog.json")?;
    let mut next = Instant::now();
    loop {
        // Once more at the very end: two listings bound what ran between.
        let goes_on = stop.beat(&mut next, plan.every(SOURCE.name));
        let now = seconds(Moment::now().realtime);
        file.write_record(format!("{now}\n{}\n", Value::Array(listing()?)).as_bytes())?;
        out.tick();
        if !goes_on {
            return Ok(());
        }
    }
}

/// The programs that are loaded. One that is unloaded meanwhile is left out.
fn listing() -> anyhow::Result<Vec<Value>> {
    let mut found = Vec::new();
    for (at, program) in loaded_programs().enumerate() {
        let program = match program {
            Ok(program) => program,
            // The first one is refused where all are.
            Err(error) if at == 0 => return Err(error).context("BPF programs may not be listed"),
            Err(_) => continue,
        };
        let kind = format!("{:?}", program.program_type()).trim_start_matches("BPF_PROG_TYPE_").to_lowercase();
        found.push(json!({
            "id": program.id(),
            "type": kind,
            "name": String::from_utf8_lossy(program.name()),
            "run_time_ns": u64::try_from(program.run_time().as_nanos()).unwrap_or(u64::MAX),
            "run_cnt": program.run_count(),
            "bytes_xlated": program.size_translated().unwrap_or(0),
        }));
    }
    Ok(found)
}

/// Statistics that are on as long as this lives.
enum Counting {
    Held {
        _descriptor: OwnedFd,
    },
    /// What the sysctl was.
    Set {
        path: PathBuf,
        before: String,
    },
}

impl Counting {
    fn begin(plan: &Plan) -> anyhow::Result<Self> {
        if let Ok(descriptor) = enable_stats(Stats::RunTime) {
            return Ok(Self::Held { _descriptor: descriptor });
        }
        let path = plan.host.proc.join("sys/kernel/bpf_stats_enabled");
        let before = fs::read_to_string(&path).context("this kernel keeps no statistics of BPF programs")?;
        fs::write(&path, "1").context("the statistics of BPF programs could not be switched on")?;
        Ok(Self::Set { path, before })
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        if let Self::Set { path, before } = self {
            let _ = fs::write(path, before.trim());
        }
    }
}
