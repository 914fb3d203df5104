//! The lock of a link: a Lease in the replica's namespace, renewed while it is held.
//!
//! The holder is written as host, boot id with pid namespace, and pid, so that a run on this host sees at once that another was
//! killed and takes its lock over. Every write carries the version that was read: of two runs that try at once, one is refused by the API server.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, ObjectMeta, PostParams, Preconditions},
};
use tokio::{task::AbortHandle, time::Instant};

use super::{Cluster, K8sError, apply::MANAGER, observe::LINK_LABEL};
use crate::{domain::facts::LeaseFacts, wait::Deadline};

/// How long a renewal lasts.
pub const DURATION: Duration = Duration::from_secs(30);
/// Between two renewals: two may fail before the lock is lost.
const RENEWAL: Duration = Duration::from_secs(10);

/// The name of a link's Lease.
pub fn name(link: &str) -> String {
    format!("pxc-link-{link}")
}

/// The link's Lease as it is; `None` where there is none.
///
/// # Errors
/// Any of [`K8sError`].
pub async fn facts(cluster: &Cluster, link: &str, deadline: Deadline) -> Result<Option<LeaseFacts>, K8sError> {
    let found = get(cluster, &name(link), deadline).await?;
    Ok(found.map(|lease| {
        let spec = lease.spec.unwrap_or_default();
        LeaseFacts {
            holder: spec.holder_identity.filter(|holder| !holder.is_empty()),
            renewed: spec.renew_time.map(|time| time.0),
            duration_seconds: spec.lease_duration_seconds,
        }
    }))
}

/// What came of trying to take a lock.
#[derive(Debug)]
pub enum Attempt {
    /// It is this run's.
    Taken(Held),
    /// Its holder seems to have died: it may be taken once it was watched for [`DURATION`] and not renewed.
    Expired {
        /// The holder, as [`Holder`] writes it.
        holder: String,
        /// Which writing of the Lease this is.
        version: String,
        /// Seconds since it was renewed, by this host's clock.
        age_seconds: i64,
    },
}

/// Takes the link's lock: makes the Lease, or takes it over when it was released, its holder is a process of this host that
/// ended, or it expired and is still the version that was watched. Another host's clock may be wrong: what counts is that nobody
/// renews it while this run looks on (as client-go's leader election does).
///
/// # Errors
/// `Locked` when another run holds it, or no time is left to watch it, and whatever a request can fail with.
pub async fn acquire(
    cluster: &Cluster,
    link: &str,
    watched: Option<&str>,
    deadline: Deadline,
) -> Result<Attempt, K8sError> {
    let (name, me) = (name(link), Holder::me());
    loop {
        let found = get(cluster, &name, deadline).await?;
        let created = found.is_none();
        let written = match found {
            None => create(cluster, &name, link, &me, deadline).await,
            Some(lease) => {
                let version = lease.resource_version().unwrap_or_default();
                match state(&lease, &me, Timestamp::now(), Holder::ended) {
                    State::Free => {}
                    State::Held => return Err(locked(cluster, &name, &lease)),
                    State::Expired if watched == Some(&version) => {}
                    State::Expired if deadline.left() < DURATION => return Err(locked(cluster, &name, &lease)),
                    State::Expired => {
                        let (holder, age_seconds) = holder_of(&lease);
                        return Ok(Attempt::Expired { holder, version, age_seconds });
                    }
                }
                replace(cluster, &held_by(lease, Some(&me.to_string())), deadline).await
            }
        };
        match written {
            Ok(lease) => return Ok(Attempt::Taken(Held::keep(cluster.clone(), lease, created))),
            Err(K8sError::Changed { .. }) => {}
            Err(error) => return Err(error),
        }
    }
}

/// A lock that is held and renewed until it is released; a dropped one is no longer renewed and is free to a run of this host
/// once this process has ended.
#[derive(Debug)]
pub struct Held {
    cluster: Cluster,
    name: String,
    created: bool,
    kept: Arc<Mutex<Kept>>,
    renewal: AbortHandle,
}

