//! The certificates of a channel: files on the members and what the source shows, broken one at a time.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

use super::{
    check_of, commands,
    path::{error, probe},
    replica, shown, source, unread, verdict,
};
use crate::domain::{
    check::{Check, CheckId, Subject},
    code::Code,
    facts::{Facts, FileFacts, PathPart, ProcessUser, ThreadError, ThreadState, TlsFilesFacts},
    judge::{blocking, ids, judge},
    problem::{Fetched, Problem},
    sample,
    spec::{ClientCertificate, LinkSpec, Tls},
};

const HOST: &str = "pxc-source.production.global";
/// Years in which a certificate begins and ends.
type Years = (i32, i32);
/// The sample's year is 2026, its day the 21st of November.
const GOOD: Years = (2026, 2036);

/// An authority, whose certificates can be made for any years.
struct Authority {
    name: &'static str,
    key: KeyPair,
}

fn params(name: &str, hosts: &[&str], (from, to): Years) -> CertificateParams {
    let mut params = CertificateParams::new(hosts.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 12, 1));
    params
}

impl Authority {
    fn new(name: &'static str) -> Self {
        Self { name, key: KeyPair::generate().unwrap() }
    }

    fn params(&self, years: Years) -> CertificateParams {
        let mut params = params(self.name, &[], years);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    }

    fn root(&self, years: Years) -> String {
        self.params(years).self_signed(&self.key).unwrap().pem()
    }

    fn signs(&self, params: &CertificateParams, key: &KeyPair) -> String {
        params.signed_by(key, &Issuer::new(self.params(GOOD), &self.key)).unwrap().pem()
    }
}

fn file(path: &str, text: &str) -> FileFacts {
    let part = |path: &str, mode, is_file| PathPart { path: path.to_owned(), uid: 0, gid: 0, mode, is_file };
    let way = vec![part(path, 0o644, true), part("/etc/mysql/tls", 0o755, false), part("/", 0o755, false)];
    FileFacts { path: path.to_owned(), absent: None, way, text: Some(text.to_owned()) }
}

/// The sample, looked at: every member has the CA and a client's pair, and every source a certificate by that CA.
struct World {
    ca: Authority,
    client: KeyPair,
    spec: LinkSpec,
    facts: Facts,
}

impl World {
    fn new() -> Self {
        let (ca, client) = (Authority::new("CA"), KeyPair::generate().unwrap());
        let (mut spec, mut facts) = (sample::spec(), sample::facts());
        let pair = ClientCertificate { cert: "/etc/mysql/tls/c.crt".into(), key: "/etc/mysql/tls/c.key".into() };
        sample::replication(&mut spec).client_certificate = Some(pair.clone());
        let certificate = ca.signs(&params("repl", &[], GOOD), &client);
        for one in sample::replicas(&mut facts) {
            one.tls_files = Some(Fetched::Got(TlsFilesFacts {
                container: "pxc".to_owned(),
                mysqld: Some(ProcessUser { uid: 999, groups: vec![999] }),
                ca: Some(file("/etc/mysql/tls/ca.crt", &ca.root(GOOD))),
                certificate: Some(file(&pair.cert, &certificate)),
                key: Some(file(&pair.key, "-----BEGIN PRIVATE KEY-----\n")),
                public_key: Some(client.public_key_pem()),
            }));
        }
        let channel = &mut sample::replica(&mut facts, 0).channels[0];
        channel.settings.client_certificate = Some(pair);
        let mut world = Self { ca, client, spec, facts };
        for number in 0..2 {
            let shown = world.ca.signs(&params("db", &[HOST], GOOD), &KeyPair::generate().unwrap());
            world.shows(number, vec![shown]);
        }
        world
    }

    fn shows(&mut self, number: usize, texts: Vec<String>) {
        sample::sources(&mut self.facts)[number].presented = Some(Fetched::Got(texts));
    }

    /// A certificate by the CA.
    fn source(&mut self, number: usize, hosts: &[&str], years: Years) {
        let text = self.ca.signs(&params("db", hosts, years), &KeyPair::generate().unwrap());
        self.shows(number, vec![text]);
    }

