//! What a recorder's beacons must give: commits as narrow as they let them be, and words on what that rests on.

use syncline::events::{Direction, Outcome, Run};
use syncline::measure::Measurement;

use super::cluster::Cluster;

/// What is wrong with the commits that a recorder's beacons bound: each as narrow as its beacons and its delivery let it be, and
/// the report says what that rests on.
pub fn commits(cluster: &Cluster, run: &Run, row: &Measurement) -> Vec<String> {
    let (plan, recorded) = (cluster.plan, &cluster.recorded);
    let mut wrong = Vec::new();
    if !plan.recorded {
        return wrong;
    }
    if !run.findings.iter().any(|one| one.title.contains("bounded by beacons") && one.detail.contains("one etcd")) {
        wrong.push("no finding names the beacons and what they assume".to_owned());
    }
    let lost = run.findings.iter().any(|one| one.title.contains("could not see all of watch"));
    if lost != recorded.relisted.is_some() {
        wrong.push(format!("the gap of the watch: {:?}, findings {:?}", recorded.relisted, run.findings));
    }
    let mut bounded = 0;
    for episode in run.episodes.iter().filter(|one| *one.node == *cluster.nodes[0].name) {
        let member = cluster.members.iter().find(|member| member.uid == episode.endpoint.target_uid);
        let added = episode.direction == Direction::Added;
        let version = member.and_then(|member| if added { Some(member.version) } else { member.removed });
        let Some(version) = version else { continue };
        let gap = recorded.relisted.is_some_and(|(.., last)| version == last || version + 1 == last);
        if gap && !plan.audit {
            continue;
        }
        let revision = cluster.revisions[version];
        let before = recorded.beats.iter().filter(|beat| beat.revision < revision).map(|beat| beat.sent).max();
        let behind = recorded.beats.iter().filter(|beat| beat.revision >= revision).map(|beat| beat.returned).min();
        // Where the clock steps only the beacons themselves tell boottime.
        let delivered = recorded.delivered[version].filter(|_| !plan.step);
        let behind = [behind, delivered].into_iter().flatten().min();
        let (Some(before), Some(behind)) = (before, behind) else { continue };
        let Some((low, high)) = episode.committed.low.zip(episode.committed.high) else {
            wrong.push(format!("revision {revision} has beacons on both sides, and its commit is open: {episode:?}"));
            continue;
        };
        bounded += usize::from(episode.committed.witness.contains("beacon"));
        let (width, best) = (high - low, behind - before);
        // Conversions cost what the clocks' readings leave open.
        if width > best + 2_000_000 && !(plan.audit && plan.step) {
            wrong.push(format!("revision {revision}: its commit is {width} ns wide, the beacons permit {best}"));
        }
    }
    if bounded > 0 && row.missing.is_none() && !row.notes.iter().any(|note| note.contains("beacons around")) {
        let own = run.episodes.iter().filter(|one| one.direction == Direction::Added);
        if own.clone().any(|one| one.committed.witness.contains("beacon") && one.outcome == Outcome::Seen) {
            wrong.push(format!("no note says that beacons bound the commits: {:?}", row.notes));
        }
    }
    wrong
}
