//! Where the mesh is sent: what the source's Services, nodes and an operator's resource offer, what was written at the last setup,
//! and the virtual address beside all others. Most of it is read off a plan or a report; only what setup mends is set up.

use libtest_mimic::Failed;
use sandbox::world::Cluster;
use serde_json::{Value, json};

use crate::{
    Body,
    stage::{Checked, LINK, Stage},
};

pub(crate) const TRIALS: &[(&str, Body)] = &[
    ("each_way_in_gives_its_endpoints", ways_in),
    ("nodes_that_come_and_go_are_found", nodes_come_and_go),
    ("an_operators_resource_says_what_is_exposed", operators_resource),
    ("a_changed_node_port_is_found_and_mended_by_setup", changed_node_port),
    ("a_virtual_address_in_use_is_left_and_an_own_one_kept", virtual_addresses),
];

const SETUP: [&str; 4] = ["setup", "--source", "production", "--yes"];

/// Applies objects to a cluster and takes them away when the body is done, however it ended.
fn with_objects(stage: &Stage, cluster: Cluster, objects: &[Value], body: impl FnOnce() -> Checked) -> Checked {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    let path = stage.write("objects.json", &list.to_string())?.display().to_string();
    let context = cluster.to_string();
    stage.kubectl(&["--context", &context, "apply", "-f", &path])?;
    let checked = body();
    // The body may have written another list meanwhile.
    stage.write("objects.json", &list.to_string())?;
    let delete = ["--context", &context, "delete", "--ignore-not-found", "--grace-period=0", "--force", "-f", &path];
    stage.kubectl(&delete)?;
    checked
}

/// The checks of a report on the link with one text of its configuration changed, by id.
fn judged(stage: &Stage, source: &str, only: &str) -> Result<Vec<Value>, Failed> {
    if !LINK.contains("service: pxc") {
        return Err("the configuration names no Service".into());
    }
    stage.write("endpoints.yaml", &LINK.replace("service: pxc", source))?;
    let ended = stage.tool().run(&["--config", "endpoints.yaml", "verify", "--only", only, "-o", "json"])?;
    let document: Value = serde_json::from_str(&ended.stdout).map_err(|error| format!("{error}\n{ended}"))?;
    match document.pointer("/checks").and_then(Value::as_array) {
        Some(checks) => Ok(checks.clone()),
        None => Err(format!("no checks\n{ended}").into()),
    }
}

/// Demands where the link's endpoints are.
fn enters(stage: &Stage, source: &str, wanted: &[String]) -> Checked {
    let checks = judged(stage, source, "endpoints.known")?;
    let known = checks.iter().find(|check| check["id"] == "endpoints.known").ok_or("no endpoints.known")?;
    if known["outcome"] == "passed" && known["evidence"] == json!(wanted) {
        return Ok(());
    }
    Err(format!("`{source}`: {wanted:?} was expected, not {known:#}").into())
}

/// Demands that a check does not pass, with its code and a text in what it says.
fn says(stage: &Stage, source: &str, id: &str, outcome: &str, code: &str, text: &str) -> Checked {
    let checks = judged(stage, source, id)?;
    let check = checks.iter().find(|check| check["id"] == id).ok_or_else(|| format!("no {id}: {checks:#?}"))?;
    if check["outcome"] == outcome && check["code"] == code && check.to_string().contains(text) {
        return Ok(());
    }
    Err(format!("`{source}`: {outcome} {code} with `{text}` was expected, not {check:#}").into())
}

fn service(name: &str, spec: Value) -> Value {
    let mut object = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "pxc"},
        "spec": {"selector": {"app": "pxc"}, "ports": [{"name": "mysql", "port": 3306}]},
    });
    if let (Some(into), Value::Object(from)) = (object["spec"].as_object_mut(), spec) {
        into.extend(from);
    }
    object
}

fn balanced(stage: &Stage, ingress: &Value) -> Checked {
    let patch = json!({"status": {"loadBalancer": {"ingress": ingress}}}).to_string();
    let service = ["--context", "production", "-n", "pxc", "patch", "service", "way-balancer"];
    stage.kubectl(&[&service[..], &["--subresource=status", "--type=merge", "-p", &patch]].concat())?;
    Ok(())
}

