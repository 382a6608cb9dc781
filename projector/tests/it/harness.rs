//! A log in memory, read databases of both kinds, and a few people who say things.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use domain::attachment::{
    AttachmentEvent, Dimensions, Erased, Removed, RemovedBecause, Thumbnail, Uploaded,
};
use domain::conversation::{
    ArchiveChanged, ConversationEvent, FollowChanged, HistoryVisibility, Kind, MemberAdded,
    MemberLeft, MemberRemoved, MemberRole, MemberRoleChanged, MessageDeleted, MessageEdited,
    MessageSent, PinChanged, Reaction, Renamed, Role, Said, SettingsChanged, Started, WhoMayPost,
};
use domain::receipts::{MarkedUpTo, ReceiptsEvent, ThreadMarkedUpTo};
use domain::service::{self, Scope, ServiceEvent, TokenIssued};
use domain::session::{Opened, Refreshed, Revoked, RevokedBecause, SessionEvent};
use domain::user::{
    AvatarChanged, BlockChanged, EmailVerified, ExternalIdentityLinked, LoggedOutEverywhere,
    PreferencesChanged, ProfileChanged, Registered, Suspended, SystemRole, SystemRoleChanged,
    UserEvent,
};
use domain::values::{
    DisplayName, Email, Emoji, FileName, Handle, IssuerName, MediaType, MessageBody, Reason,
    StatusText, Subject, Title,
};
use domain::{
    Actor, AttachmentId, Change, CommandId, ConversationId, Event, Metadata, Personal, Position,
    Seq, ServiceId, SessionId, StreamName, UserId, Version,
};
use infra::clock::{Clock, fresh_id};
use infra::database::Database;
use infra::event_store::{EventStore, Expected, MemoryEventStore, NewEvent};
use infra::read_models::{self, Model, wait_for};
use projector::{Projector, ProjectorError};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The databases on which every test of a read model runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kinds {
    Sqlite,
    Postgres,
}

pub(crate) const BOTH: [Kinds; 2] = [Kinds::Sqlite, Kinds::Postgres];

/// An empty read database of its own; gone when dropped, or with the server.
pub(crate) struct Scratch {
    pub(crate) url: String,
    pub(crate) folder: TempDir,
}

impl Scratch {
    pub(crate) async fn new(kind: Kinds) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = match kind {
            Kinds::Sqlite => format!("sqlite:{}", folder.path().join("read.db").display()),
            Kinds::Postgres => {
                let server = std::env::var("VERBATIM_TEST_POSTGRES")
                    .expect("run the tests with `cargo xtask test`");
                let schema = format!("test_{}", fresh_id().simple());
                let database = Database::open(&server).await.unwrap();
                let mut transaction = database.write().await.unwrap();
                transaction
                    .run(&format!("CREATE SCHEMA {schema}"), &[])
                    .await
                    .unwrap();
                transaction.commit().await.unwrap();
                let joint = if server.contains('?') { '&' } else { '?' };
                format!("{server}{joint}options=-csearch_path%3D{schema}")
            }
        };
        Self { url, folder }
    }

    pub(crate) async fn open(&self) -> Database {
        Database::open(&self.url).await.unwrap()
    }
}

/// A log in memory whose clock the test moves.
pub(crate) struct Log {
    pub(crate) store: Arc<MemoryEventStore>,
    pub(crate) clock: Clock,
}

pub(crate) fn start_of_time() -> DateTime<Utc> {
    "2026-01-02T03:04:05.000006Z".parse().unwrap()
}

impl Log {
    pub(crate) fn new() -> Self {
        let clock = Clock::fixed(start_of_time());
        Self {
            store: Arc::new(MemoryEventStore::new(clock.clone())),
            clock,
        }
    }

    pub(crate) fn head(&self) -> Position {
        *self.store.head().borrow()
    }

    /// Appends one event, a second after the one before.
    pub(crate) async fn append(&self, stream: StreamName, event: impl Into<Event>) -> Seq {
        self.append_by(stream, event, Actor::System).await
    }

