//! Worlds from one end to the other: two at once, healing, and what they leave behind. Needs root and the prepared
//! cache, which it fills if it must. `PXC_LINK_E2E=off` leaves them out and counts them as ignored.

mod snapshot;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sandbox::cache::Cache;
use sandbox::prepare::{self, Cancel, Prepared};
use sandbox::progress::Progress;
use sandbox::world::{self, Account, Cluster, NAMESPACE, World, WorldError, WorldOptions};

use snapshot::Snapshot;

/// Worlds of the tests' own.
const WIDE: &str = "test-wide";
const PLAIN: &str = "test-plain";
const NAMES: [&str; 2] = [WIDE, PLAIN];

/// The most a single trial may take, raising worlds included.
const TRIAL_DEADLINE: Duration = Duration::from_mins(6);

type Outcome = Result<(), Failed>;

/// What the trials share; made by the first that needs it.
struct Fixture {
    prepared: Prepared,
    before: Snapshot,
}

fn wide() -> WorldOptions {
    WorldOptions { name: WIDE.to_owned(), members: 2, nodes: 2, dns_capture: false, ..WorldOptions::default() }
}

fn plain() -> WorldOptions {
    WorldOptions { name: PLAIN.to_owned(), ..WorldOptions::default() }
}

fn main() -> ExitCode {
    sandbox::reexec::intercept();
    let mut arguments = Arguments::from_args();
    // The trials share their worlds, and the machine has few processors.
    arguments.test_threads = Some(1);
    let off = std::env::var("PXC_LINK_E2E").is_ok_and(|value| value == "off");
    let shared: Arc<Mutex<Option<Arc<Fixture>>>> = Arc::default();
    let trial = |name: &str, run: fn(Arc<Fixture>) -> Outcome| {
        let shared = Arc::clone(&shared);
        let test = Trial::test(name, move || {
            let fixture = fixture(&shared)?;
            run(fixture)
        });
        test.with_ignored_flag(off)
    };
    let trials = vec![
        trial("two_worlds_do_not_disturb_each_other", |fixture| run(two_worlds(fixture))),
        trial("members_and_nodes_are_as_asked_for", |fixture| run(members_and_nodes(fixture))),
        trial("the_user_pxc_link_is_no_administrator", |fixture| run(rights(fixture))),
        trial("without_dns_capture_the_name_is_unknown", |fixture| run(no_capture(fixture))),
        trial("a_node_reaches_nothing_outside", |fixture| run(enclosed(fixture))),
        trial("up_restarts_what_died", |fixture| run(heals(fixture))),
        trial("up_refuses_what_a_standing_world_cannot_become", |fixture| run(refuses(fixture))),
        trial("up_rebuilds_a_world_that_was_killed", |fixture| run(rebuilds(fixture))),
        trial("down_leaves_the_machine_as_it_was", |fixture| run(leaves_nothing(fixture))),
    ];
    let conclusion = libtest_mimic::run(&arguments, trials);
    if shared.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
        let gone = run(async {
            for name in NAMES {
                world::down(&Cache::of_user()?, name).await?;
            }
            Ok(())
        });
        if gone.is_err() {
            return ExitCode::FAILURE;
        }
    }
    conclusion.exit_code()
}

fn run(trial: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime
        .block_on(async { tokio::time::timeout(TRIAL_DEADLINE, trial).await })
        .unwrap_or_else(|_| Err(format!("no end after {TRIAL_DEADLINE:?}").into()))
}

fn fixture(shared: &Mutex<Option<Arc<Fixture>>>) -> Result<Arc<Fixture>, Failed> {
    let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(fixture) = &*shared {
        return Ok(Arc::clone(fixture));
    }
    let cache = Cache::of_user()?;
    let prepared = prepare::prepare(&cache, prepare::Options::default(), &Progress::new(), &Cancel::default())?;
    let mut made = None;
    run(async {
        // A run that was killed may have left them.
        for name in NAMES {
            world::down(&cache, name).await?;
        }
        let before = Snapshot::take(&cache, &NAMES);
        let begun = Instant::now();
        let progress = Progress::silent();
        let (one, other) = (wide(), plain());
        let raised = tokio::try_join!(world::up(&prepared, &one, &progress), world::up(&prepared, &other, &progress));
        made = Some(Arc::new(Fixture { prepared: prepared.clone(), before }));
        raised?;
        eprintln!("two worlds at once were up after {:.1} s", begun.elapsed().as_secs_f64());
        Ok(())
    })
    .inspect_err(|_| shared.clone_from(&made))?;
    shared.clone_from(&made);
    made.ok_or_else(|| "no fixture".into())
}

