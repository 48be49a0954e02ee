//! A made-up cluster whose every moment is known: clocks with offsets, drift and steps, changes of a slice, proxies that
//! follow them, and looks at what they hold. Deterministic by seed.
//!
//! All moments are true time (ns); a clock reads `t + offset + drift · (t − start) + step`.

/// Start of every run, true time, ns.
pub const START: i64 = 1_795_400_000_000_000_000;
pub const SECOND: i64 = 1_000_000_000;
pub const MS: i64 = 1_000_000;
/// How often Prometheus scrapes.
pub const SCRAPES: i64 = 250 * MS;

/// SplitMix64: small, and the same everywhere.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5851_F42D_4C95_7F2D)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// In `[low, high]`.
    pub fn within(&mut self, low: i64, high: i64) -> i64 {
        low + (self.next() % (high - low + 1) as u64) as i64
    }

    pub fn one_in(&mut self, count: u64) -> bool {
        self.next().is_multiple_of(count)
    }
}

/// A clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    pub offset: i64,
    /// Parts per billion.
    pub drift: i64,
    /// When it steps, and by how much.
    pub step: Option<(i64, i64)>,
}

impl Clock {
    pub fn read(&self, time: i64) -> i64 {
        let stepped = self.step.map_or(0, |(at, by)| if time >= at { by } else { 0 });
        time + self.offset + ((time - START) as i128 * i128::from(self.drift) / 1_000_000_000) as i64 + stepped
    }
}

/// What relates the nodes' clocks to the API server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Related {
    /// One clock, and the capture says so.
    Statement,
    /// Leases, and times that kubelets wrote into objects.
    Objects,
    /// Leases only: one direction.
    OneSided,
    /// Nothing.
    Nothing,
}

/// One endpoint of the Service.
#[derive(Clone, Debug)]
pub struct Member {
    pub address: String,
    pub uid: String,
    pub pod: String,
    /// Node that its pod runs on.
    pub host: usize,
    pub created: i64,
    pub bound: i64,
    pub started: i64,
    pub ready: i64,
    /// Index of the version that lists it.
    pub version: usize,
    /// Index of the version that does not list it any more.
    pub removed: Option<usize>,
}

/// One version of the slice.
#[derive(Clone, Debug)]
pub struct Version {
    pub received: i64,
    pub committed: i64,
    pub answered: i64,
    /// How many members it lists.
    pub count: usize,
}

/// One beacon of a recorder on the first node: a write of its own, or a list that it read.
#[derive(Clone, Copy, Debug)]
pub struct Beat {
    pub sent: i64,
    pub returned: i64,
    /// That of the write, or the newest when the list was read.
    pub revision: u64,
    pub written: bool,
}

/// What a recorder on the first node had of the API.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    /// In the order in which they were sent; those that were dropped are not here.
    pub beats: Vec<Beat>,
    /// When the watch delivered each version; null where it was broken off meanwhile.
    pub delivered: Vec<Option<i64>>,
    /// When the watch ended with an error, when a list told the state anew, and the version that it showed.
    pub relisted: Option<(i64, i64, usize)>,
}

/// One sync of one node's proxy (for Cilium: one write of the map).
#[derive(Clone, Debug)]
pub struct Sync {
    pub start: i64,
    /// The call into the kernel, and when within it the new state was in force.
    pub call: i64,
    pub effect: i64,
    pub returned: i64,
    pub end: i64,
    /// Members that the dataplane holds from then on.
    pub count: usize,
    /// Whether the trace and the log kept it.
    pub traced: bool,
}

/// One look at a dataplane.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    pub stamp: i64,
    pub read: i64,
    /// When the reading was over, which a recorder's stamps say.
    pub over: i64,
}

/// One node as observed.
#[derive(Clone, Debug)]
pub struct Node {
    pub name: String,
    pub clock: Clock,
    /// Boottime: true time less this.
    pub booted: i64,
    /// When its proxy received each version.
    pub received: Vec<i64>,
    pub syncs: Vec<Sync>,
    pub looks: Vec<Look>,
    /// For each member when its dataplane held it; null where it never did.
    pub visible: Vec<Option<i64>>,
    /// For each member that was removed when its dataplane let it go.
    pub gone: Vec<Option<i64>>,
}

