//! `GET /v1/users/me/preferences` and `GET /v1/users/me/blocks`: what only the asker sees.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::{Position, UserId};
use infra::failure::Failure;
use infra::http::{Authenticated, Query};
use infra::problem::Problem;
use infra::read_models::Model;
use infra::read_models::users as model;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use crate::QueryApi;
use crate::answers::{ReadProblems, limit, page};
use crate::min_position::MinPosition;
use crate::users::{OneParams, user_not_found};

const MODELS: [&Model; 1] = [&model::MODEL];

/// Blocks on a page, unless said otherwise, and at most.
const PAGE: usize = 100;
const PAGE_MAX: usize = 1_000;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct BlocksParams {
    /// Those after this user, from `next`.
    after: Option<UserId>,
    /// How many, 1 to 1000; 100 unless said otherwise.
    limit: Option<usize>,
    /// Wait until everything up to this position, or this cursor, is in the answer.
    #[param(value_type = Option<String>)]
    min_position: Option<MinPosition>,
}

/// What the asker prefers.
#[derive(Serialize, ToSchema)]
pub(crate) struct PreferencesAnswer {
    /// As they were sent last.
    #[schema(value_type = Object)]
    preferences: Map<String, Value>,
    /// Everything up to here is in the answer.
    position: Position,
}

/// Somebody whom the asker blocks.
#[derive(Serialize, ToSchema)]
pub(crate) struct BlockView {
    user: UserId,
    /// Since when.
    blocked_at: DateTime<Utc>,
}

/// Whom the asker blocks, in the order of their ids.
#[derive(Serialize, ToSchema)]
pub(crate) struct BlockList {
    blocks: Vec<BlockView>,
    /// Where there are more: `after` of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<UserId>,
    /// Everything up to here is in the answer.
    position: Position,
}

/// My preferences
#[utoipa::path(
    get,
    path = "/v1/users/me/preferences",
    tag = "users",
    params(OneParams),
    responses(
        (status = 200, description = "What the asker prefers; an empty object where nothing is set", body = PreferencesAnswer),
        (status = 404, description = "`user_not_found`: the account is so new that the read models do not have it yet; give `min_position`", body = Problem, content_type = "application/problem+json"),
        ReadProblems,
    ),
    security(("bearer" = []))
)]
pub(crate) async fn preferences(
    State(api): State<QueryApi>,
    Authenticated(caller): Authenticated,
    Query(params): Query<OneParams>,
) -> Result<Json<PreferencesAnswer>, Problem> {
    let mut snapshot = api.snapshot(&MODELS, params.min_position).await?;
    let user = model::one(&mut snapshot, caller.user)
        .await?
        .ok_or_else(user_not_found)?;
    let preferences = serde_json::from_str(&user.preferences)
        .map_err(|error| Failure::internal("read preferences", error))?;
    Ok(Json(PreferencesAnswer {
        preferences,
        position: snapshot.position(),
    }))
}

/// Whom I block
#[utoipa::path(
    get,
    path = "/v1/users/me/blocks",
    tag = "users",
    params(BlocksParams),
    responses(
        (status = 200, description = "Whom the asker blocks", body = BlockList),
        ReadProblems,
    ),
    security(("bearer" = []))
)]
pub(crate) async fn blocks(
    State(api): State<QueryApi>,
    Authenticated(caller): Authenticated,
    Query(params): Query<BlocksParams>,
) -> Result<Json<BlockList>, Problem> {
    let limit = limit(params.limit, PAGE, PAGE_MAX)?;
    let mut snapshot = api.snapshot(&MODELS, params.min_position).await?;
    let blocks = model::blocks(&mut snapshot, caller.user, params.after, limit + 1).await?;
    let (blocks, next) = page(blocks, limit, |last| last.blocked);
    let view = |block: model::Block| BlockView {
        user: block.blocked,
        blocked_at: block.blocked_at,
    };
    Ok(Json(BlockList {
        blocks: blocks.into_iter().map(view).collect(),
        next,
        position: snapshot.position(),
    }))
}
