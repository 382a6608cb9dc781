//! Creating a space, and what is set for the whole of it: its name, how people come in, whether it is
//! archived, and whose it is.

use axum::extract::State;
use domain::space::{Act, Joining};
use domain::{SpaceId, UserId};
use infra::commands::Accepted;
use infra::http::{Body, InPath};
use infra::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Asked, SpaceProblems, title_of};
use crate::CommandApi;
use crate::answer::{Answer, Answered};
use crate::asking::{Asked as AskedBy, Asking};

/// The space to create.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateSpace {
    /// What it is called: 1 to 120 characters.
    name: String,
    /// How people come in: by `invite` unless said otherwise.
    #[serde(default)]
    #[schema(default = "invite")]
    joining: Joining,
}

/// What to change: one of them, because each is a command of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeSpace {
    /// The new name: 1 to 120 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// How people come in from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    joining: Option<Joining>,
}

/// Whose it is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TransferSpace {
    /// A member.
    user: UserId,
}

/// Creates a space.
pub(crate) async fn create_space(
    api: &CommandApi,
    asking: Asking,
    request: CreateSpace,
) -> Result<Answer, Problem> {
    let space = SpaceId::created_by(asking.command);
    let act = Act::Create {
        space,
        name: title_of(&request.name)?,
        joining: request.joining,
    };
    let asked = Asked {
        thing: space.0,
        name: "create_space",
        fields: &request,
    };
    api.rule(asking, space, act, asked).await
}

/// Gives a space another name, or says how people come in.
pub(crate) async fn change_space(
    api: &CommandApi,
    asking: Asking,
    space: SpaceId,
    request: ChangeSpace,
) -> Result<Answer, Problem> {
    let act = match (&request.name, request.joining) {
        (Some(name), None) => Act::Rename {
            name: title_of(name)?,
        },
        (None, Some(joining)) => Act::SetJoining { joining },
        (None, None) | (Some(_), Some(_)) => {
            let rule = "give either name or joining";
            return Err(Problem::invalid_field("", "one_of", rule));
        }
    };
    let asked = Asked {
        thing: space.0,
        name: "change_space",
        fields: &request,
    };
    api.rule(asking, space, act, asked).await
}

/// Closes a space with all its channels.
pub(crate) async fn archive_space(
    api: &CommandApi,
    asking: Asking,
    space: SpaceId,
) -> Result<Answer, Problem> {
    let asked = Asked {
        thing: space.0,
        name: "archive_space",
        fields: &(),
    };
    api.rule(asking, space, Act::Archive, asked).await
}

/// Opens it again.
pub(crate) async fn unarchive_space(
    api: &CommandApi,
    asking: Asking,
    space: SpaceId,
) -> Result<Answer, Problem> {
    let asked = Asked {
        thing: space.0,
        name: "unarchive_space",
        fields: &(),
    };
    api.rule(asking, space, Act::Unarchive, asked).await
}

/// Makes another member the owner.
pub(crate) async fn transfer_space(
    api: &CommandApi,
    asking: Asking,
    space: SpaceId,
    request: TransferSpace,
) -> Result<Answer, Problem> {
    let asked = Asked {
        thing: space.0,
        name: "transfer_space",
        fields: &request,
    };
    let act = Act::Transfer { to: request.user };
    api.rule(asking, space, act, asked).await
}

/// Create a space
///
/// Who asks owns it. The answer's `id` names it.
#[utoipa::path(
    post,
    path = "/v1/spaces",
    tag = "spaces",
    request_body = CreateSpace,
    params(("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes")),
    responses((status = 201, body = Accepted, description = "It is created"), SpaceProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn post(
    State(api): State<CommandApi>,
    asked: AskedBy,
    Body(request): Body<CreateSpace>,
) -> Result<Answered, Problem> {
    Ok(create_space(&api, asked.asking, request).await?.created())
}

/// Rename a space, or say how people come in
#[utoipa::path(
    patch,
    path = "/v1/spaces/{space}",
    tag = "spaces",
    request_body = ChangeSpace,
    params(
        ("space" = SpaceId, Path, description = "Which"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses((status = 200, body = Accepted, description = "It is so, or was already"), SpaceProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn patch(
    State(api): State<CommandApi>,
    asked: AskedBy,
    InPath(space): InPath<SpaceId>,
    Body(request): Body<ChangeSpace>,
) -> Result<Answered, Problem> {
    Ok(change_space(&api, asked.asking, space, request).await?.ok())
}

/// Archive a space
///
/// Its channels are archived with it.
#[utoipa::path(
    put,
    path = "/v1/spaces/{space}/archived",
    tag = "spaces",
    params(
        ("space" = SpaceId, Path, description = "Which"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses((status = 200, body = Accepted, description = "It is archived"), SpaceProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn put_archived(
    State(api): State<CommandApi>,
    asked: AskedBy,
    InPath(space): InPath<SpaceId>,
) -> Result<Answered, Problem> {
    Ok(archive_space(&api, asked.asking, space).await?.ok())
}

/// Open an archived space again
#[utoipa::path(
    delete,
    path = "/v1/spaces/{space}/archived",
    tag = "spaces",
    params(
        ("space" = SpaceId, Path, description = "Which"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses((status = 200, body = Accepted, description = "It is open"), SpaceProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn delete_archived(
    State(api): State<CommandApi>,
    asked: AskedBy,
    InPath(space): InPath<SpaceId>,
) -> Result<Answered, Problem> {
    Ok(unarchive_space(&api, asked.asking, space).await?.ok())
}

/// Make another member the owner
#[utoipa::path(
    put,
    path = "/v1/spaces/{space}/owner",
    tag = "spaces",
    request_body = TransferSpace,
    params(
        ("space" = SpaceId, Path, description = "Which"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses((status = 200, body = Accepted, description = "It is theirs"), SpaceProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn put_owner(
    State(api): State<CommandApi>,
    asked: AskedBy,
    InPath(space): InPath<SpaceId>,
    Body(request): Body<TransferSpace>,
) -> Result<Answered, Problem> {
    Ok(transfer_space(&api, asked.asking, space, request)
        .await?
        .ok())
}
