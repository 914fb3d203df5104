//! The registry of `PXLnnn` codes: one line a code, one Markdown file a code, read by checks, errors and `explain` alike.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How the process ends when a code decides it (see the table in the README).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 1: a bug or something nobody foresaw.
    Unexpected = 1,
    /// 2: the command line, or a change nobody agreed to.
    Usage = 2,
    /// 3: the configuration file or a secret it refers to.
    Configuration = 3,
    /// 4: checks failed.
    Checks = 4,
    /// 5: a cluster or a server cannot be reached or refuses.
    Unreachable = 5,
    /// 6: out of time; not the same as failed.
    TimedOut = 6,
    /// 7: setup stopped part-way and says what stands; running it again goes on.
    PartWay = 7,
    /// 130: interrupted from the keyboard.
    Interrupted = 130,
}

macro_rules! codes {
    ($($name:ident $number:literal $exit:ident $title:literal [$($row:literal),*];)+) => {
        /// A stable code. Names say the meaning, numbers are what users see.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $(#[doc = $title] $name = $number,)+ }

        impl Code {
            /// Every code, ascending.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// What it means, in a few words.
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }

            /// How a run ends that ends with this code.
            pub fn exit(self) -> Exit {
                match self { $(Self::$name => Exit::$exit,)+ }
            }

            /// The rows it covers of the two tables of known failures, the mesh's and replication's: `mesh:47`,
            /// `repl:20`. A row belongs to one code.
            pub fn rows(self) -> &'static [&'static str] {
                match self { $(Self::$name => &[$($row),*],)+ }
            }

            /// The long text of `explain`, Markdown.
            pub fn text(self) -> &'static str {
                match self { $(Self::$name => include_str!(concat!("PXL", stringify!($number), ".md")),)+ }
            }
        }
    };
}

