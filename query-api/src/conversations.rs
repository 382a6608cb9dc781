//! `GET /v1/conversations` and `GET /v1/conversations/{conversation}`.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::conversation::{ChannelKind, HistoryVisibility, Kind, Role, WhoMayPost};
use domain::{ConversationId, Position, Seq, SpaceId, UserId};
use infra::http::{Authenticated, InPath, Query};
use infra::problem::Problem;
use infra::read_models::conversations::{self as model, Listed};
use infra::read_models::messages::{self, Format, Page, Which};
use infra::read_models::{Model, Snapshot, members, receipts, spaces};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::QueryApi;
use crate::access::{Sight, conversation_not_found};
use crate::answers::{ReadProblems, limit, page};
use crate::messages::visible_bodies;
use crate::min_position::MinPosition;

/// What both routes read.
const MODELS: [&Model; 5] = [
    &model::MODEL,
    &members::MODEL,
    &messages::MODEL,
    &receipts::MODEL,
    &spaces::MODEL,
];

/// Conversations on a page, unless asked otherwise, and at most.
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

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct OneParams {
    /// Wait until everything up to this position, or this cursor, is in the answer.
    #[param(value_type = Option<String>)]
    min_position: Option<MinPosition>,
}

/// A page of conversations.
#[derive(Serialize, ToSchema)]
pub(crate) struct ConversationList {
    /// The conversations, newest activity first.
    conversations: Vec<ConversationView>,
    /// Give it as `before` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Position>,
    /// Everything up to here is in the answer.
    position: Position,
}

/// A conversation.
#[derive(Serialize, ToSchema)]
pub(crate) struct ConversationAnswer {
    #[serde(flatten)]
    conversation: ConversationView,
    /// Everything up to here is in the answer.
    position: Position,
}

/// A conversation as the asker sees it: as it is, or for one who left as it was then.
#[derive(Serialize, ToSchema)]
pub(crate) struct ConversationView {
    id: ConversationId,
    kind: Kind,
    /// Of a channel: of which space.
    #[serde(skip_serializing_if = "Option::is_none")]
    space: Option<SpaceId>,
    /// Of a channel: text or voice.
    #[serde(skip_serializing_if = "Option::is_none")]
    channel_kind: Option<ChannelKind>,
    /// What a group is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    /// The other one, of a direct conversation.
    #[serde(skip_serializing_if = "Option::is_none")]
    with: Option<UserId>,
    /// What those who join now see of before.
    history_visibility: HistoryVisibility,
    archived: bool,
    /// How long members wait between two messages, in seconds; 0 is not at all.
    slow_mode_s: u64,
    who_may_post: WhoMayPost,
    started_at: DateTime<Utc>,
    /// What the asker is in it; absent for one who left.
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
    /// The seq of the last event the asker sees.
    head_seq: Seq,
    /// The seq of the first event the asker sees.
    visible_from: Seq,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_message: Option<LastMessage>,
    /// Up to where the asker has seen it.
    seen_seq: Seq,
    /// How many messages of others came after that, or after joining, and were not deleted; without
    /// those in threads.
    unread: u64,
    /// How many messages after that, in threads too, call the asker: by name, with everyone, or by what
    /// they are in it, or in its space. Those with `here` are not counted.
    mention_count: u64,
}

/// The last message of a conversation.
#[derive(Serialize, ToSchema)]
pub(crate) struct LastMessage {
    seq: Seq,
    author: UserId,
    /// What it is: `plain`, `markdown` or `encrypted`.
    format: Format,
    /// How it begins, up to 200 characters; absent when it was deleted, or is encrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    preview: Option<String>,
    at: DateTime<Utc>,
}

/// My conversations, newest activity first
#[utoipa::path(
    get,
    path = "/v1/conversations",
    tag = "conversations",
    params(ListParams),
    responses(
        (status = 200, description = "A page of the conversations the asker is a member of", body = ConversationList),
        ReadProblems,
    ),
    security(("bearer" = []))
)]
pub(crate) async fn list(
    State(api): State<QueryApi>,
    Authenticated(caller): Authenticated,
    Query(params): Query<ListParams>,
) -> Result<Json<ConversationList>, Problem> {
    let limit = limit(params.limit, PAGE.0, PAGE.1)?;
    let mut snapshot = api.snapshot(&MODELS, params.min_position).await?;
    let listed = model::of_member(&mut snapshot, caller.user, params.before, limit + 1).await?;
    let (listed, next) = page(listed, limit, |last| last.conversation.activity);
    Ok(Json(ConversationList {
        conversations: listed.into_iter().map(view).collect(),
        next,
        position: snapshot.position(),
    }))
}

