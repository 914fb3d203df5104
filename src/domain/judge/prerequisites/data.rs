//! GTIDs are not data: whether the replica has what its executed set claims, and its executed set what the data shows.

use std::collections::BTreeMap;

use super::{
    super::{ask, ids, member, named, or_empty, servers},
    tables::{looked_at, names, not_listed, unseen},
    unread_source,
};
use crate::domain::{
    check::{Check, CheckId, Side},
    code::Code,
    facts::{Facts, MemberFacts, RuleKind, ServerFacts, TableFacts, TablesFacts},
    gtid::GtidSet,
    hint::Hint,
    problem::{Fetched, Problem},
    spec::ReplicationLink,
};

/// Estimates of fewer rows on the source say too little.
const ROWS: u64 = 1000;
/// Fewer than one in so many rows of the source is no matter of estimates any more.
const FRACTION: u64 = 10;
/// A replica that lacks more transactions than this is still being filled, so that rows and columns are not compared yet.
const NEARLY_ALL: u128 = 100;

/// What a member of the replica is compared with.
struct Compared<'a> {
    one: &'a MemberFacts,
    server: &'a ServerFacts,
    /// Everything that the source's members have executed.
    executed: GtidSet,
    /// How many of these the replica's member lacks.
    missing: u128,
    source: &'a MemberFacts,
    there: &'a TablesFacts,
    here: &'a TablesFacts,
}

/// Compares the tables of each member of the replica with those of the source, as far as they were looked at.
pub(super) fn compared(spec: ReplicationLink<'_>, facts: &Facts) -> Vec<Check> {
    let Some((source, there)) = looked_at(facts, Side::Source).next() else {
        let Some(cause) = unread_source(facts) else { return Vec::new() };
        let skipped = |one| ask(ids::TABLES_THERE, member(Side::Replica, one)).skipped(&cause);
        return looked_at(facts, Side::Replica).map(|(one, _)| skipped(one)).collect();
    };
    let sets = servers(facts, Side::Source).map(|(_, server)| server.gtid_executed.clone());
    let executed = sets.reduce(|all, one| all.union(&one)).unwrap_or_default();
    let mut checks = Vec::new();
    for (one, server) in servers(facts, Side::Replica) {
        let Some(here) = &server.tables else { continue };
        let why =
            [(Side::Source, source, there), (Side::Replica, one, here)].into_iter().find_map(|(side, of, tables)| {
                match tables {
                    Fetched::Failed(problem) => Some(not_listed(side, of, problem)),
                    Fetched::Got(tables) => (!tables.all_visible).then(|| unseen(spec, side, of)),
                }
            });
        match (why, there, here) {
            (None, Fetched::Got(there), Fetched::Got(here)) => {
                let missing = executed.subtract(&server.gtid_executed).count();
                let both = Compared { one, server, executed: executed.clone(), missing, source, there, here };
                checks.push(both.tables(spec));
                checks.extend(both.rows_and_columns());
            }
            (why, ..) => {
                let unknown = |problem: Problem| ask(ids::TABLES_THERE, member(Side::Replica, one)).unknown(problem);
                checks.extend(why.map(unknown));
            }
        }
    }
    checks
}

impl<'a> Compared<'a> {
    fn name(&self) -> String {
        named(Side::Replica, self.one)
    }

    fn check(&self, id: CheckId, problem: Option<Problem>, fact: String) -> Check {
        let asked = ask(id, member(Side::Replica, self.one));
        match problem {
            Some(problem) => asked.warned(problem),
            None => asked.passed([fact]),
        }
    }

    /// The replica's table for each of the source's, where it lists one.
    fn pairs(&self) -> Vec<(&'a TableFacts, Option<&'a TableFacts>)> {
        // Servers of another `lower_case_table_names` keep the same name in other letters.
        let exact = self.server.settings.lower_case_table_names == 0
            && self.source.server().is_none_or(|source| source.settings.lower_case_table_names == 0);
        let key = |table: &TableFacts| {
            let full = (table.schema.clone(), table.name.clone());
            if exact { full } else { (full.0.to_lowercase(), full.1.to_lowercase()) }
        };
        let here: BTreeMap<_, _> = self.here.tables.iter().map(|table| (key(table), table)).collect();
        self.there.tables.iter().map(|table| (table, here.get(&key(table)).copied())).collect()
    }

    /// Tables that both sides list.
    fn common(&self) -> Vec<(&'a TableFacts, &'a TableFacts)> {
        self.pairs().into_iter().filter_map(|(there, here)| Some((there, here?))).collect()
    }

