//! `GET /v1/users/me/export`: what the log holds of the asker, as they may see it. One JSON object a
//! line, in the order of the log; read page by page, so that memory does not grow with it. That it was
//! taken out is itself put into the log first.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, Utc};
use domain::attachment::AttachmentEvent;
use domain::audit::{AuditEvent, Exported};
use domain::conversation::{ConversationEvent, Started};
use domain::notifications::NotificationsEvent;
use domain::receipts::ReceiptsEvent;
use domain::session::SessionEvent;
use domain::space::{SpaceEvent, Target};
use domain::user::UserEvent;
use domain::{Actor, Event, Metadata, Position, StreamName, UserId, Version};
use futures::stream::StreamExt as _;
use infra::event_store::{EventStore, RecordedEvent};
use infra::failure::Failure;
use infra::http::Authenticated;
use infra::problem::Problem;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::QueryApi;
use crate::answers::ReadProblems;
use crate::replay::{Lines, record};

/// Events read at once: what a slow reader holds in memory.
const PAGE: usize = 2_000;

/// Exports of one process that are under way; one more is 503 `busy`.
const UNDER_WAY_MAX: usize = 64;

static PLACES: Semaphore = Semaphore::const_new(UNDER_WAY_MAX);

/// Of those, how many read the log at the same time. A turn ends with each page, so that who reads slowly
/// keeps nobody waiting.
const AT_ONCE_MAX: usize = 2;

static TURNS: Semaphore = Semaphore::const_new(AT_ONCE_MAX);

/// An event of the asker's.
#[derive(Serialize)]
struct Line<'a> {
    position: Position,
    stream: &'a StreamName,
    version: Version,
    r#type: &'a str,
    /// When it happened.
    at: DateTime<Utc>,
    /// By whom: an actor.
    by: Actor,
    data: Value,
}

struct Cursor {
    store: Arc<dyn EventStore>,
    after: Position,
    up_to: Position,
    of: UserId,
    /// How the id stands in whatever is theirs.
    id: String,
    _place: SemaphorePermit<'static>,
}

impl Cursor {
    /// The lines of the next page that has any; `None` after the last.
    async fn lines(&mut self) -> Result<Option<Bytes>, Failure> {
        let turn = TURNS.acquire().await;
        let _turn = turn.map_err(|error| Failure::internal("wait for a turn", error))?;
        while self.after < self.up_to {
            let page = self.store.read_all(self.after, PAGE).await?;
            let Some(last) = page.last() else { break };
            self.after = last.position;
            let mut lines = Vec::new();
            for recorded in &page {
                if recorded.position <= self.up_to && self.may_be_theirs(recorded) {
                    self.write(&mut lines, recorded)?;
                }
            }
            if !lines.is_empty() {
                return Ok(Some(lines.into()));
            }
        }
        Ok(None)
    }

    /// A quick look that spares most events the reading: what is theirs has their id somewhere.
    fn may_be_theirs(&self, recorded: &RecordedEvent) -> bool {
        let has = |bytes: &[u8]| std::str::from_utf8(bytes).is_ok_and(|it| it.contains(&self.id));
        let is_ours = !recorded.is_foreign() && recorded.stream.is_of_domain();
        is_ours
            && (recorded.stream.key() == self.id || has(&recorded.metadata) || has(&recorded.data))
    }

    fn write(&self, lines: &mut Vec<u8>, recorded: &RecordedEvent) -> Result<(), Failure> {
        const WHAT: &str = "write a user's own event";
        // What cannot be read is parked by the projections too, and told to the operator there.
        let (Ok(event), Ok(metadata)) = (recorded.event(), recorded.metadata()) else {
            return Ok(());
        };
        let failed = |error| Failure::internal(WHAT, error);
        let Some(data) = self.shown(recorded, &event, &metadata).map_err(failed)? else {
            return Ok(());
        };
        let line = Line {
            position: recorded.position,
            stream: &recorded.stream,
            version: recorded.version,
            r#type: &recorded.event_type,
            at: metadata.occurred_at.unwrap_or(recorded.recorded_at),
            by: metadata.actor,
            data,
        };
        serde_json::to_writer(&mut *lines, &line).map_err(failed)?;
        lines.push(b'\n');
        Ok(())
    }

