//! The channel: where it has to be, configured as the link says, its receiver attached to the source, its applier running.

mod copies;

use self::copies::{placed, threads, unique};
use super::{Asked, ask, blame, certificates, ids, member, named, of_channel, or_empty, servers, unread};
use crate::domain::{
    applier,
    channel::{channel_differences, desired_channel},
    check::{Check, CheckId, Side, Subject},
    code::Code,
    desired,
    errno::Cause,
    facts::{ChannelFacts, Facts, MemberFacts, PathFacts, ProbeEnd, ServerFacts, ThreadError},
    hint::Hint,
    problem::Problem,
    quote,
    spec::{LagThresholds, ReplicationLink},
    status::Lag,
};

/// `ER_ACCESS_DENIED_ERROR`.
const WRONG_PASSWORD: u32 = 1045;

/// What is judged of a copy of the channel.
const OF_COPY: [CheckId; 4] =
    [ids::CHANNEL_SETTINGS, ids::RECEIVER_RUNNING, ids::RECEIVER_SOURCE, ids::APPLIER_RUNNING];

/// Judges the link's channel on every member that has it.
pub fn channel(spec: ReplicationLink<'_>, facts: &Facts) -> Vec<Check> {
    let unique = unique(spec, facts);
    let carriers = desired::carriers(spec, facts);
    let surplus: Vec<&str> = desired::surplus(spec, facts).into_iter().map(MemberFacts::name).collect();
    let mut checks = Vec::new();
    for one in &carriers {
        let Some((server, channel)) = of_channel(spec, one) else { continue };
        let asked = |id| ask(id, member(Side::Replica, one));
        let place = placed(spec, facts, one, server, asked(ids::CHANNEL_MEMBER));
        if surplus.contains(&one.name()) {
            // It goes, whatever it is set to and whatever its threads say.
            let because = place.as_ref().filter(|place| !place.is_good()).unwrap_or(&unique);
            checks.extend(OF_COPY.map(|id| asked(id).skipped(because)));
            checks.extend(place);
            continue;
        }
        checks.extend(place);
        checks.push(settings(spec, facts, one, channel, asked(ids::CHANNEL_SETTINGS)));
        let receiver = receiver(spec, facts, one, channel, asked(ids::RECEIVER_RUNNING));
        checks.push(attached(spec, facts, one, server, channel, &receiver, asked(ids::RECEIVER_SOURCE)));
        checks.push(receiver);
        checks.push(applier(spec, facts, one, server, channel, asked(ids::APPLIER_RUNNING)));
    }
    if carriers.is_empty() {
        checks.extend(OF_COPY.into_iter().map(|id| ask(id, Subject::Link).skipped(&unique)));
    }
    checks.sort_by_key(|check| ids::ALL.iter().position(|(id, ..)| *id == check.id));
    checks.insert(0, unique);
    checks
}

/// Judges, before anything is written, whether the channel may be made or changed: every member is known to have it or not, and
/// none has one of its name that points elsewhere. Copies that setup will take away and settings that it will bring in line pass.
pub fn channel_preflight(spec: ReplicationLink<'_>, facts: &Facts) -> Vec<Check> {
    let mut unique = unique(spec, facts);
    let carriers = desired::carriers(spec, facts);
    if unique.problem().is_some_and(|problem| problem.code == Code::NoChannel) {
        unique = ask(ids::CHANNEL_UNIQUE, Subject::Link).passed(["no member has it yet"]);
    }
    let surplus = desired::surplus(spec, facts);
    if unique.problem().is_some_and(|problem| problem.code == Code::ChannelTwice)
        && unread(facts, Side::Replica).is_none()
    {
        let gone = surplus.iter().map(|one| format!("taken away before anything is started: on {}", one.name()));
        unique = ask(ids::CHANNEL_UNIQUE, Subject::Link).passed(gone);
    }
    let settings = carriers.iter().filter_map(|one| {
        let (_, channel) = of_channel(spec, one)?;
        let check = settings(spec, facts, one, channel, ask(ids::CHANNEL_SETTINGS, member(Side::Replica, one)));
        match check.problem() {
            Some(problem) if problem.code == Code::ChannelDiffers => {
                let evidence = problem.evidence.clone();
                Some(ask(ids::CHANNEL_SETTINGS, check.subject).passed(evidence))
            }
            _ => Some(check),
        }
    });
    let settings: Vec<Check> = settings.collect();
    // Where nobody can apply, the channel stays where it is and must not be started.
    let stays = carriers.iter().filter(|one| surplus.iter().all(|gone| gone.name() != one.name()));
    let placed = stays.filter_map(|one| {
        placed(spec, facts, one, one.server()?, ask(ids::CHANNEL_MEMBER, member(Side::Replica, one)))
    });
    std::iter::once(unique).chain(placed).chain(settings).collect()
}