impl Fixture {
    fn cache(&self) -> &Cache {
        self.prepared.cache()
    }

    fn world(&self, name: &str) -> Result<World, WorldError> {
        World::open(self.cache(), name)
    }
}

async fn two_worlds(fixture: Arc<Fixture>) -> Outcome {
    let (wide, plain) = (fixture.world(WIDE)?, fixture.world(PLAIN)?);
    wide.mysql(Cluster::Production, 0, "CREATE DATABASE only_here").await?;
    let shown = plain.mysql(Cluster::Production, 0, "SHOW DATABASES").await?;
    assert!(shown.contains("performance_schema"), "{shown}");
    assert!(!shown.contains("only_here"), "{shown}");
    let mut uuids = BTreeSet::new();
    for world in [&wide, &plain] {
        for cluster in Cluster::ALL {
            uuids.insert(world.mysql(cluster, 0, "SELECT @@server_uuid").await?);
        }
    }
    assert_eq!(uuids.len(), 4, "{uuids:?}");
    assert_ne!(wide.node_address(Cluster::Dr), plain.node_address(Cluster::Dr));
    assert_ne!(wide.password(Account::Root), plain.password(Account::Root));
    wide.mysql(Cluster::Production, 0, "DROP DATABASE only_here; RESET BINARY LOGS AND GTIDS").await?;
    Ok(())
}

async fn members_and_nodes(fixture: Arc<Fixture>) -> Outcome {
    let world = fixture.world(WIDE)?;
    let mut server_ids = BTreeSet::new();
    for cluster in Cluster::ALL {
        let nodes = kubectl(&world, cluster, &["get", "nodes", "-o", "name"]).await?;
        assert_eq!(nodes.lines().count(), 2, "{nodes}");
        for member in 0..2 {
            server_ids.insert(world.mysql(cluster, member, "SELECT @@server_id").await?);
            assert_eq!(world.mysql(cluster, member, "SELECT @@gtid_executed").await?.trim(), "");
        }
        let seats = ["get", "pods", "-n", NAMESPACE, "-l", "app=pxc", "-o", "jsonpath={.items[*].spec.nodeName}"];
        let seats = kubectl(&world, cluster, &seats).await?;
        let seats: BTreeSet<_> = seats.split_whitespace().collect();
        assert_eq!(seats.len(), 2, "the members share a node, so nothing is shown of routes between nodes: {seats:?}");
        // The greeting of the other member, across the nodes: a server speaks first.
        let address = ["get", "pod", "-n", NAMESPACE, "pxc-1", "-o", "jsonpath={.status.podIP}"];
        let address = kubectl(&world, cluster, &address).await?;
        let script = format!("exec 3<>/dev/tcp/{address}/3306 && head -c 5 <&3 >/dev/null && echo greeted");
        let exec = ["exec", "-n", NAMESPACE, "pxc-0", "-c", "pxc", "--", "timeout", "10", "bash", "-c", &script];
        assert_eq!(kubectl(&world, cluster, &exec).await?.trim(), "greeted");
    }
    assert_eq!(server_ids.len(), 4, "{server_ids:?}");
    Ok(())
}

