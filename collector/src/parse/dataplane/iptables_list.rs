//! `iptables -L [CHAIN] -n [-v] [-x] [--line-numbers]`.
//!
//! ```text
//! # TIMESTAMP 1795407710.654642669
//! Chain KUBE-SVC-YEZFJYGKNSPCOFP3 (1 references)
//! num      pkts      bytes target     prot opt in     out     source               destination
//! 2        2218   133540 KUBE-SEP-2FPKVZBYZLLQOE3G  0    --  *      *       0.0.0.0/0            0.0.0.0/0            /* default/test:http -> 10.244.0.252:8080 */
//! ```
//!
//! Long targets push the columns out of line, so rules are read by words around the `opt` column. Counters with a
//! suffix (`12K`, printed without `-x`) are known to half a unit only: they stay in the text, without a value, and are counted. The output names no table. It has no end
//! mark either, so the last snapshot of a stream proves no absence.

use std::ops::Range;
use std::sync::LazyLock;

use memchr::memmem::Finder;
use syncline_schema::clock::ClockToken;

use crate::form::dissector::{Counters, Dissector, End, Opens, RuleFields, Section, lines, repeated_tables};
use crate::form::stamp;
use crate::form::{Cut, Format, Head, Reads, Sniff};
use crate::parse::dataplane::rule_comment::{address_and_port, endpoint, protocol, service};

/// The format.
pub const FORMAT: Format = Format {
    kind: "iptables-list",
    title: "iptables -L of one chain or of a table, one file or a stream of snapshots",
    clock: ClockToken::Node,
    cut: Cut::Marks(stamp::MARK),
    sniff,
    reads: Reads::State(&DISSECTOR),
    sample: "# TIMESTAMP 1795407710.654642669\nChain KUBE-SVC-YEZFJYGKNSPCOFP3 (1 references)\nnum      pkts      bytes target     prot opt in     out     source               destination\n2        2218   133540 KUBE-SEP-2FPKVZBYZLLQOE3G  0    --  *      *       0.0.0.0/0            0.0.0.0/0            /* default/test:http -> 10.244.0.252:8080 */\n",
    recognised: "begins with `Chain NAME (policy …)` or `Chain NAME (N references)` and a line of column names",
    capture: "while :; do date '+# TIMESTAMP %s.%N'; iptables -w -t nat -L KUBE-SVC-… -v -n -x --line-numbers; sleep 0.1; done",
    proves: "which endpoints one Service's chain held, between a stamp and the next",
};

/// How its pieces are taken apart.
pub const DISSECTOR: Dissector =
    Dissector { format: "iptables-list", end, knows, again, split: lines, rounded, section, counters, fields };

