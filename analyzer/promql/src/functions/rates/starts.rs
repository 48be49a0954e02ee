//! Start timestamps: when a counter began at zero, as the sample itself says (Prometheus 3.12 to 3.14, PRs 18344,
//! 18619, 18627 and 18557). Milliseconds since 1970; 0 where it is not known.

/// Whether the counter was reset between two samples, by their start timestamps.
///
/// A start at the very time of the sample before is a reset only if that one's own start is known and lies before it:
/// then each sample counts anew (a delta). Else the start is merely not known.
pub(super) fn is_reset(start_before: i64, time_before: i64, start: i64, time: i64) -> bool {
    if start == 0 || start >= time || start < time_before {
        return false;
    }
    start > time_before || (start_before != 0 && start_before < time_before)
}

/// Whether a sample says that it covers time which the sample before covers already, from another start.
pub(super) fn overlaps(start_before: i64, time_before: i64, start: i64) -> bool {
    start != 0 && start < time_before && start != start_before
}

/// The indices of samples that overlap the one before them.
pub(super) fn overlapping(times: impl Fn(usize) -> i64, starts: &[i64]) -> Vec<usize> {
    (1..starts.len()).filter(|&index| overlaps(starts[index - 1], times(index - 1), starts[index])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_needs_a_start_after_the_sample_before() {
        assert!(is_reset(0, 100, 150, 200));
        assert!(!is_reset(0, 100, 50, 200));
        assert!(!is_reset(50, 100, 0, 200));
        // Unknown starts: at the sample itself, or after it.
        assert!(!is_reset(50, 100, 200, 200) && !is_reset(50, 100, 300, 200));
        // Deltas, and a cumulative series whose start is not known.
        assert!(is_reset(50, 100, 100, 200));
        assert!(!is_reset(100, 100, 100, 200) && !is_reset(0, 100, 100, 200) && !is_reset(150, 100, 100, 200));
    }

    #[test]
    fn an_overlap_is_another_start_within_what_is_covered() {
        assert!(overlaps(0, 100, 50) && overlaps(20, 100, 50));
        assert!(!overlaps(50, 100, 50) && !overlaps(50, 100, 100) && !overlaps(50, 100, 0));
        let times = [100, 200, 300];
        assert_eq!(overlapping(|index| times[index], &[50, 60, 200]), [1]);
    }
}
