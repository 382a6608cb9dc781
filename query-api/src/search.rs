//! `GET /v1/search`: messages by what they say, in all conversations that the asker sees.

mod cursor;
mod newest;
mod shown;

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::conversation::{Mention, MentionedRole, Role};
use domain::{ConversationId, Position, Seq, SpaceRoleId, UserId};
use infra::database::AsJson;
use infra::http::{Authenticated, Query};
use infra::problem::Problem;
use infra::read_models::messages::{self, Message};
use infra::read_models::search::{self as model, Lookup, Match};
use infra::read_models::{Model, Snapshot, attachments, members, spaces};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use self::cursor::Cursor;
use self::newest::{Found, Hit};
use self::shown::{Highlight, Snippet};
use crate::QueryApi;
use crate::access::Sight;
use crate::answers::{ReadProblems, limit};
use crate::attachments::Signer;
use crate::messages::{MessageView, views};
use crate::min_position::MinPosition;

const MODELS: [&Model; 5] = [
    &messages::MODEL,
    &members::MODEL,
    &attachments::MODEL,
    &model::MODEL,
    &spaces::MODEL,
];

/// Messages on a page, unless asked otherwise, and at most.
const PAGE: (usize, usize) = (20, 50);

/// Messages that are ranked at most: the newest that match.
const RANKED_MAX: usize = 300;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SearchParams {
    /// Words that must all be there, the last one at least as a beginning; "phrases" in quotes; what must
    /// not be there after a `-`. Up to 200 characters and 12 words and phrases. May be absent with
    /// `author`, `has` or `mentions`.
    q: Option<String>,
    /// Only messages of this conversation.
    conversation: Option<ConversationId>,
    /// Only messages of this user.
    author: Option<UserId>,
    /// Only messages sent at this moment or later.
    after: Option<DateTime<Utc>>,
    /// Only messages sent before this moment.
    before: Option<DateTime<Utc>>,
    /// Only messages with a link.
    has: Option<Has>,
    /// Only messages of others that call the asker, by their roles now.
    mentions: Option<Mentions>,
    /// `newest` first, by the order of the log, which is the default; or by `relevance`, of the newest 300
    /// that match.
    order: Option<Order>,
    /// How many: 1 to 50, 20 by default.
    #[param(value_type = Option<u64>)]
    limit: Option<usize>,
    /// The `next` of the page before, with everything else as it was.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor>,
    /// Wait until everything up to this position, or this cursor, is in the answer.
    #[param(value_type = Option<String>)]
    min_position: Option<MinPosition>,
}

/// What a message may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Has {
    /// A link in its text.
    Link,
    /// A file.
    Attachment,
}

/// Whom a message may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mentions {
    /// The asker.
    Me,
}

/// In which order messages are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    /// Newest first.
    #[default]
    Newest,
    /// Those first that say it most.
    Relevance,
}

/// A page of what was found.
#[derive(Serialize, ToSchema)]
pub(crate) struct SearchAnswer {
    /// The messages; there may be fewer than the limit, or none, where there is a `next`.
    hits: Vec<SearchHit>,
    /// Give it as `cursor` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    next: Option<Cursor>,
    /// Everything up to here is in the answer.
    position: Position,
}

/// A message that was found.
#[derive(Serialize, ToSchema)]
pub(crate) struct SearchHit {
    conversation: ConversationId,
    message: MessageView,
    /// What was found in its body, in order; at most 50.
    highlights: Vec<Highlight>,
    /// A piece of its body about the first of them.
    snippet: Snippet,
}

/// What is looked for.
struct Search {
    query: model::Query,
    asker: UserId,
    author: Option<UserId>,
    after: Option<DateTime<Utc>>,
    before: Option<DateTime<Utc>>,
    has: Option<Has>,
    mentions: Option<Mentions>,
    /// The asker's roles in spaces, where it matters whom messages call.
    roles: BTreeSet<SpaceRoleId>,
}