/// The lock as it was last written.
#[derive(Debug)]
struct Kept {
    lease: Lease,
    at: Instant,
    lost: Option<String>,
}

impl Kept {
    fn is_stale(&self, now: Timestamp) -> bool {
        let renewed = self.lease.spec.as_ref().and_then(|spec| spec.renew_time.as_ref());
        renewed.is_none_or(|time| now.duration_since(time.0).unsigned_abs() > DURATION)
    }
}

impl Held {
    fn keep(cluster: Cluster, lease: Lease, created: bool) -> Self {
        let name = lease.name_any();
        let kept = Arc::new(Mutex::new(Kept { lease, at: Instant::now(), lost: None }));
        let renewal = tokio::spawn(renew(cluster.clone(), kept.clone())).abort_handle();
        Self { cluster, name, created, kept, renewal }
    }

    /// Whether the lock is still this run's; asked before every step that writes.
    ///
    /// # Errors
    /// `LockLost` when somebody else wrote the Lease or no renewal succeeded for 30 s.
    pub fn check(&self) -> Result<(), K8sError> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let detail = match &kept.lost {
            Some(detail) => detail.clone(),
            // The monotonic clock stands still while a machine sleeps; the lease does not.
            None if kept.at.elapsed() > DURATION || kept.is_stale(Timestamp::now()) => {
                "no renewal succeeded for 30 s".into()
            }
            None => return Ok(()),
        };
        Err(K8sError::LockLost {
            target: self.cluster.target(),
            namespace: self.cluster.namespace().to_owned(),
            lease: self.name.clone(),
            detail,
        })
    }

    /// Gives the lock back: deletes the Lease if this run made it, else leaves it without a holder.
    ///
    /// # Errors
    /// Whatever a request can fail with; a Lease that somebody else has taken meanwhile is left alone and is no error.
    pub async fn release(self, deadline: Deadline) -> Result<(), K8sError> {
        let created = self.created;
        self.give_back(created, deadline).await
    }

    /// Deletes the Lease, whoever made it; the end of a link.
    ///
    /// # Errors
    /// As [`Held::release`].
    pub async fn delete(self, deadline: Deadline) -> Result<(), K8sError> {
        self.give_back(true, deadline).await
    }

    async fn give_back(self, delete: bool, deadline: Deadline) -> Result<(), K8sError> {
        self.renewal.abort();
        // A renewal may have been under way, so the version is read anew; the holder says whether it is still ours.
        let Some(lease) = get(&self.cluster, &self.name, deadline).await? else { return Ok(()) };
        let mine = Holder::me().to_string();
        if lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_ref()) != Some(&mine) {
            return Ok(());
        }
        let given = if delete {
            let api: Api<Lease> = Api::namespaced(self.cluster.client(), self.cluster.namespace());
            let unchanged = DeleteParams::default()
                .preconditions(Preconditions { uid: lease.uid(), resource_version: lease.resource_version() });
            let what = format!("deleting Lease {}", self.name);
            self.cluster.call(&what, deadline, api.delete(&self.name, &unchanged)).await.map(drop)
        } else {
            replace(&self.cluster, &held_by(lease, None), deadline).await.map(drop)
        };
        match given {
            Err(K8sError::Changed { .. } | K8sError::NotFound { .. }) => Ok(()),
            other => other,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

async fn renew(cluster: Cluster, kept: Arc<Mutex<Kept>>) {
    loop {
        tokio::time::sleep(RENEWAL).await;
        let mut lease = kept.lock().unwrap_or_else(PoisonError::into_inner).lease.clone();
        if let Some(spec) = &mut lease.spec {
            spec.renew_time = Some(MicroTime(Timestamp::now()));
        }
        let mut written = replace(&cluster, &lease, Deadline::after(RENEWAL)).await;
        if matches!(written, Err(K8sError::Changed { .. })) {
            // A renewal whose answer was lost changed it, too: what counts is who holds it now.
            let holder = |lease: &Lease| lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone());
            if let Ok(Some(now)) = get(&cluster, &lease.name_any(), Deadline::after(RENEWAL)).await
                && holder(&now) == holder(&lease)
            {
                written = Ok(now);
            }
        }
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        match written {
            Ok(lease) => {
                kept.lease = lease;
                kept.at = Instant::now();
            }
            Err(K8sError::Changed { .. } | K8sError::NotFound { .. }) => {
                kept.lost = Some("somebody else has written or deleted the Lease".into());
                return;
            }
            // Tried again at the next turn; the time since the last success decides.
            Err(error) => tracing::debug!(%error, "the lock was not renewed"),
        }
    }
}

