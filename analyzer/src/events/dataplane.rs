//! Replays the dataplane tables of a bundle: when each endpoint of each Service was in the dataplane, and how many
//! rules each snapshot held and changed.
//!
//! ```text
//! look k    stamp t(k)  ──── state read ──── t(k+1)  look k+1 ──── state read ──── t(k+2)
//!           absent                                   present
//! came between t(k) and t(k+2): `before` is look k, `after` is look k+1; and before look k+1 was over, where its stamp says so
//! ```
//!
//! "Present" means that a new connection can be sent there: for iptables the path KUBE-SERVICES → KUBE-SVC → KUBE-SEP
//! → DNAT (as far as the stream holds those chains); for nftables the path from the maps `service-ips` and
//! `service-nodeports` to an address; for Cilium a slot up to the Service's count. `cilium-lb-list` (but of dumps of the
//! map itself) does not tell the count, so it goes on showing endpoints that are leaving ([`Presence::shows_leaving`]). `cilium-service-list` is what
//! the agent means to write, a moment ahead of the map: it counts where no stream of the map itself does.
//!
//! Names of KUBE-SVC and KUBE-SEP chains are hashes of what they stand for, so what one stream says of a chain holds
//! in every other stream of the bundle too: above 1000 endpoint chains kube-proxy writes no comments there, and a
//! listing of one chain has no DNAT rules.

use std::collections::{BTreeMap, HashMap, HashSet};

use rayon::prelude::{IntoParallelIterator, ParallelIterator};
use serde::Serialize;
use syncline_schema::dataplane::{ChangeRow, RuleRow, SnapshotRow};

mod chains;
mod sampling;
mod slots;
mod verdict_maps;

/// Nanoseconds of a second.
const SECOND: i64 = 1_000_000_000;

/// Services by virtual IP, port and protocol (any case): `namespace/name`.
pub type Services = HashMap<(String, i32, String), String>;

/// One look of a stream at the state. It was read in `[time, until]`, ns on the stream's clock. Stamps of whole seconds
/// (`date`) were taken up to a second after what they say: that is in `until`. Looks of one second keep their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Look {
    /// Stamp, printed ahead of the reading. For files timed by their modification: that of the file before.
    pub time: i64,
    /// When the reading was over, where its stamp says so; else the latest moment of the next stamp of the stream, null at its end.
    pub until: Option<i64>,
    /// Index of the source.
    pub source: i32,
    /// Line of the stamp.
    pub record: i64,
}

/// One change of an endpoint in one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Whether it came (true) or went.
    pub present: bool,
    /// Last look with the old state.
    pub before: Look,
    /// First look with the new state.
    pub after: Look,
}

/// An endpoint as one stream saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Presence {
    /// `namespace/name`; the name of the chain or frontend where nothing names the Service.
    pub service: String,
    /// Address of the endpoint.
    pub address: String,
    /// Its port.
    pub port: i32,
    /// `TCP`, `UDP`, `SCTP`.
    pub protocol: String,
    /// Stream (index of its first source).
    pub stream: i32,
    /// Kind of the format: the witness.
    pub format: String,
    /// Clock domain of all looks.
    pub clock: String,
    /// What the times rest on: `stamp`, `name`, `mtime`.
    pub time_from: String,
    /// Whether it was there at the first look.
    pub initially: bool,
    /// Its changes, in order; they alternate.
    pub changes: Vec<Change>,
    /// First look of the stream.
    pub first_look: Look,
    /// Last complete look of the stream.
    pub last_look: Look,
    /// True where the witness also shows endpoints that get no new connections any more: when it loses one, that was
    /// decided at some time before (the look before proves nothing).
    pub shows_leaving: bool,
}

/// What one snapshot held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Total {
    /// Stream.
    pub stream: i32,
    /// Kind of the format.
    pub format: String,
    /// Clock domain of `look`.
    pub clock: String,
    /// When it was read; null for a snapshot without a time.
    pub look: Option<Look>,
    /// False for a truncated snapshot.
    pub complete: bool,
    /// iptables: rules of the nat table that Services make (in or to KUBE-SERVICES, -NODEPORTS, -SVC, -SVL, -SEP, -EXT,
    /// -FW chains). nftables: rules of the Services' chains, and elements of the maps and lists that lead to endpoints.
    /// Cilium: entries of the map.
    pub rules: u64,
    /// Rules of all tables.
    pub rules_of_all_tables: u64,
    /// Service ports: rules from KUBE-SERVICES to a KUBE-SVC, KUBE-SVL or KUBE-EXT chain; frontends.
    pub services: u64,
    /// Endpoints: DNAT rules in KUBE-SEP chains; backends.
    pub endpoints: u64,
    /// Of `rules`: how many were not in the snapshot before (rewritten ones included). 0 for the first.
    pub inserted: u64,
    /// Of the rules of the snapshot before: how many are gone (rewritten ones included).
    pub deleted: u64,
}

