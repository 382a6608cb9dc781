//! What can have happened in a space.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::event::{FromCategory as _, events};
use crate::ids::{CategoryId, ConversationId, InviteId, SpaceId, SpaceRoleId, UserId};
use crate::personal::Personal;
use crate::space::command::Target;
use crate::space::permissions::Permissions;
use crate::values::{Reason, Title};

pub use crate::conversation::ChannelKind;

/// How people come into a space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Joining {
    /// By an invite.
    #[default]
    Invite,
    /// Whoever knows its id.
    Open,
}

/// `space-created`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Created {
    /// Which.
    pub space: SpaceId,
    /// What it is called; personal to whoever named it.
    pub name: Personal<Title>,
    /// Whose it is.
    pub owner: UserId,
    /// How people come in.
    pub joining: Joining,
    /// What everyone in it may.
    pub everyone: Permissions,
}

/// `space-renamed`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceRenamed {
    /// The new name, personal to whoever gave it.
    pub name: Personal<Title>,
}

/// `joining-changed`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoiningChanged {
    /// How people come in from now on.
    pub joining: Joining,
    /// Who did it.
    pub by: UserId,
}

/// `space-archived` and `space-unarchived`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceArchiveChanged {
    /// Who did it.
    pub by: UserId,
}

/// `channel-created`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelCreated {
    /// Which conversation it is.
    pub channel: ConversationId,
    /// Text or voice.
    pub kind: ChannelKind,
    /// What it is called; personal to whoever named it.
    pub name: Personal<Title>,
    /// Under what it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<CategoryId>,
    /// Where it stands there.
    pub position: u16,
}

/// `channel-renamed`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelRenamed {
    /// Which.
    pub channel: ConversationId,
    /// The new name, personal to whoever gave it.
    pub name: Personal<Title>,
}

/// `channel-moved`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelMoved {
    /// Which.
    pub channel: ConversationId,
    /// Under what it stands now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<CategoryId>,
    /// Where it stands there.
    pub position: u16,
    /// Who did it.
    pub by: UserId,
}

/// `channel-removed`: for ever. What was said stays with those who were in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelRemoved {
    /// Which.
    pub channel: ConversationId,
    /// Text or voice.
    pub kind: ChannelKind,
    /// Who had created it.
    pub creator: UserId,
    /// Who did it.
    pub by: UserId,
}

/// `category-created` and `category-changed`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CategorySet {
    /// Which.
    pub category: CategoryId,
    /// What it is called; personal to whoever named it.
    pub name: Personal<Title>,
    /// Where it stands among the others.
    pub position: u16,
}

/// `category-removed`: its channels stand under none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CategoryRemoved {
    /// Which.
    pub category: CategoryId,
    /// Who did it.
    pub by: UserId,
}

/// `role-defined` and `role-changed`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleSet {
    /// Which.
    pub role: SpaceRoleId,
    /// What it is called; personal to whoever named it.
    pub name: Personal<Title>,
    /// What it gives.
    pub permissions: Permissions,
    /// How high it stands.
    pub rank: u16,
    /// Who did it.
    pub by: UserId,
}

/// `role-removed`: nobody has it any more, and its overrides are gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleRemoved {
    /// Which.
    pub role: SpaceRoleId,
    /// Who did it.
    pub by: UserId,
}

/// `role-assigned` and `role-withdrawn`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleGiven {
    /// Whose.
    pub user: UserId,
    /// Which.
    pub role: SpaceRoleId,
    /// Who did it.
    pub by: UserId,
}

/// `override-set`: in place of the one before; without anything there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverrideSet {
    /// In which channel.
    pub channel: ConversationId,
    /// For whom.
    pub target: Target,
    /// What is allowed.
    pub allow: Permissions,
    /// What is denied.
    pub deny: Permissions,
    /// Who did it.
    pub by: UserId,
}

/// `space-member-joined`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceMemberJoined {
    /// Who.
    pub user: UserId,
    /// By which invite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invite: Option<InviteId>,
}

/// `space-member-left`: on their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceMemberLeft {
    /// Who.
    pub user: UserId,
}

