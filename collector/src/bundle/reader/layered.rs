//! The reader's part for files that wear layers: what stands inside is read section by section, each by its own format.
//!
//! ```text
//! file ── layers off ──▶ section: `kubectl get pods`       ──▶ kubectl-table
//!                        section: `date; kubectl scale …`  ──▶ nobody's: what is left in the end may be a transcript
//!                        section: `kubectl logs cilium-…`  ──▶ cilium-log
//! ```

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::Read;
use std::rc::Rc;
use std::sync::Arc;

use syncline_schema::loss;

use super::{HEAD, Reader, hand_on, read_head};
use crate::bundle::pipeline::Outlet;
use crate::bundle::recognise::{format_of, typed};
use crate::bundle::said::Said;
use crate::form::{Around, Context, Format, Head, Names, Place, Reads, Sniff};
use crate::input::{Cutter, Piece};
use crate::layers::layer::{Layer, Setting};
use crate::layers::strip::{SectionReader, Stripped};
use crate::parse::setting::{session, transcript};

/// A file that wears layers.
pub struct Layered<'r> {
    pub layers: &'r [&'static Layer],
    pub setting: &'r Setting,
    /// As its first format has it.
    pub context: &'r Arc<Context>,
    /// The clock that was stated for it.
    pub clock: Option<String>,
    /// The format that was stated for it.
    pub stated: Option<&'static Format>,
}

/// Sections that no format reads, as one text.
struct Left {
    text: Vec<u8>,
    places: Vec<Place>,
    /// Names of the places; the first one is empty.
    names: Vec<Names>,
    indexes: HashMap<Names, u32>,
}

/// Sections of a file at most, each of which is recognised and parsed by itself: a `watch` of a tenth of a second shows as many screens in
/// three hours. Few in tests, which have no time for more.
const MOST_SECTIONS: usize = if cfg!(test) { 15_000 } else { 1 << 17 };
/// Most that is kept of them: bytes, and lines.
const MOST_LEFT: usize = 4 << 20;
const MOST_LINES: usize = 64 << 10;

impl Default for Left {
    fn default() -> Self {
        let indexes = HashMap::from([(Names::default(), 0)]);
        Self { text: Vec::new(), places: Vec::new(), names: vec![Names::default()], indexes }
    }
}

impl Left {
    fn is_full(&self) -> bool {
        self.text.len() > MOST_LEFT || self.places.len() > MOST_LINES
    }

    fn index(&mut self, names: &Names) -> u32 {
        if let Some(index) = self.indexes.get(names) {
            return *index;
        }
        let index = self.names.len() as u32;
        self.names.push(names.clone());
        self.indexes.insert(names.clone(), index);
        index
    }

    fn add(&mut self, names: &Names, text: &[u8], around: &Around) {
        // What the prompt said (its host, the command) holds for all that was printed behind it.
        let said = self.index(names);
        let own: Vec<u32> = around.names.iter().map(|names| self.index(names)).collect();
        let placed = |place: &Place| {
            let named = own.get(place.names as usize).copied().filter(|_| place.names > 0);
            Place { names: named.unwrap_or(said), ..*place }
        };
        let first = around.places.first().map_or(Place { names: said, ..Place::bare(0, 0) }, placed);
        if let Some(command) = &names.command {
            self.text.extend_from_slice(typed(command).as_bytes());
            self.places.push(first);
        }
        self.text.extend_from_slice(text);
        self.places.extend(around.places.iter().map(placed));
        if !self.text.ends_with(b"\n") {
            self.text.push(b'\n');
        }
    }
}

