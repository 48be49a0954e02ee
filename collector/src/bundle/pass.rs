//! The sequential pass: identifiers, staleness, snapshot differences, losses, the manifest.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Int64Array, RecordBatch};
use sha2::{Digest, Sha256};
use syncline_schema::facts::FactRow;
use syncline_schema::loss::{self, Loss, LossRow, Severity};
use syncline_schema::manifest::{LossEntry, MANIFEST, Manifest, Source};
use syncline_schema::rejects::RejectRow;
use syncline_schema::{FORMAT_VERSION, is_possible};

use crate::bundle::capture_toml::Statements;
use crate::bundle::options::{BundleError, BundleOptions, Summary};
use crate::bundle::pipeline::{self, Step};
use crate::bundle::said::Said;
use crate::form::Context;
use crate::form::batch::NAME_SERIES;
use crate::form::ledger::Ledger;
use crate::write::gaps::Stamps;
use crate::write::samples::{REFUSED, Samples};
use crate::write::snapshots::{Encoded, Encoder};
use crate::write::tables::{Tables, WriteError};

/// The sequential pass.
pub struct Pass {
    tables: Tables,
    samples: Samples,
    encoder: Encoder,
    sources: Vec<Source>,
    contexts: Vec<Arc<Context>>,
    scrape_stamps: Stamps,
    snapshot_stamps: Stamps,
    losses: BTreeMap<(Option<i32>, &'static str), (Loss, u64)>,
    versions: BTreeMap<String, String>,
    complaints: Vec<(Severity, String)>,
}

impl Pass {
    /// A pass that writes to `folder`.
    /// What is kept is taken from `ledger`.
    pub fn new(folder: &Path, ledger: Ledger) -> Self {
        Self {
            tables: Tables::new(folder),
            scrape_stamps: Stamps::new(&ledger),
            snapshot_stamps: Stamps::new(&ledger),
            samples: Samples::new(ledger.clone()),
            encoder: Encoder::new(ledger),
            sources: Vec::new(),
            contexts: Vec::new(),
            losses: BTreeMap::new(),
            versions: BTreeMap::new(),
            complaints: Vec::new(),
        }
    }

    fn loss(&mut self, source: i32, loss: Loss, count: u64) {
        self.losses.entry((Some(source), loss.name)).or_insert((loss, 0)).1 += count;
    }

    fn reject(&mut self, context: &Context, line: i64, offset: i64, reason: String) -> Result<(), WriteError> {
        if let Some(source) = self.sources.get_mut(context.source as usize) {
            source.rejected += 1;
        }
        self.loss(context.source, loss::REJECTED_RECORDS, 1);
        self.tables.push(&RejectRow {
            source: context.source,
            record: line,
            offset,
            reason: reason.into(),
            ..Default::default()
        })
    }

    /// A place of a source that is no record: listed and counted with the rejects, and a loss of its own kind.
    fn note(&mut self, context: &Context, offset: i64, reason: String, severity: Severity) -> Result<(), WriteError> {
        let source = context.source;
        if let Some(known) = self.sources.get_mut(source as usize) {
            known.rejected += 1;
            let told = self.complaints.iter().filter(|(other, _)| *other >= severity).count();
            if told < Summary::COMPLAINTS {
                self.complaints.push((severity, format!("{}: {reason}", known.path)));
            }
        }
        self.tables.push(&RejectRow { source, record: 0, offset, reason: reason.into(), ..Default::default() })
    }

    /// Takes every step.
    ///
    /// # Errors
    /// A table that cannot be written.
    pub fn take(&mut self, steps: &mut dyn Iterator<Item = Step<Said>>) -> Result<(), BundleError> {
        for step in steps {
            match step {
                Step::Said(Said::Begin { source, context, losses }) => {
                    for loss in losses {
                        self.losses.insert((Some(context.source), loss.name), (loss, 1));
                    }
                    self.sources.push(source);
                    self.contexts.push(context);
                }
                Step::Said(Said::Skipped { context, record }) => {
                    self.loss(context.source, loss::RECORD_TOO_LONG, 1);
                    self.reject(
                        &context,
                        record.line,
                        record.offset,
                        format!("expected a record that fits --memory: this one has {} bytes", record.length),
                    )?;
                }
                Step::Said(Said::Refused { context, line, offset, why }) => {
                    self.loss(context.source, loss::RECORD_TOO_LONG, 1);
                    self.reject(&context, line, offset, why)?;
                }
                Step::Said(Said::Truncated { context, offset, why }) => {
                    self.loss(context.source, loss::TRUNCATED_INPUT, 1);
                    let why = format!("the input breaks off here: {why}");
                    self.note(&context, offset, why, loss::TRUNCATED_INPUT.severity)?;
                }
                Step::Said(Said::Lost { context, loss }) => self.loss(context.source, loss, 1),
                Step::Said(Said::Fact { context, key, value }) => {
                    self.tables.push(&FactRow {
                        source: Some(context.source),
                        key: key.into(),
                        value: value.into(),
                        ..Default::default()
                    })?;
                }
                Step::Said(Said::Unread { context, why }) => {
                    self.note(&context, 0, format!("not read: {why}"), Severity::Warning)?;
                }
                Step::Said(Said::Withheld { context, loss, count, why }) => {
                    self.loss(context.source, loss, count);
                    self.note(&context, 0, why, loss.severity)?;
                }
                Step::Said(Said::End { index, digest }) => {
                    self.samples.end(index);
                    self.encoder.end();
                    if let (Some(source), Some((hash, bytes))) = (self.sources.get_mut(index as usize), digest) {
                        (source.sha256, source.bytes) = (hash, bytes);
                    }
                }
                Step::Parsed { source, parsed, .. } => self.parsed(source, *parsed)?,
            }
        }
        Ok(())
    }

