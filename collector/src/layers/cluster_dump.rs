//! `kubectl cluster-info dump`: documents, then the log of every container between two banners; and `tail`'s and `head`'s
//! banners between files.
//!
//! ```text
//! {"kind":"PodList",…}
//! ==== START logs for container kube-proxy of pod kube-system/kube-proxy-a ====
//! I0203 04:05:06.100000       1 proxier.go:828] "Syncing iptables rules"
//! ==== END logs for container kube-proxy of pod kube-system/kube-proxy-a ====
//!
//! ==> /var/log/containers/kube-proxy-a_kube-system_kube-proxy-0123.log <==
//! ```
//!
//! What stands between two banners is a file of its own.

use super::json_fields::of_log_path;
use super::layer::{Dressed, Layer, Out, Peel};
use crate::form::{Head, Place, stamp};

/// The layer.
pub const LAYER: Layer = Layer {
    name: "cluster_dump",
    title: "kubectl cluster-info dump, several files of tail or head",
    sample: "==== START logs for container kube-proxy of pod kube-system/kube-proxy-a ====\nI0203 04:05:06.100000       1 proxier.go:1] x\n==== END logs for container kube-proxy of pod kube-system/kube-proxy-a ====\n",
    certain: true,
    wears,
    open: |_| Box::new(Dump::default()),
    put_on: Some(|text| {
        let mut dressed = b"==== START logs for container kube-proxy of pod kube-system/kube-proxy-a ====\n".to_vec();
        dressed.extend_from_slice(text);
        if !text.ends_with(b"\n") {
            dressed.push(b'\n');
        }
        dressed.extend_from_slice(b"==== END logs for container kube-proxy of pod kube-system/kube-proxy-a ====\n");
        dressed
    }),
};

/// A banner.
enum Banner<'a> {
    Start { container: &'a str, pod: &'a str },
    End,
    File(&'a str),
}

fn banner(line: &[u8]) -> Option<Banner<'_>> {
    if !line.starts_with(b"==") || line.len() > 700 {
        return None;
    }
    let text = std::str::from_utf8(line).ok()?.trim_end();
    if let Some(path) = text.strip_prefix("==> ").and_then(|rest| rest.strip_suffix(" <==")) {
        return Some(Banner::File(path));
    }
    let inner = text.strip_prefix("==== ")?.strip_suffix(" ====")?;
    if inner.starts_with("END logs for container ") {
        return Some(Banner::End);
    }
    let (container, pod) = inner.strip_prefix("START logs for container ")?.split_once(" of pod ")?;
    Some(Banner::Start { container, pod })
}

/// A banner alone marks it: the dump of a whole cluster has its logs far behind its documents, but each list of objects in it
/// begins with the same four blanks, which `kubectl get` does not write more than once.
fn wears(head: &Head) -> bool {
    let mut lines = stamp::tried_lines(head.bytes, true).filter(|line| !line.is_empty());
    match lines.next() {
        Some(first) if matches!(banner(first), Some(Banner::Start { .. } | Banner::File(_))) => true,
        Some(first) if first.trim_ascii() == b"{" => {
            memchr::memmem::find_iter(head.bytes, b"==== START logs for container ")
                .any(|at| at == 0 || head.bytes[at - 1] == b'\n')
                || memchr::memmem::find(head.bytes, b"\n}\n{\n    \"kind\": \"").is_some()
        }
        Some(_) => memchr::memmem::find(head.bytes, b"\n==> ").is_some_and(|at| {
            let line = head.bytes[at + 1..].split(|byte| *byte == b'\n').next();
            matches!(line.and_then(banner), Some(Banner::File(_)))
        }),
        None => false,
    }
}

#[derive(Default)]
struct Dump {
    /// Index of the names of this section, and of those around it.
    names: Option<(u32, u32)>,
    /// A blank line that may belong to the banner behind it.
    blank: Option<Place>,
}

impl Peel for Dump {
    fn line(&mut self, line: &Dressed<'_>, out: &mut Out) {
        let found = banner(line.bytes);
        if let Some(blank) = self.blank.take()
            && !matches!(found, Some(Banner::File(_)))
        {
            self.give(blank, b"", true, out);
        }
        let place = out.place();
        match found {
            None if line.bytes.is_empty() && line.ended => self.blank = Some(place),
            None => self.give(place, line.bytes, line.ended, out),
            Some(found) => {
                out.around(line.bytes);
                self.names = None;
                let (pod, container) = match found {
                    Banner::Start { container, pod } => (Some(pod.to_owned()), Some(container)),
                    Banner::File(path) => match of_log_path(path) {
                        Some((namespace, pod, container)) => (Some(format!("{namespace}/{pod}")), Some(container)),
                        None => (None, None),
                    },
                    Banner::End => (None, None),
                };
                if pod.is_some() || container.is_some() {
                    out.name(|names| {
                        names.pod = pod.map(Into::into);
                        names.container = container.map(Into::into);
                    });
                    self.names = Some((place.names, out.place().names));
                }
                out.section();
            }
        }
    }

    fn end(&mut self, out: &mut Out) {
        if let Some(blank) = self.blank.take() {
            self.give(blank, b"", true, out);
        }
        self.names = None;
    }
}

impl Dump {
    fn give(&self, mut place: Place, bytes: &[u8], ended: bool, out: &mut Out) {
        if let Some((around, names)) = self.names
            && around == place.names
        {
            place.names = names;
        }
        out.bare_at(place, bytes, ended);
    }
}

#[cfg(test)]
mod tests {
    use super::LAYER;
    use crate::layers::harness::{sections, wears};

    #[test]
    fn logs_are_sections_with_their_names() {
        let text = "{\n    \"kind\": \"PodList\"\n}\n==== START logs for container c of pod n/a-1 ====\nx\ny\n==== END logs for container c of pod n/a-1 ====\n==== START logs for container c of pod n/a-2 ====\nz\n==== END logs for container c of pod n/a-2 ====\n";
        assert!(wears(&LAYER, text));
        let found = sections(&[&LAYER], text.as_bytes());
        let texts: Vec<&[u8]> = found.iter().map(|one| &*one.text).filter(|text| !text.is_empty()).collect();
        assert_eq!(texts, [&b"{\n    \"kind\": \"PodList\"\n}\n"[..], b"x\ny\n", b"z\n"]);
        let log = found.iter().find(|one| one.text == b"z\n").expect("a section");
        assert_eq!(log.names.pod.as_deref(), Some("n/a-2"));
        let place = log.around.places[0];
        assert_eq!((place.line, log.around.known(log.around.first).container), (9, Some("c")));
    }

    #[test]
    fn files_of_tail_are_sections() {
        let text = "==> a.log <==\nx\n\n==> /var/log/containers/a-1_n_c-0123.log <==\ny\n";
        assert!(wears(&LAYER, text));
        let found = sections(&[&LAYER], text.as_bytes());
        let texts: Vec<&[u8]> = found.iter().map(|one| &*one.text).filter(|text| !text.is_empty()).collect();
        assert_eq!(texts, [&b"x\n"[..], b"y\n"]);
        assert_eq!(found.last().and_then(|one| one.names.pod.as_deref()), Some("n/a-1"));
        assert!(!wears(&LAYER, "=== 2026-02-03 04:05:06 ===\nx\n") && !wears(&LAYER, "{\"a\":1}\n"));
    }
}
