//! A server with a log in memory, people to talk, and clients.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::http::StatusCode;
use domain::conversation::{
    ConversationEvent, HistoryVisibility, Kind, MemberAdded, MemberLeft, MemberRemoved, MemberRole,
    MessageSent, Role, Started,
};
use domain::receipts::{MarkedUpTo, ReceiptsEvent};
use domain::service::{Created, Scope, ServiceEvent, TokenIssued};
use domain::session::{Opened, Revoked, RevokedBecause, SessionEvent};
use domain::user::{
    ExternalIdentityUnlinked, LoggedOutEverywhere, PresenceChosen, Registered, Shown, SystemRole,
    SystemRoleChanged, UnlinkedBecause, UserEvent,
};
use domain::values::{DisplayName, Handle, IssuerName, MessageBody, Subject, Title};
use domain::{
    Actor, CommandId, ConversationId, Event, Metadata, Personal, Position, Seq, ServiceId,
    SessionId, StreamName, UserId, Version,
};
use futures::{SinkExt as _, StreamExt as _};
use gateway::{
    Gateway, Limits, LogMemberships, Memberships, MembershipsAt, MembershipsError, Parts,
};
use infra::auth::{Caller, Guard, ServiceTokens, Tokens, hash_of_service_token};
use infra::bus::{LocalSignals, LogEvents, Signal, Signals};
use infra::clock::{Clock, fresh_id};
use infra::commands::{Accepted, CommandDoor, FrameCommand};
use infra::event_store::{
    AppendError, Appended, Direction, EventStore, Expected, MemoryEventStore, NewEvent,
    RecordedEvent,
};
use infra::failure::Failure;
use infra::keys::Secret;
use infra::limits::{Limit, Limiter};
use infra::problem::Problem;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// Longer than anything here takes; only a broken build waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct World {
    pub(crate) store: Arc<dyn EventStore>,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) address: SocketAddr,
    pub(crate) openapi: utoipa::openapi::OpenApi,
    pub(crate) door: Arc<TestDoor>,
    pub(crate) signals: Arc<TestSignals>,
    secret: Secret,
}

#[derive(Clone)]
pub(crate) struct User {
    pub(crate) id: UserId,
    pub(crate) login: SessionId,
    pub(crate) token: String,
}

