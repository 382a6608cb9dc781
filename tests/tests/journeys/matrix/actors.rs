//! Those who ask, and the conversation that each of them finds.

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Listener, Person, ServerProcess};

use super::requests::{self, Request};
use crate::PROGRAM;

/// Nothing has it.
const NO_SUCH_ID: &str = "0190d0f0-0000-7000-8000-000000000000";

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Actor {
    Nobody,
    Stranger,
    Removed,
    Member,
    Admin,
    Owner,
    Auditor,
    Analyst,
    Bot,
    Suspended,
    ServerAdmin,
    ServerOwner,
    ServerAdminMember,
    ServerOwnerMember,
}

impl Actor {
    /// Everybody, in the order of the table.
    pub(super) const ALL: [Self; 14] = [
        Self::Nobody,
        Self::Stranger,
        Self::Removed,
        Self::Member,
        Self::Admin,
        Self::Owner,
        Self::Auditor,
        Self::Analyst,
        Self::Bot,
        Self::Suspended,
        Self::ServerAdmin,
        Self::ServerOwner,
        Self::ServerAdminMember,
        Self::ServerOwnerMember,
    ];

    /// What the table calls them.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Stranger => "stranger",
            Self::Removed => "removed",
            Self::Member => "member",
            Self::Admin => "admin",
            Self::Owner => "owner",
            Self::Auditor => "auditor",
            Self::Analyst => "analyst",
            Self::Bot => "bot",
            Self::Suspended => "suspended",
            Self::ServerAdmin => "server admin",
            Self::ServerOwner => "server owner",
            Self::ServerAdminMember => "server admin as member",
            Self::ServerOwnerMember => "server owner as member",
        }
    }

    /// The handle of those who log in.
    const fn handle(self) -> Option<&'static str> {
        match self {
            Self::Nobody | Self::Analyst | Self::Bot | Self::Suspended => None,
            Self::Stranger
            | Self::Removed
            | Self::Member
            | Self::Admin
            | Self::Owner
            | Self::Auditor => Some(self.name()),
            Self::ServerAdmin | Self::ServerAdminMember => Some("server-admin"),
            Self::ServerOwner | Self::ServerOwnerMember => Some("server-owner"),
        }
    }
}

/// By whom one may log in: nothing is asked of it until somebody comes back from there.
const ISSUER: &str = "[[issuer]]\nname = \"octo\"\nkind = \"github\"\nclient_id = \"verbatim\"\n\
                      redirect_uris = [\"http://127.0.0.1:3000/callback\"]\n";

/// Everybody on one server.
pub(super) struct Cast {
    _server: ServerProcess,
    stranger: Person,
    removed: Person,
    pub(super) member: Person,
    admin: Person,
    pub(super) owner: Person,
    /// Another member, to whom things are done.
    other: Person,
    /// Somebody whom nobody knows yet.
    outsider: Person,
    /// Somebody to whom is done what would be felt in other conversations.
    unloved: Person,
    auditor: Person,
    analyst: Person,
    bot: Person,
    suspended: Person,
    server_admin: Person,
    server_owner: Person,
}

/// A conversation, and one who asks about it.
#[derive(Clone)]
pub(super) struct Scene {
    asker: Person,
    /// What stands for the names between braces.
    names: Vec<(&'static str, Value)>,
}

impl Cast {
    /// Starts a server, and has everybody come.
    pub(super) async fn assemble() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("verbatim.toml");
        std::fs::write(&config, ISSUER).expect("it can be written");
        let config = config.to_str().expect("UTF-8");
        let server = ServerProcess::start_with(PROGRAM, &["--config", config]).await;
        let url = server.url();
        let person = |name: &'static str| Person::register(&url, name);
        let server_owner = person("server-owner").await;
        let code = std::fs::read_to_string(server.data_dir().join("owner-code")).expect("a code");
        let claim = json!({ "code": code.trim() });
        server_owner.post("/v1/owner", claim).await.ok();
        let (auditor, server_admin) = (person("auditor").await, person("server-admin").await);
        for (whom, role) in [(&auditor, "auditor"), (&server_admin, "admin")] {
            let path = format!("/v1/users/{}/system-roles/{role}", whom.id);
            server_owner.ask(Method::PUT, &path, None, &[]).await.ok();
        }
        let suspended = person("suspended").await;
        let path = format!("/v1/users/{}/suspend", suspended.id);
        let why = json!({ "why": "to see what they may" });
        server_owner.post(&path, why).await.ok();
        let analyst = json!({ "name": "Analyst", "scopes": ["analyst"] });
        let bot = json!({ "name": "Bot", "scopes": ["bot"], "handle": "bot" });
        Self {
            stranger: person("stranger").await,
            removed: person("removed").await,
            member: person("member").await,
            admin: person("admin").await,
            owner: person("owner").await,
            other: person("other").await,
            outsider: person("outsider").await,
            unloved: person("unloved").await,
            suspended,
            analyst: service(&server_owner, analyst).await,
            bot: service(&server_owner, bot).await,
            auditor,
            server_admin,
            server_owner,
            _server: server,
        }
    }

