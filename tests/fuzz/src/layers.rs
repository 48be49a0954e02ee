//! The layers: a text, a stack of layers put around it as their programs would, and damage to the whole.

use arbitrary::{Arbitrary, Unstructured};
use syncline_collector::layers::LAYERS;

use crate::content::{Edit, edited};
use crate::{fixtures, formats};

/// Layers around each other at most.
const DEEPEST: usize = 4;
/// Bytes that a stack may make of its text.
const LARGEST: usize = 64 << 10;

/// Takes an input: what the first byte counts layers, then the layers, then the number of edits, the edits, and the text.
pub fn run(data: &[u8]) {
    let mut rest = Unstructured::new(data);
    let Ok((stack, edits)) = choices(&mut rest) else { return };
    let mut text = rest.take_rest().to_vec();
    for number in stack {
        let worn = LAYERS[usize::from(number) % LAYERS.len()];
        if let Some(put_on) = worn.put_on.filter(|_| text.len() < LARGEST) {
            text = put_on(&text);
        }
    }
    formats::read(&edited(text, &edits), None, true);
}

fn choices(rest: &mut Unstructured) -> arbitrary::Result<(Vec<u8>, Vec<Edit>)> {
    let count = usize::from(u8::arbitrary(rest)?) % (DEEPEST + 1);
    let stack = (0..count).map(|_| u8::arbitrary(rest)).collect::<arbitrary::Result<_>>()?;
    let count = u8::arbitrary(rest)? % 4;
    let edits = (0..count).map(|_| Edit::arbitrary(rest)).collect::<arbitrary::Result<_>>()?;
    Ok((stack, edits))
}

/// Every sample in one layer and in two, whole; and the captures of the fixtures as they lie there.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    for (number, text) in fixtures::samples().enumerate() {
        let (one, other) = (number as u8, (number * 7 + 3) as u8);
        seeds.push([&[1, one, 0], text.as_bytes()].concat());
        seeds.push([&[2, one, other, 0], text.as_bytes()].concat());
    }
    seeds.extend(fixtures::captures().iter().map(|text| [&[0, 0], text.as_slice()].concat()));
    seeds
}
