//! `verbatim rebuild NAME`: read models anew from the log, with progress.

use std::time::Duration;

use clap::Args;
use indicatif::ProgressBar;
use reqwest::Method;

use crate::cli::CliResult;
use crate::cli::lines::Lines;
use crate::cli::progress::bar;
use crate::cli::remote::Client;
use crate::http::RebuildLine;
use crate::node::Node;
use crate::settings::Settings;

/// What to rebuild.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// conversations, members, messages, receipts, search, services, sessions or users
    #[arg(required = true)]
    names: Vec<String>,
}

/// Rebuilds in the data folder.
pub(super) async fn on_folder(settings: Settings, arguments: &Arguments) -> CliResult {
    let node = Node::open_existing(&settings).await?;
    let projecting = node.start_projecting();
    let done = rebuild_all(&node, arguments).await;
    projecting.stop().await?;
    node.close().await;
    done
}

async fn rebuild_all(node: &Node, arguments: &Arguments) -> CliResult {
    for name in &arguments.names {
        let mut rebuild = node.projector.rebuild(name)?;
        let shown = bar(0, "events");
        shown.set_message(name.clone());
        while tokio::time::timeout(Duration::from_millis(250), rebuild.done())
            .await
            .is_err()
        {
            if let Some((position, head)) = rebuild.progress().await? {
                show(&shown, position.0, head.0);
            }
        }
        finish(&shown, name);
    }
    Ok(())
}

/// Rebuilds on a running server.
pub(super) async fn on_server(server: &Client, arguments: &Arguments) -> CliResult {
    for name in &arguments.names {
        let path = format!("/v1/read-models/{name}/rebuild");
        let mut lines = Lines::of(server.send(server.request(Method::POST, &path)).await?);
        let shown = bar(0, "events");
        shown.set_message(name.clone());
        loop {
            let line = lines.next().await?.ok_or(
                "the server ended the answer before the rebuild was done; it goes on at its \
                 next start",
            )?;
            match serde_json::from_slice(&line)? {
                RebuildLine::Progress { position, head } => show(&shown, position, head),
                RebuildLine::Done {} => break,
            }
        }
        finish(&shown, name);
    }
    Ok(())
}

fn show(bar: &ProgressBar, position: u64, head: u64) {
    bar.set_length(head);
    bar.set_position(position);
}

fn finish(bar: &ProgressBar, name: &str) {
    bar.finish_and_clear();
    eprintln!("{name}: built anew");
}
