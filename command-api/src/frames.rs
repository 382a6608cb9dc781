//! Commands that come in frames: the same requests and the same functions as over HTTP. What HTTP
//! has in its path, a frame has as fields.

use async_trait::async_trait;
use axum::http::StatusCode;
use domain::receipts::MarkKind;
use domain::{CommandId, ConversationId, Seq};
use infra::auth::Caller;
use infra::commands::{Accepted, CommandDoor, FrameCommand};
use infra::failure::Failure;
use infra::http::parse_json;
use infra::problem::Problem;
use infra::trace::TraceParent;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tracing::Instrument as _;

use crate::CommandApi;
use crate::answer::Answer;
use crate::asking::{Asking, Key};
use crate::conversations::{
    archive, change, delete_message, edit_message, members as of_conversation, pins, reactions,
    receipts, send_message, start, threads,
};
use crate::spaces::{bans, categories, channels, create, invites, members, overrides, roles};

use crate::notifications::{read, rule};

/// Fields of every frame, which are no command's.
const FRAME_FIELDS: [&str; 3] = ["op", "id", "traceparent"];

/// The commands that frames may carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    SendMessage,
    EditMessage,
    DeleteMessage,
    AddReaction,
    RemoveReaction,
    PinMessage,
    UnpinMessage,
    FollowThread,
    UnfollowThread,
    MarkThreadSeen,
    MarkSeen,
    MarkDelivered,
    StartConversation,
    RenameConversation,
    ChangeSettings,
    AddMember,
    RemoveMember,
    LeaveConversation,
    ChangeRole,
    ArchiveConversation,
    UnarchiveConversation,
    SetNotifications,
    ReadNotifications,
    Space(SpaceOp),
}

/// Those on spaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SpaceOp {
    CreateSpace,
    ChangeSpace,
    ArchiveSpace,
    UnarchiveSpace,
    TransferSpace,
    CreateChannel,
    ChangeChannel,
    RemoveChannel,
    SetOverride,
    CreateCategory,
    ChangeCategory,
    RemoveCategory,
    DefineRole,
    ChangeSpaceRole,
    RemoveRole,
    AssignRole,
    WithdrawRole,
    JoinSpace,
    LeaveSpace,
    KickMember,
    BanMember,
    UnbanMember,
    RevokeInvite,
    UseInvite,
}

/// The `op` of every command that a frame may carry.
pub fn ops() -> impl Iterator<Item = &'static str> {
    COMMANDS.into_iter().map(|(op, _)| op)
}

const COMMANDS: [(&str, Op); 47] = [
    ("send_message", Op::SendMessage),
    ("edit_message", Op::EditMessage),
    ("delete_message", Op::DeleteMessage),
    ("add_reaction", Op::AddReaction),
    ("remove_reaction", Op::RemoveReaction),
    ("pin_message", Op::PinMessage),
    ("unpin_message", Op::UnpinMessage),
    ("follow_thread", Op::FollowThread),
    ("unfollow_thread", Op::UnfollowThread),
    ("mark_thread_seen", Op::MarkThreadSeen),
    ("mark_seen", Op::MarkSeen),
    ("mark_delivered", Op::MarkDelivered),
    ("start_conversation", Op::StartConversation),
    ("rename_conversation", Op::RenameConversation),
    ("change_settings", Op::ChangeSettings),
    ("add_member", Op::AddMember),
    ("remove_member", Op::RemoveMember),
    ("leave_conversation", Op::LeaveConversation),
    ("change_role", Op::ChangeRole),
    ("archive_conversation", Op::ArchiveConversation),
    ("unarchive_conversation", Op::UnarchiveConversation),
    ("set_notifications", Op::SetNotifications),
    ("read_notifications", Op::ReadNotifications),
    ("create_space", Op::Space(SpaceOp::CreateSpace)),
    ("change_space", Op::Space(SpaceOp::ChangeSpace)),
    ("archive_space", Op::Space(SpaceOp::ArchiveSpace)),
    ("unarchive_space", Op::Space(SpaceOp::UnarchiveSpace)),
    ("transfer_space", Op::Space(SpaceOp::TransferSpace)),
    ("create_channel", Op::Space(SpaceOp::CreateChannel)),
    ("change_channel", Op::Space(SpaceOp::ChangeChannel)),
    ("remove_channel", Op::Space(SpaceOp::RemoveChannel)),
    ("set_override", Op::Space(SpaceOp::SetOverride)),
    ("create_category", Op::Space(SpaceOp::CreateCategory)),
    ("change_category", Op::Space(SpaceOp::ChangeCategory)),
    ("remove_category", Op::Space(SpaceOp::RemoveCategory)),
    ("define_role", Op::Space(SpaceOp::DefineRole)),
    ("change_space_role", Op::Space(SpaceOp::ChangeSpaceRole)),
    ("remove_role", Op::Space(SpaceOp::RemoveRole)),
    ("assign_role", Op::Space(SpaceOp::AssignRole)),
    ("withdraw_role", Op::Space(SpaceOp::WithdrawRole)),
    ("join_space", Op::Space(SpaceOp::JoinSpace)),
    ("leave_space", Op::Space(SpaceOp::LeaveSpace)),
    ("kick_member", Op::Space(SpaceOp::KickMember)),
    ("ban_member", Op::Space(SpaceOp::BanMember)),
    ("unban_member", Op::Space(SpaceOp::UnbanMember)),
    ("revoke_invite", Op::Space(SpaceOp::RevokeInvite)),
    ("use_invite", Op::Space(SpaceOp::UseInvite)),
];