fn ways_in(stage: &Stage) -> Checked {
    let node = stage.world.node_address(Cluster::Production).to_string();
    let host_port = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "way-host", "namespace": "pxc", "labels": {"app": "way-host"}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [{
            "name": "host", "image": "sandbox.local/mysql:9.7", "imagePullPolicy": "Never", "command": ["sleep", "infinity"],
            "ports": [{"name": "mysql", "containerPort": 3306, "hostPort": 13306}],
        }]},
    });
    let objects = [
        service("way-balancer", json!({"type": "LoadBalancer"})),
        service("way-external", json!({"externalIPs": ["198.18.0.77"]})),
        service("way-local", json!({"type": "NodePort", "externalTrafficPolicy": "Local"})),
        service(
            "way-nowhere",
            json!({"type": "NodePort", "externalTrafficPolicy": "Local", "selector": {"app": "none"}}),
        ),
        service("way-closed", json!({})),
        service("way-host", json!({"selector": {"app": "way-host"}, "ports": [{"port": 3306, "targetPort": "mysql"}]})),
        host_port,
    ];
    with_objects(stage, Cluster::Production, &objects, || {
        let exposed = |source: &str, text: &str| says(stage, source, "service.exposed", "failed", "PXL207", text);
        let unknown =
            |source: &str, code: &str, text: &str| says(stage, source, "endpoints.known", "failed", code, text);
        enters(stage, "service: pxc", &[format!("{node}:31306")])?;
        enters(stage, "service: way-external", &["198.18.0.77:3306".to_owned()])?;
        unknown("service: way-balancer", "PXL215", "no address yet")?;
        balanced(stage, &json!([{"hostname": "lb.example"}]))?;
        unknown("service: way-balancer", "PXL215", "lb.example")?;
        balanced(stage, &json!([{"ip": "198.18.0.88"}, {"ip": "198.18.0.78"}]))?;
        enters(stage, "service: way-balancer", &["198.18.0.78:3306".to_owned(), "198.18.0.88:3306".to_owned()])?;
        let port = |name: &str| {
            let path = "jsonpath={.spec.ports[0].nodePort}";
            stage.kubectl(&["--context", "production", "-n", "pxc", "get", "service", name, "-o", path])
        };
        enters(stage, "service: way-balancer, entry: nodePort", &[format!("{node}:{}", port("way-balancer")?)])?;
        enters(stage, "service: way-local", &[format!("{node}:{}", port("way-local")?)])?;
        unknown("service: way-nowhere", "PXL212", "externalTrafficPolicy: Local")?;
        unknown("service: pxc, addressType: ExternalIP", "PXL212", "ExternalIP")?;
        exposed("service: way-closed", "type\\\":\\\"NodePort")?;
        exposed("service: way-closed, entry: hostPort", "source.kubernetes.entry: hostPort")?;
        stage.kubectl(&[
            "--context",
            "production",
            "-n",
            "pxc",
            "wait",
            "pod/way-host",
            "--for=condition=Ready",
            "--timeout=60s",
        ])?;
        enters(stage, "service: way-host", &[format!("{node}:13306")])
    })
}

/// A node that is there by its object alone: ready until the node controller misses its heartbeat, after most of a minute.
fn node(name: &str, address: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
        "spec": {"unschedulable": true},
        "status": {
            "addresses": [{"type": "InternalIP", "address": address}],
            "conditions": [{"type": "Ready", "status": "True", "reason": "Sandbox", "message": ""}],
        },
    })
}

fn nodes_come_and_go(stage: &Stage) -> Checked {
    stage.linked()?;
    let own = format!("{}:31306", stage.world.node_address(Cluster::Production));
    let current = "endpoints.current";
    let passed = |checks: &[Value]| checks.iter().any(|check| check["id"] == current && check["outcome"] == "passed");
    let first = judged(stage, "service: pxc", current)?;
    if !passed(&first) {
        return Err(format!("the link was just set up: {first:#?}").into());
    }
    let nodes = [node("ghost-1", "198.19.255.200"), node("ghost-2", "198.19.255.201"), node("ghost-6", "fd00::6")];
    with_objects(stage, Cluster::Production, &nodes, || {
        let all = [own.clone(), "198.19.255.200:31306".to_owned(), "198.19.255.201:31306".to_owned()];
        enters(stage, "service: pxc", &all)?;
        says(stage, "service: pxc, maxEndpoints: 2", "endpoints.known", "warned", "PXL216", "leaves 1 out")?;
        says(stage, "service: pxc", current, "warned", "PXL332", "not in the ServiceEntry: 198.19.255.200:31306")?;
        // The plan shows what it would be.
        let ended = stage.tool().run(&["setup", "--source", "production", "--dry-run", "--exit-code"])?;
        ended.exits(1)?;
        ended.says("spec.endpoints")?;
        ended.says("198.19.255.201")
    })?;
    let last = judged(stage, "service: pxc", current)?;
    if passed(&last) { Ok(()) } else { Err(format!("the nodes are gone again: {last:#?}").into()) }
}

