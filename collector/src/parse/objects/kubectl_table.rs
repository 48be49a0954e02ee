//! Tables that kubectl prints for people: `kubectl get …` (also `-w`), `kubectl events`.
//!
//! ```text
//! NAME                   READY   STATUS    RESTARTS   AGE     IP           NODE
//! test-554958cc76-x5vwg  1/1     Running   0          17s     10.244.0.121 node-a
//!
//! LAST SEEN   TYPE     REASON      OBJECT          MESSAGE
//! 58m         Normal   Scheduled   Pod/test-x5vwg  Successfully assigned default/test-x5vwg to node-a
//! ```
//!
//! Ages are no times, and a pod's uid is not shown: a line proves that something was so at some time. Cells stand below
//! their column's name (`kubectl_columns`): they may be empty, and hold blanks. Lines become rows of `logs`; Services with their
//! namespace also rows of `services`, which name virtual IPs, pods and endpoints rows of their tables (`kubectl_rows`). A time
//! ahead of a line (`kubectl get pods -w | ts`) is its time. A line that does not fit the column names is refused, and two of them
//! end the table.

use std::collections::HashSet;

use syncline_schema::clock::ClockToken;
use syncline_schema::loss;

use crate::form::stamp::{self, Dating, Stamp};
use crate::form::{Batch, Chunk, Context, Cut, Format, Head, Reads, Sniff};
use crate::parse::objects::kubectl_columns::Columns;
use crate::parse::objects::kubectl_rows::Row;

/// The format.
pub const FORMAT: Format = Format {
    kind: "kubectl-table",
    title: "kubectl's tables: get, get -w, events",
    clock: ClockToken::Operator,
    cut: Cut::Whole,
    sniff,
    reads: Reads::Rows(parse),
    sample: "NAMESPACE   NAME   TYPE        CLUSTER-IP      EXTERNAL-IP   PORT(S)   AGE\ndefault     test   ClusterIP   10.96.100.100   <none>        80/TCP    75m\n",
    recognised: "a line of kubectl's column names (NAME … READY, CLUSTER-IP, ENDPOINTS; LAST SEEN … REASON)",
    capture: "kubectl get services,pods -A -o wide (better: -o json, which has times and identifiers)",
    proves: "names of Services by virtual IP; that events happened (without a time)",
};

/// Lines that are tried.
const TRIED: usize = 60;

fn sniff(head: &Head) -> Sniff {
    let mut lines = head.bytes.split(|byte| *byte == b'\n').take(TRIED);
    let header = lines.any(|line| std::str::from_utf8(line).is_ok_and(|line| header(behind_stamp(line).1).is_some()));
    let nothing = memchr::memmem::find(head.bytes, b"\nNo events found in ").is_some()
        || head.bytes.starts_with(b"No events found in ");
    if header || nothing { Sniff::Yes } else { Sniff::No }
}

/// The time ahead of a line, and the rest of the line.
fn behind_stamp(line: &str) -> (Option<Stamp>, &str) {
    match stamp::ahead(line.as_bytes()) {
        Some((found, at)) if line.is_char_boundary(at) => (Some(found), &line[at..]),
        _ => (None, line),
    }
}

/// Column names, if a line is nothing but those of kubectl.
fn header(line: &str) -> Option<Columns> {
    // Most lines are rows.
    if !line.contains("NAME") && !line.contains("MESSAGE") {
        return None;
    }
    let columns = Columns::of(line);
    let names: Vec<&str> = columns.names().collect();
    let named = |name: &&str| {
        let name = name.strip_suffix("(cores)").or_else(|| name.strip_suffix("(bytes)")).unwrap_or(name);
        name.bytes().all(|byte| byte.is_ascii_uppercase() || b" -()/:%".contains(&byte))
    };
    if names.len() < 3 || !names.iter().all(named) {
        return None;
    }
    let has = |name: &str| names.contains(&name);
    let get =
        has("NAME") && (has("READY") || has("CLUSTER-IP") || has("ENDPOINTS") || has("ADDRESSTYPE") || has("STATUS"));
    let get = get || has("NAME") && (has("CPU(cores)") || has("DATA") && has("AGE"));
    let events = (has("LAST SEEN") || has("LASTSEEN")) && has("REASON") && has("MESSAGE");
    (get || events).then_some(columns)
}

