//! Sending a message.

use std::collections::BTreeSet;

use axum::extract::State;
use domain::conversation::{Act, Draft, Encrypted, Mention, MessageFact, TextFormat};
use domain::{AttachmentId, ConversationId, Seq, UserId};
use infra::commands::Accepted;
use infra::http::{Body, InPath};
use infra::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::content::content;
use super::forward::{self, ForwardOf};
use crate::CommandApi;
use crate::answer::{Answer, Answered};
use crate::asking::{Asked, Asking};
use crate::problems::CommandProblems;

/// What to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SendMessage {
    /// 1 byte to 16 KiB, not only white space.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    /// How the body is meant: `plain` unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    format: Option<TextFormat>,
    /// An envelope that only the readers' devices open, instead of a body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    encrypted: Option<Encrypted>,
    /// Whom it calls: at most 50.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    mentions: BTreeSet<Mention>,
    /// The seq of the message that this answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reply_to: Option<Seq>,
    /// The message that this forwards, with the same text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    forward_of: Option<ForwardOf>,
    /// Files that come with it, uploaded before: at most 10. With them it need not have a body.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    attachments: Vec<AttachmentId>,
    /// The seq of the message in whose thread this is: one that is in no thread itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    thread: Option<Seq>,
}

/// Says something.
pub(crate) async fn send_message(
    api: &CommandApi,
    asking: Asking,
    conversation: ConversationId,
    request: SendMessage,
) -> Result<Answer, Problem> {
    let content = content(
        request.body.as_deref(),
        request.format,
        request.encrypted.as_ref(),
        &request.attachments,
    )?;
    let here = Here {
        api,
        asker: asking.user,
        conversation,
    };
    here.named("reply_to", request.reply_to).await?;
    let attachments = request.attachments.as_slice();
    let origin = match request.forward_of {
        None => {
            api.may_attach(asking.user, attachments, &[]).await?;
            None
        }
        Some(of) => Some(forward::origin(api, asking.user, of, &content, attachments).await?),
    };
    let draft = Draft {
        content,
        reply_to: request.reply_to,
        thread: here.named("thread", request.thread).await?,
        mentions: request.mentions.clone(),
        origin,
        at: api.clock().now(),
        attachments: request.attachments.clone(),
    };
    api.converse(
        asking,
        conversation,
        Act::Send(draft),
        "send_message",
        &request,
    )
    .await
}

/// The messages of a conversation that a request may name.
struct Here<'a> {
    api: &'a CommandApi,
    asker: UserId,
    conversation: ConversationId,
}

impl Here<'_> {
    /// The message that `field` names, if it names one.
    async fn named(&self, field: &str, seq: Option<Seq>) -> Result<Option<MessageFact>, Problem> {
        let Some(seq) = seq else { return Ok(None) };
        let found = self.api.message(self.asker, self.conversation, seq).await;
        found.map(Some).map_err(|problem| {
            if problem.code == "message_not_found" {
                let rule = format!("{field} names a message of this conversation");
                problem.with_field(&format!("/{field}"), "message_not_found", rule)
            } else {
                problem
            }
        })
    }
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
        (status = 403, body = Problem, content_type = "application/problem+json",
         description = "`role_too_low` for calling everyone in a group of more than 32, and where only \
                        admins write; `permission_missing` in a channel; `blocked`"),
        (status = 404, body = Problem, content_type = "application/problem+json",
         description = "`conversation_not_found`, also for those who are not in it; \
                        `message_not_found` for a `reply_to` or `thread` that is no message, or a \
                        message to be forwarded that the asker does not see; `no_such_member` for \
                        a mention of somebody who is not in it; `role_not_found` for a mention of a \
                        role that the space does not have, or of that of everyone; \
                        `attachment_not_found` for one that is not there or not the asker's"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "`conversation_archived`, `slow_mode`, `conflict`; `message_deleted` for one to be \
                        forwarded"),
        (status = 422, body = Problem, content_type = "application/problem+json",
         description = "`too_many_mentions`, `no_roles_in_channel`, `no_space_roles_here`, \
                        `too_many_attachments`, `no_thread`, `invalid_body`, `idempotency_key_reused`"),
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

#[cfg(test)]
mod tests {
    use crate::testing::{World, problem};
    use infra::trace::TraceParent;
    use serde_json::json;

    #[tokio::test]
    async fn a_message_is_sent_once_and_named_by_its_seq() {
        let world = World::with(&["alice", "bob"]).await;
        let group = world.group("alice", &["bob"]).await;
        let path = format!("/v1/conversations/{group}/messages");
        let send = || {
            world
                .post("bob", &path)
                .key("k")
                .body(json!({"body": "hello"}))
        };
        let trace = TraceParent::fresh();
        let (status, first) = trace.scope(send().send()).await;
        assert_eq!(status, 201);
        assert_eq!((&first["id"], &first["seq"]), (&json!(group), &json!(2)));
        assert_eq!(send().send().await, (201, first.clone()));
        let world = world.restarted().await;
        let again = world
            .post("bob", &path)
            .key("k")
            .body(json!({"body": "hello"}));
        assert_eq!(again.send().await, (201, first));

        let events = world
            .events(&domain::StreamName::conversation(group.parse().unwrap()))
            .await;
        assert_eq!(events.len(), 2);
        let metadata = events[1].metadata().unwrap();
        assert_eq!(metadata.actor, domain::Actor::User(world.id("bob")));
        assert_eq!(metadata.traceparent, Some(trace.to_string()));
        assert_eq!(metadata.command_hash.len(), 32);
    }

