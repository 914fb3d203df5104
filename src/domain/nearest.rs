//! The nearest valid name to one that was misspelt.

/// The name most like a misspelt one, if one is like it at all; upper and lower case are the same.
pub(crate) fn nearest<'v>(wrong: &str, valid: impl Iterator<Item = &'v str>) -> Option<&'v str> {
    let wrong = wrong.to_lowercase();
    valid
        .map(|name| (strsim::damerau_levenshtein(&wrong, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= name.len().div_ceil(3))
        .min()
        .map(|(_, name)| name)
}
