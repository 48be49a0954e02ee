//! What a layer is: something that others put around a capture, and how it is taken off.
//!
//! A layer is declared in a file of its own and listed in `layers/mod.rs`. It is recognised by content, takes lines as they were
//! captured and gives the lines that stood inside, each with its place in the file and with what the layer said of it.
//! Layers stack: what one gives is what the next one takes.

use std::collections::HashMap;
use std::sync::Arc;

use syncline_schema::loss::{self, Loss};

use crate::form::stamp::Dating;
use crate::form::{Head, Names, Place};

/// Puts a layer around a text.
pub type PutOn = fn(&[u8]) -> Vec<u8>;

/// One layer.
pub struct Layer {
    /// Stem of its file, as the manifest names it.
    pub name: &'static str,
    /// One line for people.
    pub title: &'static str,
    /// A short real sample.
    pub sample: &'static str,
    /// Whether its marks are its own, so that it is taken off ahead of asking any format. Another one is taken off only where no
    /// format reads the text as it stands and one does behind it.
    pub certain: bool,
    /// Recognises it, by content.
    pub wears: fn(&Head) -> bool,
    /// Begins to take it off.
    pub open: fn(&Setting) -> Box<dyn Peel>,
    /// Puts it around a text, as its program would: for tests and for `formats`. Null where nothing but a recording has it.
    pub put_on: Option<PutOn>,
}

/// What a layer may know of the file.
#[derive(Clone, Debug, Default)]
pub struct Setting {
    /// For times that lack something.
    pub dating: Dating,
    /// Bytes of a record at most.
    pub limit: usize,
}

/// A line that wears the layer.
#[derive(Clone, Copy, Debug)]
pub struct Dressed<'a> {
    /// Without its `\n`.
    pub bytes: &'a [u8],
    /// False for a last line without a line end.
    pub ended: bool,
}

/// Takes one layer off, line by line.
pub trait Peel {
    /// Takes a line.
    fn line(&mut self, line: &Dressed<'_>, out: &mut Out);

    /// Takes bytes as they come, for a layer that does not go by lines ([`Peel::by_bytes`]).
    fn bytes(&mut self, _bytes: &[u8], _out: &mut Out) {}

    /// Whether it wants bytes instead of lines. Only the outermost layer can have them.
    fn by_bytes(&self) -> bool {
        false
    }

    /// Gives what it still holds: the text ends here, or another section begins.
    fn end(&mut self, _out: &mut Out) {}
}

/// Names that were given so far; equal ones once.
#[derive(Debug)]
pub struct Register {
    all: Vec<Names>,
    indexes: HashMap<Names, u32>,
    last: u32,
    bytes: usize,
}

/// Bytes of names at most, far more than any capture has: further ones are left out, and that is said.
const MOST_NAMES: usize = 16 << 20;

impl Default for Register {
    fn default() -> Self {
        Self { all: vec![Names::default()], indexes: HashMap::from([(Names::default(), 0)]), last: 0, bytes: 0 }
    }
}

impl Register {
    /// The names behind an index.
    pub fn get(&self, index: u32) -> &Names {
        self.all.get(index as usize).unwrap_or(&self.all[0])
    }

    /// Index of some names; null where there are too many of them.
    pub fn index(&mut self, names: Names) -> Option<u32> {
        if *self.get(self.last) == names {
            return Some(self.last);
        }
        if let Some(known) = self.indexes.get(&names) {
            self.last = *known;
            return Some(self.last);
        }
        let bytes = size_of::<Names>() + names.texts().map(str::len).sum::<usize>();
        if self.bytes + bytes > MOST_NAMES {
            return None;
        }
        self.bytes += bytes;
        self.last = self.all.len() as u32;
        self.indexes.insert(names.clone(), self.last);
        self.all.push(names);
        Some(self.last)
    }

    /// The names of some places, which are then those of a list of their own: a piece of a file has few of them.
    pub fn of(&self, places: &mut [Place]) -> Arc<Vec<Names>> {
        let mut own = vec![Names::default()];
        let mut indexes = HashMap::from([(0, 0)]);
        let mut last = (0, 0);
        for place in places {
            if place.names != last.0 {
                let index = *indexes.entry(place.names).or_insert_with(|| {
                    own.push(self.get(place.names).clone());
                    own.len() as u32 - 1
                });
                last = (place.names, index);
            }
            place.names = last.1;
        }
        Arc::new(own)
    }
}

/// What a layer gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// A line that stood inside.
    Bare,
    /// A line of the layer itself: kept as a row of `logs`.
    Around,
    /// Another section begins: what follows was printed by another command, or is another file.
    Section,
}

