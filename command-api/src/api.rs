//! What the doors share: the executors, and what must be looked up before a command is decided.

use std::sync::Arc;

use axum::extract::FromRef;
use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use domain::attachment::{Attachment, AttachmentEvent, Uploaded};
use domain::conversation::{
    Act, Command, Conversation, ConversationEvent, MessageFact, Refused, Role, UserCommand,
};
use domain::notifications::Notifications;
use domain::owners::Owners;
use domain::reservation::Reservation;
use domain::service::{Service, State as ServiceState};
use domain::session::Session;
use domain::space::{SpaceRules, State as SpaceState};
use domain::user::{self, Account, Privacy, User, UserEvent};
use domain::values::{Email, Handle};
use domain::{
    ConversationId, Decider, Event, Position, Seq, ServiceId, SpaceId, StreamName, UserId, Version,
};
use infra::auth::cookies::CookieSecurity;
use infra::auth::{Guard, ServiceTokens};
use infra::clock::Clock;
use infra::codes::CodeKeys;
use infra::event_store::{Direction, EventStore};
use infra::failure::Failure;
use infra::invites::InviteKeys;
use infra::issuers::Issuers;
use infra::keys::{Secret, hex, keyed_hash};
use infra::limits::LoginGate;
use infra::problem::Problem;
use infra::snapshots::Snapshots;
use infra::states::States;
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::answer::Answer;
use crate::asking::Asking;
use crate::attachments::{AttachmentRules, Attachments};
use crate::begun::Beginnings;
use crate::execute::{Done, Envelope, ExecuteError, Executor, Limits};
use crate::identity::factors::keys::{SecondFactorRules, SecondFactors};
use crate::marks::Marks;
use crate::notifications::{NotificationRules, Telling};
use crate::owner::OwnerCode;
use crate::passwords::{PasswordCost, Passwords};

/// What a [`CommandApi`] is made of.
pub struct Parts {
    /// The log.
    pub store: Arc<dyn EventStore>,
    /// Where states of long streams are kept.
    pub snapshots: Arc<dyn Snapshots>,
    /// Checks and signs tokens.
    pub guard: Arc<Guard>,
    /// Whose word lets people in besides their passwords.
    pub issuers: Arc<Issuers>,
    /// The server's secret.
    pub secret: Secret,
    /// The time.
    pub clock: Clock,
    /// Bounds of each executor.
    pub limits: Limits,
    /// How long logins and tokens last, and how cookies are set.
    pub session_rules: SessionRules,
    /// What hashing a password costs.
    pub password_cost: PasswordCost,
    /// Slows down who guesses passwords.
    pub login_gate: LoginGate,
    /// How second factors are taken.
    pub second_factors: SecondFactorRules,
    /// What may be uploaded, and where it goes.
    pub attachments: AttachmentRules,
    /// How users are told of what they miss.
    pub notifications: NotificationRules,
    /// Who knows it may claim the server while nobody owns it. `None`: nobody may.
    pub owner_code: Option<OwnerCode>,
}

/// How logins are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionRules {
    /// How long a login lasts, however often it is refreshed.
    pub session_lifetime: TimeDelta,
    /// How long an access token is good; never longer than its login.
    pub access_token_lifetime: TimeDelta,
    /// Over which connections browsers send our cookies.
    pub cookies: CookieSecurity,
}

impl Default for SessionRules {
    /// Logins of 30 days, access tokens of 15 minutes, cookies over TLS only.
    fn default() -> Self {
        Self {
            session_lifetime: TimeDelta::days(30),
            access_token_lifetime: TimeDelta::minutes(15),
            cookies: CookieSecurity::TlsOnly,
        }
    }
}

impl SessionRules {
    /// Until when an access token is good that is signed at `now` in a session that ends at
    /// `session_expires_at`: in whole seconds, as a token says it.
    pub(crate) fn token_expires_at(
        &self,
        now: DateTime<Utc>,
        session_expires_at: DateTime<Utc>,
    ) -> DateTime<Utc> {
        let expires_at = (now + self.access_token_lifetime).min(session_expires_at);
        expires_at.trunc_subsecs(0)
    }
}

/// Codes that strangers asked for and that are being looked after; one more is 503 `busy`.
pub(crate) const CODES_UNDER_WAY_MAX: usize = 256;

/// The command side. Cheap to clone; clones are the same.
#[derive(Clone)]
pub struct CommandApi(Arc<Inner>);

