//! GTIDs that say something else than the data, and tables that replicate badly.

use super::{blocking, broken, check_of, commands, judge, problem, replica, shown, verdict};
use crate::domain::{
    check::{CheckId, Side, Subject},
    code::Code,
    facts::{Facts, RuleFacts, RuleKind, TableFacts, TablesFacts},
    judge::{ids, prerequisites},
    problem::Fetched,
    sample::{self, REPLICA, SOURCE, facts, got, gtids, spec, table, unlinked},
};

fn of(facts: &mut Facts, side: Side, number: usize) -> &mut TablesFacts {
    let server = match side {
        Side::Source => sample::source(facts, number),
        Side::Replica | Side::Client => sample::replica(facts, number),
    };
    got(server.tables.as_mut().unwrap())
}

fn here(facts: &mut Facts) -> &mut Vec<TableFacts> {
    &mut of(facts, Side::Replica, 0).tables
}

fn there(facts: &mut Facts) -> &mut Vec<TableFacts> {
    &mut of(facts, Side::Source, 0).tables
}

/// Before a first link: the source has purged nothing, and the replica has executed only what is given here.
fn fresh(executed: &str) -> Facts {
    let mut facts = unlinked();
    for number in 0..2 {
        sample::source(&mut facts, number).gtid_purged = gtids("");
        let server = sample::replica(&mut facts, number);
        (server.gtid_executed, server.gtid_purged) = (gtids(executed), gtids(""));
    }
    facts
}

fn there_of(facts: &Facts) -> (&'static str, Option<Code>) {
    verdict(&check_of(&spec(), facts, ids::TABLES_THERE, &replica(0)))
}

#[test]
fn tables_that_no_transaction_will_bring_stop_a_setup() {
    // gtid_purged set by hand on an empty server: everything counts as executed, and nothing is there.
    let check = broken(ids::TABLES_THERE, &replica(0), ("failed", Code::TablesMissing), |_, facts| here(facts).clear());
    let text = shown(&check);
    assert!(text.contains("lacks 2 table(s)") && text.contains("shop.items, shop.orders"), "{text}");
    assert_eq!(commands(&check), [""; 0], "nothing that could lose data is offered");
    let mut facts = unlinked();
    here(&mut facts).clear();
    let before = prerequisites(spec().replication().unwrap(), &facts);
    assert_eq!(blocking(&before).map(|check| check.id), Some(ids::TABLES_THERE));

    // A source whose logs were reset: fewer transactions than tables.
    let mut facts = fresh("");
    for number in 0..2 {
        sample::source(&mut facts, number).gtid_executed = gtids(&format!("{}:1", SOURCE[0]));
    }
    here(&mut facts).clear();
    let check = check_of(&spec(), &facts, ids::TABLES_THERE, &replica(0));
    assert_eq!(verdict(&check), ("failed", Some(Code::TablesMissing)));
    assert!(shown(&check).contains("only 1 of its transactions"), "{}", shown(&check));
}

#[test]
fn tables_that_may_come_with_what_is_missing_are_no_failure() {
    let mut facts = fresh("");
    here(&mut facts).clear();
    let check = check_of(&spec(), &facts, ids::TABLES_THERE, &replica(0));
    assert_eq!(verdict(&check), ("passed", None));
    assert_eq!(check.evidence, ["2 table(s) of the source are not here yet, and 100 transaction(s) are to come"]);
}

#[test]
fn what_a_filter_leaves_out_is_no_failure() {
    let with = |channel: &str| {
        let mut facts = facts();
        here(&mut facts).remove(0);
        let (channel, rule) = (channel.to_owned(), "REPLICATE_IGNORE_TABLE shop.items".to_owned());
        sample::replica(&mut facts, 0).rules.push(RuleFacts { kind: RuleKind::Filter, channel, rule });
        check_of(&spec(), &facts, ids::TABLES_THERE, &replica(0))
    };
    assert_eq!(verdict(&with("production")), ("warned", Some(Code::TablesMissing)));
    assert!(shown(&with("")).contains("filter: REPLICATE_IGNORE_TABLE shop.items"));
    assert_eq!(verdict(&with("other")), ("failed", Some(Code::TablesMissing)));
}

