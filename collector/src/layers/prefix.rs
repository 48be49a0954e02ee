//! What carriers that write something ahead of each line have in common.

use super::layer::{Dressed, Out, Peel, Setting};
use crate::form::instant;
use crate::form::stamp::{self, Dating};
use crate::form::{Head, Place};

use super::json_fields::resolution;

/// A line without what stood ahead of it, and what that said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken<'a> {
    /// ns, and its resolution.
    pub time: Option<(i64, i64)>,
    pub namespace: Option<&'a str>,
    pub pod: Option<&'a str>,
    pub container: Option<&'a str>,
    pub node: Option<&'a str>,
    pub text: &'a [u8],
}

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read<'a> {
    /// It has a line inside.
    Inside(Taken<'a>),
    /// It is one of the carrier itself.
    Own,
    /// It has nothing of the carrier.
    Other,
}

/// Takes apart what a carrier writes ahead of a line.
pub type Reads = for<'a> fn(&'a [u8], &Dating) -> Read<'a>;

/// Lines that are looked at to recognise a carrier.
const TRIED: usize = 40;

/// Whether the first line that is not the carrier's own, and most lines, have it ahead of them.
pub fn worn(head: &Head, reads: Reads) -> bool {
    let dating = Dating::default();
    let (mut good, mut bad) = (0, 0);
    for line in stamp::tried_lines(head.bytes, head.whole || !head.bytes.contains(&b'\n')).take(TRIED) {
        match reads(line, &dating) {
            Read::Inside(_) => good += 1,
            Read::Own => {}
            // A line that goes on with the one before.
            Read::Other if good > 0 && goes_on(line) => {}
            Read::Other => bad += usize::from(!line.trim_ascii().is_empty()),
        }
        if good == 0 && bad > 0 {
            return false;
        }
    }
    good > bad
}

/// Whether a line is empty or begins with a blank.
fn goes_on(line: &[u8]) -> bool {
    line.first().is_none_or(|byte| matches!(byte, b' ' | b'\t'))
}

/// Begins to take it off.
pub fn open(setting: &Setting, reads: Reads) -> Box<dyn Peel> {
    Box::new(Prefixed { reads, dating: setting.dating, last: None, before: None })
}

/// Puts a text ahead of every line.
pub fn put_on(text: &[u8], ahead: &str) -> Vec<u8> {
    let mut dressed = Vec::new();
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        dressed.extend_from_slice(ahead.as_bytes());
        dressed.extend_from_slice(line);
    }
    dressed
}

/// Names as they were given last.
#[derive(Default, PartialEq, Eq)]
struct Known {
    pod: Option<String>,
    container: Option<String>,
    node: Option<String>,
}

struct Prefixed {
    reads: Reads,
    dating: Dating,
    /// What the names of the line before were turned into, where nothing around named others.
    last: Option<(u32, Known, u32)>,
    /// Place of the line before.
    before: Option<Place>,
}

impl Peel for Prefixed {
    fn line(&mut self, line: &Dressed<'_>, out: &mut Out) {
        let bytes = line.bytes.strip_suffix(b"\r").unwrap_or(line.bytes);
        match (self.reads)(bytes, &self.dating) {
            Read::Own => out.around(bytes),
            Read::Other => {
                // A line that goes on has the time and the names of its entry.
                if let Some(before) = self.before.filter(|_| goes_on(bytes)) {
                    let place = out.place();
                    out.at(Place { line: place.line, offset: place.offset, ..before });
                }
                out.bare(line.bytes, line.ended);
            }
            Read::Inside(taken) => {
                if let Some((time, resolution)) = taken.time {
                    out.time(time, resolution);
                }
                self.name(&taken, out);
                self.before = Some(out.place());
                out.bare(taken.text, line.ended);
            }
        }
    }

    fn end(&mut self, _: &mut Out) {
        (self.last, self.before) = (None, None);
    }
}

impl Prefixed {
    fn name(&mut self, taken: &Taken<'_>, out: &mut Out) {
        if taken.pod.is_none() && taken.container.is_none() && taken.node.is_none() {
            return;
        }
        let pod = match (taken.namespace, taken.pod) {
            (Some(namespace), Some(pod)) => Some(format!("{namespace}/{pod}")),
            (_, pod) => pod.map(str::to_owned),
        };
        let known = Known { pod, container: taken.container.map(str::to_owned), node: taken.node.map(str::to_owned) };
        let outer = out.place().names;
        if let Some((around, last, index)) = &self.last
            && (*around, last) == (outer, &known)
        {
            let mut place = out.place();
            place.names = *index;
            out.at(place);
            return;
        }
        out.name(|names| {
            let set = |to: &mut Option<Box<str>>, from: &Option<String>| {
                if let Some(from) = from {
                    *to = Some(from.as_str().into());
                }
            };
            set(&mut names.pod, &known.pod);
            set(&mut names.container, &known.container);
            set(&mut names.node, &known.node);
        });
        self.last = Some((outer, known, out.place().names));
    }
}

/// An RFC 3339 time ahead of a line, with its resolution, and what stands behind the blank behind it.
pub fn rfc3339(line: &[u8]) -> Option<((i64, i64), &[u8])> {
    let end = memchr::memchr2(b' ', b'\t', &line[..line.len().min(40)])?;
    let word = &line[..end];
    let time = instant::rfc3339(word)?;
    Some(((time, resolution(std::str::from_utf8(word).ok()?)), &line[end + 1..]))
}

/// A word that may name an object of Kubernetes.
pub fn is_name(word: &str) -> bool {
    !word.is_empty()
        && word.len() < 254
        && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.'))
        && word.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
}

/// The first word of a text, and what stands behind the blank behind it.
pub fn word(text: &[u8]) -> Option<(&str, &[u8])> {
    let end = memchr::memchr(b' ', &text[..text.len().min(300)])?;
    Some((std::str::from_utf8(&text[..end]).ok()?, &text[end + 1..]))
}
