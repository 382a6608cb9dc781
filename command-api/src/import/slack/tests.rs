//! Imports of small exports that the tests write.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::future::poll_fn;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use chrono::{DateTime, TimeDelta, Utc};
use domain::conversation::{ConversationEvent, Kind, Role, Started};
use domain::session::{self, Opened};
use domain::user::{self, Account, SystemRole};
use domain::values::{DisplayName, Email, Handle};
use domain::{
    Actor, CommandId, ConversationId, Event, Position, SessionId, StreamName, UserId, Version,
    reservation,
};
use infra::auth::{Guard, Tokens};
use infra::clock::Clock;
use infra::event_store::{Direction, EventStore, MemoryEventStore, RecordedEvent};
use infra::keys::Secret;
use infra::problem::Problem;
use infra::snapshots::MemorySnapshots;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;
use crate::execute::{Envelope, Limits};
use crate::{CommandApi, Parts};

/// A server on a log in memory.
struct Server {
    store: Arc<dyn EventStore>,
    guard: Arc<Guard>,
    clock: Clock,
    api: CommandApi,
}

impl Server {
    fn new() -> Self {
        Self::on(Arc::new(MemoryEventStore::new(Clock::system())))
    }

    fn on(store: Arc<dyn EventStore>) -> Self {
        let clock = Clock::system();
        let secret = Secret::new([7; 32]);
        let tokens = Tokens::new(&secret).unwrap();
        let guard = Arc::new(Guard::new(tokens, &store, &clock));
        let api = CommandApi::new(Parts {
            store: Arc::clone(&store),
            snapshots: Arc::new(MemorySnapshots::default()),
            guard: Arc::clone(&guard),
            secret,
            clock: clock.clone(),
            limits: Limits::default(),
            session_lifetime: Parts::SESSION_LIFETIME_DEFAULT,
            owner_code: None,
        })
        .unwrap();
        Self {
            store,
            guard,
            clock,
            api,
        }
    }

    async fn import(&self, path: &Path) -> Report {
        import(&self.api, Export::open(path).unwrap(), operator(), |_| {})
            .await
            .unwrap()
    }

    async fn stream(&self, stream: &StreamName) -> Vec<Arc<RecordedEvent>> {
        let mut all = Vec::new();
        loop {
            let from = Version::ZERO.plus(all.len() + 1);
            let page = self
                .store
                .read_stream(stream, from, Direction::Forward, 10_000);
            let page = page.await.unwrap();
            if page.is_empty() {
                return all;
            }
            all.extend(page);
        }
    }

    async fn conversation(&self, id: ConversationId) -> Vec<ConversationEvent> {
        self.stream(&StreamName::conversation(id))
            .await
            .iter()
            .map(|recorded| match recorded.event().unwrap() {
                Event::Conversation(event) => event,
                other => panic!("{other:?} in a conversation"),
            })
            .collect()
    }

    async fn account(&self, slack_id: &str) -> Account {
        let account = self.api.account(ids::user(slack_id)).await.unwrap();
        account.unwrap_or_else(|| panic!("{slack_id} has no account"))
    }

    fn head(&self) -> Position {
        *self.store.head().borrow()
    }

    /// What stands in the log for ever, but for who came first among different streams, ids of
    /// claims and times of recording.
    async fn history(&self) -> BTreeMap<String, Vec<(String, String, Option<DateTime<Utc>>)>> {
        let mut history: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let all = self.store.read_all(Position::ZERO, 10_000).await.unwrap();
        assert_eq!(all.len() as u64, self.head().0);
        for recorded in all {
            let stream = recorded.stream.to_string();
            if recorded.stream.category() == "handle" || recorded.stream.category() == "email" {
                continue;
            }
            let metadata = recorded.metadata().unwrap();
            let data = String::from_utf8(recorded.data.to_vec()).unwrap();
            let fact = format!("{} {} {data}", recorded.event_type, metadata.command_id);
            let version = recorded.version.0;
            let events = history.entry(stream).or_default();
            events.push((version.to_string(), fact, metadata.occurred_at));
        }
        history
    }

    async fn command<D: domain::Decider>(
        &self,
        executor: &crate::execute::Executor<D>,
        stream: StreamName,
        command: D::Command,
    ) {
        let id = CommandId(infra::clock::fresh_id());
        let envelope = Envelope::new(Actor::System, id, &"test").unwrap();
        executor.execute(&stream, envelope, command).await.unwrap();
    }

