//! The directories that Debian packages are unpacked into: the host's tools, and the roots of the images.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{chown, symlink},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::{
    debian,
    error::{Doing as _, StepError},
    job::{Job, nice},
    part::{Part, remove},
};
use crate::host::Archive;

/// The release with MySQL 9.7. It moves: what was fetched is recorded in the part.
const UNSTABLE: &str = "sid";

/// What kube-proxy, the portmap plugin and containerd call on the node.
const TOOLS: &[&str] = &["runc", "iptables"];

const BASE: &[&str] = &[
    "base-files",
    "base-passwd",
    "bash",
    "ca-certificates",
    "coreutils",
    "curl",
    "dash",
    "debianutils",
    "diffutils",
    "findutils",
    "grep",
    "gzip",
    "hostname",
    "iproute2",
    "iptables",
    "libc-bin",
    "mawk",
    "ncurses-base",
    "netbase",
    "perl-base",
    "procps",
    "sed",
    "tar",
    "util-linux",
];

const MYSQL: &[&str] = &[
    "base-files",
    "base-passwd",
    "bash",
    "coreutils",
    "dash",
    "debianutils",
    "findutils",
    "grep",
    "hostname",
    "libc-bin",
    "mawk",
    "mysql-client-core=9.7.*",
    "mysql-server-core=9.7.*",
    "ncurses-base",
    "netbase",
    "procps",
    "sed",
];

/// Raise this when the way the roots are finished changes.
const FINISH: &str = "1";

/// User and group of the server in the MySQL image.
pub(crate) const MYSQL_ID: u32 = 999;

/// Where the MySQL image keeps the data directory that a new server starts from.
pub(crate) const TEMPLATE: &str = "usr/share/mysql-template";

/// What the template is made with: no identity, no keys, no log, and small.
const INITIALIZE: &[&str] = &[
    "--no-defaults",
    "--initialize-insecure",
    "--datadir=/template",
    "--tmpdir=/tmp",
    "--disable-log-bin",
    "--auto-generate-certs=OFF",
    "--caching-sha2-password-auto-generate-rsa-keys=OFF",
    "--innodb-redo-log-capacity=16M",
];

const INITIALIZE_DEADLINE: Duration = Duration::from_mins(10);
const CHECK_DEADLINE: Duration = Duration::from_secs(30);

/// Libraries of the host's own C library package must not shadow those of the host for programs that run outside the root.
const C_LIBRARY: [&str; 14] = [
    "ld-linux",
    "libBrokenLocale",
    "libanl",
    "libc.",
    "libc_malloc_debug",
    "libdl",
    "libgcc_s",
    "libm.",
    "libmvec",
    "libns",
    "libpthread",
    "libresolv",
    "librt",
    "libthread_db",
];

pub(super) fn tools_part(stable: &str) -> Part {
    Part::new("host-tools", ["debian", stable, FINISH].into_iter().chain(TOOLS.iter().copied()))
}

pub(super) fn base_part(stable: &str) -> Part {
    Part::new("base-root", ["debian", stable, FINISH].into_iter().chain(BASE.iter().copied()))
}

pub(super) fn mysql_part() -> Part {
    Part::new("mysql-root", ["debian", UNSTABLE, FINISH].into_iter().chain(MYSQL.iter().copied()))
}

pub(super) fn template_part(mysql: &Part) -> Part {
    Part::new("mysql-template", ["template", mysql.key.as_str()].into_iter().chain(INITIALIZE.iter().copied()))
}

