//! Reading what is there: a stream or the whole log, forward or backward, up to a count.

use std::sync::Arc;

use async_trait::async_trait;
use domain::audit::Selection;
use domain::{Position, StreamName, Version};
use infra::event_store::{Direction, EventStore, RecordedEvent, read_all_backward};
use tonic::Status;

use crate::events::{IdForm, answer, content, identifier};
use crate::filter::Filter;
use crate::limits::{PAGE, next_page};
use crate::pages::Pages;
use crate::proto::streams::{ReadResp, read_resp};
use crate::statuses::{failure, stream_deleted};
use crate::streams::Shape;

/// Where a reading or a subscription begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Start,
    End,
    /// A revision or a position.
    At(u64),
}

/// A reading of one stream.
pub(crate) struct StreamRead {
    pub(crate) store: Arc<dyn EventStore>,
    pub(crate) stream: StreamName,
    pub(crate) place: Place,
    pub(crate) direction: Direction,
    pub(crate) count: u64,
    pub(crate) ids: IdForm,
    pub(crate) tells_end: TellsEnd,
}

/// Whether the client understands being told where the stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TellsEnd {
    Yes,
    No,
}

impl StreamRead {
    /// What an auditor is recorded to have read.
    pub(crate) fn selection(&self) -> Selection {
        Selection {
            stream: Some(self.stream.clone()),
            ..Selection::default()
        }
    }

    /// Begins. A stream that was deleted for ever is an error, one that does not exist is not.
    pub(crate) async fn begin(self) -> Result<StreamPages, Status> {
        let shape = Shape::of(&*self.store, &self.stream).await;
        let shape = shape.map_err(|error| failure(&error))?;
        if shape.is_tombstoned {
            return Err(stream_deleted(&self.stream));
        }
        let version_of = |revision: u64| Version(revision.saturating_add(1));
        let next = match (self.direction, self.place) {
            (Direction::Forward, Place::Start) => shape.visible_from,
            (Direction::Forward, Place::At(revision)) => {
                version_of(revision).max(shape.visible_from)
            }
            (Direction::Forward, Place::End) => shape.version.next(),
            (Direction::Backward, Place::Start) => Version(1),
            (Direction::Backward, Place::At(revision)) => version_of(revision).min(shape.version),
            (Direction::Backward, Place::End) => shape.version,
        };
        Ok(StreamPages {
            stage: if shape.exists() {
                Stage::Events(next)
            } else {
                Stage::NotFound
            },
            limit: PAGE,
            left: self.count,
            read: self,
            shape,
        })
    }
}

/// The pages of a [`StreamRead`].
pub(crate) struct StreamPages {
    read: StreamRead,
    shape: Shape,
    stage: Stage,
    limit: usize,
    left: u64,
}

enum Stage {
    NotFound,
    Events(Version),
    Done,
}

#[async_trait]
impl Pages for StreamPages {
    async fn next(&mut self) -> Result<Option<Vec<ReadResp>>, Status> {
        match self.stage {
            Stage::NotFound => {
                self.stage = Stage::Done;
                let not_found = read_resp::StreamNotFound {
                    stream_identifier: Some(identifier(&self.read.stream)),
                };
                let not_found = read_resp::Content::StreamNotFound(not_found);
                Ok(Some(vec![content(not_found)]))
            }
            Stage::Events(next) => self.events(next).await.map(Some),
            Stage::Done => Ok(None),
        }
    }
}