    const fn person(&self, actor: Actor) -> Option<&Person> {
        Some(match actor {
            Actor::Nobody => return None,
            Actor::Stranger => &self.stranger,
            Actor::Removed => &self.removed,
            Actor::Member => &self.member,
            Actor::Admin => &self.admin,
            Actor::Owner => &self.owner,
            Actor::Auditor => &self.auditor,
            Actor::Analyst => &self.analyst,
            Actor::Bot => &self.bot,
            Actor::Suspended => &self.suspended,
            Actor::ServerAdmin | Actor::ServerAdminMember => &self.server_admin,
            Actor::ServerOwner | Actor::ServerOwnerMember => &self.server_owner,
        })
    }

    /// Whom the owner has come in where `actor` asks.
    fn members(&self, actor: Actor) -> Vec<&Person> {
        let mut members = vec![
            &self.removed,
            &self.member,
            &self.admin,
            &self.other,
            &self.bot,
        ];
        if let Actor::ServerAdminMember | Actor::ServerOwnerMember = actor {
            members.extend(self.person(actor));
        }
        members
    }

    /// A fresh conversation as `actor` finds it, in which everybody is what they are called.
    pub(super) async fn scene(&self, actor: Actor) -> Scene {
        let owner = &self.owner;
        let members = self.members(actor);
        let conversation = owner.starts_group("Team", &members).await;
        let at = format!("/v1/conversations/{conversation}");
        let of = |person: &Person| format!("{at}/members/{}", person.id);
        let admin = json!({ "role": "admin" });
        let path = of(&self.admin);
        let changed = owner.ask(Method::PATCH, &path, Some(admin), &[]).await;
        changed.ok();
        let seq = owner.says(&conversation, "hello").await;
        let path = of(&self.removed);
        let removed = owner.ask(Method::DELETE, &path, None, &[]).await;
        let position = removed.ok()["position"].clone();
        let path = format!("{at}/messages?min_position={position}");
        owner.get(&path).await.ok();
        let mut asker = self.person(actor).unwrap_or(&self.stranger).clone();
        if actor == Actor::Nobody {
            asker.token.clear();
        }
        Scene {
            asker,
            names: vec![
                ("conversation", json!(conversation)),
                ("seq", json!(seq)),
                ("emoji", json!("%F0%9F%91%8D")),
                ("user", json!(self.other.id)),
                ("outsider", json!(self.outsider.id)),
                ("unloved", json!(self.unloved.id)),
                (
                    "fresh",
                    json!(format!("fresh-{seq}-{}", &conversation[..8])),
                ),
                ("service", json!(NO_SUCH_ID)),
                ("handle", json!("other")),
                ("role", json!("auditor")),
                ("name", json!("users")),
                ("session", json!(NO_SUCH_ID)),
                ("attachment", json!(NO_SUCH_ID)),
                ("variant", json!("original")),
                ("issuer", json!("octo")),
            ],
        }
    }

    /// Has the owner make something; gives `what` of the answer.
    pub(super) async fn made(&self, path: &str, body: Value, what: &str) -> String {
        let made = self.owner.post(path, body).await.ok();
        made[what].as_str().expect("text").to_owned()
    }

