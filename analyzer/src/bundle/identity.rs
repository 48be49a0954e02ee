//! Which rows of `series` are one series.
//!
//! Two witnesses are of one series where the names are equal, one label set contains the other, and what is
//! more on one side are labels that a target adds. The richer label set is kept. A bare label set may fit several
//! targets (`go_goroutines` of every job): then what the other series of its component say decides, or the node that it was
//! read on. Where they all but agree on the target's labels, it is that target's; else nothing proves which is
//! meant: all are kept and nothing is merged.
//!
//! ```text
//! stream   kubeproxy_sync_…{}   ──fits only──▶ {instance="a:10249",job="kube-proxy"}    so the stream is of kube-proxy
//! stream   go_goroutines{}      ──fits──▶ {…,job="kube-proxy"}, {…,job="kubelet"}       and this is the first one
//! ```
//!
//! Equal labels of two components are two series. A label tells them apart, where it is needed only: `node`, the node whose
//! clock they were read on (on every series of the component); or `capture`, what their paths do not share, where both were
//! read on one clock (on the metrics that both have). Where a series has such a label already, they are called `capture_node`
//! and `capture_file`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rayon::prelude::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator, ParallelSliceMut};

use super::apart;
use super::components::{Class, Components};
use super::listed::Listed;

/// Labels that Prometheus' service discovery adds to those of the exporter.
const TARGET_LABELS: [&str; 12] = [
    "job",
    "instance",
    "node",
    "endpoint",
    "namespace",
    "pod",
    "service",
    "container",
    "cluster",
    "prometheus",
    "metrics_path",
    "app",
];

/// Rank of a witness: lower is better.
fn rank(witness: &str) -> usize {
    ["tsdb", "scrape", "api", "bpftool", "exposition"].iter().position(|name| *name == witness).unwrap_or(9)
}

/// One series, as chosen.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// Metric name.
    pub name: String,
    /// Labels without `__name__`.
    pub labels: BTreeMap<String, String>,
    /// The row of the best witness.
    pub row: Listed,
    /// Further rows of the same component, whose samples are used too.
    pub parts: Vec<Listed>,
    /// Rows of worse witnesses, whose samples are used where the best one has none; by witness.
    pub others: Vec<Listed>,
}

impl Chosen {
    /// All its rows, the best witness' first.
    pub fn rows(&self) -> impl Iterator<Item = &Listed> {
        [&self.row].into_iter().chain(&self.parts).chain(&self.others)
    }
}

type LabelMap = BTreeMap<String, String>;

fn is_target_label(name: &str) -> bool {
    TARGET_LABELS.contains(&name)
}

/// What `rich` has beyond `poor`, where that is labels of a target only.
fn added(rich: &LabelMap, poor: &LabelMap) -> Option<LabelMap> {
    if !poor.iter().all(|(name, value)| rich.get(name) == Some(value)) {
        return None;
    }
    let more: LabelMap =
        rich.iter().filter(|(name, _)| !poor.contains_key(*name)).map(|(n, v)| (n.clone(), v.clone())).collect();
    more.keys().all(|name| is_target_label(name)).then_some(more)
}

/// Rows of one component with equal labels.
struct Item {
    component: usize,
    class: Class,
    rows: Vec<Listed>,
}

impl Item {
    fn rank(&self) -> (usize, i64) {
        self.rows.iter().map(|row| (rank(&row.witness), row.series)).min().unwrap_or((9, 0))
    }
}

/// Witnesses of one series, at most one of each class.
struct Group {
    labels: LabelMap,
    /// The component that has these labels.
    owner: usize,
    members: Vec<Item>,
}

impl Group {
    /// What the group has beyond the labels of a witness of another class.
    fn beyond(&self, labels: &LabelMap, class: Class) -> Option<LabelMap> {
        self.members.iter().all(|member| member.class != class).then(|| added(&self.labels, labels)).flatten()
    }
}

/// Share of a component's series that must name the same target for it to be of that target.
const AGREEMENT: f64 = 0.9;

