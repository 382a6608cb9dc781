//! What may be asked of a conversation.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use crate::conversation::channel::ChannelNow;
use crate::conversation::content::{Content, ContentKind};
use crate::conversation::event::{HistoryVisibility, Origin, Role, WhoMayPost};
use crate::conversation::mentions::Mention;
use crate::ids::{AttachmentId, Seq, SpaceRoleId, UserId};
use crate::space::Permissions;
use crate::values::{Emoji, MessageBody, Reason, Title};

/// A fact about an earlier message, read from its `message-sent` event. It can never change, so
/// reading it before deciding is no race.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageFact {
    /// Which message.
    pub seq: Seq,
    /// Who wrote it.
    pub author: UserId,
    /// Whether it is text or an envelope.
    pub kind: ContentKind,
    /// The message whose thread it is in.
    pub thread: Option<Seq>,
}

/// A message to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// What it says.
    pub content: Content,
    /// The message it answers; that it is a message, and of this conversation, is known.
    pub reply_to: Option<Seq>,
    /// The message in whose thread it is to be.
    pub thread: Option<MessageFact>,
    /// Whom it calls.
    pub mentions: BTreeSet<Mention>,
    /// The message that it forwards; that its author sees that one, and that it says the same, is known.
    pub origin: Option<Origin>,
    /// When it is sent.
    pub at: DateTime<Utc>,
    /// Files that come with it; that they are there and its author may send them is known.
    pub attachments: Vec<AttachmentId>,
}

impl Draft {
    /// Plain text that answers nothing and calls nobody.
    pub const fn plain(body: MessageBody, at: DateTime<Utc>) -> Self {
        Self {
            content: Content::plain(body),
            reply_to: None,
            thread: None,
            mentions: BTreeSet::new(),
            origin: None,
            at,
            attachments: Vec::new(),
        }
    }
}

/// What is to be set for a whole group; what is left out stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SettingsChange {
    /// What those who join from now on see.
    pub history_visibility: Option<HistoryVisibility>,
    /// How long members wait between two messages, in seconds; 0 is not at all.
    pub slow_mode_s: Option<u32>,
    /// Who may write.
    pub who_may_post: Option<WhoMayPost>,
}

/// What is asked. That the users it names have accounts is known when it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Start a direct conversation with `with`. Starting it again changes nothing.
    StartDirect {
        /// The other.
        with: UserId,
    },
    /// Start a group; who asks becomes its owner. Starting it again changes nothing.
    StartGroup {
        /// What it is called.
        title: Title,
        /// The others.
        members: Vec<UserId>,
        /// What later members see.
        history_visibility: HistoryVisibility,
    },
    /// Give a group another title.
    Rename {
        /// The new title.
        title: Title,
    },
    /// Change what is set for the whole group.
    ChangeSettings(SettingsChange),
    /// Take somebody in.
    AddMember {
        /// Whom.
        user: UserId,
        /// As what; not as owner.
        role: Role,
    },
    /// Put somebody out.
    RemoveMember {
        /// Whom.
        user: UserId,
    },
    /// Go. The owner goes last; others make another the owner first. Who has gone is told, when they
    /// ask again, that there is no such conversation.
    Leave,
    /// Let somebody do more or less. Making another the owner makes the owner an admin.
    ChangeRole {
        /// Whom.
        user: UserId,
        /// What they become.
        role: Role,
    },
    /// Say something.
    Send(Draft),
    /// Put one's own message otherwise.
    Edit {
        /// Which.
        message: MessageFact,
        /// What it says now: text where it was text, an envelope where it was one.
        content: Content,
        /// The files that come with it now, where they change; the rest is known as of a draft.
        attachments: Option<Vec<AttachmentId>>,
    },
    /// Take a message back: one's own, or as admin anybody's.
    Delete {
        /// Which.
        message: MessageFact,
        /// Why.
        reason: Option<Reason>,
    },
    /// Add a reaction.
    React {
        /// To which message.
        message: MessageFact,
        /// Which reaction.
        emoji: Emoji,
    },
    /// Take one's reaction back.
    Unreact {
        /// From which message.
        message: MessageFact,
        /// Which reaction.
        emoji: Emoji,
    },
    /// Show a message to all as important.
    Pin {
        /// Which.
        message: MessageFact,
    },
    /// Show it so no longer.
    Unpin {
        /// Which.
        message: MessageFact,
    },
    /// Want to know of what is said in a thread.
    FollowThread {
        /// The message that it began with, or may.
        root: MessageFact,
    },
    /// No longer want to know.
    UnfollowThread {
        /// The message that it began with.
        root: MessageFact,
    },
    /// Close a group until it is unarchived.
    Archive,
    /// Open it again.
    Unarchive,
}

/// Whether the asker may have to do with those whom an act is about: the other in a direct
/// conversation, or who is taken into a group. Looked up in their accounts before deciding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contact {
    /// They may; or the act is about nobody.
    Free,
    /// One of the two blocks the other; of who is taken into a group, that they block the asker.
    Blocked,
}

/// What somebody may in a channel, as its space has it; looked up there before deciding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// What they may.
    pub permissions: Permissions,
    /// Of the roles that their message calls, those that the space has, without that of everyone.
    pub callable_roles: BTreeSet<SpaceRoleId>,
}

/// Something asked by a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserCommand {
    /// Who asks.
    pub by: UserId,
    /// What.
    pub act: Act,
    /// Whether they may have to do with those whom it is about.
    pub contact: Contact,
    /// The role that they have at the least in a group that they are in; see [`Role::inherited_by`].
    pub inherited: Option<Role>,
    /// What they may in a channel; nothing elsewhere.
    pub allowed: Allowed,
}

/// A fact from another system's history. Who may import is decided where the import comes in; the
/// facts themselves are taken as they are, whether or not their author is a member today.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportedFact {
    /// The conversation, as a group with these members, open from the start.
    Started {
        /// What it is called.
        title: Title,
        /// Who named it, for whom the title is personal; one of the members or the importer.
        titled_by: UserId,
        /// Who is in it; the first of them is its owner.
        members: Vec<UserId>,
    },
    /// A message.
    Message {
        /// Who wrote it.
        author: UserId,
        /// Its text, which may be empty.
        body: MessageBody,
        /// The message whose thread it is in.
        thread: Option<Seq>,
    },
    /// An edit.
    Edited {
        /// Of which message.
        message: MessageFact,
        /// The text after it.
        body: MessageBody,
    },
    /// A reaction.
    Reaction {
        /// To which message.
        message: Seq,
        /// Whose.
        member: UserId,
        /// Which.
        emoji: Emoji,
    },
}

/// What may be asked of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// By a user.
    User(Box<UserCommand>),
    /// By an import.
    Import(ImportedFact),
    /// By the space of a channel: to be as this says.
    Follow(Box<ChannelNow>),
}

impl Command {
    /// Something asked by `by`, whom nobody blocks and who inherits no role.
    pub fn by(by: UserId, act: Act) -> Self {
        Self::User(Box::new(UserCommand {
            by,
            act,
            contact: Contact::Free,
            inherited: None,
            allowed: Allowed::default(),
        }))
    }
}
