//! The calls: who may, what exactly is asked, and who does it.

use std::sync::Arc;

use infra::clock::Clock;
use infra::event_store::{Direction, EventStore};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::access::{Deletes, Doorkeeper, Visitor};
use crate::append::Appender;
use crate::batch::Batches;
use crate::delete::{Deletion, delete};
use crate::events::{IdForm, read_name};
use crate::expected::Expectation;
use crate::filter::Filter;
use crate::follow::{FollowAll, FollowStream, Follower};
use crate::limits::CALLS_MAX;
use crate::pages::{Answers, answers};
use crate::proto::shared::StreamIdentifier;
use crate::proto::streams::read_req::all_options::AllOption;
use crate::proto::streams::read_req::options::{CountOption, FilterOption, StreamOption};
use crate::proto::streams::read_req::stream_options::RevisionOption;
use crate::proto::streams::read_req::{AllOptions, Options, ReadDirection, StreamOptions};
use crate::proto::streams::streams_server::Streams;
use crate::proto::streams::{
    AppendReq, AppendResp, BatchAppendReq, BatchAppendResp, DeleteReq, DeleteResp, Position,
    ReadReq, ReadResp, TombstoneReq, TombstoneResp, delete_resp, tombstone_resp,
};
use crate::read::{AllPages, Place, StreamRead, TellsEnd};
use crate::record::record;
use crate::statuses::{invalid, stopping};

/// The service.
pub(crate) struct StreamsService {
    pub(crate) store: Arc<dyn EventStore>,
    pub(crate) doorkeeper: Arc<Doorkeeper>,
    pub(crate) appender: Arc<Appender>,
    pub(crate) deletes: Deletes,
    pub(crate) clock: Clock,
    pub(crate) stop: CancellationToken,
    calls: Arc<Semaphore>,
}

impl StreamsService {
    pub(crate) fn new(
        store: Arc<dyn EventStore>,
        doorkeeper: Doorkeeper,
        deletes: Deletes,
        clock: Clock,
        stop: CancellationToken,
    ) -> Self {
        Self {
            appender: Arc::new(Appender::new(Arc::clone(&store), deletes)),
            store,
            doorkeeper: Arc::new(doorkeeper),
            deletes,
            clock,
            stop,
            calls: Arc::new(Semaphore::new(CALLS_MAX)),
        }
    }

    /// Lets one more call in.
    fn enter(&self, method: &'static str) -> Result<OwnedSemaphorePermit, Status> {
        if self.stop.is_cancelled() {
            return Err(stopping());
        }
        metrics::counter!("verbatim_door_calls_total", "method" => method).increment(1);
        Arc::clone(&self.calls)
            .try_acquire_owned()
            .map_err(|_| Status::resource_exhausted("too many calls at once"))
    }

    fn follower(&self, visitor: Visitor, ids: IdForm) -> Follower {
        Follower::new(
            Arc::clone(&self.store),
            Arc::clone(&self.doorkeeper),
            visitor,
            self.clock.clone(),
            self.stop.clone(),
            ids,
        )
    }

    async fn read_stream(
        &self,
        visitor: Visitor,
        asked: Asked,
        options: StreamOptions,
        call: OwnedSemaphorePermit,
    ) -> Result<Answers<ReadResp>, Status> {
        let stream = read_name(options.stream_identifier.as_ref())?;
        let place = match options.revision_option {
            Some(RevisionOption::Start(_)) => Place::Start,
            Some(RevisionOption::End(_)) => Place::End,
            Some(RevisionOption::Revision(revision)) => Place::At(revision),
            None => return Err(invalid("where to begin is missing")),
        };
        if asked.filter.is_some() {
            return Err(invalid("only the whole log is read with a filter"));
        }
        let Some(count) = asked.count else {
            let follower = self.follower(visitor.clone(), asked.ids);
            let follow = FollowStream::begin(follower, stream, place).await?;
            record(&*self.store, &visitor, follow.selection()).await?;
            return Ok(answers(follow, call));
        };
        let read = StreamRead {
            store: Arc::clone(&self.store),
            stream,
            place,
            direction: asked.direction,
            count,
            ids: asked.ids,
            tells_end: asked.tells_end,
        };
        record(&*self.store, &visitor, read.selection()).await?;
        Ok(answers(read.begin().await?, call))
    }

    async fn read_all(
        &self,
        visitor: Visitor,
        asked: Asked,
        options: AllOptions,
        call: OwnedSemaphorePermit,
    ) -> Result<Answers<ReadResp>, Status> {
        let place = match options.all_option {
            Some(AllOption::Start(_)) => Place::Start,
            Some(AllOption::End(_)) => Place::End,
            Some(AllOption::Position(position)) => Place::At(position.commit_position),
            None => return Err(invalid("where to begin is missing")),
        };
        let Some(count) = asked.count else {
            let follower = self.follower(visitor.clone(), asked.ids);
            let follow = FollowAll::begin(follower, asked.filter, place);
            record(&*self.store, &visitor, follow.selection()).await?;
            return Ok(answers(follow, call));
        };
        let store = Arc::clone(&self.store);
        let place = (place, asked.direction);
        let read = AllPages::new(store, place, count, asked.filter, asked.ids);
        record(&*self.store, &visitor, read.selection()).await?;
        Ok(answers(read, call))
    }

