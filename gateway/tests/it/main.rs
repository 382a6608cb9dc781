//! The gateway through its real doors: TCP, WebSocket, HTTP; over a log in memory.

mod abuse;
mod commands;
mod drain;
mod members;
mod resume;
mod session;
mod signals;
mod sse;
mod storm;
mod world;
