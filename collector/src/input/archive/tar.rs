//! A tar: blocks of 512 bytes, a header ahead of each entry (POSIX.1-2024 pax, "ustar Interchange Format"; GNU's "Basic Tar Format").
//!
//! ```text
//! x│path=a very long name│ 0│content … │ 2 │ 1 │ L│longer than 100 bytes│ 0│content … │▁│▁│
//! └ says more of the next ┘ └─ file ───┘ link    └ its name ────────────┘             └ the end
//! ```
//!
//! The headers themselves are the crate `tar`'s. Its iterator is not used: it takes the whole of a long name and of extended headers into
//! memory, whatever their size, and ends at the first damaged header. Here names and extended headers have a size at most, and behind
//! damage reading goes on at the next header whose checksum is right.

use std::collections::HashMap;
use std::io::{self, Read};

use ::tar::{EntryType, GnuExtSparseHeader, GnuSparseHeader, Header};

use super::sparse::{Holes, Map, ahead};
use super::{Each, LONGEST_NAME, Member, What, named};

const BLOCK: u64 = 512;
/// Bytes of an extended header at most: extended attributes of a file have up to 64 KiB each.
const LONGEST_EXTENDED: usize = 1 << 20;

/// Reads the entries of a tar.
///
/// # Errors
/// Why it ends ahead of its end.
pub fn tar(reader: &mut dyn Read, each: Each<'_>) -> Result<(), String> {
    let mut blocks = Blocks { reader, at: 0 };
    let mut said = Said::default();
    let mut ended = false;
    let mut damaged = 0;
    loop {
        let mut header = Header::new_old();
        let from = blocks.at;
        if !blocks.block(header.as_mut_bytes())? {
            break;
        }
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            ended = true;
            continue;
        }
        if !is_header(&header) {
            damaged += BLOCK;
            continue;
        }
        // Archives may stand behind each other.
        if !tell_damage(&mut damaged, from, each) {
            return Ok(());
        }
        ended = false;
        if !blocks.says(&header, &mut said)? && !blocks.entry(&header, std::mem::take(&mut said), each)? {
            return Ok(());
        }
    }
    if !tell_damage(&mut damaged, blocks.at, each) {
        return Ok(());
    }
    if said.is_pending() {
        return Err("expected the entry that its last header says more of".to_owned());
    }
    if !ended {
        return Err("expected the empty blocks at the end of a tar: it may be cut off between two entries".to_owned());
    }
    Ok(())
}

fn tell_damage(damaged: &mut u64, at: u64, each: Each<'_>) -> bool {
    let bytes = std::mem::take(damaged);
    if bytes == 0 {
        return true;
    }
    let why = format!("expected a header at byte {}, found {bytes} bytes that are none", at - bytes);
    each(Member { name: String::new(), mtime: None, what: What::Damaged(why) }, &mut io::empty())
}

/// Whether the checksum is right, with bytes as numbers with or without a sign: old programs differed.
fn is_header(header: &Header) -> bool {
    let bytes = header.as_bytes();
    let others = || bytes[..148].iter().chain(&[b' '; 8]).chain(&bytes[156..]);
    let Some(stated) = number(&bytes[148..156]) else { return false };
    let signed: i64 = others().map(|byte| i64::from(byte.cast_signed())).sum();
    stated == others().map(|byte| u64::from(*byte)).sum::<u64>() || i64::try_from(stated) == Ok(signed)
}

