//! The entries of an archive, one by one and in order, none of them left out.
//!
//! ```text
//! tar ─┐                 ┌ a file: its name and what is in it
//!      ├─▶ each entry is ┤
//! zip ─┘                 └ anything else: what it is, and why it is not read
//! ```
//!
//! Archives come from strangers. Names, sizes and counts in their headers are what somebody wrote there: nothing is allocated by them,
//! nothing is written under them, and what is held at one time is bounded by the constants of this folder.

mod layout;
mod sparse;
mod tar;
mod zip;

pub use self::layout::Unlisted;
pub use self::tar::tar;
pub use self::zip::{zip, zip_some};

use std::io::Read;

/// Bytes of a name at most: as many as a path may have.
const LONGEST_NAME: usize = 4096;

/// One entry of an archive.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// As it stands there, what is no UTF-8 replaced; empty where the place has none.
    pub name: String,
    /// Modification time, s since 1970, where it is said with its zone.
    pub mtime: Option<i64>,
    /// What it is.
    pub what: What,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A file; its size as the archive states it, which is a hint.
    File(u64),
    /// A symbolic link to a path.
    Symbolic(String),
    /// Another name of an entry ahead of it.
    Hard(String),
    /// No file: what instead.
    Special(&'static str),
    /// It cannot be read: what was expected.
    Damaged(String),
    /// A file whose bytes belong to another entry too.
    Overlapping,
    /// No entry: what of the archive belongs to none.
    Unlisted(Unlisted),
}

/// Told of each entry; of a file also what is in it, as far as that is read. Ends the reading by `false`.
pub type Each<'e> = &'e mut dyn FnMut(Member, &mut dyn Read) -> bool;

/// A name as text.
fn named(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
