//! `GET /v1/notifications`, `GET /v1/users/me/notifications`, `GET /v1/users/me/push-subscriptions` and
//! `GET /v1/push/key`: what concerned the asker, and of what they want to be told.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::notifications::{Level, QuietHours};
use domain::{ConversationId, Position, PushSubscriptionId, Seq, UserId};
use infra::auth::LoginStanding;
use infra::http::{Authenticated, Query};
use infra::problem::Problem;
use infra::read_models::conversations::preview;
use infra::read_models::messages::notices::{self, Listed, NoticeKind};
use infra::read_models::notifications::{self as model, UserSettings};
use infra::read_models::{
    Model, Snapshot, conversations, members, messages, receipts, spaces, users,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::QueryApi;
use crate::answers::{ReadProblems, limit, page};
use crate::min_position::MinPosition;
use crate::users::OneParams;

/// What the list is read from.
const MODELS: [&Model; 7] = [
    &conversations::MODEL,
    &members::MODEL,
    &messages::MODEL,
    &model::MODEL,
    &receipts::MODEL,
    &spaces::MODEL,
    &users::MODEL,
];

/// Entries on a page, unless asked otherwise, and at most.
const PAGE: (usize, usize) = (20, 100);

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct NotificationParams {
    /// How many: 1 to 100, 20 by default.
    #[param(value_type = Option<u64>)]
    limit: Option<usize>,
    /// The `next` of the page before.
    before: Option<Position>,
    /// Wait until everything up to this position, or this cursor, is in the answer.
    #[param(value_type = Option<String>)]
    min_position: Option<MinPosition>,
}

/// Something that concerned the asker.
#[derive(Serialize, ToSchema)]
pub(crate) struct NotificationView {
    /// Names it. The list is in this order, and read up to one of these.
    position: Position,
    kind: NoticeKind,
    conversation: ConversationId,
    /// The event.
    seq: Seq,
    /// The message that it is about: one that calls or answers, or the asker's own that somebody reacted
    /// to. Absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Seq>,
    /// The thread of the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    thread: Option<Seq>,
    /// Who did it.
    by: UserId,
    at: DateTime<Utc>,
    /// Of a reaction.
    #[serde(skip_serializing_if = "Option::is_none")]
    emoji: Option<String>,
    /// What somebody made of the asker: `member`, `admin` or `owner`.
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    /// How the message begins, as it reads now; absent of one that is encrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    preview: Option<String>,
    /// Whether the list is read up to here, or the asker has seen it in the conversation.
    read: bool,
}

/// A page of what concerned the asker.
#[derive(Serialize, ToSchema)]
pub(crate) struct NotificationList {
    /// Newest first.
    notifications: Vec<NotificationView>,
    /// How many of all are not read; counted up to 100.
    unread: u64,
    /// Up to where the list is read.
    read_up_to: Position,
    /// Give it as `before` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Position>,
    /// Everything up to here is in the answer.
    position: Position,
}

/// What the asker set for one conversation.
#[derive(Serialize, ToSchema)]
pub(crate) struct RuleView {
    conversation: ConversationId,
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<Level>,
    #[serde(skip_serializing_if = "Option::is_none")]
    muted_until: Option<DateTime<Utc>>,
}

/// Of what the asker wants to be told.
#[derive(Serialize, ToSchema)]
pub(crate) struct SettingsAnswer {
    /// Of how much of direct conversations.
    direct: Level,
    /// Of how much of groups; absent: by their size.
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<Level>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quiet_hours: Option<QuietHours>,
    /// After so many seconds of absence what was missed is mailed.
    #[serde(skip_serializing_if = "Option::is_none")]
    digest_after_s: Option<u32>,
    /// Whether pushes have the text of messages.
    include_text: bool,
    /// What is set for single conversations, in the order of their ids; at most 1,000.
    rules: Vec<RuleView>,
    /// Everything up to here is in the answer.
    position: Position,
}

/// A browser of the asker's that takes pushes.
#[derive(Serialize, ToSchema)]
pub(crate) struct SubscriptionView {
    id: PushSubscriptionId,
    /// The login that it ends with.
    session: domain::SessionId,
    added_at: DateTime<Utc>,
    /// Whether it is of the login that asks.
    current: bool,
}

/// The browsers of the asker's that take pushes.
#[derive(Serialize, ToSchema)]
pub(crate) struct SubscriptionList {
    /// In the order of their ids; at most 20.
    subscriptions: Vec<SubscriptionView>,
    /// Everything up to here is in the answer.
    position: Position,
}

/// With which key browsers subscribe.
#[derive(Serialize, ToSchema)]
pub(crate) struct PushKeyAnswer {
    /// A point of P-256 in base64url: the `applicationServerKey` of `pushManager.subscribe`.
    key: String,
}

/// What concerned me
///
/// Who called the asker, answered a message of theirs or in a thread that they follow, reacted to what they
/// wrote, added them to a group or made them something else there, in the conversations that they are in,
/// newest first. Of those whom they block nothing.
#[utoipa::path(
    get,
    path = "/v1/notifications",
    tag = "notifications",
    params(NotificationParams),
    responses(
        (status = 200, description = "A page of what concerned the asker", body = NotificationList),
        ReadProblems,
    ),
    security(("bearer" = []))
)]
pub(crate) async fn list(
    State(api): State<QueryApi>,
    Authenticated(caller): Authenticated,
    Query(params): Query<NotificationParams>,
) -> Result<Json<NotificationList>, Problem> {
    let limit = limit(params.limit, PAGE.0, PAGE.1)?;
    let mut snapshot = api.snapshot(&MODELS, params.min_position).await?;
    let user = caller.user;
    let settings = settings_of(&mut snapshot, user).await?;
    let found = notices::list(&mut snapshot, user, params.before, limit + 1).await?;
    let unread = notices::unread(&mut snapshot, user, settings.read_position).await?;
    let (found, next) = page(found, limit, |last| last.notice.position);
    let mut previews = previews(&mut snapshot, &found).await?;
    let notifications = found.into_iter().map(|listed| {
        let key = (listed.notice.conversation, listed.notice.message);
        view(listed, previews.remove(&key))
    });
    Ok(Json(NotificationList {
        notifications: notifications.collect(),
        unread,
        read_up_to: settings.read_position,
        next,
        position: snapshot.position(),
    }))
}

