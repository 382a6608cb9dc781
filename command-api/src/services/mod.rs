//! Services: programs that come in with a token of their own. Made, given another token and ended by
//! those who run the server, here, and by whoever holds the data folder, on the command line.

mod create;
mod issued;
mod revoke;
mod rotate;

use std::collections::BTreeSet;

use domain::service::Scope;
use domain::{Actor, CommandId};
use infra::auth::Caller;
use infra::clock::fresh_id;
use infra::problem::Problem;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::CommandApi;
use crate::asking::Asked;

pub use create::{CreateService, create};
pub use issued::IssuedToken;
pub use revoke::revoke;
pub use rotate::{RotateService, rotate};

pub(crate) fn routes() -> OpenApiRouter<CommandApi> {
    OpenApiRouter::new()
        .routes(routes!(create::post))
        .routes(routes!(revoke::delete))
        .routes(routes!(rotate::post))
}

/// Who asks something of services, and by which command.
#[derive(Clone, Copy, Debug)]
pub struct By {
    actor: Actor,
    command: CommandId,
    authority: Authority,
}

/// Which scopes somebody may give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Authority {
    /// All of them.
    All,
    /// All but reading everything: only who may make a user an auditor makes such a service.
    NotAuditor,
}

impl By {
    /// Whoever holds the data folder.
    pub fn operator() -> Self {
        Self {
            actor: Actor::Operator,
            command: CommandId(fresh_id()),
            authority: Authority::All,
        }
    }

    /// A caller who runs the server; 403 `forbidden` for others.
    fn caller(asked: &Asked) -> Result<Self, Problem> {
        Ok(Self {
            actor: Actor::User(asked.asking.user),
            command: asked.asking.command,
            authority: Authority::of(&asked.caller)?,
        })
    }

    /// 403 `forbidden` where they may not give `scopes`.
    fn check(&self, scopes: &BTreeSet<Scope>) -> Result<(), Problem> {
        match self.authority {
            Authority::All => Ok(()),
            Authority::NotAuditor if !scopes.contains(&Scope::Auditor) => Ok(()),
            Authority::NotAuditor => {
                let rule = "only the owner lets a service read everything";
                Err(Problem::forbidden(rule))
            }
        }
    }
}

impl Authority {
    fn of(caller: &Caller) -> Result<Self, Problem> {
        if caller.is_owner() {
            Ok(Self::All)
        } else if caller.is_admin() {
            Ok(Self::NotAuditor)
        } else {
            let rule = "only admins and owners make and end services";
            Err(Problem::forbidden(rule))
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use domain::user::SystemRole;
    use domain::{ServiceId, StreamName, UserId};
    use infra::auth::{Caller, NotLetIn};
    use serde_json::{Value, json};

    use crate::testing::{Asked, PASSWORD, World, problem};
    use crate::{RoleChange, change_role};

    const PATH: &str = "/v1/services";

    async fn world() -> World {
        let world = World::with(&["alice", "bob", "olga"]).await;
        for (name, role) in [("bob", SystemRole::Admin), ("olga", SystemRole::Owner)] {
            let granted = RoleChange::Grant(role);
            change_role(&world.api, world.id(name), granted)
                .await
                .unwrap();
        }
        world
    }

    fn create<'a>(world: &'a World, who: &str, body: Value) -> Asked<'a> {
        world.post(who, PATH).body(body)
    }

    async fn let_in(world: &World, answer: &Value) -> Result<Caller, NotLetIn> {
        let token = answer["token"].as_str().unwrap();
        world.api.guard().caller(token).await
    }

    async fn made(world: &World, who: &str, body: Value) -> Value {
        let (status, answer) = create(world, who, body).send().await;
        assert_eq!(status, 201, "{answer}");
        answer
    }

    fn analyst() -> Value {
        json!({"name": "Dashboard", "scopes": ["analyst"]})
    }

    #[tokio::test]
    async fn a_service_comes_in_with_the_token_that_is_shown_once() {
        let world = world().await;
        let key = || create(&world, "bob", analyst()).key("k");
        let (status, first) = key().send().await;
        assert_eq!(status, 201);
        assert!(first["token"].as_str().unwrap().starts_with("vs_"));
        assert_eq!(key().send().await.1, first, "a retry gets the same");
        let caller = let_in(&world, &first).await.unwrap();
        assert!(caller.is_analyst() && !caller.is_admin() && !caller.is_user());
        let service: ServiceId = serde_json::from_value(first["id"].clone()).unwrap();
        let events = world.events(&StreamName::service(service)).await;
        let token = first["token"].as_str().unwrap();
        for event in &events {
            let data = String::from_utf8_lossy(&event.data).into_owned();
            assert!(!data.contains(token), "{data}");
        }
        assert_eq!(events.len(), 2);
        let acts = world.with_token(token).patch("/v1/users/me");
        let acts = acts.body(json!({"display_name": "A"})).problem().await;
        assert_eq!(acts, problem(403, "service_not_allowed", ""));
    }

    #[tokio::test]
    async fn admins_make_services_but_only_the_owner_lets_one_read_everything() {
        let world = world().await;
        let auditor = || json!({"name": "Archive", "scopes": ["auditor"]});
        let forbidden = problem(403, "forbidden", "");
        assert_eq!(
            create(&world, "alice", analyst()).problem().await,
            forbidden
        );
        assert_eq!(create(&world, "bob", auditor()).problem().await, forbidden);
        let archive = made(&world, "olga", auditor()).await;
        assert!(let_in(&world, &archive).await.unwrap().is_auditor());
        let path = format!("{PATH}/{}", archive["id"].as_str().unwrap());
        let rotate = format!("{path}/rotate");
        let rotated = world.post("bob", &rotate).body(json!({})).problem().await;
        assert_eq!(rotated, forbidden, "a token is as good as making one");
        assert_eq!(world.delete("alice", &path).problem().await, forbidden);
        assert_eq!(world.delete("bob", &path).send().await.0, 200);
        assert!(let_in(&world, &archive).await.is_err(), "at once");
    }