/// Judges how far behind the replica is, against the link's thresholds, which begin where the wanted delay ends.
pub fn lag(spec: ReplicationLink<'_>, subject: Subject, lag: Lag) -> Check {
    let asked = ask(ids::REPLICATION_LAG, subject);
    let LagThresholds { warning, critical } = spec.replication.lag_bounds();
    let delay = spec.replication.options.delay_seconds;
    let wanted = if delay == 0 { String::new() } else { format!(", of which {delay} s are `replication.delay`") };
    let high = |bound| {
        Problem::new(Code::LagHigh, format!("the replica is {lag} behind, above {bound:?}"))
            .seen(format!("warning from {warning:?}, critical from {critical:?}{wanted}"))
            .hint(Hint::text("see whether the receiver or the applier is behind: rows of performance_schema.replication_applier_status_by_worker that do not move, or flow control of the replica's own cluster"))
    };
    match lag {
        Lag::Unknown => {
            asked.unknown(Problem::new(Code::LagUnknown, "how far the replica is behind cannot be told").seen(
                "the receiver is not on, was not heard of within two heartbeats, or the source could not be read",
            ))
        }
        Lag::Exactly { seconds } | Lag::AtLeast { seconds } if seconds >= critical.as_secs_f64() => {
            asked.failed(high(critical))
        }
        Lag::Exactly { seconds } | Lag::AtLeast { seconds } if seconds >= warning.as_secs_f64() => {
            asked.warned(high(warning))
        }
        Lag::Exactly { .. } => asked.passed([lag.to_string()]),
        // A lower bound below the threshold does not say that the lag is below it.
        Lag::AtLeast { .. } => asked.unknown(
            Problem::new(Code::LagUnknown, format!("the replica is {lag} behind, and how much more cannot be told"))
                .seen(format!("warning from {warning:?}{wanted}")),
        ),
    }
}

/// Whether the server that the receiver is or was attached to is a member of the source.
fn follows_source(facts: &Facts, channel: &ChannelFacts) -> bool {
    let Some(uuid) = channel.source_uuid.as_deref() else { return false };
    servers(facts, Side::Source).any(|(_, server)| server.server_uuid.eq_ignore_ascii_case(uuid))
}

fn settings(
    spec: ReplicationLink<'_>,
    facts: &Facts,
    one: &MemberFacts,
    channel: &ChannelFacts,
    asked: Asked,
) -> Check {
    let wanted = desired_channel(spec);
    let differences = channel_differences(&channel.settings, &wanted);
    if differences.is_empty() {
        return asked.passed([format!(
            "{}:{}, user {}, TLS {}; password: not compared",
            wanted.host,
            wanted.port,
            wanted.user,
            wanted.tls.mode()
        )]);
    }
    let have = &channel.settings;
    let moved = !have.host.eq_ignore_ascii_case(&wanted.host) || have.port != wanted.port;
    // A channel that is attached to this link's source is this link's, by whatever address it got there.
    let elsewhere = moved && !follows_source(facts, channel);
    let name = named(Side::Replica, one);
    let problem = if elsewhere {
        Problem::new(
            Code::ChannelElsewhere,
            format!("channel `{}` on {name} points to {}:{} instead of {}:{}", channel.name, have.host, have.port, wanted.host, wanted.port),
        )
        .hint(
            Hint::text(format!(
                "it never was attached to a member of this source, so it may be somebody else's link: give this one another `replication.channel`; if nobody needs `{}` any more, see that it applied all that it received, and reset it",
                channel.name
            ))
            .sql(&name, format!("SELECT * FROM performance_schema.replication_connection_configuration WHERE channel_name = '{}'", spec.replication.channel)),
        )
    } else {
        Problem::new(
            Code::ChannelDiffers,
            format!(
                "{} setting(s) of channel `{}` on {name} are not as the link says",
                differences.len(),
                channel.name
            ),
        )
        .hint(Hint::run(
            "run setup again, which shows and makes the change",
            ["pxc-link", "setup", "--source", &spec.name],
        ))
    };
    asked.failed(differences.iter().fold(problem, |problem, change| {
        problem.seen(format!("{}: {} instead of {}", change.field, change.before, change.after))
    }))
}

