//! kube-proxy's nftables maps and chains as a graph, kept up to date piece by piece.
//!
//! ```text
//! @service-ips ─→ service-x ─→ 10.244.0.23 . 8080                        (a map of addresses in the chain)
//!                 service-x ─→ endpoint-y ─→ dnat to 10.244.0.23:8080    (a chain for each endpoint)
//! @service-ips ─→ external-x ─→ service-x, local-x; @service-nodeports ─→ external-x
//! ```
//!
//! Chains are told apart by their table, so that IPv4 and IPv6 do not mix. A listing of one chain has no maps: what it
//! shows counts as reached. Where it names endpoint chains without holding them, their names tell address and port.

use std::collections::{HashMap, HashSet};

use syncline_schema::dataplane::RuleRow;

use super::Key;

/// Deepest path from a map to an endpoint: firewall, external, service, endpoint, and one to spare.
const DEEPEST: usize = 6;

/// Maps that packets to a Service come through.
pub const ENTRANCES: [&str; 2] = ["service-ips", "service-nodeports"];

/// Whether a piece stands in a table of kube-proxy, or in a listing that does not name its table.
pub fn of_kube_proxy(rule: &RuleRow) -> bool {
    rule.table.as_deref().is_none_or(|table| table == "kube-proxy" || table.ends_with(" kube-proxy"))
}

/// Chains that belong to one Service port or endpoint: a role, eight characters of a hash, a name with slashes.
pub fn of_a_service(chain: &str) -> bool {
    let Some((role, rest)) = chain.split_once('-') else { return false };
    let hash = rest.split_once('-').map_or("", |(hash, _)| hash);
    ["service", "local", "external", "firewall", "endpoint", "affinity"].contains(&role)
        && hash.len() == 8
        && hash.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

/// A chain or map within its table.
type Place = (String, String);

/// Maps, chains and endpoints of one stream at one time.
pub struct State {
    /// Whether the stream holds the maps at all: else every chain counts as reached.
    knows_maps: bool,
    /// Whether the stream holds DNAT rules of endpoint chains: else naming such a chain is enough.
    knows_dnat: bool,
    /// chain or map → target → number of jumps.
    jumps: HashMap<Place, HashMap<Place, i64>>,
    /// target → where it is jumped to from.
    callers: HashMap<Place, HashSet<Place>>,
    /// Chains that send to an endpoint, with the number of entries.
    senders: HashMap<Key, HashMap<Place, i64>>,
    /// Endpoints of a chain.
    keys: HashMap<Place, HashSet<Key>>,
    /// Chains to which something changed.
    dirty: HashSet<Place>,
}

impl State {
    /// An empty state; `rules` is the stream's whole dictionary, which tells what the stream can show.
    pub fn new<'r>(rules: impl Iterator<Item = &'r RuleRow<'static>>) -> Self {
        let (mut knows_maps, mut knows_dnat) = (false, false);
        for rule in rules.filter(|rule| of_kube_proxy(rule)) {
            let chain = rule.chain.as_deref().unwrap_or_default();
            knows_maps |= rule.kind == "frontend" && ENTRANCES.contains(&chain);
            knows_dnat |=
                rule.kind == "rule" && chain.starts_with("endpoint-") && rule.target.as_deref() == Some("DNAT");
        }
        Self {
            knows_maps,
            knows_dnat,
            jumps: HashMap::new(),
            callers: HashMap::new(),
            senders: HashMap::new(),
            keys: HashMap::new(),
            dirty: HashSet::new(),
        }
    }

    /// A piece came (`step` 1) or went (−1).
    pub fn apply(&mut self, rule: &RuleRow, step: i64) {
        if !of_kube_proxy(rule) || !matches!(rule.kind.as_ref(), "rule" | "frontend" | "backend") {
            return;
        }
        let table = rule.table.as_deref().unwrap_or_default();
        let place = |name: &str| (table.to_owned(), name.to_owned());
        let Some(chain) = rule.chain.as_deref() else { return };
        if let Some(target) = rule.target.as_deref().filter(|target| of_a_service(target)) {
            let (from, to) = (place(chain), place(target));
            let jumps = self.jumps.entry(from.clone()).or_default().entry(to.clone()).or_default();
            *jumps += step;
            let callers = self.callers.entry(to.clone()).or_default();
            if *jumps > 0 {
                callers.insert(from);
            } else {
                callers.remove(&from);
            }
            self.dirty.insert(to);
            if self.knows_dnat {
                return;
            }
        }
        if rule.kind == "frontend" || !of_a_service(chain) {
            return;
        }
        let Some(key) = key(rule) else { return };
        *self.senders.entry(key.clone()).or_default().entry(place(chain)).or_default() += step;
        self.keys.entry(place(chain)).or_default().insert(key);
        self.dirty.insert(place(chain));
    }

    /// Adds the endpoints whose state may have changed since the last call.
    pub fn touched(&mut self, keys: &mut HashSet<Key>) {
        let mut seen: HashSet<Place> = HashSet::new();
        let mut waiting: Vec<Place> = std::mem::take(&mut self.dirty).into_iter().collect();
        while let Some(chain) = waiting.pop() {
            keys.extend(self.keys.get(&chain).into_iter().flatten().cloned());
            if let Some(targets) = self.jumps.get(&chain) {
                waiting.extend(targets.keys().filter(|target| !seen.contains(*target)).cloned());
            }
            seen.insert(chain);
        }
    }

    /// Whether a new connection can be sent to an endpoint.
    pub fn is_present(&self, key: &Key) -> bool {
        let sends =
            |(chain, number): (&Place, &i64)| *number > 0 && (!self.knows_maps || self.is_reached(chain, DEEPEST));
        self.senders.get(key).is_some_and(|chains| chains.iter().any(sends))
    }

    fn is_reached(&self, chain: &Place, deepest: usize) -> bool {
        if ENTRANCES.contains(&chain.1.as_str()) {
            return true;
        }
        deepest > 0
            && self
                .callers
                .get(chain)
                .is_some_and(|callers| callers.iter().any(|caller| self.is_reached(caller, deepest - 1)))
    }
}

/// The endpoint of a backend or of the DNAT rule of an endpoint chain.
fn key(rule: &RuleRow) -> Option<Key> {
    let (address, port) = rule.address.as_deref().zip(rule.port)?;
    if rule.kind == "rule" && rule.target.as_deref() != Some("DNAT") {
        return None;
    }
    let chain = rule.chain.as_deref().unwrap_or_default();
    let service = rule.service.as_deref().map(|service| service.split(':').next().unwrap_or(service));
    Some(Key {
        service: service.unwrap_or(chain).to_owned(),
        address: address.to_owned(),
        port,
        protocol: rule.protocol.as_deref().unwrap_or("TCP").to_ascii_uppercase(),
    })
}
