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
    domain::{channel, facts::ChannelSettings, problem::Problem, quote},
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

/// One of a channel's two threads, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Threads {
    Receiver,
    Applier,
    Both,
}

impl Server {
    /// Sets every setting of a channel that this tool owns, and the password; creates the channel where there is none.
    /// Both threads must be off. The password goes through one buffer that is wiped, and into no log and no error.
    ///
    /// # Errors
    /// A value that cannot be sent, or as any statement; a server's text that may repeat a value is left out.
    pub async fn change_source(
        &mut self,
        channel: &str,
        settings: &ChannelSettings,
        password: &SecretString,
        deadline: Deadline,
    ) -> Result<(), MysqlError> {
        let text = change_source_text(channel, settings, password.expose_secret())?;
        match self.send(statements::CHANGE_REPLICATION_SOURCE, &text, deadline).await {
            Ok(_) => Ok(()),
            Err(error) => Err(without_values(error)),
        }
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

    /// Stops the receiver and waits until it is off; a channel that does not exist is off.
    ///
    /// # Errors
    /// As any statement; out of time where it goes on.
    pub async fn stop_receiver(&mut self, channel: &str, deadline: Deadline) -> Result<(), Problem> {
        self.stop_threads(channel, Threads::Receiver, deadline).await
    }

    /// Stops the applier and waits until it is off; a channel that does not exist is off.
    ///
    /// # Errors
    /// As any statement; out of time where it goes on.
    pub async fn stop_applier(&mut self, channel: &str, deadline: Deadline) -> Result<(), Problem> {
        self.stop_threads(channel, Threads::Applier, deadline).await
    }

    /// Stops both threads, the receiver first, and waits until they are off; a channel that does not exist is off.
    ///
    /// # Errors
    /// As any statement; out of time where one goes on.
    pub async fn stop(&mut self, channel: &str, deadline: Deadline) -> Result<(), Problem> {
        self.stop_threads(channel, Threads::Both, deadline).await
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

    async fn stop_threads(&mut self, channel: &str, threads: Threads, deadline: Deadline) -> Result<(), Problem> {
        let statements: &[Statement] = match threads {
            Threads::Receiver => &[statements::STOP_RECEIVER],
            Threads::Applier => &[statements::STOP_APPLIER],
            Threads::Both => &[statements::STOP_RECEIVER, statements::STOP_APPLIER],
        };
        for statement in statements {
            absent_is_fine(self.on_channel(*statement, channel, deadline).await)?;
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
        let off = match threads {
            Threads::Receiver => receiver == "OFF",
            Threads::Applier => applier == "OFF",
            Threads::Both => receiver == "OFF" && applier == "OFF",
        };
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
const TEXT_OPTIONS: [(&str, &str); 3] =
    [("SOURCE_HOST", "host"), ("SOURCE_USER", "user"), ("SOURCE_SSL_CA", "CA file")];

fn change_source_text(
    channel: &str,
    settings: &ChannelSettings,
    password: &str,
) -> Result<Zeroizing<String>, MysqlError> {
    if password.len() > PASSWORD_LIMIT {
        return Err(MysqlError::PasswordTooLong { bytes: password.len() });
    }
    let literal =
        |field: &'static str, value: &str| quote::literal(value).map_err(|why| MysqlError::Unsendable { field, why });
    let password = literal("password", password)?;
    let channel = channel_literal(channel)?;
    let mut options = channel::options(settings);
    for (option, value) in &mut options {
        if let Some((_, field)) = TEXT_OPTIONS.iter().find(|(text, _)| text == option) {
            *value = literal(field, value)?.to_string();
        }
    }
    let values: Vec<(&str, &str)> = options
        .iter()
        .map(|(option, value)| (*option, value.as_str()))
        .chain([("SOURCE_PASSWORD", password.as_str()), ("channel", channel.as_str())])
        .collect();
    Ok(statements::CHANGE_REPLICATION_SOURCE.filled(&values))
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
    use crate::domain::{quote::Unsendable, spec::Tls};

    fn settings(tls: Tls) -> ChannelSettings {
        ChannelSettings {
            host: "pxc-source.production.global".into(),
            port: 3306,
            user: "repl".into(),
            get_public_key: tls == Tls::Disabled,
            tls,
            auto_position: true,
            connect_retry: 10,
            retry_count: 86_400,
            heartbeat_ms: 5_000,
        }
    }

    #[test]
    fn every_setting_is_written_out() {
        let text = |tls| change_source_text("production", &settings(tls), r"p'\{host}").unwrap().to_string();
        insta::assert_snapshot!(text(Tls::VerifyIdentity { ca: "/etc/mysql/tls/ca.crt".into() }), @r"
        CHANGE REPLICATION SOURCE TO
          SOURCE_HOST = 'pxc-source.production.global',
          SOURCE_PORT = 3306,
          SOURCE_USER = 'repl',
          SOURCE_PASSWORD = 'p''\\{host}',
          SOURCE_AUTO_POSITION = 1,
          SOURCE_CONNECT_RETRY = 10,
          SOURCE_RETRY_COUNT = 86400,
          SOURCE_HEARTBEAT_PERIOD = 5.000,
          SOURCE_SSL = 1,
          SOURCE_SSL_CA = '/etc/mysql/tls/ca.crt',
          SOURCE_SSL_VERIFY_SERVER_CERT = 1,
          GET_SOURCE_PUBLIC_KEY = 0
        FOR CHANNEL 'production'
        ");
        let plain = text(Tls::Disabled);
        for option in ["SOURCE_SSL = 0,", "SOURCE_SSL_CA = '',", "GET_SOURCE_PUBLIC_KEY = 1"] {
            assert!(plain.contains(option), "{option}: {plain}");
        }
        for (option, _) in channel::options(&settings(Tls::Required)) {
            assert!(plain.contains(&format!(" {option} = ")), "{option}");
        }
    }

    #[test]
    fn what_cannot_be_sent_is_refused_before_it_is_sent() {
        let refused = |channel: &str, password: &str| {
            change_source_text(channel, &settings(Tls::Required), password).unwrap_err()
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
