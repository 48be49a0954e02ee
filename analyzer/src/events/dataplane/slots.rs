//! Slots of Cilium's load-balancer map, kept up to date entry by entry.

use std::collections::{HashMap, HashSet};

use syncline_schema::dataplane::RuleRow;

use super::chains::by_virtual_ip;
use super::{Key, Services};

/// All frontends of one stream at one time.
pub struct State {
    /// `namespace/name` and protocol by virtual IP, port, protocol.
    services: Services,
    /// Service by `namespace-name`, as file names write it: `namespace/name` and protocol.
    by_file_name: HashMap<String, (String, String)>,
    /// Highest slot that gets new connections, by frontend; null where the witness does not tell (then all do).
    counts: HashMap<String, Option<i32>>,
    /// Endpoints that ever had a slot, by frontend.
    endpoints: HashMap<String, HashSet<Key>>,
    /// Entries of an endpoint: (frontend, slot) → how many. A slot may hold two for a moment while it is rewritten.
    slots: HashMap<Key, HashMap<(String, i32), i64>>,
    dirty: HashSet<Key>,
    /// How long the last reading took, ns, where the witness says so.
    read_duration: Option<i64>,
    /// How many readings the witness made for the last line, where it says so.
    samples: Option<i64>,
}

impl State {
    /// An empty state.
    pub fn new(services: &Services) -> Self {
        let mut by_file_name = HashMap::new();
        for ((_, _, protocol), service) in services {
            by_file_name.insert(service.replace('/', "-"), (service.clone(), protocol.to_ascii_uppercase()));
        }
        Self {
            services: services.clone(),
            by_file_name,
            counts: HashMap::new(),
            endpoints: HashMap::new(),
            slots: HashMap::new(),
            dirty: HashSet::new(),
            read_duration: None,
            samples: None,
        }
    }

    /// An entry came (`step` 1) or went (−1).
    pub fn apply(&mut self, rule: &RuleRow, step: i64) {
        let name = rule.chain.as_deref().or(rule.service.as_deref()).unwrap_or_default();
        match rule.kind.as_ref() {
            "frontend" if step > 0 => {
                let told = number_behind(&rule.text, "\"count\":").or_else(|| number_behind(&rule.text, "] count "));
                let count = told.and_then(|count| i32::try_from(count).ok());
                let before = self.counts.insert(name.to_owned(), count);
                if before != Some(count) {
                    self.dirty.extend(self.endpoints.get(name).into_iter().flatten().cloned());
                }
            }
            "backend" => {
                let Some(key) = self.key(rule) else { return };
                let entries = self.slots.entry(key.clone()).or_default();
                let place = (name.to_owned(), rule.slot.unwrap_or(0));
                let number = entries.entry(place.clone()).or_default();
                *number += step;
                if *number == 0 {
                    entries.remove(&place);
                }
                match self.endpoints.get_mut(name) {
                    Some(known) => drop(known.insert(key.clone())),
                    None => drop(self.endpoints.insert(name.to_owned(), HashSet::from([key.clone()]))),
                }
                self.dirty.insert(key);
            }
            "other" if step > 0 => {
                self.read_duration = number_behind(&rule.text, "\"read_ns\":").or(self.read_duration);
                self.samples = number_behind(&rule.text, "\"samples_since_last_line\":").or(self.samples);
            }
            _ => {}
        }
    }

    fn key(&self, rule: &RuleRow) -> Option<Key> {
        let (address, port) = rule.address.as_deref().zip(rule.port)?;
        let (service, protocol) = match (rule.chain.as_deref(), rule.service.as_deref()) {
            // A frontend that is no Service's virtual IP (a node port) is another way to the same endpoints. Where no
            // capture tells of Services at all, a frontend is all that is known of one.
            (Some(frontend), _) => {
                let (place, protocol) = frontend.split_once('/').unwrap_or((frontend, "TCP"));
                let (ip, number) = place.rsplit_once(':')?;
                let ip = ip.trim_start_matches('[').trim_end_matches(']');
                let number = number.parse().ok().filter(|number| *number != 0)?;
                let service = if self.services.is_empty() {
                    frontend.to_owned()
                } else {
                    by_virtual_ip(&self.services, ip, number, rule.protocol.as_deref())?.clone()
                };
                (service, protocol.to_ascii_uppercase())
            }
            (None, Some(file)) => match self.by_file_name.get(file) {
                Some((service, protocol)) => (service.clone(), protocol.clone()),
                None => (file.replacen('-', "/", 1), "TCP".to_owned()),
            },
            (None, None) => return None,
        };
        Some(Key { service, address: address.to_owned(), port, protocol })
    }

    /// Adds the endpoints whose state may have changed since the last call.
    pub fn touched(&mut self, keys: &mut HashSet<Key>) {
        keys.extend(self.dirty.drain());
    }

    /// Whether an endpoint has a slot that gets new connections.
    pub fn is_present(&self, key: &Key) -> bool {
        let active = |frontend: &String, slot: i32| {
            self.counts.get(frontend).copied().flatten().is_none_or(|count| slot <= count)
        };
        self.slots.get(key).is_some_and(|entries| {
            entries.iter().any(|((frontend, slot), number)| *number > 0 && active(frontend, *slot))
        })
    }

    /// Whether the witness tells of every frontend which of its slots get new connections.
    pub fn tells_counts(&self) -> bool {
        !self.counts.is_empty() && self.counts.values().all(Option::is_some)
    }

    /// When the reading that began at `time` had ended, where the witness says so.
    pub fn read_until(&self, time: i64) -> Option<i64> {
        time.checked_add(self.read_duration?)
    }

    /// How many readings stand behind the last line, this one included, where the witness says so.
    pub fn samples(&self) -> Option<i64> {
        self.samples
    }
}

/// The number behind a JSON key in a piece of text.
fn number_behind(text: &str, key: &str) -> Option<i64> {
    let (_, rest) = text.split_once(key)?;
    let digits = rest.split(|character: char| !character.is_ascii_digit()).next()?;
    digits.parse().ok()
}