impl Op {
    fn named(name: &str) -> Option<Self> {
        let mut commands = COMMANDS.into_iter();
        commands.find_map(|(known, op)| (known == name).then_some(op))
    }
}

/// The fields of a frame that are not read yet.
struct Fields(Map<String, Value>);

impl Fields {
    fn of(command: &FrameCommand<'_>) -> Result<Self, Problem> {
        let mut fields: Map<String, Value> = parse_json(command.frame.get().as_bytes())?;
        for name in FRAME_FIELDS {
            fields.remove(name);
        }
        Ok(Self(fields))
    }

    /// Takes a field that HTTP has in its path.
    fn take<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, Problem> {
        let pointer = format!("/{name}");
        let value = self
            .0
            .remove(name)
            .ok_or_else(|| Problem::invalid_field(&pointer, "missing", "this field is missing"))?;
        serde_json::from_value(value)
            .map_err(|error| Problem::invalid_field(&pointer, "invalid", error))
    }

    fn conversation(&mut self) -> Result<ConversationId, Problem> {
        self.take("conversation")
    }

    fn only_conversation(mut self) -> Result<ConversationId, Problem> {
        let conversation = self.conversation()?;
        self.none()?;
        Ok(conversation)
    }

    /// Takes the last field that there is to be.
    fn only_one<T: DeserializeOwned>(mut self, name: &str) -> Result<T, Problem> {
        let value = self.take(name)?;
        self.none()?;
        Ok(value)
    }

    fn message(&mut self) -> Result<(ConversationId, Seq), Problem> {
        Ok((self.conversation()?, self.take("message")?))
    }

    fn thread(&mut self) -> Result<(ConversationId, Seq), Problem> {
        Ok((self.conversation()?, self.take("thread")?))
    }

    fn only_thread(mut self) -> Result<(ConversationId, Seq), Problem> {
        let thread = self.thread()?;
        self.none()?;
        Ok(thread)
    }

    fn only_message(mut self) -> Result<(ConversationId, Seq), Problem> {
        let message = self.message()?;
        self.none()?;
        Ok(message)
    }

    /// The rest as the request that HTTP has in its body.
    fn request<T: DeserializeOwned>(self) -> Result<T, Problem> {
        let body = serde_json::to_vec(&self.0)
            .map_err(|error| Failure::internal("read a frame", error))?;
        parse_json(&body)
    }

    /// Makes sure that there is no rest.
    fn none(self) -> Result<(), Problem> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => {
                let rule = "this command has no such field";
                Err(Problem::invalid_field(&format!("/{name}"), "invalid", rule))
            }
        }
    }
}

#[async_trait]
impl CommandDoor for CommandApi {
    async fn run(&self, caller: &Caller, command: FrameCommand<'_>) -> Result<Accepted, Problem> {
        let Some(op) = Op::named(command.op) else {
            let problem = Problem::new(
                StatusCode::BAD_REQUEST,
                "unknown_op",
                "There is no such command",
            );
            return Err(problem.with_detail(format!("{:?} is no op", command.op)));
        };
        let asking = Asking {
            user: caller.user,
            command: CommandId::of(caller.user, Key::check(command.id)?),
        };
        let fields = Fields::of(&command)?;
        let trace = TraceParent::continuing(command.traceparent);
        let span = tracing::info_span!("frame", op = command.op, trace_id = %trace.trace_id());
        let answer = trace
            .scope(run(self, asking, op, fields).instrument(span))
            .await?;
        Ok(answer.accepted)
    }
}

