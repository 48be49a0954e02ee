//! kube-proxy's iptables chains as a graph, kept up to date rule by rule.
//!
//! ```text
//! KUBE-SERVICES ─→ KUBE-SVC-x ─→ KUBE-SEP-y ─→ DNAT 10.244.0.23:8080
//!        └→ KUBE-EXT-x ─→ ┘ (also KUBE-SVL-x, KUBE-FW-x, KUBE-XLB-x, and KUBE-NODEPORTS in between)
//! ```

use std::collections::{HashMap, HashSet};

use syncline_schema::dataplane::RuleRow;

use super::{Key, Services};

/// Deepest path from KUBE-SERVICES to a KUBE-SVC chain: -NODEPORTS, -FW, -EXT, and one to spare.
const DEEPEST: usize = 5;

/// Chains that belong to one Service port or endpoint.
pub fn of_a_service(chain: &str) -> bool {
    ["KUBE-SVC-", "KUBE-SVL-", "KUBE-SEP-", "KUBE-EXT-", "KUBE-FW-", "KUBE-XLB-"]
        .iter()
        .any(|one| chain.starts_with(one))
}

/// Whether a rule stands in the nat table (`ip nat` where `nft` shows it), or in a listing that does not name its table.
pub fn in_nat(rule: &RuleRow) -> bool {
    rule.table.as_deref().is_none_or(|table| table == "nat" || table.ends_with(" nat"))
}

/// Service that a comment names which the format's own reader leaves alone: `nft` shows the comments of iptables-nft as
/// `comment "default/test:http cluster IP"` or `/* … */`.
fn in_comment(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("/* ").or_else(|| text.split_once("comment \""))?;
    let name = rest.split([' ', '"']).next()?;
    let (namespace, service) = name.split_once('/')?;
    (!namespace.is_empty() && !service.is_empty() && !service.contains('/')).then_some(name)
}

/// Virtual IP and port that a rule matches, as `nft` writes them: `ip daddr 10.96.0.5 tcp dport 80`, and in JSON.
fn matched(text: &str) -> Option<(String, i32)> {
    let behind = |word: &str| {
        let (_, rest) = text.split_once(word)?;
        // JSON: {"match":{…,"left":{"payload":{…,"field":"daddr"}},"right":"10.96.0.5"}}
        let rest = rest.strip_prefix('"').map_or(Some(rest), |json| Some(json.split_once("\"right\":")?.1))?;
        let value = rest.trim_start_matches([' ', '"']).split([' ', '"', '}', ',', '/']).next()?;
        Some(value.to_owned())
    };
    Some((behind("daddr")?, behind("dport")?.parse().ok()?))
}

/// Chains that hold the endpoints of a Service port.
fn balances(chain: &str) -> bool {
    ["KUBE-SVC-", "KUBE-SVL-", "KUBE-XLB-"].iter().any(|one| chain.starts_with(one))
}

/// What the chains' names stand for, from the rules of all streams.
pub struct Names<'a> {
    /// KUBE-SEP chain: address, port, protocol.
    endpoints: HashMap<&'a str, (String, i32, Option<String>)>,
    /// KUBE-SVC (-SVL, …) chain: `namespace/name`.
    services: HashMap<&'a str, String>,
    /// Protocol of a KUBE-SVC chain's Service port.
    protocols: HashMap<&'a str, String>,
}

