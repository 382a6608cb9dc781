//! `GET /v1/conversations/{conversation}/threads` and `GET /v1/threads`.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::{ConversationId, Position, Seq, UserId, Version};
use infra::http::{Authenticated, InPath, Query};
use infra::problem::Problem;
use infra::read_models::messages::{self as model, Standing, Summary, Thread};
use infra::read_models::{Model, Snapshot, attachments, members, receipts};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::QueryApi;
use crate::access::Sight;
use crate::answers::{ReadProblems, limit, page};
use crate::attachments::Signer;
use crate::messages::{MessageView, views};
use crate::min_position::MinPosition;

/// What both routes read.
const MODELS: [&Model; 4] = [
    &model::MODEL,
    &members::MODEL,
    &receipts::MODEL,
    &attachments::MODEL,
];

/// Threads on a page, unless asked otherwise, and at most.
const PAGE: (usize, usize) = (20, 50);

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ThreadParams {
    /// How many: 1 to 50, 20 by default.
    #[param(value_type = Option<u64>)]
    limit: Option<usize>,
    /// The `next` of the page before.
    before: Option<Position>,
    /// Wait until everything up to this position, or this cursor, is in the answer.
    #[param(value_type = Option<String>)]
    min_position: Option<MinPosition>,
}

/// A page of threads.
#[derive(Serialize, ToSchema)]
pub(crate) struct ThreadList {
    /// The threads, last answered first.
    threads: Vec<ThreadView>,
    /// Give it as `before` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Position>,
    /// Everything up to here is in the answer.
    position: Position,
}

/// A thread as the asker sees it.
#[derive(Serialize, ToSchema)]
pub(crate) struct ThreadView {
    conversation: ConversationId,
    /// The message that it began with, with what came of it in `answers`.
    root: MessageView,
    /// Whether the asker follows it.
    follows: bool,
    /// Up to where the asker has seen it.
    seen_seq: Seq,
    /// Of a thread that the asker follows: how many answers of others came after that, and were not
    /// deleted.
    unread: u64,
}

/// What was said in the thread that began with a message.
#[derive(Serialize, ToSchema)]
pub(crate) struct Answers {
    /// How many answers there are, without those that were deleted.
    count: u64,
    /// The last of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<LastAnswer>,
}

/// The last answer in a thread.
#[derive(Serialize, ToSchema)]
pub(crate) struct LastAnswer {
    seq: Seq,
    author: UserId,
    at: DateTime<Utc>,
}

/// The threads of a conversation, last answered first
///
/// Their messages are at `/v1/conversations/{conversation}/messages?thread={seq}`.
#[utoipa::path(
    get,
    path = "/v1/conversations/{conversation}/threads",
    tag = "threads",
    params(("conversation" = ConversationId, Path, description = "Which conversation"), ThreadParams),
    responses(
        (status = 200, description = "A page of the threads that began with messages the asker sees", body = ThreadList),
        (status = 404, description = "`conversation_not_found`: there is none, or the asker was never in it", body = Problem, content_type = "application/problem+json"),
        ReadProblems,
    ),
    security(("bearer" = []))
)]
pub(crate) async fn of_conversation(
    State(api): State<QueryApi>,
    Authenticated(caller): Authenticated,
    InPath(id): InPath<ConversationId>,
    Query(params): Query<ThreadParams>,
) -> Result<Json<ThreadList>, Problem> {
    let limit = limit(params.limit, PAGE.0, PAGE.1)?;
    let mut snapshot = api.snapshot(&MODELS, params.min_position).await?;
    Sight::of(&mut snapshot, id, caller.user).await?;
    let before = params.before;
    let found = model::of_conversation(&mut snapshot, id, caller.user, before, limit + 1).await?;
    answer(&mut snapshot, caller.user, &api.signer(), found, limit).await
}

/// The threads I follow, last answered first
///
/// Those of conversations the asker is a member of.
#[utoipa::path(
    get,
    path = "/v1/threads",
    tag = "threads",
    params(ThreadParams),
    responses(
        (status = 200, description = "A page of the threads that the asker follows", body = ThreadList),
        ReadProblems,
    ),
    security(("bearer" = []))
)]
pub(crate) async fn followed(
    State(api): State<QueryApi>,
    Authenticated(caller): Authenticated,
    Query(params): Query<ThreadParams>,
) -> Result<Json<ThreadList>, Problem> {
    let limit = limit(params.limit, PAGE.0, PAGE.1)?;
    let mut snapshot = api.snapshot(&MODELS, params.min_position).await?;
    let found = model::followed(&mut snapshot, caller.user, params.before, limit + 1).await?;
    answer(&mut snapshot, caller.user, &api.signer(), found, limit).await
}

async fn answer(
    snapshot: &mut Snapshot,
    asker: UserId,
    signer: &Signer,
    found: Vec<Thread>,
    limit: usize,
) -> Result<Json<ThreadList>, Problem> {
    let (found, next) = page(found, limit, |last| last.last_position);
    let mut by_conversation: BTreeMap<ConversationId, Vec<Seq>> = BTreeMap::new();
    for thread in &found {
        let roots = by_conversation.entry(thread.conversation).or_default();
        roots.push(thread.root);
    }
    let mut shown = BTreeMap::new();
    for (conversation, roots) in by_conversation {
        for view in of_one(snapshot, asker, signer, conversation, &roots).await? {
            shown.insert((conversation, view.root.seq), view);
        }
    }
    let threads = found
        .iter()
        .filter_map(|thread| shown.remove(&(thread.conversation, thread.root)));
    Ok(Json(ThreadList {
        threads: threads.collect(),
        next,
        position: snapshot.position(),
    }))
}

/// The threads of `roots`, which are of one conversation.
async fn of_one(
    snapshot: &mut Snapshot,
    asker: UserId,
    signer: &Signer,
    conversation: ConversationId,
    roots: &[Seq],
) -> Result<Vec<ThreadView>, Problem> {
    let sight = Sight::of(snapshot, conversation, asker).await?;
    let mut messages = model::at(snapshot, conversation, roots).await?;
    messages.retain(|message| sight.sees(message.seq));
    let views = views(snapshot, conversation, asker, &sight, signer, messages).await?;
    let latest = sight.latest();
    let span = (
        latest.joined_seq,
        latest.left_seq.unwrap_or(Version(u64::MAX)),
    );
    let standings = model::standings(snapshot, conversation, roots, asker, span).await?;
    let mut standings: BTreeMap<Seq, Standing> = standings
        .into_iter()
        .map(|standing| (standing.root, standing))
        .collect();
    let threads = views.into_iter().filter_map(|root| {
        let standing = standings.remove(&root.seq)?;
        Some(ThreadView {
            conversation,
            root,
            follows: standing.follows,
            seen_seq: standing.seen_seq,
            unread: standing.unread,
        })
    });
    Ok(threads.collect())
}

/// What was said in the threads that began with those of `seqs`.
pub(crate) async fn answers(
    snapshot: &mut Snapshot,
    conversation: ConversationId,
    seqs: &[Seq],
    sight: &Sight,
) -> Result<BTreeMap<Seq, Answers>, Problem> {
    let summaries = model::summaries(snapshot, conversation, seqs, sight.bounds()).await?;
    let answers = summaries.into_iter().map(|summary| {
        let Summary {
            root,
            answers,
            last,
        } = summary;
        let last = last.map(|last| LastAnswer {
            seq: last.seq,
            author: last.author,
            at: last.at,
        });
        let count = answers;
        (root, Answers { count, last })
    });
    Ok(answers.collect())
}
