//! What one connection gets to see: the events of the conversations of its user, in the order of
//! the log, each once, from the rings where they are and from the log where not.
//!
//! At any time everything up to `sent` that the user may see has been sent, and nothing after it.
//! Whether the user is in a conversation is decided while its events go by: the event that takes
//! them in is the first to be sent, the one that puts them out the last.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use domain::audit::{AuditEvent, Replayed, Selection};
use domain::{
    Actor, CommandId, ConversationId, Metadata, Position, Seq, StreamName, UserId, Version,
};
use infra::auth::{Caller, NotLetIn};
use infra::clock::fresh_id;
use infra::event_store::{AppendError, Direction, EventStore, Expected, NewEvent, version_of};
use infra::failure::Failure;
use infra::http::service_not_allowed;
use infra::problem::Problem;
use sha2::{Digest as _, Sha256};

use crate::cursor::CursorTag;
use crate::entry::{Entry, Outgoing};
use crate::frames::{Activity, Close, ResetReason, ServerFrame, Subscribe};
use crate::gateway::Gateway;
use crate::hub::Registration;
use crate::mailbox::Mailbox;
use crate::memberships::{Membership, MembershipsAt, MembershipsError};
use crate::replay::{Located, Part, Replay, Step, Want};

/// How long a cursor may be ahead of the log as this process sees it, before it is taken for one
/// of another log.
const AHEAD_WITHIN: Duration = Duration::from_secs(2);

/// Subscriptions with `after_seq` that may wait for one another.
const REREADS_WAITING_MAX: usize = 32;

/// Later than any seq there will be, and still a number that every store can compare with.
const AFTER_SEQ_MAX: Seq = Version(u32::MAX as u64);

/// One connection's view of the log.
pub(crate) struct Feed {
    gateway: Arc<Gateway>,
    registration: Registration,
    tag: CursorTag,
    sent: Position,
    watched: HashMap<ConversationId, Watch>,
    backlog: VecDeque<Backlog>,
    /// A ring had more than the watermark allowed: look again once it is past this.
    again_after: Option<Position>,
    /// What the user does on this connection, once it counts.
    activity: Option<Activity>,
    /// Up to here it is known from elsewhere which conversations the user is in.
    known_up_to: Position,
}

/// A conversation that is followed.
#[derive(Clone, Copy, Debug, Default)]
struct Watch {
    /// The user is a member.
    inside: bool,
    /// The user asked not to get it here.
    muted: bool,
    /// The user looks at it as an auditor.
    auditing: bool,
}

/// What has to be read from the log before going on with the rings.
enum Backlog {
    /// What was missed. Moves `sent`.
    Replay { replay: Replay, why: Why },
    /// Something that is sent once more, up to `sent`.
    Reread(Reread),
}

/// Why there is a replay.
enum Why {
    /// The client came with a cursor; its user is in these conversations.
    Resumed(Vec<ConversationId>),
    /// A ring no longer had what was to be sent.
    FellOff,
}

struct Reread {
    conversation: ConversationId,
    /// What is read next; nothing is, where the client did not ask for what was before.
    next: Option<Version>,
    /// First and last version of each part that may be seen.
    parts: Vec<(Version, Version)>,
}

/// Why a connection gets no feed.
#[derive(Debug)]
pub(crate) enum Refused {
    /// It may try again on the same connection.
    Problem(Box<Problem>),
    /// It has to end.
    Close(Close, Box<Problem>),
}

/// Why a feed ends.
#[derive(Debug)]
pub(crate) enum Ended {
    Close(Close),
    Failure(Failure),
}

