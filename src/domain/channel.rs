//! A channel's settings: what a link wants them to be, and how those of a server differ.

use super::{
    facts::{ChannelSettings, Facts},
    gtid::GtidSet,
    plan::FieldChange,
    spec::{ReplicationLink, Tls},
};

/// Seconds between two attempts of the receiver to connect.
const CONNECT_RETRY: u32 = 10;

/// Attempts before the receiver gives up: ten days. The server's own default is 10 on MySQL 9 (seen on 9.7), so that an
/// outage of minutes would end replication for good.
const RETRY_COUNT: u64 = 86_400;

/// Milliseconds between two heartbeats of an idle source: silence is noticed long before an idle connection is cut.
const HEARTBEAT_MS: u64 = 5_000;

/// The settings that the link's channel is to have.
pub fn desired_channel(spec: ReplicationLink<'_>) -> ChannelSettings {
    ChannelSettings {
        host: spec.host.clone(),
        port: spec.replication.port,
        user: spec.replication.account.user.clone(),
        tls: spec.replication.tls.clone(),
        // Without TLS only the server's key lets a password of caching_sha2_password through.
        get_public_key: spec.replication.tls == Tls::Disabled,
        auto_position: true,
        connect_retry: CONNECT_RETRY,
        retry_count: RETRY_COUNT,
        heartbeat_ms: HEARTBEAT_MS,
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

/// Every setting as an option and its value.
pub fn options(settings: &ChannelSettings) -> [(&'static str, String); 11] {
    // Taken apart by name, so that a new setting cannot be forgotten here.
    let ChannelSettings {
        host,
        port,
        user,
        tls,
        get_public_key,
        auto_position,
        connect_retry,
        retry_count,
        heartbeat_ms,
    } = settings;
    let flag = |on: bool| u8::from(on).to_string();
    [
        ("SOURCE_HOST", host.clone()),
        ("SOURCE_PORT", port.to_string()),
        ("SOURCE_USER", user.clone()),
        ("SOURCE_AUTO_POSITION", flag(*auto_position)),
        ("SOURCE_CONNECT_RETRY", connect_retry.to_string()),
        ("SOURCE_RETRY_COUNT", retry_count.to_string()),
        ("SOURCE_HEARTBEAT_PERIOD", format!("{}.{:03}", heartbeat_ms / 1000, heartbeat_ms % 1000)),
        ("SOURCE_SSL", flag(*tls != Tls::Disabled)),
        ("SOURCE_SSL_CA", tls.ca().unwrap_or_default().to_owned()),
        ("SOURCE_SSL_VERIFY_SERVER_CERT", flag(matches!(tls, Tls::VerifyIdentity { .. }))),
        ("GET_SOURCE_PUBLIC_KEY", flag(*get_public_key)),
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
    use super::*;
    use crate::domain::sample;

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
            get_public_key: false,
            auto_position: true,
            connect_retry: 10,
            retry_count: 86_400,
            heartbeat_ms: 5_000,
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
            get_public_key: true,
            auto_position: false,
            connect_retry: 60,
            retry_count: 10,
            heartbeat_ms: 30_500,
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
                ("SOURCE_SSL", "1", "0"),
                ("SOURCE_SSL_CA", "/c", ""),
                ("SOURCE_SSL_VERIFY_SERVER_CERT", "1", "0"),
                ("GET_SOURCE_PUBLIC_KEY", "0", "1"),
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
