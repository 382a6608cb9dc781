//! `verbatim second-factors remove`: how the operator lets a user in again who lost every second factor.

use clap::Subcommand;
use command_api::remove_second_factors;
use reqwest::Method;

use crate::cli::CliResult;
use crate::cli::remote::Client;
use crate::node::Node;
use crate::settings::Settings;

/// What to do with second factors.
#[derive(Debug, Subcommand)]
pub enum Arguments {
    /// Remove all second factors of a user who lost them; that it was done is on the record
    Remove {
        /// The user's handle or id
        user: String,
    },
}

/// Works on the data folder.
pub(super) async fn on_folder(settings: Settings, arguments: Arguments) -> CliResult {
    let Arguments::Remove { user } = arguments;
    let node = Node::open_existing(&settings).await?;
    let done = remove(&node, &user).await;
    node.close().await;
    done?;
    say_removed(&user);
    Ok(())
}

async fn remove(node: &Node, user: &str) -> CliResult {
    let id = node.user(user).await?;
    remove_second_factors(&node.command_api, id).await?;
    Ok(())
}

/// Works on a running server.
pub(super) async fn on_server(server: &Client, arguments: Arguments) -> CliResult {
    let Arguments::Remove { user } = arguments;
    let id = server.user_id(&user).await?;
    let path = format!("/v1/users/{id}/factors");
    server.send(server.request(Method::DELETE, &path)).await?;
    say_removed(&user);
    Ok(())
}

fn say_removed(user: &str) {
    eprintln!("{user} has no second factor now");
}
