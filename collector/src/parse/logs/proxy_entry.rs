//! What an entry of kube-proxy's log becomes: a line of `logs`, and the moment of a sync that it tells.
//!
//! ```text
//! I0203 04:05:06.100000  1 proxier.go:828] "Syncing iptables rules" ipFamily="IPv4"                 start
//! E0203 04:05:06.149000  1 proxier.go:1564] "Failed to execute iptables-restore" err=…              failed: the sync wrote nothing
//! I0203 04:05:06.150000  1 proxier.go:822] "SyncProxyRules complete" ipFamily="IPv4" elapsed="50ms"  … which its end says again
//! ```
//!
//! A sync that failed says that it is complete all the same. It is one row, `failed`: of its last line where that is there,
//! since that has the duration, else of the line that says why. How long it took is no latency.

use std::borrow::Cow;

use syncline_schema::logs::LogRow;
use syncline_schema::syncs::SyncRow;

use crate::form::instant;
use crate::form::{Batch, Context};
use crate::parse::logs::klog::{Entry, When, moment_of};
use crate::parse::syntax::key_values::fields;

/// Moments of syncs of a chunk, in the order of their lines.
#[derive(Default)]
pub struct Syncs {
    rows: Vec<Option<SyncRow<'static>>>,
    /// Failures whose sync has not ended yet: places in `rows`.
    failing: Vec<usize>,
}

/// Proxies that write to one place at once, at most: each line is looked for among them.
pub const MOST_PROXIES: usize = 256;

impl Syncs {
    /// Takes the next moment.
    fn take(&mut self, mut row: SyncRow<'static>) {
        match &*row.moment {
            "failed" => match self.failing_of(&row) {
                // The same sync says so again (`Sync failed` behind what went wrong).
                Some(known) => {
                    let known = &mut self.rows[self.failing[known]];
                    if let Some(known) = known {
                        known.family = known.family.take().or(row.family);
                    }
                    return;
                }
                None => {
                    if self.failing.len() >= MOST_PROXIES {
                        self.failing.remove(0);
                    }
                    self.failing.push(self.rows.len());
                }
            },
            "start" => {
                if let Some(known) = self.failing_of(&row) {
                    self.failing.swap_remove(known);
                }
            }
            "complete" => {
                if let Some(known) = self.failing_of(&row) {
                    let failed = self.rows[self.failing.swap_remove(known)].take();
                    row.moment = "failed".into();
                    row.detail = failed.and_then(|failed| failed.detail);
                }
            }
            _ => {}
        }
        self.rows.push(Some(row));
    }

    /// The failure that a row of the same proxy and family belongs to.
    fn failing_of(&self, row: &SyncRow<'_>) -> Option<usize> {
        self.failing.iter().position(|at| {
            self.rows[*at].as_ref().is_some_and(|failed| {
                let family = failed.family.is_none() || row.family.is_none() || failed.family == row.family;
                family && failed.proxy == row.proxy
            })
        })
    }

    /// Pairs of an entry that stand behind its value over many lines: the family of the failure that it told.
    pub fn pairs(&mut self, pairs: &str) {
        let family = fields(pairs).find(|(key, _)| *key == "ipFamily").map(|(_, value)| value.into_owned());
        if let (Some(family), Some(at)) = (family, self.failing.last())
            && let Some(failed) = &mut self.rows[*at]
            && failed.family.is_none()
        {
            failed.family = Some(family.into());
        }
    }

    /// Writes the rows.
    pub fn finish(self, batch: &mut Batch) {
        for row in self.rows.into_iter().flatten() {
            batch.push(&row);
        }
    }
}

/// Where an entry stood, and what whoever carried it said.
#[derive(Clone, Copy)]
pub struct Carried<'a> {
    pub record: i64,
    pub outer_time: Option<i64>,
    /// Pod or node: several proxies may write to one place.
    pub proxy: Option<&'a str>,
}

