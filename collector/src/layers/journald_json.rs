//! `journalctl -o json` and `-o json-pretty`.
//!
//! ```text
//! {"__REALTIME_TIMESTAMP":"1795408951500000","_HOSTNAME":"node-a","SYSLOG_IDENTIFIER":"kube-proxy","MESSAGE":"I1123 04:42:31.5…"}
//! ```
//!
//! A message with bytes that are no text is a list of numbers.

use super::json_fields::Fields;
use super::json_scan::Context;
use super::json_store::{Shape, Turned, objects};
use super::layer::Layer;

/// The layer.
pub const LAYER: Layer = Layer {
    name: "journald_json",
    title: "journald, as JSON",
    sample: "{\"__REALTIME_TIMESTAMP\":\"1795408951500000\",\"_HOSTNAME\":\"node-a\",\"MESSAGE\":\"I1123 04:42:31.500000       1 proxier.go:1] x\"}\n",
    certain: true,
    wears: |head| SHAPE.worn(head),
    open: |setting| SHAPE.open(setting),
    put_on: Some(|text| {
        objects(text, |line| serde_json::json!({"__REALTIME_TIMESTAMP": "1795408951500000", "MESSAGE": line}))
    }),
};

static SHAPE: Shape = Shape {
    message: &["MESSAGE"],
    marks: &[&["MESSAGE", "__REALTIME_TIMESTAMP"], &["MESSAGE", "_HOSTNAME"], &["MESSAGE", "PRIORITY"]],
    time: &["__REALTIME_TIMESTAMP", "_SOURCE_REALTIME_TIMESTAMP"],
    pod: &["CONTAINER_POD_NAME"],
    node: &["_HOSTNAME"],
    file: &["CONTAINER_NAME"],
    turn: Some(of_numbers),
    ..Shape::EMPTY
};

fn of_numbers(fields: &Fields<'_>, _: &Context) -> Turned {
    let numbers = fields.get("MESSAGE").and_then(|value| value.message()).filter(|json| json.starts_with('['));
    match numbers.and_then(|json| serde_json::from_str::<Vec<u8>>(&json).ok()) {
        Some(bytes) => Turned::To(String::from_utf8_lossy(&bytes).into_owned()),
        None => Turned::Inside,
    }
}

#[cfg(test)]
mod tests {
    use super::LAYER;
    use crate::layers::harness::{lines, sections, wears};

    #[test]
    fn messages_as_text_and_as_numbers_are_read() {
        let text = "{\"__REALTIME_TIMESTAMP\":\"1795408951500000\",\"_HOSTNAME\":\"node-a\",\"MESSAGE\":\"x\"}\n{\n\t\"__REALTIME_TIMESTAMP\" : \"1795408951500000\",\n\t\"MESSAGE\" : [ 73, 49 ]\n}\n";
        assert!(wears(&LAYER, text));
        let time = Some(1_795_408_951_500_000_000);
        assert_eq!(lines(&LAYER, text), [(1, time, "x".to_owned()), (2, time, "I1".to_owned())]);
        assert_eq!(sections(&[&LAYER], text.as_bytes())[0].around.known(1).node, Some("node-a"));
    }
}
