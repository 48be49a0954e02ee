//! A zip: entries anywhere in a file, and a table of contents at its end (PKWARE's APPNOTE.TXT 6.3.10).
//!
//! ```text
//! ┌ header ┬ content ┐┌ header ┬ content ┐ …  ┌ table: name, sizes, where its header is; … ┐┌ end: where the table is, its size ┐
//! ```
//!
//! What unpacks to petabytes (Fifield, "A better zip bomb", 2019) has entries whose contents overlap: they are found by the table ahead
//! of reading any, and what no entry has is told. The table is read entry by entry: a million of them take no memory. Where it begins is computed here and told to the
//! crate `zip`, which would otherwise search the file for whatever looks like an entry of a table, and keep all that it finds.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;

use ::zip::extra_fields::ExtraField;
use ::zip::read::{ArchiveOffset, Config, ZipFile, ZipFileEntry};
use ::zip::unstable::read::ZipIterable;
use ::zip::{SUPPORTED_COMPRESSION_METHODS, ZipReadOptions};
use memchr::memmem;

use super::layout::{Layout, Unlisted};
use super::{Each, LONGEST_NAME, Member, What, named};

/// Entries of which it is found out where they lie: 24 MB. Nobody has a use for more of them in one archive.
const MOST: usize = 1 << 20;
/// Bytes of a comment of the archive at most.
const COMMENT: u64 = 0xffff;
/// Bytes of the end of a zip without its comment, of the end of a zip64 without what may follow it, and of what tells where that is.
const END: u64 = 22;
const END_64: u64 = 56;
const LOCATOR: usize = 20;
/// How far the end of a zip64 may lie ahead of what tells where it is, which is how long it may be.
const LONGEST_END_64: u64 = 1 << 20;

/// The file, of which much is sought and little is read at each place.
type Input = BufReader<File>;

/// Reads the entries of a zip, and tells what it has beside them. How many were left when nobody listened any more.
///
/// # Errors
/// Why it ends ahead of its end.
pub fn zip(file: File, each: Each<'_>) -> Result<u64, String> {
    let (mut archive, ends) = opened(file)?;
    let (overlapping, unlisted) = layout(&mut archive, &ends);
    let left = entries(&mut archive, &overlapping, &|_| true, each)?;
    if unlisted.bytes > 0 && left == 0 {
        each(Member { name: String::new(), mtime: None, what: What::Unlisted(unlisted) }, &mut io::empty());
    }
    Ok(left)
}

/// Reads those entries of a zip alone that have a name which is `wanted`. Where there is none the table is read, once, and nothing else.
///
/// # Errors
/// Why it ends ahead of its end.
pub fn zip_some(file: File, wanted: &dyn Fn(&str) -> bool, each: Each<'_>) -> Result<(), String> {
    let (mut archive, ends) = opened(file)?;
    let files = archive.files().map_err(|error| not_one(error.to_string()))?;
    if !files.map_while(Result::ok).any(|entry| wanted(&name_of(&entry))) {
        return Ok(());
    }
    let (overlapping, _) = layout(&mut archive, &ends);
    entries(&mut archive, &overlapping, wanted, each).map(|_| ())
}

fn not_one(why: String) -> String {
    format!("expected a zip with its table of contents at the end: {why}")
}

fn opened(file: File) -> Result<(ZipIterable<Input>, Ends), String> {
    let mut input = Input::with_capacity(4 << 10, file);
    let ends = ends(&mut input).map_err(not_one)?;
    let config = Config { archive_offset: ArchiveOffset::Known(ends.ahead) };
    let archive = ZipIterable::try_new(input, config).map_err(|error| not_one(error.to_string()))?;
    Ok((archive, ends))
}

fn entries(
    archive: &mut ZipIterable<Input>,
    overlapping: &[bool],
    wanted: &dyn Fn(&str) -> bool,
    each: Each<'_>,
) -> Result<u64, String> {
    let count = archive.len();
    let files = archive.files().map_err(|error| not_one(error.to_string()))?;
    let mut number = 0;
    while let Some(entry) = files.next() {
        let entry =
            entry.map_err(|error| format!("entry {} of {count} of its table of contents: {error}", number + 1))?;
        let overlaps = overlapping.get(number).copied();
        number += 1;
        // A folder, unless something is hidden in it.
        if (entry.is_dir() && entry.size() == 0 && overlaps == Some(false)) || !wanted(&name_of(&entry)) {
            continue;
        }
        if !one(entry, overlaps, files.reader_mut(), each) {
            return Ok((count - number) as u64);
        }
    }
    Ok(0)
}

fn name_of(entry: &ZipFileEntry<'_>) -> String {
    let bytes = entry.name_raw();
    named(&bytes[..bytes.len().min(LONGEST_NAME)])
}

/// Reads an entry. False once nobody listens any more.
fn one(entry: ZipFileEntry<'_>, overlaps: Option<bool>, input: &mut Input, each: Each<'_>) -> bool {
    let (name, length) = (name_of(&entry), entry.name_raw().len());
    let refused = match overlaps {
        None => Some(What::Damaged(format!("expected at most {MOST} entries"))),
        Some(true) => Some(What::Overlapping),
        Some(false) if length > LONGEST_NAME => {
            let why = format!("expected a name of at most {LONGEST_NAME} bytes, found {length}");
            Some(What::Damaged(why))
        }
        Some(false) if !SUPPORTED_COMPRESSION_METHODS.contains(&entry.compression()) => {
            let method = entry.compression();
            Some(What::Damaged(format!("expected a file that is stored or deflated, found {method}")))
        }
        Some(false) => special(entry.unix_mode().unwrap_or(0)).map(What::Special),
    };
    if let Some(what) = refused {
        return each(Member { name, mtime: None, what }, &mut io::empty());
    }
    let (is_link, size) = (entry.is_symlink(), entry.size());
    let mut file = match entry.with_reader(input, ZipReadOptions::new()) {
        Ok(file) => file,
        Err(error) => {
            let what = What::Damaged(error.to_string());
            return each(Member { name, mtime: None, what }, &mut io::empty());
        }
    };
    if is_link {
        let mut target = Vec::new();
        let read = file.by_ref().take(LONGEST_NAME as u64).read_to_end(&mut target);
        let what = read.map_or_else(|error| What::Damaged(error.to_string()), |_| What::Symbolic(named(&target)));
        return each(Member { name, mtime: None, what }, &mut io::empty());
    }
    let mtime = mtime(&file);
    each(Member { name, mtime, what: What::File(size) }, &mut file)
}

