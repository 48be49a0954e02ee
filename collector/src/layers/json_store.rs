//! What log stores and shippers that write JSON have in common: a [`Shape`] says where entries lie and what their fields are
//! called; all else is the same for all of them.
//!
//! An entry gives what stood inside, with the store's time, the names of pod, container and node. What a container runtime split is
//! joined. An entry that is damaged, or that has nothing inside, goes on as it is, in one line: the format behind it refuses it by
//! name. Tables (CSV) of the same store are entries with a column for each field.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::json_fields::{Fields, Val, moment, of_docker_name, of_list, of_log_path, plain};
use super::json_message::{lines, message, message_within};
use super::json_scan::{Context, Piece, Scan};
use super::layer::{Dressed, Out, Peel, Setting};
use crate::form::{Head, Place, csv};
use syncline_schema::loss::CAPPED_EXPORT;

/// What becomes of an entry.
pub enum Turned {
    /// What stood inside goes on.
    Inside,
    /// It is replaced: the store had rewritten it.
    To(String),
    /// It is the store's own.
    Own,
}

/// How a store writes.
pub struct Shape {
    /// Where entries lie, as paths from the root of a document: `` is the document itself.
    pub entries: &'static [&'static str],
    /// What stood inside: the first of these that is there, texts ahead of objects.
    pub message: &'static [&'static str],
    /// An entry by itself has all fields of one of these groups.
    pub marks: &'static [&'static [&'static str]],
    /// An entry in a list of its store's own has all fields of one of these groups.
    pub held: &'static [&'static [&'static str]],
    pub time: &'static [&'static str],
    pub pod: &'static [&'static str],
    pub namespace: &'static [&'static str],
    pub container: &'static [&'static str],
    pub node: &'static [&'static str],
    /// Paths of log files, or names of containers, that have the names in them.
    pub file: &'static [&'static str],
    /// Whether its own fields turn an entry into something else.
    pub turn: Option<fn(&Fields<'_>, &Context) -> Turned>,
    /// Whether a line without its end is a piece of one (docker).
    pub unended_is_part: bool,
    /// Entries with a field that an export has at most: as many are a loss.
    pub most: Option<(&'static str, usize)>,
}

impl Shape {
    /// Nothing; for `..`.
    pub const EMPTY: Self = Self {
        entries: &["", "[]"],
        message: &[],
        marks: &[],
        held: &[],
        time: &[],
        pod: &[],
        namespace: &[],
        container: &[],
        node: &[],
        file: &[],
        turn: None,
        unended_is_part: false,
        most: None,
    };

    /// Begins to take it off.
    pub fn open(&'static self, setting: &Setting) -> Box<dyn Peel> {
        Box::new(Store { scan: Scan::new(self.entries, setting.limit), entries: Entries::new(self, setting) })
    }

    /// Whether a text wears it: whole entries of it, more than of anything else.
    pub fn worn(&'static self, head: &Head) -> bool {
        // A look at the words first: most heads have none of them.
        let has = |word: &str| memchr::memmem::find(head.bytes, word.as_bytes()).is_some();
        let in_group = |name: &&str| has(name.rsplit('.').next().unwrap_or(name));
        let listed = |path: &&str| {
            let list = path.trim_end_matches("[]");
            !list.is_empty() && has(&format!("\"{}\"", list.rsplit('.').next().unwrap_or(list)))
        };
        let groups = || self.marks.iter().chain(self.held);
        if !groups().any(|group| group.iter().all(in_group)) && !self.entries.iter().any(listed) {
            return false;
        }
        let setting = Setting { limit: 1 << 20, ..Setting::default() };
        let (mut scan, mut entries) = (Scan::new(self.entries, setting.limit), Entries::new(self, &setting));
        let mut out = Out::default();
        scan.bytes(head.bytes, &mut |piece, place, context| entries.take(piece, place, context, &mut out));
        let unfinished = scan.unfinished().is_some_and(|(path, json)| {
            let quoted = |word: &str| memchr::memmem::find(json, format!("\"{word}\"").as_bytes()).is_some();
            let quoted = |name: &&str| quoted(name) || name.split('.').all(quoted);
            self.groups(path).iter().any(|group| group.iter().all(&quoted))
        });
        if head.whole && entries.taken == 0 {
            // A last row or document without its line end.
            scan.end(true, &mut |piece, place, context| entries.take(piece, place, context, &mut out));
        }
        let any = entries.taken > 0 || (unfinished && !head.whole);
        any && entries.taken + usize::from(unfinished) > entries.refused
    }

    fn groups(&self, path: &str) -> &'static [&'static [&'static str]] {
        if matches!(path, "" | "[]") || self.held.is_empty() { self.marks } else { self.held }
    }
}

/// An entry's text for every line, in one JSON object a line.
pub fn objects(text: &[u8], make: impl Fn(&str) -> serde_json::Value) -> Vec<u8> {
    let mut dressed = Vec::new();
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        dressed.extend_from_slice(make(&String::from_utf8_lossy(line)).to_string().as_bytes());
        dressed.push(b'\n');
    }
    dressed
}

