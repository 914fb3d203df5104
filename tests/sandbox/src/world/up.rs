//! Raising a world: makes what is not there, restarts what died, rebuilds what lost its nodes.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use futures::future::try_join_all;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Node as KubeNode;
use kube::api::{Api, ListParams};

use super::layout::{self, Cluster, MAX_MEMBERS, MAX_NODES, Place};
use super::lock::lock;
use super::mysql::Site;
use super::wait::Wait;
use super::{
    CONTROL_PLANE, NODE_DAEMONS, Node, Record, World, WorldError, WorldOptions, apply, cgroup, containerd,
    control_plane, down, files, hello, istio, links, mysql, network, rights, world_dir,
};
use crate::cache::Cache;
use crate::prepare::Prepared;
use crate::progress::Progress;

/// How long to wait for another process that raises or removes the same world.
const LOCK_DEADLINE: Duration = Duration::from_mins(5);

/// Raises the world, or makes a standing one whole.
pub async fn up(prepared: &Prepared, options: &WorldOptions, progress: &Progress) -> Result<World, WorldError> {
    let cache = prepared.cache();
    let dir = world_dir(cache, &options.name)?;
    check(options)?;
    let _lock = lock(cache, &options.name, LOCK_DEADLINE).await?;
    for first in [true, false] {
        let mut world = match World::open(cache, &options.name) {
            Ok(world) if !damaged(&world)? => adopt(world, options)?,
            Ok(_) => {
                progress.note("its nodes are gone: clearing what is left and building it again");
                down::clear(&dir, &options.name).await?;
                create(cache, prepared, options).await?
            }
            Err(WorldError::Absent { .. }) => {
                down::clear(&dir, &options.name).await?;
                create(cache, prepared, options).await?
            }
            Err(error) => return Err(error),
        };
        world.record.bin_dir = prepared.bin_dir();
        world.record.env = environment(prepared);
        world.save()?;
        match Box::pin(raise(&world, prepared, progress)).await {
            Ok(()) => return Ok(world),
            // A killed node may still have looked alive: its end takes a moment.
            Err(_) if first && damaged(&world)? => {}
            Err(error) => return Err(error),
        }
    }
    Err(lost(&options.name))
}

fn check(options: &WorldOptions) -> Result<(), WorldError> {
    if options.nodes == 0 || options.nodes > MAX_NODES {
        return Err(WorldError::Options("a cluster has 1 to 16 nodes"));
    }
    if options.members == 0 || options.members > MAX_MEMBERS {
        return Err(WorldError::Options("a cluster has 1 to 9 MySQL members"));
    }
    Ok(())
}

/// Whether a node that was started is gone, or was never connected.
fn damaged(world: &World) -> Result<bool, WorldError> {
    let mut nodes = vec![world.wan()?];
    for place in world.places() {
        nodes.push(World::node(&place)?);
    }
    Ok(nodes.iter().any(|node| {
        let record = node.record();
        record.init.is_some() && (node.init().is_none() || !record.connected)
    }))
}

/// A standing world with the options asked for, where it can have them.
fn adopt(mut world: World, wanted: &WorldOptions) -> Result<World, WorldError> {
    let has = &world.record.options;
    let differs =
        |has: String, wanted: String| WorldError::Differs { name: world.record.options.name.clone(), has, wanted };
    if wanted.nodes < has.nodes {
        return Err(differs(format!("--nodes {}", has.nodes), format!("--nodes {}", wanted.nodes)));
    }
    if wanted.dns_capture != has.dns_capture {
        let text = |on: bool| format!("--dns {}", if on { "on" } else { "off" });
        return Err(differs(text(has.dns_capture), text(wanted.dns_capture)));
    }
    if wanted.ha != has.ha {
        return Err(differs(format!("--ha {}", has.ha), format!("--ha {}", wanted.ha)));
    }
    world.record.options = wanted.clone();
    Ok(world)
}

async fn create(cache: &Cache, prepared: &Prepared, options: &WorldOptions) -> Result<World, WorldError> {
    let _lock = lock(cache, "=network", Duration::from_secs(20)).await?;
    let dir = world_dir(cache, &options.name)?;
    let index = free_index(cache).await?;
    files::make_dir(&dir)?;
    let record = Record {
        options: options.clone(),
        index,
        passwords: mysql::passwords(),
        bin_dir: prepared.bin_dir(),
        env: environment(prepared),
    };
    let world = World { dir, record };
    world.save()?;
    Ok(world)
}

