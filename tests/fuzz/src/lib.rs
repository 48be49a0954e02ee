//! What the programs take from strangers, attacked: one plain function a target, from bytes to nothing or a panic.
//!
//! The same functions are run by libFuzzer (`libfuzzer/`, a workspace of its own) and, for a few seconds with a fixed seed, by the
//! ordinary tests (`tests/short.rs`). A target checks what must hold of whatever it made of the bytes, beside not panicking: rows
//! name lines that are there, pieces of a snapshot are its text, a bundle is whole.

pub mod archives;
pub mod bundles;
pub mod capture_toml;
pub mod captures;
#[cfg(feature = "analyzer")]
pub mod checks;
pub mod chunks;
pub mod content;
pub mod expressions;
pub mod fixtures;
pub mod formats;
pub mod layers;
pub mod mutation;
pub mod places;
#[cfg(feature = "analyzer")]
pub mod rules;
pub mod tsdb;

/// One target.
#[derive(Clone, Copy)]
pub struct Target {
    /// Name of its module, of its binary for libFuzzer and of the folder of its corpus.
    pub name: &'static str,
    /// Takes an input. What must not be is a panic.
    pub run: fn(&[u8]),
    /// Inputs to begin with, the same at every run.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Mutated inputs of the short run: as many as take a few seconds in an ordinary build.
    pub short: usize,
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "formats", run: formats::run, seeds: formats::seeds, short: 1_500 },
    Target { name: "layers", run: layers::run, seeds: layers::seeds, short: 1_000 },
    Target { name: "chunks", run: chunks::run, seeds: chunks::seeds, short: 20_000 },
    Target { name: "tsdb", run: tsdb::run, seeds: tsdb::seeds, short: 4_000 },
    Target { name: "capture_toml", run: capture_toml::run, seeds: capture_toml::seeds, short: 10_000 },
    Target { name: "expressions", run: expressions::run, seeds: expressions::seeds, short: 20_000 },
    Target { name: "captures", run: captures::run, seeds: captures::seeds, short: 200 },
    Target { name: "archives", run: archives::run, seeds: archives::seeds, short: 300 },
    Target { name: "bundles", run: bundles::run, seeds: bundles::seeds, short: 300 },
    #[cfg(feature = "analyzer")]
    Target { name: "rules", run: rules::run, seeds: rules::seeds, short: 1_000 },
    #[cfg(feature = "analyzer")]
    Target { name: "checks", run: checks::run, seeds: checks::seeds, short: 8 },
];
