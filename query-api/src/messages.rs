//! `GET /v1/conversations/{conversation}/messages` and `…/messages/{seq}`.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::conversation::{Encrypted, Mention};
use domain::{ConversationId, Position, Seq, UserId};
use infra::database::AsJson;
use infra::http::{Authenticated, InPath, Query};
use infra::problem::Problem;
use infra::read_models::messages::{
    self as model, Format, Message, Page, Reaction, System, Which, Wording,
};
use infra::read_models::{Model, Snapshot, attachments, members};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::QueryApi;
use crate::access::Sight;
use crate::answers::{ReadProblems, limit};
use crate::attachments::{AttachmentView, Signer, of_messages};
use crate::forwarded::{Forwarded, origins};
use crate::min_position::MinPosition;
use crate::pins::Pinned;
use crate::threads::{Answers, answers};

/// What routes about messages read.
pub(crate) const MODELS: [&Model; 3] = [&model::MODEL, &members::MODEL, &attachments::MODEL];

/// Messages on a page, unless asked otherwise, and at most.
const PAGE: (usize, usize) = (50, 200);

/// How many of those who reacted alike are named; the count is of all.
const REACTED_NAMED_MAX: usize = 20;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageParams {
    /// Messages right before this seq.
    before: Option<Seq>,
    /// Messages right after this seq.
    after: Option<Seq>,
    /// Only messages in the thread that began with this one.
    thread: Option<Seq>,
    /// Without `thread`: `all` messages; only the `main` ones, which are in no thread; or the `timeline`,
    /// those and what is told of changes of the members. `all` by default.
    which: Option<WhichParam>,
    /// Messages around this seq: half of the page before it, half from it on.
    around: Option<Seq>,
    /// How many: 1 to 200, 50 by default.
    #[param(value_type = Option<u64>)]
    limit: Option<usize>,
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
    pub(crate) min_position: Option<MinPosition>,
}

/// Which messages of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WhichParam {
    /// All that somebody wrote.
    All,
    /// Those of them in no thread.
    Main,
    /// Those in no thread, and what nobody wrote.
    Timeline,
}

/// A page of messages.
#[derive(Serialize, ToSchema)]
pub(crate) struct MessageList {
    /// The messages, oldest first.
    messages: Vec<MessageView>,
    /// Give it as `after` for newer messages; absent where there are none yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Seq>,
    /// Give it as `before` for older messages; absent where there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    prev: Option<Seq>,
    /// Everything up to here is in the answer.
    position: Position,
}

/// A message.
#[derive(Serialize, ToSchema)]
pub(crate) struct MessageAnswer {
    #[serde(flatten)]
    message: MessageView,
    /// Everything up to here is in the answer.
    position: Position,
}

/// A message as the asker sees it.
#[derive(Serialize, ToSchema)]
pub(crate) struct MessageView {
    /// Its name in the conversation, and its order.
    pub(crate) seq: Seq,
    /// The path at which it is found, for good.
    link: String,
    /// Who wrote it; of what nobody wrote, who did what it tells.
    author: UserId,
    /// What it tells of the members, if nobody wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<System>,
    /// As last edited.
    #[serde(flatten)]
    wording: WordingView,
    /// Files that come with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attachments: Vec<AttachmentView>,
    /// Whom it calls.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    mentions: BTreeSet<Mention>,
    /// The message it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<Seq>,
    /// The message in whose thread it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    thread: Option<Seq>,
    /// That it forwards a message, and which, if the asker sees that one.
    #[serde(skip_serializing_if = "Option::is_none")]
    forwarded: Option<Forwarded>,
    /// What was said in the thread that began with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    answers: Option<Answers>,
    sent_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    edited: Option<Edited>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted: Option<Deleted>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pinned: Option<Pinned>,
    /// In the order in which each was first added.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reactions: Vec<ReactionView>,
}

/// What a message says: a body or an envelope; neither when it was deleted.
#[derive(Serialize, ToSchema)]
pub(crate) struct WordingView {
    /// Which of the two, and how a body is meant.
    format: Format,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encrypted: Option<Encrypted>,
}

impl From<Wording> for WordingView {
    fn from(wording: Wording) -> Self {
        Self {
            format: wording.format,
            body: wording.body,
            encrypted: wording.encrypted.map(|AsJson(encrypted)| encrypted),
        }
    }
}

/// The last edit.
#[derive(Serialize, ToSchema)]
pub(crate) struct Edited {
    seq: Seq,
    at: DateTime<Utc>,
}

