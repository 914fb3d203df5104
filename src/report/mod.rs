//! Renderers: the same report, plan, problem or status as text or as JSON. Nothing here judges.
