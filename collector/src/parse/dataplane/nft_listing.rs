//! Which lines are part of a listing of nft, and where one listing ends and the next begins.
//!
//! ```text
//! table ip kube-proxy {                 one moment: two chains of a table, listed one after the other
//!     chain service-A-… {
//! …
//! table ip kube-proxy {
//!     chain service-B-… {
//! …
//! table ip kube-proxy {                 the next moment: a chain comes again
//!     chain service-A-… {
//! ```

use std::collections::HashSet;
use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::parse::dataplane::nft_text::block;

/// Words that lines of a ruleset begin with, where somebody took off what they are indented by.
const WORDS: [&str; 30] = [
    "table",
    "chain",
    "map",
    "set",
    "type",
    "elements",
    "flags",
    "comment",
    "ip",
    "ip6",
    "meta",
    "tcp",
    "udp",
    "sctp",
    "ct",
    "fib",
    "counter",
    "jump",
    "goto",
    "dnat",
    "masquerade",
    "policy",
    "timeout",
    "size",
    "update",
    "numgen",
    "flowtable",
    "return",
    "accept",
    "mark",
];

/// Whether a line may be one of a ruleset.
pub fn knows(line: &[u8]) -> bool {
    match line.first() {
        None | Some(b' ' | b'\t' | b'}' | b'#') => true,
        Some(first) if first.is_ascii_digit() => true,
        _ => {
            let word = line.split(|byte| !byte.is_ascii_alphanumeric()).next().unwrap_or_default();
            WORDS.iter().any(|known| known.as_bytes() == word)
        }
    }
}

/// A table with a block that an earlier one of its name had: several chains of one moment are several tables.
pub fn again(text: &[u8]) -> Vec<usize> {
    let heads = table_heads(text);
    // Most listings have each table once.
    let names: HashSet<&str> = heads.iter().map(|(_, name)| name.as_str()).collect();
    if names.len() == heads.len() {
        return Vec::new();
    }
    let ends = heads.iter().map(|(at, _)| *at).skip(1).chain([text.len()]);
    let mut seen: HashSet<(String, String)> = HashSet::new();
    let mut found = Vec::new();
    for ((start, table), end) in heads.iter().zip(ends) {
        let blocks = String::from_utf8_lossy(&text[*start..end]);
        let own: HashSet<(String, String)> = blocks
            .lines()
            .skip(1)
            .filter_map(block)
            .map(|(keyword, name)| (table.clone(), format!("{keyword} {name}")))
            .collect();
        if own.iter().any(|one| seen.contains(one)) || (own.is_empty() && seen.iter().any(|(known, _)| known == table))
        {
            found.push(*start);
            seen.clear();
        }
        seen.extend(own);
    }
    found
}

/// Begins a table.
static TABLE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\ntable "));

/// Where tables begin, and their names.
fn table_heads(text: &[u8]) -> Vec<(usize, String)> {
    let ahead = text.starts_with(b"table ").then_some(0);
    let others = TABLE.find_iter(text).map(|at| at + 1);
    ahead
        .into_iter()
        .chain(others)
        .filter_map(|at| {
            let end = memchr::memchr(b'\n', &text[at..]).map_or(text.len(), |length| at + length);
            Some((at, block(&String::from_utf8_lossy(&text[at..end]))?.1))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{again, knows};

    #[test]
    fn a_chain_that_comes_again_begins_another_listing() {
        let table = |chain: &str| format!("table ip kube-proxy {{\n\tchain {chain} {{\n\t}}\n}}\n");
        let length = table("a").len();
        let at = |chains: &[&str]| again(chains.iter().map(|chain| table(chain)).collect::<String>().as_bytes());
        assert_eq!(at(&["a", "b"]), [] as [usize; 0]);
        assert_eq!(at(&["a", "b", "a", "b"]), [2 * length]);
        assert_eq!(at(&["a", "a", "a"]), [length, 2 * length]);
        for line in ["\t\tip daddr 10.0.0.1 accept", "}", "table ip nat {", "# Warning: x", "jump X", ""] {
            assert!(knows(line.as_bytes()), "{line}");
        }
        assert!(!knows(b"Error: No such file or directory"));
    }
}
