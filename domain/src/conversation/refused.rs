//! Why a conversation says no.

use crate::conversation::decide::Conversation;
use crate::decider::{Refusal, RefusalKind};
use crate::space::Permission;

/// Why a conversation says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is none, or the asker is not in it: which of the two is not told.
    #[error("there is no such conversation, or you are not in it")]
    NotFound,
    /// The asker's role does not allow it.
    #[error("your role in this conversation does not allow this")]
    RoleTooLow,
    /// A direct conversation has no title, settings, roles or changes of members.
    #[error("this cannot be done in a direct conversation")]
    DirectConversation,
    /// The space of a channel says who is in it, what it is called and whether it is closed.
    #[error("this is done in the space of the channel")]
    RunBySpace,
    /// In a channel nobody is admin or owner, and nobody would be called.
    #[error(
        "a channel has no admins and no owner; mention members, roles of the space, or everyone"
    )]
    NoRolesInChannel,
    /// Only channels are of a space, which has roles of its own.
    #[error("roles of a space are mentioned in its channels only")]
    NoSpaceRolesHere,
    /// The space of the channel has no such role that is called by itself.
    #[error("the space has no such role; that of everyone is called by `everyone`")]
    RoleNotFound,
    /// The asker lacks a permission in the channel.
    #[error("this needs the permission {} in this channel", .0.as_str())]
    PermissionMissing(Permission),
    /// It is archived.
    #[error("this conversation is archived; unarchive it first")]
    Archived,
    /// The user named is not in it.
    #[error("the user is not a member of this conversation")]
    NoSuchMember,
    /// The conversation is full.
    #[error("a conversation has at most {} members", Conversation::MEMBERS_MAX)]
    TooManyMembers,
    /// The owner would go while others stay.
    #[error("the owner cannot leave before making another member the owner")]
    OwnerMustStay,
    /// Only making another the owner takes the role away from its owner.
    #[error("a group has one owner; make another member the owner instead")]
    OwnerStays,
    /// A conversation with oneself.
    #[error("a direct conversation needs another user")]
    WithOneself,
    /// There is no such message, or the asker may not see it: which of the two is not told.
    #[error("there is no such message, or it is from before you joined")]
    MessageNotFound,
    /// The message was deleted.
    #[error("the message was deleted")]
    MessageDeleted,
    /// As many messages are pinned as may be.
    #[error(
        "a conversation has at most {} pinned messages; unpin one first",
        Conversation::PINS_MAX
    )]
    TooManyPins,
    /// Slow mode: the asker wrote a short while ago.
    #[error("slow mode: you may write again in {wait_s} seconds")]
    TooSoon {
        /// How long still, rounded up.
        wait_s: u32,
    },
    /// A longer wait than may be.
    #[error("slow mode has at most {} seconds", Conversation::SLOW_MODE_S_MAX)]
    SlowModeTooLong,
    /// A thread would begin in a thread.
    #[error("a thread begins with a message that is in no thread itself")]
    NoThread,
    /// It calls more than it may.
    #[error("a message has at most {} mentions", Conversation::MENTIONS_MAX)]
    TooManyMentions,
    /// It has more files than it may.
    #[error("a message has at most {} attachments", Conversation::ATTACHMENTS_MAX)]
    TooManyAttachments,
    /// It has neither text nor files.
    #[error("a message has some text or attachments")]
    SaysNothing,
    /// Text would become an envelope, or an envelope text.
    #[error("an encrypted message is edited with another envelope, and a text with text")]
    ContentDiffers,
    /// Only its author may edit a message, and only its author may delete it in a direct
    /// conversation.
    #[error("only the author of the message may do this")]
    NotTheAuthor,
    /// One blocks the other. Which of them is not told.
    #[error("one of you blocks the other")]
    Blocked,
    /// There is a conversation under this id that the command cannot have started.
    #[error("this conversation was already started otherwise")]
    AlreadyStarted,
}

impl Refusal for Refused {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "conversation_not_found",
            Self::RoleTooLow => "role_too_low",
            Self::DirectConversation => "direct_conversation",
            Self::RunBySpace => "run_by_space",
            Self::PermissionMissing(_) => "permission_missing",
            Self::Archived => "conversation_archived",
            Self::NoSuchMember => "no_such_member",
            Self::TooManyMembers => "too_many_members",
            Self::OwnerMustStay => "owner_must_stay",
            Self::OwnerStays => "owner_stays",
            Self::WithOneself => "with_oneself",
            Self::NoRolesInChannel => "no_roles_in_channel",
            Self::NoSpaceRolesHere => "no_space_roles_here",
            Self::RoleNotFound => "role_not_found",
            Self::MessageNotFound => "message_not_found",
            Self::MessageDeleted => "message_deleted",
            Self::TooManyPins => "too_many_pins",
            Self::TooSoon { .. } => "slow_mode",
            Self::SlowModeTooLong => "slow_mode_too_long",
            Self::NoThread => "no_thread",
            Self::TooManyMentions => "too_many_mentions",
            Self::TooManyAttachments => "too_many_attachments",
            Self::SaysNothing => "says_nothing",
            Self::ContentDiffers => "content_differs",
            Self::NotTheAuthor => "not_the_author",
            Self::Blocked => "blocked",
            Self::AlreadyStarted => "already_started",
        }
    }

    fn kind(&self) -> RefusalKind {
        match self {
            Self::NotFound | Self::NoSuchMember | Self::RoleNotFound | Self::MessageNotFound => {
                RefusalKind::NotFound
            }
            Self::RoleTooLow | Self::PermissionMissing(_) | Self::NotTheAuthor | Self::Blocked => {
                RefusalKind::Forbidden
            }
            Self::DirectConversation
            | Self::RunBySpace
            | Self::Archived
            | Self::OwnerMustStay
            | Self::OwnerStays
            | Self::MessageDeleted
            | Self::TooManyPins
            | Self::TooSoon { .. }
            | Self::AlreadyStarted => RefusalKind::Conflict,
            Self::TooManyMembers
            | Self::NoThread
            | Self::SlowModeTooLong
            | Self::TooManyMentions
            | Self::TooManyAttachments
            | Self::SaysNothing
            | Self::ContentDiffers
            | Self::NoRolesInChannel
            | Self::NoSpaceRolesHere
            | Self::WithOneself => RefusalKind::Invalid,
        }
    }

    fn wait_s(&self) -> Option<u32> {
        if let Self::TooSoon { wait_s } = self {
            Some(*wait_s)
        } else {
            None
        }
    }
}
