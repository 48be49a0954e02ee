//! What the tests of the layers share.

use super::layer::{Layer, Setting};
use super::strip::Stripped;
use crate::form::{Head, Names};

/// A setting without dates.
pub fn setting() -> Setting {
    Setting { limit: 1 << 20, ..Setting::default() }
}

/// Whether a text wears a layer.
pub fn wears(layer: &Layer, text: &str) -> bool {
    (layer.wears)(&Head { path: "fixture", bytes: text.as_bytes(), whole: true })
}

/// One section of what stood inside: names, text, and the place of each line.
pub struct Section {
    pub names: Names,
    pub text: Vec<u8>,
    pub around: crate::form::Around,
}

/// All sections of what stood inside.
pub fn sections(layers: &[&'static Layer], text: &[u8]) -> Vec<Section> {
    let mut stripped = Stripped::new(Box::new(text), layers, &setting());
    let mut found = Vec::new();
    let mut last = 0;
    while let Some(names) = stripped.next_section() {
        let shared = std::rc::Rc::new(std::cell::RefCell::new(stripped));
        let mut text = Vec::new();
        std::io::Read::read_to_end(&mut super::strip::SectionReader(std::rc::Rc::clone(&shared)), &mut text)
            .expect("no error");
        stripped = std::rc::Rc::into_inner(shared).expect("one owner").into_inner();
        last += text.split_inclusive(|byte| *byte == b'\n').count() as i64;
        let around = stripped.around(last);
        found.push(Section { names, text, around });
    }
    found
}

/// The lines that stood inside: number in the file, outer time, text.
pub fn lines(layer: &'static Layer, text: &str) -> Vec<(i64, Option<i64>, String)> {
    let mut found = Vec::new();
    for section in sections(&[layer], text.as_bytes()) {
        for (line, place) in section.text.split_inclusive(|byte| *byte == b'\n').zip(&section.around.places) {
            let text = String::from_utf8_lossy(line).trim_end_matches('\n').to_owned();
            found.push((place.line, (place.time != i64::MIN).then_some(place.time), text));
        }
    }
    found
}
