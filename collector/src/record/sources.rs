//! The sources, a line each.

use super::source::Source;

/// All of them, in the order in which they are started and shown.
pub const SOURCES: &[&Source] = &[
    &super::clocks::SOURCE,
    &super::cluster::watch::SOURCE,
    &super::cluster::beacon::SOURCE,
    &super::scrape::SOURCE,
    &super::prometheus::SOURCE,
    &super::logs::SOURCE,
    &super::hubble::SOURCE,
    &super::probe::SOURCE,
    &super::audit_tail::SOURCE,
    &super::node::iptables::SOURCE,
    &super::node::nftables::SOURCE,
    &super::node::nftables::MONITOR,
    &super::node::ipvs::SOURCE,
    &super::node::bpf_maps::SOURCE,
    &super::node::agent::SOURCE,
    &super::node::trace::SOURCE,
    &super::node::programs::SOURCE,
    &super::node::usage::SOURCE,
    &super::node::top::SOURCE,
];

/// What `--every` and `--without` take.
pub fn names() -> impl Iterator<Item = &'static str> {
    SOURCES.iter().map(|source| source.name)
}

/// The one of a name.
pub fn named(name: &str) -> Option<&'static Source> {
    SOURCES.iter().find(|source| source.name == name).copied()
}

#[cfg(test)]
mod tests {
    use super::SOURCES;

    #[test]
    fn names_are_unique_and_kinds_are_formats() {
        for (at, source) in SOURCES.iter().enumerate() {
            assert!(SOURCES[..at].iter().all(|other| other.name != source.name), "{} stands twice", source.name);
            for kind in source.kinds {
                let known = crate::parse::FORMATS.iter().any(|format| format.kind == *kind);
                assert!(known, "{}: no format is called {kind}", source.name);
            }
        }
    }
}
