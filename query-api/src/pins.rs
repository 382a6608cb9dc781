//! `GET /v1/conversations/{conversation}/pins`.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::{ConversationId, Position, Seq, UserId};
use infra::http::{Authenticated, InPath, Query};
use infra::problem::Problem;
use infra::read_models::messages::{self as model, Pin};
use serde::Serialize;
use utoipa::ToSchema;

use crate::QueryApi;
use crate::access::Sight;
use crate::answers::ReadProblems;
use crate::messages::{MODELS, MessageView, OneParams, views};

/// That a message is pinned.
#[derive(Serialize, ToSchema)]
pub(crate) struct Pinned {
    /// The event that pinned it.
    seq: Seq,
    by: UserId,
    at: DateTime<Utc>,
}

impl Pinned {
    pub(crate) const fn of(pin: &Pin) -> Self {
        Self {
            seq: pin.seq,
            by: pin.pinned_by,
            at: pin.pinned_at,
        }
    }
}

/// What is pinned in a conversation.
#[derive(Serialize, ToSchema)]
pub(crate) struct PinList {
    /// The pinned messages that the asker sees, the last pinned first; at most 50.
    pins: Vec<MessageView>,
    /// Everything up to here is in the answer.
    position: Position,
}

/// What is pinned
///
/// All of it: a conversation has at most 50 pinned messages.
#[utoipa::path(
    get,
    path = "/v1/conversations/{conversation}/pins",
    tag = "messages",
    params(("conversation" = ConversationId, Path, description = "Which conversation"), OneParams),
    responses(
        (status = 200, description = "The pinned messages, the last pinned first", body = PinList),
        (status = 404, description = "`conversation_not_found`: there is none, or the asker was never in it", body = Problem, content_type = "application/problem+json"),
        ReadProblems,
    ),
    security(("bearer" = []))
)]
pub(crate) async fn list(
    State(api): State<QueryApi>,
    Authenticated(caller): Authenticated,
    InPath(id): InPath<ConversationId>,
    Query(params): Query<OneParams>,
) -> Result<Json<PinList>, Problem> {
    let mut snapshot = api.snapshot(&MODELS, params.min_position).await?;
    let sight = Sight::of(&mut snapshot, id, caller.user).await?;
    let pins = model::pins(&mut snapshot, id).await?;
    let seen: Vec<Seq> = pins
        .iter()
        .filter(|pin| sight.sees(pin.seq) && sight.sees(pin.message))
        .map(|pin| pin.message)
        .collect();
    let messages = model::at(&mut snapshot, id, &seen).await?;
    let views = views(
        &mut snapshot,
        id,
        caller.user,
        &sight,
        &api.signer(),
        messages,
    )
    .await?;
    let mut by_seq: BTreeMap<Seq, MessageView> =
        views.into_iter().map(|view| (view.seq, view)).collect();
    Ok(Json(PinList {
        pins: seen.iter().filter_map(|seq| by_seq.remove(seq)).collect(),
        position: snapshot.position(),
    }))
}
