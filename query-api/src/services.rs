//! `GET /v1/services`: which services there are, for those who run the server.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::service::Scope;
use domain::{Position, ServiceId, UserId};
use infra::http::{Authenticated, Query, admins_only};
use infra::problem::Problem;
use infra::read_models::Model;
use infra::read_models::services::{self as model, Service};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::QueryApi;
use crate::answers::{ReadProblems, limit, page};
use crate::min_position::MinPosition;

const MODELS: [&Model; 1] = [&model::MODEL];

/// Services on a page, unless said otherwise, and at most.
const PAGE: usize = 100;
const PAGE_MAX: usize = 1_000;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListParams {
    /// Those made after this position, from `next`.
    after: Option<Position>,
    /// How many, 1 to 1000; 100 unless said otherwise.
    limit: Option<usize>,
    /// Wait until everything up to this position, or this cursor, is in the answer.
    #[param(value_type = Option<String>)]
    min_position: Option<MinPosition>,
}

/// A service. Its token is not told: it was, when it was issued.
#[derive(Serialize, ToSchema)]
pub(crate) struct ServiceView {
    id: ServiceId,
    name: String,
    scopes: BTreeSet<Scope>,
    /// The user as whom it acts, where it is a bot.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<UserId>,
    /// Who made it: `user:{id}` or `operator`.
    created_by: String,
    created_at: DateTime<Utc>,
    /// Since when it has the token it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_issued_at: Option<DateTime<Utc>>,
    /// When that token is worth nothing any more; absent: when it is replaced or revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<DateTime<Utc>>,
    /// When it was ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<DateTime<Utc>>,
}

/// Services in the order in which they were made, those that were ended among them.
#[derive(Serialize, ToSchema)]
pub(crate) struct ServiceList {
    services: Vec<ServiceView>,
    /// Where there are more: `after` of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Position>,
    /// Everything up to here is in the answer.
    position: Position,
}

fn view(service: Service) -> ServiceView {
    ServiceView {
        id: service.id,
        name: service.name,
        scopes: service.scopes,
        user: service.account,
        created_by: service.created_by,
        created_at: service.created_at,
        token_issued_at: service.issued_at,
        expires_at: service.expires_at,
        revoked_at: service.revoked_at,
    }
}

/// Services
///
/// For admins and owners.
#[utoipa::path(
    get,
    path = "/v1/services",
    tag = "services",
    params(ListParams),
    responses(
        (status = 200, description = "The services", body = ServiceList),
        (status = 403, description = "`forbidden`", body = Problem, content_type = "application/problem+json"),
        ReadProblems,
    ),
    security(("bearer" = []))
)]
pub(crate) async fn list(
    State(api): State<QueryApi>,
    Authenticated(caller): Authenticated,
    Query(params): Query<ListParams>,
) -> Result<Json<ServiceList>, Problem> {
    admins_only(&caller)?;
    let limit = limit(params.limit, PAGE, PAGE_MAX)?;
    let mut snapshot = api.snapshot(&MODELS, params.min_position).await?;
    let after = params.after.unwrap_or(Position::ZERO);
    let services = model::page(&mut snapshot, after, limit + 1).await?;
    let (services, next) = page(services, limit, |last| last.created_position);
    Ok(Json(ServiceList {
        services: services.into_iter().map(view).collect(),
        next,
        position: snapshot.position(),
    }))
}
