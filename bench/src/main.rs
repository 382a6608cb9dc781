//! Measures Verbatim beside the machine's own limits: one subcommand per figure. Prints a table and
//! writes JSON where asked.

#![expect(clippy::print_stdout, reason = "figures are what it is for")]

mod append;
mod client;
mod deliver;
mod figures;
mod imported;
mod page;
mod project;
mod replay;
mod search;
mod send;

use clap::{Parser, Subcommand};

/// As in the server: what the load generator costs is taken from the server's cores.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(about = "Measures Verbatim beside the machine's own limits")]
struct Arguments {
    #[command(subcommand)]
    figure: Figure,
}

#[derive(Subcommand)]
enum Figure {
    /// Durable appends a second, beside a bare file with group commit on the same disk.
    Append(append::Options),
    /// From sending to the last member's frame, on one process and on a cluster. Needs the server's
    /// release build, nats-server, nginx and PostgreSQL.
    Deliver(deliver::Options),
    /// The newest page of a conversation of a million messages, beside that of a short one. Needs the
    /// server's release build.
    Page(page::Options),
    /// Events a second into the read models.
    Project(project::Options),
    /// Events a second of an auditor's replay, beside reading the log's file.
    Replay(replay::Options),
    /// From a search to what was found in a Slack export, beside reading a page. Needs the server's
    /// release build.
    Search(search::Options),
    /// From an HTTP request to its acknowledgement, beside the disk's fdatasync. Needs the server's
    /// release build.
    Send(send::Options),
}

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    match Arguments::parse().figure {
        Figure::Append(options) => append::run(&options),
        Figure::Deliver(options) => deliver::run(&options),
        Figure::Page(options) => page::run(&options),
        Figure::Project(options) => project::run(&options),
        Figure::Replay(options) => replay::run(&options),
        Figure::Search(options) => search::run(&options),
        Figure::Send(options) => send::run(&options),
    }
}