impl User {
    /// The same, who comes in with another token.
    pub(crate) fn with_token(&self, token: String) -> Self {
        let mut user = self.clone();
        user.token = token;
        user
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Limits::default()).await
    }

    pub(crate) async fn with(limits: Limits) -> Self {
        let clock = Clock::system();
        let store: Arc<dyn EventStore> = Arc::new(MemoryEventStore::new(clock.clone()));
        Self::over(store, limits).await
    }

    /// A server whose memberships are as old as they may be, each time they are asked.
    pub(crate) async fn with_old_memberships(limits: Limits) -> Self {
        let store: Arc<dyn EventStore> = Arc::new(MemoryEventStore::new(Clock::system()));
        let memberships = Arc::new(OldMemberships(Arc::clone(&store)));
        Self::of(store, memberships, Arc::default(), limits, Limit::Off).await
    }

    /// A server that counts what a user sends over all connections.
    pub(crate) async fn with_user_pace(user_pace: Limit) -> Self {
        let store: Arc<dyn EventStore> = Arc::new(MemoryEventStore::new(Clock::system()));
        let memberships = Arc::new(LogMemberships::new(Arc::clone(&store)));
        Self::of(
            store,
            memberships,
            Arc::default(),
            Limits::default(),
            user_pace,
        )
        .await
    }

    /// A server over a log that is there already, as after a restart.
    pub(crate) async fn over(store: Arc<dyn EventStore>, limits: Limits) -> Self {
        let memberships = Arc::new(LogMemberships::new(Arc::clone(&store)));
        Self::of(store, memberships, Arc::default(), limits, Limit::Off).await
    }

    /// Another node of the same server.
    pub(crate) async fn another_node(&self, limits: Limits) -> Self {
        let memberships = Arc::new(LogMemberships::new(Arc::clone(&self.store)));
        let signals = Arc::clone(&self.signals);
        Self::of(
            Arc::clone(&self.store),
            memberships,
            signals,
            limits,
            Limit::Off,
        )
        .await
    }

    async fn of(
        store: Arc<dyn EventStore>,
        memberships: Arc<dyn Memberships>,
        signals: Arc<TestSignals>,
        limits: Limits,
        user_pace: Limit,
    ) -> Self {
        let clock = Clock::system();
        let secret = Secret::new([3; 32]);
        let tokens = Tokens::new(&secret).unwrap();
        let door = Arc::new(TestDoor {
            store: Arc::clone(&store),
            running: std::sync::atomic::AtomicUsize::new(0),
            gate: tokio::sync::Semaphore::new(0),
        });
        let parts = Parts {
            memberships,
            guard: Arc::new(Guard::new(tokens, &store, &clock)),
            door: Arc::clone(&door) as Arc<dyn CommandDoor>,
            live: Box::new(LogEvents::new(&store, *store.head().borrow())),
            signals: Arc::clone(&signals) as Arc<dyn Signals>,
            store: Arc::clone(&store),
            clock,
            limits,
            user_pace: Arc::new(Limiter::new(user_pace)),
        };
        let gateway = Gateway::start(parts, &secret);
        let (router, openapi) = gateway::routes(Arc::clone(&gateway)).split_for_parts();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            store,
            gateway,
            address,
            openapi,
            door,
            signals,
            secret,
        }
    }

    pub(crate) async fn append(&self, stream: &StreamName, by: Actor, event: Event) -> Version {
        append(&self.store, stream, by, event).await.0
    }

    pub(crate) async fn user(&self, handle: &str) -> User {
        self.user_until(handle, chrono::TimeDelta::days(1)).await
    }

    pub(crate) async fn user_until(&self, handle: &str, good_for: chrono::TimeDelta) -> User {
        let id = UserId(fresh_id());
        let registered = UserEvent::Registered(Registered {
            email: None,
            display_name: Personal::new(id, DisplayName::parse(handle).unwrap()),
            handle: Handle::parse(handle).unwrap(),
            imported_from: None,
        });
        self.append(&StreamName::user(id), Actor::User(id), registered.into())
            .await;
        self.login(id, good_for).await
    }

    pub(crate) async fn login(&self, id: UserId, good_for: chrono::TimeDelta) -> User {
        let login = SessionId(fresh_id());
        let now = Clock::system().now();
        let opened = SessionEvent::Opened(Opened {
            user: id,
            expires_at: now + good_for,
            device: None,
            address: None,
            refresh_hash: None,
            login_epoch: 0,
            vouched_by: None,
            amr: [].into(),
        });
        self.append(&StreamName::session(login), Actor::User(id), opened.into())
            .await;
        let tokens = Tokens::new(&self.secret).unwrap();
        let token_until = now + good_for + chrono::TimeDelta::seconds(1);
        let token = tokens.sign(id, login, now, token_until).unwrap();
        User { id, login, token }
    }

    /// Another token of the login of `user`.
    pub(crate) fn token(&self, user: &User, good_for: chrono::TimeDelta) -> String {
        let tokens = Tokens::new(&self.secret).unwrap();
        let now = Clock::system().now();
        let token = tokens.sign(user.id, user.login, now, now + good_for);
        token.unwrap()
    }

    /// Ends all logins of `user` but that of `kept`.
    pub(crate) async fn log_out_everywhere(&self, user: &User, epoch: u32, kept: Option<&User>) {
        let kept = kept.map(|kept| kept.login);
        let out = UserEvent::LoggedOutEverywhere(LoggedOutEverywhere { epoch, kept });
        self.append(&StreamName::user(user.id), Actor::User(user.id), out.into())
            .await;
    }

    pub(crate) async fn log_out(&self, user: &User) {
        let because = RevokedBecause::LoggedOut;
        let revoked = SessionEvent::Revoked(Revoked { because });
        let stream = StreamName::session(user.login);
        self.append(&stream, Actor::User(user.id), revoked.into())
            .await;
    }

    /// An identity is no way into somebody's account any more.
    pub(crate) async fn unlink(&self, user: &User) {
        let unlinked = UserEvent::ExternalIdentityUnlinked(ExternalIdentityUnlinked {
            issuer: IssuerName::parse("google").unwrap(),
            subject: Personal::new(user.id, Subject::parse("7").unwrap()),
            because: UnlinkedBecause::Asked,
            as_of: None,
        });
        let stream = StreamName::user(user.id);
        self.append(&stream, Actor::User(user.id), unlinked.into())
            .await;
    }

    pub(crate) async fn happens_to(&self, user: UserId, event: UserEvent) {
        self.append(&StreamName::user(user), Actor::Operator, event.into())
            .await;
    }

    /// Gives `service`, which acts as `bot`, its token number `generation`; the first makes it.
    pub(crate) async fn service_token(
        &self,
        service: ServiceId,
        bot: Option<UserId>,
        generation: u32,
    ) -> String {
        let token = ServiceTokens::new(&self.secret).token(service, generation);
        let stream = StreamName::service(service);
        if generation == 1 {
            let scope = bot.map_or(Scope::Auditor, |_| Scope::Bot);
            let created = ServiceEvent::Created(Created {
                name: DisplayName::parse("A service").unwrap(),
                scopes: [scope].into(),
                account: bot,
                by: Actor::Operator,
            });
            self.append(&stream, Actor::Operator, created.into()).await;
        }
        let issued = ServiceEvent::TokenIssued(TokenIssued {
            generation,
            hash: hash_of_service_token(&token),
            expires_at: None,
        });
        self.append(&stream, Actor::Operator, issued.into()).await;
        token
    }

    /// Chooses as what `user` is shown.
    pub(crate) async fn choose(&self, user: &User, shown: Shown) {
        let chosen = PresenceChosen { shown, until: None };
        self.happens_to(user.id, UserEvent::PresenceChosen(chosen))
            .await;
    }

    pub(crate) async fn role(&self, user: &User, role: SystemRole, has: bool) {
        let changed = SystemRoleChanged { role };
        let event = if has {
            UserEvent::SystemRoleGranted(changed)
        } else {
            UserEvent::SystemRoleRevoked(changed)
        };
        self.append(&StreamName::user(user.id), Actor::Operator, event.into())
            .await;
    }

    pub(crate) async fn start(&self, members: &[&User]) -> ConversationId {
        let id = ConversationId(fresh_id());
        let owner = members[0].id;
        let started = Started {
            kind: Kind::Group,
            title: Some(Personal::new(owner, Title::parse("A group").unwrap())),
            creator: Some(owner),
            members: members
                .iter()
                .map(|member| MemberRole {
                    user: member.id,
                    role: Role::Member,
                })
                .collect(),
            history_visibility: HistoryVisibility::Joined,
            channel: None,
        };
        self.conversation(id, members[0], ConversationEvent::Started(started))
            .await;
        id
    }

    pub(crate) async fn conversation(
        &self,
        id: ConversationId,
        by: &User,
        event: ConversationEvent,
    ) -> Seq {
        let stream = StreamName::conversation(id);
        self.append(&stream, Actor::User(by.id), event.into()).await
    }

    pub(crate) async fn say(&self, id: ConversationId, by: &User, text: &str) -> Seq {
        self.conversation(id, by, message(by.id, text)).await
    }

    pub(crate) async fn add(&self, id: ConversationId, by: &User, user: &User) -> Seq {
        let added = MemberAdded {
            user: user.id,
            role: Role::Member,
        };
        self.conversation(id, by, ConversationEvent::MemberAdded(added))
            .await
    }

    pub(crate) async fn remove(&self, id: ConversationId, by: &User, user: &User) -> Seq {
        let removed = MemberRemoved {
            user: user.id,
            by: by.id,
        };
        self.conversation(id, by, ConversationEvent::MemberRemoved(removed))
            .await
    }

    pub(crate) async fn leave(&self, id: ConversationId, user: &User) -> Seq {
        let left = MemberLeft { user: user.id };
        self.conversation(id, user, ConversationEvent::MemberLeft(left))
            .await
    }

    pub(crate) async fn see(&self, id: ConversationId, by: &User, seq: Seq) -> Version {
        self.see_as(id, by, seq, false).await
    }

    /// The same, where others do not learn of it if it is `private`.
    pub(crate) async fn see_as(
        &self,
        id: ConversationId,
        by: &User,
        seq: Seq,
        private: bool,
    ) -> Version {
        let mark = MarkedUpTo {
            member: by.id,
            seq,
            private,
        };
        let event = ReceiptsEvent::Seen(mark).into();
        self.append(&StreamName::receipts(id), Actor::User(by.id), event)
            .await
    }

    pub(crate) async fn connect(&self) -> Client {
        let mut client = self.connect_raw(Some("verbatim.v1.json")).await.unwrap();
        client.expect("hello").await;
        client
    }

    pub(crate) async fn connect_raw(&self, subprotocol: Option<&str>) -> Result<Client, Error> {
        let subprotocol = subprotocol.map(|name| ("sec-websocket-protocol", name));
        self.connect_with(subprotocol.as_slice()).await
    }

    /// Connects as a browser that sends these headers.
    pub(crate) async fn connect_with(
        &self,
        headers: &[(&'static str, &str)],
    ) -> Result<Client, Error> {
        let url = format!("ws://{}/v1/stream", self.address);
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let (socket, _) = connect_async(request).await?;
        Ok(Client { socket })
    }

    /// Connects and identifies without a cursor.
    pub(crate) async fn live(&self, user: &User) -> (Client, Value) {
        let mut client = self.connect().await;
        client
            .send(json!({"op": "identify", "token": user.token}))
            .await;
        let ready = client.expect("ready").await;
        (client, ready)
    }

    /// Connects and identifies, again and again until `ready` is as it should be.
    pub(crate) async fn live_where(&self, user: &User, good: impl Fn(&Value) -> bool) -> Client {
        let connected = async {
            loop {
                let (client, ready) = self.live(user).await;
                if good(&ready) {
                    return client;
                }
            }
        };
        let connected = tokio::time::timeout(PATIENCE, connected).await;
        connected.expect("it never was as it should be")
    }

    /// Connects and identifies with a cursor.
    pub(crate) async fn back(&self, user: &User, cursor: &str) -> (Client, Value) {
        let mut client = self.connect().await;
        client
            .send(json!({"op": "identify", "token": user.token, "cursor": cursor}))
            .await;
        let resumed = client.expect("resumed").await;
        (client, resumed)
    }

    /// What `user` may see of the log after `after`, in its order.
    pub(crate) async fn visible(&self, user: &User, after: Position) -> Vec<Seen> {
        let mut inside = std::collections::HashSet::new();
        let mut seen = Vec::new();
        let mut from = Position::ZERO;
        loop {
            let page = self.store.read_all(from, 1_000).await.unwrap();
            let Some(last) = page.last() else { return seen };
            from = last.position;
            for recorded in page {
                let Some(conversation) = recorded.stream.conversation_id() else {
                    continue;
                };
                let event = recorded.event().unwrap();
                let (taken_in, put_out) = match &event {
                    Event::Conversation(ConversationEvent::Started(started)) => {
                        (started.members.iter().any(|m| m.user == user.id), false)
                    }
                    Event::Conversation(ConversationEvent::MemberAdded(added)) => {
                        (added.user == user.id, false)
                    }
                    Event::Conversation(ConversationEvent::MemberRemoved(removed)) => {
                        (false, removed.user == user.id)
                    }
                    Event::Conversation(ConversationEvent::MemberLeft(left)) => {
                        (false, left.user == user.id)
                    }
                    _ => (false, false),
                };
                if taken_in {
                    inside.insert(conversation);
                }
                if inside.contains(&conversation) && recorded.position > after {
                    seen.push(Seen {
                        position: recorded.position,
                        conversation,
                        event_type: recorded.event_type.as_ref().to_owned(),
                        seq: recorded.version,
                    });
                }
                if put_out {
                    inside.remove(&conversation);
                }
            }
        }
    }

    /// Where somebody said "The end", if they did.
    pub(crate) async fn has_ended(&self) -> Option<Position> {
        let head = *self.store.head().borrow();
        let before = Position(head.0.saturating_sub(1));
        let last = self.store.read_all(before, 1).await.unwrap();
        let last = last.first()?;
        let Ok(Event::Conversation(ConversationEvent::MessageSent(sent))) = last.event() else {
            return None;
        };
        (sent.said.text() == Some("The end")).then_some(last.position)
    }

    /// Waits until the server has no connection.
    pub(crate) async fn until_nobody_is_connected(&self) {
        eventually(|| self.gateway.status().connections == 0).await;
    }
}

/// Signals that can be lost.
#[derive(Default)]
pub(crate) struct TestSignals {
    passing: LocalSignals,
    pub(crate) are_lost: std::sync::atomic::AtomicBool,
}

impl Signals for TestSignals {
    fn send(&self, signal: &Signal) {
        if !self.are_lost.load(std::sync::atomic::Ordering::SeqCst) {
            self.passing.send(signal);
        }
    }

    fn listen(&self) -> tokio::sync::broadcast::Receiver<Signal> {
        self.passing.listen()
    }
}

/// Memberships exactly as they were at the position that is asked for at least.
struct OldMemberships(Arc<dyn EventStore>);

/// A log that ends at a position.
struct Cut {
    store: Arc<dyn EventStore>,
    at: Position,
}

impl OldMemberships {
    fn at(&self, at: Position) -> LogMemberships {
        let store = Arc::clone(&self.0);
        LogMemberships::new(Arc::new(Cut { store, at }))
    }
}

#[async_trait]
impl Memberships for OldMemberships {
    async fn of_user(
        &self,
        user: UserId,
        ended_after: Position,
        at_least: Position,
    ) -> Result<MembershipsAt, MembershipsError> {
        let old = self.at(at_least);
        let answer = old.of_user(user, ended_after, at_least).await;
        // The answer is on its way for a while, and gets older.
        tokio::time::sleep(Duration::from_millis(10)).await;
        answer
    }

    async fn of_member(
        &self,
        user: UserId,
        conversation: ConversationId,
        at_least: Position,
    ) -> Result<MembershipsAt, MembershipsError> {
        let old = self.at(at_least);
        old.of_member(user, conversation, at_least).await
    }
}

#[async_trait]
impl EventStore for Cut {
    async fn append(
        &self,
        _stream: &StreamName,
        _expected: Expected,
        _events: Vec<NewEvent>,
    ) -> Result<Appended, AppendError> {
        Err(AppendError::Invalid("this log is for reading"))
    }

    async fn read_stream(
        &self,
        stream: &StreamName,
        from: Version,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Arc<RecordedEvent>>, Failure> {
        self.store.read_stream(stream, from, direction, limit).await
    }

    async fn read_all(
        &self,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Arc<RecordedEvent>>, Failure> {
        let mut page = self.store.read_all(after, limit).await?;
        page.retain(|event| event.position <= self.at);
        Ok(page)
    }

    fn head(&self) -> tokio::sync::watch::Receiver<Position> {
        self.store.head()
    }
}

/// An event as somebody saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) position: Position,
    pub(crate) conversation: ConversationId,
    pub(crate) event_type: String,
    pub(crate) seq: Seq,
}

impl Seen {
    /// As an event frame shows it.
    pub(crate) fn of(frame: &Value) -> Self {
        Self {
            position: position_of(frame["cursor"].as_str().unwrap()),
            conversation: frame["conversation"].as_str().unwrap().parse().unwrap(),
            event_type: frame["type"].as_str().unwrap().to_owned(),
            seq: Version(frame["seq"].as_u64().unwrap()),
        }
    }
}

/// Clients must not look into cursors; tests may.
pub(crate) fn position_of(cursor: &str) -> Position {
    cursor.split_once('.').unwrap().0.parse().unwrap()
}

pub(crate) fn message(by: UserId, text: &str) -> ConversationEvent {
    let body = MessageBody::parse(text).unwrap();
    ConversationEvent::MessageSent(MessageSent::plain(by, body))
}

/// Appends many messages at once.
pub(crate) async fn append_many(world: &World, id: ConversationId, by: &User, count: usize) {
    let metadata = metadata_of(Actor::User(by.id));
    let events = (0..count).map(|index| {
        let event = message(by.id, &format!("{index} of many")).into();
        NewEvent::encode(&event, &metadata, index).unwrap()
    });
    let stream = StreamName::conversation(id);
    let appended = world
        .store
        .append(&stream, Expected::Any, events.collect())
        .await;
    appended.unwrap();
}

pub(crate) async fn append(
    store: &Arc<dyn EventStore>,
    stream: &StreamName,
    by: Actor,
    event: Event,
) -> (Version, Position) {
    let metadata = metadata_of(by);
    let event = NewEvent::encode(&event, &metadata, 0).unwrap();
    let appended = store.append(stream, Expected::Any, vec![event]).await;
    let appended = appended.unwrap();
    (appended.last_version(), appended.position())
}

fn metadata_of(actor: Actor) -> Metadata {
    Metadata {
        actor,
        command_id: CommandId(fresh_id()),
        command_hash: String::from("0123456789abcdef0123456789abcdef"),
        correlation_id: None,
        causation_id: None,
        traceparent: None,
        occurred_at: None,
    }
}

/// Waits until `holds`, looking now and then.
pub(crate) async fn eventually(holds: impl Fn() -> bool) {
    let looked = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looked)
        .await
        .expect("it never came true");
}

/// A client over a WebSocket.
pub(crate) struct Client {
    pub(crate) socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Client {
    pub(crate) async fn send(&mut self, frame: Value) {
        self.send_raw(Message::text(frame.to_string())).await;
    }

    pub(crate) async fn send_raw(&mut self, message: Message) {
        self.socket.send(message).await.unwrap();
    }

    /// The next frame; `None` once the connection is gone.
    pub(crate) async fn try_next(&mut self) -> Option<Value> {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.socket.next())
                .await
                .expect("nothing came");
            match message {
                Some(Ok(Message::Text(text))) => {
                    return Some(serde_json::from_str(text.as_str()).unwrap());
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    pub(crate) async fn next(&mut self) -> Value {
        self.try_next().await.expect("the connection ended")
    }

    /// The next frame, which has to have this op.
    pub(crate) async fn expect(&mut self, op: &str) -> Value {
        let frame = self.next().await;
        assert_eq!(frame["op"], op, "{frame}");
        frame
    }

    /// The next frame but presence, which has to have this op.
    pub(crate) async fn expect_quietly(&mut self, op: &str) -> Value {
        loop {
            let frame = self.next().await;
            if frame["type"] != "presence" {
                assert_eq!(frame["op"], op, "{frame}");
                return frame;
            }
        }
    }

    /// The next frame, which has to be an error with this code.
    pub(crate) async fn expect_error(&mut self, code: &str) -> Value {
        let frame = self.expect_quietly("error").await;
        assert_eq!(frame["problem"]["code"], code, "{frame}");
        frame
    }

    /// The code with which the server closes; frames before it are passed over.
    pub(crate) async fn closed_with(&mut self) -> u16 {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.socket.next())
                .await
                .expect("nothing came");
            match message {
                Some(Ok(Message::Close(Some(close)))) => return close.code.into(),
                Some(Ok(Message::Text(_) | Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("not closed but {other:?}"),
            }
        }
    }

    /// That the connection lives and nothing is on its way: an answer comes, and comes first.
    pub(crate) async fn is_quiet(&mut self) {
        self.send(json!({"op": "heartbeat"})).await;
        self.expect("heartbeat_ack").await;
    }
}

/// Takes `send_message {conversation, body}`; `wait` waits until the gate is opened.
pub(crate) struct TestDoor {
    store: Arc<dyn EventStore>,
    pub(crate) running: std::sync::atomic::AtomicUsize,
    pub(crate) gate: tokio::sync::Semaphore,
}

#[async_trait]
impl CommandDoor for TestDoor {
    async fn run(&self, caller: &Caller, command: FrameCommand<'_>) -> Result<Accepted, Problem> {
        #[derive(serde::Deserialize)]
        struct SendMessage {
            conversation: ConversationId,
            body: String,
        }
        match command.op {
            "send_message" => {
                let send: SendMessage = infra::http::parse_json(command.frame.get().as_bytes())?;
                let stream = StreamName::conversation(send.conversation);
                let event = message(caller.user, &send.body).into();
                let by = Actor::User(caller.user);
                let (seq, position) = append(&self.store, &stream, by, event).await;
                let id = send.conversation.0;
                Ok(Accepted { id, seq, position })
            }
            "wait" => {
                use std::sync::atomic::Ordering::SeqCst;
                self.running.fetch_add(1, SeqCst);
                self.gate.acquire().await.unwrap().forget();
                self.running.fetch_sub(1, SeqCst);
                Ok(Accepted {
                    id: caller.user.0,
                    seq: Version(1),
                    position: Position(1),
                })
            }
            _ => Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "unknown_op",
                "There is no such command",
            )),
        }
    }
}