/// Writes the line of an entry and takes its moment. Answers its time.
pub fn push(
    context: &Context,
    carried: &Carried<'_>,
    found: Entry<'_>,
    syncs: &mut Syncs,
    batch: &mut Batch,
) -> Option<i64> {
    let Carried { record, outer_time, proxy } = *carried;
    let time = match found.when {
        When::Known(time) => Some(time),
        When::NoYear(when) => moment_of(when, outer_time, context),
        When::Outer => None,
    };
    batch.record(time.or(outer_time));
    if let Some(row) = moment(&found) {
        syncs.take(SyncRow {
            source: context.source,
            record,
            clock: context.clock.clone().into(),
            // Without a header whoever carried the line is all that knows when.
            time: time.or(outer_time.filter(|_| matches!(found.when, When::Outer))),
            proxy: proxy.map(|proxy| Cow::Owned(proxy.to_owned())),
            moment: Cow::Owned(row.moment.into_owned()),
            duration: row.duration,
            family: owned(row.family),
            object: owned(row.object),
            detail: owned(row.detail),
            ..Default::default()
        });
    }
    batch.push(&LogRow {
        source: context.source,
        record,
        clock: context.clock.as_str().into(),
        time,
        outer_time,
        level: found.level.into(),
        caller: Some(found.caller).filter(|caller| !caller.is_empty()),
        message: found.message,
        fields: Some(found.fields).filter(|pairs| !pairs.is_empty()),
        ..Default::default()
    });
    time
}

fn owned(text: Option<Cow<'_, str>>) -> Option<Cow<'static, str>> {
    text.map(|text| Cow::Owned(text.into_owned()))
}

/// Whether a message says that a sync did not write what it should. Wordings of versions 1.9 to 1.36, of all modes.
fn is_failure(message: &str, level: &str) -> bool {
    let begins = |start: &str| message.starts_with(start);
    if begins("Sync failed") || message.ends_with("sync failed") {
        return true;
    }
    let restore = begins("Failed to execute ip") && message.contains("tables-restore");
    let ensure = begins("Failed to ensure ") || begins("Failed to create dummy interface") || begins("Failed to sync ");
    level == "error" && (restore || ensure)
}

/// The moment of a sync that a line tells. Wordings of versions 1.9 to 1.36.
pub fn moment<'a>(found: &'a Entry) -> Option<SyncRow<'a>> {
    let message = &*found.message;
    let field = |wanted: &str| fields(&found.fields).find(|(key, _)| *key == wanted).map(|(_, value)| value);
    let row = |moment: &'static str| SyncRow { moment: moment.into(), family: field("ipFamily"), ..Default::default() };
    if let Some(handler) = message.strip_prefix("Calling handler.OnEndpoint") {
        return (!handler.contains("Synced")).then(|| row("received"));
    }
    if let Some(rest) = message.strip_prefix("Setting endpoints for ") {
        let (mut port, mut endpoints, mut family) = (None, None, None);
        // Lists of endpoints are long: once through them.
        for (key, value) in fields(&found.fields) {
            let place = match key {
                "portName" => &mut port,
                "endpoints" => &mut endpoints,
                "ipFamily" => &mut family,
                _ => continue,
            };
            place.get_or_insert(value);
        }
        return setting(rest, port, endpoints).map(|(object, detail)| SyncRow {
            moment: "setting".into(),
            object: Some(object),
            detail: Some(detail),
            family,
            ..Default::default()
        });
    }
    if message.starts_with("Syncing ") && message.ends_with("rules") {
        return Some(row("start"));
    }
    if message.starts_with("Reloading service ") {
        let figures: Vec<String> = fields(&found.fields)
            .filter(|(key, _)| *key != "ipFamily")
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        return Some(SyncRow { detail: Some(figures.join(" ").into()), ..row("reload") });
    }
    if is_failure(message, found.level) {
        return Some(SyncRow { detail: Some(message.into()), ..row("failed") });
    }
    if message.eq_ignore_ascii_case("SyncProxyRules complete") {
        return Some(SyncRow {
            duration: field("elapsed").and_then(|text| instant::go_duration(&text)),
            ..row("complete")
        });
    }
    if let Some(text) = message.strip_prefix("syncProxyRules took ") {
        return Some(SyncRow { duration: instant::go_duration(text.trim()), ..row("complete") });
    }
    if message == "Network programming" {
        // Seconds as a plain number; later versions may quote a Go duration.
        let elapsed =
            field("elapsed").and_then(|text| instant::decimal_seconds(&text).or_else(|| instant::go_duration(&text)));
        return Some(SyncRow { duration: elapsed, object: field("endpoint"), ..row("programming") });
    }
    let (object, took) = message.strip_prefix("Network programming of ")?.split_once(" took ")?;
    let duration = took.strip_suffix(" seconds").and_then(instant::decimal_seconds);
    Some(SyncRow { duration, object: Some(object.into()), ..row("programming") })
}

