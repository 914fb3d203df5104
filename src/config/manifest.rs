//! The YAML of `manifests/`, parsed into values that are then filled field by field (never by text substitution).

use serde_json::Value;

/// Parses one embedded manifest.
///
/// # Panics
/// Never for the files of this repository: a test parses them all.
pub(crate) fn parse(text: &str) -> Value {
    #[expect(clippy::expect_used, reason = "the text is part of the binary and every file is parsed by a test")]
    serde_yaml::from_str(text).expect("an embedded manifest is valid YAML")
}
