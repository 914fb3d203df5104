//! (mesh)