/// Service port and endpoints of a `Setting endpoints` line, structured or plain.
fn setting<'a>(
    rest: &'a str,
    port: Option<Cow<'a, str>>,
    endpoints: Option<Cow<'a, str>>,
) -> Option<(Cow<'a, str>, Cow<'a, str>)> {
    if let Some(port) = port {
        let list = endpoints.unwrap_or_default();
        let list = list.trim_start_matches('[').trim_end_matches(']');
        let list: String = list.split(['"', ' ']).collect();
        return Some((port, list.into()));
    }
    let (port, list) = rest.split_once(" to ")?;
    let list = list.trim().strip_prefix('[')?.strip_suffix(']')?;
    Some((port.trim_matches('"').into(), list.replace(' ', ",").into()))
}

#[cfg(test)]
mod tests {
    use super::moment;
    use crate::parse::logs::klog::entry;

    fn told(line: &str) -> Option<String> {
        let found = entry(line)?;
        moment(&found).map(|row| {
            format!(
                "{} {:?} {:?} {:?} {:?}",
                row.moment,
                row.duration,
                row.family.as_deref(),
                row.object.as_deref(),
                row.detail.as_deref()
            )
        })
    }

    #[test]
    fn reads_every_wording() {
        let check = |message: &str, expected: &str| {
            let line = format!("I1123 04:22:33.568529       1 proxier.go:142] {message}");
            assert_eq!(told(&line).as_deref(), Some(expected).filter(|text| !text.is_empty()), "{message}");
        };
        check("\"Calling handler.OnEndpointSliceUpdate\"", "received None None None None");
        check("Calling handler.OnEndpointsAdd", "received None None None None");
        check("Calling handler.OnEndpointsSynced()", "");
        check("\"Calling handler.OnNodeChange\"", "");
        check(
            "\"Setting endpoints for service port name\" portName=\"default/test:http\" endpoints=[\"10.244.0.23:8080\",\"10.244.0.252:8080\"]",
            "setting None None Some(\"default/test:http\") Some(\"10.244.0.23:8080,10.244.0.252:8080\")",
        );
        check(
            "Setting endpoints for \"kube-system/kube-dns:dns\" to [10.244.0.54:53 10.244.0.55:53]",
            "setting None None Some(\"kube-system/kube-dns:dns\") Some(\"10.244.0.54:53,10.244.0.55:53\")",
        );
        check("\"Syncing iptables rules\" ipFamily=\"IPv4\" fullSync=false", "start None Some(\"IPv4\") None None");
        check(
            "\"Reloading service nftables data\" ipFamily=\"IPv6\" numServices=8006 numEndpoints=240015",
            "reload None Some(\"IPv6\") None Some(\"numServices=8006 numEndpoints=240015\")",
        );
        check("\"SyncProxyRules complete\" elapsed=\"4m50.461347544s\"", "complete Some(290461347544) None None None");
        check("syncProxyRules took 33.571µs", "complete Some(33571) None None None");
        check(
            "\"Network programming\" endpoint=\"default/test\" elapsed=2.606524308",
            "programming Some(2606524308) None Some(\"default/test\") None",
        );
        check(
            "Network programming of ns/svc took 1.025890 seconds",
            "programming Some(1025890000) None Some(\"ns/svc\") None",
        );
    }

    #[test]
    fn every_wording_of_a_failure_is_one() {
        for line in [
            "E0203 04:05:06.149000 1 proxier.go:1] \"Failed to execute iptables-restore\" err=<",
            "E0203 04:05:06.149000 1 proxier.go:1] Failed to execute iptables-restore: exit status 2",
            "I0203 04:05:06.149000 1 proxier.go:1] Sync failed; retrying in 30s",
            "I0203 04:05:06.149000 1 proxier.go:1] \"Sync failed\" ipFamily=\"IPv4\" retryingTime=\"30s\"",
            "E0203 04:05:06.149000 1 proxier.go:1] \"nftables sync failed\" err=\"x\"",
            "E0203 04:05:06.149000 1 proxier.go:1] Failed to ensure that nat chain KUBE-SERVICES exists: x",
            "E0203 04:05:06.149000 1 proxier.go:1] \"Failed to sync endpoint for service\" err=\"x\"",
        ] {
            assert!(told(line).is_some_and(|told| told.starts_with("failed ")), "{line}");
        }
        assert_eq!(told("I0203 04:05:06.149000 1 proxier.go:1] Failed to ensure a thing"), None);
    }
}