/// What the capture is like.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub seed: u64,
    pub cilium: bool,
    pub nodes: usize,
    pub members: usize,
    pub related: Related,
    /// Whether the audit log has the slice's requests, or only a watch saw them.
    pub audit: bool,
    pub trace: bool,
    pub trace_loses: bool,
    pub log: bool,
    pub proxy_restarts: bool,
    /// How many members the dataplanes never take.
    pub never: usize,
    /// How many members leave again, the last ones first.
    pub removals: usize,
    pub truncated: bool,
    pub interval: i64,
    pub step: bool,
    /// Whether Prometheus, on a clock of its own, scraped each node.
    pub scrapes: bool,
    /// Whether a recorder on the first node watched the slices and sent beacons.
    pub recorded: bool,
    /// Whether its beacons are lists that it read, and no writes.
    pub reads: bool,
    /// Whether beacons were dropped.
    pub drops: bool,
    /// Whether its watch broke off, and began anew with a list.
    pub breaks: bool,
}

impl Plan {
    /// The plan of a seed.
    pub fn of(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let members = dice.within(3, 16) as usize;
        let related = match dice.within(0, 9) {
            0..=3 => Related::Statement,
            4..=7 => Related::Objects,
            8 => Related::OneSided,
            _ => Related::Nothing,
        };
        let mut plan = Self {
            seed,
            cilium: dice.one_in(2),
            nodes: if dice.one_in(4) { 3 } else { 1 },
            members,
            related,
            audit: !dice.one_in(5),
            trace: dice.one_in(2),
            trace_loses: dice.one_in(4),
            log: dice.one_in(2),
            proxy_restarts: dice.one_in(6),
            never: if dice.one_in(4) { dice.within(1, members as i64 / 2) as usize } else { 0 },
            removals: 0,
            truncated: dice.one_in(5),
            interval: dice.within(20, 400) * MS,
            step: related == Related::Objects && dice.one_in(8),
            scrapes: false,
            recorded: false,
            reads: false,
            drops: false,
            breaks: false,
        };
        // What never came cannot leave.
        if plan.never == 0 && dice.one_in(2) {
            plan.removals = dice.within(1, members as i64 - 1) as usize;
        }
        plan.scrapes = dice.one_in(2);
        plan.recorded = dice.one_in(3);
        if plan.recorded {
            (plan.reads, plan.drops, plan.breaks) = (dice.one_in(4), dice.one_in(3), dice.one_in(3));
            // Half of them have no audit log; and where little relates the nodes, one of them was recorded.
            plan.audit = dice.one_in(2);
            plan.nodes = if [Related::OneSided, Related::Nothing].contains(&related) { 1 } else { plan.nodes };
        }
        plan
    }
}

/// The cluster of a plan.
pub struct Cluster {
    pub plan: Plan,
    pub apiserver: Clock,
    pub operator: Clock,
    pub prometheus: Clock,
    pub request: i64,
    pub members: Vec<Member>,
    pub versions: Vec<Version>,
    /// Revision of each version; that of the slice as it was at first is [`FIRST`].
    pub revisions: Vec<u64>,
    pub recorded: Recorded,
    pub nodes: Vec<Node>,
    pub end: i64,
}

/// Revision of the slice as it was at first.
pub const FIRST: u64 = 1_000;

impl Cluster {
    pub fn new(plan: Plan) -> Self {
        let mut dice = Dice::new(plan.seed ^ 0xC0FFEE);
        let same = plan.related == Related::Statement;
        let clock = |spread: i64, dice: &mut Dice| Clock {
            offset: if same { 0 } else { dice.within(-spread, spread) },
            drift: if same { 0 } else { dice.within(-20_000, 20_000) },
            step: None,
        };
        let apiserver = clock(2 * SECOND, &mut dice);
        let operator = clock(30 * SECOND, &mut dice);
        let request = START + 3 * SECOND + dice.within(0, SECOND);
        let (members, versions) = changes(plan, request, &mut dice);
        let last = versions.last().map_or(request, |version| version.answered);
        let end = last + 4 * SECOND;
        let nodes: Vec<Node> = (0..plan.nodes)
            .map(|number| {
                let mut clock = clock(3_600 * SECOND, &mut dice);
                if plan.step {
                    clock.step = Some((request + dice.within(0, SECOND), dice.within(3, 9) * SECOND));
                }
                node(plan, number, clock, &versions, &members, end, &mut dice)
            })
            .collect();
        let prometheus =
            Clock { offset: dice.within(-90 * SECOND, 90 * SECOND), drift: dice.within(-20_000, 20_000), step: None };
        let (revisions, recorded) = recorded(plan, &versions, end);
        Self { plan, apiserver, operator, prometheus, request, members, versions, revisions, recorded, nodes, end }
    }