/// That it was deleted, and for those who were there then, how.
#[derive(Serialize, ToSchema)]
pub(crate) struct Deleted {
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Everybody's reactions with one emoji.
#[derive(Serialize, ToSchema)]
pub(crate) struct ReactionView {
    emoji: String,
    count: u64,
    /// Whether the asker is one of them.
    mine: bool,
    /// The first of them, at most 20.
    members: Vec<UserId>,
}

/// Messages of a conversation, by seq
///
/// Without `before`, `after` and `around` the newest; at most one of them may be given.
#[utoipa::path(
    get,
    path = "/v1/conversations/{conversation}/messages",
    tag = "messages",
    params(("conversation" = ConversationId, Path, description = "Which conversation"), PageParams),
    responses(
        (status = 200, description = "A page of messages, oldest first", body = MessageList),
        (status = 404, description = "`conversation_not_found`: there is none, or the asker was never in it", body = Problem, content_type = "application/problem+json"),
        ReadProblems,
    ),
    security(("bearer" = []))
)]
pub(crate) async fn page(
    State(api): State<QueryApi>,
    Authenticated(caller): Authenticated,
    InPath(id): InPath<ConversationId>,
    Query(params): Query<PageParams>,
) -> Result<Json<MessageList>, Problem> {
    let limit = limit(params.limit, PAGE.0, PAGE.1)?;
    let page = match (params.before, params.after, params.around) {
        (None, None, None) => Page::Newest,
        (Some(seq), None, None) => Page::Before(seq),
        (None, Some(seq), None) => Page::After(seq),
        (None, None, Some(seq)) => Page::Around(seq),
        (Some(_), Some(_), _) | (_, Some(_), Some(_)) => {
            return Err(only_one("after"));
        }
        (Some(_), None, Some(_)) => return Err(only_one("around")),
    };
    let which = match (params.thread, params.which) {
        (None, None | Some(WhichParam::All)) => Which::All,
        (None, Some(WhichParam::Main)) => Which::Main,
        (None, Some(WhichParam::Timeline)) => Which::Timeline,
        (Some(root), None) => Which::Thread(root),
        (Some(_), Some(_)) => {
            let rule = "give only one of thread and which";
            return Err(Problem::invalid_query("which", rule));
        }
    };
    let mut snapshot = api.snapshot(&MODELS, params.min_position).await?;
    let sight = Sight::of(&mut snapshot, id, caller.user).await?;
    let (bounds, part) = (sight.bounds(), (which, page));
    let found = model::page(&mut snapshot, id, caller.user, bounds, part, limit).await?;
    let seq_of = |message: Option<&Message>| message.map(|message| message.seq);
    let prev = seq_of(found.messages.first()).filter(|_| found.older);
    let next = seq_of(found.messages.last()).filter(|_| found.newer);
    let signer = api.signer();
    let messages = views(
        &mut snapshot,
        id,
        caller.user,
        &sight,
        &signer,
        found.messages,
    )
    .await?;
    Ok(Json(MessageList {
        messages,
        next,
        prev,
        position: snapshot.position(),
    }))
}

fn only_one(name: &str) -> Problem {
    Problem::invalid_query(name, "give only one of before, after and around")
}

/// One message
#[utoipa::path(
    get,
    path = "/v1/conversations/{conversation}/messages/{seq}",
    tag = "messages",
    params(
        ("conversation" = ConversationId, Path, description = "Which conversation"),
        ("seq" = Seq, Path, description = "Which message"),
        OneParams,
    ),
    responses(
        (status = 200, description = "The message", body = MessageAnswer),
        (status = 404, description = "`conversation_not_found`: there is none, or the asker was never in it; `message_not_found`: it has no such message, or the asker does not see it", body = Problem, content_type = "application/problem+json"),
        ReadProblems,
    ),
    security(("bearer" = []))
)]
pub(crate) async fn one(
    State(api): State<QueryApi>,
    Authenticated(caller): Authenticated,
    InPath((id, seq)): InPath<(ConversationId, Seq)>,
    Query(params): Query<OneParams>,
) -> Result<Json<MessageAnswer>, Problem> {
    let mut snapshot = api.snapshot(&MODELS, params.min_position).await?;
    let sight = Sight::of(&mut snapshot, id, caller.user).await?;
    let message = visible(&mut snapshot, id, seq, &sight).await?;
    let signer = api.signer();
    let views = views(
        &mut snapshot,
        id,
        caller.user,
        &sight,
        &signer,
        vec![message],
    )
    .await?;
    let message = views.into_iter().next().ok_or_else(message_not_found)?;
    Ok(Json(MessageAnswer {
        message,
        position: snapshot.position(),
    }))
}

/// The message `seq`, if there is one that the asker sees.
pub(crate) async fn visible(
    snapshot: &mut Snapshot,
    conversation: ConversationId,
    seq: Seq,
    sight: &Sight,
) -> Result<Message, Problem> {
    model::one(snapshot, conversation, seq)
        .await?
        .filter(|message| message.system.is_none() && sight.sees(message.seq))
        .ok_or_else(message_not_found)
}

fn message_not_found() -> Problem {
    Problem::not_found("message_not_found", "the conversation has no such message")
}