    pub(crate) async fn append_by(
        &self,
        stream: StreamName,
        event: impl Into<Event>,
        actor: Actor,
    ) -> Seq {
        self.clock.set(self.clock.now() + TimeDelta::seconds(1));
        let metadata = Metadata {
            actor,
            command_id: CommandId(fresh_id()),
            command_hash: "00".to_owned(),
            correlation_id: None,
            causation_id: None,
            traceparent: None,
            occurred_at: None,
        };
        let event = NewEvent::encode(&event.into(), &metadata, 0).unwrap();
        self.append_raw(stream, event).await
    }

    pub(crate) async fn append_raw(&self, stream: StreamName, event: NewEvent) -> Seq {
        self.store
            .append(&stream, Expected::Any, vec![event])
            .await
            .unwrap()
            .last_version()
    }

    /// The conversation `id`, to be spoken in.
    pub(crate) fn room(&self, id: ConversationId) -> Room<'_> {
        Room { log: self, id }
    }

    /// A group that `owner` starts.
    pub(crate) async fn group(
        &self,
        owner: UserId,
        members: &[UserId],
        history_visibility: HistoryVisibility,
    ) -> Room<'_> {
        let room = self.room(ConversationId(fresh_id()));
        let members = std::iter::once((owner, Role::Owner))
            .chain(members.iter().map(|user| (*user, Role::Member)))
            .map(|(user, role)| MemberRole { user, role })
            .collect();
        room.say(ConversationEvent::Started(Started {
            kind: Kind::Group,
            title: Some(Personal::new(owner, Title::parse("A group").unwrap())),
            creator: Some(owner),
            members,
            history_visibility,
        }))
        .await;
        room
    }

    pub(crate) async fn register(&self, user: UserId, handle: &str) {
        let registered = registered(user, handle);
        let stream = StreamName::user(user);
        self.append(stream, UserEvent::Registered(registered)).await;
    }

    /// Logs `user` in, in the first login epoch, for a day.
    pub(crate) async fn log_in(&self, user: UserId, session: SessionId) {
        let opened = SessionEvent::Opened(Opened {
            user,
            expires_at: self.clock.now() + TimeDelta::days(1),
            device: Some(Personal::new(user, "A phone".to_owned())),
            address: Some(Personal::new(user, "192.0.2.1".to_owned())),
            refresh_hash: Some("0".to_owned()),
            login_epoch: 0,
            vouched_by: None,
            amr: [].into(),
        });
        self.append(StreamName::session(session), opened).await;
    }

    /// Refreshes a session of `user` from another address.
    pub(crate) async fn refresh(&self, user: UserId, session: SessionId) {
        let refreshed = SessionEvent::Refreshed(Refreshed {
            generation: 1,
            refresh_hash: "1".to_owned(),
            at: self.clock.now(),
            device: None,
            address: Some(Personal::new(user, "192.0.2.2".to_owned())),
        });
        self.append(StreamName::session(session), refreshed).await;
    }

    pub(crate) async fn log_out(&self, session: SessionId) {
        let because = RevokedBecause::LoggedOut;
        let revoked = SessionEvent::Revoked(Revoked { because });
        self.append(StreamName::session(session), revoked).await;
    }

    pub(crate) async fn log_out_everywhere(
        &self,
        user: UserId,
        epoch: u32,
        kept: Option<SessionId>,
    ) {
        let out = UserEvent::LoggedOutEverywhere(LoggedOutEverywhere { epoch, kept });
        self.append(StreamName::user(user), out).await;
    }

    pub(crate) async fn grant(&self, user: UserId, role: SystemRole) {
        let granted = UserEvent::SystemRoleGranted(SystemRoleChanged { role });
        self.append(StreamName::user(user), granted).await;
    }

    pub(crate) async fn verify(&self, user: UserId, email: &str) {
        let verified = UserEvent::EmailVerified(EmailVerified {
            email: Personal::new(user, Email::parse(email).unwrap()),
        });
        self.append(StreamName::user(user), verified).await;
    }

    /// An issuer says that `email` is theirs.
    pub(crate) async fn link(&self, user: UserId, email: &str) {
        let linked = UserEvent::ExternalIdentityLinked(ExternalIdentityLinked {
            issuer: IssuerName::parse("tea").unwrap(),
            subject: Personal::new(user, Subject::parse("1").unwrap()),
            email: Some(Personal::new(user, Email::parse(email).unwrap())),
            as_of: None,
        });
        self.append(StreamName::user(user), linked).await;
    }

    pub(crate) async fn call(&self, user: UserId, name: &str) {
        let changed = UserEvent::ProfileChanged(ProfileChanged {
            display_name: Some(Personal::new(user, DisplayName::parse(name).unwrap())),
            status_text: Change::Set(Personal::new(user, StatusText::parse("here").unwrap())),
            ..ProfileChanged::default()
        });
        self.append(StreamName::user(user), changed).await;
    }

    pub(crate) async fn discoverable(&self, user: UserId, is: bool) {
        let object = serde_json::json!({ "discoverable": is });
        let preferences = serde_json::from_value(object).unwrap();
        let changed = UserEvent::PreferencesChanged(PreferencesChanged {
            preferences: Personal::new(user, preferences),
        });
        self.append(StreamName::user(user), changed).await;
    }

    pub(crate) async fn block(&self, blocker: UserId, user: UserId, blocks: bool) {
        let change = BlockChanged { user };
        let event = if blocks {
            UserEvent::Blocked(change)
        } else {
            UserEvent::Unblocked(change)
        };
        self.append(StreamName::user(blocker), event).await;
    }

    /// Gives `user` a picture, or none.
    pub(crate) async fn avatar(&self, user: UserId, avatar: Option<AttachmentId>) {
        let changed = UserEvent::AvatarChanged(AvatarChanged { avatar });
        self.append(StreamName::user(user), changed).await;
    }

    /// Uploads a picture of `owner`'s.
    pub(crate) async fn upload(&self, owner: UserId, id: AttachmentId) {
        let media_type = |name| MediaType::parse(name).unwrap();
        let dimensions = |width, height| Dimensions { width, height };
        let uploaded = AttachmentEvent::Uploaded(Uploaded {
            owner,
            name: Some(Personal::new(owner, FileName::parse("tea.png").unwrap())),
            media_type: media_type("image/png"),
            size: 12,
            uploaded_size: Some(20),
            sha256: "00ff".to_owned(),
            dimensions: Some(dimensions(40, 20)),
            thumbnail: Some(Thumbnail {
                media_type: media_type("image/jpeg"),
                size: 4,
                dimensions: dimensions(4, 2),
            }),
        });
        self.append(StreamName::attachment(id), uploaded).await;
    }

    /// Removes an attachment, or erases it.
    pub(crate) async fn take_away(&self, id: AttachmentId, erased: bool) {
        let event = if erased {
            AttachmentEvent::Erased(Erased {})
        } else {
            let why = RemovedBecause::NoLongerUsed;
            AttachmentEvent::Removed(Removed { why })
        };
        self.append(StreamName::attachment(id), event).await;
    }

    /// Suspends `user`; `ended`, until a moment that is over.
    pub(crate) async fn suspend(&self, user: UserId, ended: bool) {
        let suspended = UserEvent::Suspended(Suspended {
            by: Actor::Operator,
            until: ended.then(|| self.clock.now()),
            why: None,
        });
        self.append(StreamName::user(user), suspended).await;
    }

    /// Makes a service, or ends it.
    pub(crate) async fn service(&self, number: u8, made: bool) {
        let stream = StreamName::service(ServiceId(user(number.into()).0));
        if !made {
            let by = Actor::Operator;
            let revoked = ServiceEvent::Revoked(service::Revoked { by });
            self.append(stream, revoked).await;
            return;
        }
        let created = ServiceEvent::Created(service::Created {
            name: DisplayName::parse("Dashboard").unwrap(),
            scopes: [Scope::Analyst].into(),
            account: None,
            by: Actor::Operator,
        });
        self.append(stream.clone(), created).await;
        let issued = ServiceEvent::TokenIssued(TokenIssued {
            generation: 1,
            hash: "00".to_owned(),
            expires_at: None,
        });
        self.append(stream, issued).await;
    }
}