    /// A user who can log in, and their token.
    async fn user(&self, handle: &str, role: Option<SystemRole>) -> (UserId, String) {
        let user = UserId(infra::clock::fresh_id());
        let stream = StreamName::user(user);
        let register = user::Command::Register {
            user,
            email: Email::parse(&format!("{handle}@example.org")).unwrap(),
            handle: Handle::parse(handle).unwrap(),
            display_name: DisplayName::parse(handle).unwrap(),
            password_hash: "$".to_owned(),
        };
        self.command(self.api.users(), stream.clone(), register)
            .await;
        if let Some(role) = role {
            let grant = user::Command::GrantSystemRole(role);
            self.command(self.api.users(), stream, grant).await;
        }
        self.hold(user, handle).await;
        let session = SessionId(infra::clock::fresh_id());
        let expires_at = self.clock.now() + TimeDelta::hours(1);
        let open = session::Command::Open(Opened {
            user,
            expires_at,
            device: None,
            address: None,
        });
        let stream = StreamName::session(session);
        self.command(self.api.sessions(), stream, open).await;
        let tokens = self.guard.tokens();
        let token = tokens.sign(user, session, self.clock.now(), expires_at);
        (user, token.unwrap())
    }

    async fn hold(&self, user: UserId, handle: &str) {
        let stream = self.api.handle_stream(&Handle::parse(handle).unwrap());
        let claim = reservation::Command::Claim { user };
        self.command(self.api.reservations(), stream, claim).await;
    }
}

fn operator() -> Importer {
    Importer {
        actor: Actor::Operator,
        owner: None,
    }
}

/// An export to be written.
#[derive(Clone, Default)]
struct Draft(BTreeMap<String, Vec<u8>>);

impl Draft {
    fn with(mut self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.0.insert(path.to_owned(), content.as_ref().to_vec());
        self
    }

    fn json(self, path: &str, content: &Value) -> Self {
        self.with(path, serde_json::to_vec_pretty(content).unwrap())
    }

