//! Who owns the server. While nobody does, the server shows a code to whoever started it, and the
//! first user who sends the code becomes the owner. That somebody did stands in the log, in a
//! stream of its own that can be claimed once.

use std::fmt;

use axum::extract::State;
use axum::http::StatusCode;
use domain::reservation::{self, Refused};
use domain::user::{Refused as AccountRefused, SystemRole, UserEvent};
use domain::{Actor, CommandId, Event, StreamName, UserId, Version};
use infra::commands::Accepted;
use infra::event_store::{Direction, EventStore, version_of};
use infra::failure::Failure;
use infra::http::Body;
use infra::problem::Problem;
use serde::Deserialize;
use subtle::ConstantTimeEq as _;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::CommandApi;
use crate::answer::{Answer, Answered};
use crate::asking::{Asked, Asking};
use crate::execute::{Done, ExecuteError};
use crate::identity::reservation_envelope;
use crate::identity::system_roles::{RoleChange, carry_out, count_in};
use crate::problems::CommandProblems;

/// Events of an account read at once.
const PAGE: usize = 1_000;

/// The code that makes its first user the owner. Whoever makes it makes it hard to guess.
#[derive(Clone)]
pub struct OwnerCode(String);

impl OwnerCode {
    /// The code `code`.
    pub const fn new(code: String) -> Self {
        Self(code)
    }

    /// Compares in a time that says nothing about the code but its length.
    fn is(&self, code: &str) -> bool {
        self.0.as_bytes().ct_eq(code.as_bytes()).into()
    }
}

impl fmt::Debug for OwnerCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("OwnerCode(…)")
    }
}

/// Whether somebody has claimed the server. A code is worth showing only where nobody has; it is
/// still worth giving to [`crate::Parts`], because whoever claimed may have been cut short.
pub async fn is_claimed(store: &dyn EventStore) -> Result<bool, Failure> {
    Ok(version_of(store, &StreamName::owner()).await? > Version::ZERO)
}

pub(crate) fn routes() -> OpenApiRouter<CommandApi> {
    OpenApiRouter::new().routes(routes!(post))
}

/// The code that the server showed.
#[derive(Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClaimOwnership {
    /// As it was shown.
    code: String,
}

/// Makes the asker the owner.
async fn claim(
    api: &CommandApi,
    asking: Asking,
    request: ClaimOwnership,
) -> Result<Answer, Problem> {
    let is_right = api.owner_code().is_some_and(|code| code.is(&request.code));
    if !is_right {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "wrong_code",
            "This is not the code",
        ));
    }
    let user = asking.user;
    // Who cannot have the role must not use the code up.
    if api
        .account(user)
        .await?
        .is_some_and(|it| it.service.is_some())
    {
        return Err(Problem::refused(&AccountRefused::IsService));
    }
    let envelope = reservation_envelope(Actor::User(user), asking.command)?;
    let command = reservation::Command::Claim { user };
    let claimed = api
        .reservations()
        .execute(&StreamName::owner(), envelope, command)
        .await
        .map_err(|error: ExecuteError<Refused>| error.into_problem(|_| already_owned()))?;
    if !claimed.changed {
        // A claim of one's own from before may have been cut short; but an owner who lost the role
        // does not get it back by an old code.
        match first_ownership(api, user).await? {
            None => {}
            Some((command, done)) if command == asking.command => {
                let envelope = asking.envelope(&"claim_ownership")?;
                count_in(api, &envelope, user).await?;
                return Ok(Answer::new(user.0, done));
            }
            Some(_) => return Err(already_owned()),
        }
    }
    let envelope = asking.envelope(&"claim_ownership")?;
    let granted = RoleChange::Grant(SystemRole::Owner);
    carry_out(api, envelope, user, granted).await
}

fn already_owned() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "already_owned",
        "This server has an owner",
    )
    .with_detail("owners make others owners: PUT /v1/users/{user}/system-roles/owner")
}

/// The command that first made `user` the owner, and its answer.
async fn first_ownership(
    api: &CommandApi,
    user: UserId,
) -> Result<Option<(CommandId, Done)>, Failure> {
    let failed = "read an account";
    let stream = StreamName::user(user);
    let mut from = Version(1);
    loop {
        let events = api
            .store()
            .read_stream(&stream, from, Direction::Forward, PAGE)
            .await?;
        for recorded in &events {
            let event = recorded.event().map_err(|e| Failure::internal(failed, e))?;
            if let Event::User(UserEvent::SystemRoleGranted(granted)) = event
                && granted.role == SystemRole::Owner
            {
                let metadata = recorded
                    .metadata()
                    .map_err(|e| Failure::internal(failed, e))?;
                let done = Done {
                    seq: recorded.version,
                    position: recorded.position,
                    changed: true,
                };
                return Ok(Some((metadata.command_id, done)));
            }
        }
        match events.last() {
            Some(last) if events.len() == PAGE => from = last.version.next(),
            Some(_) | None => return Ok(None),
        }
    }
}