/// Groups rows into series. The second value: whether a label set fitted several targets.
pub fn choose_among(rows: Vec<Listed>, components: &Components, paths: &[&str]) -> (Vec<Chosen>, bool) {
    // Series whose labels differ in more than labels of targets are different: only the others are compared.
    type Items = BTreeMap<(std::cmp::Reverse<usize>, LabelMap), BTreeMap<(Class, usize), Item>>;
    let mut families: BTreeMap<(String, LabelMap), Items> = BTreeMap::new();
    // Rows that share their text are of one label set, which is read once: a database has a row of a series for each of its blocks.
    let mut numbers: HashMap<[usize; 2], usize> = HashMap::new();
    let mut equal: Vec<Vec<Listed>> = Vec::new();
    for row in rows {
        let number = *numbers.entry([&row.name, &row.labels].map(|text| text.as_ptr().addr())).or_insert(equal.len());
        if number == equal.len() {
            equal.push(Vec::new());
        }
        equal[number].push(row);
    }
    let labels = |rows: &Vec<Listed>| serde_json::from_str(&rows[0].labels).unwrap_or_default();
    let parsed: Vec<LabelMap> = equal.par_iter().with_min_len(256).map(labels).collect();
    if components.all.len() == 1 {
        return (of_one_component(equal, parsed), false);
    }
    for (rows, labels) in equal.into_iter().zip(parsed) {
        let own = labels.iter().filter(|(name, _)| !is_target_label(name));
        let own = own.map(|(name, value)| (name.clone(), value.clone())).collect();
        let items = families.entry((rows[0].name.to_string(), own)).or_default();
        let items = items.entry((std::cmp::Reverse(labels.len()), labels)).or_default();
        for row in rows {
            let (component, class) = (components.of(&row), Class::of(&row.witness));
            items
                .entry((class, component))
                .or_insert_with(|| Item { component, class, rows: Vec::new() })
                .rows
                .push(row);
        }
    }
    // How many series of a component prove which labels of its target.
    let mut proofs: HashMap<usize, BTreeMap<LabelMap, usize>> = HashMap::new();
    let mut grouped = Vec::with_capacity(families.len());
    for ((name, _), items) in families {
        let mut groups: Vec<Group> = Vec::new();
        let mut open = Vec::new();
        for ((_, labels), items) in items {
            place(&labels, items.into_values().collect(), &mut groups, &mut open, &mut proofs);
        }
        grouped.push((name, groups, open));
    }
    let targets: HashMap<usize, LabelMap> = proofs
        .into_iter()
        .filter_map(|(component, counts)| {
            let all: usize = counts.values().sum();
            let (target, count) = counts.into_iter().max_by_key(|(_, count)| *count)?;
            (count as f64 >= AGREEMENT * all as f64).then_some((component, target))
        })
        .collect();
    let any_open = grouped.iter().any(|(_, _, open)| !open.is_empty());
    let mut all = Vec::new();
    for (name, mut groups, open) in grouped {
        for (labels, item) in open {
            let target = targets.get(&item.component);
            let node = components.all.get(item.component).map_or("", |component| component.node());
            let fits: Vec<(usize, LabelMap)> =
                (0..groups.len()).filter_map(|at| Some((at, groups[at].beyond(&labels, item.class)?))).collect();
            let on_node: Vec<usize> =
                fits.iter().filter(|(_, more)| names_node(more, node)).map(|(at, _)| *at).collect();
            let own = fits.iter().find(|(_, more)| Some(more) == target).map(|(at, _)| *at);
            let own = own.or(if on_node.len() == 1 && target.is_none() { on_node.first().copied() } else { None });
            match own {
                Some(at) => groups[at].members.push(item),
                None => groups.push(Group { labels, owner: item.component, members: vec![item] }),
            }
        }
        all.extend(groups.into_iter().map(|group| (name.clone(), group)));
    }
    tell_apart(&mut all, components, paths);
    (all.into_iter().filter_map(|(name, group)| of_group(name, group)).collect(), any_open)
}