    /// What a clock reads at a moment.
    pub fn read(&self, clock: &str, time: i64) -> i64 {
        let own = |name: &str| self.nodes.iter().find(|node| node.name == name).expect("a node's clock");
        match clock.split_once('/') {
            Some((name, _)) => time - own(name).booted,
            None if clock == "apiserver" => self.apiserver.read(time),
            None => own(clock).clock.read(time),
        }
    }
}

/// Revisions in the order of all commits, and what the recorder had of them.
fn recorded(plan: Plan, versions: &[Version], end: i64) -> (Vec<u64>, Recorded) {
    if !plan.recorded {
        return ((1..).map(|number| FIRST + number).take(versions.len()).collect(), Recorded::default());
    }
    let mut dice = Dice::new(plan.seed ^ 0x000B_EAC0);
    // Sent, committed (or read), returned.
    let mut beats: Vec<(i64, i64, i64)> = Vec::new();
    let mut sent = START + 300 * MS;
    while sent < end {
        let slow = if dice.one_in(40) { dice.within(50 * MS, 400 * MS) } else { 0 };
        let committed = sent + dice.within(300_000, 4 * MS) + slow;
        let returned = committed + dice.within(100_000, 3 * MS);
        beats.push((sent, committed, returned));
        sent = (sent + 100 * MS).max(returned) + dice.within(0, 2 * MS);
    }
    let mut commits: Vec<(i64, Option<usize>)> =
        versions.iter().enumerate().map(|(at, version)| (version.committed, Some(at))).collect();
    if !plan.reads {
        commits.extend(beats.iter().map(|(_, committed, _)| (*committed, None)));
    }
    commits.sort_unstable();
    let mut revisions = vec![0; versions.len()];
    let mut number = FIRST;
    let mut known: Vec<(i64, u64)> = Vec::new();
    for (time, version) in commits {
        // Other objects change too.
        number += dice.within(1, 5) as u64;
        known.push((time, number));
        if let Some(at) = version {
            revisions[at] = number;
        }
    }
    let newest = |time: i64| known.iter().rev().find(|(committed, _)| *committed <= time).map_or(FIRST, |(_, at)| *at);
    let mut found = Recorded::default();
    let mut hole = START;
    for (sent, committed, returned) in beats {
        if plan.drops && dice.one_in(30) {
            hole = sent + dice.within(200 * MS, 2 * SECOND);
        }
        if !(plan.drops && (dice.one_in(5) || sent < hole)) {
            found.beats.push(Beat { sent, returned, revision: newest(committed), written: !plan.reads });
        }
    }
    found.delivered = versions.iter().map(|version| Some(version.committed + dice.within(300_000, 20 * MS))).collect();
    // Two versions in the same direction are made while the watch is broken off.
    let grows = |at: usize| versions[at].count > at.checked_sub(1).map_or(0, |before| versions[before].count);
    let pairs: Vec<usize> = (1..versions.len()).filter(|at| grows(*at) == grows(at - 1)).collect();
    if plan.breaks && !pairs.is_empty() {
        let last = pairs[dice.within(0, pairs.len() as i64 - 1) as usize];
        let error = versions[last - 1].committed - dice.within(0, 200_000);
        let mut listed = versions[last].committed + dice.within(5 * MS, 30 * MS);
        if let Some(next) = versions.get(last + 1) {
            listed = listed.min(next.committed - 1);
        }
        found.delivered[last - 1] = None;
        found.delivered[last] = None;
        found.relisted = Some((error, listed, last));
    }
    (revisions, found)
}

