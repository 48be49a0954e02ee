//! Rules of kube-proxy's iptables mode as nft shows them (iptables-nft writes to the same tables).
//!
//! ```text
//! chain KUBE-SERVICES {
//!     meta l4proto tcp ip daddr 10.96.0.5  tcp dport 80 counter packets 0 bytes 0 jump KUBE-SVC-AAAAAAAAAAAAAAAA
//! chain KUBE-SEP-BBBBBBBBBBBBBBB1 {
//!     meta l4proto tcp   counter packets 0 bytes 0 dnat to 10.0.0.1:8080
//! ```
//!
//! They say what `iptables-save` says of them, but for comments, which nft often leaves out.

use crate::form::dissector::RuleFields;
use crate::parse::dataplane::rule_comment;

/// What a rule of iptables' nft mode says of its Service: `ip daddr 10.96.0.5 tcp dport 80`, a comment, an `xt target`.
pub fn iptables_rule(found: &mut RuleFields, line: &str) {
    if !found.chain.as_deref().is_some_and(|chain| chain.starts_with("KUBE-")) {
        return;
    }
    let words: Vec<&str> = line.split_whitespace().collect();
    let behind = |first: &str, second: &str| {
        let at = words.windows(2).position(|pair| pair == [first, second])?;
        words.get(at + 2).copied().filter(|word| *word != "!=")
    };
    let host =
        |word: &str| !word.contains('/') && word.starts_with(|first: char| first.is_ascii_hexdigit() || first == ':');
    found.address =
        ["ip", "ip6"].iter().find_map(|family| behind(family, "daddr")).filter(|word| host(word)).map(str::to_owned);
    for protocol in ["tcp", "udp", "sctp"] {
        if let Some(port) = behind(protocol, "dport") {
            found.protocol.get_or_insert_with(|| protocol.to_owned());
            found.port = port.parse().ok();
        }
    }
    let comment = line.split_once("comment \"").and_then(|(_, rest)| rest.split('"').next());
    let comment = comment.or_else(|| line.split_once("/* ").and_then(|(_, rest)| rest.split(" */").next()));
    if let Some(comment) = comment {
        found.service = rule_comment::service(comment).map(str::to_owned);
        if let Some((address, port)) = rule_comment::endpoint(comment) {
            (found.address, found.port) = (Some(address), port);
        }
    }
    if line.contains("xt target \"DNAT\"") {
        found.target = Some("DNAT".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::iptables_rule;
    use crate::form::dissector::RuleFields;

    #[test]
    fn a_rule_names_its_service_by_address_and_port() {
        let read = |line: &str| {
            let mut found = RuleFields { chain: Some("KUBE-SERVICES".to_owned()), ..RuleFields::default() };
            iptables_rule(&mut found, line);
            (
                found.address.unwrap_or_default(),
                found.port,
                found.protocol.unwrap_or_default(),
                found.service.unwrap_or_default(),
            )
        };
        let expected = ("10.96.0.5".to_owned(), Some(80), "tcp".to_owned(), String::new());
        assert_eq!(read("ip daddr 10.96.0.5 tcp dport 80 counter packets 0 bytes 0 jump KUBE-SVC-A"), expected);
        let commented = read(
            "ip saddr != 10.1.0.0/16 ip daddr 10.96.0.5 tcp dport 80 comment \"default/test:http cluster IP\" jump KUBE-MARK-MASQ",
        );
        assert_eq!(commented, ("10.96.0.5".to_owned(), Some(80), "tcp".to_owned(), "default/test:http".to_owned()));
        assert_eq!(read("ip daddr 10.96.0.0/12 drop").0, "");
    }
}
