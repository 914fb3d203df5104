//! Verifying: the whole link looked at and judged again; writes nothing.

use super::{gather, prove, session::Session, sides::Sides};
use crate::domain::{check::Report, desired, facts::Facts, judge, spec::LinkSpec};

/// Looks at both sides and walks the path from every replica member.
pub async fn facts(session: &Session) -> Facts {
    let sides = Sides::connect(session).await;
    let mut facts = gather::facts(session, &sides).await;
    if let Ok((vip, _)) = desired::desired_vip(&session.spec, &facts) {
        facts.paths = prove::paths(session, &sides, &facts, vip, prove::UNCHANGED).await;
    }
    facts
}

/// Judges facts, from here or from a file.
pub fn report(spec: &LinkSpec, facts: &Facts) -> Report {
    Report { link: spec.name.clone(), at: facts.at, checks: judge::judge(spec, facts), changes: Vec::new() }
}