codes! {
    ConfigNotFound 101 Configuration "no configuration file" [];
    ConfigSyntax 102 Configuration "the configuration is not valid YAML" [];
    UnknownKey 103 Configuration "unknown key in the configuration" [];
    DuplicateKey 104 Configuration "duplicate key in the configuration" [];
    InvalidValue 105 Configuration "a value is missing or not of the form it must have" [];
    LiteralSecret 106 Configuration "a password is written into the configuration" [];
    NoSuchLink 107 Configuration "no link of that name" [];
    SecretUnreadable 108 Configuration "a secret cannot be read" [];
    PasswordTooLong 109 Configuration "the replication password is longer than 32 bytes" [];
    NotSupportedYet 110 Configuration "this version cannot do that yet" [];
    PasswordCharacters 111 Configuration "a password holds a character that cannot be sent" [];
    NotApproved 112 Usage "changes were not agreed to" [];
    OutputUnwritable 113 Unexpected "a file cannot be written" [];
    NoSuchCode 114 Usage "no such code" [];
    FactsUnreadable 115 Configuration "a file of facts cannot be read" [];
    NoReplication 119 Usage "the command is about replication, and the link carries none" [];
    NoMesh 120 Usage "the command is about a mesh, and the link goes through none" [];

    NoSuchContext 201 Configuration "no such kube context" [];
    ApiUnreachable 202 Unreachable "the Kubernetes API cannot be reached" [];
    ApiTimedOut 203 TimedOut "the Kubernetes API did not answer in time" [];
    SameCluster 204 Configuration "source and replica are the same cluster" [];
    Forbidden 205 Unreachable "a Kubernetes permission is missing" [];
    NoPodMatches 206 Checks "no pod matches" [];
    SourceServiceUnusable 207 Checks "the source's Service offers no way in from outside" [];
    ExecFailed 208 Unreachable "a command cannot be run in a container" [];
    LinkLocked 209 Checks "another run works on this link" [];
    FieldConflict 210 Checks "another manager owns a field" [];
    CredentialsRejected 211 Unreachable "the Kubernetes API rejects the credentials" [];
    NoNodeAddress 212 Checks "no ready node of the source has a usable address" [];
    ApplyRejected 213 Checks "the cluster rejects an object" ["mesh:26", "mesh:27", "mesh:28"];
    MemberNotReady 214 Checks "a member's pod is not ready" ["mesh:15"];
    NoEntranceAddress 215 Checks "the source's way in has no address that can be used" [];
    EndpointsLeftOut 216 Checks "not every way into the source is used" [];

    IstioMissing 301 Checks "Istio's resources are not there" [];
    IstiodDown 302 Checks "istiod does not answer" ["mesh:29"];
    VipInUse 303 Checks "the virtual address is in use" ["mesh:23"];
    HostInUse 304 Checks "the mesh name is defined elsewhere too" ["mesh:5", "mesh:34"];
    HostIsService 305 Checks "a Service of the cluster has the mesh name" [];
    PortShared 306 Checks "another definition has the port on every address" [];
    ServicesMerged 307 Checks "Services of both clusters are one for the mesh" [];
    ControlPlaneUnseen 308 Checks "which control plane serves the members cannot be seen" [];
    NameUnresolved 310 Checks "the mesh name does not resolve in the member" ["mesh:1", "mesh:4", "repl:16"];
    NameElsewhere 311 Checks "the mesh name resolves to another address" ["mesh:2"];
    NotInNameTable 312 Checks "the sidecar does not know the mesh name" [];
    CaptureOutdated 313 Checks "the member is older than the mesh's DNS capture" ["mesh:8"];
    NoSidecar 320 Checks "the member has no sidecar" ["mesh:9", "mesh:12", "mesh:17"];
    NotIntercepted 321 Checks "the sidecar leaves the connection alone" ["mesh:13"];
    HostNetwork 322 Checks "the member shares its node's network" ["mesh:14"];
    OlderThanInjection 323 Checks "the member is older than its namespace's injection" ["mesh:10"];
    TwoInjectionLabels 324 Checks "the namespace has both labels of injection" ["mesh:11"];
    SidecarNotReady 325 Checks "the member's sidecar does not get ready" ["mesh:16"];
    ProxyUser 326 Checks "the application runs as the sidecar's own user" [];
    AmbientMember 327 Checks "the member is in ambient mode" ["mesh:7"];
    NoListener 330 Checks "the sidecar has no listener for the virtual address" ["mesh:21", "mesh:25", "mesh:52"];
    NoEndpoints 331 Checks "the sidecar has no or other endpoints" ["mesh:22", "mesh:31", "mesh:35"];
    EndpointsStale 332 Checks "the ServiceEntry's endpoints are not the source's" ["mesh:32", "mesh:33"];
    SidecarHides 333 Checks "a Sidecar resource hides the mesh name from the member" ["mesh:19", "mesh:41"];
    BlackHole 334 Checks "a closed mesh drops the connection to the mesh name" ["mesh:42"];
    NamespaceUndiscovered 335 Checks "istiod passes over the members' namespace" ["mesh:20"];
    RuleOverridden 336 Checks "another DestinationRule is taken for the mesh name" ["mesh:30"];
    EntriesHidden 337 Checks "the mesh configuration hides ServiceEntries of the namespace" [];
    EntryElsewhere 338 Checks "the link's ServiceEntry is not where the members look" ["mesh:3", "mesh:18"];
    EndpointRefused 340 Checks "the endpoint refuses the connection" ["mesh:36", "mesh:39", "mesh:46"];
    EndpointSilent 341 Checks "the endpoint does not answer" ["mesh:37", "mesh:38", "mesh:45"];
    PermissiveHang 342 Checks "the source's sidecar waits for the client to speak first" ["mesh:47", "repl:19"];
    StrictHang 343 Checks "the source's sidecar demands mutual TLS" ["mesh:48"];
    AuthorizationDenied 344 Checks "the mesh denies the connection" [];
    SelfConnection 345 Checks "the mesh name leads back to the replica" ["mesh:56"];
    WrongServer 346 Checks "the mesh name leads to a server that is no known source member" [];
    NoProbe 347 Checks "the member's container has no client to prove the path with" [];
    PathBroken 348 Checks "the path fails in a way not known here" ["mesh:50", "repl:17"];
    PeerAuthenticationVoid 349 Checks "an older PeerAuthentication decides" [];
    IngressPolicy 350 Checks "a NetworkPolicy may keep connections out of the source" [];
    EgressPolicy 351 Checks "a NetworkPolicy may keep the members in" ["mesh:40"];
    AuthorizationUncertain 352 Checks "whether a policy lets the connection in cannot be told" [];
    NoAnswer 360 Checks "the service takes the connection and does not answer" [];
    StubRefused 361 Checks "CoreDNS takes no stub for the mesh name" [];
    RestartRefused 362 Checks "setup cannot make the members anew" [];
    IdentityNeeded 363 Checks "an authorization on the source needs the client's identity" [];
    LeftChanged 364 Checks "something outside the link stays changed" [];
    EndpointDead 366 Checks "the name works and an endpoint behind it does not" ["mesh:44"];
    AnotherProxy 367 Checks "a proxy answers in the place of the service" [];
    MeshTls 371 Checks "the sidecars speak TLS to a port that does not" ["mesh:49"];
    ConnectionLimit 372 Checks "the sidecar may open no more connections" ["mesh:43"];
    ObjectsChanged 373 Checks "the link's own mesh objects are missing or were changed" ["mesh:6", "mesh:24"];

    ServerUnreachable 401 Unreachable "the server cannot be reached" [];
    AccessDenied 402 Unreachable "the server refuses the account" [];
    PrivilegeMissing 403 Unreachable "the account lacks a privilege" [];
    TlsRequired 404 Checks "the server demands TLS" ["repl:26"];
    TlsVerification 405 Checks "the server's certificate is not accepted" ["repl:27", "repl:28"];
    CaFileMissing 406 Checks "the CA file is not on the member" [];
    PublicKeyNeeded 407 Checks "the password needs TLS or the server's public key" ["mesh:54", "repl:23"];
    ServerTimedOut 408 TimedOut "the server did not answer in time" [];
    ReplicationAccessDenied 410 Checks "the source refuses the replication account" ["mesh:53", "repl:20"];
    VersionTooOld 411 Checks "the server is older than 8.0.26" [];
    ServerError 412 Checks "the server answers with an error" ["repl:40"];
    PlainChannel 413 Checks "the channel is not encrypted" [];
    ServerFull 414 Unreachable "the server takes no more connections" ["mesh:51", "repl:22"];
    NoLock 415 Checks "the replica's server gives no lock" [];
    AddressRefused 430 Checks "the source refuses the address that the receiver comes from" ["repl:21"];
    PluginMissing 431 Checks "the source has not the account's authentication plugin" ["repl:24"];
    AccountClosed 432 Checks "the replication account is locked or its password has expired" ["repl:25"];
    ReplicationNotGranted 433 Checks "the replication account may not read the binary log" ["repl:29"];
    TlsFileClosed 434 Checks "mysqld may not read a file of the channel's TLS" [];
    NoCertificate 435 Checks "a file of the channel's TLS holds no certificate" [];
    ClientFileMissing 436 Checks "the client certificate or its key is not on the member" [];
    CertificateExpired 437 Checks "a certificate of the channel's TLS has expired" [];
    CertificateNotYet 438 Checks "a certificate of the channel's TLS does not hold yet" [];
    CertificateEnds 439 Checks "a certificate of the channel's TLS ends soon" [];
    KeyMismatch 440 Checks "the key is not that of the client certificate" [];
    OtherAuthority 441 Checks "the CA file does not lead to the source's certificate" [];
    HostNotNamed 442 Checks "the source's certificate does not name its host" ["mesh:55"];
    KeyUnusable 443 Checks "mysqld cannot use the key of the client certificate" [];
    TlsFilesUnseen 444 Checks "what the channel's TLS is made of cannot be looked at" [];

    ChannelCannotApply 450 Checks "the channel is on a member that cannot apply" [];
    MemberOutOfStep 451 Checks "a member is not in step with its cluster" [];
    OneClusterIdentity 452 Checks "both sides have one cluster's identity" [];
    GtidsOff 501 Checks "GTIDs are not on" ["repl:12", "repl:38"];
    ServerIdClash 502 Checks "two servers have the same server_id or server_uuid" ["repl:3", "repl:8", "repl:9"];
    Purged 503 Checks "the source has purged what the replica lacks" ["repl:1", "repl:43"];
    Errant 504 Checks "the replica has transactions that the source lacks" ["repl:2"];
    ChannelElsewhere 505 Checks "the channel exists and points elsewhere" [];
    ChannelTwice 506 Checks "more than one member has the channel" [];
    NoChannel 507 Checks "the link has no channel" ["repl:41"];
    ReceiverNotConnecting 510 Checks "the receiver does not connect" ["mesh:57", "mesh:58", "repl:15", "repl:18", "repl:45"];
    UnknownSource 511 Checks "the receiver is attached to an unknown server" [];
    ReceiverStopped 512 Checks "the receiver stopped" [];
    ApplierStopped 513 Checks "the applier stopped" ["repl:42"];
    ChannelDiffers 514 Checks "the channel is not configured as the link says" ["repl:10", "repl:37"];
    BinaryLogOff 515 Checks "the server logs nothing, or not what it receives" ["repl:6"];
    NotRowFormat 516 Checks "changes are not logged as whole rows" [];
    ShortRetention 517 Checks "binary logs do not outlast an outage" [];
    LaterSeries 518 Checks "the source's release series is later than the replica's" [];
    ReplicaWritable 519 Checks "the replica takes writes from others than the channel" [];
    StartsByItself 520 Checks "every member starts its channels by itself" [];
    MoveBlocked 521 Checks "the channel could not go on from another member" [];
    OwnGrowth 522 Checks "the replica has more of its own than at setup" [];
    LocalTransactions 523 Checks "a member of the source has transactions for itself" [];
    NamesDiffer 524 Checks "table names are not told apart alike" [];
    PacketTooSmall 525 Checks "the replica takes smaller packets than the source makes" [];
    CollationDiffers 526 Checks "the default collation is not the same" [];
    TimeZonesDiffer 527 Checks "time zones are not the same" [];
    TimestampsDiffer 528 Checks "TIMESTAMP columns are not understood alike" [];
    ClocksDiffer 529 Checks "the clocks of source and replica differ" [];
    CommitOrderLost 530 Checks "the applier commits in another order than the source" [];
    RelayLogKept 531 Checks "a torn relay log would be read again after a crash" [];
    KnownServerBug 532 Checks "the server's release has a known bug of replication" [];
    FailoverListed 533 Checks "a failover list moves the channel" [];
    NoPrimaryKey 534 Checks "tables have no primary key" [];
    NotTransactional 535 Checks "tables are not InnoDB's" [];
    TablesMissing 536 Checks "the replica lacks tables that no transaction will bring" [];
    RowsMissing 537 Checks "the replica's tables have far fewer rows" [];
    ColumnsDiffer 538 Checks "tables have other columns on the replica" [];
    DataWithoutGtids 539 Checks "the replica has the data and not the GTIDs" [];
    TablesUnseen 540 Checks "the tables cannot be compared" [];
    OperatorOwnsChannel 541 Checks "the operator's resource names the link's channel" [];
    OperatorOpensReplica 542 Checks "the operator opens the replica to writers" [];
    OperatorStopsChannels 543 Checks "the operator stops the channels of a former writer" [];
    SourceOpen 550 Checks "the source may still take writes" [];
    NotArrived 551 Checks "the source has transactions that did not arrive" [];
    EventsDisabled 552 Checks "events are disabled on the replica" [];
    ClosedAgain 553 Checks "a restart closes the server to writes" [];
    EventTooLarge 570 Checks "an event is larger than the replica takes" ["repl:4"];
    SourceLogDamaged 571 Checks "the source cannot read its own binary log" ["repl:5", "repl:7"];
    RelayLogUnwritable 572 Checks "the receiver cannot write what it gets" ["repl:14"];
    SourceNotReady 573 Checks "the source's member is outside its cluster" ["repl:11"];
    RelayLogDamaged 574 Checks "the relay log cannot be read" ["repl:13"];
    RowMissing 575 Checks "a row that the source changed is missing" ["repl:30"];
    KeyTaken 576 Checks "a row that the source added is there already" ["repl:31"];
    DefinitionsDiffer 577 Checks "tables are not defined as on the source" ["repl:32"];
    ParentMissing 578 Checks "a row that another refers to is missing" ["repl:33"];
    ApplierBlocked 579 Checks "somebody else holds what the applier needs" ["repl:34"];
    MemberNotSynced 580 Checks "the replica's member is outside its cluster" ["repl:35"];
    StatementRefused 581 Checks "the replica's rules refuse what the source did" ["repl:44"];
    ChannelDamaged 582 Checks "the channel's own records are damaged" ["repl:39"];
    ApplierReadOnly 583 Checks "the server refuses the applier's own writes" ["repl:36"];
    SourceClosed 590 Checks "the source takes no writes" [];

    LagHigh 601 Checks "the lag is above its threshold" ["repl:46"];
    LagUnknown 602 Checks "the lag cannot be told" ["mesh:59", "repl:47"];

    Internal 901 Unexpected "an error nobody foresaw" [];
    TimedOut 902 TimedOut "out of time" [];
    Interrupted 903 Interrupted "interrupted" [];
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PXL{}", *self as u16)
    }
}

