//! What of the machine a world could change: taken before and after, and compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use sandbox::cache::Cache;
use sandbox::world::{self, Cluster, World};
use walkdir::WalkDir;

/// Settings that count or change by themselves.
const MOVING: [&str; 13] = [
    "fs/dentry-state",
    "fs/file-nr",
    "fs/inode-nr",
    "fs/inode-state",
    "fs/aio-nr",
    "fs/quota/",
    "kernel/ns_last_pid",
    "kernel/random/",
    "kernel/pty/nr",
    "net/netfilter/nf_conntrack_count",
    "kernel/keys/",
    "vm/stat_refresh",
    "kernel/tainted",
];

/// Where a process of a node could leave files.
const PLACES: [&str; 6] = ["/etc", "/run", "/var/lib", "/var/log", "/opt", "/tmp"];

/// What a file of the sandbox in a shared directory has in its name.
const OURS: [&str; 8] = ["pxl", "pxc", "kube", "containerd", "cni", "istio", "etcd", "netns"];

/// The machine at one moment, without what belongs to worlds of other names.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// Facts by kind; a difference in any of them is a leak.
    facts: BTreeMap<&'static str, BTreeSet<String>>,
}

impl Snapshot {
    /// Looks at the machine. `own` are the worlds whose traces count.
    pub(crate) fn take(cache: &Cache, own: &[&str]) -> Self {
        let others = Others::of(cache, own);
        let mut facts = BTreeMap::new();
        let mut add = |kind, all: Vec<String>| {
            facts.insert(kind, all.into_iter().filter(|fact| !others.has(fact)).collect());
        };
        add("processes", processes(cache, own));
        add("mounts", lines("/proc/self/mountinfo").iter().map(|line| without_ids(line)).collect());
        add("links", names("/sys/class/net"));
        add("routes", lines("/proc/net/route").iter().map(|line| squeezed(line)).collect());
        add("addresses", addresses());
        add("settings", settings());
        add("cgroups", cgroups());
        add("files", files(cache));
        Self { facts }
    }

    /// What is in one and not in the other, as lines.
    pub(crate) fn difference(&self, after: &Self) -> Vec<String> {
        let mut all = Vec::new();
        for (kind, before) in &self.facts {
            let after = &after.facts[kind];
            if *kind == "settings" {
                all.extend(changed_settings(before, after));
                continue;
            }
            all.extend(before.difference(after).map(|fact| format!("{kind}: gone: {fact}")));
            all.extend(after.difference(before).map(|fact| format!("{kind}: left: {fact}")));
        }
        all
    }

    /// How many facts of a kind there are; a comparison of nothing with nothing would prove nothing.
    pub(crate) fn count(&self, kind: &str) -> usize {
        self.facts.get(kind).map_or(0, BTreeSet::len)
    }
}

/// Settings that were there before and differ. New ones may come with a kernel module that the kernel loaded by itself;
/// those of a link that stayed are found with the links.
fn changed_settings(before: &BTreeSet<String>, after: &BTreeSet<String>) -> Vec<String> {
    let split = |fact: &String| fact.split_once(" = ").map(|(name, value)| (name.to_owned(), value.to_owned()));
    let after: BTreeMap<_, _> = after.iter().filter_map(split).collect();
    before
        .iter()
        .filter_map(split)
        .filter(|(name, value)| after.get(name) != Some(value))
        .map(|(name, value)| format!("settings: {name} was {value}, is {:?}", after.get(&name)))
        .collect()
}

/// Marks of worlds that people have up beside the tests.
struct Others(Vec<String>);