/// Whether a chain (of kube-proxy's iptables or nftables mode) belongs to one Service port or endpoint.
pub fn chain_of_a_service(chain: &str) -> bool {
    chains::of_a_service(chain) || verdict_maps::of_a_service(chain)
}

/// Whether a chain or map is where packets to any Service come through.
pub fn is_entrance(chain: &str) -> bool {
    chain == "KUBE-SERVICES" || chain == "KUBE-NODEPORTS" || verdict_maps::ENTRANCES.contains(&chain)
}

/// Identity of an endpoint: Service, address, port, protocol.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Key {
    service: String,
    address: String,
    port: i32,
    protocol: String,
}

/// The state of a stream while it is replayed.
#[expect(clippy::large_enum_variant, reason = "one for each stream, replayed in place")]
enum State<'a> {
    Chains(chains::State<'a>),
    /// `nft` shows kube-proxy's own tables and, on a host of iptables-nft, those that `iptables` made.
    Ruleset(verdict_maps::State, chains::State<'a>),
    Slots(slots::State),
}

impl State<'_> {
    fn apply(&mut self, rule: &RuleRow, step: i64) {
        match self {
            State::Chains(state) => state.apply(rule, step),
            State::Ruleset(maps, chains) => {
                maps.apply(rule, step);
                chains.apply(rule, step);
            }
            State::Slots(state) => state.apply(rule, step),
        }
    }

    fn touched(&mut self, keys: &mut HashSet<Key>) {
        match self {
            State::Chains(state) => state.touched(keys),
            State::Ruleset(maps, chains) => {
                maps.touched(keys);
                chains.touched(keys);
            }
            State::Slots(state) => state.touched(keys),
        }
    }

    fn is_present(&self, key: &Key) -> bool {
        match self {
            State::Chains(state) => state.is_present(key),
            State::Ruleset(maps, chains) => maps.is_present(key) || chains.is_present(key),
            State::Slots(state) => state.is_present(key),
        }
    }
}

/// One stream's rows, in order.
struct Stream<'a> {
    snapshots: Vec<&'a SnapshotRow<'static>>,
    changes: Vec<&'a ChangeRow<'static>>,
}