/// Opens another chain.
static CHAIN: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\nChain "));
/// What may stand in the column `opt`.
static OPTIONS: LazyLock<[Finder<'static>; 3]> = LazyLock::new(|| [" -- ", " -f ", " !f "].map(Finder::new));

/// What iptables prints on standard error for a chain that does not exist: an answer, not a failure.
const NO_CHAIN: &[u8] = b"No chain/target/match by that name";

fn sniff(head: &Head) -> Sniff {
    let mut said = stamp::tried_lines(head.bytes, head.whole)
        .filter(|line| !line.trim_ascii().is_empty() && !line.starts_with(b"#") && !line.starts_with(b"Every "));
    let lines: Vec<&[u8]> = said.by_ref().take(24).collect();
    // A pasted session has a prompt, and what was done before, ahead of the first chain.
    let pair = lines.windows(2).position(|pair| chain_of(pair[0]).is_some() && is_header(pair[1]));
    let prompt = |line: &[u8]| [&b"# "[..], b"$ ", b"[root@"].iter().any(|mark| line.starts_with(mark));
    let asked = |line: &[u8]| memchr::memmem::find(line, b"iptables ").is_some();
    match pair {
        Some(0) => Sniff::Yes,
        Some(at) if lines[..at].iter().any(|line| prompt(line) || asked(line)) => Sniff::Yes,
        _ => Sniff::No,
    }
}

fn is_header(line: &[u8]) -> bool {
    let words: Vec<&[u8]> = words(line).into_iter().map(|word| &line[word]).collect();
    words.contains(&b"target".as_slice()) && words.contains(&b"prot".as_slice())
}

fn end(text: &[u8]) -> End {
    if memchr::memmem::find(text, NO_CHAIN).is_some() {
        return End::Marked;
    }
    let header = text.split(|byte| *byte == b'\n').any(is_header);
    if header { End::Unmarked } else { End::Broken }
}

/// Name of the chain that a line opens.
fn chain_of(line: &[u8]) -> Option<&[u8]> {
    let rest = line.strip_prefix(b"Chain ")?;
    let name = &rest[..rest.iter().position(|byte| *byte == b' ')?];
    (!name.is_empty() && rest.get(name.len() + 1) == Some(&b'(')).then_some(name)
}

/// Chains, column names, rules (all have an `opt` column), and what iptables says of a chain that is not there.
fn knows(line: &[u8]) -> bool {
    let rule = || OPTIONS.iter().any(|option| option.find(line).is_some());
    line.is_empty()
        || rule()
        || line.starts_with(b"#")
        || chain_of(line).is_some()
        || is_header(line)
        || line.trim_ascii().is_empty()
        || line.starts_with(b"Every ")
        || memchr::memmem::find(line, NO_CHAIN).is_some()
}

fn again(text: &[u8]) -> Vec<usize> {
    // Most listings are of one chain.
    if usize::from(text.starts_with(b"Chain ")) + CHAIN.find_iter(text).take(2).count() < 2 {
        return Vec::new();
    }
    repeated_tables(text, |line| {
        let name = chain_of(line)?;
        let policy = line[b"Chain ".len() + name.len()..].starts_with(b" (policy ");
        Some(if policy { Opens::Builtin(name) } else { Opens::Own(name) })
    })
}

fn section(section: &mut Section, piece: &[u8]) {
    if let Some(chain) = chain_of(piece) {
        *section = String::from_utf8_lossy(chain).into_owned();
    }
}

/// Ranges of the words of a line, up to its comment.
fn words(line: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut from = None;
    for (at, byte) in line.iter().enumerate() {
        match (byte.is_ascii_whitespace(), from) {
            (true, Some(start)) => {
                found.push(start..at);
                from = None;
            }
            (false, None) => {
                if line[at..].starts_with(b"/*") {
                    return found;
                }
                from = Some(at);
            }
            _ => {}
        }
    }
    found.extend(from.map(|start| start..line.len()));
    found
}

/// A rule's words: which of them are what.
struct Columns {
    words: Vec<Range<usize>>,
    /// Words ahead of the target: line number and counters.
    numbers: usize,
    /// Index of `prot`.
    protocol: usize,
    /// Index of `source`.
    source: usize,
}

fn columns(line: &[u8]) -> Option<Columns> {
    let words = words(line);
    let opt = words.iter().position(|word| matches!(&line[word.clone()], b"--" | b"-f" | b"!f"))?;
    let protocol = opt.checked_sub(1)?;
    // A rule without a target has its counters right ahead of `prot`; `prot` itself may be a number.
    let numeric = |word: &Range<usize>| {
        line[word.start].is_ascii_digit() && line[word.clone()].iter().all(u8::is_ascii_alphanumeric)
    };
    let numbers = words[..protocol].iter().take(3).take_while(|word| numeric(word)).count();
    // With -v the interfaces stand between `opt` and the addresses.
    let address = |at: usize| {
        words.get(at).is_some_and(|word| {
            let text = line[word.clone()].strip_prefix(b"!").unwrap_or(&line[word.clone()]);
            text == b"anywhere"
                || memchr::memchr3(b'.', b':', b'/', text)
                    .is_some_and(|_| text[0].is_ascii_hexdigit() || text[0] == b':')
        })
    };
    let source = if address(opt + 1) && address(opt + 2) { opt + 1 } else { opt + 3 };
    Some(Columns { words, numbers, protocol, source })
}

fn counters(piece: &[u8]) -> Counters {
    if chain_of(piece).is_some() {
        return policy_counters(piece);
    }
    let Some(Columns { words, numbers, .. }) = columns(piece) else { return Counters::default() };
    // One number is a line number without counters.
    let Some(first) = numbers.checked_sub(2) else { return Counters::default() };
    let exact = |at: usize| {
        let from = if at == 0 { 0 } else { words[at - 1].end };
        piece[words[at].clone()].iter().all(u8::is_ascii_digit).then(|| from..words[at].end)
    };
    match exact(first) {
        // Bytes stand behind packets: without a place for those there is none for these.
        Some(packets) => Counters { packets: Some(packets), bytes: exact(first + 1) },
        None => Counters::default(),
    }
}

/// Counters of a rule or a policy with a suffix: `271K` is 271,000, give or take 500.
fn rounded(line: &[u8]) -> u64 {
    let is_rounded = |word: &[u8]| {
        word.len() > 1
            && matches!(word.last(), Some(b'K' | b'M' | b'G' | b'T' | b'P'))
            && word[..word.len() - 1].iter().all(u8::is_ascii_digit)
    };
    let ahead = if line.starts_with(b"Chain ") { 6 } else { 3 };
    let words = line.split(|byte| byte.is_ascii_whitespace() || *byte == b'(').filter(|word| !word.is_empty());
    words.take(ahead + 2).filter(|word| is_rounded(word)).count() as u64
}

/// `Chain INPUT (policy ACCEPT 10 packets, 600 bytes)`.
fn policy_counters(piece: &[u8]) -> Counters {
    let words = words(piece);
    let number_ahead = |name: &[u8]| {
        let at = words.iter().position(|word| piece[word.clone()].starts_with(name))?.checked_sub(1)?;
        piece[words[at].clone()].iter().all(u8::is_ascii_digit).then(|| words[at].clone())
    };
    match (number_ahead(b"packets,"), number_ahead(b"bytes)")) {
        (Some(packets), Some(bytes)) if packets.end <= bytes.start => {
            Counters { packets: Some(packets), bytes: Some(bytes) }
        }
        _ => Counters::default(),
    }
}

fn fields(_path: &str, section: &Section, piece: &[u8]) -> RuleFields {
    let line = piece.trim_ascii_end();
    let chain = (!section.is_empty()).then(|| section.clone());
    if chain_of(piece).is_some() {
        return RuleFields { kind: "chain", chain, ..RuleFields::default() };
    }
    let Some(Columns { words, numbers, protocol: at, source }) = columns(line) else {
        return RuleFields { kind: "other", chain, ..RuleFields::default() };
    };
    let text = |at: usize| words.get(at).map(|word| String::from_utf8_lossy(&line[word.clone()]).into_owned());
    let mut found = RuleFields {
        kind: "rule",
        chain,
        target: if numbers < at { text(at - 1) } else { None },
        protocol: text(at).and_then(|word| protocol(&word)),
        ..RuleFields::default()
    };
    let whole = String::from_utf8_lossy(line);
    let comment = whole.split_once("/* ").map(|(_, rest)| rest.split_once(" */").map_or(rest, |(inside, _)| inside));
    found.service = comment.and_then(service).map(str::to_owned);
    // What the matches and the target say stands behind the comment, or behind the addresses where there is none.
    let behind: Vec<&str> = match whole.rsplit_once(" */") {
        Some((_, rest)) => rest.split_whitespace().collect(),
        None => whole.split_whitespace().skip(source + 2).collect(),
    };
    let said = |name: &str| behind.iter().find_map(|word| word.strip_prefix(name));
    found.port = said("dpt:").and_then(|port| port.parse().ok());
    found.address = text(source + 1)
        .filter(|address| !address.contains(['/', '!']) && address != "anywhere")
        .map(|address| address_and_port(&address).0);
    if let Some((address, port)) = said("to:").map(address_and_port).or_else(|| comment.and_then(endpoint)) {
        (found.address, found.port) = (Some(address), port);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{DISSECTOR, FORMAT};
    use crate::form::Sniff;
    use crate::form::dissector::check::{dissect, shape};
    use crate::parse::harness::{corpus_files, files, head, parse_text};

    #[test]
    fn one_check_a_line() {
        for (text, expected) in [
            ("Chain INPUT (policy ACCEPT 10 packets, 600 bytes)\n", "chain - INPUT - - - - - counters"),
            (
                "num      pkts      bytes target     prot opt in     out     source               destination\n",
                "other - - - - - - -",
            ),
            (
                "2        2218   133540 KUBE-SEP-2FPKVZBYZLLQOE3G  0    --  *      *       0.0.0.0/0            0.0.0.0/0            /* default/test:http -> 10.244.0.252:8080 */\n",
                "rule - - KUBE-SEP-2FPKVZBYZLLQOE3G default/test:http - 10.244.0.252:8080 - counters",
            ),
            (
                "1        2218   133540 KUBE-SVC-YEZFJYGKNSPCOFP3  6    --  *      *       0.0.0.0/0            10.96.100.100        /* default/test:http cluster IP */ tcp dpt:80\n",
                "rule - - KUBE-SVC-YEZFJYGKNSPCOFP3 default/test:http tcp 10.96.100.100:80 - counters",
            ),
            (
                "   10   600 DNAT       tcp  --  *      *       0.0.0.0/0            0.0.0.0/0            /* default/test: */ tcp to:10.244.0.5:80\n",
                "rule - - DNAT default/test: tcp 10.244.0.5:80 - counters",
            ),
            (
                "  12K  720K ACCEPT     all  --  *      *       0.0.0.0/0            0.0.0.0/0\n",
                "rule - - ACCEPT - - - -",
            ),
            (
                "    0     0            all  --  eth0   *       0.0.0.0/0            0.0.0.0/0\n",
                "rule - - - - - - - counters",
            ),
            (
                "KUBE-SVC-NPX46M4PTMTKRN6Y  tcp  --  0.0.0.0/0            10.0.0.1             /* default/kubernetes:https cluster IP */ tcp dpt:443\n",
                "rule - - KUBE-SVC-NPX46M4PTMTKRN6Y default/kubernetes:https tcp 10.0.0.1:443 -",
            ),
            ("3    RETURN     all  --  172.17.0.0/16        0.0.0.0/0           \n", "rule - - RETURN - - - -"),
            ("\n", "other - - - - - - -"),
        ] {
            assert_eq!(shape(&dissect(&DISSECTOR, "x", text.as_bytes())[0]), expected, "{text}");
        }
    }

    #[test]
    fn an_empty_answer_proves_nothing_but_a_missing_chain_does() {
        let text = "# TIMESTAMP 1.0\n# TIMESTAMP 2.0\niptables: No chain/target/match by that name.\n# TIMESTAMP 3.0\nChain X (1 references)\ntarget     prot opt source               destination\n";
        let batch = parse_text(&FORMAT, text);
        assert_eq!(batch.snapshots.iter().map(|one| one.complete).collect::<Vec<_>>(), [false, true, false]);
    }

    #[test]
    fn real_files_are_recognised_and_keep_every_byte() {
        for (name, bytes) in files(&["captures/iptables-pod-crash-1/iptables".to_owned()]) {
            let wanted = name.contains("/L-");
            assert_eq!((FORMAT.sniff)(&head(&name, &bytes)) == Sniff::Yes, wanted, "{name}");
            if wanted {
                let batch = parse_text(&FORMAT, &String::from_utf8_lossy(&bytes));
                let doubted = batch.snapshots.iter().filter(|snapshot| !snapshot.complete).count();
                assert_eq!(doubted, 1, "{name}");
                for snapshot in batch.snapshots.iter().take(20) {
                    let pieces = dissect(&DISSECTOR, &name, &snapshot.text);
                    let rules = pieces.iter().filter(|piece| piece.fields.kind == "rule");
                    assert!(rules.clone().all(|piece| piece.counters.bytes.is_some()), "{name}");
                    assert_eq!(rules.count(), pieces.len() - 2, "{name}");
                }
            }
        }
        for (name, bytes) in corpus_files(&["iptables", "nft", "ipvs"]) {
            let yes = (FORMAT.sniff)(&head(&name, &bytes)) == Sniff::Yes;
            assert!(!name.contains("qifangsu") || yes, "{name}");
            assert!(!name.contains("save") || !yes, "{name}");
            dissect(&DISSECTOR, &name, &bytes);
        }
    }
}
