//! What can be said of the source's tables alone: keys and engines; and whether tables can be compared at all.

use super::{
    super::{
        access::{sql_account, sql_text},
        ask, ids, named, servers,
    },
    unread_source,
};
use crate::domain::{
    check::{Check, CheckId, Side, Subject},
    code::Code,
    facts::{Facts, MemberFacts, TableFacts, TablesFacts},
    hint::Hint,
    problem::{Fetched, Problem},
    spec::ReplicationLink,
};

/// As many tables as a report names.
const NAMED: usize = 8;

/// Keys and engines of the source's tables, judged once, of the first member whose tables were asked for.
pub(super) fn of_source(spec: ReplicationLink<'_>, facts: &Facts) -> Vec<Check> {
    let subject = || Subject::Link;
    let asked = [ids::TABLES_KEYED, ids::TABLES_ENGINE];
    let Some((one, tables)) = looked_at(facts, Side::Source).next() else {
        return unread_source(facts)
            .map_or_else(Vec::new, |cause| asked.map(|id| ask(id, subject()).skipped(&cause)).into());
    };
    let seen = match tables {
        Fetched::Got(tables) if tables.all_visible => tables,
        Fetched::Got(_) => {
            let problem = unseen(spec, Side::Source, one);
            return asked.map(|id| ask(id, subject()).unknown(problem.clone())).into();
        }
        Fetched::Failed(problem) => {
            let problem = not_listed(Side::Source, one, problem);
            return asked.map(|id| ask(id, subject()).unknown(problem.clone())).into();
        }
    };
    let count = format!("{}{} table(s)", if seen.cut { "the first " } else { "" }, seen.tables.len());
    let judge = |id: CheckId, wrong: Vec<&TableFacts>, code: Code, what: &str, hint: &str| {
        if wrong.is_empty() {
            return ask(id, subject()).passed([count.clone()]);
        }
        let problem = Problem::new(code, format!("{} of {count} of the source {what}", wrong.len()));
        let name = named(Side::Source, one);
        let show = "SELECT TABLE_SCHEMA, TABLE_NAME, ENGINE FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE' AND ENGINE <> 'InnoDB' AND TABLE_SCHEMA NOT IN ('mysql', 'sys', 'performance_schema', 'information_schema')";
        let hint = Hint::text(hint);
        let hint = if id == ids::TABLES_ENGINE { hint.sql(name, show) } else { hint };
        ask(id, subject()).warned(problem.seen(names(&wrong)).hint(hint))
    };
    let keyless = seen.tables.iter().filter(|table| table.has_key == Some(false)).collect();
    let other =
        |table: &&TableFacts| table.engine.as_deref().is_some_and(|engine| !engine.eq_ignore_ascii_case("InnoDB"));
    let strict = servers(facts, Side::Replica).find_map(|(_, server)| server.settings.pxc_strict_mode.as_deref());
    let (slow, foreign) = match strict.filter(|mode| matches!(*mode, "ENFORCING" | "MASTER")) {
        Some(_) => (
            "have no primary key: PXC's strict mode on the replica denies what changes them, which stops the applier",
            "are not InnoDB's: PXC's strict mode on the replica denies what changes them, which stops the applier",
        ),
        None => (
            "have no primary key: the replica scans the whole table for each row that changes",
            "are not InnoDB's: Galera hands their changes on to no other member",
        ),
    };
    vec![
        judge(
            ids::TABLES_KEYED,
            keyless,
            Code::NoPrimaryKey,
            slow,
            "give each of them a primary key on the source, if need be an invisible one",
        ),
        judge(
            ids::TABLES_ENGINE,
            seen.tables.iter().filter(other).collect(),
            Code::NotTransactional,
            foreign,
            "change their engine on the source, or keep them out by a replication filter",
        ),
    ]
}

/// The members of a side whose tables were asked for.
pub(super) fn looked_at(facts: &Facts, side: Side) -> impl Iterator<Item = (&MemberFacts, &Fetched<TablesFacts>)> {
    servers(facts, side).filter_map(|(one, server)| Some((one, server.tables.as_ref()?)))
}

/// The first tables by name, and how many more there are.
pub(super) fn names(tables: &[&TableFacts]) -> String {
    let first: Vec<String> = tables.iter().take(NAMED).map(ToString::to_string).collect();
    match tables.len().saturating_sub(NAMED) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

/// The account of a side does not see every table.
pub(super) fn unseen(spec: ReplicationLink<'_>, side: Side, one: &MemberFacts) -> Problem {
    let (name, user) = (named(side, one), sql_account(spec, side));
    Problem::new(Code::TablesUnseen, format!("account `{user}` does not see every table of {name}"))
        .seen("SHOW GRANTS has none of REFERENCES, SELECT, INSERT, UPDATE ON *.*")
        .hint(
            Hint::text("REFERENCES shows names, columns and estimates and gives no access to a row")
                .sql(name, format!("GRANT REFERENCES ON *.* TO {}@'%'", sql_text(user))),
        )
}

/// The tables were asked for and did not come.
pub(super) fn not_listed(side: Side, one: &MemberFacts, why: &Problem) -> Problem {
    let problem = Problem::new(Code::TablesUnseen, format!("the tables of {} could not be listed", named(side, one)));
    why.evidence.iter().fold(problem.seen(why.message.clone()), |problem, line| problem.seen(line.clone()))
}