/// Programs and libraries for the host: `bin/`, `lib/`, `xtables/`.
pub(super) fn make_tools(job: &Job, archive: &Archive) -> Result<(), StepError> {
    let root = job.dir.join("root");
    debian::unpack(job, archive, &archive.stable, TOOLS, &root)?;
    let libraries = root.join("usr/lib/x86_64-linux-gnu");
    let (bin, lib) = (job.dir.join("bin"), job.dir.join("lib"));
    for dir in [&bin, &lib] {
        fs::create_dir(dir).doing("create", dir)?;
    }
    for entry in fs::read_dir(&libraries).doing("list", &libraries)? {
        let path = entry.doing("list", &libraries)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.contains(".so") && !C_LIBRARY.iter().any(|own| name.starts_with(own)) {
            fs::rename(&path, lib.join(&name)).doing("move", path)?;
        }
    }
    let plugins = libraries.join("xtables");
    fs::rename(&plugins, job.dir.join("xtables")).doing("move", plugins)?;
    for program in ["runc", "xtables-nft-multi", "xtables-legacy-multi"] {
        let from = root.join("usr/sbin").join(program);
        fs::rename(&from, bin.join(program)).doing("move", from)?;
    }
    let kind = choose_iptables(job, &bin, &lib)?;
    link_iptables(&bin, kind)?;
    remove(&root)
}

/// The kernel may carry only one of the two: the first that can make a rule in a namespace of its own is taken.
fn choose_iptables(job: &Job, bin: &Path, lib: &Path) -> Result<&'static str, StepError> {
    let mut last = None;
    for kind in ["nft", "legacy"] {
        let mut try_rule = Command::new("unshare");
        try_rule.arg("--net").arg(bin.join(format!("xtables-{kind}-multi")));
        try_rule.args("iptables -t nat -A POSTROUTING -m comment --comment probe -j MASQUERADE".split(' '));
        try_rule.env("LD_LIBRARY_PATH", lib).env("XTABLES_LIBDIR", job.dir.join("xtables"));
        match job.run(&format!("try iptables ({kind})"), &mut try_rule, CHECK_DEADLINE) {
            Ok(()) => return Ok(kind),
            Err(StepError::Interrupted) => return Err(StepError::Interrupted),
            Err(error) => last = Some(error),
        }
    }
    Err(StepError::Unfit { what: "iptables".to_owned(), seen: last.map(|error| error.to_string()).unwrap_or_default() })
}

/// The names that Debian's alternatives would make when the package is configured.
fn link_iptables(dir: &Path, kind: &str) -> Result<(), StepError> {
    let multi = format!("xtables-{kind}-multi");
    for family in ["iptables", "ip6tables"] {
        for action in ["", "-save", "-restore"] {
            let link = dir.join(format!("{family}{action}"));
            symlink(&multi, &link).doing("link", link)?;
        }
    }
    Ok(())
}

/// The root of the image `base`, under Istio's images too.
pub(super) fn make_base(job: &Job, archive: &Archive) -> Result<(), StepError> {
    let root = job.dir.join("root");
    debian::unpack(job, archive, &archive.stable, BASE, &root)?;
    finish(&root, "istio-proxy:x:1337:1337:Istio proxy:/var/lib/istio:/usr/sbin/nologin\n", "istio-proxy:x:1337:\n")?;
    trust_authorities(&root)?;
    let sbin = root.join("usr/sbin");
    link_iptables(&sbin, "nft")?;
    works(
        job,
        &root,
        &[
            "/bin/sh",
            "-c",
            "iptables --version && getent passwd nobody && curl --version && ip -V && awk 'BEGIN { exit 0 }'",
        ],
    )
}

/// The root of the image `mysql`.
pub(super) fn make_mysql(job: &Job, archive: &Archive) -> Result<(), StepError> {
    let root = job.dir.join("root");
    debian::unpack(job, archive, UNSTABLE, MYSQL, &root)?;
    finish(
        &root,
        &format!("mysql:x:{MYSQL_ID}:{MYSQL_ID}:MySQL Server:/var/lib/mysql:/usr/sbin/nologin\n"),
        &format!("mysql:x:{MYSQL_ID}:\n"),
    )?;
    let data = root.join("var/lib/mysql");
    fs::create_dir_all(&data).doing("create", &data)?;
    chown(&data, Some(MYSQL_ID), Some(MYSQL_ID)).doing("give to the server's user", data)?;
    works(
        job,
        &root,
        &[
            "/bin/sh",
            "-c",
            "mysqld --no-defaults --version && mysql --version && getent passwd nobody && awk 'BEGIN { exit 0 }'",
        ],
    )
}