    fn folder(&self) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, content) in &self.0 {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        folder
    }

    fn zipped(&self, root: &str) -> Vec<u8> {
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        let options = zip::write::SimpleFileOptions::default();
        for (path, content) in &self.0 {
            zip.start_file(format!("{root}{path}"), options).unwrap();
            zip.write_all(content).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    fn zip(&self, folder: &Path) -> PathBuf {
        let path = folder.join("export.zip");
        fs::write(&path, self.zipped("My Export/")).unwrap();
        path
    }
}

fn users() -> Value {
    json!([
        {"id": "U1", "name": "anna", "profile":
            {"real_name": "Anna A.", "display_name": "", "email": "Anna@example.org"}},
        {"id": "U2", "name": "bert", "deleted": true, "real_name": "Bert"},
        {"id": "U3", "name": "Anna!", "profile": {"display_name": "The other Anna"}},
    ])
}

/// Two days with a bit of everything.
fn small() -> Draft {
    Draft::default()
        .json("users.json", &users())
        .json(
            "channels.json",
            &json!([{"id": "C1", "name": "general", "created": 1_500_000_000, "creator": "U2",
                     "members": ["U1", "U2", "U3"]}]),
        )
        .json(
            "general/2020-01-01.json",
            &json!([
                {"type": "message", "user": "U2", "ts": "1577836801.000200", "text": "second",
                 "thread_ts": "1577836800.000100",
                 "edited": {"user": "U2", "ts": "1577836900.000000"},
                 "reactions": [{"name": "+1::skin-tone-2", "users": ["U1", "U9"], "count": 3}]},
                {"type": "message", "user": "U1", "ts": "1577836800.000100", "text": "first",
                 "thread_ts": "1577836800.000100"},
                {"type": "message", "subtype": "channel_join", "user": "U3", "text": "joined",
                 "ts": "1577836802.000000"},
                {"type": "message", "subtype": "bot_message", "bot_id": "B1",
                 "username": "deploys", "text": "done", "ts": "1577836803.000000"},
                {"type": "message", "user": "U3", "ts": "1577836804.000000", "text": "",
                 "files": [{"id": "F1"}]},
            ]),
        )
        .json(
            "general/2020-01-02.json",
            &json!([
                {"type": "message", "user": "U7", "ts": "1577923200.000000", "text": "hi",
                 "thread_ts": "1500000000.000000",
                 "user_profile": {"name": "guest", "real_name": "A Guest"}},
                {"type": "message", "subtype": "message_changed", "ts": "1577923300.000000",
                 "message": {"user": "U1", "ts": "1577836800.000100", "text": "first!"}},
                {"type": "message", "subtype": "message_deleted", "ts": "1577923301.000000"},
            ]),
        )
}

/// The text, author and answer of each message by its seq, and what happened to it.
async fn told(server: &Server, id: ConversationId) -> Vec<String> {
    let name = |user: UserId| {
        ["U1", "U2", "U3", "U7", "U9", "B1"]
            .into_iter()
            .find(|id| ids::user(id) == user)
            .unwrap_or("?")
    };
    server
        .conversation(id)
        .await
        .into_iter()
        .skip(1)
        .map(|event| match event {
            ConversationEvent::MessageSent(sent) => {
                assert_eq!(sent.body.of, sent.author);
                let reply = sent.reply_to.map(|seq| format!(" to {seq}"));
                let reply = reply.unwrap_or_default();
                format!("{}: {}{reply}", name(sent.author), sent.body.value.as_str())
            }
            ConversationEvent::MessageEdited(edited) => format!(
                "{} edits {}: {}",
                name(edited.body.of),
                edited.message,
                edited.body.value.as_str()
            ),
            ConversationEvent::ReactionAdded(reaction) => format!(
                "{} reacts to {}: {}",
                name(reaction.member),
                reaction.message,
                reaction.emoji.as_str()
            ),
            other => format!("{other:?}"),
        })
        .collect()
}

#[tokio::test]
async fn a_channel_becomes_a_group_with_its_history() {
    let server = Server::new();
    let folder = small().folder();
    let report = server.import(folder.path()).await;
    let id = ids::conversation("C1");
    let started = server.conversation(id).await.remove(0);
    let ConversationEvent::Started(Started {
        kind: Kind::Group,
        title: Some(title),
        members,
        ..
    }) = started
    else {
        panic!("{started:?}");
    };
    assert_eq!(title.value.as_str(), "general");
    let members: Vec<_> = members.iter().map(|m| (m.user, m.role)).collect();
    let expected = [
        ("U2", Role::Owner),
        ("U1", Role::Member),
        ("U3", Role::Member),
    ];
    assert_eq!(members, expected.map(|(id, role)| (ids::user(id), role)));
    assert_eq!(
        told(&server, id).await,
        [
            "U1: first",
            "U2: second to 2",
            "B1: done",
            "U3: ",
            "U2 edits 3: second",
            "U1 reacts to 3: +1::skin-tone-2",
            "U9 reacts to 3: +1::skin-tone-2",
            "U7: hi",
            "U1 edits 2: first!",
        ]
    );
    let expected = Report {
        users: Count {
            made: 6,
            existing: 0,
        },
        placeholders: 3,
        handles_changed: 1,
        conversations: Count {
            made: 1,
            existing: 0,
        },
        messages: Count {
            made: 5,
            existing: 0,
        },
        replies: 1,
        replies_without_root: 1,
        messages_without_text: 1,
        attachments_left_out: 1,
        edits: Count {
            made: 2,
            existing: 0,
        },
        reactions: Count {
            made: 2,
            existing: 0,
        },
        skipped: BTreeMap::from([
            (Reason::Notice, 1),
            (Reason::Deletion, 1),
            (Reason::ReactionWithoutUser, 1),
        ]),
        ..Report::default()
    };
    assert_eq!(report, expected);
}

#[tokio::test]
async fn everything_keeps_its_time_and_says_who_imported_it() {
    let server = Server::new();
    server.import(small().folder().path()).await;
    let stream = StreamName::conversation(ids::conversation("C1"));
    let mut times = Vec::new();
    for recorded in server.stream(&stream).await {
        let metadata = recorded.metadata().unwrap();
        assert_eq!(metadata.actor, Actor::Operator);
        times.push(metadata.occurred_at.map(|at| at.timestamp_micros()));
    }
    let second = 1_000_000;
    assert_eq!(times[0], Some(1_500_000_000 * second));
    assert_eq!(times[1], Some(1_577_836_800 * second + 100));
    assert_eq!(times[5], Some(1_577_836_900 * second));
    assert_eq!(times[6], None);
    assert_eq!(times[9], Some(1_577_923_300 * second));
}

#[tokio::test]
async fn users_are_made_with_what_is_known_of_them() {
    let server = Server::new();
    server.import(small().folder().path()).await;
    let anna = server.account("U1").await;
    assert_eq!(
        (anna.handle.as_str(), anna.display_name.as_str()),
        ("anna", "Anna A.")
    );
    assert_eq!(anna.email.unwrap().as_str(), "anna@example.org");
    assert_eq!(anna.password_hash, None);
    assert_eq!(server.account("U2").await.display_name.as_str(), "Bert");
    let other = server.account("U3").await;
    assert_eq!(
        (other.handle.as_str(), other.display_name.as_str()),
        ("anna-2", "The other Anna")
    );
    let bot = server.account("B1").await;
    assert_eq!(
        (bot.handle.as_str(), bot.display_name.as_str()),
        ("deploys", "deploys")
    );
    let guest = server.account("U7").await;
    assert_eq!(
        (guest.handle.as_str(), guest.display_name.as_str()),
        ("guest", "A Guest")
    );
    assert_eq!(server.account("U9").await.handle.as_str(), "u9");
    let found = server.api.find_user("anna-2").await.unwrap();
    assert_eq!(found.map(|(user, _)| user), Some(ids::user("U3")));
}

#[tokio::test]
async fn what_others_hold_stays_theirs() {
    let server = Server::new();
    let (stranger, _) = server.user("anna", None).await;
    let email = Email::parse("anna@example.org").unwrap();
    let claim = reservation::Command::Claim { user: stranger };
    let stream = server.api.email_stream(&email);
    server
        .command(server.api.reservations(), stream, claim)
        .await;
    let report = server.import(small().folder().path()).await;
    assert_eq!(report.emails_left_out, 1);
    assert_eq!(report.handles_changed, 2);
    let anna = server.account("U1").await;
    assert_eq!((anna.handle.as_str(), anna.email), ("anna-u1", None));
    let found = server.api.find_user("anna").await.unwrap();
    assert_eq!(found.map(|(user, _)| user), Some(stranger));
}

#[tokio::test]
async fn a_zip_of_a_folder_is_the_same_export() {
    let (one, other) = (Server::new(), Server::new());
    let folder = small().folder();
    let report = one.import(folder.path()).await;
    assert_eq!(other.import(&small().zip(folder.path())).await, report);
    assert_eq!(one.history().await, other.history().await);
}

#[tokio::test]
async fn a_second_import_changes_nothing() {
    let server = Server::new();
    let folder = small().folder();
    let first = server.import(folder.path()).await;
    let head = server.head();
    for _ in 0..2 {
        let second = server.import(folder.path()).await;
        assert_eq!(server.head(), head);
        for (first, second) in [
            (first.users, second.users),
            (first.conversations, second.conversations),
            (first.messages, second.messages),
            (first.edits, second.edits),
            (first.reactions, second.reactions),
        ] {
            assert_eq!((second.made, second.existing), (0, first.made));
        }
        assert_eq!(second.skipped, first.skipped);
    }
}

#[tokio::test]
async fn a_newer_export_adds_what_is_new() {
    let server = Server::new();
    server.import(small().folder().path()).await;
    let newer = small().json(
        "general/2020-01-03.json",
        &json!([{"user": "U1", "ts": "1578009600.000000", "text": "news",
                 "thread_ts": "1577836800.000100"}]),
    );
    let report = server.import(newer.folder().path()).await;
    assert_eq!(
        report.messages,
        Count {
            made: 1,
            existing: 5
        }
    );
    let told = told(&server, ids::conversation("C1")).await;
    assert_eq!(told.last().unwrap(), "U1: news to 2");
}

/// Lets `future` be polled so often, then drops it.
async fn interrupted<T>(future: impl Future<Output = T>, polls: usize) -> Option<T> {
    let mut future = pin!(future);
    for _ in 0..polls {
        let ready = poll_fn(|context| match future.as_mut().poll(context) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending => Poll::Ready(None),
        });
        if let Some(value) = ready.await {
            return Some(value);
        }
        tokio::task::yield_now().await;
    }
    None
}

