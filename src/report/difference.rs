//! How an object in a cluster differs from the one that is wanted, as a unified diff of both as YAML.

use serde_json::Value;
use similar::TextDiff;

/// The lines that differ with three around them; `None` where none does. `object` gives the names in the heading.
pub fn unified(object: &Value, before: &str, after: &str) -> Option<String> {
    if before == after {
        return None;
    }
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let name = format!("{}/{}/{}", text("/metadata/namespace"), text("/kind"), text("/metadata/name"));
    let diff = TextDiff::from_lines(before, after);
    let shown =
        diff.unified_diff().context_radius(3).header(&format!("cluster/{name}"), &format!("link/{name}")).to_string();
    Some(shown)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_equal_has_no_difference_and_what_is_new_is_all_added() {
        let object = json!({"kind": "ServiceEntry", "metadata": {"namespace": "pxc", "name": "x"}});
        assert_eq!(unified(&object, "a: 1\n", "a: 1\n"), None);
        let head = "--- cluster/pxc/ServiceEntry/x\n+++ link/pxc/ServiceEntry/x\n";
        assert_eq!(unified(&object, "a: 1\n", "a: 2\n").unwrap(), format!("{head}@@ -1 +1 @@\n-a: 1\n+a: 2\n"));
        assert_eq!(unified(&object, "", "a: 2\n").unwrap(), format!("{head}@@ -0,0 +1 @@\n+a: 2\n"));
    }
}