    /// The same with a space of its own, in which everybody is what they are called.
    pub(super) async fn scene_with_space(&self, actor: Actor) -> Scene {
        let mut scene = self.scene(actor).await;
        let owner = &self.owner;
        let space = json!({ "name": "Team", "joining": "open" });
        let space = self.made("/v1/spaces", space, "id").await;
        let at = format!("/v1/spaces/{space}");
        for member in self.members(actor) {
            member.post(&format!("{at}/join"), Value::Null).await.ok();
        }
        let path = format!("{at}/roles");
        let admin = json!({ "name": "Admins", "rank": 5, "permissions": ["administrator"] });
        let admin = self.made(&path, admin, "id").await;
        let given = format!("{at}/members/{}/roles/{admin}", self.admin.id);
        owner.ask(Method::PUT, &given, None, &[]).await.ok();
        let removed = format!("{at}/members/{}", self.removed.id);
        owner.ask(Method::DELETE, &removed, None, &[]).await.ok();
        let role = self
            .made(&path, json!({ "name": "Waiters", "rank": 1 }), "id")
            .await;
        let category = json!({ "name": "Front" });
        let category = self.made(&format!("{at}/categories"), category, "id").await;
        let channel = json!({ "name": "general", "kind": "text" });
        let channel = self.made(&format!("{at}/channels"), channel, "id").await;
        let invites = format!("{at}/invites");
        let code = self.made(&invites, json!({}), "code").await;
        let invite = owner.post(&invites, json!({})).await.ok();
        let position = &invite["position"];
        let path = format!("{at}?min_position={position}");
        owner.get(&path).await.ok();
        scene.set("space", json!(space));
        scene.set("role", json!(role));
        scene.set("category", json!(category));
        scene.set("channel", json!(channel));
        scene.set("invite", invite["id"].clone());
        scene.set("code", json!(code));
        scene
    }
}

impl Scene {
    /// Has the asker come in once more, if they can log in, so that this session may end.
    pub(super) async fn log_in_anew(&mut self, actor: Actor) {
        if let Some(handle) = actor.handle() {
            self.asker.log_in(handle).await;
        }
    }

    /// Has `{name}` stand for `value`.
    pub(super) fn set(&mut self, name: &'static str, value: Value) {
        self.names.retain(|(known, _)| *known != name);
        self.names.push((name, value));
    }

    /// `text` with the scene's names for those between braces.
    pub(super) fn fill(&self, text: &str) -> String {
        let mut filled = text.to_owned();
        for (name, value) in &self.names {
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), ToOwned::to_owned);
            filled = filled.replace(&format!("{{{name}}}"), &value);
        }
        filled
    }

    /// `body` with the scene's values for the names between braces.
    pub(super) fn fill_body(&self, body: &Value) -> Value {
        let named = |text: &str| {
            let name = text.strip_prefix('{')?.strip_suffix('}')?;
            let found = self.names.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.clone())
        };
        match body {
            Value::String(text) => named(text).unwrap_or_else(|| json!(self.fill(text))),
            Value::Array(values) => values.iter().map(|it| self.fill_body(it)).collect(),
            Value::Object(fields) => fields
                .iter()
                .map(|(name, value)| (name.clone(), self.fill_body(value)))
                .collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) => body.clone(),
        }
    }
}

/// A service of `owner`'s, as one who asks.
async fn service(owner: &Person, asked: Value) -> Person {
    let made = owner.post("/v1/services", asked).await.ok();
    let mut service = owner.clone();
    let text = |name: &str| made[name].as_str().map(ToOwned::to_owned);
    service.token = text("token").expect("a token");
    // Only a bot is somebody whom others can name.
    service.id = text("user").unwrap_or_default();
    service
}

/// The status that the scene's asker gets.
pub(super) async fn ask(scene: Scene, request: &Request) -> String {
    let (path, body) = (request.path(&scene), request.body(&scene));
    let status = scene.asker.status_of(request.method.clone(), &path, body);
    status.await.as_u16().to_string()
}

/// What a frame of the scene's asker is answered: `ack`, the status of the problem, or `—`.
pub(super) async fn send(scene: Scene, op: &str) -> String {
    let mut listener = Listener::connect(scene.asker.server()).await;
    if !scene.asker.token.is_empty() {
        let identify = json!({ "op": "identify", "token": scene.asker.token });
        listener.send(identify).await;
        loop {
            let frame = listener.next().await;
            match frame["op"].as_str() {
                Some("ready") => break,
                Some("error") => return status_of(&frame),
                _ => {}
            }
        }
    }
    let mut frame = scene.fill_body(&requests::frame(op));
    frame["op"] = json!(op);
    // Some commands are on the same stream, where an id names one of them.
    frame["id"] = json!(op);
    listener.send(frame).await;
    // Answered after the frame, where that has no answer of its own.
    listener.send(json!({ "op": "heartbeat" })).await;
    loop {
        let frame = listener.next().await;
        let is_answer = frame["id"] == op;
        match frame["op"].as_str() {
            Some("ack") if is_answer => return "ack".to_owned(),
            Some("error") if is_answer => return status_of(&frame),
            Some("heartbeat_ack") if requests::SIGNALS.contains(&op) => {
                return "—".to_owned();
            }
            _ => {}
        }
    }
}

fn status_of(error: &Value) -> String {
    error["problem"]["status"].to_string()
}
