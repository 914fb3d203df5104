//! Which checks a run is asked for: all of them, or those that patterns over ids and milestones name.

use std::{collections::BTreeSet, str::FromStr};

use super::{
    check::{Check, CheckId, Milestone, Outcome, Report},
    judge::ids,
    nearest::nearest,
};

/// The checks of one pattern: `path.query`, `name.*`, `M3`, `access` or `prerequisites`, in upper or lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(BTreeSet<CheckId>);

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = text.trim().to_lowercase();
        let named = |(id, milestone, _): &&(CheckId, Milestone, &str)| {
            like(wanted.as_bytes(), id.0.as_bytes()) || short(*milestone).to_lowercase() == wanted
        };
        let found: BTreeSet<CheckId> = ids::ALL.iter().filter(named).map(|(id, ..)| *id).collect();
        if !found.is_empty() {
            return Ok(Self(found));
        }
        let known = ids::ALL.iter().map(|(id, ..)| id.0).chain(Milestone::ALL.map(short));
        let near = nearest(&wanted, known).map(|near| format!("the nearest is `{near}`"));
        let near = near.unwrap_or_else(|| format!("milestones are {}", Milestone::ALL.map(short).join(", ")));
        Err(format!("no check and no milestone is called so; {near}"))
    }
}

/// `M3` of `M3 mesh configuration`.
fn short(milestone: Milestone) -> &'static str {
    milestone.label().split(' ').next().unwrap_or_default()
}

/// Whether a text is like a pattern in which `*` stands for any characters.
fn like(pattern: &[u8], text: &[u8]) -> bool {
    match pattern {
        [] => text.is_empty(),
        [b'*', rest @ ..] => (0..=text.len()).any(|skipped| like(rest, &text[skipped..])),
        [first, rest @ ..] => text.first() == Some(first) && like(rest, &text[1..]),
    }
}

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection(Option<BTreeSet<CheckId>>);

impl Selection {
    /// The checks that any of the patterns names; all checks where there is no pattern.
    pub fn of(patterns: &[Pattern]) -> Self {
        let named = patterns.iter().flat_map(|pattern| pattern.0.iter().copied());
        Self((!patterns.is_empty()).then(|| named.collect()))
    }

    /// Whether the path has to be walked for it.
    pub fn walks(&self) -> bool {
        let on_the_path = |id: &CheckId| {
            let milestone = ids::milestone(*id);
            milestone == Milestone::Name || (Milestone::MeshConfiguration..=Milestone::Query).contains(&milestone)
        };
        self.0.as_ref().is_none_or(|ids| ids.iter().any(on_the_path))
    }

    /// Whether the files of a channel's TLS have to be looked at for it, by a command in each member's container.
    pub fn looks_at_files(&self) -> bool {
        let of_files = [ids::TLS_CA, ids::TLS_ISSUER, ids::TLS_CLIENT];
        self.0.as_ref().is_none_or(|ids| of_files.iter().any(|id| ids.contains(id)))
    }

    /// Leaves of a report what was asked for, with the checks that what is skipped waits for. Where nothing of it could be judged,
    /// the first problem stays, because it is the reason.
    pub fn apply(&self, report: &mut Report) {
        let Some(ids) = &self.0 else { return };
        let first = report.first_problem().map(|check| (check.id, check.subject.clone()));
        let is = |check: &Check, (id, subject): &(_, _)| check.id == *id && check.subject == *subject;
        let mut kept: Vec<bool> = report.checks.iter().map(|check| ids.contains(&check.id)).collect();
        if !kept.contains(&true) {
            kept = report.checks.iter().map(|check| first.as_ref().is_some_and(|first| is(check, first))).collect();
        }
        loop {
            let because: Vec<_> = report
                .checks
                .iter()
                .zip(&kept)
                .filter_map(|(check, kept)| match &check.outcome {
                    Outcome::Skipped { because } if *kept => Some(because.clone()),
                    _ => None,
                })
                .collect();
            let before = kept.clone();
            for (check, kept) in report.checks.iter().zip(&mut kept) {
                *kept |= because.iter().any(|cause| is(check, cause));
            }
            if kept == before {
                break;
            }
        }
        let mut kept = kept.into_iter();
        report.checks.retain(|_| kept.next().unwrap_or(false));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        code::Code,
        facts::Sidecar,
        judge,
        problem::{Fetched, Problem},
        sample::{facts, replicas, spec},
    };