#[test]
fn data_without_its_gtids_is_not_played_over() {
    let facts = fresh(&format!("{}:1-3", REPLICA[0]));
    let check = check_of(&spec(), &facts, ids::TABLES_THERE, &replica(0));
    assert_eq!(verdict(&check), ("failed", Some(Code::DataWithoutGtids)));
    assert!(shown(&check).contains("shop.items, shop.orders"), "{}", shown(&check));
    assert!(commands(&check).iter().all(|command| command.starts_with("SELECT ")), "{:?}", commands(&check));
    // Tables that are empty, or others than the source's, hold nothing to be played over.
    let mut empty = fresh("");
    for table in here(&mut empty) {
        table.rows = Some(0);
    }
    assert_eq!(there_of(&empty), ("passed", None));
    let mut others = fresh("");
    for table in here(&mut others) {
        "own".clone_into(&mut table.schema);
    }
    assert_eq!(there_of(&others), ("passed", None));
}

#[test]
fn far_fewer_rows_are_a_warning_that_says_how_to_make_sure() {
    let check = broken(ids::TABLES_ROWS, &replica(0), ("warned", Code::RowsMissing), |_, facts| {
        here(facts)[1].rows = Some(19_999);
    });
    assert!(shown(&check).contains("shop.orders: about 200000 rows on source pxc-0, 19999 here"), "{}", shown(&check));
    assert_eq!(
        commands(&check),
        [
            "SELECT COUNT(*) FROM `shop`.`orders`;  -- on source pxc-0",
            "SELECT COUNT(*) FROM `shop`.`orders`;  -- on replica pxc-0",
        ]
    );
    let passes = |change: fn(&mut Vec<TableFacts>)| {
        let mut facts = facts();
        change(here(&mut facts));
        assert_eq!(verdict(&check_of(&spec(), &facts, ids::TABLES_ROWS, &replica(0))), ("passed", None));
    };
    passes(|tables| tables[1].rows = Some(20_000));
    passes(|tables| tables[0].rows = Some(0));
    passes(|tables| tables[1].rows = None);
}

#[test]
fn while_much_is_to_come_rows_and_columns_are_not_compared() {
    let mut facts = facts();
    sample::source(&mut facts, 0).gtid_executed = gtids(&format!("{}:1-201", SOURCE[0]));
    here(&mut facts)[1].rows = Some(0);
    let checks = judge(&spec(), &facts);
    let about = |id: CheckId| checks.iter().any(|check| check.id == id && check.subject == replica(0));
    assert!(about(ids::TABLES_THERE) && !about(ids::TABLES_ROWS) && !about(ids::TABLES_COLUMNS));
}

#[test]
fn other_columns_are_told_when_nothing_can_change_them_any_more() {
    let check = broken(ids::TABLES_COLUMNS, &replica(0), ("warned", Code::ColumnsDiffer), |_, facts| {
        here(facts)[0].columns = Some(8);
    });
    assert!(commands(&check)[1].ends_with("-- on replica pxc-0") && commands(&check)[0].contains("'items'"));
    let mut facts = facts();
    here(&mut facts)[0].columns = Some(8);
    sample::source(&mut facts, 0).gtid_executed = gtids(&format!("{}:1-101", SOURCE[0]));
    assert_eq!(verdict(&check_of(&spec(), &facts, ids::TABLES_COLUMNS, &replica(0))), ("passed", None));
}

#[test]
fn a_list_that_was_cut_says_nothing_of_later_names() {
    let mut facts = facts();
    there(&mut facts).push(table("zoo", "animals", 5));
    of(&mut facts, Side::Replica, 0).cut = true;
    assert_eq!(there_of(&facts), ("passed", None));
    // Nor of names that the servers order otherwise than bytes.
    there(&mut facts).push(table("Zoo", "animals", 5));
    assert_eq!(there_of(&facts), ("passed", None));
    there(&mut facts).insert(0, table("accounts", "x", 5));
    let check = check_of(&spec(), &facts, ids::TABLES_THERE, &replica(0));
    assert!(shown(&check).contains("on source pxc-0 only: accounts.x\n"), "{}", shown(&check));
}

#[test]
fn names_that_a_server_keeps_in_other_letters_are_the_same() {
    let mut facts = facts();
    "Items".clone_into(&mut there(&mut facts)[0].name);
    assert_eq!(there_of(&facts), ("failed", Some(Code::TablesMissing)));
    sample::replica(&mut facts, 0).settings.lower_case_table_names = 1;
    assert_eq!(there_of(&facts), ("passed", None));
}

