//! What a row of a table of kubectl says: a line of `logs`, and the object that it shows.
//!
//! ```text
//! NAME     ENDPOINTS                                         AGE
//! cart     10.9.0.1:8080,10.9.0.2:8080,10.9.0.3:8080 + 41 more...   5d
//! ```
//!
//! A list of endpoints that kubectl cut proves only the addresses that it shows. A table shows neither uids nor versions: its
//! rows are of the witness `list`, from which no change is concluded.

use std::borrow::Cow;

use syncline_schema::endpoints::EndpointRow;
use syncline_schema::logs::LogRow;
use syncline_schema::loss::CUT_LIST;
use syncline_schema::pods::PodRow;
use syncline_schema::services::ServiceRow;

use crate::form::{Batch, Context};
use crate::parse::dataplane::rule_comment::address_and_port;
use crate::parse::objects::kubectl_columns::Cells;

/// One row.
pub struct Row<'a, 't> {
    pub context: &'a Context,
    pub record: i64,
    /// What stands ahead of the line, and its resolution (ns, null for an exact one).
    pub time: Option<i64>,
    pub resolution: Option<i64>,
    /// Whether the object was shown before: the table is a watch's.
    pub again: bool,
    pub cells: &'a Cells<'t>,
}

impl Row<'_, '_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.cells.get(name)
    }

    fn clock(&self) -> Cow<'_, str> {
        self.context.clock.as_str().into()
    }

    /// Of a watch with its events, what happened; else whether it is a list's or a later version.
    fn event(&self) -> &str {
        self.get("EVENT").unwrap_or(if self.again { "MODIFIED" } else { "LIST" })
    }

    /// `pod/test-1` is `test-1`.
    fn name(&self) -> Option<&str> {
        self.get("NAME").map(|name| name.rsplit_once('/').map_or(name, |(_, name)| name))
    }

    /// The line itself.
    pub fn line(&self, text: &str, batch: &mut Batch) {
        let message = match (self.get("REASON"), self.get("MESSAGE")) {
            (Some(reason), Some(message)) => format!("{reason}: {message}"),
            _ => text.trim_end().to_owned(),
        };
        let caller = self.get("OBJECT").or(self.get("NAME")).unwrap_or("kubectl");
        batch.push(&LogRow {
            source: self.context.source,
            record: self.record,
            clock: self.clock(),
            time: self.time,
            level: if self.get("TYPE") == Some("Warning") { "warning" } else { "info" }.into(),
            caller: Some(caller.into()),
            message: message.into(),
            ..Default::default()
        });
    }

    /// The object, where its kind is told by the columns.
    pub fn objects(&self, batch: &mut Batch) {
        if self.get("ENDPOINTS").is_some() {
            self.endpoints(batch);
        } else if self.get("READY").is_some_and(|ready| ready.contains('/')) && self.get("RESTARTS").is_some() {
            self.pod(batch);
        } else {
            self.service(batch);
        }
    }

    fn pod(&self, batch: &mut Batch) {
        let (Some(name), Some((ready, all))) = (self.name(), self.get("READY").and_then(|text| text.split_once('/')))
        else {
            return;
        };
        let restarts = self.get("RESTARTS").and_then(|text| text.split(' ').next()?.parse().ok());
        batch.push(&PodRow {
            source: self.context.source,
            record: self.record,
            clock: self.clock(),
            witness: "list".into(),
            time: self.time,
            resolution: self.resolution,
            event: self.event().into(),
            namespace: self.get("NAMESPACE").unwrap_or_default().into(),
            name: name.into(),
            node: self.get("NODE").filter(|node| !node.starts_with('<')).map(Into::into),
            address: self.get("IP").filter(|address| !address.starts_with('<')).map(Into::into),
            phase: self.get("STATUS").map(Into::into),
            ready: Some(ready == all && ready != "0"),
            restarts,
            ..Default::default()
        });
    }

    fn endpoints(&self, batch: &mut Batch) {
        let (Some(name), Some(list)) = (self.name(), self.get("ENDPOINTS")) else { return };
        let shown = match list.split_once(" + ") {
            Some((shown, more)) if more.contains("more") => {
                batch.loss(CUT_LIST, 1);
                shown
            }
            _ => list,
        };
        // A slice lists its ports apart from its addresses; its name is its Service's and five letters more.
        let is_slice = self.get("ADDRESSTYPE").is_some();
        let ports: Vec<i32> =
            self.get("PORTS").unwrap_or_default().split(',').filter_map(|port| port.trim().parse().ok()).collect();
        let base = EndpointRow {
            source: self.context.source,
            record: self.record,
            clock: self.clock(),
            witness: "list".into(),
            time: self.time,
            resolution: self.resolution,
            event: self.event().into(),
            kind: if is_slice { "EndpointSlice" } else { "Endpoints" }.into(),
            namespace: self.get("NAMESPACE").unwrap_or_default().into(),
            service: if is_slice { "" } else { name }.into(),
            slice: name.into(),
            ..Default::default()
        };
        let addresses: Vec<&str> = shown
            .split(',')
            .map(str::trim)
            .filter(|address| !address.is_empty() && !address.starts_with('<'))
            .collect();
        if addresses.is_empty() {
            return batch.push(&base);
        }
        for address in addresses {
            let (address, port) = address_and_port(address);
            let address = Some(Cow::Owned(address));
            if ports.is_empty() {
                batch.push(&EndpointRow { address, port, ..base.clone() });
                continue;
            }
            for port in &ports {
                batch.push(&EndpointRow { address: address.clone(), port: Some(*port), ..base.clone() });
            }
        }
    }

    fn service(&self, batch: &mut Batch) {
        let (Some(namespace), Some(name), Some(address), Some(ports)) =
            (self.get("NAMESPACE"), self.name(), self.get("CLUSTER-IP"), self.get("PORT(S)"))
        else {
            return;
        };
        for port in ports.split(',') {
            let (number, protocol) = port.split_once('/').unwrap_or((port, "TCP"));
            batch.push(&ServiceRow {
                source: self.context.source,
                record: self.record,
                clock: self.clock(),
                time: self.time,
                event: "LIST".into(),
                namespace: namespace.into(),
                name: name.into(),
                kind: self.get("TYPE").unwrap_or("ClusterIP").into(),
                cluster_ip: Some(address.into()),
                port: number.split(':').next().and_then(|number| number.parse().ok()),
                protocol: Some(protocol.into()),
                ..Default::default()
            });
        }
    }
}
