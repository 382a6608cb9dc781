//! How much somebody has uploaded, by the read model `attachments`.

use async_trait::async_trait;
use command_api::Usage;
use domain::UserId;
use infra::database::Database;
use infra::failure::Failure;
use infra::read_models::attachments::{self, bytes_of};
use infra::read_models::{ReadError, Snapshot};

/// Usage as the read database has it.
pub(crate) struct ReadModelUsage {
    database: Database,
}

impl ReadModelUsage {
    pub(crate) const fn new(database: Database) -> Self {
        Self { database }
    }
}

#[async_trait]
impl Usage for ReadModelUsage {
    async fn bytes_of(&self, user: UserId) -> Result<u64, Failure> {
        let answer = async {
            let mut snapshot = Snapshot::of(&self.database, &[&attachments::MODEL]).await?;
            bytes_of(&mut snapshot, user).await
        };
        answer.await.map_err(|error| match error {
            ReadError::Behind(behind) => Failure::unavailable("look up a quota", behind),
            ReadError::Database(error) => error.into(),
        })
    }
}