/// A data directory as a server has it after its first start, without its identity.
pub(super) fn make_template(job: &Job, mysql_root: &Path) -> Result<(), StepError> {
    // The server writes below its root; the finished root's files are only linked, so its directories stay as they are.
    let root = job.dir.join("chroot");
    let mut copy = nice("cp");
    copy.args(["-a", "--link"]).arg(mysql_root).arg(&root);
    job.run("link the root", &mut copy, CHECK_DEADLINE)?;
    let data = root.join("template");
    fs::create_dir(&data).doing("create", &data)?;
    chown(&data, Some(MYSQL_ID), Some(MYSQL_ID)).doing("give to the server's user", &data)?;
    let mut initialize = nice("chroot");
    initialize
        .arg(format!("--userspec={MYSQL_ID}:{MYSQL_ID}"))
        .arg("--groups=")
        .arg(&root)
        .arg("/usr/sbin/mysqld")
        .args(INITIALIZE);
    job.run("initialise a data directory", &mut initialize, INITIALIZE_DEADLINE)?;
    // Each server makes its own UUID when it finds none.
    let identity = data.join("auto.cnf");
    fs::remove_file(&identity).doing("remove", identity)?;
    let place = job.dir.join("root").join(TEMPLATE);
    let parent = place.parent().unwrap_or(&place).to_owned();
    fs::create_dir_all(&parent).doing("create", parent)?;
    fs::rename(&data, &place).doing("move", &data)?;
    remove(&root)
}

/// What the packages' own scripts would have done: accounts, name lookups, a shell, awk.
fn finish(root: &Path, users: &str, groups: &str) -> Result<(), StepError> {
    let etc = root.join("etc");
    for (name, more) in [("passwd", users), ("group", groups)] {
        let master = root.join(format!("usr/share/base-passwd/{name}.master"));
        let text = fs::read_to_string(&master).doing("read", master)?;
        fs::write(etc.join(name), text + more).doing("write", etc.join(name))?;
    }
    let names = root.join("usr/share/libc-bin/nsswitch.conf");
    let names = if names.exists() {
        fs::read_to_string(&names).doing("read", names)?
    } else {
        "passwd: files\ngroup: files\nhosts: files dns\n".to_owned()
    };
    fs::write(etc.join("nsswitch.conf"), names).doing("write", etc.join("nsswitch.conf"))?;
    for (link, target) in [("sh", "dash"), ("awk", "mawk")] {
        let link = root.join("usr/bin").join(link);
        if fs::symlink_metadata(&link).is_err() {
            symlink(target, &link).doing("link", link)?;
        }
    }
    Ok(())
}

/// One file with all certificate authorities, as `update-ca-certificates` makes it.
fn trust_authorities(root: &Path) -> Result<(), StepError> {
    let source = root.join("usr/share/ca-certificates/mozilla");
    let mut certificates: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(&source).doing("list", &source)? {
        certificates.push(entry.doing("list", &source)?.path());
    }
    certificates.sort();
    let dir = root.join("etc/ssl/certs");
    fs::create_dir_all(&dir).doing("create", &dir)?;
    let bundle = dir.join("ca-certificates.crt");
    let mut out = fs::File::create(&bundle).doing("create", &bundle)?;
    for path in certificates {
        let text = fs::read(&path).doing("read", path)?;
        out.write_all(&text).doing("write", &bundle)?;
    }
    Ok(())
}

/// Runs something in the finished root: a link or library that is missing shows here, not in a pod.
fn works(job: &Job, root: &Path, command: &[&str]) -> Result<(), StepError> {
    let mut inside = Command::new("chroot");
    inside
        .arg(root)
        .args(command)
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    job.run("try the unpacked programs", &mut inside, CHECK_DEADLINE)
}
