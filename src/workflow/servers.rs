//! A link without a mesh: how this machine reaches its two servers, and what it gathers of them.

use std::path::Path;

use jiff::Timestamp;

use super::{
    session::{Session, no_mesh},
    sides::{Live, SERVER, Sides},
};
use crate::{
    domain::{
        check::Side,
        code::Code,
        facts::{ClientFacts, Facts, MemberFacts, MemberPlace, SourceFacts},
        hint::Hint,
        problem::{Fetched, Problem},
        spec::{ClientCertificate, ReplicationLink, ServerAddress, ServerEnds, Tls},
    },
    mysql::{Depth, Encryption, TlsFiles},
};

/// The ways from this machine to both servers.
pub(super) struct Direct {
    ends: ServerEnds,
    source: Encryption,
    /// As `source`, with the receiver's certificate.
    receiver: Encryption,
    /// How the source is spoken to, in words.
    pub(super) tls: String,
}

impl Direct {
    /// The source is spoken to as its receiver does, as far as this machine can: the files are the replica's, and only where this
    /// machine has the same are they used.
    pub(super) fn of(ends: &ServerEnds, link: Option<ReplicationLink<'_>>) -> Self {
        let is_here = |path: &str| Path::new(path).is_file();
        let (ca, tls) = match link.map(|link| &link.replication.tls) {
            None | Some(Tls::Disabled) => {
                let tls = "TLS disabled".to_owned();
                return Self { ends: ends.clone(), source: Encryption::None, receiver: Encryption::None, tls };
            }
            Some(Tls::Required) => (None, "TLS required".to_owned()),
            Some(Tls::VerifyIdentity { ca }) if is_here(ca) => {
                (Some(ca.into()), format!("TLS verify-identity by {ca}"))
            }
            Some(Tls::VerifyIdentity { ca } | Tls::VerifyCa { ca }) => {
                (None, format!("TLS, the certificate not checked against {ca} from here"))
            }
        };
        let source = TlsFiles { ca, identity: None };
        let certificate = link.and_then(|link| link.replication.client_certificate.as_ref());
        let (identity, tls) = match certificate {
            None => (None, tls),
            Some(ClientCertificate { cert, key }) if is_here(cert) && is_here(key) => {
                (Some((cert.into(), key.into())), format!("{tls}, as {cert}"))
            }
            Some(ClientCertificate { cert, .. }) => (None, format!("{tls}, without {cert}, which is not here")),
        };
        let receiver = Encryption::Tls(TlsFiles { identity, ..source.clone() });
        Self { ends: ends.clone(), source: Encryption::Tls(source), receiver, tls }
    }

    /// The way to the source with what its receiver shows.
    pub(super) fn receivers_way(&self) -> (&ServerAddress, &Encryption) {
        (&self.ends.source, &self.receiver)
    }

    /// The way to a side's server. That of the replica is encrypted, and whose certificate it has is not asked: the
    /// configuration names no authority for it.
    pub(super) fn way(&self, side: Side) -> (&ServerAddress, &Encryption) {
        match side {
            Side::Source => (&self.ends.source, &self.source),
            Side::Replica | Side::Client => (&self.ends.replica, &Encryption::UNVERIFIED),
        }
    }
}

/// Looks at both servers. Never fails: one that cannot be reached is a fact, too.
pub(super) async fn facts(session: &Session, sides: &Sides, ends: &ServerEnds, depth: Depth) -> Facts {
    let at = Timestamp::now();
    let reach = |side| sides.open(side, "", session.deadline);
    let (source, replica, receiver_login) = tokio::join!(
        reach(Side::Source),
        reach(Side::Replica),
        sides.login_as_receiver(session.deadline.at_most(SERVER))
    );
    // The source's GTID set is read after the replica's: read before it, transactions that arrived meanwhile would look errant.
    let replica = look(session, &ends.replica, replica, depth).await;
    // A server that let somebody in forgets that the handshake before was broken off; one that showed a certificate which does not do
    // has had one of those already.
    let asks = depth == Depth::Whole && session.spec.compares_certificates();
    let asks = asks && source.as_ref().err().is_none_or(|problem| problem.code == Code::TlsVerification);
    let (source, presented) = tokio::join!(look(session, &ends.source, source, depth), async {
        if asks { Some(sides.presented("", session.deadline.at_most(SERVER)).await.into()) } else { None }
    });
    let source = MemberFacts { presented, ..source };
    let has_files = session.spec.replication().is_some_and(|link| link.replication.has_tls_files());
    let tls_files = (depth == Depth::Whole && has_files).then(|| Fetched::Failed(out_of_sight()));
    let replica = MemberFacts { tls_files, ..replica };
    Facts {
        at,
        source: SourceFacts {
            cluster: None,
            pxc: None,
            services: None,
            nodes: None,
            members: Fetched::Got(vec![source]),
            policies: None,
            surroundings: None,
        },
        client: ClientFacts { members: Fetched::Got(vec![replica]), ..ClientFacts::unread(&no_mesh(&session.spec)) },
        paths: Vec::new(),
        receiver_login: Some(receiver_login.into()),
        objects: None,
    }
}

/// No statement shows a file of the server's machine to an account without the privilege FILE.
fn out_of_sight() -> Problem {
    let message = "the files of the channel's TLS are the replica's machine's, which is reached by SQL alone";
    let hint = "look there, as mysqld's user: `openssl x509 -noout -subject -issuer -dates -in FILE`";
    Problem::new(Code::TlsFilesUnseen, message).hint(Hint::text(hint))
}

async fn look(session: &Session, at: &ServerAddress, reached: Result<Live, Problem>, depth: Depth) -> MemberFacts {
    let server = match reached {
        Ok(mut live) => {
            let server = live.observe(depth, session.deadline).await;
            live.close(session.deadline).await;
            server
        }
        Err(problem) => Err(problem),
    };
    let place = MemberPlace::Server { address: at.to_string() };
    MemberFacts {
        place,
        server: Some(server.into()),
        resolved: None,
        sidecar_log: None,
        tls_files: None,
        presented: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{sample, spec::Ends};

    #[test]
    fn the_source_is_spoken_to_as_the_channel_does_as_far_as_this_machine_can() {
        let there = tempfile::NamedTempFile::new().unwrap();
        let ca = there.path().display().to_string();
        let away = "/nowhere/ca.crt".to_owned();
        for (tls, encryption, said) in [
            (Tls::Disabled, Encryption::None, "TLS disabled"),
            (Tls::Required, Encryption::UNVERIFIED, "TLS required"),
            (
                Tls::VerifyIdentity { ca: ca.clone() },
                Encryption::Tls(TlsFiles { ca: Some(there.path().into()), identity: None }),
                "verify-identity",
            ),
            (Tls::VerifyIdentity { ca: away }, Encryption::UNVERIFIED, "not checked against /nowhere/ca.crt"),
            (Tls::VerifyCa { ca }, Encryption::UNVERIFIED, "not checked"),
        ] {
            let mut spec = sample::direct_spec();
            sample::replication(&mut spec).tls = tls;
            let Ends::Servers(ends) = &spec.ends else { panic!("{spec:?}") };
            let direct = Direct::of(ends, spec.replication());
            assert_eq!(direct.way(Side::Source).1, &encryption);
            assert_eq!(direct.way(Side::Replica).1, &Encryption::UNVERIFIED);
            assert!(direct.tls.contains(said), "{}", direct.tls);
        }
    }
}
