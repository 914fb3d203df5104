//! What setup does only when it is asked to: the stub in CoreDNS, members made anew, the source's port out of mutual TLS.

use std::fs;

use libtest_mimic::Failed;
use sandbox::{faults::Fault, world::Cluster};
use serde_json::{Value, json};

use crate::{
    Body, faults, services,
    stage::{Checked, Stage},
};

/// On the world whose sidecars do not answer DNS.
pub(crate) const TRIALS: &[(&str, Body)] = &[
    ("a_stub_is_asked_for_put_in_and_taken_out", stub),
    ("a_stub_in_an_imported_file_without_reload_is_taken_back_too", imported),
    ("a_deployments_pods_are_made_anew_with_capture", restart),
];

/// On the ground of a fault, before the faults of that ground.
pub(crate) const GROUNDED: &[(&str, &str, Body)] =
    &[("permissive-hang", "the_sources_port_leaves_mutual_tls", source_mtls)];

const SETUP: [&str; 4] = ["setup", "--source", "production", "--yes"];
const TEARDOWN: [&str; 4] = ["teardown", "--source", "production", "--yes"];
const LIGHT: [&str; 4] = ["setup", "--source", "hello", "--yes"];
const LIGHT_TEARDOWN: [&str; 4] = ["teardown", "--source", "hello", "--yes"];
const STUB: [&str; 2] = ["--dns", "coredns-stub"];
const RESTART: [&str; 2] = ["--dns", "restart-members"];
const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/deploy");

fn dr<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [&["--context", "dr"], arguments].concat()
}

fn production<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [&["--context", "production"], arguments].concat()
}

/// Gives the optional rights of a folder, `replica/coredns` for one, as they stand there or with some words replaced.
fn allow(stage: &Stage, cluster: Cluster, folder: &str, replaced: &[(&str, &str)]) -> Checked {
    for part in ["role", "rolebinding"] {
        let text = fs::read_to_string(format!("{DEPLOY}/{folder}/{part}.yaml"))?;
        let text = replaced.iter().fold(text, |text, (from, to)| text.replace(from, to));
        let path = stage.write("optional.yaml", &text)?.display().to_string();
        stage.kubectl(&["--context", cluster.name(), "apply", "-f", &path])?;
    }
    Ok(())
}

fn disallow(stage: &Stage, cluster: Cluster, folder: &str) -> Checked {
    let path = format!("{DEPLOY}/{folder}/rolebinding.yaml");
    stage.kubectl(&["--context", cluster.name(), "delete", "--ignore-not-found", "-f", &path]).map(drop)
}

fn config_map(stage: &Stage, name: &str) -> Result<Value, Failed> {
    let found = stage.kubectl(&dr(&["-n", "kube-system", "get", "configmap", name, "-o", "json"]))?;
    Ok(serde_json::from_str::<Value>(&found)?["data"].take())
}

fn patch(stage: &Stage, object: &[&str], patch: &Value) -> Checked {
    stage.kubectl(&[object, &["-p", &patch.to_string()]].concat()).map(drop)
}

fn write_corefile(stage: &Stage, text: &str) -> Checked {
    let object = dr(&["-n", "kube-system", "patch", "configmap", "coredns", "--type=merge"]);
    patch(stage, &object, &json!({"data": {"Corefile": text}}))
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, before: &T, after: &T) -> Checked {
    if before == after { Ok(()) } else { Err(format!("{what} changed: {before:?} is now {after:?}").into()) }
}

