//! Commands that come in frames: the same requests and the same functions as over HTTP. What HTTP
//! has in its path, a frame has as fields.

use async_trait::async_trait;
use axum::http::StatusCode;
use domain::receipts::MarkKind;
use domain::{CommandId, ConversationId, Seq, UserId};
use infra::auth::Caller;
use infra::commands::{Accepted, CommandDoor, FrameCommand};
use infra::failure::Failure;
use infra::http::parse_json;
use infra::problem::Problem;
use infra::trace::TraceParent;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::CommandApi;
use crate::answer::Answer;
use crate::asking::{Asking, Key};
use crate::conversations::{
    archive, change, delete_message, edit_message, members, reactions, receipts, send_message,
    start,
};

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
}

impl Op {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "send_message" => Self::SendMessage,
            "edit_message" => Self::EditMessage,
            "delete_message" => Self::DeleteMessage,
            "add_reaction" => Self::AddReaction,
            "remove_reaction" => Self::RemoveReaction,
            "mark_seen" => Self::MarkSeen,
            "mark_delivered" => Self::MarkDelivered,
            "start_conversation" => Self::StartConversation,
            "rename_conversation" => Self::RenameConversation,
            "change_settings" => Self::ChangeSettings,
            "add_member" => Self::AddMember,
            "remove_member" => Self::RemoveMember,
            "leave_conversation" => Self::LeaveConversation,
            "change_role" => Self::ChangeRole,
            "archive_conversation" => Self::ArchiveConversation,
            "unarchive_conversation" => Self::UnarchiveConversation,
            _ => return None,
        })
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
        let value = self.0.remove(name).ok_or_else(|| {
            Problem::invalid_field(&pointer, "missing", "this field is missing")
        })?;
        serde_json::from_value(value)
            .map_err(|error| Problem::invalid_field(&pointer, "invalid", error))
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
        let answer = TraceParent::continuing(command.traceparent)
            .scope(run(self, asking, op, fields))
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
    if op == Op::StartConversation {
        return start::start(api, asking, fields.request()?).await;
    }
    let conversation: ConversationId = fields.take("conversation")?;
    match op {
        Op::StartConversation => start::start(api, asking, fields.request()?).await,
        Op::SendMessage => {
            send_message::send_message(api, asking, conversation, fields.request()?).await
        }
        Op::EditMessage => {
            let seq: Seq = fields.take("message")?;
            edit_message::edit_message(api, asking, conversation, seq, fields.request()?).await
        }
        Op::DeleteMessage => {
            let seq: Seq = fields.take("message")?;
            delete_message::delete_message(api, asking, conversation, seq, fields.request()?).await
        }
        Op::AddReaction => {
            let seq: Seq = fields.take("message")?;
            reactions::add_reaction(api, asking, conversation, seq, fields.request()?).await
        }
        Op::RemoveReaction => {
            let seq: Seq = fields.take("message")?;
            reactions::remove_reaction(api, asking, conversation, seq, fields.request()?).await
        }
        Op::MarkSeen => {
            receipts::mark(api, asking, conversation, MarkKind::Seen, fields.request()?).await
        }
        Op::MarkDelivered => {
            let kind = MarkKind::Delivered;
            receipts::mark(api, asking, conversation, kind, fields.request()?).await
        }
        Op::RenameConversation => {
            change::rename(api, asking, conversation, fields.request()?).await
        }
        Op::ChangeSettings => {
            change::change_settings(api, asking, conversation, fields.request()?).await
        }
        Op::AddMember => members::add_member(api, asking, conversation, fields.request()?).await,
        Op::RemoveMember => {
            let user: UserId = fields.take("user")?;
            fields.none()?;
            members::remove_member(api, asking, conversation, user).await
        }
        Op::LeaveConversation => {
            fields.none()?;
            members::leave(api, asking, conversation).await
        }
        Op::ChangeRole => {
            let user: UserId = fields.take("user")?;
            members::change_role(api, asking, conversation, user, fields.request()?).await
        }
        Op::ArchiveConversation => {
            fields.none()?;
            archive::archive(api, asking, conversation).await
        }
        Op::UnarchiveConversation => {
            fields.none()?;
            archive::unarchive(api, asking, conversation).await
        }
    }
}
