//! Settings in which the replica must be like the source: each member of the source against every member of the replica.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::super::{Asked, ask, ids, member, named, servers, unread};
use crate::domain::{
    check::{Check, CheckId, Outcome, Side},
    code::Code,
    facts::{Facts, MemberFacts, ServerFacts, TableFacts},
    hint::Hint,
    problem::{Fetched, Problem},
};

/// Clocks that differ by less agree. In milliseconds.
const CLOCKS_MS: i128 = 1000;

/// What every comparison of two servers is called.
pub(super) const BY_PAIR: [CheckId; 7] = [
    ids::VERSION_ORDER,
    ids::TABLE_NAMES,
    ids::PACKET_SIZE,
    ids::COLLATION,
    ids::TIME_ZONES,
    ids::TIMESTAMPS,
    ids::CLOCKS,
];

/// Compares a member of the source with every member of the replica.
pub(super) fn compared(facts: &Facts, one: &MemberFacts, source: &ServerFacts) -> Vec<Check> {
    let asked = |id| ask(id, member(Side::Source, one));
    let own = &source.settings;
    let from = named(Side::Source, one);
    let with = |asked: Asked, fact: String, differs: &dyn Fn(&str, &ServerFacts) -> Option<Problem>| {
        against_replica(facts, asked, fact, |name, server| differs(name, server).map(Outcome::Warned))
    };
    let case = format!("lower_case_table_names {}", own.lower_case_table_names);
    vec![
        against_replica(facts, asked(ids::TABLE_NAMES), case, |name, server| table_names(&from, source, name, server)),
        with(asked(ids::PACKET_SIZE), format!("max_allowed_packet {}", own.max_allowed_packet), &|name, server| {
            packet_size(&from, source, name, server)
        }),
        with(asked(ids::COLLATION), format!("collation_server {}", own.collation_server), &|name, server| {
            collation(&from, source, name, server)
        }),
        with(asked(ids::TIME_ZONES), zone(source), &|name, server| time_zones(&from, source, name, server)),
        with(
            asked(ids::TIMESTAMPS),
            format!("explicit_defaults_for_timestamp {}", shown(own.explicit_defaults_for_timestamp)),
            &|name, server| timestamps(&from, source, name, server),
        ),
        with(asked(ids::CLOCKS), "no more than a second apart".to_owned(), &|name, server| {
            clocks(&from, source, name, server)
        }),
    ]
}

/// The first member of the replica that does not fit decides; one that was not read leaves the answer open.
pub(super) fn against_replica(
    facts: &Facts,
    asked: Asked,
    fact: String,
    differs: impl Fn(&str, &ServerFacts) -> Option<Outcome>,
) -> Check {
    let found = servers(facts, Side::Replica).find_map(|(one, server)| differs(&named(Side::Replica, one), server));
    match (found, unread(facts, Side::Replica)) {
        (Some(outcome), _) => asked.end(outcome, Vec::new()),
        (None, Some(why)) => asked.unknown(why.clone()),
        (None, None) if servers(facts, Side::Replica).next().is_none() => {
            asked.unknown(Problem::new(Code::NoPodMatches, "the replica has no member to compare with"))
        }
        (None, None) => asked.passed([fact]),
    }
}

fn shown(flag: bool) -> &'static str {
    if flag { "ON" } else { "OFF" }
}

fn table_names(from: &str, source: &ServerFacts, name: &str, replica: &ServerFacts) -> Option<Outcome> {
    let (there, here) = (source.settings.lower_case_table_names, replica.settings.lower_case_table_names);
    // 1 and 2 compare alike and differ in how a name is kept.
    if (there == 0) == (here == 0) {
        return None;
    }
    let problem = Problem::new(
        Code::NamesDiffer,
        format!("{from} has lower_case_table_names {there} and {name} {here}: names that differ in case only are two tables on one side and one on the other"),
    )
    .seen(format!("@@lower_case_table_names: {there} on {from}, {here} on {name}"))
    .hint(Hint::text("it is fixed when the data directory is made: make the replica's anew with the source's value and seed it"));
    // Rows of such tables would all end up in one.
    let tables = source.tables.as_ref().and_then(Fetched::got).map_or(&[][..], |tables| &tables.tables);
    let lower = |table: &TableFacts| table.to_string().to_lowercase();
    let mut seen: BTreeMap<String, &TableFacts> = BTreeMap::new();
    let twins = tables.iter().find_map(|table| Some((seen.insert(lower(table), table)?, table)));
    Some(match twins {
        Some((one, other)) => Outcome::Failed(problem.seen(format!("on {from}: {one} and {other}"))),
        None => Outcome::Warned(problem),
    })
}

fn packet_size(from: &str, source: &ServerFacts, name: &str, replica: &ServerFacts) -> Option<Problem> {
    let (there, here) = (source.settings.max_allowed_packet, replica.settings.replica_max_allowed_packet);
    (here < there).then(|| {
        Problem::new(
            Code::PacketTooSmall,
            format!("{name} takes packets of {here} bytes, and {from} makes up to {there}"),
        )
        .seen(format!("@@max_allowed_packet of {from}: {there}"))
        .seen(format!("@@replica_max_allowed_packet of {name}: {here}"))
        .hint(
            Hint::text("raise it, at best to the default of 1 GiB; channels that run take it up at once")
                .sql(name, "SET PERSIST replica_max_allowed_packet = 1073741824"),
        )
    })
}

