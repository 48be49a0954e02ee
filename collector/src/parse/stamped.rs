//! Streams of snapshots: `# TIMESTAMP <epoch.ns>` ahead of each, or one file a snapshot.

use super::instant::{epoch_seconds, in_name};
use super::{Batch, Chunk, Context, Line, RawSnapshot};
use syncline_schema::loss;

/// The mark ahead of each snapshot of a stream.
pub const MARK: &str = "# TIMESTAMP ";

/// Appends the snapshots of a chunk. `complete` tells from its text whether a snapshot is whole; of a chunk that
/// broke off, the last one is not.
pub fn push(context: &Context, chunk: &Chunk, format: &'static str, complete: fn(&[u8]) -> bool, batch: &mut Batch) {
    let mut current: Option<RawSnapshot> = None;
    let mut from = 0;
    let mut at = 0;
    for line in chunk.lines() {
        let next = (line.offset - chunk.offset) as usize;
        at = next + line.bytes.len();
        let Some(stamp) = line.bytes.strip_prefix(MARK.as_bytes()) else { continue };
        finish(current.take(), &chunk.bytes[from..next], true, complete, batch);
        from = (at + 1 + usize::from(chunk.bytes.get(at) == Some(&b'\r'))).min(chunk.bytes.len());
        let Some(time) = epoch_seconds(stamp.trim_ascii()) else {
            batch.reject(context, &line, "expected `# TIMESTAMP ` and epoch seconds: this snapshot has no time");
            continue;
        };
        current = Some(RawSnapshot {
            format,
            record: line.number,
            first_line: line.number + 1,
            time: Some(time),
            time_from: "stamp",
            text: Vec::new(),
            complete: true,
            file_of_series: false,
        });
    }
    let _ = at;
    let rest = &chunk.bytes[from.min(chunk.bytes.len())..];
    let cut_off = chunk.last && chunk.truncated;
    if current.is_some() {
        finish(current, rest, !cut_off, complete, batch);
    } else if from == 0 && chunk.first && !rest.trim_ascii().is_empty() {
        single(context, chunk, format, complete, batch);
    }
}

/// A file without any stamp: its name or its modification time has to do.
fn single(context: &Context, chunk: &Chunk, format: &'static str, complete: fn(&[u8]) -> bool, batch: &mut Batch) {
    let named = in_name(&context.path);
    let (time, time_from) = match (named, context.mtime) {
        (Some(time), _) => (Some(time), "name"),
        (None, Some(_)) | (None, None) => {
            batch.loss(loss::NO_TIME, 1);
            (None, "none")
        }
    };
    let snapshot = RawSnapshot {
        format,
        record: chunk.first_line,
        first_line: chunk.first_line,
        time,
        time_from,
        text: Vec::new(),
        complete: true,
        file_of_series: named.is_some(),
    };
    finish(Some(snapshot), chunk.bytes, !chunk.truncated, complete, batch);
}

fn finish(snapshot: Option<RawSnapshot>, text: &[u8], whole: bool, complete: fn(&[u8]) -> bool, batch: &mut Batch) {
    let Some(mut snapshot) = snapshot else { return };
    snapshot.text = text.to_vec();
    snapshot.complete = whole && complete(text);
    batch.record(snapshot.time);
    batch.snapshots.push(snapshot);
}

/// The beginning of a file behind its first stamp.
pub fn behind_stamp(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.trim_ascii_start();
    match bytes.strip_prefix(MARK.as_bytes()) {
        Some(rest) => memchr::memchr(b'\n', rest).map_or(&[][..], |at| rest[at + 1..].trim_ascii_start()),
        None => bytes,
    }
}

/// A line as text.
pub fn text<'a>(line: &Line<'a>) -> std::borrow::Cow<'a, str> {
    String::from_utf8_lossy(line.bytes)
}