/// One piece of what a layer gives.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    pub given: Given,
    /// Its bytes in [`Out::text`].
    pub from: usize,
    pub to: usize,
    pub ended: bool,
    pub place: Place,
}

/// Where a layer puts what it takes off and what is left.
#[derive(Debug, Default)]
pub struct Out {
    /// Bytes of all events.
    pub text: Vec<u8>,
    /// In order.
    pub events: Vec<Event>,
    /// What the layer knows to be missing.
    pub losses: Vec<Loss>,
    /// Names given so far.
    pub register: Register,
    place: Option<Place>,
    /// Whether it was said that names are left out.
    is_full: bool,
}

impl Out {
    /// Whatever follows stands at this place.
    pub fn at(&mut self, place: Place) {
        self.place = Some(place);
    }

    /// The place of the line that is taken.
    pub fn place(&self) -> Place {
        self.place.unwrap_or(Place::bare(0, 0))
    }

    /// Gives the line that was taken an outer time, ns, and its resolution, ns.
    pub fn time(&mut self, time: i64, resolution: i64) {
        let mut place = self.place();
        // The outermost time stays: it is of whoever saw the line last.
        if place.time == i64::MIN {
            (place.time, place.resolution) = (time, resolution);
        }
        self.place = Some(place);
    }

    /// Names the line that was taken: `change` gets what the layers around said already.
    pub fn name(&mut self, change: impl FnOnce(&mut Names)) {
        let mut place = self.place();
        let mut names = self.register.get(place.names).clone();
        change(&mut names);
        let index = self.register.index(names);
        if index.is_none() && !std::mem::replace(&mut self.is_full, true) {
            self.loss(loss::MEMORY_USED_UP);
        }
        place.names = index.unwrap_or(0);
        self.place = Some(place);
    }

    /// What the layers so far said of the line that is taken.
    pub fn names(&self) -> &Names {
        self.register.get(self.place().names)
    }

    /// Gives a line that stood inside.
    pub fn bare(&mut self, bytes: &[u8], ended: bool) {
        self.bare_at(self.place(), bytes, ended);
    }

    /// Gives a line that stood inside, at another place than that of the line taken last (a joined one).
    pub fn bare_at(&mut self, place: Place, bytes: &[u8], ended: bool) {
        self.event(Given::Bare, place, bytes, ended);
    }

    /// Keeps a line of the layer itself.
    pub fn around(&mut self, bytes: &[u8]) {
        self.event(Given::Around, self.place(), bytes, true);
    }

    /// Says that something is missing.
    pub fn loss(&mut self, loss: Loss) {
        self.losses.push(loss);
    }

    /// Another section begins.
    pub fn section(&mut self) {
        self.event(Given::Section, self.place(), &[], true);
    }

    fn event(&mut self, given: Given, place: Place, bytes: &[u8], ended: bool) {
        let from = self.text.len();
        self.text.extend_from_slice(bytes);
        self.events.push(Event { given, from, to: self.text.len(), ended, place });
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST_NAMES, Out};
    use crate::form::{Names, Place};

    fn named(out: &mut Out, command: String) -> u32 {
        out.at(Place::bare(1, 0));
        out.name(|names| names.command = Some(command.into()));
        out.place().names
    }

    #[test]
    fn names_are_few_bytes_and_a_piece_has_its_own() {
        let mut out = Out::default();
        let count = 200_000;
        let indexes: Vec<u32> = (0..count).map(|number| named(&mut out, format!("a{number:06}"))).collect();
        // As many again are the same ones, wherever they stand in the list.
        assert!((0..count).all(|number| named(&mut out, format!("a{number:06}")) == indexes[number as usize]));
        let kept = indexes.iter().filter(|index| **index > 0).count();
        assert!(kept * (size_of::<Names>() + 7) <= MOST_NAMES && kept > 50_000, "{kept}");
        assert_eq!(out.losses.len(), 1, "it is said once");
        let mut places: Vec<Place> = [0, 7, 7, 9].map(|names| Place { names, ..Place::bare(1, 0) }).into();
        let own = out.register.of(&mut places);
        assert_eq!((own.len(), places.iter().map(|place| place.names).collect::<Vec<_>>()), (3, vec![0, 1, 1, 2]));
        assert_eq!(own[2].command.as_deref(), Some("a000008"));
    }
}