fn error_words(error: &ThreadError) -> String {
    match error.at {
        Some(at) => format!("error {} at {at}: {}", error.errno, error.text),
        None => format!("error {}: {}", error.errno, error.text),
    }
}

fn receiver(
    spec: ReplicationLink<'_>,
    facts: &Facts,
    one: &MemberFacts,
    channel: &ChannelFacts,
    asked: Asked,
) -> Check {
    if channel.receiver.is_on() {
        let heard = channel.last_heard.map(|at| format!("last heard of the source at {at}"));
        return asked.passed(std::iter::once("receiver ON".to_owned()).chain(heard));
    }
    let name = named(Side::Replica, one);
    let verify =
        || Hint::run("the checks of the path say where it stops", ["pxc-link", "verify", "--source", &spec.name]);
    let start =
        || Hint::run("start it with the checks that belong to it", ["pxc-link", "setup", "--source", &spec.name]);
    let state = &channel.receiver.state;
    let Some(error) = &channel.receiver.error else {
        // A channel whose records cannot be read shows it with the applier alone.
        if let (Some(error), Some(server)) = (&channel.applier.error, one.server())
            && applier::code(error) == Code::ChannelDamaged
        {
            let what = format!("the receiver of channel `{}` on {name} cannot start", channel.name);
            let hint = applier::hint(spec, facts, (&source_name(facts), &name), server, channel, error);
            return asked.failed(Problem::new(Code::ChannelDamaged, what).seen(error_words(error)).hint(hint));
        }
        let problem = if channel.receiver.is_off() {
            Problem::new(Code::ReceiverStopped, format!("the receiver of channel `{}` on {name} is off and shows no error: it was stopped, or the server restarted", channel.name))
                .hint(start())
        } else {
            Problem::new(
                Code::ReceiverNotConnecting,
                format!("the receiver of channel `{}` on {name} is {state} and shows no error yet", channel.name),
            )
            .hint(verify())
        };
        return asked.failed(problem.seen(threads(channel)));
    };
    let code = blame::receiver_code(error.errno, &error.text);
    let code = match code {
        Code::ReceiverStopped if !channel.receiver.is_off() => Code::ReceiverNotConnecting,
        other => other,
    };
    let user = &channel.settings.user;
    let host = &channel.settings.host;
    let what = match code {
        Code::Purged => format!("the source has purged transactions that {name} lacks, so its receiver stopped"),
        Code::Errant => {
            format!("the source refuses {name}, which has transactions of the source's own UUID that the source lacks")
        }
        Code::ServerIdClash => format!("{name} has an identity that the source knows of another server"),
        Code::GtidsOff => format!("the GTID settings of source and {name} do not fit together"),
        Code::BinaryLogOff => "the member of the source that answered has no binary log".to_owned(),
        Code::ReplicationAccessDenied
        | Code::AddressRefused
        | Code::AccountClosed
        | Code::PluginMissing
        | Code::ReplicationNotGranted => {
            format!("the source refuses account `{user}` of channel `{}` on {name}", channel.name)
        }
        Code::TlsRequired => "the source demands TLS, and the channel's is disabled".to_owned(),
        Code::TlsVerification => format!("the channel on {name} does not accept the certificate of `{host}`"),
        Code::CaFileMissing => format!("mysqld on {name} cannot use the channel's CA file"),
        Code::PublicKeyNeeded => format!("the password of `{user}` needs TLS or the source's public key"),
        Code::ServerFull => format!("the source takes no more connections, so the receiver on {name} waits"),
        Code::SourceNotReady => "the member of the source that answered is outside its cluster".to_owned(),
        Code::EventTooLarge => format!("an event of the source is larger than {name} takes"),
        Code::SourceLogDamaged => "the member of the source that answered cannot read its binary log".to_owned(),
        Code::RelayLogUnwritable => format!("{name} cannot write into its relay log what it receives"),
        Code::ChannelDiffers => format!("channel `{}` on {name} has no user to log in as", channel.name),
        Code::ReceiverNotConnecting => format!("the receiver on {name} does not get through to `{host}`"),
        _ => format!("the receiver of channel `{}` on {name} stopped with error {}", channel.name, error.errno),
    };
    let source = source_name(facts);
    let hint = match code {
        Code::ReceiverNotConnecting => verify(),
        Code::ReplicationAccessDenied if error.errno == WRONG_PASSWORD && logs_in(spec, facts) => Hint::run(
            "the configured password logs in, so the channel has another one: give it the configured one",
            ["pxc-link", "setup", "--source", &spec.name, "--rotate-password"],
        ),
        Code::Purged => Hint::text(format!(
            "look whether another member of the source still has them; if none has, {name} must be given the data anew, and the check `gtid.purged` says how"
        ))
        .sql(&name, "SELECT @@GLOBAL.gtid_executed"),
        Code::Errant => Hint::text(format!("save what only {name} has, then seed it from the source anew; the check `gtid.errant` names the set"))
            .sql(&name, "SELECT @@GLOBAL.gtid_executed"),
        Code::ServerIdClash if Cause::of(Some(error.errno), &error.text) == Cause::SameReplicaTwice => {
            same_replica_twice(spec, one, channel, &source)
        }
        Code::EventTooLarge if error.text.contains("on source") => Hint::text("raise it on the source; where it is at its largest the event's length is damaged, and mysqlbinlog shows where")
            .sql(&source, "SET PERSIST max_allowed_packet = 1073741824")
            .then(["pxc-link", "setup", "--source", &spec.name]),
        Code::EventTooLarge => Hint::text("raise the limit to its largest value, 1 GiB, and start the receiver")
            .sql(&name, "SET PERSIST replica_max_allowed_packet = 1073741824")
            .then(["pxc-link", "setup", "--source", &spec.name]),
        Code::SourceLogDamaged => Hint::text("attach to another member of the source, or put the file back from a backup of the logs, then start the receiver")
            .sql(&source, "SHOW BINARY LOGS")
            .then(["pxc-link", "setup", "--source", &spec.name]),
        Code::RelayLogUnwritable => Hint::text(format!(
            "see in the error log of {name} whether its disk is full or read-only; if neither, read the source's log with mysqlbinlog, then start the receiver"
        ))
        .sql(&name, "SELECT logged, error_code, data FROM performance_schema.error_log WHERE subsystem = 'Repl' ORDER BY logged DESC LIMIT 10")
        .then(["pxc-link", "setup", "--source", &spec.name]),
        // These lie with the source: its accounts, its room, its state.
        Code::ReplicationAccessDenied
        | Code::AddressRefused
        | Code::AccountClosed
        | Code::PluginMissing
        | Code::ReplicationNotGranted
        | Code::ServerFull
        | Code::SourceNotReady
        | Code::TlsRequired
        | Code::PublicKeyNeeded
        | Code::TlsVerification => Cause::of(Some(error.errno), &error.text).receiver_hint(&source, user).unwrap_or_else(verify),
        _ => Cause::of(Some(error.errno), &error.text).hint(&name, user).unwrap_or_else(start),
    };
    let problem = Problem::new(code, what).seen(error_words(error)).seen(threads(channel)).hint(hint);
    asked.failed(certificates::explained(spec, facts, Some(one.name()), problem))
}

