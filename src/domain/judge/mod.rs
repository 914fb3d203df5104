//! Judging: pure functions from the link's spec and its facts to checks.
