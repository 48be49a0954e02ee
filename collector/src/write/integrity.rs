//! Whether a bundle is whole: its tables are those of its manifest, byte for byte; and whether it can be read within some memory.
//!
//! | fault | found by |
//! |---|---|
//! | a manifest or table that is no file (a pipe, a device, a folder), or too long to be one | kind and size, before it is opened |
//! | a table deleted | the manifest lists it |
//! | a table cut, grown or replaced | bytes and SHA-256 of the manifest (format version 1 has no SHA-256) |
//! | two tables swapped, a table of another bundle | the same, and the columns with their types |
//! | a table with rows that nobody listed | rows of the Parquet footer, and of its row groups |
//! | a table that the manifest does not list | every file with the name of a table |
//! | a small file of many or long rows | what the rows come to ([`super::footprint`]) |
//!
//! Nothing that a manifest or a footer says is a size of memory or a path: tables have the names that are known.
//!
//! The cost is one pass over the files, beside the reading of the headers of their pages: a manifest has a BLAKE3 too, and only where that
//! is absent or differs the SHA-256 is asked, which takes several times as long and decides.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use syncline_schema::manifest::{MANIFEST, Manifest, Source, Table};
use syncline_schema::printable::printable;
use syncline_schema::{Column, FORMAT_VERSION, TABLES, is_possible};

use super::digest::{blake3, sha256};
use super::footprint::{self, Footprint};
use crate::form::columns::TableBuilder;
use crate::input::whole;

/// The first format version whose manifest has hashes of the tables.
const HASHED: u32 = 2;
/// Longest manifest, bytes: that of 100,000 files has 40 MB.
const LONGEST_MANIFEST: u64 = 64 << 20;
/// Longest footer of a table, bytes: that of a thousand million rows has 6 MB. A reader makes a structure of each of its bytes, at worst.
const LONGEST_FOOTER: u64 = 8 << 20;
/// Largest table, bytes, and the size beyond which its footer must account for what lies ahead of it before all of it is hashed: most of
/// a sparse file is nothing.
const LARGEST: u64 = 16 << 30;
const LARGE: u64 = 64 << 20;
/// What the tables of a bundle may come to where nothing else is said, bytes.
pub const MEMORY: u64 = 2 << 30;

/// Why a bundle is not read.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// The manifest cannot be read.
    #[error("{path}: {fault}")]
    Manifest {
        /// Its path.
        path: PathBuf,
        /// What was expected, and what is there.
        fault: String,
    },
    /// A table that is not what the manifest says.
    #[error("{bundle}: table {table}: {fault}: the bundle is damaged; make it again from its captures")]
    Damaged {
        /// The bundle's folder.
        bundle: String,
        /// Name of the table.
        table: String,
        /// What is wrong with it.
        fault: String,
    },
    /// Tables that come to more than the memory allows.
    #[error(
        "{bundle}: table {table}: {rows} rows in {bytes} bytes: the bundle's rows come to {needed} MiB when they are read, and {allowed} MiB are allowed: raise --memory if the bundle is to be trusted"
    )]
    TooLarge {
        /// The bundle's folder.
        bundle: String,
        /// Name of the table that comes to most.
        table: String,
        /// Its rows.
        rows: u64,
        /// Bytes of its file.
        bytes: u64,
        /// MiB of all tables.
        needed: u64,
        /// MiB.
        allowed: u64,
    },
}

/// What the tables of a whole bundle come to.
#[derive(Clone, Debug, Default)]
pub struct Whole {
    bundle: String,
    tables: Vec<(Table, Footprint)>,
}

impl Whole {
    /// Whether some tables can be in memory together.
    ///
    /// # Errors
    /// They come to more than `memory` (bytes).
    pub fn within(&self, memory: u64, wanted: impl Fn(&str) -> bool) -> Result<(), Unfit> {
        let own = || self.tables.iter().filter(|(table, _)| wanted(&table.name));
        let needed = own().fold(0_u64, |sum, (_, found)| sum.saturating_add(found.bytes));
        match own().max_by_key(|(_, found)| found.bytes) {
            Some((table, _)) if needed > memory => Err(Unfit::TooLarge {
                bundle: self.bundle.clone(),
                table: table.name.clone(),
                rows: table.rows,
                bytes: table.bytes,
                needed: needed >> 20,
                allowed: memory >> 20,
            }),
            _ => Ok(()),
        }
    }