struct Store {
    scan: Scan,
    entries: Entries,
}

impl Peel for Store {
    fn line(&mut self, line: &Dressed<'_>, out: &mut Out) {
        let (scan, entries) = (&mut self.scan, &mut self.entries);
        let place = out.place();
        scan.line(line.bytes, line.ended, place, &mut |piece, at, context| entries.take(piece, at, context, out));
    }

    fn bytes(&mut self, bytes: &[u8], out: &mut Out) {
        let (scan, entries) = (&mut self.scan, &mut self.entries);
        entries.by_bytes = true;
        scan.bytes(bytes, &mut |piece, at, context| entries.take(piece, at, context, out));
    }

    fn by_bytes(&self) -> bool {
        true
    }

    fn end(&mut self, out: &mut Out) {
        let (scan, entries) = (&mut self.scan, &mut self.entries);
        let by_bytes = entries.by_bytes;
        scan.end(by_bytes, &mut |piece, at, context| entries.take(piece, at, context, out));
        entries.end(out);
    }
}

/// A table's heading, and a row that is not whole yet.
struct Table {
    names: Vec<String>,
    separator: u8,
    row: Vec<u8>,
    /// Whether a quote is open at its end.
    open: bool,
    lines: Vec<(usize, Place)>,
}

/// Bytes of a row of a table at most.
const LONGEST_ROW: usize = 1 << 20;
/// Bytes of a heading of a table at most.
const LONGEST_HEADING: usize = 64 << 10;
/// A runtime splits what is longer than 16 KiB.
const SPLIT: usize = 16_000;
/// Lines that are split at once, at most: one for each stream of each container.
const MOST_BEGUN: usize = 1_000;

/// Makes lines of entries.
pub struct Entries {
    shape: &'static Shape,
    setting: Setting,
    by_bytes: bool,
    /// Lines that were split, by their names and stream, and their bytes in all.
    begun: BTreeMap<(u32, String), (Place, Vec<u8>)>,
    held: usize,
    /// Whether what was given last lacks its line end.
    open: bool,
    table: Option<Table>,
    /// Whether anything was seen.
    seen: bool,
    /// Entries that count for [`Shape::most`].
    counted: usize,
    /// Entries that had something inside, and others.
    pub taken: usize,
    pub refused: usize,
}

impl Entries {
    /// Of a store of this shape.
    pub fn new(shape: &'static Shape, setting: &Setting) -> Self {
        Self {
            shape,
            setting: setting.clone(),
            by_bytes: false,
            begun: BTreeMap::new(),
            held: 0,
            open: false,
            table: None,
            seen: false,
            counted: 0,
            taken: 0,
            refused: 0,
        }
    }

    /// Takes what was found. False of an entry that is no JSON, true of a line that heads a table.
    fn take(&mut self, piece: Piece<'_>, place: Place, context: &Context, out: &mut Out) -> bool {
        let is_first = !std::mem::replace(&mut self.seen, true);
        self.open = matches!(piece, Piece::Line { ended: false, .. } | Piece::Damaged { ended: false, .. });
        match piece {
            Piece::Entry { path, json } => self.entry(path, json, place, context, out),
            Piece::Line { text, ended } => {
                if self.table.is_some() {
                    self.row(text, ended, place, context, out);
                    return true;
                }
                let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
                if is_first && self.heads(text) {
                    return true;
                }
                self.refused += usize::from(!text.trim_ascii().is_empty());
                out.at(place);
                out.bare(text, ended);
                false
            }
            Piece::Damaged { text, ended } => {
                self.refused += 1;
                // The end of the file cuts an entry, and with it the line inside: what is there of it goes on, as cut.
                match message_within(self.shape, text).filter(|_| !ended) {
                    Some(inside) => {
                        out.at(place);
                        out.bare(inside.as_bytes(), false);
                    }
                    None => self.verbatim(text, ended, place, out),
                }
                true
            }
        }
    }

