//! What both sides' servers must have before a channel may start: GTIDs, binary logs, identities, and nothing lost between them.

use super::{
    Asked, access::parse_version, ask, ids, member, members, named, or_empty, servers, source_is_endpoints, unread,
};
use crate::domain::{
    check::{Check, CheckId, Side, Subject},
    code::Code,
    desired,
    facts::{Facts, MemberFacts, ServerFacts},
    gtid::GtidSet,
    hint::Hint,
    problem::{Fetched, Problem},
    spec::{ReplicationLink, Tls},
};

/// Binary logs kept for less than a day do not outlast a night's outage. In seconds.
const SHORT_RETENTION: u64 = 24 * 60 * 60;

/// Judges every server by itself, and every member of the source against the replica.
pub fn prerequisites(spec: ReplicationLink<'_>, facts: &Facts) -> Vec<Check> {
    let mut checks = Vec::new();
    for side in [Side::Source, Side::Replica] {
        for one in members(facts, side) {
            match &one.server {
                Some(Fetched::Got(server)) => checks.extend(of_server(facts, side, one, server)),
                Some(Fetched::Failed(problem)) => checks.extend(unread_member(side, one, problem)),
                None => {}
            }
        }
    }
    let sources: Vec<_> = members(facts, Side::Source).iter().collect();
    for one in &sources {
        if let Some(server) = one.server() {
            checks.push(version_order(facts, one, server));
            checks.push(purged(spec, facts, one, server));
        }
    }
    if sources.is_empty() {
        let subject = Subject::Cluster(Side::Source);
        for id in [ids::GTID_MODE, ids::BINLOG_ENABLED, ids::SERVER_IDS, ids::GTID_PURGED] {
            let asked = ask(id, subject.clone());
            checks.push(match unread_source(facts) {
                Some(cause) => asked.skipped(&cause),
                None => asked.unknown(out_of_sight(spec)),
            });
        }
    }
    checks.extend(plain(spec));
    for (one, server) in servers(facts, Side::Replica) {
        checks.push(errant(spec, facts, one, server));
    }
    checks
}

fn out_of_sight(spec: ReplicationLink<'_>) -> Problem {
    let what = if source_is_endpoints(&spec) {
        "the configuration gives the source's addresses only, so its servers are not read"
    } else {
        "no member of the source was found, so there is no server to read"
    };
    Problem::new(Code::ServerUnreachable, what)
}

/// The check that tells why no server of the source was read: of the cluster, of the list of its members, or of a login.
fn unread_source(facts: &Facts) -> Option<Check> {
    let cluster = Subject::Cluster(Side::Source);
    if let Some(Fetched::Failed(problem)) = &facts.source.cluster {
        return Some(ask(ids::CLUSTER_REACHABLE, cluster).unfetched(problem));
    }
    if let Some(problem) = facts.source.members.failed() {
        return Some(ask(ids::MEMBERS_FOUND, cluster).unfetched(problem));
    }
    let login = |one: &MemberFacts| Some(ask(ids::SERVER_LOGIN, member(Side::Source, one)).unfetched(one.unread()?));
    members(facts, Side::Source).iter().find_map(login)
}

const BY_SERVER: [CheckId; 4] = [ids::GTID_MODE, ids::BINLOG_ENABLED, ids::BINLOG_FORMAT, ids::SERVER_IDS];

/// A server that could not be read: everything about it depends on its login.
fn unread_member(side: Side, one: &MemberFacts, problem: &Problem) -> Vec<Check> {
    let subject = member(side, one);
    let login = ask(ids::SERVER_LOGIN, subject.clone()).unfetched(problem);
    let own: &[CheckId] = match side {
        Side::Source => &[ids::BINLOG_RETENTION, ids::VERSION_ORDER, ids::GTID_PURGED],
        Side::Replica | Side::Client => &[ids::REPLICA_READ_ONLY, ids::REPLICA_SKIP_START, ids::GTID_ERRANT],
    };
    BY_SERVER.iter().chain(own).map(|id| ask(*id, subject.clone()).skipped(&login)).collect()
}

fn of_server(facts: &Facts, side: Side, one: &MemberFacts, server: &ServerFacts) -> Vec<Check> {
    let asked = |id| ask(id, member(side, one));
    let mut checks = vec![
        gtid_mode(side, one, server, asked(ids::GTID_MODE)),
        binlog(side, one, server, asked(ids::BINLOG_ENABLED)),
        format(side, one, server, asked(ids::BINLOG_FORMAT)),
        identities(facts, side, one, server, asked(ids::SERVER_IDS)),
    ];
    match side {
        Side::Source => checks.push(retention(side, one, server, asked(ids::BINLOG_RETENTION))),
        Side::Replica | Side::Client => {
            checks.push(read_only(side, one, server, asked(ids::REPLICA_READ_ONLY)));
            checks.push(skip_start(facts, one, server, asked(ids::REPLICA_SKIP_START)));
        }
    }
    checks
}

