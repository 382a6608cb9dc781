//! What the rules need to know of a conversation. Bounded by the number of members and of recently
//! deleted messages: no message list.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::conversation::event::{ConversationEvent, HistoryVisibility, Kind, Role};
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
    pub members: BTreeMap<UserId, Role>,
    /// Messages deleted lately; at most 256.
    pub deleted: BTreeSet<Seq>,
}

/// What is set for the whole conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Settings {
    /// Direct or group.
    pub kind: Kind,
    /// Of a group.
    pub title: Option<Title>,
    /// What later members see.
    pub history_visibility: HistoryVisibility,
    /// Whether it is closed for now.
    pub archived: bool,
}

impl State {
    /// The role of `user`, if they are in it now.
    pub fn role(&self, user: UserId) -> Option<Role> {
        self.members.get(&user).copied()
    }

    pub(super) fn evolve(mut self, version: Version, event: &ConversationEvent) -> Self {
        self.version = version;
        match event {
            ConversationEvent::Started(started) => {
                self.settings = Some(Settings {
                    kind: started.kind,
                    title: started.title.as_ref().map(|title| title.value.clone()),
                    history_visibility: started.history_visibility,
                    archived: false,
                });
                self.members = started.members.iter().map(|m| (m.user, m.role)).collect();
            }
            ConversationEvent::Renamed(renamed) => {
                if let Some(settings) = &mut self.settings {
                    settings.title = Some(renamed.title.value.clone());
                }
            }
            ConversationEvent::SettingsChanged(changed) => {
                if let Some(settings) = &mut self.settings {
                    settings.history_visibility = changed.history_visibility;
                }
            }
            ConversationEvent::MemberAdded(added) => {
                self.members.insert(added.user, added.role);
            }
            ConversationEvent::MemberRemoved(removed) => {
                self.members.remove(&removed.user);
            }
            ConversationEvent::MemberLeft(left) => {
                self.members.remove(&left.user);
            }
            ConversationEvent::MemberRoleChanged(changed) => {
                self.members.insert(changed.user, changed.role);
            }
            ConversationEvent::MessageDeleted(deleted) => {
                self.deleted.insert(deleted.message);
                if self.deleted.len() > DELETED_REMEMBERED_MAX {
                    self.deleted.pop_first();
                }
            }
            ConversationEvent::Archived(_) => self.set_archived(true),
            ConversationEvent::Unarchived(_) => self.set_archived(false),
            ConversationEvent::MessageSent(_)
            | ConversationEvent::MessageEdited(_)
            | ConversationEvent::ReactionAdded(_)
            | ConversationEvent::ReactionRemoved(_) => {}
        }
        self
    }

    fn set_archived(&mut self, archived: bool) {
        if let Some(settings) = &mut self.settings {
            settings.archived = archived;
        }
    }
}
