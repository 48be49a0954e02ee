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
//! Ages are no times, and a pod's uid is not shown: a line proves that something was so at some time. Lines become rows of
//! `logs`; Services with their namespace also rows of `services`, which name virtual IPs. A line with seconds since the
//! epoch ahead of it (`kubectl get pods -w | ts %.s`) has a time.

use syncline_schema::clock::ClockToken;
use syncline_schema::logs::LogRow;
use syncline_schema::loss;
use syncline_schema::services::ServiceRow;

use crate::form::instant;
use crate::form::{Batch, Chunk, Context, Cut, Format, Head, Line, Reads, Sniff};

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

/// A leading `1795410230.917446714 `, and the rest.
fn behind_stamp(line: &str) -> (Option<i64>, &str) {
    match line.split_once(' ') {
        Some((stamp, rest)) if stamp.len() >= 10 && stamp.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') => {
            (instant::epoch_seconds(stamp.as_bytes()), rest)
        }
        _ => (None, line),
    }
}

/// Cells of a line: two blanks or more stand between them.
fn cells(line: &str) -> Vec<&str> {
    line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()
}

/// Column names, if a line is nothing but those of kubectl.
fn header(line: &str) -> Option<Vec<String>> {
    let names = cells(line);
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
    (get || events).then(|| names.iter().map(|name| (*name).to_owned()).collect())
}

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    let mut columns: Option<Vec<String>> = None;
    for line in chunk.lines() {
        let said = String::from_utf8_lossy(line.bytes);
        let (time, text) = behind_stamp(&said);
        if text.trim().is_empty() {
            continue;
        }
        if let Some(names) = header(text) {
            columns = Some(names);
            continue;
        }
        if text.starts_with("No events found in ") || text.starts_with("No resources found") {
            batch.record(time);
            continue;
        }
        match &columns {
            Some(names) if cells(text).len() >= 2 && !text.starts_with(['{', '$', '#']) => {
                row(context, &line, names, time, text, batch);
            }
            _ => batch.reject(context, &line, "expected a row of a table that kubectl printed"),
        }
    }
}

fn row(context: &Context, line: &Line<'_>, names: &[String], time: Option<i64>, text: &str, batch: &mut Batch) {
    let values = cells(text);
    let get = |name: &str| names.iter().position(|known| known == name).and_then(|at| values.get(at)).copied();
    batch.record(time);
    if time.is_none() {
        batch.loss(loss::NO_TIME, 1);
    }
    // The message is the last column, whatever blanks it holds.
    let message = match (get("REASON"), get("MESSAGE")) {
        (Some(reason), Some(message)) => {
            let at = text.find(message).unwrap_or(0);
            format!("{reason}: {}", text[at..].trim_end())
        }
        _ => text.trim_end().to_owned(),
    };
    batch.push(&LogRow {
        source: context.source,
        record: line.number,
        clock: context.clock.as_str().into(),
        time,
        level: if get("TYPE") == Some("Warning") { "warning" } else { "info" }.into(),
        caller: Some(get("OBJECT").or(get("NAME")).unwrap_or("kubectl").into()),
        message: message.into(),
        ..Default::default()
    });
    let (Some(namespace), Some(name), Some(address), Some(ports)) =
        (get("NAMESPACE"), get("NAME"), get("CLUSTER-IP"), get("PORT(S)"))
    else {
        return;
    };
    for port in ports.split(',') {
        let (number, protocol) = port.split_once('/').unwrap_or((port, "TCP"));
        batch.push(&ServiceRow {
            source: context.source,
            record: line.number,
            clock: context.clock.as_str().into(),
            time,
            event: "LIST".into(),
            namespace: namespace.into(),
            name: name.strip_prefix("service/").unwrap_or(name).into(),
            kind: get("TYPE").unwrap_or("ClusterIP").into(),
            cluster_ip: Some(address.into()),
            port: number.split(':').next().and_then(|number| number.parse().ok()),
            protocol: Some(protocol.into()),
            ..Default::default()
        });
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
    fn real_files_are_taken_after_all_others() {
        for (name, bytes) in corpus_files(&["kubectl_events_text"]) {
            let head = head(&name, &bytes);
            let taken = FORMATS.iter().find(|format| (format.sniff)(&head) == Sniff::Yes).map(|format| format.kind);
            assert_eq!(taken, Some(FORMAT.kind), "{name}");
            assert!(parse_text(&FORMAT, &String::from_utf8_lossy(&bytes)).records > 0, "{name}");
        }
    }
}
