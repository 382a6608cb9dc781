//! Commands on spaces: one file per concern, each with its requests, its functions for both doors and
//! its routes; and what keeps channels in step.

pub(crate) mod bans;
pub(crate) mod categories;
pub(crate) mod channels;
pub(crate) mod create;
mod following;
pub(crate) mod invites;
pub(crate) mod members;
pub(crate) mod overrides;
mod permissions;
pub(crate) mod roles;
mod step;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use domain::space::{Act, Command};
use domain::values::Title;
use domain::{SpaceId, StreamName};
use infra::problem::Problem;
use serde::Serialize;
use utoipa::IntoResponses;
use utoipa::openapi::RefOr;
use utoipa::openapi::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

pub use following::Following;

use crate::CommandApi;
use crate::answer::Answer;
use crate::asking::Asking;
use crate::conversations::broken;
use crate::problems::{CommandProblems, response};
use step::{Change, Made};

pub(crate) fn routes() -> OpenApiRouter<CommandApi> {
    OpenApiRouter::new()
        .routes(routes!(create::post))
        .routes(routes!(create::patch))
        .routes(routes!(create::put_archived, create::delete_archived))
        .routes(routes!(create::put_owner))
        .routes(routes!(channels::post))
        .routes(routes!(channels::patch, channels::delete))
        .routes(routes!(overrides::put_of_role))
        .routes(routes!(overrides::put_of_member))
        .routes(routes!(categories::post))
        .routes(routes!(categories::patch, categories::delete))
        .routes(routes!(roles::post))
        .routes(routes!(roles::patch, roles::delete))
        .routes(routes!(roles::put_given, roles::delete_given))
        .routes(routes!(members::post_join))
        .routes(routes!(members::delete))
        .routes(routes!(bans::put, bans::delete))
        .routes(routes!(invites::post))
        .routes(routes!(invites::delete))
        .routes(routes!(invites::post_use))
}

/// What a command asks of a space, besides the act itself.
struct Asked<'a, F> {
    /// The space, channel, role or whatever the answer names.
    thing: Uuid,
    /// The command's name.
    name: &'a str,
    /// All that was asked, for the command's hash.
    fields: &'a F,
}

impl CommandApi {
    /// Asks `act` of `space`, and has its channels follow before it answers.
    async fn rule(
        &self,
        asking: Asking,
        space: SpaceId,
        act: Act,
        asked: Asked<'_, impl Serialize + Sync>,
    ) -> Result<Answer, Problem> {
        let Asked {
            thing,
            name,
            fields,
        } = asked;
        let envelope = asking.envelope(&(name, space, fields))?;
        let by = asking.user;
        let inherited = self.inherited_role(by).await?;
        let made = if matches!(act, Act::RemoveChannel { .. }) {
            Made::Removal
        } else {
            Made::Other
        };
        let command = Command { by, act, inherited };
        let stream = StreamName::space(space);
        let done = self.spaces().execute(&stream, envelope, command).await?;
        let change = Change {
            space,
            since: done.seq,
            cause: (asking.command, asking.command),
        };
        let followed = self.in_step_for_answer(change, made).await;
        Ok(Answer::new(thing, done).at_least(followed))
    }
}

/// What every command on a space may answer.
struct SpaceProblems;

const PROBLEMS: [(&str, &str); 4] = [
    (
        "403",
        "`permission_missing`, `permission_not_held`, `rank_too_low`, `not_the_owner`, `banned`; and what \
         every command may answer",
    ),
    (
        "404",
        "`space_not_found`, also for those who are not in it; `channel_not_found`, also for those who do \
         not see it; `category_not_found`, `role_not_found`, `invite_not_found`, `no_such_member`",
    ),
    (
        "409",
        "`space_archived`, `already_made`, `changed_meanwhile`, `role_of_everyone`, `owner_must_stay`, `too_many_members`, \
         `too_many_channels`, `too_many_categories`, `too_many_roles`, `too_many_overrides`, \
         `too_many_invites`, `too_many_bans`, `conflict`",
    ),
    (
        "422",
        "`rank_invalid`, `not_of_channels`, `allowed_and_denied`, `invalid_body` (banning a \
         user who does not exist: `user_not_found`), \
         `idempotency_key_reused`",
    ),
];

impl IntoResponses for SpaceProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut responses = CommandProblems::responses();
        let ours = PROBLEMS.map(|(status, codes)| (status.to_owned(), response(codes)));
        responses.extend(ours);
        responses
    }
}

/// What a space, a channel, a category or a role is called.
fn title_of(text: &str) -> Result<Title, Problem> {
    Title::parse(text).map_err(|invalid| broken("/name", invalid))
}

/// The same, where it may be left out.
fn title_if_any(text: Option<&str>) -> Result<Option<Title>, Problem> {
    text.map(title_of).transpose()
}
