//! Attachments: uploading files, and what a message or an account may have of them. Bytes are kept in
//! `infra::blobs`; that a file is there is one event, once all of it is kept. Who gets them, and when they are
//! erased, follows from the log and is decided elsewhere.

mod finish;
mod tus;

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use axum::http::StatusCode;
use domain::attachment::{Attachment, Kept, Refused};
use domain::conversation::Conversation;
use domain::values::MediaType;
use domain::{AttachmentId, StreamName, UserId};
use infra::blobs::{Blobs, UploadId};
use infra::failure::Failure;
use infra::files::{AllowedTypes, Scanner};
use infra::problem::Problem;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::CommandApi;
use crate::execute::Executor;

/// Requests that bring parts of files at a time; one more is 503 `busy`. Each holds a part in memory.
const UPLOADING_MAX: usize = 64;

/// Pictures that are looked at at a time; further ones wait.
const PICTURES_AT_ONCE: usize = 2;

/// Uploads of one user that are begun and not complete.
const UNFINISHED_MAX: usize = 20;

/// How much somebody has uploaded, looked up before they upload more.
#[async_trait]
pub trait Usage: Send + Sync {
    /// The bytes of the attachments of `user` that are kept. May be a little behind.
    async fn bytes_of(&self, user: UserId) -> Result<u64, Failure>;
}

/// What may be uploaded, and where it goes.
#[derive(Clone)]
pub struct AttachmentRules {
    /// Where bytes are kept; nowhere where this process has no place for them.
    pub blobs: Option<Blobs>,
    /// The largest file, in bytes.
    pub bytes_max: u64,
    /// How much the files of one user may have together, in bytes.
    pub quota_bytes: u64,
    /// What they may be.
    pub types: AllowedTypes,
    /// What looks for bad things in them.
    pub scanner: Option<Scanner>,
    /// How much there is.
    pub usage: Arc<dyn Usage>,
}

/// What the routes of attachments share.
pub(crate) struct Attachments {
    pub(crate) rules: AttachmentRules,
    pub(crate) executor: Executor<Attachment>,
    /// Uploads that a request of this process goes on with.
    under_way: Arc<Mutex<HashSet<UploadId>>>,
    uploading: Arc<Semaphore>,
    pictures: Semaphore,
}

impl Attachments {
    pub(crate) fn new(rules: AttachmentRules, executor: Executor<Attachment>) -> Self {
        Self {
            rules,
            executor,
            under_way: Arc::default(),
            uploading: Arc::new(Semaphore::new(UPLOADING_MAX)),
            pictures: Semaphore::new(PICTURES_AT_ONCE),
        }
    }

    /// Where bytes are kept.
    fn blobs(&self) -> Result<&Blobs, Problem> {
        self.rules.blobs.as_ref().ok_or_else(|| {
            let hint = "this process has no place for them: set attachments_url";
            Failure::unavailable("keep attachments", hint).into()
        })
    }
}

pub(crate) fn routes() -> OpenApiRouter<CommandApi> {
    OpenApiRouter::new()
        .routes(routes!(tus::post, tus::options))
        .routes(routes!(tus::head, tus::patch, tus::delete))
}

fn not_found() -> Problem {
    Problem::refused(&Refused::NotFound)
}

/// 404 `attachment_not_found`, at the field that names it.
pub(crate) fn not_found_at(pointer: &str, rule: &str) -> Problem {
    not_found().with_field(pointer, "attachment_not_found", rule)
}

/// 422 `type_not_allowed`.
fn type_not_allowed(media_type: &MediaType) -> Problem {
    let (status, title) = (
        StatusCode::UNPROCESSABLE_ENTITY,
        "The file's type is not allowed",
    );
    let detail = format!("files of type {} are not taken here", media_type.as_str());
    Problem::new(status, "type_not_allowed", title).with_detail(detail)
}

impl CommandApi {
    /// What is known of `attachment`, if it is there and `owner`'s.
    pub(crate) async fn kept(
        &self,
        owner: UserId,
        attachment: AttachmentId,
    ) -> Result<Option<Kept>, Failure> {
        let stream = StreamName::attachment(attachment);
        let state = self.attachment_states().current(&stream).await?;
        Ok(state.kept().filter(|kept| kept.owner == owner).cloned())
    }

    /// Whether `attachment` is there, whosever it is.
    pub(crate) async fn is_kept(&self, attachment: AttachmentId) -> Result<bool, Failure> {
        let stream = StreamName::attachment(attachment);
        let state = self.attachment_states().current(&stream).await?;
        Ok(state.kept().is_some())
    }

    /// Whether `asker` may give a message these files: their own that are there, and `also` those.
    /// Refuses one that is named twice.
    pub(crate) async fn may_attach(
        &self,
        asker: UserId,
        attachments: &[AttachmentId],
        also: &[AttachmentId],
    ) -> Result<(), Problem> {
        if attachments.len() > Conversation::ATTACHMENTS_MAX {
            // Which the conversation refuses; nothing is looked up for it.
            return Ok(());
        }
        for (index, attachment) in attachments.iter().enumerate() {
            let pointer = format!("/attachments/{index}");
            if attachments[..index].contains(attachment) {
                let rule = "a message has each attachment once";
                return Err(Problem::invalid_field(&pointer, "repeated", rule));
            }
            if !also.contains(attachment) && self.kept(asker, *attachment).await?.is_none() {
                let rule = "an attachment of yours that is uploaded and not removed";
                return Err(not_found_at(&pointer, rule));
            }
        }
        Ok(())
    }
}