/// Undoes edits that the asker does not see: a message then reads as after the last one they see.
pub(crate) async fn visible_bodies(
    snapshot: &mut Snapshot,
    conversation: ConversationId,
    sight: &Sight,
    messages: &mut [Message],
) -> Result<(), Problem> {
    let unseen = |message: &Message| message.edited_seq.is_some_and(|seq| !sight.sees(seq));
    let affected: Vec<Seq> = messages
        .iter()
        .filter(|message| unseen(message))
        .map(|message| message.seq)
        .collect();
    if affected.is_empty() {
        return Ok(());
    }
    let mut seen = BTreeMap::new();
    for revision in model::revisions(snapshot, conversation, &affected).await? {
        if sight.sees(revision.seq) {
            // In the order of edits: the last one they see stays.
            seen.insert(revision.message, revision);
        }
    }
    for message in messages.iter_mut().filter(|message| unseen(message)) {
        let revision = seen.remove(&message.seq);
        let edit = revision
            .as_ref()
            .filter(|revision| revision.seq != message.seq);
        message.edited_seq = edit.map(|revision| revision.seq);
        message.edited_at = edit.map(|revision| revision.at);
        match revision {
            Some(revision) => message.wording = revision.wording,
            // Of a deleted message no revision is left.
            None => message.wording.clear(),
        }
    }
    Ok(())
}

/// The messages as `asker` sees them, in the order given.
pub(crate) async fn views(
    snapshot: &mut Snapshot,
    conversation: ConversationId,
    asker: UserId,
    sight: &Sight,
    signer: &Signer,
    mut messages: Vec<Message>,
) -> Result<Vec<MessageView>, Problem> {
    visible_bodies(snapshot, conversation, sight, &mut messages).await?;
    let seqs: Vec<Seq> = messages.iter().map(|message| message.seq).collect();
    let origins = origins(snapshot, asker, &messages).await?;
    let mut files = of_messages(snapshot, conversation, &seqs, sight, signer).await?;
    let mut answers = answers(snapshot, conversation, &seqs, sight).await?;
    let mut pins = BTreeMap::new();
    for pin in model::pins_of(snapshot, conversation, &seqs).await? {
        if sight.sees(pin.seq) {
            pins.insert(pin.message, Pinned::of(&pin));
        }
    }
    let mut reactions: BTreeMap<Seq, Vec<ReactionView>> = BTreeMap::new();
    for reaction in model::reactions(snapshot, conversation, &seqs).await? {
        if sight.sees(reaction.seq) {
            count(
                reactions.entry(reaction.message).or_default(),
                reaction,
                asker,
            );
        }
    }
    Ok(messages
        .into_iter()
        .map(|message| {
            let reactions = reactions.remove(&message.seq).unwrap_or_default();
            let pinned = pins.remove(&message.seq);
            MessageView {
                attachments: files.remove(&message.seq).unwrap_or_default(),
                answers: answers.remove(&message.seq),
                forwarded: origins.of(&message),
                pinned,
                reactions,
                ..view(message, sight)
            }
        })
        .collect())
}

fn count(counted: &mut Vec<ReactionView>, reaction: Reaction, asker: UserId) {
    let alike = counted
        .iter()
        .position(|counted| counted.emoji == reaction.emoji)
        .unwrap_or_else(|| {
            counted.push(ReactionView {
                emoji: reaction.emoji,
                count: 0,
                mine: false,
                members: Vec::new(),
            });
            counted.len() - 1
        });
    let alike = &mut counted[alike];
    alike.count += 1;
    alike.mine |= reaction.member == asker;
    if alike.members.len() < REACTED_NAMED_MAX {
        alike.members.push(reaction.member);
    }
}

/// What stands in the message itself.
fn view(message: Message, sight: &Sight) -> MessageView {
    let deleted = message.deleted_seq.map(|seq| {
        if sight.sees(seq) {
            Deleted {
                by: message.deleted_by,
                at: message.deleted_at,
                reason: message.deleted_reason,
            }
        } else {
            Deleted {
                by: None,
                at: None,
                reason: None,
            }
        }
    });
    let edited = match (message.edited_seq, message.edited_at) {
        (Some(seq), Some(at)) => Some(Edited { seq, at }),
        _ => None,
    };
    MessageView {
        seq: message.seq,
        link: format!(
            "/v1/conversations/{}/messages/{}",
            message.conversation, message.seq
        ),
        author: message.author,
        system: message.system.map(|AsJson(system)| system),
        wording: message.wording.into(),
        attachments: Vec::new(),
        mentions: message.mentions.map_or_else(BTreeSet::new, |AsJson(it)| it),
        reply_to: message.reply_to,
        thread: message.thread,
        answers: None,
        forwarded: None,
        sent_at: message.sent_at,
        edited,
        deleted,
        pinned: None,
        reactions: Vec::new(),
    }
}
