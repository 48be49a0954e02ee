//! Kubernetes audit log: one event or one list of events a line.
//!
//! ```text
//! {"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"RequestResponse","auditID":"…","stage":"ResponseComplete", …}
//! {"kind":"EventList","items":[{…}, …]}                                               webhook batches
//! ```
//!
//! What log stores put around events is taken off by their layers; text ahead of an object is stepped over. A line that ends in
//! the middle of an event goes on in the next ones (terminals, and `aws logs tail`, wrap long lines). Documents over many lines
//! are `audit_document`'s.

use syncline_schema::clock::ClockToken;
use syncline_schema::loss;

use crate::form::{Batch, Chunk, Context, Cut, Format, Head, Line, Reads, Sniff};
use crate::parse::objects::{audit_event, audit_list};

/// The format.
pub const FORMAT: Format = Format {
    kind: "audit",
    title: "Kubernetes audit log, JSON lines (also as EKS, AKS and GKE export it)",
    clock: ClockToken::Apiserver,
    cut: Cut::Lines,
    sniff,
    reads: Reads::Rows(parse),
    sample: r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"RequestResponse","stage":"ResponseComplete","verb":"update","objectRef":{"resource":"endpointslices",…},…}"#,
    recognised: "lines with a JSON object that has \"auditID\" or an apiVersion of audit.k8s.io, also as EventList",
    capture: "kube-apiserver --audit-log-path=… --audit-policy-file=… (RequestResponse for endpointslices, pods, deployments and node leases)",
    proves: "when each request was received and answered, which endpoints each EndpointSlice version listed, how far a node's clock may be off",
};

/// Bytes that wrapped lines of one event may have in all.
const LONGEST: usize = 4 << 20;

fn sniff(head: &Head) -> Sniff {
    if !audit_list::is_audit(head.bytes) {
        return Sniff::No;
    }
    let mut lines = head.bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    if is_of_a_proxys_log(head.bytes) {
        return Sniff::No;
    }
    let Some(line) = lines.next() else { return Sniff::No };
    // A line that is cut by the head's end may be as long as it likes.
    let whole = memchr::memchr(b'\n', head.bytes.trim_ascii_start()).is_some() || head.whole;
    let event = audit_list::is_audit(line);
    match audit_list::object(line) {
        // Deep within other objects they are somebody else's.
        Some(object) if whole && audit_list::is_other(object) => Sniff::No,
        Some(object) if event && (!whole || object.ends_with(b"}") || object.len() > 120) => Sniff::Yes,
        // Behind a prompt, a sentence or lines of another program.
        None if is_noise(line) && lines.take(NOISE).any(is_bare) => Sniff::Yes,
        _ => Sniff::No,
    }
}

/// Whether a proxy's own lines stand among the first ones: events that were mixed into its log are read there, line by line.
pub fn is_of_a_proxys_log(bytes: &[u8]) -> bool {
    bytes.split(|byte| *byte == b'\n').take(NOISE).any(|line| {
        line.first().is_some_and(|first| b"IWEF".contains(first))
            && memchr::memmem::find(&line[..line.len().min(60)], b" proxier.go:").is_some()
    })
}

/// How many other lines may stand ahead of the first event.
const NOISE: usize = 200;

/// Whether a line is no beginning of a document in YAML or CSV.
fn is_noise(line: &[u8]) -> bool {
    let starts = |mark: &[u8]| line.starts_with(mark);
    let table = memchr::memmem::find(line, b"@message").is_some();
    !(table || starts(b"---") || starts(b"- ") || starts(b"kind:") || starts(b"apiVersion:") || starts(b"items:"))
}

/// Whether a line holds an event, up to its end.
fn is_bare(line: &[u8]) -> bool {
    let object = audit_list::object(line).filter(|object| object.starts_with(b"{\"") && !object.starts_with(b"{\"\""));
    object.is_some_and(|object| object.ends_with(b"}") || object.len() > 2_000) && audit_list::is_audit(line)
}

/// An event whose line ended too early. What was looked at is never looked at again: only its brackets are counted, until they
/// are closed.
struct Begun<'a> {
    /// The line that it began in, and those that may go on with it.
    lines: Vec<Line<'a>>,
    text: Vec<u8>,
    in_text: bool,
    escaped: bool,
    depth: usize,
}

impl<'a> Begun<'a> {
    fn new(line: Line<'a>, object: &[u8]) -> Self {
        let mut begun = Self { lines: vec![line], text: Vec::new(), in_text: false, escaped: false, depth: 0 };
        begun.count(object);
        begun
    }

    /// Takes the next piece; true where the event is closed by it.
    fn add(&mut self, line: Line<'a>) -> bool {
        self.lines.push(line);
        self.count(line.bytes);
        self.depth == 0 && !self.in_text
    }

