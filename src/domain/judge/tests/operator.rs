//! A replica whose members are of a resource of Percona's operator.

use super::{broken, check_of, commands, shown, unread, verdict};
use crate::domain::{
    check::{Side, Subject},
    code::Code,
    facts::{Facts, OperatorChannel, OperatorFacts},
    judge::ids,
    problem::Fetched,
    sample::{facts, replicas, spec},
};

const REPLICA: Subject = Subject::Cluster(Side::Replica);

fn resource(facts: &mut Facts, channels: &[(&str, bool)]) {
    for one in replicas(facts) {
        let labels = &mut one.pod().labels;
        labels.insert("app.kubernetes.io/instance".to_owned(), "cluster1".to_owned());
        labels.insert("app.kubernetes.io/component".to_owned(), "pxc".to_owned());
    }
    let channel =
        |(name, is_source): &(&str, bool)| OperatorChannel { name: (*name).to_owned(), is_source: *is_source };
    let channels = channels.iter().map(channel).collect();
    let other = OperatorFacts { name: "other".to_owned(), channels: Vec::new() };
    let own = OperatorFacts { name: "cluster1".to_owned(), channels };
    facts.client.surroundings.operators = Fetched::Got(vec![other, own]);
}

#[test]
fn a_channel_that_the_operator_manages_is_left_to_it() {
    let check = broken(ids::OPERATOR, &REPLICA, ("failed", Code::OperatorOwnsChannel), |_, facts| {
        resource(facts, &[("eu", false), ("Production", false)]);
    });
    assert!(shown(&check).contains("PerconaXtraDBCluster/cluster1: eu (isSource: false), Production"), "{check:?}");
    assert_eq!(
        commands(&check),
        [
            "kubectl --context dr -n pxc get perconaxtradbclusters cluster1 -o 'jsonpath={.spec.pxc.replicationChannels}'"
        ]
    );
}

#[test]
fn an_operator_that_opens_its_members_is_warned_of() {
    for channels in [&[][..], &[("to_elsewhere", true)], &[("production", true)]] {
        broken(ids::OPERATOR, &REPLICA, ("warned", Code::OperatorOpensReplica), |_, facts| resource(facts, channels));
    }
    broken(ids::OPERATOR, &REPLICA, ("warned", Code::OperatorStopsChannels), |_, facts| {
        resource(facts, &[("eu", false), ("to_elsewhere", true)]);
    });
}

#[test]
fn resources_of_others_and_those_that_cannot_be_listed_stop_nothing() {
    let mut facts = facts();
    resource(&mut facts, &[("production", false)]);
    for one in replicas(&mut facts) {
        one.pod().labels.insert("app.kubernetes.io/instance".to_owned(), "third".to_owned());
    }
    assert_eq!(verdict(&check_of(&spec(), &facts, ids::OPERATOR, &REPLICA)), ("passed", None));
    facts.client.surroundings.operators = unread(Code::Forbidden);
    let check = check_of(&spec(), &facts, ids::OPERATOR, &REPLICA);
    assert_eq!(verdict(&check), ("unknown", Some(Code::Forbidden)));
    assert_eq!(super::blocking(&[check]), None);
}