fn is_about_a_message(kind: NoticeKind) -> bool {
    match kind {
        NoticeKind::Mention
        | NoticeKind::Reply
        | NoticeKind::ThreadAnswer
        | NoticeKind::Reaction => true,
        NoticeKind::Added | NoticeKind::RoleChanged => false,
    }
}

/// How the messages of `found` begin.
async fn previews(
    snapshot: &mut Snapshot,
    found: &[Listed],
) -> Result<BTreeMap<(ConversationId, Seq), String>, Problem> {
    let mut wanted: BTreeMap<ConversationId, Vec<Seq>> = BTreeMap::new();
    for Listed { notice, .. } in found {
        let seqs = wanted.entry(notice.conversation).or_default();
        if is_about_a_message(notice.kind) && !seqs.contains(&notice.message) {
            seqs.push(notice.message);
        }
    }
    let mut previews = BTreeMap::new();
    for (conversation, seqs) in wanted {
        for message in messages::at(snapshot, conversation, &seqs).await? {
            if let Some(body) = &message.wording.body {
                previews.insert((conversation, message.seq), preview(body));
            }
        }
    }
    Ok(previews)
}

fn view(Listed { notice, is_read }: Listed, preview: Option<String>) -> NotificationView {
    let (emoji, role) = match notice.kind {
        NoticeKind::Reaction => (notice.detail, None),
        NoticeKind::RoleChanged => (None, notice.detail),
        NoticeKind::Mention | NoticeKind::Reply | NoticeKind::ThreadAnswer | NoticeKind::Added => {
            (None, None)
        }
    };
    NotificationView {
        position: notice.position,
        kind: notice.kind,
        conversation: notice.conversation,
        seq: notice.seq,
        message: is_about_a_message(notice.kind).then_some(notice.message),
        thread: notice.thread,
        by: notice.actor,
        at: notice.at,
        emoji,
        role,
        preview,
        read: is_read,
    }
}

