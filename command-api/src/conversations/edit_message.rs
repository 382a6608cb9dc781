//! Putting one's own message otherwise.

use axum::extract::State;
use domain::conversation::{Act, ConversationEvent, Encrypted, TextFormat};
use domain::{AttachmentId, ConversationId, Seq};
use infra::commands::Accepted;
use infra::http::{Body, InPath};
use infra::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::content::content;
use crate::CommandApi;
use crate::answer::{Answer, Answered};
use crate::asking::{Asked, Asking};
use crate::problems::CommandProblems;

/// The new text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EditMessage {
    /// 1 byte to 16 KiB, not only white space.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    /// How the body is meant: `plain` unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    format: Option<TextFormat>,
    /// The new envelope of an encrypted message, instead of a body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    encrypted: Option<Encrypted>,
    /// The files that come with it now, at most 10: one's own, and those that it was sent with. Without
    /// this, those that come with it stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attachments: Option<Vec<AttachmentId>>,
}

/// Gives a message another text.
pub(crate) async fn edit_message(
    api: &CommandApi,
    asking: Asking,
    conversation: ConversationId,
    seq: Seq,
    request: EditMessage,
) -> Result<Answer, Problem> {
    let attachments = request.attachments.as_deref().unwrap_or_default();
    let content = content(
        request.body.as_deref(),
        request.format,
        request.encrypted.as_ref(),
        attachments,
    )?;
    let message = api.message(asking.user, conversation, seq).await?;
    if !attachments.is_empty() {
        let sent_with = match api.said(conversation, seq).await? {
            Some(ConversationEvent::MessageSent(sent)) => sent.attachments,
            _ => Vec::new(),
        };
        api.may_attach(asking.user, attachments, &sent_with).await?;
    }
    let act = Act::Edit {
        message,
        content,
        attachments: request.attachments.clone(),
    };
    api.converse(asking, conversation, act, "edit_message", &(seq, &request))
        .await
}

/// Edit a message
#[utoipa::path(
    patch,
    path = "/v1/conversations/{conversation}/messages/{seq}",
    tag = "messages",
    request_body = EditMessage,
    params(
        ("conversation" = ConversationId, Path, description = "Where"),
        ("seq" = u64, Path, description = "Which message"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses(
        (status = 200, body = Accepted, description = "It is edited; `seq` is the edit's own"),
        CommandProblems,
        (status = 403, body = Problem, content_type = "application/problem+json",
         description = "`not_the_author`"),
        (status = 404, body = Problem, content_type = "application/problem+json",
         description = "`conversation_not_found`, also for those who are not in it; \
                        `message_not_found`; `attachment_not_found`"),
        (status = 422, body = Problem, content_type = "application/problem+json",
         description = "`too_many_attachments`; `content_differs`: an encrypted message stays encrypted, a text stays text; \
                        `invalid_body`, `idempotency_key_reused`"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "`conversation_archived`, `message_deleted`, `conflict`"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn patch(
    State(api): State<CommandApi>,
    asked: Asked,
    InPath((conversation, seq)): InPath<(ConversationId, Seq)>,
    Body(request): Body<EditMessage>,
) -> Result<Answered, Problem> {
    Ok(edit_message(&api, asked.asking, conversation, seq, request)
        .await?
        .ok())
}

#[cfg(test)]
mod tests {
    use crate::testing::{World, problem};
    use serde_json::json;

    #[tokio::test]
    async fn only_the_author_edits_and_only_a_message() {
        let world = World::with(&["alice", "bob", "carol"]).await;
        let group = world.group("alice", &["bob"]).await;
        let seq = world.say("bob", &group, "helo").await;
        let edit = |who: &str, seq: u64| {
            let path = format!("/v1/conversations/{group}/messages/{seq}");
            world.patch(who, &path).body(json!({"body": "hello"}))
        };
        let (status, edited) = edit("bob", seq).send().await;
        assert_eq!((status, &edited["seq"]), (200, &json!(seq + 1)));
        let refused = edit("alice", seq).problem().await;
        assert_eq!(refused, problem(403, "not_the_author", ""));
        for no_message in [1, seq + 1, 99] {
            let refused = edit("bob", no_message).problem().await;
            assert_eq!(refused, problem(404, "message_not_found", ""));
        }
        for any in [1, seq, 99] {
            let refused = edit("carol", any).problem().await;
            assert_eq!(refused, problem(404, "conversation_not_found", ""));
        }
    }
}