fn stub(stage: &Stage) -> Checked {
    let tool = services::tool(stage)?;
    tool.run(&LIGHT_TEARDOWN)?.exits(0)?;
    disallow(stage, Cluster::Dr, "replica/coredns")?;
    let before = config_map(stage, "coredns")?;
    let stubbed = [&LIGHT[..], &STUB].concat();

    tool.run(&LIGHT)?.fails(4, "PXL310", &["--dns coredns-stub", "--dns restart-members"])?;
    let rules = ["list deployments.apps", "get configmaps `coredns`", "patch configmaps `coredns`"];
    tool.run(&stubbed)?.fails(5, "PXL205", &rules)?;
    allow(stage, Cluster::Dr, "replica/coredns", &[])?;

    let asked = ["setup", "--source", "hello"];
    let stopped = tool.run_answering(&asked, &[("1 to 3 [1]:", "1")])?;
    stopped.exits(2)?;
    stopped.says("PXL112")?;
    services::gone(stage)?;
    same("the Corefile", &before, &config_map(stage, "coredns")?)?;

    let ended = tool.run_answering(&asked, &[("1 to 3 [1]:", "2"), ("[y/N]", "y")])?;
    ended.exits(0)?;
    ended.says("CoreDNS stub in ConfigMap kube-system/coredns key Corefile")?;
    let with = config_map(stage, "coredns")?;
    let text = |data: &Value| data["Corefile"].as_str().unwrap_or_default().to_owned();
    if !text(&with).ends_with(&text(&before)) || !text(&with).contains("hello.cluster-a.global:53 {") {
        return Err(format!("the stub should stand before the rest: {with}").into());
    }
    // The other family is answered too, with nothing: a resolver that asks for both does not wait.
    let answered = services::ask(stage, "getent ahosts hello.cluster-a.global")?;
    if answered.contains("::") || !answered.contains("240.0.0.1") {
        return Err(format!("an IPv4 address alone was expected: {answered}").into());
    }
    let again = tool.run(&LIGHT)?;
    again.exits(0)?;
    again.says("nothing to change")?;
    let gone = tool.run(&LIGHT_TEARDOWN)?;
    gone.exits(0)?;
    gone.says("CoreDNS stub")?;
    services::gone(stage)?;
    same("the Corefile", &before, &config_map(stage, "coredns")?)
}

fn restart(stage: &Stage) -> Checked {
    let tool = services::tool(stage)?;
    tool.run(&LIGHT_TEARDOWN)?.exits(0)?;
    let restarted = [&LIGHT[..], &RESTART].concat();
    let client = dr(&["-n", "demo", "patch", "deployment", "client"]);
    stage.kubectl(&dr(&["-n", "demo", "delete", "rolebinding", "pxc-link-replica-restart", "--ignore-not-found"]))?;
    tool.run(&restarted)?.fails(5, "PXL205", &["get deployments.apps `client`", "patch deployments.apps `client`"])?;
    let of_client = [
        ("namespace: pxc}", "namespace: demo}"),
        ("statefulsets", "deployments"),
        ("resourceNames: [pxc]", "resourceNames: [client]"),
    ];
    allow(stage, Cluster::Dr, "replica/restart", &of_client)?;

    patch(stage, &client, &json!({"spec": {"paused": true}}))?;
    let paused = tool.run(&restarted);
    patch(stage, &client, &json!({"spec": {"paused": null}}))?;
    paused?.fails(4, "PXL362", &["paused"])?;

    let ended = tool.run(&restarted)?;
    ended.exits(0)?;
    ended.says("the members are back and answer DNS")?;
    let again = tool.run(&restarted)?;
    again.exits(0)?;
    again.says("nothing to change")?;
    tool.run(&LIGHT_TEARDOWN)?.exits(0)?;
    let annotations = json!({"proxy.istio.io/config": null});
    patch(stage, &client, &json!({"spec": {"template": {"metadata": {"annotations": annotations}}}}))
}