/// The table that is being read.
struct Table {
    columns: Columns,
    /// Names seen: one that comes again is another version of it (`-w`).
    seen: HashSet<String>,
    /// Lines in a row that did not fit.
    strange: u8,
}

/// Lines that do not fit, in a row, at which a table has ended.
const STRANGE: u8 = 2;

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    let dating = Dating { year: context.year, utc_offset: context.utc_offset, span: None };
    let mut table: Option<Table> = None;
    for line in chunk.lines() {
        let said = line.text();
        let (stamp, text) = behind_stamp(&said);
        if text.trim().is_empty() {
            continue;
        }
        if let Some(columns) = header(text) {
            table = Some(Table { columns, seen: HashSet::new(), strange: 0 });
            continue;
        }
        let known = chunk.known(line.number);
        // The line's own time, else that of whoever carried it.
        let time = stamp.and_then(|stamp| stamp.time(&dating)).or(known.outer_time);
        if text.starts_with("No events found in ") || text.starts_with("No resources found") {
            batch.record(time);
            continue;
        }
        let cells = table.as_mut().and_then(|Table { columns, seen, strange }| match columns.cells(text) {
            Some(cells) => Some((cells, seen, strange)),
            None => {
                *strange += 1;
                None
            }
        });
        let Some((cells, seen, strange)) = cells else {
            batch.reject(context, &line, "expected a row of a table that kubectl printed, below its column names");
            table = table.filter(|table| table.strange < STRANGE);
            continue;
        };
        *strange = 0;
        match (stamp, time) {
            (Some(_), None) => batch.loss(loss::NO_YEAR, 1),
            (None, None) => batch.loss(loss::NO_TIME, 1),
            _ => {}
        }
        batch.record(time);
        let resolution = stamp.map_or(known.resolution, |stamp| stamp.resolution);
        let resolution = Some(resolution).filter(|unit| time.is_some() && *unit > 1);
        let named = format!("{}/{}", cells.get("NAMESPACE").unwrap_or_default(), cells.get("NAME").unwrap_or_default());
        let again = !seen.insert(named);
        let row = Row { context, record: line.number, time, resolution, again, cells: &cells };
        row.line(text, batch);
        row.objects(batch);
    }
}

#[cfg(test)]
mod tests {
    use super::FORMAT;
    use crate::form::Sniff;
    use crate::parse::FORMATS;
    use crate::parse::harness::{corpus_files, head, parse_text};

    #[test]
    fn rows_services_and_events_are_read() {
        let mut batch = parse_text(&FORMAT, FORMAT.sample);
        assert_eq!((batch.records, batch.rejected), (1, 0));
        assert!(batch.take_tables().iter().any(|table| table.table == "services"));
        let watch = "1795410230.917446714 EVENT      NAME      READY   STATUS    RESTARTS   AGE\n1795410230.919782793 ADDED      test-1    1/1     Running   0          17s\nhello\n";
        let batch = parse_text(&FORMAT, watch);
        assert_eq!((batch.records, batch.rejected), (1, 1));
        assert!(batch.span.is_some());
    }

    #[test]
    fn a_table_ends_where_lines_no_longer_fit() {
        let text = "NAMESPACE     NAME      READY   STATUS    RESTARTS   AGE\nkube-system   kcm-a     1/1     Running   0          20h\ntime=2026-02-03T04:05:00Z level=error msg=\"Endpoint  failed\" module=a  b\ntime=2026-02-03T04:05:01Z level=error msg=\"Endpoint  failed\" module=a  b\nkube-system   kcm-b     1/1     Running   0          20h\n";
        let batch = parse_text(&FORMAT, text);
        assert_eq!((batch.records, batch.rejected), (1, 3));
    }

    #[test]
    fn real_files_are_taken_after_all_others() {
        for (name, bytes) in corpus_files(&["kubectl_events_text"]) {
            let head = head(&name, &bytes);
            let taken = FORMATS.iter().find(|format| (format.sniff)(&head) == Sniff::Yes).map(|format| format.kind);
            assert_eq!(taken, Some(FORMAT.kind), "{name}");
            assert!(parse_text(&FORMAT, &String::from_utf8_lossy(&bytes)).records > 0, "{name}");
        }
    }
}