/// A conversation in the log.
#[derive(Clone, Copy)]
pub(crate) struct Room<'a> {
    pub(crate) log: &'a Log,
    pub(crate) id: ConversationId,
}

impl Room<'_> {
    pub(crate) async fn say(&self, event: ConversationEvent) -> Seq {
        let stream = StreamName::conversation(self.id);
        self.log.append(stream, event).await
    }

    pub(crate) async fn send(&self, author: UserId, body: &str) -> Seq {
        self.say_as(author, body, |_| {}).await
    }

    /// Sends a message that is more than plain text: `change` says what.
    pub(crate) async fn say_as(
        &self,
        author: UserId,
        body: &str,
        change: impl FnOnce(&mut MessageSent),
    ) -> Seq {
        let mut sent = MessageSent::plain(author, MessageBody::imported(body.to_owned()));
        change(&mut sent);
        self.say(ConversationEvent::MessageSent(sent)).await
    }

    pub(crate) async fn edit(&self, author: UserId, message: Seq, body: &str) -> Seq {
        let said = Said::plain(author, MessageBody::imported(body.to_owned()));
        self.say(ConversationEvent::MessageEdited(MessageEdited {
            message,
            said,
            attachments: None,
        }))
        .await
    }

    pub(crate) async fn edit_files(
        &self,
        author: UserId,
        message: Seq,
        files: Vec<AttachmentId>,
    ) -> Seq {
        let said = Said::plain(author, MessageBody::imported("with files".to_owned()));
        self.say(ConversationEvent::MessageEdited(MessageEdited {
            message,
            said,
            attachments: Some(files),
        }))
        .await
    }

    pub(crate) async fn delete(&self, by: UserId, message: Seq) -> Seq {
        let reason = Some(Personal::new(by, Reason::parse("a reason").unwrap()));
        self.say(ConversationEvent::MessageDeleted(MessageDeleted {
            message,
            by,
            reason,
        }))
        .await
    }

    pub(crate) async fn react(&self, member: UserId, message: Seq, emoji: &str) -> Seq {
        self.say(ConversationEvent::ReactionAdded(reaction(
            member, message, emoji,
        )))
        .await
    }

    pub(crate) async fn unreact(&self, member: UserId, message: Seq, emoji: &str) -> Seq {
        self.say(ConversationEvent::ReactionRemoved(reaction(
            member, message, emoji,
        )))
        .await
    }

    pub(crate) async fn pin(&self, by: UserId, message: Seq) -> Seq {
        self.say(ConversationEvent::MessagePinned(PinChanged { message, by }))
            .await
    }

    pub(crate) async fn unpin(&self, by: UserId, message: Seq) -> Seq {
        self.say(ConversationEvent::MessageUnpinned(PinChanged {
            message,
            by,
        }))
        .await
    }

    pub(crate) async fn answer(&self, author: UserId, thread: Seq, body: &str) -> Seq {
        self.say_as(author, body, |sent| sent.thread = Some(thread))
            .await
    }

    pub(crate) async fn follow(&self, member: UserId, thread: Seq, follows: bool) -> Seq {
        let changed = FollowChanged { thread, member };
        self.say(if follows {
            ConversationEvent::ThreadFollowed(changed)
        } else {
            ConversationEvent::ThreadUnfollowed(changed)
        })
        .await
    }

    pub(crate) async fn thread_seen(&self, member: UserId, thread: Seq, seq: Seq) {
        let mark = ReceiptsEvent::ThreadSeen(ThreadMarkedUpTo {
            member,
            thread,
            seq,
        });
        self.log.append(StreamName::receipts(self.id), mark).await;
    }

    pub(crate) async fn add(&self, user: UserId) -> Seq {
        self.say(ConversationEvent::MemberAdded(MemberAdded {
            user,
            role: Role::Member,
        }))
        .await
    }

    pub(crate) async fn change_role(&self, user: UserId, role: Role) -> Seq {
        self.say(ConversationEvent::MemberRoleChanged(MemberRoleChanged {
            user,
            role,
        }))
        .await
    }

    pub(crate) async fn remove(&self, user: UserId, by: UserId) -> Seq {
        self.say(ConversationEvent::MemberRemoved(MemberRemoved { user, by }))
            .await
    }

    pub(crate) async fn leave(&self, user: UserId) -> Seq {
        self.say(ConversationEvent::MemberLeft(MemberLeft { user }))
            .await
    }

    pub(crate) async fn rename(&self, by: UserId, title: &str) -> Seq {
        let title = Personal::new(by, Title::parse(title).unwrap());
        self.say(ConversationEvent::Renamed(Renamed { title }))
            .await
    }

    pub(crate) async fn show_history(&self, history_visibility: HistoryVisibility) -> Seq {
        self.set(history_visibility, None, None).await
    }

    pub(crate) async fn set(
        &self,
        history_visibility: HistoryVisibility,
        slow_mode_s: Option<u32>,
        who_may_post: Option<WhoMayPost>,
    ) -> Seq {
        self.say(ConversationEvent::SettingsChanged(SettingsChanged {
            history_visibility,
            slow_mode_s,
            who_may_post,
        }))
        .await
    }

    pub(crate) async fn archive(&self, by: UserId) -> Seq {
        self.say(ConversationEvent::Archived(ArchiveChanged { by }))
            .await
    }

    pub(crate) async fn seen(&self, member: UserId, seq: Seq) {
        let mark = ReceiptsEvent::Seen(MarkedUpTo { member, seq });
        self.log.append(StreamName::receipts(self.id), mark).await;
    }

    pub(crate) async fn delivered(&self, member: UserId, seq: Seq) {
        let mark = ReceiptsEvent::Delivered(MarkedUpTo { member, seq });
        self.log.append(StreamName::receipts(self.id), mark).await;
    }
}

