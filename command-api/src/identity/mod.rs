//! Commands on accounts, passwords, codes in mails and logins, and the public keys of our tokens.

pub(crate) mod ask_code;
pub(crate) mod avatar;
pub(crate) mod blocks;
pub(crate) mod change_password;
pub(crate) mod claim;
pub(crate) mod claims;
pub(crate) mod code_login;
pub(crate) mod codes;
pub(crate) mod factors;
pub(crate) mod issuers;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod logout_everywhere;
pub(crate) mod open_session;
pub(crate) mod preferences;
pub(crate) mod profile;
pub(crate) mod refresh;
pub(crate) mod register;
pub(crate) mod reset_password;
pub(crate) mod standing;
pub(crate) mod system_roles;
pub(crate) mod verify_email;

use axum::Json;
use axum::extract::State;
use domain::CommandId;
use infra::clock::fresh_id;
use infra::problem::Problem;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::CommandApi;
use crate::execute::Envelope;

pub(crate) fn routes() -> OpenApiRouter<CommandApi> {
    OpenApiRouter::new()
        .routes(routes!(register::post))
        .routes(routes!(login::post))
        .routes(routes!(ask_code::post))
        .routes(routes!(code_login::post))
        .routes(routes!(verify_email::post))
        .routes(routes!(reset_password::post))
        .routes(routes!(change_password::put))
        .routes(routes!(refresh::post))
        .routes(routes!(logout_everywhere::delete))
        .routes(routes!(logout::delete_current))
        .routes(routes!(logout::delete))
        .routes(routes!(profile::patch))
        .routes(routes!(avatar::put, avatar::delete))
        .routes(routes!(preferences::put))
        .routes(routes!(blocks::put, blocks::delete))
        .routes(routes!(standing::deactivate))
        .routes(routes!(standing::suspend))
        .routes(routes!(standing::reinstate))
        .routes(routes!(system_roles::put, system_roles::delete))
        .routes(routes!(jwks))
        .merge(issuers::routes())
        .merge(factors::routes())
}

/// A claim or release in the course of `command`. It has an id of its own each time: whoever
/// repeats it wants to know how things stand now, not how they once stood.
pub(crate) fn reservation_envelope(
    actor: domain::Actor,
    command: CommandId,
) -> Result<Envelope, infra::failure::Failure> {
    let envelope = Envelope::new(actor, CommandId(fresh_id()), &"reservation")?;
    Ok(envelope.caused_by(command, command))
}

/// The public keys of our tokens
///
/// Of the last period of 30 days, this and the next. A token names its key in `kid`.
#[utoipa::path(
    get,
    path = "/.well-known/jwks.json",
    tag = "sessions",
    responses((status = 200, body = Object, description = "A JSON Web Key Set, RFC 7517")),
)]
async fn jwks(State(api): State<CommandApi>) -> Result<Json<serde_json::Value>, Problem> {
    let keys = api.guard().tokens().jwks(api.clock().now())?;
    Ok(Json(serde_json::json!(keys)))
}
