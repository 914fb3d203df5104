//! Label selectors and address ranges, as Kubernetes and Istio write them.

use std::{collections::BTreeMap, net::IpAddr};

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

/// Whether an address, or a range in CIDR form, holds an address of either family.
pub(super) fn within(range: &str, address: IpAddr) -> bool {
    let (network, length) = range.split_once('/').map_or((range, None), |(network, length)| (network, Some(length)));
    let Ok(network) = network.parse::<IpAddr>() else { return false };
    let (own, other, bits) = match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            (u128::from(network.to_bits()) << 96, u128::from(address.to_bits()) << 96, 32)
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => (network.to_bits(), address.to_bits(), 128),
        _ => return false,
    };
    let Ok(length) = length.map_or(Ok(bits), str::parse::<u32>) else { return false };
    // A shift by all bits is not defined, and a prefix of no bits holds every address.
    let mask = u128::MAX.checked_shl(128 - length.min(128)).unwrap_or(0);
    length <= bits && own & mask == other & mask
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

    #[test]
    fn a_range_holds_addresses_of_its_own_family_only() {
        for (range, address, inside) in [
            ("198.18.0.0/24", "198.18.0.11", true),
            ("198.18.0.0/24", "198.18.1.11", false),
            ("198.18.0.11", "198.18.0.11", true),
            ("0.0.0.0/0", "198.18.0.11", true),
            ("::/0", "198.18.0.11", false),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "fe80::1", false),
            ("198.18.0.0/33", "198.18.0.0", false),
            ("198.18.0.0/x", "198.18.0.0", false),
            ("nonsense", "198.18.0.0", false),
        ] {
            assert_eq!(within(range, address.parse().unwrap()), inside, "{range} {address}");
        }
    }
}
