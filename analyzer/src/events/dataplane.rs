//! Replay of dataplane snapshots: when each endpoint of a Service could get new connections.
//!
//! iptables: an endpoint is present where a path leads from KUBE-SERVICES over the Service's chain and the endpoint's
//! chain to a DNAT rule. A stream of one chain names its endpoints in comments. Above 1000 endpoint chains kube-proxy
//! leaves comments out, so a Service is known by KUBE-SERVICES only. Cilium: a backend is present while it stands in a
//! slot of the frontend; in the reader's lines, in a slot up to `count`.
//!
//! ```text
//! stamp  t(k-1)          t(k)            t(k+1)
//!          |--read--|      |--read--|      |
//! state     absent          present               appeared in [t(k-1), t(k+1)]
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};

use syncline_schema::dataplane::{ChangeRow, RuleRow, SnapshotRow};

/// One look at the dataplane: the state was read between `time` and `until`.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// Stamp ahead of the reading, ns.
    pub time: i64,
    /// By when it was read: the next stamp; null for the last look of a stream.
    pub until: Option<i64>,
    /// Index of the source.
    pub source: i32,
    /// Line of the stamp.
    pub record: i64,
}

/// A change of presence.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// Whether it came (else it went).
    pub present: bool,
    /// Last look with the state before; null where the first look shows it already.
    pub before: Option<Look>,
    /// First look with the state after.
    pub after: Look,
}

/// An address of a Service in one stream of snapshots.
#[derive(Clone, Debug, PartialEq)]
pub struct Presence {
    /// `namespace/name`.
    pub service: String,
    /// Address of the endpoint.
    pub address: String,
    /// Its port.
    pub port: i32,
    /// Stream.
    pub stream: i32,
    /// Kind of the format.
    pub format: String,
    /// Clock domain of the looks.
    pub clock: String,
    /// In order.
    pub transitions: Vec<Transition>,
    /// Last look of the stream.
    pub last_look: Look,
}

/// What a snapshot holds in all.
#[derive(Clone, Debug, PartialEq)]
pub struct Total {
    /// Stream.
    pub stream: i32,
    /// Kind of the format.
    pub format: String,
    /// Clock domain.
    pub clock: String,
    /// The look.
    pub look: Look,
    /// Rules of Services (chains KUBE-SERVICES, KUBE-SVC-…, KUBE-SEP-… and their like), without chain declarations.
    pub service_rules: i64,
    /// Chains of endpoints, or backends.
    pub endpoints: i64,
    /// Chains of Services, or frontends.
    pub services: i64,
    /// Pieces inserted and deleted against the look before.
    pub changed: i64,
}

/// Key of a presence within a stream.
type Key = (String, String, i32);

/// What the replay of all streams gives.
#[derive(Clone, Debug, Default)]
pub struct Replay {
    /// Presences, sorted by stream and key.
    pub presences: Vec<Presence>,
    /// A row for each look.
    pub totals: Vec<Total>,
    /// Services (`namespace/name`) that each stream can tell about.
    pub covered: BTreeMap<i32, BTreeSet<String>>,
}

