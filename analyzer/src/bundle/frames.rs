//! Tables as frames. A small one is read once, by the thread that asks, and kept: a run is asked seventy questions, most of them of
//! tables of a few thousand rows, and a scan that hands each to polars' other threads costs more than its answer.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use polars::prelude::{
    DataFrame, IntoLazy, LazyFrame, ParallelStrategy, ParquetReader, PlRefPath, ScanArgsParquet, SerReader,
};

/// Largest file that is read whole, bytes as it lies there.
const SMALL: u64 = 1 << 20;
/// Bytes of frames that are kept.
const MOST: usize = 64 << 20;

/// The small tables of a bundle that were read; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Frames(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    frames: BTreeMap<String, DataFrame>,
    bytes: usize,
}

impl Frames {
    /// A table's file as a frame.
    ///
    /// # Errors
    /// A file that is no Parquet.
    pub(super) fn of(&self, table: &str, file: &Path) -> anyhow::Result<LazyFrame> {
        let place = || format!("{}: expected a Parquet file", file.display());
        if let Some(known) = self.kept().frames.get(table) {
            return Ok(known.clone().lazy());
        }
        let opened = File::open(file).with_context(place)?;
        if opened.metadata().with_context(place)?.len() > SMALL {
            let path = file.to_str().with_context(|| format!("{}: expected a path in UTF-8", file.display()))?;
            let arguments = ScanArgsParquet { glob: false, ..ScanArgsParquet::default() };
            return LazyFrame::scan_parquet(PlRefPath::new(path), arguments).with_context(place);
        }
        let frame = ParquetReader::new(opened).read_parallel(ParallelStrategy::None).finish().with_context(place)?;
        let bytes = frame.estimated_size();
        let mut kept = self.kept();
        if kept.bytes + bytes <= MOST && kept.frames.insert(table.to_owned(), frame.clone()).is_none() {
            kept.bytes += bytes;
        }
        Ok(frame.lazy())
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
