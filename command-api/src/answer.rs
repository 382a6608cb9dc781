//! What an accepted command answers.

use axum::Json;
use axum::http::StatusCode;
use domain::Position;
use infra::commands::Accepted;
use uuid::Uuid;

use crate::execute::Done;

/// An accepted command and whether it changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) accepted: Accepted,
    changed: bool,
}

/// How routes answer.
pub(crate) type Answered = (StatusCode, Json<Accepted>);

impl Answer {
    /// What came of a command on the thing `id`.
    pub(crate) fn new(id: Uuid, done: Done) -> Self {
        Self {
            accepted: Accepted {
                id,
                seq: done.seq,
                position: done.position,
            },
            changed: done.changed,
        }
    }

    /// The same, of another thing.
    pub(crate) fn named(mut self, id: Uuid) -> Self {
        self.accepted.id = id;
        self
    }

    /// The same, where what followed from it is in the log at `position`.
    pub(crate) fn at_least(mut self, position: Position) -> Self {
        self.accepted.position = self.accepted.position.max(position);
        self
    }

    /// 200.
    pub(crate) fn ok(self) -> Answered {
        (StatusCode::OK, Json(self.accepted))
    }

    /// 201 for what the command made; 200 where it was there already.
    pub(crate) fn created(self) -> Answered {
        let status = if self.changed {
            StatusCode::CREATED
        } else {
            StatusCode::OK
        };
        (status, Json(self.accepted))
    }
}
