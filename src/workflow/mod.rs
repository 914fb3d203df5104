//! (workflow)
