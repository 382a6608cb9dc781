//! Following a stream or the whole log: a confirmation, what is there, that this was all, then what
//! comes. A subscription begins after its place.
//!
//! One that the server ends is ended with a status, never well: the official Rust client turns round
//! for ever after a good end.

use std::sync::Arc;

use async_trait::async_trait;
use domain::audit::Selection;
use domain::{Position, StreamName, Version};
use infra::clock::{Clock, fresh_id};
use infra::event_store::{Direction, EventStore, RecordedEvent};
use prost_types::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::access::{Doorkeeper, Visitor};
use crate::events::{IdForm, answer, content};
use crate::filter::Filter;
use crate::limits::{ACCESS_CHECKED_EVERY, PAGE, next_page};
use crate::pages::Pages;
use crate::proto::streams::{self, ReadResp, read_resp};
use crate::read::{Place, bytes_of};
use crate::statuses::{failure, stopping, stream_deleted};
use crate::streams::{Shape, TOMBSTONE_TYPE};

/// What every subscription needs.
pub(crate) struct Follower {
    pub(crate) store: Arc<dyn EventStore>,
    pub(crate) doorkeeper: Arc<Doorkeeper>,
    pub(crate) visitor: Visitor,
    pub(crate) clock: Clock,
    pub(crate) stop: CancellationToken,
    pub(crate) ids: IdForm,
    head: watch::Receiver<Position>,
    check_at: Instant,
}

impl Follower {
    pub(crate) fn new(
        store: Arc<dyn EventStore>,
        doorkeeper: Arc<Doorkeeper>,
        visitor: Visitor,
        clock: Clock,
        stop: CancellationToken,
        ids: IdForm,
    ) -> Self {
        let head = store.head();
        Self {
            store,
            doorkeeper,
            visitor,
            clock,
            stop,
            ids,
            head,
            check_at: Instant::now() + ACCESS_CHECKED_EVERY,
        }
    }

    fn head(&mut self) -> Position {
        *self.head.borrow_and_update()
    }

    /// Ends the subscription where it may not go on.
    async fn check(&mut self) -> Result<(), Status> {
        if self.stop.is_cancelled() {
            return Err(stopping());
        }
        if Instant::now() >= self.check_at {
            self.doorkeeper.still(&self.visitor).await?;
            self.check_at = Instant::now() + ACCESS_CHECKED_EVERY;
        }
        Ok(())
    }

    /// Waits until the log has events after `after`.
    async fn wait(&mut self, after: Position) -> Result<(), Status> {
        while self.head() <= after {
            let stop = self.stop.clone();
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep_until(self.check_at) => {}
                changed = self.head.changed() => changed.map_err(|_| stopping())?,
            }
            self.check().await?;
        }
        Ok(())
    }

    async fn page(&self, after: Position) -> Result<Vec<Arc<RecordedEvent>>, Status> {
        let page = self.store.read_all(after, PAGE).await;
        page.map_err(|error| failure(&error))
    }

    fn timestamp(&self) -> Timestamp {
        let now = self.clock.now();
        Timestamp {
            seconds: now.timestamp(),
            nanos: now.timestamp_subsec_nanos().try_into().unwrap_or(0),
        }
    }
}

fn confirmation() -> Vec<ReadResp> {
    let confirmation = read_resp::SubscriptionConfirmation {
        subscription_id: fresh_id().to_string(),
    };
    vec![content(read_resp::Content::Confirmation(confirmation))]
}

const fn position_of(position: Position) -> streams::Position {
    streams::Position {
        commit_position: position.0,
        prepare_position: position.0,
    }
}

/// A subscription to one stream.
pub(crate) struct FollowStream {
    follower: Follower,
    stream: StreamName,
    /// The last event that was seen.
    last: Version,
    limit: usize,
    stage: StreamStage,
}

enum StreamStage {
    Begins,
    /// Reads the stream.
    CatchesUp,
    /// Looks at everything that comes after a position.
    Live(Position),
    /// The stream was deleted.
    Deleted,
}

impl FollowStream {
    pub(crate) async fn begin(
        follower: Follower,
        stream: StreamName,
        place: Place,
    ) -> Result<Self, Status> {
        let shape = Shape::of(&*follower.store, &stream).await;
        let shape = shape.map_err(|error| failure(&error))?;
        if shape.is_tombstoned {
            return Err(stream_deleted(&stream));
        }
        let hidden = Version(shape.visible_from.0.saturating_sub(1));
        let last = match place {
            Place::Start => hidden,
            Place::At(revision) => Version(revision.saturating_add(1)).max(hidden),
            Place::End => shape.version,
        };
        Ok(Self {
            follower,
            stream,
            last,
            limit: PAGE,
            stage: StreamStage::Begins,
        })
    }

    /// What an auditor is recorded to have read.
    pub(crate) fn selection(&self) -> Selection {
        Selection {
            stream: Some(self.stream.clone()),
            ..Selection::default()
        }
    }

