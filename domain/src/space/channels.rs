//! Which channels and categories there are, what they are called and where they stand.

use crate::ids::{CategoryId, ConversationId};
use crate::personal::Personal;
use crate::space::command::Act;
use crate::space::decide::{Asker, Decision, SpaceRules};
use crate::space::event::{
    CategoryRemoved, CategorySet, ChannelCreated, ChannelKind, ChannelMoved, ChannelRemoved,
    ChannelRenamed, SpaceEvent,
};
use crate::space::permissions::Permission;
use crate::space::refused::Refused;
use crate::values::Title;

impl Asker<'_> {
    /// The acts on channels and categories; none other is asked here.
    pub(super) fn arrange(&self, act: &Act) -> Decision {
        self.open()?;
        match act {
            Act::CreateChannel {
                channel,
                kind,
                name,
                category,
                position,
            } => self.create_channel(*channel, *kind, name, *category, *position),
            Act::RenameChannel { channel, name } => self.rename_channel(*channel, name),
            Act::MoveChannel {
                channel,
                category,
                position,
            } => self.move_channel(*channel, *category, *position),
            Act::RemoveChannel { channel } => self.remove_channel(*channel),
            Act::CreateCategory {
                category,
                name,
                position,
            } => self.create_category(*category, name, *position),
            Act::ChangeCategory {
                category,
                name,
                position,
            } => self.change_category(*category, name.as_ref(), *position),
            Act::RemoveCategory { category } => self.remove_category(*category),
            other => {
                debug_assert!(false, "{other:?} arranges nothing");
                Ok(vec![])
            }
        }
    }

    fn create_channel(
        &self,
        channel: ConversationId,
        kind: ChannelKind,
        name: &Title,
        category: Option<CategoryId>,
        position: u16,
    ) -> Decision {
        self.needs(Permission::ManageChannels)?;
        if self.space.channels.contains_key(&channel) {
            return Ok(vec![]);
        }
        self.known(category)?;
        let channels = self.space.channels.len() + 1;
        let seats = self.space.members.len() * channels;
        if channels > SpaceRules::CHANNELS_MAX || seats > SpaceRules::SEATS_MAX {
            return Err(Refused::TooManyChannels);
        }
        Ok(vec![SpaceEvent::ChannelCreated(ChannelCreated {
            channel,
            kind,
            name: Personal::new(self.by, name.clone()),
            category,
            position,
        })])
    }

    fn rename_channel(&self, channel: ConversationId, name: &Title) -> Decision {
        let there = self.channel(channel)?;
        self.manages(channel)?;
        if there.name == *name {
            return Ok(vec![]);
        }
        let name = Personal::new(self.by, name.clone());
        let renamed = ChannelRenamed { channel, name };
        Ok(vec![SpaceEvent::ChannelRenamed(renamed)])
    }

    fn move_channel(
        &self,
        channel: ConversationId,
        category: Option<CategoryId>,
        position: u16,
    ) -> Decision {
        let there = self.channel(channel)?;
        self.manages(channel)?;
        self.known(category)?;
        if (there.category, there.position) == (category, position) {
            return Ok(vec![]);
        }
        Ok(vec![SpaceEvent::ChannelMoved(ChannelMoved {
            channel,
            category,
            position,
            by: self.by,
        })])
    }

    fn remove_channel(&self, channel: ConversationId) -> Decision {
        let there = self.channel(channel)?;
        self.manages(channel)?;
        Ok(vec![SpaceEvent::ChannelRemoved(ChannelRemoved {
            channel,
            kind: there.kind,
            creator: there.creator,
            by: self.by,
        })])
    }

    fn create_category(&self, category: CategoryId, name: &Title, position: u16) -> Decision {
        self.needs(Permission::ManageChannels)?;
        if self.space.categories.contains_key(&category) {
            return Ok(vec![]);
        }
        if self.space.categories.len() >= SpaceRules::CATEGORIES_MAX {
            return Err(Refused::TooManyCategories);
        }
        Ok(vec![SpaceEvent::CategoryCreated(CategorySet {
            category,
            name: Personal::new(self.by, name.clone()),
            position,
        })])
    }

    fn change_category(
        &self,
        category: CategoryId,
        name: Option<&Title>,
        position: Option<u16>,
    ) -> Decision {
        self.needs(Permission::ManageChannels)?;
        let there = self.space.categories.get(&category);
        let there = there.ok_or(Refused::CategoryNotFound)?;
        let name = name.unwrap_or(&there.name);
        let position = position.unwrap_or(there.position);
        if (name, position) == (&there.name, there.position) {
            return Ok(vec![]);
        }
        Ok(vec![SpaceEvent::CategoryChanged(CategorySet {
            category,
            name: Personal::new(self.by, name.clone()),
            position,
        })])
    }

    fn remove_category(&self, category: CategoryId) -> Decision {
        self.needs(Permission::ManageChannels)?;
        self.known(Some(category))?;
        let by = self.by;
        let removed = CategoryRemoved { category, by };
        Ok(vec![SpaceEvent::CategoryRemoved(removed)])
    }

    fn manages(&self, channel: ConversationId) -> Result<(), Refused> {
        if self.held_in(channel).has(Permission::ManageChannels) {
            Ok(())
        } else {
            Err(Refused::PermissionMissing(Permission::ManageChannels))
        }
    }

    fn known(&self, category: Option<CategoryId>) -> Result<(), Refused> {
        match category {
            Some(category) if !self.space.categories.contains_key(&category) => {
                Err(Refused::CategoryNotFound)
            }
            Some(_) | None => Ok(()),
        }
    }
}
