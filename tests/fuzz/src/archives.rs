//! Archives, through the whole of `bundle`: tar and zip whose headers say what no program writes.
//!
//! Types of entries, sizes, GNU long names, PAX headers, sparse files, archives in archives, compressed and cut.

use std::io::{Cursor, Write};

use arbitrary::{Arbitrary, Unstructured};
use syncline_collector::bundle::BundleOptions;
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

use crate::captures::{bundled, options};
use crate::content::{Content, Edit, Packed, edited};
use crate::{mutation, places};

/// Entries of an archive at most.
const MOST_ENTRIES: usize = 12;

/// Types of tar's entries: files, links, devices, folders, pipes, contiguous and sparse ones, headers of PAX and GNU, and none.
const TYPES: &[u8] = b"00000\x001234567SLKxgXVMDA\xff";

/// Names of entries.
const NAMES: [&str; 16] = [
    "a.log",
    "capture.toml",
    "k8s/audit.jsonl.gz",
    "wal/00000000",
    "chunks_head/000001",
    "b/index",
    "b/chunks/000001",
    "b/meta.json",
    "../../etc/passwd",
    "/etc/passwd",
    "",
    "././@LongLink",
    "inner.tar",
    "inner.zip",
    "a\u{202e}gol.",
    "x/",
];

/// Names of PAX records.
const KEYS: [&str; 10] = [
    "path",
    "linkpath",
    "size",
    "mtime",
    "GNU.sparse.map",
    "GNU.sparse.major",
    "GNU.sparse.realsize",
    "uid",
    "comment",
    "",
];

/// An archive.
#[derive(Arbitrary, Debug)]
pub struct Archive {
    is_zip: bool,
    entries: Vec<Entry>,
    unfinished: bool,
    edits: Vec<Edit>,
    packed: Packed,
}

#[derive(Arbitrary, Debug)]
struct Entry {
    name: u8,
    kind: u8,
    /// Where it is not that of the content.
    size: Option<u64>,
    mtime: u64,
    inner: Inner,
    /// Of the header, behind which the checksum is made right.
    header: Vec<(u16, u8)>,
    deflated: bool,
}

#[derive(Arbitrary, Debug)]
enum Inner {
    File(Content),
    Name { letter: u8, times: u16 },
    Pax(Vec<(u8, Vec<u8>)>),
    Archive(Box<Archive>),
}

/// Takes an input.
pub fn run(data: &[u8]) {
    let Ok(archive) = Archive::arbitrary_take_rest(Unstructured::new(data)) else { return };
    let folder = places::folder();
    let input = folder.path().join(if archive.is_zip { "run.zip" } else { "run.tar" });
    places::write(&input, &archive.bytes());
    bundled(&BundleOptions { inputs: vec![input], ..options(folder.path()) });
}

impl Archive {
    fn bytes(&self) -> Vec<u8> {
        let bytes = if self.is_zip { self.zip() } else { self.tar() };
        self.packed.pack(edited(bytes, &self.edits))
    }

    fn tar(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for entry in self.entries.iter().take(MOST_ENTRIES) {
            let content = entry.inner.bytes();
            let mut header = tar::Header::new_gnu();
            let raw = header.as_mut_bytes();
            let name = NAMES[usize::from(entry.name) % NAMES.len()].as_bytes();
            raw[..name.len()].copy_from_slice(name);
            header.set_entry_type(tar::EntryType::new(TYPES[usize::from(entry.kind) % TYPES.len()]));
            header.set_size(entry.size.unwrap_or(content.len() as u64));
            header.set_mtime(entry.mtime);
            header.set_mode(0o644);
            for (at, byte) in &entry.header {
                header.as_mut_bytes()[usize::from(*at) % 512] = *byte;
            }
            header.set_cksum();
            out.extend_from_slice(header.as_bytes());
            out.extend_from_slice(&content);
            out.resize(out.len().next_multiple_of(512), 0);
        }
        if !self.unfinished {
            out.resize(out.len() + 1024, 0);
        }
        out
    }

    fn zip(&self) -> Vec<u8> {
        let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (number, entry) in self.entries.iter().take(MOST_ENTRIES).enumerate() {
            let method = if entry.deflated { CompressionMethod::Deflated } else { CompressionMethod::Stored };
            let options = SimpleFileOptions::default().compression_method(method);
            // No two may have one name, as far as the library that writes them goes.
            let name = format!("{number}/{}", NAMES[usize::from(entry.name) % NAMES.len()]);
            if archive.start_file(name, options).is_ok() {
                archive.write_all(&entry.inner.bytes()).expect("memory has no errors");
            }
        }
        archive.finish().map(Cursor::into_inner).unwrap_or_default()
    }
}

impl Inner {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Inner::File(content) => content.bytes(),
            Inner::Name { letter, times } => vec![*letter; usize::from(*times)],
            Inner::Pax(records) => {
                let mut out = Vec::new();
                for (key, value) in records {
                    let key = KEYS[usize::from(*key) % KEYS.len()];
                    // The length counts itself: two digits and three are what such records have.
                    let rest = key.len() + value.len() + 3;
                    let length = if rest + 2 < 100 { rest + 2 } else { rest + 3 };
                    out.extend_from_slice(format!("{length} {key}=").as_bytes());
                    out.extend_from_slice(value);
                    out.push(b'\n');
                }
                out
            }
            Inner::Archive(archive) => archive.bytes(),
        }
    }
}

/// Bytes without order: each is an archive.
pub fn seeds() -> Vec<Vec<u8>> {
    mutation::noise(300)
}
