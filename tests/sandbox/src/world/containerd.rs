//! containerd on a node: its settings, and the prepared images shared with it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use walkdir::WalkDir;

use super::error::While;
use super::layout::Place;
use super::{WorldError, files};
use crate::reexec::Bind;

/// Where containerd listens, inside the node.
pub(crate) const SOCKET: &str = "/run/containerd/containerd.sock";

/// Directories of a containerd root that hold an image's data and are never written again.
const SHARED: [&str; 2] =
    ["io.containerd.content.v1.content/blobs", "io.containerd.snapshotter.v1.overlayfs/snapshots"];

/// Gives a world a copy of the prepared images that takes no space, so that they may be prepared anew while it stands.
pub(crate) async fn link_images(prepared: &Path, copy: &Path) -> Result<(), WorldError> {
    if copy.exists() {
        return Ok(());
    }
    let partial = copy.with_extension("partial");
    let _ = fs::remove_dir_all(&partial);
    // Directories must keep owner, mode and extended attributes: they are layers of file systems.
    let link = tokio::process::Command::new("cp")
        .args(["--archive", "--link", "--no-target-directory"])
        .args([prepared, &partial])
        .kill_on_drop(true)
        .output();
    let what = || format!("link the images of {} to {}", prepared.display(), copy.display());
    let late = |_| std::io::Error::from(std::io::ErrorKind::TimedOut);
    let output = tokio::time::timeout(Duration::from_mins(1), link).await.map_err(late).flatten().while_doing(what)?;
    if !output.status.success() {
        let seen = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(WorldError::Program { program: format!("cp, to {},", what()), seen });
    }
    fs::rename(&partial, copy).while_doing(what)
}

/// Makes a containerd root whose small records are copied from `images` and whose data is mounted from it, read-only.
///
/// A new snapshot gets a number of its own, so what is mounted is only ever a lower layer.
pub(crate) fn share_images(images: &Path, root: &Path) -> Result<Vec<Bind>, WorldError> {
    let mut binds = Vec::new();
    let mut walk = WalkDir::new(images).min_depth(1).into_iter();
    while let Some(entry) = walk.next() {
        let entry = entry.map_err(std::io::Error::from).while_doing(|| format!("read {}", images.display()))?;
        let Ok(relative) = entry.path().strip_prefix(images) else { continue };
        let target = root.join(relative);
        if relative == Path::new(SHARED[0]) || relative.parent() == Some(Path::new(SHARED[1])) {
            binds.push(Bind { source: entry.path().to_owned(), target: target.clone(), read_only: true });
            files::make_dir(&target)?;
            walk.skip_current_dir();
        } else if entry.file_type().is_dir() {
            files::make_dir(&target)?;
        } else if entry.file_type().is_file() && !target.exists() {
            fs::copy(entry.path(), &target).while_doing(|| format!("copy {}", entry.path().display()))?;
        }
    }
    Ok(binds)
}

/// Writes containerd's settings and the CNI configuration; returns the settings' path.
pub(crate) fn configure(place: &Place, bin_dir: &Path) -> Result<std::path::PathBuf, WorldError> {
    let cni = place.path("cni/net.d");
    files::make_dir(&cni)?;
    let conflist = serde_json::json!({
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": true,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": place.pods().to_string()}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    });
    files::write_json(&cni.join("10-ptp.conflist"), &conflist)?;
    let (bin, root) = (bin_dir.display(), place.path("containerd"));
    let settings = format!(
        r#"version = 3
root = "{root}"
state = "/run/containerd"
[grpc]
  address = "{SOCKET}"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "sandbox.local/pause:1"
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ["{bin}"]
    conf_dir = "{cni}"
  [plugins.'io.containerd.cri.v1.runtime'.containerd]
    default_runtime_name = "runc"
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
        BinaryName = "{bin}/runc"
        SystemdCgroup = false
"#,
        root = root.display(),
        cni = cni.display(),
    );
    let path = place.path("containerd.toml");
    files::write(&path, &settings)?;
    Ok(path)
}