/// The series of one component: each label set is one, and nothing is to be told apart. In the order of names and labels.
fn of_one_component(equal: Vec<Vec<Listed>>, labels: Vec<LabelMap>) -> Vec<Chosen> {
    let mut all: Vec<(LabelMap, Vec<Listed>)> = labels.into_iter().zip(equal).collect();
    all.par_sort_by(|(labels, rows), (others, other_rows)| (&rows[0].name, labels).cmp(&(&other_rows[0].name, others)));
    all.dedup_by(|(later, more), (labels, rows)| {
        let same = more[0].name == rows[0].name && later == labels;
        if same {
            rows.append(more);
        }
        same
    });
    let one = |(labels, rows): (LabelMap, Vec<Listed>)| {
        let (name, class) = (rows[0].name.to_string(), Class::of(&rows[0].witness));
        of_group(name, Group { labels, owner: 0, members: vec![Item { component: 0, class, rows }] })
    };
    all.into_iter().filter_map(one).collect()
}

/// Puts items of equal labels into the groups that they fit. Of two components of one class that both fit a group, nothing
/// proves here which is meant: they stay open.
fn place(
    labels: &LabelMap,
    mut items: Vec<Item>,
    groups: &mut Vec<Group>,
    open: &mut Vec<(LabelMap, Item)>,
    proofs: &mut HashMap<usize, BTreeMap<LabelMap, usize>>,
) {
    items.sort_by_key(|item| (item.class, item.rank()));
    while let Some(class) = items.first().map(|item| item.class) {
        let own: Vec<Item> = items.extract_if(.., |item| item.class == class).collect();
        let mut fits: Vec<(usize, LabelMap)> =
            (0..groups.len()).filter_map(|at| Some((at, groups[at].beyond(labels, class)?))).collect();
        if fits.iter().any(|(_, more)| more.is_empty()) {
            fits.retain(|(_, more)| more.is_empty());
        }
        let alone = own.len() == 1;
        for item in own {
            match &fits[..] {
                [] => groups.push(Group { labels: labels.clone(), owner: item.component, members: vec![item] }),
                [(at, more)] if alone => {
                    if !more.is_empty() {
                        *proofs.entry(item.component).or_default().entry(more.clone()).or_default() += 1;
                    }
                    groups[*at].members.push(item);
                }
                _ => open.push((labels.clone(), item)),
            }
        }
    }
}

/// Whether labels of a target name a node: `node="a"`, `instance="a:10249"`.
fn names_node(labels: &LabelMap, node: &str) -> bool {
    let named = |value: &String| value == node || value.rsplit_once(':').is_some_and(|(host, _)| host == node);
    labels.values().any(named)
}

/// Adds a label where components have series with equal labels.
fn tell_apart(all: &mut [(String, Group)], components: &Components, paths: &[&str]) {
    if components.is_plain() {
        return;
    }
    let mut equal: BTreeMap<(&str, &LabelMap), BTreeSet<usize>> = BTreeMap::new();
    for (name, group) in all.iter() {
        equal.entry((name, &group.labels)).or_default().insert(group.owner);
    }
    let node = |at: &usize| components.all.get(*at).map_or("", |component| component.node());
    let mut nodes: BTreeSet<usize> = BTreeSet::new();
    let mut files: BTreeSet<(String, usize)> = BTreeSet::new();
    for ((name, _), owners) in equal.iter().filter(|(_, owners)| owners.len() > 1) {
        for one in owners {
            if owners.iter().any(|other| node(one) != node(other)) {
                nodes.insert(*one);
            }
            if owners.iter().any(|other| one != other && node(one) == node(other)) {
                files.insert(((*name).to_owned(), *one));
            }
        }
    }
    let sources: Vec<(usize, &str)> = components
        .all
        .iter()
        .enumerate()
        .filter(|(at, _)| files.iter().any(|(_, one)| one == at))
        .map(|(at, one)| {
            (at, one.sources.first().and_then(|at| paths.get(usize::try_from(*at).ok()?)).copied().unwrap_or("?"))
        })
        .collect();
    let told = apart::labels(&sources.iter().map(|(_, path)| *path).collect::<Vec<_>>());
    let told: HashMap<usize, String> = sources.iter().map(|(at, _)| *at).zip(told).collect();
    let has = |label: &str| all.iter().any(|(_, group)| group.labels.contains_key(label));
    let as_node = if has("node") { "capture_node" } else { "node" };
    let as_file = if has("capture") { "capture_file" } else { "capture" };
    for (name, group) in all.iter_mut() {
        if nodes.contains(&group.owner) {
            group.labels.insert(as_node.to_owned(), node(&group.owner).to_owned());
        }
        if files.contains(&(name.clone(), group.owner))
            && let Some(file) = told.get(&group.owner)
        {
            group.labels.insert(as_file.to_owned(), file.clone());
        }
    }
}

