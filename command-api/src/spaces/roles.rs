//! The roles of a space, and who has them.

use axum::extract::State;
use domain::space::{Act, Permissions};
use domain::{SpaceId, SpaceRoleId, UserId};
use infra::commands::Accepted;
use infra::http::{Body, InPath};
use infra::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Asked, SpaceProblems, title_if_any, title_of};
use crate::CommandApi;
use crate::answer::{Answer, Answered};
use crate::asking::{Asked as AskedBy, Asking};

/// The role to define.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DefineRole {
    /// What it is called: 1 to 120 characters.
    name: String,
    /// What it gives: nothing that the asker does not have.
    #[serde(default)]
    permissions: Permissions,
    /// How high it stands: 1 to 1,000, below the asker's own highest.
    rank: u16,
}

/// What to change; what is left out stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeSpaceRole {
    /// The new name: 1 to 120 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// All that it gives from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    permissions: Option<Permissions>,
    /// All that one takes it to give before. Where it does not, nothing changes: 409
    /// `changed_meanwhile`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    permissions_were: Option<Permissions>,
    /// How high it stands; not of the role of everyone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rank: Option<u16>,
}

/// Defines a role.
pub(crate) async fn define_role(
    api: &CommandApi,
    asking: Asking,
    space: SpaceId,
    request: DefineRole,
) -> Result<Answer, Problem> {
    let role = SpaceRoleId::defined_by(asking.command);
    let act = Act::DefineRole {
        role,
        name: title_of(&request.name)?,
        permissions: request.permissions,
        rank: request.rank,
    };
    let asked = Asked {
        thing: role.0,
        name: "define_role",
        fields: &request,
    };
    api.rule(asking, space, act, asked).await
}

/// Changes a role.
pub(crate) async fn change_space_role(
    api: &CommandApi,
    asking: Asking,
    space: SpaceId,
    role: SpaceRoleId,
    request: ChangeSpaceRole,
) -> Result<Answer, Problem> {
    let act = Act::ChangeRole {
        role,
        name: title_if_any(request.name.as_deref())?,
        permissions: request.permissions,
        permissions_were: request.permissions_were,
        rank: request.rank,
    };
    let asked = Asked {
        thing: role.0,
        name: "change_space_role",
        fields: &(role, &request),
    };
    api.rule(asking, space, act, asked).await
}

/// Removes a role.
pub(crate) async fn remove_role(
    api: &CommandApi,
    asking: Asking,
    space: SpaceId,
    role: SpaceRoleId,
) -> Result<Answer, Problem> {
    let asked = Asked {
        thing: role.0,
        name: "remove_role",
        fields: &role,
    };
    api.rule(asking, space, Act::RemoveRole { role }, asked)
        .await
}

/// Gives a member a role.
pub(crate) async fn assign_role(
    api: &CommandApi,
    asking: Asking,
    space: SpaceId,
    user: UserId,
    role: SpaceRoleId,
) -> Result<Answer, Problem> {
    let asked = Asked {
        thing: user.0,
        name: "assign_role",
        fields: &(user, role),
    };
    api.rule(asking, space, Act::AssignRole { user, role }, asked)
        .await
}

/// Takes it away.
pub(crate) async fn withdraw_role(
    api: &CommandApi,
    asking: Asking,
    space: SpaceId,
    user: UserId,
    role: SpaceRoleId,
) -> Result<Answer, Problem> {
    let asked = Asked {
        thing: user.0,
        name: "withdraw_role",
        fields: &(user, role),
    };
    api.rule(asking, space, Act::WithdrawRole { user, role }, asked)
        .await
}

/// Define a role
#[utoipa::path(
    post,
    path = "/v1/spaces/{space}/roles",
    tag = "spaces",
    request_body = DefineRole,
    params(
        ("space" = SpaceId, Path, description = "Where"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses((status = 201, body = Accepted, description = "It is defined; `id` names it"), SpaceProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn post(
    State(api): State<CommandApi>,
    asked: AskedBy,
    InPath(space): InPath<SpaceId>,
    Body(request): Body<DefineRole>,
) -> Result<Answered, Problem> {
    let defined = define_role(&api, asked.asking, space, request);
    Ok(defined.await?.created())
}

/// Change a role
///
/// The role of everyone has the id of the space.
#[utoipa::path(
    patch,
    path = "/v1/spaces/{space}/roles/{role}",
    tag = "spaces",
    request_body = ChangeSpaceRole,
    params(
        ("space" = SpaceId, Path, description = "Where"),
        ("role" = SpaceRoleId, Path, description = "Which"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses((status = 200, body = Accepted, description = "It is so, or was already"), SpaceProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn patch(
    State(api): State<CommandApi>,
    asked: AskedBy,
    InPath((space, role)): InPath<(SpaceId, SpaceRoleId)>,
    Body(request): Body<ChangeSpaceRole>,
) -> Result<Answered, Problem> {
    let changed = change_space_role(&api, asked.asking, space, role, request);
    Ok(changed.await?.ok())
}

/// Remove a role
#[utoipa::path(
    delete,
    path = "/v1/spaces/{space}/roles/{role}",
    tag = "spaces",
    params(
        ("space" = SpaceId, Path, description = "Where"),
        ("role" = SpaceRoleId, Path, description = "Which"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses((status = 200, body = Accepted, description = "It is removed"), SpaceProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn delete(
    State(api): State<CommandApi>,
    asked: AskedBy,
    InPath((space, role)): InPath<(SpaceId, SpaceRoleId)>,
) -> Result<Answered, Problem> {
    Ok(remove_role(&api, asked.asking, space, role).await?.ok())
}

/// Give a member a role
#[utoipa::path(
    put,
    path = "/v1/spaces/{space}/members/{user}/roles/{role}",
    tag = "spaces",
    params(
        ("space" = SpaceId, Path, description = "Where"),
        ("user" = UserId, Path, description = "Whom"),
        ("role" = SpaceRoleId, Path, description = "Which"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses((status = 200, body = Accepted, description = "They have it"), SpaceProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn put_given(
    State(api): State<CommandApi>,
    asked: AskedBy,
    InPath((space, user, role)): InPath<(SpaceId, UserId, SpaceRoleId)>,
) -> Result<Answered, Problem> {
    let assigned = assign_role(&api, asked.asking, space, user, role);
    Ok(assigned.await?.ok())
}

/// Take a role from a member
#[utoipa::path(
    delete,
    path = "/v1/spaces/{space}/members/{user}/roles/{role}",
    tag = "spaces",
    params(
        ("space" = SpaceId, Path, description = "Where"),
        ("user" = UserId, Path, description = "From whom"),
        ("role" = SpaceRoleId, Path, description = "Which"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses((status = 200, body = Accepted, description = "They do not have it"), SpaceProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn delete_given(
    State(api): State<CommandApi>,
    asked: AskedBy,
    InPath((space, user, role)): InPath<(SpaceId, UserId, SpaceRoleId)>,
) -> Result<Answered, Problem> {
    let withdrawn = withdraw_role(&api, asked.asking, space, user, role);
    Ok(withdrawn.await?.ok())
}