    fn files(&mut self, number: usize) -> &mut TlsFilesFacts {
        sample::got(sample::replicas(&mut self.facts)[number].tls_files.as_mut().unwrap())
    }

    fn ca_file(&mut self, number: usize) -> &mut FileFacts {
        self.files(number).ca.as_mut().unwrap()
    }

    fn client_file(&mut self) -> &mut FileFacts {
        self.files(0).certificate.as_mut().unwrap()
    }

    fn key_file(&mut self) -> &mut FileFacts {
        self.files(0).key.as_mut().unwrap()
    }

    fn check(&self, id: CheckId, subject: &Subject) -> Check {
        check_of(&self.spec, &self.facts, id, subject)
    }
}

/// A world with one thing broken gives this verdict and shows this; all others of the four stay good or wait for it.
fn broken(
    id: CheckId,
    subject: &Subject,
    wanted: (&'static str, Code),
    words: &str,
    break_it: impl FnOnce(&mut World),
) -> Check {
    let mut world = World::new();
    for check in judge(&world.spec, &world.facts).iter().filter(|check| check.id.0.starts_with("tls.")) {
        assert_eq!(verdict(check), ("passed", None), "{check:#?}");
    }
    break_it(&mut world);
    let check = world.check(id, subject);
    assert_eq!(verdict(&check), (wanted.0, Some(wanted.1)), "{check:#?}");
    assert!(shown(&check).contains(words), "{words}: {}", shown(&check));
    assert!(check.problem().unwrap().hint.is_some(), "{check:#?}");
    for other in judge(&world.spec, &world.facts).iter().filter(|other| other.id.0.starts_with("tls.")) {
        let same = (other.id, &other.subject) == (id, subject);
        assert!(same || other.is_good() || verdict(other).0 == "skipped", "{other:#?}");
    }
    check
}

#[test]
fn a_file_must_be_there_for_mysqld() {
    let me = &replica(1);
    let check = broken(ids::TLS_CA, me, ("failed", Code::CaFileMissing), "No such file", |world| {
        let absent = Some("stat: cannot statx '/etc/mysql/tls/ca.crt': No such file or directory".to_owned());
        *world.ca_file(1) = FileFacts { absent, way: Vec::new(), text: None, ..world.ca_file(1).clone() };
    });
    assert_eq!(commands(&check), ["kubectl --context dr -n pxc exec pxc-1 -c pxc -- ls -ln /etc/mysql/tls"]);
    broken(ids::TLS_CA, me, ("failed", Code::CaFileMissing), "is a directory", |world| {
        world.ca_file(1).way[0].is_file = false;
    });
    let words = "/etc/mysql/tls/ca.crt: mode 640, user 0, group 0\nmysqld runs as user 999, groups 999";
    let check = broken(ids::TLS_CA, me, ("failed", Code::TlsFileClosed), words, |world| {
        world.ca_file(1).way[0].mode = 0o640;
    });
    assert!(commands(&check)[0].ends_with("ls -ln /etc/mysql/tls/ca.crt"), "{check:?}");
    broken(ids::TLS_CLIENT, &replica(0), ("failed", Code::TlsFileClosed), "/etc/mysql/tls: mode 700", |world| {
        world.key_file().way[1].mode = 0o700;
    });
    broken(ids::TLS_CLIENT, &replica(0), ("failed", Code::ClientFileMissing), "c.key", |world| {
        world.key_file().absent = Some("No such file or directory".to_owned());
    });
    broken(ids::TLS_CLIENT, &replica(0), ("failed", Code::ClientFileMissing), "c.crt", |world| {
        world.client_file().absent = Some("No such file or directory".to_owned());
    });
}

#[test]
fn a_file_must_hold_what_it_is_for() {
    let me = &replica(0);
    let key = "-----BEGIN PRIVATE KEY-----\n";
    broken(ids::TLS_CA, me, ("failed", Code::NoCertificate), "holds `PRIVATE KEY`", |world| {
        world.ca_file(0).text = Some(key.to_owned());
    });
    broken(ids::TLS_CLIENT, me, ("failed", Code::NoCertificate), "no `-----BEGIN CERTIFICATE-----`", |world| {
        world.client_file().text = Some(String::new());
    });
    for labels in ["-----BEGIN ENCRYPTED PRIVATE KEY-----\n", "-----BEGIN RSA PRIVATE KEY-----\nENCRYPTED\n"] {
        broken(ids::TLS_CLIENT, me, ("failed", Code::KeyUnusable), "passphrase", |world| {
            world.key_file().text = Some(labels.to_owned());
        });
    }
    for labels in ["", "-----BEGIN CERTIFICATE-----\n"] {
        broken(ids::TLS_CLIENT, me, ("failed", Code::KeyUnusable), "no private key", |world| {
            world.key_file().text = Some(labels.to_owned());
        });
    }
    broken(ids::TLS_CLIENT, me, ("failed", Code::KeyMismatch), "c.key", |world| {
        world.files(0).public_key = Some(KeyPair::generate().unwrap().public_key_pem());
    });
    let mut world = World::new();
    assert!(world.check(ids::TLS_CLIENT, me).evidence.contains(&"its key fits".to_owned()));
    world.files(0).public_key = None;
    let check = world.check(ids::TLS_CLIENT, me);
    assert!(check.evidence[1].contains("not compared") && verdict(&check).0 == "passed", "{check:?}");
}

#[test]
fn every_certificate_has_its_time() {
    let me = &replica(0);
    let source = &source(1);
    broken(ids::TLS_SOURCE, source, ("failed", Code::CertificateExpired), "2025-12-01T00:00:00Z", |world| {
        world.source(1, &[HOST], (2020, 2025));
    });
    broken(ids::TLS_SOURCE, source, ("failed", Code::CertificateNotYet), "2027-01-01T00:00:00Z", |world| {
        world.source(1, &[HOST], (2027, 2036));
    });
    let check = broken(ids::TLS_SOURCE, source, ("warned", Code::CertificateEnds), "ends in 9 days", |world| {
        world.source(1, &[HOST], (2020, 2026));
    });
    assert_eq!(commands(&check), ["ALTER INSTANCE RELOAD TLS;  -- on source pxc-1"]);
    for (code, years) in [(Code::CertificateExpired, (2020, 2025)), (Code::CertificateNotYet, (2027, 2036))] {
        broken(ids::TLS_CA, me, ("failed", code), "CN=CA", |world| {
            world.ca_file(0).text = Some(world.ca.root(years));
        });
        broken(ids::TLS_CLIENT, me, ("failed", code), "CN=repl", |world| {
            let client = world.ca.signs(&params("repl", &[], years), &world.client);
            world.client_file().text = Some(client);
        });
    }
    let soon = |world: &mut World| world.ca_file(0).text = Some(world.ca.root((2020, 2026)));
    let mut world = World::new();
    soon(&mut world);
    assert_eq!(verdict(&world.check(ids::TLS_CA, me)), ("warned", Some(Code::CertificateEnds)));
    assert_eq!(
        verdict(&world.check(ids::TLS_ISSUER, me)),
        ("warned", Some(Code::CertificateEnds)),
        "what leads to it ends"
    );
    assert_eq!(blocking(&judge(&world.spec, &world.facts)), None);
    // Of a bundle one root counts: an old one beside it is of no consequence, unless it is the one that is needed.
    world.ca_file(0).text = Some(world.ca.root((2020, 2025)) + &world.ca.root(GOOD));
    assert_eq!(verdict(&world.check(ids::TLS_ISSUER, me)), ("passed", None));
    world.ca_file(0).text = Some(world.ca.root((2020, 2025)) + &Authority::new("other").root(GOOD));
    assert_eq!(verdict(&world.check(ids::TLS_CA, me)), ("passed", None));
    assert_eq!(verdict(&world.check(ids::TLS_ISSUER, me)), ("failed", Some(Code::CertificateExpired)));
}

#[test]
fn the_source_names_its_host_where_that_is_compared() {
    let subject = &source(0);
    let other = "other.example, 10.0.0.7";
    let nameless = |world: &mut World| world.source(0, &["other.example", "10.0.0.7"], GOOD);
    let check = broken(ids::TLS_SOURCE, subject, ("failed", Code::HostNotNamed), other, nameless);
    assert!(shown(&check).contains(HOST), "{check:?}");
    let mut world = World::new();
    nameless(&mut world);
    sample::replication(&mut world.spec).tls = Tls::VerifyCa { ca: "/etc/mysql/tls/ca.crt".to_owned() };
    assert_eq!(verdict(&world.check(ids::TLS_SOURCE, subject)), ("passed", None));
}

#[test]
fn the_file_leads_to_every_member_of_the_source() {
    let me = &replica(1);
    let check = broken(ids::TLS_ISSUER, me, ("failed", Code::OtherAuthority), "source pxc-1 shows CN=db", |world| {
        let other = Authority::new("Other");
        let shown = other.signs(&params("db", &[HOST], GOOD), &KeyPair::generate().unwrap());
        world.shows(1, vec![shown]);
        // The other member of the replica knows both.
        let both = world.ca.root(GOOD) + &other.root(GOOD);
        world.ca_file(0).text = Some(both);
    });
    assert!(shown(&check).contains("holds CN=CA") && shown(&check).contains("issued by CN=Other"), "{check:?}");
    // With an authority between, which the source has to show.
    let mut world = World::new();
    let (middle, key) = (Authority::new("Middle"), KeyPair::generate().unwrap());
    let between = world.ca.signs(&middle.params(GOOD), &middle.key);
    let own = middle.signs(&params("db", &[HOST], GOOD), &key);
    world.shows(0, vec![own.clone()]);
    assert_eq!(verdict(&world.check(ids::TLS_ISSUER, me)), ("failed", Some(Code::OtherAuthority)));
    world.shows(0, vec![own.clone(), between]);
    let check = world.check(ids::TLS_ISSUER, me);
    assert!(check.evidence[0].contains("CN=db ← CN=Middle ← CN=CA"), "{check:?}");
    let old = world.ca.signs(&middle.params((2020, 2025)), &middle.key);
    world.shows(0, vec![own, old]);
    assert_eq!(verdict(&world.check(ids::TLS_ISSUER, me)), ("failed", Some(Code::CertificateExpired)));
}

#[test]
fn what_cannot_be_looked_at_is_unknown_and_stops_nothing() {
    let me = &replica(0);
    let mut world = World::new();
    sample::replicas(&mut world.facts)[0].tls_files = Some(unread(Code::TlsFilesUnseen));
    let check = world.check(ids::TLS_CA, me);
    assert!(verdict(&check).0 == "passed" && check.evidence[0].contains("receiver is connected"), "{check:?}");
    sample::replica(&mut world.facts, 0).channels[0].settings.tls = Tls::Required;
    assert_eq!(
        verdict(&world.check(ids::TLS_CA, me)),
        ("unknown", Some(Code::TlsFilesUnseen)),
        "with others than these"
    );
    for id in [ids::TLS_ISSUER, ids::TLS_CLIENT] {
        assert_eq!(verdict(&world.check(id, me)), ("skipped", None));
    }
    let mut world = World::new();
    world.files(0).mysqld = None;
    world.client_file().text = None;
    assert_eq!(
        verdict(&world.check(ids::TLS_CA, me)),
        ("unknown", Some(Code::TlsFilesUnseen)),
        "whose files are these?"
    );
    world.files(0).mysqld = Some(ProcessUser { uid: 999, groups: vec![999] });
    assert_eq!(
        verdict(&world.check(ids::TLS_CLIENT, me)),
        ("unknown", Some(Code::TlsFilesUnseen)),
        "not the container's to read"
    );
    assert_eq!(blocking(&judge(&world.spec, &world.facts)), None);
    sample::sources(&mut world.facts)[1].presented = Some(unread(Code::TlsFilesUnseen));
    let check = world.check(ids::TLS_ISSUER, me);
    let unseen = check.evidence.iter().any(|line| line.contains("pxc-1: not compared"));
    assert!(verdict(&check).0 == "passed" && unseen, "one of several: {check:?}");
    for one in sample::sources(&mut world.facts) {
        one.presented = Some(unread(Code::TlsFilesUnseen));
    }
    assert_eq!(verdict(&world.check(ids::TLS_SOURCE, &source(0))), ("unknown", Some(Code::TlsFilesUnseen)));
    assert_eq!(verdict(&world.check(ids::TLS_ISSUER, me)), ("skipped", None));
}

#[test]
fn a_handshake_that_failed_is_told_by_its_cause() {
    let me = &replica(0);
    let text = "error:0A000086:SSL routines::certificate verify failed";
    let stopped = |facts: &mut Facts| {
        let error = ThreadError { errno: 2026, text: text.to_owned(), at: None };
        sample::replica(facts, 0).channels[0].receiver = ThreadState { state: "CONNECTING".into(), error: Some(error) };
    };
    let mut world = World::new();
    stopped(&mut world.facts);
    assert_eq!(verdict(&world.check(ids::RECEIVER_RUNNING, me)).1, Some(Code::TlsVerification), "nothing explains it");
    world.source(0, &[HOST], (2020, 2025));
    let check = world.check(ids::RECEIVER_RUNNING, me);
    assert_eq!(verdict(&check).1, Some(Code::CertificateExpired));
    assert!(shown(&check).contains(text) && shown(&check).contains("2025-12-01"), "{check:?}");
    probe(&mut world.facts, error(80, 2026, &format!("ERROR 2026 (HY000): SSL connection error: {text}")), 1, 0);
    assert_eq!(verdict(&world.check(ids::PATH_QUERY, me)).1, Some(Code::CertificateExpired));
    world.source(0, &["other.example"], GOOD);
    assert_eq!(verdict(&world.check(ids::PATH_QUERY, me)).1, Some(Code::HostNotNamed));
    let mut world = World::new();
    stopped(&mut world.facts);
    world.ca_file(1).text = Some(Authority::new("CA").root(GOOD));
    assert_eq!(
        verdict(&world.check(ids::RECEIVER_RUNNING, me)).1,
        Some(Code::TlsVerification),
        "another member's file"
    );
    world.ca_file(0).text = Some(Authority::new("CA").root(GOOD));
    assert_eq!(verdict(&world.check(ids::RECEIVER_RUNNING, me)).1, Some(Code::OtherAuthority));
    let no_file = "ERROR 2026 (HY000): SSL connection error: SSL_CTX_set_default_verify_paths failed";
    probe(&mut world.facts, error(80, 2026, no_file), 1, 0);
    world.ca_file(0).way[0].mode = 0o600;
    assert_eq!(verdict(&world.check(ids::PATH_QUERY, me)).1, Some(Code::TlsFileClosed));
    let refused = Problem::new(Code::TlsVerification, "the TLS handshake with source pxc-0 failed").seen("expired");
    world.source(0, &[HOST], (2020, 2025));
    sample::sources(&mut world.facts)[0].server = Some(Fetched::Failed(refused));
    let check = world.check(ids::SERVER_LOGIN, &source(0));
    assert_eq!(verdict(&check), ("failed", Some(Code::CertificateExpired)));
    assert!(shown(&check).contains("handshake with source pxc-0 failed\nexpired"), "{check:?}");
}

#[test]
fn an_issuer_that_is_not_known_is_not_explained_by_a_name() {
    let mut world = World::new();
    world.source(0, &["other.example"], GOOD);
    for (said, code) in [("NotValidForName", Code::HostNotNamed), ("UnknownIssuer", Code::TlsVerification)] {
        let refused = Problem::new(Code::TlsVerification, "the TLS handshake with source pxc-0 failed")
            .seen(format!("invalid peer certificate: {said}"));
        sample::sources(&mut world.facts)[0].server = Some(Fetched::Failed(refused));
        assert_eq!(verdict(&world.check(ids::SERVER_LOGIN, &source(0))), ("failed", Some(code)), "{said}");
    }
}
