//! Why a command did not do what it was asked, and what it leaves behind.

use crate::domain::{
    check::Change,
    code::{Code, Exit},
    problem::Problem,
};

/// The end of a command that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What is wrong, the decisive one first; never empty.
    pub problems: Vec<Problem>,
    /// What this run wrote and left standing.
    pub stands: Vec<Change>,
    /// What this run wrote and took back.
    pub taken_back: Vec<Change>,
}

impl Failure {
    /// A failure for several reasons at once, found before anything was written.
    pub fn of(problems: Vec<Problem>) -> Self {
        Self { problems, stands: Vec::new(), taken_back: Vec::new() }
    }

    /// How the process ends: part-way where something this run wrote is left standing, else as the first code says.
    pub fn exit(&self) -> Exit {
        let decisive = self.problems.first().map_or(Exit::Unexpected, |problem| problem.code.exit());
        if self.stands.is_empty() || decisive == Exit::Interrupted { decisive } else { Exit::PartWay }
    }

    /// A run that was asked to stop by a signal.
    pub fn interrupted(during: &str) -> Self {
        Problem::new(Code::Interrupted, format!("interrupted {during}")).into()
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::of(vec![problem])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_makes_a_failure_part_way_but_an_interruption_stays_one() {
        let change = Change { target: "ServiceEntry/x".into(), verb: "created" };
        let mut failure = Failure::from(Problem::new(Code::EndpointRefused, "x"));
        assert_eq!(failure.exit(), Exit::Checks);
        failure.stands.push(change.clone());
        assert_eq!(failure.exit(), Exit::PartWay);
        let mut interrupted = Failure::interrupted("at the prompt");
        interrupted.stands.push(change);
        assert_eq!(interrupted.exit(), Exit::Interrupted);
    }
}
