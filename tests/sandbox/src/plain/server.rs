//! One server of a pair: its data directory, its process, its accounts, and SQL on it as root.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use procfs::process::all_processes;
use tokio::io::AsyncWriteExt as _;
use walkdir::WalkDir;

use super::{End, Plain, Stay, own};
use crate::{
    cache::Cache,
    prepare::root::{MYSQL_ID, TEMPLATE},
    reexec::{self, Confined, Task},
    world::{Account, Proc, While, WorldError, files, make_accounts, quoted},
};

/// Where containerd has the unpacked layers of the images.
const LAYERS: &str = "root/io.containerd.snapshotter.v1.overlayfs/snapshots";
/// No statement of the sandbox takes longer.
const SQL_DEADLINE: Duration = Duration::from_mins(1);

/// The privileges of each account, exactly what pxc-link says that it needs; a test holds them against its list.
#[derive(Debug, Clone, Copy)]
pub struct Grants {
    /// Reads the source.
    pub source: &'static [&'static str],
    /// Reads the replica and runs the channel's statements.
    pub replica: &'static [&'static str],
    /// The channel logs in with it.
    pub replication: &'static [&'static str],
}

impl Grants {
    /// Of every pair.
    pub const LEAST: Self = Self {
        source: &[],
        replica: &["REPLICATION_SLAVE_ADMIN ON *.*", "RELOAD ON *.*", "SELECT ON performance_schema.*"],
        replication: &["REPLICATION SLAVE ON *.*"],
    };
}

/// The prepared MySQL: the root with its programs, and the data directory that a new server starts from.
pub(super) fn programs(cache: &Cache) -> Result<(PathBuf, PathBuf), WorldError> {
    let layers = cache.part("images").join(LAYERS);
    let with = |path: &str| root_with(&layers, path);
    let template = with(TEMPLATE).map(|root| root.join(TEMPLATE));
    with("usr/sbin/mysqld").zip(template).ok_or(WorldError::NotPrepared)
}

/// The root of an unpacked layer that has a file.
fn root_with(layers: &Path, path: &str) -> Option<PathBuf> {
    let mut roots = fs::read_dir(layers).into_iter().flatten().flatten().map(|entry| entry.path().join("fs"));
    roots.find(|root| root.join(path).exists())
}

/// Every server whose directory is below `dir`, recorded or not.
pub(super) fn running_below(dir: &Path) -> Vec<Proc> {
    let Ok(processes) = all_processes() else { return Vec::new() };
    let below = |argument: &String| {
        argument.strip_prefix("--defaults-file=").is_some_and(|file| Path::new(file).starts_with(dir))
    };
    let servers = processes.flatten().filter(|process| process.cmdline().is_ok_and(|line| line.iter().any(below)));
    servers.filter_map(|process| Proc::of(process.pid)).collect()
}

impl Plain {
    /// Runs SQL as root on a server and returns its rows, tab-separated, without heads.
    pub async fn sql(&self, end: End, sql: &str) -> Result<String, WorldError> {
        self.query(end, self.port(end), sql).await
    }

    /// Runs a script in the directory of a server, as the servers' user and with the programs of their image.
    pub async fn shell(&self, end: End, script: &str) -> Result<String, WorldError> {
        self.shell_in(&self.image, end, script).await
    }

    /// The same with the programs of the image that has one of them, such as `usr/bin/openssl`.
    pub async fn shell_with(&self, program: &str, end: End, script: &str) -> Result<String, WorldError> {
        let layers = self.image.parent().and_then(Path::parent).ok_or(WorldError::NotPrepared)?;
        let image = root_with(layers, program).ok_or(WorldError::NotPrepared)?;
        self.shell_in(&image, end, script).await
    }

    async fn shell_in(&self, image: &Path, end: End, script: &str) -> Result<String, WorldError> {
        let argv = ["sh", "-euc", script].map(str::to_owned).into();
        let output = tokio::time::timeout(SQL_DEADLINE, async {
            let mut command = self.confined(image, &self.home(end), argv)?;
            command.stdin(Stdio::null()).kill_on_drop(true).output().await
        });
        let output = output.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        judged(&output.while_doing(|| format!("run a script on the {end}"))?, &format!("sh on the {end}"))
    }

    pub(super) fn accounts(&self, end: End) -> PathBuf {
        self.home(end).join("accounts.sql")
    }