impl Reread {
    /// Reads the next page, up to `sent`. Returns whether that was all.
    async fn read(
        &mut self,
        store: &dyn EventStore,
        limit: usize,
        sent: Position,
        out: &mut Vec<Outgoing>,
    ) -> Result<bool, Failure> {
        let Some(next) = self.next else {
            return Ok(true);
        };
        let stream = StreamName::conversation(self.conversation);
        let page = store
            .read_stream(&stream, next, Direction::Forward, limit)
            .await?;
        let mut done = page.len() < limit;
        for recorded in page {
            self.next = Some(recorded.version.next());
            done |= recorded.position > sent;
            let version = recorded.version;
            let mut parts = self.parts.iter();
            let visible = parts.any(|part| part.0 <= version && version <= part.1);
            if visible && recorded.position <= sent {
                let entry = Entry::encode(&recorded).map(Arc::new);
                out.extend(entry.map(|entry| Outgoing::Event(entry, sent)));
            }
        }
        Ok(done)
    }
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<MembershipsError> for Refused {
    fn from(error: MembershipsError) -> Self {
        Self::Close(Close::TryAgain, Box::new(problem_of(error)))
    }
}

fn problem_of(error: MembershipsError) -> Problem {
    match error {
        MembershipsError::Behind => {
            Failure::unavailable("look up memberships", MembershipsError::Behind).into()
        }
        MembershipsError::Failure(failure) => failure.into(),
    }
}

/// Lets the holder of `token` in, who does as `activity` says: their feed, its first frames, and who they
/// are.
pub(crate) async fn admit(
    gateway: &Arc<Gateway>,
    token: &str,
    cursor: Option<&str>,
    activity: Activity,
) -> Result<(Feed, Vec<Outgoing>, Caller), Refused> {
    let not_let_in = |why: NotLetIn| {
        let close = match &why {
            NotLetIn::Problem(problem) if problem.status().is_server_error() => Close::TryAgain,
            NotLetIn::Token(_) | NotLetIn::Suspended { .. } | NotLetIn::Problem(_) => {
                Close::Unauthenticated
            }
            NotLetIn::Failure(_) => Close::TryAgain,
        };
        Refused::Close(close, Box::new(why.into()))
    };
    let caller = gateway.guard.caller(token).await.map_err(not_let_in)?;
    if !caller.is_user() {
        let problem = Box::new(service_not_allowed());
        return Err(Refused::Close(Close::Unauthenticated, problem));
    }
    let mailbox = Mailbox::new(caller.user, caller.session, caller.login_epoch);
    let mailbox = Arc::new(mailbox);
    let registration = gateway.hub.register(mailbox);
    // From here on the hub tells of what shuts the caller out. What came before shows in the log.
    let caller = gateway.guard.caller_as_of_now(token).await;
    let caller = caller.map_err(not_let_in)?;
    let (feed, first) = Feed::begin(gateway, registration, &caller, cursor, activity).await?;
    Ok((feed, first, caller))
}

impl Feed {
    /// Begins a feed for `caller`, from `cursor` or from now. Returns it with its first frames.
    async fn begin(
        gateway: &Arc<Gateway>,
        registration: Registration,
        caller: &Caller,
        cursor: Option<&str>,
        activity: Activity,
    ) -> Result<(Self, Vec<Outgoing>), Refused> {
        let tag = gateway.cursors.tag_of(caller.user);
        let resume_after = match cursor {
            Some(cursor) => Some(opened(gateway, &tag, cursor).await?),
            None => None,
        };
        let mut feed = Self {
            gateway: Arc::clone(gateway),
            registration,
            tag,
            sent: Position::ZERO,
            watched: HashMap::new(),
            backlog: VecDeque::new(),
            again_after: None,
            activity: None,
            known_up_to: Position::ZERO,
        };
        let now = feed.follow_memberships(resume_after).await?;
        let open = now.memberships.iter().filter(|m| m.left.is_none());
        let open: Vec<_> = open.map(|membership| membership.conversation).collect();
        feed.activity = Some(activity);
        feed.known_up_to = now.position;
        let mailbox = feed.registration.mailbox();
        let (choice, at) = (caller.presence, now.position);
        gateway.hub.came(mailbox, choice, activity, &open, at);
        let first = match resume_after {
            None => vec![feed.ready(&now, open)],
            Some(after) => {
                feed.resume(after, now, open);
                Vec::new()
            }
        };
        Ok((feed, first))
    }

    /// Follows every conversation that the user is in, or was in after `resume_after`, and says
    /// which those are. The answer is no older than the moment from which the hub tells of news.
    async fn follow_memberships(
        &mut self,
        resume_after: Option<Position>,
    ) -> Result<MembershipsAt, Refused> {
        let hub = Arc::clone(&self.gateway.hub);
        let user = self.user();
        let memberships = Arc::clone(&self.gateway.memberships);
        let at_least = hub.seen().max(resume_after.unwrap_or(Position::ZERO));
        let ended_after = resume_after.unwrap_or(at_least);
        let first = memberships.of_user(user, ended_after, at_least).await?;
        self.watch_all(&first, resume_after)?;
        let seen = hub.seen();
        if seen <= first.position {
            return Ok(first);
        }
        // Events between the answer and `seen` may have come before the hub knew whom to tell of
        // them. Now it does: ask once more, for everything up to there.
        let second = memberships.of_user(user, ended_after, seen).await?;
        self.watch_all(&second, resume_after)?;
        Ok(second)
    }

