//! Times on lines of their own, as loops print them ahead of a command's output: `date; iptables -L; sleep 1`.
//!
//! ```text
//! Thu Nov 26 09:48:10 UTC 2026        becomes   # TIMESTAMP 1795686490
//! Chain KUBE-SVC-AAAA (1 references)
//! ```
//!
//! Whatever way a time is written in, the formats know one. A time that lacks a year or a zone which nothing else tells becomes
//! `# TIMESTAMP unknown`: what follows it has no time.

use super::layer::{Dressed, Layer, Out, Peel, Setting};
use crate::form::Head;
use crate::form::stamp::{self, Dating, MARK};

/// The layer.
pub const LAYER: Layer = Layer {
    name: "dates",
    title: "times on lines of their own",
    sample: "Thu Nov 26 09:48:10 UTC 2026\nChain KUBE-SVC-A (1 references)\n",
    certain: true,
    wears,
    open: |setting: &Setting| Box::new(Dates { dating: setting.dating }),
    put_on: None,
};

fn wears(head: &Head) -> bool {
    // Numbers of a JSON document stand on lines of their own too.
    let document = head.bytes.trim_ascii_start().first().is_some_and(|first| matches!(first, b'{' | b'['));
    !document && stamp::tried_lines(head.bytes, head.whole).any(|line| stamp::line(line).is_some())
}

struct Dates {
    dating: Dating,
}

impl Peel for Dates {
    fn line(&mut self, line: &Dressed<'_>, out: &mut Out) {
        let time = if line.bytes.starts_with(MARK.as_bytes()) { None } else { stamp::line(line.bytes) };
        match time {
            Some(time) => out.bare(time.canonical(&self.dating).as_bytes(), line.ended),
            None => out.bare(line.bytes, line.ended),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::LAYER;
    use crate::layers::harness::{lines, wears};

    #[test]
    fn times_become_the_one_stamp() {
        let text = "=== 2026-11-26T09:48:10.5Z ===\nChain A (1 references)\n1795686493.784423046\nChain A (1 references)\nNov 26 09:48:10\nx\n";
        assert!(wears(&LAYER, text));
        let found: Vec<String> = lines(&LAYER, text).into_iter().map(|(_, _, text)| text).collect();
        assert_eq!(
            found,
            [
                "# TIMESTAMP 1795686490.5",
                "Chain A (1 references)",
                "# TIMESTAMP 1795686493.784423046",
                "Chain A (1 references)",
                "# TIMESTAMP unknown",
                "x"
            ]
        );
        assert!(!wears(&LAYER, "# TIMESTAMP 1795686490.5\nChain A (1 references)\n"));
        assert!(!wears(&LAYER, "{\"timestamps\": [\n 1700000100000\n]}\n"));
    }
}
