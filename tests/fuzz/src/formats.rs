//! Every format's parser, through recognition: one byte of choices, then the text of a file.
//!
//! The byte says whether the format is recognised (0) or stated, as `--source KIND=…` does, and whether the years of
//! its times are known (bit 7).

use std::cell::RefCell;
use std::io::Read;
use std::ops::Range;
use std::rc::Rc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use syncline_collector::bundle::nearest::nearest;
use syncline_collector::bundle::recognise::{format_of, recognise};
use syncline_collector::form::stamp::Dating;
use syncline_collector::form::{Around, Batch, Chunk, Context, Format, Head, RawSnapshot};
use syncline_collector::layers::strip::{SectionReader, Stripped};
use syncline_collector::layers::{Layer, Setting};
use syncline_collector::parse::{self, FORMATS};

use crate::fixtures;

/// Path of the source.
const PATH: &str = "capture";
/// What other sources of the capture span, for times without a year: a day of 2026, ns.
const SPAN: (i64, i64) = (1_795_400_000_000_000_000, 1_795_486_400_000_000_000);

/// Takes an input.
pub fn run(data: &[u8]) {
    let Some((choice, text)) = data.split_first() else { return };
    let stated = usize::from(choice & 0x7f).checked_sub(1).map(|number| FORMATS[number % FORMATS.len()]);
    read(text, stated, choice & 0x80 == 0);
}

/// Recognises a text, takes off what lies around it and parses what is left, as the collector does with a file.
///
/// # Panics
/// Where something made of it is not as it must be.
pub fn read(text: &[u8], stated: Option<&'static Format>, dated: bool) {
    let (year, utc_offset) = if dated { (Some(2026), Some(0)) } else { (None, None) };
    let mut setting = Setting { dating: Dating { year, utc_offset, span: None }, limit: 1 << 20 };
    let span = || Some((SPAN.0, SPAN.1, "another".to_owned()));
    let what = recognise(PATH, text, true, &mut setting, stated, &span);
    let Some(format) = what.format else {
        nearest(&Head { path: PATH, bytes: text, whole: true });
        return;
    };
    let context = Context {
        source: 0,
        path: PATH.to_owned(),
        clock: "node-a".to_owned(),
        node: "node-a".to_owned(),
        year: setting.dating.year,
        utc_offset: setting.dating.utc_offset,
        mtime: Some(SPAN.1),
    };
    if what.layers.is_empty() {
        let bytes = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        return parsed(bytes, 1, None, &context, format);
    }
    for section in stripped(text, &what.layers, &setting) {
        let inside = stated.or_else(|| format_of(PATH, &section.text, true).map(|(format, _)| format));
        parsed(&section.text, section.first_line, Some(&section.around), &context, inside.unwrap_or(format));
    }
}

/// What stood inside some layers.
struct Section {
    text: Vec<u8>,
    first_line: i64,
    around: Around,
}

/// The sections of a text without its layers, each with the places of its lines.
///
/// # Panics
/// Where a line stood at a place that the text does not have.
fn stripped(text: &[u8], layers: &[&'static Layer], setting: &Setting) -> Vec<Section> {
    let stripped = Rc::new(RefCell::new(Stripped::new(Box::new(text), layers, setting)));
    let (mut found, mut first_line) = (Vec::new(), 1);
    while stripped.borrow_mut().next_section().is_some() {
        let mut inside = Vec::new();
        SectionReader(Rc::clone(&stripped)).read_to_end(&mut inside).expect("memory has no errors");
        let count = lines_of(&inside);
        let around = stripped.borrow_mut().around(first_line + count - 1);
        for place in &around.places {
            assert!((0..=lines_of(text)).contains(&place.line), "line {} of {}", place.line, lines_of(text));
            assert!((0..=text.len() as i64).contains(&place.offset), "offset {} of {}", place.offset, text.len());
        }
        found.push(Section { text: inside, first_line, around });
        first_line += count;
    }
    found
}

fn lines_of(text: &[u8]) -> i64 {
    text.split_inclusive(|byte| *byte == b'\n').count() as i64
}

/// Parses a text. Every row must name a line of it.
fn parsed(bytes: &[u8], first_line: i64, around: Option<&Around>, context: &Context, format: &Format) {
    let chunk = Chunk { bytes, first_line, offset: 0, first: true, last: true, truncated: false, around };
    let mut batch = Batch::default();
    parse::read(format, context, &chunk, &mut batch);
    let lines = 0..=first_line + lines_of(bytes).max(1) - 1;
    for mut table in batch.take_tables() {
        let rows = table.finish().expect("columns of one length");
        let column = |name: &str| rows.column_by_name(name).and_then(|column| column.as_primitive_opt::<Int64Type>());
        for record in column("record").iter().flat_map(|column| column.values().iter()) {
            assert!(lines.contains(record), "{}: line {record} of {lines:?}", table.table);
        }
        if table.table == "rejects" {
            for offset in column("offset").iter().flat_map(|column| column.values().iter()) {
                assert!((0..=bytes.len() as i64).contains(offset), "offset {offset} of {}", bytes.len());
            }
        }
    }
    for sample in &batch.samples {
        assert!(lines.contains(&sample.record), "sample: line {} of {lines:?}", sample.record);
        assert!((sample.series as usize) < batch.series.len(), "a sample of no series");
    }
    batch.snapshots.iter().for_each(dissected);
}

/// What must hold of a snapshot: its pieces are its text without gaps, and counters lie within their piece.
fn dissected(snapshot: &RawSnapshot) {
    let dissector = snapshot.dissector;
    let pieces = (dissector.split)(&snapshot.text);
    let (mut section, mut end) = (String::new(), 0);
    for range in pieces {
        assert!(range.start == end && range.end > end, "{}: a gap ahead of {}", dissector.format, range.start);
        end = range.end;
        let piece = &snapshot.text[range];
        (dissector.section)(&mut section, piece);
        let counters = (dissector.counters)(piece);
        for counter in [&counters.packets, &counters.bytes].into_iter().flatten() {
            assert!(counter.start <= counter.end && counter.end <= piece.len(), "{}: {counter:?}", dissector.format);
        }
        if let (Some(packets), Some(bytes)) = (&counters.packets, &counters.bytes) {
            let apart: &Range<usize> = packets;
            assert!(apart.end <= bytes.start, "{}: bytes ahead of packets", dissector.format);
        }
        (dissector.rounded)(piece);
        (dissector.fields)(PATH, &section, piece);
    }
    assert_eq!(end, snapshot.text.len(), "{}: text behind the last piece", dissector.format);
}

/// Samples of all formats and layers, recognised, stated and without years; and the captures of the fixtures.
pub fn seeds() -> Vec<Vec<u8>> {
    let with = |choice: u8, text: &[u8]| [&[choice], text].concat();
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    for (number, text) in fixtures::samples().enumerate() {
        seeds.push(with(0, text.as_bytes()));
        seeds.push(with(0x80, text.as_bytes()));
        if number < FORMATS.len() {
            seeds.push(with(number as u8 + 1, text.as_bytes()));
        }
    }
    seeds.extend(fixtures::captures().iter().map(|text| with(0, text)));
    seeds
}
