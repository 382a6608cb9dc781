//! `GET /v1/conversations/{conversation}/members`.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::conversation::Role;
use domain::{ConversationId, Position, Seq, UserId};
use infra::http::{Authenticated, InPath, Query};
use infra::problem::Problem;
use infra::read_models::Model;
use infra::read_models::members as model;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::QueryApi;
use crate::access::Sight;
use crate::answers::{ReadProblems, limit, page};
use crate::min_position::MinPosition;

const MODELS: [&Model; 1] = [&model::MODEL];

/// Members on a page, unless asked otherwise, and at most.
const PAGE: (usize, usize) = (200, 1_000);

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Params {
    /// The `next` of the page before.
    after: Option<UserId>,
    /// How many: 1 to 1000, 200 by default.
    #[param(value_type = Option<u64>)]
    limit: Option<usize>,
    /// Wait until everything up to this position, or this cursor, is in the answer.
    #[param(value_type = Option<String>)]
    min_position: Option<MinPosition>,
}

/// A page of members.
#[derive(Serialize, ToSchema)]
pub(crate) struct MemberList {
    /// The members, in the order of ids; for one who left, those of that moment.
    members: Vec<MemberView>,
    /// Give it as `after` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<UserId>,
    /// Everything up to here is in the answer.
    position: Position,
}

/// A member.
#[derive(Serialize, ToSchema)]
pub(crate) struct MemberView {
    member: UserId,
    /// What they are in it; absent for those who ask after having left.
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
    joined_seq: Seq,
    joined_at: DateTime<Utc>,
}

/// Who is in a conversation
#[utoipa::path(
    get,
    path = "/v1/conversations/{conversation}/members",
    tag = "conversations",
    params(("conversation" = ConversationId, Path, description = "Which conversation"), Params),
    responses(
        (status = 200, description = "A page of members", body = MemberList),
        (status = 404, description = "`conversation_not_found`: there is none, or the asker was never in it", body = Problem, content_type = "application/problem+json"),
        ReadProblems,
    ),
    security(("bearer" = []))
)]
pub(crate) async fn list(
    State(api): State<QueryApi>,
    Authenticated(caller): Authenticated,
    InPath(id): InPath<ConversationId>,
    Query(params): Query<Params>,
) -> Result<Json<MemberList>, Problem> {
    let limit = limit(params.limit, PAGE.0, PAGE.1)?;
    let mut snapshot = api.snapshot(&MODELS, params.min_position).await?;
    let sight = Sight::of(&mut snapshot, id, caller.user).await?;
    let left = sight.left_seq();
    let members = model::at(&mut snapshot, id, left, params.after, limit + 1).await?;
    let (members, next) = page(members, limit, |last| last.member);
    let members = members
        .into_iter()
        .map(|member| MemberView {
            member: member.member,
            // Roles are kept as they are now, which is no business of one who left.
            role: left.is_none().then_some(member.role),
            joined_seq: member.joined_seq,
            joined_at: member.joined_at,
        })
        .collect();
    Ok(Json(MemberList {
        members,
        next,
        position: snapshot.position(),
    }))
}
