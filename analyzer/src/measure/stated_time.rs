//! Which samples have a time that somebody stated, and which only that of their file's last change.
//!
//! A page that was saved without a time (`curl …/metrics > before.prom`) is stamped with the modification time of its file, and the
//! loss `time-from-mtime` says so. Copying changes that time: it may even turn the order of two pages around. What rests on
//! *when* a value was read must leave such samples aside; what only needs to know which page came first can go by the names
//! (see [`super::before_after`]).

use std::collections::BTreeMap;

use syncline_schema::loss::TIME_FROM_MTIME;

use crate::events::Run;

/// Of each source that has samples without a stated time, the modification time that stands in its place.
pub fn unstated(run: &Run) -> BTreeMap<i32, i64> {
    let manifest = &run.bundle.manifest;
    let mut found = BTreeMap::new();
    for loss in manifest.losses.iter().filter(|loss| loss.name == TIME_FROM_MTIME.name) {
        let own = |path: &str| loss.source.as_deref() == Some(path);
        for (at, source) in manifest.sources.iter().enumerate().filter(|(_, source)| own(&source.path)) {
            // A page may hold stamps of its own beside it (cAdvisor's), in whole milliseconds; a file is changed after they were
            // taken, unless it was copied with an older time.
            let fine = |time: &i64| time % 1_000_000 != 0;
            let time = [source.last, source.first].into_iter().flatten().find(fine).or(source.last);
            if let (Ok(at), Some(time)) = (i32::try_from(at), time) {
                found.insert(at, time);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use syncline_schema::manifest::LossEntry;

    use super::super::fixture;
    use super::unstated;

    #[test]
    fn a_page_without_a_time_is_told_from_stamps_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let mut run = fixture::run(folder.path(), "cilium", |_| {});
        let manifest = &mut run.bundle.manifest;
        manifest.sources[0].first = Some(5_000_000_000);
        manifest.sources[0].last = Some(9_123_456_789);
        assert!(unstated(&run).is_empty());
        let loss =
            LossEntry { name: "time-from-mtime".into(), source: Some("a.stream".into()), ..LossEntry::default() };
        run.bundle.manifest.losses.push(loss);
        assert_eq!(unstated(&run).into_iter().collect::<Vec<_>>(), [(0, 9_123_456_789)]);
    }
}
