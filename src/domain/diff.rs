//! The difference of two objects, field by field, for a plan that shows exactly what an apply would change.

use serde_json::Value;

use super::plan::FieldChange;

/// How a field reads that one of the two objects does not have.
pub const ABSENT: &str = "(absent)";

/// What the API server fills in by itself; never the difference anybody asked for.
const SERVER_OWNED: [&str; 7] = [
    "metadata.creationTimestamp",
    "metadata.generation",
    "metadata.managedFields",
    "metadata.resourceVersion",
    "metadata.selfLink",
    "metadata.uid",
    "status",
];

/// The leaves in which two objects differ, by path, in alphabetical order.
///
/// Lists are compared as values: the order of a list means something, and an index in a path would move with every
/// element before it. An empty object is the same as an absent one, as the API server keeps no difference.
pub fn diff(before: &Value, after: &Value) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    walk("", Some(before), Some(after), &mut changes);
    changes.sort_by(|one, other| one.field.cmp(&other.field));
    changes
}

fn walk(path: &str, before: Option<&Value>, after: Option<&Value>, changes: &mut Vec<FieldChange>) {
    if SERVER_OWNED.contains(&path) || before == after {
        return;
    }
    let object = |side: Option<&Value>| side.is_none_or(Value::is_object);
    if object(before) && object(after) {
        let sides = [before, after].into_iter().flatten().filter_map(Value::as_object);
        let all: std::collections::BTreeSet<&String> = sides.flat_map(serde_json::Map::keys).collect();
        for key in all {
            let field = join(path, key);
            walk(&field, before.and_then(|side| side.get(key)), after.and_then(|side| side.get(key)), changes);
        }
        return;
    }
    changes.push(FieldChange { field: path.to_owned(), before: text(before), after: text(after) });
}

/// A key with dots or brackets (`app.kubernetes.io/name`) is quoted, so that a path reads one way only.
fn join(path: &str, key: &str) -> String {
    let plain = key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    match (path.is_empty(), plain) {
        (true, true) => key.to_owned(),
        (false, true) => format!("{path}.{key}"),
        (_, false) => format!("{path}[{key:?}]"),
    }
}

/// Strings as they are, all else as compact JSON.
fn text(value: Option<&Value>) -> String {
    match value {
        None => ABSENT.to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn fields(before: &Value, after: &Value) -> Vec<(String, String, String)> {
        diff(before, after).into_iter().map(|change| (change.field, change.before, change.after)).collect()
    }

    #[test]
    fn leaves_are_compared_and_lists_as_values() {
        let before = json!({"spec": {"addresses": ["240.0.0.1"], "resolution": "STATIC", "gone": 1}});
        let after = json!({"spec": {"addresses": ["240.0.0.2"], "resolution": "STATIC", "new": {"deep": true}}});
        let own = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
        assert_eq!(
            fields(&before, &after),
            [
                own("spec.addresses", r#"["240.0.0.1"]"#, r#"["240.0.0.2"]"#),
                own("spec.gone", "1", ABSENT),
                own("spec.new.deep", ABSENT, "true"),
            ]
        );
    }

    #[test]
    fn what_the_server_owns_is_no_difference() {
        let before = json!({"metadata": {"resourceVersion": "1", "labels": {"a.b/c": "x"}}, "status": {"x": 1}});
        let after = json!({"metadata": {"resourceVersion": "2", "labels": {"a.b/c": "y"}}});
        assert_eq!(fields(&before, &after), [(r#"metadata.labels["a.b/c"]"#.into(), "x".into(), "y".into())]);
    }

    #[test]
    fn a_value_that_turns_into_an_object_is_one_change() {
        assert_eq!(fields(&json!({"a": 1}), &json!({"a": {"b": 2}})), [("a".into(), "1".into(), r#"{"b":2}"#.into())]);
        assert_eq!(fields(&json!({}), &json!({"a": {}})), []);
    }

    fn object() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-c]{0,3}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[a-d]", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn nothing_differs_from_itself(value in object()) {
            prop_assert_eq!(diff(&value, &value), vec![]);
        }

        #[test]
        fn the_way_back_is_the_mirror_image(one in object(), other in object()) {
            let back: Vec<_> = diff(&other, &one)
                .into_iter()
                .map(|c| FieldChange { field: c.field, before: c.after, after: c.before })
                .collect();
            prop_assert_eq!(diff(&one, &other), back);
        }
    }
}
