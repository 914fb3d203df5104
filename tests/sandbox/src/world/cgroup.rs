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

/// Makes the group in every hierarchy.
pub(crate) fn make(group: &str) -> Result<(), WorldError> {
    if is_v2() {
        return make_v2(group);
    }
    for hierarchy in hierarchies() {
        let path = hierarchy.join(group);
        match fs::create_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(error).while_doing(|| format!("make the cgroup {}", path.display()));
            }
            _ => {}
        }
        // A cpuset without processors takes no process.
        for name in ["cpuset.cpus", "cpuset.mems"] {
            if let Ok(value) = fs::read_to_string(hierarchy.join(name)) {
                fs::write(path.join(name), value.trim())
                    .while_doing(|| format!("set {name} of the cgroup {}", path.display()))?;
            }
        }
    }
    Ok(())
}

/// Version 2: the controllers must be handed down by the root, which works only where the root is the machine's or
/// holds no process of its own.
fn make_v2(group: &str) -> Result<(), WorldError> {
    let root = Path::new(ROOT);
    fs::write(root.join("cgroup.subtree_control"), V2_CONTROLLERS).while_doing(|| {
        format!("hand {V2_CONTROLLERS} down from {ROOT} (in a container its processes must be in a cgroup below it)")
    })?;
    let path = root.join(group);
    match fs::create_dir(&path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(error).while_doing(|| format!("make the cgroup {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Every directory of the hierarchies' roots whose name begins so.
pub(crate) fn groups(prefix: &str) -> Vec<PathBuf> {
    let roots = if is_v2() { vec![PathBuf::from(ROOT)] } else { hierarchies() };
    roots
        .iter()
        .filter_map(|root| fs::read_dir(root).ok())
        .flat_map(|entries| entries.flatten())
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
                // The mixed layout has a version 2 tree beside them; symbolic links name a joint one twice.
                .filter(|path| !path.is_symlink() && path.is_dir() && !path.join("cgroup.controllers").exists())
                .collect()
        })
        .unwrap_or_default()
}