impl<'a> Names<'a> {
    /// Reads them from every rule that says anything.
    pub fn learn(rules: &'a [RuleRow<'static>], services: &Services) -> Self {
        let mut names = Names { endpoints: HashMap::new(), services: HashMap::new(), protocols: HashMap::new() };
        for rule in rules.iter().filter(|rule| rule.kind == "rule" && in_nat(rule)) {
            let (chain, target) =
                (rule.chain.as_deref().unwrap_or_default(), rule.target.as_deref().unwrap_or_default());
            let service = rule.service.as_deref().or_else(|| in_comment(&rule.text)).map(without_port);
            let place = rule.address.as_deref().zip(rule.port);
            if let (true, "DNAT", Some((address, port))) = (chain.starts_with("KUBE-SEP-"), target, place) {
                let protocol = rule.protocol.as_deref().map(str::to_ascii_uppercase);
                names.endpoints.insert(chain, (address.to_owned(), port, protocol));
            }
            if let (true, true, Some((address, port))) = (balances(chain), target.starts_with("KUBE-SEP-"), place) {
                names.endpoints.entry(target).or_insert((address.to_owned(), port, None));
            }
            let balanced = if balances(chain) { chain } else { target };
            if !balances(balanced) {
                continue;
            }
            // Rules that match the virtual IP: of KUBE-SERVICES, and the masquerading one at the top of the chain.
            let to_endpoint = target.starts_with("KUBE-SEP-");
            let by_address = || {
                if to_endpoint {
                    return None;
                }
                let (address, port) =
                    place.map(|(address, port)| (address.to_owned(), port)).or_else(|| matched(&rule.text))?;
                by_virtual_ip(services, &address, port, rule.protocol.as_deref()).cloned()
            };
            if let Some(service) = service.map(str::to_owned).or_else(by_address) {
                names.services.insert(balanced, service);
            }
            if let (false, Some(protocol)) = (to_endpoint, &rule.protocol) {
                names.protocols.insert(balanced, protocol.to_ascii_uppercase());
            }
        }
        names
    }

    fn key(&self, chain: &str, endpoint: &str) -> Option<Key> {
        let (address, port, protocol) = self.endpoints.get(endpoint)?;
        let protocol = protocol.as_ref().or_else(|| self.protocols.get(chain)).cloned();
        Some(Key {
            service: self.services.get(chain).cloned().unwrap_or_else(|| chain.to_owned()),
            address: address.clone(),
            port: *port,
            protocol: protocol.unwrap_or_else(|| "TCP".to_owned()),
        })
    }
}

/// `default/test:http` → `default/test`.
fn without_port(service: &str) -> &str {
    service.split_once(':').map_or(service, |(name, _)| name)
}

/// The Service of a virtual IP and port; without a protocol any.
pub fn by_virtual_ip<'s>(
    services: &'s Services,
    address: &str,
    port: i32,
    protocol: Option<&str>,
) -> Option<&'s String> {
    let tried = match protocol {
        Some(protocol) => vec![protocol.to_ascii_uppercase(), protocol.to_ascii_lowercase()],
        None => ["TCP", "UDP", "SCTP", "tcp", "udp", "sctp"].map(str::to_owned).to_vec(),
    };
    tried.into_iter().find_map(|protocol| services.get(&(address.to_owned(), port, protocol)))
}

/// Chains and jumps of one stream at one time.
pub struct State<'a> {
    names: &'a Names<'a>,
    /// Whether the stream holds KUBE-SERVICES at all: else every chain counts as reached.
    knows_services: bool,
    /// Whether the stream holds DNAT rules at all: else every KUBE-SEP chain counts as having one.
    knows_dnat: bool,
    /// chain → target → number of jumps.
    jumps: HashMap<String, HashMap<String, i64>>,
    /// target → chains with a jump to it.
    callers: HashMap<String, HashSet<String>>,
    /// DNAT rules of a KUBE-SEP chain.
    dnat: HashMap<String, i64>,
    /// Pairs of chains (KUBE-SVC, KUBE-SEP) behind a key.
    pairs: HashMap<Key, HashSet<(String, String)>>,
    /// Keys of a KUBE-SEP chain.
    keys: HashMap<String, HashSet<Key>>,
    /// Chains whose callers changed, and KUBE-SEP chains whose DNAT rule did.
    dirty: HashSet<String>,
}

