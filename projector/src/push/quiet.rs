//! When quiet hours end: one push for all that came while they lasted.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use domain::UserId;
use domain::notifications::QuietHours;
use domain::pushes::Untold;
use infra::event_store::{end_of, position_at};
use infra::failure::Failure;
use infra::read_models::messages::unseen::Window;
use infra::read_models::notifications::{
    PushSubscription, UserSettings, all_quiet_hours, subscriptions, with_quiet_hours,
};
use infra::read_models::{ReadError, Snapshot, wait_for};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::audience::{CHUNK, Sending};
use super::payload::Payload;
use super::under_way::Goal;
use super::{Mind, Pushing, unread};
use crate::missed::{MODELS, Of, missed};

/// How far back ends of quiet hours are looked for, where nobody looked for long.
const LOOK_BACK: TimeDelta = TimeDelta::hours(6);

/// How long is waited at once for the read models; then all else goes on first.
const READ_WAIT: Duration = Duration::from_millis(200);

/// Quiet hours that ended, and what came while they lasted.
struct Ended {
    hours: QuietHours,
    window: Window,
}

/// Some of those whose quiet hours ended.
struct Woken {
    sendings: Vec<Sending>,
    /// For whom it is quiet again: they are told at the end of that.
    quiet_again: Vec<Sending>,
    /// Up to whom it goes; `None` where it is the last.
    up_to: Option<UserId>,
}

impl Pushing {
    /// Tells those whose quiet hours have ended what they missed.
    pub(super) async fn end_quiet_hours(
        &self,
        mind: &mut Mind,
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        let now = self.0.clock.now();
        // What was begun is finished first, unless that was long ago.
        let part = mind.recorder.progress().quiet_part;
        let part = part.filter(|it| it.until > mind.ends_begun && it.until + LOOK_BACK > now);
        let (until, mut after) = part.map_or((now, UserId(Uuid::nil())), |it| (it.until, it.user));
        let since = mind.ends_begun.max(until - LOOK_BACK);
        // By the minute: sooner nothing can have ended.
        if until.timestamp().div_euclid(60) <= since.timestamp().div_euclid(60) {
            return Ok(());
        }
        if !self.is_all_read().await? {
            return Ok(());
        }
        let ended = self.ended(since, until).await?;
        let mut is_last = ended.is_empty();
        while !is_last {
            let woken = self.woken(&ended, after, now).await.map_err(unread)?;
            for sending in woken.quiet_again {
                mind.retries.failed(&sending, None, now);
            }
            let part = |user| Goal::QuietPart(until, user);
            let sent = self.send_all(mind, woken.sendings, part, stop).await?;
            let Some(worked) = sent else {
                return Ok(());
            };
            if let Some(user) = woken.up_to {
                mind.under_way.begin(part(user), worked);
                after = user;
            }
            is_last = woken.up_to.is_none();
        }
        mind.ends_begun = until;
        // Even where nobody was told it is recorded: what comes later was told of by itself.
        let is_mark = !ended.is_empty();
        mind.under_way.begin(Goal::Quiet(until), is_mark);
        if is_mark {
            mind.recorder.worked();
        }
        self.settle(mind, stop).await
    }

    /// Whether the read models have everything that is recorded now: what they lack would not be told.
    async fn is_all_read(&self) -> Result<bool, Failure> {
        let store = &*self.0.store;
        let end = end_of(store).await?;
        match wait_for(&self.0.database, &MODELS, end, READ_WAIT).await {
            // Where what came then ended is found by what this node has heard of.
            Ok(_) => Ok(*store.head().borrow() >= end),
            Err(ReadError::Behind(_)) => Ok(false),
            Err(error @ ReadError::Database(_)) => Err(unread(error)),
        }
    }

    /// The quiet hours that ended after `since` up to `until`. What came shortly before them was not told
    /// in time, and what came shortly before their end is told by itself.
    async fn ended(
        &self,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Vec<Ended>, Failure> {
        let (store, delay) = (&*self.0.store, self.0.delay);
        let all = {
            let mut snapshot = Snapshot::of(&self.0.database, &MODELS)
                .await
                .map_err(unread)?;
            all_quiet_hours(&mut snapshot).await.map_err(unread)?
        };
        let mut ended = Vec::new();
        for hours in all {
            let Some((from, to)) = hours.ended(since, until) else {
                continue;
            };
            let window = Window {
                since: from - delay,
                after: position_at(store, from - delay).await?,
                up_to: position_at(store, to - delay).await?,
            };
            ended.push(Ended { hours, window });
        }
        Ok(ended)
    }

    /// What some of those are told who had one of `ended`.
    async fn woken(
        &self,
        ended: &[Ended],
        after: UserId,
        now: DateTime<Utc>,
    ) -> Result<Woken, ReadError> {
        let mut snapshot = Snapshot::of(&self.0.database, &MODELS).await?;
        let snapshot = &mut snapshot;
        let hours: Vec<QuietHours> = ended.iter().map(|ended| ended.hours.clone()).collect();
        let found = with_quiet_hours(snapshot, &hours, after, now, CHUNK).await?;
        let up_to = found.last().filter(|_| found.len() == CHUNK);
        let mut woken = Woken {
            sendings: Vec::new(),
            quiet_again: Vec::new(),
            up_to: up_to.map(|last| last.user_id),
        };
        let users: Vec<UserId> = found.iter().map(|it| it.user_id).collect();
        let mut browsers: BTreeMap<UserId, Vec<PushSubscription>> = BTreeMap::new();
        for browser in subscriptions(snapshot, &users).await? {
            browsers.entry(browser.user_id).or_default().push(browser);
        }
        for row in &found {
            let settings = UserSettings::settings(row);
            let quiet = settings.quiet_hours.as_ref();
            let one = ended.iter().find(|ended| Some(&ended.hours) == quiet);
            let Some(Ended { hours, window }) = one else {
                continue;
            };
            let missed = missed(snapshot, row.user_id, &settings, *window, now, Of::Rules).await?;
            if missed.messages() == 0 {
                continue;
            }
            let browsers = browsers.remove(&row.user_id).unwrap_or_default();
            let sendings = browsers.into_iter().map(|subscription| Sending {
                subscription,
                name: format!("quiet {}", window.up_to.0),
                payload: Payload::missed(&missed),
                untold: Untold {
                    since: window.since,
                    after: window.after,
                },
                up_to: window.up_to,
            });
            if hours.end_at(now).is_some() {
                woken.quiet_again.extend(sendings);
            } else {
                woken.sendings.extend(sendings);
            }
        }
        Ok(woken)
    }
}
