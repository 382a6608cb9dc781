//! One follower of the log for all connections of a process. It encodes each event once, keeps it
//! on its conversation's ring, and tells the connections that follow the conversation.
//!
//! Two positions order everything. `seen` is the end of the batch that is being worked on, and is
//! set before the work begins; whoever registers and then reads `seen` is told of every event after
//! it. `watermark` is the end of the last finished batch: connections send up to it and no further,
//! so that events of different conversations keep the order of the log.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use domain::user::{SystemRole, UserEvent};
use domain::{ConversationId, Event, Position, ServiceId, SessionId, UserId};
use infra::bus::{Announced, Interest, LiveEvents, NodeId, SignalKind, Signals};
use infra::clock::{Clock, fresh_id};
use infra::event_store::RecordedEvent;
use infra::failure::Failure;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::entry::{Entry, MembersChange};
use crate::frames::Close;
use crate::limits::Limits;
use crate::mailbox::{Mailbox, Marked};
use crate::presence::{PRESENCE_CHOSEN, Presences, attend, live as say_alive};
use crate::ring::{Collected, Ring};

/// How long the hub waits after a failed read of the log before it reads again. There is no end to
/// this: without the log there is nothing to send.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Type of the event that ends a login.
const SESSION_REVOKED: &str = "session-revoked";

/// Type of the event that ends all logins of a user, but for one at most.
const LOGGED_OUT_EVERYWHERE: &str = "logged-out-everywhere";

/// Type of the event that takes a role of the whole server away.
const ROLE_REVOKED: &str = "system-role-revoked";

/// Types of the events after which a user is not let in.
const USER_SHUT_OUT: [&str; 2] = ["user-suspended", "user-deactivated"];

/// Types of the events after which what a service came in with is worth nothing.
const SERVICE_SHUT_OUT: [&str; 2] = ["service-token-issued", "service-revoked"];

/// Type of the event that takes a way in away, and with it the logins on that issuer's word.
const IDENTITY_UNLINKED: &str = "external-identity-unlinked";

/// Parts of each map, so that connections seldom wait for each other.
const SHARDS: usize = 64;

/// A map in parts, each behind a lock of its own.
pub(crate) struct Sharded<K, V> {
    hasher: RandomState,
    shards: Vec<Mutex<HashMap<K, V>>>,
}

impl<K: Hash, V> Sharded<K, V> {
    fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            shards: std::iter::repeat_with(Mutex::default)
                .take(SHARDS)
                .collect(),
        }
    }

    /// Locks the part that has `key`. Never held across an await, nor together with another part.
    pub(crate) fn part(&self, key: &K) -> MutexGuard<'_, HashMap<K, V>> {
        let shard = self.hasher.hash_one(key) % SHARDS as u64;
        self.shards[usize::try_from(shard).unwrap_or(0)].lock()
    }
}

/// A conversation that some connection here follows.
struct Followed {
    followers: Vec<Arc<Mailbox>>,
    ring: Ring,
}

impl Followed {
    fn after(position: Position) -> Self {
        Self {
            followers: Vec::new(),
            ring: Ring::after(position),
        }
    }

    fn add(&mut self, mailbox: &Arc<Mailbox>) {
        let is_there = |other: &Arc<Mailbox>| Arc::ptr_eq(other, mailbox);
        if !self.followers.iter().any(is_there) {
            self.followers.push(Arc::clone(mailbox));
        }
    }
}

/// See the module.
pub(crate) struct Hub {
    conversations: Sharded<ConversationId, Followed>,
    users: Sharded<UserId, Vec<Arc<Mailbox>>>,
    logins: Sharded<SessionId, Vec<Arc<Mailbox>>>,
    pub(crate) presences: Presences,
    pub(crate) signals: Arc<dyn Signals>,
    /// Names this hub in signals.
    pub(crate) node: NodeId,
    registered: AtomicUsize,
    seen: AtomicU64,
    watermark: watch::Sender<Position>,
    /// Cancelled when nobody follows the log any more.
    ended: CancellationToken,
    pub(crate) limits: Limits,
    pub(crate) clock: Clock,
}

/// What is on the rings of all conversations, oldest first. Only the hub's task touches it. An
/// entry that its own ring has let go of already is still counted here until its turn comes.
#[derive(Default)]
struct Kept {
    order: VecDeque<(Position, ConversationId, usize)>,
    bytes: usize,
}