#[test]
fn tables_that_would_become_one_stop_a_setup() {
    let lower = |facts: &mut Facts| sample::replica(facts, 1).settings.lower_case_table_names = 1;
    let source = super::source(0);
    broken(ids::TABLE_NAMES, &source, ("warned", Code::NamesDiffer), |_, facts| lower(facts));
    let check = broken(ids::TABLE_NAMES, &source, ("failed", Code::NamesDiffer), |_, facts| {
        there(facts).push(table("shop", "Orders", 3));
        lower(facts);
    });
    assert!(shown(&check).contains("on source pxc-0: shop.orders and shop.Orders"), "{}", shown(&check));
}

#[test]
fn tables_that_nobody_may_see_are_unknown_and_stop_nothing() {
    for side in [Side::Source, Side::Replica] {
        let mut facts = unlinked();
        of(&mut facts, side, 0).all_visible = false;
        of(&mut facts, side, 0).tables.clear();
        let check = check_of(&spec(), &facts, ids::TABLES_THERE, &replica(0));
        assert_eq!(verdict(&check), ("unknown", Some(Code::TablesUnseen)));
        assert_eq!(
            commands(&check),
            [format!("GRANT REFERENCES ON *.* TO 'pxc_link'@'%';  -- on {side} pxc-0")],
            "{check:?}"
        );
        assert_eq!(blocking(&prerequisites(spec().replication().unwrap(), &facts)), None);
    }
    let mut facts = facts();
    sample::source(&mut facts, 0).tables = Some(Fetched::Failed(problem(Code::ServerError)));
    for id in [ids::TABLES_KEYED, ids::TABLES_ENGINE] {
        assert_eq!(verdict(&check_of(&spec(), &facts, id, &Subject::Link)), ("unknown", Some(Code::TablesUnseen)));
    }
    let check = check_of(&spec(), &facts, ids::TABLES_THERE, &replica(1));
    assert!(shown(&check).contains("it was tried and it failed"), "{}", shown(&check));
}

#[test]
fn tables_that_were_not_looked_at_are_not_judged() {
    let mut facts = facts();
    for number in 0..2 {
        sample::source(&mut facts, number).tables = None;
        sample::replica(&mut facts, number).tables = None;
    }
    assert!(judge(&spec(), &facts).iter().all(|check| !check.id.0.starts_with("schema.")));
}

#[test]
fn keys_and_engines_of_the_source_are_warned_of() {
    let check = broken(ids::TABLES_KEYED, &Subject::Link, ("warned", Code::NoPrimaryKey), |_, facts| {
        let tables = there(facts);
        tables.extend((0..12).map(|n| table("log", &format!("t{n:02}"), 5)));
        for table in tables {
            table.has_key = Some(false);
        }
    });
    let text = shown(&check);
    assert!(text.contains("14 of 14 table(s)") && text.contains("log.t05 and 6 more"), "{text}");
    let check = broken(ids::TABLES_ENGINE, &Subject::Link, ("warned", Code::NotTransactional), |_, facts| {
        there(facts)[0].engine = Some("MyISAM".to_owned());
        sample::replica(facts, 0).settings.pxc_strict_mode = Some("ENFORCING".to_owned());
    });
    assert!(shown(&check).contains("strict mode on the replica denies"), "{}", shown(&check));
}

#[test]
fn a_failover_list_for_the_links_channel_is_warned_of() {
    let listed = |facts: &mut Facts, channel: &str| {
        let rule = "203.0.113.5:3306 weight 50".to_owned();
        let rule = RuleFacts { kind: RuleKind::Failover, channel: channel.to_owned(), rule };
        sample::replica(facts, 0).rules.push(rule);
    };
    let check = broken(ids::CHANNEL_RULES, &replica(0), ("warned", Code::FailoverListed), |_, facts| {
        listed(facts, "Production");
    });
    assert!(shown(&check).contains("203.0.113.5:3306"), "{}", shown(&check));
    let mut facts = facts();
    listed(&mut facts, "other");
    assert_eq!(verdict(&check_of(&spec(), &facts, ids::CHANNEL_RULES, &replica(0))), ("passed", None));
}
