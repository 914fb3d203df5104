//! A channel's settings: what a link wants them to be, and how those of a server differ.

use super::{
    facts::{ChannelFacts, ChannelSettings, Facts},
    gtid::GtidSet,
    plan::FieldChange,
    spec::{ChannelOptions, ReplicationLink, Tls},
};

/// The account's name, which goes with the password.
const USER: &str = "SOURCE_USER";
/// The one option that no server shows.
pub const PASSWORD: &str = "SOURCE_PASSWORD";
/// Where the channel leads.
const ADDRESS: [&str; 2] = ["SOURCE_HOST", "SOURCE_PORT"];
/// Options that the applier reads: it must be off while they change (manual: CHANGE REPLICATION SOURCE TO).
const OF_APPLIER: [&str; 1] = ["SOURCE_DELAY"];
/// Options for which both threads must be off.
const OF_BOTH: [&str; 1] = ["SOURCE_AUTO_POSITION"];
/// A change of the address that does not name it sets it back to half of `replica_net_timeout` (seen on MySQL 9.7).
const HEARTBEAT: &str = "SOURCE_HEARTBEAT_PERIOD";

/// The settings that the link's channel is to have.
pub fn desired_channel(spec: ReplicationLink<'_>) -> ChannelSettings {
    let replication = spec.replication;
    ChannelSettings {
        host: spec.host.clone(),
        port: replication.port,
        user: replication.account.user.clone(),
        tls: replication.tls.clone(),
        client_certificate: replication.client_certificate.clone(),
        // Without TLS only the server's key lets a password of caching_sha2_password through.
        get_public_key: replication.tls == Tls::Disabled,
        auto_position: true,
        options: replication.options.clone(),
    }
}

/// What differs, named as `CHANGE REPLICATION SOURCE` names it. The password cannot be read back and is not compared.
pub fn channel_differences(have: &ChannelSettings, want: &ChannelSettings) -> Vec<FieldChange> {
    options(have)
        .into_iter()
        .zip(options(want))
        .filter(|((_, before), (_, after))| before != after)
        .map(|((field, before), (_, after))| FieldChange { field: field.to_owned(), before, after })
        .collect()
}

/// What is to be changed of a channel: what differs, and the password where it is to be applied anew or is another account's.
pub fn changes(have: &ChannelSettings, want: &ChannelSettings, password: Password) -> Vec<FieldChange> {
    let mut fields = channel_differences(have, want);
    if password == Password::Anew || fields.iter().any(|change| change.field == USER) {
        let (before, after) = ("not shown".to_owned(), "as configured, not shown".to_owned());
        fields.push(FieldChange { field: PASSWORD.to_owned(), before, after });
    }
    fields
}

/// Whether the channel's password is applied again although nothing shows that it differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Password {
    /// It stays as the channel has it.
    #[default]
    Kept,
    /// The configured one takes its place.
    Anew,
}

/// One of a channel's two threads, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// Reads from the source.
    Receiver,
    /// Applies what was read.
    Applier,
    /// Both.
    Both,
}

impl Threads {
    /// The receiver is among them.
    pub fn receiver(self) -> bool {
        self != Self::Applier
    }

    /// The applier is among them.
    pub fn applier(self) -> bool {
        self != Self::Receiver
    }
}

/// One `CHANGE REPLICATION SOURCE` of an existing channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Round {
    /// What must be off meanwhile. The other thread goes on: with one running, the server keeps the relay logs.
    pub threads: Threads,
    /// The options that it names.
    pub options: Vec<&'static str>,
}

/// What a change of a channel means for its threads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restart {
    /// The statements, in order: at most one for the applier, then one for the receiver.
    pub rounds: Vec<Round>,
    /// Threads that run and are stopped.
    pub stops: Vec<&'static str>,
    /// Threads that are started afterwards.
    pub starts: Vec<&'static str>,
    /// The channel leads elsewhere afterwards.
    pub moves: bool,
    /// The applier is kept off until it is known whom the receiver is attached to: the channel leads elsewhere now, or nobody knows
    /// what became of the name since the receiver was stopped. Where neither is so the server reconnected by itself all along.
    pub holds_applier: bool,
    /// A statement is run while both threads are off: the server then deletes the relay logs.
    pub drops_relay_logs: bool,
}

