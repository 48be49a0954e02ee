//! A time ahead of each line: `ts`, `kubectl logs --timestamps`, `awk '{ print strftime(), $0 }'`, brackets of loggers.
//!
//! ```text
//! 2026-02-03T05:05:06.100+01:00 cart   10.9.0.1:8080                5d
//! Feb 03 05:05:06 cart   10.9.0.1:8080                5d
//! ```
//!
//! Many formats begin their own lines with a time, so this is taken off only where no format reads the lines as they stand.

use super::layer::{Dressed, Layer, Out, Peel, Setting};
use crate::form::Head;
use crate::form::stamp::{self, Dating};

/// The layer.
pub const LAYER: Layer = Layer {
    name: "times",
    title: "a time ahead of each line",
    sample: "2026-02-03T05:05:06.100+01:00 cart   10.9.0.1:8080   5d\n",
    certain: false,
    wears,
    open: |setting: &Setting| Box::new(Times { dating: setting.dating }),
    put_on: Some(|text| {
        let mut dressed = Vec::new();
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            dressed.extend_from_slice(b"2026-11-23T04:42:31.500000000Z ");
            dressed.extend_from_slice(line);
        }
        dressed
    }),
};

fn wears(head: &Head) -> bool {
    let lines = stamp::tried_lines(head.bytes, head.whole).filter(|line| !line.trim_ascii().is_empty()).take(40);
    let (good, all) = lines.fold((0, 0), |(good, all), line| (good + usize::from(taken(line).is_some()), all + 1));
    good * 10 >= all * 6 && good > 0
}

/// A stamp, and where the line begins behind it; an empty line may have lost the space.
fn taken(line: &[u8]) -> Option<(stamp::Stamp, usize)> {
    stamp::ahead(line).or_else(|| Some((stamp::line(line)?, line.len())))
}

struct Times {
    dating: Dating,
}

impl Peel for Times {
    fn line(&mut self, line: &Dressed<'_>, out: &mut Out) {
        let bytes = line.bytes.strip_suffix(b"\r").unwrap_or(line.bytes);
        let Some((found, at)) = taken(bytes) else { return out.bare(line.bytes, line.ended) };
        if let Some(time) = found.time(&self.dating) {
            out.time(time, found.resolution);
        }
        out.bare(&line.bytes[at.min(line.bytes.len())..], line.ended);
    }
}

#[cfg(test)]
mod tests {
    use super::LAYER;
    use crate::layers::harness::{lines, wears};

    #[test]
    fn the_time_ahead_is_the_lines_own() {
        let text = "2026-11-23T05:42:31.5+01:00 NAME   AGE\n2026-11-23T05:42:32.5+01:00 cart   5d\nno time\n";
        assert!(wears(&LAYER, text));
        let found = lines(&LAYER, text);
        assert_eq!(found[0], (1, Some(1_795_408_951_500_000_000), "NAME   AGE".to_owned()));
        assert_eq!(found[2], (3, None, "no time".to_owned()));
        assert!(!wears(&LAYER, "NAME   AGE\ncart   5d\n"));
    }
}
