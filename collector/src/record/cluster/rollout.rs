//! When an action has come to its end: the rollout is complete, and nothing changes any more.

use serde_json::Value;

use super::action::{Ready, is_ready, pods};
use super::api::Api;
use crate::record::asked::{Action, Kind};

/// Whether the rollout that an action began is complete; true for what has none.
///
/// # Errors
/// The API server's: ask again.
pub fn is_complete(ready: &Ready, namespace: &str, api: Option<&Api>) -> anyhow::Result<bool> {
    let Some(api) = api else { return Ok(true) };
    match &ready.action {
        Action::Watch | Action::Command { .. } => Ok(true),
        Action::Scale { workload, .. } | Action::Restart { workload } => {
            Ok(of_workload(workload.kind, &api.json(&workload.path(namespace))?))
        }
        Action::DeletePods { selector, .. } => {
            let found = pods(api, namespace, selector)?;
            Ok(found.iter().filter(|pod| is_ready(pod)).count() >= ready.ready_pods)
        }
    }
}

/// As `kubectl rollout status` judges it.
pub fn of_workload(kind: Kind, object: &Value) -> bool {
    let (spec, status) = (&object["spec"], &object["status"]);
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let seen = number(&status["observedGeneration"]) >= number(&object["metadata"]["generation"]);
    let wanted = spec["replicas"].as_u64().unwrap_or(1);
    let all = |keys: &[&str], wanted: u64| keys.iter().all(|key| number(&status[*key]) == wanted);
    seen && match kind {
        Kind::Deployment => all(&["replicas", "updatedReplicas", "availableReplicas", "readyReplicas"], wanted),
        Kind::StatefulSet => {
            all(&["replicas", "readyReplicas"], wanted) && status["currentRevision"] == status["updateRevision"]
        }
        Kind::DaemonSet => {
            all(&["updatedNumberScheduled", "numberAvailable"], number(&status["desiredNumberScheduled"]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::of_workload;
    use crate::record::asked::Kind;
    use serde_json::json;

    #[test]
    fn a_rollout_is_complete_when_all_replicas_are_of_the_new_kind() {
        let object = |generation: u64, ready: u64| {
            json!({"metadata": {"generation": 3}, "spec": {"replicas": 44}, "status": {"observedGeneration": generation, "replicas": 44,
                "updatedReplicas": 44, "availableReplicas": ready, "readyReplicas": ready}})
        };
        assert!(of_workload(Kind::Deployment, &object(3, 44)));
        // The controller has not seen the change yet: what it says is of the time ahead of it.
        assert!(!of_workload(Kind::Deployment, &object(2, 44)));
        assert!(!of_workload(Kind::Deployment, &object(3, 43)));
        let none = json!({"metadata": {"generation": 1}, "spec": {"replicas": 0}, "status": {"observedGeneration": 1}});
        assert!(of_workload(Kind::Deployment, &none));
        assert!(!of_workload(Kind::Deployment, &json!({"spec": 7})));
        let rolling = json!({"spec": {"replicas": 2}, "status": {"replicas": 2, "readyReplicas": 2, "currentRevision": "a", "updateRevision": "b"}});
        assert!(!of_workload(Kind::StatefulSet, &rolling));
    }
}
