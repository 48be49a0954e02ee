//! The short run of every target: its seeds and a fixed number of mutations of them, from a fixed seed, the same at every run.
//!
//! What libFuzzer found has tests of its own beside the code; this one holds what is found at once where something new breaks.
//! `SYNCLINE_FUZZ=100` tries a hundred times as many, `SYNCLINE_TARGET=checks` one target alone.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

use syncline_fuzz::mutation::{Dice, mutated};
use syncline_fuzz::{TARGETS, Target};

/// Panics of all threads: one in a worker is caught there, and would not be seen here.
static PANICS: AtomicUsize = AtomicUsize::new(0);

fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            PANICS.fetch_add(1, Ordering::SeqCst);
            before(panic);
        }));
    });
}

/// Runs an input; fails with its bytes where it makes anything panic.
fn tried(target: &Target, input: &[u8]) {
    let before = PANICS.load(Ordering::SeqCst);
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    let now = PANICS.load(Ordering::SeqCst);
    assert!(outcome.is_ok() && now == before, "{}: {}", target.name, input.escape_ascii());
}

/// All targets in one test: the count of panics is of the whole process.
#[test]
fn no_target_panics_at_seeds_and_mutations_of_them() {
    count_panics();
    let asked = |name: &str| std::env::var(name).ok();
    let times: usize = asked("SYNCLINE_FUZZ").map_or(1, |times| times.parse().expect("a number"));
    let wanted = asked("SYNCLINE_TARGET");
    for target in TARGETS.iter().filter(|target| wanted.as_ref().is_none_or(|name| name == target.name)) {
        let seeds = (target.seeds)();
        assert!(seeds.len() >= 8, "{}: {} seeds", target.name, seeds.len());
        // Where an input takes milliseconds, a part of the seeds does.
        let step = (seeds.len() / target.short.max(1)).max(1);
        seeds.iter().step_by(step).for_each(|seed| tried(target, seed));
        let mut dice = Dice::new(20_261_127);
        for _ in 0..target.short * times {
            tried(target, &mutated(&seeds, &mut dice));
        }
    }
}

#[test]
fn mutations_are_the_same_at_every_run() {
    let seeds = vec![b"one 12 two".to_vec(), b"three 4".to_vec()];
    let made = || {
        let mut dice = Dice::new(7);
        (0..50).map(|_| mutated(&seeds, &mut dice)).collect::<Vec<_>>()
    };
    assert_eq!(made(), made());
    assert!(made().iter().any(|one| !seeds.contains(one)));
}
