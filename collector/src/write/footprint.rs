//! What a table comes to when its rows are read, before any of them is: a file of 430 KB may hold equal rows of 7 GB.
//!
//! The footer says how many rows there are and what columns they have. What it says of sizes is only what somebody wrote, so
//! the header of each page is read ([`super::page_header`]): it says into how many bytes the page unpacks, which no reader exceeds, and how
//! many values it has.
//!
//! ```text
//! numbers                          rows × width
//! texts, page of plain values      what the page unpacks to
//! texts, page of the dictionary    values × longest entry; counted value by value where that is much
//! ```
//!
//! Encodings that no bundle has are refused: a `DELTA_BYTE_ARRAY` makes a megabyte of two bytes.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::column::page::{Page as Unpacked, PageReader};
use parquet::column::reader::ColumnReader;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::serialized_reader::SerializedPageReader;
use syncline_schema::{Column, ColumnType};

use super::page_header::{self, Kind, PageHeader};
use super::page_numbers::{Page, Unpacker};

/// Bytes of a row's text beside its characters: pointer, length, capacity.
const TEXT: u64 = 24;
/// Largest page that is unpacked, bytes. Writers close a page at 1 MiB or behind the value that goes beyond; the longest record of a capture
/// is far below.
const PAGE: u64 = 256 << 20;
/// Texts of a column of a row group up to which the bound from its longest one will do, bytes.
const COARSE: u64 = 32 << 20;
/// Texts that are looked at together. They stay where the page has them.
const AT_ONCE: usize = 1024;
/// Row groups from which two threads look at them.
const MANY: usize = 16;
/// Bytes of a page's header that are read at first, and at most.
const HEADER: [usize; 2] = [256, 64 << 10];

/// What a table comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Bytes of all its rows, at most or (where texts are many) exactly.
    pub bytes: u64,
    /// Bytes of its longest text, at most.
    pub longest: u64,
}

