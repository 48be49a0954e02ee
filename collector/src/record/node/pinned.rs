//! Cilium's load-balancer maps as they are pinned, read by bpf(2): what a map holds, key by key.
//!
//! A walk over a hash map that is being changed may miss an entry that moves within its bucket. So a walk only finds keys that are new; whether a
//! known one is there is asked by its key, and its absence is the kernel's answer. Between two walks new slots are found too: a
//! frontend's entry (slot 0) says how many it has.
//!
//! Layout (Cilium's bpf/lib/common.h): the key of `services_v2` is address (4 or 16 bytes), port, slot (host order), protocol, scope, padding; its value
//! backend number (4), count (2), reverse NAT (2), flags (2), count of quarantined slots (2). That of `backends` is the number.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, bail};
use aya::maps::{HashMap, Map, MapData, MapError, MapInfo};

/// Value of `services_v2`.
const SERVICE: usize = 12;
/// Most keys that a walk takes, as a multiple of those known: one that is changed all the while has no end.
const WALK: usize = 4;
const LEAST_WALK: usize = 200_000;

/// Addresses to look at; null: every Service.
pub type Wanted = Option<BTreeSet<Vec<u8>>>;

/// A pair of maps of one address family.
pub struct Family {
    services: Box<dyn Services>,
    backends: Box<dyn Backends>,
    /// Paths and identities of the maps: the agent may replace them.
    pins: Vec<(std::path::PathBuf, u32)>,
    wanted: Wanted,
}

impl Family {
    /// Opens `cilium_lb4_…` or `cilium_lb6_…` below a folder of a bpffs.
    ///
    /// # Errors
    /// A map is not there, may not be opened, or is none of Cilium's.
    pub fn open(folder: &Path, prefix: &str, wanted: Wanted) -> anyhow::Result<Self> {
        let services = folder.join(format!("{prefix}_services_v2"));
        let backends = ["backends_v3", "backends_v2"].map(|name| folder.join(format!("{prefix}_{name}")));
        let backends = backends.iter().find(|path| path.exists()).unwrap_or(&backends[0]);
        let (map, identity, key, value) = pinned(&services)?;
        let pair = (key, value);
        let of_services: Box<dyn Services> = match pair {
            (12, 12) => Box::new(ServiceMap::<12>::new(map)?),
            (24, 12) => Box::new(ServiceMap::<24>::new(map)?),
            _ => bail!("{}: keys of {key} and values of {value} bytes are not Cilium's", services.display()),
        };
        let mut pins = vec![(services, identity)];
        let (map, identity, key, value) = pinned(backends)?;
        let of_backends: Box<dyn Backends> = match (key, value) {
            (4, 8) => Box::new(BackendMap::<8>::new(map)?),
            (4, 12) => Box::new(BackendMap::<12>::new(map)?),
            (4, 20) => Box::new(BackendMap::<20>::new(map)?),
            (4, 24) => Box::new(BackendMap::<24>::new(map)?),
            _ => bail!("{}: keys of {key} and values of {value} bytes are not Cilium's", backends.display()),
        };
        pins.push((backends.clone(), identity));
        Ok(Self { services: of_services, backends: of_backends, pins, wanted })
    }

    /// Looks for keys that are new, and at all backends that are in use.
    ///
    /// # Errors
    /// The kernel refuses, or the agent has put other maps in their place.
    pub fn walk(&mut self) -> anyhow::Result<bool> {
        for (path, identity) in &self.pins {
            let now = MapInfo::from_pin(path).with_context(|| path.display().to_string())?.id();
            if now != *identity {
                bail!("{}: the agent put another map in its place", path.display());
            }
        }
        let changed = self.services.walk(&self.wanted)?;
        Ok(self.backends.refresh(&self.services.backends(), true)? || changed)
    }

