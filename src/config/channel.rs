//! The channel as it is written under `replication:`: its account, its encryption, and how patient it is.

use std::{collections::BTreeSet, fmt::Display, ops::RangeInclusive, time::Duration};

use super::{
    link::SecretsIn,
    names,
    raw::{self, TlsMode},
    show::Origin,
    validate::Validator,
};
use crate::domain::spec::{
    Account, ChannelOptions, ClientCertificate, Compression, LagThresholds, ReplicationSpec, ServiceSpec, Tls,
};

/// Where servers listen for heartbeats that come too seldom: `replica_net_timeout` is 60 s unless set, and a period beyond it lets
/// the receiver reconnect again and again.
const HEARTBEAT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_mins(1);
/// Longest time between two attempts to connect; the outage that it adds to one is then a minute at most.
const CONNECT_RETRY: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(1);
/// The server's bound for `SOURCE_DELAY` is 2^31 - 1 seconds; nobody means more than a year.
const DELAY: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(366 * 24);
/// What `replication:` says.
pub(super) struct Receiver {
    account: Account,
    channel: String,
    tls: Tls,
    client_certificate: Option<ClientCertificate>,
    options: ChannelOptions,
}

/// What the rest of a link says of its replication.
pub(super) struct Reached {
    pub(super) port: u16,
    pub(super) source_account: Option<Account>,
    pub(super) replica_account: Account,
    pub(super) lag: LagThresholds,
}

impl Receiver {
    pub(super) fn service(self, reached: Reached) -> ServiceSpec {
        let Self { account, channel, tls, client_certificate, options } = self;
        let Reached { port, source_account, replica_account, lag } = reached;
        ServiceSpec::Replication(Box::new(ReplicationSpec {
            port,
            source_account,
            replica_account,
            account,
            channel,
            tls,
            client_certificate,
            options,
            lag,
        }))
    }
}

