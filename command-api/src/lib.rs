//! The command side: the routes that take commands, and the one path on which commands become
//! events. Writes to the log and nowhere else.
//!
//! A composition root makes one [`CommandApi`], serves [`routes`] and gives the same value to the
//! gateway as its [`infra::commands::CommandDoor`]. An import uses the executors below it.

mod answer;
mod api;
mod asking;
mod attachments;
mod begun;
mod contacts;
mod conversations;
mod even;
pub mod execute;
mod frames;
#[cfg(test)]
mod fuzz;
mod identity;
pub mod import;
mod inherited;
mod marks;
mod notifications;
pub mod owner;
mod password_strength;
mod passwords;
mod problems;
pub mod services;
mod spaces;
#[cfg(test)]
mod testing;

use utoipa_axum::router::OpenApiRouter;

pub use api::{CommandApi, Parts, SessionRules};
pub use attachments::{AttachmentRules, Usage};
pub use frames::ops;
pub use identity::factors::keys::SecondFactorRules;
pub use identity::factors::remove_all::remove_second_factors;
pub use identity::login::KnownUser;
pub use identity::system_roles::{RoleChange, change_role};
pub use notifications::NotificationRules;
pub use passwords::PasswordCost;
pub use spaces::Following;

/// Everything that takes commands, described in terms of `OpenAPI`: paths under `/v1`, and the public
/// keys of our tokens.
pub fn routes(api: CommandApi) -> OpenApiRouter {
    OpenApiRouter::new()
        .merge(identity::routes())
        .merge(owner::routes())
        .merge(services::routes())
        .merge(attachments::routes())
        .merge(conversations::routes())
        .merge(notifications::routes())
        .merge(spaces::routes())
        .with_state(api)
}

#[cfg(test)]
mod tests {
    use infra::auth::cookies::REFRESH_PATH;
    use serde_json::Value;

    use crate::testing::World;

    /// Operations that anybody may ask.
    const OPEN: [(&str, &str); 12] = [
        ("post", "/v1/users"),
        ("post", "/v1/sessions"),
        ("post", "/v1/sessions/code"),
        ("post", "/v1/sessions/second-factor"),
        ("post", "/v1/sessions/passkey"),
        ("post", "/v1/passkeys/challenge"),
        ("post", "/v1/passwords/reset"),
        ("post", REFRESH_PATH),
        ("get", "/.well-known/jwks.json"),
        ("post", "/v1/logins/{issuer}"),
        ("post", "/v1/logins/{issuer}/callback"),
        ("post", "/v1/issuers/{issuer}/webhook"),
    ];

    #[test]
    fn every_operation_says_what_it_may_answer() {
        let openapi = crate::routes(World::new().api).into_openapi();
        let openapi = serde_json::to_value(openapi).unwrap();
        let paths = openapi["paths"].as_object().unwrap();
        let mut operations = 0;
        for (path, item) in paths {
            for (method, operation) in item.as_object().unwrap() {
                if method == "get" {
                    continue;
                }
                operations += 1;
                let open = OPEN.contains(&(method.as_str(), path.as_str()));
                assert_eq!(operation["security"].is_array(), !open, "{method} {path}");
                let responses = operation["responses"].as_object().unwrap();
                for status in ["400", "401", "409", "422", "500", "503", "507"] {
                    let may_lack = open && status == "401";
                    assert!(
                        may_lack || responses.contains_key(status),
                        "{method} {path} {status}"
                    );
                }
                if path == REFRESH_PATH {
                    // What names the try is the refresh token.
                    continue;
                }
                let key = &operation["parameters"].as_array().unwrap().last().unwrap()["name"];
                assert_eq!(key, "Idempotency-Key", "{method} {path}");
            }
        }
        assert!(operations > 0, "there are commands");
        let description = |path: &str, status: &str| -> &Value {
            &openapi["paths"][path]["post"]["responses"][status]["description"]
        };
        let taken = description("/v1/users", "409").as_str().unwrap();
        assert!(
            taken.contains("handle_taken"),
            "the route's own codes win: {taken}"
        );
    }
}
