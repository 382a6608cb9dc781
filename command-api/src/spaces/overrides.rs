//! What is otherwise in one channel than in the space, for a role or a member.

use axum::extract::State;
use domain::space::{Act, Override, Permissions, Target};
use domain::{ConversationId, SpaceId, SpaceRoleId, UserId};
use infra::commands::Accepted;
use infra::http::{Body, InPath};
use infra::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Asked, SpaceProblems};
use crate::CommandApi;
use crate::answer::{Answer, Answered};
use crate::asking::{Asked as AskedBy, Asking};

/// In place of what was set before; without both there is no override.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetOverride {
    /// What is allowed, whatever is so in the space.
    #[serde(default)]
    allow: Permissions,
    /// What is denied, likewise. Nothing is both.
    #[serde(default)]
    deny: Permissions,
    /// What one takes to be set before. Where it is not, nothing changes: 409 `changed_meanwhile`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    were: Option<Override>,
}

/// Sets an override.
pub(crate) async fn set_override(
    api: &CommandApi,
    asking: Asking,
    space: SpaceId,
    channel: ConversationId,
    target: Target,
    request: SetOverride,
) -> Result<Answer, Problem> {
    let SetOverride { allow, deny, were } = request;
    let act = Act::SetOverride {
        channel,
        target,
        set: Override { allow, deny },
        were,
    };
    let asked = Asked {
        thing: channel.0,
        name: "set_override",
        fields: &(channel, target, &request),
    };
    api.rule(asking, space, act, asked).await
}

/// Set what a role may in a channel
///
/// The role of everyone has the id of the space.
#[utoipa::path(
    put,
    path = "/v1/spaces/{space}/channels/{channel}/overrides/roles/{role}",
    tag = "spaces",
    request_body = SetOverride,
    params(
        ("space" = SpaceId, Path, description = "Where"),
        ("channel" = ConversationId, Path, description = "In which"),
        ("role" = SpaceRoleId, Path, description = "For whom"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses((status = 200, body = Accepted, description = "It is so, or was already"), SpaceProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn put_of_role(
    State(api): State<CommandApi>,
    asked: AskedBy,
    InPath((space, channel, role)): InPath<(SpaceId, ConversationId, SpaceRoleId)>,
    Body(request): Body<SetOverride>,
) -> Result<Answered, Problem> {
    let target = Target::Role(role);
    let set = set_override(&api, asked.asking, space, channel, target, request);
    Ok(set.await?.ok())
}

/// Set what a member may in a channel
#[utoipa::path(
    put,
    path = "/v1/spaces/{space}/channels/{channel}/overrides/members/{user}",
    tag = "spaces",
    request_body = SetOverride,
    params(
        ("space" = SpaceId, Path, description = "Where"),
        ("channel" = ConversationId, Path, description = "In which"),
        ("user" = UserId, Path, description = "For whom"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses((status = 200, body = Accepted, description = "It is so, or was already"), SpaceProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn put_of_member(
    State(api): State<CommandApi>,
    asked: AskedBy,
    InPath((space, channel, user)): InPath<(SpaceId, ConversationId, UserId)>,
    Body(request): Body<SetOverride>,
) -> Result<Answered, Problem> {
    let target = Target::Member(user);
    let set = set_override(&api, asked.asking, space, channel, target, request);
    Ok(set.await?.ok())
}
