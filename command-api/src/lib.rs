//! The command side: the routes that take commands, and the one path on which commands become
//! events. Writes to the log and nowhere else.

pub mod execute;