fn on(value: &str) -> bool {
    value.eq_ignore_ascii_case("ON") || value == "1"
}

fn gtid_mode(side: Side, one: &MemberFacts, server: &ServerFacts, asked: Asked) -> Check {
    const STEPS: [&str; 4] = ["OFF", "OFF_PERMISSIVE", "ON_PERMISSIVE", "ON"];
    let (mode, consistency) = (&server.gtid_mode, &server.enforce_gtid_consistency);
    if on(mode) && on(consistency) {
        return asked.passed(["gtid_mode ON, enforce_gtid_consistency ON"]);
    }
    let name = named(side, one);
    let mut hint = Hint::text(
        "raise it step by step, each step on every server of both sides before the next; before ON wait until `Ongoing_anonymous_transaction_count` is 0, and write both into the configuration file too",
    );
    if !on(consistency) {
        hint = hint.sql(&name, "SET PERSIST enforce_gtid_consistency = ON");
    }
    let at = STEPS.iter().position(|step| mode.eq_ignore_ascii_case(step)).unwrap_or(0);
    for step in &STEPS[at + 1..] {
        hint = hint.sql(&name, format!("SET PERSIST gtid_mode = {step}"));
    }
    asked.failed(
        Problem::new(
            Code::PrerequisiteMissing,
            format!("{name} has gtid_mode {mode} and enforce_gtid_consistency {consistency}; both must be ON"),
        )
        .seen(format!("@@gtid_mode = {mode}"))
        .seen(format!("@@enforce_gtid_consistency = {consistency}"))
        .hint(hint),
    )
}

fn binlog(side: Side, one: &MemberFacts, server: &ServerFacts, asked: Asked) -> Check {
    let shown = |flag: bool| if flag { "ON" } else { "OFF" };
    let (log, updates) = (shown(server.log_bin), shown(server.log_replica_updates));
    if server.log_bin && server.log_replica_updates {
        return asked.passed(["log_bin ON, log_replica_updates ON"]);
    }
    let name = named(side, one);
    let why = match side {
        Side::Source => "what it does not log, its members' writes included, never reaches the replica",
        Side::Replica | Side::Client => "the channel works, but this member can pass nothing on",
    };
    let problem = Problem::new(
        Code::PrerequisiteMissing,
        format!("{name} has log_bin {log} and log_replica_updates {updates}: {why}"),
    )
    .seen(format!("@@log_bin = {log}"))
    .seen(format!("@@log_replica_updates = {updates}"))
    .hint(Hint::text("neither can be set at run time: write `log_bin` and `log_replica_updates=ON` into the server's configuration and restart it"));
    if side == Side::Source { asked.failed(problem) } else { asked.warned(problem) }
}

fn format(side: Side, one: &MemberFacts, server: &ServerFacts, asked: Asked) -> Check {
    let (format, image) = (&server.binlog_format, &server.binlog_row_image);
    let (row, full) = (format.eq_ignore_ascii_case("ROW"), image.eq_ignore_ascii_case("FULL"));
    if row && full {
        return asked.passed(["binlog_format ROW, binlog_row_image FULL"]);
    }
    let name = named(side, one);
    let mut hint = Hint::text("sessions that are open keep the old value until they reconnect");
    if !row {
        hint = hint.sql(&name, "SET PERSIST binlog_format = 'ROW'");
    }
    if !full {
        hint = hint.sql(&name, "SET PERSIST binlog_row_image = 'FULL'");
    }
    let problem = Problem::new(
        Code::PrerequisiteMissing,
        format!("{name} has binlog_format {format} and binlog_row_image {image} instead of ROW and FULL"),
    )
    .seen(format!("@@binlog_format = {format}"))
    .seen(format!("@@binlog_row_image = {image}"))
    .hint(hint);
    // Statements can give other rows on the replica; a smaller image only makes repair harder.
    if side == Side::Source && !row { asked.failed(problem) } else { asked.warned(problem) }
}

