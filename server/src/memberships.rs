//! What the gateway asks about memberships, answered by the read model `members`.

use async_trait::async_trait;
use domain::{ConversationId, Position, UserId};
use gateway::{MEMBERSHIPS_WITHIN, Membership, Memberships, MembershipsAt, MembershipsError};
use infra::database::Database;
use infra::failure::Failure;
use infra::read_models::{ReadError, Snapshot, hurry_to, members};

/// Memberships as the read database has them.
pub(crate) struct ReadModelMemberships {
    database: Database,
}

impl ReadModelMemberships {
    pub(crate) const fn new(database: Database) -> Self {
        Self { database }
    }

    async fn snapshot(&self, at_least: Position) -> Result<Snapshot, ReadError> {
        hurry_to(
            &self.database,
            &[&members::MODEL],
            at_least,
            MEMBERSHIPS_WITHIN,
        )
        .await?;
        Snapshot::of(&self.database, &[&members::MODEL]).await
    }
}

#[async_trait]
impl Memberships for ReadModelMemberships {
    async fn of_user(
        &self,
        user: UserId,
        ended_after: Position,
        at_least: Position,
    ) -> Result<MembershipsAt, MembershipsError> {
        let mut snapshot = self.snapshot(at_least).await.map_err(from_read)?;
        let rows = members::of_member(&mut snapshot, user, ended_after)
            .await
            .map_err(from_read)?;
        Ok(at(&snapshot, rows))
    }

    async fn of_member(
        &self,
        user: UserId,
        conversation: ConversationId,
        at_least: Position,
    ) -> Result<MembershipsAt, MembershipsError> {
        let mut snapshot = self.snapshot(at_least).await.map_err(from_read)?;
        let rows = members::within(&mut snapshot, conversation, user)
            .await
            .map_err(from_read)?;
        Ok(at(&snapshot, rows))
    }
}

fn at(snapshot: &Snapshot, rows: Vec<members::Membership>) -> MembershipsAt {
    let memberships = rows
        .into_iter()
        .map(|row| Membership {
            conversation: row.conversation,
            joined: row.joined_seq,
            visible_from: row.visible_from,
            left: row.left_seq,
        })
        .collect();
    MembershipsAt {
        position: snapshot.position(),
        memberships,
    }
}

fn from_read(error: ReadError) -> MembershipsError {
    match error {
        ReadError::Behind(_) => MembershipsError::Behind,
        ReadError::Database(error) => MembershipsError::Failure(Failure::from(error)),
    }
}
