//! A containerd root with every image imported and unpacked, so that a node starts with its images in place.

use std::{fs, path::Path, process::Command, time::Duration};

use super::{
    debian,
    error::{Doing as _, StepError},
    image,
    job::{Job, Running, nice},
    part::remove,
};
use crate::cache::Cache;

const START_DEADLINE: Duration = Duration::from_mins(1);
const IMPORT_DEADLINE: Duration = Duration::from_mins(15);
const END_DEADLINE: Duration = Duration::from_secs(30);

/// Namespace in which the kubelet's images live.
const NAMESPACE: &str = "k8s.io";

/// Raise this when the way the root is made changes.
pub(super) const RECIPE: &str = "2";

/// Packs the images, and has a containerd of its own unpack them into `root/`.
pub(super) fn make(job: &Job, cache: &Cache) -> Result<(), StepError> {
    let archive = job.dir.join("images.tar");
    image::write_archive(job, cache, &archive)?;

    let work = job.dir.join("work");
    fs::create_dir(&work).doing("create", &work)?;
    let config = work.join("config.toml");
    let text = format!(
        "version = 3\nroot = \"{root}\"\nstate = \"{work}/state\"\ntemp = \"{work}/temp\"\n\
         disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.cri.v1.images\", \"io.containerd.cri.v1.runtime\", \"io.containerd.internal.v1.opt\", \"io.containerd.nri.v1.nri\"]\n\
         [grpc]\n  address = \"{work}/sock\"\n[ttrpc]\n  address = \"{work}/sock.ttrpc\"\n\
         [plugins.'io.containerd.transfer.v1.local']\n  check_platform_supported = false\n",
        root = job.dir.join("root").display(),
        work = work.display(),
    );
    fs::write(&config, text).doing("write", &config)?;

    let mut containerd = start(job, cache, &config)?;
    let socket = work.join("sock");
    job.until("start containerd", START_DEADLINE, || {
        if containerd.is_over()? {
            return Err(StepError::Unfit {
                what: "containerd".to_owned(),
                seen: "it ended before it served; its log has the reason".to_owned(),
            });
        }
        Ok(std::os::unix::net::UnixStream::connect(&socket).is_ok())
    })?;
    let ctr = |arguments: &[&str]| {
        let mut command = nice(cache.part("node").join("ctr"));
        command.arg("--address").arg(&socket).args(["--namespace", NAMESPACE]).args(arguments);
        command
    };
    let path = archive.display().to_string();
    job.run(
        "import the images",
        &mut ctr(&["image", "import", "--local", "--no-unpack=false", &path]),
        IMPORT_DEADLINE,
    )?;
    let present = job.output("list the images", &mut ctr(&["image", "list", "--quiet"]), END_DEADLINE)?;
    let snapshots = job.output("list the snapshots", &mut ctr(&["snapshot", "list"]), END_DEADLINE)?;
    let missing: Vec<_> = image::names().filter(|name| !present.lines().any(|line| line == *name)).collect();
    if !missing.is_empty() || !snapshots.contains("Committed") {
        return Err(StepError::Unfit {
            what: "the images".to_owned(),
            seen: format!("missing: {}; snapshots: {snapshots}", missing.join(" ")),
        });
    }
    // The roots go when the images are made; what was in them is told here.
    for name in ["base-root", "mysql-root"] {
        let record = cache.part(name).join(debian::PACKAGES);
        fs::copy(&record, job.dir.join(format!("{name}.{}", debian::PACKAGES))).doing("copy", record)?;
    }
    // Ended in good order, so that its databases are closed.
    containerd.finish(job, END_DEADLINE)?;
    fs::remove_file(&archive).doing("remove", archive)?;
    remove(&work)
}

/// Started in mount and process namespaces of its own: whatever ends it ends its mounts too, and it dies with this process.
fn start(job: &Job, cache: &Cache, config: &Path) -> Result<Running, StepError> {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    command.arg(cache.part("node").join("containerd")).arg("--config").arg(config);
    job.start("unpack the images", &mut command)
}
