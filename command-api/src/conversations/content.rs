//! What a request says, or says anew: a body, plain or in Markdown, or an envelope.

use domain::AttachmentId;
use domain::conversation::{Content, Encrypted, TextFormat};
use domain::values::MessageBody;
use infra::problem::Problem;

use super::broken;

/// Checks what a request says.
pub(crate) fn content(
    body: Option<&str>,
    format: Option<TextFormat>,
    encrypted: Option<&Encrypted>,
    attachments: &[AttachmentId],
) -> Result<Content, Problem> {
    // Files need no words.
    let body = match (body, encrypted) {
        (None | Some(""), None) if !attachments.is_empty() => {
            let format = format.unwrap_or_default();
            let body = MessageBody::empty();
            return Ok(Content::Text { body, format });
        }
        _ => body,
    };
    match (body, encrypted) {
        (Some(body), None) => {
            let format = format.unwrap_or_default();
            let body = match format {
                TextFormat::Plain => MessageBody::parse(body),
                TextFormat::Markdown => MessageBody::parse_markdown(body),
            };
            let body = body.map_err(|invalid| broken("/body", invalid))?;
            Ok(Content::Text { body, format })
        }
        (None, Some(encrypted)) => {
            if format.is_some() {
                let rule = "an envelope has no format";
                return Err(Problem::invalid_field(
                    "/format",
                    "not_with_encrypted",
                    rule,
                ));
            }
            let encrypted = encrypted.clone().checked();
            let encrypted = encrypted.map_err(|invalid| broken("/encrypted", invalid))?;
            Ok(Content::Encrypted(encrypted))
        }
        (None, None) => Err(Problem::invalid_field(
            "/body",
            "missing",
            "give either body or encrypted",
        )),
        (Some(_), Some(_)) => Err(Problem::invalid_field(
            "/encrypted",
            "one_of",
            "give either body or encrypted",
        )),
    }
}