    #[tokio::test]
    async fn another_token_takes_the_place_of_the_one_before() {
        let world = world().await;
        let first = made(&world, "bob", analyst()).await;
        let path = format!("{PATH}/{}/rotate", first["id"].as_str().unwrap());
        let rotate = |body: Value| world.post("bob", &path).body(body);
        let (status, second) = rotate(json!({})).key("k").send().await;
        assert_eq!(status, 200, "{second}");
        assert!(let_in(&world, &first).await.is_err(), "at once");
        let_in(&world, &second).await.unwrap();
        assert_eq!(rotate(json!({})).key("k").send().await.1, second);

        let soon = world.clock.now() + TimeDelta::minutes(5);
        let (_, third) = rotate(json!({"expires_at": soon})).send().await;
        assert_eq!(let_in(&world, &third).await.unwrap().expires_at, soon);
        world.later(TimeDelta::minutes(5));
        let_in(&world, &third).await.unwrap_err();
        let stays = rotate(json!({})).problem().await;
        assert_eq!(stays, problem(422, "invalid_body", "/expires_at"));
        let (_, fourth) = rotate(json!({"expires_at": null})).send().await;
        let_in(&world, &fourth).await.unwrap();
    }

    #[tokio::test]
    async fn a_bot_is_a_user_who_does_not_log_in() {
        let world = world().await;
        let body = json!({"name": "Reminders", "scopes": ["bot"], "handle": "reminder"});
        let (status, bot) = create(&world, "bob", body.clone()).key("k").send().await;
        assert_eq!(status, 201, "{bot}");
        let (_, again) = create(&world, "bob", body).key("k").send().await;
        assert_eq!(again, bot);
        let user: UserId = serde_json::from_value(bot["user"].clone()).unwrap();
        let types = world.types(&StreamName::user(user)).await;
        assert_eq!(types, ["user-registered", "service-attached"]);
        let caller = let_in(&world, &bot).await.unwrap();
        assert!(caller.is_user() && caller.user == user);

        let token = bot["token"].as_str().unwrap();
        let group = json!({"kind": "group", "title": "Tea"});
        let started = world.with_token(token).post("/v1/conversations");
        assert_eq!(started.body(group).send().await.0, 201);
        let login = json!({"login": "reminder", "password": PASSWORD});
        let login = world.anonymous("/v1/sessions").body(login).problem().await;
        assert_eq!(login, problem(401, "wrong_login", ""));

        let path = format!("{PATH}/{}", bot["id"].as_str().unwrap());
        assert_eq!(world.delete("bob", &path).send().await.0, 200);
        assert_eq!(world.delete("bob", &path).send().await.0, 200);
        let_in(&world, &bot).await.unwrap_err();
        let account = world.api.account(user).await.unwrap().unwrap();
        assert!(account.deactivated, "the account goes with the service");
    }

    #[tokio::test]
    async fn a_suspended_bot_is_out() {
        let world = world().await;
        let body = json!({"name": "Reminders", "scopes": ["bot"], "handle": "reminder"});
        let bot = made(&world, "bob", body).await;
        let path = format!("/v1/users/{}/suspend", bot["user"].as_str().unwrap());
        assert_eq!(world.post("bob", &path).body(json!({})).send().await.0, 200);
        let refused = let_in(&world, &bot).await.unwrap_err();
        assert!(matches!(refused, NotLetIn::Suspended { .. }), "{refused}");
    }

    #[tokio::test]
    async fn what_is_wrong_is_pointed_at() {
        let world = world().await;
        let past = world.clock.now();
        let invalid = |pointer| problem(422, "invalid_body", pointer);
        for (body, expected) in [
            (json!({"scopes": ["analyst"]}), invalid("/name")),
            (
                json!({"name": " ", "scopes": ["analyst"]}),
                invalid("/name"),
            ),
            (
                json!({"name": "A", "scopes": ["emperor"]}),
                invalid("/scopes/0"),
            ),
            (
                json!({"name": "A", "scopes": []}),
                problem(422, "no_scope", ""),
            ),
            (json!({"name": "A", "scopes": ["bot"]}), invalid("/handle")),
            (
                json!({"name": "A", "scopes": ["analyst"], "handle": "a-bot"}),
                invalid("/handle"),
            ),
            (
                json!({"name": "A", "scopes": ["bot", "analyst"], "handle": "a-bot"}),
                problem(422, "bot_alone", ""),
            ),
            (
                json!({"name": "A", "scopes": ["bot"], "handle": "alice"}),
                problem(409, "handle_taken", "/handle"),
            ),
            (
                json!({"name": "A", "scopes": ["analyst"], "expires_at": past}),
                invalid("/expires_at"),
            ),
        ] {
            let refused = create(&world, "bob", body.clone()).problem().await;
            assert_eq!(refused, expected, "{body}");
        }
        for path in [
            format!("{PATH}/{}", infra::clock::fresh_id()),
            format!("{PATH}/x"),
        ] {
            assert_eq!(world.delete("bob", &path).send().await.0, 404);
        }
    }
}