    fn count(&mut self, piece: &[u8]) {
        self.text.extend_from_slice(piece);
        for byte in piece {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_text => self.escaped = true,
                b'"' => self.in_text = !self.in_text,
                b'{' | b'[' if !self.in_text => self.depth += 1,
                b'}' | b']' if !self.in_text => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
    }

    /// It turned out to be none: each of its lines is refused by itself.
    fn refuse(self, context: &Context, why: &str, batch: &mut Batch) {
        for (at, line) in self.lines.iter().enumerate() {
            let why = if at == 0 { why } else { NO_EVENT };
            batch.reject(context, line, why);
        }
    }
}

/// What was expected of a line.
const NO_EVENT: &str = "expected a JSON object with an audit event";
/// Why a line is refused that goes on nowhere.
const CUT: &str = "expected an audit event as JSON: the line ends in the middle of it";

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    let mut begun: Option<Begun<'_>> = None;
    for line in chunk.lines() {
        if line.bytes.trim_ascii().is_empty() {
            continue;
        }
        let object = audit_list::object(line.bytes);
        if let Some(mut open) = begun.take() {
            let anew = begins(line.bytes)
                || open.text.len() + line.bytes.len() > LONGEST
                || object.is_some_and(|object| object.starts_with(b"{\"") && is_whole(object));
            if !anew {
                if !open.add(line) {
                    begun = Some(open);
                } else if let Err(reason) = list(context, open.lines[0].number, &open.text, batch) {
                    open.refuse(context, &reason, batch);
                }
                continue;
            }
            open.refuse(context, CUT, batch);
        }
        let Some(object) = object else {
            batch.reject(context, &line, NO_EVENT);
            continue;
        };
        match list(context, line.number, object, batch) {
            Ok(()) => {}
            Err(reason) if is_cut(&reason) && line.ended => begun = Some(Begun::new(line, object)),
            Err(reason) => {
                if chunk.truncated && chunk.last && !line.ended {
                    batch.loss(loss::TRUNCATED_INPUT, 1);
                }
                batch.reject(context, &line, &reason);
            }
        }
    }
    if let Some(open) = begun {
        open.refuse(context, CUT, batch);
    }
}

/// Whether an object is an event by itself.
fn is_whole(object: &[u8]) -> bool {
    audit_list::is_audit(object) && audit_list::events(object).is_ok()
}

/// Whether a line begins an event, and does not go on with one: a date ahead of an object, or the object's first key.
fn begins(line: &[u8]) -> bool {
    let dated = line.len() > 10 && line[..4].iter().all(u8::is_ascii_digit) && line[4] == b'-';
    dated || [&b"{\"kind\""[..], b"{\"apiVersion\"", b"{\"auditID\""].iter().any(|key| line.starts_with(key))
}

/// Whether a message of the JSON parser says that the text ended too early.
fn is_cut(reason: &str) -> bool {
    reason.contains("EOF while parsing")
}