impl Restart {
    /// Whether a password takes the place of another.
    pub fn changes_password(&self) -> bool {
        self.of_receiver().any(|option| option == PASSWORD)
    }

    /// What the receiver reads, as it was before, as far as it can be set again with the receiver alone stopped. An account goes with
    /// its password: without the former one the new account stays, too.
    pub fn before(&self, settings: &ChannelSettings, knows_password: bool) -> Vec<(&'static str, String)> {
        let kept = |option: &str| OF_BOTH.contains(&option) || option == USER && !knows_password;
        let all = options(settings).into_iter();
        all.filter(|(option, _)| self.of_receiver().any(|changed| changed == *option) && !kept(option)).collect()
    }

    fn of_receiver(&self) -> impl Iterator<Item = &'static str> {
        self.rounds.iter().filter(|round| round.threads.receiver()).flat_map(|round| round.options.iter().copied())
    }

    /// Of a channel as it is, for the fields that change.
    pub fn of(channel: &ChannelFacts, fields: &[FieldChange]) -> Self {
        let (receiver_off, applier_off) = (channel.receiver.is_off(), channel.applier.is_off());
        let rounds = rounds(fields);
        let changes = |thread: fn(Threads) -> bool| rounds.iter().any(|round| thread(round.threads));
        let (receiver, applier) = (changes(Threads::receiver), changes(Threads::applier));
        let moves = fields.iter().any(|change| ADDRESS.contains(&change.field.as_str()));
        let holds_applier = receiver_off || moves;
        let drops_relay_logs = rounds.iter().any(|round| match round.threads {
            Threads::Both => true,
            Threads::Receiver => applier_off,
            Threads::Applier => receiver_off,
        });
        let named = |receiver: bool, applier: bool| {
            [(receiver, "receiver"), (applier, "applier")]
                .into_iter()
                .filter_map(|(is, name)| is.then_some(name))
                .collect()
        };
        Self {
            stops: named(receiver && !receiver_off, (applier || holds_applier) && !applier_off),
            starts: named(receiver || receiver_off, applier || applier_off || holds_applier),
            rounds,
            moves,
            holds_applier,
            drops_relay_logs,
        }
    }
}

fn rounds(fields: &[FieldChange]) -> Vec<Round> {
    let changed = |option: &str| fields.iter().any(|change| change.field == option);
    let all = OPTIONS.into_iter().filter(|option| changed(option));
    if OF_BOTH.into_iter().any(changed) {
        return vec![Round { threads: Threads::Both, options: with_companions(all.collect()) }];
    }
    let (applier, receiver): (Vec<_>, Vec<_>) = all.partition(|option| OF_APPLIER.contains(option));
    [(Threads::Applier, applier), (Threads::Receiver, with_companions(receiver))]
        .into_iter()
        .filter(|(_, options)| !options.is_empty())
        .map(|(threads, options)| Round { threads, options })
        .collect()
}