#[tokio::test]
async fn an_import_that_was_interrupted_goes_on_as_if_it_had_not_been() {
    let folder = many(3, 40).folder();
    let whole = Server::new();
    whole.import(folder.path()).await;
    let expected = whole.history().await;
    let mut polls = 1;
    let mut interruptions = 0;
    loop {
        let store: Arc<dyn EventStore> = Arc::new(MemoryEventStore::new(Clock::system()));
        let before = Server::on(Arc::clone(&store));
        let export = Export::open(folder.path()).unwrap();
        let import = import(&before.api, export, operator(), |_| {});
        let done = interrupted(import, polls).await.is_some();
        before.api.close().await;
        let after = Server::on(store);
        after.import(folder.path()).await;
        assert_eq!(after.history().await, expected, "after {polls} polls");
        if done {
            break;
        }
        interruptions += 1;
        polls = polls * 3 / 2 + 1;
    }
    assert!(interruptions > 5, "only {interruptions} interruptions");
}

/// Days of messages with replies, edits and reactions.
fn many(days: i64, messages: i64) -> Draft {
    let mut draft = small();
    for day in 0..days {
        let start = 1_600_000_000 + day * 86_400;
        let messages: Vec<Value> = (0..messages)
            .map(|number| {
                let ts = |number: i64| format!("{}.000000", start + number);
                let mut message = json!({
                    "user": format!("U{}", number % 5 + 1),
                    "ts": ts(number),
                    "text": format!("message {number}"),
                });
                if number % 3 == 1 {
                    message["thread_ts"] = json!(ts(number - 1));
                }
                if number % 7 == 0 {
                    message["edited"] = json!({"ts": ts(number + 500)});
                    message["reactions"] = json!([{"name": "tada", "users": ["U1", "U2"]}]);
                }
                message
            })
            .collect();
        let date = DateTime::from_timestamp(start, 0).unwrap().date_naive();
        draft = draft.json(&format!("general/{date}.json"), &json!(messages));
    }
    draft
}

