//! Who has been away for so long that what they missed is mailed. Here it is only said that a digest is due,
//! with an event of its own, which mailing follows as it follows codes.

use chrono::{DateTime, TimeDelta, Utc};
use domain::notifications::{Command, Notifications};
use domain::values::Email;
use domain::{StreamName, UserId};
use infra::failure::Failure;
use infra::read_models::messages::unseen::Window;
use infra::read_models::notifications::{UserSettings, last_here, with_digests};
use infra::read_models::{ReadError, Snapshot, users};
use uuid::Uuid;

use super::{Mind, Pushing, unread};
use crate::missed::{MODELS, Of, missed};
use crate::record;

/// Users that are looked at in one round.
const ROUND_MAX: usize = 100;

impl Pushing {
    /// Issues the digests that are due, of some of those who want digests; of others the next time.
    pub(super) async fn issue_digests(&self, mind: &mut Mind) -> Result<(), Failure> {
        let after = mind.digests_after;
        let mut snapshot = Snapshot::of(&self.0.database, &MODELS)
            .await
            .map_err(unread)?;
        let found = with_digests(&mut snapshot, after, ROUND_MAX)
            .await
            .map_err(unread)?;
        drop(snapshot);
        let last = found.last().filter(|_| found.len() == ROUND_MAX);
        mind.digests_after = last.map_or(UserId(Uuid::nil()), |last| last.user_id);
        let now = self.0.clock.now();
        for row in &found {
            let Some(email) = self.due(row, now).await.map_err(unread)? else {
                continue;
            };
            let stream = StreamName::notifications(row.user_id);
            let command = Command::IssueDigest {
                user: row.user_id,
                email,
                at: now,
            };
            // The next round asks again; others do not wait for that.
            if let Err(failure) =
                record::ask::<Notifications>(&*self.0.store, &stream, &command).await
            {
                tracing::warn!(%failure, user = %row.user_id, "a digest is not issued now");
            }
        }
        Ok(())
    }

    /// Where a digest goes, if one is due: to a verified address, of somebody who was away for so long,
    /// and not twice of the same messages.
    async fn due(
        &self,
        row: &UserSettings,
        now: DateTime<Utc>,
    ) -> Result<Option<Email>, ReadError> {
        let settings = row.settings();
        let Some(after_s) = settings.digest_after_s else {
            return Ok(None);
        };
        let after = TimeDelta::seconds(after_s.into());
        let quiet = settings.quiet_hours.as_ref();
        let is_quiet = quiet.and_then(|hours| hours.end_at(now)).is_some();
        if is_quiet || row.digest_at.is_some_and(|last| last + after > now) {
            return Ok(None);
        }
        let mut snapshot = Snapshot::of(&self.0.database, &MODELS).await?;
        let Some(here) = last_here(&mut snapshot, row.user_id).await? else {
            return Ok(None);
        };
        if here + after > now {
            return Ok(None);
        }
        let user = users::one(&mut snapshot, row.user_id).await?;
        let user = user.filter(|user| user.is_active(now) && user.is_email_verified());
        let Some(email) = user.and_then(|user| user.email) else {
            return Ok(None);
        };
        let since = row.digest_at.map_or(here, |last| last.max(here));
        let (window, of) = (Window::since(since), Of::DirectAndCalls);
        let missed = missed(&mut snapshot, row.user_id, &settings, window, now, of).await?;
        Ok(Email::parse(&email).ok().filter(|_| missed.messages() > 0))
    }
}