/// Whether the channel's account was let in with the configured password, on the path or from this machine.
fn logs_in(spec: ReplicationLink<'_>, facts: &Facts) -> bool {
    let answered = |path: &PathFacts| {
        path.port == spec.replication.port
            && path.probe.got().is_some_and(|answer| matches!(answer.end, ProbeEnd::Answered { .. }))
    };
    facts.paths.iter().any(answered) || facts.receiver_login.as_ref().is_some_and(|login| login.got().is_some())
}

/// Another channel of the same server is the one twin that is known without asking the source.
fn same_replica_twice(spec: ReplicationLink<'_>, one: &MemberFacts, channel: &ChannelFacts, source: &str) -> Hint {
    let others = one.server().into_iter().flat_map(|server| &server.channels);
    let mut twins = others
        .filter(|other| {
            other.name != channel.name && other.source_uuid == channel.source_uuid && !other.receiver.is_off()
        })
        .filter_map(|other| Some((other, quote::literal(&other.name).ok()?)))
        .peekable();
    if twins.peek().is_none() {
        return Hint::text("find the second replica with this server_id or server_uuid, stop its channel and give it an identity of its own, then start the receiver")
            .sql(source, "SHOW REPLICAS")
            .then(["pxc-link", "setup", "--source", &spec.name]);
    }
    let stop = "a channel of the same server follows the same source, and a source serves one of them: stop that one, then start the link's";
    let stopped = twins.fold(Hint::text(stop), |hint, (_, name)| {
        hint.sql(named(Side::Replica, one), format!("STOP REPLICA FOR CHANNEL {}", *name))
    });
    stopped.then(["pxc-link", "setup", "--source", &spec.name])
}

