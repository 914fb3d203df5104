//! Changes to the network links of the namespace this process is in, by netlink.

use std::net::Ipv4Addr;

use futures::TryStreamExt;
use rtnetlink::{Handle, LinkBridge, LinkUnspec, LinkVeth, RouteMessageBuilder, new_connection};
use serde::{Deserialize, Serialize};

/// One change.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum LinkOp {
    /// Makes an empty bridge.
    Bridge { name: String },
    /// Makes a pair of connected interfaces, both in this namespace.
    Pair { name: String, peer: String },
    /// Gives an interface to the network namespace of a process.
    Give { name: String, to: i32 },
    /// Puts an interface on a bridge.
    Attach { name: String, bridge: String },
    /// Adds an address.
    Address { name: String, address: Ipv4Addr, prefix: u8 },
    /// Sets an interface up.
    Up { name: String },
    /// Adds the default route through an interface.
    DefaultRoute { name: String },
    /// Adds a route through a neighbour.
    Route { to: Ipv4Addr, prefix: u8, via: Ipv4Addr },
    /// Removes an interface; its peer goes with it. Not there is no error.
    Delete { name: String },
    /// Writes a setting of this network namespace, named as a path below /proc/sys.
    Setting { path: String, value: String },
}

/// A change the kernel refused.
#[derive(Debug, thiserror::Error)]
#[error("could not do {op:?}: {cause}")]
pub(crate) struct LinkError {
    op: LinkOp,
    cause: String,
}

/// Makes the changes in order and stops at the first refusal.
pub(crate) async fn apply(ops: &[LinkOp]) -> Result<(), LinkError> {
    let Some(first) = ops.first() else { return Ok(()) };
    let (connection, handle, _) =
        new_connection().map_err(|error| LinkError { op: first.clone(), cause: error.to_string() })?;
    let connection = tokio::spawn(connection);
    for op in ops {
        apply_one(&handle, op).await.map_err(|cause| LinkError { op: op.clone(), cause })?;
    }
    connection.abort();
    Ok(())
}

async fn apply_one(handle: &Handle, op: &LinkOp) -> Result<(), String> {
    let links = handle.link();
    let done = match op {
        LinkOp::Bridge { name } => links.add(LinkBridge::new(name).build()).execute().await,
        LinkOp::Pair { name, peer } => links.add(LinkVeth::new(name, peer).build()).execute().await,
        LinkOp::Give { name, to } => {
            let to = u32::try_from(*to).map_err(|error| error.to_string())?;
            links.set(LinkUnspec::new_with_name(name).setns_by_pid(to).build()).execute().await
        }
        LinkOp::Attach { name, bridge } => {
            let bridge = index(handle, bridge).await?;
            links.set(LinkUnspec::new_with_name(name).controller(bridge).build()).execute().await
        }
        LinkOp::Address { name, address, prefix } => {
            let link = index(handle, name).await?;
            handle.address().add(link, (*address).into(), *prefix).execute().await
        }
        LinkOp::Up { name } => links.set(LinkUnspec::new_with_name(name).up().build()).execute().await,
        LinkOp::DefaultRoute { name } => {
            let link = index(handle, name).await?;
            let route = RouteMessageBuilder::<Ipv4Addr>::new().output_interface(link).build();
            handle.route().add(route).execute().await
        }
        LinkOp::Route { to, prefix, via } => {
            let route = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(*to, *prefix).gateway(*via).build();
            handle.route().add(route).replace().execute().await
        }
        LinkOp::Delete { name } => match index(handle, name).await {
            Ok(link) => links.del(link).execute().await,
            Err(_) => Ok(()),
        },
        LinkOp::Setting { path, value } => {
            return std::fs::write(format!("/proc/sys/{path}"), value).map_err(|error| error.to_string());
        }
    };
    done.map_err(|error| error.to_string())
}

async fn index(handle: &Handle, name: &str) -> Result<u32, String> {
    let mut found = handle.link().get().match_name(name.to_owned()).execute();
    match found.try_next().await {
        Ok(Some(link)) => Ok(link.header.index),
        Ok(None) => Err(format!("there is no interface {name}")),
        Err(error) => Err(format!("looking for interface {name}: {error}")),
    }
}

/// Whether this namespace has an interface of that name.
pub(crate) async fn exists(name: &str) -> bool {
    let Ok((connection, handle, _)) = new_connection() else { return false };
    let connection = tokio::spawn(connection);
    let found = index(&handle, name).await.is_ok();
    connection.abort();
    found
}
