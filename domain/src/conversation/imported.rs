//! History from another system, taken as it is.

use crate::conversation::command::ImportedFact;
use crate::conversation::content::Said;
use crate::conversation::decide::Decision;
use crate::conversation::event::{ConversationEvent, MessageEdited, MessageSent, Reaction};
use crate::conversation::refused::Refused;
use crate::conversation::start;
use crate::conversation::state::State;

/// A message, an edit or a reaction is known by the command that brings it: the same fact under
/// another command's id is another fact.
pub(super) fn decide(state: &State, fact: &ImportedFact) -> Decision {
    let started = || match state.settings {
        Some(_) => Ok(()),
        None => Err(Refused::NotFound),
    };
    match fact {
        ImportedFact::Started {
            title,
            titled_by,
            members,
        } => start::imported(state, title, *titled_by, members),
        ImportedFact::Message {
            author,
            body,
            thread,
        } => {
            started()?;
            Ok(vec![ConversationEvent::MessageSent(MessageSent {
                thread: *thread,
                ..MessageSent::plain(*author, body.clone())
            })])
        }
        ImportedFact::Edited { message, body } => {
            started()?;
            Ok(vec![ConversationEvent::MessageEdited(MessageEdited {
                message: message.seq,
                said: Said::plain(message.author, body.clone()),
                attachments: None,
            })])
        }
        ImportedFact::Reaction {
            message,
            member,
            emoji,
        } => {
            started()?;
            Ok(vec![ConversationEvent::ReactionAdded(Reaction {
                message: *message,
                member: *member,
                emoji: emoji.clone(),
            })])
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::conversation::{
        Command, ContentKind, ConversationEvent, ImportedFact, MessageEdited, MessageFact,
        Reaction, Refused, Said,
    };
    use crate::ids::Version;
    use crate::testing::conversation::{archived, body, emoji, given, group_of, sent};
    use crate::testing::{ALICE, BOB, CAROL};

    fn facts() -> [(Command, ConversationEvent); 3] {
        let message = Version(2);
        [
            (
                Command::Import(ImportedFact::Message {
                    author: CAROL,
                    body: body("hi"),
                    thread: None,
                }),
                sent(CAROL, "hi"),
            ),
            (
                Command::Import(ImportedFact::Edited {
                    message: MessageFact {
                        seq: message,
                        author: CAROL,
                        kind: ContentKind::Text,
                        thread: None,
                    },
                    body: body("hello"),
                }),
                ConversationEvent::MessageEdited(MessageEdited {
                    message,
                    said: Said::plain(CAROL, body("hello")),
                    attachments: None,
                }),
            ),
            (
                Command::Import(ImportedFact::Reaction {
                    message,
                    member: CAROL,
                    emoji: emoji("wave"),
                }),
                ConversationEvent::ReactionAdded(Reaction {
                    message,
                    member: CAROL,
                    emoji: emoji("wave"),
                }),
            ),
        ]
    }

    #[test]
    fn facts_of_those_who_are_no_members_today_are_taken_even_into_what_is_archived() {
        for (command, event) in facts() {
            given([group_of(ALICE, &[BOB]), archived(ALICE)])
                .when(command)
                .then([event]);
        }
    }

    #[test]
    fn facts_need_a_conversation() {
        for (command, _) in facts() {
            given([]).when(command).then_refused(Refused::NotFound);
        }
    }
}