impl StreamPages {
    async fn events(&mut self, next: Version) -> Result<Vec<ReadResp>, Status> {
        let shown = self.shape.visible_from..=self.shape.version;
        let limit = usize::try_from(self.left).map_or(self.limit, |left| left.min(self.limit));
        let events = if shown.contains(&next) && limit > 0 {
            let read = &self.read;
            read.store
                .read_stream(&read.stream, next, read.direction, limit)
                .await
                .map_err(|error| failure(&error))?
        } else {
            Vec::new()
        };
        let page: Vec<_> = events
            .iter()
            .filter(|event| shown.contains(&event.version))
            .collect();
        let mut answers: Vec<_> = page
            .iter()
            .map(|event| answer(event, self.read.ids))
            .collect();
        self.limit = next_page(page.iter().map(|event| bytes_of(event)).sum());
        self.left = self.left.saturating_sub(page.len() as u64);
        let after = page.last().and_then(|last| match self.read.direction {
            Direction::Forward => Some(last.version.next()),
            Direction::Backward => last.version.0.checked_sub(1).map(Version),
        });
        self.stage = match after {
            Some(after) if self.left > 0 => Stage::Events(after),
            Some(_) => Stage::Done,
            None => {
                if self.read.tells_end == TellsEnd::Yes && self.read.direction == Direction::Forward
                {
                    let last = self.shape.version.0.saturating_sub(1);
                    answers.push(content(read_resp::Content::LastStreamPosition(last)));
                }
                Stage::Done
            }
        };
        Ok(answers)
    }
}

/// A reading of the whole log.
pub(crate) struct AllPages {
    store: Arc<dyn EventStore>,
    direction: Direction,
    filter: Option<Filter>,
    ids: IdForm,
    /// Forward: events after it. Backward: events before it.
    edge: Position,
    /// Where the log ended when the reading began.
    end: Position,
    left: u64,
    done: bool,
}

impl AllPages {
    pub(crate) fn new(
        store: Arc<dyn EventStore>,
        (place, direction): (Place, Direction),
        count: u64,
        filter: Option<Filter>,
        ids: IdForm,
    ) -> Self {
        let end = *store.head().borrow();
        let edge = match (direction, place) {
            (_, Place::Start) => Position::ZERO,
            // An event at the very place is included.
            (Direction::Forward, Place::At(position)) => Position(position.saturating_sub(1)),
            (Direction::Forward, Place::End) => end,
            // An event at the very place is not.
            (Direction::Backward, Place::At(position)) => Position(position),
            (Direction::Backward, Place::End) => Position(u64::MAX),
        };
        Self {
            store,
            direction,
            filter,
            ids,
            edge,
            end,
            left: count,
            done: false,
        }
    }

    /// What an auditor is recorded to have read.
    pub(crate) fn selection(&self) -> Selection {
        let from_start = self.edge == Position::ZERO || self.direction == Direction::Backward;
        Selection {
            after: (!from_start).then_some(self.edge),
            up_to: Some(self.end),
            ..Selection::default()
        }
    }

    async fn read(&self) -> Result<Vec<Arc<RecordedEvent>>, Status> {
        let wanted = usize::try_from(self.left).unwrap_or(PAGE);
        let limit = match self.filter {
            None => wanted.min(PAGE),
            Some(_) => PAGE,
        };
        let page = match self.direction {
            Direction::Forward if self.edge >= self.end => Ok(Vec::new()),
            Direction::Forward => self.store.read_all(self.edge, limit).await,
            Direction::Backward => read_all_backward(&*self.store, self.edge, limit).await,
        };
        page.map_err(|error| failure(&error))
    }
}

#[async_trait]
impl Pages for AllPages {
    async fn next(&mut self) -> Result<Option<Vec<ReadResp>>, Status> {
        if self.done || self.left == 0 {
            return Ok(None);
        }
        let page = self.read().await?;
        let mut answers = Vec::with_capacity(page.len());
        self.done = page.is_empty();
        for event in &page {
            if self.left == 0 || (self.direction == Direction::Forward && event.position > self.end)
            {
                self.done = true;
                break;
            }
            self.edge = event.position;
            let wanted = match &self.filter {
                None => true,
                Some(filter) => filter.takes(event)?,
            };
            if wanted {
                self.left -= 1;
                answers.push(answer(event, self.ids));
            }
        }
        // Where few are wanted a reading goes on for long without being asked for by the client.
        tokio::task::yield_now().await;
        Ok(Some(answers))
    }
}

/// Bytes of an event's data and metadata.
pub(crate) fn bytes_of(event: &RecordedEvent) -> usize {
    event.data.len() + event.metadata.len()
}
