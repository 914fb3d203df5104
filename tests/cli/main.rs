//! The pxc-link binary without any server: what it prints, on which stream, and the code it ends with.
#![expect(clippy::unwrap_used, reason = "what cannot be prepared or read is a test that fails")]

mod commands;
mod configuration;
mod output;
mod place;
mod render;
mod unreachable;
mod verify;
