//! pxc-link's rights, applied as its users apply them: the repository's manifests, and the same for further namespaces.

use std::path::{Path, PathBuf};

use super::layout::Cluster;
use super::{NAMESPACE, WorldError, files};

const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../manifests/deploy");

/// The manifests of a cluster: those of both sides, then those of its side, by name.
pub(crate) fn manifests(cluster: Cluster) -> Vec<PathBuf> {
    let side = match cluster {
        Cluster::Production => "source",
        Cluster::Dr => "replica",
    };
    let of = |dir: PathBuf| {
        let mut paths: Vec<_> = std::fs::read_dir(dir)
            .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
            .unwrap_or_default();
        paths.retain(|path: &PathBuf| path.extension().is_some_and(|extension| extension == "yaml"));
        paths.sort();
        paths
    };
    let own = Path::new(DEPLOY).join(side);
    // Optional ones too: a world shows everything that can be seen.
    let optional = ["preflight", "remote-clusters"].map(|folder| of(own.join(folder)));
    [of(PathBuf::from(DEPLOY)), of(own), optional.concat()].concat()
}

/// What the manifests give in the members' namespace, given in another one, as a user with a second link does.
pub(crate) fn in_namespace(cluster: Cluster, namespace: &str) -> Result<String, WorldError> {
    let here = format!("namespace: {NAMESPACE}}}");
    let mut texts = Vec::new();
    for path in manifests(cluster) {
        let text = files::read(&path)?;
        if text.contains(&here) {
            texts.push(text.replace(&here, &format!("namespace: {namespace}}}")));
        }
    }
    Ok(texts.join("\n---\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_namespace_gets_what_the_members_namespace_has_and_nothing_else() {
        for cluster in Cluster::ALL {
            let text = in_namespace(cluster, "other").unwrap();
            assert!(text.contains("kind: Role\n") && text.contains("kind: RoleBinding\n"), "{text}");
            assert!(!text.contains("namespace: pxc}") && !text.contains("kind: ClusterRole\n"), "{text}");
        }
    }
}