/// The options with those that a statement has to name beside them.
fn with_companions(mut options: Vec<&'static str>) -> Vec<&'static str> {
    if options.iter().any(|option| ADDRESS.contains(option)) && !options.contains(&HEARTBEAT) {
        options.push(HEARTBEAT);
    }
    if options.contains(&PASSWORD) && !options.contains(&USER) {
        options.push(USER);
    }
    options
}

/// The names of [`options`], and the password's.
const OPTIONS: [&str; 17] = [
    "SOURCE_HOST",
    "SOURCE_PORT",
    USER,
    PASSWORD,
    "SOURCE_AUTO_POSITION",
    "SOURCE_CONNECT_RETRY",
    "SOURCE_RETRY_COUNT",
    HEARTBEAT,
    "SOURCE_COMPRESSION_ALGORITHMS",
    "SOURCE_ZSTD_COMPRESSION_LEVEL",
    "SOURCE_SSL",
    "SOURCE_SSL_CA",
    "SOURCE_SSL_CERT",
    "SOURCE_SSL_KEY",
    "SOURCE_SSL_VERIFY_SERVER_CERT",
    "GET_SOURCE_PUBLIC_KEY",
    "SOURCE_DELAY",
];

/// Every setting as an option and its value.
pub fn options(settings: &ChannelSettings) -> [(&'static str, String); 16] {
    // Taken apart by name, so that a new setting cannot be forgotten here.
    let ChannelSettings {
        host,
        port,
        user,
        tls,
        client_certificate,
        get_public_key,
        auto_position,
        options: ChannelOptions { connect_retry, retry_count, heartbeat_ms, compression, zstd_level, delay_seconds },
    } = settings;
    let flag = |on: bool| u8::from(on).to_string();
    let certificate = client_certificate.as_ref();
    let algorithms: Vec<String> = compression.iter().map(ToString::to_string).collect();
    [
        ("SOURCE_HOST", host.clone()),
        ("SOURCE_PORT", port.to_string()),
        (USER, user.clone()),
        ("SOURCE_AUTO_POSITION", flag(*auto_position)),
        ("SOURCE_CONNECT_RETRY", connect_retry.to_string()),
        ("SOURCE_RETRY_COUNT", retry_count.to_string()),
        (HEARTBEAT, format!("{}.{:03}", heartbeat_ms / 1000, heartbeat_ms % 1000)),
        ("SOURCE_COMPRESSION_ALGORITHMS", algorithms.join(",")),
        ("SOURCE_ZSTD_COMPRESSION_LEVEL", zstd_level.to_string()),
        ("SOURCE_SSL", flag(*tls != Tls::Disabled)),
        ("SOURCE_SSL_CA", tls.ca().unwrap_or_default().to_owned()),
        ("SOURCE_SSL_CERT", certificate.map(|it| it.cert.clone()).unwrap_or_default()),
        ("SOURCE_SSL_KEY", certificate.map(|it| it.key.clone()).unwrap_or_default()),
        ("SOURCE_SSL_VERIFY_SERVER_CERT", flag(matches!(tls, Tls::VerifyIdentity { .. }))),
        ("GET_SOURCE_PUBLIC_KEY", flag(*get_public_key)),
        ("SOURCE_DELAY", delay_seconds.to_string()),
    ]
}

/// The TLS mode that a channel's options amount to. A CA that the mode would ignore without `SOURCE_SSL` is left out.
pub fn tls_of(ssl: bool, ca: &str, verify_server_cert: bool) -> Tls {
    match (ssl, ca, verify_server_cert) {
        (false, ..) => Tls::Disabled,
        (true, ca, true) => Tls::VerifyIdentity { ca: ca.to_owned() },
        (true, "", false) => Tls::Required,
        (true, ca, false) => Tls::VerifyCa { ca: ca.to_owned() },
    }
}

/// Whether relay logs may be dropped although `waiting` of them is not executed: every readable member of the source has
/// purged nothing that is missing here, and has all of what they hold. A source that was set back has lost it.
pub fn can_be_fetched_again(facts: &Facts, executed: &GtidSet, waiting: &GtidSet) -> bool {
    let sources = || facts.source.members.got().into_iter().flatten().filter_map(|member| member.server());
    sources().next().is_some()
        && sources()
            .all(|source| source.gtid_purged.is_subset_of(executed) && waiting.is_subset_of(&source.gtid_executed))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::domain::{
        facts::ThreadState,
        sample,
        spec::{ClientCertificate, Compression},
    };

    /// A running channel, changed, and what that means for its threads.
    fn restart(change: impl FnOnce(&mut ChannelSettings), password: Password, off: &[&str]) -> Restart {
        let mut channel = sample::channel();
        let stopped = || ThreadState { state: "OFF".into(), error: None };
        for thread in off {
            if *thread == "receiver" { channel.receiver = stopped() } else { channel.applier = stopped() }
        }
        let mut want = channel.settings.clone();
        change(&mut want);
        Restart::of(&channel, &changes(&channel.settings, &want, password))
    }

    #[test]
    fn what_the_receiver_reads_leaves_the_applier_running() {
        let password = restart(|_| (), Password::Anew, &[]);
        assert_eq!(
            password.rounds,
            [Round { threads: Threads::Receiver, options: vec!["SOURCE_PASSWORD", "SOURCE_USER"] }]
        );
        for one in [
            password,
            restart(|want| want.tls = Tls::Required, Password::Kept, &[]),
            restart(|want| want.options.heartbeat_ms = 1, Password::Kept, &[]),
            restart(|want| want.options.zstd_level = 9, Password::Kept, &[]),
        ] {
            assert_eq!(
                (one.stops.as_slice(), one.starts.as_slice()),
                (&["receiver"][..], &["receiver"][..]),
                "{one:?}"
            );
            assert!(!one.holds_applier && !one.drops_relay_logs, "{one:?}");
        }
    }

    #[test]
    fn a_new_address_holds_the_applier_and_keeps_the_relay_logs() {
        let moved = restart(|want| want.port = 3307, Password::Kept, &[]);
        assert_eq!(
            moved.rounds,
            [Round { threads: Threads::Receiver, options: vec!["SOURCE_PORT", "SOURCE_HEARTBEAT_PERIOD"] }]
        );
        assert_eq!((moved.stops.len(), moved.starts.len(), moved.holds_applier), (2, 2, true));
        assert!(!moved.drops_relay_logs, "the applier runs while the address changes");
    }

    #[test]
    fn a_delay_leaves_the_receiver_running_and_is_a_statement_of_its_own() {
        let delay = restart(|want| want.options.delay_seconds = 60, Password::Kept, &[]);
        assert_eq!(delay.rounds, [Round { threads: Threads::Applier, options: vec!["SOURCE_DELAY"] }]);
        assert_eq!((delay.stops.as_slice(), delay.starts.as_slice()), (&["applier"][..], &["applier"][..]));
        let both =
            restart(|want| (want.options.delay_seconds, want.options.retry_count) = (60, 1), Password::Kept, &[]);
        assert_eq!(
            both.rounds.iter().map(|round| round.threads).collect::<Vec<_>>(),
            [Threads::Applier, Threads::Receiver]
        );
        assert!(!both.drops_relay_logs, "at no moment both are off");
    }

    #[test]
    fn relay_logs_are_dropped_where_no_thread_runs() {
        assert!(restart(|want| want.auto_position = false, Password::Kept, &[]).drops_relay_logs);
        assert!(restart(|want| want.options.retry_count = 1, Password::Kept, &["applier"]).drops_relay_logs);
        assert!(restart(|want| want.options.delay_seconds = 1, Password::Kept, &["receiver"]).drops_relay_logs);
        let resumed = restart(|want| want.options.retry_count = 1, Password::Kept, &["receiver"]);
        assert_eq!((resumed.stops.as_slice(), resumed.holds_applier), (&["applier"][..], true), "{resumed:?}");
    }

    #[test]
    fn what_was_before_is_all_that_the_receiver_reads_but_for_a_password_that_nobody_knows() {
        let settings = sample::channel().settings;
        let before = |restart: &Restart, knows| {
            restart.before(&settings, knows).iter().map(|(name, _)| *name).collect::<Vec<_>>()
        };
        let tls = restart(|want| want.tls = Tls::Required, Password::Anew, &[]);
        let files = ["SOURCE_SSL_CA", "SOURCE_SSL_VERIFY_SERVER_CERT"];
        assert_eq!((before(&tls, false), tls.changes_password()), (files.to_vec(), true));
        assert_eq!(before(&tls, true), ["SOURCE_USER", files[0], files[1]]);
        assert_eq!(tls.before(&settings, true)[1].1, "/etc/mysql/tls/ca.crt");
        let delay = restart(|want| want.options.delay_seconds = 60, Password::Kept, &[]);
        assert!(before(&delay, true).is_empty(), "the applier's own");
        let both = restart(|want| (want.auto_position, want.port) = (false, 1), Password::Kept, &[]);
        assert_eq!(before(&both, true), ["SOURCE_PORT", "SOURCE_HEARTBEAT_PERIOD"]);
        assert!(!both.changes_password());
    }

    #[test]
    fn another_account_brings_its_password() {
        let other = restart(|want| want.user = "other".into(), Password::Kept, &[]);
        assert!(other.rounds[0].options.contains(&PASSWORD), "{other:?}");
        let names = options(&settings(Tls::Required)).map(|(option, _)| option);
        assert!(names.into_iter().chain([PASSWORD]).all(|name| OPTIONS.contains(&name)));
    }

    #[test]
    fn relay_logs_may_go_only_where_the_source_still_has_all_they_hold() {
        let set = |text: &str| text.parse::<GtidSet>().unwrap();
        let uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
        let (executed, waiting) = (set(&format!("{uuid}:1-5")), set(&format!("{uuid}:6-9")));
        let with = |has: &str, purged: &str| {
            let mut facts = sample::facts();
            for index in 0..sample::SOURCE.len() {
                let source = sample::source(&mut facts, index);
                (source.gtid_executed, source.gtid_purged) = (set(&format!("{uuid}:{has}")), set(purged));
            }
            can_be_fetched_again(&facts, &executed, &waiting)
        };
        assert!(with("1-9", ""));
        assert!(!with("1-7", ""), "a source that was set back has lost it");
        assert!(!with("1-9", &format!("{uuid}:1-6")), "a source that has purged it cannot send it");
        let mut unread = sample::facts();
        sample::sources(&mut unread).clear();
        assert!(!can_be_fetched_again(&unread, &executed, &waiting), "nobody answers");
    }

    fn settings(tls: Tls) -> ChannelSettings {
        ChannelSettings {
            host: "pxc-source.production.global".into(),
            port: 3306,
            user: "repl".into(),
            tls,
            client_certificate: None,
            get_public_key: false,
            auto_position: true,
            options: ChannelOptions::default(),
        }
    }

    #[test]
    fn a_channel_does_not_differ_from_itself() {
        for tls in
            [Tls::Disabled, Tls::Required, Tls::VerifyCa { ca: "/c".into() }, Tls::VerifyIdentity { ca: "/c".into() }]
        {
            assert_eq!(channel_differences(&settings(tls.clone()), &settings(tls)), []);
        }
    }

    #[test]
    fn each_setting_is_compared_and_named() {
        let have = settings(Tls::VerifyIdentity { ca: "/c".into() });
        let want = ChannelSettings {
            host: "h".into(),
            port: 1,
            user: "u".into(),
            tls: Tls::Disabled,
            client_certificate: Some(ClientCertificate { cert: "/c.crt".into(), key: "/c.key".into() }),
            get_public_key: true,
            auto_position: false,
            options: ChannelOptions {
                connect_retry: 60,
                retry_count: 10,
                heartbeat_ms: 30_500,
                compression: BTreeSet::from([Compression::Uncompressed, Compression::Zstd]),
                zstd_level: 9,
                delay_seconds: 3600,
            },
        };
        let fields = channel_differences(&have, &want);
        let shown: Vec<_> = fields.iter().map(|c| (c.field.as_str(), c.before.as_str(), c.after.as_str())).collect();
        assert_eq!(
            shown,
            [
                ("SOURCE_HOST", "pxc-source.production.global", "h"),
                ("SOURCE_PORT", "3306", "1"),
                ("SOURCE_USER", "repl", "u"),
                ("SOURCE_AUTO_POSITION", "1", "0"),
                ("SOURCE_CONNECT_RETRY", "10", "60"),
                ("SOURCE_RETRY_COUNT", "86400", "10"),
                ("SOURCE_HEARTBEAT_PERIOD", "5.000", "30.500"),
                ("SOURCE_COMPRESSION_ALGORITHMS", "uncompressed", "zstd,uncompressed"),
                ("SOURCE_ZSTD_COMPRESSION_LEVEL", "3", "9"),
                ("SOURCE_SSL", "1", "0"),
                ("SOURCE_SSL_CA", "/c", ""),
                ("SOURCE_SSL_CERT", "", "/c.crt"),
                ("SOURCE_SSL_KEY", "", "/c.key"),
                ("SOURCE_SSL_VERIFY_SERVER_CERT", "1", "0"),
                ("GET_SOURCE_PUBLIC_KEY", "0", "1"),
                ("SOURCE_DELAY", "0", "3600"),
            ]
        );
    }

    #[test]
    fn a_mode_survives_the_way_through_the_options() {
        for tls in
            [Tls::Disabled, Tls::Required, Tls::VerifyCa { ca: "/c".into() }, Tls::VerifyIdentity { ca: "/c".into() }]
        {
            let verify = matches!(tls, Tls::VerifyIdentity { .. });
            assert_eq!(tls_of(tls != Tls::Disabled, tls.ca().unwrap_or_default(), verify), tls);
        }
    }
}