    /// Looks at every known key, and at slots that a frontend has got.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn look(&mut self) -> anyhow::Result<bool> {
        if !self.services.look()? {
            return Ok(false);
        }
        self.backends.refresh(&self.services.backends(), false)?;
        Ok(true)
    }

    /// Entries of the services map.
    pub fn len(&self) -> usize {
        self.services.len()
    }

    /// Both maps as `bpftool map dump -j` prints them, one behind the other, in the order of their keys.
    pub fn dump(&self, text: &mut Vec<u8>) {
        self.services.dump(text);
        self.backends.dump(text);
    }
}

impl std::fmt::Debug for Family {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Family").field("pins", &self.pins).finish_non_exhaustive()
    }
}

/// A pinned hash map, its identity, and the widths of its keys and values.
fn pinned(path: &Path) -> anyhow::Result<(Map, u32, u32, u32)> {
    let info = MapInfo::from_pin(path).with_context(|| path.display().to_string())?;
    let map = MapData::from_pin(path).with_context(|| path.display().to_string())?;
    Ok((Map::HashMap(map), info.id(), info.key_size(), info.value_size()))
}

/// Services of either family.
trait Services: Send {
    fn walk(&mut self, wanted: &Wanted) -> anyhow::Result<bool>;
    fn look(&mut self) -> anyhow::Result<bool>;
    /// Numbers of the backends that slots name.
    fn backends(&self) -> BTreeSet<u32>;
    fn len(&self) -> usize;
    fn dump(&self, text: &mut Vec<u8>);
}

/// Backends of either family.
trait Backends: Send {
    fn refresh(&mut self, used: &BTreeSet<u32>, all: bool) -> anyhow::Result<bool>;
    fn dump(&self, text: &mut Vec<u8>);
}

struct ServiceMap<const K: usize> {
    map: HashMap<MapData, [u8; K], [u8; SERVICE]>,
    entries: BTreeMap<[u8; K], [u8; SERVICE]>,
}

