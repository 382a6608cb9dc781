//! Coming into a space that is open, leaving it, and putting members out.

use axum::extract::State;
use domain::space::Act;
use domain::{SpaceId, UserId};
use infra::commands::Accepted;
use infra::http::InPath;
use infra::problem::Problem;

use super::{Asked, SpaceProblems};
use crate::CommandApi;
use crate::answer::{Answer, Answered};
use crate::asking::{Asked as AskedBy, Asking};

/// Comes in.
pub(crate) async fn join_space(
    api: &CommandApi,
    asking: Asking,
    space: SpaceId,
) -> Result<Answer, Problem> {
    let asked = Asked {
        thing: space.0,
        name: "join_space",
        fields: &(),
    };
    api.rule(asking, space, Act::Join, asked).await
}

/// Goes.
pub(crate) async fn leave_space(
    api: &CommandApi,
    asking: Asking,
    space: SpaceId,
) -> Result<Answer, Problem> {
    let asked = Asked {
        thing: space.0,
        name: "leave_space",
        fields: &(),
    };
    api.rule(asking, space, Act::Leave, asked).await
}

/// Puts a member out; oneself by leaving.
pub(crate) async fn kick_member(
    api: &CommandApi,
    asking: Asking,
    space: SpaceId,
    user: UserId,
) -> Result<Answer, Problem> {
    if user == asking.user {
        return leave_space(api, asking, space).await;
    }
    let asked = Asked {
        thing: space.0,
        name: "kick_member",
        fields: &user,
    };
    api.rule(asking, space, Act::Kick { user }, asked).await
}

/// Join a space that is open
#[utoipa::path(
    post,
    path = "/v1/spaces/{space}/join",
    tag = "spaces",
    params(
        ("space" = SpaceId, Path, description = "Which"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses((status = 200, body = Accepted, description = "The asker is in it, or was already"), SpaceProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn post_join(
    State(api): State<CommandApi>,
    asked: AskedBy,
    InPath(space): InPath<SpaceId>,
) -> Result<Answered, Problem> {
    Ok(join_space(&api, asked.asking, space).await?.ok())
}

/// Put a member out, or leave
#[utoipa::path(
    delete,
    path = "/v1/spaces/{space}/members/{user}",
    tag = "spaces",
    params(
        ("space" = SpaceId, Path, description = "Where"),
        ("user" = UserId, Path, description = "Whom"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses((status = 200, body = Accepted, description = "They are not in it"), SpaceProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn delete(
    State(api): State<CommandApi>,
    asked: AskedBy,
    InPath((space, user)): InPath<(SpaceId, UserId)>,
) -> Result<Answered, Problem> {
    Ok(kick_member(&api, asked.asking, space, user).await?.ok())
}
