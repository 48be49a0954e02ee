//! What a format declares, and what its parser is given.

use syncline_schema::clock::ClockToken;

use super::batch::Batch;
use super::dissector::Dissector;
use super::line::{Chunk, Context};

/// Answer of a sniffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sniff {
    /// It is this format: a mark that no other format has was seen.
    Yes,
    /// It may be; the name decides.
    Perhaps,
    /// It is not.
    No,
}

/// The beginning of a file, decompressed.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Path relative to the argument, without `.gz` or `.zst`.
    pub path: &'a str,
    /// Up to 64 KiB, without a byte-order mark.
    pub bytes: &'a [u8],
    /// Whether `bytes` is the whole file.
    pub whole: bool,
}

/// Where a file of a format may be cut into chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// At any line end.
    Lines,
    /// Ahead of any line that begins with this mark (`# TIMESTAMP `); what stands ahead of the first mark goes with it.
    Marks(&'static str),
    /// Nowhere: the parser gets the whole file (which must fit the memory limit). Only a JSON document larger than a
    /// chunk is cut, between the elements of an array, into documents like it.
    Whole,
    /// At any line end; the first line that is not empty, the heading, is repeated ahead of each chunk.
    Headed,
}

/// What makes rows of a format.
#[derive(Clone, Copy)]
pub enum Reads {
    /// Parses one chunk.
    Rows(fn(&Context, &Chunk, &mut Batch)),
    /// States of a dataplane: their series is cut, stamped and judged once for all of them.
    State(&'static Dissector),
}

/// One format.
pub struct Format {
    /// Token: names the schema file, the parser, the sample folder and the goldens.
    pub kind: &'static str,
    /// One line for people.
    pub title: &'static str,
    /// Clock of its times, unless `--source` or `capture.toml` says otherwise.
    pub clock: ClockToken,
    pub cut: Cut,
    /// Decides from the beginning of a file.
    pub sniff: fn(&Head) -> Sniff,
    /// What makes rows of it.
    pub reads: Reads,
    /// A short real sample, as `formats` shows it.
    pub sample: &'static str,
    /// How it is recognised, in words.
    pub recognised: &'static str,
    /// The command that captures it.
    pub capture: &'static str,
    /// What it can prove.
    pub proves: &'static str,
}
