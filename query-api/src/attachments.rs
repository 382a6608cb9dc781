//! `GET /v1/attachments/{attachment}`: what a file is, and the address under which its bytes are got for a
//! while. Also how files stand in messages, and pictures in profiles.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::{AttachmentId, ConversationId, Position, Seq};
use infra::blobs::{BlobLinks, Variant};
use infra::http::{Authenticated, InPath, Query};
use infra::problem::Problem;
use infra::read_models::attachments::{self as model, Attachment};
use infra::read_models::{Model, Snapshot, members, messages};
use serde::Serialize;
use utoipa::ToSchema;

use crate::QueryApi;
use crate::access::Sight;
use crate::answers::ReadProblems;
use crate::messages::OneParams;

const MODELS: [&Model; 3] = [&model::MODEL, &messages::MODEL, &members::MODEL];

/// Makes addresses of files as of one moment.
pub(crate) struct Signer {
    links: BlobLinks,
    pub(crate) now: DateTime<Utc>,
}

impl QueryApi {
    /// Makes addresses as of now.
    pub(crate) fn signer(&self) -> Signer {
        Signer {
            links: self.links.clone(),
            now: self.guard.now(),
        }
    }
}

/// A file.
#[derive(Clone, Serialize, ToSchema)]
pub(crate) struct AttachmentView {
    id: AttachmentId,
    /// What its owner calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// What it is.
    media_type: String,
    /// In bytes.
    size: u64,
    /// Of its bytes, in hex.
    sha256: String,
    /// Of a picture, as it is shown, in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    width: Option<u64>,
    /// Likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    height: Option<u64>,
    /// Where its bytes are got, without a token, by whoever has this.
    url: String,
    /// Until when. Then ask again.
    expires_at: DateTime<Utc>,
    /// A small picture of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    thumbnail: Option<ThumbnailView>,
}

/// A small picture.
#[derive(Clone, Serialize, ToSchema)]
pub(crate) struct ThumbnailView {
    media_type: String,
    /// In bytes.
    size: u64,
    /// In pixels, at most 640.
    width: u64,
    height: u64,
    /// Where it is got, as long as the file.
    url: String,
}

/// A file, and how far the answer is.
#[derive(Serialize, ToSchema)]
pub(crate) struct AttachmentAnswer {
    #[serde(flatten)]
    attachment: AttachmentView,
    /// Everything up to here is in the answer.
    position: Position,
}

/// Somebody's picture.
#[derive(Serialize, ToSchema)]
pub(crate) struct AvatarView {
    attachment: AttachmentId,
    /// Where it is got, small, without a token.
    url: String,
    /// Until when. Then ask again.
    expires_at: DateTime<Utc>,
}

impl Signer {
    fn view(&self, attachment: Attachment) -> AttachmentView {
        let id = attachment.id;
        let link = self.links.link(id, Variant::Original, self.now);
        let thumbnail = match (
            attachment.thumbnail_media_type,
            attachment.thumbnail_size,
            attachment.thumbnail_width,
            attachment.thumbnail_height,
        ) {
            (Some(media_type), Some(size), Some(width), Some(height)) => Some(ThumbnailView {
                media_type,
                size,
                width,
                height,
                url: self.links.link(id, Variant::Thumbnail, self.now).path,
            }),
            _ => None,
        };
        AttachmentView {
            id,
            name: attachment.name,
            media_type: attachment.media_type,
            size: attachment.size,
            sha256: attachment.sha256,
            width: attachment.width,
            height: attachment.height,
            url: link.path,
            expires_at: link.expires_at,
            thumbnail,
        }
    }

    pub(crate) fn avatar(&self, attachment: AttachmentId) -> AvatarView {
        let link = self.links.link(attachment, Variant::Thumbnail, self.now);
        AvatarView {
            attachment,
            url: link.path,
            expires_at: link.expires_at,
        }
    }
}

/// The files of `messages` that the asker sees, in their order. What was removed is left out.
pub(crate) async fn of_messages(
    snapshot: &mut Snapshot,
    conversation: ConversationId,
    seqs: &[Seq],
    sight: &Sight,
    signer: &Signer,
) -> Result<BTreeMap<Seq, Vec<AttachmentView>>, Problem> {
    let mut attached = messages::attached(snapshot, conversation, seqs).await?;
    attached.retain(|it| sight.sees(it.seq));
    if attached.is_empty() {
        return Ok(BTreeMap::new());
    }
    let kept = model::kept(snapshot, attached.iter().map(|it| it.attachment)).await?;
    let views = kept.into_iter().map(|it| (it.id, signer.view(it)));
    let views: BTreeMap<AttachmentId, AttachmentView> = views.collect();
    let mut by_message: BTreeMap<Seq, Vec<AttachmentView>> = BTreeMap::new();
    for it in attached {
        if let Some(view) = views.get(&it.attachment) {
            by_message.entry(it.message).or_default().push(view.clone());
        }
    }
    Ok(by_message)
}

pub(crate) fn attachment_not_found() -> Problem {
    let detail = "there is no such attachment, or you see no message that has it";
    Problem::not_found("attachment_not_found", detail)
}

/// A file
///
/// For its owner, and for those who see a message that has it.
#[utoipa::path(
    get,
    path = "/v1/attachments/{attachment}",
    tag = "attachments",
    params(("attachment" = AttachmentId, Path, description = "Which"), OneParams),
    responses(
        (status = 200, description = "The file, and where its bytes are got", body = AttachmentAnswer),
        (status = 404, description = "`attachment_not_found`", body = Problem, content_type = "application/problem+json"),
        ReadProblems,
    ),
    security(("bearer" = []))
)]
pub(crate) async fn one(
    State(api): State<QueryApi>,
    Authenticated(caller): Authenticated,
    InPath(id): InPath<AttachmentId>,
    Query(params): Query<OneParams>,
) -> Result<Json<AttachmentAnswer>, Problem> {
    let mut snapshot = api.snapshot(&MODELS, params.min_position).await?;
    let kept = model::kept(&mut snapshot, [id]).await?;
    let attachment = kept.into_iter().next().ok_or_else(attachment_not_found)?;
    let is_theirs = attachment.owner == caller.user;
    if !is_theirs && !messages::is_seen(&mut snapshot, id, caller.user).await? {
        return Err(attachment_not_found());
    }
    Ok(Json(AttachmentAnswer {
        attachment: api.signer().view(attachment),
        position: snapshot.position(),
    }))
}
