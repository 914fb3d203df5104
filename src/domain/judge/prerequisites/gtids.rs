//! Whether the source still has what the replica lacks, and the replica nothing that the source lacks.

use super::{
    super::{Asked, ask, ids, member, named, or_empty, servers, unread},
    out_of_sight, unread_source,
};
use crate::domain::{
    baseline,
    check::{Check, Side},
    code::Code,
    desired,
    facts::{Facts, MemberFacts, ServerFacts},
    gtid::GtidSet,
    hint::Hint,
    problem::Problem,
    spec::ReplicationLink,
};

pub(super) fn purged(spec: ReplicationLink<'_>, facts: &Facts, one: &MemberFacts, source: &ServerFacts) -> Check {
    let asked = ask(ids::GTID_PURGED, member(Side::Source, one));
    let carrier = desired::pick_member(spec, facts).ok().map(MemberFacts::name);
    for (replica, server) in servers(facts, Side::Replica) {
        let missing = source.gtid_purged.subtract(&server.gtid_executed);
        // What other members lack of it stops no channel now: which moves it stops is a question of its own.
        if !missing.is_empty() && carrier.is_none_or(|carrier| carrier == replica.name()) {
            return asked.failed(purged_problem(spec, one, source, replica, server, &missing));
        }
    }
    match (carrier, unread(facts, Side::Replica)) {
        (None, Some(problem)) => asked.unknown(problem.clone()),
        (Some(carrier), _) => asked.passed([format!(
            "gtid_purged is {}, all of it executed on replica {carrier}",
            or_empty(&source.gtid_purged)
        )]),
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
    let (host, port) = (&spec.host, spec.replication.port);
    let hint = Hint::text(format!(
        "no log holds them any longer, so {to} is given the data anew: keep a copy of what only it has, as the last step but one empties it. Where both run the same series CLONE brings everything through the channel's own way, with the password that the second statement shows; as the source's accounts come along, make the replica's own again (`pxc-link grants`), and start mysqld where nothing restarts it. Else load a backup of {from} and give every member of the replica its GTID set"
    ));
    let hint = match spec.mesh() {
        // On a new link there is no name yet for the replica to clone through.
        Some(_) => hint.then(["pxc-link", "setup", "--source", &spec.name, "--only", "mesh"]),
        None => hint,
    }
    .sql(&from, "INSTALL PLUGIN clone SONAME 'mysql_clone.so'")
    .sql(&from, "CREATE USER pxc_clone IDENTIFIED BY RANDOM PASSWORD REQUIRE SSL")
    .sql(&from, "GRANT BACKUP_ADMIN ON *.* TO pxc_clone")
    .sql(&to, "INSTALL PLUGIN clone SONAME 'mysql_clone.so'")
    .sql(&to, format!("SET GLOBAL clone_valid_donor_list = '{host}:{port}'"))
    .sql(&to, format!("CLONE INSTANCE FROM pxc_clone@'{host}':{port} IDENTIFIED BY <the password shown> REQUIRE SSL"))
    .then(["pxc-link", "setup", "--source", &spec.name]);
    Problem::new(
        Code::Purged,
        format!("{from} has purged {} transaction(s) that {to} has not executed", missing.count()),
    )
    .seen(format!("missing: {missing}"))
    .seen(format!("gtid_purged of {from}: {}", or_empty(&source.gtid_purged)))
    .seen(format!("gtid_executed of {to}: {}", or_empty(&server.gtid_executed)))
    .hint(hint)
}

pub(super) fn errant(spec: ReplicationLink<'_>, facts: &Facts, one: &MemberFacts, replica: &ServerFacts) -> Check {
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
        return of_its_own(asked, &name, &extra, baseline::recorded(&spec, facts), evidence);
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

/// The replica's own transactions, against those that were there when the link was set up, where that was written down.
fn of_its_own(
    asked: Asked,
    name: &str,
    extra: &GtidSet,
    before: Option<GtidSet>,
    evidence: impl Fn(Problem) -> Problem,
) -> Check {
    let Some(before) = before else {
        let what = format!("{name} has executed {} transaction(s) of its own that the source lacks", extra.count());
        return asked.warned(evidence(Problem::new(Code::Errant, what)).hint(
            Hint::text("they stay on the replica: look at what they changed, keep the replica read-only so that they do not grow, and consider them before it is ever promoted; rows that they touched can stop the applier later")
                .sql(name, "SELECT @@GLOBAL.gtid_executed, @@GLOBAL.super_read_only"),
        ));
    };
    let new = extra.subtract(&before);
    if new.is_empty() {
        return asked.passed([format!("{} of its own, all there when the link was set up: {extra}", extra.count())]);
    }
    let what = format!("{name} has {} transaction(s) of its own more than when the link was set up", new.count());
    let problem = evidence(Problem::new(Code::OwnGrowth, what)).seen(format!("new: {new}"));
    asked.warned(problem.seen(format!("at setup: {}", or_empty(&before))).hint(
        Hint::text("find out who writes there and what, before rows that they touched stop the applier; then close the replica")
            .sql(name, "SET PERSIST super_read_only = ON"),
    ))
}
