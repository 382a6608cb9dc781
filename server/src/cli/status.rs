//! `verbatim status`: positions, the lag of each read model, connections.

use std::io::Write as _;

use clap::Args;
use reqwest::Method;

use crate::cli::CliResult;
use crate::cli::remote::Client;
use crate::node::{Node, Status};
use crate::settings::Settings;

/// How to show it.
#[derive(Args, Clone, Copy, Debug)]
pub struct Arguments {
    /// Print JSON, as GET /v1/status answers it
    #[arg(long)]
    json: bool,
}

/// The status of a data folder. Nothing is projected for it: the lag is what the next start makes
/// up for.
pub(super) async fn on_folder(settings: Settings, arguments: &Arguments) -> CliResult {
    let node = Node::open_existing(&settings).await?;
    let status = node.status().await;
    node.close().await;
    show(&status?, *arguments)
}

/// The status of a running server.
pub(super) async fn on_server(server: &Client, arguments: &Arguments) -> CliResult {
    let answer = server
        .send(server.request(Method::GET, "/v1/status"))
        .await?;
    show(&answer.json().await?, *arguments)
}

fn show(status: &Status, arguments: Arguments) -> CliResult {
    let mut out = std::io::stdout().lock();
    if arguments.json {
        serde_json::to_writer_pretty(&mut out, status)?;
        writeln!(out)?;
        return Ok(());
    }
    writeln!(out, "version      {}", status.version)?;
    writeln!(out, "position     {}", status.position)?;
    writeln!(out, "connections  {}", status.connections)?;
    writeln!(out)?;
    writeln!(
        out,
        "{:<14} {:>4} {:>10} {:>12} {:>8} {:>7}",
        "read model", "v", "state", "position", "lag", "parked"
    )?;
    for model in &status.projections {
        let lag = status.position.0.saturating_sub(model.position.0);
        writeln!(
            out,
            "{:<14} {:>4} {:>10} {:>12} {:>8} {:>7}",
            model.name, model.version, model.state, model.position.0, lag, model.parked
        )?;
    }
    if status.projections.iter().any(|model| model.parked > 0) {
        writeln!(out)?;
        writeln!(
            out,
            "Parked streams hold an event that could not be applied: see the log, update,"
        )?;
        writeln!(out, "then `verbatim rebuild NAME`.")?;
    }
    Ok(())
}