pub(crate) fn reaction(member: UserId, message: Seq, emoji: &str) -> Reaction {
    Reaction {
        message,
        member,
        emoji: Emoji::parse(emoji).unwrap(),
    }
}

/// The `number`-th person.
pub(crate) fn user(number: u128) -> UserId {
    UserId(Uuid::from_u128(0x1000 + number))
}

/// A projector at work.
pub(crate) struct Running {
    pub(crate) projector: Projector,
    pub(crate) database: Database,
    stop: CancellationToken,
    task: JoinHandle<Result<(), ProjectorError>>,
}

impl Running {
    pub(crate) fn start(log: &Log, database: &Database) -> Self {
        let store: Arc<dyn EventStore> = log.store.clone();
        let projector = Projector::new(store, database.clone(), log.clock.clone());
        let stop = CancellationToken::new();
        let task = tokio::spawn({
            let (projector, stop) = (projector.clone(), stop.clone());
            async move { projector.run(stop).await }
        });
        Self {
            projector,
            database: database.clone(),
            stop,
            task,
        }
    }

    /// Waits until everything in the log is in the read models.
    pub(crate) async fn caught_up(&self, log: &Log) {
        until(async || {
            wait_for(&self.database, &ALL, log.head(), Duration::from_secs(5))
                .await
                .is_ok()
        })
        .await;
    }

