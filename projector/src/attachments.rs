//! The fold behind `infra::read_models::attachments`.

use std::collections::BTreeMap;

use async_trait::async_trait;
use domain::attachment::{AttachmentEvent, Uploaded};
use domain::{AttachmentId, Event};
use infra::database::{DatabaseError, Transaction};
use infra::read_models::Model;
use infra::read_models::attachments::{self, Attachment};

use crate::Projection;
use crate::fact::{Fact, Parking, Unfit, ids};

/// Folds attachments.
pub(crate) struct Attachments;

#[async_trait]
impl Projection for Attachments {
    fn model(&self) -> &'static Model {
        &attachments::MODEL
    }

    async fn apply(
        &self,
        transaction: &mut Transaction,
        generation: u64,
        facts: &[Fact],
        parking: &mut Parking,
    ) -> Result<(), DatabaseError> {
        let ids = ids::<AttachmentId>(facts);
        let rows = attachments::load(transaction, generation, ids).await?;
        let mut rows: BTreeMap<AttachmentId, Attachment> =
            rows.into_iter().map(|row| (row.id, row)).collect();
        parking.fold(facts, |fact| fold(&mut rows, fact));
        let rows: Vec<Attachment> = rows.into_values().collect();
        attachments::store(transaction, generation, &rows).await
    }
}

fn fold(rows: &mut BTreeMap<AttachmentId, Attachment>, fact: &Fact) -> Result<(), Unfit> {
    let id: AttachmentId = fact.id("an attachment")?;
    let Event::Attachment(event) = &fact.event else {
        return Err(Unfit::new("the event is of another category"));
    };
    if let AttachmentEvent::Uploaded(uploaded) = event {
        rows.entry(id).or_insert_with(|| row(id, uploaded, fact));
    }
    let row = rows
        .get_mut(&id)
        .ok_or_else(|| Unfit::new("the attachment was not uploaded"))?;
    match event {
        AttachmentEvent::Uploaded(_) => {}
        AttachmentEvent::Removed(removed) => {
            if row.removed_at.is_none() {
                row.removed_at = Some(fact.at);
                row.removed_because = Some(removed.why.as_str().to_owned());
                row.name = None;
            }
        }
        AttachmentEvent::Erased(_) => {
            row.erased_at.get_or_insert(fact.at);
        }
    }
    Ok(())
}

fn row(id: AttachmentId, uploaded: &Uploaded, fact: &Fact) -> Attachment {
    let text = |text: &str| text.to_owned();
    let thumbnail = uploaded.thumbnail.as_ref();
    let small = thumbnail.map(|it| it.dimensions);
    Attachment {
        id,
        owner: uploaded.owner,
        name: uploaded.name.as_ref().map(|it| text(it.value.as_str())),
        media_type: text(uploaded.media_type.as_str()),
        size: uploaded.size,
        sha256: uploaded.sha256.clone(),
        width: uploaded.dimensions.map(|it| it.width.into()),
        height: uploaded.dimensions.map(|it| it.height.into()),
        thumbnail_media_type: thumbnail.map(|it| text(it.media_type.as_str())),
        thumbnail_size: thumbnail.map(|it| it.size),
        thumbnail_width: small.map(|it| it.width.into()),
        thumbnail_height: small.map(|it| it.height.into()),
        uploaded_at: fact.at,
        uploaded_position: fact.position,
        removed_at: None,
        removed_because: None,
        erased_at: None,
    }
}
