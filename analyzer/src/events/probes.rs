//! Traces that attached to nothing: what a bpftrace script said in place of events, and a script that works.
//!
//! The document's one-liner probes `__cilium_lxc*`: no kernel has a symbol of that name (Cilium's programs are loaded as BPF, their
//! names are no kernel functions), so that bpftrace says "No probes to attach", ends at once, and nothing was ever traced.

use polars::prelude::{col, lit};
use syncline_schema::logs::LogRow;
use syncline_schema::rejects::RejectRow;
use syncline_schema::trace::EventRow;

use crate::bundle::Bundle;
use crate::clock::{Evidence, Finding};

/// What bpftrace says where nothing matches; older and newer words.
const SAID: [&str; 3] = ["No probes to attach", "No matching probes", "No probes attached"];

/// Times each bpf(2) call of the agent, and counts them by command: these are its writes to the maps.
pub const SCRIPT: &str = "bpftrace -e 'tracepoint:syscalls:sys_enter_bpf /comm == \"cilium-agent\"/ { @start[tid] = nsecs; @calls[args->cmd] = count(); } tracepoint:syscalls:sys_exit_bpf /@start[tid]/ { @ns = hist(nsecs - @start[tid]); delete(@start[tid]); }'";

/// One finding for all such traces; behind its first line stands the script.
pub fn findings(bundle: &Bundle, path: &dyn Fn(i32) -> String) -> Vec<Finding> {
    let is_said = |text: &str| SAID.iter().any(|said| text.contains(said));
    let mut evidence: Vec<Evidence> = Vec::new();
    let mut add = |source: i32, record: i64, text: &str| {
        let what = text.lines().find(|line| is_said(line)).unwrap_or_default().trim().to_owned();
        evidence.push(Evidence { path: path(source).into(), record, what: what.into(), ..Evidence::default() });
    };
    // Events are most of the rows; what bpftrace says itself is none.
    for row in bundle.rows_or_note::<EventRow<'static>>(Some(col("event").is_null())) {
        if is_said(&row.text) {
            add(row.source, row.record, &row.text);
        }
    }
    for row in bundle.rows_or_note::<LogRow<'static>>(Some(col("caller").eq(lit("bpftrace")))) {
        if is_said(&row.message) {
            add(row.source, row.record, &row.message);
        }
    }
    for row in bundle.rows_or_note::<RejectRow<'static>>(None) {
        if is_said(&row.excerpt) {
            add(row.source, row.record, &row.excerpt);
        }
    }
    // A file that nothing could read has no rows: what it resembles says how it begins.
    for source in &bundle.manifest.sources {
        if let Some(nearest) = source.nearest.as_deref().filter(|nearest| is_said(nearest)) {
            evidence.push(Evidence {
                path: source.path.clone().into(),
                record: 0,
                what: nearest.into(),
                ..Evidence::default()
            });
        }
    }
    if evidence.is_empty() {
        return Vec::new();
    }
    vec![Finding {
        title: "A trace attached to nothing".to_owned(),
        detail: format!(
            "bpftrace found no probe that matches and ended: nothing was traced, which is no proof that nothing happened. kprobe:__cilium_lxc* of the document can never match, for no kernel symbol has such a name (Cilium's datapath is BPF programs, not kernel functions). What works on any kernel is to time the agent's own bpf(2) calls, its writes to the maps:\n{SCRIPT}"
        ),
        evidence,
    }]
}
