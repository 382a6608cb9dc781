//! `verbatim replay`: events of the log as NDJSON on standard output, and nothing else there.

use std::io::{ErrorKind, Write};

use clap::Args;
use domain::{Actor, ConversationId};
use futures::TryStreamExt as _;
use reqwest::Method;

use crate::cli::CliResult;
use crate::cli::remote::Client;
use crate::node::Node;
use crate::settings::Settings;

/// Which events. All are optional and narrow each other; without any, the whole log.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// Only this conversation and its receipts
    #[arg(long, value_name = "ID")]
    conversation: Option<ConversationId>,
    /// Only after this position
    #[arg(long, value_name = "POSITION")]
    after: Option<String>,
    /// Only up to and with this position
    #[arg(long, value_name = "POSITION")]
    up_to: Option<String>,
    /// Only recorded at this time or later, such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only recorded before this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only caused by this user
    #[arg(long, value_name = "USER ID")]
    actor: Option<String>,
    /// Only this type, such as message-sent; may be given several times
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
}

impl Arguments {
    /// As the parameters of the HTTP routes.
    fn parameters(&self) -> Vec<(&'static str, &str)> {
        let one = [
            ("after", &self.after),
            ("up_to", &self.up_to),
            ("since", &self.since),
            ("until", &self.until),
            ("actor", &self.actor),
        ];
        let one = one
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.as_deref()?)));
        one.chain(self.types.iter().map(|name| ("type", name.as_str())))
            .collect()
    }
}

/// Replays from the data folder, as the operator.
pub(super) async fn on_folder(settings: Settings, arguments: &Arguments) -> CliResult {
    let mut selection = query_api::selection(arguments.parameters())?;
    selection.conversation = arguments.conversation;
    let node = Node::open_existing(&settings).await?;
    let done = async {
        let mut lines = query_api::replay(node.store(), Actor::Operator, selection).await?;
        let mut out = std::io::stdout().lock();
        while let Some(part) = lines.try_next().await? {
            if !write(&mut out, &part)? {
                break;
            }
        }
        Ok(())
    };
    let done = done.await;
    node.close().await;
    done
}

/// Replays from a running server, as an auditor.
pub(super) async fn on_server(server: &Client, arguments: &Arguments) -> CliResult {
    let path = arguments.conversation.map_or_else(
        || "/v1/audit/events".to_owned(),
        |id| format!("/v1/audit/conversations/{id}/events"),
    );
    let request = server
        .request(Method::GET, &path)
        .query(&arguments.parameters());
    let mut response = server.send(request).await?;
    let mut out = std::io::stdout().lock();
    while let Some(part) = response.chunk().await? {
        if !write(&mut out, &part)? {
            break;
        }
    }
    Ok(())
}

/// Writes a part; `false` where nobody reads any more, as after `| head`.
fn write(out: &mut impl Write, part: &[u8]) -> std::io::Result<bool> {
    match out.write_all(part).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}