fn collation(from: &str, source: &ServerFacts, name: &str, replica: &ServerFacts) -> Option<Problem> {
    let (there, here) = (&source.settings.collation_server, &replica.settings.collation_server);
    (there != here).then(|| {
        // A collation is called by its character set first; `binary` is both.
        let set = there.split('_').next().unwrap_or(there);
        Problem::new(Code::CollationDiffers, format!("{from} has collation_server {there} and {name} {here}"))
            .seen(format!("@@collation_server: {there} on {from}, {here} on {name}"))
            .hint(
                Hint::text("set the replica's to the source's; what exists stays as it is")
                    .sql(name, format!("SET PERSIST character_set_server = '{set}'"))
                    .sql(name, format!("SET PERSIST collation_server = '{there}'")),
            )
    })
}

fn zone(server: &ServerFacts) -> String {
    let settings = &server.settings;
    let offset = settings.utc_offset_seconds.map_or("unknown".to_owned(), |seconds| format!("{seconds} s"));
    format!(
        "time_zone {} (system {}, {offset} ahead of UTC), names of zones {}",
        settings.time_zone,
        settings.system_time_zone,
        if settings.time_zone_names { "known" } else { "unknown" }
    )
}

fn time_zones(from: &str, source: &ServerFacts, name: &str, replica: &ServerFacts) -> Option<Problem> {
    let (there, here) = (&source.settings, &replica.settings);
    let (what, hint) = if there.time_zone_names && !here.time_zone_names {
        (
            format!(
                "{name} knows no names of time zones, and {from} does: a statement that uses one stops the applier"
            ),
            Hint::text(
                "run `mysql_tzinfo_to_sql /usr/share/zoneinfo | mysql mysql` against each member of the replica",
            ),
        )
    } else if there.utc_offset_seconds != here.utc_offset_seconds {
        (
            format!("sessions of {from} and of {name} are in different time zones"),
            Hint::text("give both sides the same; sessions that are open keep theirs")
                .sql(name, format!("SET PERSIST time_zone = '{}'", offset(there.utc_offset_seconds?))),
        )
    } else {
        return None;
    };
    let problem = Problem::new(Code::TimeZonesDiffer, what);
    Some(problem.seen(format!("{from}: {}", zone(source))).seen(format!("{name}: {}", zone(replica))).hint(hint))
}

/// Seconds as the server writes an offset: `+02:00`.
fn offset(seconds: i32) -> String {
    let (sign, minutes) = (if seconds < 0 { '-' } else { '+' }, seconds.abs() / 60);
    format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

fn timestamps(from: &str, source: &ServerFacts, name: &str, replica: &ServerFacts) -> Option<Problem> {
    let (there, here) =
        (source.settings.explicit_defaults_for_timestamp, replica.settings.explicit_defaults_for_timestamp);
    (there != here).then(|| {
        let (there, here) = (shown(there), shown(here));
        Problem::new(
            Code::TimestampsDiffer,
            format!("{from} has explicit_defaults_for_timestamp {there} and {name} {here}"),
        )
        .seen(format!("@@explicit_defaults_for_timestamp: {there} on {from}, {here} on {name}"))
        .hint(
            Hint::text("set the replica's to the source's")
                .sql(name, format!("SET PERSIST explicit_defaults_for_timestamp = {there}")),
        )
    })
}

/// How far a server's clock is ahead of this machine's, and by how much that may be wrong. In milliseconds.
fn ahead(server: &ServerFacts) -> Option<(i128, i128)> {
    let ahead: SignedDuration = server.clock.duration_since(server.asked_at?);
    Some((ahead.as_millis(), i128::from(server.asked_for_ms / 2)))
}

fn clocks(from: &str, source: &ServerFacts, name: &str, replica: &ServerFacts) -> Option<Problem> {
    let ((there, halfway), (here, on_the_way)) = (ahead(source)?, ahead(replica)?);
    let (apart, wrong) = (here - there, halfway + on_the_way);
    (apart.abs() - wrong > CLOCKS_MS).then(|| {
        let word = if apart > 0 { "ahead of" } else { "behind" };
        Problem::new(Code::ClocksDiffer, format!("the clock of {name} is {} ms {word} that of {from}", apart.abs()))
            .seen(format!("measured to within {wrong} ms, both against this machine's clock"))
            .seen(format!("UTC_TIMESTAMP(6) of {from}: {}, of {name}: {}", source.clock, replica.clock))
            .hint(Hint::text("see that time is synchronised on the nodes of both clusters (`chronyc tracking`)"))
    })
}

#[cfg(test)]
mod tests {
    use super::offset;

    #[test]
    fn offsets_are_written_as_the_server_takes_them() {
        assert_eq!([0, 7200, -12_600].map(offset), ["+00:00", "+02:00", "-03:30"]);
    }
}
