//! A server on a log in memory, and exports to be written.

use std::collections::BTreeMap;
use std::fs::{self};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use domain::conversation::ConversationEvent;
use domain::session::{self, Opened};
use domain::user::codes::{CodeHash, NewCode};
use domain::user::{self, Account, SystemRole};
use domain::values::{DisplayName, Email, Handle};
use domain::{
    Actor, CommandId, ConversationId, Event, Position, SessionId, StreamName, UserId, Version,
    reservation,
};
use infra::auth::{Guard, Tokens};
use infra::clock::Clock;
use infra::event_store::{Direction, EventStore, MemoryEventStore, RecordedEvent};
use infra::issuers::Issuers;
use infra::keys::Secret;
use infra::limits::{Limit, LoginGate};
use infra::snapshots::MemorySnapshots;
use serde_json::{Value, json};

use crate::execute::{Envelope, Limits};
use crate::import::slack::*;
use crate::{CommandApi, Parts, PasswordCost, SessionRules};

/// A server on a log in memory.
pub(super) struct Server {
    pub(super) store: Arc<dyn EventStore>,
    pub(super) guard: Arc<Guard>,
    pub(super) clock: Clock,
    pub(super) api: CommandApi,
}

impl Server {
    pub(super) fn new() -> Self {
        Self::on(Arc::new(MemoryEventStore::new(Clock::system())))
    }

    pub(super) fn on(store: Arc<dyn EventStore>) -> Self {
        let clock = Clock::system();
        let secret = Secret::new([7; 32]);
        let tokens = Tokens::new(&secret).unwrap();
        let guard = Arc::new(Guard::new(tokens, &store, &clock));
        let api = CommandApi::new(Parts {
            store: Arc::clone(&store),
            snapshots: Arc::new(MemorySnapshots::default()),
            guard: Arc::clone(&guard),
            issuers: Arc::new(Issuers::new(vec![], &secret, &clock).unwrap()),
            secret,
            clock: clock.clone(),
            limits: Limits::default(),
            session_rules: SessionRules::default(),
            password_cost: PasswordCost::default(),
            login_gate: LoginGate::new(Limit::Off, Limit::Off),
            second_factors: crate::testing::second_factors(Limit::Off),
            attachments: crate::testing::uploads::Place::new(None).rules,
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

    pub(super) async fn import(&self, path: &Path) -> Report {
        import(&self.api, Export::open(path).unwrap(), operator(), |_| {})
            .await
            .unwrap()
    }

    pub(super) async fn stream(&self, stream: &StreamName) -> Vec<Arc<RecordedEvent>> {
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

    pub(super) async fn conversation(&self, id: ConversationId) -> Vec<ConversationEvent> {
        self.stream(&StreamName::conversation(id))
            .await
            .iter()
            .map(|recorded| match recorded.event().unwrap() {
                Event::Conversation(event) => event,
                other => panic!("{other:?} in a conversation"),
            })
            .collect()
    }

    pub(super) async fn account(&self, slack_id: &str) -> Account {
        let account = self.api.account(ids::user(slack_id)).await.unwrap();
        account.unwrap_or_else(|| panic!("{slack_id} has no account"))
    }

    pub(super) fn head(&self) -> Position {
        *self.store.head().borrow()
    }

    /// What stands in the log for ever, but for who came first among different streams, ids of
    /// claims and times of recording.
    pub(super) async fn history(
        &self,
    ) -> BTreeMap<String, Vec<(String, String, Option<DateTime<Utc>>)>> {
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

    pub(super) async fn command<D: domain::Decider>(
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
    pub(super) async fn user(&self, handle: &str, role: Option<SystemRole>) -> (UserId, String) {
        let user = UserId(infra::clock::fresh_id());
        let stream = StreamName::user(user);
        let register = user::Command::Register {
            user,
            email: Email::parse(&format!("{handle}@example.org")).unwrap(),
            handle: Handle::parse(handle).unwrap(),
            display_name: DisplayName::parse(handle).unwrap(),
            password_hash: "$".to_owned(),
            code: NewCode {
                hash: CodeHash::new("of a code".to_owned()),
                asked_by: None,
                at: self.clock.now(),
            },
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
            refresh_hash: None,
            login_epoch: 0,
            vouched_by: None,
            amr: [].into(),
        });
        let stream = StreamName::session(session);
        self.command(self.api.sessions(), stream, open).await;
        let tokens = self.guard.tokens();
        let token = tokens.sign(user, session, self.clock.now(), expires_at);
        (user, token.unwrap())
    }

    pub(super) async fn hold(&self, user: UserId, handle: &str) {
        let stream = self.api.handle_stream(&Handle::parse(handle).unwrap());
        let claim = reservation::Command::Claim { user };
        self.command(self.api.reservations(), stream, claim).await;
    }
}

pub(super) fn operator() -> Importer {
    Importer {
        actor: Actor::Operator,
        owner: None,
    }
}

/// An export to be written.
#[derive(Clone, Default)]
pub(super) struct Draft(BTreeMap<String, Vec<u8>>);

impl Draft {
    pub(super) fn with(mut self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.0.insert(path.to_owned(), content.as_ref().to_vec());
        self
    }

    pub(super) fn json(self, path: &str, content: &Value) -> Self {
        self.with(path, serde_json::to_vec_pretty(content).unwrap())
    }

    pub(super) fn folder(&self) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, content) in &self.0 {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        folder
    }

    pub(super) fn zipped(&self, root: &str) -> Vec<u8> {
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        let options = zip::write::SimpleFileOptions::default();
        for (path, content) in &self.0 {
            zip.start_file(format!("{root}{path}"), options).unwrap();
            zip.write_all(content).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    pub(super) fn zip(&self, folder: &Path) -> PathBuf {
        let path = folder.join("export.zip");
        fs::write(&path, self.zipped("My Export/")).unwrap();
        path
    }
}

pub(super) fn users() -> Value {
    json!([
        {"id": "U1", "name": "anna", "profile":
            {"real_name": "Anna A.", "display_name": "", "email": "Anna@example.org"}},
        {"id": "U2", "name": "bert", "deleted": true, "real_name": "Bert"},
        {"id": "U3", "name": "Anna!", "profile": {"display_name": "The other Anna"}},
    ])
}

/// Two days with a bit of everything.
pub(super) fn small() -> Draft {
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
pub(super) async fn told(server: &Server, id: ConversationId) -> Vec<String> {
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
                assert_eq!(sent.said.of(), sent.author);
                let reply = sent.thread.map(|seq| format!(" to {seq}"));
                let reply = reply.unwrap_or_default();
                format!(
                    "{}: {}{reply}",
                    name(sent.author),
                    sent.said.text().unwrap()
                )
            }
            ConversationEvent::MessageEdited(edited) => format!(
                "{} edits {}: {}",
                name(edited.said.of()),
                edited.message,
                edited.said.text().unwrap()
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

/// Days of messages with replies, edits and reactions.
pub(super) fn many(days: i64, messages: i64) -> Draft {
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