/// The footprint of a table. `columns` are those that it may have.
///
/// # Errors
/// What of the file cannot be, in words.
pub fn of(file: &File, metadata: &ParquetMetaData, columns: &[Column]) -> Result<Footprint, String> {
    let size = file.metadata().map_err(|error| error.to_string())?.len();
    let groups: Vec<(usize, &RowGroupMetaData)> = metadata.row_groups().iter().enumerate().collect();
    let of = |groups: &[(usize, &RowGroupMetaData)]| of_groups(file, size, groups, columns);
    // Texts may be long: those of one row group at a time.
    let numbers_only = columns.iter().all(|column| column.kind != ColumnType::Text);
    let halves = groups.split_at_checked(groups.len() / 2).filter(|_| numbers_only && groups.len() > MANY);
    let Some((first, second)) = halves else { return of(&groups) };
    let (first, second) = std::thread::scope(|scope| {
        let second = scope.spawn(|| of(second));
        (of(first), second.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let (first, second) = (first?, second?);
    Ok(Footprint { bytes: first.bytes.saturating_add(second.bytes), longest: first.longest.max(second.longest) })
}

fn of_groups(
    file: &File,
    size: u64,
    groups: &[(usize, &RowGroupMetaData)],
    columns: &[Column],
) -> Result<Footprint, String> {
    let mut found = Footprint::default();
    let mut unpacker = Unpacker::default();
    for (group, rows) in groups {
        let number =
            u64::try_from(rows.num_rows()).map_err(|_| format!("row group {group} has {} rows", rows.num_rows()))?;
        for (at, chunk) in rows.columns().iter().enumerate() {
            let name = chunk.column_path().string();
            let place = |fault: String| format!("row group {group}, column {name}: {fault}");
            let kind = columns.iter().find(|column| column.name == name).map(|column| (column.kind, column.nullable));
            let Some((kind, nullable)) = kind else { return Err(place("no column of this table".to_owned())) };
            let pages = pages(file, chunk, size).map_err(place)?;
            split(chunk, &pages, kind, nullable).map_err(place)?;
            numbers(file, chunk, &pages, &mut unpacker).map_err(place)?;
            let pages: Vec<PageHeader> = pages.into_iter().map(|(header, _)| header).collect();
            let values: u64 = pages.iter().filter(|page| page.kind == Kind::Data).map(|page| page.values).sum();
            if values != number {
                return Err(place(format!("{values} values for {number} rows")));
            }
            let (width, optional) = match kind {
                ColumnType::Bool => (1, 1),
                ColumnType::I32 => (4, 4),
                ColumnType::I64 | ColumnType::F64 => (8, 8),
                ColumnType::Text => (TEXT, 0),
            };
            let width = width + if nullable { optional } else { 0 };
            found.bytes = found.bytes.saturating_add(number.saturating_mul(width));
            if kind == ColumnType::Text {
                let texts = Texts { file, group: *group, at, chunk, pages: &pages };
                let (bytes, longest) = texts.bound().map_err(place)?;
                let bytes = if bytes > COARSE { texts.counted().map_err(place)? } else { bytes };
                found.bytes = found.bytes.saturating_add(bytes);
                found.longest = found.longest.max(longest);
            }
        }
    }
    Ok(found)
}

/// Whether the pages of packed numbers have as many of them as they say.
fn numbers(
    file: &File,
    chunk: &ColumnChunkMetaData,
    pages: &[(PageHeader, u64)],
    unpacker: &mut Unpacker,
) -> Result<(), String> {
    let packed =
        |page: &&(PageHeader, u64)| page.0.kind == Kind::Data && page.0.encoding == page_header::DELTA_BINARY_PACKED;
    for (header, begin) in pages.iter().filter(packed) {
        let page = Page {
            file,
            begin: *begin,
            end: begin + header.packed,
            compression: chunk.compression(),
            values: header.values,
            nullable: chunk.column_descr().max_def_level() > 0,
        };
        page.check(unpacker)?;
    }
    Ok(())
}

/// Whether pages whose values are split into their bytes have as many of them as they say: the library believes the header, and looks for
/// bytes behind the end of the page.
fn split(
    chunk: &ColumnChunkMetaData,
    pages: &[(PageHeader, u64)],
    kind: ColumnType,
    nullable: bool,
) -> Result<(), String> {
    let of_bytes = |page: &&PageHeader| page.kind == Kind::Data && page.encoding == page_header::BYTE_STREAM_SPLIT;
    for page in pages.iter().map(|(header, _)| header).filter(of_bytes) {
        if kind != ColumnType::F64 || nullable || chunk.column_descr().max_def_level() > 0 {
            return Err("values split into bytes, where no bundle has them".to_owned());
        }
        let bytes = if chunk.compression() == Compression::UNCOMPRESSED { page.packed } else { page.unpacked };
        if page.values.checked_mul(8) != Some(bytes) {
            return Err(format!("a page of {bytes} bytes, where {} numbers are due", page.values));
        }
    }
    Ok(())
}

/// The pages of a column of a row group: header, and where what it packs begins.
fn pages(file: &File, chunk: &ColumnChunkMetaData, size: u64) -> Result<Vec<(PageHeader, u64)>, String> {
    let begin = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
    let (Ok(begin), Ok(length)) = (u64::try_from(begin), u64::try_from(chunk.compressed_size())) else {
        return Err("lies ahead of the file".to_owned());
    };
    let end = begin.checked_add(length).filter(|end| *end <= size).ok_or("lies behind the end of the file")?;
    let mut found = Vec::new();
    let mut at = begin;
    while at < end {
        let (header, length) = header(file, at, end)?;
        if header.size() > PAGE {
            return Err(format!("a page unpacks to {} bytes; {PAGE} are the most", header.size()));
        }
        if header.kind == Kind::Dictionary && !found.is_empty() {
            return Err("a dictionary behind other pages".to_owned());
        }
        let begin = at + length;
        at = begin.checked_add(header.packed).filter(|at| *at <= end).ok_or("a page goes beyond its column")?;
        found.push((header, begin));
    }
    Ok(found)
}

/// The header of a page, and its length.
fn header(file: &File, at: u64, end: u64) -> Result<(PageHeader, u64), String> {
    let mut fault = "has no page header where one is due";
    for most in HEADER {
        let mut bytes = vec![0; most.min(usize::try_from(end - at).unwrap_or(most))];
        file.read_exact_at(&mut bytes, at).map_err(|error| error.to_string())?;
        match page_header::read(&bytes) {
            Ok((header, length)) => return Ok((header, length as u64)),
            Err(found) => fault = found,
        }
    }
    Err(fault.to_owned())
}

/// A column of texts in a row group.
struct Texts<'a> {
    file: &'a File,
    group: usize,
    at: usize,
    chunk: &'a ColumnChunkMetaData,
    pages: &'a [PageHeader],
}

impl Texts<'_> {
    /// Bytes of all texts, and of the longest, at most.
    fn bound(&self) -> Result<(u64, u64), String> {
        let mut longest_entry = 0;
        if let Some(dictionary) = self.pages.iter().find(|page| page.kind == Kind::Dictionary) {
            longest_entry = dictionary.size();
            // Of a small one its whole size will do.
            let values: u64 = self.pages.iter().map(|page| page.values).sum();
            if values.saturating_mul(longest_entry) > COARSE / 8 {
                longest_entry = self.longest_entry()?;
            }
        }
        let (mut bytes, mut longest) = (0_u64, 0);
        for page in self.pages.iter().filter(|page| page.kind == Kind::Data) {
            let (all, one) = match page.encoding {
                page_header::PLAIN => (page.size(), page.size()),
                page_header::PLAIN_DICTIONARY | page_header::RLE_DICTIONARY => {
                    (page.values.saturating_mul(longest_entry), longest_entry)
                }
                other => return Err(format!("texts in encoding {other}, which no bundle has")),
            };
            bytes = bytes.saturating_add(all);
            longest = longest.max(one);
        }
        Ok((bytes, longest))
    }

    /// Length of the longest text of the dictionary.
    fn longest_entry(&self) -> Result<u64, String> {
        let file = Arc::new(self.file.try_clone().map_err(|error| error.to_string())?);
        let mut pages = SerializedPageReader::new(file, self.chunk, 0, None).map_err(|error| error.to_string())?;
        let page = pages.get_next_page().map_err(|error| error.to_string())?;
        let Some(Unpacked::DictionaryPage { buf, .. }) = page else {
            return Err("a dictionary behind its values".to_owned());
        };
        let (mut rest, mut longest) = (&buf[..], 0);
        while let Some((length, texts)) = rest.split_first_chunk::<4>() {
            let length = u32::from_le_bytes(*length);
            longest = longest.max(length);
            rest = usize::try_from(length)
                .ok()
                .and_then(|length| texts.get(length..))
                .ok_or("a dictionary that is cut")?;
        }
        Ok(u64::from(longest))
    }

    /// Bytes of all texts, counted one by one; none is copied.
    fn counted(&self) -> Result<u64, String> {
        let file = self.file.try_clone().map_err(|error| error.to_string())?;
        let reader = SerializedFileReader::try_from(file).map_err(|error| error.to_string())?;
        let group = reader.get_row_group(self.group).map_err(|error| error.to_string())?;
        let column = group.get_column_reader(self.at).map_err(|error| error.to_string())?;
        let ColumnReader::ByteArrayColumnReader(mut column) = column else {
            return Err("expected texts".to_owned());
        };
        let (mut levels, mut texts, mut bytes) = (Vec::new(), Vec::new(), 0_u64);
        loop {
            levels.clear();
            texts.clear();
            let read = column.read_records(AT_ONCE, Some(&mut levels), None, &mut texts);
            let (records, _, _) = read.map_err(|error| error.to_string())?;
            if records == 0 {
                return Ok(bytes);
            }
            bytes = bytes.saturating_add(texts.iter().map(|text| text.len() as u64).sum());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
    use arrow_schema::{DataType, Field, Schema};
    use parquet::arrow::ArrowWriter;
    use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
    use parquet::basic::{Compression, Encoding, ZstdLevel};
    use parquet::file::properties::WriterProperties;

    use super::*;

    const COLUMNS: [Column; 2] = [
        Column { name: "time", kind: ColumnType::I64, nullable: false, doc: "" },
        Column { name: "text", kind: ColumnType::Text, nullable: true, doc: "" },
    ];

    fn written(path: &Path, rows: usize, text: &dyn Fn(usize) -> Option<String>, properties: WriterProperties) {
        let schema = Arc::new(Schema::new(vec![
            Field::new("time", DataType::Int64, false),
            Field::new("text", DataType::Utf8, true),
        ]));
        let file = File::create(path).expect("a file");
        let mut writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties)).expect("a writer");
        for begin in (0..rows).step_by(64) {
            let all = begin..rows.min(begin + 64);
            let texts: StringArray = all.clone().map(text).collect();
            let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![7; all.len()])), Arc::new(texts)];
            writer.write(&RecordBatch::try_new(Arc::clone(&schema), columns).expect("rows")).expect("written");
        }
        writer.close().expect("closed");
    }

    fn properties() -> parquet::file::properties::WriterPropertiesBuilder {
        WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default()))
    }

    fn found(path: &Path) -> Result<Footprint, String> {
        let file = File::open(path).expect("a file");
        let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).expect("a footer");
        of(&file, metadata.metadata(), &COLUMNS)
    }

    #[test]
    fn a_small_file_of_equal_long_texts_comes_to_what_they_are() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.parquet");
        let long = "x".repeat(64 << 10);
        written(&path, 2048, &|_| Some(long.clone()), properties().build());
        assert!(std::fs::metadata(&path).expect("a file").len() < 64 << 10);
        let found = found(&path).expect("readable");
        assert_eq!(found, Footprint { bytes: 2048 * (8 + TEXT + (64 << 10)), longest: 64 << 10 });
    }

    #[test]
    fn one_long_text_among_short_ones_counts_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.parquet");
        let long = "y".repeat(64 << 10);
        let text = |at: usize| {
            if at == 7 { Some(long.clone()) } else { (!at.is_multiple_of(3)).then(|| format!("{}", at % 5)) }
        };
        written(&path, 4096, &text, properties().build());
        let exact: u64 = (0..4096).filter_map(text).map(|text| text.len() as u64).sum();
        assert_eq!(found(&path).expect("readable").bytes, 4096 * (8 + TEXT) + exact);
    }

    #[test]
    fn equal_rows_count_each_and_plain_texts_by_their_pages() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.parquet");
        written(&path, 200_000, &|_| Some("a".to_owned()), properties().build());
        assert!(std::fs::metadata(&path).expect("a file").len() < 64 << 10);
        let many = found(&path).expect("readable").bytes;
        assert!((200_000 * (8 + TEXT + 1)..=200_000 * (8 + TEXT + 32)).contains(&many), "{many}");
        written(&path, 1000, &|at| Some(format!("{at:08}")), properties().set_dictionary_enabled(false).build());
        let plain = found(&path).expect("readable").bytes;
        assert!((1000 * (8 + TEXT + 8)..1000 * (8 + TEXT + 16)).contains(&plain), "{plain}");
    }

    #[test]
    fn an_encoding_that_no_bundle_has_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.parquet");
        let properties = properties().set_dictionary_enabled(false).set_encoding(Encoding::DELTA_BYTE_ARRAY);
        let of_text = |builder: parquet::file::properties::WriterPropertiesBuilder| {
            builder.set_column_encoding("time".into(), Encoding::PLAIN).build()
        };
        written(&path, 100, &|at| Some(format!("{at}")), of_text(properties));
        let fault = found(&path).expect_err("refused");
        assert!(fault.contains("column text") && fault.contains("encoding 7"), "{fault}");
    }

    #[test]
    fn values_split_into_bytes_are_as_many_as_their_page_says() {
        const VALUES: [Column; 1] = [Column { name: "value", kind: ColumnType::F64, nullable: false, doc: "" }];
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.parquet");
        let properties = || {
            WriterProperties::builder()
                .set_dictionary_enabled(false)
                .set_column_encoding("value".into(), Encoding::BYTE_STREAM_SPLIT)
        };
        let write = |nullable: bool, properties: WriterProperties| {
            let schema = Arc::new(Schema::new(vec![Field::new("value", DataType::Float64, nullable)]));
            let file = File::create(&path).expect("a file");
            let mut writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties)).expect("a writer");
            let values: ArrayRef = Arc::new((0..100).map(f64::from).collect::<Float64Array>());
            writer.write(&RecordBatch::try_new(schema, vec![values]).expect("rows")).expect("written");
            writer.close().expect("closed");
        };
        let found = || {
            let file = File::open(&path).expect("a file");
            let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).expect("a footer");
            of(&file, metadata.metadata(), &VALUES)
        };
        write(false, properties().set_compression(Compression::ZSTD(ZstdLevel::default())).build());
        found().expect("readable");
        write(true, properties().build());
        let fault = found().expect_err("refused");
        assert!(fault.contains("column value: values split into bytes"), "{fault}");
        write(false, properties().build());
        found().expect("readable");
        // The header of the page: 800 bytes twice, then 100 values; each as twice its number, seven bits at a time.
        let bytes = std::fs::read(&path).expect("a file");
        let sizes = [0x15, 0xc0, 0x0c, 0x15, 0xc0, 0x0c];
        let at = bytes.windows(6).position(|six| six == sizes).expect("a header") + sizes.len();
        let at = at + bytes[at..].windows(2).position(|two| two == [0xc8, 0x01]).expect("100 values");
        for low in [0xc6, 0xca] {
            let mut other = bytes.clone();
            other[at] = low;
            std::fs::write(&path, other).expect("written");
            let fault = found().expect_err("refused");
            assert!(fault.contains("column value: a page of 800 bytes, where"), "{fault}");
        }
    }

    #[test]
    fn numbers_are_as_many_as_their_page_says() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.parquet");
        let properties = WriterProperties::builder()
            .set_column_dictionary_enabled("time".into(), false)
            .set_column_encoding("time".into(), Encoding::DELTA_BINARY_PACKED);
        written(&path, 100, &|_| None, properties.build());
        found(&path).expect("readable");
        // Blocks of 128 or 256 values in parts, then their count.
        let bytes = std::fs::read(&path).expect("a file");
        let at = bytes.windows(3).position(|three| three[1] < 3 && three[2] == 4 && three[0] == 0x80).expect("a block");
        assert_eq!(bytes[at + 3], 100);
        for count in [0, 1, 99, 101] {
            let mut other = bytes.clone();
            other[at + 3] = count;
            std::fs::write(&path, other).expect("written");
            let fault = found(&path).expect_err("refused");
            assert!(fault.contains("column time") && fault.contains("where 100 are due"), "{fault}");
        }
    }
}
