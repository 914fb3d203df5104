//! The link's own mesh objects as they are, compared with what `setup` would write.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One of the link's own mesh objects.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OwnObject {
    /// `ServiceEntry` or `DestinationRule`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Whether it is there.
    pub present: bool,
    /// Fields of `spec` that have another value than `setup` writes.
    pub changed: Vec<ChangedField>,
    /// Fields of `spec` that `setup` does not write; as nobody's own it leaves them alone.
    pub added: Vec<ChangedField>,
    /// Whether another field manager has written the spec, so that `setup` would meet a conflict.
    pub shared: bool,
}

/// A field of a spec.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChangedField {
    /// The keys that lead to it, without `spec`.
    pub path: Vec<String>,
    /// The value it has; `null` where it is absent.
    pub is: Value,
    /// The value that `setup` writes; `null` where it writes none.
    pub wanted: Value,
}

impl ChangedField {
    /// The path as `kubectl explain` has it.
    pub fn name(&self) -> String {
        format!("spec.{}", self.path.join("."))
    }
}

impl OwnObject {
    /// Compares an object as it is, whole, with what is to be written.
    pub fn compared(wanted: &Value, live: Option<&Value>, manager: &str) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (kind, name) = (text(&wanted["kind"]), text(&wanted["metadata"]["name"]));
        let mut fields = Vec::new();
        if let Some(live) = live {
            walk(&mut Vec::new(), &live["spec"], &wanted["spec"], &mut fields);
        }
        let (added, changed) = fields.into_iter().partition(|field| field.wanted.is_null());
        let managers = live.and_then(|live| live["metadata"]["managedFields"].as_array());
        let shared = managers
            .into_iter()
            .flatten()
            .any(|entry| entry["manager"] != manager && entry["fieldsV1"].get("f:spec").is_some());
        Self { kind, name, present: live.is_some(), changed, added, shared }
    }
}

/// The leaves in which two specs differ; lists are leaves, as their order means something.
fn walk(path: &mut Vec<String>, is: &Value, wanted: &Value, fields: &mut Vec<ChangedField>) {
    if is == wanted {
        return;
    }
    let none = Map::new();
    let object = |value: &Value| value.is_object() || value.is_null();
    if object(is) && object(wanted) {
        let (is, wanted) = (is.as_object().unwrap_or(&none), wanted.as_object().unwrap_or(&none));
        let keys: std::collections::BTreeSet<&String> = is.keys().chain(wanted.keys()).collect();
        for key in keys {
            path.push(key.clone());
            walk(path, is.get(key).unwrap_or(&Value::Null), wanted.get(key).unwrap_or(&Value::Null), fields);
            path.pop();
        }
        return;
    }
    fields.push(ChangedField { path: path.clone(), is: is.clone(), wanted: wanted.clone() });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_changed_and_what_was_added_are_told_apart() {
        let wanted = json!({"kind": "DestinationRule", "metadata": {"name": "x"},
            "spec": {"exportTo": ["."], "trafficPolicy": {"tls": {"mode": "DISABLE"}}}});
        let live = json!({
            "metadata": {"managedFields": [{"manager": "pxc-link", "fieldsV1": {"f:spec": {}}}]},
            "spec": {"exportTo": ["*"], "trafficPolicy": {"tls": {"mode": "DISABLE"}, "connectionPool": {"tcp": {"maxConnections": 1}}}},
        });
        let seen = OwnObject::compared(&wanted, Some(&live), "pxc-link");
        let names = |fields: &[ChangedField]| fields.iter().map(ChangedField::name).collect::<Vec<_>>();
        assert_eq!(names(&seen.changed), ["spec.exportTo"]);
        assert_eq!(names(&seen.added), ["spec.trafficPolicy.connectionPool.tcp.maxConnections"]);
        assert!(seen.present && !seen.shared);
        let mut by_another = live.clone();
        by_another["metadata"]["managedFields"][0]["manager"] = json!("kubectl-patch");
        assert!(OwnObject::compared(&wanted, Some(&by_another), "pxc-link").shared);
        assert!(!OwnObject::compared(&wanted, None, "pxc-link").present);
    }

    #[test]
    fn a_field_that_is_gone_is_changed_and_the_same_spec_differs_in_nothing() {
        let wanted = json!({"spec": {"addresses": ["240.0.0.7"], "resolution": "STATIC"}});
        let seen = OwnObject::compared(&wanted, Some(&json!({"spec": {"resolution": "STATIC"}})), "m");
        assert_eq!((seen.changed.len(), &seen.changed[0].is), (1, &Value::Null));
        let same = OwnObject::compared(&wanted, Some(&wanted), "m");
        assert!(same.changed.is_empty() && same.added.is_empty());
    }
}