async fn free_index(cache: &Cache) -> Result<u8, WorldError> {
    let mut taken = BTreeMap::new();
    for name in super::status::names(cache) {
        if let Ok(world) = World::open(cache, &name) {
            taken.insert(world.record.index, name);
        }
    }
    for index in 0..=u8::MAX {
        // An interface without a world here is that of a world in another cache.
        if !taken.contains_key(&index) && !links::exists(&layout::host_link(index)).await {
            return Ok(index);
        }
    }
    Err(WorldError::NoNetwork { seen: taken.into_values().collect::<Vec<_>>().join(", ") })
}

/// The environment of the nodes' daemons.
fn environment(prepared: &Prepared) -> BTreeMap<String, String> {
    let text = |value: OsString| value.to_string_lossy().into_owned();
    prepared.tools_env().into_iter().map(|(name, value)| (name.to_owned(), text(value))).collect()
}

async fn raise(world: &World, prepared: &Prepared, progress: &Progress) -> Result<(), WorldError> {
    let places = world.places();
    progress.expect(["nodes", "production", "dr"]);
    let piece = progress.begin("nodes", &format!("{} in namespaces of their own", places.len()));
    istio::make_authorities(&world.dir.join("mesh-pki"))?;
    mysql::make_certificates(&world.dir.join("mysql-pki"))?;
    for place in &places {
        let first = world.place(place.cluster, 0);
        if place.ordinal == 0 {
            control_plane::make_identities(place)?;
        }
        control_plane::make_kubelet_identity(place, &first)?;
        control_plane::configure(place, &first, &prepared.bin_dir())?;
    }
    write_kubeconfigs(world)?;
    let images = world.dir.join("images");
    containerd::link_images(&prepared.containerd_root(), &images).await?;
    let nodes = start_nodes(world, places, &images).await?;
    piece.done();
    let one = async |cluster: Cluster| {
        let piece = progress.begin(cluster.name(), "Kubernetes, Istio, MySQL");
        let own: Vec<_> = nodes.iter().filter(|(place, _)| place.cluster == cluster).collect();
        raise_cluster(world, cluster, &own, prepared, progress).await?;
        piece.done();
        Ok::<_, WorldError>(())
    };
    tokio::try_join!(one(Cluster::Production), one(Cluster::Dr)).map(drop)
}

fn write_kubeconfigs(world: &World) -> Result<(), WorldError> {
    let firsts = Cluster::ALL.map(|cluster| world.place(cluster, 0));
    for (file, user) in [("admin.kubeconfig", "admin"), ("kubeconfig", "pxc-link")] {
        let entries: Vec<_> = firsts.iter().map(|place| (place, user)).collect();
        files::write(&world.dir.join(file), &control_plane::kubeconfig(&entries)?)?;
    }
    Ok(())
}

async fn start_nodes(world: &World, places: Vec<Place>, images: &Path) -> Result<Vec<(Place, Node)>, WorldError> {
    let wan = world.wan()?;
    if wan.init().is_none() {
        let group = format!("{}wan", layout::cgroup_prefix(world.record.index, &world.record.options.name));
        wan.start_empty(cgroup::make(&group)?).await?;
    }
    let wan_pid = wan.init().map(|init| init.pid).ok_or_else(|| lost("wan"))?;
    if !wan.record().connected {
        network::connect_host(wan_pid, world.record.index).await?;
        wan.set_connected()?;
    }
    let nodes = try_join_all(places.into_iter().map(async |place| {
        let node = World::node(&place)?;
        if node.init().is_none() {
            node.start(images, cgroup::make(&place.cgroup())?).await?;
        }
        Ok::<_, WorldError>((place, node))
    }))
    .await?;
    // One after the other: all pairs are made under the same name before they are given away.
    for (place, node) in &nodes {
        if !node.record().connected {
            let init = node.init().ok_or_else(|| lost(&place.name()))?;
            network::connect_node(wan_pid, init.pid, place).await?;
            node.set_connected()?;
        }
    }
    network::route_pods(&nodes).await?;
    Ok(nodes)
}

fn lost(node: &str) -> WorldError {
    WorldError::NodeGone { node: node.to_owned() }
}

