//! The pairs: for each fault that needs no more, a link of its own from a light client to the service `hello`.

use std::fmt::Write as _;

use super::{FaultError, Scope, all};
use crate::world::{Cluster, DEMO, World};

/// The namespace of a pair in the replica's cluster.
pub(super) fn namespace(fault: &str) -> String {
    format!("f-{fault}")
}

/// The mesh name of a pair.
pub(super) fn host(fault: &str) -> String {
    format!("{fault}.faults.global")
}

/// pxc-link's configuration of all pairs, one link a fault, named as it. The port is one at which the server speaks first, as
/// MySQL does.
pub fn configuration() -> String {
    let mut text = "apiVersion: pxc-link.io/v1alpha1\nkind: Links\nlinks:\n".to_owned();
    for fault in all().filter(|fault| matches!(fault.scope, Scope::Pair)) {
        let (name, namespace, host) = (fault.name, namespace(fault.name), host(fault.name));
        let _ = write!(
            text,
            "  {name}:\n    \
               host: {host}\n    \
               ports: [{{number: 9001, name: tcp-greeting, protocol: TCP}}]\n    \
               source: {{kubernetes: {{context: production, namespace: {DEMO}, service: hello}}}}\n    \
               client: {{kubernetes: {{context: dr, namespace: {namespace}, selector: app=client, container: client}}}}\n"
        );
    }
    text
}

/// Takes a pair away. Its namespace ends in its own time.
pub(super) async fn remove(world: &World, fault: &str) -> Result<(), FaultError> {
    let namespace = namespace(fault);
    let args =
        ["--context", Cluster::Dr.name(), "delete", "namespace", &namespace, "--ignore-not-found", "--wait=false"];
    super::act::good(&format!("kubectl {}", args.join(" ")), world.kubectl(&args).await?)?;
    Ok(())
}