/// A number of a header: octal digits, or in base 256 where its first bit is set. Nothing where it is negative, too large or none.
fn number(field: &[u8]) -> Option<u64> {
    if field.first()? & 0x80 != 0 {
        let mut value = u64::from(field[0] & 0x7f);
        for byte in &field[1..] {
            value = value.checked_mul(256)? | u64::from(*byte);
        }
        return Some(value);
    }
    let text = field.split(|byte| *byte == 0).find(|part| !part.is_empty()).unwrap_or_default();
    let digits = text.trim_ascii();
    digits.iter().try_fold(0u64, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

/// What headers said of the entry that comes.
#[derive(Default)]
struct Said {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    extended: Option<HashMap<String, Vec<u8>>>,
    /// Of the PAX formats 0.0 and 0.1: offset and length in turn.
    map: Vec<u64>,
    /// What is wrong with one of them.
    damaged: Option<String>,
}

impl Said {
    fn is_pending(&self) -> bool {
        self.name.is_some() || self.link.is_some() || self.extended.is_some() || self.damaged.is_some()
    }

    /// Reads the records `<length> <key>=<value>\n` of an extended header.
    fn extend(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        let wanted = || "expected the records of an extended header".to_owned();
        let records = self.extended.get_or_insert_default();
        while !bytes.is_empty() {
            let space = bytes.iter().take(20).position(|byte| *byte == b' ').ok_or_else(wanted)?;
            let length = std::str::from_utf8(&bytes[..space]).ok().and_then(|digits| digits.parse::<usize>().ok());
            let length = length.filter(|length| (space + 1..=bytes.len()).contains(length)).ok_or_else(wanted)?;
            let record = bytes[space + 1..length].strip_suffix(b"\n").ok_or_else(wanted)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(wanted)?;
            let (key, value) = (named(&record[..equals]), &record[equals + 1..]);
            match key.as_str() {
                "GNU.sparse.offset" | "GNU.sparse.numbytes" => self.map.push(decimal(value).ok_or_else(wanted)?),
                "GNU.sparse.map" => {
                    for one in value.split(|byte| *byte == b',') {
                        self.map.push(decimal(one).ok_or_else(wanted)?);
                    }
                }
                "path" | "linkpath" | "GNU.sparse.name" if value.len() > LONGEST_NAME => {
                    return Err(format!("expected a name of at most {LONGEST_NAME} bytes, found {}", value.len()));
                }
                // Others say nothing that is needed here.
                "path"
                | "linkpath"
                | "size"
                | "GNU.sparse.major"
                | "GNU.sparse.name"
                | "GNU.sparse.realsize"
                | "GNU.sparse.size" => {
                    records.insert(key, value.to_vec());
                }
                _ => {}
            }
            bytes = &bytes[length..];
        }
        Ok(())
    }

    /// Whether it is a sparse file of one of the PAX formats.
    fn is_sparse(&self) -> bool {
        self.record("GNU.sparse.realsize").or(self.record("GNU.sparse.size")).is_some()
    }

    /// The map of such a file: of format 1.0 it stands ahead of the content.
    fn map(&self, content: &mut Content<'_>, stored: u64) -> Result<Map, String> {
        let size = self.record("GNU.sparse.realsize").or(self.record("GNU.sparse.size"));
        let size = size.and_then(decimal).ok_or_else(of_numbers)?;
        if self.record("GNU.sparse.major") == Some(b"1") {
            let (map, taken) = ahead(content, size)?;
            return map.check(stored.saturating_sub(taken)).map(|()| map);
        }
        let mut map = Map { size, ..Map::default() };
        for pair in self.map.chunks(2) {
            map.push(pair[0], *pair.get(1).ok_or_else(of_numbers)?)?;
        }
        map.check(stored).map(|()| map)
    }

    fn record(&self, key: &str) -> Option<&[u8]> {
        self.extended.as_ref()?.get(key).map(Vec::as_slice)
    }
}

fn decimal(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

struct Blocks<'r> {
    reader: &'r mut dyn Read,
    at: u64,
}

impl Blocks<'_> {
    /// Reads a block; false at the end.
    fn block(&mut self, block: &mut [u8; 512]) -> Result<bool, String> {
        let mut read = 0;
        while read < block.len() {
            match self.reader.read(&mut block[read..]) {
                Ok(0) if read == 0 => return Ok(false),
                Ok(0) => return Err("expected a block of 512 bytes".to_owned()),
                Ok(count) => read += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        self.at += BLOCK;
        Ok(true)
    }

    /// Passes over what was not taken of an entry of so many bytes, and over what fills its last block.
    fn rest(&mut self, size: u64, taken: u64) -> Result<(), String> {
        let whole = size.div_ceil(BLOCK).saturating_mul(BLOCK);
        let left = whole - taken;
        let passed = io::copy(&mut self.reader.take(left), &mut io::sink()).map_err(|error| error.to_string())?;
        self.at += taken + passed;
        match passed < left {
            true => Err(format!("expected {size} bytes of an entry, found {}", (taken + passed).min(size))),
            false => Ok(()),
        }
    }

    /// What a header says of the next entry, of at most so many bytes; nothing where there are more.
    fn text(&mut self, size: u64, most: usize) -> Result<Option<Vec<u8>>, String> {
        if size > most as u64 {
            return self.rest(size, 0).map(|()| None);
        }
        let mut bytes = Vec::new();
        self.reader.take(size).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        self.rest(size, bytes.len() as u64).map(|()| Some(bytes))
    }

    /// Reads a header that only says something of the next entry; false where it is one of an entry.
    fn says(&mut self, header: &Header, said: &mut Said) -> Result<bool, String> {
        let kind = header.entry_type();
        let most = match kind {
            EntryType::GNULongName | EntryType::GNULongLink => LONGEST_NAME + 1,
            EntryType::XHeader => LONGEST_EXTENDED,
            _ if kind.as_byte() == b'X' => LONGEST_EXTENDED,
            // What holds for all entries behind it: nobody writes names or sizes there.
            EntryType::XGlobalHeader => 0,
            _ => return Ok(false),
        };
        let Some(size) = number(&header.as_old().size) else {
            said.damaged = Some("expected the size of a header as a number".to_owned());
            return Ok(true);
        };
        let Some(bytes) = self.text(size, most)? else {
            if most > 0 {
                said.damaged =
                    Some(format!("expected at most {most} bytes of a name or extended header, found {size}"));
            }
            return Ok(true);
        };
        let until_zero = |bytes: &[u8]| bytes.split(|byte| *byte == 0).next().unwrap_or_default().to_vec();
        match kind {
            EntryType::GNULongName => said.name = Some(until_zero(&bytes)),
            EntryType::GNULongLink => said.link = Some(until_zero(&bytes)),
            _ => {
                let wrong = said.extend(&bytes).err();
                said.damaged = said.damaged.take().or(wrong);
            }
        }
        Ok(true)
    }

    /// Reads an entry of which the header was read. False once nobody listens any more.
    fn entry(&mut self, header: &Header, said: Said, each: Each<'_>) -> Result<bool, String> {
        let kind = header.entry_type();
        let name = said.record("GNU.sparse.name").or(said.record("path")).or(said.name.as_deref());
        let name = name.map_or_else(|| header.path_bytes().into_owned(), <[u8]>::to_vec);
        let mtime = number(&header.as_old().mtime).and_then(|seconds| i64::try_from(seconds).ok());
        let member = |what: What| Member { name: named(&name), mtime, what };
        let size = said.record("size").map_or_else(|| number(&header.as_old().size), decimal);
        let link = || {
            let long = said.record("linkpath").or(said.link.as_deref());
            named(&long.map_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned(), <[u8]>::to_vec))
        };
        // Names of volumes and lists of what folders held say nothing of a capture, nor do folders.
        let is_folder = kind.is_dir() || matches!(kind.as_byte(), b'D' | b'V') || is_old_folder(header, &name);
        let what = match kind {
            EntryType::Link => Some(What::Hard(link())),
            EntryType::Symlink => Some(What::Symbolic(link())),
            EntryType::Char | EntryType::Block => Some(What::Special("a device")),
            EntryType::Fifo => Some(What::Special("a pipe")),
            _ if kind.as_byte() == b'M' => Some(What::Special("the rest of a file that begins in another volume")),
            // POSIX: whatever else it may be, it is read as a file.
            _ => None,
        };
        // Links, devices, folders and pipes have no content, whatever their size says; but pax may write that of a hard link.
        let has_content = match kind {
            EntryType::Link => said.extended.is_some(),
            EntryType::Symlink | EntryType::Char | EntryType::Block | EntryType::Fifo | EntryType::Directory => false,
            _ => true,
        };
        let Some(size) = size.or((!has_content).then_some(0)) else {
            let why = "expected the size of an entry as a number; the next one is searched for behind it";
            return Ok(each(member(What::Damaged(why.to_owned())), &mut io::empty()));
        };
        let size = if has_content { size } else { 0 };
        if is_folder {
            return self.rest(size, 0).map(|()| true);
        }
        let mut map = None;
        if what.is_none() && kind.is_gnu_sparse() {
            map = Some(self.map(header)?.and_then(|map| map.check(size).map(|()| map)));
        }
        let mut content = Content { reader: &mut *self.reader, left: size, taken: 0 };
        if what.is_none() && said.is_sparse() {
            map = Some(said.map(&mut content, size));
        }
        let goes_on = match (said.damaged, what, map) {
            (Some(why), _, _) | (None, None, Some(Err(why))) => each(member(What::Damaged(why)), &mut io::empty()),
            (None, Some(what), _) => each(member(what), &mut io::empty()),
            (None, None, Some(Ok(map))) => each(member(What::File(map.size)), &mut Holes::new(map, &mut content)),
            (None, None, None) => each(member(What::File(size)), &mut content),
        };
        let taken = content.taken;
        if goes_on { self.rest(size, taken).map(|()| true) } else { Ok(false) }
    }

    /// The map of a sparse file of GNU's old format, which goes on in blocks ahead of the content; or what was expected of it.
    fn map(&mut self, header: &Header) -> Result<Result<Map, String>, String> {
        let mut map = Ok(Map::default());
        let mut goes_on = false;
        if let Some(gnu) = header.as_gnu() {
            map = number(&gnu.realsize).map(|size| Map { size, ..Map::default() }).ok_or_else(of_numbers);
            map = add(map, &gnu.sparse);
            goes_on = gnu.is_extended();
        }
        while goes_on {
            let mut more = GnuExtSparseHeader::new();
            if !self.block(more.as_mut_bytes())? {
                return Err("expected the map of a sparse file to go on".to_owned());
            }
            map = add(map, more.sparse());
            goes_on = more.is_extended();
        }
        Ok(map)
    }
}

/// Adds the stretches that a block has to a map.
fn add(map: Result<Map, String>, part: &[GnuSparseHeader]) -> Result<Map, String> {
    let mut map = map?;
    for one in part.iter().filter(|one| !one.is_empty()) {
        let (offset, length) = number(&one.offset).zip(number(&one.numbytes)).ok_or_else(of_numbers)?;
        map.push(offset, length)?;
    }
    Ok(map)
}

fn of_numbers() -> String {
    "expected numbers in the map of a sparse file".to_owned()
}

/// Whether it is a folder as programs wrote it ahead of POSIX: a file whose name ends with a slash.
fn is_old_folder(header: &Header, name: &[u8]) -> bool {
    header.as_bytes()[156] == 0 && name.ends_with(b"/")
}

/// What is stored of an entry.
struct Content<'r> {
    reader: &'r mut dyn Read,
    left: u64,
    taken: u64,
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        // A decompressor takes it amiss to be asked for nothing.
        if most == 0 {
            return Ok(0);
        }
        let count = self.reader.read(&mut buffer[..most])?;
        if count == 0 {
            let what = format!("expected {} more bytes of the entry", self.left);
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
        }
        self.left -= count as u64;
        self.taken += count as u64;
        Ok(count)
    }
}
