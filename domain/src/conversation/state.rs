//! What the rules need to know of a conversation. Bounded by the number of members, of pins and of
//! recently deleted messages: no message list.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::conversation::decide::Conversation;
use crate::conversation::event::{
    ChannelOf, ConversationEvent, HistoryVisibility, Kind, Role, SettingsChanged, Started,
    WhoMayPost,
};
use crate::ids::{Seq, UserId, Version};
use crate::values::Title;

/// How many deleted messages are remembered, so that an edit of one of them is refused at once. An
/// edit of one that is forgotten is stored and, as a delete wins, shows nowhere.
pub(super) const DELETED_REMEMBERED_MAX: usize = 256;

/// The state of a conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct State {
    /// Version of the stream; 0 while nobody has started it.
    pub version: Version,
    /// Set once started.
    pub settings: Option<Settings>,
    /// Who is in it now.
    pub members: BTreeMap<UserId, Member>,
    /// Messages deleted lately, in the order of their deletion; at most 256. The one deleted first
    /// is forgotten first, so that a repeat of the last delete is always known as such.
    pub deleted: Vec<Seq>,
    /// Messages that are pinned, in the order of pinning; at most 50.
    pub pins: Vec<Seq>,
}

/// Somebody who is in it now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Member {
    /// What they may do.
    pub role: Role,
    /// The oldest event that their present membership lets them see. Messages from a membership that
    /// ended may still be read, but nothing is done to them any more.
    pub visible_from: Seq,
    /// When they last wrote while they had to wait between two messages.
    pub last_sent_at: Option<DateTime<Utc>>,
}

/// What is set for the whole conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Settings {
    /// Direct, group or channel.
    pub kind: Kind,
    /// Of a channel: whose it is, and how far it has followed.
    pub channel: Option<ChannelOf>,
    /// Of a channel: whether it has not yet followed that version to its end.
    pub follows_more: bool,
    /// Of a group or channel.
    pub title: Option<Title>,
    /// What later members see.
    pub history_visibility: HistoryVisibility,
    /// Whether it is closed for now.
    pub archived: bool,
    /// How long members wait between two messages, in seconds; 0 is not at all.
    pub slow_mode_s: u32,
    /// Who may write.
    pub who_may_post: WhoMayPost,
}

impl Settings {
    fn change(&mut self, changed: &SettingsChanged) {
        self.history_visibility = changed.history_visibility;
        self.slow_mode_s = changed.slow_mode_s.unwrap_or(self.slow_mode_s);
        self.who_may_post = changed.who_may_post.unwrap_or(self.who_may_post);
    }
}

impl State {
    /// The role of `user`, if they are in it now.
    pub fn role(&self, user: UserId) -> Option<Role> {
        self.members.get(&user).map(|member| member.role)
    }

    /// The owner of a group in which somebody is.
    pub(super) fn owner(&self) -> Option<UserId> {
        let mut members = self.members.iter();
        members.find_map(|(user, member)| (member.role == Role::Owner).then_some(*user))
    }