/// One conversation
#[utoipa::path(
    get,
    path = "/v1/conversations/{conversation}",
    tag = "conversations",
    params(("conversation" = ConversationId, Path, description = "Which conversation"), OneParams),
    responses(
        (status = 200, description = "The conversation", body = ConversationAnswer),
        (status = 404, description = "`conversation_not_found`: there is none, or the asker was never in it", body = Problem, content_type = "application/problem+json"),
        ReadProblems,
    ),
    security(("bearer" = []))
)]
pub(crate) async fn one(
    State(api): State<QueryApi>,
    Authenticated(caller): Authenticated,
    InPath(id): InPath<ConversationId>,
    Query(params): Query<OneParams>,
) -> Result<Json<ConversationAnswer>, Problem> {
    let mut snapshot = api.snapshot(&MODELS, params.min_position).await?;
    let sight = Sight::of(&mut snapshot, id, caller.user).await?;
    let conversation = match sight.left_seq() {
        None => model::of_member_one(&mut snapshot, caller.user, id)
            .await?
            .map(view),
        Some(left) => as_left(&mut snapshot, id, caller.user, &sight, left).await?,
    };
    Ok(Json(ConversationAnswer {
        conversation: conversation.ok_or_else(conversation_not_found)?,
        position: snapshot.position(),
    }))
}

fn view(listed: Listed) -> ConversationView {
    let conversation = listed.conversation;
    // What was said last may be from before the asker sees anything.
    let last_message = match (
        conversation.last_message_seq,
        conversation.last_message_author,
        conversation.last_message_format,
        conversation.last_message_at,
    ) {
        (Some(seq), Some(author), Some(format), Some(at)) if seq >= listed.visible_from => {
            Some(LastMessage {
                seq,
                author,
                format,
                preview: conversation.last_message_preview,
                at,
            })
        }
        _ => None,
    };
    ConversationView {
        id: conversation.id,
        kind: conversation.kind,
        space: conversation.space,
        channel_kind: conversation.channel_kind,
        title: conversation.title,
        with: listed.with,
        history_visibility: conversation.history_visibility,
        archived: conversation.archived,
        slow_mode_s: conversation.slow_mode_s,
        who_may_post: conversation.who_may_post,
        started_at: conversation.started_at,
        role: Some(listed.role),
        head_seq: conversation.head_seq,
        visible_from: listed.visible_from,
        last_message,
        seen_seq: listed.seen_seq,
        unread: listed.unread,
        mention_count: listed.mentions,
    }
}

/// The conversation as it was when `user` left it.
async fn as_left(
    snapshot: &mut Snapshot,
    id: ConversationId,
    user: UserId,
    sight: &Sight,
    left: Seq,
) -> Result<Option<ConversationView>, Problem> {
    let (Some(conversation), Some(settings)) = (
        model::one(snapshot, id).await?,
        model::settings_at(snapshot, id, left).await?,
    ) else {
        return Ok(None);
    };
    let part = (Which::Main, Page::Newest);
    let newest = messages::page(snapshot, id, user, sight.bounds(), part, 1).await?;
    let mut newest = newest.messages;
    visible_bodies(snapshot, id, sight, &mut newest).await?;
    let last_message = newest.pop().map(|message| LastMessage {
        seq: message.seq,
        author: message.author,
        format: message.wording.format,
        preview: message.wording.body.as_deref().map(model::preview),
        at: message.sent_at,
    });
    Ok(Some(ConversationView {
        id,
        kind: conversation.kind,
        space: conversation.space,
        channel_kind: conversation.channel_kind,
        title: settings.title,
        with: None,
        history_visibility: settings.history_visibility,
        archived: settings.archived,
        slow_mode_s: settings.slow_mode_s,
        who_may_post: settings.who_may_post,
        started_at: conversation.started_at,
        role: None,
        head_seq: left,
        visible_from: sight.bounds().0,
        last_message,
        seen_seq: left,
        unread: 0,
        mention_count: 0,
    }))
}