#[tokio::test]
async fn broken_records_are_named_and_the_rest_goes_on() {
    let server = Server::new();
    let draft = small()
        .with(
            "general/2020-01-03.json",
            "[\n{\"user\": \"U1\", \"ts\": \"1578009600.000000\", \"text\": \"good\"},\n\
             {\"user\": \"U1\", \"ts\": \"soon\", \"text\": \"bad\"},\n\
             {\"user\": \"U1\",\n \"ts\": oops},\n\
             {\"user\": \"U2\", \"ts\": \"1578009601.000000\", \"text\": \"good too\"}\n]",
        )
        .with("general/2020-01-04.json", "not json at all")
        .with(
            "general/2020-01-05.json",
            "[{\"user\": \"U1\", \"ts\": \"1578182400.000000\", \"text\": \"last\"}]",
        )
        .with("general/notes.json", "[]")
        .with("integration_logs.json", "[]")
        .with("lost/2020-01-01.json", "[]");
    let report = server.import(draft.folder().path()).await;
    assert_eq!(report.messages.made, 5 + 3);
    let named: Vec<_> = report
        .skipped_named
        .iter()
        .map(|s| (s.file.as_str(), s.record, s.line, s.reason))
        .collect();
    assert_eq!(
        named,
        [
            ("integration_logs.json", None, None, Reason::UnknownFile),
            ("general/notes.json", None, None, Reason::UnknownFile),
            ("lost", None, None, Reason::UnlistedFolder),
            (
                "general/2020-01-03.json",
                Some(2),
                Some(3),
                Reason::MalformedRecord
            ),
            (
                "general/2020-01-03.json",
                Some(3),
                Some(5),
                Reason::MalformedRecord
            ),
            (
                "general/2020-01-04.json",
                None,
                Some(1),
                Reason::MalformedRecord
            ),
        ]
    );
    assert!(report.skipped_named[3].detail.contains("soon"));
    let told = told(&server, ids::conversation("C1")).await;
    assert_eq!(
        told[told.len() - 3..],
        ["U1: good", "U2: good too", "U1: last"]
    );
}

#[tokio::test]
async fn repeated_and_late_messages_are_told() {
    let server = Server::new();
    let draft = small().json(
        "general/2020-01-03.json",
        &json!([
            {"user": "U1", "ts": "1577836800.000100", "text": "again"},
            {"user": "U1", "ts": "1577836800.500000", "text": "late"},
        ]),
    );
    let report = server.import(draft.folder().path()).await;
    assert_eq!(report.skipped[&Reason::Repeated], 1);
    assert_eq!(report.messages_out_of_order, 1);
    assert_eq!(report.messages.made, 6);
}