fn changes(plan: Plan, request: i64, dice: &mut Dice) -> (Vec<Member>, Vec<Version>) {
    let mut members: Vec<Member> = Vec::new();
    let mut versions = Vec::new();
    let mut at = request + 800 * MS;
    while members.len() < plan.members {
        let most = if plan.members > 100 { plan.members as i64 / 20 } else { 4 };
        let batch = (dice.within(1, most) as usize).min(plan.members - members.len());
        let received = at + dice.within(0, 400 * MS);
        let committed = received + dice.within(200_000, 4 * MS);
        let answered = committed + dice.within(100_000, 3 * MS);
        for _ in 0..batch {
            let number = members.len();
            let created = request + dice.within(5 * MS, 100 * MS);
            let bound = created + dice.within(5 * MS, 60 * MS);
            let ready = received - dice.within(10 * MS, 150 * MS);
            members.push(Member {
                address: format!("10.244.{}.{}", 1 + number / 250, 1 + number % 250),
                uid: format!("uid-{number}"),
                pod: format!("test-{number}"),
                host: number % plan.nodes,
                created,
                bound,
                started: bound + (ready - bound) / 2,
                ready,
                version: versions.len(),
                removed: None,
            });
        }
        versions.push(Version { received, committed, answered, count: members.len() });
        at = answered + dice.within(MS, 500 * MS);
    }
    // All proxies have followed by then, so that each removal is a change of its own.
    at += 4 * SECOND;
    let mut left = members.len();
    while left > plan.members - plan.removals {
        let most = if plan.members > 100 { plan.members as i64 / 20 } else { 4 };
        let batch = (dice.within(1, most) as usize).min(left - (plan.members - plan.removals));
        let received = at + dice.within(0, 400 * MS);
        let committed = received + dice.within(200_000, 4 * MS);
        let answered = committed + dice.within(100_000, 3 * MS);
        left -= batch;
        members[left..left + batch].iter_mut().for_each(|member| member.removed = Some(versions.len()));
        versions.push(Version { received, committed, answered, count: left });
        at = answered + dice.within(MS, 500 * MS);
    }
    (members, versions)
}

fn node(
    plan: Plan,
    number: usize,
    clock: Clock,
    versions: &[Version],
    members: &[Member],
    end: i64,
    dice: &mut Dice,
) -> Node {
    let received: Vec<i64> = versions.iter().map(|version| version.committed + dice.within(300_000, 20 * MS)).collect();
    let taken = plan.members - plan.never;
    let mut syncs: Vec<Sync> = Vec::new();
    let mut free = START;
    let mut at = 0;
    while at < versions.len() {
        let wait = if plan.cilium { dice.within(5 * MS, 500 * MS) } else { dice.within(MS, 5 * MS) };
        let start = (received[at] + wait).max(free);
        while at < versions.len() && received[at] <= start {
            at += 1;
        }
        let call = start + dice.within(3 * MS, 60 * MS);
        let effect = call + dice.within(10_000, 100_000);
        let returned = effect + dice.within(10_000, 100_000);
        let end = returned + dice.within(MS, 10 * MS);
        let traced = !(plan.trace_loses && dice.one_in(3));
        let count = versions.get(at.wrapping_sub(1)).map_or(0, |version| version.count).min(taken);
        syncs.push(Sync { start, call, effect, returned, end, count, traced });
        free = if plan.cilium { end } else { end + SECOND };
    }
    let first = |member: usize| syncs.iter().position(|sync| sync.count > member);
    let visible = (0..members.len()).map(|member| first(member).map(|at| syncs[at].effect)).collect();
    let gone = (0..members.len())
        .map(|member| {
            members[member].removed?;
            syncs[first(member)?..].iter().find(|sync| sync.count <= member).map(|sync| sync.effect)
        })
        .collect();
    let mut looks = Vec::new();
    let mut stamp = START + 500 * MS;
    while stamp < end {
        // The map's reader sleeps between two readings; snapshots are printed by a loop of commands.
        let read = stamp
            + if plan.cilium { dice.within(MS / 10, MS) } else { dice.within(MS, (plan.interval / 2).max(2 * MS)) };
        let over = read + (plan.interval / 4).min(read - stamp);
        looks.push(Look { stamp, read, over });
        stamp = read + if plan.cilium { plan.interval } else { dice.within(plan.interval / 4, plan.interval) };
    }
    Node {
        name: format!("node-{}", (b'a' + (number % 26) as u8) as char).to_owned() + &"x".repeat(number / 26),
        clock,
        booted: START - dice.within(1_000, 9_000) * SECOND,
        received,
        syncs,
        looks,
        visible,
        gone,
    }
}
