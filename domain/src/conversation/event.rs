//! What can have happened in a conversation.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::conversation::content::Said;
use crate::conversation::mentions::Mention;
use crate::event::{FromCategory as _, events};
use crate::ids::{AttachmentId, ConversationId, Seq, SpaceId, UserId, Version};
use crate::personal::Personal;
use crate::values::{Emoji, MessageBody, Reason, Title};

/// What sort of conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Two users, for ever, at most one for each pair.
    Direct,
    /// Any number of users, who come and go.
    Group,
    /// One of a space, which says who is in it.
    Channel,
}

/// What sort of channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChannelKind {
    /// For messages.
    Text,
    /// For talking, with messages beside it.
    Voice,
}

/// Whose channel a conversation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChannelOf {
    /// Of which space.
    pub space: SpaceId,
    /// What sort.
    pub kind: ChannelKind,
    /// The version of the space that the channel has followed, or follows.
    pub space_version: Version,
}

/// What a member may do. Ordered: each role may do all that a lower one may.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads and writes.
    Member,
    /// Also renames, adds and removes members, deletes others' messages, archives.
    Admin,
    /// Also gives and takes roles. A group has exactly one owner.
    Owner,
}

/// What those who join later see of what was said before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HistoryVisibility {
    /// Nothing from before they joined.
    Joined,
    /// Everything from the start.
    Start,
}

/// Who may write in a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhoMayPost {
    /// Every member.
    #[default]
    Members,
    /// The owner and admins.
    Admins,
}

/// Which message was forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Of which conversation.
    pub conversation: ConversationId,
    /// Which message there.
    pub message: Seq,
    /// Who wrote it.
    pub author: UserId,
}

/// A member and their role, as they stand in events and commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MemberRole {
    /// Who.
    pub user: UserId,
    /// As what.
    pub role: Role,
}

/// `conversation-started`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Direct, group or channel.
    pub kind: Kind,
    /// Of a group or channel; personal to whoever gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Personal<Title>>,
    /// Who started it; `None` where the history was imported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creator: Option<UserId>,
    /// Everybody who is in it from the start, the creator included.
    pub members: Vec<MemberRole>,
    /// What later members see.
    pub history_visibility: HistoryVisibility,
    /// Of a channel: whose it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<ChannelOf>,
}

/// `conversation-renamed`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renamed {
    /// The new title, personal to whoever gave it.
    pub title: Personal<Title>,
}

/// `settings-changed`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsChanged {
    /// What those who join from now on see, changed or not.
    pub history_visibility: HistoryVisibility,
    /// Where it changed: how long a member waits between two messages, in seconds; 0 is not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_mode_s: Option<u32>,
    /// Where it changed: who may write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who_may_post: Option<WhoMayPost>,
}

/// `member-added`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberAdded {
    /// Who.
    pub user: UserId,
    /// As what.
    pub role: Role,
}

/// `member-removed`: by somebody else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRemoved {
    /// Who is out.
    pub user: UserId,
    /// Who did it.
    pub by: UserId,
}

/// `member-left`: on their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberLeft {
    /// Who.
    pub user: UserId,
}

/// `member-role-changed`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRoleChanged {
    /// Whose.
    pub user: UserId,
    /// The new role.
    pub role: Role,
}

/// `message-sent`: the message is named by the version of this event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageSent {
    /// Who wrote it.
    pub author: UserId,
    /// What it says.
    #[serde(flatten)]
    pub said: Said,
    /// The message this answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<Seq>,
    /// The message whose thread it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<Seq>,
    /// Whom it calls. An edit calls nobody anew.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub mentions: BTreeSet<Mention>,
    /// The message that this forwards. Who does not see that one is not told of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// When it was sent, where its author has to wait before the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<DateTime<Utc>>,
    /// Files that come with it, in this order, each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<AttachmentId>,
}

impl MessageSent {
    /// Plain text that answers nothing and calls nobody.
    pub const fn plain(author: UserId, body: MessageBody) -> Self {
        Self {
            author,
            said: Said::plain(author, body),
            reply_to: None,
            thread: None,
            mentions: BTreeSet::new(),
            origin: None,
            at: None,
            attachments: Vec::new(),
        }
    }
}

/// `message-edited`: of the edits of a message the highest seq wins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageEdited {
    /// Which message.
    pub message: Seq,
    /// What it says now.
    #[serde(flatten)]
    pub said: Said,
    /// Where they changed: the files that come with it now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attachments: Option<Vec<AttachmentId>>,
}

/// `message-deleted`: wins over any edit, earlier or later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageDeleted {
    /// Which message.
    pub message: Seq,
    /// Who deleted it: the author or a moderator.
    pub by: UserId,
    /// Why, in their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Personal<Reason>>,
}

/// `reaction-added` and `reaction-removed`: of one member and emoji the last wins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reaction {
    /// To which message.
    pub message: Seq,
    /// Whose.
    pub member: UserId,
    /// Which.
    pub emoji: Emoji,
}

/// `message-pinned` and `message-unpinned`: a message is pinned once, and no more once it is deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinChanged {
    /// Which message.
    pub message: Seq,
    /// Who did it.
    pub by: UserId,
}

/// `thread-followed` and `thread-unfollowed`: of one member and thread the last wins. Writing in a
/// thread follows it too, and so does having written the message that it began with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowChanged {
    /// The message that the thread began with.
    pub thread: Seq,
    /// Who.
    pub member: UserId,
}

/// `conversation-archived` and `conversation-unarchived`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveChanged {
    /// Who did it.
    pub by: UserId,
}

/// `space-followed`: what is said of the channel's members, title and being closed before this is what the
/// space says as of this version: all of it, unless more is to come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceFollowed {
    /// Which version of the space.
    pub space_version: Version,
    /// Whether more members come or go before the channel is what the space says.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
}

events! {
    /// An event in a stream `conversation-{id}`.
    ConversationEvent {
        /// The conversation begins.
        "conversation-started" => Started(Started),
        /// It has another title.
        "conversation-renamed" => Renamed(Renamed),
        /// It has other settings.
        "settings-changed" => SettingsChanged(SettingsChanged),
        /// Somebody is in.
        "member-added" => MemberAdded(MemberAdded),
        /// Somebody was put out.
        "member-removed" => MemberRemoved(MemberRemoved),
        /// Somebody went.
        "member-left" => MemberLeft(MemberLeft),
        /// Somebody may do more or less.
        "member-role-changed" => MemberRoleChanged(MemberRoleChanged),
        /// Something was said.
        "message-sent" => MessageSent(MessageSent),
        /// Something was put otherwise.
        "message-edited" => MessageEdited(MessageEdited),
        /// Something was taken back.
        "message-deleted" => MessageDeleted(MessageDeleted),
        /// A reaction is there.
        "reaction-added" => ReactionAdded(Reaction),
        /// A reaction is gone.
        "reaction-removed" => ReactionRemoved(Reaction),
        /// A message is shown to all as important.
        "message-pinned" => MessagePinned(PinChanged),
        /// It no longer is.
        "message-unpinned" => MessageUnpinned(PinChanged),
        /// Somebody wants to know of what is said in a thread.
        "thread-followed" => ThreadFollowed(FollowChanged),
        /// They no longer do.
        "thread-unfollowed" => ThreadUnfollowed(FollowChanged),
        /// Nothing more can be said until it is unarchived.
        "conversation-archived" => Archived(ArchiveChanged),
        /// It is open again.
        "conversation-unarchived" => Unarchived(ArchiveChanged),
        /// A channel is in step with its space.
        "space-followed" => SpaceFollowed(SpaceFollowed),
    }
}
