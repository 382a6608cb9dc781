//! `GET /v1/users/me`, `GET /v1/users/{user}` and `GET /v1/users?handle=`.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::user::SystemRole;
use domain::values::Handle;
use domain::{Position, UserId};
use infra::http::{Authenticated, InPath, Query};
use infra::problem::Problem;
use infra::read_models::Model;
use infra::read_models::users::{self as model, User};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::QueryApi;
use crate::answers::ReadProblems;
use crate::min_position::MinPosition;

const MODELS: [&Model; 1] = [&model::MODEL];

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct OneParams {
    /// Wait until everything up to this position, or this cursor, is in the answer.
    #[param(value_type = Option<String>)]
    min_position: Option<MinPosition>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct HandleParams {
    /// The handle, in any case.
    handle: String,
    /// Wait until everything up to this position, or this cursor, is in the answer.
    #[param(value_type = Option<String>)]
    min_position: Option<MinPosition>,
}

/// A user as everybody sees them.
#[derive(Serialize, ToSchema)]
pub(crate) struct UserView {
    id: UserId,
    handle: String,
    display_name: String,
    registered_at: DateTime<Utc>,
}

/// A user.
#[derive(Serialize, ToSchema)]
pub(crate) struct UserAnswer {
    #[serde(flatten)]
    user: UserView,
    /// Everything up to here is in the answer.
    position: Position,
}

/// The asker, with what only they see of themselves.
#[derive(Serialize, ToSchema)]
pub(crate) struct MeAnswer {
    #[serde(flatten)]
    user: UserView,
    /// Absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    system_roles: BTreeSet<SystemRole>,
    /// Where the account came from, if it was imported.
    #[serde(skip_serializing_if = "Option::is_none")]
    imported_from: Option<String>,
    /// Everything up to here is in the answer.
    position: Position,
}

/// The user with a handle, or none.
#[derive(Serialize, ToSchema)]
pub(crate) struct UserList {
    users: Vec<UserView>,
    /// Everything up to here is in the answer.
    position: Position,
}

fn view(user: User) -> UserView {
    UserView {
        id: user.id,
        handle: user.handle,
        display_name: user.display_name,
        registered_at: user.registered_at,
    }
}

fn user_not_found() -> Problem {
    Problem::not_found("user_not_found", "there is no such user")
}

/// Myself
#[utoipa::path(
    get,
    path = "/v1/users/me",
    tag = "users",
    params(OneParams),
    responses(
        (status = 200, description = "The asker", body = MeAnswer),
        (status = 404, description = "`user_not_found`: the account is so new that the read models do not have it yet; give `min_position`", body = Problem, content_type = "application/problem+json"),
        ReadProblems,
    ),
    security(("bearer" = []))
)]
pub(crate) async fn me(
    State(api): State<QueryApi>,
    Authenticated(caller): Authenticated,
    Query(params): Query<OneParams>,
) -> Result<Json<MeAnswer>, Problem> {
    let mut snapshot = api.snapshot(&MODELS, params.min_position).await?;
    let user = model::one(&mut snapshot, caller.user)
        .await?
        .ok_or_else(user_not_found)?;
    Ok(Json(MeAnswer {
        email: user.email.clone(),
        system_roles: user.system_roles.clone(),
        imported_from: user.imported_from.clone(),
        user: view(user),
        position: snapshot.position(),
    }))
}

/// One user
#[utoipa::path(
    get,
    path = "/v1/users/{user}",
    tag = "users",
    params(("user" = UserId, Path, description = "Which user"), OneParams),
    responses(
        (status = 200, description = "The user", body = UserAnswer),
        (status = 404, description = "`user_not_found`", body = Problem, content_type = "application/problem+json"),
        ReadProblems,
    ),
    security(("bearer" = []))
)]
pub(crate) async fn one(
    State(api): State<QueryApi>,
    _caller: Authenticated,
    InPath(id): InPath<UserId>,
    Query(params): Query<OneParams>,
) -> Result<Json<UserAnswer>, Problem> {
    let mut snapshot = api.snapshot(&MODELS, params.min_position).await?;
    let user = model::one(&mut snapshot, id)
        .await?
        .ok_or_else(user_not_found)?;
    Ok(Json(UserAnswer {
        user: view(user),
        position: snapshot.position(),
    }))
}

/// The user with a handle
#[utoipa::path(
    get,
    path = "/v1/users",
    tag = "users",
    params(HandleParams),
    responses(
        (status = 200, description = "The user, or an empty list", body = UserList),
        ReadProblems,
    ),
    security(("bearer" = []))
)]
pub(crate) async fn by_handle(
    State(api): State<QueryApi>,
    _caller: Authenticated,
    Query(params): Query<HandleParams>,
) -> Result<Json<UserList>, Problem> {
    let handle = Handle::parse(&params.handle)
        .map_err(|invalid| Problem::invalid_query("handle", invalid))?;
    let mut snapshot = api.snapshot(&MODELS, params.min_position).await?;
    let user = model::by_handle(&mut snapshot, handle.as_str()).await?;
    Ok(Json(UserList {
        users: user.into_iter().map(view).collect(),
        position: snapshot.position(),
    }))
}