async fn run(
    api: &CommandApi,
    asking: Asking,
    op: Op,
    mut fields: Fields,
) -> Result<Answer, Problem> {
    match op {
        Op::StartConversation => start::start(api, asking, fields.request()?).await,
        Op::SendMessage => {
            let conversation = fields.conversation()?;
            send_message::send_message(api, asking, conversation, fields.request()?).await
        }
        Op::EditMessage => {
            let (conversation, seq) = fields.message()?;
            edit_message::edit_message(api, asking, conversation, seq, fields.request()?).await
        }
        Op::DeleteMessage => {
            let (conversation, seq) = fields.message()?;
            delete_message::delete_message(api, asking, conversation, seq, fields.request()?).await
        }
        Op::AddReaction => {
            let (conversation, seq) = fields.message()?;
            reactions::add_reaction(api, asking, conversation, seq, fields.request()?).await
        }
        Op::RemoveReaction => {
            let (conversation, seq) = fields.message()?;
            reactions::remove_reaction(api, asking, conversation, seq, fields.request()?).await
        }
        Op::PinMessage => {
            let (conversation, seq) = fields.only_message()?;
            pins::pin_message(api, asking, conversation, seq).await
        }
        Op::UnpinMessage => {
            let (conversation, seq) = fields.only_message()?;
            pins::unpin_message(api, asking, conversation, seq).await
        }
        Op::FollowThread => {
            let (conversation, thread) = fields.only_thread()?;
            threads::follow_thread(api, asking, conversation, thread).await
        }
        Op::UnfollowThread => {
            let (conversation, thread) = fields.only_thread()?;
            threads::unfollow_thread(api, asking, conversation, thread).await
        }
        Op::MarkThreadSeen => {
            let (conversation, thread) = fields.thread()?;
            threads::mark_thread_seen(api, asking, conversation, thread, fields.request()?).await
        }
        Op::MarkSeen => mark(api, asking, MarkKind::Seen, fields).await,
        Op::MarkDelivered => mark(api, asking, MarkKind::Delivered, fields).await,
        Op::RenameConversation => {
            let conversation = fields.conversation()?;
            change::rename(api, asking, conversation, fields.request()?).await
        }
        Op::ChangeSettings => {
            let conversation = fields.conversation()?;
            change::change_settings(api, asking, conversation, fields.request()?).await
        }
        Op::AddMember => {
            let conversation = fields.conversation()?;
            of_conversation::add_member(api, asking, conversation, fields.request()?).await
        }
        Op::RemoveMember => {
            let (conversation, user) = (fields.conversation()?, fields.take("user")?);
            fields.none()?;
            of_conversation::remove_member(api, asking, conversation, user).await
        }
        Op::LeaveConversation => {
            of_conversation::leave(api, asking, fields.only_conversation()?).await
        }
        Op::ChangeRole => {
            let (conversation, user) = (fields.conversation()?, fields.take("user")?);
            of_conversation::change_role(api, asking, conversation, user, fields.request()?).await
        }
        Op::ArchiveConversation => archive::archive(api, asking, fields.only_conversation()?).await,
        Op::UnarchiveConversation => {
            archive::unarchive(api, asking, fields.only_conversation()?).await
        }
        Op::SetNotifications => {
            let conversation = fields.conversation()?;
            rule::set_notifications(api, asking, conversation, fields.request()?).await
        }
        Op::ReadNotifications => read::read_notifications(api, asking, fields.request()?).await,
        Op::Space(op) => run_on_space(api, asking, op, fields).await,
    }
}

