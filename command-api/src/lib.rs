//! The command side: the routes that take commands, and the one path on which commands become
//! events. Writes to the log and nowhere else.
//!
//! A composition root makes one [`CommandApi`], serves [`routes`] and gives the same value to the
//! gateway as its [`infra::commands::CommandDoor`]. An import uses the executors below it.

mod answer;
mod api;
mod asking;
mod conversations;
pub mod execute;
mod frames;
mod identity;
pub mod import;
mod marks;
pub mod owner;
mod passwords;
mod problems;
#[cfg(test)]
mod testing;

use utoipa_axum::router::OpenApiRouter;

pub use api::{CommandApi, Parts};

/// Everything that takes commands, with its OpenAPI description: paths under `/v1`, and the public
/// keys of our tokens.
pub fn routes(api: CommandApi) -> OpenApiRouter {
    OpenApiRouter::new()
        .merge(identity::routes())
        .merge(owner::routes())
        .merge(conversations::routes())
        .with_state(api)
}
