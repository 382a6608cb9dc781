//! What is said, put otherwise, taken back and reacted to.

use crate::conversation::command::{Draft, MessageFact};
use crate::conversation::content::Content;
use crate::conversation::decide::{Asker, Conversation, Decision};
use crate::conversation::event::{
    ConversationEvent, MessageDeleted, MessageEdited, MessageSent, Reaction, Role,
};
use crate::conversation::refused::Refused;
use crate::ids::{AttachmentId, Seq};
use crate::personal::Personal;
use crate::values::{Emoji, Reason};

impl Asker<'_> {
    pub(super) fn send(&self, draft: &Draft) -> Decision {
        self.open()?;
        self.speaks()?;
        draft.reply_to.map_or(Ok(()), |seq| self.visible(seq))?;
        draft.thread.map_or(Ok(()), |root| self.begins(root))?;
        self.calls(&draft.mentions)?;
        carries(&draft.content, &draft.attachments)?;
        self.posts(draft)?;
        Ok(vec![ConversationEvent::MessageSent(MessageSent {
            author: self.by,
            said: draft.content.said_by(self.by),
            reply_to: draft.reply_to,
            thread: draft.thread.map(|root| root.seq),
            mentions: draft.mentions.clone(),
            origin: draft.origin,
            at: self.waits().then_some(draft.at),
            attachments: draft.attachments.clone(),
        })])
    }

    pub(super) fn edit(
        &self,
        message: MessageFact,
        content: &Content,
        attachments: Option<&[AttachmentId]>,
    ) -> Decision {
        self.open()?;
        self.speaks()?;
        self.visible(message.seq)?;
        if message.author != self.by {
            return Err(Refused::NotTheAuthor);
        }
        self.not_deleted(message.seq)?;
        if message.kind != content.kind() {
            return Err(Refused::ContentDiffers);
        }
        carries(content, attachments.unwrap_or_default())?;
        Ok(vec![ConversationEvent::MessageEdited(MessageEdited {
            message: message.seq,
            said: content.said_by(self.by),
            attachments: attachments.map(<[AttachmentId]>::to_vec),
        })])
    }

    pub(super) fn delete(&self, message: MessageFact, reason: Option<&Reason>) -> Decision {
        self.open()?;
        self.visible(message.seq)?;
        if message.author != self.by {
            self.in_group().map_err(|_| Refused::NotTheAuthor)?;
            self.at_least(Role::Admin)?;
        }
        if self.state.deleted.contains(&message.seq) {
            return Ok(vec![]);
        }
        Ok(vec![ConversationEvent::MessageDeleted(MessageDeleted {
            message: message.seq,
            by: self.by,
            reason: reason.map(|reason| Personal::new(self.by, reason.clone())),
        })])
    }

    pub(super) fn react(&self, message: Seq, emoji: &Emoji) -> Decision {
        self.speaks()?;
        let reaction = self.reaction(message, emoji)?;
        Ok(vec![ConversationEvent::ReactionAdded(reaction)])
    }

    pub(super) fn unreact(&self, message: Seq, emoji: &Emoji) -> Decision {
        let reaction = self.reaction(message, emoji)?;
        Ok(vec![ConversationEvent::ReactionRemoved(reaction)])
    }

    /// Which reactions there are is not known here, as it would grow with use: one that is there
    /// already, or is not there to be taken back, is stored and folds to nothing.
    fn reaction(&self, message: Seq, emoji: &Emoji) -> Result<Reaction, Refused> {
        self.open()?;
        self.visible(message)?;
        self.not_deleted(message)?;
        Ok(Reaction {
            message,
            member: self.by,
            emoji: emoji.clone(),
        })
    }
}

