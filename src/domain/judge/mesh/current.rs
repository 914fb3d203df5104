//! M4, before any sidecar is asked: has the link's ServiceEntry the endpoints that the source has now?

use super::super::{ask, find, ids};
use crate::domain::{
    check::{Check, Outcome, Subject},
    code::Code,
    desired::{self, Entrance},
    facts::Facts,
    hint::Hint,
    problem::{Fetched, Problem},
    spec::MeshLink,
};

/// Judges the endpoints that were written against those that the source offers now. For a link that is set up: `setup` itself
/// writes what is there and shows the difference in its plan.
///
/// `before` are the checks on what is compared here.
pub fn endpoints_current(spec: MeshLink<'_>, facts: &Facts, before: &[Check]) -> Check {
    let asked = ask(ids::ENDPOINTS_CURRENT, Subject::Link);
    if let Fetched::Failed(problem) = &facts.client.mesh {
        return match find(before, ids::CLUSTER_REACHABLE, &Subject::Cluster(spec.client_side())) {
            Some(reachable) if !reachable.is_good() => asked.skipped(reachable),
            _ => asked.unfetched(problem),
        };
    }
    let entrances = match desired::desired_entrances(spec, facts) {
        Ok(entrances) => entrances.used,
        Err(problem) => {
            let because = before
                .iter()
                .find(|check| [ids::SERVICE_EXPOSED, ids::ENDPOINTS_KNOWN].contains(&check.id) && !check.is_good());
            return match because {
                Some(check) => asked.skipped(check),
                None => asked.unfetched(&problem),
            };
        }
    };
    let setup = Hint::run(
        "setup writes what the source has now; a running channel stays connected",
        ["pxc-link", "setup", "--source", &spec.name],
    );
    let Some(written) = desired::written_entrances(spec, facts) else {
        let because = [ids::MESH_OBJECTS, ids::ENTRY_EXPORTED]
            .into_iter()
            .filter_map(|id| find(before, id, &Subject::Link))
            .find(|check| matches!(check.outcome, Outcome::Failed(_)));
        if let Some(because) = because {
            return asked.skipped(because);
        }
        let what = format!("link `{}` has no ServiceEntry in namespace `{}`", spec.name, spec.client.cluster.namespace);
        return asked.failed(
            Problem::new(Code::EndpointsStale, what).hint(Hint { text: "set the link up".to_owned(), ..setup }),
        );
    };
    if written == entrances {
        return asked.passed(written.iter().map(ToString::to_string));
    }
    let gone = only_in(&written, &entrances);
    let new = only_in(&entrances, &written);
    let kept = written.len() - gone.len();
    let what = match (kept, gone.is_empty()) {
        (0, _) if same_addresses(&written, &entrances) => {
            "the port of the source's Service changed since the link was set up"
        }
        (0, _) => "none of the endpoints in the link's ServiceEntry is the source's any more",
        (_, true) => "the source has endpoints that the link's ServiceEntry lacks",
        (_, false) => "the link's ServiceEntry has endpoints that are not the source's any more",
    };
    let mut problem = Problem::new(Code::EndpointsStale, what);
    for (list, word) in [(&gone, "not the source's any more"), (&new, "not in the ServiceEntry")] {
        if !list.is_empty() {
            problem = problem.seen(format!("{word}: {}", shown(list)));
        }
    }
    let problem = problem.hint(setup);
    // While one of them is right new connections still arrive, at the latest when the wrong ones are ejected.
    if kept == 0 { asked.failed(problem) } else { asked.warned(problem) }
}

fn only_in<'a>(here: &'a [Entrance], there: &[Entrance]) -> Vec<&'a Entrance> {
    here.iter().filter(|entrance| !there.contains(entrance)).collect()
}

fn same_addresses(one: &[Entrance], other: &[Entrance]) -> bool {
    one.iter().map(|entrance| entrance.address).eq(other.iter().map(|entrance| entrance.address))
}

fn shown(list: &[&Entrance]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
