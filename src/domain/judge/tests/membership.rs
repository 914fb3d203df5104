//! Members in their own clusters, and the channel on a member that cannot apply.

use super::{check_of, commands, problem, replica, shown, source, verdict};
use crate::domain::{
    check::{Check, Subject},
    code::Code,
    facts::{Facts, GaleraMember, Membership},
    judge::{blocking, channel_preflight, ids, prerequisites},
    problem::Fetched,
    sample::{self, SOURCE, facts, in_group, spec},
};

fn node(cluster_status: &str, local_state: u8) -> Fetched<Membership> {
    Fetched::Got(Membership::Galera(GaleraMember {
        cluster_status: cluster_status.to_owned(),
        ready: cluster_status == "Primary",
        local_state,
        state_comment: String::new(),
        cluster_size: 3,
        desync: false,
        maint_mode: Some("DISABLED".to_owned()),
    }))
}

fn of(facts: &Facts, subject: &Subject) -> Check {
    check_of(&spec(), facts, ids::MEMBER_CLUSTER, subject)
}

#[test]
fn a_source_outside_of_its_cluster_fails_the_link_that_is_attached_to_it() {
    let mut facts = facts();
    sample::source(&mut facts, 0).membership = Some(node("Primary", 4));
    sample::source(&mut facts, 1).membership = Some(node("non-Primary", 0));
    assert_eq!(verdict(&of(&facts, &source(0))), ("passed", None));
    assert_eq!(verdict(&of(&facts, &source(1))), ("warned", Some(Code::SourceNotReady)));
    sample::replica(&mut facts, 0).channels[0].source_uuid = Some(SOURCE[1].to_owned());
    let check = of(&facts, &source(1));
    assert_eq!(verdict(&check), ("failed", Some(Code::SourceNotReady)), "both threads say ON all the same");
    assert!(shown(&check).contains("heartbeats"), "{}", shown(&check));
    assert_eq!(commands(&check), ["SHOW GLOBAL STATUS LIKE 'wsrep_%';  -- on source pxc-1"]);
    sample::replica(&mut facts, 0).channels.clear();
    sample::source(&mut facts, 0).membership = Some(node("non-Primary", 0));
    assert_eq!(verdict(&of(&facts, &source(0))), ("failed", Some(Code::SourceNotReady)), "nobody else is left");
}

#[test]
fn a_member_out_of_step_is_told_and_one_that_is_not_seen_stops_nothing() {
    let mut facts = facts();
    sample::source(&mut facts, 0).membership = Some(node("Primary", 2));
    assert_eq!(verdict(&of(&facts, &source(0))), ("warned", Some(Code::MemberOutOfStep)));
    sample::source(&mut facts, 0).membership = Some(Fetched::Failed(problem(Code::PrivilegeMissing)));
    assert_eq!(verdict(&of(&facts, &source(0))), ("unknown", Some(Code::PrivilegeMissing)));
    assert_eq!(blocking(&prerequisites(spec().replication().unwrap(), &facts)), None);
}

#[test]
fn a_member_is_started_only_where_it_has_left_its_group() {
    for (state, printed) in [
        ("OFFLINE", &["SELECT", "START GROUP_REPLICATION"][..]),
        ("ERROR", &["SELECT", "STOP GROUP_REPLICATION", "START GROUP_REPLICATION"]),
        ("RECOVERING", &["SELECT"]),
    ] {
        let mut facts = facts();
        in_group(&mut facts, ["PRIMARY", ""]);
        if let Some(Fetched::Got(Membership::Group(member))) = &mut sample::replica(&mut facts, 1).membership {
            member.state = state.to_owned();
        }
        let commands = commands(&of(&facts, &replica(1)));
        assert_eq!(commands.len(), printed.len(), "{commands:?}");
        assert!(commands.iter().zip(printed).all(|(command, begin)| command.starts_with(begin)), "{commands:?}");
    }
}

#[test]
fn two_sides_are_two_clusters() {
    let mut facts = facts();
    let uuid = |uuid: &str| Some(uuid.to_owned());
    sample::source(&mut facts, 0).cluster_uuid = uuid("29f8ff3d-e5f4-11f1-9424-0f887dfdb18f");
    sample::replica(&mut facts, 1).cluster_uuid = uuid("6c696e6b-0000-4000-8000-000000000200");
    let identity = |facts: &Facts| verdict(&check_of(&spec(), facts, ids::CLUSTER_IDENTITY, &Subject::Link));
    assert_eq!(identity(&facts), ("passed", None));
    sample::replica(&mut facts, 1).cluster_uuid = uuid("29F8FF3D-e5f4-11f1-9424-0f887dfdb18f");
    assert_eq!(identity(&facts), ("failed", Some(Code::OneClusterIdentity)));
}

#[test]
fn a_channel_that_the_primary_left_behind_is_found_and_moved() {
    let mut facts = facts();
    in_group(&mut facts, ["PRIMARY", "SECONDARY"]);
    let place = |facts: &Facts| check_of(&spec(), facts, ids::CHANNEL_MEMBER, &replica(0));
    assert_eq!(verdict(&place(&facts)), ("passed", None));
    for roles in [["SECONDARY", "PRIMARY"], ["", "PRIMARY"]] {
        in_group(&mut facts, roles);
        let check = place(&facts);
        assert_eq!(verdict(&check), ("failed", Some(Code::ChannelCannotApply)), "{roles:?}");
        assert!(shown(&check).contains("replica pxc-1: ONLINE PRIMARY in a single-primary group"), "{}", shown(&check));
        assert_eq!(commands(&check), ["pxc-link setup --source production"]);
        let receiver = check_of(&spec(), &facts, ids::RECEIVER_RUNNING, &replica(0));
        assert_eq!(verdict(&receiver), ("skipped", None), "its threads are of no interest any more");
        let preflight = channel_preflight(spec().replication().unwrap(), &facts);
        assert_eq!(blocking(&preflight), None, "setup moves it");
    }
    in_group(&mut facts, ["SECONDARY", "SECONDARY"]);
    assert!(commands(&place(&facts)).is_empty(), "nowhere to go");
    let preflight = channel_preflight(spec().replication().unwrap(), &facts);
    let stopped = blocking(&preflight).map(verdict);
    assert_eq!(stopped, Some(("failed", Some(Code::ChannelCannotApply))), "a group without a primary starts nothing");
}
