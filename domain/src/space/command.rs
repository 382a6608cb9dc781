//! What may be asked of a space.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::conversation::Role;
use crate::ids::{CategoryId, ConversationId, InviteId, SpaceId, SpaceRoleId, UserId};
use crate::space::event::{ChannelKind, Joining};
use crate::space::permissions::Permissions;
use crate::space::state::Override;
use crate::values::{Reason, Title};

/// Whom an override is for.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Those who have a role; everyone by the role of everyone.
    Role(SpaceRoleId),
    /// One member.
    Member(UserId),
}

/// What is asked. That the users it names have accounts is known when it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Create it; who asks becomes its owner. Creating it again changes nothing.
    Create {
        /// Which.
        space: SpaceId,
        /// What it is called.
        name: Title,
        /// How people come in.
        joining: Joining,
    },
    /// Give it another name.
    Rename {
        /// The new name.
        name: Title,
    },
    /// Say how people come in.
    SetJoining {
        /// How.
        joining: Joining,
    },
    /// Close it, with all its channels, until it is unarchived.
    Archive,
    /// Open it again.
    Unarchive,
    /// Make a channel. Making it again changes nothing.
    CreateChannel {
        /// Which conversation it is to be.
        channel: ConversationId,
        /// Text or voice.
        kind: ChannelKind,
        /// What it is called.
        name: Title,
        /// Under what it stands.
        category: Option<CategoryId>,
        /// Where it stands there.
        position: u16,
    },
    /// Give a channel another name.
    RenameChannel {
        /// Which.
        channel: ConversationId,
        /// The new name.
        name: Title,
    },
    /// Put a channel elsewhere.
    MoveChannel {
        /// Which.
        channel: ConversationId,
        /// Under what.
        category: Option<CategoryId>,
        /// Where there.
        position: u16,
    },
    /// Remove a channel, for ever.
    RemoveChannel {
        /// Which.
        channel: ConversationId,
    },
    /// Say what is allowed and denied in a channel, in place of what was said before.
    SetOverride {
        /// In which.
        channel: ConversationId,
        /// For whom.
        target: Target,
        /// What is allowed and denied.
        set: Override,
        /// What the asker takes it to be before; where it is not, others have changed it meanwhile.
        were: Option<Override>,
    },
    /// Make a category. Making it again changes nothing.
    CreateCategory {
        /// Which.
        category: CategoryId,
        /// What it is called.
        name: Title,
        /// Where it stands.
        position: u16,
    },
    /// Give a category another name or place; what is left out stays.
    ChangeCategory {
        /// Which.
        category: CategoryId,
        /// The new name.
        name: Option<Title>,
        /// The new place.
        position: Option<u16>,
    },
    /// Remove a category.
    RemoveCategory {
        /// Which.
        category: CategoryId,
    },
    /// Make a role. Making it again changes nothing.
    DefineRole {
        /// Which.
        role: SpaceRoleId,
        /// What it is called.
        name: Title,
        /// What it gives.
        permissions: Permissions,
        /// How high it stands.
        rank: u16,
    },
    /// Change a role; what is left out stays.
    ChangeRole {
        /// Which.
        role: SpaceRoleId,
        /// The new name.
        name: Option<Title>,
        /// What it gives from now on.
        permissions: Option<Permissions>,
        /// What the asker takes it to give before; where it does not, others have changed it meanwhile.
        permissions_were: Option<Permissions>,
        /// How high it stands from now on.
        rank: Option<u16>,
    },
    /// Remove a role.
    RemoveRole {
        /// Which.
        role: SpaceRoleId,
    },
    /// Give somebody a role.
    AssignRole {
        /// Whom.
        user: UserId,
        /// Which.
        role: SpaceRoleId,
    },
    /// Take it away.
    WithdrawRole {
        /// From whom.
        user: UserId,
        /// Which.
        role: SpaceRoleId,
    },
    /// Make an invite. Making it again changes nothing.
    CreateInvite {
        /// Which.
        invite: InviteId,
        /// Of its code.
        hash: String,
        /// When it is made.
        at: DateTime<Utc>,
        /// When it ends.
        expires_at: Option<DateTime<Utc>>,
        /// How many may come in by it.
        uses_max: Option<u32>,
    },
    /// Make an invite worth nothing.
    RevokeInvite {
        /// Which.
        invite: InviteId,
    },
    /// Come in where everybody may. Who is in is in.
    Join,
    /// Come in by an invite.
    UseInvite {
        /// Of the code that was shown.
        hash: String,
        /// When.
        at: DateTime<Utc>,
    },
    /// Go. The owner makes another the owner first.
    Leave,
    /// Put a member out.
    Kick {
        /// Whom.
        user: UserId,
    },
    /// Put somebody out for good, member or not.
    Ban {
        /// Whom.
        user: UserId,
        /// Why.
        reason: Option<Reason>,
    },
    /// Let them come back.
    Unban {
        /// Whom.
        user: UserId,
    },
    /// Make another member the owner.
    Transfer {
        /// Whom.
        to: UserId,
    },
}

/// Something asked by a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Who asks.
    pub by: UserId,
    /// What.
    pub act: Act,
    /// What their role on the whole server is worth; see [`Role::inherited_by`].
    pub inherited: Option<Role>,
}

impl Command {
    /// Something asked by `by`, who has no role on the whole server.
    pub const fn by(by: UserId, act: Act) -> Self {
        Self {
            by,
            act,
            inherited: None,
        }
    }
}