#[tokio::test]
async fn a_text_that_fits_no_event_is_left_out() {
    let server = Server::new();
    let text = "\u{1}".repeat(128 * 1024);
    let draft = small().json(
        "general/2020-01-03.json",
        &json!([
            {"user": "U1", "ts": "1578009600.000000", "text": text},
            {"user": "U1", "ts": "1578009601.000000", "text": format!("{text}."),
             "reactions": [{"name": "x", "users": ["U1"]}]},
        ]),
    );
    let report = server.import(draft.folder().path()).await;
    assert_eq!(report.messages.made, 6);
    assert_eq!(report.skipped[&Reason::TextTooLong], 1);
}

#[tokio::test]
async fn direct_messages_groups_and_archived_channels() {
    let server = Server::new();
    let message = |text: &str| json!([{"user": "U1", "ts": "1577836800.000000", "text": text}]);
    let draft = Draft::default()
        .json("users.json", &users())
        .json(
            "dms.json",
            &json!([
            {"id": "D1", "members": ["U2", "U1"]}, {"id": "D2", "members": ["U1"]}]),
        )
        .json(
            "groups.json",
            &json!([
            {"id": "G1", "name": "secret", "creator": "U1", "members": ["U1"]}]),
        )
        .json(
            "mpims.json",
            &json!([
            {"id": "G2", "name": "mpdm-a--b--c-1", "members": ["U1", "U2", "U3"]}]),
        )
        .json(
            "channels.json",
            &json!([
            {"id": "C1", "name": "old", "is_archived": true, "members": []},
            {"id": "C1", "name": "old"}]),
        )
        .json("D1/2020-01-01.json", &message("to you"))
        .json("D2/2020-01-01.json", &message("to me"))
        .json("secret/2020-01-01.json", &message("psst"))
        .json("mpdm-a--b--c-1/2020-01-01.json", &message("to all"))
        .json("old/2020-01-01.json", &message("once"));
    let (owner, _) = server.user("owner", None).await;
    let by = Importer {
        actor: Actor::User(owner),
        owner: Some(owner),
    };
    let folder = draft.folder();
    let export = || Export::open(folder.path()).unwrap();
    let report = import(&server.api, export(), by, |_| {}).await.unwrap();
    assert_eq!(report.conversations.made, 5);
    assert_eq!(report.messages.made, 5);
    assert_eq!(report.skipped, BTreeMap::from([(Reason::Repeated, 1)]));
    let direct = ConversationId::direct(ids::user("U1"), ids::user("U2"));
    assert_eq!(told(&server, direct).await, ["U1: to you"]);
    let members = async |id: ConversationId| match server.conversation(id).await.remove(0) {
        ConversationEvent::Started(started) => {
            let members = started.members.into_iter();
            members.map(|member| member.user).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(members(ids::conversation("D2")).await, [ids::user("U1")]);
    assert_eq!(members(ids::conversation("G1")).await, [ids::user("U1")]);
    assert_eq!(members(ids::conversation("G2")).await.len(), 3);
    assert_eq!(members(ids::conversation("C1")).await, [owner]);
    let old = server.conversation(ids::conversation("C1")).await;
    assert!(matches!(old[2], ConversationEvent::Archived(_)), "{old:?}");
    let head = server.head();
    import(&server.api, export(), by, |_| {}).await.unwrap();
    assert_eq!(server.head(), head);
}

#[tokio::test]
async fn a_zip_bomb_is_left_out() {
    let server = Server::new();
    let bomb = vec![b' '; usize::try_from(FILE_BYTES_MAX).unwrap() + 1];
    let draft = small().with("general/2020-01-03.json", bomb);
    let folder = tempfile::tempdir().unwrap();
    let report = server.import(&draft.zip(folder.path())).await;
    assert_eq!(report.messages.made, 5);
    let named = &report.skipped_named[0];
    assert_eq!(named.reason, Reason::UnreadableFile);
    assert_eq!(named.file, "general/2020-01-03.json");
}

#[tokio::test]
async fn names_that_lead_out_of_a_zip_are_not_taken() {
    let server = Server::new();
    let evil = [
        "../evil.json",
        "general/../../evil.json",
        "/evil.json",
        "general\\2020-01-09.json",
        "c:evil.json",
    ];
    let mut draft = small();
    for name in evil {
        draft = draft.with(name, "[]");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("evil.zip");
    fs::write(&path, draft.zipped("")).unwrap();
    let report = server.import(&path).await;
    assert_eq!(report.messages.made, 5);
    let taken = report
        .skipped_named
        .iter()
        .filter(|s| s.reason == Reason::UnsafeName);
    assert_eq!(taken.count(), report.skipped_named.len());
    assert!(report.skipped[&Reason::UnsafeName] >= 3, "{report:?}");
}

#[test]
fn what_is_no_export_is_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let open = |path: &Path| Export::open(path).unwrap_err();
    assert!(matches!(open(folder.path()), ExportUnreadable::NotAnExport));
    let file = folder.path().join("file");
    fs::write(&file, "no zip").unwrap();
    assert!(matches!(open(&file), ExportUnreadable::Zip(_)));
    assert!(matches!(
        open(&folder.path().join("absent")),
        ExportUnreadable::Io(_)
    ));
    let empty = folder.path().join("empty.zip");
    fs::write(&empty, Draft::default().zipped("")).unwrap();
    let empty = Export::of_zip(File::open(&empty).unwrap()).unwrap_err();
    assert!(matches!(empty, ExportUnreadable::NotAnExport));
}

#[tokio::test]
async fn progress_grows_to_the_end() {
    let server = Server::new();
    let folder = many(3, 600).folder();
    let mut told: Vec<Progress> = Vec::new();
    let export = Export::open(folder.path()).unwrap();
    let report = import(&server.api, export, operator(), |at| told.push(at));
    let report = report.await.unwrap();
    let last = told.last().unwrap();
    assert_eq!((last.files, last.files_total), (5, 5));
    assert_eq!(last.messages, report.messages.total());
    assert_eq!(last.users, report.users.total());
    assert!(told.is_sorted_by_key(|at| (at.files, at.messages)));
    assert!(told.len() > 5 + 2);
}

#[tokio::test]
async fn an_import_into_a_server_that_shuts_down_stops() {
    let server = Server::new();
    server.api.close().await;
    let folder = small().folder();
    let export = Export::open(folder.path()).unwrap();
    let stopped = import(&server.api, export, operator(), |_| {}).await;
    assert_eq!(stopped.unwrap_err().code, "shutting_down");
}

/// The route of a server with an admin.
struct Door {
    server: Server,
    route: SlackDoor,
    admin: UserId,
    token: String,
    spool: tempfile::TempDir,
}

impl Door {
    async fn new(zip_bytes_max: u64) -> Self {
        let server = Server::new();
        let (admin, token) = server.user("boss", Some(SystemRole::Admin)).await;
        let spool = tempfile::tempdir().unwrap();
        let route = SlackDoor::new(
            server.api.clone(),
            Arc::clone(&server.guard),
            spool.path().join("spool"),
            zip_bytes_max,
        );
        Self {
            server,
            route,
            admin,
            token,
            spool,
        }
    }

    async fn post(&self, token: &str, media_type: &str, body: impl Into<Body>) -> Response {
        let request = Request::post("/v1/import/slack")
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", media_type)
            .body(body.into())
            .unwrap();
        let (router, _) = routes(self.route.clone()).split_for_parts();
        router.oneshot(request).await.unwrap()
    }

    async fn refused(&self, token: &str, media_type: &str, body: impl Into<Body>) -> Problem {
        let response = self.post(token, media_type, body).await;
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await;
        serde_json::from_slice(&bytes.unwrap()).unwrap()
    }
}

const ZIP: &str = "application/zip";

async fn lines(response: Response) -> Vec<Line> {
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await;
    String::from_utf8(bytes.unwrap().to_vec())
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn an_admin_imports_over_http_and_owns_the_channels() {
    let door = Door::new(1 << 20).await;
    let response = door.post(&door.token, ZIP, small().zipped("")).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    let lines = lines(response).await;
    let Some((Line::Done(report), progress)) = lines.split_last() else {
        panic!("{lines:?}");
    };
    assert_eq!(report.messages.made, 5);
    assert!(
        progress
            .iter()
            .all(|line| matches!(line, Line::Progress(_)))
    );
    assert!(!progress.is_empty());
    let stream = StreamName::conversation(ids::conversation("C1"));
    let started = door.server.stream(&stream).await.remove(0);
    assert_eq!(started.metadata().unwrap().actor, Actor::User(door.admin));
    let Ok(Event::Conversation(ConversationEvent::Started(started))) = started.event() else {
        panic!("{started:?}");
    };
    assert_eq!(
        (started.members[0].user, started.members[0].role),
        (door.admin, Role::Owner)
    );
    assert_eq!(
        fs::read_dir(door.spool.path().join("spool"))
            .unwrap()
            .count(),
        0
    );
}

#[tokio::test]
async fn what_cannot_be_imported_over_http_is_refused() {
    let door = Door::new(10_000).await;
    let (_, member) = door.server.user("member", None).await;
    let (_, auditor) = door.server.user("auditor", Some(SystemRole::Auditor)).await;
    let zip = small().zipped("");
    assert_eq!(door.refused("no token", ZIP, zip.clone()).await.status, 401);
    for token in [&member, &auditor] {
        let problem = door.refused(token, ZIP, zip.clone()).await;
        assert_eq!((problem.status, problem.code.as_str()), (403, "forbidden"));
    }
    let text = door.refused(&door.token, "text/plain", zip).await;
    assert_eq!(
        (text.status, text.code.as_str()),
        (415, "unsupported_media_type")
    );
    let garbage = door.refused(&door.token, ZIP, "garbage").await;
    assert_eq!(
        (garbage.status, garbage.code.as_str()),
        (422, "unreadable_export")
    );
    let large = door.refused(&door.token, ZIP, vec![0; 10_001]).await;
    assert_eq!((large.status, large.code.as_str()), (413, "body_too_large"));
}

#[tokio::test]
async fn one_import_runs_at_a_time_and_stops_when_nobody_listens() {
    let door = Door::new(1 << 20).await;
    let (upload, body) = tokio::sync::mpsc::channel::<Result<Vec<u8>, std::io::Error>>(1);
    let body = futures::stream::unfold(body, |mut body| async {
        body.recv().await.map(|chunk| (chunk, body))
    });
    let first = door.post(&door.token, ZIP, Body::from_stream(body));
    let mut first = pin!(first);
    let zip = many(3, 2_000).zipped("");
    // The first import has its turn once it reads its body.
    let (half, rest) = zip.split_at(zip.len() / 2);
    upload.send(Ok(half.to_vec())).await.unwrap();
    let taken = async {
        upload.send(Ok(rest.to_vec())).await.unwrap();
        upload.reserve().await.unwrap();
    };
    tokio::select! {
        _ = &mut first => panic!("the upload has not ended"),
        () = taken => {}
    }
    let second = door.refused(&door.token, ZIP, small().zipped("")).await;
    assert_eq!(
        (second.status, second.code.as_str()),
        (409, "import_running")
    );
    drop(upload);
    let response = first.await;
    assert_eq!(response.status(), StatusCode::OK);
    drop(response);
    // Hanging up ends the import, and the next one gets its turn and finishes the work.
    let lines = loop {
        let response = door.post(&door.token, ZIP, zip.clone()).await;
        if response.status() == StatusCode::OK {
            break lines(response).await;
        }
        assert_eq!(response.status(), StatusCode::CONFLICT);
        tokio::task::yield_now().await;
    };
    let Some(Line::Done(report)) = lines.last() else {
        panic!("{lines:?}");
    };
    assert_eq!(report.messages.total(), 5 + 3 * 2_000);
}

/// Only where the data is at hand: two years of a real channel. `VERBATIM_SLACK_EXPORT` names it, or
/// it stands beside the project.
#[tokio::test]
async fn two_years_of_a_real_channel() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/slack-racket");
    let path = std::env::var_os("VERBATIM_SLACK_EXPORT").map_or(beside, PathBuf::from);
    if !path.exists() {
        return;
    }
    let server = Server::new();
    let report = server.import(&path).await;
    assert_eq!(report.messages.made, 22_172);
    assert_eq!(report.users.made, 326);
    assert_eq!(report.messages_without_text, 1);
    assert_eq!(report.skipped, BTreeMap::new());
    let head = server.head();
    let again = server.import(&path).await;
    assert_eq!(
        again.messages,
        Count {
            made: 0,
            existing: 22_172
        }
    );
    assert_eq!(server.head(), head);
}