fn changed_node_port(stage: &Stage) -> Checked {
    stage.linked()?;
    let give = |port: u16| {
        let patch = json!([{"op": "replace", "path": "/spec/ports/0/nodePort", "value": port}]).to_string();
        stage.kubectl(&["--context", "production", "-n", "pxc", "patch", "service", "pxc", "--type=json", "-p", &patch])
    };
    give(31307)?;
    let mended = (|| {
        let ended = stage.tool().run(&["verify", "--source", "production", "-o", "json"])?;
        ended.exits(4)?;
        let document: Value = serde_json::from_str(&ended.stdout)?;
        let checks = document["checks"].as_array().ok_or("no checks")?;
        let failed: Vec<&Value> = checks.iter().filter(|check| check["outcome"] == "failed").collect();
        let (Some(first), true) = (failed.first(), ended.stdout.contains(":31307")) else {
            return Err(format!("a failed check was expected\n{ended}").into());
        };
        if first["id"] != "endpoints.current" || first["code"] != "PXL332" {
            return Err(format!("endpoints.current should be the first that failed\n{ended}").into());
        }
        // A person at the terminal agrees to the plan; nobody is there.
        let argv = first.pointer("/hint/commands/0/argv").and_then(Value::as_array).ok_or("no command")?;
        let argv: Vec<String> = argv.iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect();
        stage.tool().run_hint(&[&argv[..], &["--yes".to_owned()]].concat())?;
        stage.tool().run(&["verify", "--source", "production"])?.exits(0)
    })();
    give(31306)?;
    stage.tool().run(&SETUP)?.exits(0)?;
    mended
}

/// The operator's kind, cut by hand to what pxc-link reads: the operator itself cannot be had here.
fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "perconaxtradbclusters.pxc.percona.com"},
        "spec": {
            "group": "pxc.percona.com", "scope": "Namespaced",
            "names": {
                "kind": "PerconaXtraDBCluster", "listKind": "PerconaXtraDBClusterList", "singular": "perconaxtradbcluster",
                "plural": "perconaxtradbclusters", "shortNames": ["pxc", "pxcs"],
            },
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                }}},
            }],
        },
    })
}

fn resource(spec: &Value) -> Value {
    json!({
        "apiVersion": "pxc.percona.com/v1", "kind": "PerconaXtraDBCluster",
        "metadata": {"name": "cluster1", "namespace": "pxc"}, "spec": spec,
    })
}

const OPERATORS_LABELS: [&str; 2] = ["app.kubernetes.io/instance", "app.kubernetes.io/component"];

fn operators_resource(stage: &Stage) -> Checked {
    stage.unlinked()?;
    let rights = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/deploy/source/pxc");
    with_objects(stage, Cluster::Production, &[definition()], || {
        let crd = "crd/perconaxtradbclusters.pxc.percona.com";
        stage.kubectl(&["--context", "production", "wait", crd, "--for=condition=Established", "--timeout=30s"])?;
        let label = |cluster: &str, values: [&str; 2]| {
            let [instance, component] = OPERATORS_LABELS;
            let labels = [format!("{instance}{}", values[0]), format!("{component}{}", values[1])];
            let pod =
                ["--context", cluster, "-n", "pxc", "label", "pod", "pxc-0", "--overwrite", &labels[0], &labels[1]];
            stage.kubectl(&pod)
        };
        for cluster in ["production", "dr"] {
            label(cluster, ["=cluster1", "=pxc"])?;
        }
        let exposed = as_exposed(stage, rights);
        for cluster in ["production", "dr"] {
            label(cluster, ["-", "-"])?;
        }
        stage.kubectl(&["--context", "production", "delete", "--ignore-not-found", "-f", rights])?;
        exposed
    })
}

