//! The cgroups of a world's nodes: made by hand, because a kubelet wants its root to be there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::WorldError;
use super::error::While;

const ROOT: &str = "/sys/fs/cgroup";

/// Controllers a kubelet asks for on version 2.
const V2_CONTROLLERS: &str = "+cpu +cpuset +memory +pids +io";

/// Whether the host has the unified hierarchy alone (version 2).
pub(crate) fn is_v2() -> bool {
    Path::new(ROOT).join("cgroup.controllers").exists()
}

/// Child of a node's group that holds its own processes: in version 2 a group with children's controllers has none.
const OWN: &str = "system";

/// Makes a node's group, and the one for its own processes, in every hierarchy. Returns the files by which a process
/// enters the latter.
pub(crate) fn make(group: &str) -> Result<Vec<PathBuf>, WorldError> {
    let roots = if is_v2() { vec![hand_down()?] } else { hierarchies() };
    let mut entrances = Vec::new();
    for root in roots {
        let path = root.join(group);
        let own = path.join(OWN);
        make_one(&root, &path)?;
        make_one(&path, &own)?;
        entrances.push(own.join("cgroup.procs"));
    }
    Ok(entrances)
}

fn make_one(parent: &Path, path: &Path) -> Result<(), WorldError> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(error).while_doing(|| format!("make the cgroup {}", path.display()));
        }
        _ => {}
    }
    if !is_v2() {
        // In version 1 a cpuset without processors takes no process.
        for name in ["cpuset.cpus", "cpuset.mems"] {
            if let Ok(value) = fs::read_to_string(parent.join(name)) {
                fs::write(path.join(name), value.trim())
                    .while_doing(|| format!("set {name} of the cgroup {}", path.display()))?;
            }
        }
    }
    Ok(())
}

/// Version 2: the controllers must be handed down by the root, which works only where the root is the machine's or
/// holds no process of its own.
fn hand_down() -> Result<PathBuf, WorldError> {
    let root = PathBuf::from(ROOT);
    fs::write(root.join("cgroup.subtree_control"), V2_CONTROLLERS).while_doing(|| {
        format!("hand {V2_CONTROLLERS} down from {ROOT} (in a container its processes must be in a cgroup below it)")
    })?;
    Ok(root)
}

/// Every directory of the hierarchies' roots whose name begins so.
pub(crate) fn groups(prefix: &str) -> Vec<PathBuf> {
    let mut roots = vec![PathBuf::from(ROOT)];
    if !is_v2() {
        roots = hierarchies();
        // The mixed layout has a tree of version 2 beside the others; runc makes its groups there too.
        roots.push(Path::new(ROOT).join("unified"));
    }
    roots
        .iter()
        .filter_map(|root| fs::read_dir(root).ok())
        .flat_map(Iterator::flatten)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path())
        .collect()
}

/// Ends what is left in the groups whose name begins so and removes them.
pub(crate) async fn remove(prefix: &str, deadline: Duration) -> Result<(), WorldError> {
    let end = Instant::now() + deadline;
    loop {
        let mut left = None;
        for group in groups(prefix) {
            if is_v2() {
                let _ = fs::write(group.join("cgroup.kill"), "1");
            }
            left = remove_tree(&group).err().or(left);
        }
        match left {
            None => return Ok(()),
            Some(error) if Instant::now() > end => {
                return Err(error).while_doing(|| format!("remove the cgroups {ROOT}/*/{prefix}*"));
            }
            Some(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

fn remove_tree(group: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(group) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    match fs::remove_dir(group) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// The mounted hierarchies of version 1.
fn hierarchies() -> Vec<PathBuf> {
    fs::read_dir(ROOT)
        .map(|entries| {
            entries
                .flatten()
                .map(|entry| entry.path())
                // Not the tree of version 2 in the mixed layout; symbolic links name a joint hierarchy twice.
                .filter(|path| !path.is_symlink() && path.is_dir() && !path.join("cgroup.controllers").exists())
                .collect()
        })
        .unwrap_or_default()
}