/// The text is no code of the registry.
#[derive(Debug, thiserror::Error)]
#[error("no code `{0}`; `pxc-link explain --list` prints them all")]
pub struct UnknownCode(String);

impl FromStr for Code {
    type Err = UnknownCode;

    /// Accepts `PXL402`, `pxl402` and `402`.
    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        let digits = text.trim().trim_start_matches(|c: char| c.is_ascii_alphabetic());
        Self::ALL
            .iter()
            .copied()
            .find(|code| digits.parse() == Ok(*code as u16))
            .ok_or_else(|| UnknownCode(text.to_owned()))
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_text_of_at_most_fifteen_lines_that_begins_with_its_title() {
        for code in Code::ALL {
            let text = code.text();
            assert!(text.starts_with(&format!("# {code}: {}\n", code.title())), "{code}: first line");
            assert!(text.lines().count() <= 15, "{code}: too long");
            assert!(text.contains("\n**Seen**") && text.contains("\n**Mend**"), "{code}: how seen, how mended");
        }
    }

    #[test]
    fn a_sentence_never_serves_two_codes() {
        let mut seen = std::collections::HashMap::new();
        for code in Code::ALL {
            let text = code.text().split_whitespace().collect::<Vec<_>>().join(" ");
            for part in text.split(['.', ':', ';']).map(str::trim).filter(|part| part.len() > 25) {
                assert_eq!(seen.insert(part.to_owned(), code), None, "{code} repeats: {part}");
            }
        }
    }

    #[test]
    fn a_row_of_the_failure_tables_is_one_of_them_and_belongs_to_one_code() {
        let mut seen = std::collections::HashMap::new();
        for code in Code::ALL {
            for row in code.rows() {
                let (table, number) = row.split_once(':').unwrap();
                let last = if table == "mesh" { 79 } else { 47 };
                assert!(["mesh", "repl"].contains(&table), "{code}: {row}");
                assert!((1..=last).contains(&number.parse::<u8>().unwrap()), "{code}: {row}");
                assert_eq!(seen.insert(*row, code), None, "{code} repeats {row}");
            }
        }
    }

    #[test]
    fn codes_are_read_as_they_are_written() {
        for code in Code::ALL {
            assert_eq!(code.to_string().parse::<Code>().unwrap(), *code);
        }
        assert!("PXL999".parse::<Code>().is_err());
    }
}
