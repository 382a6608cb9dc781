//! What the official Rust client can do with a server, as its own package tests it.