impl Hub {
    /// A hub that hears of events from `live` and of other nodes from `signals`.
    pub(crate) fn start(
        live: Box<dyn LiveEvents>,
        signals: Arc<dyn Signals>,
        limits: Limits,
        clock: Clock,
    ) -> Arc<Self> {
        let head = live.position();
        let signalled = signals.listen();
        let hub = Arc::new(Self {
            conversations: Sharded::new(),
            users: Sharded::new(),
            logins: Sharded::new(),
            presences: Presences::default(),
            signals,
            node: NodeId(fresh_id()),
            registered: AtomicUsize::new(0),
            seen: AtomicU64::new(head.0),
            watermark: watch::Sender::new(head),
            ended: CancellationToken::new(),
            limits,
            clock,
        });
        hub.say(SignalKind::RollCall { of: None });
        // The tasks end when the last handle of the hub is gone.
        let [following, attending, living] = [(); 3].map(|()| Arc::downgrade(&hub));
        // Also when one panics.
        let stop = hub.ended.clone();
        let [follows, attends, lives] = [(); 3].map(|()| hub.ended.clone().drop_guard());
        tokio::spawn(async move {
            follow(following, live, stop).await;
            drop(follows);
        });
        tokio::spawn(async move {
            attend(attending, signalled).await;
            drop(attends);
        });
        tokio::spawn(async move {
            say_alive(living).await;
            drop(lives);
        });
        hub
    }

    /// Waits until the log is followed no more, which while there is a hub only a defect brings about.
    pub(crate) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// The end of the batch that is being worked on. Whoever registered before reading this is told
    /// of everything after it.
    pub(crate) fn seen(&self) -> Position {
        Position(self.seen.load(Ordering::SeqCst))
    }

    /// Up to where the rings are complete.
    pub(crate) fn watermark(&self) -> Position {
        *self.watermark.borrow()
    }

    /// Waits until the watermark is after `position`.
    pub(crate) async fn passed(&self, position: Position) {
        // The sender is ours, so it is there for as long as we wait.
        let mut watermark = self.watermark.subscribe();
        let _ = watermark.wait_for(|watermark| *watermark > position).await;
    }

    /// Takes a connection in. From now on it hears of revocation, of roles and of conversations
    /// that take its user in. Where the user has too many connections, the oldest is closed.
    pub(crate) fn register(self: &Arc<Self>, mailbox: Arc<Mailbox>) -> Registration {
        self.registered.fetch_add(1, Ordering::Relaxed);
        self.logins
            .part(&mailbox.session)
            .entry(mailbox.session)
            .or_default()
            .push(Arc::clone(&mailbox));
        let mut users = self.users.part(&mailbox.user);
        let of_user = users.entry(mailbox.user).or_default();
        of_user.push(Arc::clone(&mailbox));
        let live = || of_user.iter().filter(|other| other.closing().is_none());
        let replaced = (live().count() > self.limits.sessions_per_user_max)
            .then(|| live().next().cloned())
            .flatten();
        drop(users);
        if let Some(replaced) = replaced {
            replaced.close(Close::Replaced);
        }
        Registration {
            hub: Arc::clone(self),
            mailbox,
        }
    }

    /// How many connections are registered.
    pub(crate) fn connections(&self) -> usize {
        self.registered.load(Ordering::Relaxed)
    }

    /// Makes a connection hear of `conversation`, from the end of the current batch at the latest.
    pub(crate) fn follow(&self, conversation: ConversationId, mailbox: &Arc<Mailbox>) {
        self.conversations
            .part(&conversation)
            .entry(conversation)
            // Read under the lock: the hub's task needs it for every event that comes after.
            .or_insert_with(|| Followed::after(self.seen()))
            .add(mailbox);
    }

    /// Makes a connection hear of `conversation` no more. Its ring goes with its last follower.
    pub(crate) fn unfollow(&self, conversation: ConversationId, mailbox: &Arc<Mailbox>) {
        let mut conversations = self.conversations.part(&conversation);
        if let Some(followed) = conversations.get_mut(&conversation) {
            followed
                .followers
                .retain(|other| !Arc::ptr_eq(other, mailbox));
            if followed.followers.is_empty() {
                conversations.remove(&conversation);
            }
        }
    }