impl Others {
    fn of(cache: &Cache, own: &[&str]) -> Self {
        let marks = world::list(cache).into_iter().filter(|name| !own.contains(&name.as_str())).flat_map(|name| {
            let index = World::open(cache, &name).ok().map(|world| world.node_address(Cluster::Production).octets()[2]);
            let marks = index.map(|index| {
                // An interface as a whole word, as a folder of settings, a cgroup, an address, and a route in hexadecimal.
                [
                    format!("pxl{index} "),
                    format!("/pxl{index}/"),
                    format!("pxl-{index}-"),
                    format!("198.18.{index}."),
                    format!("00{index:02X}12C6"),
                ]
            });
            marks.into_iter().flatten().chain([format!("/worlds/{name}/")])
        });
        Self(marks.collect())
    }

    fn has(&self, fact: &str) -> bool {
        let fact = format!("{fact} ");
        self.0.iter().any(|mark| fact.contains(mark))
    }
}

/// Processes that name a world's directory or are in its cgroups.
fn processes(cache: &Cache, own: &[&str]) -> Vec<String> {
    let marks: Vec<_> =
        own.iter().flat_map(|name| [format!("{}/", cache.world(name).display()), format!("-{name}.")]).collect();
    names("/proc")
        .into_iter()
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        .filter_map(|pid| {
            let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            let text = String::from_utf8_lossy(&[read("cmdline"), read("cgroup")].concat()).replace('\0', " ");
            marks.iter().any(|mark| text.contains(mark)).then(|| format!("{pid} {text}"))
        })
        .collect()
}

fn cgroups() -> Vec<String> {
    let path = |entry: walkdir::DirEntry| entry.path().display().to_string();
    let all = WalkDir::new("/sys/fs/cgroup").into_iter().flatten().filter(|entry| entry.file_type().is_dir()).map(path);
    // Other programs make groups all the time, but none of these names.
    all.filter(|path| path.contains("/pxl-") || path.contains("kubepods") || path.contains("k8s.io")).collect()
}

fn settings() -> Vec<String> {
    WalkDir::new("/proc/sys")
        .into_iter()
        .flatten()
        .filter(|entry| entry.file_type().is_file())
        .filter_map(|entry| {
            let name = entry.path().strip_prefix("/proc/sys").ok()?.to_str()?.to_owned();
            if MOVING.iter().any(|moving| name.starts_with(moving)) {
                return None;
            }
            let value = fs::read_to_string(entry.path()).ok()?;
            Some(format!("/{name} = {}", squeezed(&value)))
        })
        .collect()
}

/// Leaves of the routing table's tree: every local address, with its network's first and last.
fn addresses() -> Vec<String> {
    let leaves = lines("/proc/net/fib_trie").into_iter().filter_map(|line| Some(line.split_once("|-- ")?.1.to_owned()));
    leaves
        .chain(lines("/proc/net/if_inet6").iter().filter(|line| !line.starts_with("fe80")).map(|line| squeezed(line)))
        .collect()
}

fn files(cache: &Cache) -> Vec<String> {
    PLACES
        .iter()
        .flat_map(|place| WalkDir::new(place).max_depth(3).into_iter().flatten())
        .filter(|entry| !entry.path().starts_with(cache.root()))
        .filter(|entry| {
            // Only what is named like the sandbox: other programs work in these directories too.
            let relative = PLACES.iter().find_map(|place| entry.path().strip_prefix(place).ok());
            let name = relative.unwrap_or(Path::new("")).display().to_string();
            let build = entry.path().starts_with("/tmp") && name.contains("target");
            !build && OURS.iter().any(|ours| name.contains(ours))
        })
        .map(|entry| entry.path().display().to_string())
        .chain(kubectl_cache())
        .collect()
}

/// What kubectl keeps of the API servers of worlds in the user's own folder.
fn kubectl_cache() -> Vec<String> {
    let home = std::env::var("HOME").unwrap_or_default();
    names(&format!("{home}/.kube/cache/discovery")).into_iter().filter(|name| name.starts_with("198.18.")).collect()
}

fn names(dir: &str) -> Vec<String> {
    fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

fn lines(path: &str) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A mount without its ids, which are never the same twice.
fn without_ids(line: &str) -> String {
    line.split_whitespace().skip(2).collect::<Vec<_>>().join(" ")
}