async fn rights(fixture: Arc<Fixture>) -> Outcome {
    let world = fixture.world(PLAIN)?;
    for cluster in Cluster::ALL {
        let can = |verb: &'static str, user: &'static [&'static str]| {
            let world = &world;
            async move {
                let args = [&["--context", cluster.name()], user, &["auth", "can-i", verb, "*", "-A"]].concat();
                let output = world.kubectl(&args).await?;
                Ok::<_, WorldError>(String::from_utf8_lossy(&output.stdout).trim().to_owned())
            }
        };
        assert_eq!(can("*", &[]).await?, "yes");
        assert_eq!(can("*", &["--as", "pxc-link"]).await?, "no");
        // A request of that user's own is in the log, under its name.
        let output = tokio::process::Command::new(fixture.prepared.bin("kubectl"))
            .envs(world.environment())
            .args(["--context", cluster.name(), "get", "clusterroles", "not-there-for-the-audit-log"])
            .output()
            .await?;
        assert!(String::from_utf8_lossy(&output.stderr).contains("\"pxc-link\""), "{output:?}");
        let log = std::fs::read_to_string(world.audit_log(cluster))?;
        let found = log.lines().any(|line| {
            line.contains("not-there-for-the-audit-log") && line.contains(r#""user":{"username":"pxc-link""#)
        });
        assert!(found, "no such request in {}", world.audit_log(cluster).display());
        // Nothing that is secret gets into the log.
        for account in Account::ALL {
            assert!(!log.contains(world.password(account)), "the password of {account} is in the audit log");
        }
    }
    Ok(())
}

async fn no_capture(fixture: Arc<Fixture>) -> Outcome {
    let entry = r#"{"apiVersion":"networking.istio.io/v1","kind":"ServiceEntry","metadata":{"name":"probe","namespace":"pxc"},
        "spec":{"hosts":["probe.sandbox.global"],"addresses":["240.9.9.9"],"location":"MESH_EXTERNAL","resolution":"STATIC",
        "ports":[{"number":3306,"name":"tcp","protocol":"TCP"}],"endpoints":[{"address":"198.18.255.254"}]}}"#;
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), entry)?;
    let file = file.path().display().to_string();
    for (name, expected) in [(PLAIN, true), (WIDE, false)] {
        let world = fixture.world(name)?;
        kubectl(&world, Cluster::Dr, &["apply", "-f", &file]).await?;
        // Time enough for the name to reach the sidecars; the other world shows that it would have been known by then.
        let look = "for i in $(seq 20); do getent hosts probe.sandbox.global && exit; sleep 0.5; done; echo unknown";
        let exec = ["exec", "-n", NAMESPACE, "pxc-0", "-c", "pxc", "--", "bash", "-c", look];
        let seen = kubectl(&world, Cluster::Dr, &exec).await?;
        kubectl(&world, Cluster::Dr, &["delete", "-f", &file]).await?;
        assert_eq!(seen.starts_with("240.9.9.9"), expected, "world {name}: {seen}");
    }
    Ok(())
}

async fn enclosed(fixture: Arc<Fixture>) -> Outcome {
    let world = fixture.world(PLAIN)?;
    let output = world.node_exec(Cluster::Production, &["cat", "/proc/net/route"]).await?;
    let routes = String::from_utf8(output.stdout)?;
    let default: Vec<_> = routes.lines().filter(|line| line.split_whitespace().nth(1) == Some("00000000")).collect();
    assert_eq!(default.len(), 1, "{routes}");
    assert!(default[0].starts_with("sink0"), "{routes}");
    Ok(())
}

async fn heals(fixture: Arc<Fixture>) -> Outcome {
    let world = fixture.world(PLAIN)?;
    let born = world.mysql(Cluster::Production, 0, "SELECT @@server_uuid").await?;
    let daemons = ["kube-proxy", "kubelet", "containerd", "kube-apiserver", "etcd"];
    for daemon in daemons {
        assert!(world.stop(Cluster::Production, daemon).await?, "{daemon} did not run");
    }
    assert!(world.pause(Cluster::Dr, "kube-apiserver")?);
    let dead: Vec<_> = world.status()?.into_iter().filter(|part| part.pid.is_none()).map(|part| part.part).collect();
    assert_eq!(dead.len(), daemons.len(), "{dead:?}");
    // Two at once: one waits for the other.
    let progress = Progress::silent();
    let options = plain();
    tokio::try_join!(
        world::up(&fixture.prepared, &options, &progress),
        world::up(&fixture.prepared, &options, &progress)
    )?;
    let status = world.status()?;
    assert!(status.iter().all(|part| part.pid.is_some()), "{status:?}");
    assert_eq!(world.mysql(Cluster::Production, 0, "SELECT @@server_uuid").await?, born);
    // The kubelet works again: a new pod gets an address.
    let args = ["run", "after", "--image=sandbox.local/base:1", "--image-pull-policy=Never", "--", "sleep", "600"];
    kubectl(&world, Cluster::Production, &args).await?;
    kubectl(&world, Cluster::Production, &["wait", "--for=condition=Ready", "pod/after", "--timeout=40s"]).await?;
    kubectl(&world, Cluster::Production, &["delete", "pod", "after", "--grace-period=0", "--force"]).await?;
    Ok(())
}

