//! The annotation `proxy.istio.io/config`, by which a pod's sidecar is configured: DNS capture added to what is there.

use serde_json::{Value, json};

use crate::config::manifest;

/// The annotation.
pub const KEY: &str = "proxy.istio.io/config";

/// The configuration with DNS capture on and everything else as it is; comments and order are not kept.
///
/// # Errors
/// Why the text there is cannot be added to: it is not YAML, or not of the form that Istio reads.
pub fn capturing_dns(text: Option<&str>) -> Result<String, String> {
    let mut config = match text.map(str::trim).filter(|text| !text.is_empty()) {
        None => json!({}),
        Some(text) => manifest::read_by_hand(text)?,
    };
    if config.is_null() {
        config = json!({});
    }
    let Some(fields) = config.as_object_mut() else { return Err("it is no map".to_owned()) };
    let metadata = fields.entry("proxyMetadata").or_insert_with(|| json!({}));
    if metadata.is_null() {
        *metadata = json!({});
    }
    let Some(metadata) = metadata.as_object_mut() else { return Err("`proxyMetadata` is no map".to_owned()) };
    metadata.insert("ISTIO_META_DNS_CAPTURE".to_owned(), Value::from("true"));
    Ok(manifest::to_yaml(&config))
}

/// Whether two texts mean the same.
pub fn says_the_same(one: &str, other: &str) -> bool {
    manifest::read_by_hand(one).is_ok_and(|one| manifest::read_by_hand(other) == Ok(one))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_stays() {
        assert_eq!(capturing_dns(None).unwrap(), "proxyMetadata:\n  ISTIO_META_DNS_CAPTURE: 'true'\n");
        let text = "holdApplicationUntilProxyStarts: true # else the first login fails\nproxyMetadata:\n  ISTIO_META_DNS_CAPTURE: \"false\"\n  A: \"1\"\n";
        assert_eq!(
            manifest::read_by_hand(&capturing_dns(Some(text)).unwrap()).unwrap(),
            json!({"holdApplicationUntilProxyStarts": true, "proxyMetadata": {"A": "1", "ISTIO_META_DNS_CAPTURE": "true"}})
        );
        let json = r#"{"proxyMetadata":{"ISTIO_META_DNS_CAPTURE":"false"}}"#;
        assert_eq!(capturing_dns(Some(json)).unwrap(), capturing_dns(None).unwrap());
        let once = capturing_dns(Some(text)).unwrap();
        assert_eq!(capturing_dns(Some(&once)).unwrap(), once);
    }

    #[test]
    fn what_istio_does_not_read_is_not_added_to() {
        for (text, why) in [("a: [", "not YAML"), ("- a", "no map"), ("proxyMetadata: on the pod", "proxyMetadata")] {
            assert!(capturing_dns(Some(text)).unwrap_err().contains(why), "{text}");
        }
    }
}
