//! A terminal transcript with the time around a command.
//!
//! ```text
//! $ date +%s.%N; kubectl scale deploy/test --replicas=44; date +%s.%N
//! 1795407750.679907121
//! deployment.apps/test scaled
//! 1795407750.826147409
//! ```
//!
//! The stamp ahead of the command's output becomes `action_start`, the one behind it `action_returned`; a second command
//! `action2_start`, and so on. `date +%s` is in whole seconds: a resolution of one second.

use syncline_schema::clock::ClockToken;
use syncline_schema::loss;
use syncline_schema::markers::MarkerRow;

use crate::form::instant::epoch_seconds;
use crate::form::{Batch, Chunk, Context, Cut, Format, Head, Line, Reads, Sniff};

/// The format.
pub const FORMAT: Format = Format {
    kind: "transcript",
    title: "terminal transcript with `date +%s.%N` around a command",
    clock: ClockToken::Operator,
    cut: Cut::Whole,
    sniff,
    reads: Reads::Rows(parse),
    sample: "1795407750.679907121\ndeployment.apps/test scaled\n1795407750.826147409",
    recognised: "lines that are nothing but epoch seconds, with a line of kubectl's answer (scaled, restarted, deleted) between them",
    capture: "(date +%s.%N; kubectl scale deploy/test --replicas=44; date +%s.%N) | tee transcript.txt",
    proves: "when the command was given and when it returned, on the operator's clock",
};

/// Words that kubectl answers a change with, at the end of a line.
const ANSWERS: [&str; 7] = ["scaled", "restarted", "deleted", "configured", "created", "patched", "force deleted"];

fn stamp(line: &[u8]) -> Option<i64> {
    let text = line.trim_ascii();
    let whole = text.split(|byte| *byte == b'.').next().unwrap_or_default();
    if whole.len() != 10 || !text.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.') {
        return None;
    }
    epoch_seconds(text)
}

fn answer(line: &[u8]) -> bool {
    let text = String::from_utf8_lossy(line.trim_ascii_end()).into_owned();
    ANSWERS.iter().any(|word| text.ends_with(&format!(" {word}")))
}

fn sniff(head: &Head) -> Sniff {
    let lines = || head.bytes.split(|byte| *byte == b'\n');
    let stamps = lines().filter(|line| stamp(line).is_some()).count();
    if head.whole && stamps >= 2 && lines().count() < 1_000 && lines().any(answer) { Sniff::Yes } else { Sniff::No }
}

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    let lines: Vec<Line<'_>> = chunk.lines().collect();
    let stamps: Vec<(usize, i64)> =
        lines.iter().enumerate().filter_map(|(at, line)| Some((at, stamp(line.bytes)?))).collect();
    let mut command: Option<String> = None;
    let mut number = 0;
    for pair in stamps.windows(2) {
        let [(from, start), (to, end)] = pair else { continue };
        // Between the stamps of one command stands its answer; between two commands a prompt.
        let between = &lines[from + 1..*to];
        let ahead = lines[..*from].iter().rev().take_while(|line| stamp(line.bytes).is_none());
        if let Some(prompt) =
            ahead.map(|line| String::from_utf8_lossy(line.bytes).into_owned()).find(|line| line.contains("kubectl"))
        {
            let inner = prompt.split(';').find(|part| part.contains("kubectl")).unwrap_or(&prompt);
            command = Some(inner.trim().trim_start_matches(['$', '#', ' ']).to_owned());
        }
        if !between.iter().any(|line| answer(line.bytes)) {
            continue;
        }
        number += 1;
        let prefix = if number == 1 { "action".to_owned() } else { format!("action{number}") };
        for (at, time, suffix) in [(*from, *start, "start"), (*to, *end, "returned")] {
            let digits =
                lines[at].bytes.trim_ascii().split(|byte| *byte == b'.').nth(1).map_or(0, |part| part.len().min(9));
            let resolution = 10_i64.pow(9 - digits as u32);
            if resolution == 1_000_000_000 {
                batch.loss(loss::WHOLE_SECONDS, 1);
            }
            batch.record(Some(time));
            batch.push(&MarkerRow {
                source: context.source,
                record: lines[at].number,
                clock: context.clock.as_str().into(),
                time,
                resolution,
                label: format!("{prefix}_{suffix}").into(),
                command: command.clone().map(Into::into),
                ..Default::default()
            });
        }
    }
    if number == 0 {
        let first = Line { bytes: chunk.bytes, number: chunk.first_line, offset: chunk.offset, ended: true };
        batch.reject(context, &first, "expected two stamps of `date` with kubectl's answer between them");
    }
}

#[cfg(test)]
mod tests {
    use super::FORMAT;
    use crate::form::Sniff;
    use crate::parse::harness::{head, parse_text};

    const TEXT: &str = "$ date +%s; kubectl scale deploy/test --replicas=44; date +%s\n1795407750\ndeployment.apps/test scaled\n1795407751\n";

    #[test]
    fn the_stamps_around_a_command_are_markers() {
        assert_eq!((FORMAT.sniff)(&head("notes.txt", TEXT.as_bytes())), Sniff::Yes);
        let mut batch = parse_text(&FORMAT, TEXT);
        assert_eq!(batch.records, 2);
        assert!(batch.losses.contains_key("whole-seconds"));
        assert_eq!(batch.take_tables().iter().map(|table| table.rows()).sum::<usize>(), 2);
    }

    #[test]
    fn numbers_alone_are_no_transcript() {
        assert_eq!((FORMAT.sniff)(&head("x.txt", b"1795407750\n1795407751\n")), Sniff::No);
    }
}
