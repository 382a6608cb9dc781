//! Which channels a space has, what they are called and where they stand.

use axum::extract::State;
use domain::space::{Act, ChannelKind};
use domain::{CategoryId, Change, ConversationId, SpaceId};
use infra::commands::Accepted;
use infra::http::{Body, InPath};
use infra::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Asked, SpaceProblems, title_of};
use crate::CommandApi;
use crate::answer::{Answer, Answered};
use crate::asking::{Asked as AskedBy, Asking};

/// The channel to create.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateChannel {
    /// What it is called: 1 to 120 characters.
    name: String,
    /// Text or voice.
    kind: ChannelKind,
    /// Under which category it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    category: Option<CategoryId>,
    /// Where it stands there, among others with higher and lower numbers.
    #[serde(default)]
    position: u16,
}

/// What to change: the name, or where it stands, because each is a command of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeChannel {
    /// The new name: 1 to 120 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Under which category it stands; `null` is none. Together with `position`.
    #[serde(default, skip_serializing_if = "Change::is_keep")]
    #[schema(value_type = Option<CategoryId>)]
    category: Change<CategoryId>,
    /// Where it stands there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    position: Option<u16>,
}

/// Creates a channel.
pub(crate) async fn create_channel(
    api: &CommandApi,
    asking: Asking,
    space: SpaceId,
    request: CreateChannel,
) -> Result<Answer, Problem> {
    let channel = ConversationId::channel(space, asking.command);
    let act = Act::CreateChannel {
        channel,
        kind: request.kind,
        name: title_of(&request.name)?,
        category: request.category,
        position: request.position,
    };
    let asked = Asked {
        thing: channel.0,
        name: "create_channel",
        fields: &request,
    };
    api.rule(asking, space, act, asked).await
}

/// Gives a channel another name, or puts it elsewhere.
pub(crate) async fn change_channel(
    api: &CommandApi,
    asking: Asking,
    space: SpaceId,
    channel: ConversationId,
    request: ChangeChannel,
) -> Result<Answer, Problem> {
    let act = match (&request.name, &request.category, request.position) {
        (Some(name), Change::Keep, None) => Act::RenameChannel {
            channel,
            name: title_of(name)?,
        },
        (None, Change::Clear | Change::Set(_), Some(position)) => Act::MoveChannel {
            channel,
            category: request.category.apply(None),
            position,
        },
        (None | Some(_), _, _) => {
            let rule = "give either name, or category and position";
            return Err(Problem::invalid_field("", "one_of", rule));
        }
    };
    let asked = Asked {
        thing: channel.0,
        name: "change_channel",
        fields: &(channel, &request),
    };
    api.rule(asking, space, act, asked).await
}

/// Removes a channel.
pub(crate) async fn remove_channel(
    api: &CommandApi,
    asking: Asking,
    space: SpaceId,
    channel: ConversationId,
) -> Result<Answer, Problem> {
    let asked = Asked {
        thing: channel.0,
        name: "remove_channel",
        fields: &channel,
    };
    api.rule(asking, space, Act::RemoveChannel { channel }, asked)
        .await
}

/// Create a channel
///
/// A channel is a conversation: the answer's `id` is the conversation's.
#[utoipa::path(
    post,
    path = "/v1/spaces/{space}/channels",
    tag = "spaces",
    request_body = CreateChannel,
    params(
        ("space" = SpaceId, Path, description = "Where"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses((status = 201, body = Accepted, description = "It is created"), SpaceProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn post(
    State(api): State<CommandApi>,
    asked: AskedBy,
    InPath(space): InPath<SpaceId>,
    Body(request): Body<CreateChannel>,
) -> Result<Answered, Problem> {
    let created = create_channel(&api, asked.asking, space, request);
    Ok(created.await?.created())
}

/// Rename or move a channel
#[utoipa::path(
    patch,
    path = "/v1/spaces/{space}/channels/{channel}",
    tag = "spaces",
    request_body = ChangeChannel,
    params(
        ("space" = SpaceId, Path, description = "Where"),
        ("channel" = ConversationId, Path, description = "Which"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses((status = 200, body = Accepted, description = "It is so, or was already"), SpaceProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn patch(
    State(api): State<CommandApi>,
    asked: AskedBy,
    InPath((space, channel)): InPath<(SpaceId, ConversationId)>,
    Body(request): Body<ChangeChannel>,
) -> Result<Answered, Problem> {
    let changed = change_channel(&api, asked.asking, space, channel, request);
    Ok(changed.await?.ok())
}

/// Remove a channel
///
/// For ever. Who was in it may still read what they saw.
#[utoipa::path(
    delete,
    path = "/v1/spaces/{space}/channels/{channel}",
    tag = "spaces",
    params(
        ("space" = SpaceId, Path, description = "Where"),
        ("channel" = ConversationId, Path, description = "Which"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses((status = 200, body = Accepted, description = "It is removed"), SpaceProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn delete(
    State(api): State<CommandApi>,
    asked: AskedBy,
    InPath((space, channel)): InPath<(SpaceId, ConversationId)>,
) -> Result<Answered, Problem> {
    let removed = remove_channel(&api, asked.asking, space, channel);
    Ok(removed.await?.ok())
}
