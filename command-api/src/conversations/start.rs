//! Starting a conversation: a direct one, of which there is one for each pair of users, or a group.

use axum::extract::State;
use domain::conversation::{Act, Conversation, HistoryVisibility, Refused};
use domain::{ConversationId, UserId};
use infra::commands::Accepted;
use infra::http::Body;
use infra::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{no_such_user, title};
use crate::CommandApi;
use crate::answer::{Answer, Answered};
use crate::asking::{Asked, Asking};
use crate::problems::CommandProblems;

/// The conversation to start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum StartConversation {
    /// With one other user. Starting it again answers the one there is.
    Direct {
        /// The other.
        with: UserId,
    },
    /// A group; who starts it is its owner.
    Group {
        /// What it is called: 1 to 120 characters.
        title: String,
        /// The others; may be empty.
        #[serde(default)]
        members: Vec<UserId>,
        /// What those who join later see: `joined` unless said otherwise.
        #[serde(default = "default_visibility")]
        #[schema(default = "joined")]
        history_visibility: HistoryVisibility,
    },
}

const fn default_visibility() -> HistoryVisibility {
    HistoryVisibility::Joined
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StartKind {
    Direct,
    Group,
}

/// The fields of every kind in one: reading a tagged enum would lose which field was wrong.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StartFields {
    kind: StartKind,
    with: Option<UserId>,
    title: Option<String>,
    members: Option<Vec<UserId>>,
    history_visibility: Option<HistoryVisibility>,
}

impl TryFrom<StartFields> for StartConversation {
    type Error = Problem;

    fn try_from(fields: StartFields) -> Result<Self, Problem> {
        let missing = |pointer| Problem::invalid_field(pointer, "missing", "this field is missing");
        let foreign = |pointer| {
            let rule = match fields.kind {
                StartKind::Direct => {
                    "a direct conversation has no such field; say with whom: `with`"
                }
                StartKind::Group => "a group has no such field; say who is in it: `members`",
            };
            Problem::invalid_field(pointer, "invalid", rule)
        };
        match fields.kind {
            StartKind::Direct => {
                if fields.title.is_some() {
                    return Err(foreign("/title"));
                }
                if fields.members.is_some() {
                    return Err(foreign("/members"));
                }
                if fields.history_visibility.is_some() {
                    return Err(foreign("/history_visibility"));
                }
                let with = fields.with.ok_or_else(|| missing("/with"))?;
                Ok(Self::Direct { with })
            }
            StartKind::Group => {
                if fields.with.is_some() {
                    return Err(foreign("/with"));
                }
                Ok(Self::Group {
                    title: fields.title.ok_or_else(|| missing("/title"))?,
                    members: fields.members.unwrap_or_default(),
                    history_visibility: fields
                        .history_visibility
                        .unwrap_or_else(default_visibility),
                })
            }
        }
    }
}

/// Starts a conversation.
pub(crate) async fn start(
    api: &CommandApi,
    asking: Asking,
    fields: StartFields,
) -> Result<Answer, Problem> {
    let request = StartConversation::try_from(fields)?;
    let (conversation, act) = match &request {
        StartConversation::Direct { with } => {
            if !api.user_exists(*with).await? {
                return Err(no_such_user("/with"));
            }
            let conversation = ConversationId::direct(asking.user, *with);
            (conversation, Act::StartDirect { with: *with })
        }
        StartConversation::Group {
            title: text,
            members,
            history_visibility,
        } => {
            let title = title(text)?;
            if members.len() > Conversation::MEMBERS_MAX {
                return Err(Problem::refused(&Refused::TooManyMembers));
            }
            for (index, member) in members.iter().enumerate() {
                if !api.user_exists(*member).await? {
                    return Err(no_such_user(&format!("/members/{index}")));
                }
            }
            let act = Act::StartGroup {
                title,
                members: members.clone(),
                history_visibility: *history_visibility,
            };
            (ConversationId::started_by(asking.command), act)
        }
    };
    api.converse(asking, conversation, act, "start_conversation", &request)
        .await
}