/// All events of a line. An event that cannot be read is refused by itself, unless it is the only one.
fn list(context: &Context, record: i64, text: &[u8], batch: &mut Batch) -> Result<(), String> {
    // What an API server writes itself needs no second look.
    if text.starts_with(b"{\"kind\":\"Event\",") {
        return audit_event::push(context, record, text, batch);
    }
    let events = audit_list::events(text)?;
    let alone = events.len() == 1;
    for event in events {
        if let Err(reason) = audit_event::push(context, record, event, batch) {
            if alone {
                return Err(reason);
            }
            batch.reject(context, &Line { bytes: event, number: record, offset: 0, ended: true }, &reason);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::FORMAT;
    use crate::form::Sniff;
    use crate::parse::FORMATS;
    use crate::parse::harness::{corpus_files, head, parse_text};
    use crate::parse::objects::audit_document;

    /// An event with the fields that every event has, and others.
    pub fn event(more: &str) -> String {
        format!(
            r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"RequestResponse","auditID":"a","stage":"ResponseComplete","requestURI":"/x","verb":"create","user":{{"username":"u"}},"requestReceivedTimestamp":"2026-11-23T04:24:06.393076Z","stageTimestamp":"2026-11-23T04:24:06.401993Z"{more}}}"#
        )
    }

    #[test]
    fn what_stands_ahead_of_an_event_and_lists_of_events_are_no_matter() {
        let event = event("");
        for (what, text) in [
            ("bare", event.clone()),
            ("S3", format!("2026-11-23T04:24:06.401Z {event}")),
            ("tail", format!("2026-11-23T04:24:06.401000+00:00 kube-apiserver-audit-1 {event}")),
            ("tail, wrapped in the middle of a word", {
                let (begin, end) = event.split_at(150);
                format!("2026-11-23T04:24:06.401000+00:00 kube-apiserver-audit-1 {begin}\n{end}")
            }),
            ("webhook", format!("{{\"kind\":\"EventList\",\"apiVersion\":\"audit.k8s.io/v1\",\"items\":[{event}]}}")),
            ("CRI", format!("2026-11-23T04:24:06.401993Z stdout F {event}")),
            ("kubectl logs --prefix", format!("[pod/kube-apiserver-a/kube-apiserver] {event}")),
            ("syslog", format!("Mar  1 10:00:00 a kube-apiserver[1234]: {event}")),
            ("aws logs get-log-events --output text", format!("EVENTS\t1795407846401\t{event}\t1795407846393")),
        ] {
            let batch = parse_text(&FORMAT, &format!("{text}\n"));
            assert_eq!((batch.records, batch.rejected), (1, 0), "{what}");
            assert_eq!((FORMAT.sniff)(&head("x", format!("{text}\n").as_bytes())), Sniff::Yes, "{what}");
        }
    }

    #[test]
    fn other_lines_around_events_cost_themselves_only() {
        let event = event("");
        for (ahead, records, rejected) in
            [("Log file output\n", 2, 1), ("I0301 10:00:00.123456       1 trace.go:205] Trace[1]: \"List\"", 2, 1)]
        {
            let text = format!("{ahead}\n{event}\n{event}\n");
            assert_eq!((FORMAT.sniff)(&head("x", text.as_bytes())), Sniff::Yes, "{ahead}");
            let batch = parse_text(&FORMAT, &text);
            assert_eq!((batch.records, batch.rejected), (records, rejected), "{ahead}");
        }
        let csv = format!("@timestamp,@message\n2026-11-23 04:24:06.401,\"{}\"\n", event.replace('"', "\"\""));
        assert_eq!((FORMAT.sniff)(&head("x", csv.as_bytes())), Sniff::No);
    }

    #[test]
    fn an_event_that_breaks_off_costs_itself_and_no_time() {
        let event = event("");
        let cut = &event[..150];
        let line = "I0203 04:05:06.100000       1 trace.go:205] Trace[1]: a request for a list took a while, END\n";
        let text = format!("{event}\n{cut}\n{}{event}\n", line.repeat(3_000));
        let batch = parse_text(&FORMAT, &text);
        assert_eq!((batch.records, batch.rejected), (2, 3_001));
        // One that is whole by itself begins anew, whatever stands ahead of it.
        let text = format!("{cut}\nkube-apiserver: {event}\n");
        let batch = parse_text(&FORMAT, &text);
        assert_eq!((batch.records, batch.rejected), (1, 1));
    }

    #[test]
    fn a_binding_is_a_row_of_its_pod() {
        let binding = event(
            r#","objectRef":{"resource":"pods","namespace":"default","name":"p","uid":"u1","subresource":"binding"},"requestObject":{"kind":"Binding","metadata":{"name":"p","namespace":"default"},"target":{"kind":"Node","name":"node-a"}},"responseObject":{"kind":"Status","metadata":{}}"#,
        );
        let mut batch = parse_text(&FORMAT, &binding);
        let tables = batch.take_tables();
        let pods =
            tables.into_iter().find(|table| table.table == "pods").expect("a row of pods").finish().expect("rows");
        let text = |name: &str| {
            let column = pods.column_by_name(name).expect("the column");
            arrow_array::cast::AsArray::as_string::<i32>(column).value(0).to_owned()
        };
        assert_eq!(
            [text("event"), text("name"), text("uid"), text("node")],
            ["create/binding", "p", "u1", "node-a"].map(str::to_owned)
        );
    }

    #[test]
    fn a_level_without_bodies_is_a_loss_and_an_event_without_a_time_is_refused() {
        let metadata = event(r#","objectRef":{"resource":"endpointslices","namespace":"default","name":"s"}"#);
        let batch = parse_text(&FORMAT, &metadata);
        assert!(batch.losses.contains_key("audit-without-bodies"));
        let older = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1beta1","auditID":"a","stage":"ResponseComplete","timestamp":"2018-10-25T13:58:49Z","verb":"get"}"#;
        let batch = parse_text(&FORMAT, older);
        assert_eq!(batch.records, 1);
        assert!(batch.losses.contains_key("whole-seconds"));
        let batch = parse_text(&FORMAT, &older.replace("timestamp", "time"));
        assert_eq!((batch.records, batch.rejected), (0, 1));
    }

    #[test]
    fn the_corpus_is_read() {
        for (name, bytes) in corpus_files(&["k8s_audit"]) {
            let head = head(&name, &bytes);
            let taken = FORMATS.iter().find(|format| (format.sniff)(&head) == Sniff::Yes);
            // A policy, an example that has neither an identifier nor a time, and what stands within the records of a log store.
            if ["minikube__site", "stratus", "sysdiglabs", "container_recorder"].iter().any(|part| name.contains(part))
            {
                continue;
            }
            let kind = taken.map(|format| format.kind);
            assert!(kind == Some(FORMAT.kind) || kind == Some(audit_document::FORMAT.kind), "{name}: {kind:?}");
            let batch = parse_text(taken.expect("taken"), &String::from_utf8_lossy(&bytes));
            assert_eq!(batch.records > 0, !name.contains("panther"), "{name}: {} {}", batch.records, batch.rejected);
        }
    }
}
