//! The story that the demo tells and the lab's tests check: two sites, guests that count, `leeward` called as a user
//! would call it. What happened is read from the guests' own consoles, never from what `leeward` says of itself.

pub mod cost;
pub mod files;
pub mod guests;
pub mod leeward;
pub mod many;
pub mod parts;
pub mod promotion;
pub mod promotions;
pub mod stopwatch;
pub mod tell;
pub mod velero;
