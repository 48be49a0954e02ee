//! `capture.toml`: the text of one, and the globs in it against paths of a capture.

use syncline_collector::bundle::capture_toml::parse;
use syncline_collector::bundle::rules::Rules;

use crate::fixtures;

/// Paths that globs are tried on.
const PATHS: [&str; 6] = ["a", "iptables/nat-save.stream", "a/b/c/d.tar/e/f.log", "", "/", "aaaaaaaaaaaaaaaaaaaaaaab"];

/// Takes an input.
///
/// # Panics
/// Where a statement or a refusal is of no line of the text, or a rule counts whose glob is none.
pub fn run(data: &[u8]) {
    let lines = 1..=data.split(|byte| *byte == b'\n').count() as i64;
    let statements = parse(data);
    let facts = statements.facts.iter().map(|(line, key, _)| (line, key));
    for (line, what) in facts.chain(statements.refused.iter().map(|(line, what)| (line, what))) {
        assert!(lines.contains(line), "{what}: line {line} of {lines:?}");
    }
    let rules = Rules::new(statements.sources).expect("globs that were accepted one by one");
    for path in PATHS {
        let _ = rules.of(path);
    }
}

/// What its module's documentation shows, and statements that are wrong.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = [
        "name = \"a\"\ndataplane = \"cilium\"\nscenario = \"scale-up\"\nnode = \"node-a\"\nlabel = \"x\"\nyear = 2026\n",
        "timezone = \"+02:00\"\nsame_host = [\"node-a\", \"apiserver\"]\nsynthetic = true\n",
        "[versions]\ncilium = \"1.19.4\"\n\"kube-proxy\" = '''1.36.2'''\n",
        "[source.\"odd/*.txt\"]\nkind = \"iptables-save\"\nclock = \"node\"\n[source.\"**/a?b\"]\nclock = \"node/boottime\"\n",
        "source = { \"a*a*a*a*b\" = { clock = \"node\" }, \"**/**/**/x\" = { kind = \"audit\" } }\n",
        "year = 99999999999999999999\n",
        "year = 0x7fff_ffff\ntimezone = \"-99:99\"\n",
        "a.b.c.d = 1979-05-27T07:32:00Z\n# comment\n[[source]]\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec();
    let is_one = |text: &Vec<u8>| text.starts_with(b"name = ") || text.starts_with(b"dataplane = ");
    seeds.extend(fixtures::captures().into_iter().filter(is_one));
    seeds
}