    /// What all rows of all tables come to, bytes.
    pub fn bytes(&self) -> u64 {
        self.tables.iter().fold(0, |sum, (_, found)| sum.saturating_add(found.bytes))
    }

    /// How many rows of a table to decode at once, `most` at most: its texts may be long.
    pub fn rows_at_once(&self, table: &str, most: usize) -> usize {
        /// Bytes of texts of one column.
        const AT_ONCE: u64 = 16 << 20;
        let longest = self.tables.iter().find(|(one, _)| one.name == table).map_or(0, |(_, found)| found.longest);
        usize::try_from(AT_ONCE / longest.max(1)).unwrap_or(most).clamp(1, most)
    }
}

/// Whether there is something by the name of a manifest: then a folder is a bundle, or was meant to be one.
pub fn is_bundle(folder: &Path) -> bool {
    folder.join(MANIFEST).symlink_metadata().is_ok()
}

/// The manifest of a bundle.
///
/// # Errors
/// None, no file, one too long, no manifest, or that of a later format.
pub fn manifest(bundle: &Path) -> Result<Manifest, Unfit> {
    let path = bundle.join(MANIFEST);
    let wrong = |fault: String| Unfit::Manifest { path: path.clone(), fault };
    let io = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            let folder = bundle.display();
            wrong(format!(
                "expected a bundle, with a manifest; captures are bundled first: syncline-collector bundle {folder} --out BUNDLE"
            ))
        }
        _ => wrong(format!("expected the manifest of a bundle: {error}")),
    };
    let found = fs::metadata(&path).map_err(io)?;
    if !found.is_file() {
        return Err(wrong(
            "expected the manifest of a bundle, found no file (a folder, a pipe or a device)".to_owned(),
        ));
    }
    if found.len() > LONGEST_MANIFEST {
        let length = found.len();
        return Err(wrong(format!(
            "expected the manifest of a bundle, found {length} bytes; {LONGEST_MANIFEST} are the most, since it is held in memory whole: bundle parts of the capture one by one"
        )));
    }
    let text = whole(&path, LONGEST_MANIFEST).map_err(io)?;
    // Its version first: what a later one has is not known.
    #[derive(serde::Deserialize)]
    struct Version {
        format_version: u32,
    }
    let no_manifest = |error: serde_json::Error| wrong(format!("expected the manifest of a bundle: {error}"));
    let Version { format_version } = serde_json::from_slice(&text).map_err(no_manifest)?;
    if format_version > FORMAT_VERSION {
        return Err(wrong(format!(
            "bundle format {format_version} is newer than this program knows ({FORMAT_VERSION}): use a newer one"
        )));
    }
    let manifest: Manifest = serde_json::from_slice(&text).map_err(no_manifest)?;
    let times = |source: &Source| source.first.into_iter().chain(source.last).all(is_possible);
    match manifest.sources.iter().find(|source| !times(source)) {
        Some(source) => Err(wrong(format!("source {}: expected times between 1938 and 2100", printable(&source.path)))),
        None => Ok(manifest),
    }
}

/// Checks every table of a bundle.
///
/// # Errors
/// The first table that is not as the manifest lists it, or that the manifest does not list.
pub fn check(bundle: &Path, manifest: &Manifest) -> Result<Whole, Unfit> {
    let damaged = |table: &str, fault: String| Unfit::Damaged {
        bundle: bundle.display().to_string(),
        table: printable(table).into_owned(),
        fault,
    };
    let mut whole = Whole { bundle: bundle.display().to_string(), tables: Vec::new() };
    for (at, table) in manifest.tables.iter().enumerate() {
        let known = TABLES.iter().find(|(name, _)| *name == table.name);
        let Some((_, columns)) = known else {
            return Err(damaged(&table.name, "the manifest lists it, and no bundle has such a table".to_owned()));
        };
        if manifest.tables[..at].iter().any(|earlier| earlier.name == table.name) {
            return Err(damaged(&table.name, "the manifest lists it twice".to_owned()));
        }
        let found = one(bundle, table, columns, manifest.format_version);
        whole.tables.push((table.clone(), found.map_err(|fault| damaged(&table.name, fault))?));
    }
    for (name, _) in TABLES {
        let listed = manifest.tables.iter().any(|table| table.name == *name);
        if !listed && file_of(bundle, name).symlink_metadata().is_ok() {
            return Err(damaged(name, format!("{name}.parquet is there, and the manifest does not list it")));
        }
    }
    Ok(whole)
}

