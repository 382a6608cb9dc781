//! Browsers that take pushes. Each belongs to the login that added it and ends with that.

use std::collections::BTreeSet;

use axum::extract::State;
use domain::notifications::{Command, PushSubscriptionAdded, RemovedBecause};
use domain::{Personal, PushSubscriptionId, SessionId, UserId};
use infra::auth::{Caller, CallerKind, LoginStanding};
use infra::commands::Accepted;
use infra::failure::Failure;
use infra::http::{Body, InPath, service_not_allowed};
use infra::problem::Problem;
use infra::push::{PushTarget, TargetInvalid};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ask;
use crate::CommandApi;
use crate::answer::{Answer, Answered};
use crate::asking::{Asked, Asking};
use crate::problems::CommandProblems;

/// The keys of a browser's subscription.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PushKeys {
    /// The browser's public key: a point of P-256 in base64url.
    p256dh: String,
    /// Its secret: 16 bytes in base64url.
    auth: String,
}

/// What `PushSubscription.toJSON()` gives in a browser.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AddPushSubscription {
    /// Where pushes go: an https address of a push service.
    endpoint: String,
    /// With which they are encrypted.
    keys: PushKeys,
    /// When it ends, as the browser says; it is not used.
    #[serde(default, rename = "expirationTime", skip_serializing)]
    #[schema(value_type = Option<f64>)]
    _expiration_time: Option<serde_json::Value>,
}

fn wrong(invalid: TargetInvalid) -> Problem {
    let (pointer, code) = match invalid {
        TargetInvalid::Endpoint => ("/endpoint", "invalid_endpoint"),
        TargetInvalid::PublicKey => ("/keys/p256dh", "invalid_key"),
        TargetInvalid::Auth => ("/keys/auth", "invalid_key"),
    };
    Problem::invalid_field(pointer, code, invalid)
}

/// The logins that have ended, of those that `user` has browsers of.
async fn ended(api: &CommandApi, user: UserId) -> Result<BTreeSet<SessionId>, Failure> {
    let state = api.notifications_of(user).await?;
    let sessions: BTreeSet<SessionId> = state.subscriptions.values().map(|it| it.session).collect();
    let mut ended = BTreeSet::new();
    for session in sessions {
        match api.guard().login_standing(user, session).await? {
            LoginStanding::Open | LoginStanding::Suspended => {}
            LoginStanding::Ended => {
                ended.insert(session);
            }
        }
    }
    Ok(ended)
}

async fn add(
    api: &CommandApi,
    caller: &Caller,
    asking: Asking,
    request: AddPushSubscription,
) -> Result<Answer, Problem> {
    match caller.kind {
        CallerKind::Person => {}
        CallerKind::Service { .. } => return Err(service_not_allowed()),
    }
    let telling = api.telling();
    let addresses = telling.rules.push_addresses;
    let (endpoint, keys) = (&request.endpoint, &request.keys);
    let target = PushTarget::parse(endpoint, &keys.p256dh, &keys.auth, addresses).map_err(wrong)?;
    let subscription = telling.targets.name(asking.user, &target);
    let added = PushSubscriptionAdded {
        subscription,
        target: Personal::new(asking.user, telling.targets.seal(&target)?),
        mark: telling.targets.mark(&target),
        session: caller.session,
        at: api.clock().now(),
    };
    let ended = ended(api, asking.user).await?;
    let command = Command::AddPushSubscription { added, ended };
    // The log must not help to guess where pushes go.
    let fields = (subscription, telling.targets.mark(&target));
    let answer = ask(api, asking, command, "add_push_subscription", &fields).await?;
    Ok(answer.named(subscription.0))
}

async fn remove(
    api: &CommandApi,
    asking: Asking,
    subscription: PushSubscriptionId,
) -> Result<Answer, Problem> {
    let command = Command::RemovePushSubscription {
        subscription,
        session: None,
        because: RemovedBecause::Asked,
    };
    let name = "remove_push_subscription";
    let answer = ask(api, asking, command, name, &subscription).await?;
    Ok(answer.named(subscription.0))
}