    pub(crate) async fn stop(self) -> Result<(), ProjectorError> {
        self.stop.cancel();
        self.task.await.unwrap()
    }

    /// Stops it at once, wherever it is.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    /// How it ended by itself.
    pub(crate) async fn ended(self) -> Result<(), ProjectorError> {
        self.task.await.unwrap()
    }
}

/// How the account of `user` begins.
pub(crate) fn registered(user: UserId, handle: &str) -> Registered {
    let email = Email::parse(&format!("{handle}@example.org")).unwrap();
    Registered {
        email: Some(Personal::new(user, email)),
        display_name: Personal::new(user, DisplayName::parse(handle).unwrap()),
        handle: Handle::parse(handle).unwrap(),
        imported_from: None,
    }
}

pub(crate) const ALL: [&Model; 9] = read_models::ALL;

/// Waits for a condition; a minute without it fails the test.
pub(crate) async fn until(mut condition: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), waiting)
        .await
        .expect("the condition comes true within a minute");
}

/// Every row of every read model as text, in the order of their keys.
pub(crate) async fn dump(database: &Database) -> Vec<String> {
    let mut dumped = Vec::new();
    let mut transaction = database.read().await.unwrap();
    for table in ALL.iter().flat_map(|model| model.tables) {
        let parts: Vec<String> = table
            .column_list()
            .map(|column| format!("COALESCE(CAST({column} AS TEXT), '~')"))
            .collect();
        let sql = format!(
            "SELECT {} AS line FROM {} ORDER BY {}",
            parts.join(" || '|' || "),
            table.name,
            table.key.join(", ")
        );
        for row in transaction.all(&sql, &[]).await.unwrap() {
            let line: String = row.get("line").unwrap();
            dumped.push(format!("{}: {line}", table.name));
        }
    }
    dumped
}

pub(crate) fn version(number: u64) -> Version {
    Version(number)
}
