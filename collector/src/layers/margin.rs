//! Text that stands off the margin: pasted into a list, a quotation, or a code block by indentation.

use super::layer::{Dressed, Layer, Out, Peel, Setting};
use crate::form::{Head, stamp};

/// The layer.
pub const LAYER: Layer = Layer {
    name: "margin",
    title: "an indentation, or `> ` of a quotation, ahead of each line",
    sample: "    *nat\n    :KUBE-SERVICES - [0:0]\n",
    certain: false,
    wears: |head: &Head| common(head).is_some(),
    open: |_: &Setting| Box::new(Margin::default()),
    put_on: Some(|text| {
        let mut dressed = Vec::new();
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            dressed.extend_from_slice(b"    ");
            dressed.extend_from_slice(line);
        }
        dressed
    }),
};

/// What a line may be moved by: white space, or the mark of a quotation.
fn margin(line: &[u8]) -> &[u8] {
    if line.starts_with(b"> ") {
        return &line[..2];
    }
    &line[..line.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count()]
}

/// What all lines of a head that say anything begin with.
fn common(head: &Head) -> Option<Vec<u8>> {
    let mut found: Option<Vec<u8>> = None;
    for line in stamp::tried_lines(head.bytes, head.whole).filter(|line| !line.trim_ascii().is_empty()) {
        let own = margin(line);
        let length =
            found.as_deref().map_or(own.len(), |known| known.iter().zip(own).take_while(|(a, b)| a == b).count());
        found = Some(own[..length].to_vec());
        if length == 0 {
            return None;
        }
    }
    found
}

/// Takes off what the first line that says anything begins with, as far as a line has it.
#[derive(Default)]
struct Margin {
    own: Option<Vec<u8>>,
}

impl Peel for Margin {
    fn line(&mut self, line: &Dressed<'_>, out: &mut Out) {
        if line.bytes.trim_ascii().is_empty() {
            return out.bare(
                line.bytes.strip_prefix(self.own.as_deref().unwrap_or_default()).unwrap_or_default(),
                line.ended,
            );
        }
        let own = self.own.get_or_insert_with(|| margin(line.bytes).to_vec());
        let length = own.iter().zip(line.bytes).take_while(|(a, b)| a == b).count();
        // The first line may stand deeper than the others.
        own.truncate(length.max(1));
        out.bare(&line.bytes[length..], line.ended);
    }
}

#[cfg(test)]
mod tests {
    use super::LAYER;
    use crate::layers::harness::{lines, wears};

    #[test]
    fn a_margin_is_taken_off() {
        for margin in ["\t", "    ", "> "] {
            let text = format!("{margin}*nat\n{margin}:A - [0:0]\n\n{margin}  COMMIT\n");
            assert!(wears(&LAYER, &text), "{margin:?}");
            let found: Vec<String> = lines(&LAYER, &text).into_iter().map(|(_, _, text)| text).collect();
            assert_eq!(found, ["*nat", ":A - [0:0]", "", "  COMMIT"], "{margin:?}");
        }
        assert!(!wears(&LAYER, "*nat\n  COMMIT\n"));
    }
}