    fn watch_all(
        &mut self,
        now: &MembershipsAt,
        resume_after: Option<Position>,
    ) -> Result<(), Refused> {
        for membership in &now.memberships {
            if membership.left.is_none() || resume_after.is_some() {
                self.watch(membership.conversation);
            }
        }
        if self.watched.len() > self.gateway.limits.subscriptions_per_session_max {
            let problem = Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_conversations",
                "You are in more conversations than one connection can follow",
            );
            return Err(Refused::Close(Close::TooMany, Box::new(problem)));
        }
        Ok(())
    }

    fn ready(&mut self, now: &MembershipsAt, conversations: Vec<ConversationId>) -> Outgoing {
        self.sent = now.position;
        for conversation in &conversations {
            if let Some(watch) = self.watched.get_mut(conversation) {
                watch.inside = true;
            }
        }
        let outside: Vec<_> = self.outside().collect();
        self.stop_watching(outside);
        let presence = self.gateway.hub.present_with(self.user());
        Outgoing::Frame(ServerFrame::Ready {
            user: self.user(),
            cursor: self.cursor(),
            online: presence.keys().copied().collect(),
            presence,
            conversations,
        })
    }

    fn resume(&mut self, after: Position, now: MembershipsAt, open: Vec<ConversationId>) {
        metrics::counter!("verbatim_gateway_resumes_total").increment(1);
        self.sent = after;
        // Of what is later the hub tells, also of conversations that are joined later.
        let up_to = now.position.max(after);
        let mut during: HashMap<ConversationId, Vec<Membership>> = HashMap::new();
        for membership in now.memberships {
            during
                .entry(membership.conversation)
                .or_default()
                .push(membership);
        }
        let wants = during
            .into_iter()
            .map(|(conversation, memberships)| Want {
                conversation,
                after,
                part: Part::During(memberships),
            })
            .collect();
        self.push_replay(wants, up_to, Why::Resumed(open));
    }

    fn push_replay(&mut self, wants: Vec<Want>, up_to: Position, why: Why) {
        let replay = Replay::new(
            Arc::clone(&self.gateway.store),
            wants,
            up_to,
            self.gateway.limits.batch_events_max,
        );
        self.backlog.push_back(Backlog::Replay { replay, why });
    }

    /// Whose it is.
    pub(crate) fn user(&self) -> UserId {
        self.registration.mailbox().user
    }

    /// Makes its cursors.
    pub(crate) const fn tag(&self) -> &CursorTag {
        &self.tag
    }

    /// Where it is.
    fn cursor(&self) -> String {
        self.tag.at(self.sent)
    }

    /// Where it is, as far as that can be known without sending anything: on a connection that hears
    /// nothing, others' events have moved the log on.
    pub(crate) fn newest_cursor(&mut self) -> String {
        // In this order: every event up to the watermark was marked before the watermark moved.
        let watermark = self.gateway.hub.watermark();
        if self.backlog.is_empty() && !self.registration.mailbox().has_dirty() {
            self.sent = watermark.max(self.sent);
        }
        self.cursor()
    }

    /// The next frames; waits for some. Safe to cancel: nothing is lost.
    pub(crate) async fn next(&mut self) -> Result<Vec<Outgoing>, Ended> {
        loop {
            if let Some(close) = self.registration.mailbox().closing() {
                return Err(Ended::Close(close));
            }
            let mut out = Vec::new();
            self.take_notices(&mut out);
            let progress = if self.backlog.is_empty() {
                self.drain_rings(&mut out)
            } else {
                if !out.is_empty() {
                    return Ok(out);
                }
                self.read_backlog(&mut out).await?;
                true
            };
            if !out.is_empty() {
                return Ok(out);
            }
            if progress {
                continue;
            }
            let mailbox = self.registration.mailbox();
            match self.again_after {
                None => mailbox.changed().await,
                Some(position) => {
                    tokio::select! {
                        () = mailbox.changed() => {}
                        () = self.gateway.hub.passed(position) => {}
                    }
                }
            }
        }
    }