    #[tokio::test]
    async fn a_reply_answers_a_message_of_this_conversation() {
        let world = World::with(&["alice", "bob", "carol"]).await;
        let group = world.group("alice", &["bob"]).await;
        let path = format!("/v1/conversations/{group}/messages");
        let seq = world.say("alice", &group, "hello").await;
        let reply = |who: &str, to: u64| {
            let body = json!({"body": "hello yourself", "reply_to": to});
            world.post(who, &path).body(body)
        };
        assert_eq!(reply("bob", seq).send().await.0, 201);
        for no_message in [0, 1, 99, u64::MAX] {
            let refused = reply("bob", no_message).problem().await;
            assert_eq!(refused, problem(404, "message_not_found", "/reply_to"));
            let refused = reply("carol", no_message).problem().await;
            assert_eq!(refused, problem(404, "conversation_not_found", ""));
        }
        let refused = reply("carol", seq).problem().await;
        assert_eq!(refused, problem(404, "conversation_not_found", ""));
    }

    #[tokio::test]
    async fn what_is_no_message_is_pointed_at() {
        let world = World::with(&["alice"]).await;
        let path = format!(
            "/v1/conversations/{}/messages",
            world.group("alice", &[]).await
        );
        for body in [
            json!({"body": " "}),
            json!({"body": "x".repeat(16_385)}),
            json!({"body": 7}),
            json!({}),
            json!({"format": "markdown", "body": "[x](javascript:alert(1))"}),
        ] {
            let refused = world.post("alice", &path).body(body).problem().await;
            assert_eq!(refused, problem(422, "invalid_body", "/body"));
        }
        let envelope = json!({
            "algorithm": "a", "key_ids": ["k"], "nonce": "AAAA", "ciphertext": "not base64",
        });
        let bad = json!({"encrypted": envelope});
        let both = json!({"body": "x", "encrypted": envelope});
        for body in [bad, both] {
            let refused = world.post("alice", &path).body(body).problem().await;
            assert_eq!(refused, problem(422, "invalid_body", "/encrypted"));
        }
        let no_id = world.post("alice", "/v1/conversations/7/messages");
        let refused = no_id.body(json!({"body": "x"})).problem().await;
        assert_eq!(refused, problem(404, "not_found", ""));
    }

    #[tokio::test]
    async fn what_is_encrypted_is_sent_and_edited_as_it_is() {
        let world = World::with(&["alice", "bob"]).await;
        let group = world.group("alice", &["bob"]).await;
        let path = format!("/v1/conversations/{group}/messages");
        let envelope = |text: &str| {
            json!({"encrypted": {
                "algorithm": "xchacha20-poly1305", "key_ids": ["device:1"], "nonce": "AAEC",
                "ciphertext": text,
            }})
        };
        let sent = world.post("bob", &path).body(envelope("3q2+7w==")).send();
        assert_eq!(sent.await.0, 201);
        let message = format!("{path}/2");
        let edit = |body| world.patch("bob", &message).body(body);
        assert_eq!(edit(envelope("AAAA")).send().await.0, 200);
        let refused = edit(json!({"body": "for all to read"})).problem().await;
        assert_eq!(refused, problem(422, "content_differs", ""));
        let events = world
            .events(&domain::StreamName::conversation(group.parse().unwrap()))
            .await;
        let stored: serde_json::Value = serde_json::from_slice(&events[1].data).unwrap();
        let expected = &envelope("3q2+7w==")["encrypted"];
        assert_eq!(&stored["encrypted"]["value"], expected);
        assert_eq!(stored.get("body"), None);
    }

    #[tokio::test]
    async fn a_message_calls_members() {
        let world = World::with(&["alice", "bob", "carol"]).await;
        let group = world.group("alice", &["bob"]).await;
        let path = format!("/v1/conversations/{group}/messages");
        let call = |mentions| {
            let body = json!({"body": "hey", "mentions": mentions});
            world.post("bob", &path).body(body)
        };
        let all = json!([{"user": world.id("alice")}, "everyone", "here", {"role": "owner"}]);
        assert_eq!(call(all).send().await.0, 201);
        let refused = call(json!([{"user": world.id("carol")}])).problem().await;
        assert_eq!(refused, problem(404, "no_such_member", ""));
        let refused = call(json!(["somebody"])).problem().await;
        assert_eq!(refused, problem(422, "invalid_body", "/mentions/0"));
    }
}
