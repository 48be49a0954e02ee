//! Loki: `logcli` as text and JSON, and answers of its HTTP API.
//!
//! ```text
//! {"labels":{"app":"kube-proxy"},"line":"I0203 …","timestamp":"2026-02-03T04:05:06.100200000Z"}
//! {"status":"success","data":{"resultType":"streams","result":[{"stream":{"app":"kube-proxy"},"values":[["1770091506100200000","I0203 …"]]}]}}
//! 2026-02-03T04:05:06Z {app="kube-proxy", pod="kube-proxy-a"} I0203 …
//! ```

use super::json_fields::of_log_path;
use super::json_store::{Shape, objects};
use super::layer::Layer;
use super::prefix::{self, Read, Taken};
use crate::form::stamp::Dating;

/// Its JSON.
pub const LAYER: Layer = Layer {
    name: "loki",
    title: "Loki: logcli -o jsonl, answers of its HTTP API",
    sample: "{\"labels\":{\"app\":\"kube-proxy\"},\"line\":\"I0203 04:05:06.100000       1 proxier.go:1] x\",\"timestamp\":\"2026-02-03T04:05:06.100200000Z\"}\n",
    certain: true,
    wears: |head| SHAPE.worn(head),
    open: |setting| SHAPE.open(setting),
    put_on: Some(|text| {
        objects(
            text,
            |line| serde_json::json!({"labels": {"app": "x"}, "line": line, "timestamp": "2026-11-23T04:42:31.500000000Z"}),
        )
    }),
};

static SHAPE: Shape = Shape {
    entries: &["", "[]", "data.result[].values[]", "result[].values[]", "[].values[]", "streams[].values[]"],
    message: &["line", "Line"],
    marks: &[&["line", "labels"], &["line", "timestamp"], &["Line", "Time"]],
    held: &[&["line", "timestamp"]],
    time: &["timestamp", "tsNs", "Time"],
    pod: &["labels.pod", "fields.pod", "stream.pod", "labels.pod_name", "stream.pod_name"],
    namespace: &["labels.namespace", "fields.namespace", "stream.namespace"],
    container: &["labels.container", "fields.container", "stream.container", "stream.container_name"],
    node: &["labels.node_name", "stream.node_name", "labels.node", "stream.node", "labels.host", "stream.host"],
    file: &["labels.filename", "stream.filename", "fields.filename"],
    ..Shape::EMPTY
};

/// What `logcli` prints.
pub const TEXT: Layer = Layer {
    name: "loki",
    title: "Loki: logcli",
    sample: "2026-02-03T04:05:06Z {app=\"kube-proxy\", pod=\"kube-proxy-a\"} I0203 04:05:06.100000       1 proxier.go:1] x\n",
    certain: true,
    wears: |head| prefix::worn(head, taken),
    open: |setting| prefix::open(setting, taken),
    put_on: Some(|text| prefix::put_on(text, "2026-11-23T04:42:31Z {app=\"x\"} ")),
};

fn taken<'a>(line: &'a [u8], _: &Dating) -> Read<'a> {
    let read = || {
        let (time, rest) = prefix::rfc3339(line)?;
        let rest = rest.trim_ascii_start().strip_prefix(b"{")?;
        let mut found = Taken { time: Some(time), ..Taken::default() };
        let mut at = 0;
        loop {
            while matches!(rest.get(at), Some(b',' | b' ')) {
                at += 1;
            }
            if rest.get(at) == Some(&b'}') {
                let text = rest.get(at + 1..)?.strip_prefix(b" ")?;
                // Labels are padded to one width.
                found.text = text.trim_ascii_start();
                return Some(found);
            }
            let (begin, equals) = (at, at + memchr::memchr(b'=', rest.get(at..)?)?);
            let name = rest.get(begin..equals)?;
            if rest.get(equals + 1) != Some(&b'"') || name.is_empty() || name.contains(&b' ') {
                return None;
            }
            let from = equals + 2;
            at = from;
            loop {
                at += memchr::memchr2(b'"', b'\\', rest.get(at..)?)?;
                if rest[at] == b'"' {
                    break;
                }
                at += 2;
            }
            found.label(name, std::str::from_utf8(&rest[from..at]).ok()?);
            at += 1;
        }
    };
    read().map_or(Read::Other, Read::Inside)
}

impl<'a> Taken<'a> {
    fn label(&mut self, name: &[u8], value: &'a str) {
        match name {
            b"pod" | b"pod_name" => self.pod = Some(value),
            b"container" | b"container_name" => self.container = Some(value),
            b"node" | b"node_name" => self.node = Some(value),
            b"namespace" => self.namespace = Some(value),
            b"filename" => {
                if let Some((namespace, pod, container)) = of_log_path(value) {
                    (self.namespace, self.pod, self.container) = (Some(namespace), Some(pod), Some(container));
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LAYER, TEXT};
    use crate::layers::harness::{lines, sections, wears};

    const AT: i64 = 1_770_091_506_100_200_000;

    #[test]
    fn every_way_to_export_gives_the_same_line() {
        let line = r#"{"labels":{"pod":"kube-proxy-a","namespace":"n"},"line":"I0203 x","timestamp":"2026-02-03T04:05:06.1002Z"}"#;
        let answer = r#"{"status":"success","data":{"resultType":"streams","result":[{"stream":{"pod":"kube-proxy-a","namespace":"n"},"values":[["1770091506100200000","I0203 x"]]}],"stats":{"a":[]}}}"#;
        let pretty = serde_json::to_string_pretty(&serde_json::from_str::<serde_json::Value>(answer).expect("JSON"));
        let push = r#"{"streams":[{"stream":{"namespace":"n","pod":"kube-proxy-a"},"values":[["1770091506100200000","I0203 x"]]}]}"#;
        for text in [line, answer, &pretty.expect("JSON"), push] {
            assert!(wears(&LAYER, text), "{text}");
            let found = lines(&LAYER, text);
            assert_eq!((found[0].1, &*found[0].2, found.len()), (Some(AT), "I0203 x", 1), "{text}");
            let around = &sections(&[&LAYER], text.as_bytes())[0].around;
            assert_eq!(around.known(1).pod, Some("n/kube-proxy-a"), "{text}");
        }
        let text = "2026-02-03T04:05:06.1002Z {namespace=\"n\", pod=\"kube-proxy-a\"}      I0203 x\n2026-02-03T04:05:07Z {}  y\n";
        assert!(wears(&TEXT, text));
        assert_eq!(lines(&TEXT, text)[0], (1, Some(AT), "I0203 x".to_owned()));
        assert_eq!(sections(&[&TEXT], text.as_bytes())[0].around.known(1).pod, Some("n/kube-proxy-a"));
    }

    #[test]
    fn answers_of_prometheus_are_none() {
        for kind in ["matrix", "streams"] {
            let text = format!(
                r#"{{"status":"success","data":{{"resultType":"{kind}","result":[{{"metric":{{"line":"a"}},"values":[[1770091506.1,"1"],[1770091507.1,"2"]]}}]}}}}"#
            );
            assert!(!wears(&LAYER, &text));
        }
        let text = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"line","timestamp":"a"},"value":[1770091506.1,"1"]}]}}"#;
        assert!(!wears(&LAYER, text));
        assert!(!wears(&TEXT, "2026-02-03T04:05:06Z {\"kind\":\"Event\"}\n"));
    }
}
