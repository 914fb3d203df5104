//! The transactions of its own that a replica had when its link was set up, as the link's ServiceEntry remembers them.

use super::{
    check::Side,
    desired,
    facts::{Facts, MemberFacts, ServerFacts},
    gtid::GtidSet,
    problem::Fetched,
    spec::LinkSpec,
};

/// The annotation of the link's ServiceEntry: a GTID set on one line, empty where the replica had none.
pub const RECORD: &str = "pxc-link.io/own-transactions";

/// The longest set that is written down, in bytes: all annotations of an object together may have 256 KiB (API machinery,
/// `TotalAnnotationSizeLimitB`).
const LONGEST: usize = 128 << 10;

/// What the replica had of its own at setup; `None` where nobody wrote it down, as on a link without a ServiceEntry.
pub fn recorded(spec: &LinkSpec, facts: &Facts) -> Option<GtidSet> {
    desired::records(spec.mesh()?, facts).get(RECORD)?.parse().ok()
}

/// What is to be written down: what the replica has of its own now, if nothing was written down before.
///
/// `None` too where a member of either side was not read: a set with holes would make old transactions look new later.
pub fn to_record(spec: &LinkSpec, facts: &Facts) -> Option<String> {
    if desired::records(spec.mesh()?, facts).contains_key(RECORD) {
        return None;
    }
    let (source, replica) = (executed(facts, Side::Source)?, executed(facts, Side::Replica)?);
    Some(replica.subtract(&source).to_string()).filter(|text| text.len() <= LONGEST)
}

/// Everything that a side's members have executed; `None` where there is none, or one that was not read.
fn executed(facts: &Facts, side: Side) -> Option<GtidSet> {
    let members: &Fetched<Vec<MemberFacts>> = match side {
        Side::Source => &facts.source.members,
        Side::Replica | Side::Client => &facts.client.members,
    };
    let servers: Option<Vec<&ServerFacts>> = members.got()?.iter().map(MemberFacts::server).collect();
    servers?.into_iter().map(|server| server.gtid_executed.clone()).reduce(|all, one| all.union(&one))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        code::Code,
        problem::Problem,
        sample::{self, REPLICA, SOURCE, facts, got, gtids, replicas, spec, unlinked},
    };

    #[test]
    fn the_first_setup_writes_down_what_the_replica_has_of_its_own() {
        let mut facts = unlinked();
        assert_eq!(to_record(&spec(), &facts).as_deref(), Some(""));
        sample::replica(&mut facts, 0).gtid_executed = gtids(&format!("{}:1-100,{}:1-2", SOURCE[0], REPLICA[0]));
        sample::replica(&mut facts, 1).gtid_executed = gtids(&format!("{}:1-90,{}:blue:7", SOURCE[0], REPLICA[1]));
        let text = format!("{}:1-2,{}:blue:7", REPLICA[0], REPLICA[1]);
        assert_eq!(to_record(&spec(), &facts), Some(text.clone()));
        assert_eq!(recorded(&spec(), &facts), None);

        facts.client.mesh = self::facts().client.mesh;
        got(&mut facts.client.mesh).entries[0].records.insert(RECORD.to_owned(), text.clone());
        assert_eq!(recorded(&spec(), &facts), Some(gtids(&text)));
        sample::replica(&mut facts, 0).gtid_executed = gtids(&format!("{}:1-3", REPLICA[0]));
        assert_eq!(to_record(&spec(), &facts), None, "what was there at the first setup stays");
    }

    #[test]
    fn a_set_with_holes_is_not_written_down() {
        let mut facts = unlinked();
        replicas(&mut facts)[1].server = Some(Fetched::Failed(Problem::new(Code::ServerUnreachable, "x")));
        assert_eq!(to_record(&spec(), &facts), None);
        let mut facts = unlinked();
        sample::sources(&mut facts).clear();
        assert_eq!(to_record(&spec(), &facts), None);
    }
}