/// As on k3s and AKS: the Corefile imports files of a ConfigMap that need not be there. It has no `reload` either.
fn imported(stage: &Stage) -> Checked {
    services::tool(stage)?.run(&LIGHT_TEARDOWN)?.exits(0)?;
    stage.unlinked()?;
    allow(stage, Cluster::Dr, "replica/coredns", &[])?;
    let usual = config_map(stage, "coredns")?["Corefile"].as_str().unwrap_or_default().to_owned();
    let bare = usual.replace("    reload 2s 1s\n", "    import custom/*.override\n") + "import custom/*.server\n";
    let custom = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "coredns-custom", "namespace": "kube-system"},
        "data": {"log.override": "log"}});
    let path = stage.write("custom.json", &custom.to_string())?.display().to_string();
    stage.kubectl(&dr(&["apply", "-f", &path]))?;
    write_corefile(stage, &bare)?;
    mount_custom(
        stage,
        &json!({"name": "custom", "mountPath": "/etc/coredns/custom"}),
        &json!({"name": "custom", "configMap": {"name": "coredns-custom", "optional": true}}),
    )?;
    let tried = where_it_is_imported(stage, &bare);
    write_corefile(stage, &usual)?;
    let gone = |key: &str, value: &str| json!({key: value, "$patch": "delete"});
    mount_custom(stage, &gone("mountPath", "/etc/coredns/custom"), &gone("name", "custom"))?;
    stage.kubectl(&dr(&["delete", "-f", &path]))?;
    tried
}

fn mount_custom(stage: &Stage, mount: &Value, volume: &Value) -> Checked {
    let containers = json!([{"name": "coredns", "volumeMounts": [mount]}]);
    let template = json!({"spec": {"template": {"spec": {"containers": containers, "volumes": [volume]}}}});
    patch(stage, &dr(&["-n", "kube-system", "patch", "deployment", "coredns"]), &template)?;
    stage.kubectl(&dr(&["-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=60s"])).map(drop)
}

fn where_it_is_imported(stage: &Stage, corefile: &str) -> Checked {
    let tool = services::tool(stage)?;
    let stubbed = [&LIGHT[..], &STUB].concat();
    let custom = dr(&["-n", "kube-system", "patch", "configmap", "coredns-custom", "--type=merge"]);
    let before = config_map(stage, "coredns-custom")?;

    // Two blocks for one name keep CoreDNS from starting.
    patch(stage, &custom, &json!({"data": {"other.server": "hello.cluster-a.global {\n    whoami\n}\n"}}))?;
    tool.run(&stubbed)?.fails(4, "PXL361", &["hello.cluster-a.global", "coredns-custom key other.server"])?;
    patch(stage, &custom, &json!({"data": {"other.server": null}}))?;

    let untouched = stage.untouched_objects()?;
    let refused = find("endpoint-refused")?;
    stage.runtime.block_on(refused.apply(&stage.world))?;
    let ended = stage.tool().run(&[&SETUP[..], &STUB].concat());
    stage.runtime.block_on(refused.mend(&stage.world))?;
    // CoreDNS was restarted, which is said and stays so.
    ended?.fails(7, "PXL340", &["taken back", "CoreDNS stub", "Deployment/coredns in kube-system"])?;
    same("the imported files", &before, &config_map(stage, "coredns-custom")?)?;
    same("the link", &untouched, &stage.untouched_objects()?)?;

    let ended = tool.run(&stubbed)?;
    ended.exits(0)?;
    ended.says("CoreDNS stub in ConfigMap kube-system/coredns-custom key pxc-link-hello.server")?;
    ended.says("the Corefile has no `reload`")?;
    let gone = tool.run(&LIGHT_TEARDOWN)?;
    gone.exits(0)?;
    gone.says("Deployment/coredns in kube-system")?;
    same("the imported files", &before, &config_map(stage, "coredns-custom")?)?;
    same("the Corefile", &json!(corefile), &config_map(stage, "coredns")?["Corefile"])
}

fn find(fault: &str) -> Result<&'static Fault, Failed> {
    sandbox::faults::find(fault).ok_or_else(|| format!("there is no fault `{fault}`").into())
}

/// With sidecars on the source's pods and no policy there.
fn source_mtls(stage: &Stage) -> Checked {
    let fault = find("permissive-hang")?;
    faults::on_ground(stage, fault, |stage| {
        stage.unlinked()?;
        stage.runtime.block_on(fault.apply(&stage.world))?;
        let tried = out_of_mtls(stage);
        stage.unlinked()?;
        for kind in ["peerauthentications", "authorizationpolicies"] {
            stage.kubectl(&production(&["-n", "pxc", "delete", kind, "--all"]))?;
        }
        stage.runtime.block_on(fault.mend(&stage.world))?;
        tried
    })
}

