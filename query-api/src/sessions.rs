//! `GET /v1/sessions`: where the asker is logged in.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::{Position, SessionId};
use infra::http::{Authenticated, Query};
use infra::problem::Problem;
use infra::read_models::Model;
use infra::read_models::sessions::{self as model, Session};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::QueryApi;
use crate::answers::{ReadProblems, limit, page};
use crate::min_position::MinPosition;

const MODELS: [&Model; 1] = [&model::MODEL];

/// Sessions on a page, unless asked otherwise, and at most.
const PAGE: (usize, usize) = (50, 200);

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListParams {
    /// How many: 1 to 200, 50 by default.
    #[param(value_type = Option<u64>)]
    limit: Option<usize>,
    /// The `next` of the page before.
    before: Option<Position>,
    /// Wait until everything up to this position, or this cursor, is in the answer.
    #[param(value_type = Option<String>)]
    min_position: Option<MinPosition>,
}

/// A page of sessions.
#[derive(Serialize, ToSchema)]
pub(crate) struct SessionList {
    /// The sessions that have not ended, the newest first.
    sessions: Vec<SessionView>,
    /// Give it as `before` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Position>,
    /// Everything up to here is in the answer.
    position: Position,
}

/// A login of the asker.
#[derive(Serialize, ToSchema)]
pub(crate) struct SessionView {
    /// To be revoked by.
    id: SessionId,
    /// What the client called its device.
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    /// The network address it was opened or refreshed from last.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    opened_at: DateTime<Utc>,
    /// When it was opened or refreshed last.
    last_used_at: DateTime<Utc>,
    /// When it ends by itself.
    expires_at: DateTime<Utc>,
    /// Whether it is the one that asks.
    current: bool,
}

fn view(session: Session, asking: SessionId) -> SessionView {
    SessionView {
        current: session.id == asking,
        id: session.id,
        device: session.device,
        address: session.address,
        opened_at: session.opened_at,
        last_used_at: session.last_used_at,
        expires_at: session.expires_at,
    }
}

/// Where I am logged in
#[utoipa::path(
    get,
    path = "/v1/sessions",
    tag = "sessions",
    params(ListParams),
    responses(
        (status = 200, description = "A page of the asker's sessions", body = SessionList),
        ReadProblems,
    ),
    security(("bearer" = []))
)]
pub(crate) async fn list(
    State(api): State<QueryApi>,
    Authenticated(caller): Authenticated,
    Query(params): Query<ListParams>,
) -> Result<Json<SessionList>, Problem> {
    let limit = limit(params.limit, PAGE.0, PAGE.1)?;
    let mut snapshot = api.snapshot(&MODELS, params.min_position).await?;
    // A caller has an account. That all sessions were ended is known from it, at once.
    let account = api.guard.account(caller.user).await?;
    let account = account.ok_or_else(|| Problem::unauthenticated("there is no such user"))?;
    let now = api.clock.now();
    let before = params.before;
    let active = model::active(&mut snapshot, caller.user, &account, now, before, limit + 1);
    let (active, next) = page(active.await?, limit, |last| last.opened_position);
    let sessions = active.into_iter();
    Ok(Json(SessionList {
        sessions: sessions
            .map(|session| view(session, caller.session))
            .collect(),
        next,
        position: snapshot.position(),
    }))
}
