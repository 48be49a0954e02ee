//! What makes one state into the next.
//!
//! What both begin and end with is left alone, the middle is compared piece by piece with a greedy search for the next common piece.

use std::collections::HashSet;

use syncline_schema::dataplane::ChangeRow;

/// How far ahead a common piece is searched for, in either list.
const SEARCH: usize = 4_096;
/// Pieces that are searched through in all for each piece of a state, and for a small one: far more than captures need. What is not found
/// then is written as deleted and inserted, which is as true and longer.
const SEARCHED: usize = 512;
/// As above, in any case.
const LEAST_SEARCHED: usize = 1 << 26;

/// A piece of a state: its rule, and its counters.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    pub rule: i64,
    pub packets: Option<i64>,
    pub bytes: Option<i64>,
}

/// Gives each change that makes `old` into `new`, in order.
pub fn differences<E>(
    old: &[Held],
    new: &[Held],
    mut each: impl FnMut(ChangeRow<'static>) -> Result<(), E>,
) -> Result<(), E> {
    let change = |operation: &'static str, position: usize, held: &Held| ChangeRow {
        operation: operation.into(),
        position: position as i64,
        rule: held.rule,
        packets: held.packets,
        bytes: held.bytes,
        ..Default::default()
    };
    // What stands behind the common beginning of either list: a rule that does not is not searched for.
    let (mut ahead_old, mut ahead_new) = (HashSet::new(), HashSet::new());
    let same = old.iter().zip(new).take_while(|(a, b)| a.rule == b.rule).count();
    for (list, ahead) in [(old, &mut ahead_old), (new, &mut ahead_new)] {
        for held in &list[same..] {
            ahead.insert(held.rule);
        }
    }
    let mut searches = old.len().max(new.len()).saturating_mul(SEARCHED).saturating_add(LEAST_SEARCHED);
    let (mut i, mut j) = (0, 0);
    while i < old.len() || j < new.len() {
        match (old.get(i), new.get(j)) {
            (Some(a), Some(b)) if a.rule == b.rule => {
                if a != b {
                    each(change("counters", j, b))?;
                }
                i += 1;
                j += 1;
            }
            (Some(a), Some(b)) => {
                let mut find = |list: &[Held], rule| {
                    let found = list.iter().take(SEARCH.min(searches)).position(|held| held.rule == rule);
                    searches -= found.unwrap_or(SEARCH.min(list.len())).min(searches);
                    found
                };
                let gone = if ahead_old.contains(&b.rule) { find(&old[i..], b.rule) } else { None };
                let come = if ahead_new.contains(&a.rule) { find(&new[j..], a.rule) } else { None };
                match (gone, come) {
                    (Some(gone), come) if come.is_none_or(|come| gone < come) => {
                        for held in &old[i..i + gone] {
                            each(change("delete", j, held))?;
                        }
                        i += gone;
                    }
                    (_, Some(come)) => {
                        for held in &new[j..j + come] {
                            each(change("insert", j, held))?;
                            j += 1;
                        }
                    }
                    (_, None) => {
                        each(change("delete", j, a))?;
                        each(change("insert", j, b))?;
                        i += 1;
                        j += 1;
                    }
                }
            }
            (Some(a), None) => {
                each(change("delete", j, a))?;
                i += 1;
            }
            (None, Some(b)) => {
                each(change("insert", j, b))?;
                j += 1;
            }
            (None, None) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Held, differences};

    fn held(rules: &[u8]) -> Vec<Held> {
        rules
            .iter()
            .map(|rule| Held { rule: i64::from(rule % 8), packets: Some(i64::from(*rule)), bytes: None })
            .collect()
    }

    proptest! {
        #[test]
        fn changes_lead_from_one_list_to_the_other(old: Vec<u8>, new: Vec<u8>) {
            let (old, new) = (held(&old), held(&new));
            let mut list = old.clone();
            let mut changes = Vec::new();
            let each = |change| -> Result<(), std::convert::Infallible> {
                changes.push(change);
                Ok(())
            };
            prop_assert!(differences(&old, &new, each).is_ok());
            for change in changes {
                let at = change.position as usize;
                let piece = Held { rule: change.rule, packets: change.packets, bytes: change.bytes };
                match change.operation.as_ref() {
                    "insert" => list.insert(at, piece),
                    "delete" => drop(list.remove(at)),
                    _ => list[at] = piece,
                }
            }
            prop_assert_eq!(list, new);
        }
    }

    #[test]
    fn states_in_another_order_cost_no_more_than_their_length() {
        // Each piece of one stands far ahead in the other: most of the searches find nothing near.
        let state = |step: usize| -> Vec<Held> {
            let count = 200_003;
            (0..count).map(|at| Held { rule: (at * step % count) as i64, packets: None, bytes: None }).collect()
        };
        let mut changes = 0;
        let counted = differences(&state(1), &state(77_777), |_| -> Result<(), ()> {
            changes += 1;
            Ok(())
        });
        assert!(counted.is_ok() && changes <= 2 * 200_003 + 10, "{changes}");
    }
}
