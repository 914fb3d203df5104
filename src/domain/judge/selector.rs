//! Label selectors, as Kubernetes and Istio write them.

use std::collections::BTreeMap;

use serde_json::Value;

/// Whether a Kubernetes label selector (`matchLabels`, `matchExpressions`) selects the labels. An empty one selects everything; an
/// operator that is not known selects nothing.
pub(super) fn selects(selector: &Value, labels: &BTreeMap<String, String>) -> bool {
    let wanted = selector.get("matchLabels").and_then(Value::as_object);
    let by_label =
        wanted.into_iter().flatten().all(|(key, value)| labels.get(key).map(String::as_str) == value.as_str());
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    by_label && expressions.into_iter().flatten().all(|expression| holds(expression, labels))
}

fn holds(expression: &Value, labels: &BTreeMap<String, String>) -> bool {
    let Some(key) = expression.get("key").and_then(Value::as_str) else { return false };
    let value = labels.get(key).map(String::as_str);
    let listed = || {
        let values = expression.get("values").and_then(Value::as_array);
        values.into_iter().flatten().any(|one| one.as_str() == value)
    };
    match expression.get("operator").and_then(Value::as_str) {
        Some("In") => value.is_some() && listed(),
        Some("NotIn") => value.is_none() || !listed(),
        Some("Exists") => value.is_some(),
        Some("DoesNotExist") => value.is_none(),
        _ => false,
    }
}

/// A label that makes a selector select: the first one that it asks for. `None` where no one label would do.
pub(super) fn label_for(selector: &Value) -> Option<(String, String)> {
    if let Some((key, value)) = selector.get("matchLabels").and_then(Value::as_object).and_then(|map| map.iter().next())
    {
        return Some((key.clone(), value.as_str()?.to_owned()));
    }
    let expression = selector.get("matchExpressions")?.as_array()?.first()?;
    let key = expression.get("key")?.as_str()?.to_owned();
    match expression.get("operator")?.as_str()? {
        "In" => Some((key, expression.get("values")?.as_array()?.first()?.as_str()?.to_owned())),
        "Exists" => Some((key, "true".to_owned())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_selector_selects_by_labels_and_by_expressions() {
        let labels = BTreeMap::from([("env".to_owned(), "prod".to_owned()), ("app".to_owned(), "pxc".to_owned())]);
        let expression = |operator: &str, key: &str, values: &[&str]| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
        for (selector, wanted) in [
            (json!({}), true),
            (json!({"matchLabels": {"env": "prod"}}), true),
            (json!({"matchLabels": {"env": "prod", "app": "web"}}), false),
            (expression("In", "app", &["web", "pxc"]), true),
            (expression("In", "tier", &["db"]), false),
            (expression("NotIn", "app", &["pxc"]), false),
            (expression("NotIn", "tier", &["db"]), true),
            (expression("Exists", "env", &[]), true),
            (expression("DoesNotExist", "env", &[]), false),
            (expression("Like", "env", &[]), false),
            (
                json!({"matchLabels": {"env": "prod"}, "matchExpressions": [{"key": "env", "operator": "DoesNotExist"}]}),
                false,
            ),
        ] {
            assert_eq!(selects(&selector, &labels), wanted, "{selector}");
        }
    }

    #[test]
    fn a_label_is_found_that_makes_a_selector_select() {
        for (selector, label) in [
            (json!({"matchLabels": {"mesh": "on"}}), Some(("mesh", "on"))),
            (
                json!({"matchExpressions": [{"key": "mesh", "operator": "In", "values": ["a", "b"]}]}),
                Some(("mesh", "a")),
            ),
            (json!({"matchExpressions": [{"key": "mesh", "operator": "Exists"}]}), Some(("mesh", "true"))),
            (json!({"matchExpressions": [{"key": "mesh", "operator": "NotIn", "values": ["a"]}]}), None),
            (json!({}), None),
        ] {
            let found = label_for(&selector);
            assert_eq!(found.as_ref().map(|(key, value)| (key.as_str(), value.as_str())), label, "{selector}");
            if let Some((key, value)) = found {
                assert!(selects(&selector, &BTreeMap::from([(key, value)])), "{selector}");
            }
        }
    }
}