    fn only(patterns: &[&str]) -> Selection {
        Selection::of(&patterns.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>())
    }

    fn kept(selection: &Selection, facts: &crate::domain::facts::Facts) -> Report {
        let checks = judge::judge(&spec(), facts);
        let mut report = Report { link: "x".into(), at: facts.at, checks, changes: Vec::new() };
        selection.apply(&mut report);
        report
    }

    #[test]
    fn patterns_are_ids_parts_of_ids_and_milestones() {
        let ids = |text: &str| text.parse::<Pattern>().map(|pattern| pattern.0);
        assert_eq!(ids("path.query"), Ok([ids::PATH_QUERY].into()));
        assert_eq!(ids("name.*"), Ok([ids::NAME_RESOLVES, ids::NAME_TABLE].into()));
        assert_eq!(ids("m1"), ids("name.*"));
        assert_eq!(ids("*").unwrap().len(), ids::ALL.len());
        assert!(ids("prerequisites").unwrap().contains(&ids::GTID_MODE));
        for (wrong, says) in [
            ("path.qury", "`path.query`"),
            ("M9", "the nearest is `M"),
            ("", "milestones are access, M0"),
            ("name", "milestones are"),
        ] {
            let error = ids(wrong).unwrap_err();
            assert!(error.contains(says), "{wrong}: {error}");
        }
    }

    #[test]
    fn only_what_lies_on_the_path_needs_a_walk() {
        for (patterns, walks) in
            [(&[][..], true), (&["M0"], false), (&["sidecar.*", "M8", "access"], false), (&["M0", "path.query"], true)]
        {
            assert_eq!(only(patterns).walks(), walks, "{patterns:?}");
        }
    }

    #[test]
    fn files_are_looked_at_for_their_own_checks_only() {
        for (patterns, looks) in [(&[][..], true), (&["M8"], false), (&["tls.source"], false), (&["tls.*"], true)] {
            assert_eq!(only(patterns).looks_at_files(), looks, "{patterns:?}");
        }
    }

    #[test]
    fn a_report_keeps_what_was_asked_for() {
        let report = kept(&only(&["path.query"]), &facts());
        assert!(report.checks.iter().all(|check| check.id == ids::PATH_QUERY && check.is_good()));
        assert_eq!(report.checks.len(), 2, "one a member");
        assert_eq!(kept(&Selection::default(), &facts()).checks.len(), judge::judge(&spec(), &facts()).len());
    }

    #[test]
    fn what_a_skipped_check_waits_for_stays_with_it() {
        let mut facts = facts();
        replicas(&mut facts)[0].pod().sidecar = Sidecar::Absent;
        let report = kept(&only(&["path.query"]), &facts);
        let failed = |check: &Check| matches!(check.outcome, Outcome::Failed(_));
        assert!(report.checks.iter().any(|check| check.id == ids::PATH_QUERY && !check.is_good()));
        assert!(report.checks.iter().any(failed), "{report:#?}");
        for check in &report.checks {
            let Outcome::Skipped { because: (id, subject) } = &check.outcome else { continue };
            assert!(report.checks.iter().any(|cause| cause.id == *id && cause.subject == *subject), "{report:#?}");
        }
    }

    #[test]
    fn where_nothing_could_be_judged_the_reason_stays() {
        let mut facts = facts();
        facts.paths.clear();
        facts.client.members = Fetched::Failed(Problem::new(Code::ApiUnreachable, "x"));
        let report = kept(&only(&["path.query"]), &facts);
        assert!(!report.checks.is_empty() && report.checks.iter().all(|check| !check.is_good()), "{report:#?}");
    }
}