/// The value of a key; null where it is not there.
fn get<const K: usize, const V: usize>(
    map: &HashMap<MapData, [u8; K], [u8; V]>,
    key: &[u8; K],
) -> anyhow::Result<Option<[u8; V]>> {
    match map.get(key, 0) {
        Ok(value) => Ok(Some(value)),
        Err(MapError::KeyNotFound) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl<const K: usize> ServiceMap<K> {
    /// Where the slot stands in a key; the address is all ahead of it and of the port.
    const SLOT: usize = K - 6;

    fn new(map: Map) -> anyhow::Result<Self> {
        Ok(Self { map: HashMap::try_from(map)?, entries: BTreeMap::new() })
    }

    fn slot(key: &[u8; K]) -> u16 {
        u16::from_ne_bytes([key[Self::SLOT], key[Self::SLOT + 1]])
    }

    fn with_slot(mut key: [u8; K], slot: u16) -> [u8; K] {
        key[Self::SLOT..Self::SLOT + 2].copy_from_slice(&slot.to_ne_bytes());
        key
    }

    /// Slots that a frontend says that it has, the quarantined ones with them.
    fn slots(value: &[u8; SERVICE]) -> u16 {
        let two = |at: usize| u16::from_ne_bytes([value[at], value[at + 1]]);
        two(4).saturating_add(two(10))
    }
}

impl<const K: usize> Services for ServiceMap<K> {
    fn walk(&mut self, wanted: &Wanted) -> anyhow::Result<bool> {
        let most = (self.entries.len() * WALK).max(LEAST_WALK);
        let mut found = Vec::new();
        for key in self.map.keys().take(most) {
            let key = key?;
            let is_wanted = wanted.as_ref().is_none_or(|wanted| wanted.contains(&key[..Self::SLOT - 2]));
            if is_wanted && !self.entries.contains_key(&key) {
                found.push(key);
            }
        }
        let before = self.entries.len();
        for key in found {
            if let Some(value) = get(&self.map, &key)? {
                self.entries.insert(key, value);
            }
        }
        let changed = self.entries.len() > before;
        Ok(self.look()? || changed)
    }

    fn look(&mut self) -> anyhow::Result<bool> {
        let mut changed = false;
        let (mut gone, mut grown) = (Vec::new(), Vec::new());
        for (key, held) in &mut self.entries {
            let Some(value) = get(&self.map, key)? else {
                gone.push(*key);
                continue;
            };
            if Self::slot(key) == 0 && Self::slots(&value) > 0 {
                grown.push((*key, Self::slots(&value)));
            }
            if value != *held {
                *held = value;
                changed = true;
            }
        }
        changed |= !gone.is_empty();
        for key in gone {
            self.entries.remove(&key);
        }
        for (frontend, slots) in grown {
            for slot in 1..=slots {
                let key = Self::with_slot(frontend, slot);
                if self.entries.contains_key(&key) {
                    continue;
                }
                // The agent writes slots ahead of the count: one that is missing now is being removed.
                if let Some(value) = get(&self.map, &key)? {
                    self.entries.insert(key, value);
                    changed = true;
                }
            }
        }
        Ok(changed)
    }

    fn backends(&self) -> BTreeSet<u32> {
        let number = |value: &[u8; SERVICE]| u32::from_ne_bytes([value[0], value[1], value[2], value[3]]);
        self.entries.iter().filter(|(key, _)| Self::slot(key) > 0).map(|(_, value)| number(value)).collect()
    }

    fn len(&self) -> usize {
        self.entries.len()
    }

    fn dump(&self, text: &mut Vec<u8>) {
        array(self.entries.iter().map(|(key, value)| (&key[..], &value[..])), text);
    }
}

struct BackendMap<const V: usize> {
    map: HashMap<MapData, [u8; 4], [u8; V]>,
    entries: BTreeMap<[u8; 4], [u8; V]>,
}

impl<const V: usize> BackendMap<V> {
    fn new(map: Map) -> anyhow::Result<Self> {
        Ok(Self { map: HashMap::try_from(map)?, entries: BTreeMap::new() })
    }
}

impl<const V: usize> Backends for BackendMap<V> {
    /// Reads those in use, the known ones too where `all` is set; forgets the others. Where none is in use, any one stays: a map
    /// that is not there at all would be taken for one that was not captured.
    fn refresh(&mut self, used: &BTreeSet<u32>, all: bool) -> anyhow::Result<bool> {
        let before = self.entries.clone();
        self.entries.retain(|key, _| used.contains(&u32::from_ne_bytes(*key)));
        for number in used {
            let key = number.to_ne_bytes();
            if all || !self.entries.contains_key(&key) {
                match get(&self.map, &key)? {
                    Some(value) => drop(self.entries.insert(key, value)),
                    None => drop(self.entries.remove(&key)),
                }
            }
        }
        if self.entries.is_empty()
            && let Some(key) = self.map.keys().next()
        {
            let key = key?;
            self.entries.extend(get(&self.map, &key)?.map(|value| (key, value)));
        }
        Ok(self.entries != before)
    }

    fn dump(&self, text: &mut Vec<u8>) {
        array(self.entries.iter().map(|(key, value)| (&key[..], &value[..])), text);
    }
}

/// `[{"key":["0x0a",…],"value":["0x03",…]},…]` and a line end.
fn array<'m>(entries: impl Iterator<Item = (&'m [u8], &'m [u8])>, text: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let bytes = |of: &[u8], text: &mut Vec<u8>| {
        for (at, byte) in of.iter().enumerate() {
            text.extend_from_slice(if at > 0 { b",\"0x" } else { b"\"0x" });
            text.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)], b'"']);
        }
    };
    text.push(b'[');
    for (at, (key, value)) in entries.enumerate() {
        text.extend_from_slice(if at > 0 { b",{\"key\":[" } else { b"{\"key\":[" });
        bytes(key, text);
        text.extend_from_slice(b"],\"value\":[");
        bytes(value, text);
        text.extend_from_slice(b"]}");
    }
    text.extend_from_slice(b"]\n");
}
