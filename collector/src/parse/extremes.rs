//! Every number, margin and name of every format's sample, made as long and as odd as a stranger can: whatever is a width, an index or a
//! quantile to a parser, nothing panics, and the pieces of a state are its text.

use super::harness::{context, parse_in, parse_text};
use super::{FORMATS, Format, Reads, dataplane, metrics, objects};
use crate::form::dissector::check::{dissect, shape};
use crate::form::{Batch, Context};

/// A width of a format string is 65,535 at most.
const LONG: usize = 66_000;
/// Places of a sample that are tried, of each kind.
const PLACES: usize = 8;

const RULESET: &str = concat!(
    "# TIMESTAMP 1795410230.503735502\ntable ip kube-proxy { # handle 5\n\tmap service-ips { # handle 10\n",
    "\t\ttype ipv4_addr . inet_proto . inet_service : verdict\n",
    "\t\telements = { 10.96.0.1 . tcp . 443 : goto service-2QRHZV4L-default/kubernetes/tcp/https,\n",
    "\t\t\t     10.96.100.100 . tcp . 80 : goto service-JKB34KST-default/test/tcp/http }\n\t}\n\n",
    "\tchain service-JKB34KST-default/test/tcp/http { # handle 26\n",
    "\t\tcounter packets 7 bytes 420 meta l4proto tcp dnat ip to numgen random mod 2 map { 0 : 10.244.0.121 . 8080, 1 : 10.244.0.125 . 8080 } # handle 31\n\t}\n}\n",
);

/// Where something stands, up to [`PLACES`] of it, spread over the text.
fn places(text: &str, is_part: impl Fn(char) -> bool) -> Vec<std::ops::Range<usize>> {
    let mut found: Vec<std::ops::Range<usize>> = Vec::new();
    for (at, _) in text.char_indices().filter(|(_, letter)| is_part(*letter)) {
        match found.last_mut().filter(|last| last.end == at) {
            Some(last) => last.end += text[at..].chars().next().map_or(1, char::len_utf8),
            None => found.push(at..at + text[at..].chars().next().map_or(1, char::len_utf8)),
        }
    }
    let step = found.len().div_ceil(PLACES).max(1);
    found.into_iter().step_by(step).collect()
}

fn replaced(text: &str, place: &std::ops::Range<usize>, by: &str) -> String {
    [&text[..place.start], by, &text[place.end..]].concat()
}

/// Parses a text with and without a year, and takes its states apart.
fn tried(format: &Format, text: &str) -> Batch {
    let dated = Context { year: Some(2026), utc_offset: Some(0), ..context() };
    parse_in(format, &dated, text);
    let batch = parse_text(format, text);
    for snapshot in &batch.snapshots {
        dissect(snapshot.dissector, "x", &snapshot.text);
    }
    if let Reads::State(dissector) = format.reads {
        dissect(dissector, "x", text.as_bytes());
    }
    batch
}

#[test]
fn no_number_margin_or_name_of_any_format_is_too_long_or_too_odd() {
    let (digits, blanks, name) = ("9".repeat(LONG), " ".repeat(LONG), "é".repeat(LONG / 2));
    for format in FORMATS {
        for place in places(format.sample, |letter| letter.is_ascii_digit()) {
            for number in ["-1", "99999999999999999999", "1e999", "NaN", "", "é", &digits] {
                tried(format, &replaced(format.sample, &place, number));
            }
        }
        for place in places(format.sample, |letter| letter == ' ') {
            tried(format, &replaced(format.sample, &place, &blanks));
        }
        for place in places(format.sample, |letter| letter.is_ascii_alphabetic()) {
            tried(format, &replaced(format.sample, &place, &name));
        }
        tried(format, &format!("{blanks}{}", format.sample));
    }
}