fn retention(side: Side, one: &MemberFacts, server: &ServerFacts, asked: Asked) -> Check {
    let seconds = server.binlog_expire_logs_seconds;
    match seconds {
        0 => asked.passed(["binary logs are not purged by age"]),
        1..SHORT_RETENTION => asked.warned(
            Problem::new(
                Code::PrerequisiteMissing,
                format!(
                    "{} keeps binary logs for {} min only; a longer outage ends the link",
                    named(side, one),
                    seconds / 60
                ),
            )
            .seen(format!("@@binlog_expire_logs_seconds = {seconds}"))
            .hint(
                Hint::text("keep them for twice the longest outage the link must outlast, for example a week")
                    .sql(named(side, one), "SET PERSIST binlog_expire_logs_seconds = 604800"),
            ),
        ),
        _ => asked.passed([format!("binary logs are kept for {} h", seconds / 3600)]),
    }
}

fn identities(facts: &Facts, side: Side, one: &MemberFacts, server: &ServerFacts, asked: Asked) -> Check {
    let name = named(side, one);
    let all: Vec<(Side, &MemberFacts, &ServerFacts)> = [Side::Source, Side::Replica]
        .into_iter()
        .flat_map(|side| servers(facts, side).map(move |(member, server)| (side, member, server)))
        .collect();
    let others = || all.iter().filter(|(_, member, _)| !std::ptr::eq(*member, one));
    if let Some((twin_side, twin, _)) =
        others().find(|(_, _, other)| other.server_uuid.eq_ignore_ascii_case(&server.server_uuid))
    {
        return asked.failed(
            Problem::new(
                Code::ServerIdClash,
                format!("{name} and {} have the same server_uuid {}", named(*twin_side, twin), server.server_uuid),
            )
            .seen(format!("@@server_uuid on both: {}", server.server_uuid))
            .hint(Hint::text("the data directory was copied with its auto.cnf: stop the younger server, remove auto.cnf from its data directory and start it, which gives it a new UUID")),
        );
    }
    if server.server_id == 0 {
        return asked.failed(clash(
            facts,
            side,
            one,
            format!("{name} has server_id 0, with which it neither sends nor receives"),
        ));
    }
    // Members of one side may share an id (some Galera layouts do so on purpose); the two sides must not.
    if let Some((twin_side, twin, _)) =
        others().find(|(other, _, with)| *other != side && with.server_id == server.server_id)
    {
        let (replica_side, replica) = if side == Side::Replica { (side, one) } else { (*twin_side, *twin) };
        let what = format!(
            "{name} and {} have the same server_id {}: the receiver drops every event that carries its own id, without a word",
            named(*twin_side, twin),
            server.server_id
        );
        return asked.failed(clash(facts, replica_side, replica, what));
    }
    let fact = format!("server_id {}, server_uuid {}", server.server_id, server.server_uuid);
    // From the source's point of view a replica member that was not read may have the same id, and the other way round:
    // said once, by the members that were read, for the side that was not.
    match unread(facts, Side::Replica).filter(|_| side == Side::Source) {
        Some(why) => asked.unknown(
            Problem::new(
                why.code,
                format!("{name} could not be compared with every member of the replica: {}", why.message),
            )
            .seen(fact),
        ),
        None => asked.passed([fact]),
    }
}

fn clash(facts: &Facts, side: Side, one: &MemberFacts, what: String) -> Problem {
    let used: Vec<u32> = [Side::Source, Side::Replica]
        .into_iter()
        .flat_map(|side| servers(facts, side))
        .map(|(_, server)| server.server_id)
        .collect();
    // Beyond all that is in use here, and away from the small numbers that hand-made servers have.
    let free = used.iter().max().map_or(1, |highest| highest.saturating_add(1)).max(1001);
    let mut problem = Problem::new(Code::ServerIdClash, what);
    for own in [Side::Source, Side::Replica] {
        for (other, server) in servers(facts, own) {
            problem = problem.seen(format!("{}: @@server_id = {}", named(own, other), server.server_id));
        }
    }
    problem.hint(
        Hint::text("give the replica's member another id; it needs no restart, but stop its channels for the moment of the change, and write it into the configuration file too")
            .sql(named(side, one), format!("SET PERSIST server_id = {free}")),
    )
}

/// The release series within which replication goes both ways: 8.0, 8.4, and each major number from 9 on.
fn series(version: (u32, u32, u32)) -> (u32, u32) {
    let (major, minor, _) = version;
    (major, if major < 9 { minor } else { 0 })
}

