//! The rules of the record of what auditors did: there are none, everything is recorded.

use std::convert::Infallible;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::audit::event::{AuditEvent, Exported, Replayed};
use crate::decider::{Decider, Refusal, RefusalKind};
use crate::ids::Version;

/// Decides for the stream `audit`.
#[derive(Clone, Copy, Debug)]
pub struct Audit;

/// What may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Record that the log is about to be read.
    RecordReplay(Replayed),
    /// Record that somebody takes their data out.
    RecordExport(Exported),
}

/// There is no refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(Infallible);

impl Refusal for Refused {
    fn code(&self) -> &'static str {
        match self.0 {}
    }

    fn kind(&self) -> RefusalKind {
        match self.0 {}
    }
}

/// Nothing needs to be known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct State {}

impl Decider for Audit {
    type State = State;
    type Command = Command;
    type Event = AuditEvent;
    type Refusal = Refused;

    const CATEGORY: &'static str = "audit";

    fn decide(_state: &State, command: &Command) -> Result<Vec<AuditEvent>, Refused> {
        match command {
            Command::RecordReplay(replayed) => Ok(vec![AuditEvent::Replayed(replayed.clone())]),
            Command::RecordExport(exported) => Ok(vec![AuditEvent::Exported(exported.clone())]),
        }
    }

    fn evolve(state: State, _version: Version, event: &AuditEvent) -> State {
        match event {
            AuditEvent::Replayed(_) | AuditEvent::Exported(_) => state,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Selection;
    use crate::testing::{ALICE, Given};

    #[test]
    fn every_replay_is_recorded_also_the_same_one_again() {
        let replayed = Replayed {
            selection: Selection {
                types: vec!["message-sent".to_owned()],
                ..Selection::default()
            },
        };
        for history in [vec![], vec![AuditEvent::Replayed(replayed.clone())]] {
            Given::<Audit>::history(history)
                .when(Command::RecordReplay(replayed.clone()))
                .then([AuditEvent::Replayed(replayed.clone())]);
        }
    }

    #[test]
    fn every_export_is_recorded_likewise() {
        let exported = Exported { of: ALICE };
        for history in [vec![], vec![AuditEvent::Exported(exported.clone())]] {
            Given::<Audit>::history(history)
                .when(Command::RecordExport(exported.clone()))
                .then([AuditEvent::Exported(exported.clone())]);
        }
    }
}
