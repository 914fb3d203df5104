//! The API user's rights: enough for everything, each of them is needed, and without an optional one the rest goes on.

use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use sandbox::world::Cluster;
use serde_json::Value;

use crate::{
    Body,
    stage::{Checked, LINK, Stage},
};

pub(crate) const TRIALS: &[(&str, Body)] = &[("each_one_is_needed", each_one_is_needed)];

const PLAN: [&str; 6] = ["--config", "secrets.yaml", "setup", "--source", "production", "--dry-run"];

/// Takes every verb of every rule away, one at a time: setup names exactly what is missing.
fn each_one_is_needed(stage: &Stage) -> Checked {
    stage.unlinked()?;
    // Passwords come out of Secrets here, so that the right to read those is needed, too.
    let keys =
        [("PXC_SOURCE_PASSWORD", "pxc_link"), ("PXC_REPLICA_PASSWORD", "pxc_link"), ("PXC_REPLICATION_PASSWORD", "")];
    let config = keys.iter().fold(LINK.to_owned(), |text, (variable, key)| match *key {
        "" => text,
        key => text.replace(&format!("{{env: {variable}}}"), &format!("{{secret: {{name: pxc-secrets, key: {key}}}}}")),
    });
    stage.write("secrets.yaml", &config)?;
    stage.tool().run(&PLAN)?.exits(0)?;
    let mut taken = 0;
    for cluster in [Cluster::Production, Cluster::Dr] {
        let (optional, required): (Vec<Value>, Vec<Value>) = roles(stage, cluster)?.into_iter().partition(is_optional);
        // An optional role may give what a required one gives, and more: a right is only gone when nobody gives it.
        for role in &optional {
            put(stage, cluster, role, &[])?;
        }
        let needed = each_of_all(stage, cluster, &required);
        for role in &optional {
            put(stage, cluster, role, &rules_of(role))?;
        }
        taken += needed? + each_of_all(stage, cluster, &optional)?;
    }
    if taken < 20 { Err(format!("only {taken} rights were taken away").into()) } else { Ok(()) }
}

fn roles(stage: &Stage, cluster: Cluster) -> Result<Vec<Value>, Failed> {
    let get = ["--context", cluster.name(), "get", "roles,clusterroles", "-A", "-o", "json"];
    let list: Value = serde_json::from_str(&stage.kubectl(&get)?)?;
    let items = list["items"].as_array().cloned().unwrap_or_default();
    // The same roles in other namespaces are those of other links.
    let own = |role: &Value| {
        role["metadata"]["name"].as_str().is_some_and(|name| name.starts_with("pxc-link"))
            && [None, Some("pxc"), Some("istio-system")].contains(&role["metadata"]["namespace"].as_str())
    };
    Ok(items.into_iter().filter(own).collect())
}

fn each_of_all(stage: &Stage, cluster: Cluster, roles: &[Value]) -> Result<usize, Failed> {
    roles.iter().map(|role| each_of(stage, cluster, role)).sum()
}

fn rules_of(role: &Value) -> Vec<Value> {
    role["rules"].as_array().cloned().unwrap_or_default()
}

fn each_of(stage: &Stage, cluster: Cluster, role: &Value) -> Result<usize, Failed> {
    let rules = rules_of(role);
    let mut taken = 0;
    for (index, rule) in rules.iter().enumerate() {
        for verb in strings(&rule["verbs"]) {
            for resource in strings(&rule["resources"]) {
                let mut fewer = rules.clone();
                fewer[index]["resources"] = strings(&rule["resources"]).filter(|other| *other != resource).collect();
                let kept: Vec<&str> = strings(&rule["verbs"]).filter(|other| *other != verb).collect();
                let mut alone = rule.clone();
                alone["resources"] = serde_json::json!([resource]);
                alone["verbs"] = serde_json::json!(kept);
                fewer.push(alone);
                fewer.retain(|rule| strings(&rule["verbs"]).count() > 0 && strings(&rule["resources"]).count() > 0);
                put(stage, cluster, role, &fewer)?;
                let refused = if is_optional(role) {
                    goes_on_soon(stage, cluster, verb, resource)
                } else {
                    refused_soon(stage, verb, resource)
                };
                put(stage, cluster, role, &rules)?;
                refused.map_err(|failed| {
                    format!("{cluster}: without {verb} {resource}: {}", failed.message().unwrap_or(""))
                })?;
                taken += 1;
            }
        }
    }
    Ok(taken)
}

fn is_optional(role: &Value) -> bool {
    let name = role["metadata"]["name"].as_str().unwrap_or_default();
    ["-preflight", "-remote-clusters"].iter().any(|end| name.ends_with(end))
}

/// Without an optional right the run goes on and says what it could not look at.
fn goes_on_soon(stage: &Stage, cluster: Cluster, verb: &str, resource: &str) -> Checked {
    // Asked for only where a sidecar is not ready, and where remote secrets join the meshes.
    let unused = resource == "pods/log" || cluster == Cluster::Production && (verb, resource) == ("list", "services");
    let begun = Instant::now();
    loop {
        let ended = stage.tool().run(&PLAN)?;
        let seen = ended.exits(0).and_then(|()| if unused { Ok(()) } else { ended.says("is forbidden") });
        match seen {
            Err(_) if begun.elapsed() < Duration::from_secs(3) => {}
            end => return end,
        }
    }
}

/// The authorizer learns of a changed role a moment later.
fn refused_soon(stage: &Stage, verb: &str, resource: &str) -> Checked {
    let begun = Instant::now();
    loop {
        let ended = stage.tool().run(&PLAN)?;
        match ended.fails(5, "PXL205", &[&format!(": {verb} {resource}")]) {
            Err(_) if begun.elapsed() < Duration::from_secs(3) => {}
            end => return end,
        }
    }
}

fn strings(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn put(stage: &Stage, cluster: Cluster, role: &Value, rules: &[Value]) -> Checked {
    let mut role = serde_json::json!({
        "apiVersion": role["apiVersion"], "kind": role["kind"],
        "metadata": {"name": role["metadata"]["name"], "namespace": role["metadata"]["namespace"]},
        "rules": rules,
    });
    if role["metadata"]["namespace"].is_null() {
        role["metadata"].as_object_mut().map(|metadata| metadata.remove("namespace"));
    }
    let path = stage.write("role.json", &role.to_string())?;
    stage.kubectl(&["--context", cluster.name(), "replace", "-f", &path.display().to_string()])?;
    Ok(())
}
