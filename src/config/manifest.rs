//! The YAML of `manifests/`, parsed into values that are then filled field by field (never by text substitution), and
//! the YAML that `--output yaml` prints.

use serde::Serialize;
use serde_json::Value;

/// Parses one embedded manifest.
///
/// # Panics
/// Never for the files of this repository: a test parses them all.
pub(crate) fn parse(text: &str) -> Value {
    #[expect(clippy::expect_used, reason = "the text is part of the binary and every file is parsed by a test")]
    serde_yaml::from_str(text).expect("an embedded manifest is valid YAML")
}

/// YAML that somebody else wrote, such as a configuration kept in a ConfigMap; `None` where it is none.
pub(crate) fn read(text: &str) -> Option<Value> {
    serde_yaml::from_str(text).ok()
}

/// Parses a text that a person wrote and is told about where it is wrong, such as the annotation of a pod.
///
/// # Errors
/// Where and why it is not YAML; never a line of it.
pub(crate) fn read_by_hand(text: &str) -> Result<Value, String> {
    serde_yaml::from_str(text).map_err(|error| match error.location() {
        Some(at) => format!("not YAML at line {}, column {}", at.line(), at.column()),
        None => "not YAML".to_owned(),
    })
}

/// A report or an object as YAML, with a newline at the end.
///
/// # Panics
/// For a type that has no YAML form, such as bytes; none of this program's reports is one.
pub fn to_yaml(value: &impl Serialize) -> String {
    #[expect(clippy::expect_used, reason = "the types are this program's own and all of them have a YAML form")]
    serde_yaml::to_string(value).expect("the program's own types have a YAML form")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let value = serde_json::json!({"a": ["yes", "1", 1, null], "b": {"c": "x: y\nz"}});
        assert_eq!(parse(&to_yaml(&value)), value);
    }
}