    /// Collects from the ring of `conversation`; see [`Ring::collect`].
    pub(crate) fn collect(
        &self,
        conversation: ConversationId,
        after: Position,
        up_to: Position,
        limit: usize,
        into: &mut Vec<Arc<Entry>>,
    ) -> Collected {
        let conversations = self.conversations.part(&conversation);
        match conversations.get(&conversation) {
            Some(followed) => followed.ring.collect(after, up_to, limit, into),
            None => Collected {
                fell_off: true,
                cut: false,
                beyond: false,
            },
        }
    }

    /// Whether anybody here has a use for an event. Says yes also where that changes meanwhile.
    fn interest(&self, announced: Announced<'_>) -> Interest {
        let Announced { stream, event_type } = announced;
        let is_wanted = match stream.category() {
            "conversation" | "receipts" => {
                let followed = stream.conversation_id();
                if followed.is_some_and(|id| self.is_followed(id)) {
                    return Interest::Lasting;
                }
                takes_in(event_type)
            }
            "session" => event_type == SESSION_REVOKED,
            "user" => {
                matches!(
                    event_type,
                    ROLE_REVOKED | LOGGED_OUT_EVERYWHERE | IDENTITY_UNLINKED | PRESENCE_CHOSEN
                ) || USER_SHUT_OUT.contains(&event_type)
            }
            "service" => SERVICE_SHUT_OUT.contains(&event_type),
            _ => false,
        };
        if is_wanted {
            Interest::Once
        } else {
            Interest::None
        }
    }

    /// Takes a batch from `live`, which goes up to `up_to`, and tells all who are concerned.
    async fn take(
        &self,
        up_to: Position,
        live: &mut dyn LiveEvents,
        kept: &mut Kept,
    ) -> Result<(), Failure> {
        self.seen.store(up_to.0, Ordering::SeqCst);
        let events = live.take(&|announced| self.interest(announced)).await?;
        self.work(&events, up_to, kept);
        Ok(())
    }

    fn work(&self, events: &[Arc<RecordedEvent>], up_to: Position, kept: &mut Kept) {
        let mut touched: Vec<Arc<Mailbox>> = Vec::new();
        for recorded in events {
            match recorded.stream.category() {
                "conversation" | "receipts" => self.publish(recorded, kept, &mut touched),
                "session" => self.note_revocation(recorded),
                "user" => {
                    self.note_roles(recorded);
                    self.note_logout_everywhere(recorded);
                    self.note_standing(recorded);
                    self.note_identities(recorded);
                    self.note_presence(recorded);
                }
                "service" => self.note_service(recorded),
                _ => {}
            }
        }
        self.watermark.send_replace(up_to);
        for mailbox in touched {
            mailbox.wake();
        }
    }

    fn publish(&self, recorded: &RecordedEvent, kept: &mut Kept, touched: &mut Vec<Arc<Mailbox>>) {
        let Some(conversation) = recorded.stream.conversation_id() else {
            return;
        };
        if !takes_in(&recorded.event_type) && !self.is_followed(conversation) {
            return;
        }
        let Some(entry) = Entry::encode(recorded).map(Arc::new) else {
            return;
        };
        self.note_members(conversation, &entry.change, entry.position);
        let mut newcomers: Vec<Arc<Mailbox>> = Vec::new();
        if let MembersChange::In(users) = &entry.change {
            for user in users {
                newcomers.extend(
                    self.users
                        .part(user)
                        .get(user)
                        .into_iter()
                        .flatten()
                        .cloned(),
                );
            }
        }
        // Following, the event and the mark are one step: a connection that stops following comes
        // before it, and follows again, or after it, and finds the mark.
        let mut conversations = self.conversations.part(&conversation);
        if !newcomers.is_empty() {
            // Of what was before it the ring knows nothing.
            let before = Position(recorded.position.0.saturating_sub(1));
            let followed = conversations
                .entry(conversation)
                .or_insert_with(|| Followed::after(before));
            for mailbox in &newcomers {
                followed.add(mailbox);
            }
        }
        let Some(followed) = conversations.get_mut(&conversation) else {
            return;
        };
        let (position, bytes) = (entry.position, entry.bytes());
        followed.ring.push(
            entry,
            self.limits.ring_entries_max,
            self.limits.ring_bytes_max,
        );
        followed
            .followers
            .retain(|follower| match follower.mark(conversation) {
                Marked::New => {
                    touched.push(Arc::clone(follower));
                    true
                }
                Marked::Already => true,
                Marked::Gone => false,
            });
        if followed.followers.is_empty() {
            conversations.remove(&conversation);
        }
        drop(conversations);
        kept.bytes += bytes;
        kept.order.push_back((position, conversation, bytes));
        self.trim(kept);
    }

