//! Commit times without an audit log: all objects of one etcd share one order of revisions.
//!
//! ```text
//! beacon   ──┤sent ▪ returned├──────────┤sent ▪ returned├──      ▪ commit of the beacon, revisions 1204 and 1240
//! a slice                        ▪ revision 1231: committed after the first was sent, before the second had returned
//! ```
//!
//! Writes go to one ConfigMap of the recorder's own, removed at the end. Between them small lists are read: their revision is that of the store at
//! that moment, costs it no write, and narrows the bounds. `--max-cpu` slows none of them down: all bounds rest on them. From just ahead of the action until the rollout is complete.

use std::time::{Duration, Instant};

use serde_json::json;

use super::api::{Api, ApiError, Verb};
use crate::record::folder::{File, Out};
use crate::record::moment::{Moment, seconds};
use crate::record::plan::Plan;
use crate::record::source::{Found, Lack, Source};
use crate::record::stop::{Phase, Stop};
use syncline_schema::loss;

/// The source.
pub const SOURCE: Source = Source {
    name: "beacon",
    kinds: &["beacon"],
    about: "a ConfigMap of the recorder's own, written ten times a second around the action: bounds of every commit",
    cadence: Some(Duration::from_millis(100)),
    prepares: false,
    needs,
    run,
};

/// Name of the object.
pub const NAME: &str = "syncline-beacon";
/// Reads to a write.
const READS: u32 = 4;

/// One line of the kind `beacon`.
pub fn line(by: &str, version: &str, sent: Moment, returned: Moment) -> String {
    let quoted = serde_json::Value::from(version);
    format!(
        "{{\"beacon\":{{\"by\":\"{by}\",\"resourceVersion\":{quoted},\"sent\":{},\"returned\":{},\"sent_boottime\":{},\"returned_boottime\":{}}}}}",
        seconds(sent.realtime),
        seconds(returned.realtime),
        seconds(sent.boottime),
        seconds(returned.boottime)
    )
}

/// Namespace of the object: the recorder's own.
fn namespace(api: &Api) -> &str {
    api.namespace().unwrap_or("default")
}

fn needs(plan: &Plan) -> Result<Found, Lack> {
    let remedy = "bind the Role that `manifest` prints to the account, or leave it out: --without beacon";
    let Some(api) = &plan.api else {
        return Err(Lack::new(format!("no API server ({})", plan.no_api), "give --kubeconfig"));
    };
    for verb in ["create", "patch", "delete"] {
        let mut attributes = json!({"namespace": namespace(api), "verb": verb, "resource": "configmaps"});
        if verb != "create" {
            attributes["name"] = NAME.into();
        }
        let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": attributes}});
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        match api.send(Verb::Post, path, "application/json", &review) {
            Ok(answer) if answer["status"]["allowed"] == true => {}
            Ok(_) => return Err(Lack::new(format!("no right to {verb} ConfigMap {}/{NAME}", namespace(api)), remedy)),
            Err(error) => return Err(Lack::new(format!("rights cannot be asked for ({error})"), remedy)),
        }
    }
    Ok(format!("ConfigMap {}/{NAME}, removed at the end", namespace(api)))
}

fn run(plan: &Plan, out: &mut Out, stop: &Stop) -> anyhow::Result<()> {
    let Some(api) = &plan.api else { anyhow::bail!("{}", plan.no_api) };
    let file = out.file("beacon.jsonl")?;
    let done = std::thread::scope(|scope| {
        let (reads, reader) = (file.clone(), out.clone());
        scope.spawn(move || read(plan, api, reads, &reader, stop));
        write(plan, api, file, out, stop)
    });
    remove(api, out);
    done
}

/// Whether beacons are wanted now.
fn wanted(stop: &Stop) -> bool {
    stop.is_near() && stop.phase() < Phase::Tail
}

fn write(plan: &Plan, api: &Api, mut file: File, out: &Out, stop: &Stop) -> anyhow::Result<()> {
    let path = format!("/api/v1/namespaces/{}/configmaps/{NAME}", namespace(api));
    let mut next = Instant::now();
    let mut number = 0_u64;
    let mut well = true;
    while stop.beat(&mut next, plan.asked(SOURCE.name)) {
        if !wanted(stop) {
            continue;
        }
        number += 1;
        // What does not change is not written, and gets no revision of its own.
        let unique = format!("{} {number}", Moment::now().boottime);
        let sent = Moment::now();
        match api.send(Verb::Patch, &path, "application/merge-patch+json", &json!({"data": {"at": unique}})) {
            Ok(object) => {
                let returned = Moment::now();
                let version = object["metadata"]["resourceVersion"].as_str().unwrap_or_default();
                file.write_line(&line("write", version, sent, returned))?;
                out.tick();
                well = true;
            }
            Err(ApiError::Status { code: 404, .. }) => {
                let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME, "labels": {"app.kubernetes.io/managed-by": "syncline-collector"}}});
                let path = format!("/api/v1/namespaces/{}/configmaps", namespace(api));
                match api.send(Verb::Post, &path, "application/json", &object) {
                    // Another recorder was faster.
                    Ok(_) | Err(ApiError::Status { code: 409, .. }) => {}
                    Err(error) => failed(&error, &mut well, out),
                }
            }
            Err(error) => failed(&error, &mut well, out),
        }
    }
    Ok(())
}

/// Said once until it is well again.
fn failed(error: &ApiError, well: &mut bool, out: &Out) {
    if std::mem::replace(well, false) {
        out.broken(&format!("no beacon is written: {error}"));
    }
}

/// Lists the slices of a name that none has: what matters is the revision of the answer, and the server looks at one key for it.
fn read(plan: &Plan, api: &Api, mut file: File, out: &Out, stop: &Stop) {
    let versions = ["v1", "v1beta1"];
    let mut version = 0;
    let mut next = Instant::now();
    while stop.beat(&mut next, plan.asked(SOURCE.name) / READS) {
        if !wanted(stop) {
            continue;
        }
        let path = format!(
            "/apis/discovery.k8s.io/{}/namespaces/{}/endpointslices?limit=1&fieldSelector=metadata.name%3D{NAME}",
            versions[version], plan.namespace
        );
        let sent = Moment::now();
        match api.json(&path) {
            Ok(list) => {
                let returned = Moment::now();
                let version = list["metadata"]["resourceVersion"].as_str().unwrap_or_default();
                if file.write_line(&line("read", version, sent, returned)).is_err() {
                    return;
                }
            }
            Err(error) if error.code() == Some(404) && version == 0 => version = 1,
            Err(ApiError::Status { code: code @ (401 | 403 | 404), .. }) => {
                return out.lost(loss::SOURCE_NOT_RECORDED, 1, format!("no lists are read between beacons ({code})"));
            }
            // The writer meets the same, and names it.
            Err(_) => {}
        }
    }
}

fn remove(api: &Api, out: &Out) {
    let path = format!("/api/v1/namespaces/{}/configmaps/{NAME}", namespace(api));
    match api.send(Verb::Delete, &path, "application/json", &json!({"apiVersion": "v1", "kind": "DeleteOptions"})) {
        Ok(_) | Err(ApiError::Status { code: 404, .. }) => {}
        Err(error) => out.lost(loss::RECORDER_GAP, 0, format!("{path} could not be removed: {error}")),
    }
}
