//! The terminal: where text goes, how it looks there, what runs, and questions. Knows only `domain`.

pub mod confirm;
pub mod events;
pub mod printer;
pub mod theme;