    /// Versions that captures state; `capture.toml` overrides them later, the first capture wins.
    fn remember_versions(&mut self, facts: &RecordBatch) {
        let column = |name: &str| facts.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
        let (Some(keys), Some(values)) = (column("key"), column("value")) else { return };
        for (key, value) in keys.iter().zip(values) {
            let component = key.and_then(|key| key.strip_prefix("version/"));
            if let (Some(component), Some(value)) = (component, value) {
                self.versions.entry(component.to_owned()).or_insert_with(|| value.to_owned());
            }
        }
    }

    fn parsed(&mut self, index: i32, mut parsed: pipeline::Parsed) -> Result<(), BundleError> {
        let Some(context) = self.contexts.get(index as usize).cloned() else { return Ok(()) };
        if let Some(panic) = parsed.panic {
            self.reject(&context, 0, 0, format!("the parser failed on this chunk: {panic}"))?;
        }
        for (_, time) in &parsed.batch.scrapes {
            if self.scrape_stamps.add(index, *time).is_err() {
                self.loss(index, loss::MEMORY_USED_UP, 1);
            }
        }
        let taken = self.samples.take(&context, &mut parsed.batch, &mut self.tables)?;
        if let Some((record, count)) = taken.refused {
            self.loss(index, loss::MEMORY_USED_UP, count);
            let why =
                format!("expected series that fit --memory: {count} from here on were left out with their samples");
            self.reject(&context, record, 0, why)?;
        }
        for (table, columns, batch) in &parsed.tables {
            if NAME_SERIES.contains(table) {
                for rows in numbered(batch, &taken.ids) {
                    self.tables.append(table, columns, &rows)?;
                }
            } else {
                self.tables.append(table, columns, batch)?;
            }
            if *table == "facts" {
                self.remember_versions(batch);
            }
        }
        for snapshot in std::mem::take(&mut parsed.batch.snapshots) {
            let stream = match self.encoder.encode(&context, &snapshot, &mut self.tables)? {
                Encoded::In(stream) => stream,
                Encoded::Anew(stream) => {
                    self.loss(index, loss::MEMORY_USED_UP, 1);
                    stream
                }
                Encoded::Refused(full) => {
                    self.loss(index, loss::MEMORY_USED_UP, 1);
                    self.reject(&context, snapshot.record, 0, full.to_string())?;
                    continue;
                }
            };
            // A modification time says nothing of gaps: copying changes it.
            if let Some(time) = snapshot.time.filter(|_| snapshot.time_from != "mtime")
                && self.snapshot_stamps.add(stream, time).is_err()
            {
                self.loss(index, loss::MEMORY_USED_UP, 1);
            }
        }
        if parsed.batch.rejected > 0 {
            self.loss(index, loss::REJECTED_RECORDS, parsed.batch.rejected);
        }
        for (loss, count) in parsed.batch.losses.values() {
            self.loss(index, *loss, *count);
        }
        if let Some(source) = self.sources.get_mut(index as usize) {
            source.records += parsed.batch.records;
            source.rejected += parsed.batch.rejected;
            if let Some((first, last)) =
                parsed.batch.span.filter(|(first, last)| is_possible(*first) && is_possible(*last))
            {
                source.first = Some(source.first.map_or(first, |known| known.min(first)));
                source.last = Some(source.last.map_or(last, |known| known.max(last)));
            }
        }
        Ok(())
    }