#[expect(clippy::too_many_lines, reason = "a table, by op")]
async fn run_on_space(
    api: &CommandApi,
    asking: Asking,
    op: SpaceOp,
    mut fields: Fields,
) -> Result<Answer, Problem> {
    match op {
        SpaceOp::CreateSpace => create::create_space(api, asking, fields.request()?).await,
        SpaceOp::UseInvite => {
            let code = fields.only_one("code")?;
            invites::use_invite(api, asking, code).await
        }
        SpaceOp::ChangeSpace => {
            let space = fields.take("space")?;
            create::change_space(api, asking, space, fields.request()?).await
        }
        SpaceOp::TransferSpace => {
            let space = fields.take("space")?;
            create::transfer_space(api, asking, space, fields.request()?).await
        }
        SpaceOp::CreateChannel => {
            let space = fields.take("space")?;
            channels::create_channel(api, asking, space, fields.request()?).await
        }
        SpaceOp::ChangeChannel => {
            let (space, channel) = (fields.take("space")?, fields.take("channel")?);
            channels::change_channel(api, asking, space, channel, fields.request()?).await
        }
        SpaceOp::CreateCategory => {
            let space = fields.take("space")?;
            categories::create_category(api, asking, space, fields.request()?).await
        }
        SpaceOp::ChangeCategory => {
            let (space, category) = (fields.take("space")?, fields.take("category")?);
            categories::change_category(api, asking, space, category, fields.request()?).await
        }
        SpaceOp::DefineRole => {
            let space = fields.take("space")?;
            roles::define_role(api, asking, space, fields.request()?).await
        }
        SpaceOp::ChangeSpaceRole => {
            let (space, role) = (fields.take("space")?, fields.take("role")?);
            roles::change_space_role(api, asking, space, role, fields.request()?).await
        }
        SpaceOp::BanMember => {
            let (space, user) = (fields.take("space")?, fields.take("user")?);
            bans::ban_member(api, asking, space, user, fields.request()?).await
        }
        SpaceOp::SetOverride => {
            let (space, channel) = (fields.take("space")?, fields.take("channel")?);
            let (target, request) = (fields.take("target")?, fields.request()?);
            overrides::set_override(api, asking, space, channel, target, request).await
        }
        SpaceOp::ArchiveSpace => {
            let space = fields.only_one("space")?;
            create::archive_space(api, asking, space).await
        }
        SpaceOp::UnarchiveSpace => {
            let space = fields.only_one("space")?;
            create::unarchive_space(api, asking, space).await
        }
        SpaceOp::JoinSpace => {
            let space = fields.only_one("space")?;
            members::join_space(api, asking, space).await
        }
        SpaceOp::LeaveSpace => {
            let space = fields.only_one("space")?;
            members::leave_space(api, asking, space).await
        }
        SpaceOp::RemoveChannel => {
            let space = fields.take("space")?;
            let channel = fields.only_one("channel")?;
            channels::remove_channel(api, asking, space, channel).await
        }
        SpaceOp::RemoveCategory => {
            let space = fields.take("space")?;
            let category = fields.only_one("category")?;
            categories::remove_category(api, asking, space, category).await
        }
        SpaceOp::RemoveRole => {
            let space = fields.take("space")?;
            let role = fields.only_one("role")?;
            roles::remove_role(api, asking, space, role).await
        }
        SpaceOp::KickMember => {
            let space = fields.take("space")?;
            let user = fields.only_one("user")?;
            members::kick_member(api, asking, space, user).await
        }
        SpaceOp::UnbanMember => {
            let space = fields.take("space")?;
            let user = fields.only_one("user")?;
            bans::unban_member(api, asking, space, user).await
        }
        SpaceOp::RevokeInvite => {
            let space = fields.take("space")?;
            let invite = fields.only_one("invite")?;
            invites::revoke_invite(api, asking, space, invite).await
        }
        SpaceOp::AssignRole => {
            let (space, user) = (fields.take("space")?, fields.take("user")?);
            let role = fields.only_one("role")?;
            roles::assign_role(api, asking, space, user, role).await
        }
        SpaceOp::WithdrawRole => {
            let (space, user) = (fields.take("space")?, fields.take("user")?);
            let role = fields.only_one("role")?;
            roles::withdraw_role(api, asking, space, user, role).await
        }
    }
}

