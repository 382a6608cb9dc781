//! Changing what one is called.

use axum::extract::State;
use domain::StreamName;
use domain::user::Command;
use domain::values::DisplayName;
use infra::commands::Accepted;
use infra::http::Body;
use infra::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::CommandApi;
use crate::answer::{Answer, Answered};
use crate::asking::{Asked, Asking};
use crate::conversations::broken;
use crate::problems::CommandProblems;

/// The new profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeProfile {
    /// What to be called: 1 to 80 characters.
    display_name: String,
}

/// Changes the asker's profile.
async fn change_profile(
    api: &CommandApi,
    asking: Asking,
    request: ChangeProfile,
) -> Result<Answer, Problem> {
    let display_name = DisplayName::parse(&request.display_name)
        .map_err(|invalid| broken("/display_name", invalid))?;
    let user = asking.user;
    let envelope = asking.envelope(&("change_profile", &request))?;
    let command = Command::ChangeProfile { user, display_name };
    let stream = StreamName::user(user);
    let done = api.users().execute(&stream, envelope, command).await?;
    Ok(Answer::new(user.0, done))
}

/// Change one's profile
#[utoipa::path(
    patch,
    path = "/v1/users/me",
    tag = "users",
    request_body = ChangeProfile,
    params(("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes")),
    responses(
        (status = 200, body = Accepted, description = "It is changed, or was so already"),
        CommandProblems,
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn patch(
    State(api): State<CommandApi>,
    asked: Asked,
    Body(request): Body<ChangeProfile>,
) -> Result<Answered, Problem> {
    Ok(change_profile(&api, asked.asking, request).await?.ok())
}