    /// What they see of an event; `None` where it is not theirs. Secrets are left out, and other people
    /// where the event is not about them.
    fn shown(
        &self,
        recorded: &RecordedEvent,
        event: &Event,
        metadata: &Metadata,
    ) -> Result<Option<Value>, serde_json::Error> {
        let by_them = metadata.actor == Actor::User(self.of);
        let is_theirs = match event {
            Event::User(UserEvent::PasswordSet(_)) => {
                return Ok((recorded.stream.key() == self.id).then(|| json!({})));
            }
            Event::User(UserEvent::CodeIssued(issued)) => {
                let shown = json!({ "purpose": issued.purpose, "expires_at": issued.expires_at });
                return Ok((recorded.stream.key() == self.id).then_some(shown));
            }
            Event::Session(SessionEvent::Opened(opened)) => {
                let shown = json!({
                    "expires_at": opened.expires_at,
                    "device": opened.device,
                    "address": opened.address,
                    "amr": opened.amr,
                });
                return Ok((opened.user == self.of).then_some(shown));
            }
            Event::Session(SessionEvent::Refreshed(refreshed)) => {
                let shown = json!({ "device": refreshed.device, "address": refreshed.address });
                return Ok(by_them.then_some(shown));
            }
            Event::Conversation(ConversationEvent::Started(started)) => {
                return Ok(self.started(started));
            }
            // Channels follow a space in the name of whoever changed that last: what is said there of
            // others is not theirs, and what they did stands in the space.
            Event::Conversation(event) if metadata.causation_id.is_some() => self.is_in(event),
            Event::Conversation(event) => self.is_in(event) || by_them,
            Event::Space(SpaceEvent::InviteCreated(created)) => {
                let shown = json!({
                    "invite": created.invite,
                    "expires_at": created.expires_at,
                    "uses_max": created.uses_max,
                });
                return Ok((created.by == self.of).then_some(shown));
            }
            // Why they are banned is the words of who did it.
            Event::Space(SpaceEvent::MemberBanned(banned)) if !by_them => {
                let shown = json!({ "user": banned.user, "by": banned.by });
                return Ok((banned.user == self.of).then_some(shown));
            }
            Event::Space(event) => self.concerns(event) || by_them,
            Event::Receipts(ReceiptsEvent::Delivered(mark) | ReceiptsEvent::Seen(mark)) => {
                mark.member == self.of
            }
            Event::Receipts(ReceiptsEvent::ThreadSeen(mark)) => mark.member == self.of,
            Event::Attachment(AttachmentEvent::Uploaded(uploaded)) => uploaded.owner == self.of,
            Event::Session(SessionEvent::Revoked(_))
            | Event::Audit(_)
            | Event::Attachment(AttachmentEvent::Removed(_) | AttachmentEvent::Erased(_)) => {
                by_them
            }
            Event::Notifications(NotificationsEvent::PushSubscriptionAdded(added)) => {
                let shown = json!({ "subscription": added.subscription, "session": added.session });
                return Ok((recorded.stream.key() == self.id).then_some(shown));
            }
            Event::User(_) | Event::Notifications(_) => recorded.stream.key() == self.id,
            // Names of accounts and addresses stand in the account, and what was mailed too; services
            // have no people.
            Event::Reservation(_)
            | Event::Service(_)
            | Event::Owners(_)
            | Event::Mail(_)
            | Event::Pushes(_) => false,
        };
        if !is_theirs {
            return Ok(None);
        }
        serde_json::from_slice(&recorded.data).map(Some)
    }

    /// A conversation that began with them, without the others.
    fn started(&self, started: &Started) -> Option<Value> {
        let member = started.members.iter().find(|it| it.user == self.of)?;
        Some(json!({
            "kind": started.kind,
            "title": started.title.as_ref().map(|title| &title.value),
            "role": member.role,
            "history_visibility": started.history_visibility,
        }))
    }

