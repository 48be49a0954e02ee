//! The log file of a container as docker's `json-file` driver writes it.
//!
//! ```text
//! {"log":"I0803 09:27:45.396497       1 proxier.go:…\n","stream":"stderr","time":"2021-08-03T09:27:45.396612809Z"}
//! ```
//!
//! What is longer than 16 KiB is split; only its last piece ends with `\n`.

use super::json_store::{Shape, objects};
use super::layer::Layer;

/// The layer.
pub const LAYER: Layer = Layer {
    name: "docker",
    title: "log file of a container (docker)",
    sample: "{\"log\":\"I0803 09:27:45.396497       1 proxier.go:1] x\\n\",\"stream\":\"stderr\",\"time\":\"2021-08-03T09:27:45.396612809Z\"}\n",
    certain: true,
    wears: |head| has_no_more(head.bytes) && SHAPE.worn(head),
    open: |setting| SHAPE.open(setting),
    put_on: Some(|text| {
        objects(
            text,
            |line| serde_json::json!({"log": format!("{line}\n"), "stream": "stdout", "time": "2026-11-23T04:42:31.500000000Z"}),
        )
    }),
};

static SHAPE: Shape = Shape {
    entries: &[""],
    message: &["log"],
    marks: &[&["log", "stream"]],
    time: &["time"],
    file: &["attrs.name", "attrs.tag"],
    unended_is_part: true,
    ..Shape::EMPTY
};

/// Shippers write the same keys and others.
fn has_no_more(head: &[u8]) -> bool {
    let first = head.split(|byte| *byte == b'\n').find(|line| !line.trim_ascii().is_empty()).unwrap_or_default();
    super::json_fields::Fields::of_object(first)
        .is_none_or(|fields| fields.0.iter().all(|(key, _)| matches!(&**key, "log" | "stream" | "time" | "attrs")))
}

#[cfg(test)]
mod tests {
    use super::LAYER;
    use crate::layers::harness::{lines, wears};

    #[test]
    fn pieces_are_joined() {
        let long = "x".repeat(16 << 10);
        let text = format!(
            "{{\"log\":\"{long}\",\"stream\":\"stderr\",\"time\":\"2026-11-23T04:42:31.5Z\"}}\n{{\"log\":\"other\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-23T04:42:31.5Z\"}}\n{{\"log\":\"y\\n\",\"stream\":\"stderr\",\"time\":\"2026-11-23T04:42:31.6Z\"}}\n"
        );
        assert!(wears(&LAYER, &text));
        let found = lines(&LAYER, &text);
        let time = Some(1_795_408_951_500_000_000);
        assert_eq!(found, [(2, time, "other".to_owned()), (1, time, format!("{long}y"))]);
    }

    #[test]
    fn a_line_that_breaks_off_costs_itself() {
        let good = "{\"log\":\"a\\n\",\"stream\":\"stderr\",\"time\":\"2026-11-23T04:42:31.5Z\"}\n";
        let text = format!("{good}{{\"log\":\"I01\n{good}\nplain\n{good}");
        let texts: Vec<String> = lines(&LAYER, &text).into_iter().map(|(_, _, text)| text).collect();
        assert_eq!(texts, ["a", "{\"log\":\"I01", "a", "plain", "a"]);
    }

    #[test]
    fn lines_that_never_end_are_held_up_to_a_limit() {
        let long = "x".repeat(17_000);
        let entry = |text: &str, stream: usize| {
            format!("{{\"log\":\"{text}\",\"stream\":\"{stream}\",\"time\":\"2026-11-23T04:42:31.5Z\"}}\n")
        };
        let text: String = (0..200).map(|stream| entry(&long, stream)).chain([entry("whole\\n", 200)]).collect();
        let found = lines(&LAYER, &text);
        let numbers: Vec<i64> = found.iter().map(|(number, ..)| *number).collect();
        // Most were given ahead of a line that came behind all of them, and none twice.
        let whole = found.iter().position(|(_, _, text)| text == "whole").expect("the line");
        assert!((130..200).contains(&whole), "{whole}");
        assert!(numbers[..whole].is_sorted() && numbers.len() == 201, "{numbers:?}");
    }
}