    fn take_notices(&mut self, out: &mut Vec<Outgoing>) {
        let notices = self.registration.mailbox().take_notices();
        for signal in notices.signals {
            let wanted = signal.conversation.is_none_or(|conversation| {
                let watch = self.watched.get(&conversation);
                watch.is_some_and(|watch| watch.inside && !watch.muted)
            });
            if wanted {
                out.push(Outgoing::Frame(ServerFrame::Signal(signal)));
            }
        }
        if notices.auditor_no_more {
            let mut looked_at = Vec::new();
            for (conversation, watch) in &mut self.watched {
                if std::mem::take(&mut watch.auditing) && !watch.inside {
                    looked_at.push(*conversation);
                }
            }
            self.backlog.retain(|backlog| match backlog {
                Backlog::Reread(reread) => !looked_at.contains(&reread.conversation),
                Backlog::Replay { .. } => true,
            });
            out.extend(looked_at.iter().map(|conversation| {
                Outgoing::Frame(ServerFrame::Reset {
                    conversation: *conversation,
                    reason: ResetReason::RoleRevoked,
                })
            }));
            self.stop_watching(looked_at);
        }
    }

    /// Takes what the rings have. Returns whether it makes sense to try again at once.
    fn drain_rings(&mut self, out: &mut Vec<Outgoing>) -> bool {
        self.again_after = None;
        let hub = Arc::clone(&self.gateway.hub);
        // In this order: every event up to the watermark was marked before the watermark moved.
        let up_to = hub.watermark();
        let mailbox = Arc::clone(self.registration.mailbox());
        if up_to <= self.sent {
            // Whatever is marked already would wake nobody when it is marked again.
            self.again_after = mailbox.has_dirty().then_some(self.sent);
            return false;
        }
        let dirty = mailbox.take_dirty();
        let limit = self.gateway.limits.batch_events_max;
        let mut entries = Vec::new();
        let (mut cut, mut fell_off) = (false, false);
        for conversation in &dirty {
            self.watch(*conversation);
            let found = hub.collect(*conversation, self.sent, up_to, limit, &mut entries);
            cut |= found.cut;
            fell_off |= found.fell_off;
            if found.beyond {
                mailbox.mark(*conversation);
                self.again_after = Some(up_to);
            }
        }
        if fell_off {
            metrics::counter!("verbatim_gateway_log_fallbacks_total").increment(1);
            let after = self.sent;
            let wants = dirty.into_iter().map(|conversation| Want {
                conversation,
                after,
                part: Part::All,
            });
            self.push_replay(wants.collect(), up_to, Why::FellOff);
            return true;
        }
        entries.sort_unstable_by_key(|entry| entry.position);
        cut |= entries.len() > limit;
        entries.truncate(limit);
        for entry in &entries {
            self.pass(entry, out);
        }
        if cut {
            self.sent = entries.last().map_or(self.sent, |entry| entry.position);
            for conversation in dirty {
                mailbox.mark(conversation);
            }
        } else {
            self.sent = up_to;
            if self.again_after.is_none() {
                let outside: Vec<_> = dirty.into_iter().filter(|c| self.is_outside(*c)).collect();
                self.stop_watching(outside);
            }
        }
        cut
    }

    async fn read_backlog(&mut self, out: &mut Vec<Outgoing>) -> Result<(), Failure> {
        match self.backlog.front_mut() {
            None => Ok(()),
            Some(Backlog::Replay { replay, why }) => {
                let up_to = replay.up_to();
                match replay.step().await? {
                    Step::Working => {}
                    Step::Located(located) => {
                        if let Why::Resumed(open) = why {
                            let open = std::mem::take(open);
                            out.push(self.resumed(&located, open));
                        }
                    }
                    Step::Events(entries) => {
                        for entry in &entries {
                            self.pass(entry, out);
                        }
                        if let Some(last) = entries.last() {
                            self.sent = last.position.max(self.sent);
                        }
                    }
                    Step::Done => self.finish_replay(up_to, out),
                }
                Ok(())
            }
            Some(Backlog::Reread(reread)) => {
                let limit = self.gateway.limits.batch_events_max;
                let done = reread
                    .read(self.gateway.store.as_ref(), limit, self.sent, out)
                    .await?;
                if done {
                    let conversation = reread.conversation;
                    self.backlog.pop_front();
                    out.push(self.caught_up(Some(conversation)));
                }
                Ok(())
            }
        }
    }

    fn finish_replay(&mut self, up_to: Position, out: &mut Vec<Outgoing>) {
        self.sent = up_to.max(self.sent);
        if let Some(Backlog::Replay {
            why: Why::Resumed(_),
            ..
        }) = self.backlog.pop_front()
        {
            out.push(self.caught_up(None));
        }
        let outside: Vec<_> = self.outside().collect();
        self.stop_watching(outside);
    }

