//! What a terminal showed, or a tool wrote, around the output of commands: prompts with what was typed, notices, banners, and output
//! that no format reads. Each line is a row of `logs` by the caller `terminal`, which tells later what was run.

use syncline_schema::clock::ClockToken;
use syncline_schema::logs::LogRow;

use crate::form::{Batch, Chunk, Context, Cut, Format, Reads, Sniff};

/// No file is recognised as this.
pub const FORMAT: Format = Format {
    kind: "terminal",
    title: "what a terminal shows around a command's output",
    clock: ClockToken::None,
    cut: Cut::Lines,
    sniff: |_| Sniff::No,
    reads: Reads::Rows(parse),
    sample: "$ kubectl get endpointslices -o yaml\n",
    recognised: "prompts, notices of kubectl, curl's meter, headers of HTTP",
    capture: "nothing",
    proves: "nothing",
};

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    for line in chunk.lines().filter(|line| !line.bytes.trim_ascii().is_empty()) {
        batch.record(None);
        batch.push(&LogRow {
            source: context.source,
            record: line.number,
            clock: context.clock.as_str().into(),
            level: "info".into(),
            caller: Some("terminal".into()),
            message: line.text().trim_end().to_owned().into(),
            ..Default::default()
        });
    }
}