impl Reader<'_> {
    /// Reads such a file. `rest` is all of it.
    pub fn layered(&self, file: &Layered<'_>, rest: &mut dyn Read, outlet: &Outlet<Said>) {
        let stripped = Rc::new(RefCell::new(Stripped::new(Box::new(rest), file.layers, file.setting)));
        let mut left = Left::default();
        let mut taken = (0, 0);
        for number in 0.. {
            let Some(names) = stripped.borrow_mut().next_section() else { break };
            if number == MOST_SECTIONS {
                let at = stripped.borrow().offset();
                let why = format!(
                    "not read from about byte {at} on: expected at most {MOST_SECTIONS} commands, screens or files in one"
                );
                let context = Arc::clone(file.context);
                outlet.say(Said::Withheld { context, loss: loss::TOO_MANY_SECTIONS, count: 1, why });
                break;
            }
            let mut section = SectionReader(Rc::clone(&stripped));
            let mut head = Vec::new();
            let broken = read_head(&mut section, &mut head);
            let whole = head.len() < HEAD;
            let format = file.stated.or_else(|| format_of(&file.context.path, &head, whole).map(|(format, _)| format));
            let Some(format) = format else {
                let count = head.split_inclusive(|byte| *byte == b'\n').count() as i64;
                let around = stripped.borrow_mut().around(taken.0 + count);
                left.add(&names, &head, &around);
                let more = std::io::copy(&mut section, &mut std::io::sink()).unwrap_or(0);
                if more > 0 {
                    let why = format!("{more} bytes of a section that no format reads");
                    outlet.say(Said::Unread { context: Arc::clone(file.context), why });
                }
                taken = stripped.borrow().given();
                if let Some(why) = broken {
                    outlet.say(Said::Truncated { context: Arc::clone(file.context), offset: taken.1, why });
                }
                if left.is_full() && !self.flush(&mut left, file, outlet) {
                    return;
                }
                if !self.kept(file, &stripped, outlet) {
                    return;
                }
                continue;
            };
            let clock = file.clock.clone().or_else(|| Some(format.clock.token().to_owned()));
            // A state that was printed in a session was there before the session was saved: nobody knows how long, and
            // several of them were not there at one time.
            let printed = names.command.is_some() && matches!(format.reads, Reads::State(_));
            let mtime = file.context.mtime.filter(|_| !printed);
            let context = Arc::new(Context { clock: self.domain(clock), mtime, ..(**file.context).clone() });
            let mut cutter = Cutter::new(head, section, format.cut, self.limit);
            cutter.begin(taken.0, taken.1);
            while let Some(mut piece) = cutter.next_piece() {
                let last = piece.last;
                self.settle(&mut piece, &cutter, &stripped, &context, outlet);
                if !piece.bytes.is_empty() && !hand_on(piece, &context, format, outlet) {
                    return;
                }
                if !self.kept(file, &stripped, outlet) {
                    return;
                }
                if last {
                    break;
                }
            }
            taken = stripped.borrow().given();
        }
        if self.flush(&mut left, file, outlet) {
            self.kept(file, &stripped, outlet);
        }
    }

    /// Gives a piece the places of its lines, and says what was skipped or cut where it stands in the file.
    fn settle<R: Read>(
        &self,
        piece: &mut Piece,
        cutter: &Cutter<R>,
        stripped: &RefCell<Stripped<'_>>,
        context: &Arc<Context>,
        outlet: &Outlet<Said>,
    ) {
        let mut stripped = stripped.borrow_mut();
        for mut record in std::mem::take(&mut piece.skipped) {
            if let Some(place) = stripped.place(record.line) {
                (record.line, record.offset) = (place.line, place.offset);
            }
            outlet.say(Said::Skipped { context: Arc::clone(context), record });
        }
        if let Some(why) = &piece.truncated {
            outlet.say(Said::Truncated { context: Arc::clone(context), offset: stripped.offset(), why: why.clone() });
        }
        let (lines, _) = cutter.taken();
        let open = i64::from(piece.last && !piece.bytes.ends_with(b"\n"));
        piece.around = Some(Arc::new(stripped.around(lines + open)));
    }

    /// Hands on the lines of the layers themselves.
    fn kept(&self, file: &Layered<'_>, stripped: &RefCell<Stripped<'_>>, outlet: &Outlet<Said>) -> bool {
        for loss in stripped.borrow_mut().losses() {
            outlet.say(Said::Lost { context: Arc::clone(file.context), loss });
        }
        let Some((bytes, around)) = stripped.borrow_mut().kept() else { return true };
        let piece = Piece { bytes, first_line: 1, first: true, around: Some(Arc::new(around)), ..Piece::default() };
        hand_on(piece, file.context, &session::FORMAT, outlet)
    }

    /// Hands on what no format read: a transcript, or what a terminal showed.
    fn flush(&self, left: &mut Left, file: &Layered<'_>, outlet: &Outlet<Said>) -> bool {
        let Left { text, places, names, .. } = std::mem::take(left);
        if text.iter().all(u8::is_ascii_whitespace) {
            return true;
        }
        let around = Around { first: 1, places, names: Arc::new(names) };
        let is_transcript =
            (transcript::FORMAT.sniff)(&Head { path: &file.context.path, bytes: &text, whole: true }) == Sniff::Yes;
        let format = if is_transcript { &transcript::FORMAT } else { &session::FORMAT };
        let clock = file.clock.clone().or_else(|| Some(format.clock.token().to_owned()));
        let context = Arc::new(Context { clock: self.domain(clock), ..(**file.context).clone() });
        let piece = Piece {
            bytes: text,
            first_line: 1,
            first: true,
            last: true,
            around: Some(Arc::new(around)),
            ..Piece::default()
        };
        hand_on(piece, &context, format, outlet)
    }
}

/// Losses that a file has from the start.
pub fn losses(kind: &str, empty: bool) -> Vec<loss::Loss> {
    match (empty, kind) {
        (true, _) => vec![loss::EMPTY_FILE],
        (false, "unread") => vec![loss::UNREAD_FILE],
        _ => Vec::new(),
    }
}