    /// Folds `event`. One that is redundant changes nothing but the version: a second start, the
    /// addition of a member, a role of somebody who is not in.
    pub(super) fn evolve(mut self, version: Version, event: &ConversationEvent) -> Self {
        self.version = version;
        match event {
            ConversationEvent::Started(started) => self.start(started),
            ConversationEvent::Renamed(renamed) => {
                self.set(|settings| settings.title = Some(renamed.title.value.clone()));
            }
            ConversationEvent::SettingsChanged(changed) => {
                self.set(|settings| settings.change(changed));
            }
            ConversationEvent::MemberAdded(added) => {
                let visible_from = self.visible_to_who_joins_at(version);
                self.members.entry(added.user).or_insert(Member {
                    role: added.role,
                    visible_from,
                    last_sent_at: None,
                });
            }
            ConversationEvent::MemberRemoved(removed) => {
                self.members.remove(&removed.user);
            }
            ConversationEvent::MemberLeft(left) => {
                self.members.remove(&left.user);
            }
            ConversationEvent::MemberRoleChanged(changed) => {
                if let Some(member) = self.members.get_mut(&changed.user) {
                    member.role = changed.role;
                }
            }
            ConversationEvent::MessageDeleted(deleted) => self.remember_deleted(deleted.message),
            ConversationEvent::MessagePinned(pinned) => self.pin(pinned.message),
            ConversationEvent::MessageUnpinned(unpinned) => {
                self.pins.retain(|message| *message != unpinned.message);
            }
            ConversationEvent::Archived(_) => self.set(|settings| settings.archived = true),
            ConversationEvent::Unarchived(_) => self.set(|settings| settings.archived = false),
            ConversationEvent::MessageSent(sent) => {
                if let (Some(at), Some(member)) = (sent.at, self.members.get_mut(&sent.author)) {
                    member.last_sent_at = Some(at);
                }
            }
            ConversationEvent::SpaceFollowed(followed) => self.set(|settings| {
                if let Some(channel) = &mut settings.channel
                    && channel.space_version <= followed.space_version
                {
                    channel.space_version = followed.space_version;
                    settings.follows_more = followed.more;
                }
            }),
            ConversationEvent::MessageEdited(_)
            | ConversationEvent::ReactionAdded(_)
            | ConversationEvent::ReactionRemoved(_)
            | ConversationEvent::ThreadFollowed(_)
            | ConversationEvent::ThreadUnfollowed(_) => {}
        }
        self
    }

    fn start(&mut self, started: &Started) {
        if self.settings.is_some() {
            return;
        }
        self.settings = Some(Settings {
            kind: started.kind,
            channel: started.channel,
            follows_more: false,
            title: started.title.as_ref().map(|title| title.value.clone()),
            history_visibility: started.history_visibility,
            archived: false,
            slow_mode_s: 0,
            who_may_post: WhoMayPost::default(),
        });
        let member = |role| Member {
            role,
            visible_from: self.version,
            last_sent_at: None,
        };
        self.members = started
            .members
            .iter()
            .map(|joined| (joined.user, member(joined.role)))
            .collect();
    }

    fn visible_to_who_joins_at(&self, version: Version) -> Seq {
        match self.settings.as_ref().map(|set| set.history_visibility) {
            Some(HistoryVisibility::Start) => Version(1),
            Some(HistoryVisibility::Joined) | None => version,
        }
    }

    fn pin(&mut self, message: Seq) {
        let is_there = self.pins.contains(&message) || self.deleted.contains(&message);
        if !is_there && self.pins.len() < Conversation::PINS_MAX {
            self.pins.push(message);
        }
    }

    fn remember_deleted(&mut self, message: Seq) {
        self.pins.retain(|pinned| *pinned != message);
        if self.deleted.contains(&message) {
            return;
        }
        if self.deleted.len() >= DELETED_REMEMBERED_MAX {
            self.deleted.remove(0);
        }
        self.deleted.push(message);
    }

    fn set(&mut self, change: impl FnOnce(&mut Settings)) {
        if let Some(settings) = &mut self.settings {
            change(settings);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::event::{MemberAdded, MemberRoleChanged, MessageDeleted};
    use crate::testing::conversation::{direct_of, group_of};
    use crate::testing::{ALICE, BOB, CAROL};

    fn group() -> State {
        State::default().evolve(Version(1), &group_of(ALICE, &[BOB]))
    }

    #[test]
    fn redundant_events_fold_to_nothing() {
        let deleted = ConversationEvent::MessageDeleted(MessageDeleted {
            message: Version(2),
            by: ALICE,
            reason: None,
        });
        let before = group().evolve(Version(3), &deleted);
        for redundant in [
            direct_of(BOB, CAROL),
            group_of(CAROL, &[]),
            ConversationEvent::MemberAdded(MemberAdded {
                user: ALICE,
                role: Role::Member,
            }),
            ConversationEvent::MemberRoleChanged(MemberRoleChanged {
                user: CAROL,
                role: Role::Owner,
            }),
            deleted.clone(),
        ] {
            let after = before.clone().evolve(Version(3), &redundant);
            assert_eq!(after, before, "{redundant:?}");
        }
    }

    #[test]
    fn the_version_is_that_of_the_last_event() {
        assert_eq!(group().version, Version(1));
    }
}