/// Become the owner of a server that nobody owns
#[utoipa::path(
    post,
    path = "/v1/owner",
    tag = "users",
    request_body = ClaimOwnership,
    params(("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes")),
    responses(
        (status = 200, body = Accepted, description = "The caller is the owner"),
        CommandProblems,
        (status = 403, body = Problem, content_type = "application/problem+json",
         description = "`wrong_code`"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "`already_owned`, `conflict`"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn post(
    State(api): State<CommandApi>,
    asked: Asked,
    Body(request): Body<ClaimOwnership>,
) -> Result<Answered, Problem> {
    Ok(claim(&api, asked.asking, request).await?.ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::system_roles::change_role;
    use crate::testing::{OWNER_CODE, World, problem};
    use infra::clock::fresh_id;
    use serde_json::json;

    fn claim<'a>(world: &'a World, who: &str, code: &str) -> crate::testing::Asked<'a> {
        world.post(who, "/v1/owner").body(json!({ "code": code }))
    }

    #[tokio::test]
    async fn the_first_with_the_code_owns_the_server_and_nobody_after() {
        let world = World::with(&["alice", "bob"]).await;
        assert!(!is_claimed(&*world.store).await.unwrap());
        let wrong = claim(&world, "alice", "a guess").problem().await;
        assert_eq!(wrong, problem(403, "wrong_code", ""));
        assert!(!is_claimed(&*world.store).await.unwrap());
        let (status, first) = claim(&world, "alice", OWNER_CODE).key("k").send().await;
        assert_eq!(status, 200);
        assert!(is_claimed(&*world.store).await.unwrap());
        assert!(world.caller("alice").await.is_owner());
        let late = claim(&world, "bob", OWNER_CODE).problem().await;
        assert_eq!(late, problem(409, "already_owned", ""));
        let (status, again) = claim(&world, "alice", OWNER_CODE).key("k").send().await;
        assert_eq!((status, again), (200, first));
    }

    #[tokio::test]
    async fn a_claim_that_was_cut_short_is_finished_by_whoever_made_it() {
        let world = World::with(&["alice", "bob"]).await;
        let user = world.id("alice");
        let envelope = reservation_envelope(Actor::User(user), CommandId(fresh_id())).unwrap();
        let command = reservation::Command::Claim { user };
        let claimed = world.api.reservations();
        claimed
            .execute(&StreamName::owner(), envelope, command)
            .await
            .unwrap();
        let late = claim(&world, "bob", OWNER_CODE).problem().await;
        assert_eq!(late, problem(409, "already_owned", ""));
        assert_eq!(claim(&world, "alice", OWNER_CODE).send().await.0, 200);
        assert!(world.caller("alice").await.is_owner());
    }

    #[tokio::test]
    async fn roles_are_given_and_taken_by_the_owner_and_by_the_operator() {
        let world = World::with(&["alice", "bob"]).await;
        claim(&world, "alice", OWNER_CODE).key("k").send().await;
        let role = |of: &str, role: &str| format!("/v1/users/{}/system-roles/{role}", world.id(of));
        let auditor = role("bob", "auditor");
        let forbidden = world.put("bob", &auditor).problem().await;
        assert_eq!(forbidden, problem(403, "forbidden", ""));
        assert_eq!(world.put("alice", &auditor).send().await.0, 200);
        assert!(world.caller("bob").await.is_auditor(), "at once");
        assert_eq!(world.delete("alice", &auditor).send().await.0, 200);
        assert!(!world.caller("bob").await.is_auditor(), "at once");
        let unknown = world.put("alice", &role("bob", "emperor")).problem().await;
        assert_eq!(unknown, problem(404, "not_found", ""));
        let nobody = format!("/v1/users/{}/system-roles/admin", fresh_id());
        let nobody = world.put("alice", &nobody).problem().await;
        assert_eq!(nobody, problem(404, "user_not_found", ""));

        let (bob, alice) = (world.id("bob"), world.id("alice"));
        change_role(&world.api, bob, RoleChange::Grant(SystemRole::Owner))
            .await
            .unwrap();
        let events = world.events(&StreamName::user(bob)).await;
        let metadata = events.last().unwrap().metadata().unwrap();
        assert_eq!(metadata.actor, Actor::Operator);
        let taken = format!("/v1/users/{alice}/system-roles/owner");
        assert_eq!(world.delete("bob", &taken).send().await.0, 200);
        let last = format!("/v1/users/{bob}/system-roles/owner");
        let last = world.delete("bob", &last).problem().await;
        assert_eq!(last, problem(409, "last_owner", ""));
        assert!(world.caller("bob").await.is_owner());
        let back = claim(&world, "alice", OWNER_CODE).problem().await;
        assert_eq!(back, problem(409, "already_owned", ""));
        claim(&world, "alice", OWNER_CODE).key("k").send().await;
        assert!(
            !world.caller("alice").await.is_owner(),
            "a retry gives nothing back"
        );
        let last = change_role(&world.api, bob, RoleChange::Revoke(SystemRole::Owner)).await;
        assert_eq!(
            last.unwrap_err().code,
            "last_owner",
            "nor counts for an owner"
        );
    }
}
