//! What a message may forward. Its text comes with the request and must be that of the message it
//! forwards, or of an edit of it: so nobody learns by forwarding what a message said. An envelope is
//! made anew for other readers, and cannot be compared.

use domain::conversation::{Content, ConversationEvent, Origin, Refused, Said};
use domain::{AttachmentId, ConversationId, Event, Seq, UserId};
use infra::event_store::Direction;
use infra::failure::Failure;
use infra::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::CommandApi;

/// Which message is forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ForwardOf {
    /// Of which conversation; its forwarder is a member of it.
    conversation: ConversationId,
    /// Which message there.
    message: Seq,
    /// The edit whose text it is; without it, the text as it was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    edit: Option<Seq>,
}

/// Where a message with this `content` comes from, if `asker` may forward it.
pub(crate) async fn origin(
    api: &CommandApi,
    asker: UserId,
    of: ForwardOf,
    content: &Content,
) -> Result<Origin, Problem> {
    let state = api.membership(asker, of.conversation).await?;
    let message = api.message(asker, of.conversation, of.message).await?;
    state
        .may_forward(asker, of.message)
        .map_err(|refused| Problem::refused(&refused))?;
    let said = said(api, of).await?;
    if is_same(content, &said) {
        Ok(Origin {
            conversation: of.conversation,
            message: of.message,
            author: message.author,
        })
    } else {
        let rule = "a forwarded message says what the other does, at that edit";
        Err(Problem::invalid_field(
            "/forward_of",
            "forward_differs",
            rule,
        ))
    }
}

/// Whether a message that forwards another may come with these files: those of the other, at that edit or
/// as it was sent, and no others. They are the same ones, and stay as long as one of the messages does.
pub(crate) async fn check_files(
    api: &CommandApi,
    asker: UserId,
    of: ForwardOf,
    attachments: &[AttachmentId],
) -> Result<(), Problem> {
    if attachments.is_empty() {
        return Ok(());
    }
    let mut theirs = api.carried(of.conversation, of.message).await?;
    if let Some(edit) = of.edit {
        theirs.extend(api.carried(of.conversation, edit).await?);
    }
    if let Some(index) = attachments.iter().position(|it| !theirs.contains(it)) {
        let rule = "a forwarded message has no attachments but those of the other";
        let pointer = format!("/attachments/{index}");
        return Err(Problem::invalid_field(&pointer, "forward_differs", rule));
    }
    for (index, attachment) in attachments.iter().enumerate() {
        if !api.is_kept(*attachment).await? {
            let rule = "it was removed";
            let pointer = format!("/attachments/{index}");
            let not_found = Problem::refused(&domain::attachment::Refused::NotFound);
            return Err(not_found.with_field(&pointer, "attachment_not_found", rule));
        }
    }
    api.may_attach(asker, attachments, &theirs).await
}

fn is_same(content: &Content, said: &Said) -> bool {
    match (content, said) {
        (
            Content::Text { body, format },
            Said::Text {
                body: said,
                format: meant,
            },
        ) => *body == said.value && format == meant,
        (Content::Encrypted(_), Said::Encrypted { .. }) => true,
        (Content::Text { .. }, Said::Encrypted { .. })
        | (Content::Encrypted(_), Said::Text { .. }) => false,
    }
}

/// What the message said, or its edit.
async fn said(api: &CommandApi, of: ForwardOf) -> Result<Said, Problem> {
    let seq = of.edit.unwrap_or(of.message);
    let stream = domain::StreamName::conversation(of.conversation);
    let found = api
        .store()
        .read_stream(&stream, seq, Direction::Forward, 1)
        .await?;
    let not_found = || Problem::refused(&Refused::MessageNotFound);
    let recorded = found.first().filter(|event| event.version == seq);
    let event = recorded
        .ok_or_else(not_found)?
        .event()
        .map_err(|error| Failure::internal("read a message", error))?;
    match event {
        Event::Conversation(ConversationEvent::MessageSent(sent)) if seq == of.message => {
            Ok(sent.said)
        }
        Event::Conversation(ConversationEvent::MessageEdited(edited))
            if edited.message == of.message =>
        {
            Ok(edited.said)
        }
        _ => Err(not_found()),
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{World, problem};
    use domain::StreamName;
    use serde_json::{Value, json};

    #[tokio::test]
    async fn a_message_is_forwarded_by_those_who_see_it() {
        let world = World::with(&["alice", "bob", "carol"]).await;
        let from = world.group("alice", &["bob"]).await;
        let to = world.group("bob", &["carol"]).await;
        let seq = world.say("alice", &from, "tea?").await;
        let path = format!("/v1/conversations/{from}/messages/{seq}");
        let edited = world.patch("alice", &path).body(json!({"body": "coffee?"}));
        let (_, edited) = edited.send().await;
        let messages = format!("/v1/conversations/{to}/messages");
        let forward = |who: &str, body: &str, of: Value| {
            let body = json!({"body": body, "forward_of": of});
            world.post(who, &messages).body(body)
        };
        let sent = json!({"conversation": from, "message": seq});
        let as_edited = json!({"conversation": from, "message": seq, "edit": edited["seq"]});
        assert_eq!(forward("bob", "tea?", sent.clone()).send().await.0, 201);
        let (status, _) = forward("bob", "coffee?", as_edited.clone()).send().await;
        assert_eq!(status, 201);
        for (body, of) in [("coffee?", &sent), ("tea?", &as_edited)] {
            let refused = forward("bob", body, of.clone()).problem().await;
            assert_eq!(refused, problem(422, "invalid_body", "/forward_of"));
        }
        let refused = forward("carol", "tea?", sent.clone()).problem().await;
        assert_eq!(refused, problem(404, "conversation_not_found", ""));
        let nothing = json!({"conversation": from, "message": 1});
        let refused = forward("bob", "tea?", nothing).problem().await;
        assert_eq!(refused, problem(404, "message_not_found", ""));
        assert_eq!(world.delete("alice", &path).send().await.0, 200);
        let refused = forward("bob", "tea?", sent).problem().await;
        assert_eq!(refused, problem(409, "message_deleted", ""));
        let events = world
            .events(&StreamName::conversation(to.parse().unwrap()))
            .await;
        let stored: Value = serde_json::from_slice(&events[1].data).unwrap();
        let origin = json!({"conversation": from, "message": seq, "author": world.id("alice")});
        assert_eq!(stored["origin"], origin);
    }
}
