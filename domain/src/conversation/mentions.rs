//! Who is called by a message. The author's client says whom; no text is searched for names, so that
//! what is encrypted may mention too.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::conversation::decide::{Asker, Conversation};
use crate::conversation::event::{Kind, Role};
use crate::conversation::refused::Refused;
use crate::ids::{SpaceRoleId, UserId};
use crate::space::Permission;

/// A role in a group that can be called.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum MentionedRole {
    /// The admins and the owner.
    Admin,
    /// The owner.
    Owner,
}

/// Whom a message calls: `{"user": id}`, `"everyone"`, `"here"`, `{"role": "admin"}` or, in a channel,
/// `{"space_role": id}`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Mention {
    /// A member.
    User(UserId),
    /// Every member.
    Everyone,
    /// Every member who is there at the moment. Clients tell those whom they reach; the log does not
    /// know who is there, so that nobody's count of mentions has it.
    Here,
    /// Those with a role. Not in a channel, where nobody has one of these.
    Role(MentionedRole),
    /// Members of a channel who have this role in its space; not the role of everyone. Not elsewhere.
    SpaceRole(SpaceRoleId),
}

impl Conversation {
    /// The most mentions of one message.
    pub const MENTIONS_MAX: usize = 50;

    /// In a group of more members only those who run it call everyone.
    pub const ALL_CALL_EVERYONE_MAX: usize = 32;
}

impl Asker<'_> {
    /// Whether the asker may call all of `mentions`.
    pub(super) fn calls(&self, mentions: &BTreeSet<Mention>) -> Result<(), Refused> {
        if mentions.len() > Conversation::MENTIONS_MAX {
            return Err(Refused::TooManyMentions);
        }
        mentions.iter().try_for_each(|mention| match mention {
            Mention::User(user) => match self.state.role(*user) {
                Some(_) => Ok(()),
                None => Err(Refused::NoSuchMember),
            },
            Mention::Everyone | Mention::Here if self.settings.kind == Kind::Channel => {
                self.needs_in_channel(Permission::MentionEveryone)
            }
            Mention::Everyone | Mention::Here => {
                let are_few = self.state.members.len() <= Conversation::ALL_CALL_EVERYONE_MAX;
                let may = are_few || self.role >= Role::Admin;
                may.then_some(()).ok_or(Refused::RoleTooLow)
            }
            Mention::Role(_) if self.settings.kind == Kind::Channel => {
                Err(Refused::NoRolesInChannel)
            }
            Mention::Role(_) => Ok(()),
            Mention::SpaceRole(_) if self.settings.kind != Kind::Channel => {
                Err(Refused::NoSpaceRolesHere)
            }
            Mention::SpaceRole(role) => {
                self.needs_in_channel(Permission::MentionEveryone)?;
                let is_there = self.allowed.callable_roles.contains(role);
                is_there.then_some(()).ok_or(Refused::RoleNotFound)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Mention, MentionedRole};
    use crate::conversation::{
        Act, Command, Conversation, ConversationEvent, Draft, MessageSent, Refused,
    };
    use crate::ids::{SpaceRoleId, UserId};
    use crate::testing::conversation::{body, direct_of, given, group_of};
    use crate::testing::{ALICE, BOB, CAROL, moment, user};

    fn call(by: UserId, mentions: impl IntoIterator<Item = Mention>) -> Command {
        let mentions = mentions.into_iter().collect();
        Command::by(
            by,
            Act::Send(Draft {
                mentions,
                ..Draft::plain(body("hey"), moment(0))
            }),
        )
    }

    fn called(by: UserId, mentions: impl IntoIterator<Item = Mention>) -> ConversationEvent {
        ConversationEvent::MessageSent(MessageSent {
            mentions: mentions.into_iter().collect(),
            ..MessageSent::plain(by, body("hey"))
        })
    }

    const ALL_SORTS: [Mention; 4] = [
        Mention::User(ALICE),
        Mention::Everyone,
        Mention::Here,
        Mention::Role(MentionedRole::Admin),
    ];

    #[test]
    fn in_small_groups_everybody_calls_everybody() {
        given([group_of(ALICE, &[BOB])])
            .when(call(BOB, ALL_SORTS))
            .then([called(BOB, ALL_SORTS)]);
        given([direct_of(ALICE, BOB)])
            .when(call(BOB, ALL_SORTS))
            .then([called(BOB, ALL_SORTS)]);
    }

    #[test]
    fn in_large_groups_only_those_who_run_them_call_everyone() {
        let others: Vec<UserId> = (0..Conversation::ALL_CALL_EVERYONE_MAX as u128)
            .map(user)
            .collect();
        for mention in [Mention::Everyone, Mention::Here] {
            given([group_of(ALICE, &others)])
                .when(call(others[0], [mention]))
                .then_refused(Refused::RoleTooLow);
            given([group_of(ALICE, &others)])
                .when(call(ALICE, [mention]))
                .then([called(ALICE, [mention])]);
            given([group_of(ALICE, &others[1..])])
                .when(call(others[1], [mention]))
                .then_some(1);
        }
        let few = [
            Mention::Role(MentionedRole::Owner),
            Mention::User(others[1]),
        ];
        given([group_of(ALICE, &others)])
            .when(call(others[0], few))
            .then_some(1);
    }

    #[test]
    fn only_members_are_called() {
        given([group_of(ALICE, &[BOB])])
            .when(call(BOB, [Mention::User(CAROL)]))
            .then_refused(Refused::NoSuchMember);
    }

    #[test]
    fn a_message_calls_few() {
        let others: Vec<UserId> = (0..=Conversation::MENTIONS_MAX as u128).map(user).collect();
        let all = others.iter().copied().map(Mention::User);
        given([group_of(ALICE, &others)])
            .when(call(ALICE, all.clone()))
            .then_refused(Refused::TooManyMentions);
        given([group_of(ALICE, &others)])
            .when(call(ALICE, all.skip(1)))
            .then_some(1);
    }

    #[test]
    fn outside_channels_there_are_no_roles_of_a_space() {
        let role = Mention::SpaceRole(SpaceRoleId(ALICE.0));
        for conversation in [group_of(ALICE, &[BOB]), direct_of(ALICE, BOB)] {
            given([conversation])
                .when(call(ALICE, [role]))
                .then_refused(Refused::NoSpaceRolesHere);
        }
    }

    #[test]
    fn mentions_are_stored_as_clients_send_them() {
        let role = SpaceRoleId(BOB.0);
        let mut mentions = BTreeSet::from(ALL_SORTS);
        mentions.insert(Mention::SpaceRole(role));
        let stored = serde_json::to_string(&mentions).expect("it is JSON");
        let expected = format!(
            r#"[{{"user":"{ALICE}"}},"everyone","here",{{"role":"admin"}},{{"space_role":"{role}"}}]"#
        );
        assert_eq!(stored, expected);
    }
}