/// Replays the three tables. `services` maps virtual IP, port and protocol (lower case) to `namespace/name`.
pub fn replay(
    rules: &[RuleRow<'_>],
    changes: &[ChangeRow<'_>],
    snapshots: &[SnapshotRow<'_>],
    services: &HashMap<(String, i32, String), String>,
) -> Replay {
    let by_id: HashMap<i64, &RuleRow<'_>> = rules.iter().map(|rule| (rule.rule, rule)).collect();
    let mut of_stream: BTreeMap<i32, Vec<&ChangeRow<'_>>> = BTreeMap::new();
    for change in changes {
        of_stream.entry(change.stream).or_default().push(change);
    }
    let mut looks: BTreeMap<i32, Vec<&SnapshotRow<'_>>> = BTreeMap::new();
    for snapshot in snapshots {
        looks.entry(snapshot.stream).or_default().push(snapshot);
    }
    let mut replay = Replay::default();
    for (stream, mut shots) in looks {
        shots.sort_by_key(|shot| shot.snapshot);
        let changes = of_stream.remove(&stream).unwrap_or_default();
        one_stream(stream, &shots, &changes, &by_id, services, &mut replay);
    }
    replay
}

fn one_stream(
    stream: i32,
    shots: &[&SnapshotRow<'_>],
    changes: &[&ChangeRow<'_>],
    rules: &HashMap<i64, &RuleRow<'_>>,
    services: &HashMap<(String, i32, String), String>,
    replay: &mut Replay,
) {
    let Some(first) = shots.first() else { return };
    let format = first.format.to_string();
    let clock = first.clock.to_string();
    let mut state = State::new(&format, services);
    let mut known: BTreeMap<Key, Presence> = BTreeMap::new();
    let mut current: BTreeSet<Key> = BTreeSet::new();
    let mut previous: Option<Look> = None;
    let mut at = 0;
    let mut last: Option<Look> = None;
    for (number, shot) in shots.iter().enumerate() {
        let mut changed = 0;
        let mut read_ns = None;
        while let Some(change) = changes.get(at).filter(|change| change.snapshot <= shot.snapshot) {
            at += 1;
            let Some(rule) = rules.get(&change.rule) else { continue };
            if format == "lb4-reader" && rule.kind == "other" && change.bytes.is_some() {
                read_ns = change.bytes;
            }
            match change.operation.as_ref() {
                "insert" => state.apply(rule, 1),
                "delete" => state.apply(rule, -1),
                _ => continue,
            }
            changed += 1;
        }
        let (Some(time), true) = (shot.time, shot.complete) else { continue };
        let next = shots[number + 1..].iter().find_map(|shot| shot.time);
        let until = match (read_ns, next) {
            (Some(ns), Some(next)) => Some(next.min(time + ns)),
            (Some(ns), None) => Some(time + ns),
            (None, next) => next,
        };
        let look = Look { time, until, source: shot.source, record: shot.record };
        if changed > 0 || previous.is_none() {
            let now = state.present();
            let blank = |key: &Key| Presence {
                service: key.0.clone(),
                address: key.1.clone(),
                port: key.2,
                stream,
                format: format.clone(),
                clock: clock.clone(),
                transitions: Vec::new(),
                last_look: look.clone(),
            };
            for (key, present) in
                now.difference(&current).map(|key| (key, true)).chain(current.difference(&now).map(|key| (key, false)))
            {
                let presence = known.entry(key.clone()).or_insert_with(|| blank(key));
                presence.transitions.push(Transition { present, before: previous.clone(), after: look.clone() });
            }
            current = now;
            replay.covered.entry(stream).or_default().extend(state.covered());
        }
        replay.totals.push(Total {
            stream,
            format: format.clone(),
            clock: clock.clone(),
            look: look.clone(),
            service_rules: state.service_rules,
            endpoints: state.endpoints(),
            services: state.services_seen(),
            changed,
        });
        previous = Some(look.clone());
        last = Some(look);
    }
    if let Some(last) = last {
        replay.presences.extend(known.into_values().map(|presence| Presence { last_look: last.clone(), ..presence }));
    }
}

/// The state of a stream, as far as it tells which endpoints get connections.
struct State<'s> {
    format: String,
    services: &'s HashMap<(String, i32, String), String>,
    /// iptables: Service of a chain, with the number of rules that say so.
    service_of: HashMap<String, (String, i64)>,
    /// iptables: targets of a Service's chain, with count and the address that a comment names.
    jumps: HashMap<String, BTreeMap<String, (i64, Option<(String, i32)>)>>,
    /// iptables: destination of an endpoint's chain.
    destinations: HashMap<String, (i64, String, i32)>,
    /// iptables: endpoints of each Service's chain, and which chains must be looked at again.
    cached: HashMap<String, BTreeSet<Key>>,
    touched: BTreeSet<String>,
    /// iptables: Service chains that lead to an endpoint's chain.
    users: HashMap<String, BTreeSet<String>>,
    /// Cilium: backends by frontend, slot and address, with count.
    backends: BTreeMap<(String, i32, String, i32), i64>,
    /// Cilium: frontends, with count.
    frontends: BTreeMap<String, i64>,
    /// Reader: how many slots get connections.
    count: i32,
    service_rules: i64,
}

impl<'s> State<'s> {
    fn new(format: &str, services: &'s HashMap<(String, i32, String), String>) -> Self {
        Self {
            format: format.to_owned(),
            services,
            service_of: HashMap::new(),
            jumps: HashMap::new(),
            destinations: HashMap::new(),
            cached: HashMap::new(),
            touched: BTreeSet::new(),
            users: HashMap::new(),
            backends: BTreeMap::new(),
            frontends: BTreeMap::new(),
            count: 0,
            service_rules: 0,
        }
    }

    fn apply(&mut self, rule: &RuleRow<'_>, by: i64) {
        if self.format.starts_with("iptables") {
            if rule.kind == "rule" {
                self.apply_iptables(rule, by);
            }
            return;
        }
        match rule.kind.as_ref() {
            "frontend" if self.format == "lb4-reader" => {
                if by > 0 {
                    self.count = rule.slot.unwrap_or(0);
                }
                let service = rule.service.as_deref().unwrap_or_default().to_owned();
                *self.frontends.entry(service).or_default() += by;
            }
            "frontend" => {
                let frontend = rule.chain.as_deref().unwrap_or_default().to_owned();
                *self.frontends.entry(frontend).or_default() += by;
            }
            "backend" => {
                let frontend = rule.service.as_deref().or(rule.chain.as_deref()).unwrap_or_default().to_owned();
                let address = rule.address.as_deref().unwrap_or_default().to_owned();
                let key = (frontend, rule.slot.unwrap_or(0), address, rule.port.unwrap_or(0));
                let count = self.backends.entry(key.clone()).or_default();
                *count += by;
                if *count <= 0 {
                    self.backends.remove(&key);
                }
            }
            _ => {}
        }
    }

    fn apply_iptables(&mut self, rule: &RuleRow<'_>, by: i64) {
        let (chain, target) = (rule.chain.as_deref().unwrap_or_default(), rule.target.as_deref().unwrap_or_default());
        if chain.starts_with("KUBE-S") || chain.starts_with("KUBE-EXT-") || chain == "KUBE-NODEPORTS" {
            self.service_rules += by;
        }
        let is_service_chain = |name: &str| name.starts_with("KUBE-SVC-") || name.starts_with("KUBE-SVL-");
        if chain == "KUBE-SERVICES" && is_service_chain(target) {
            let named = rule.service.as_deref().map(service_name);
            let key = || Some((rule.address.as_deref()?.to_owned(), rule.port?, rule.protocol.as_deref()?.to_owned()));
            if let Some(service) = named.or_else(|| self.services.get(&key()?).cloned()) {
                self.name(target, &service, by);
            }
        } else if is_service_chain(chain) && target.starts_with("KUBE-SEP-") {
            if let Some(service) = rule.service.as_deref() {
                self.name(chain, &service_name(service), by);
            }
            let named = rule.address.as_deref().zip(rule.port).map(|(address, port)| (address.to_owned(), port));
            let targets = self.jumps.entry(chain.to_owned()).or_default();
            let entry = targets.entry(target.to_owned()).or_insert((0, named.clone()));
            entry.0 += by;
            if entry.1.is_none() {
                entry.1 = named;
            }
            if entry.0 <= 0 {
                targets.remove(target);
            }
            self.users.entry(target.to_owned()).or_default().insert(chain.to_owned());
            self.touched.insert(chain.to_owned());
        } else if chain.starts_with("KUBE-SEP-") && target == "DNAT" {
            if let (Some(address), Some(port)) = (rule.address.as_deref(), rule.port) {
                // A chain that was rewritten within one snapshot shows its new rule ahead of the old one's deletion.
                let entry = self.destinations.entry(chain.to_owned()).or_insert((0, address.to_owned(), port));
                entry.0 += by;
                if by > 0 {
                    (entry.1, entry.2) = (address.to_owned(), port);
                }
                if entry.0 <= 0 {
                    self.destinations.remove(chain);
                }
            }
            self.touched.extend(self.users.get(chain).into_iter().flatten().cloned());
        }
    }

    fn name(&mut self, chain: &str, service: &str, by: i64) {
        let entry = self.service_of.entry(chain.to_owned()).or_insert((service.to_owned(), 0));
        entry.1 += by;
        if by > 0 {
            service.clone_into(&mut entry.0);
        }
        self.touched.insert(chain.to_owned());
    }

    /// Endpoints that get new connections now.
    fn present(&mut self) -> BTreeSet<Key> {
        if self.format.starts_with("iptables") {
            for chain in std::mem::take(&mut self.touched) {
                let service = self.service_of.get(&chain).filter(|(_, count)| *count > 0).map(|(service, _)| service);
                let keys: BTreeSet<Key> = match service {
                    Some(service) => self
                        .jumps
                        .get(&chain)
                        .into_iter()
                        .flatten()
                        .filter_map(|(target, (_, named))| {
                            let (address, port) = match self.destinations.get(target) {
                                Some((_, address, port)) => (address.clone(), *port),
                                None => named.clone()?,
                            };
                            Some((service.clone(), address, port))
                        })
                        .collect(),
                    None => BTreeSet::new(),
                };
                self.cached.insert(chain, keys);
            }
            return self.cached.values().flatten().cloned().collect();
        }
        let reader = self.format == "lb4-reader";
        self.backends
            .keys()
            .filter(|(_, slot, _, _)| !reader || *slot <= self.count)
            .filter_map(|(frontend, _, address, port)| {
                let service = if reader { frontend.clone() } else { self.service_of_frontend(frontend)? };
                Some((service, address.clone(), *port))
            })
            .collect()
    }

    fn service_of_frontend(&self, frontend: &str) -> Option<String> {
        let (place, protocol) = frontend.split_once('/')?;
        let (address, port) = place.rsplit_once(':')?;
        let protocol = protocol.split('/').next()?.to_ascii_lowercase();
        self.services.get(&(address.trim_matches(['[', ']']).to_owned(), port.parse().ok()?, protocol)).cloned()
    }

    /// Services that the stream tells about.
    fn covered(&self) -> BTreeSet<String> {
        if self.format.starts_with("iptables") {
            // A Service without a chain of its own (no endpoints) is covered too, where the whole table is seen.
            let whole = !self.destinations.is_empty() || self.format == "iptables-save";
            if whole {
                return self.services.values().cloned().collect();
            }
            return self.jumps.keys().filter_map(|chain| Some(self.service_of.get(chain)?.0.clone())).collect();
        }
        if self.format == "lb4-reader" {
            return self.frontends.keys().cloned().collect();
        }
        self.services.values().cloned().collect()
    }

    fn endpoints(&self) -> i64 {
        if self.format.starts_with("iptables") { self.destinations.len() as i64 } else { self.backends.len() as i64 }
    }

    fn services_seen(&self) -> i64 {
        if self.format.starts_with("iptables") {
            self.service_of.values().filter(|(_, count)| *count > 0).count() as i64
        } else {
            self.frontends.values().filter(|count| **count > 0).count() as i64
        }
    }
}

/// `namespace/service:port` without its port name.
fn service_name(text: &str) -> String {
    text.split_once(':').map_or(text, |(service, _)| service).to_owned()
}