#[test]
fn handles_indices_and_counters_of_nft_are_text_of_any_length() {
    let (digits, blanks) = ("9".repeat(LONG), " ".repeat(LONG));
    for (plain, hostile) in [
        ("# handle 26", format!("# handle {digits}")),
        ("# handle 31", format!("# handle -{digits}é")),
        ("\tchain service", format!("{blanks}chain service")),
        ("{ 0 : 10", format!("{{ {digits} : 10")),
        ("{ 0 : 10", format!("{{{blanks}0 : 10")),
        (" . 443 :", format!(" . {digits} :")),
        ("mod 2", format!("mod {digits}")),
        ("packets 7 bytes 420", format!("packets {digits} bytes {blanks}{digits}")),
        ("packets 7", format!("packets {blanks}7")),
        ("8080 }", format!("8080{}}}", ",".repeat(LONG))),
    ] {
        assert!(RULESET.contains(plain), "{plain}");
        let batch = tried(&dataplane::nft_text::FORMAT, &RULESET.replacen(plain, &hostile, 1));
        assert_eq!((batch.snapshots.len(), batch.rejected), (1, 0), "{plain}");
        let pieces = dissect(&dataplane::nft_text::DISSECTOR, "x", &batch.snapshots[0].text);
        // What is no port is none.
        assert!(pieces.len() > 10 && !pieces.iter().any(|piece| shape(piece).contains(":999")), "{plain}");
    }
    let object = "{\"nftables\": [{\"chain\": {\"family\": \"ip\", \"table\": \"a\", \"name\": \"b\", \"handle\": 7}}, {\"rule\": {\"family\": \"ip\", \"table\": \"a\", \"chain\": \"b\", \"handle\": 7, \"expr\": [{\"counter\": {\"packets\": 7, \"bytes\": 7}}]}}]}";
    for number in ["-1", "1e999", "9223372036854775808", "0.5", "null", "\"x\"", "[7]", "{}", &digits] {
        for place in places(object, |letter| letter == '7') {
            tried(&dataplane::nft_json::FORMAT, &replaced(object, &place, number));
        }
    }
}

#[test]
fn quantiles_and_edges_of_an_exposition_are_labels_and_what_is_no_time_is_refused() {
    let digits = "9".repeat(LONG);
    for label in ["NaN", "-1", "1e999", "0.5\\n", "é\u{202e}", "", &digits] {
        let text = format!(
            "# SCRAPE 1795407710.5\n# TYPE a summary\na{{quantile=\"{label}\"}} 1\n# TYPE b histogram\nb_bucket{{le=\"{label}\"}} 1\n"
        );
        let batch = parse_text(&metrics::exposition::SCRAPE, &text);
        assert_eq!((batch.samples.len(), batch.rejected), (2, 0), "{}", label.chars().take(9).collect::<String>());
    }
    for line in
        [format!("a 1 {digits}"), format!("a 1 -{digits}"), format!("a{{{digits}=\"x\"}} 1"), format!("a 1 2 {digits}")]
    {
        let batch =
            parse_text(&metrics::exposition::SCRAPE, &format!("# SCRAPE 1795407710.5\n# TYPE a gauge\n{line}\n"));
        assert_eq!((batch.samples.len(), batch.rejected), (0, 1), "{}", &line[..20]);
    }
    // A value is as near as a float comes to it.
    let text = format!("# SCRAPE 1795407710.5\na 0.{digits}\na {digits}\n");
    let batch = parse_text(&metrics::exposition::SCRAPE, &text);
    assert_eq!(batch.samples.iter().map(|sample| sample.value).collect::<Vec<_>>(), [1.0, f64::INFINITY]);
}

#[test]
fn columns_of_kubectl_may_stand_anywhere() {
    let blanks = " ".repeat(LONG);
    let table = |names: &str, row: &str| {
        let batch = tried(&objects::kubectl_table::FORMAT, &format!("{names}\n{row}\n"));
        (batch.records, batch.rejected)
    };
    let names = format!("NAMESPACE   NAME   READY{blanks}STATUS   AGE");
    assert_eq!(table(&names, &format!("default     a      1/1  {blanks}Running  1s")), (1, 0));
    assert_eq!(table(&names, &format!("default     a{blanks}")), (1, 0));
    assert_eq!(table("NAME   READY   AGE", &format!("{}   1/1   1s", "é".repeat(LONG))), (1, 0));
    assert_eq!(table("NAME   READY   AGE", "éé\u{301}éééé   éé"), (0, 1));
    // More columns than any table has are no table.
    table(&"NAME   READY   ".repeat(LONG), &"a   1/1   ".repeat(LONG));
}