fn version_order(facts: &Facts, one: &MemberFacts, server: &ServerFacts) -> Check {
    let asked = ask(ids::VERSION_ORDER, member(Side::Source, one));
    let Some(own) = parse_version(&server.version) else {
        return asked.unknown(Problem::new(
            Code::VersionTooOld,
            format!("version `{}` is not of a form known here", server.version),
        ));
    };
    let older = servers(facts, Side::Replica)
        .filter_map(|(replica, other)| Some((replica, other, parse_version(&other.version)?)))
        .find(|(_, _, version)| series(*version) < series(own));
    match older {
        None if servers(facts, Side::Replica).next().is_none() => match unread(facts, Side::Replica) {
            Some(problem) => asked.unknown(problem.clone()),
            None => asked.unknown(Problem::new(Code::NoPodMatches, "the replica has no member to compare with")),
        },
        None => asked.passed([server.version.clone()]),
        Some((replica, other, _)) => asked.failed(
            Problem::new(
                Code::PrerequisiteMissing,
                format!(
                    "{} runs {}, a later series than {} with {}: what the newer one logs the older one may not understand",
                    named(Side::Source, one), server.version, named(Side::Replica, replica), other.version
                ),
            )
            .seen(format!("source {}, replica {}", server.version, other.version))
            .hint(Hint::text("upgrade the replica first")),
        ),
    }
}

fn purged(spec: ReplicationLink<'_>, facts: &Facts, one: &MemberFacts, source: &ServerFacts) -> Check {
    let asked = ask(ids::GTID_PURGED, member(Side::Source, one));
    let carrier = desired::pick_member(spec, facts).ok().map(|member| member.pod.name.as_str());
    let mut late = None;
    for (replica, server) in servers(facts, Side::Replica) {
        let missing = source.gtid_purged.subtract(&server.gtid_executed);
        if missing.is_empty() {
            continue;
        }
        if carrier.is_none_or(|carrier| carrier == replica.pod.name) {
            return asked.failed(purged_problem(spec, one, source, replica, server, &missing));
        }
        late.get_or_insert_with(|| purged_problem(spec, one, source, replica, server, &missing));
    }
    match (late, unread(facts, Side::Replica)) {
        // Not the member that carries the channel: it works now, and would not after a move to that member.
        (Some(problem), _) => asked.warned(problem),
        (None, Some(problem)) => asked.unknown(problem.clone()),
        (None, None) => asked
            .passed([format!("gtid_purged is {}, all of it executed on the replica", or_empty(&source.gtid_purged))]),
    }
}

fn purged_problem(
    spec: ReplicationLink<'_>,
    one: &MemberFacts,
    source: &ServerFacts,
    replica: &MemberFacts,
    server: &ServerFacts,
    missing: &GtidSet,
) -> Problem {
    let (from, to) = (named(Side::Source, one), named(Side::Replica, replica));
    let hint = Hint::text(format!(
        "{to} must be given the data anew, as no log holds it any longer: (1) keep a copy of what only {to} has, (2) on {from} take a physical backup or `mysqlsh` dump with its GTID set, or use CLONE from {}:{} while the path works and both run the same series, (3) load it into {to}; after a logical load give every member of the replica the dump's gtid_purged, (4) run `pxc-link setup --source {}` again",
        spec.host, spec.replication.port, spec.name
    ))
    .sql(&from, "SELECT @@GLOBAL.gtid_purged, @@GLOBAL.gtid_executed")
    .sql(&to, "SELECT @@GLOBAL.gtid_executed");
    Problem::new(
        Code::Purged,
        format!("{from} has purged {} transaction(s) that {to} has not executed", missing.count()),
    )
    .seen(format!("missing: {missing}"))
    .seen(format!("gtid_purged of {from}: {}", or_empty(&source.gtid_purged)))
    .seen(format!("gtid_executed of {to}: {}", or_empty(&server.gtid_executed)))
    .hint(hint)
}