/// The best witness of a group, and what is used with it.
fn of_group(name: String, mut group: Group) -> Option<Chosen> {
    group.members.sort_by_key(Item::rank);
    for member in &mut group.members {
        member.rows.sort_by_key(|row| (rank(&row.witness), row.series));
    }
    let mut members = group.members.into_iter();
    let mut best = members.next()?.rows.into_iter();
    let row = best.next()?;
    Some(Chosen {
        name,
        labels: group.labels,
        row,
        parts: best.collect(),
        others: members.flat_map(|one| one.rows).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::{Bundle, components};

    /// Rows of files without paths: components are told by witness, clock and source.
    fn of_rows(rows: Vec<Listed>) -> (Vec<Chosen>, bool) {
        let folder = tempfile::tempdir().expect("a folder");
        let bundle = Bundle { path: folder.path().to_owned(), manifest: Default::default(), ..Bundle::default() };
        let components = components::find(&bundle, &rows).expect("components");
        let paths = ["a", "b", "node-c/x", "node-d/x"];
        choose_among(rows, &components, &paths)
    }

    fn row(series: i64, source: i32, witness: &'static str, labels: &'static str) -> Listed {
        Listed {
            series,
            source,
            witness: witness.into(),
            name: "x".into(),
            labels: labels.into(),
            ..Default::default()
        }
    }

    #[test]
    fn a_scrape_and_an_api_answer_of_one_series_are_one() {
        let (chosen, _) = of_rows(vec![
            row(0, 1, "api", r#"{"code":"1","instance":"a:9","job":"j"}"#),
            row(1, 2, "scrape", r#"{"code":"1"}"#),
        ]);
        assert_eq!(chosen.len(), 1);
        assert_eq!(chosen[0].row.series, 1, "the scrape's samples are used");
        assert_eq!(chosen[0].labels.get("job").map(String::as_str), Some("j"), "with the target's labels");
        assert_eq!(chosen[0].others.len(), 1);
    }

    #[test]
    fn other_labels_are_other_series() {
        let (chosen, _) = of_rows(vec![row(0, 1, "api", r#"{"code":"1"}"#), row(1, 2, "scrape", r#"{"code":"2"}"#)]);
        assert_eq!(chosen.len(), 2);
        let (chosen, _) = of_rows(vec![row(0, 1, "scrape", r#"{"a":"1"}"#), row(1, 1, "scrape", r#"{}"#)]);
        assert_eq!(chosen.len(), 2, "one source holds two series");
    }

    #[test]
    fn an_ambiguous_series_is_not_merged() {
        let (chosen, _) = of_rows(vec![
            row(0, 1, "tsdb", r#"{"job":"a"}"#),
            row(1, 1, "tsdb", r#"{"job":"b"}"#),
            row(2, 2, "scrape", r#"{}"#),
        ]);
        assert_eq!(chosen.len(), 3);
    }

    #[test]
    fn what_a_source_says_elsewhere_tells_its_target() {
        let named = |mut row: Listed| {
            row.name = "only_here".into();
            row
        };
        let rows = |proof: &'static str| {
            vec![
                row(0, 1, "tsdb", r#"{"job":"a"}"#),
                row(1, 1, "tsdb", r#"{"job":"b"}"#),
                named(row(2, 1, "tsdb", proof)),
                row(3, 2, "scrape", "{}"),
                named(row(4, 2, "scrape", "{}")),
                row(5, 3, "api", r#"{"job":"b"}"#),
            ]
        };
        let (chosen, _) = of_rows(rows(r#"{"job":"b"}"#));
        let found: Vec<(i64, Vec<i64>)> =
            chosen.iter().map(|one| (one.row.series, one.others.iter().map(|row| row.series).collect())).collect();
        assert_eq!(found, [(2, vec![4]), (0, vec![]), (1, vec![3, 5])]);
        assert_eq!(of_rows(rows(r#"{"job":"c"}"#)).0.len(), 4, "no candidate is of that target");
    }

    #[test]
    fn blocks_of_a_database_are_united() {
        let rows = vec![
            row(0, 1, "tsdb", r#"{"job":"a"}"#),
            row(1, 2, "tsdb", r#"{"job":"a"}"#),
            row(2, 3, "scrape", "{}"),
            row(3, 2, "tsdb", r#"{"job":"a","pod":"p"}"#),
        ];
        let (chosen, _) = of_rows(rows);
        assert_eq!(chosen.iter().filter(|one| one.row.witness == "tsdb").count(), 2);
        let united = chosen.iter().find(|one| one.row.series == 0).expect("the series of both blocks");
        assert_eq!(united.parts.iter().map(|row| row.series).collect::<Vec<_>>(), [1]);
    }
    #[test]
    fn equal_labels_of_two_nodes_are_told_apart_and_others_of_the_component_with_them() {
        let on = |mut row: Listed, clock: &'static str, name: &'static str| {
            (row.clock, row.name) = (clock.into(), name.into());
            row
        };
        let rows = |labels: &'static str| {
            vec![
                on(row(0, 2, "scrape", labels), "node-c", "x"),
                on(row(1, 3, "scrape", labels), "node-d/boottime", "x"),
                on(row(2, 3, "scrape", r#"{"code":"5"}"#), "node-d/boottime", "only_there"),
            ]
        };
        let (found, _) = of_rows(rows("{}"));
        let node = |label: &str, found: &[Chosen]| -> Vec<String> {
            found.iter().map(|one| one.labels.get(label).cloned().unwrap_or_default()).collect()
        };
        assert_eq!(node("node", &found), ["node-d", "node-c", "node-d"]);
        let (found, _) = of_rows(rows(r#"{"node":"x"}"#));
        assert_eq!(node("capture_node", &found), ["node-d", "node-c", "node-d"], "{found:?}");
        let (alone, _) = of_rows(rows("{}").split_off(1));
        assert_eq!(node("node", &alone), ["", ""], "nothing to tell apart");
    }

    #[test]
    fn equal_labels_of_two_components_of_a_node_are_told_apart_by_their_files() {
        let own = |mut row: Listed, name: &'static str| {
            row.name = name.into();
            row
        };
        let (found, _) = of_rows(vec![
            own(row(0, 2, "exposition", "{}"), "go_threads"),
            own(row(1, 2, "exposition", "{}"), "kubeproxy_syncs"),
            own(row(2, 3, "exposition", "{}"), "go_threads"),
            own(row(3, 3, "exposition", "{}"), "cilium_version"),
        ]);
        let told: Vec<(&str, Option<&str>)> =
            found.iter().map(|one| (one.name.as_str(), one.labels.get("capture").map(String::as_str))).collect();
        let expected = [
            ("cilium_version", None),
            ("go_threads", Some("node-c")),
            ("go_threads", Some("node-d")),
            ("kubeproxy_syncs", None),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn of_two_targets_that_fit_two_nodes_each_is_its_own() {
        let on = |mut row: Listed, clock: &'static str| {
            row.clock = clock.into();
            row
        };
        let (found, _) = of_rows(vec![
            row(0, 1, "tsdb", r#"{"instance":"node-c:10249","job":"kube-proxy"}"#),
            row(1, 1, "tsdb", r#"{"instance":"node-d:10249","job":"kube-proxy"}"#),
            on(row(2, 2, "scrape", "{}"), "node-c"),
            on(row(3, 3, "scrape", "{}"), "node-d"),
        ]);
        let pairs: Vec<(i64, Vec<i64>)> =
            found.iter().map(|one| (one.row.series, one.others.iter().map(|row| row.series).collect())).collect();
        assert_eq!(pairs, [(0, vec![2]), (1, vec![3])]);
    }
}
