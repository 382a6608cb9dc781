//! What a message may forward. Its text comes with the request and must be that of the message it
//! forwards, or of an edit of it: so nobody learns by forwarding what a message said. An envelope is
//! made anew for other readers, and cannot be compared.

use domain::conversation::{Content, Conversation, ConversationEvent, Origin, Refused, Said};
use domain::{AttachmentId, ConversationId, Seq, UserId};
use infra::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::CommandApi;
use crate::attachments::not_found_at;

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

/// Where a message with this `content` and these files comes from, if `asker` may forward it. The files are
/// those of the other, at that edit or as it was sent, and no others; they are the same ones, and stay as
/// long as one of the messages does.
pub(crate) async fn origin(
    api: &CommandApi,
    asker: UserId,
    of: ForwardOf,
    content: &Content,
    attachments: &[AttachmentId],
) -> Result<Origin, Problem> {
    let not_found = || Problem::refused(&Refused::MessageNotFound);
    let state = api.membership(asker, of.conversation).await?;
    let found = api.said(of.conversation, of.message).await?;
    let Some(ConversationEvent::MessageSent(sent)) = found else {
        return Err(not_found());
    };
    state
        .may_forward(asker, of.message)
        .map_err(|refused| Problem::refused(&refused))?;
    let mut said = sent.said;
    let mut theirs = sent.attachments;
    if let Some(edit) = of.edit.filter(|edit| *edit != of.message) {
        let found = api.said(of.conversation, edit).await?;
        let Some(ConversationEvent::MessageEdited(edited)) = found else {
            return Err(not_found());
        };
        if edited.message != of.message {
            return Err(not_found());
        }
        said = edited.said;
        theirs.extend(edited.attachments.unwrap_or_default());
    }
    if !is_same(content, &said) {
        let rule = "a forwarded message says what the other does, at that edit";
        return Err(differs("/forward_of", rule));
    }
    check_files(api, asker, attachments, &theirs).await?;
    Ok(Origin {
        conversation: of.conversation,
        message: of.message,
        author: sent.author,
    })
}

async fn check_files(
    api: &CommandApi,
    asker: UserId,
    attachments: &[AttachmentId],
    theirs: &[AttachmentId],
) -> Result<(), Problem> {
    if let Some(index) = attachments.iter().position(|it| !theirs.contains(it)) {
        let rule = "a forwarded message has no attachments but those of the other";
        return Err(differs(&format!("/attachments/{index}"), rule));
    }
    api.may_attach(asker, attachments, theirs).await?;
    // More are refused by the conversation; nothing is looked up for them.
    let looked_up = attachments.iter().take(Conversation::ATTACHMENTS_MAX);
    for (index, attachment) in looked_up.enumerate() {
        if !api.is_kept(*attachment).await? {
            return Err(not_found_at(
                &format!("/attachments/{index}"),
                "it was removed",
            ));
        }
    }
    Ok(())
}

fn differs(pointer: &str, rule: &str) -> Problem {
    Problem::invalid_field(pointer, "forward_differs", rule)
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
