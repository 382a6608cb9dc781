//! The commands that a stream took last, and what they were answered: how a retry is known.

use std::collections::{HashMap, VecDeque};

use domain::{CommandId, Metadata, Position, Version};
use serde::{Deserialize, Serialize};

use super::Done;

/// How many commands of a stream are remembered. A retry that comes after this many others is
/// decided anew, like a new command with the old id.
pub const COMMANDS_REMEMBERED_MAX: usize = 1_024;

/// What is remembered of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Remembered {
    pub(super) hash: String,
    pub(super) done: Done,
}

/// The last [`COMMANDS_REMEMBERED_MAX`] commands, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    from = "Vec<(CommandId, Remembered)>",
    into = "Vec<(CommandId, Remembered)>"
)]
pub(super) struct Window {
    order: VecDeque<CommandId>,
    commands: HashMap<CommandId, Remembered>,
}

impl Window {
    pub(super) fn get(&self, command: CommandId) -> Option<&Remembered> {
        self.commands.get(&command)
    }

    /// Remembers `command`; forgets the oldest where there are too many. The first answer stays.
    pub(super) fn remember(&mut self, command: CommandId, remembered: Remembered) {
        if self.commands.contains_key(&command) {
            return;
        }
        self.commands.insert(command, remembered);
        self.order.push_back(command);
        if self.order.len() > COMMANDS_REMEMBERED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.commands.remove(&oldest);
        }
    }

    /// Remembers the command that made the event at `version` and `position`.
    pub(super) fn replay(&mut self, metadata: Metadata, version: Version, position: Position) {
        if let Some(known) = self.commands.get_mut(&metadata.command_id) {
            // A further event of the same command.
            known.done.position = position;
            return;
        }
        let done = Done {
            seq: version,
            position,
            changed: true,
        };
        self.remember(
            metadata.command_id,
            Remembered {
                hash: metadata.command_hash,
                done,
            },
        );
    }
}

impl From<Vec<(CommandId, Remembered)>> for Window {
    fn from(commands: Vec<(CommandId, Remembered)>) -> Self {
        let mut window = Self::default();
        for (command, remembered) in commands {
            window.remember(command, remembered);
        }
        window
    }
}

impl From<Window> for Vec<(CommandId, Remembered)> {
    fn from(mut window: Window) -> Self {
        window
            .order
            .iter()
            .filter_map(|command| window.commands.remove_entry(command))
            .collect()
    }
}