/// A message says something or has files, and not too many.
fn carries(content: &Content, attachments: &[AttachmentId]) -> Result<(), Refused> {
    if attachments.len() > Conversation::ATTACHMENTS_MAX {
        return Err(Refused::TooManyAttachments);
    }
    if content.is_empty() && attachments.is_empty() {
        return Err(Refused::SaysNothing);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::conversation::state::DELETED_REMEMBERED_MAX;
    use crate::conversation::{
        Act, Command, Content, ContentKind, ConversationEvent, Draft, Encrypted, HistoryVisibility,
        MemberAdded, MessageDeleted, MessageEdited, MessageFact, MessageSent, Origin, Reaction,
        Refused, Role, Said, SettingsChanged, TextFormat,
    };
    use crate::ids::{AttachmentId, ConversationId, UserId, Version};
    use crate::personal::Personal;
    use crate::testing::conversation::{
        archived, blocked, body, direct_of, emoji, given, group_of, sent,
    };
    use crate::testing::{ALICE, BOB, CAROL, moment};
    use crate::values::{MessageBody, Reason};
    use uuid::Uuid;

    /// The message that is the second event of every history here.
    fn message_of(author: UserId) -> MessageFact {
        MessageFact {
            seq: Version(2),
            author,
            kind: ContentKind::Text,
            thread: None,
        }
    }

    fn envelope() -> Encrypted {
        Encrypted {
            algorithm: "a".to_owned(),
            key_ids: vec!["k".to_owned()],
            nonce: "AA==".to_owned(),
            ciphertext: "AAAA".to_owned(),
        }
    }

    fn send(by: UserId, text: &str) -> Command {
        Command::by(by, Act::Send(Draft::plain(body(text), moment(0))))
    }

    fn edit(by: UserId, message: MessageFact, text: &str) -> Command {
        Command::by(
            by,
            Act::Edit {
                message,
                content: Content::plain(body(text)),
                attachments: None,
            },
        )
    }

    fn delete(by: UserId, message: MessageFact) -> Command {
        Command::by(
            by,
            Act::Delete {
                message,
                reason: None,
            },
        )
    }

    fn react(by: UserId, message: MessageFact) -> Command {
        Command::by(
            by,
            Act::React {
                message,
                emoji: emoji("🫖"),
            },
        )
    }

    fn unreact(by: UserId, message: MessageFact) -> Command {
        Command::by(
            by,
            Act::Unreact {
                message,
                emoji: emoji("🫖"),
            },
        )
    }

    fn deleted(message: MessageFact, by: UserId) -> ConversationEvent {
        ConversationEvent::MessageDeleted(MessageDeleted {
            message: message.seq,
            by,
            reason: None,
        })
    }

    fn reaction(by: UserId) -> Reaction {
        Reaction {
            message: message_of(ALICE).seq,
            member: by,
            emoji: emoji("🫖"),
        }
    }

    #[test]
    fn a_member_speaks() {
        given([group_of(ALICE, &[BOB])])
            .when(send(BOB, "hi"))
            .then([sent(BOB, "hi")]);
        given([direct_of(ALICE, BOB)])
            .when(send(BOB, "hi"))
            .then([sent(BOB, "hi")]);
    }

    #[test]
    fn a_message_may_answer_another() {
        given([group_of(ALICE, &[BOB]), sent(ALICE, "tea?")])
            .when(Command::by(
                BOB,
                Act::Send(Draft {
                    reply_to: Some(message_of(ALICE).seq),
                    ..Draft::plain(body("yes"), moment(0))
                }),
            ))
            .then([ConversationEvent::MessageSent(MessageSent {
                reply_to: Some(message_of(ALICE).seq),
                ..MessageSent::plain(BOB, body("yes"))
            })]);
    }

    #[test]
    fn what_a_newcomer_may_not_see_they_do_nothing_to() {
        let added = ConversationEvent::MemberAdded(MemberAdded {
            user: CAROL,
            role: Role::Admin,
        });
        let shown = ConversationEvent::SettingsChanged(SettingsChanged {
            history_visibility: HistoryVisibility::Start,
            slow_mode_s: None,
            who_may_post: None,
        });
        let reply = Command::by(
            CAROL,
            Act::Send(Draft {
                reply_to: Some(message_of(ALICE).seq),
                ..Draft::plain(body("yes"), moment(0))
            }),
        );
        let hidden = [group_of(ALICE, &[BOB]), sent(ALICE, "tea?"), added.clone()];
        for command in [
            reply.clone(),
            delete(CAROL, message_of(ALICE)),
            react(CAROL, message_of(ALICE)),
            unreact(CAROL, message_of(ALICE)),
        ] {
            given(hidden.clone())
                .when(command)
                .then_refused(Refused::MessageNotFound);
        }
        let open = [group_of(ALICE, &[BOB]), sent(ALICE, "tea?"), shown, added];
        assert_eq!(given(open).accept(&reply).map(|events| events.len()), Ok(1));
    }

    #[test]
    fn a_forwarded_message_says_where_it_comes_from() {
        let origin = Origin {
            conversation: ConversationId(CAROL.0),
            message: Version(9),
            author: CAROL,
        };
        let draft = Draft {
            origin: Some(origin),
            ..Draft::plain(body("tea?"), moment(0))
        };
        given([group_of(ALICE, &[BOB])])
            .when(Command::by(BOB, Act::Send(draft)))
            .then([ConversationEvent::MessageSent(MessageSent {
                origin: Some(origin),
                ..MessageSent::plain(BOB, body("tea?"))
            })]);
    }

    #[test]
    fn outsiders_do_not_speak() {
        given([group_of(ALICE, &[BOB])])
            .when(send(CAROL, "hi"))
            .then_refused(Refused::NotFound);
        given([])
            .when(send(CAROL, "hi"))
            .then_refused(Refused::NotFound);
    }

    #[test]
    fn where_one_blocks_the_other_nothing_is_said_between_them_but_taken_back() {
        let between = || [direct_of(ALICE, BOB), sent(ALICE, "tea?")];
        for command in [
            send(ALICE, "hi"),
            edit(ALICE, message_of(ALICE), "coffee?"),
            react(BOB, message_of(ALICE)),
        ] {
            given(between())
                .when(blocked(command))
                .then_refused(Refused::Blocked);
        }
        for command in [
            delete(ALICE, message_of(ALICE)),
            unreact(BOB, message_of(ALICE)),
        ] {
            given(between()).when(blocked(command)).then_some(1);
        }
        given([group_of(ALICE, &[BOB])])
            .when(blocked(send(BOB, "hi")))
            .then_some(1);
    }

    #[test]
    fn nothing_is_said_in_what_is_archived() {
        let history = [
            group_of(ALICE, &[BOB]),
            sent(ALICE, "tea?"),
            archived(ALICE),
        ];
        for command in [
            send(ALICE, "hi"),
            edit(ALICE, message_of(ALICE), "coffee?"),
            delete(ALICE, message_of(ALICE)),
            react(ALICE, message_of(ALICE)),
            unreact(ALICE, message_of(ALICE)),
        ] {
            given(history.clone())
                .when(command)
                .then_refused(Refused::Archived);
        }
    }

    #[test]
    fn files_come_with_a_message_that_may_have_no_text() {
        let file = |number| AttachmentId(Uuid::from_u128(number));
        let history = || [group_of(ALICE, &[BOB]), sent(BOB, "tea?")];
        let send = |text: MessageBody, files: Vec<AttachmentId>| {
            let draft = Draft {
                attachments: files,
                ..Draft::plain(text, moment(0))
            };
            given(history()).when(Command::by(BOB, Act::Send(draft)))
        };
        send(MessageBody::empty(), vec![file(1), file(2)]).then([ConversationEvent::MessageSent(
            MessageSent {
                attachments: vec![file(1), file(2)],
                ..MessageSent::plain(BOB, MessageBody::empty())
            },
        )]);
        send(MessageBody::empty(), vec![]).then_refused(Refused::SaysNothing);
        send(body("many"), (0..10).map(file).collect()).then_some(1);
        send(body("too many"), (0..11).map(file).collect())
            .then_refused(Refused::TooManyAttachments);

        let edit = |text: MessageBody, files: Option<Vec<AttachmentId>>| {
            let act = Act::Edit {
                message: message_of(BOB),
                content: Content::plain(text),
                attachments: files,
            };
            given(history()).when(Command::by(BOB, act))
        };
        let edited = |text: MessageBody, files: Option<Vec<AttachmentId>>| {
            ConversationEvent::MessageEdited(MessageEdited {
                message: Version(2),
                said: Said::plain(BOB, text),
                attachments: files,
            })
        };
        for files in [None, Some(vec![]), Some(vec![file(3)])] {
            edit(body("tea!"), files.clone()).then([edited(body("tea!"), files)]);
        }
        let file_alone = Some(vec![file(3)]);
        edit(MessageBody::empty(), file_alone.clone())
            .then([edited(MessageBody::empty(), file_alone)]);
        for nothing in [None, Some(vec![])] {
            edit(MessageBody::empty(), nothing).then_refused(Refused::SaysNothing);
        }
        edit(body("too many"), Some((0..11).map(file).collect()))
            .then_refused(Refused::TooManyAttachments);
    }

    #[test]
    fn only_its_author_puts_a_message_otherwise() {
        given([group_of(ALICE, &[BOB]), sent(BOB, "tea?")])
            .when(edit(BOB, message_of(BOB), "coffee?"))
            .then([ConversationEvent::MessageEdited(MessageEdited {
                message: message_of(BOB).seq,
                said: Said::plain(BOB, body("coffee?")),
                attachments: None,
            })]);
        given([group_of(ALICE, &[BOB]), sent(BOB, "tea?")])
            .when(edit(ALICE, message_of(BOB), "coffee?"))
            .then_refused(Refused::NotTheAuthor);
    }

    #[test]
    fn what_is_said_is_text_or_an_envelope_and_stays_so() {
        let markdown = || Content::Text {
            body: body("*tea*"),
            format: TextFormat::Markdown,
        };
        let history = || [group_of(ALICE, &[BOB]), sent(BOB, "tea?")];
        for content in [markdown(), Content::Encrypted(envelope())] {
            let draft = Draft {
                content: content.clone(),
                ..Draft::plain(body("no"), moment(0))
            };
            given(history())
                .when(Command::by(BOB, Act::Send(draft)))
                .then([ConversationEvent::MessageSent(MessageSent {
                    said: content.said_by(BOB),
                    ..MessageSent::plain(BOB, body("no"))
                })]);
        }
        let edit_to = |content: Content, kind: ContentKind| {
            let message = MessageFact {
                kind,
                ..message_of(BOB)
            };
            let attachments = None;
            let edit = Act::Edit {
                message,
                content,
                attachments,
            };
            given(history()).when(Command::by(BOB, edit))
        };
        edit_to(markdown(), ContentKind::Text).then_some(1);
        edit_to(Content::Encrypted(envelope()), ContentKind::Encrypted).then_some(1);
        edit_to(markdown(), ContentKind::Encrypted).then_refused(Refused::ContentDiffers);
        edit_to(Content::Encrypted(envelope()), ContentKind::Text)
            .then_refused(Refused::ContentDiffers);
    }

    #[test]
    fn authors_and_admins_take_messages_back() {
        let history = [group_of(ALICE, &[BOB, CAROL]), sent(BOB, "tea?")];
        given(history.clone())
            .when(delete(BOB, message_of(BOB)))
            .then([deleted(message_of(BOB), BOB)]);
        given(history.clone())
            .when(delete(ALICE, message_of(BOB)))
            .then([deleted(message_of(BOB), ALICE)]);
        given(history)
            .when(delete(CAROL, message_of(BOB)))
            .then_refused(Refused::RoleTooLow);
        given([direct_of(ALICE, BOB), sent(BOB, "tea?")])
            .when(delete(ALICE, message_of(BOB)))
            .then_refused(Refused::NotTheAuthor);
    }

    #[test]
    fn a_reason_is_personal_to_whoever_gave_it() {
        let reason = Reason::parse("spam").expect("a good reason");
        given([group_of(ALICE, &[BOB]), sent(BOB, "tea?")])
            .when(Command::by(
                ALICE,
                Act::Delete {
                    message: message_of(BOB),
                    reason: Some(reason.clone()),
                },
            ))
            .then([ConversationEvent::MessageDeleted(MessageDeleted {
                message: message_of(BOB).seq,
                by: ALICE,
                reason: Some(Personal::new(ALICE, reason)),
            })]);
    }

    #[test]
    fn what_is_deleted_stays_deleted() {
        let message = message_of(BOB);
        let history = [
            group_of(ALICE, &[BOB]),
            sent(BOB, "tea?"),
            deleted(message, BOB),
        ];
        given(history.clone()).when(delete(BOB, message)).then([]);
        given(history.clone()).when(delete(ALICE, message)).then([]);
        for command in [
            edit(BOB, message, "coffee?"),
            react(ALICE, message),
            unreact(ALICE, message),
        ] {
            given(history.clone())
                .when(command)
                .then_refused(Refused::MessageDeleted);
        }
    }

    #[test]
    fn of_deleted_messages_the_last_to_be_deleted_are_remembered_however_old_they_are() {
        let old = message_of(ALICE);
        let newer = (0..DELETED_REMEMBERED_MAX as u64).map(|index| {
            let seq = Version(1_000 + index);
            deleted(
                MessageFact {
                    seq,
                    ..message_of(ALICE)
                },
                ALICE,
            )
        });
        let history: Vec<_> = [group_of(ALICE, &[]), sent(ALICE, "tea?")]
            .into_iter()
            .chain(newer)
            .chain([deleted(old, ALICE)])
            .collect();
        given(history.clone()).when(delete(ALICE, old)).then([]);
        let forgotten = MessageFact {
            seq: Version(1_000),
            ..message_of(ALICE)
        };
        given(history)
            .when(delete(ALICE, forgotten))
            .then([deleted(forgotten, ALICE)]);
    }

    #[test]
    fn members_react_to_anybodys_message_and_take_it_back() {
        let history = [group_of(ALICE, &[BOB]), sent(ALICE, "tea?")];
        given(history.clone())
            .when(react(BOB, message_of(ALICE)))
            .then([ConversationEvent::ReactionAdded(reaction(BOB))]);
        given(history.clone())
            .when(unreact(BOB, message_of(ALICE)))
            .then([ConversationEvent::ReactionRemoved(reaction(BOB))]);
        given(history)
            .when(react(CAROL, message_of(ALICE)))
            .then_refused(Refused::NotFound);
    }
}