struct Inner {
    store: Arc<dyn EventStore>,
    guard: Arc<Guard>,
    issuers: Arc<Issuers>,
    clock: Clock,
    session_rules: SessionRules,
    login_gate: LoginGate,
    second_factors: SecondFactors,
    owner_code: Option<OwnerCode>,
    reservation_key: [u8; 32],
    password_key: [u8; 32],
    passwords: Passwords,
    code_keys: CodeKeys,
    codes_under_way: Arc<Semaphore>,
    afterwards: TaskTracker,
    conversations: Executor<Conversation>,
    users: Executor<User>,
    sessions: Executor<Session>,
    reservations: Executor<Reservation>,
    services: Executor<Service>,
    owners: Executor<Owners>,
    attachments: Attachments,
    notifications: Executor<Notifications>,
    telling: Telling,
    spaces: Executor<SpaceRules>,
    invite_keys: InviteKeys,
    snapshots: Arc<dyn Snapshots>,
    service_tokens: ServiceTokens,
    beginnings: Beginnings,
    marks: Marks,
    seen: Seen,
}

/// States that are read but not decided on.
struct Seen {
    conversations: States<Conversation>,
    users: States<User>,
    sessions: States<Session>,
    reservations: States<Reservation>,
    services: States<Service>,
    attachments: States<Attachment>,
    spaces: States<SpaceRules>,
    notifications: States<Notifications>,
}

fn executor<D: Decider>(
    store: &Arc<dyn EventStore>,
    snapshots: &Arc<dyn Snapshots>,
    limits: Limits,
) -> Result<Executor<D>, Failure> {
    Executor::new(Arc::clone(store), Arc::clone(snapshots), limits)
}

/// Where in the log the first user is looked for, to know the secret by.
const FIRST_EVENTS: usize = 1_000;

impl FromRef<CommandApi> for Arc<Guard> {
    fn from_ref(api: &CommandApi) -> Self {
        Self::clone(&api.0.guard)
    }
}

impl CommandApi {
    /// Puts the command side together.
    pub fn new(parts: Parts) -> Result<Self, Failure> {
        let Parts {
            store,
            snapshots,
            guard,
            issuers,
            secret,
            clock,
            limits,
            session_rules,
            password_cost,
            login_gate,
            second_factors,
            attachments,
            notifications,
            owner_code,
        } = parts;
        let receipts = executor(&store, &snapshots, limits)?;
        let marks = Marks::new(receipts, Arc::clone(&guard));
        let seen = Seen {
            conversations: States::new(Arc::clone(&store), clock.clone()),
            users: States::new(Arc::clone(&store), clock.clone()),
            sessions: States::new(Arc::clone(&store), clock.clone()),
            reservations: States::new(Arc::clone(&store), clock.clone()),
            services: States::new(Arc::clone(&store), clock.clone()),
            attachments: States::new(Arc::clone(&store), clock.clone()),
            spaces: States::new(Arc::clone(&store), clock.clone()),
            notifications: States::new(Arc::clone(&store), clock.clone()),
        };
        Ok(Self(Arc::new(Inner {
            guard,
            issuers,
            clock,
            session_rules,
            login_gate,
            second_factors: SecondFactors::new(second_factors, &secret)?,
            owner_code,
            reservation_key: secret.derive("reservation"),
            password_key: secret.derive("password-in-command-hash"),
            passwords: Passwords::new(password_cost)?,
            code_keys: CodeKeys::new(&secret),
            codes_under_way: Arc::new(Semaphore::new(CODES_UNDER_WAY_MAX)),
            afterwards: TaskTracker::new(),
            conversations: executor(&store, &snapshots, limits)?,
            users: executor(&store, &snapshots, limits)?,
            sessions: executor(&store, &snapshots, limits)?,
            reservations: executor(&store, &snapshots, limits)?,
            services: executor(&store, &snapshots, limits)?,
            owners: executor(&store, &snapshots, limits)?,
            attachments: Attachments::new(attachments, executor(&store, &snapshots, limits)?),
            notifications: executor(&store, &snapshots, limits)?,
            telling: Telling::new(notifications, &secret)?,
            spaces: executor(&store, &snapshots, limits)?,
            invite_keys: InviteKeys::new(&secret),
            service_tokens: ServiceTokens::new(&secret),
            beginnings: Beginnings::default(),
            marks,
            seen,
            snapshots,
            store,
        })))
    }

