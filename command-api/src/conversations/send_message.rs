//! Sending a message.

use axum::extract::State;
use domain::conversation::{Act, Draft};
use domain::{ConversationId, Seq};
use infra::commands::Accepted;
use infra::http::{Body, InPath};
use infra::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body;
use crate::CommandApi;
use crate::answer::{Answer, Answered};
use crate::asking::{Asked, Asking};
use crate::problems::CommandProblems;

/// What to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SendMessage {
    /// Plain text: 1 byte to 16 KiB, not only white space.
    body: String,
    /// The seq of the message that this answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reply_to: Option<Seq>,
}

/// Says something.
pub(crate) async fn send_message(
    api: &CommandApi,
    asking: Asking,
    conversation: ConversationId,
    request: SendMessage,
) -> Result<Answer, Problem> {
    let body = body(&request.body)?;
    if let Some(seq) = request.reply_to {
        api.message(asking.user, conversation, seq)
            .await
            .map_err(|problem| match problem.code.as_str() {
                "message_not_found" => {
                    let rule = "reply_to names a message of this conversation";
                    problem.with_field("/reply_to", "message_not_found", rule)
                }
                _ => problem,
            })?;
    }
    let draft = Draft {
        body,
        reply_to: request.reply_to,
    };
    api.converse(asking, conversation, Act::Send(draft), "send_message", &request)
        .await
}

/// Send a message
///
/// The answer's `seq` names the message.
#[utoipa::path(
    post,
    path = "/v1/conversations/{conversation}/messages",
    tag = "messages",
    request_body = SendMessage,
    params(
        ("conversation" = ConversationId, Path, description = "Where"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses(
        (status = 201, body = Accepted, description = "It is sent"),
        CommandProblems,
        (status = 404, body = Problem, content_type = "application/problem+json",
         description = "`conversation_not_found`, also for those who are not in it; \
                        `message_not_found` for a `reply_to` that is no message"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "`conversation_archived`, `conflict`"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn post(
    State(api): State<CommandApi>,
    asked: Asked,
    InPath(conversation): InPath<ConversationId>,
    Body(request): Body<SendMessage>,
) -> Result<Answered, Problem> {
    Ok(send_message(&api, asked.asking, conversation, request)
        .await?
        .created())
}
