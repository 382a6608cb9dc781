//! When quiet hours end: one push for all that came while they lasted.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use domain::UserId;
use domain::notifications::QuietHours;
use infra::failure::Failure;
use infra::read_models::notifications::{
    PushSubscription, UserSettings, all_quiet_hours, subscriptions, with_quiet_hours,
};
use infra::read_models::{ReadError, Snapshot};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::audience::{CHUNK, Sending};
use super::payload::Payload;
use super::{Mind, Pushing, moment, unread};
use crate::missed::{MODELS, Of, missed};

/// How far back ends of quiet hours are looked for, where nobody looked for long.
const LOOK_BACK: TimeDelta = TimeDelta::hours(6);

impl Pushing {
    /// Tells those whose quiet hours have ended what they missed.
    pub(super) async fn end_quiet_hours(
        &self,
        mind: &mut Mind,
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        let now = self.0.clock.now();
        let progress = mind.recorder.progress();
        // What was begun is finished first.
        let (until, mut after) = match progress.quiet_part {
            Some(part) => (part.until, part.user),
            None => (now, UserId(Uuid::nil())),
        };
        let since = progress.quiet_until.max(until - LOOK_BACK);
        // By the minute: sooner nothing can have ended.
        if until.timestamp().div_euclid(60) <= since.timestamp().div_euclid(60) {
            return Ok(());
        }
        let ended = self.ended(since, until).await.map_err(unread)?;
        while !ended.is_empty() && !stop.is_cancelled() {
            let (sendings, up_to) = self
                .woken(&ended, after, until, now)
                .await
                .map_err(unread)?;
            let worked = self.send_all(mind, sendings, stop).await?;
            if let Some(user) = up_to {
                mind.recorder.reached_quiet_part(until, user);
                after = user;
            } else {
                mind.recorder.reached_quiet(until);
            }
            // Even where nobody was told: what comes later was told of by itself.
            if worked || up_to.is_none() {
                mind.recorder.worked();
                self.record(mind, stop).await?;
            }
            if up_to.is_none() {
                return Ok(());
            }
        }
        if ended.is_empty() {
            mind.recorder.reached_quiet(until);
        }
        Ok(())
    }

    /// The quiet hours that ended after `since` up to `until`, with their beginning.
    async fn ended(
        &self,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Vec<(QuietHours, DateTime<Utc>)>, ReadError> {
        let mut snapshot = Snapshot::of(&self.0.database, &MODELS).await?;
        let all = all_quiet_hours(&mut snapshot).await?;
        let ended = all.into_iter().filter_map(|hours| {
            let (from, _) = hours.ended(since, until)?;
            Some((hours, from))
        });
        Ok(ended.collect())
    }

    /// What some of those are told who had one of `ended`, and up to whom that is.
    async fn woken(
        &self,
        ended: &[(QuietHours, DateTime<Utc>)],
        after: UserId,
        until: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<(Vec<Sending>, Option<UserId>), ReadError> {
        let mut snapshot = Snapshot::of(&self.0.database, &MODELS).await?;
        let snapshot = &mut snapshot;
        let hours: Vec<QuietHours> = ended.iter().map(|(hours, _)| hours.clone()).collect();
        let found = with_quiet_hours(snapshot, &hours, after, CHUNK).await?;
        let up_to = found.last().filter(|_| found.len() == CHUNK);
        let up_to = up_to.map(|last| last.user_id);
        let users: Vec<UserId> = found.iter().map(|it| it.user_id).collect();
        let mut browsers: BTreeMap<UserId, Vec<PushSubscription>> = BTreeMap::new();
        for browser in subscriptions(snapshot, &users).await? {
            browsers.entry(browser.user_id).or_default().push(browser);
        }
        let mut sendings = Vec::new();
        for row in &found {
            let settings = UserSettings::settings(row);
            let quiet = settings.quiet_hours.as_ref();
            let from = ended.iter().find(|(hours, _)| Some(hours) == quiet);
            let Some((_, from)) = from else { continue };
            let missed = missed(snapshot, row.user_id, &settings, *from, now, Of::Rules).await?;
            if missed.messages() == 0 {
                continue;
            }
            let browsers = browsers.remove(&row.user_id).unwrap_or_default();
            sendings.extend(browsers.into_iter().map(|subscription| Sending {
                subscription,
                name: format!("quiet {}", moment(until)),
                payload: Payload::Missed {
                    messages: missed.messages(),
                    conversations: missed.conversations.len(),
                },
            }));
        }
        Ok((sendings, up_to))
    }
}
