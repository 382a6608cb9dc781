//! `verbatim role grant|revoke`: how the operator makes the first auditor, and anybody after.

use command_api::{RoleChange, change_role};
use domain::user::SystemRole;
use reqwest::Method;

use crate::cli::remote::Client;
use crate::cli::{CliResult, Role, RoleName};
use crate::node::Node;
use crate::settings::Settings;

/// Changes a role in the data folder.
pub(super) async fn on_folder(settings: Settings, role: Role) -> CliResult {
    let node = Node::open_existing(&settings).await?;
    let done = change(&node, role).await;
    node.close().await;
    done
}

async fn change(node: &Node, role: Role) -> CliResult {
    let (of, granted) = parts(role);
    let user = node.user(&of.user).await?;
    let role = of.role.into();
    let change = if granted {
        RoleChange::Grant(role)
    } else {
        RoleChange::Revoke(role)
    };
    change_role(&node.command_api, user, change).await?;
    say(of.role, granted, &of.user)
}

/// Changes a role on a running server.
pub(super) async fn on_server(server: &Client, role: Role) -> CliResult {
    let (of, granted) = parts(role);
    let id = server.user_id(&of.user).await?;
    let path = format!("/v1/users/{id}/system-roles/{}", name(of.role)?);
    let method = if granted { Method::PUT } else { Method::DELETE };
    server.send(server.request(method, &path)).await?;
    say(of.role, granted, &of.user)
}

fn say(role: RoleName, granted: bool, user: &str) -> CliResult {
    let has = if granted { "has" } else { "does not have" };
    eprintln!("{user} {has} the role {}", name(role)?);
    Ok(())
}

/// The role as the API writes it.
fn name(role: RoleName) -> CliResult<String> {
    let name = serde_json::to_value(SystemRole::from(role))?;
    Ok(name.as_str().unwrap_or_default().to_owned())
}

fn parts(role: Role) -> (crate::cli::RoleOfUser, bool) {
    match role {
        Role::Grant(of) => (of, true),
        Role::Revoke(of) => (of, false),
    }
}
