//! Time markers: `markers.tsv`.
//!
//! ```text
//! epoch_s  label  command
//! 1795407750.679907121  action_start  kubectl scale deploy/test --replicas=44
//! ```

use syncline_schema::clock::ClockToken;
use syncline_schema::loss;
use syncline_schema::markers::MarkerRow;

use crate::form::instant::epoch_seconds;
use crate::form::{Batch, Chunk, Context, Cut, Format, Head, Line, Reads, Sniff};

/// The format.
pub const FORMAT: Format = Format {
    kind: "markers",
    title: "time markers, tab-separated",
    clock: ClockToken::Operator,
    cut: Cut::Lines,
    sniff,
    reads: Reads::Rows(parse),
    sample: "epoch_s\tlabel\tcommand\n1795407750.679907121\taction_start\tkubectl scale deploy/test --replicas=44",
    recognised: "a header epoch_s, label (and command), tab-separated; or a name markers.tsv with epoch seconds in the first column",
    capture: "printf '%s\\taction_start\\tkubectl scale …\\n' \"$(date +%s.%N)\" >> markers.tsv",
    proves: "where the baseline, the action and the tail begin and end",
};

fn sniff(head: &Head) -> Sniff {
    let first = head.bytes.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii();
    if first.starts_with(b"epoch_s\tlabel") || first.starts_with(b"epoch\tlabel") {
        return Sniff::Yes;
    }
    let stamped =
        first.split(|byte| *byte == b'\t').next().is_some_and(|text| text.len() >= 10 && epoch_seconds(text).is_some());
    let named = head.path.rsplit('/').next().is_some_and(|name| name.starts_with("markers"));
    if stamped && named && first.contains(&b'\t') { Sniff::Yes } else { Sniff::No }
}

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    for line in chunk.lines() {
        let header = line.number == 1 && line.bytes.starts_with(b"epoch");
        if !line.bytes.trim_ascii().is_empty() && !header {
            marker(context, &line, batch);
        }
    }
}

fn marker(context: &Context, line: &Line<'_>, batch: &mut Batch) {
    let Ok(text) = std::str::from_utf8(line.bytes) else {
        return batch.reject(context, line, "expected text in UTF-8");
    };
    let mut fields = text.splitn(3, '\t');
    let stamp = fields.next().unwrap_or_default().trim();
    let (Some(time), Some(label)) = (epoch_seconds(stamp.as_bytes()), fields.next().map(str::trim)) else {
        return batch.reject(context, line, "expected epoch seconds, a tab and a label");
    };
    if label.is_empty() || stamp.len() < 10 {
        return batch.reject(context, line, "expected epoch seconds, a tab and a label");
    }
    let digits = stamp.split_once('.').map_or(0, |(_, fraction)| fraction.len().min(9));
    let resolution = 10_i64.pow(9 - digits as u32);
    if resolution == 1_000_000_000 {
        batch.loss(loss::WHOLE_SECONDS, 1);
    }
    batch.record(Some(time));
    batch.push(&MarkerRow {
        source: context.source,
        record: line.number,
        clock: context.clock.as_str().into(),
        time,
        resolution,
        label: label.into(),
        command: fields.next().map(str::trim).filter(|command| !command.is_empty()).map(Into::into),
        ..Default::default()
    });
}
