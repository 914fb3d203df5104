//! How the pods of a Percona operator's resource are known: the labels and the container that the operator gives them.

/// The container in which mysqld runs (the operator's pkg/pxc/app/statefulset/node.go).
pub const CONTAINER: &str = "pxc";

/// The label selector of the pods in which mysqld runs, those of its proxies left out (the operator's pkg/naming/labels.go).
pub fn selector(resource: &str) -> String {
    format!("app.kubernetes.io/instance={resource},app.kubernetes.io/component=pxc")
}