async fn get(cluster: &Cluster, name: &str, deadline: Deadline) -> Result<Option<Lease>, K8sError> {
    let api: Api<Lease> = Api::namespaced(cluster.client(), cluster.namespace());
    cluster.call(&format!("reading Lease {name}"), deadline, api.get_opt(name)).await
}

async fn create(cluster: &Cluster, name: &str, link: &str, me: &Holder, deadline: Deadline) -> Result<Lease, K8sError> {
    let api: Api<Lease> = Api::namespaced(cluster.client(), cluster.namespace());
    let labels = [("app.kubernetes.io/managed-by", MANAGER), (LINK_LABEL, link)];
    let lease = Lease {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
            ..ObjectMeta::default()
        },
        spec: None,
    };
    let lease = held_by(lease, Some(&me.to_string()));
    let parameters = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
    cluster.call(&format!("creating Lease {name}"), deadline, api.create(&parameters, &lease)).await
}

/// Writes a Lease; refused when it changed since it was read, since it carries its version.
async fn replace(cluster: &Cluster, lease: &Lease, deadline: Deadline) -> Result<Lease, K8sError> {
    let api: Api<Lease> = Api::namespaced(cluster.client(), cluster.namespace());
    let name = lease.meta().name.clone().unwrap_or_default();
    let parameters = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
    cluster.call(&format!("writing Lease {name}"), deadline, api.replace(&name, &parameters, lease)).await
}

/// The Lease with another holder, or with none.
fn held_by(mut lease: Lease, holder: Option<&str>) -> Lease {
    let before = lease.spec.take().unwrap_or_default();
    let now = MicroTime(Timestamp::now());
    lease.spec = Some(LeaseSpec {
        holder_identity: holder.map(ToOwned::to_owned),
        acquire_time: holder.is_some().then(|| now.clone()),
        renew_time: Some(now),
        lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
        lease_transitions: Some(before.lease_transitions.unwrap_or_default() + i32::from(holder.is_some())),
        ..before
    });
    lease
}

fn locked(cluster: &Cluster, name: &str, lease: &Lease) -> K8sError {
    let (holder, age_seconds) = holder_of(lease);
    K8sError::Locked {
        target: cluster.target(),
        namespace: cluster.namespace().to_owned(),
        lease: name.to_owned(),
        holder,
        age_seconds,
    }
}

/// The holder of a Lease, and the seconds since it was renewed.
fn holder_of(lease: &Lease) -> (String, i64) {
    let spec = lease.spec.clone().unwrap_or_default();
    let age = spec.renew_time.map_or(0, |time| Timestamp::now().as_second() - time.0.as_second());
    (spec.holder_identity.unwrap_or_default(), age)
}

/// Who holds a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Holder {
    host: String,
    boot: String,
    pid: u32,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.host, self.boot, self.pid)
    }
}