    /// Tables of the source that the replica's member has not. Where its list was cut, only those count that the source lists before
    /// one that both have: the order of names is the servers' own.
    fn absent(&self) -> Vec<&'a TableFacts> {
        let mut pairs = self.pairs();
        if self.here.cut {
            pairs.truncate(pairs.iter().rposition(|(_, here)| here.is_some()).unwrap_or_default());
        }
        pairs.into_iter().filter(|(_, here)| here.is_none()).map(|(there, _)| there).collect()
    }

    fn tables(&self, spec: ReplicationLink<'_>) -> Check {
        let asked = ask(ids::TABLES_THERE, member(Side::Replica, self.one));
        let absent = self.absent();
        // A transaction makes one table at the most: what more is missing, none of them will bring.
        if absent.len() as u128 > self.missing {
            let problem = self.tables_missing(spec, &absent);
            let own = |channel: &str| channel.is_empty() || channel.eq_ignore_ascii_case(&spec.replication.channel);
            let filters = self.server.rules.iter().filter(|rule| rule.kind == RuleKind::Filter && own(&rule.channel));
            let filters: Vec<String> = filters.map(|rule| format!("filter: {}", rule.rule)).collect();
            return if filters.is_empty() {
                asked.failed(problem)
            } else {
                asked.warned(filters.into_iter().fold(problem, Problem::seen))
            };
        }
        let filled: Vec<&TableFacts> = self
            .common()
            .into_iter()
            .map(|(_, here)| here)
            .filter(|table| table.rows.unwrap_or_default() > 0)
            .collect();
        let nothing_in_common = self.executed.intersect(&self.server.gtid_executed).is_empty();
        if nothing_in_common && !self.executed.is_empty() && !filled.is_empty() {
            return asked.failed(self.data_without_gtids(&filled));
        }
        asked.passed([match absent.len() {
            0 => format!("every table that {} lists", named(Side::Source, self.source)),
            absent => format!(
                "{absent} table(s) of the source are not here yet, and {} transaction(s) are to come",
                self.missing
            ),
        }])
    }

    fn tables_missing(&self, spec: ReplicationLink<'_>, absent: &[&TableFacts]) -> Problem {
        let (name, from) = (self.name(), named(Side::Source, self.source));
        Problem::new(
            Code::TablesMissing,
            format!(
                "{name} lacks {} table(s) of the source and only {} of its transactions: GTIDs will not bring them",
                absent.len(),
                self.missing
            ),
        )
        .seen(format!("on {from} only: {}", names(absent)))
        .seen(format!("gtid_executed of the source: {}", or_empty(&self.executed)))
        .seen(format!("gtid_executed of {name}: {}", or_empty(&self.server.gtid_executed)))
        .hint(Hint::text(format!(
            "give {name} data and GTIDs of one moment: CLONE or XtraBackup of {from}, or a `mysqlsh` dump with its GTID set on every member; single tables can be dumped and loaded while nothing writes to them. Then run `pxc-link setup --source {}` again",
            spec.name
        )))
    }

    fn data_without_gtids(&self, filled: &[&TableFacts]) -> Problem {
        let name = self.name();
        Problem::new(
            Code::DataWithoutGtids,
            format!(
                "{name} has {} of the source's tables with rows and none of its transactions: all of them would be played back over the data",
                filled.len()
            ),
        )
        .seen(format!("with rows on {name}: {}", names(filled)))
        .seen(format!("gtid_executed of the source: {}", or_empty(&self.executed)))
        .seen(format!("gtid_executed of {name}: {}", or_empty(&self.server.gtid_executed)))
        .hint(
            Hint::text(format!(
                "if {name} was restored from a backup of the source and not written to since, every member has to be told the backup's GTID set; if that set is not known, seed it anew"
            ))
            .sql(&name, "SELECT @@GLOBAL.gtid_executed, @@GLOBAL.gtid_purged"),
        )
    }

    /// Rows and columns, once so little is to come that it hardly explains a difference.
    fn rows_and_columns(&self) -> Vec<Check> {
        if self.missing > NEARLY_ALL {
            return Vec::new();
        }
        let common = self.common();
        let fewer: Vec<(u64, u64, &TableFacts)> = common
            .iter()
            .filter_map(|(there, here)| Some((there.rows?, here.rows?, *here)))
            .filter(|(there, here, _)| *there >= ROWS && here.saturating_mul(FRACTION) < *there)
            .collect();
        // One of the missing transactions may be the one that changes a table.
        let other: Vec<&TableFacts> = common
            .iter()
            .filter(|(there, here)| self.missing == 0 && there.columns.zip(here.columns).is_some_and(|(a, b)| a != b))
            .map(|(there, _)| *there)
            .collect();
        let fact = format!("{} table(s) of both sides", common.len());
        vec![
            self.check(ids::TABLES_ROWS, self.fewer_rows(&fewer), fact.clone()),
            self.check(ids::TABLES_COLUMNS, self.other_columns(&other), fact),
        ]
    }

    fn fewer_rows(&self, fewer: &[(u64, u64, &TableFacts)]) -> Option<Problem> {
        let worst = fewer.iter().max_by_key(|(there, here, _)| there - here)?;
        let (name, from) = (self.name(), named(Side::Source, self.source));
        let count = |table: &TableFacts| {
            let quoted = |name: &str| format!("`{}`", name.replace('`', "``"));
            format!("SELECT COUNT(*) FROM {}.{}", quoted(&table.schema), quoted(&table.name))
        };
        let mut problem = Problem::new(
            Code::RowsMissing,
            format!("{} table(s) of {name} have less than a tenth of the source's rows, by estimate", fewer.len()),
        );
        for (there, here, table) in fewer.iter().take(5) {
            problem = problem.seen(format!("{table}: about {there} rows on {from}, {here} here"));
        }
        Some(problem.seen(format!("{} transaction(s) are to come", self.missing)).hint(
            Hint::text("the engines only estimate: count the worst of them on both sides; rows that are missing are copied or seeded, the channel does not bring them")
                .sql(&from, count(worst.2))
                .sql(&name, count(worst.2)),
        ))
    }

    fn other_columns(&self, other: &[&TableFacts]) -> Option<Problem> {
        let first = other.first()?;
        let (name, from) = (self.name(), named(Side::Source, self.source));
        let show = format!(
            "SELECT COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {} ORDER BY ORDINAL_POSITION",
            text(&first.schema),
            text(&first.name)
        );
        Some(
            Problem::new(
                Code::ColumnsDiffer,
                format!("{} table(s) of {name} have other columns than the source's", other.len()),
            )
            .seen(names(other))
            .hint(
                Hint::text("see what differs, then change the replica's table to the source's")
                    .sql(&from, show.clone())
                    .sql(&name, show),
            ),
        )
    }
}

fn text(name: &str) -> String {
    super::super::access::sql_text(name)
}