    /// Whether the secret is the one that the log was written with: handles are reserved under it,
    /// and with another everybody's would be free again. Known by the first user of the log; of a
    /// log without users every secret is.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn is_secret_of_log(&self) -> Result<bool, Failure> {
        let first = self.0.store.read_all(Position::ZERO, FIRST_EVENTS).await?;
        let registered = first.iter().find_map(|recorded| match recorded.event() {
            Ok(Event::User(UserEvent::Registered(registered))) => Some(registered),
            _ => None,
        });
        let Some(registered) = registered else {
            return Ok(true);
        };
        let stream = self.handle_stream(&registered.handle);
        let reserved = self
            .0
            .store
            .read_stream(&stream, Version(1), Direction::Forward, 1);
        Ok(!reserved.await?.is_empty())
    }

    /// Takes no more commands and returns when those that were taken are answered. Takes about a
    /// second where marks wait for their turn.
    pub async fn close(&self) {
        // First, because it asks the executors.
        self.0.afterwards.close();
        self.0.afterwards.wait().await;
        futures::join!(
            self.0.marks.close(),
            self.0.conversations.close(),
            self.0.users.close(),
            self.0.sessions.close(),
            self.0.reservations.close(),
            self.0.services.close(),
            self.0.owners.close(),
            self.0.attachments.executor.close(),
            self.0.notifications.close(),
            self.0.spaces.close(),
        );
    }

    /// Carries out commands on conversations. Decides only what the domain decides: whoever uses it
    /// has checked who asks.
    pub fn conversations(&self) -> &Executor<Conversation> {
        &self.0.conversations
    }

    /// Carries out commands on accounts, likewise.
    pub fn users(&self) -> &Executor<User> {
        &self.0.users
    }

    /// Carries out commands on handles, addresses and the ownership of the server, likewise.
    pub fn reservations(&self) -> &Executor<Reservation> {
        &self.0.reservations
    }

    /// The stream that says who holds `handle`.
    pub fn handle_stream(&self, handle: &Handle) -> StreamName {
        StreamName::handle(&self.digest("handle", handle.as_str()))
    }

    /// The stream that says who holds `email`.
    pub fn email_stream(&self, email: &Email) -> StreamName {
        StreamName::email(&self.digest("email", email.as_str()))
    }

    fn digest(&self, kind: &str, value: &str) -> String {
        let data = format!("{kind}\n{value}");
        hex(&keyed_hash(&self.0.reservation_key, data.as_bytes()))
    }

    /// The account whose handle or e-mail address `login` is, as of now.
    pub async fn find_user(&self, login: &str) -> Result<Option<(UserId, Account)>, Failure> {
        let email = Email::parse(login).ok();
        let handle = Handle::parse(login).ok();
        let stream = match (&email, &handle) {
            (Some(email), _) => self.email_stream(email),
            (None, Some(handle)) => self.handle_stream(handle),
            (None, None) => return Ok(None),
        };
        let Some(user) = self.0.seen.reservations.current(&stream).await?.holder else {
            return Ok(None);
        };
        // A claim that was never made good is nobody's, and an address is theirs who proved it.
        let account = self.account(user).await?.filter(|account| match &email {
            Some(email) => account.has_proven_address(email),
            None => handle.as_ref() == Some(&account.handle),
        });
        Ok(account.map(|account| (user, account)))
    }

    /// Who holds what `stream` reserves, as of now.
    pub(crate) async fn holder(&self, stream: &StreamName) -> Result<Option<UserId>, Failure> {
        Ok(self.0.seen.reservations.current(stream).await?.holder)
    }

    /// The account of `user`, as of now.
    pub(crate) async fn account(&self, user: UserId) -> Result<Option<Account>, Failure> {
        let state = self.0.seen.users.current(&StreamName::user(user)).await?;
        Ok(state.account.clone())
    }

    /// Whether `blocker` blocks `user`, as of at most [`States::AGE_MAX`] ago; after
    /// [`Self::forget_user`] as of now.
    pub(crate) async fn blocks(&self, blocker: UserId, user: UserId) -> Result<bool, Failure> {
        let stream = StreamName::user(blocker);
        let state = self.0.seen.users.recent(&stream).await?;
        Ok(state.account.as_ref().is_some_and(|it| it.blocks(user)))
    }

    /// The role that `user` has at the least in groups that they are in, as of at most
    /// [`States::AGE_MAX`] ago; after [`Self::forget_user`] as of now.
    pub(crate) async fn inherited_role(&self, user: UserId) -> Result<Option<Role>, Failure> {
        let state = self.0.guard.recent_user(user).await?;
        Ok(state.account.as_ref().and_then(Role::inherited_by))
    }

    /// What `user` lets others learn, as of at most [`States::AGE_MAX`] ago; after
    /// [`Self::forget_user`] as of now.
    pub(crate) async fn privacy(&self, user: UserId) -> Result<Privacy, Failure> {
        let state = self.0.guard.recent_user(user).await?;
        let account = state.account.as_ref();
        Ok(account.map(|it| it.privacy).unwrap_or_default())
    }

    /// Carries `command` out on the account of `user`, and makes it count at once on this node.
    pub(crate) async fn change_account(
        &self,
        user: UserId,
        envelope: Envelope,
        command: user::Command,
    ) -> Result<Done, ExecuteError<user::Refused>> {
        let stream = StreamName::user(user);
        let done = self.users().execute(&stream, envelope, command).await?;
        self.forget_user(user).await;
        Ok(done)
    }

    /// Makes what was changed about the account of `user` count at once on this node.
    pub(crate) async fn forget_user(&self, user: UserId) {
        self.0.seen.users.forget(&StreamName::user(user)).await;
        self.0.guard.forget_user(user).await;
    }

    /// The state of a service, as of now.
    pub(crate) async fn service(&self, service: ServiceId) -> Result<Arc<ServiceState>, Failure> {
        let stream = StreamName::service(service);
        self.0.seen.services.current(&stream).await
    }

    /// Whether there is an account; accounts never go away.
    pub(crate) async fn user_exists(&self, user: UserId) -> Result<bool, Failure> {
        let stream = StreamName::user(user);
        if self.0.seen.users.recent(&stream).await?.account.is_some() {
            return Ok(true);
        }
        Ok(self.0.seen.users.current(&stream).await?.account.is_some())
    }

    /// The state of a session, as of now.
    pub(crate) async fn session(
        &self,
        session: domain::SessionId,
    ) -> Result<Arc<domain::session::State>, Failure> {
        let stream = StreamName::session(session);
        self.0.seen.sessions.current(&stream).await
    }

    /// Asks `act` of `conversation`. `name` and `fields` are all that was asked, for the command's
    /// hash.
    pub(crate) async fn converse(
        &self,
        asking: Asking,
        conversation: ConversationId,
        act: Act,
        name: &str,
        fields: &(impl Serialize + Sync),
    ) -> Result<Answer, Problem> {
        let envelope = asking.envelope(&(name, conversation, fields))?;
        let stream = StreamName::conversation(conversation);
        let contact = self.contact(asking.user, conversation, &act).await?;
        let inherited = self.inherited(asking.user, &act).await?;
        let allowed = self.allowed(asking.user, conversation, &act).await?;
        let command = Command::User(Box::new(UserCommand {
            by: asking.user,
            act,
            contact,
            inherited,
            allowed,
        }));
        let done = self.0.conversations.execute(&stream, envelope, command);
        Ok(Answer::new(conversation.0, done.await?))
    }

    /// What is known for ever of message `seq`. Whoever is not in the conversation gets the same
    /// answer as for one that does not exist.
    pub(crate) async fn message(
        &self,
        asker: UserId,
        conversation: ConversationId,
        seq: Seq,
    ) -> Result<MessageFact, Problem> {
        if let Some(ConversationEvent::MessageSent(sent)) = self.said(conversation, seq).await? {
            return Ok(MessageFact {
                seq,
                author: sent.author,
                kind: sent.said.kind(),
                thread: sent.thread,
            });
        }
        self.membership(asker, conversation).await?;
        Err(Problem::refused(&Refused::MessageNotFound))
    }

    /// What happened in `conversation` at `seq`; `None` where nothing did.
    pub(crate) async fn said(
        &self,
        conversation: ConversationId,
        seq: Seq,
    ) -> Result<Option<ConversationEvent>, Failure> {
        let stream = StreamName::conversation(conversation);
        Ok(match self.event_at(&stream, seq).await? {
            Some((Event::Conversation(event), _)) => Some(event),
            _ => None,
        })
    }

    /// What was uploaded, and where in the log that stands; `None` where nothing was.
    pub(crate) async fn uploaded(
        &self,
        stream: &StreamName,
    ) -> Result<Option<(Uploaded, Position)>, Failure> {
        Ok(match self.event_at(stream, Version(1)).await? {
            Some((Event::Attachment(AttachmentEvent::Uploaded(uploaded)), position)) => {
                Some((uploaded, position))
            }
            _ => None,
        })
    }

    /// The event of `stream` with this version, and where in the log it stands; `None` where there is none.
    pub(crate) async fn event_at(
        &self,
        stream: &StreamName,
        version: Version,
    ) -> Result<Option<(Event, Position)>, Failure> {
        let found = self
            .0
            .store
            .read_stream(stream, version, Direction::Forward, 1)
            .await?;
        let Some(recorded) = found.first().filter(|event| event.version == version) else {
            return Ok(None);
        };
        let event = recorded
            .event()
            .map_err(|error| Failure::internal("read an event", error))?;
        Ok(Some((event, recorded.position)))
    }

    /// The newest state of a conversation, for those who are in it; 404 `conversation_not_found`
    /// for others.
    pub(crate) async fn membership(
        &self,
        asker: UserId,
        conversation: ConversationId,
    ) -> Result<Arc<domain::conversation::State>, Problem> {
        let stream = StreamName::conversation(conversation);
        let state = self.0.seen.conversations.current(&stream).await?;
        if state.role(asker).is_some() {
            Ok(state)
        } else {
            Err(Problem::refused(&Refused::NotFound))
        }
    }

    /// What stands in for a password in a command's hash: the log must not help to guess it.
    pub(crate) fn password_mark(&self, password: &str) -> String {
        hex(&keyed_hash(&self.0.password_key, password.as_bytes()))
    }

    /// The log, to be held on to.
    pub(crate) fn store_port(&self) -> Arc<dyn EventStore> {
        Arc::clone(&self.0.store)
    }

    pub(crate) fn store(&self) -> &dyn EventStore {
        &*self.0.store
    }

    pub(crate) fn guard(&self) -> &Guard {
        &self.0.guard
    }

    pub(crate) fn issuers(&self) -> &Issuers {
        &self.0.issuers
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.0.clock
    }

    pub(crate) fn session_rules(&self) -> SessionRules {
        self.0.session_rules
    }

    pub(crate) fn login_gate(&self) -> &LoginGate {
        &self.0.login_gate
    }

    pub(crate) fn second_factors(&self) -> &SecondFactors {
        &self.0.second_factors
    }

    pub(crate) fn owner_code(&self) -> Option<&OwnerCode> {
        self.0.owner_code.as_ref()
    }

    pub(crate) fn passwords(&self) -> &Passwords {
        &self.0.passwords
    }

    pub(crate) fn code_keys(&self) -> &CodeKeys {
        &self.0.code_keys
    }

    /// How many codes may still be looked after at once.
    pub(crate) fn codes_under_way(&self) -> &Arc<Semaphore> {
        &self.0.codes_under_way
    }

    /// What goes on after its request was answered; closing waits for it.
    pub(crate) fn afterwards(&self) -> &TaskTracker {
        &self.0.afterwards
    }

    pub(crate) fn sessions(&self) -> &Executor<Session> {
        &self.0.sessions
    }

    pub(crate) fn services(&self) -> &Executor<Service> {
        &self.0.services
    }

    pub(crate) fn owners(&self) -> &Executor<Owners> {
        &self.0.owners
    }

    /// What `user` has set, as of now.
    pub(crate) async fn notifications_of(
        &self,
        user: UserId,
    ) -> Result<Arc<domain::notifications::State>, Failure> {
        let stream = StreamName::notifications(user);
        self.0.seen.notifications.current(&stream).await
    }

    pub(crate) fn notifications(&self) -> &Executor<Notifications> {
        &self.0.notifications
    }

    pub(crate) fn telling(&self) -> &Telling {
        &self.0.telling
    }

    pub(crate) fn service_tokens(&self) -> &ServiceTokens {
        &self.0.service_tokens
    }

    pub(crate) fn attachments(&self) -> &Attachments {
        &self.0.attachments
    }

    pub(crate) fn attachment_states(&self) -> &States<Attachment> {
        &self.0.seen.attachments
    }

    pub(crate) fn beginnings(&self) -> &Beginnings {
        &self.0.beginnings
    }

    /// Carries out commands on spaces. Their channels do not follow by it, see [`Self::rule`].
    pub(crate) fn spaces(&self) -> &Executor<SpaceRules> {
        &self.0.spaces
    }

    pub(crate) fn invite_keys(&self) -> &InviteKeys {
        &self.0.invite_keys
    }

    /// Where what can be lost is kept.
    pub(crate) fn snapshots(&self) -> &dyn Snapshots {
        &*self.0.snapshots
    }

    /// The space as of now.
    pub(crate) async fn space_now(&self, space: SpaceId) -> Result<Arc<SpaceState>, Failure> {
        self.0.seen.spaces.current(&StreamName::space(space)).await
    }

    /// The space as of at most [`States::AGE_MAX`] ago; after [`Self::space_now`] as of then.
    pub(crate) async fn space_recently(&self, space: SpaceId) -> Result<Arc<SpaceState>, Failure> {
        self.0.seen.spaces.recent(&StreamName::space(space)).await
    }

    pub(crate) fn marks(&self) -> &Marks {
        &self.0.marks
    }
}