/// Sorts rows by stream and, within it, by snapshot (row order is kept).
fn streams<'a>(changes: &'a [ChangeRow<'static>], snapshots: &'a [SnapshotRow<'static>]) -> BTreeMap<i32, Stream<'a>> {
    let mut streams: BTreeMap<i32, Stream> = BTreeMap::new();
    for snapshot in snapshots {
        let stream =
            streams.entry(snapshot.stream).or_insert_with(|| Stream { snapshots: Vec::new(), changes: Vec::new() });
        stream.snapshots.push(snapshot);
    }
    for change in changes {
        if let Some(stream) = streams.get_mut(&change.stream) {
            stream.changes.push(change);
        }
    }
    for stream in streams.values_mut() {
        stream.snapshots.sort_by_key(|row| row.snapshot);
        stream.changes.sort_by_key(|row| row.snapshot);
    }
    streams
}

/// The look of each snapshot of a stream; null where it has no time that can be used.
fn looks(snapshots: &[&SnapshotRow<'static>]) -> Vec<Option<Look>> {
    // The modification time of a single file is that of its last copy as often as not.
    let usable = |row: &SnapshotRow| row.time_from != "mtime" || snapshots.len() > 1;
    let times: Vec<Option<i64>> = snapshots.iter().map(|row| row.time.filter(|_| usable(row))).collect();
    // Bundles of format 1 do not say how finely a stamp was written: all of a stream in whole seconds are of `date`.
    let whole = times.iter().flatten().count() > 1 && times.iter().flatten().all(|time| time % SECOND == 0);
    let unsaid = if whole { SECOND } else { 0 };
    let latest = |at: usize| Some(times[at]?.saturating_add(snapshots[at].resolution.unwrap_or(unsaid)));
    let mut found = Vec::with_capacity(times.len());
    let mut last = None;
    for (at, row) in snapshots.iter().enumerate() {
        let look = times[at].map(|time| {
            // A file is written when its command has ended: the state was read ahead of that.
            let (time, until) = if row.time_from == "mtime" {
                (last.unwrap_or(time), latest(at))
            } else {
                (time, row.until.or_else(|| (at + 1..times.len()).find_map(latest)))
            };
            Look { time, until, source: row.source, record: row.record }
        });
        last = times[at].or(last);
        found.push(look);
    }
    found
}

/// History of one endpoint while a stream is replayed.
struct History {
    initially: bool,
    present: bool,
    changes: Vec<Change>,
}

/// When each endpoint was in the dataplane, stream by stream. `services` maps virtual IPs to Services (needed for
/// Cilium, and for iptables chains that no comment names).
///
/// Sorted by stream, then Service, address, port. Streams without two usable looks give initial states only.
pub fn presences(
    rules: &[RuleRow<'static>],
    changes: &[ChangeRow<'static>],
    snapshots: &[SnapshotRow<'static>],
    services: &Services,
) -> Vec<Presence> {
    let names = chains::Names::learn(rules, services);
    let index: HashMap<i64, &RuleRow<'static>> = rules.iter().map(|rule| (rule.rule, rule)).collect();
    let mut of_stream: HashMap<i32, Vec<&RuleRow<'static>>> = HashMap::new();
    for rule in rules {
        of_stream.entry(rule.stream).or_default().push(rule);
    }
    // The agent's own list says what the map was to hold: it counts only where no dump of the map does.
    let of_map = |clock: &str| {
        let dumps = |row: &&SnapshotRow<'_>| {
            row.clock == clock
                && row.time_from == "stamp"
                && ["cilium-lb-list", "lb4-reader"].contains(&row.format.as_ref())
        };
        snapshots.iter().filter(dumps).nth(1).is_some()
    };
    let of_stream = |(id, stream): (i32, Stream<'_>)| {
        let Some(first) = stream.snapshots.first() else { return Vec::new() };
        let format = first.format.to_string();
        if ["cilium-service-list", "cilium-service-json"].contains(&format.as_str()) && of_map(&first.clock) {
            return Vec::new();
        }
        let own = || of_stream.get(&id).into_iter().flatten().copied();
        let state = match format.as_str() {
            "iptables-save" | "iptables-list" => State::Chains(chains::State::new(&names, own())),
            "nft-json" | "nft-text" => {
                State::Ruleset(verdict_maps::State::new(own()), chains::State::new(&names, own()))
            }
            _ => State::Slots(slots::State::new(services)),
        };
        replay(id, format, &stream, state, &index)
    };
    let streams: Vec<(i32, Stream<'_>)> = streams(changes, snapshots).into_iter().collect();
    let found: Vec<Vec<Presence>> = streams.into_par_iter().map(of_stream).collect();
    found.into_iter().flatten().collect()
}

fn replay(
    id: i32,
    format: String,
    stream: &Stream,
    mut state: State,
    index: &HashMap<i64, &RuleRow<'static>>,
) -> Vec<Presence> {
    let looks = looks(&stream.snapshots);
    let mut histories: BTreeMap<Key, History> = BTreeMap::new();
    let mut pending: HashSet<Key> = HashSet::new();
    let (mut first, mut last): (Option<Look>, Option<Look>) = (None, None);
    let mut rows = stream.changes.iter().peekable();
    let mut lines = sampling::Lines::default();
    for (snapshot, look) in stream.snapshots.iter().zip(&looks) {
        while let Some(row) = rows.next_if(|row| row.snapshot <= snapshot.snapshot) {
            let step = match row.operation.as_ref() {
                "insert" => 1,
                "delete" => -1,
                _ => continue,
            };
            if let Some(rule) = index.get(&row.rule) {
                state.apply(rule, step);
            }
        }
        state.touched(&mut pending);
        let Some(look) = *look else { continue };
        if !snapshot.complete && last.is_none() {
            continue;
        }
        let look = match &state {
            State::Slots(state) => {
                lines.push(look.time, state.samples());
                Look { until: state.read_until(look.time).or(look.until), ..look }
            }
            State::Chains(_) | State::Ruleset(..) => look,
        };
        pending.retain(|key| {
            let present = state.is_present(key);
            if !present && !snapshot.complete {
                return true;
            }
            let known = histories.entry(key.clone()).or_insert_with(|| History {
                initially: last.is_none() && present,
                present: last.is_none() && present,
                changes: Vec::new(),
            });
            if let (true, Some(last)) = (known.present != present, last) {
                // An incomplete look may have shown it after the last complete one.
                let before = match known.changes.last() {
                    Some(change) if change.after.time > last.time => change.after,
                    _ => last,
                };
                known.changes.push(Change { present, before, after: look });
                known.present = present;
            }
            false
        });
        if snapshot.complete {
            first = first.or(Some(look));
            last = Some(look);
        }
    }
    let (Some(first_look), Some(last_look)) = (first, last) else { return Vec::new() };
    for change in histories.values_mut().flat_map(|history| &mut history.changes) {
        change.before.time = lines.last_before(change.before.time, change.after.time);
    }
    let clock = stream.snapshots.first().map(|row| row.clock.to_string()).unwrap_or_default();
    let time_from = stream.snapshots.iter().rev().find(|row| row.time.is_some()).map(|row| row.time_from.to_string());
    let tells_counts = matches!(&state, State::Slots(state) if state.tells_counts());
    let shows_leaving = format == "cilium-lb-list" && !tells_counts;
    histories
        .into_iter()
        .filter(|(_, history)| history.initially || !history.changes.is_empty())
        .map(|(key, history)| Presence {
            service: key.service,
            address: key.address,
            port: key.port,
            protocol: key.protocol,
            stream: id,
            format: format.clone(),
            clock: clock.clone(),
            time_from: time_from.clone().unwrap_or_default(),
            initially: history.initially,
            changes: history.changes,
            first_look,
            last_look,
            shows_leaving,
        })
        .collect()
}

/// What each snapshot held and how it differs from the one before, by stream and snapshot.
pub fn totals(
    rules: &[RuleRow<'static>],
    changes: &[ChangeRow<'static>],
    snapshots: &[SnapshotRow<'static>],
) -> Vec<Total> {
    let index: HashMap<i64, Counted> = rules.iter().map(|rule| (rule.rule, Counted::of(rule))).collect();
    let mut found = Vec::new();
    for (id, stream) in streams(changes, snapshots) {
        let looks = looks(&stream.snapshots);
        let (mut held, mut all, mut services, mut endpoints) = (0_u64, 0_u64, 0_u64, 0_u64);
        let mut rows = stream.changes.iter().peekable();
        for (at, (snapshot, look)) in stream.snapshots.iter().zip(looks).enumerate() {
            let (mut inserted, mut deleted) = (0, 0);
            while let Some(row) = rows.next_if(|row| row.snapshot <= snapshot.snapshot) {
                let Some(counted) = index.get(&row.rule) else { continue };
                let count = |sum: &mut u64, is: bool| match (is, row.operation.as_ref()) {
                    (true, "insert") => *sum += 1,
                    (true, "delete") => *sum = sum.saturating_sub(1),
                    _ => {}
                };
                count(&mut held, counted.of_services);
                count(&mut all, counted.rule);
                count(&mut services, counted.service);
                count(&mut endpoints, counted.endpoint);
                inserted += u64::from(counted.of_services && row.operation == "insert");
                deleted += u64::from(counted.of_services && row.operation == "delete");
            }
            found.push(Total {
                stream: id,
                format: snapshot.format.to_string(),
                clock: snapshot.clock.to_string(),
                look,
                complete: snapshot.complete,
                rules: held,
                rules_of_all_tables: all,
                services,
                endpoints,
                inserted: if at == 0 { 0 } else { inserted },
                deleted,
            });
        }
    }
    found
}

/// What a rule counts as.
struct Counted {
    rule: bool,
    of_services: bool,
    service: bool,
    endpoint: bool,
}

impl Counted {
    fn of(rule: &RuleRow) -> Self {
        let chain = rule.chain.as_deref().unwrap_or_default();
        let target = rule.target.as_deref().unwrap_or_default();
        if rule.kind == "backend" || rule.kind == "frontend" {
            // A Service is one port, by whichever map or chain it is reached.
            let service = rule.kind == "frontend" && chain != "service-nodeports";
            let endpoint = rule.kind == "backend";
            return Self { rule: true, of_services: true, service, endpoint };
        }
        let is_rule = rule.kind == "rule";
        if is_rule && verdict_maps::of_a_service(chain) && verdict_maps::of_kube_proxy(rule) {
            return Self { rule: true, of_services: true, service: false, endpoint: false };
        }
        let nat = is_rule && chains::in_nat(rule);
        let entrance = chain == "KUBE-SERVICES" || chain == "KUBE-NODEPORTS";
        Self {
            rule: is_rule,
            of_services: nat && (entrance || chains::of_a_service(chain) || chains::of_a_service(target)),
            service: nat && chain == "KUBE-SERVICES" && chains::of_a_service(target),
            endpoint: nat && chain.starts_with("KUBE-SEP-") && target == "DNAT",
        }
    }
}

#[cfg(test)]
mod tests;