    /// The connections of `user`.
    pub(crate) fn connections_of(&self, user: UserId) -> Vec<Arc<Mailbox>> {
        let connections = self.users.part(&user).get(&user).cloned();
        connections.unwrap_or_default()
    }

    fn is_followed(&self, conversation: ConversationId) -> bool {
        self.conversations
            .part(&conversation)
            .contains_key(&conversation)
    }

    fn trim(&self, kept: &mut Kept) {
        while kept.order.len() > self.limits.rings_entries_max
            || kept.bytes > self.limits.rings_bytes_max
        {
            let Some((position, conversation, bytes)) = kept.order.pop_front() else {
                return;
            };
            kept.bytes -= bytes;
            let mut conversations = self.conversations.part(&conversation);
            if let Some(followed) = conversations.get_mut(&conversation) {
                followed.ring.let_go(position);
            }
        }
    }

    fn note_revocation(&self, recorded: &RecordedEvent) {
        if &*recorded.event_type != SESSION_REVOKED {
            return;
        }
        if let Ok(session) = recorded.stream.key().parse::<SessionId>() {
            self.close_login(session);
        }
    }

    fn close_login(&self, session: SessionId) {
        let connections = self.logins.part(&session).get(&session).cloned();
        for mailbox in connections.unwrap_or_default() {
            mailbox.close(Close::Unauthenticated);
        }
    }

    fn note_standing(&self, recorded: &RecordedEvent) {
        if USER_SHUT_OUT.contains(&&*recorded.event_type) {
            self.close_where(recorded, Close::Unauthenticated, |_| true);
        }
    }

    /// Which of the user's logins were on that issuer's word is in the log: all of their connections end,
    /// and those whose logins are still good come back.
    fn note_identities(&self, recorded: &RecordedEvent) {
        if &*recorded.event_type == IDENTITY_UNLINKED {
            self.close_where(recorded, Close::TryAgain, |_| true);
        }
    }

    /// Closes the user's connections whose logins have ended. One that was opened after it may be here
    /// already: it is of the new epoch, and stays.
    fn note_logout_everywhere(&self, recorded: &RecordedEvent) {
        if &*recorded.event_type != LOGGED_OUT_EVERYWHERE {
            return;
        }
        let (epoch, kept) = match recorded.event() {
            Ok(Event::User(UserEvent::LoggedOutEverywhere(out))) => (out.epoch, out.kept),
            // Of one that cannot be read, whoever is still logged in comes back.
            Ok(_) | Err(_) => (u32::MAX, None),
        };
        self.close_where(recorded, Close::Unauthenticated, |mailbox| {
            mailbox.login_epoch < epoch && kept != Some(mailbox.session)
        });
    }

    /// Closes the connections of the user whose event this is, where they are as `ends` says.
    fn close_where(&self, recorded: &RecordedEvent, close: Close, ends: impl Fn(&Mailbox) -> bool) {
        let Ok(user) = recorded.stream.key().parse::<UserId>() else {
            return;
        };
        for mailbox in self.connections_of(user) {
            if ends(&mailbox) {
                mailbox.close(close);
            }
        }
    }

    /// Who came in with a token that is none any more comes in again with the next, if there is one.
    fn note_service(&self, recorded: &RecordedEvent) {
        if !SERVICE_SHUT_OUT.contains(&&*recorded.event_type) {
            return;
        }
        if let Ok(service) = recorded.stream.key().parse::<ServiceId>() {
            // Of a service the caller's session is its id.
            self.close_login(SessionId(service.0));
        }
    }

    fn note_roles(&self, recorded: &RecordedEvent) {
        if &*recorded.event_type != ROLE_REVOKED {
            return;
        }
        let auditor_no_more = match recorded.event() {
            Ok(Event::User(UserEvent::SystemRoleRevoked(change))) => {
                change.role == SystemRole::Auditor
            }
            // One that cannot be read may have been the auditor's: looking ends, to be safe.
            Ok(_) | Err(_) => true,
        };
        let Ok(user) = recorded.stream.key().parse::<UserId>() else {
            return;
        };
        if auditor_no_more {
            for mailbox in self.connections_of(user) {
                mailbox.end_auditing();
            }
        }
    }
}