impl Validator<'_> {
    /// `replication:` of the link at `base`.
    pub(super) fn replication(
        &mut self,
        base: &str,
        raw: raw::Replication,
        link: &str,
        secrets: SecretsIn,
    ) -> Option<Receiver> {
        let key = |leaf: &str| format!("{base}.replication.{leaf}");
        let how = "write `account:` with `user` and `password` below it";
        let account =
            self.need(&key("account"), raw.account, how).and_then(|it| self.account(&key("account"), it, secrets));
        let how = "leave `channel` out and it is called like the link";
        let channel = self.optional(&key("channel"), raw.channel, names::channel, how);
        if !self.written(&key("channel")) {
            self.note(&key("channel"), link, Origin::Derived { of: "the link's name".into() });
        }
        let tls = self.tls(&key("tls"), raw.tls.unwrap_or_default(), &format!("{base}.source.account"));
        let options = ChannelOptions {
            connect_retry: self.seconds(&key("connectRetry"), raw.connect_retry, ("10s", 10), CONNECT_RETRY),
            retry_count: self.number(&key("retryCount"), raw.retry_count, ChannelOptions::default().retry_count),
            heartbeat_ms: self.heartbeat(&key("heartbeat"), raw.heartbeat),
            compression: self.compression(&key("compression"), raw.compression),
            zstd_level: self.number(&key("zstdLevel"), raw.zstd_level, ChannelOptions::default().zstd_level),
            delay_seconds: self.seconds(&key("delay"), raw.delay, ("0s", 0), DELAY),
        };
        let (tls, client_certificate) = tls?;
        let channel = channel.unwrap_or_else(|| link.to_owned());
        Some(Receiver { account: account?, channel, tls, client_certificate, options })
    }

    fn tls(&mut self, base: &str, tls: raw::Tls, reader: &str) -> Option<(Tls, Option<ClientCertificate>)> {
        let key = |leaf: &str| format!("{base}.{leaf}");
        if tls.mode.is_none() && self.written(&key("mode")) {
            return None;
        }
        let mode = tls.mode.unwrap_or(TlsMode::Required);
        let name = match mode {
            TlsMode::Disabled => "disabled",
            TlsMode::Required => "required",
            TlsMode::VerifyCa => "verify-ca",
            TlsMode::VerifyIdentity => "verify-identity",
        };
        match tls.mode {
            Some(_) => self.note_written(&key("mode"), name),
            None => self.note(&key("mode"), name, Origin::Default),
        }
        let unfit: &[&str] = match mode {
            TlsMode::Disabled => &["ca", "cert", "key"],
            TlsMode::Required => &["ca"],
            TlsMode::VerifyCa | TlsMode::VerifyIdentity => &[],
        };
        let unfit: Vec<&str> = unfit.iter().copied().filter(|leaf| self.written(&key(leaf))).collect();
        for leaf in &unfit {
            let fault = format!("has no meaning with `mode: {name}`");
            self.fault(&key(leaf), &fault, None, &format!("take `{leaf}` out, or choose a mode that uses it"));
        }
        if !unfit.is_empty() {
            return None;
        }
        let (certificate, faultless) = self.client_certificate(base, tls.cert, tls.key, reader);
        let how = "write the path at which the members have the CA's certificate, such as `ca: /etc/mysql/ssl/ca.crt`";
        let ca = |it: &mut Self| it.required(&key("ca"), tls.ca.clone(), names::member_path, how);
        let tls = match mode {
            TlsMode::Disabled => Tls::Disabled,
            TlsMode::Required => Tls::Required,
            TlsMode::VerifyCa => Tls::VerifyCa { ca: ca(self)? },
            TlsMode::VerifyIdentity => Tls::VerifyIdentity { ca: ca(self)? },
        };
        faultless.then_some((tls, certificate))
    }

    /// The certificate that the receiver shows, if a good one is written, and whether nothing is wrong with what is written of it.
    fn client_certificate(
        &mut self,
        base: &str,
        cert: Option<String>,
        key: Option<String>,
        reader: &str,
    ) -> (Option<ClientCertificate>, bool) {
        let at = |leaf: &str| format!("{base}.{leaf}");
        if !self.written(&at("cert")) && !self.written(&at("key")) {
            return (None, true);
        }
        let how = "write both paths on the replica's members, such as `cert: /etc/mysql/ssl/repl.crt, key: /etc/mysql/ssl/repl.key`";
        let cert = self.required(&at("cert"), cert, names::member_path, how);
        let key = self.required(&at("key"), key, names::member_path, how);
        if !self.written(reader) {
            let fault = "needs an account of its own that reads the source: this tool has not the key to log in with the channel's";
            self.fault(&at("cert"), fault, None, "write `source.account` with `user` and `password`");
            return (None, false);
        }
        let pair = cert.zip(key).map(|(cert, key)| ClientCertificate { cert, key });
        let faultless = pair.is_some();
        (pair, faultless)
    }

    /// A duration within bounds; the default where it is left out or wrong.
    fn span(
        &mut self,
        path: &str,
        text: Option<String>,
        default: (&str, Duration),
        bounds: RangeInclusive<Duration>,
    ) -> Duration {
        let form = |text: &str| {
            let span = names::duration_or_zero(text)?;
            if bounds.contains(&span) { Ok(()) } else { Err("is out of bounds") }
        };
        let (least, most) = (bounds.start(), bounds.end());
        let how = format!("write a duration from {least:?} to {}s, such as `{}`", most.as_secs(), default.0);
        let text = self.optional(path, text, form, &how);
        if !self.written(path) {
            self.note(path, default.0, Origin::Default);
        }
        text.and_then(|text| names::duration_or_zero(&text).ok()).unwrap_or(default.1)
    }

    /// The same in whole seconds.
    fn seconds(
        &mut self,
        path: &str,
        text: Option<String>,
        default: (&str, u32),
        bounds: RangeInclusive<Duration>,
    ) -> u32 {
        let span = self.span(path, text, (default.0, Duration::from_secs(default.1.into())), bounds);
        if span.subsec_nanos() != 0 {
            self.fault(
                path,
                "is no whole number of seconds",
                None,
                "the server counts it in seconds: write `1s` or more",
            );
        }
        u32::try_from(span.as_secs()).unwrap_or(u32::MAX)
    }

    fn heartbeat(&mut self, path: &str, text: Option<String>) -> u64 {
        let default = ChannelOptions::default().heartbeat_ms;
        let span = self.span(path, text, ("5s", Duration::from_millis(default)), HEARTBEAT);
        if !span.subsec_nanos().is_multiple_of(1_000_000) {
            self.fault(path, "is no whole number of milliseconds", None, "write `1s`, `500ms` or the like");
        }
        u64::try_from(span.as_millis()).unwrap_or(default)
    }

    /// A number whose bounds the schema has.
    fn number<T: Copy + Display>(&mut self, path: &str, number: Option<T>, default: T) -> T {
        match number {
            Some(number) => self.note_written(path, number),
            None => self.note(path, default, Origin::Default),
        }
        number.unwrap_or(default)
    }

    fn compression(&mut self, path: &str, list: Option<Vec<raw::Compression>>) -> BTreeSet<Compression> {
        let Some(list) = list else {
            let default = ChannelOptions::default().compression;
            self.note(path, Compression::Uncompressed, Origin::Default);
            return default;
        };
        let set: BTreeSet<Compression> = list
            .iter()
            .map(|form| match form {
                raw::Compression::Zlib => Compression::Zlib,
                raw::Compression::Zstd => Compression::Zstd,
                raw::Compression::Uncompressed => Compression::Uncompressed,
            })
            .collect();
        if set.is_empty() {
            self.fault(path, "names no form", None, "write `[uncompressed]`, or `[zstd, uncompressed]` to prefer zstd");
        }
        let names: Vec<String> = set.iter().map(ToString::to_string).collect();
        self.note_written(path, names.join(","));
        set
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::check;

    const GOOD: &str = "\
apiVersion: pxc-link.io/v1alpha1
kind: Links
links:
  production:
    source:
      endpoints: [{address: db_1, port: 3306}]
      account: {user: reader, password: {env: A}}
    replica:
      server: {host: 127.0.0.1, port: 3307}
      account: {user: pxc_link, password: {env: B}}
    replication:
      account: {user: repl, password: {env: C}}
";

    fn replication(more: &str) -> ReplicationSpec {
        let links = check(&format!("{GOOD}{more}"), Path::new("pxc-link.yaml")).unwrap();
        links[0].replication().unwrap().replication.clone()
    }

    fn wrong(text: &str) -> String {
        let problems = check(text, Path::new("pxc-link.yaml")).unwrap_err();
        problems.iter().map(|problem| problem.message.as_str()).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let left_out = replication("");
        assert_eq!((left_out.tls, left_out.client_certificate), (Tls::Required, None));
        assert_eq!(left_out.options, ChannelOptions::default());
    }

    #[test]
    fn every_option_is_read() {
        let written = replication(
            "      connectRetry: 1m\n      retryCount: 0\n      heartbeat: 1.5s\n      compression: [uncompressed, zstd]\n      \
             zstdLevel: 7\n      delay: 1h\n",
        );
        let options = ChannelOptions {
            connect_retry: 60,
            retry_count: 0,
            heartbeat_ms: 1500,
            compression: BTreeSet::from([Compression::Zstd, Compression::Uncompressed]),
            zstd_level: 7,
            delay_seconds: 3600,
        };
        assert_eq!(written.options, options);
        assert_eq!(replication("      delay: 0s\n").options, ChannelOptions::default());
    }

    #[test]
    fn what_the_server_would_refuse_or_round_is_refused() {
        for (more, said) in [
            ("connectRetry: 0s", "connectRetry` is out of bounds"),
            ("connectRetry: 1500ms", "connectRetry` is no whole number of seconds"),
            ("heartbeat: 0s", "heartbeat` is out of bounds"),
            ("heartbeat: 61s", "heartbeat` is out of bounds"),
            ("heartbeat: soon", "heartbeat` is no duration"),
            ("compression: []", "compression` names no form"),
            ("compression: [lz4]", "compression"),
            ("zstdLevel: 23", "zstdLevel` is not between 1 and 22"),
            ("retryCount: -1", "retryCount"),
            ("delay: 500ms", "delay` is no whole number of seconds"),
        ] {
            let seen = wrong(&format!("{GOOD}      {more}\n"));
            assert!(seen.contains(said), "{more}: {seen}");
        }
    }

    #[test]
    fn each_mode_takes_the_files_it_uses() {
        let client = ClientCertificate { cert: "/c.crt".into(), key: "/c.key".into() };
        for (mode, tls) in [
            ("required", Tls::Required),
            ("verify-ca, ca: /ca", Tls::VerifyCa { ca: "/ca".into() }),
            ("verify-identity, ca: /ca", Tls::VerifyIdentity { ca: "/ca".into() }),
        ] {
            let with = replication(&format!("      tls: {{mode: {mode}, cert: /c.crt, key: /c.key}}\n"));
            assert_eq!((with.tls, with.client_certificate), (tls, Some(client.clone())));
        }
        for (tls, said) in [
            ("mode: disabled, ca: /ca", "ca` has no meaning with `mode: disabled`"),
            ("mode: disabled, cert: /c.crt, key: /c.key", "cert` has no meaning"),
            ("mode: required, ca: /ca", "ca` has no meaning with `mode: required`"),
            ("mode: verify-ca", "ca` is missing"),
            ("cert: /c.crt", "key` is missing"),
            ("cert: c.crt, key: /c.key", "cert` must be an absolute path"),
        ] {
            let seen = wrong(&format!("{GOOD}      tls: {{{tls}}}\n"));
            assert!(seen.contains(said), "{tls}: {seen}");
        }
        let without = GOOD.replace("      account: {user: reader, password: {env: A}}\n", "");
        let seen = wrong(&format!("{without}      tls: {{cert: /c.crt, key: /c.key}}\n"));
        assert!(seen.contains("needs an account of its own that reads the source"), "{seen}");
    }
}
