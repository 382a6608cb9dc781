//! Commands on conversations: one file per use case, each with its request, its function for both
//! doors and its routes.

pub(crate) mod archive;
pub(crate) mod change;
mod content;
pub(crate) mod delete_message;
pub(crate) mod edit_message;
mod forward;
pub(crate) mod members;
pub(crate) mod pins;
pub(crate) mod reactions;
pub(crate) mod receipts;
pub(crate) mod send_message;
pub(crate) mod start;
pub(crate) mod threads;

use domain::values::{Invalid, Title};
use infra::problem::Problem;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::CommandApi;

pub(crate) fn routes() -> OpenApiRouter<CommandApi> {
    OpenApiRouter::new()
        .routes(routes!(start::post))
        .routes(routes!(change::patch))
        .routes(routes!(archive::put, archive::delete))
        .routes(routes!(members::post))
        .routes(routes!(members::patch, members::delete))
        .routes(routes!(send_message::post))
        .routes(routes!(edit_message::patch, delete_message::delete))
        .routes(routes!(reactions::put, reactions::delete))
        .routes(routes!(pins::put, pins::delete))
        .routes(routes!(threads::put, threads::delete))
        .routes(routes!(threads::put_seen))
        .routes(routes!(receipts::put_seen))
        .routes(routes!(receipts::put_delivered))
}

/// A broken rule of the field at `pointer`.
pub(crate) fn broken(pointer: &str, invalid: Invalid) -> Problem {
    Problem::invalid_field(pointer, invalid.code, invalid.rule)
}

fn title(text: &str) -> Result<Title, Problem> {
    Title::parse(text).map_err(|invalid| broken("/title", invalid))
}

/// A user whom the field at `pointer` names and who does not exist.
pub(crate) fn no_such_user(pointer: &str) -> Problem {
    Problem::invalid_field(pointer, "user_not_found", "there is no such user")
}