    /// What has no entry's form, in one line.
    pub fn verbatim(&mut self, text: &[u8], ended: bool, place: Place, out: &mut Out) {
        let line: Vec<u8> = text.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }).collect();
        out.at(place);
        out.bare(&line, ended);
    }

    /// Takes an entry; false where it is no JSON.
    pub fn entry(&mut self, path: &'static str, json: &[u8], place: Place, context: &Context, out: &mut Out) -> bool {
        let fields = match json.first() {
            Some(b'{') => Fields::of_object(json),
            Some(b'[') => match serde_json::from_slice::<Vec<&serde_json::value::RawValue>>(json) {
                Ok(items) => Some(of_list(&items, context)),
                Err(_) => None,
            },
            _ => Some(Fields::default()),
        };
        let Some(fields) = fields else { return false };
        if !self.fields(&fields, path, place, context, out) {
            self.refused += 1;
            self.verbatim(json, true, place, out);
        }
        true
    }

    /// Gives what stood inside an entry; false where it has nothing of this store.
    fn fields(&mut self, fields: &Fields<'_>, path: &str, place: Place, context: &Context, out: &mut Out) -> bool {
        let shape = self.shape;
        if !shape.groups(path).iter().any(|group| group.iter().all(|name| fields.has(name))) {
            return false;
        }
        // An object of Kubernetes may have a message, and is no entry of a log.
        if fields.has("apiVersion") && fields.has("kind") {
            return false;
        }
        let turned = shape.turn.map_or(Turned::Inside, |turn| turn(fields, context));
        let message = match turned {
            Turned::Inside => message(shape, fields).map(Cow::into_owned),
            Turned::To(text) => Some(text),
            Turned::Own => {
                self.taken += 1;
                let text = message(shape, fields).unwrap_or_default().replace(['\n', '\r'], " ");
                out.at(place);
                out.around(text.as_bytes());
                return true;
            }
        };
        let Some(message) = message else { return false };
        self.taken += 1;
        self.counted += usize::from(shape.most.is_some_and(|(name, _)| fields.has(name)));
        out.at(place);
        if let Some((time, resolution)) = self.time(fields) {
            out.time(time, resolution);
        }
        self.name(fields, context, out);
        self.give(fields, &message, out);
        true
    }

    fn time(&self, fields: &Fields<'_>) -> Option<(i64, i64)> {
        let read = |name: &&str| moment(&fields.get(name)?.text()?, &self.setting.dating);
        self.shape.time.iter().find_map(read)
    }

    fn name(&self, fields: &Fields<'_>, context: &Context, out: &mut Out) {
        let shape = self.shape;
        // What stands around the entries may name what they share (labels of a stream).
        let around = |names: &[&str]| {
            names.iter().find_map(|name| {
                let (head, rest) = name.split_once('.').unwrap_or((name, ""));
                let json = context.get(head)?;
                if rest.is_empty() {
                    return serde_json::from_slice::<String>(json).ok();
                }
                Fields::of_object(json)?.text(&[rest]).map(Cow::into_owned)
            })
        };
        let find = |names: &[&str]| fields.text(names).map(Cow::into_owned).or_else(|| around(names));
        let (mut pod, mut namespace) = (find(shape.pod), find(shape.namespace));
        let (mut container, node) = (find(shape.container), find(shape.node));
        if pod.is_none()
            && let Some(file) = find(shape.file)
            && let Some((in_namespace, of_pod, named)) = of_log_path(&file).or_else(|| of_docker_name(&file))
        {
            namespace = Some(in_namespace.to_owned());
            (pod, container) = (Some(of_pod.to_owned()), Some(named.to_owned()));
        }
        let pod = match (pod, namespace) {
            (Some(pod), Some(namespace)) if !pod.contains('/') => Some(format!("{namespace}/{pod}")),
            (pod, _) => pod,
        };
        if pod.is_none() && container.is_none() && node.is_none() {
            return;
        }
        out.name(|names| {
            let set = |known: &mut Option<Box<str>>, found: Option<String>| {
                if let Some(found) = found {
                    *known = Some(found.into());
                }
            };
            set(&mut names.pod, pod);
            set(&mut names.container, container);
            set(&mut names.node, node);
        });
    }

    /// Gives a message, or holds it until its last piece is there.
    fn give(&mut self, fields: &Fields<'_>, message: &str, out: &mut Out) {
        let place = out.place();
        let ended = message.ends_with('\n');
        let text = message.strip_suffix('\n').unwrap_or(message);
        let text = text.strip_suffix('\r').unwrap_or(text);
        let says = |names: &[&str], word: &str| names.iter().any(|name| fields.text(&[name]).as_deref() == Some(word));
        let goes_on = says(&["_p", "logtag"], "P")
            || says(&["partial_message", "CONTAINER_PARTIAL_MESSAGE", "_partial"], "true")
            || (self.shape.unended_is_part && !ended && message.len() >= SPLIT);
        let stream = fields.text(&["stream", "CONTAINER_ID_FULL"]).unwrap_or_default().into_owned();
        let key = (place.names, stream);
        if !goes_on && !self.begun.contains_key(&key) {
            return lines(text, place, out);
        }
        let (first, joined) = self.begun.entry(key.clone()).or_insert_with(|| (place, Vec::new()));
        let piece = if goes_on { message } else { text };
        joined.extend_from_slice(piece.as_bytes());
        self.held += piece.len() + key.1.len();
        if !goes_on || joined.len() > self.setting.limit {
            let (first, joined) = (*first, std::mem::take(joined));
            self.held -= self.held.min(joined.len());
            self.begun.remove(&key);
            lines(&String::from_utf8_lossy(&joined), first, out);
        } else if self.begun.len() > MOST_BEGUN || self.held > self.setting.limit {
            self.give_begun(false, out);
        }
    }

    /// Lines whose ends were never written: the text ends within the last of them alone, and only if it does.
    fn give_begun(&mut self, is_end: bool, out: &mut Out) {
        self.held = 0;
        let mut left: Vec<(Place, Vec<u8>)> = std::mem::take(&mut self.begun).into_values().collect();
        left.sort_by_key(|(place, _)| place.line);
        if std::mem::take(&mut self.open) && !left.is_empty() {
            out.bare(b"", true);
        }
        let last = left.len().saturating_sub(1);
        for (at, (place, joined)) in left.iter().enumerate() {
            out.bare_at(*place, joined, !is_end || at < last);
        }
    }

    /// The text ends.
    pub fn end(&mut self, out: &mut Out) {
        if let Some(table) = &mut self.table {
            let left = std::mem::take(&mut table.row);
            let lines = std::mem::take(&mut table.lines);
            self.rows_apart(&left, &lines, out);
        }
        if self.shape.most.is_some_and(|(_, most)| self.counted > 0 && self.counted.is_multiple_of(most)) {
            out.loss(CAPPED_EXPORT);
        }
        (self.table, self.seen, self.counted) = (None, false, 0);
        self.give_begun(true, out);
    }

    /// Whether a line heads a table of this store.
    fn heads(&mut self, text: &[u8]) -> bool {
        if text.len() > LONGEST_HEADING {
            return false;
        }
        let separator = csv::separator(text);
        let names = csv::cells(text.trim_ascii_end(), separator);
        let names: Vec<String> = names.iter().map(|name| plain(name)).collect();
        let is_one = |group: &&&[&str]| group.iter().all(|name| names.iter().any(|known| known == name));
        if names.len() < 2 || !self.shape.marks.iter().any(|group| is_one(&group)) {
            return false;
        }
        self.table = Some(Table { names, separator, row: Vec::new(), open: false, lines: Vec::new() });
        true
    }

    /// Takes a line of a table: a row, or a piece of one whose cell goes over several lines.
    fn row(&mut self, text: &[u8], ended: bool, place: Place, context: &Context, out: &mut Out) {
        let Some(table) = &mut self.table else { return };
        if table.row.is_empty() && text.trim_ascii().is_empty() {
            return;
        }
        table.lines.push((table.row.len(), place));
        table.row.extend_from_slice(text);
        let open = table.open != (memchr::memchr_iter(b'"', text).count() % 2 == 1);
        table.open = open && ended && table.row.len() < LONGEST_ROW;
        if table.open {
            table.row.push(b'\n');
            return;
        }
        let (row, lines) = (std::mem::take(&mut table.row), std::mem::take(&mut table.lines));
        if open {
            return self.rows_apart(&row, &lines, out);
        }
        let cells = csv::cells(row.strip_suffix(b"\r").unwrap_or(&row), table.separator);
        let pairs = table.names.iter().zip(cells);
        let fields =
            Fields(pairs.map(|(name, cell)| (Cow::Owned(name.clone()), Val::Text(Cow::Owned(cell)))).collect());
        let place = lines.first().map_or(place, |(_, place)| *place);
        if !self.fields(&fields, "", place, context, out) {
            self.refused += 1;
            self.verbatim(&row, ended, place, out);
        }
    }

    /// A quote that is never closed: each line for itself, as it is.
    fn rows_apart(&mut self, row: &[u8], lines: &[(usize, Place)], out: &mut Out) {
        for (at, (begin, place)) in lines.iter().enumerate() {
            let end = lines.get(at + 1).map_or(row.len(), |next| next.0);
            out.at(*place);
            out.bare(row[*begin..end].trim_ascii_end(), true);
            self.refused += 1;
        }
    }
}
