//! Answers that are read page by page, when the client takes them: HTTP/2 says when, and a slow reader
//! holds one page.

use std::pin::Pin;

use async_trait::async_trait;
use futures::stream::{self, Stream, StreamExt as _, TryStreamExt as _};
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;

use crate::proto::streams::ReadResp;

/// Many answers to one call.
pub(crate) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What a reading has to say, in pages.
#[async_trait]
pub(crate) trait Pages: Send + 'static {
    /// The next page, which may be empty; `None` at the end.
    async fn next(&mut self) -> Result<Option<Vec<ReadResp>>, Status>;
}

/// The answers of `pages`; `call` counts the call for as long as they last.
pub(crate) fn answers(pages: impl Pages, call: OwnedSemaphorePermit) -> Answers<ReadResp> {
    stream::try_unfold((pages, call), |(mut pages, call)| async move {
        let page = pages.next().await?;
        let page = page.map(|page| stream::iter(page.into_iter().map(Ok)));
        Ok::<_, Status>(page.map(|page| (page, (pages, call))))
    })
    .try_flatten()
    .boxed()
}
