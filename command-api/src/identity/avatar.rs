//! Having a picture, or none. It is a picture that one has uploaded; others see it small.

use axum::extract::State;
use axum::http::StatusCode;
use domain::user::Command;
use domain::{AttachmentId, StreamName};
use infra::commands::Accepted;
use infra::http::Body;
use infra::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::CommandApi;
use crate::answer::{Answer, Answered};
use crate::asking::{Asked, Asking};
use crate::attachments::not_found_at;
use crate::problems::CommandProblems;

/// Which picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetAvatar {
    /// A picture that one has uploaded.
    attachment: AttachmentId,
}

async fn set(
    api: &CommandApi,
    asking: Asking,
    avatar: Option<AttachmentId>,
) -> Result<Answer, Problem> {
    let user = asking.user;
    let envelope = asking.envelope(&("set_avatar", avatar))?;
    let stream = StreamName::user(user);
    let command = Command::ChangeAvatar { avatar };
    let done = api.users().execute(&stream, envelope, command).await?;
    Ok(Answer::new(user.0, done))
}

/// Have a picture
///
/// One that was uploaded as an attachment, and of which there is a thumbnail. Whoever sees the profile sees the
/// thumbnail. The picture before is erased, unless a message has it.
#[utoipa::path(
    put,
    path = "/v1/users/me/avatar",
    tag = "users",
    request_body = SetAvatar,
    params(("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes")),
    responses(
        (status = 200, body = Accepted, description = "It is the picture, or was already"),
        CommandProblems,
        (status = 404, body = Problem, content_type = "application/problem+json",
         description = "`attachment_not_found`: there is none, or it is not the asker's"),
        (status = 422, body = Problem, content_type = "application/problem+json",
         description = "`no_picture`: it is a file without a thumbnail; `invalid_body`, `idempotency_key_reused`"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn put(
    State(api): State<CommandApi>,
    asked: Asked,
    Body(request): Body<SetAvatar>,
) -> Result<Answered, Problem> {
    let SetAvatar { attachment } = request;
    let not_found = || {
        let rule = "an attachment of yours that is uploaded and not removed";
        not_found_at("/attachment", rule)
    };
    let kept = api.kept(asked.asking.user, attachment).await?;
    if !kept.ok_or_else(not_found)?.has_thumbnail {
        let (status, title) = (StatusCode::UNPROCESSABLE_ENTITY, "The file is no picture");
        let rule = "a picture of which there is a thumbnail";
        let problem = Problem::new(status, "no_picture", title);
        return Err(problem.with_field("/attachment", "no_picture", rule));
    }
    Ok(set(&api, asked.asking, Some(attachment)).await?.ok())
}

/// Have no picture
#[utoipa::path(
    delete,
    path = "/v1/users/me/avatar",
    tag = "users",
    params(("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes")),
    responses(
        (status = 200, body = Accepted, description = "There is none, or was none"),
        CommandProblems,
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn delete(
    State(api): State<CommandApi>,
    asked: Asked,
) -> Result<Answered, Problem> {
    Ok(set(&api, asked.asking, None).await?.ok())
}

#[cfg(test)]
mod tests {
    use crate::testing::uploads::picture;
    use crate::testing::{World, problem};
    use serde_json::json;

    #[tokio::test]
    async fn somebody_has_a_picture_that_they_uploaded() {
        let world = World::with(&["alice", "bob"]).await;
        let cat = world.upload("alice", "image/png", &picture(40, 20)).await;
        let set = |who: &str, attachment: &str| {
            let request = world.put(who, "/v1/users/me/avatar");
            request.body(json!({ "attachment": attachment }))
        };
        let (status, first) = set("alice", &cat).send().await;
        assert_eq!(status, 200);
        assert_eq!(set("alice", &cat).send().await, (200, first));
        let avatar = world.account("alice").await.avatar;
        assert_eq!(avatar.map(|it| it.to_string()), Some(cat.clone()));
        let refused = set("bob", &cat).problem().await;
        let not_found = problem(404, "attachment_not_found", "/attachment");
        assert_eq!(refused, not_found);
        let text = world.upload("alice", "text/plain", b"tea").await;
        let refused = set("alice", &text).problem().await;
        assert_eq!(refused, problem(422, "no_picture", "/attachment"));
        let gone = world.delete("alice", "/v1/users/me/avatar").send().await;
        assert_eq!(gone.0, 200);
        assert_eq!(world.account("alice").await.avatar, None);
    }
}