    fn resumed(&mut self, located: &Located, conversations: Vec<ConversationId>) -> Outgoing {
        for (conversation, watch) in &mut self.watched {
            watch.inside |= located.inside.contains(conversation);
        }
        let presence = self.gateway.hub.present_with(self.user());
        Outgoing::Frame(ServerFrame::Resumed {
            user: self.user(),
            cursor: self.cursor(),
            missed: located.missed,
            online: presence.keys().copied().collect(),
            presence,
            conversations,
        })
    }

    fn caught_up(&self, conversation: Option<ConversationId>) -> Outgoing {
        Outgoing::Frame(ServerFrame::CaughtUp {
            cursor: self.cursor(),
            conversation,
        })
    }

    /// Lets one event go by: sends it if it may be seen, and learns from it who is in.
    fn pass(&mut self, entry: &Arc<Entry>, out: &mut Vec<Outgoing>) {
        let user = self.user();
        let hub = &self.gateway.hub;
        let is_new = entry.position > self.known_up_to;
        let watch = self.watched.entry(entry.conversation).or_default();
        if is_new && entry.takes_in(user) {
            hub.moves(user, entry.conversation, true, entry.position);
        }
        if entry.takes_in(user) && !watch.inside {
            watch.inside = true;
            watch.muted = false;
        }
        if (watch.inside && !watch.muted && entry.is_for(user)) || watch.auditing {
            out.push(Outgoing::Event(Arc::clone(entry), entry.position));
        }
        if let Some(reason) = entry.puts_out(user)
            && std::mem::take(&mut watch.inside)
        {
            if is_new {
                hub.moves(user, entry.conversation, false, entry.position);
            }
            if watch.auditing {
                return;
            }
            out.push(Outgoing::Frame(ServerFrame::Reset {
                conversation: entry.conversation,
                reason,
            }));
        }
    }

    fn watch(&mut self, conversation: ConversationId) {
        self.watched.entry(conversation).or_insert_with(|| {
            let mailbox = self.registration.mailbox();
            self.gateway.hub.follow(conversation, mailbox);
            Watch::default()
        });
    }

    fn is_outside(&self, conversation: ConversationId) -> bool {
        let watch = self.watched.get(&conversation);
        watch.is_some_and(|watch| !watch.inside && !watch.auditing)
    }

    fn outside(&self) -> impl Iterator<Item = ConversationId> {
        let watched = self.watched.iter();
        watched
            .filter(|(_, watch)| !watch.inside && !watch.auditing)
            .map(|(conversation, _)| *conversation)
    }

    fn stop_watching(&mut self, conversations: Vec<ConversationId>) {
        for conversation in conversations {
            self.watched.remove(&conversation);
            let mailbox = self.registration.mailbox();
            self.gateway.hub.unfollow(conversation, mailbox);
        }
    }

    /// Notes what the user does on this connection.
    pub(crate) fn turn(&mut self, to: Activity) {
        if let Some(from) = self.activity.replace(to)
            && from != to
        {
            self.gateway.hub.turns(self.user(), from, to);
        }
    }

    /// Whether the user is a member, as far as events have been sent.
    pub(crate) fn is_inside(&self, conversation: ConversationId) -> bool {
        let watch = self.watched.get(&conversation);
        watch.is_some_and(|watch| watch.inside)
    }

    /// Stops sending a conversation. One that is not followed is none of the user's business, and
    /// nothing changes.
    pub(crate) fn unsubscribe(&mut self, conversation: ConversationId) {
        if let Some(watch) = self.watched.get_mut(&conversation) {
            watch.muted = true;
            watch.auditing = false;
        }
        self.backlog.retain(|backlog| match backlog {
            Backlog::Reread(reread) => reread.conversation != conversation,
            Backlog::Replay { .. } => true,
        });
        if self.backlog.is_empty() && self.is_outside(conversation) {
            self.stop_watching(vec![conversation]);
        }
    }

