//! The verbs that change a channel. Each names its channel; each may be run again.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use tokio::sync::Mutex;

use super::{
    client::Server,
    error::MysqlError,
    statements::{self, Statement},
};
use crate::{
    domain::{
        channel::{self, Threads},
        problem::Problem,
        quote,
    },
    wait::{Deadline, Look, poll_until},
};

/// The longest replication password, in bytes (error 3056 says characters and means bytes, seen on MySQL 9.7).
const PASSWORD_LIMIT: usize = 32;

/// `ER_REPLICA_CHANNEL_DOES_NOT_EXIST`.
const NO_SUCH_CHANNEL: u16 = 3074;

/// How often a thread that was told to stop is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Errors of `CHANGE REPLICATION SOURCE` whose texts are known not to repeat a value of the statement: privileges, threads
/// that run, no such channel, password too long, GTID mode, no `server_id`, options that exclude each other.
const SILENT_ON_VALUES: [u16; 10] = [1227, 1776, 1777, 1794, 3021, 3056, 3074, 3081, 3085, 3112];

impl Server {
    /// Sets options of a channel, and its password where one is given; creates the channel where there is none. The threads that
    /// read the options must be off. The password goes through buffers that are wiped, and into no log and no error.
    ///
    /// # Errors
    /// A value that cannot be sent, or as any statement; a server's text that may repeat a value is left out.
    pub async fn change_source(
        &mut self,
        channel: &str,
        options: &[(&'static str, String)],
        password: Option<&SecretString>,
        deadline: Deadline,
    ) -> Result<(), MysqlError> {
        let text = change_source_text(channel, options, password.map(ExposeSecret::expose_secret))?;
        match self.send(statements::CHANGE_REPLICATION_SOURCE, &text, deadline).await {
            Ok(_) => Ok(()),
            Err(error) => Err(without_values(error)),
        }
    }

    /// The password that a channel has; `None` where there is no such channel, or it has none.
    ///
    /// # Errors
    /// As any statement; to an account without the privilege to read it the server does not tell it.
    pub async fn channel_password(
        &mut self,
        channel: &str,
        deadline: Deadline,
    ) -> Result<Option<SecretString>, MysqlError> {
        let statement = statements::CHANNEL_PASSWORD;
        let name = channel_literal(channel)?;
        let rows = self.send(statement, &statement.filled(&[("channel", &name)]), deadline).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let password: Option<String> = self.field(statement, row, "password")?;
        Ok(password.filter(|password| !password.is_empty()).map(SecretString::from))
    }

    /// Starts the receiver. It returns before the receiver has connected: only observing shows whether it does.
    ///
    /// # Errors
    /// As any statement.
    pub async fn start_receiver(&mut self, channel: &str, deadline: Deadline) -> Result<(), MysqlError> {
        self.on_channel(statements::START_RECEIVER, channel, deadline).await
    }

    /// Starts the applier. It returns before anything is applied.
    ///
    /// # Errors
    /// As any statement.
    pub async fn start_applier(&mut self, channel: &str, deadline: Deadline) -> Result<(), MysqlError> {
        self.on_channel(statements::START_APPLIER, channel, deadline).await
    }

    /// Stops threads, the receiver first, and waits until they are off; a channel that does not exist is off.
    ///
    /// # Errors
    /// As any statement; out of time where one goes on.
    pub async fn stop(&mut self, channel: &str, threads: Threads, deadline: Deadline) -> Result<(), Problem> {
        if threads.receiver() {
            absent_is_fine(self.on_channel(statements::STOP_RECEIVER, channel, deadline).await)?;
        }
        if threads.applier() {
            absent_is_fine(self.on_channel(statements::STOP_APPLIER, channel, deadline).await)?;
        }
        let what = format!("the stop of channel `{channel}` on {}", self.name);
        let server = Mutex::new(self);
        poll_until(
            &what,
            deadline,
            LOOK,
            |_, _| (),
            || async { server.lock().await.look_whether_off(channel, threads, deadline).await },
        )
        .await
    }

    /// Deletes the channel, its settings and its relay logs, and nothing of any other; both threads must be off. It is the
    /// caller who knows that what the relay logs hold can be fetched again. A channel that does not exist is deleted.
    ///
    /// # Errors
    /// As any statement.
    pub async fn reset_all(&mut self, channel: &str, deadline: Deadline) -> Result<(), MysqlError> {
        absent_is_fine(self.on_channel(statements::RESET_REPLICA_ALL, channel, deadline).await)
    }

    async fn on_channel(&mut self, statement: Statement, channel: &str, deadline: Deadline) -> Result<(), MysqlError> {
        let name = channel_literal(channel)?;
        self.send(statement, &statement.filled(&[("channel", &name)]), deadline).await.map(drop)
    }

    /// A stop may be answered before the thread has ended, so only its state says that it has.
    async fn look_whether_off(
        &mut self,
        channel: &str,
        threads: Threads,
        deadline: Deadline,
    ) -> Result<Look<()>, Problem> {
        let statement = statements::CHANNEL_THREADS;
        let name = channel_literal(channel)?;
        let rows = self.send(statement, &statement.filled(&[("channel", &name)]), deadline).await?;
        let Some(row) = rows.first() else { return Ok(Look::Ready(())) };
        let receiver: String = self.field(statement, row, "receiver_state")?;
        let applier: String = self.field(statement, row, "applier_state")?;
        let off = (receiver == "OFF" || !threads.receiver()) && (applier == "OFF" || !threads.applier());
        Ok(if off { Look::Ready(()) } else { Look::NotYet(format!("receiver {receiver}, applier {applier}")) })
    }
}

/// A channel's name as a literal, if a link can have that channel.
pub(super) fn channel_literal(channel: &str) -> Result<Zeroizing<String>, MysqlError> {
    let refused = || MysqlError::ChannelName { channel: channel.to_owned() };
    let fits = (1..=64).contains(&channel.len())
        && channel.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
        && !["group_replication_applier", "group_replication_recovery"].contains(&channel);
    if fits { quote::literal(channel).map_err(|_| refused()) } else { Err(refused()) }
}

/// The options whose values are string literals; all others are numbers.
const TEXT_OPTIONS: [(&str, &str); 6] = [
    ("SOURCE_HOST", "host"),
    ("SOURCE_USER", "user"),
    ("SOURCE_COMPRESSION_ALGORITHMS", "compression"),
    ("SOURCE_SSL_CA", "CA file"),
    ("SOURCE_SSL_CERT", "certificate file"),
    ("SOURCE_SSL_KEY", "key file"),
];

fn change_source_text(
    channel: &str,
    options: &[(&'static str, String)],
    password: Option<&str>,
) -> Result<Zeroizing<String>, MysqlError> {
    let literal = |field: &'static str, value: &str| {
        quote::channel_literal(value).map_err(|why| MysqlError::Unsendable { field, why })
    };
    let mut settings: Vec<Zeroizing<String>> = Vec::new();
    for (option, value) in options {
        settings.push(match TEXT_OPTIONS.iter().find(|(text, _)| text == option) {
            Some((_, field)) => Zeroizing::new(format!("{option} = {}", *literal(field, value)?)),
            None => Zeroizing::new(format!("{option} = {value}")),
        });
    }
    if let Some(password) = password {
        if password.len() > PASSWORD_LIMIT {
            return Err(MysqlError::PasswordTooLong { bytes: password.len() });
        }
        // Pieces that are joined without a buffer that grows.
        let mut setting = Zeroizing::new(String::with_capacity(channel::PASSWORD.len() + 3 + 2 * password.len() + 2));
        setting.push_str(channel::PASSWORD);
        setting.push_str(" = ");
        setting.push_str(&literal("password", password)?);
        settings.push(setting);
    }
    let channel = channel_literal(channel)?;
    let settings: Vec<&str> = settings.iter().map(|setting| setting.as_str()).collect();
    let settings = Zeroizing::new(settings.join(",\n  "));
    Ok(statements::CHANGE_REPLICATION_SOURCE.filled(&[("options", &settings), ("channel", &channel)]))
}

fn absent_is_fine(result: Result<(), MysqlError>) -> Result<(), MysqlError> {
    match result {
        Err(error) if error.errno() == Some(NO_SUCH_CHANNEL) => Ok(()),
        other => other,
    }
}

/// The server repeats parts of a statement in some texts (1064: what it could not read; 1525: a whole value).
fn without_values(error: MysqlError) -> MysqlError {
    match error {
        MysqlError::Statement { server, account, statement, errno, .. } if !SILENT_ON_VALUES.contains(&errno) => {
            let text = "the server's text is left out, for it may repeat the password".to_owned();
            MysqlError::Statement { server, account, statement, errno, text }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        facts::ChannelSettings,
        quote::Unsendable,
        sample,
        spec::{ClientCertificate, Tls},
    };

    fn settings(tls: Tls) -> ChannelSettings {
        ChannelSettings { get_public_key: tls == Tls::Disabled, tls, ..sample::channel().settings }
    }

    fn text(settings: &ChannelSettings) -> String {
        change_source_text("production", &channel::options(settings), Some(r"p'\{host}")).unwrap().to_string()
    }

    #[test]
    fn every_setting_is_written_out() {
        let mut settings = settings(Tls::VerifyIdentity { ca: "/etc/mysql/tls/ca.crt".into() });
        settings.client_certificate =
            Some(ClientCertificate { cert: "/tls/it's.crt".into(), key: "/tls/it.key".into() });
        insta::assert_snapshot!(text(&settings), @r"
        CHANGE REPLICATION SOURCE TO
          SOURCE_HOST = 'pxc-source.production.global',
          SOURCE_PORT = 3306,
          SOURCE_USER = 'repl',
          SOURCE_AUTO_POSITION = 1,
          SOURCE_CONNECT_RETRY = 10,
          SOURCE_RETRY_COUNT = 86400,
          SOURCE_HEARTBEAT_PERIOD = 5.000,
          SOURCE_COMPRESSION_ALGORITHMS = 'uncompressed',
          SOURCE_ZSTD_COMPRESSION_LEVEL = 3,
          SOURCE_SSL = 1,
          SOURCE_SSL_CA = '/etc/mysql/tls/ca.crt',
          SOURCE_SSL_CERT = '/tls/it''s.crt',
          SOURCE_SSL_KEY = '/tls/it.key',
          SOURCE_SSL_VERIFY_SERVER_CERT = 1,
          GET_SOURCE_PUBLIC_KEY = 0,
          SOURCE_DELAY = 0,
          SOURCE_PASSWORD = 'p''\\{host}'
        FOR CHANNEL 'production'
        ");
        settings.tls = Tls::Disabled;
        settings.client_certificate = None;
        let plain = text(&settings);
        for option in ["SOURCE_SSL = 0,", "SOURCE_SSL_CA = '',", "SOURCE_SSL_CERT = '',"] {
            assert!(plain.contains(option), "{option}: {plain}");
        }
    }

    #[test]
    fn only_what_is_given_is_named() {
        let text = change_source_text("production", &[("SOURCE_DELAY", "60".to_owned())], None).unwrap();
        assert_eq!(text.as_str(), "CHANGE REPLICATION SOURCE TO\n  SOURCE_DELAY = 60\nFOR CHANNEL 'production'");
    }

    #[test]
    fn what_cannot_be_sent_is_refused_before_it_is_sent() {
        let refused = |channel: &str, password: &str| {
            change_source_text(channel, &channel::options(&settings(Tls::Required)), Some(password)).unwrap_err()
        };
        assert!(matches!(refused("c", &"é".repeat(17)), MysqlError::PasswordTooLong { bytes: 34 }));
        let newline = MysqlError::Unsendable { field: "password", why: Unsendable::Newline };
        assert_eq!(refused("c", "a\nb").to_string(), newline.to_string());
        for channel in ["", "a'b", "group_replication_applier", &"c".repeat(65)] {
            assert!(matches!(refused(channel, "p"), MysqlError::ChannelName { .. }), "{channel}");
        }
    }

    #[test]
    fn a_text_that_may_repeat_the_password_is_left_out() {
        let answer = |errno| {
            let text = "near 'secret'".to_owned();
            let error = without_values(MysqlError::Statement {
                server: "s".into(),
                account: "a@b".into(),
                statement: statements::CHANGE_REPLICATION_SOURCE.name,
                errno,
                text,
            });
            Problem::from(error).evidence.concat().contains("secret")
        };
        assert!(!answer(1064) && !answer(1525) && answer(3021));
    }
}
