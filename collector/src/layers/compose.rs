//! `docker compose logs` and `docker service logs`.
//!
//! ```text
//! kube-proxy_1  | I0203 04:05:06.100000       1 proxier.go:828] "Syncing iptables rules"
//! kube-proxy-1  | 2026-02-03T04:05:06.100200000Z I0203 …                         --timestamps: `times` takes it off
//! kube-proxy.1.x1y2z3@node-a    | I0203 …                                        docker service logs
//! ```

use super::layer::Layer;
use super::prefix::{self, Read, Taken};
use crate::form::stamp::Dating;

/// The layer.
pub const LAYER: Layer = Layer {
    name: "compose",
    title: "docker compose logs, docker service logs",
    sample: "kube-proxy-1  | I0203 04:05:06.100000       1 proxier.go:1] x\n",
    certain: false,
    wears: |head| prefix::worn(head, taken),
    open: |setting| prefix::open(setting, taken),
    put_on: Some(|text| prefix::put_on(text, "kube-proxy-1  | ")),
};

fn taken<'a>(line: &'a [u8], _: &Dating) -> Read<'a> {
    if line.starts_with(b"Attaching to ") {
        return Read::Own;
    }
    let read = || {
        let bar = memchr::memchr(b'|', &line[..line.len().min(200)])?;
        let name = std::str::from_utf8(line[..bar].strip_suffix(b" ")?.trim_ascii_end()).ok()?;
        let (container, node) = name.split_once('@').map_or((name, None), |(name, node)| (name, Some(node)));
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if container.is_empty() || !name.bytes().all(|byte| plain(byte) || byte == b'@') {
            return None;
        }
        let text = &line[bar + 1..];
        let text = text.strip_prefix(b" ").unwrap_or(text);
        Some(Taken { container: Some(container), node, text, ..Taken::default() })
    };
    read().map_or(Read::Other, Read::Inside)
}

#[cfg(test)]
mod tests {
    use super::LAYER;
    use crate::layers::harness::{lines, sections, wears};

    #[test]
    fn names_are_taken_off() {
        let text = "Attaching to kube-proxy_1\nkube-proxy_1  | I0203 x | y\nkube-proxy.1.x@node-a    | z\n";
        assert!(wears(&LAYER, text));
        let found = lines(&LAYER, text);
        assert_eq!(found, [(2, None, "I0203 x | y".to_owned()), (3, None, "z".to_owned())]);
        let around = &sections(&[&LAYER], text.as_bytes())[0].around;
        assert_eq!(around.known(1).container, Some("kube-proxy_1"));
        assert_eq!(around.known(2).node, Some("node-a"));
        assert!(!wears(&LAYER, "a b | c\n") && !wears(&LAYER, "| a | b |\n"));
    }
}