    /// Sends a conversation again from some point, and follows it.
    pub(crate) async fn subscribe(&mut self, asked: Subscribe) -> Result<(), Problem> {
        if self.backlog.len() >= REREADS_WAITING_MAX {
            return Err(too_many_subscriptions());
        }
        let conversation = asked.conversation;
        let user = self.user();
        let memberships = self
            .gateway
            .memberships
            .of_member(user, conversation, self.sent)
            .await
            .map_err(problem_of)?
            .memberships;
        let is_member = memberships.iter().any(|m| m.left.is_none());
        let parts = if is_member {
            let parts = memberships.iter();
            parts
                .map(|m| (m.visible_from, m.left.unwrap_or(Version(u64::MAX))))
                .collect()
        } else {
            self.begin_auditing(conversation, asked.after_seq).await?;
            vec![(Version(1), Version(u64::MAX))]
        };
        self.watch(conversation);
        if let Some(watch) = self.watched.get_mut(&conversation) {
            watch.muted = false;
            watch.auditing |= !is_member;
        }
        // What came before the hub knew that we follow it was not marked.
        self.registration.mailbox().mark(conversation);
        let next = asked.after_seq.map(|seq| seq.min(AFTER_SEQ_MAX).next());
        self.backlog.push_back(Backlog::Reread(Reread {
            conversation,
            next,
            parts,
        }));
        Ok(())
    }

    /// Lets an auditor look, after putting it on the record.
    async fn begin_auditing(
        &self,
        conversation: ConversationId,
        after_seq: Option<Seq>,
    ) -> Result<(), Problem> {
        let gateway = &self.gateway;
        gateway.guard.forget_user(self.user()).await;
        let account = gateway.guard.active_account(self.user()).await?;
        let is_auditor = account.is_some_and(|account| {
            let auditor = domain::user::SystemRole::Auditor;
            account.system_roles.contains(&auditor)
        });
        let stream = StreamName::conversation(conversation);
        if !is_auditor || version_of(gateway.store.as_ref(), &stream).await? == Version::ZERO {
            return Err(conversation_not_found());
        }
        if self.watched.len() >= gateway.limits.subscriptions_per_session_max {
            return Err(too_many_subscriptions());
        }
        let selection = Selection {
            conversation: Some(conversation),
            ..Selection::default()
        };
        let event = AuditEvent::Replayed(Replayed { selection });
        // Not a retry of anything: each look is on the record by itself.
        let body = format!("subscribe {conversation} {after_seq:?}");
        let hash = Sha256::digest(body.as_bytes());
        let metadata = Metadata {
            actor: Actor::User(self.user()),
            command_id: CommandId(fresh_id()),
            command_hash: format!("{:032x}", u128::from_be_bytes(first_half(&hash.into()))),
            correlation_id: None,
            causation_id: None,
            traceparent: None,
            occurred_at: None,
        };
        let event = NewEvent::encode(&event.into(), &metadata, 0)?;
        let appended = gateway
            .store
            .append(&StreamName::audit(), Expected::Any, vec![event])
            .await;
        match appended {
            Ok(_) => Ok(()),
            Err(AppendError::Failure(failure)) => Err(failure.into()),
            Err(error @ (AppendError::Conflict { .. } | AppendError::Invalid(_))) => {
                Err(Failure::internal("record what an auditor did", error).into())
            }
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let hub = &self.gateway.hub;
        if let Some(activity) = self.activity {
            hub.goes(self.user(), activity);
        }
        for conversation in self.watched.keys() {
            hub.unfollow(*conversation, self.registration.mailbox());
        }
    }
}

/// The position in `cursor`, once the log has come that far.
async fn opened(gateway: &Gateway, tag: &CursorTag, cursor: &str) -> Result<Position, Refused> {
    let invalid = || {
        let problem = Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "cursor_invalid",
            "The cursor cannot be used",
        )
        .with_detail("it is of another user or another log; identify without it");
        Refused::Problem(Box::new(problem))
    };
    let position = tag.open(cursor).ok_or_else(invalid)?;
    let mut head = gateway.store.head();
    let reached = head.wait_for(|head| *head >= position);
    match tokio::time::timeout(AHEAD_WITHIN, reached).await {
        Ok(Ok(_)) => Ok(position),
        Ok(Err(_)) | Err(_) => Err(invalid()),
    }
}

fn first_half(hash: &[u8; 32]) -> [u8; 16] {
    std::array::from_fn(|index| hash[index])
}

/// What somebody is told who is no member, whether or not there is such a conversation.
pub(crate) fn conversation_not_found() -> Problem {
    Problem::not_found(
        "conversation_not_found",
        "there is no such conversation, or you are not in it",
    )
}

fn too_many_subscriptions() -> Problem {
    let title = "More subscriptions than one connection may have";
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "too_many_subscriptions",
        title,
    )
}