fn file_of(bundle: &Path, table: &str) -> PathBuf {
    bundle.join(format!("{table}.parquet"))
}

/// What one table comes to, or what is wrong with it.
fn one(bundle: &Path, table: &Table, columns: &[Column], version: u32) -> Result<Footprint, String> {
    let path = file_of(bundle, &table.name);
    let name = format!("{}.parquet", table.name);
    let of_file = |error: io::Error| format!("{name}: {error}");
    let found = match fs::metadata(&path) {
        Ok(found) if found.is_file() => found,
        Ok(_) => return Err(format!("{name} is no file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(format!("{name} is missing")),
        Err(error) => return Err(of_file(error)),
    };
    if found.len() != table.bytes {
        return Err(format!("{name} has {} bytes, the manifest says {}", found.len(), table.bytes));
    }
    let file = File::open(&path).map_err(of_file)?;
    footer_fits(&file, found.len()).map_err(|fault| format!("{name} {fault}"))?;
    let load = || {
        ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())
            .map_err(|error| format!("{name} is no whole Parquet file: {error}"))
    };
    if found.len() > LARGE {
        is_dense(&load()?, found.len()).map_err(|fault| format!("{name} {fault}"))?;
    }
    let layout = || layout(&file, &load()?, table, columns, version);
    let (same, layout) = if found.len() > BESIDE {
        std::thread::scope(|scope| {
            let same = scope.spawn(|| is_listed(&path, table, version));
            let layout = layout();
            (same.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), layout)
        })
    } else {
        let same = is_listed(&path, table, version);
        let layout = if matches!(same, Ok(true)) { layout() } else { Ok(Footprint::default()) };
        (same, layout)
    };
    match same.map_err(of_file)? {
        true => layout,
        false => Err(format!("{name} has other content than when the bundle was made (SHA-256)")),
    }
}

/// Size from which a file is hashed beside the reading of its headers, bytes.
const BESIDE: u64 = 1 << 20;

/// Whether a file has the content that the manifest lists.
fn is_listed(path: &Path, table: &Table, version: u32) -> io::Result<bool> {
    if table.sha256.is_empty() {
        return Ok(version < HASHED);
    }
    let known = !table.blake3.is_empty() && blake3(path)? == table.blake3;
    Ok(known || sha256(path)? == table.sha256)
}

/// What a table comes to by its footer and the headers of its pages, or what is wrong with them.
fn layout(
    file: &File,
    footer: &ArrowReaderMetadata,
    table: &Table,
    columns: &[Column],
    version: u32,
) -> Result<Footprint, String> {
    let name = format!("{}.parquet", table.name);
    let said = footer.metadata().file_metadata().num_rows();
    let mut groups = footer.metadata().row_groups().iter();
    let grouped = groups.try_fold(0_i64, |sum, group| sum.checked_add(group.num_rows()));
    if u64::try_from(said) != Ok(table.rows) || grouped != Some(said) {
        let grouped = grouped.map_or_else(|| "too many".to_owned(), |rows| rows.to_string());
        return Err(format!("{name} has {said} rows ({grouped} in its groups), the manifest says {}", table.rows));
    }
    let fields = footer.schema().fields();
    for (at, field) in fields.iter().enumerate() {
        let name_of = printable(field.name());
        if columns.iter().all(|column| column.name != field.name()) {
            return Err(format!("{name} has a column {name_of}, which is of no such table"));
        }
        if fields[..at].iter().any(|earlier| earlier.name() == field.name()) {
            return Err(format!("{name} has the column {name_of} twice"));
        }
    }
    for (expected, column) in TableBuilder::schema(columns).fields().iter().zip(columns) {
        match fields.iter().find(|field| field.name() == column.name) {
            Some(field) if field.data_type() != expected.data_type() => {
                let (found, expected) = (field.data_type(), expected.data_type());
                return Err(format!("{name}: column {}: expected {expected}, found {found}", column.name));
            }
            // Older versions lacked some.
            None if version == FORMAT_VERSION => return Err(format!("{name} has no column {}", column.name)),
            _ => {}
        }
    }
    if footer.parquet_schema().num_columns() != fields.len() {
        return Err(format!("{name} has columns within columns, or two of one name"));
    }
    footprint::of(file, footer.metadata(), columns).map_err(|fault| format!("{name}: {fault}"))
}

