//! Second factors: setting them up, showing them, and logging in with them.

pub(crate) mod complete;
pub(crate) mod keys;
pub(crate) mod passkey_login;
pub(crate) mod passkeys;
pub(crate) mod proof;
pub(crate) mod recovery_codes;
pub(crate) mod remove_all;
pub(crate) mod show;
#[cfg(test)]
mod tests;
pub(crate) mod ticket;
pub(crate) mod totp;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::CommandApi;

pub(crate) fn routes() -> OpenApiRouter<CommandApi> {
    OpenApiRouter::new()
        .routes(routes!(complete::post))
        .routes(routes!(passkey_login::challenge))
        .routes(routes!(passkey_login::post))
        .routes(routes!(totp::begin))
        .routes(routes!(totp::confirm))
        .routes(routes!(totp::remove))
        .routes(routes!(recovery_codes::post))
        .routes(routes!(passkeys::challenge))
        .routes(routes!(passkeys::add))
        .routes(routes!(passkeys::rename))
        .routes(routes!(passkeys::remove))
        .routes(routes!(remove_all::delete))
}