/// Start a conversation
#[utoipa::path(
    post,
    path = "/v1/conversations",
    tag = "conversations",
    request_body = StartConversation,
    params(("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes")),
    responses(
        (status = 201, body = Accepted, description = "It is started"),
        (status = 200, body = Accepted, description = "There was this direct conversation already"),
        CommandProblems,
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "`already_started`, `conflict`"),
        (status = 422, body = Problem, content_type = "application/problem+json",
         description = "`invalid_body` (a user who does not exist: `user_not_found`), \
                        `too_many_members`, `with_oneself`, `idempotency_key_reused`"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn post(
    State(api): State<CommandApi>,
    asked: Asked,
    Body(fields): Body<StartFields>,
) -> Result<Answered, Problem> {
    Ok(start(&api, asked.asking, fields).await?.created())
}

#[cfg(test)]
mod tests {
    use crate::testing::{World, problem};
    use domain::{ConversationId, StreamName};
    use serde_json::{Value, json};

    const PATH: &str = "/v1/conversations";

    #[tokio::test]
    async fn two_users_have_one_direct_conversation_whoever_starts_it() {
        let world = World::with(&["alice", "bob"]).await;
        let direct = |who: &str, with: &str| {
            let body = json!({"kind": "direct", "with": world.id(with)});
            world.post(who, PATH).body(body)
        };
        let (one, other) =
            futures::join!(direct("alice", "bob").send(), direct("bob", "alice").send());
        assert_eq!(one.1["id"], other.1["id"]);
        let mut statuses = [one.0, other.0];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 201]);
        let id = ConversationId::direct(world.id("alice"), world.id("bob"));
        assert_eq!(one.1["id"], json!(id));
        let types = world.types(&StreamName::conversation(id)).await;
        assert_eq!(types, ["conversation-started"]);
        let oneself = direct("alice", "alice").problem().await;
        assert_eq!(oneself, problem(422, "with_oneself", ""));
    }

    #[tokio::test]
    async fn a_retry_starts_the_same_group() {
        let world = World::with(&["alice"]).await;
        let group = |title: &str| {
            let body = json!({"kind": "group", "title": title});
            world.post("alice", PATH).key("k").body(body)
        };
        let (status, first) = group("Tea").send().await;
        assert_eq!(status, 201);
        assert_eq!(group("Tea").send().await, (201, first));
        let reused = group("Coffee").problem().await;
        assert_eq!(reused, problem(422, "idempotency_key_reused", ""));
    }

    #[tokio::test]
    async fn what_is_wrong_is_pointed_at() {
        let world = World::with(&["alice", "bob"]).await;
        let (bob, nobody) = (world.id("bob"), "00000000-0000-0000-0000-000000000000");
        let cases: [(Value, &str); 10] = [
            (json!({}), "/kind"),
            (json!({"kind": "crowd"}), "/kind"),
            (json!({"kind": "direct"}), "/with"),
            (json!({"kind": "direct", "with": 7}), "/with"),
            (json!({"kind": "direct", "with": nobody}), "/with"),
            (
                json!({"kind": "direct", "with": bob, "title": "Tea"}),
                "/title",
            ),
            (json!({"kind": "group"}), "/title"),
            (json!({"kind": "group", "title": " "}), "/title"),
            (
                json!({"kind": "group", "title": "Tea", "members": [bob, nobody]}),
                "/members/1",
            ),
            (
                json!({"kind": "group", "title": "Tea", "members": [bob, "x"]}),
                "/members/1",
            ),
        ];
        for (body, pointer) in cases {
            let refused = world.post("alice", PATH).body(body.clone()).problem().await;
            assert_eq!(refused, problem(422, "invalid_body", pointer), "{body}");
        }
        let unknown = json!({"kind": "group", "title": "Tea", "colour": "blue"});
        let refused = world.post("alice", PATH).body(unknown).problem().await;
        assert_eq!((refused.0, refused.1.as_str()), (422, "invalid_body"));
        let garbage = world.post("alice", PATH).text("{\"kind\":").problem().await;
        assert_eq!(garbage, problem(400, "malformed_body", ""));
        let large = world
            .post("alice", PATH)
            .text(&" ".repeat(3 << 20))
            .problem()
            .await;
        assert_eq!(large, problem(413, "body_too_large", ""));
        let anonymous = world.anonymous(PATH).body(json!({})).problem().await;
        assert_eq!(anonymous, problem(401, "unauthenticated", ""));
    }
}