/// A connection's place in the hub; gone when dropped.
pub(crate) struct Registration {
    hub: Arc<Hub>,
    mailbox: Arc<Mailbox>,
}

impl Registration {
    pub(crate) fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.hub.registered.fetch_sub(1, Ordering::Relaxed);
        remove(&self.hub.users, &self.mailbox.user, &self.mailbox);
        remove(&self.hub.logins, &self.mailbox.session, &self.mailbox);
        // The hub may have made it follow conversations that it never came to look at.
        for conversation in self.mailbox.leave() {
            self.hub.unfollow(conversation, &self.mailbox);
        }
    }
}

fn remove<K: Hash + Eq>(from: &Sharded<K, Vec<Arc<Mailbox>>>, key: &K, mailbox: &Arc<Mailbox>) {
    let mut part = from.part(key);
    if let Some(mailboxes) = part.get_mut(key) {
        mailboxes.retain(|other| !Arc::ptr_eq(other, mailbox));
        if mailboxes.is_empty() {
            part.remove(key);
        }
    }
}

/// Whether events of a type take people into a conversation.
fn takes_in(event_type: &str) -> bool {
    matches!(event_type, "conversation-started" | "member-added")
}

/// Hears of events for as long as there is a hub. Whoever attends to signals looks whether there is
/// one, also while there are no events, and says so to `stop`.
async fn follow(hub: std::sync::Weak<Hub>, mut live: Box<dyn LiveEvents>, stop: CancellationToken) {
    let mut kept = Kept::default();
    loop {
        let up_to = tokio::select! {
            up_to = live.next() => up_to,
            () = stop.cancelled() => return,
        };
        let Some(hub) = hub.upgrade() else { return };
        let failed = match up_to {
            Ok(up_to) => hub.take(up_to, &mut *live, &mut kept).await.err(),
            Err(failure) => Some(failure),
        };
        if let Some(failure) = failed {
            tracing::warn!(%failure, "the gateway cannot follow the log; trying again");
            drop(hub);
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::Ordering;
    use std::task::Poll;

    use async_trait::async_trait;
    use axum::http::StatusCode;
    use domain::conversation::{
        ConversationEvent, HistoryVisibility, Kind, MemberLeft, MemberRole, Role, Started,
    };
    use domain::session::{Opened, SessionEvent};
    use domain::user::{LoggedOutEverywhere, Registered, UserEvent};
    use domain::values::{DisplayName, Handle};
    use domain::{
        Actor, CommandId, ConversationId, Event, Metadata, Personal, Position, SessionId,
        StreamName, UserId,
    };
    use futures::poll;
    use infra::auth::{Caller, Guard, Tokens};
    use infra::bus::{LocalSignals, LogEvents};
    use infra::clock::{Clock, fresh_id};
    use infra::commands::{Accepted, CommandDoor, FrameCommand};
    use infra::event_store::{EventStore, Expected, MemoryEventStore, NewEvent, RecordedEvent};
    use infra::keys::Secret;
    use infra::limits::{Limit, Limiter};
    use infra::problem::Problem;

    use super::{Hub, Kept, Registration};
    use crate::entry::Outgoing;
    use crate::feed::{Ended, admit};
    use crate::frames::{Activity, Close};
    use crate::gateway::{Gateway, Parts};
    use crate::limits::Limits;
    use crate::mailbox::Mailbox;
    use crate::memberships::LogMemberships;

    /// A hub over a log of its own, whose events are only those that a test hands it.
    fn hub() -> Arc<Hub> {
        let store: Arc<dyn EventStore> = Arc::new(MemoryEventStore::new(Clock::system()));
        hub_on(&store, Arc::new(LocalSignals::default()))
    }

    fn hub_on(store: &Arc<dyn EventStore>, signals: Arc<LocalSignals>) -> Arc<Hub> {
        let live = LogEvents::new(store, *store.head().borrow());
        Hub::start(Box::new(live), signals, Limits::default(), Clock::system())
    }

    fn connection(hub: &Arc<Hub>, user: UserId) -> Registration {
        hub.register(Arc::new(Mailbox::new(user, SessionId(fresh_id()), 0)))
    }

    fn start_with(user: UserId) -> Event {
        let members = vec![MemberRole {
            user,
            role: Role::Member,
        }];
        ConversationEvent::Started(Started {
            kind: Kind::Group,
            title: None,
            creator: Some(user),
            members,
            history_visibility: HistoryVisibility::Joined,
            channel: None,
        })
        .into()
    }

    /// Appends an event to `store`.
    async fn append(store: &MemoryEventStore, stream: &StreamName, event: Event) {
        let metadata = Metadata {
            actor: Actor::Operator,
            command_id: CommandId(fresh_id()),
            command_hash: String::from("0123456789abcdef0123456789abcdef"),
            correlation_id: None,
            causation_id: None,
            traceparent: None,
            occurred_at: None,
        };
        let event = NewEvent::encode(&event, &metadata, 0).unwrap();
        let appended = store.append(stream, Expected::Any, vec![event]).await;
        appended.unwrap();
    }

    /// The start of a conversation with `user`, alone in a log.
    async fn started(conversation: ConversationId, user: UserId) -> Arc<RecordedEvent> {
        let store = MemoryEventStore::new(Clock::system());
        let stream = StreamName::conversation(conversation);
        append(&store, &stream, start_with(user)).await;
        let mut log = store.read_all(Position::ZERO, 1).await.unwrap();
        log.pop().unwrap()
    }

    #[tokio::test]
    async fn who_is_taken_in_follows_until_the_connection_ends() {
        let hub = hub();
        let (user, conversation) = (UserId(fresh_id()), ConversationId(fresh_id()));
        let first = connection(&hub, user);
        let second = connection(&hub, user);
        hub.work(
            &[started(conversation, user).await],
            Position(1),
            &mut Kept::default(),
        );
        assert!(first.mailbox().has_dirty() && second.mailbox().has_dirty());
        // It ends before it has looked at what it was told.
        drop(first);
        assert!(hub.is_followed(conversation));
        drop(second);
        assert!(!hub.is_followed(conversation), "a ring for nobody");
    }

    #[tokio::test]
    async fn who_stopped_following_a_moment_ago_is_told_of_being_taken_in() {
        let hub = hub();
        let (user, conversation) = (UserId(fresh_id()), ConversationId(fresh_id()));
        let connection = connection(&hub, user);
        let mailbox = connection.mailbox();
        hub.follow(conversation, mailbox);
        hub.unfollow(conversation, mailbox);
        hub.work(
            &[started(conversation, user).await],
            Position(1),
            &mut Kept::default(),
        );
        assert!(mailbox.take_dirty().contains(&conversation));
        let mut found = Vec::new();
        let collected = hub.collect(conversation, Position::ZERO, Position(1), 9, &mut found);
        assert!(!collected.fell_off && found.len() == 1, "{collected:?}");
    }

    #[tokio::test]
    async fn one_that_has_ended_is_followed_by_nobody() {
        let hub = hub();
        let (user, conversation) = (UserId(fresh_id()), ConversationId(fresh_id()));
        let connection = connection(&hub, user);
        let mailbox = Arc::clone(connection.mailbox());
        drop(connection);
        // As where the hub had found the connection just before it ended.
        hub.follow(conversation, &mailbox);
        hub.work(
            &[started(conversation, user).await],
            Position(1),
            &mut Kept::default(),
        );
        assert!(!hub.is_followed(conversation));
    }

    #[tokio::test]
    async fn a_login_after_all_others_ended_stays_though_the_hub_hears_of_the_end_later() {
        let hub = hub();
        let user = UserId(fresh_id());
        let [kept, old, new] = [0, 0, 1]
            .map(|epoch| hub.register(Arc::new(Mailbox::new(user, SessionId(fresh_id()), epoch))));
        let other = connection(&hub, UserId(fresh_id()));
        let store = MemoryEventStore::new(Clock::system());
        let out = UserEvent::LoggedOutEverywhere(LoggedOutEverywhere {
            epoch: 1,
            kept: Some(kept.mailbox().session),
        });
        append(&store, &StreamName::user(user), out.into()).await;
        let events = store.read_all(Position::ZERO, 1).await.unwrap();
        hub.work(&events, Position(1), &mut Kept::default());
        assert_eq!(old.mailbox().closing(), Some(Close::Unauthenticated));
        for stays in [&kept, &new, &other] {
            assert_eq!(stays.mailbox().closing(), None);
        }
    }

    /// Takes no commands.
    struct NoDoor;

    #[async_trait]
    impl CommandDoor for NoDoor {
        async fn run(&self, _: &Caller, _: FrameCommand<'_>) -> Result<Accepted, Problem> {
            Err(Problem::new(StatusCode::NOT_FOUND, "no_door", "No door"))
        }
    }

    #[tokio::test]
    async fn what_a_ring_has_beyond_the_watermark_comes_once_the_watermark_is_there() {
        let (user, login) = (UserId(fresh_id()), SessionId(fresh_id()));
        let other = UserId(fresh_id());
        let stream = StreamName::conversation(ConversationId(fresh_id()));
        let clock = Clock::system();
        let until = clock.now() + chrono::TimeDelta::days(1);
        let registered = UserEvent::Registered(Registered {
            email: None,
            display_name: Personal::new(user, DisplayName::parse("Ada").unwrap()),
            handle: Handle::parse("ada").unwrap(),
            imported_from: None,
        });
        let opened = SessionEvent::Opened(Opened {
            user,
            expires_at: until,
            device: None,
            address: None,
            refresh_hash: None,
            login_epoch: 0,
            vouched_by: None,
            amr: [].into(),
        });
        // The hub follows `store`; what comes later is handed to it from `later`, step by step.
        let store = Arc::new(MemoryEventStore::new(clock.clone()));
        let later = MemoryEventStore::new(clock.clone());
        for log in [&*store, &later] {
            append(log, &StreamName::user(user), registered.clone().into()).await;
            append(log, &StreamName::session(login), opened.clone().into()).await;
            append(log, &stream, start_with(user)).await;
        }
        for _ in 4..=6 {
            let event = ConversationEvent::MemberLeft(MemberLeft { user: other });
            append(&later, &stream, event.into()).await;
        }
        let store: Arc<dyn EventStore> = store;
        let secret = Secret::new([1; 32]);
        let tokens = Tokens::new(&secret).unwrap();
        let token = tokens.sign(user, login, clock.now(), until).unwrap();
        let parts = Parts {
            memberships: Arc::new(LogMemberships::new(Arc::clone(&store))),
            guard: Arc::new(Guard::new(tokens, &store, &clock)),
            live: Box::new(LogEvents::new(&store, *store.head().borrow())),
            signals: Arc::new(LocalSignals::default()),
            door: Arc::new(NoDoor),
            store,
            clock,
            limits: Limits::default(),
            user_pace: Arc::new(Limiter::new(Limit::Off)),
        };
        let gateway = Gateway::start(parts, &secret);
        let (mut feed, _, _) = admit(&gateway, &token, None, Activity::Online)
            .await
            .unwrap();
        let hub = &gateway.hub;
        let (mut kept, mut touched) = (Kept::default(), Vec::new());
        let later = later.read_all(Position(3), 9).await.unwrap();
        let mut publish = |event: &Arc<RecordedEvent>| {
            hub.seen.store(event.position.0, Ordering::SeqCst);
            hub.publish(event, &mut kept, &mut touched);
        };

        let positions = |came: Result<Vec<Outgoing>, Ended>| -> Vec<u64> {
            let frames = came.unwrap().into_iter();
            frames
                .map(|frame| match frame {
                    Outgoing::Event(_, position) => position.0,
                    Outgoing::Frame(frame) => panic!("{frame:?}"),
                })
                .collect()
        };

        // Nobody wakes the connection in all of this: it waits for the watermark by itself.
        publish(&later[0]);
        let mut next = Box::pin(feed.next());
        assert!(poll!(&mut next).is_pending(), "it is not its turn");
        publish(&later[1]);
        publish(&later[2]);
        hub.watermark.send_replace(Position(5));
        let Poll::Ready(came) = poll!(&mut next) else {
            panic!("the watermark woke nobody");
        };
        assert_eq!(positions(came), [4, 5]);
        drop(next);
        let mut next = Box::pin(feed.next());
        assert!(poll!(&mut next).is_pending(), "it is not its turn");
        hub.watermark.send_replace(Position(6));
        let Poll::Ready(came) = poll!(&mut next) else {
            panic!("the watermark woke nobody");
        };
        assert_eq!(positions(came), [6]);
    }
}