fn policies(stage: &Stage) -> Result<Value, Failed> {
    let list = ["-n", "pxc", "get", "peerauthentications.security.istio.io", "-o", "json"];
    let mut found: Value = serde_json::from_str(&stage.kubectl(&production(&list))?)?;
    let items = found["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
    Ok(items.into_iter().map(|mut policy| policy["spec"].take()).collect())
}

fn apply(stage: &Stage, kind: &str, name: &str, spec: &Value) -> Checked {
    let metadata = json!({"name": name, "namespace": "pxc"});
    let object = json!({"apiVersion": "security.istio.io/v1", "kind": kind, "metadata": metadata, "spec": spec});
    let path = stage.write("policy.json", &object.to_string())?.display().to_string();
    stage.kubectl(&production(&["apply", "-f", &path])).map(drop)
}

fn out_of_mtls(stage: &Stage) -> Checked {
    let disable = [&SETUP[..], &["--disable-source-mtls"]].concat();
    let before = stage.untouched_objects()?;
    disallow(stage, Cluster::Production, "source/peerauthentication")?;
    let rules = ["create", "delete", "get", "patch"].map(|verb| format!("denied: {verb} peerauthentications"));
    stage.tool().run(&disable)?.fails(5, "PXL205", &rules.each_ref().map(String::as_str))?;
    allow(stage, Cluster::Production, "source/peerauthentication", &[])?;

    let from = json!([{"source": {"principals": ["cluster.local/ns/app/sa/app"]}}]);
    apply(stage, "AuthorizationPolicy", "who", &json!({"action": "DENY", "rules": [{"from": from}]}))?;
    stage.tool().run(&disable)?.fails(4, "PXL363", &["pxc/who", "principals"])?;
    stage.kubectl(&production(&["-n", "pxc", "delete", "authorizationpolicies.security.istio.io", "who"]))?;
    same("the link", &before, &stage.untouched_objects()?)?;

    let dialogue = [("for everybody in that mesh? [y/N]", "y"), ("[y/N]", "y")];
    let ended = stage.tool().run_answering(&["setup", "--source", "production"], &dialogue)?;
    ended.exits(0)?;
    ended.says("PeerAuthentication/pxc-link-production of the source")?;
    stage.tool().run(&["setup", "--source", "production", "--dry-run", "--exit-code"])?.exits(0)?;
    stage.tool().run(&TEARDOWN)?.says("PeerAuthentication/pxc-link-production of the source")?;
    same("the policies", &json!([]), &policies(stage)?)?;

    // An older policy of the same pods would win over one of our own: it is changed instead, and stays so.
    let strict = json!({
        "selector": {"matchLabels": {"app": "pxc"}}, "mtls": {"mode": "STRICT"},
        "portLevelMtls": {"9999": {"mode": "DISABLE"}},
    });
    apply(stage, "PeerAuthentication", "database", &strict)?;
    let ended = stage.tool().run(&disable)?;
    ended.exits(0)?;
    ended.says("PeerAuthentication/database of the source")?;
    let mut changed = strict.clone();
    changed["portLevelMtls"]["3306"] = json!({"mode": "DISABLE"});
    let gone = stage.tool().run(&TEARDOWN)?;
    gone.exits(0)?;
    same("the policy after teardown", &json!([changed]), &policies(stage)?)?;
    let undo = gone.stderr.split_once("undo: ").and_then(|(_, rest)| rest.split_once(" [PXL364]"));
    let (undo, _) = undo.ok_or_else(|| format!("no command that undoes it was printed\n{gone}"))?;
    let admin = stage.tool().with("KUBECONFIG", stage.world.admin_kubeconfig().display().to_string());
    admin.run_hint(&shell_words::split(undo)?)?;
    same("the policy", &json!([strict]), &policies(stage)?)
}