impl Holder {
    fn me() -> Self {
        let read = |path| std::fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
        // Containers of one host share its boot id, and some share its name: a pid means nothing outside its namespace.
        let namespace = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        let namespace: String = namespace.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
        Self {
            host: read("/proc/sys/kernel/hostname"),
            boot: format!("{}:{namespace}", read("/proc/sys/kernel/random/boot_id")),
            pid: std::process::id(),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.rsplitn(3, '/');
        let (pid, boot, host) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Self { host: host.to_owned(), boot: boot.to_owned(), pid: pid.parse().ok()? })
    }

    /// Whether this holder is a process beside mine that is no more. Another boot says nothing: hosts share names.
    fn ended(&self, me: &Self) -> bool {
        let beside = self.host == me.host && self.boot == me.boot;
        beside && !Path::new(&format!("/proc/{}", self.pid)).exists()
    }
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Free,
    Held,
    Expired,
}

/// Whether a Lease may be taken. A lock in my own name is that of an earlier process with my pid: I take a lock once.
fn state(lease: &Lease, me: &Holder, now: Timestamp, ended: impl Fn(&Holder, &Holder) -> bool) -> State {
    let spec = lease.spec.clone().unwrap_or_default();
    let Some(text) = spec.holder_identity.filter(|holder| !holder.is_empty()) else { return State::Free };
    if Holder::parse(&text).is_some_and(|holder| holder == *me || ended(&holder, me)) {
        return State::Free;
    }
    let lasts = i64::from(spec.lease_duration_seconds.unwrap_or_default());
    let fresh = spec.renew_time.is_some_and(|time| now.as_second() <= time.0.as_second() + lasts);
    if fresh { State::Held } else { State::Expired }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(host: &str, boot: &str, pid: u32) -> Holder {
        Holder { host: host.into(), boot: boot.into(), pid }
    }

    fn state_of(text: &str, renewed_seconds_ago: i64) -> State {
        let me = Holder::me();
        let now = Timestamp::now();
        let spec = LeaseSpec {
            holder_identity: Some(text.to_owned()),
            lease_duration_seconds: Some(30),
            renew_time: Some(MicroTime(Timestamp::from_second(now.as_second() - renewed_seconds_ago).unwrap())),
            ..LeaseSpec::default()
        };
        state(&Lease { spec: Some(spec), ..Lease::default() }, &me, now, Holder::ended)
    }

    #[test]
    fn a_holder_is_read_as_it_is_written() {
        let me = Holder::me();
        assert!(!me.host.is_empty() && me.boot.len() > 37);
        assert_eq!(Holder::parse(&me.to_string()), Some(me));
        assert_eq!(Holder::parse("somebody else"), None);
    }

    #[test]
    fn only_a_released_dead_or_expired_lock_may_be_taken() {
        let me = Holder::me();
        assert_eq!(state(&Lease::default(), &me, Timestamp::now(), Holder::ended), State::Free);
        // pid 1 lives; the highest pid that Linux gives is 4194304.
        assert_eq!(state_of(&holder(&me.host, &me.boot, 1).to_string(), 5), State::Held);
        assert_eq!(state_of(&holder(&me.host, &me.boot, 4_194_305).to_string(), 5), State::Free);
        assert_eq!(state_of(&holder(&me.host, "another boot", 1).to_string(), 5), State::Held);
        assert_eq!(state_of(&holder("elsewhere", &me.boot, 4_194_305).to_string(), 5), State::Held);
        assert_eq!(state_of(&holder("elsewhere", &me.boot, 1).to_string(), 31), State::Expired);
        assert_eq!(state_of("written by hand", 5), State::Held);
        assert_eq!(state_of(&me.to_string(), 5), State::Free);
    }

    #[test]
    fn giving_a_lock_back_keeps_the_count_of_takeovers() {
        let taken = held_by(held_by(Lease::default(), Some("a")), Some("b"));
        let given = held_by(taken, None).spec.unwrap();
        assert_eq!((given.holder_identity, given.lease_transitions), (None, Some(2)));
    }
}