async fn mark(
    api: &CommandApi,
    asking: Asking,
    kind: MarkKind,
    mut fields: Fields,
) -> Result<Answer, Problem> {
    let conversation = fields.conversation()?;
    receipts::mark(api, asking, conversation, kind, fields.request()?).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;
    use serde_json::json;
    use serde_json::value::to_raw_value;

    /// Carries out a frame for `who`.
    async fn frame(world: &World, who: &str, frame: Value) -> Result<Accepted, Problem> {
        let raw = to_raw_value(&frame).unwrap();
        let caller = world.caller(who).await;
        let command = FrameCommand {
            op: frame["op"].as_str().unwrap(),
            id: frame["id"].as_str().unwrap(),
            frame: &raw,
            traceparent: None,
        };
        world.api.run(&caller, command).await
    }

    #[tokio::test]
    async fn every_op_does_what_its_route_does() {
        let world = World::with(&["alice", "bob", "carol"]).await;
        let (bob, carol) = (world.id("bob"), world.id("carol"));
        let start = json!({
            "op": "start_conversation", "id": "0", "kind": "group", "title": "Tea",
            "members": [bob],
        });
        let started = frame(&world, "alice", start).await.unwrap();
        let at = started.id;
        let frames = [
            json!({"op": "send_message", "body": "*hello*", "format": "markdown", "mentions": ["here"]}),
            json!({"op": "send_message", "body": "hello yourself", "reply_to": 2}),
            json!({"op": "edit_message", "message": 2, "body": "hello!"}),
            json!({"op": "add_reaction", "message": 2, "emoji": "👍"}),
            json!({"op": "remove_reaction", "message": 2, "emoji": "👍"}),
            json!({"op": "send_message", "body": "about it", "thread": 2}),
            json!({"op": "follow_thread", "thread": 2}),
            json!({"op": "unfollow_thread", "thread": 2}),
            json!({"op": "pin_message", "message": 2}),
            json!({"op": "unpin_message", "message": 2}),
            json!({"op": "delete_message", "message": 3, "reason": "a slip"}),
            json!({"op": "rename_conversation", "title": "Coffee"}),
            json!({"op": "change_settings", "history_visibility": "start"}),
            json!({"op": "add_member", "user": carol}),
            json!({"op": "change_role", "user": carol, "role": "admin"}),
            json!({"op": "remove_member", "user": carol}),
            json!({"op": "archive_conversation"}),
            json!({"op": "unarchive_conversation"}),
        ];
        for (index, mut command) in frames.into_iter().enumerate() {
            command["id"] = json!(format!("frame {index}"));
            command["conversation"] = json!(at);
            let accepted = frame(&world, "alice", command.clone()).await.unwrap();
            assert_eq!(accepted.seq, domain::Version(index as u64 + 2), "{command}");
            assert_eq!(frame(&world, "alice", command).await.unwrap(), accepted);
        }
        for op in ["mark_seen", "mark_delivered"] {
            let mark = json!({"op": op, "id": op, "conversation": at, "seq": 3});
            frame(&world, "bob", mark).await.unwrap();
        }
        let mark = json!({
            "op": "mark_thread_seen", "id": "t", "conversation": at, "thread": 2, "seq": 3,
        });
        frame(&world, "bob", mark).await.unwrap();
        let rule = json!({
            "op": "set_notifications", "id": "n", "conversation": at, "level": "none",
        });
        frame(&world, "bob", rule).await.unwrap();
        let read = json!({"op": "read_notifications", "id": "r", "up_to": 1});
        frame(&world, "bob", read).await.unwrap();
        let leave = json!({"op": "leave_conversation", "id": "bye", "conversation": at});
        frame(&world, "bob", leave).await.unwrap();
        let events = world
            .types(&domain::StreamName::conversation(ConversationId(at)))
            .await;
        let expected = [
            "conversation-started",
            "message-sent",
            "message-sent",
            "message-edited",
            "reaction-added",
            "reaction-removed",
            "message-sent",
            "thread-followed",
            "thread-unfollowed",
            "message-pinned",
            "message-unpinned",
            "message-deleted",
            "conversation-renamed",
            "settings-changed",
            "member-added",
            "member-role-changed",
            "member-removed",
            "conversation-archived",
            "conversation-unarchived",
            "member-left",
        ];
        assert_eq!(events, expected);
    }

    #[tokio::test]
    async fn every_op_on_a_space_does_what_its_route_does() {
        let world = World::with(&["alice", "bob"]).await;
        let bob = world.id("bob");
        let mut number = 0;
        let mut ask = async |who: &str, mut command: Value| {
            number += 1;
            command["id"] = json!(format!("frame {number}"));
            let accepted = frame(&world, who, command.clone()).await;
            let accepted = accepted.unwrap_or_else(|problem| panic!("{command}: {problem}"));
            assert_eq!(frame(&world, who, command).await.unwrap(), accepted);
            accepted.id
        };
        let create = json!({"op": "create_space", "name": "Tea house"});
        let space = ask("alice", create).await;
        let with = |op: &str, fields: Value| {
            let mut frame = json!({"op": op, "space": space});
            for (name, value) in fields.as_object().unwrap() {
                frame[name] = value.clone();
            }
            frame
        };
        ask("alice", with("change_space", json!({"joining": "open"}))).await;
        ask("bob", with("join_space", json!({}))).await;
        let category = with("create_category", json!({"name": "Front"}));
        let category = ask("alice", category).await;
        let renamed = json!({"category": category, "name": "Back"});
        ask("alice", with("change_category", renamed)).await;
        let channel = json!({"name": "general", "kind": "text", "category": category});
        let channel = ask("alice", with("create_channel", channel)).await;
        let moved = json!({"channel": channel, "category": null, "position": 3});
        ask("alice", with("change_channel", moved)).await;
        let role = json!({"name": "Waiters", "rank": 3, "permissions": ["manage_messages"]});
        let role = ask("alice", with("define_role", role)).await;
        let changed = json!({"role": role, "rank": 4});
        ask("alice", with("change_space_role", changed)).await;
        let given = json!({"user": bob, "role": role});
        ask("alice", with("assign_role", given.clone())).await;
        let set = json!({"channel": channel, "target": {"role": role}, "deny": ["send_messages"]});
        ask("alice", with("set_override", set)).await;
        ask("alice", with("withdraw_role", given)).await;
        ask("alice", with("remove_role", json!({"role": role}))).await;
        ask("alice", with("remove_channel", json!({"channel": channel}))).await;
        ask(
            "alice",
            with("remove_category", json!({"category": category})),
        )
        .await;
        ask("alice", with("kick_member", json!({"user": bob}))).await;
        ask("bob", with("join_space", json!({}))).await;
        ask("bob", with("leave_space", json!({}))).await;
        ask(
            "alice",
            with("ban_member", json!({"user": bob, "reason": "spam"})),
        )
        .await;
        ask("alice", with("unban_member", json!({"user": bob}))).await;
        let path = format!("/v1/spaces/{space}/invites");
        let (_, invite) = world.post("alice", &path).body(json!({})).send().await;
        let used = json!({"op": "use_invite", "code": invite["code"]});
        ask("bob", used).await;
        ask(
            "alice",
            with("revoke_invite", json!({"invite": invite["id"]})),
        )
        .await;
        ask("alice", with("transfer_space", json!({"user": bob}))).await;
        ask("bob", with("archive_space", json!({}))).await;
        ask("bob", with("unarchive_space", json!({}))).await;
        assert_eq!(ops().count(), COMMANDS.len());
    }

    #[tokio::test]
    async fn a_frame_that_is_no_command_gets_a_problem_that_says_why() {
        let world = World::with(&["alice", "bob"]).await;
        let at = world.group("alice", &["bob"]).await;
        let cases = [
            (json!({"op": "dance", "id": "1"}), 400, "unknown_op", None),
            (
                json!({"op": "send_message", "id": "", "conversation": at, "body": "x"}),
                400,
                "invalid_idempotency_key",
                None,
            ),
            (
                json!({"op": "send_message", "id": "1", "body": "x"}),
                422,
                "invalid_body",
                Some("/conversation"),
            ),
            (
                json!({"op": "send_message", "id": "1", "conversation": at, "body": 7}),
                422,
                "invalid_body",
                Some("/body"),
            ),
            (
                json!({"op": "leave_conversation", "id": "1", "conversation": at, "why": "x"}),
                422,
                "invalid_body",
                Some("/why"),
            ),
        ];
        for (command, status, code, pointer) in cases {
            let problem = frame(&world, "alice", command.clone()).await.unwrap_err();
            assert_eq!(
                (problem.status, problem.code.as_str()),
                (status, code),
                "{command}"
            );
            let first = problem.errors.first().map(|field| field.pointer.as_str());
            assert_eq!(first, pointer, "{command}");
        }
    }

    #[tokio::test]
    async fn a_frame_and_a_request_with_the_same_key_are_one_command() {
        let world = World::with(&["alice", "bob"]).await;
        let at = world.group("alice", &["bob"]).await;
        let message = json!({"op": "send_message", "id": "k", "conversation": at, "body": "once"});
        let framed = frame(&world, "alice", message).await.unwrap();
        let path = format!("/v1/conversations/{at}/messages");
        let (status, answer) = world
            .post("alice", &path)
            .key("k")
            .body(json!({"body": "once"}))
            .send()
            .await;
        assert_eq!(status, 201);
        assert_eq!(answer, json!(framed));
    }
}
