//! What the tests of the parsers share: contexts, chunks, and the real captures where they are at hand.

use std::path::{Path, PathBuf};

use crate::form::stamp;
use crate::form::{Batch, Chunk, Context, Format, Head};

/// A context without year and zone; the file's modification time is one second after the epoch.
pub fn context() -> Context {
    Context {
        source: 0,
        path: "fixture".to_owned(),
        clock: "node".to_owned(),
        node: "node".to_owned(),
        year: None,
        utc_offset: None,
        mtime: Some(1_000_000_000),
    }
}

/// A whole file as one chunk.
pub fn whole(bytes: &[u8]) -> Chunk<'_> {
    Chunk { bytes, first_line: 1, offset: 0, first: true, last: true, truncated: false, around: None }
}

/// Parses a text as one chunk.
pub fn parse_text(format: &Format, text: &str) -> Batch {
    parse_in(format, &context(), text)
}

/// Parses a text as one chunk in a context.
pub fn parse_in(format: &Format, context: &Context, text: &str) -> Batch {
    let mut batch = Batch::default();
    super::read(format, context, &whole(text.as_bytes()), &mut batch);
    batch
}

/// A text without the times that `kubectl logs --timestamps` put ahead of its lines.
pub fn untimed(bytes: &[u8]) -> Vec<u8> {
    if !bytes.starts_with(b"20") {
        return bytes.to_vec();
    }
    let bare = |line: &'_ [u8]| stamp::ahead(line).map_or(0, |(_, at)| at);
    bytes.split_inclusive(|byte| *byte == b'\n').flat_map(|line| line[bare(line)..].to_vec()).collect()
}

/// The head of a file.
pub fn head<'a>(path: &'a str, bytes: &'a [u8]) -> Head<'a> {
    Head { path, bytes: &bytes[..bytes.len().min(64 << 10)], whole: bytes.len() <= 64 << 10 }
}

/// Folder with the real captures, beside the workspace.
fn shared() -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    ["../shared", "../../shared"].iter().map(|place| workspace.join(place)).find(|path| path.is_dir())
}

/// All files below some folders of the corpus, decompressed; none (and a word on it) where it is not at hand.
pub fn corpus_files(folders: &[&str]) -> Vec<(String, Vec<u8>)> {
    files(&folders.iter().map(|folder| format!("corpus/{folder}")).collect::<Vec<_>>())
}

/// All files below some folders of the real captures and the corpus.
pub fn files(folders: &[String]) -> Vec<(String, Vec<u8>)> {
    let Some(shared) = shared() else {
        eprintln!("skipped: no folder ../shared beside the workspace");
        return Vec::new();
    };
    let mut found = Vec::new();
    for folder in folders {
        collect(&shared.join(folder), &mut found);
    }
    found.sort();
    found
        .into_iter()
        .filter_map(|path| {
            let bytes = std::fs::read(&path).ok()?;
            let name = path.strip_prefix(&shared).ok()?.to_string_lossy().into_owned();
            match name.strip_suffix(".zst") {
                Some(plain) => {
                    let mut decoder = zstd::Decoder::new(&bytes[..]).ok()?;
                    decoder.window_log_max(31).ok()?;
                    let mut plain_bytes = Vec::new();
                    // A frame that was cut off is good up to there.
                    let _ = std::io::Read::read_to_end(&mut decoder, &mut plain_bytes);
                    Some((plain.to_owned(), plain_bytes))
                }
                None => Some((name, bytes)),
            }
        })
        .collect()
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    if folder.is_file() {
        found.push(folder.to_owned());
        return;
    }
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        collect(&entry.path(), found);
    }
}

/// The facts of a batch, as `key=value`.
pub fn facts(batch: &mut Batch) -> Vec<String> {
    let mut found = Vec::new();
    for mut table in batch.take_tables().into_iter().filter(|table| table.table == "facts") {
        let rows = table.finish().expect("rows");
        let text = |name: &str, row: usize| {
            let column = rows.column_by_name(name).expect("the column");
            arrow_array::cast::AsArray::as_string::<i32>(column).value(row).to_owned()
        };
        found.extend((0..rows.num_rows()).map(|row| format!("{}={}", text("key", row), text("value", row))));
    }
    found
}