    /// A directory of a server that was never started.
    pub(super) fn make_server(&self, end: End, template: &Path) -> Result<(), WorldError> {
        let home = self.home(end);
        copy(template, &home.join("data"))?;
        files::make_dir(&home.join("tmp"))?;
        let settings = format!(include_str!("my.cnf"), home = home.display(), server_id = end.server_id(),);
        for (name, text) in [("my.cnf", settings), ("accounts.sql", self.accounts_sql(end)), ("root.cnf", self.root())]
        {
            files::write(&home.join(name), &text)?;
            own(&home.join(name))?;
        }
        for dir in [home.join("tmp"), home.join("tls"), home] {
            own(&dir)?;
        }
        Ok(())
    }

    fn root(&self) -> String {
        format!("[client]\nuser=root\npassword={}\nprotocol=TCP\nhost=127.0.0.1\n", self.password(Account::Root))
    }

    /// The statements of a server's first start.
    fn accounts_sql(&self, end: End) -> String {
        let secret = |account: Account| quoted(self.password(account));
        let Grants { source, replica, replication } = Grants::LEAST;
        let mut sql = match end {
            End::Source => make_accounts(secret, &[(Account::PxcLink, source), (Account::Replication, replication)]),
            End::Replica => make_accounts(secret, &[(Account::PxcLink, replica)]),
        };
        // Both begin with no binary log and no GTID.
        sql.push("RESET BINARY LOGS AND GTIDS".to_owned());
        sql.push(String::new());
        sql.join(";\n")
    }

    /// Starts a server's process.
    pub(super) fn launch(&self, end: End, port: u16, options: &[&str]) -> Result<Proc, WorldError> {
        let home = self.home(end);
        let mut argv = vec!["mysqld".to_owned(), format!("--defaults-file={}", home.join("my.cnf").display())];
        argv.push(format!("--port={port}"));
        argv.extend(options.iter().map(ToString::to_string));
        let log = File::options().create(true).append(true).open(self.dir.join(format!("{end}.start.log")));
        let start = || {
            let mut command = self.confined(&self.image, &home, argv)?;
            let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log?).spawn()?;
            let id = child.id().and_then(|id| i32::try_from(id).ok());
            id.and_then(Proc::of).ok_or_else(|| io::Error::other("it ended at once"))
        };
        start().while_doing(|| format!("start mysqld of the {end}"))
    }

    pub(super) async fn query(&self, end: End, port: u16, sql: &str) -> Result<String, WorldError> {
        let home = self.home(end);
        let argv = ["mysql", &format!("--defaults-extra-file={}", home.join("root.cnf").display())]
            .into_iter()
            .chain([format!("--port={port}").as_str(), "--batch", "--raw", "--skip-column-names"])
            .map(str::to_owned)
            .collect();
        let run = async {
            let mut command = self.confined(&self.image, &home, argv)?;
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
            let mut child = command.spawn()?;
            if let Some(mut stdin) = child.stdin.take() {
                // A client that ended before it read everything has said why.
                let _ = stdin.write_all(format!("{sql}\n").as_bytes()).await;
            }
            child.wait_with_output().await
        };
        let output =
            tokio::time::timeout(SQL_DEADLINE, run).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        judged(&output.while_doing(|| format!("run SQL on the {end}"))?, &format!("mysql on the {end}"))
    }

    fn confined(&self, image: &Path, home: &Path, argv: Vec<String>) -> io::Result<tokio::process::Command> {
        let parent = (self.stay == Stay::WithMe).then(|| i32::try_from(std::process::id()).unwrap_or_default());
        let task = Confined { image: image.to_owned(), dir: home.to_owned(), id: MYSQL_ID, argv, parent };
        Ok(reexec::command(&Task::Confined(task))?.into())
    }
}

/// What a program printed, if it ended well.
fn judged(output: &Output, program: &str) -> Result<String, WorldError> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let seen = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(WorldError::Program { program: program.to_owned(), seen })
}

/// Copies a directory with everything in it, for the servers' user.
fn copy(from: &Path, to: &Path) -> Result<(), WorldError> {
    for entry in WalkDir::new(from) {
        let entry = entry.map_err(io::Error::from).while_doing(|| format!("read {}", from.display()))?;
        let target = to.join(entry.path().strip_prefix(from).unwrap_or(entry.path()));
        if entry.file_type().is_dir() {
            files::make_dir(&target)?;
        } else {
            fs::copy(entry.path(), &target).while_doing(|| format!("copy {}", entry.path().display()))?;
        }
        own(&target)?;
    }
    Ok(())
}