fn errant(spec: ReplicationLink<'_>, facts: &Facts, one: &MemberFacts, replica: &ServerFacts) -> Check {
    let asked = ask(ids::GTID_ERRANT, member(Side::Replica, one));
    let name = named(Side::Replica, one);
    let all =
        servers(facts, Side::Source).fold(GtidSet::default(), |all, (_, server)| all.union(&server.gtid_executed));
    let extra = replica.gtid_executed.subtract(&all);
    if extra.is_empty() && servers(facts, Side::Source).next().is_some() {
        return asked.passed(["every executed GTID is in the source's executed sets"]);
    }
    if servers(facts, Side::Source).next().is_none() {
        return match unread_source(facts) {
            Some(cause) => asked.skipped(&cause),
            None => asked.unknown(out_of_sight(spec)),
        };
    }
    let evidence = |problem: Problem| {
        problem.seen(format!("on {name} only: {extra}")).seen(format!("executed on the source: {}", or_empty(&all)))
    };
    // A member that was not read may have them: less is known, so nothing is held against the replica.
    if let Some(why) = unread(facts, Side::Source) {
        let what =
            format!("{name} has {} transaction(s) that no member read so far has: {}", extra.count(), why.message);
        return asked.unknown(evidence(Problem::new(why.code, what)));
    }
    let own: Vec<_> = servers(facts, Side::Source).map(|(_, server)| server.server_uuid.to_ascii_lowercase()).collect();
    let of_source =
        |uuid: &str| all.tsids().any(|tsid| tsid.uuid.to_string() == uuid) || own.iter().any(|own| own == uuid);
    let forged: Vec<String> = extra.tsids().map(|tsid| tsid.uuid.to_string()).filter(|uuid| of_source(uuid)).collect();
    if forged.is_empty() {
        let what = format!("{name} has executed {} transaction(s) of its own that the source lacks", extra.count());
        return asked.warned(evidence(Problem::new(Code::Errant, what)).hint(
            Hint::text(format!(
                "they stay on the replica: look at what they changed, keep the replica read-only so that they do not grow, and consider them before it is ever promoted; {}",
                "rows that they touched can stop the applier later"
            ))
            .sql(&name, "SELECT @@GLOBAL.gtid_executed, @@GLOBAL.super_read_only"),
        ));
    }
    // Read before the replica, a source lacks what it committed and the replica applied in between.
    let earlier = servers(facts, Side::Source).any(|(_, server)| server.clock < replica.clock);
    let received = replica.channels.iter().fold(GtidSet::default(), |all, channel| all.union(&channel.received));
    if earlier && extra.is_subset_of(&received) {
        let what =
            format!("{name} is ahead of the source by {} transaction(s), but the source was read first", extra.count());
        return asked.unknown(evidence(Problem::new(Code::Errant, what)).hint(Hint::text(
            "ask again; if the set is still there, the source was restored or reset to an earlier state",
        )));
    }
    let what = format!(
        "{name} has {} transaction(s) under the source's own UUID that the source lacks: the two have gone separate ways",
        extra.count()
    );
    asked.failed(evidence(Problem::new(Code::Errant, what)).hint(
        Hint::text(format!(
            "the source was restored or reset to an earlier state, or somebody wrote here under its identity. The source's next transactions would carry these numbers and be left out silently: save what only {name} has, then seed the replica from the source anew",
        ))
        .sql(&name, "SELECT @@GLOBAL.gtid_executed"),
    ))
}

fn read_only(side: Side, one: &MemberFacts, server: &ServerFacts, asked: Asked) -> Check {
    if server.super_read_only {
        return asked.passed(["super_read_only ON"]);
    }
    let name = named(side, one);
    asked.warned(
        Problem::new(Code::PrerequisiteMissing, format!("{name} takes writes from others than the channel (super_read_only OFF)"))
            .seen("@@super_read_only = OFF")
            .hint(
                Hint::text("close it unless something must write there; the Percona operator opens ready pods again at each reconcile where its resource names no replication channel")
                    .sql(name, "SET PERSIST super_read_only = ON"),
            ),
    )
}

fn skip_start(facts: &Facts, one: &MemberFacts, server: &ServerFacts, asked: Asked) -> Check {
    let alone = members(facts, Side::Replica).len() == 1;
    match (server.skip_replica_start, alone) {
        (true, _) => asked.passed(["skip_replica_start ON: after a restart of this member run setup again"]),
        (false, true) => asked.passed(["skip_replica_start OFF: the channel starts with the member"]),
        (false, false) => asked.warned(
            Problem::new(
                Code::PrerequisiteMissing,
                format!("{} starts every channel it knows when it restarts; a copy of the channel on two members stops the applier", named(Side::Replica, one)),
            )
            .seen("@@skip_replica_start = OFF")
            .hint(Hint::text("it cannot be set at run time: write `skip_replica_start=ON` into the configuration of every member")),
        ),
    }
}

/// A channel without TLS works, and must have been asked for in so many words. Nothing was looked at, so nothing is said of
/// one with TLS here: the probe proves that on the path.
fn plain(spec: ReplicationLink<'_>) -> Option<Check> {
    (spec.replication.tls == Tls::Disabled).then(|| {
        let problem = Problem::new(Code::PlainChannel, "rows and the login travel between the clusters in plain text")
            .seen("replication.tls.mode: disabled")
            .hint(Hint::text("write `tls: {mode: verify-identity, ca: PATH}` with the source's CA on the members"));
        ask(ids::CHANNEL_ENCRYPTED, Subject::Link).warned(problem)
    })
}
