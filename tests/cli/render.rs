//! Mesh objects without any cluster.

use serde_json::{Value, json};

use super::place::{LINK, Place};

/// [`LINK`] with everything that mesh objects are made from.
fn offline() -> String {
    let source = "kubernetes: {context: production, namespace: pxc, service: pxc}";
    assert!(LINK.contains(source));
    let endpoints = "endpoints: [{address: 198.18.0.20, port: 31306}, {address: 198.18.0.3, port: 31306}]";
    LINK.replace(source, endpoints).replace("  production:\n", "  production:\n    vip: 240.0.0.7\n")
}

#[test]
fn objects_are_rendered_without_any_cluster() {
    // Neither a kubeconfig nor a password: nothing can have been asked.
    let place = Place::with(&offline());
    let ended = place.run(&["render"]);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    assert_eq!(place.run(&["render", "--source", "production"]).out, ended.out, "the same every time");
    let documents: Vec<Value> = ended.out.split("---\n").map(|text| serde_yaml::from_str(text).unwrap()).collect();
    let [entry, rule] = documents.as_slice() else { panic!("two documents in {}", ended.out) };
    for (object, kind) in [(entry, "ServiceEntry"), (rule, "DestinationRule")] {
        assert_eq!((&object["apiVersion"], &object["kind"]), (&json!("networking.istio.io/v1"), &json!(kind)));
        let labels = json!({"app.kubernetes.io/managed-by": "pxc-link", "pxc-link.io/link": "production"});
        assert_eq!((&object["metadata"]["labels"], &object["metadata"]["namespace"]), (&labels, &json!("pxc")));
    }
    assert_eq!(entry["spec"]["addresses"], json!(["240.0.0.7"]));
    let addresses: Vec<&Value> =
        entry["spec"]["endpoints"].as_array().unwrap().iter().map(|endpoint| &endpoint["address"]).collect();
    assert_eq!(addresses, ["198.18.0.3", "198.18.0.20"]);
}

#[test]
fn what_rendering_lacks_is_named() {
    let vip = "    vip: 240.0.0.7\n";
    let without_vip = offline().replace(vip, "");
    let without_endpoints = LINK.replace("  production:\n", &format!("  production:\n{vip}"));
    for (config, open, context, keys) in [
        (without_vip.as_str(), "`vip` of link production is left open", "context `dr`", "write `vip` into link"),
        (
            &without_endpoints,
            "`source.endpoints` of link production",
            "context `production`",
            "write `source.endpoints` into",
        ),
        (LINK, "`vip` of link production", "context `dr`", "write `vip` and `source.endpoints` into link"),
    ] {
        let ended = Place::with(config).run(&["render"]);
        assert_eq!((ended.code, ended.out.as_str(), ended.errors().len()), (Some(3), "", 1));
        assert!(ended.errors()[0].contains(context) && ended.errors()[0].contains("[PXL201]"), "{}", ended.err);
        assert!(ended.err.contains(open) && ended.err.contains(keys), "{}", ended.err);
    }
    // A comparison always needs the cluster.
    let ended = Place::with(&offline()).run(&["render", "--diff", "--exit-code"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(3), ""));
    assert!(ended.errors()[0].contains("context `dr`"), "{}", ended.err);
}
