//! Two MySQL servers without Kubernetes: processes of this machine on ports of its own, raised in a second or two.

mod server;

use std::{
    collections::BTreeMap,
    fmt, fs,
    net::TcpListener,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

pub use server::Grants;

use crate::{
    cache::Cache,
    prepare::root::MYSQL_ID,
    world::{
        Account, Proc, While, WorldError, files,
        lock::{Lock, lock},
        passwords,
        pki::{Authority, Subject},
        valid_name,
        wait::Wait,
    },
};

/// How long another process that raises or removes the same pair is waited for.
const LOCK_DEADLINE: Duration = Duration::from_mins(1);
/// How long a server may take until it answers, on a machine that is busy with others.
const READY: Duration = Duration::from_mins(1);
/// How long the end of a server may take.
const END: Duration = Duration::from_secs(20);
/// Somebody else may take a free port before the server does.
const ATTEMPTS: u32 = 3;

/// One of the two servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// Where the data comes from.
    Source,
    /// Where it goes.
    Replica,
}

impl End {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Source, Self::Replica];

    /// Its name, and that of its directory.
    pub fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Replica => "replica",
        }
    }

    fn server_id(self) -> u32 {
        match self {
            Self::Source => 101,
            Self::Replica => 201,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How long a pair stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stay {
    /// Until it is taken down.
    Kept,
    /// Until the value goes, or the thread that raised it: its servers are killed with it.
    WithMe,
}

/// What is kept of a pair; holds its passwords, so it is never shown.
#[derive(Clone, Serialize, Deserialize)]
struct Record {
    /// By account name.
    passwords: BTreeMap<String, String>,
    servers: BTreeMap<End, ServerRecord>,
}

#[derive(Clone, Serialize, Deserialize)]
struct ServerRecord {
    port: u16,
    process: Option<Proc>,
}

/// A pair of servers, running or not.
pub struct Plain {
    dir: PathBuf,
    image: PathBuf,
    passwords: BTreeMap<String, String>,
    servers: Mutex<BTreeMap<End, ServerRecord>>,
    stay: Stay,
    /// Of one that goes with this value: keeps others out until then.
    lock: Option<Lock>,
}

/// Raises a pair with empty servers, in the place of one of that name that stands.
pub async fn raise(cache: &Cache, name: &str, stay: Stay) -> Result<Plain, WorldError> {
    let dir = dir_of(cache, name)?;
    let lock = lock(cache, &format!("plain-{name}"), LOCK_DEADLINE).await?;
    clear(&dir).await?;
    let (image, template) = server::programs(cache)?;
    files::make_dir(&dir)?;
    let mut plain = Plain { dir, image, passwords: passwords(), servers: Mutex::default(), stay, lock: None };
    plain.make_certificates()?;
    for end in End::ALL {
        plain.make_server(end, &template)?;
    }
    let (source, replica) = (plain.begin(End::Source), plain.begin(End::Replica));
    let (source, replica) = tokio::join!(source, replica);
    plain.servers = Mutex::new(BTreeMap::from([(End::Source, source?), (End::Replica, replica?)]));
    plain.save()?;
    // A pair that stays is guarded by its name again; one that goes with this value keeps others out until then.
    plain.lock = (stay == Stay::WithMe).then_some(lock);
    Ok(plain)
}

/// Ends and removes a pair. Says whether there was one.
pub async fn down(cache: &Cache, name: &str) -> Result<bool, WorldError> {
    let dir = dir_of(cache, name)?;
    let _lock = lock(cache, &format!("plain-{name}"), LOCK_DEADLINE).await?;
    let stood = dir.exists();
    clear(&dir).await?;
    Ok(stood)
}

/// Names of the pairs that have state in the cache, sorted.
pub fn list(cache: &Cache) -> Vec<String> {
    let entries = fs::read_dir(cache.plain()).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

fn dir_of(cache: &Cache, name: &str) -> Result<PathBuf, WorldError> {
    if valid_name(name) { Ok(cache.plain().join(name)) } else { Err(WorldError::Name(name.to_owned())) }
}

/// Ends whatever runs below a directory, recorded or not, and removes it.
async fn clear(dir: &Path) -> Result<(), WorldError> {
    if !dir.exists() {
        return Ok(());
    }
    end_all(&server::running_below(dir)).await?;
    fs::remove_dir_all(dir).while_doing(|| format!("remove {}", dir.display()))
}

async fn end_all(processes: &[Proc]) -> Result<(), WorldError> {
    for process in processes {
        process.signal(Signal::SIGKILL);
    }
    let wait = Wait { what: "the end of the servers".to_owned(), deadline: END, look: "ps".to_owned() };
    wait.until(async || match processes.iter().find(|process| process.alive()) {
        None => Ok(()),
        Some(process) => Err(format!("process {} still runs", process.pid)),
    })
    .await
}

impl Plain {
    /// The pair of that name, as it was left by [`raise`]. Says nothing of whether its servers run.
    pub fn open(cache: &Cache, name: &str) -> Result<Self, WorldError> {
        let dir = dir_of(cache, name)?;
        let record = files::read_json(&dir.join("plain.json"))?;
        let Record { passwords, servers } = record.ok_or_else(|| WorldError::NoPlain { name: name.to_owned() })?;
        let (image, _) = server::programs(cache)?;
        Ok(Self { dir, image, passwords, servers: Mutex::new(servers), stay: Stay::Kept, lock: None })
    }

    /// Its directory in the cache.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The port of a server on 127.0.0.1.
    pub fn port(&self, end: End) -> u16 {
        self.servers().get(&end).map_or(0, |server| server.port)
    }

    /// The password of an account, the same on both servers.
    pub fn password(&self, account: Account) -> &str {
        self.passwords.get(account.name()).map_or("", String::as_str)
    }

    /// The authority's certificate, at the path that both servers and this machine know it by.
    pub fn ca(&self) -> PathBuf {
        self.home(End::Replica).join("tls/ca.crt")
    }

    /// The error log of a server.
    pub fn log(&self, end: End) -> PathBuf {
        self.home(end).join("mysqld.log")
    }

    /// The process of a server, if it runs.
    pub fn process(&self, end: End) -> Option<Proc> {
        self.servers().get(&end)?.process.filter(Proc::alive)
    }

    /// A configuration of pxc-link with the pair as one link.
    pub fn configuration(&self, link: &str) -> String {
        format!(
            "apiVersion: pxc-link.io/v1alpha1\nkind: Links\nlinks:\n{}",
            self.link(link, "pxc_link", "repl", &format!("{{mode: verify-identity, ca: {}}}", self.ca().display()))
        )
    }

    /// A link of the configuration: its name, who reads both servers, who replicates, and the `tls:` of its channel.
    pub fn link(&self, name: &str, reader: &str, receiver: &str, tls: &str) -> String {
        let (source, replica) = (self.port(End::Source), self.port(End::Replica));
        format!(
            "  {name}:\n    source:\n      endpoints: [{{address: 127.0.0.1, port: {source}}}]\n      \
             account: {{user: {reader}, password: {{env: PXC_SOURCE_PASSWORD}}}}\n    replica:\n      \
             server: {{host: 127.0.0.1, port: {replica}}}\n      \
             account: {{user: {reader}, password: {{env: PXC_REPLICA_PASSWORD}}}}\n    replication:\n      \
             account: {{user: {receiver}, password: {{env: PXC_REPLICATION_PASSWORD}}}}\n      tls: {tls}\n"
        )
    }

    /// What pxc-link's process needs: the passwords of its accounts.
    pub fn environment(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            ("PXC_SOURCE_PASSWORD", self.password(Account::PxcLink).to_owned()),
            ("PXC_REPLICA_PASSWORD", self.password(Account::PxcLink).to_owned()),
            ("PXC_REPLICATION_PASSWORD", self.password(Account::Replication).to_owned()),
            ("PATH", std::env::var("PATH").unwrap_or_default()),
        ])
    }

    /// Ends a server at once. Says whether it ran.
    pub async fn kill(&self, end: End) -> Result<bool, WorldError> {
        self.stop(end, Signal::SIGKILL).await
    }

    /// Ends a server in order. Says whether it ran.
    pub async fn shut_down(&self, end: End) -> Result<bool, WorldError> {
        self.stop(end, Signal::SIGTERM).await
    }

    async fn stop(&self, end: End, signal: Signal) -> Result<bool, WorldError> {
        let Some(process) = self.process(end) else { return Ok(false) };
        process.signal(signal);
        let wait =
            Wait { what: format!("the end of the {end}"), deadline: END, look: self.log(end).display().to_string() };
        wait.until(async || if process.alive() { Err("it runs".to_owned()) } else { Ok(()) }).await?;
        Ok(true)
    }

    /// Starts a server unless it runs, with more options than it has by itself, and waits until it answers.
    pub async fn start(&self, end: End, options: &[&str]) -> Result<(), WorldError> {
        if self.process(end).is_some() {
            return Ok(());
        }
        // A server that ended and was not reaped yet looks to the next one like one that has the socket.
        for left in ["mysqld.sock", "mysqld.sock.lock"] {
            let _ = fs::remove_file(self.home(end).join("data").join(left));
        }
        let port = self.port(end);
        let process = self.launch(end, port, options)?;
        self.servers().insert(end, ServerRecord { port, process: Some(process) });
        self.save()?;
        self.ready(end, port, process).await
    }

    /// Whether all tables of a schema are the same on both servers, by the server's own checksums; `Err` says which are not.
    pub async fn same_tables(&self, schema: &str) -> Result<Result<(), String>, WorldError> {
        let list = format!(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = '{schema}' AND table_type = 'BASE TABLE' ORDER BY 1"
        );
        let mut sums = Vec::new();
        for end in End::ALL {
            let tables = self.sql(end, &list).await?;
            let names: Vec<String> = tables.lines().map(|table| format!("`{schema}`.`{table}`")).collect();
            let checksum = format!("CHECKSUM TABLE {}", names.join(", "));
            sums.push(if names.is_empty() { String::new() } else { self.sql(end, &checksum).await? });
        }
        Ok(if sums[0] == sums[1] && !sums[0].is_empty() {
            Ok(())
        } else {
            Err(format!("source:\n{}replica:\n{}", sums[0], sums[1]))
        })
    }

    /// The directory of a server, which both it and this machine know by the same path.
    pub fn home(&self, end: End) -> PathBuf {
        self.dir.join(end.name())
    }

    fn servers(&self) -> MutexGuard<'_, BTreeMap<End, ServerRecord>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn save(&self) -> Result<(), WorldError> {
        let record = Record { passwords: self.passwords.clone(), servers: self.servers().clone() };
        files::write_json(&self.dir.join("plain.json"), &record)
    }

    fn make_certificates(&self) -> Result<(), WorldError> {
        let authority = Authority::root("sandbox-mysql")?;
        for end in End::ALL {
            let tls = self.home(end).join("tls");
            files::make_dir(&tls)?;
            // Beside the server's own certificate one that has expired, and one that names another host.
            let mut made = vec![("ca.crt".to_owned(), authority.certificate.clone())];
            for (file, hosts, expired) in [
                ("tls", &["localhost", "127.0.0.1"][..], false),
                ("expired", &["127.0.0.1"], true),
                ("nameless", &["db.example"], false),
            ] {
                let alternatives = hosts.iter().map(ToString::to_string).collect();
                let pair = authority.leaf(Subject { name: end.name(), organization: None, alternatives, expired })?;
                made.extend([(format!("{file}.crt"), pair.certificate), (format!("{file}.key"), pair.key)]);
            }
            for (name, text) in made {
                let path = tls.join(name);
                files::write(&path, &text)?;
                own(&path)?;
            }
        }
        Ok(())
    }

    /// Takes a free port for a server and starts it for the first time.
    async fn begin(&self, end: End) -> Result<ServerRecord, WorldError> {
        let mut attempt = 1;
        loop {
            let listener = TcpListener::bind(("127.0.0.1", 0)).while_doing(|| "find a free port".to_owned())?;
            let port = listener.local_addr().while_doing(|| "find a free port".to_owned())?.port();
            drop(listener);
            let process = self.launch(end, port, &[&format!("--init-file={}", self.accounts(end).display())])?;
            match self.ready(end, port, process).await {
                Ok(()) => return Ok(ServerRecord { port, process: Some(process) }),
                Err(_) if attempt < ATTEMPTS && !process.alive() => attempt += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits until a server answers root.
    async fn ready(&self, end: End, port: u16, process: Proc) -> Result<(), WorldError> {
        let wait = Wait {
            what: format!("the {end} on port {port}"),
            deadline: READY,
            look: self.log(end).display().to_string(),
        };
        let answered = wait.until(async || {
            if !process.alive() {
                return Ok(false);
            }
            self.query(end, port, "SELECT 1").await.map(|_| true).map_err(|error| error.to_string())
        });
        if answered.await? {
            return Ok(());
        }
        let log = fs::read_to_string(self.log(end)).unwrap_or_default();
        let last: Vec<&str> = log.lines().rev().filter(|line| line.contains("[ERROR]")).take(2).collect();
        Err(WorldError::Program { program: format!("mysqld of the {end}"), seen: last.join("; ") })
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        if self.stay == Stay::WithMe {
            for process in server::running_below(&self.dir) {
                process.signal(Signal::SIGKILL);
            }
            // What is still there is removed by whoever raises the pair again.
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// Gives a file to the servers' user.
fn own(path: &Path) -> Result<(), WorldError> {
    chown(path, Some(MYSQL_ID), Some(MYSQL_ID)).while_doing(|| format!("give {} to the servers' user", path.display()))
}