/// `space-member-kicked`: they may come back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceMemberKicked {
    /// Who is out.
    pub user: UserId,
    /// Who did it.
    pub by: UserId,
}

/// `space-member-banned`: they are out, if they were in, and may not come back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceMemberBanned {
    /// Who.
    pub user: UserId,
    /// Who did it.
    pub by: UserId,
    /// Why, in their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Personal<Reason>>,
}

/// `space-member-unbanned`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceMemberUnbanned {
    /// Who.
    pub user: UserId,
    /// Who did it.
    pub by: UserId,
}

/// `invite-created`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteCreated {
    /// Which.
    pub invite: InviteId,
    /// Of its code: an HMAC in lower-case hex.
    pub hash: String,
    /// Who made it.
    pub by: UserId,
    /// When.
    pub at: DateTime<Utc>,
    /// When it ends; absent: when it is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
    /// How many may come in by it; absent: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses_max: Option<u32>,
}

/// `invite-used`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteUsed {
    /// Which.
    pub invite: InviteId,
    /// Who comes in by it.
    pub user: UserId,
}

/// `invite-revoked`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteRevoked {
    /// Which.
    pub invite: InviteId,
    /// Who did it.
    pub by: UserId,
}

/// `ownership-transferred`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnershipTransferred {
    /// Who owns it now.
    pub to: UserId,
    /// Who did it.
    pub by: UserId,
}

events! {
    /// An event in a stream `space-{id}`.
    SpaceEvent {
        /// There is a space.
        "space-created" => Created(Created),
        /// It has another name.
        "space-renamed" => Renamed(SpaceRenamed),
        /// People come in otherwise.
        "joining-changed" => JoiningChanged(JoiningChanged),
        /// It is closed until it is unarchived.
        "space-archived" => Archived(SpaceArchiveChanged),
        /// It is open again.
        "space-unarchived" => Unarchived(SpaceArchiveChanged),
        /// There is a channel more.
        "channel-created" => ChannelCreated(ChannelCreated),
        /// A channel has another name.
        "channel-renamed" => ChannelRenamed(ChannelRenamed),
        /// A channel stands elsewhere.
        "channel-moved" => ChannelMoved(ChannelMoved),
        /// A channel is gone.
        "channel-removed" => ChannelRemoved(ChannelRemoved),
        /// There is a category more.
        "category-created" => CategoryCreated(CategorySet),
        /// A category has another name or place.
        "category-changed" => CategoryChanged(CategorySet),
        /// A category is gone.
        "category-removed" => CategoryRemoved(CategoryRemoved),
        /// There is a role more.
        "role-defined" => RoleDefined(RoleSet),
        /// A role is another.
        "role-changed" => RoleChanged(RoleSet),
        /// A role is gone.
        "role-removed" => RoleRemoved(RoleRemoved),
        /// Somebody has a role.
        "role-assigned" => RoleAssigned(RoleGiven),
        /// Somebody has it no more.
        "role-withdrawn" => RoleWithdrawn(RoleGiven),
        /// Something is allowed or denied in a channel.
        "override-set" => OverrideSet(OverrideSet),
        /// Somebody is in.
        "space-member-joined" => MemberJoined(SpaceMemberJoined),
        /// Somebody went.
        "space-member-left" => MemberLeft(SpaceMemberLeft),
        /// Somebody was put out.
        "space-member-kicked" => MemberKicked(SpaceMemberKicked),
        /// Somebody was put out for good.
        "space-member-banned" => MemberBanned(SpaceMemberBanned),
        /// They may come back.
        "space-member-unbanned" => MemberUnbanned(SpaceMemberUnbanned),
        /// People may come in by a code.
        "invite-created" => InviteCreated(InviteCreated),
        /// Somebody does.
        "invite-used" => InviteUsed(InviteUsed),
        /// Nobody does any more.
        "invite-revoked" => InviteRevoked(InviteRevoked),
        /// It is another's.
        "ownership-transferred" => OwnershipTransferred(OwnershipTransferred),
    }
}
