//! Whether every server is known apart from every other, and whether the replica understands what the source writes.

use super::{
    super::{Asked, access::parse_version, ask, ids, member, named, servers, unread},
    pairs::against_replica,
};
use crate::domain::{
    check::{Check, Outcome, Side},
    code::Code,
    facts::{Facts, MemberFacts, ServerFacts},
    hint::Hint,
    problem::Problem,
};

pub(super) fn identities(
    link: &str,
    facts: &Facts,
    side: Side,
    one: &MemberFacts,
    server: &ServerFacts,
    asked: Asked,
) -> Check {
    let name = named(side, one);
    let all: Vec<(Side, &MemberFacts, &ServerFacts)> = [Side::Source, Side::Replica]
        .into_iter()
        .flat_map(|side| servers(facts, side).map(move |(member, server)| (side, member, server)))
        .collect();
    let others = || all.iter().filter(|(_, member, _)| !std::ptr::eq(*member, one));
    if let Some((twin_side, twin, other)) =
        others().find(|(_, _, other)| other.server_uuid.eq_ignore_ascii_case(&server.server_uuid))
    {
        let twin_name = named(*twin_side, twin);
        // Pods of two clusters may have the same host name.
        let no_pods = one.in_pod().is_none() && twin.in_pod().is_none();
        let same = no_pods && (&server.hostname, server.server_id) == (&other.hostname, other.server_id);
        if same {
            return asked.failed(
                Problem::new(Code::ServerIdClash, format!("{name} and {twin_name} are one and the same server"))
                    .seen(format!("@@hostname {}, @@server_uuid {}", server.hostname, server.server_uuid))
                    .hint(Hint::text(
                        "correct `source.endpoints` or `replica.server`; if they are two servers of which one was copied, remove auto.cnf from its data directory while it is stopped",
                    )),
            );
        }
        return asked.failed(
            Problem::new(
                Code::ServerIdClash,
                format!("{name} and {twin_name} have the same server_uuid {}", server.server_uuid),
            )
            .seen(format!("@@server_uuid on both: {}", server.server_uuid))
            .hint(Hint::text("the data directory was copied with its auto.cnf: stop the younger server, remove auto.cnf from its data directory and start it, which gives it a new UUID")),
        );
    }
    if server.server_id == 0 {
        return asked.failed(clash(
            link,
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
        return asked.failed(clash(link, facts, replica_side, replica, what));
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

fn clash(link: &str, facts: &Facts, side: Side, one: &MemberFacts, what: String) -> Problem {
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
            .sql(named(side, one), format!("SET PERSIST server_id = {free}"))
            .then(["pxc-link", "setup", "--source", link]),
    )
}

/// The release series within which replication goes both ways: 8.0, 8.4, and each major number from 9 on.
fn series(version: (u32, u32, u32)) -> (u32, u32) {
    let (major, minor, _) = version;
    (major, if major < 9 { minor } else { 0 })
}

pub(super) fn version_order(facts: &Facts, one: &MemberFacts, server: &ServerFacts) -> Check {
    let asked = ask(ids::VERSION_ORDER, member(Side::Source, one));
    let Some(own) = parse_version(&server.version) else {
        return asked.unknown(Problem::new(
            Code::VersionTooOld,
            format!("version `{}` is not of a form known here", server.version),
        ));
    };
    against_replica(facts, asked, server.version.clone(), |name, other| {
        if parse_version(&other.version).is_none_or(|version| series(version) >= series(own)) {
            return None;
        }
        let message = format!(
            "{} runs {}, a later series than {name} with {}: what the newer one logs the older one may not understand",
            named(Side::Source, one),
            server.version,
            other.version
        );
        let problem = Problem::new(Code::LaterSeries, message);
        let problem = problem.seen(format!("source {}, replica {}", server.version, other.version));
        Some(Outcome::Failed(problem.hint(Hint::text("upgrade the replica first"))))
    })
}