    /// Writes what is left, and the manifest.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn finish(
        mut self,
        options: &BundleOptions,
        statements: &Statements,
        folder: &Path,
    ) -> Result<Summary, BundleError> {
        self.samples.finish(&mut self.tables)?;
        for (source, count) in self.scrape_stamps.gaps(2) {
            self.loss(source, loss::SCRAPE_GAP, count);
        }
        for (source, count) in self.snapshot_stamps.gaps(5) {
            self.loss(source, loss::SNAPSHOT_GAP, count);
        }
        let is_it = |context: &&Arc<Context>| Some(&context.path) == statements.path.as_ref();
        let toml = self.contexts.iter().find(is_it).map(|context| context.source);
        if let Some(index) = toml {
            self.sources[index as usize].records = statements.facts.len() as u64;
        }
        for (line, wrong) in &statements.refused {
            let complaint = format!("{}:{line}: {wrong}", statements.shown);
            self.complaints.push((Severity::Error, complaint));
            self.losses.entry((toml, loss::STATEMENT_REFUSED.name)).or_insert((loss::STATEMENT_REFUSED, 0)).1 += 1;
            let Some(source) = toml else { continue };
            self.sources[source as usize].rejected += 1;
            self.tables.push(&RejectRow {
                source,
                record: *line,
                reason: wrong.as_str().into(),
                ..Default::default()
            })?;
        }
        for (record, key, value) in &statements.facts {
            self.tables.push(&FactRow {
                source: toml,
                record: *record,
                key: key.as_str().into(),
                value: value.as_str().into(),
                ..Default::default()
            })?;
            if let Some(component) = key.strip_prefix("version/") {
                self.versions.insert(component.to_owned(), value.clone());
            }
        }
        let given = [("dataplane", &options.dataplane), ("scenario", &options.scenario), ("node", &options.node)];
        for (key, value) in given {
            if let Some(value) = value {
                self.tables.push(&FactRow {
                    source: None,
                    key: key.into(),
                    value: value.as_str().into(),
                    ..Default::default()
                })?;
            }
        }
        let impossible = self.tables.impossible()?;
        if impossible > 0 {
            let loss = loss::IMPOSSIBLE_TIME;
            self.losses.insert((None, loss.name), (loss, impossible));
        }
        let mut entries = Vec::new();
        for ((source, name), (loss, count)) in &self.losses {
            self.tables.push(&LossRow {
                source: *source,
                name: (*name).into(),
                severity: loss.severity.word().into(),
                count: *count as i64,
                meaning: loss.meaning.into(),
                remedy: loss.remedy.into(),
                ..Default::default()
            })?;
            entries.push(LossEntry {
                name: (*name).to_owned(),
                severity: loss.severity.word().to_owned(),
                count: *count,
                source: source.and_then(|index| Some(self.sources.get(index as usize)?.path.clone())),
                meaning: loss.meaning.to_owned(),
                remedy: loss.remedy.to_owned(),
            });
        }
        let tables = self.tables.close()?;
        let mut manifest = Manifest {
            format_version: FORMAT_VERSION,
            run_id: String::new(),
            name: statements.name.clone(),
            dataplane: options.dataplane.clone().or_else(|| statements.dataplane.clone()),
            scenario: options.scenario.clone().or_else(|| statements.scenario.clone()),
            nodes: options.node.clone().or_else(|| statements.node.clone()).into_iter().collect(),
            synthetic: statements.synthetic,
            versions: self.versions,
            sources: self.sources,
            tables,
            losses: entries,
        };
        manifest.run_id = run_id(&manifest);
        let file = folder.join(MANIFEST);
        let io = |error| BundleError::Io(file.clone(), error);
        let mut out = BufWriter::new(File::create(&file).map_err(io)?);
        serde_json::to_writer_pretty(&mut out, &manifest).map_err(|error| io(error.into()))?;
        out.write_all(b"\n").map_err(io)?;
        out.into_inner().map_err(|error| io(error.into_error()))?.sync_all().map_err(io)?;
        let rejected = manifest.sources.iter().map(|source| source.rejected).sum();
        // What was stated is told first.
        self.complaints.sort_by_key(|(severity, _)| std::cmp::Reverse(*severity));
        self.complaints.truncate(Summary::COMPLAINTS);
        Ok(Summary { manifest, rejected, complaints: self.complaints })
    }
}

/// Native histograms name their series by its index in the batch: rows with the bundle's identifiers there, without those of series that
/// were refused.
fn numbered(batch: &RecordBatch, series: &[i64]) -> Vec<RecordBatch> {
    let Ok(at) = batch.schema().index_of("series") else { return vec![batch.clone()] };
    let Some(local) = batch.column(at).as_primitive_opt::<Int64Type>() else { return vec![batch.clone()] };
    let global =
        |index: &i64| usize::try_from(*index).ok().and_then(|index| series.get(index)).copied().unwrap_or(REFUSED);
    let ids: Vec<i64> = local.values().iter().map(global).collect();
    let mut columns = batch.columns().to_vec();
    columns[at] = Arc::new(Int64Array::from(ids.clone()));
    let Ok(rows) = RecordBatch::try_new(batch.schema(), columns) else { return vec![batch.clone()] };
    let mut from = 0;
    let stretches = ids.chunk_by(|one, next| (*one == REFUSED) == (*next == REFUSED));
    let kept = stretches.filter_map(|stretch| {
        let begin = from;
        from += stretch.len();
        (stretch[0] != REFUSED).then(|| rows.slice(begin, stretch.len()))
    });
    kept.collect()
}

/// Hash of what the run was made of: paths, contents, statements.
fn run_id(manifest: &Manifest) -> String {
    let mut hash = Sha256::new();
    for source in &manifest.sources {
        hash.update(source.path.as_bytes());
        hash.update([0]);
        hash.update(source.sha256.as_bytes());
        hash.update([0]);
    }
    for statement in [&manifest.name, &manifest.dataplane, &manifest.scenario, &manifest.nodes.first().cloned()] {
        hash.update(statement.as_deref().unwrap_or_default().as_bytes());
        hash.update([0]);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