async fn refuses(fixture: Arc<Fixture>) -> Outcome {
    let progress = Progress::silent();
    let fewer = WorldOptions { nodes: 1, ..wide() };
    let said = world::up(&fixture.prepared, &fewer, &progress).await.err().map(|error| error.to_string());
    assert!(
        said.as_deref().is_some_and(|said| said.contains("--nodes 2") && said.contains("down --name test-wide")),
        "{said:?}"
    );
    let other = WorldOptions { dns_capture: false, ..plain() };
    let said = world::up(&fixture.prepared, &other, &progress).await.err().map(|error| error.to_string());
    assert!(said.as_deref().is_some_and(|said| said.contains("--dns on")), "{said:?}");
    let named = WorldOptions { name: "../up".to_owned(), ..plain() };
    assert!(matches!(world::up(&fixture.prepared, &named, &progress).await, Err(WorldError::Name(_))));
    Ok(())
}

async fn rebuilds(fixture: Arc<Fixture>) -> Outcome {
    let world = fixture.world(PLAIN)?;
    let old = world.mysql(Cluster::Dr, 0, "SELECT @@server_uuid").await?;
    // Everything at once, as a machine's out-of-memory killer or an operator might.
    let mark = format!("{}/", world.dir().display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&command).contains(&mark) {
            found.push(Pid::from_raw(pid));
        }
    }
    assert!(found.len() > 10, "only {} processes of the world were found", found.len());
    for pid in found {
        // Gone already when its node's init was killed before it.
        let _ = kill(pid, Signal::SIGKILL);
    }
    // Broken off in the middle, and again later: the next one goes on or clears up.
    let (options, progress) = (plain(), Progress::silent());
    for patience in [Duration::from_millis(400), Duration::from_secs(5)] {
        let broken_off = tokio::time::timeout(patience, world::up(&fixture.prepared, &options, &progress)).await;
        if let Ok(done) = broken_off {
            done?;
            return Err(format!("the world was up within {patience:?}, so nothing was broken off").into());
        }
    }
    world::up(&fixture.prepared, &options, &progress).await?;
    let world = fixture.world(PLAIN)?;
    let new = world.mysql(Cluster::Dr, 0, "SELECT @@server_uuid").await?;
    assert_ne!(new, old, "a rebuilt world has new servers");
    let status = world.status()?;
    assert!(status.iter().all(|part| part.pid.is_some()), "{status:?}");
    Ok(())
}

async fn leaves_nothing(fixture: Arc<Fixture>) -> Outcome {
    let cache = fixture.cache();
    let during = Snapshot::take(cache, &NAMES);
    // The snapshot sees what it is there to see.
    for kind in ["processes", "links", "routes", "addresses", "settings", "cgroups"] {
        assert!(during.count(kind) > fixture.before.count(kind), "{kind}: nothing of two standing worlds is seen");
    }
    for name in NAMES {
        assert!(world::down(cache, name).await?, "{name} did not stand");
        assert!(!cache.world(name).exists());
        assert!(!world::down(cache, name).await?, "a second down found {name} again");
    }
    let left = fixture.before.difference(&Snapshot::take(cache, &NAMES));
    assert!(left.is_empty(), "{}", left.join("\n"));
    Ok(())
}

async fn kubectl(world: &World, cluster: Cluster, args: &[&str]) -> Result<String, Failed> {
    let output = world.kubectl(&[&["--context", cluster.name()], args].concat()).await?;
    if output.status.success() {
        Ok(String::from_utf8(output.stdout)?)
    } else {
        Err(format!("kubectl {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim()).into())
    }
}
