//! GTID sets: parsing, printing and the algebra that says what is missing and what is errant.

use serde::{Deserialize, Serialize};

/// A set of GTIDs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GtidSet(String);
