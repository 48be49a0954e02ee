//! `kubectl logs --prefix`.
//!
//! ```text
//! [pod/kube-proxy-a/kube-proxy] I0203 04:05:06.100000       1 proxier.go:828] "Syncing iptables rules"
//! [pod/kube-proxy-a/kube-proxy] 2026-02-03T04:05:06.100200000Z I0203 …                     --timestamps: `times` takes it off
//! ```

use super::layer::Layer;
use super::prefix::{self, Read, Taken};
use crate::form::stamp::Dating;

/// The layer.
pub const LAYER: Layer = Layer {
    name: "kubectl_prefix",
    title: "kubectl logs --prefix",
    sample: "[pod/kube-proxy-a/kube-proxy] I0203 04:05:06.100000       1 proxier.go:1] x\n",
    certain: true,
    wears: |head| prefix::worn(head, taken),
    open: |setting| prefix::open(setting, taken),
    put_on: Some(|text| prefix::put_on(text, "[pod/kube-proxy-a/kube-proxy] ")),
};

fn taken<'a>(line: &'a [u8], _: &Dating) -> Read<'a> {
    let read = || {
        let rest = line.strip_prefix(b"[pod/")?;
        let end = memchr::memchr(b']', &rest[..rest.len().min(600)])?;
        let (pod, container) = std::str::from_utf8(&rest[..end]).ok()?.split_once('/')?;
        let text = &rest[end + 1..];
        let text = text.strip_prefix(b" ").unwrap_or(text);
        Some(Taken { pod: Some(pod), container: Some(container), text, ..Taken::default() })
    };
    read().map_or(Read::Other, Read::Inside)
}

#[cfg(test)]
mod tests {
    use super::LAYER;
    use crate::layers::harness::{lines, sections, wears};

    #[test]
    fn names_are_taken_off() {
        let text = "[pod/a-1/c] I0203 x\n[pod/a-2/c] y\n[pod/a-1/c] \n";
        assert!(wears(&LAYER, text));
        let expected = [(1, None, "I0203 x".to_owned()), (2, None, "y".to_owned()), (3, None, String::new())];
        assert_eq!(lines(&LAYER, text), expected);
        let around = &sections(&[&LAYER], text.as_bytes())[0].around;
        assert_eq!([1, 2, 3].map(|line| around.known(line).pod), [Some("a-1"), Some("a-2"), Some("a-1")]);
        assert!(!wears(&LAYER, "[podium] x\n"));
    }
}
