//! pxc-link's rights, applied as its users apply them: the repository's manifests, and the same for further namespaces.

use std::path::{Path, PathBuf};

use super::error::While;
use super::layout::Cluster;
use super::{NAMESPACE, WorldError, files};

const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../manifests/deploy");

/// The manifests of a cluster's side by name, the optional ones that only read included: a world shows everything that can be seen.
pub(crate) fn manifests(cluster: Cluster) -> Result<Vec<PathBuf>, WorldError> {
    let (side, optional): (_, &[&str]) = match cluster {
        Cluster::Production => ("source", &["preflight"]),
        Cluster::Dr => ("replica", &["preflight", "remote-clusters"]),
    };
    let own = Path::new(DEPLOY).join(side);
    let mut paths = of(&own)?;
    for folder in optional {
        paths.extend(of(&own.join(folder))?);
    }
    Ok(paths)
}

/// The manifests of one folder by name.
fn of(folder: &Path) -> Result<Vec<PathBuf>, WorldError> {
    let mut paths = Vec::new();
    let entries = std::fs::read_dir(folder).while_doing(|| format!("read the folder {}", folder.display()))?;
    for entry in entries {
        let path = entry.while_doing(|| format!("read the folder {}", folder.display()))?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// What the manifests give in the members' namespace, given in another one, as a user with a second link does.
pub(crate) fn in_namespace(cluster: Cluster, namespace: &str) -> Result<String, WorldError> {
    let here = format!("namespace: {NAMESPACE}}}");
    let mut texts = Vec::new();
    for path in manifests(cluster)? {
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
    fn a_folder_that_is_not_there_is_an_error() {
        let shown = of(&Path::new(DEPLOY).join("nobody")).unwrap_err().to_string();
        assert!(shown.contains("manifests/deploy/nobody"), "{shown}");
    }

    #[test]
    fn another_namespace_gets_what_the_members_namespace_has_and_nothing_else() {
        for cluster in Cluster::ALL {
            let text = in_namespace(cluster, "other").unwrap();
            assert!(text.contains("kind: Role\n") && text.contains("kind: RoleBinding\n"), "{text}");
            assert!(!text.contains("namespace: pxc}") && !text.contains("kind: ClusterRole\n"), "{text}");
        }
    }
}
