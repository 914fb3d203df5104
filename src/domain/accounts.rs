//! The MySQL accounts of a link: on which side each is, what its logins must bring, and the least it may do.

use super::{
    check::Side,
    grants::{Grant, Role},
    spec::{Account, Ends, ReplicationLink, SecretRef, SourceLocation, Tls},
};

/// An account that a link needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeededAccount {
    /// On the servers of which side it is made.
    pub side: Side,
    /// What it does there, first what it is named after.
    pub roles: Vec<Role>,
    /// Its user name.
    pub user: String,
    /// Where its password is.
    pub password: SecretRef,
    /// What its logins must bring beside the password.
    pub require: Require,
}

/// What a login must bring beside a password, so that neither password nor rows cross a network in clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Require {
    /// Nothing: the configuration does without TLS.
    Nothing,
    /// TLS.
    Tls,
    /// TLS and a certificate.
    Certificate,
}

impl Require {
    /// The clause of `CREATE USER`.
    pub fn clause(self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::Tls => Some("REQUIRE SSL"),
            Self::Certificate => Some("REQUIRE X509"),
        }
    }
}

impl NeededAccount {
    /// What it is granted, each privilege once; with what a promotion needs, if it is to be able to.
    pub fn grants(&self, promotes: bool) -> Vec<Grant> {
        // The source is closed by whoever reads it.
        let promoting = self.roles.iter().filter(|role| promotes && **role != Role::Replication);
        let promoting = promoting.flat_map(|role| role.to_promote());
        once(self.roles.iter().flat_map(|role| role.grants()).chain(promoting))
    }

    /// What it may be granted beside that, each privilege once.
    pub fn optional(&self) -> Vec<Grant> {
        once(self.roles.iter().flat_map(|role| role.optional()))
    }
}

fn once<'a>(all: impl Iterator<Item = &'a Grant>) -> Vec<Grant> {
    let mut grants: Vec<Grant> = Vec::new();
    for grant in all {
        if !grants.contains(grant) {
            grants.push(*grant);
        }
    }
    grants
}

/// The accounts of a link, those of the source first; one that has several roles on a side is listed once.
pub fn needed(link: ReplicationLink<'_>) -> Vec<NeededAccount> {
    let replication = link.replication;
    let tls = if replication.tls == Tls::Disabled { Require::Nothing } else { Require::Tls };
    let channel = if replication.client_certificate.is_some() { Require::Certificate } else { tls };
    // Through a port-forward this tool always speaks TLS; straight to a source it speaks as the receiver does.
    let reader = if link.mesh().is_some() { Require::Tls } else { tls };
    let account = |side, role, account: &Account, require| NeededAccount {
        side,
        roles: vec![role],
        user: account.user.clone(),
        password: account.password.clone(),
        require,
    };
    let mut source = vec![account(Side::Source, Role::Replication, &replication.account, channel)];
    let read_by = replication.source_account.as_ref().unwrap_or(&replication.account);
    if read_by.user == replication.account.user {
        source[0].roles.push(Role::SourceReader);
    } else if reads_source(link) {
        source.push(account(Side::Source, Role::SourceReader, read_by, reader));
    }
    source.push(account(Side::Replica, Role::ReplicaAdmin, &replication.replica_account, Require::Tls));
    source
}

/// Whether this tool logs in at the source at all: with addresses behind a mesh name only, it does not.
fn reads_source(link: ReplicationLink<'_>) -> bool {
    match &link.ends {
        Ends::Servers(_) => true,
        Ends::Mesh(ends) => !matches!(ends.source, SourceLocation::Endpoints(_)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        sample::spec,
        spec::{ClientCertificate, ServiceSpec},
    };

    fn with(change: impl FnOnce(&mut crate::domain::spec::ReplicationSpec)) -> Vec<NeededAccount> {
        let mut spec = spec();
        let ServiceSpec::Replication(replication) = &mut spec.service else { panic!("{spec:?}") };
        change(replication);
        needed(spec.replication().unwrap())
    }

    #[test]
    fn each_account_is_on_its_side_and_tls_is_demanded_where_it_is_spoken() {
        let accounts = with(|replication| {
            replication.source_account = Some(Account { user: "reader".into(), ..replication.account.clone() });
        });
        let seen: Vec<_> = accounts.iter().map(|it| (it.side, it.roles.clone(), it.require)).collect();
        assert_eq!(
            seen,
            [
                (Side::Source, vec![Role::Replication], Require::Tls),
                (Side::Source, vec![Role::SourceReader], Require::Tls),
                (Side::Replica, vec![Role::ReplicaAdmin], Require::Tls),
            ]
        );
        let plain = with(|replication| replication.tls = Tls::Disabled);
        assert_eq!(plain[0].require, Require::Nothing);
        let client = ClientCertificate { cert: "/c.crt".into(), key: "/c.key".into() };
        let shown = with(|replication| replication.client_certificate = Some(client));
        assert_eq!(
            shown.iter().map(|it| it.require.clause()).collect::<Vec<_>>(),
            [Some("REQUIRE X509"), Some("REQUIRE SSL"), Some("REQUIRE SSL")]
        );
    }

    #[test]
    fn one_user_with_two_roles_is_one_account() {
        for source_account in [None, Some("repl")] {
            let accounts = with(|replication| {
                replication.account.user = "repl".into();
                replication.source_account =
                    source_account.map(|user| Account { user: user.into(), ..replication.account.clone() });
            });
            assert_eq!(accounts.len(), 2, "{accounts:?}");
            assert_eq!(accounts[0].roles, [Role::Replication, Role::SourceReader]);
            let phrases: Vec<String> = accounts[0].grants(false).iter().map(Grant::phrase).collect();
            assert_eq!(phrases, ["REPLICATION SLAVE ON *.*"]);
        }
    }
}
