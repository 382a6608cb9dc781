//! Invites: making and revoking them, and coming in by one. Of a code that leads nowhere and of one that
//! is not good any more the same is said; 128 bits are not guessed.

use std::fmt;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, TimeDelta, Utc};
use domain::space::{Act, Refused, SpaceEvent};
use domain::{Event, InviteId, Position, Seq, SpaceId, StreamName};
use infra::commands::Accepted;
use infra::http::{Body, InPath};
use infra::invites::InviteKeys;
use infra::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Asked, SpaceProblems};
use crate::CommandApi;
use crate::answer::{Answer, Answered};
use crate::asking::{Asked as AskedBy, Asking};

/// The longest that an invite with an end lasts, in seconds: a year.
const LIFETIME_S_MAX: u32 = 365 * 24 * 60 * 60;

/// The invite to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateInvite {
    /// After how many seconds it ends: 1 to 31,536,000. Without it, when it is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_in_s: Option<u32>,
    /// How many may come in by it: at least 1. Without it any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uses_max: Option<u32>,
}

/// An invite's code. It is shown here and nowhere else, and to the retries of the command.
#[derive(Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct CreatedInvite {
    /// Names the invite, to revoke it.
    id: InviteId,
    /// For whoever is to come in: `POST /v1/invites/{code}`. It begins with `vi_`.
    code: String,
    /// When it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<DateTime<Utc>>,
    /// How many may come in by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    uses_max: Option<u32>,
    /// Version of the command's event in the space's stream.
    seq: Seq,
    /// Position in the log of the command's event.
    position: Position,
}

impl fmt::Debug for CreatedInvite {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "CreatedInvite({})", self.id)
    }
}

impl CreateInvite {
    fn check(self) -> Result<(), Problem> {
        let wrong = |pointer, rule| Err(Problem::invalid_field(pointer, "out_of_range", rule));
        if (self.expires_in_s).is_some_and(|it| !(1..=LIFETIME_S_MAX).contains(&it)) {
            return wrong(
                "/expires_in_s",
                "an invite lasts from 1 to 31536000 seconds",
            );
        }
        if self.uses_max == Some(0) {
            return wrong("/uses_max", "an invite is good for one at least");
        }
        Ok(())
    }
}

async fn create_invite(
    api: &CommandApi,
    asking: Asking,
    space: SpaceId,
    request: CreateInvite,
) -> Result<CreatedInvite, Problem> {
    request.check()?;
    let invite = InviteId::created_by(asking.command);
    let code = api.invite_keys().code(space, invite);
    let at = api.clock().now();
    let lifetime = request.expires_in_s.map(|it| TimeDelta::seconds(it.into()));
    let act = Act::CreateInvite {
        invite,
        hash: api.invite_keys().hash(&code),
        at,
        expires_at: lifetime.map(|lifetime| at + lifetime),
        uses_max: request.uses_max,
    };
    let asked = Asked {
        thing: invite.0,
        name: "create_invite",
        fields: &request,
    };
    let accepted = api.rule(asking, space, act, asked).await?.accepted;
    let expires_at = match lifetime {
        None => None,
        // Of a retry, the one of the first try.
        Some(_) => expiry(api, space, invite, accepted.seq).await?,
    };
    Ok(CreatedInvite {
        id: invite,
        code,
        expires_at,
        uses_max: request.uses_max,
        seq: accepted.seq,
        position: accepted.position,
    })
}

/// When `invite` ends, which a command made that was answered with `seq`: of one that was over before a
/// late retry asked, the command's own event says so, as long as that is what `seq` is of.
async fn expiry(
    api: &CommandApi,
    space: SpaceId,
    invite: InviteId,
    seq: Seq,
) -> Result<Option<DateTime<Utc>>, Problem> {
    let state = api.space_now(space).await?;
    let there = state.space.as_ref().and_then(|it| it.invites.get(&invite));
    if let Some(there) = there {
        return Ok(there.expires_at);
    }
    let stream = StreamName::space(space);
    match api.event_at(&stream, seq).await? {
        Some((Event::Space(SpaceEvent::InviteCreated(created)), _)) if created.invite == invite => {
            Ok(created.expires_at)
        }
        _ => Err(Problem::refused(&Refused::InviteNotFound)),
    }
}

/// Makes an invite worth nothing.
pub(crate) async fn revoke_invite(
    api: &CommandApi,
    asking: Asking,
    space: SpaceId,
    invite: InviteId,
) -> Result<Answer, Problem> {
    let asked = Asked {
        thing: invite.0,
        name: "revoke_invite",
        fields: &invite,
    };
    api.rule(asking, space, Act::RevokeInvite { invite }, asked)
        .await
}

/// Comes in by an invite.
pub(crate) async fn use_invite(
    api: &CommandApi,
    asking: Asking,
    code: String,
) -> Result<Answer, Problem> {
    let space = InviteKeys::space_of(&code);
    let space = space.ok_or_else(|| Problem::refused(&Refused::InviteNotFound))?;
    let hash = api.invite_keys().hash(&code);
    let asked = Asked {
        thing: space.0,
        name: "use_invite",
        fields: &hash.clone(),
    };
    let at = api.clock().now();
    api.rule(asking, space, Act::UseInvite { hash, at }, asked)
        .await
}

/// Invite people
#[utoipa::path(
    post,
    path = "/v1/spaces/{space}/invites",
    tag = "spaces",
    request_body = CreateInvite,
    params(
        ("space" = SpaceId, Path, description = "Where to"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses((status = 201, body = CreatedInvite, description = "The code, which is not shown again"), SpaceProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn post(
    State(api): State<CommandApi>,
    asked: AskedBy,
    InPath(space): InPath<SpaceId>,
    Body(request): Body<CreateInvite>,
) -> Result<(StatusCode, Json<CreatedInvite>), Problem> {
    let created = create_invite(&api, asked.asking, space, request).await?;
    Ok((StatusCode::CREATED, Json(created)))
}

/// Revoke an invite
///
/// Its maker may, and who has `manage_space`.
#[utoipa::path(
    delete,
    path = "/v1/spaces/{space}/invites/{invite}",
    tag = "spaces",
    params(
        ("space" = SpaceId, Path, description = "Where"),
        ("invite" = InviteId, Path, description = "Which"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses((status = 200, body = Accepted, description = "It is worth nothing"), SpaceProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn delete(
    State(api): State<CommandApi>,
    asked: AskedBy,
    InPath((space, invite)): InPath<(SpaceId, InviteId)>,
) -> Result<Answered, Problem> {
    Ok(revoke_invite(&api, asked.asking, space, invite).await?.ok())
}

/// Join a space by an invite
///
/// The answer's `id` names the space.
#[utoipa::path(
    post,
    path = "/v1/invites/{code}",
    tag = "spaces",
    params(
        ("code" = String, Path, description = "The invite's code"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses((status = 200, body = Accepted, description = "The asker is in it, or was already"), SpaceProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn post_use(
    State(api): State<CommandApi>,
    asked: AskedBy,
    InPath(code): InPath<String>,
) -> Result<Answered, Problem> {
    Ok(use_invite(&api, asked.asking, code).await?.ok())
}
