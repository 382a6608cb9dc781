//! `verbatim service add|list|rotate|revoke`: programs with a token of their own. The token goes to
//! standard output, alone, so that a script can keep it; what else there is to say, to standard error.

use std::io::Write as _;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand, ValueEnum};
use command_api::services::{self, By, CreateService, IssuedToken, RotateService};
use domain::service::Scope;
use domain::{Change, Position, ServiceId};
use infra::read_models::{Snapshot, WAIT_MAX, services as model, wait_for};
use reqwest::Method;
use serde_json::Value;

use crate::cli::CliResult;
use crate::cli::remote::Client;
use crate::node::Node;
use crate::settings::Settings;

/// Services that are asked for at once.
const PAGE: usize = 100;

/// What to do with services.
#[derive(Debug, Subcommand)]
pub enum Arguments {
    /// Make a service and print its token, which is not shown again
    Add(AddArguments),
    /// Show the services, one a line
    List,
    /// Give a service another token and print it; the one before is worth nothing from then on
    Rotate(RotateArguments),
    /// End a service for ever
    Revoke {
        /// The service's id
        service: ServiceId,
    },
}

/// What `service add` takes.
#[derive(Args, Clone, Debug)]
pub struct AddArguments {
    /// What it is called
    name: String,
    /// What it may do; may be given several times
    #[arg(long = "scope", value_name = "SCOPE", required = true)]
    scopes: Vec<ScopeName>,
    /// The handle of a bot's account
    #[arg(long, value_name = "HANDLE")]
    handle: Option<String>,
    /// When the token is worth nothing any more, such as 2027-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    expires_at: Option<DateTime<Utc>>,
}

/// What `service rotate` takes.
#[derive(Args, Clone, Debug)]
pub struct RotateArguments {
    /// The service's id
    service: ServiceId,
    /// When the new token is worth nothing any more; unless said, when the old one would be
    #[arg(long, value_name = "TIME")]
    expires_at: Option<DateTime<Utc>>,
}

/// A scope as it is typed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ScopeName {
    /// Reads the whole log, on the record
    Auditor,
    /// Reads how the server is doing
    Analyst,
    /// Acts as a user of its own; goes with no other scope
    Bot,
    /// Imports history
    Importer,
}

impl From<ScopeName> for Scope {
    fn from(name: ScopeName) -> Self {
        match name {
            ScopeName::Auditor => Self::Auditor,
            ScopeName::Analyst => Self::Analyst,
            ScopeName::Bot => Self::Bot,
            ScopeName::Importer => Self::Importer,
        }
    }
}

impl From<AddArguments> for CreateService {
    fn from(arguments: AddArguments) -> Self {
        Self {
            name: arguments.name,
            scopes: arguments.scopes.into_iter().map(Scope::from).collect(),
            handle: arguments.handle,
            expires_at: arguments.expires_at,
        }
    }
}

impl From<&RotateArguments> for RotateService {
    fn from(arguments: &RotateArguments) -> Self {
        Self {
            expires_at: arguments.expires_at.map_or(Change::Keep, Change::Set),
        }
    }
}

/// Works on the data folder.
pub(super) async fn on_folder(settings: Settings, arguments: Arguments) -> CliResult {
    let node = Node::open_existing(&settings).await?;
    let done = in_folder(&node, arguments).await;
    node.close().await;
    done
}

async fn in_folder(node: &Node, arguments: Arguments) -> CliResult {
    let (api, by) = (&node.command_api, By::operator());
    match arguments {
        Arguments::Add(add) => show_token(&services::create(api, by, add.into()).await?),
        Arguments::Rotate(rotate) => {
            let request = RotateService::from(&rotate);
            show_token(&services::rotate(api, by, rotate.service, request).await?)
        }
        Arguments::Revoke { service } => {
            services::revoke(api, by, service).await?;
            say_revoked(service);
            Ok(())
        }
        Arguments::List => {
            let projecting = node.start_projecting();
            let listed = list_in_folder(node).await;
            projecting.stop().await?;
            listed
        }
    }
}

/// The read database may be behind the log, or not there at all.
async fn list_in_folder(node: &Node) -> CliResult {
    let (database, models) = (&node.engines.database, [&model::MODEL]);
    let head = *node.store().head().borrow();
    while let Err(error) = wait_for(database, &models, head, WAIT_MAX).await {
        match error {
            infra::read_models::ReadError::Behind(behind) => eprintln!("{behind}"),
            error @ infra::read_models::ReadError::Database(_) => return Err(error.into()),
        }
    }
    let mut snapshot = Snapshot::of(database, &models).await?;
    let mut after = Position::ZERO;
    loop {
        let page = model::page(&mut snapshot, after, PAGE).await?;
        for service in &page {
            let scopes: Vec<Scope> = service.scopes.iter().copied().collect();
            show_line(
                &service.id.to_string(),
                &serde_json::to_value(scopes)?,
                service.revoked_at.is_some(),
                &service.name,
            )?;
        }
        match page.last() {
            Some(last) if page.len() == PAGE => after = last.created_position,
            Some(_) | None => return Ok(()),
        }
    }
}

/// Works on a running server.
pub(super) async fn on_server(server: &Client, arguments: Arguments) -> CliResult {
    match arguments {
        Arguments::Add(add) => {
            let request = server.request(Method::POST, "/v1/services");
            let request = request.json(&CreateService::from(add));
            show_token(&server.send(request).await?.json().await?)
        }
        Arguments::Rotate(rotate) => {
            let path = format!("/v1/services/{}/rotate", rotate.service);
            let request = server.request(Method::POST, &path);
            let request = request.json(&RotateService::from(&rotate));
            show_token(&server.send(request).await?.json().await?)
        }
        Arguments::Revoke { service } => {
            let path = format!("/v1/services/{service}");
            server.send(server.request(Method::DELETE, &path)).await?;
            say_revoked(service);
            Ok(())
        }
        Arguments::List => list_on_server(server).await,
    }
}

async fn list_on_server(server: &Client) -> CliResult {
    let mut after = Position::ZERO.to_string();
    loop {
        let request = server.request(Method::GET, "/v1/services");
        let request = request.query(&[("after", &after), ("limit", &PAGE.to_string())]);
        let page: Value = server.send(request).await?.json().await?;
        for service in page["services"].as_array().into_iter().flatten() {
            show_line(
                service["id"].as_str().unwrap_or_default(),
                &service["scopes"],
                service["revoked_at"].is_string(),
                service["name"].as_str().unwrap_or_default(),
            )?;
        }
        match &page["next"] {
            Value::Null => return Ok(()),
            next => after = next.to_string(),
        }
    }
}

fn show_token(issued: &IssuedToken) -> CliResult {
    eprintln!("service {}; its token is not shown again:", issued.id);
    writeln!(std::io::stdout(), "{}", issued.token)?;
    Ok(())
}

fn say_revoked(service: ServiceId) {
    eprintln!("service {service} is revoked");
}

/// A line of the list: id, scopes, whether it is revoked, name.
fn show_line(id: &str, scopes: &Value, revoked: bool, name: &str) -> CliResult {
    let names = scopes.as_array().into_iter().flatten();
    let names: Vec<&str> = names.filter_map(Value::as_str).collect();
    let standing = if revoked { "revoked" } else { "live" };
    let scopes = names.join(",");
    writeln!(
        std::io::stdout(),
        "{id}  {scopes:<18}  {standing:<7}  {name}"
    )?;
    Ok(())
}
