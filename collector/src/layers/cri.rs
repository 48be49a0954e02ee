//! The log file of a container as a CRI runtime (containerd, CRI-O) writes it.
//!
//! ```text
//! 2021-08-03T09:27:45.396612809Z stderr F I0803 09:27:45.396497       1 proxier.go:…
//! 2021-08-03T09:27:45.400000000Z stdout P {"kind":"Event", …        a line of more than 16 KiB, split: `P`,
//! 2021-08-03T09:27:45.400000000Z stdout F … ,"stage":"…"}            its last piece: `F`
//! ```
//!
//! Pieces are joined, whatever format the line is of; stdout and stderr each for themselves.

use super::layer::{Dressed, Layer, Out, Peel, Setting};
use crate::form::{Head, Place, instant, stamp};

/// The layer.
pub const LAYER: Layer = Layer {
    name: "cri",
    title: "log file of a container (CRI)",
    sample: "2021-08-03T09:27:45.396612809Z stderr F I0803 09:27:45.396497       1 proxier.go:1] x\n",
    certain: true,
    wears,
    open: |setting: &Setting| Box::new(Cri { limit: setting.limit, ..Cri::default() }),
    put_on: Some(|text| {
        let mut dressed = Vec::new();
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            dressed.extend_from_slice(b"2026-11-23T04:42:31.500000000Z stdout F ");
            dressed.extend_from_slice(line);
        }
        dressed
    }),
};

/// Time, stream, whether the line goes on, and the text.
fn taken(line: &[u8]) -> Option<(i64, usize, bool, &[u8])> {
    let space = memchr::memchr(b' ', &line[..line.len().min(40)])?;
    let time = instant::rfc3339(&line[..space])?;
    let rest = &line[space + 1..];
    let (stream, rest) = [b"stdout ", b"stderr "]
        .iter()
        .enumerate()
        .find_map(|(stream, mark)| Some((stream, rest.strip_prefix(mark.as_slice())?)))?;
    // An empty line may have lost the space behind its tag.
    let (tag, text) = match rest {
        [tag @ (b'F' | b'P'), b' ', text @ ..] => (*tag, text),
        [tag @ (b'F' | b'P'), b':', text @ ..] => {
            (*tag, &text[memchr::memchr(b' ', text).map_or(text.len(), |at| at + 1)..])
        }
        [tag @ (b'F' | b'P')] => (*tag, &rest[1..]),
        _ => return None,
    };
    Some((time, stream, tag == b'P', text))
}

fn wears(head: &Head) -> bool {
    let mut lines = stamp::tried_lines(head.bytes, true).filter(|line| !line.trim_ascii().is_empty()).take(20);
    let first = lines.next().is_some_and(|line| taken(line).is_some());
    let (good, bad) = lines.fold((1, 0), |(good, bad), line| match taken(line) {
        Some(_) => (good + 1, bad),
        None => (good, bad + 1),
    });
    // The last line of a head may be cut anywhere.
    first && good > bad
}

#[derive(Default)]
struct Cri {
    /// A line that was split, of each stream.
    begun: [Option<(Place, Vec<u8>)>; 2],
    /// Whether what was given last lacks its line end.
    open: bool,
    limit: usize,
}

impl Peel for Cri {
    fn line(&mut self, line: &Dressed<'_>, out: &mut Out) {
        let Some((time, stream, goes_on, text)) = taken(line.bytes) else {
            self.open = !line.ended;
            return out.bare(line.bytes, line.ended);
        };
        out.time(time, 1);
        let begun = &mut self.begun[stream];
        match begun {
            None if !goes_on => {
                self.open = !line.ended;
                return out.bare(text, line.ended);
            }
            None => *begun = Some((out.place(), text.to_vec())),
            Some((_, joined)) => joined.extend_from_slice(text),
        }
        let full = begun.as_ref().is_some_and(|(_, joined)| joined.len() > self.limit);
        if (!goes_on || full)
            && let Some((place, joined)) = begun.take()
        {
            self.open = !line.ended;
            out.bare_at(place, &joined, line.ended);
        }
    }

    fn end(&mut self, out: &mut Out) {
        let mut left: Vec<(Place, Vec<u8>)> = self.begun.iter_mut().filter_map(Option::take).collect();
        left.sort_by_key(|(place, _)| place.line);
        if std::mem::take(&mut self.open) && !left.is_empty() {
            out.bare(b"", true);
        }
        let last = left.len().saturating_sub(1);
        for (at, (place, joined)) in left.iter().enumerate() {
            // Its end was never written: it may be cut anywhere.
            out.bare_at(*place, joined, at < last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::LAYER;
    use crate::layers::harness::{lines, wears};

    #[test]
    fn pieces_are_joined_and_keep_the_number_of_the_first() {
        let text = "2026-11-23T04:42:31.5Z stderr P ab\n2026-11-23T04:42:31.6Z stdout F other\n2026-11-23T04:42:31.6Z stderr P cd\n2026-11-23T04:42:31.7Z stderr F ef\n2026-11-23T04:42:31.8Z stderr F\n";
        assert!(wears(&LAYER, text));
        let found = lines(&LAYER, text);
        let time = 1_795_408_951_500_000_000;
        assert_eq!(found[0], (2, Some(time + 100_000_000), "other".to_owned()));
        assert_eq!(found[1], (1, Some(time), "abcdef".to_owned()));
        assert_eq!(found[2], (5, Some(time + 300_000_000), String::new()));
    }

    #[test]
    fn what_never_ends_is_given_all_the_same() {
        assert_eq!(lines(&LAYER, "2026-11-23T04:42:31.5Z stdout P ab\n")[0].2, "ab");
        // Each for itself, whatever else is cut.
        let text = "2026-11-23T04:42:31.5Z stdout P ab\n2026-11-23T04:42:31.5Z stderr P cd\nno line of a runtime";
        let found: Vec<(i64, String)> = lines(&LAYER, text).into_iter().map(|(at, _, text)| (at, text)).collect();
        assert_eq!(found, [(3, "no line of a runtime".to_owned()), (1, "ab".to_owned()), (2, "cd".to_owned())]);
    }
}
