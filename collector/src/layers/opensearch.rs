//! OpenSearch and Elasticsearch: answers of a search, dumps of documents. What stands in `_source` is what a shipper wrote, and
//! goes to the layer of that shipper.
//!
//! ```text
//! {"took":1,"hits":{"total":{"value":1},"hits":[{"_index":"logs","_source":{"log":"I0203 …","kubernetes":{…}}}]}}
//! {"_index":"logs","_id":"1","_source":{"message":"I0203 …","@timestamp":"2026-…Z"}}
//! ```

use super::json_fields::Fields;
use super::json_scan::Context;
use super::json_store::{Shape, Turned, objects};
use super::layer::Layer;

/// The layer.
pub const LAYER: Layer = Layer {
    name: "opensearch",
    title: "OpenSearch, Elasticsearch: hits of a search, dumps",
    sample: "{\"_index\":\"logs\",\"_id\":\"1\",\"_source\":{\"log\":\"I0203 04:05:06.100000       1 proxier.go:1] x\",\"@timestamp\":\"2026-02-03T04:05:06.100Z\"}}\n",
    certain: true,
    wears: |head| SHAPE.worn(head),
    open: |setting| SHAPE.open(setting),
    put_on: Some(|text| {
        objects(text, |line| serde_json::json!({"_index": "a", "_source": {"event": {"original": line}}}))
    }),
};

static SHAPE: Shape = Shape {
    entries: &["", "[]", "hits.hits[]", "rawResponse.hits.hits[]", "responses[].hits.hits[]", "hits[]"],
    message: &[
        "_source.kubernetes.audit",
        "_source.audit",
        "_source.responseElements",
        "_source.event.original",
        "_source",
    ],
    marks: &[&["_source"]],
    turn: Some(turn),
    ..Shape::EMPTY
};

/// The object of an audit event where one lies within others; else the text that it was made of, else all that was stored.
fn turn(fields: &Fields<'_>, _: &Context) -> Turned {
    let audit = ["_source.kubernetes.audit", "_source.audit", "_source.responseElements"];
    let found = audit.iter().find_map(|name| fields.get(name).filter(|value| value.is_object()));
    let text = || fields.text(&["_source.event.original"]).map(|text| text.into_owned());
    match found.and_then(|value| value.message().map(|json| json.into_owned())).or_else(text) {
        Some(inside) => Turned::To(inside),
        None => match fields.get("_source").and_then(|value| value.message()) {
            Some(json) => Turned::To(json.into_owned()),
            None => Turned::Inside,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::LAYER;
    use crate::layers::fluent_bit;
    use crate::layers::harness::{lines, sections, wears};

    #[test]
    fn hits_and_dumps_are_read() {
        let hit =
            r#"{"_index":"logs","_id":"1","_score":1,"_source":{"log":"x","@timestamp":"2026-02-03T04:05:06.100Z"}}"#;
        for text in [
            hit.to_owned(),
            format!(r#"{{"took":1,"hits":{{"total":{{"value":1}},"hits":[{hit}]}}}}"#),
            format!(r#"{{"responses":[{{"hits":{{"hits":[{hit}]}}}}]}}"#),
        ] {
            assert!(wears(&LAYER, &text), "{text}");
            let inside = sections(&[&LAYER, &fluent_bit::LAYER], text.as_bytes());
            assert_eq!(inside[0].text, b"x\n", "{text}");
            assert_eq!(inside[0].around.known(1).outer_time, Some(1_770_091_506_100_000_000));
        }
    }

    #[test]
    fn an_audit_event_within_a_document_goes_on_alone() {
        for text in [r#"{"_source":{"kubernetes":{"audit":{"auditID":"a"}}}}"#, r#"{"_source":{"auditID":"a"}}"#] {
            assert_eq!(lines(&LAYER, text)[0].2, r#"{"auditID":"a"}"#);
        }
    }
}