    /// Whether an event of a space is about them, whoever caused it.
    fn concerns(&self, event: &SpaceEvent) -> bool {
        match event {
            SpaceEvent::MemberJoined(joined) => joined.user == self.of,
            SpaceEvent::MemberLeft(left) => left.user == self.of,
            SpaceEvent::MemberKicked(kicked) => kicked.user == self.of,
            SpaceEvent::RoleAssigned(given) | SpaceEvent::RoleWithdrawn(given) => {
                given.user == self.of
            }
            SpaceEvent::OwnershipTransferred(transferred) => transferred.to == self.of,
            SpaceEvent::MemberBanned(banned) => banned.user == self.of,
            SpaceEvent::MemberUnbanned(unbanned) => unbanned.user == self.of,
            SpaceEvent::OverrideSet(set) => set.target == Target::Member(self.of),
            SpaceEvent::InviteUsed(used) => used.user == self.of,
            SpaceEvent::Created(_)
            | SpaceEvent::Renamed(_)
            | SpaceEvent::JoiningChanged(_)
            | SpaceEvent::Archived(_)
            | SpaceEvent::Unarchived(_)
            | SpaceEvent::ChannelCreated(_)
            | SpaceEvent::ChannelRenamed(_)
            | SpaceEvent::ChannelMoved(_)
            | SpaceEvent::ChannelRemoved(_)
            | SpaceEvent::CategoryCreated(_)
            | SpaceEvent::CategoryChanged(_)
            | SpaceEvent::CategoryRemoved(_)
            | SpaceEvent::RoleDefined(_)
            | SpaceEvent::RoleChanged(_)
            | SpaceEvent::RoleRemoved(_)
            | SpaceEvent::InviteCreated(_)
            | SpaceEvent::InviteRevoked(_) => false,
        }
    }

    /// Whether an event is about them, whoever caused it.
    fn is_in(&self, event: &ConversationEvent) -> bool {
        let whose = match event {
            ConversationEvent::MemberAdded(added) => added.user,
            ConversationEvent::MemberRemoved(removed) => removed.user,
            ConversationEvent::MemberLeft(left) => left.user,
            ConversationEvent::MemberRoleChanged(changed) => changed.user,
            ConversationEvent::MessageSent(sent) => sent.author,
            ConversationEvent::MessageEdited(edited) => edited.said.of(),
            ConversationEvent::MessageDeleted(deleted) => deleted.by,
            ConversationEvent::ReactionAdded(reaction)
            | ConversationEvent::ReactionRemoved(reaction) => reaction.member,
            ConversationEvent::Renamed(renamed) => renamed.title.of,
            ConversationEvent::ThreadFollowed(changed)
            | ConversationEvent::ThreadUnfollowed(changed) => changed.member,
            ConversationEvent::MessagePinned(changed)
            | ConversationEvent::MessageUnpinned(changed) => changed.by,
            ConversationEvent::Archived(changed) | ConversationEvent::Unarchived(changed) => {
                changed.by
            }
            ConversationEvent::Started(_)
            | ConversationEvent::SettingsChanged(_)
            | ConversationEvent::SpaceFollowed(_) => return false,
        };
        whose == self.of
    }
}

/// What the log holds of `of`, after it was put on the record that they take it out.
async fn lines(
    store: Arc<dyn EventStore>,
    of: UserId,
    place: SemaphorePermit<'static>,
) -> Result<Lines, Failure> {
    let up_to = *store.head().borrow();
    let exported = AuditEvent::Exported(Exported { of });
    record(&*store, Actor::User(of), exported).await?;
    let cursor = Cursor {
        store,
        after: Position::ZERO,
        up_to,
        of,
        id: of.to_string(),
        _place: place,
    };
    let lines = futures::stream::try_unfold(cursor, |mut cursor| async move {
        Ok(cursor.lines().await?.map(|lines| (lines, cursor)))
    });
    Ok(lines.boxed())
}

/// My data
///
/// What the log holds of the asker, one JSON object a line, in the order of the log: account, profile,
/// preferences, blocks, of what they want to be told, logins, memberships, what they said, edited, took back and reacted, and their
/// marks. Each line has position, stream, version, type, at, by and data. Neither secrets nor what
/// others said. That it was taken out is itself put into the log first.
#[utoipa::path(
    get,
    path = "/v1/users/me/export",
    tag = "users",
    responses(
        (status = 200, description = "One event a line", body = String, content_type = "application/x-ndjson"),
        (status = 507, description = "`storage_full`: it cannot be put on the record", body = Problem, content_type = "application/problem+json"),
        ReadProblems,
        (status = 503, description = "`busy`: others export at the moment; `unavailable`; with Retry-After", body = Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = []))
)]
pub(crate) async fn export(
    State(api): State<QueryApi>,
    Authenticated(caller): Authenticated,
) -> Result<Response, Problem> {
    let place = PLACES.try_acquire().map_err(|_| {
        let title = "Too many exports are running";
        let mut problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", title);
        problem.retry_after_s = Some(10);
        problem
    })?;
    let lines = lines(Arc::clone(&api.store), caller.user, place).await?;
    let content_type = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((content_type, Body::from_stream(lines)).into_response())
}