/// When a file was modified. Times without a zone, which is all that the table itself has, say nothing.
fn mtime(file: &ZipFile<'_, Input>) -> Option<i64> {
    file.extra_data_fields().find_map(|field| match field {
        ExtraField::ExtendedTimestamp(stamp) => stamp.mod_time().map(i64::from),
        _ => None,
    })
}

/// What an entry is that is neither file nor folder nor link, by the mode that Unix gave it.
fn special(mode: u32) -> Option<&'static str> {
    match mode & 0o170_000 {
        0o010_000 => Some("a pipe"),
        0o020_000 | 0o060_000 => Some("a device"),
        0o140_000 => Some("a socket"),
        _ => None,
    }
}

/// Of each entry, as far as they are looked at, whether its bytes belong to another one too; and the bytes of none.
fn layout(archive: &mut ZipIterable<Input>, ends: &Ends) -> (Vec<bool>, Unlisted) {
    let is_whole = archive.len() <= MOST;
    // What is wrong with the table is said when it is read for its entries.
    let Ok(files) = archive.files() else { return Default::default() };
    let mut layout = Layout::default();
    for entry in files.by_ref().map_while(Result::ok).take(MOST) {
        layout.add(entry.header_start(), entry.compressed_size());
    }
    let overlapping = layout.overlapping();
    let is_whole = is_whole && files.is_empty();
    let file = files.reader_mut().get_ref();
    let unlisted = if is_whole { layout.unlisted(file, ends.length, &ends.parts) } else { Unlisted::default() };
    (overlapping, unlisted)
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let mut wide = [0; 8];
    wide[..N].copy_from_slice(bytes.get(at..at + N)?);
    Some(u64::from_le_bytes(wide))
}

/// How a zip ends.
struct Ends {
    /// Bytes ahead of the archive, as of one that unpacks itself: its table ends where its end begins.
    ahead: u64,
    /// Bytes of the file.
    length: u64,
    /// The table, and the end with its comment.
    parts: [Range<u64>; 2],
}

fn ends(input: &mut Input) -> Result<Ends, String> {
    let failed = |error: io::Error| error.to_string();
    let length = input.seek(SeekFrom::End(0)).map_err(failed)?;
    let from = length.saturating_sub(END + COMMENT + END_64 + LOCATOR as u64);
    let mut tail = Vec::new();
    input.seek(SeekFrom::Start(from)).map_err(failed)?;
    input.take(length - from).read_to_end(&mut tail).map_err(failed)?;
    for at in memmem::find_iter(&tail, b"PK\x06\x07") {
        // Whatever lies between them is taken into memory.
        let place = number::<8>(&tail, at + 8).unwrap_or(0);
        if (from + at as u64).saturating_sub(place) > LONGEST_END_64 {
            return Err(format!("it has a zip64 whose end is longer than {LONGEST_END_64} bytes"));
        }
    }
    let comment = |at: &usize| number::<2>(&tail, at + 20);
    let fits = |at: &usize| comment(at).is_some_and(|comment| *at as u64 + END + comment <= tail.len() as u64);
    let Some(end) = memmem::rfind_iter(&tail, b"PK\x05\x06").find(fits) else {
        return Err("found no end of one".to_owned());
    };
    let mut begins_end = from + end as u64;
    let closes = begins_end + END + comment(&end).unwrap_or(0);
    let (mut size, mut begins) = (number::<4>(&tail, end + 12), number::<4>(&tail, end + 16));
    if let Some(locator) = end.checked_sub(LOCATOR).filter(|at| tail[*at..].starts_with(b"PK\x06\x07")) {
        // Directly ahead, unless something was added to it.
        let beside = (from + locator as u64).saturating_sub(END_64);
        for place in [beside, number::<8>(&tail, locator + 8).unwrap_or(0)] {
            if let Some(bytes) =
                at::<{ END_64 as usize }>(input, place).filter(|bytes| bytes.starts_with(b"PK\x06\x06"))
            {
                (begins_end, size, begins) = (place, number::<8>(&bytes, 40), number::<8>(&bytes, 48));
                break;
            }
        }
    }
    let (size, begins) = (size.unwrap_or(0), begins.unwrap_or(0));
    let ahead = begins_end.checked_sub(size).and_then(|table| table.checked_sub(begins)).unwrap_or(0);
    // Something else may stand between the table and the end.
    let is_table = at::<4>(input, ahead.saturating_add(begins)).is_some_and(|bytes| bytes == *b"PK\x01\x02");
    let ahead = if is_table { ahead } else { 0 };
    let table = ahead.saturating_add(begins);
    Ok(Ends { ahead, length, parts: [table..table.saturating_add(size), begins_end..closes] })
}

/// The bytes at a place, where there are so many.
fn at<const N: usize>(input: &mut Input, place: u64) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    input.seek(SeekFrom::Start(place)).ok()?;
    input.read_exact(&mut bytes).ok()?;
    Some(bytes)
}