    async fn delete_stream(
        &self,
        deletion: Deletion,
        stream: Option<&StreamIdentifier>,
        expected: Option<Expectation>,
    ) -> Result<Position, Status> {
        let stream = read_name(stream)?;
        let expected = expected.ok_or_else(|| invalid("the expected revision is missing"))?;
        let _nobody_appends = self.appender.streams.write().await;
        let deleted = delete(&*self.store, self.deletes, deletion, &stream, expected).await?;
        Ok(Position {
            commit_position: deleted.0,
            prepare_position: deleted.0,
        })
    }
}

/// What every reading says.
struct Asked {
    direction: Direction,
    /// `None` follows.
    count: Option<u64>,
    filter: Option<Filter>,
    ids: IdForm,
    tells_end: TellsEnd,
}

impl Asked {
    fn parse(options: &mut Options) -> Result<Self, Status> {
        let direction = match options.read_direction() {
            ReadDirection::Forwards => Direction::Forward,
            ReadDirection::Backwards => Direction::Backward,
        };
        let count = match options.count_option {
            Some(CountOption::Count(0)) => return Err(invalid("a count is at least 1")),
            Some(CountOption::Count(count)) => Some(count),
            Some(CountOption::Subscription(_)) if direction == Direction::Backward => {
                return Err(invalid("a subscription goes forward"));
            }
            Some(CountOption::Subscription(_)) => None,
            None => return Err(invalid("how many to read is missing")),
        };
        let filter = match options.filter_option.take() {
            Some(FilterOption::Filter(filter)) => Some(Filter::parse(filter)?),
            Some(FilterOption::NoFilter(_)) | None => None,
        };
        let compatibility = options
            .control_option
            .map_or(0, |control| control.compatibility);
        Ok(Self {
            direction,
            count,
            filter,
            ids: IdForm::from(options.uuid_option),
            tells_end: if compatibility > 0 {
                TellsEnd::Yes
            } else {
                TellsEnd::No
            },
        })
    }
}

#[tonic::async_trait]
impl Streams for StreamsService {
    type ReadStream = Answers<ReadResp>;
    type BatchAppendStream = Answers<BatchAppendResp>;

    async fn read(&self, request: Request<ReadReq>) -> Result<Response<Self::ReadStream>, Status> {
        let call = self.enter("read")?;
        let visitor = self.doorkeeper.reader(request.metadata()).await?;
        let options = request.into_inner().options;
        let mut options = options.ok_or_else(|| invalid("options are missing"))?;
        let asked = Asked::parse(&mut options)?;
        let answers = match options.stream_option {
            Some(StreamOption::Stream(stream)) => {
                self.read_stream(visitor, asked, stream, call).await?
            }
            Some(StreamOption::All(all)) => self.read_all(visitor, asked, all, call).await?,
            None => return Err(invalid("what to read is missing")),
        };
        Ok(Response::new(answers))
    }

    async fn append(
        &self,
        request: Request<Streaming<AppendReq>>,
    ) -> Result<Response<AppendResp>, Status> {
        let _call = self.enter("append")?;
        self.doorkeeper.writer(request.metadata()).await?;
        let answer = self.appender.serve(request.into_inner()).await?;
        Ok(Response::new(answer))
    }

    async fn batch_append(
        &self,
        request: Request<Streaming<BatchAppendReq>>,
    ) -> Result<Response<Self::BatchAppendStream>, Status> {
        let call = self.enter("batchappend")?;
        self.doorkeeper.writer(request.metadata()).await?;
        let (appender, stop) = (Arc::clone(&self.appender), self.stop.clone());
        let batches = Batches::new(appender, request.into_inner(), stop);
        Ok(Response::new(batches.answers(call)))
    }

    async fn delete(&self, request: Request<DeleteReq>) -> Result<Response<DeleteResp>, Status> {
        let _call = self.enter("delete")?;
        self.doorkeeper.writer(request.metadata()).await?;
        let options = request.into_inner().options;
        let options = options.ok_or_else(|| invalid("options are missing"))?;
        let expected = options.expected_stream_revision.map(Expectation::from);
        let stream = options.stream_identifier.as_ref();
        let position = self.delete_stream(Deletion::Soft, stream, expected).await?;
        Ok(Response::new(DeleteResp {
            position_option: Some(delete_resp::PositionOption::Position(position)),
        }))
    }

    async fn tombstone(
        &self,
        request: Request<TombstoneReq>,
    ) -> Result<Response<TombstoneResp>, Status> {
        let _call = self.enter("tombstone")?;
        self.doorkeeper.writer(request.metadata()).await?;
        let options = request.into_inner().options;
        let options = options.ok_or_else(|| invalid("options are missing"))?;
        let expected = options.expected_stream_revision.map(Expectation::from);
        let stream = options.stream_identifier.as_ref();
        let position = self
            .delete_stream(Deletion::Tombstone, stream, expected)
            .await?;
        Ok(Response::new(TombstoneResp {
            position_option: Some(tombstone_resp::PositionOption::Position(position)),
        }))
    }
}