impl<'a> State<'a> {
    /// An empty state; `rules` is the stream's whole dictionary, which tells what the stream can show.
    pub fn new<'r>(names: &'a Names<'a>, rules: impl Iterator<Item = &'r RuleRow<'static>>) -> Self {
        let (mut knows_services, mut knows_dnat) = (false, false);
        for rule in rules.filter(|rule| rule.kind == "rule" && in_nat(rule)) {
            let target = rule.target.as_deref().unwrap_or_default();
            let chain = rule.chain.as_deref().unwrap_or_default();
            knows_services |= chain == "KUBE-SERVICES" && of_a_service(target);
            knows_dnat |= chain.starts_with("KUBE-SEP-") && target == "DNAT";
        }
        Self {
            names,
            knows_services,
            knows_dnat,
            jumps: HashMap::new(),
            callers: HashMap::new(),
            dnat: HashMap::new(),
            pairs: HashMap::new(),
            keys: HashMap::new(),
            dirty: HashSet::new(),
        }
    }

    /// A rule came (`step` 1) or went (−1).
    pub fn apply(&mut self, rule: &RuleRow, step: i64) {
        if rule.kind != "rule" || !in_nat(rule) {
            return;
        }
        let (Some(chain), Some(target)) = (rule.chain.as_deref(), rule.target.as_deref()) else { return };
        if target == "DNAT" && chain.starts_with("KUBE-SEP-") {
            *self.dnat.entry(chain.to_owned()).or_default() += step;
            self.dirty.insert(chain.to_owned());
        } else if of_a_service(target) || target == "KUBE-NODEPORTS" {
            let jumps = self.jumps.entry(chain.to_owned()).or_default().entry(target.to_owned()).or_default();
            *jumps += step;
            let callers = self.callers.entry(target.to_owned()).or_default();
            if *jumps > 0 {
                callers.insert(chain.to_owned());
            } else {
                callers.remove(chain);
            }
            self.dirty.insert(target.to_owned());
            if let (true, Some(key)) = (balances(chain), self.names.key(chain, target)) {
                self.keys.entry(target.to_owned()).or_default().insert(key.clone());
                self.pairs.entry(key).or_default().insert((chain.to_owned(), target.to_owned()));
            }
        }
    }

    /// Adds the endpoints whose state may have changed since the last call.
    pub fn touched(&mut self, keys: &mut HashSet<Key>) {
        let mut seen: HashSet<String> = HashSet::new();
        let mut waiting: Vec<String> = std::mem::take(&mut self.dirty).into_iter().collect();
        while let Some(chain) = waiting.pop() {
            if !seen.insert(chain.clone()) {
                continue;
            }
            keys.extend(self.keys.get(&chain).into_iter().flatten().cloned());
            if let Some(targets) = self.jumps.get(&chain) {
                waiting.extend(targets.keys().cloned());
            }
        }
    }

    /// Whether a new connection can be sent to an endpoint.
    pub fn is_present(&self, key: &Key) -> bool {
        self.pairs.get(key).is_some_and(|pairs| pairs.iter().any(|(chain, endpoint)| self.leads_to(chain, endpoint)))
    }

    fn leads_to(&self, chain: &str, endpoint: &str) -> bool {
        let jumps = self.jumps.get(chain).and_then(|targets| targets.get(endpoint)).is_some_and(|count| *count > 0);
        let dnat = !self.knows_dnat || self.dnat.get(endpoint).is_some_and(|count| *count > 0);
        jumps && dnat && (!self.knows_services || self.is_reached(chain, DEEPEST))
    }

    fn is_reached(&self, chain: &str, deepest: usize) -> bool {
        if chain == "KUBE-SERVICES" {
            return true;
        }
        deepest > 0
            && self
                .callers
                .get(chain)
                .is_some_and(|callers| callers.iter().any(|caller| self.is_reached(caller, deepest - 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nft_shows_virtual_ips_and_comments_of_iptables() {
        let text = "meta l4proto tcp ip daddr 10.96.0.5  tcp dport 80 counter packets 0 bytes 0 jump KUBE-SVC-A";
        assert_eq!(matched(text), Some(("10.96.0.5".to_owned(), 80)));
        let json = r#"{"rule":{"expr":[{"match":{"op":"==","left":{"payload":{"protocol":"ip","field":"daddr"}},"right":"10.96.0.5"}},{"match":{"op":"==","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":80}},{"jump":{"target":"KUBE-SVC-A"}}]}}"#;
        assert_eq!(matched(json), Some(("10.96.0.5".to_owned(), 80)));
        assert_eq!(matched("counter packets 0 bytes 0 jump KUBE-SEP-B"), None);
        assert_eq!(in_comment("x /* default/test:http cluster IP */ y"), Some("default/test:http"));
        assert_eq!(in_comment("ip daddr 1.2.3.4 comment \"default/test cluster IP\" jump X"), Some("default/test"));
        assert_eq!(in_comment("comment \"mark for masquerade\""), None);
    }
}