/// Messages by what they say
///
/// Of all conversations that the asker is or was in, as far as they see them, and in the wording that they
/// see. Encrypted and deleted messages are not found. There is no total.
#[utoipa::path(
    get,
    path = "/v1/search",
    tag = "messages",
    params(SearchParams),
    responses(
        (status = 200, description = "A page of the messages that match", body = SearchAnswer),
        (status = 404, description = "`conversation_not_found`: there is none, or the asker was never in it", body = Problem, content_type = "application/problem+json"),
        ReadProblems,
    ),
    security(("bearer" = []))
)]
pub(crate) async fn search(
    State(api): State<QueryApi>,
    Authenticated(caller): Authenticated,
    Query(params): Query<SearchParams>,
) -> Result<Json<SearchAnswer>, Problem> {
    let limit = limit(params.limit, PAGE.0, PAGE.1)?;
    let mut search = Search::read(&params, caller.user)?;
    let order = params.order.unwrap_or_default();
    if params.cursor.is_some_and(|cursor| cursor.order() != order) {
        let rule = "the cursor is of a search in another order";
        return Err(Problem::invalid_query("cursor", rule));
    }
    let mut snapshot = api.snapshot(&MODELS, params.min_position).await?;
    if search.mentions.is_some() {
        search.roles = spaces::roles_of_member(&mut snapshot, caller.user).await?;
    }
    let sights = match params.conversation {
        Some(id) => {
            let sight = Sight::of(&mut snapshot, id, caller.user).await?;
            BTreeMap::from([(id, sight)])
        }
        None => Sight::everywhere(&mut snapshot, caller.user).await?,
    };
    let cursor = params.cursor;
    let (hits, next) = match order {
        Order::Newest => newest_page(&mut snapshot, &search, &sights, cursor, limit).await?,
        Order::Relevance => relevant_page(&mut snapshot, &search, &sights, cursor, limit).await?,
    };
    let hits = shown_hits(&mut snapshot, caller.user, &sights, &api.signer(), hits).await?;
    Ok(Json(SearchAnswer {
        hits,
        next,
        position: snapshot.position(),
    }))
}

impl Search {
    fn read(params: &SearchParams, asker: UserId) -> Result<Self, Problem> {
        let query = model::Query::parse(params.q.as_deref().unwrap_or_default())
            .map_err(|invalid| Problem::invalid_query("q", invalid))?;
        let is_narrowed =
            params.author.is_some() || params.has.is_some() || params.mentions.is_some();
        if query.is_empty() && !is_narrowed {
            let rule = "there is nothing to search for: give a word that must be there, or author, \
                        has or mentions";
            return Err(Problem::invalid_query("q", rule));
        }
        Ok(Self {
            query,
            asker,
            author: params.author,
            after: params.after,
            before: params.before,
            has: params.has,
            mentions: params.mentions,
            roles: BTreeSet::new(),
        })
    }

    /// What the index must have of a message that matches.
    fn lookups(&self) -> Vec<Lookup> {
        let mut lookups = self.query.lookups();
        lookups.extend(
            self.author
                .map(|author| Lookup::OneOf(vec![model::author(author)])),
        );
        lookups.extend(self.has.map(|has| match has {
            Has::Link => Lookup::OneOf(vec![model::LINK.to_owned()]),
            Has::Attachment => Lookup::OneOf(vec![model::ATTACHMENT.to_owned()]),
        }));
        lookups.extend(self.mentions.map(|Mentions::Me| {
            // Which roles count is looked at in each conversation, and in each message. Of the roles of
            // spaces any one finds all.
            let mentions = [
                Mention::User(self.asker),
                Mention::Everyone,
                Mention::Role(MentionedRole::Admin),
                Mention::Role(MentionedRole::Owner),
            ];
            let mut tokens: Vec<String> = mentions.into_iter().filter_map(model::mention).collect();
            if !self.roles.is_empty() {
                tokens.push(model::ROLE.to_owned());
            }
            Lookup::OneOf(tokens)
        }));
        lookups
    }

    /// How a message matches, in the wording that the asker sees; `None` if it does not.
    fn matches(&self, message: &Message, sight: &Sight) -> Option<Match> {
        if message.deleted_seq.is_some() || message.system.is_some() {
            return None;
        }
        let body = message.wording.body.as_deref()?;
        let is_wanted = self.author.is_none_or(|author| message.author == author)
            && self.after.is_none_or(|after| message.sent_at >= after)
            && self.before.is_none_or(|before| message.sent_at < before)
            && self.has.is_none_or(|has| match has {
                Has::Link => model::has_link(body),
                // Those without were left out when they were loaded.
                Has::Attachment => true,
            })
            && self
                .mentions
                .is_none_or(|Mentions::Me| self.is_called(message, sight.latest().role));
        if !is_wanted {
            return None;
        }
        self.query.matches(body)
    }

    /// Whether a message of somebody else calls the asker, who has this role in its conversation.
    fn is_called(&self, message: &Message, role: Role) -> bool {
        let Some(AsJson(mentions)) = &message.mentions else {
            return false;
        };
        let calls = |mention: &Mention| match mention {
            Mention::User(user) => *user == self.asker,
            Mention::Everyone => true,
            // It counts for nobody later.
            Mention::Here => false,
            Mention::Role(MentionedRole::Admin) => matches!(role, Role::Admin | Role::Owner),
            Mention::Role(MentionedRole::Owner) => role == Role::Owner,
            Mention::SpaceRole(role) => self.roles.contains(role),
        };
        message.author != self.asker && mentions.iter().any(calls)
    }
}

