//! Why a space says no.

use crate::decider::{Refusal, RefusalKind};
use crate::space::decide::SpaceRules;
use crate::space::permissions::Permission;

/// Why a space says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is none, or the asker is not in it: which of the two is not told.
    #[error("there is no such space, or you are not in it")]
    NotFound,
    /// The asker lacks a permission.
    #[error("this needs the permission {}", .0.as_str())]
    PermissionMissing(Permission),
    /// It is done to a member or a role that stands as high as the asker, or higher.
    #[error("this is for those who stand higher")]
    RankTooLow,
    /// The asker would give or take what they do not have.
    #[error("nobody gives or takes a permission that they do not have")]
    PermissionNotHeld,
    /// Only the owner may.
    #[error("only the owner of the space may do this")]
    NotTheOwner,
    /// It is archived.
    #[error("this space is archived; unarchive it first")]
    Archived,
    /// There is no such channel, or the asker does not see it: which of the two is not told.
    #[error("there is no such channel")]
    ChannelNotFound,
    /// There is no such category.
    #[error("there is no such category")]
    CategoryNotFound,
    /// There is no such role.
    #[error("there is no such role")]
    RoleNotFound,
    /// The invite is none, or is not good any more: which of the two is not told.
    #[error("this invite is not good, or not any more")]
    InviteNotFound,
    /// The user named is not in it.
    #[error("the user is not a member of this space")]
    NoSuchMember,
    /// The asker is banned.
    #[error("you are banned from this space")]
    Banned,
    /// The owner would go.
    #[error("the owner cannot leave before making another member the owner")]
    OwnerMustStay,
    /// The role of everyone has its rank, is everybody's, and stays.
    #[error("the role of everyone stays, with the rank 0, and is not given or taken")]
    RoleOfEveryone,
    /// A rank that there is not.
    #[error("a role has a rank from 1 to {}", SpaceRules::RANK_MAX)]
    RankInvalid,
    /// An override of what does not mean anything in a channel.
    #[error("an override is about what one may do in a channel")]
    NotOfChannels,
    /// An override that allows and denies the same.
    #[error("an override either allows or denies a permission")]
    AllowedAndDenied,
    /// It is full.
    #[error(
        "a space has at most {} members, and members times channels are at most {}",
        SpaceRules::MEMBERS_MAX,
        SpaceRules::SEATS_MAX
    )]
    TooManyMembers,
    /// It has as many channels as may be.
    #[error(
        "a space has at most {} channels, and members times channels are at most {}",
        SpaceRules::CHANNELS_MAX,
        SpaceRules::SEATS_MAX
    )]
    TooManyChannels,
    /// It has as many categories as may be.
    #[error("a space has at most {} categories", SpaceRules::CATEGORIES_MAX)]
    TooManyCategories,
    /// It has as many roles as may be.
    #[error("a space has at most {} roles", SpaceRules::ROLES_MAX)]
    TooManyRoles,
    /// The channel has as many overrides as may be.
    #[error("a channel has at most {} overrides", SpaceRules::OVERRIDES_MAX)]
    TooManyOverrides,
    /// As many invites are open as may be.
    #[error(
        "a space has at most {} open invites, a member without `manage_space` {}; revoke one first",
        SpaceRules::INVITES_MAX,
        SpaceRules::INVITES_OF_ONE_MAX
    )]
    TooManyInvites,
    /// As many people are banned as may be.
    #[error("a space has at most {} banned people", SpaceRules::BANS_MAX)]
    TooManyBans,
    /// It is not what the asker takes it to be.
    #[error("others have changed this meanwhile; look at it again")]
    ChangedMeanwhile,
    /// There is something under this id that the command cannot have made.
    #[error("this was already made otherwise")]
    AlreadyMade,
}

impl Refusal for Refused {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "space_not_found",
            Self::PermissionMissing(_) => "permission_missing",
            Self::RankTooLow => "rank_too_low",
            Self::PermissionNotHeld => "permission_not_held",
            Self::NotTheOwner => "not_the_owner",
            Self::Archived => "space_archived",
            Self::ChannelNotFound => "channel_not_found",
            Self::CategoryNotFound => "category_not_found",
            Self::RoleNotFound => "role_not_found",
            Self::InviteNotFound => "invite_not_found",
            Self::NoSuchMember => "no_such_member",
            Self::Banned => "banned",
            Self::OwnerMustStay => "owner_must_stay",
            Self::RoleOfEveryone => "role_of_everyone",
            Self::RankInvalid => "rank_invalid",
            Self::NotOfChannels => "not_of_channels",
            Self::AllowedAndDenied => "allowed_and_denied",
            Self::TooManyMembers => "too_many_members",
            Self::TooManyChannels => "too_many_channels",
            Self::TooManyCategories => "too_many_categories",
            Self::TooManyRoles => "too_many_roles",
            Self::TooManyOverrides => "too_many_overrides",
            Self::TooManyInvites => "too_many_invites",
            Self::TooManyBans => "too_many_bans",
            Self::ChangedMeanwhile => "changed_meanwhile",
            Self::AlreadyMade => "already_made",
        }
    }

    fn kind(&self) -> RefusalKind {
        match self {
            Self::NotFound
            | Self::ChannelNotFound
            | Self::CategoryNotFound
            | Self::RoleNotFound
            | Self::InviteNotFound
            | Self::NoSuchMember => RefusalKind::NotFound,
            Self::PermissionMissing(_)
            | Self::RankTooLow
            | Self::PermissionNotHeld
            | Self::NotTheOwner
            | Self::Banned => RefusalKind::Forbidden,
            Self::Archived
            | Self::OwnerMustStay
            | Self::RoleOfEveryone
            | Self::ChangedMeanwhile
            | Self::AlreadyMade
            | Self::TooManyMembers
            | Self::TooManyChannels
            | Self::TooManyCategories
            | Self::TooManyRoles
            | Self::TooManyOverrides
            | Self::TooManyInvites
            | Self::TooManyBans => RefusalKind::Conflict,
            Self::RankInvalid | Self::NotOfChannels | Self::AllowedAndDenied => {
                RefusalKind::Invalid
            }
        }
    }
}
