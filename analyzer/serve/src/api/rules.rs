//! `rules`: groups as they stood at the last sample.

use serde_json::{Value, json};

use crate::{Failure, Request, Response, Served};

/// The groups, by `type`, `rule_name[]`, `rule_group[]` and `file[]`.
pub(super) fn rules(served: &Served, request: &Request) -> Result<Response, Failure> {
    let kind = match request.get("type") {
        "" => None,
        "alert" => Some("alerting"),
        "record" => Some("recording"),
        other => return Err(Failure::parameter("type", format!("not supported value {other:?}"))),
    };
    let wanted = |parameter: &str, value: &Value| {
        let mut given = request.all(parameter).peekable();
        given.peek().is_none() || given.any(|one| value == one)
    };
    let groups =
        served.rules.iter().filter(|group| wanted("rule_group[]", &group["name"]) && wanted("file[]", &group["file"]));
    let groups: Vec<Value> = groups
        .filter_map(|group| {
            let mut group = group.clone();
            let rules = group["rules"].as_array_mut()?;
            let all = rules.len();
            rules.retain(|rule| kind.is_none_or(|kind| rule["type"] == kind) && wanted("rule_name[]", &rule["name"]));
            (!rules.is_empty() || all == 0).then_some(group)
        })
        .collect();
    Ok(Response::data(&json!({ "groups": groups })))
}
