//! History from other systems, made into commands like anybody's.

pub mod slack;
