//! Each permission of spaces alone: what a member may to whom it was given, and nothing else.

use domain::space::Permission;
use reqwest::Method;
use serde_json::{Value, json};

use super::actors::{self, Actor, Cast, Scene};
use super::requests::Request;
use crate::attachments::{id_of, upload};

/// What a member may: nothing, or one permission beside those without which most mean nothing.
#[derive(Clone, Copy, Debug)]
pub(super) enum Held {
    Nothing,
    One(Permission),
}

/// What a permission is given beside, unless it is one of these: then only with those before it.
const BESIDE: [Permission; 2] = [Permission::ViewChannel, Permission::SendMessages];

impl Held {
    /// Every column of the table.
    pub(super) fn all() -> Vec<Self> {
        let each = Permission::ALL.into_iter().map(Self::One);
        std::iter::once(Self::Nothing).chain(each).collect()
    }

    /// What the table calls it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::One(permission) => permission.as_str(),
        }
    }

    /// All that the member is given.
    fn permissions(self) -> Vec<Permission> {
        let Self::One(permission) = self else {
            return Vec::new();
        };
        let before = BESIDE.into_iter().take_while(|it| *it != permission);
        before.chain([permission]).collect()
    }
}

/// What is asked in a channel, by what it is called in the table: every act that a permission is about, and
/// what is read there.
pub(super) fn in_channel() -> Vec<(&'static str, Request)> {
    let with = |method: Method, path: &str, body: Value| {
        Request::new(method, format!("/v1/conversations/{path}"), body)
    };
    let bare = |method: Method, path: &str| with(method, path, Value::Null);
    let says = |body: Value| with(Method::POST, "{channel}/messages", body);
    let edits = |message: &str, body: Value| {
        let path = format!("{{channel}}/messages/{message}");
        with(Method::PATCH, &path, body)
    };
    vec![
        (
            "read what was said before",
            bare(Method::GET, "{channel}/messages/{seq}"),
        ),
        (
            "read what is said now",
            bare(Method::GET, "{channel}/messages/{later}"),
        ),
        ("read the channel", bare(Method::GET, "{channel}")),
        ("read who is in it", bare(Method::GET, "{channel}/members")),
        ("write", says(json!({ "body": "hello" }))),
        (
            "call everyone",
            says(json!({ "body": "hello", "mentions": ["everyone"] })),
        ),
        (
            "call who is here",
            says(json!({ "body": "hello", "mentions": ["here"] })),
        ),
        (
            "call a role of the space",
            says(json!({ "body": "hello", "mentions": [{ "space_role": "{role}" }] })),
        ),
        (
            "attach a file",
            says(json!({ "body": "see", "attachments": ["{attachment}"] })),
        ),
        (
            "edit one's own message",
            edits("{own}", json!({ "body": "!" })),
        ),
        (
            "edit another's message",
            edits("{seq}", json!({ "body": "!" })),
        ),
        (
            "edit a file into one's own message",
            edits(
                "{own}",
                json!({ "body": "!", "attachments": ["{attachment}"] }),
            ),
        ),
        (
            "answer in a thread",
            says(json!({ "body": "hello", "thread": "{seq}" })),
        ),
        (
            "delete one's own message",
            bare(Method::DELETE, "{channel}/messages/{own}"),
        ),
        (
            "delete another's message",
            bare(Method::DELETE, "{channel}/messages/{seq}"),
        ),
        (
            "react",
            bare(Method::PUT, "{channel}/messages/{seq}/reactions/{emoji}"),
        ),
        ("pin", bare(Method::PUT, "{channel}/messages/{seq}/pin")),
        (
            "unpin",
            bare(Method::DELETE, "{channel}/messages/{pinned}/pin"),
        ),
        (
            "set slow mode",
            with(Method::PATCH, "{channel}", json!({ "slow_mode_s": 5 })),
        ),
        (
            "write again in a slow channel",
            with(Method::POST, "{slow}/messages", json!({ "body": "hello" })),
        ),
    ]
}

/// What members who hold each are answered. A scene is used again until something was done in it.
pub(super) async fn answers(cast: &Cast, request: &Request, scenes: &mut Scenes) -> Vec<String> {
    let mut answers = Vec::new();
    for (held, kept) in &mut scenes.0 {
        let scene = match kept.take() {
            Some(scene) => scene,
            None => cast.scene_with_permissions(*held).await,
        };
        let status = actors::ask(scene.clone(), request).await;
        *kept = status.starts_with('4').then_some(scene);
        answers.push(status);
    }
    answers
}

/// A scene of every column, unless something was done in it.
pub(super) struct Scenes(Vec<(Held, Option<Scene>)>);

impl Scenes {
    pub(super) fn new() -> Self {
        Self(Held::all().into_iter().map(|held| (held, None)).collect())
    }
}

impl Cast {
    /// A space in which the member may what is `held`, by a role that stands above other members; its
    /// owner and the member have said something in a channel, and another one is slow.
    async fn scene_with_permissions(&self, held: Held) -> Scene {
        let mut scene = self.scene_with_space(Actor::Member).await;
        let (owner, member) = (&self.owner, &self.member);
        let space = scene.fill("/v1/spaces/{space}");
        let channel = scene.fill("{channel}");
        let slow = json!({ "name": "slow", "kind": "text" });
        let slow = &self.made(&format!("{space}/channels"), slow, "id").await;
        let seq = owner.says(&channel, "hello").await;
        let pinned = owner.says(&channel, "hello").await;
        let pin = format!("/v1/conversations/{channel}/messages/{pinned}/pin");
        owner.ask(Method::PUT, &pin, None, &[]).await.ok();
        let own = member.says(&channel, "hello").await;
        let change = async |what: &str, body: Value| {
            let changed = owner.ask(Method::PATCH, what, Some(body), &[]).await;
            changed.ok()
        };
        let slowly = json!({ "slow_mode_s": 3_600 });
        change(&format!("/v1/conversations/{slow}"), slowly).await;
        member.says(slow, "hello").await;
        let names: Vec<&str> = held.permissions().iter().map(|it| it.as_str()).collect();
        let role = json!({ "name": "Held", "rank": 5, "permissions": names });
        let role = self.made(&format!("{space}/roles"), role, "id").await;
        let given = format!("{space}/members/{}/roles/{role}", member.id);
        owner.ask(Method::PUT, &given, None, &[]).await.ok();
        let everyone = scene.fill("/v1/spaces/{space}/roles/{space}");
        change(&everyone, json!({ "permissions": [] })).await;
        scene.set("seq", json!(seq));
        scene.set("own", json!(own));
        let (file, _) = upload(member, b"tea").await;
        scene.set("attachment", json!(id_of(&file)));
        scene.set("pinned", json!(pinned));
        scene.set("slow", json!(slow));

        let said = json!({ "body": "hello" });
        let messages = format!("/v1/conversations/{channel}/messages");
        let later = owner.post(&messages, said).await.ok();
        scene.set("later", later["seq"].clone());
        let since = format!("min_position={}", later["position"]);
        owner.get(&format!("{messages}?{since}")).await.ok();
        let path = format!("{space}/members/{}/permissions?{since}", member.id);
        let told = member.get(&path).await.ok();
        let told = told["permissions"].as_array().expect("permissions");
        if !matches!(held, Held::One(Permission::Administrator)) {
            let has = told.iter().filter(|it| it["allowed"] == true);
            let has: Vec<&Value> = has.map(|it| &it["permission"]).collect();
            assert_eq!(json!(has), json!(names), "{held:?}");
        }
        scene
    }
}
