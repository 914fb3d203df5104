//! The JSON Schema of `pxc-link.yaml`: what `config --schema` prints and what the structure of a file is held against.

use serde_json::Value;

use super::raw::Document;

/// The JSON Schema (draft 2020-12) of the configuration file, for editors and reviewers.
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(Document).to_value();
    refuse_null(&mut schema);
    schema
}

/// An optional key is left out, never null: a key without a value is a slip of the hand.
fn refuse_null(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::Array(types)) = map.get_mut("type") {
                types.retain(|kind| kind != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    map.insert("type".into(), only);
                }
            }
            let alternatives = map.get_mut("anyOf").and_then(Value::as_array_mut).map(std::mem::take);
            if let Some(mut alternatives) = alternatives {
                alternatives.retain(|alternative| alternative["type"] != "null");
                match (alternatives.pop(), alternatives.is_empty()) {
                    (Some(Value::Object(only)), true) => {
                        map.remove("anyOf");
                        map.extend(only);
                    }
                    (last, _) => {
                        alternatives.extend(last);
                        map.insert("anyOf".into(), Value::Array(alternatives));
                    }
                }
            }
            map.values_mut().for_each(refuse_null);
        }
        Value::Array(items) => items.iter_mut().for_each(refuse_null),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_of_the_file() {
        insta::assert_json_snapshot!(schema());
    }

    #[test]
    fn no_key_may_be_null_and_no_unknown_key_may_be_there() {
        fn visit(schema: &Value) {
            match schema {
                Value::Object(map) => {
                    assert_ne!(map.get("type"), Some(&Value::from("null")));
                    if map.contains_key("properties") {
                        assert_eq!(map.get("additionalProperties"), Some(&Value::Bool(false)), "{schema}");
                    }
                    map.values().for_each(visit);
                }
                Value::Array(items) => items.iter().for_each(visit),
                _ => {}
            }
        }
        visit(&schema());
    }
}