    async fn catch_up(&mut self) -> Result<Vec<ReadResp>, Status> {
        let head = self.follower.head();
        let store = &self.follower.store;
        let page = store
            .read_stream(
                &self.stream,
                self.last.next(),
                Direction::Forward,
                self.limit,
            )
            .await
            .map_err(|error| failure(&error))?;
        self.limit = next_page(page.iter().map(|event| bytes_of(event)).sum());
        if !page.is_empty() {
            return Ok(self.take(&page));
        }
        self.stage = StreamStage::Live(head);
        let revision = self.last.0.checked_sub(1);
        Ok(vec![content(read_resp::Content::CaughtUp(
            read_resp::CaughtUp {
                timestamp: Some(self.follower.timestamp()),
                stream_revision: revision.and_then(|revision| i64::try_from(revision).ok()),
                position: None,
            },
        ))])
    }

    async fn live(&mut self, after: Position) -> Result<Vec<ReadResp>, Status> {
        self.follower.wait(after).await?;
        let page = self.follower.page(after).await?;
        if let Some(last) = page.last() {
            self.stage = StreamStage::Live(last.position);
        }
        Ok(self.take(&page))
    }

    /// Those of `events` that are of the stream and were not seen yet.
    fn take(&mut self, events: &[Arc<RecordedEvent>]) -> Vec<ReadResp> {
        let mut taken = Vec::new();
        for event in events {
            if event.stream != self.stream || event.version <= self.last {
                continue;
            }
            if &*event.event_type == TOMBSTONE_TYPE {
                self.stage = StreamStage::Deleted;
                break;
            }
            self.last = event.version;
            taken.push(answer(event, self.follower.ids));
        }
        taken
    }
}

#[async_trait]
impl Pages for FollowStream {
    async fn next(&mut self) -> Result<Option<Vec<ReadResp>>, Status> {
        self.follower.check().await?;
        match self.stage {
            StreamStage::Begins => {
                self.stage = StreamStage::CatchesUp;
                Ok(Some(confirmation()))
            }
            StreamStage::CatchesUp => self.catch_up().await.map(Some),
            StreamStage::Live(after) => self.live(after).await.map(Some),
            StreamStage::Deleted => Err(stream_deleted(&self.stream)),
        }
    }
}

/// A subscription to the whole log.
pub(crate) struct FollowAll {
    follower: Follower,
    filter: Option<Filter>,
    after: Position,
    /// Considered since the last checkpoint.
    considered: u64,
    stage: AllStage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AllStage {
    Begins,
    CatchesUp,
    Live,
}

impl FollowAll {
    pub(crate) fn begin(mut follower: Follower, filter: Option<Filter>, place: Place) -> Self {
        let after = match place {
            Place::Start => Position::ZERO,
            Place::At(position) => Position(position),
            Place::End => follower.head(),
        };
        Self {
            follower,
            filter,
            after,
            considered: 0,
            stage: AllStage::Begins,
        }
    }

    /// What an auditor is recorded to have read.
    pub(crate) fn selection(&self) -> Selection {
        Selection {
            after: (self.after != Position::ZERO).then_some(self.after),
            ..Selection::default()
        }
    }

    async fn events(&mut self) -> Result<Vec<ReadResp>, Status> {
        let page = self.follower.page(self.after).await?;
        let mut answers = Vec::with_capacity(page.len());
        for event in &page {
            self.after = event.position;
            let Some(filter) = &self.filter else {
                answers.push(answer(event, self.follower.ids));
                continue;
            };
            let checkpoint_every = filter.checkpoint_every;
            if filter.takes(event)? {
                answers.push(answer(event, self.follower.ids));
            }
            self.considered += 1;
            if self.considered >= checkpoint_every {
                answers.push(self.checkpoint());
            }
        }
        tokio::task::yield_now().await;
        Ok(answers)
    }

    fn checkpoint(&mut self) -> ReadResp {
        self.considered = 0;
        content(read_resp::Content::Checkpoint(read_resp::Checkpoint {
            commit_position: self.after.0,
            prepare_position: self.after.0,
            timestamp: Some(self.follower.timestamp()),
        }))
    }

    fn caught_up(&mut self) -> Vec<ReadResp> {
        let mut answers = Vec::new();
        if self.considered > 0 {
            answers.push(self.checkpoint());
        }
        let position = (self.after != Position::ZERO).then(|| position_of(self.after));
        answers.push(content(read_resp::Content::CaughtUp(read_resp::CaughtUp {
            timestamp: Some(self.follower.timestamp()),
            stream_revision: None,
            position,
        })));
        answers
    }
}

#[async_trait]
impl Pages for FollowAll {
    async fn next(&mut self) -> Result<Option<Vec<ReadResp>>, Status> {
        self.follower.check().await?;
        match self.stage {
            AllStage::Begins => {
                self.stage = AllStage::CatchesUp;
                return Ok(Some(confirmation()));
            }
            AllStage::CatchesUp if self.follower.head() <= self.after => {
                self.stage = AllStage::Live;
                return Ok(Some(self.caught_up()));
            }
            AllStage::CatchesUp => {}
            AllStage::Live => self.follower.wait(self.after).await?,
        }
        self.events().await.map(Some)
    }
}