/// Whether rows are what a large file is of.
fn is_dense(footer: &ArrowReaderMetadata, length: u64) -> Result<(), String> {
    let columns = footer.metadata().row_groups().iter().flat_map(|group| group.columns());
    let packed: i128 = columns.map(|column| i128::from(column.compressed_size())).sum();
    if length > LARGEST {
        return Err(format!("has {length} bytes; {LARGEST} are the most"));
    }
    if i128::from(length) > packed + i128::from(LARGE) {
        return Err(format!("has {length} bytes, of which {packed} are rows"));
    }
    Ok(())
}

/// Whether a file ends as Parquet does, with a footer of a length that is one.
fn footer_fits(file: &File, length: u64) -> Result<(), String> {
    let mut end = [0; 8];
    let at = length.checked_sub(12).ok_or("is no whole Parquet file: too short")?;
    file.read_exact_at(&mut end, at + 4).map_err(|error| error.to_string())?;
    let (footer, mark) = (u32::from_le_bytes([end[0], end[1], end[2], end[3]]), &end[4..]);
    if mark != b"PAR1" {
        return Err("is no whole Parquet file: it does not end as one".to_owned());
    }
    if u64::from(footer) > LONGEST_FOOTER.min(at) {
        return Err(format!("is no whole Parquet file: a footer of {footer} bytes; {LONGEST_FOOTER} are the most"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use arrow_array::{ArrayRef, RecordBatch, StringArray};
    use parquet::arrow::ArrowWriter;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use syncline_schema::facts::FactRow;
    use syncline_schema::markers::MarkerRow;

    use super::*;
    use crate::write::tables::Tables;

    fn bundle(folder: &Path, markers: usize) -> Manifest {
        let mut tables = Tables::new(folder);
        for _ in 0..markers {
            tables.push(&MarkerRow { label: "action".into(), ..Default::default() }).expect("written");
        }
        tables.push(&FactRow { key: "node".into(), ..Default::default() }).expect("written");
        Manifest { format_version: FORMAT_VERSION, tables: tables.close().expect("closed"), ..Manifest::default() }
    }

    /// Does something to a bundle of two tables; answers what is said of it.
    fn said(fault: impl FnOnce(&Path, &mut Manifest)) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        let mut manifest = bundle(folder.path(), 3);
        check(folder.path(), &manifest).expect("a whole bundle");
        fault(folder.path(), &mut manifest);
        check(folder.path(), &manifest).expect_err("damaged").to_string()
    }

    fn at(folder: &Path, table: &str) -> PathBuf {
        file_of(folder, table)
    }

    #[test]
    fn every_damage_names_the_table() {
        let of = MarkerRow::TABLE;
        let expect = |found: String, table: &str, part: &str| {
            assert!(found.contains(&format!("table {table}: ")) && found.contains(part), "{part}: {found}");
        };
        expect(said(|folder, _| fs::remove_file(at(folder, of)).expect("removed")), of, "is missing");
        expect(
            said(|folder, _| {
                fs::remove_file(at(folder, of)).expect("removed");
                fs::create_dir(at(folder, of)).expect("made");
            }),
            of,
            "is no file",
        );
        expect(
            said(|folder, _| {
                let bytes = fs::read(at(folder, of)).expect("read");
                fs::write(at(folder, of), &bytes[..bytes.len() / 2]).expect("written");
            }),
            of,
            "bytes",
        );
        expect(
            said(|folder, _| {
                let mut bytes = fs::read(at(folder, of)).expect("read");
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                fs::write(at(folder, of), bytes).expect("written");
            }),
            of,
            "SHA-256",
        );
        expect(
            said(|folder, manifest| {
                // Another bundle's table, listed with its own size and hash: rows tell.
                let other = tempfile::tempdir().expect("a folder");
                let theirs = bundle(other.path(), 4).tables.into_iter().find(|one| one.name == of).expect("listed");
                fs::copy(at(other.path(), of), at(folder, of)).expect("copied");
                let mine = manifest.tables.iter_mut().find(|one| one.name == of).expect("listed");
                (mine.bytes, mine.sha256) = (theirs.bytes, theirs.sha256);
            }),
            of,
            "has 4 rows",
        );
        expect(
            said(|folder, manifest| {
                fs::rename(at(folder, FactRow::TABLE), at(folder, of)).expect("moved");
                let facts = manifest.tables.iter().find(|one| one.name == FactRow::TABLE).expect("listed").clone();
                manifest.tables = vec![Table { name: of.to_owned(), ..facts }];
            }),
            of,
            "of no such table",
        );
        expect(
            said(|folder, _| {
                let copied = fs::copy(at(folder, of), at(folder, "syncs"));
                assert!(copied.is_ok(), "copied");
            }),
            "syncs",
            "does not list it",
        );
        expect(said(|_, manifest| manifest.tables[0].name = "../x".to_owned()), "../x", "no bundle has such a table");
        let twice = said(|_, manifest| manifest.tables.push(manifest.tables[0].clone()));
        assert!(twice.contains("lists it twice"), "{twice}");
        expect(said(|_, manifest| manifest.tables[0].sha256.clear()), of, "SHA-256");
    }

    /// A table of markers in which columns are replaced, listed as it is.
    fn with_columns(replace: impl Fn(&str) -> Vec<(String, ArrayRef)>) -> Result<Whole, Unfit> {
        let folder = tempfile::tempdir().expect("a folder");
        let mut manifest = bundle(folder.path(), 3);
        let path = at(folder.path(), MarkerRow::TABLE);
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).expect("opened")).expect("Parquet");
        let rows = reader.build().expect("Parquet").next().expect("rows").expect("rows");
        let schema = rows.schema();
        let columns = schema.fields().iter().enumerate().flat_map(|(at, field)| match replace(field.name()) {
            none if none.is_empty() => vec![(field.name().clone(), Arc::clone(rows.column(at)))],
            others => others,
        });
        let rows = RecordBatch::try_from_iter(columns.collect::<Vec<_>>()).expect("columns of one length");
        let mut writer =
            ArrowWriter::try_new(File::create(&path).expect("made"), rows.schema(), None).expect("a writer");
        writer.write(&rows).expect("written");
        writer.close().expect("closed");
        let listed = manifest.tables.iter_mut().find(|one| one.name == MarkerRow::TABLE).expect("listed");
        listed.bytes = fs::metadata(&path).expect("there").len();
        listed.sha256 = sha256(&path).expect("hashed");
        check(folder.path(), &manifest)
    }

    #[test]
    fn a_column_has_the_type_of_its_table_and_stands_there_once() {
        let texts = || -> ArrayRef { Arc::new(StringArray::from(vec!["x"; 3])) };
        with_columns(|_| Vec::new()).expect("the columns of the table");
        with_columns(|name| if name == "label" { vec![(name.to_owned(), texts())] } else { Vec::new() })
            .expect("other texts");
        let said = |result: Result<Whole, Unfit>| result.expect_err("damaged").to_string();
        let of_type =
            said(with_columns(|name| if name == "source" { vec![(name.to_owned(), texts())] } else { Vec::new() }));
        assert!(of_type.contains("column source: expected Int32, found Utf8"), "{of_type}");
        let twice = said(with_columns(|name| {
            if name == "label" { vec![(name.to_owned(), texts()), (name.to_owned(), texts())] } else { Vec::new() }
        }));
        assert!(twice.contains("the column label twice"), "{twice}");
    }

    #[test]
    fn the_first_version_has_no_hashes() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut manifest = bundle(folder.path(), 1);
        manifest.format_version = 1;
        manifest.tables.iter_mut().for_each(|table| table.sha256.clear());
        check(folder.path(), &manifest).expect("whole");
        manifest.tables[0].bytes += 1;
        check(folder.path(), &manifest).expect_err("another size");
    }
}