async fn settings_of(snapshot: &mut Snapshot, user: UserId) -> Result<UserSettings, Problem> {
    let mut settings = model::settings(snapshot, &[user]).await?;
    Ok(settings
        .remove(&user)
        .unwrap_or_else(|| UserSettings::of(user)))
}

/// Of what I want to be told
#[utoipa::path(
    get,
    path = "/v1/users/me/notifications",
    tag = "notifications",
    params(OneParams),
    responses(
        (status = 200, description = "What the asker set, for all conversations and for single ones", body = SettingsAnswer),
        ReadProblems,
    ),
    security(("bearer" = []))
)]
pub(crate) async fn settings(
    State(api): State<QueryApi>,
    Authenticated(caller): Authenticated,
    Query(params): Query<OneParams>,
) -> Result<Json<SettingsAnswer>, Problem> {
    let models = [&model::MODEL];
    let mut snapshot = api.snapshot(&models, params.min_position).await?;
    let set = settings_of(&mut snapshot, caller.user).await?.settings();
    let rules = model::rules(&mut snapshot, caller.user).await?;
    let rules = rules.into_iter().map(|rule| RuleView {
        conversation: rule.conversation,
        level: rule.level,
        muted_until: rule.muted_until,
    });
    Ok(Json(SettingsAnswer {
        direct: set.direct,
        groups: set.groups,
        quiet_hours: set.quiet_hours,
        digest_after_s: set.digest_after_s,
        include_text: set.include_text,
        rules: rules.collect(),
        position: snapshot.position(),
    }))
}

/// Which of my browsers take pushes
#[utoipa::path(
    get,
    path = "/v1/users/me/push-subscriptions",
    tag = "notifications",
    params(OneParams),
    responses(
        (status = 200, description = "The browsers that take pushes for the asker", body = SubscriptionList),
        ReadProblems,
    ),
    security(("bearer" = []))
)]
pub(crate) async fn subscriptions(
    State(api): State<QueryApi>,
    Authenticated(caller): Authenticated,
    Query(params): Query<OneParams>,
) -> Result<Json<SubscriptionList>, Problem> {
    let models = [&model::MODEL];
    let mut snapshot = api.snapshot(&models, params.min_position).await?;
    let found = model::subscriptions(&mut snapshot, &[caller.user]).await?;
    let mut subscriptions = Vec::with_capacity(found.len());
    for one in found {
        // It is removed when it is to be told something, or another is added.
        let standing = api.guard.login_standing(caller.user, one.session).await?;
        if standing == LoginStanding::Ended {
            continue;
        }
        subscriptions.push(SubscriptionView {
            id: one.id,
            session: one.session,
            added_at: one.added_at,
            current: one.session == caller.session,
        });
    }
    Ok(Json(SubscriptionList {
        subscriptions,
        position: snapshot.position(),
    }))
}

/// With which key browsers subscribe to pushes
///
/// The public half of the key that push services know this server by (VAPID, RFC 8292). It stays the same.
#[utoipa::path(
    get,
    path = "/v1/push/key",
    tag = "notifications",
    responses(
        (status = 200, description = "The key", body = PushKeyAnswer),
        ReadProblems,
    ),
    security(("bearer" = []))
)]
pub(crate) async fn push_key(
    State(api): State<QueryApi>,
    Authenticated(_caller): Authenticated,
) -> Json<PushKeyAnswer> {
    Json(PushKeyAnswer {
        key: api.push_key.to_string(),
    })
}
