//! Putting people out of a space for good, and letting them come back.

use axum::extract::State;
use domain::space::{Act, Refused};
use domain::values::Reason;
use domain::{SpaceId, UserId};
use infra::commands::Accepted;
use infra::http::{BodyIfAny, InPath};
use infra::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Asked, SpaceProblems};
use crate::CommandApi;
use crate::answer::{Answer, Answered};
use crate::asking::{Asked as AskedBy, Asking};
use crate::conversations::{broken, no_such_user};

/// Why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BanMember {
    /// In one's own words: 1 to 500 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Puts somebody out for good.
pub(crate) async fn ban_member(
    api: &CommandApi,
    asking: Asking,
    space: SpaceId,
    user: UserId,
    request: BanMember,
) -> Result<Answer, Problem> {
    let reason = request.reason.as_deref().map(Reason::parse).transpose();
    let reason = reason.map_err(|invalid| broken("/reason", invalid))?;
    if !api.user_exists(user).await? {
        // Whoever may not know of the space learns nothing about users through it.
        let state = api.space_now(space).await?;
        let there = state.space.as_ref();
        if there.is_none_or(|space| !space.members.contains_key(&asking.user)) {
            return Err(Problem::refused(&Refused::NotFound));
        }
        return Err(no_such_user("/user"));
    }
    let asked = Asked {
        thing: space.0,
        name: "ban_member",
        fields: &(user, &request),
    };
    api.rule(asking, space, Act::Ban { user, reason }, asked)
        .await
}

/// Lets somebody come back.
pub(crate) async fn unban_member(
    api: &CommandApi,
    asking: Asking,
    space: SpaceId,
    user: UserId,
) -> Result<Answer, Problem> {
    let asked = Asked {
        thing: space.0,
        name: "unban_member",
        fields: &user,
    };
    api.rule(asking, space, Act::Unban { user }, asked).await
}

/// Ban somebody
///
/// They are out, if they were in, and no invite brings them back.
#[utoipa::path(
    put,
    path = "/v1/spaces/{space}/bans/{user}",
    tag = "spaces",
    request_body = Option<BanMember>,
    params(
        ("space" = SpaceId, Path, description = "Where"),
        ("user" = UserId, Path, description = "Whom"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses((status = 200, body = Accepted, description = "They are banned"), SpaceProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn put(
    State(api): State<CommandApi>,
    asked: AskedBy,
    InPath((space, user)): InPath<(SpaceId, UserId)>,
    BodyIfAny(request): BodyIfAny<BanMember>,
) -> Result<Answered, Problem> {
    let request = request.unwrap_or_default();
    let banned = ban_member(&api, asked.asking, space, user, request);
    Ok(banned.await?.ok())
}

/// Let somebody come back
#[utoipa::path(
    delete,
    path = "/v1/spaces/{space}/bans/{user}",
    tag = "spaces",
    params(
        ("space" = SpaceId, Path, description = "Where"),
        ("user" = UserId, Path, description = "Whom"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses((status = 200, body = Accepted, description = "They are not banned"), SpaceProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn delete(
    State(api): State<CommandApi>,
    asked: AskedBy,
    InPath((space, user)): InPath<(SpaceId, UserId)>,
) -> Result<Answered, Problem> {
    Ok(unban_member(&api, asked.asking, space, user).await?.ok())
}