/// Have a browser take pushes
///
/// It belongs to the login that adds it, and ends with that. The same again changes nothing; with other
/// keys, or by another login, it is replaced. The public key that browsers subscribe with is at
/// `/v1/push/key`.
#[utoipa::path(
    post,
    path = "/v1/users/me/push-subscriptions",
    tag = "notifications",
    request_body = AddPushSubscription,
    params(("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes")),
    responses(
        (status = 201, body = Accepted, description = "It takes pushes; `id` names it"),
        (status = 200, body = Accepted, description = "It did already"),
        CommandProblems,
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "`too_many_push_subscriptions`: 20 browsers of logins that go on take pushes; `conflict`"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn post(
    State(api): State<CommandApi>,
    asked: Asked,
    Body(request): Body<AddPushSubscription>,
) -> Result<Answered, Problem> {
    let answer = add(&api, &asked.caller, asked.asking, request);
    Ok(answer.await?.created())
}

/// Have a browser take no more pushes
#[utoipa::path(
    delete,
    path = "/v1/users/me/push-subscriptions/{subscription}",
    tag = "notifications",
    params(
        ("subscription" = PushSubscriptionId, Path, description = "Which"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses(
        (status = 200, body = Accepted, description = "It takes none, or did not"),
        CommandProblems,
        (status = 404, body = Problem, content_type = "application/problem+json",
         description = "`not_found`: this is no id"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn delete(
    State(api): State<CommandApi>,
    asked: Asked,
    InPath(subscription): InPath<PushSubscriptionId>,
) -> Result<Answered, Problem> {
    Ok(remove(&api, asked.asking, subscription).await?.ok())
}

#[cfg(test)]
mod tests {
    use crate::testing::{World, problem};
    use domain::StreamName;
    use serde_json::{Value, json};

    /// Of RFC 8291, appendix A.
    const KEY: &str =
        "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
    const AUTH: &str = "BTBZMqHH6r4Tts7J_aSIgg";

    fn browser(endpoint: &str, key: &str, auth: &str) -> Value {
        json!({
            "endpoint": endpoint, "expirationTime": null, "keys": {"p256dh": key, "auth": auth},
        })
    }

    #[tokio::test]
    async fn a_browser_is_added_once_kept_sealed_and_removed() {
        let world = World::with(&["alice"]).await;
        let path = "/v1/users/me/push-subscriptions";
        let add = |body: Value| world.post("alice", path).body(body);
        let good = browser("https://push.example/secret", KEY, AUTH);
        let (status, added) = add(good.clone()).send().await;
        assert_eq!(status, 201, "{added}");
        let (status, again) = add(good).send().await;
        assert_eq!((status, &again["id"]), (200, &added["id"]));
        for (body, pointer) in [
            (browser("http://push.example/", KEY, AUTH), "/endpoint"),
            (browser("https://169.254.169.254/", KEY, AUTH), "/endpoint"),
            (browser("https://push.example/", AUTH, AUTH), "/keys/p256dh"),
            (browser("https://push.example/", KEY, KEY), "/keys/auth"),
        ] {
            let refused = add(body).problem().await;
            assert_eq!(refused, problem(422, "invalid_body", pointer));
        }
        let one = format!("{path}/{}", added["id"].as_str().unwrap());
        for _ in 0..2 {
            let (status, removed) = world.delete("alice", &one).send().await;
            assert_eq!((status, &removed["id"]), (200, &added["id"]));
        }
        let stream = StreamName::notifications(world.id("alice"));
        let expected = ["push-subscription-added", "push-subscription-removed"];
        assert_eq!(world.types(&stream).await, expected);
        for event in world.events(&stream).await {
            let text = String::from_utf8_lossy(&event.data);
            assert!(
                !text.contains("push.example") && !text.contains(AUTH),
                "{text}"
            );
        }
    }

    #[tokio::test]
    async fn few_browsers_take_pushes() {
        let world = World::with(&["alice"]).await;
        let path = "/v1/users/me/push-subscriptions";
        let add = |number: usize| {
            let endpoint = format!("https://push.example/{number}");
            world
                .post("alice", path)
                .body(browser(&endpoint, KEY, AUTH))
        };
        for number in 0..20 {
            assert_eq!(add(number).send().await.0, 201);
        }
        let refused = add(20).problem().await;
        assert_eq!(refused, problem(409, "too_many_push_subscriptions", ""));
        assert_eq!(add(0).send().await.0, 200);
    }
}