/// A member of the source as hints name it.
fn source_name(facts: &Facts) -> String {
    servers(facts, Side::Source).next().map_or_else(|| "the source".to_owned(), |(one, _)| named(Side::Source, one))
}

fn attached(
    spec: ReplicationLink<'_>,
    facts: &Facts,
    one: &MemberFacts,
    server: &ServerFacts,
    channel: &ChannelFacts,
    receiver: &Check,
    asked: Asked,
) -> Check {
    // An empty SOURCE_UUID is how a receiver shows that it never was attached.
    let Some(uuid) = channel.source_uuid.as_deref().filter(|uuid| !uuid.is_empty()) else {
        return asked.skipped(receiver);
    };
    let owner = |side| servers(facts, side).find(|(_, server)| server.server_uuid.eq_ignore_ascii_case(uuid));
    let name = named(Side::Replica, one);
    let stop =
        |text: &str| Hint::text(text).sql(&name, format!("STOP REPLICA FOR CHANNEL '{}'", spec.replication.channel));
    if let Some((source, _)) = owner(Side::Source) {
        return asked.passed([format!("{uuid} is {}", named(Side::Source, source))]);
    }
    let itself = owner(Side::Replica).map(|(twin, _)| named(Side::Replica, twin));
    if let Some(twin) = itself.or_else(|| server.server_uuid.eq_ignore_ascii_case(uuid).then(|| name.clone())) {
        return asked.failed(
            Problem::new(
                Code::SelfConnection,
                format!(
                    "the receiver on {name} is attached to {twin}: `{}` leads back to the replica",
                    channel.settings.host
                ),
            )
            .seen(format!("SOURCE_UUID {uuid}"))
            .hint(stop("stop the channel, then correct the endpoints; nothing of the source was applied by it")),
        );
    }
    let problem = servers(facts, Side::Source).fold(
        Problem::new(
            Code::UnknownSource,
            format!(
                "the receiver on {name} is attached to {uuid}, which is no member of the source that could be read"
            ),
        ),
        |problem, (source, server)| problem.seen(format!("{} is {}", named(Side::Source, source), server.server_uuid)),
    );
    match unread(facts, Side::Source) {
        Some(why) => asked.unknown(problem.seen(format!("not every member could be read: {}", why.message))),
        None if servers(facts, Side::Source).next().is_none() => asked.unknown(problem.hint(Hint::text(
            "the configuration gives addresses only, so only a person can tell whether this is the source",
        ))),
        None => asked.failed(problem.hint(stop(
            "stop the channel before anything of that server is applied, then find out where the endpoints lead",
        ))),
    }
}

fn applier(
    spec: ReplicationLink<'_>,
    facts: &Facts,
    one: &MemberFacts,
    server: &ServerFacts,
    channel: &ChannelFacts,
    asked: Asked,
) -> Check {
    let name = named(Side::Replica, one);
    match &channel.applier.error {
        None if channel.applier.is_on() => asked.passed(["applier ON"]),
        None => asked.failed(
            Problem::new(Code::ApplierStopped, format!("the applier of channel `{}` on {name} is {} and shows no error: it was stopped, or the server restarted", channel.name, channel.applier.state))
                .seen(threads(channel))
                .hint(Hint::run("start it with the checks that belong to it", ["pxc-link", "setup", "--source", &spec.name])),
        ),
        // A worker's error counts even while the coordinator still shows ON: it is about to stop.
        Some(error) => asked.failed(
            Problem::new(applier::code(error), format!("the applier of channel `{}` on {name} stopped with error {}", channel.name, error.errno))
                .seen(error_words(error))
                .seen(format!("received: {}", or_empty(&channel.received)))
                .hint(applier::hint(spec, facts, (&source_name(facts), &name), server, channel, error)),
        ),
    }
}
