//! Frames of `watch` that were pasted or logged: each begins with its heading.
//!
//! ```text
//! Every 0.5s: iptables -t nat -L KUBE-SVC-AAAA -v -n            node-a: Thu Nov 26 09:41:11 2026
//!
//! Chain KUBE-SVC-AAAA (1 references)
//! ```
//!
//! The heading becomes the stamp ahead of the frame. It has whole seconds and no zone.

use super::layer::{Dressed, Layer, Out, Peel, Setting};
use crate::form::Head;
use crate::form::stamp::{self, Dating, Stamp};

/// The layer.
pub const LAYER: Layer = Layer {
    name: "watch",
    title: "frames of watch",
    sample: "Every 0.5s: iptables -t nat -L -v -n      node-a: Thu Nov 26 09:41:11 2026\n\nChain KUBE-SVC-A (1 references)\n",
    certain: true,
    wears: |head: &Head| stamp::tried_lines(head.bytes, head.whole).any(|line| heading(line).is_some()),
    open: |setting: &Setting| Box::new(Watch { dating: setting.dating, ..Watch::default() }),
    put_on: None,
};

/// What the heading of a frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heading {
    /// The command, cut where the line was too short for it.
    pub command: String,
    /// The host, where the heading names it.
    pub node: Option<String>,
    /// When the command was run.
    pub time: Option<Stamp>,
}

/// The heading of a frame.
pub fn heading(line: &[u8]) -> Option<Heading> {
    let rest = line.strip_prefix(b"Every ")?;
    let text = std::str::from_utf8(rest).ok()?;
    let (interval, rest) = text.split_once(": ")?;
    let number = interval.trim_end_matches('s');
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b',')) {
        return None;
    }
    // The date stands at the right edge, behind the host.
    let mut found = Heading { command: rest.trim().to_owned(), node: None, time: None };
    for (at, _) in rest.match_indices("  ") {
        let right = rest[at..].trim();
        let named = right.split_once(": ").filter(|(host, _)| !host.contains(' ') && !host.is_empty());
        let (node, date) = named.map_or((None, right), |(host, date)| (Some(host.to_owned()), date.trim()));
        if let Some(time) = stamp::line(date.as_bytes()) {
            found = Heading { command: rest[..at].trim().to_owned(), node, time: Some(time) };
            break;
        }
    }
    Some(found)
}

#[derive(Default)]
struct Watch {
    dating: Dating,
    command: Option<String>,
    /// Whether the heading stood in the line before: an empty line follows it.
    behind: bool,
}

impl Peel for Watch {
    fn line(&mut self, line: &Dressed<'_>, out: &mut Out) {
        let bytes = line.bytes.strip_suffix(b"\r").unwrap_or(line.bytes);
        let Some(found) = heading(bytes) else {
            if !std::mem::take(&mut self.behind) || !bytes.trim_ascii().is_empty() {
                out.bare(line.bytes, line.ended);
            }
            return;
        };
        if self.command.as_ref() != Some(&found.command) {
            out.name(|names| {
                names.command = Some(found.command.as_str().into());
                names.host = names.host.take().or(found.node.as_deref().map(Into::into));
            });
            out.section();
            self.command = Some(found.command);
        }
        let line = found.time.map_or(format!("{}unknown", stamp::MARK), |time| time.canonical(&self.dating));
        out.bare(line.as_bytes(), true);
        self.behind = true;
    }
}

#[cfg(test)]
mod tests {
    use super::{LAYER, heading};
    use crate::layers::harness::{lines, wears};

    #[test]
    fn a_heading_is_a_stamp() {
        let text = "Every 0.1s: kubectl get pods     node-a: Thu Nov 26 09:48:10 UTC 2026\n\nNAME READY\na 1/1\nEvery 0.1s: kubectl get pods     node-a: Thu Nov 26 09:48:11 UTC 2026\n\nNAME READY\n";
        assert!(wears(&LAYER, text));
        let found: Vec<String> = lines(&LAYER, text).into_iter().map(|(_, _, text)| text).collect();
        assert_eq!(found, ["# TIMESTAMP 1795686490", "NAME READY", "a 1/1", "# TIMESTAMP 1795686491", "NAME READY"]);
        let found = heading(b"Every 2.0s: ls -l   Thu Nov 26 09:48:10 2026").expect("a heading");
        assert_eq!((found.command.as_str(), found.node), ("ls -l", None));
        assert!(heading(b"Every time it rains: x").is_none() && !wears(&LAYER, "Every one\n"));
    }
}
