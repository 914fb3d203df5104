//! The network of a world: a bridge in a namespace of its own, the nodes on it, one address of the host.

use super::error::While;
use super::layout::{Place, host_address, host_link};
use super::links::{self, LinkOp};
use super::process;
use super::{Node, WorldError};
use crate::reexec::Task;

const BRIDGE: &str = "br0";

/// Connects the bridge's namespace to the host. The host forwards nothing and routes nothing but the bridge's /24.
pub(crate) async fn connect_host(wan: i32, world: u8) -> Result<(), WorldError> {
    let link = host_link(world);
    let host = i32::try_from(std::process::id()).unwrap_or(1);
    let inside = vec![
        LinkOp::Up { name: "lo".to_owned() },
        LinkOp::Bridge { name: BRIDGE.to_owned() },
        LinkOp::Up { name: BRIDGE.to_owned() },
        LinkOp::Pair { name: "host".to_owned(), peer: link.clone() },
        LinkOp::Attach { name: "host".to_owned(), bridge: BRIDGE.to_owned() },
        LinkOp::Up { name: "host".to_owned() },
        LinkOp::Give { name: link.clone(), to: host },
    ];
    change(wan, inside).await?;
    let outside =
        [LinkOp::Address { name: link.clone(), address: host_address(world), prefix: 24 }, LinkOp::Up { name: link }];
    links::apply(&outside).await.map_err(std::io::Error::other).while_doing(|| "set up the host's interface".to_owned())
}

/// Connects a node to the bridge and gives it its address and routes.
///
/// A packet to a Service is routed before it is translated, so a default route is needed; it ends in an empty bridge,
/// so that nothing leaves.
pub(crate) async fn connect_node(wan: i32, node: i32, place: &Place) -> Result<(), WorldError> {
    let port = format!("node{}", place.address().octets()[3]);
    let give = vec![
        LinkOp::Pair { name: port.clone(), peer: "eth0".to_owned() },
        LinkOp::Give { name: "eth0".to_owned(), to: node },
        LinkOp::Attach { name: port.clone(), bridge: BRIDGE.to_owned() },
        LinkOp::Up { name: port },
    ];
    change(wan, give).await?;
    let own = vec![
        LinkOp::Up { name: "lo".to_owned() },
        LinkOp::Address { name: "eth0".to_owned(), address: place.address(), prefix: 24 },
        LinkOp::Up { name: "eth0".to_owned() },
        LinkOp::Setting { path: "net/ipv4/ip_forward".to_owned(), value: "1".to_owned() },
        LinkOp::Bridge { name: "sink0".to_owned() },
        LinkOp::Up { name: "sink0".to_owned() },
        LinkOp::DefaultRoute { name: "sink0".to_owned() },
    ];
    change(node, own).await
}

/// Routes the pods of each node to the other nodes of the same cluster.
pub(crate) async fn route_pods(nodes: &[(Place, Node)]) -> Result<(), WorldError> {
    for (place, node) in nodes {
        let routes = nodes
            .iter()
            .filter(|(other, _)| other.cluster == place.cluster && other.ordinal != place.ordinal)
            .map(|(other, _)| {
                let pods = other.pods();
                LinkOp::Route { to: pods.base, prefix: pods.prefix, via: other.address() }
            })
            .collect::<Vec<_>>();
        if let (Some(init), false) = (node.init(), routes.is_empty()) {
            change(init.pid, routes).await?;
        }
    }
    Ok(())
}

/// Removes the host's interface, if it is still there.
pub(crate) async fn disconnect_host(world: u8) -> Result<(), WorldError> {
    links::apply(&[LinkOp::Delete { name: host_link(world) }])
        .await
        .map_err(std::io::Error::other)
        .while_doing(|| "remove the host's interface".to_owned())
}

async fn change(init: i32, ops: Vec<LinkOp>) -> Result<(), WorldError> {
    process::output(&Task::Links { init, ops })
        .await
        .while_doing(|| "set up the network of a node".to_owned())
        .map(drop)
}