async fn raise_cluster(
    world: &World,
    cluster: Cluster,
    nodes: &[&(Place, Node)],
    prepared: &Prepared,
    progress: &Progress,
) -> Result<(), WorldError> {
    let options = world.options();
    let (_, first_node) = nodes.first().ok_or_else(|| lost(cluster.name()))?;
    world.ensure_daemon(cluster, 0, first_node, CONTROL_PLANE[0]).await?;
    world.ensure_daemon(cluster, 0, first_node, CONTROL_PLANE[1]).await?;
    let manifest = istio::manifest(prepared, cluster, options.dns_capture);
    let containers = try_join_all(nodes.iter().map(async |(place, node)| {
        world.ensure_daemon(cluster, place.ordinal, node, NODE_DAEMONS[0]).await?;
        containerd_listens(node, place).await
    }));
    let (manifest, client, _) = tokio::try_join!(manifest, world.api_ready(cluster), containers)?;
    for daemon in &CONTROL_PLANE[2..] {
        world.ensure_daemon(cluster, 0, first_node, daemon).await?;
    }
    for (place, node) in nodes {
        for daemon in &NODE_DAEMONS[1..] {
            world.ensure_daemon(cluster, place.ordinal, node, daemon).await?;
        }
    }
    progress.note(&format!("{:<14} API server answers", cluster.name()));

    let put = async |name: &str, text: &str| apply::apply(&client, cluster, apply::parse(name, text)?).await;
    if nodes.len() > 1 {
        // Members are spread over the nodes that are known when they are scheduled.
        nodes_ready(&client, cluster, nodes.len()).await?;
    }
    let servers = Site::of_world(cluster, options);
    put("pxc", &mysql::before(&world.dir.join("mysql-pki"), servers, &world.record.passwords)?).await?;
    if !cluster.injects() {
        put("mysql", &mysql::servers(servers)).await?;
        put("hello", &hello::objects(cluster)?).await?;
    }
    put("istio", &istio::before(&world.dir.join("mesh-pki"), cluster)?).await?;
    put("istio", &manifest).await?;
    put("coredns", &coredns(cluster)).await?;
    for path in rights::manifests(cluster)? {
        put(&path.display().to_string(), &files::read(&path)?).await?;
    }
    istio::ready(&client, cluster).await?;
    progress.note(&format!("{:<14} Istio is ready", cluster.name()));
    if cluster.injects() {
        put("mysql", &mysql::servers(servers)).await?;
        put("hello", &hello::objects(cluster)?).await?;
    }
    tokio::try_join!(
        world.servers_ready(&client, servers),
        hello::ready(&client, cluster),
        istio::validates(&client, cluster),
        coredns_ready(&client, cluster),
        nodes_ready(&client, cluster, nodes.len()),
    )
    .map(drop)
}

fn coredns(cluster: Cluster) -> String {
    let dns = cluster.dns_service().to_string();
    apply::fill(include_str!("../manifests/coredns.yaml"), &[("NODE", cluster.name()), ("DNS", &dns)])
}

async fn containerd_listens(node: &Node, place: &Place) -> Result<(), WorldError> {
    let wait = Wait {
        what: format!("containerd on node {}", place.name()),
        deadline: Duration::from_secs(30),
        look: place.log(NODE_DAEMONS[0]).display().to_string(),
    };
    wait.until(async || {
        let socket = node.inside(containerd::SOCKET).map_err(|error| error.to_string())?;
        tokio::net::UnixStream::connect(&socket).await.map(drop).map_err(|error| error.to_string())
    })
    .await
}

async fn coredns_ready(client: &kube::Client, cluster: Cluster) -> Result<(), WorldError> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "kube-system");
    let wait = Wait {
        what: format!("CoreDNS in cluster {cluster}"),
        deadline: Duration::from_secs(90),
        look: format!("kubectl --context {cluster} -n kube-system logs deploy/coredns"),
    };
    wait.until(async || {
        let coredns = deployments.get("coredns").await.map_err(|error| error.to_string())?;
        let ready = coredns.status.and_then(|status| status.ready_replicas).unwrap_or(0);
        if ready > 0 { Ok(()) } else { Err("no replica is ready".to_owned()) }
    })
    .await
}

async fn nodes_ready(client: &kube::Client, cluster: Cluster, wanted: usize) -> Result<(), WorldError> {
    let api: Api<KubeNode> = Api::all(client.clone());
    let wait = Wait {
        what: format!("{wanted} node(s) of cluster {cluster}"),
        deadline: Duration::from_secs(90),
        look: format!("kubectl --context {cluster} describe nodes"),
    };
    wait.until(async || {
        let list = api.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        let ready = |node: &KubeNode| {
            let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
            conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
        };
        let count = list.items.iter().filter(|node| ready(node)).count();
        if count >= wanted { Ok(()) } else { Err(format!("{count} of {wanted} are Ready")) }
    })
    .await
}