async fn newest_page(
    snapshot: &mut Snapshot,
    search: &Search,
    sights: &BTreeMap<ConversationId, Sight>,
    cursor: Option<Cursor>,
    limit: usize,
) -> Result<(Vec<Hit>, Option<Cursor>), Problem> {
    let below = cursor.map_or(Position(u64::MAX), Cursor::below);
    let Found { mut hits, mut next } =
        newest::find(snapshot, search, sights, below, limit + 1).await?;
    if hits.len() > limit {
        hits.truncate(limit);
        next = hits.last().map(|hit| hit.message.position);
    }
    Ok((hits, next.map(|below| Cursor::Newest { below })))
}

async fn relevant_page(
    snapshot: &mut Snapshot,
    search: &Search,
    sights: &BTreeMap<ConversationId, Sight>,
    cursor: Option<Cursor>,
    limit: usize,
) -> Result<(Vec<Hit>, Option<Cursor>), Problem> {
    // What comes later does not change the pages of a search that has begun.
    let (below, skip) = match cursor {
        Some(cursor) => (cursor.below(), cursor.skip()),
        None => (Position(snapshot.position().0.saturating_add(1)), 0),
    };
    let mut hits = newest::find(snapshot, search, sights, below, RANKED_MAX)
        .await?
        .hits;
    let newest = hits.first().map(|hit| hit.message.sent_at);
    let score = |hit: &Hit| newest.map_or(0.0, |newest| score(hit, newest));
    // Sorting keeps those of one score newest first.
    hits.sort_by(|one, other| score(other).total_cmp(&score(one)));
    let shown = skip.saturating_add(limit);
    let next = (hits.len() > shown).then_some(Cursor::Relevance { below, skip: shown });
    Ok((hits.into_iter().skip(skip).take(limit).collect(), next))
}

/// How much a message says of what is looked for: after BM25, in which all messages have every term, so
/// that the rarity of terms makes no difference; a message that is newer by a month counts a little more.
#[expect(
    clippy::cast_precision_loss,
    reason = "a message has few words, and a score is no exact thing"
)]
fn score(hit: &Hit, newest: DateTime<Utc>) -> f64 {
    const SATURATION: f64 = 1.2;
    const LENGTH_WEIGHT: f64 = 0.75;
    const USUAL_LENGTH: f64 = 20.0;
    const AGE_WEIGHT: f64 = 0.5;
    const MONTH_S: f64 = 30.0 * 86_400.0;
    let length = hit.found.length as f64 / USUAL_LENGTH;
    let damped = SATURATION * (1.0 - LENGTH_WEIGHT + LENGTH_WEIGHT * length);
    let said: f64 = hit
        .found
        .occurrences
        .iter()
        .map(|count| *count as f64)
        .map(|count| count * (SATURATION + 1.0) / (count + damped))
        .sum();
    let age = (newest - hit.message.sent_at).num_seconds().max(0) as f64 / MONTH_S;
    said * (1.0 + AGE_WEIGHT / (1.0 + age))
}

/// The hits as the asker sees them, in their order.
async fn shown_hits(
    snapshot: &mut Snapshot,
    asker: UserId,
    sights: &BTreeMap<ConversationId, Sight>,
    signer: &Signer,
    hits: Vec<Hit>,
) -> Result<Vec<SearchHit>, Problem> {
    let mut by_conversation: BTreeMap<ConversationId, Vec<Message>> = BTreeMap::new();
    let mut order = Vec::with_capacity(hits.len());
    for Hit { message, found } in hits {
        let body = message.wording.body.as_deref().unwrap_or_default();
        let highlights = shown::highlights(body, &found.spans);
        let snippet = Snippet::of(body, &found.spans);
        order.push((message.conversation, message.seq, highlights, snippet));
        let messages = by_conversation.entry(message.conversation).or_default();
        messages.push(message);
    }
    let mut shown: BTreeMap<(ConversationId, Seq), MessageView> = BTreeMap::new();
    for (conversation, messages) in by_conversation {
        let Some(sight) = sights.get(&conversation) else {
            continue;
        };
        for view in views(snapshot, conversation, asker, sight, signer, messages).await? {
            shown.insert((conversation, view.seq), view);
        }
    }
    let hits = order
        .into_iter()
        .filter_map(|(conversation, seq, highlights, snippet)| {
            Some(SearchHit {
                conversation,
                message: shown.remove(&(conversation, seq))?,
                highlights,
                snippet,
            })
        });
    Ok(hits.collect())
}