/// The Services are those that the operator makes (its pkg/pxc/service.go and pkg/controller/pxc/replication.go).
fn as_exposed(stage: &Stage, rights: &str) -> Checked {
    let node = stage.world.node_address(Cluster::Production).to_string();
    let haproxy =
        |kind: &str| json!({"pxc": {"size": 1}, "haproxy": {"enabled": true, "exposePrimary": {"type": kind}}});
    let proxy = |kind: &str| service("cluster1-haproxy", json!({"type": kind}));
    with_objects(stage, Cluster::Production, &[resource(&haproxy("ClusterIP")), proxy("ClusterIP")], || {
        says(stage, "pxc: cluster1", "cluster.permissions", "failed", "PXL205", "perconaxtradbclusters")?;
        stage.kubectl(&["--context", "production", "apply", "-f", rights])?;
        says(stage, "pxc: cluster2", "service.exposed", "failed", "PXL207", "no PerconaXtraDBCluster `cluster2`")?;
        stage.write(
            "operator.yaml",
            &LINK
                .replace("service: pxc", "pxc: cluster1")
                .replace("selector: app=pxc, container: pxc", "pxc: cluster1"),
        )?;
        let setup = ["--config", "operator.yaml", "setup", "--source", "production", "--dry-run"];
        let refused = stage.tool().run(&setup)?;
        refused.fails(4, "PXL207", &["exposePrimary", "patch pxc cluster1"])?;
        let admin = stage.tool().with("KUBECONFIG", stage.world.admin_kubeconfig().display().to_string());
        for remedy in pxc_link::report::commands(&refused.stderr) {
            if let pxc_link::domain::hint::Remedy::Argv(argv) = remedy {
                admin.run_hint(&argv)?;
            }
        }
        let said = "jsonpath={.spec.haproxy.exposePrimary.type}";
        let kind = stage.kubectl(&["--context", "production", "-n", "pxc", "get", "pxc", "cluster1", "-o", said])?;
        if kind != "NodePort" {
            return Err(format!("the hint should have the resource say NodePort, not `{kind}`").into());
        }
        // What the operator does then.
        with_objects(stage, Cluster::Production, &[proxy("NodePort")], || {
            let ended = stage.tool().run(&setup)?;
            ended.exits(0)?;
            ended.says(&node)
        })
    })?;
    let pods =
        json!({"pxc": {"size": 1, "expose": {"enabled": true, "type": "NodePort"}}, "haproxy": {"enabled": false}});
    let of_pod = service(
        "cluster1-pxc-0",
        json!({
            "type": "NodePort", "externalTrafficPolicy": "Local", "ports": [{"name": "mysql", "port": 3306, "nodePort": 31777}],
            "selector": {"statefulset.kubernetes.io/pod-name": "pxc-0"},
        }),
    );
    with_objects(stage, Cluster::Production, &[resource(&pods), of_pod], || {
        enters(stage, "pxc: cluster1", &[format!("{node}:31777")])
    })
}

fn virtual_addresses(stage: &Stage) -> Checked {
    stage.unlinked()?;
    let derived = pxc_link::domain::vip::derive("pxc-source.production.global").to_string();
    let other = |address: &str| {
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry",
            "metadata": {"name": "other", "namespace": "demo"},
            "spec": {
                "hosts": ["other.example.global"], "addresses": [address], "location": "MESH_EXTERNAL", "resolution": "STATIC",
                "exportTo": ["."], "ports": [{"number": 3306, "name": "tcp", "protocol": "TCP"}],
                "endpoints": [{"address": "198.18.0.200"}],
            },
        })
    };
    let address = || {
        let path = "jsonpath={.spec.addresses[0]}";
        stage.kubectl(&["--context", "dr", "-n", "pxc", "get", "serviceentry/pxc-source-production", "-o", path])
    };
    let mut kept = String::new();
    with_objects(stage, Cluster::Dr, &[other(&derived)], || {
        stage.linked()?;
        kept = address()?;
        if kept == derived { Err(format!("{derived} is another entry's already").into()) } else { Ok(()) }
    })?;
    // The derived one is free again, and the link keeps what it has.
    stage.tool().run(&["setup", "--source", "production", "--dry-run", "--exit-code"])?.exits(0)?;
    let found = with_objects(stage, Cluster::Dr, &[other(&kept)], || {
        stage.refuses(&stage.tool(), &SETUP, 4, "PXL303", &["demo/other", &kept, "vip: "])
    });
    stage.unlinked()?;
    found?;
    // Pods with addresses of that range are kept clear of, too; the API server holds nobody to where an address comes from.
    let rights = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/deploy/replica/addresses");
    stage.kubectl(&["--context", "dr", "apply", "-f", rights])?;
    let balancer = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "far", "namespace": "demo"},
        "spec": {"externalIPs": [derived], "ports": [{"port": 80}]},
    });
    let clear = with_objects(stage, Cluster::Dr, &[balancer], || {
        let ended = stage.tool().run(&["setup", "--source", "production", "--dry-run"])?;
        ended.exits(0)?;
        if ended.to_string().contains(&derived) {
            Err(format!("{derived} is a Service's\n{ended}").into())
        } else {
            Ok(())
        }
    });
    stage.kubectl(&["--context", "dr", "delete", "-f", rights])?;
    clear
}
