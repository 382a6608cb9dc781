//! What an issuer tells of its users as it happens, signed: accounts are made, follow the issuer's
//! record, and lose their way in.
//!
//! A webhook may come late, twice or before an older one. Its command derives from its id, and each
//! record has the issuer's own time: one that is not younger than what is known changes nothing.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use chrono::{DateTime, Utc};
use domain::user::{Account, Command, IdentityCommand};
use domain::values::{DisplayName, Email, Subject};
use domain::{Actor, CommandId, UserId};
use infra::http::{InPath, parse_json};
use infra::issuers::{Issuer, Profile, verify_webhook};
use infra::problem::Problem;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::admit::{Admitted, Newcomers, Word, admit};
use super::issuer;
use super::record::{Happened, Webhook};
use crate::CommandApi;
use crate::execute::Envelope;
use crate::identity::claims::Claimant;
use crate::problems::OpenProblems;

/// Namespace of the commands that webhooks are.
const WEBHOOKS: Uuid = Uuid::from_u128(0x9e21_7c60_d5f8_5ab3_8b1d_04c9_e673_f82a);

/// What came of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct WebhookTaken {
    effect: Effect,
}

/// Whether it changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Effect {
    /// It is in the log.
    Stored,
    /// It was taken before, is older than what is known, or is of no use here.
    None,
}

/// A webhook that is good, as a command.
struct Told<'a> {
    issuer: &'a Issuer,
    command: CommandId,
    as_of: DateTime<Utc>,
}

impl Told<'_> {
    /// Carries out `command` on the account of `user`.
    async fn execute(
        &self,
        api: &CommandApi,
        user: UserId,
        command: IdentityCommand,
    ) -> Result<Effect, Problem> {
        let body = ("webhook", &self.issuer.config().name, self.as_of);
        let envelope = Envelope::new(Actor::System, self.command, &body)?;
        let command = Command::Identity { user, command };
        let done = api.change_account(user, envelope, command).await?;
        Ok(if done.changed {
            Effect::Stored
        } else {
            Effect::None
        })
    }

    /// Somebody is known to the issuer, and like this.
    async fn known(&self, api: &CommandApi, profile: &Profile) -> Result<Effect, Problem> {
        let word = Word {
            issuer: self.issuer,
            profile,
            as_of: Some(self.as_of),
        };
        let is_new = api.holder(&word.stream(api)).await?.is_none();
        let user = match admit(api, word, Newcomers::Welcome).await? {
            Admitted::To(user) => user,
            // An older word of somebody who was deleted since.
            Admitted::Closed => return Ok(Effect::None),
        };
        let display_name = profile.name.as_deref();
        let update = IdentityCommand::Update {
            issuer: self.issuer.config().name.clone(),
            as_of: self.as_of,
            display_name: display_name.and_then(|name| DisplayName::parse(name).ok()),
            email: self.claim_email(api, user, profile).await?,
        };
        let updated = self.execute(api, user, update).await?;
        Ok(if is_new { Effect::Stored } else { updated })
    }

    /// The address of the record, if the account is to have it and nobody else has.
    async fn claim_email(
        &self,
        api: &CommandApi,
        user: UserId,
        profile: &Profile,
    ) -> Result<Option<Email>, Problem> {
        let Some(email) = &profile.email else {
            return Ok(None);
        };
        let account = api.account(user).await?;
        let is_wanted = account.as_ref().is_some_and(|account| {
            account.address_follows(&self.issuer.config().name)
                && account.email.as_ref() != Some(email)
        });
        if !is_wanted {
            return Ok(None);
        }
        let claimant = Claimant::begin(api, user, self.command);
        let stream = api.email_stream(email);
        let is_of = |account: &Account| account.has_proven_address(email);
        let is_claimed = claimant.claim(api, &stream, is_of).await?;
        claimant.check_time(api)?;
        Ok(is_claimed.then(|| email.clone()))
    }

    /// Somebody is not known to the issuer any more.
    async fn deleted(&self, api: &CommandApi, subject: &Subject) -> Result<Effect, Problem> {
        let stream = api.issuers().identity_stream(self.issuer, subject);
        let Some(user) = api.holder(&stream).await? else {
            return Ok(Effect::None);
        };
        let account = api.account(user).await?;
        let issuer = self.issuer.config().name.clone();
        if !account.is_some_and(|account| account.is_linked(&issuer, subject)) {
            return Ok(Effect::None);
        }
        let delete = IdentityCommand::Delete {
            issuer,
            as_of: self.as_of,
        };
        // Every session that was opened on its word ends with it, by the guard's own rule.
        self.execute(api, user, delete).await
    }
}

fn refused() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "webhook_refused",
        "This webhook is not taken",
    )
    .with_detail(
        "it is signed with no secret that is configured, or more than five minutes from now",
    )
}

async fn take(
    api: &CommandApi,
    name: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Effect, Problem> {
    let issuer = issuer(api, name)?;
    let secrets = &issuer.config().webhook_secrets;
    let signed = verify_webhook(secrets, headers, body, api.clock().now());
    let signed = signed.map_err(|why| {
        tracing::info!(issuer = name, %why, "a webhook was refused");
        refused()
    })?;
    let webhook: Webhook = parse_json(body)?;
    let id = format!("{name}\n{}", signed.id);
    let told = Told {
        issuer,
        command: CommandId(Uuid::new_v5(&WEBHOOKS, id.as_bytes())),
        as_of: webhook.as_of(signed.sent_at),
    };
    match webhook.happened() {
        Some(Happened::Known(profile)) => told.known(api, &profile).await,
        Some(Happened::Deleted(subject)) => told.deleted(api, &subject).await,
        Some(Happened::Other) => Ok(Effect::None),
        None => {
            let rule = "a user has an id of 1 to 255 bytes";
            Err(Problem::invalid_field("/data/id", "invalid_subject", rule))
        }
    }
}

/// Tell what happened to a user of an issuer
///
/// For the issuer: signed as Standard Webhooks says, in the headers `webhook-id`, `webhook-timestamp` and
/// `webhook-signature` (or `svix-…`). Takes `user.created`, `user.updated` and `user.deleted`; others
/// change nothing. The id names the command: a webhook that is sent again changes nothing.
#[utoipa::path(
    post,
    path = "/v1/issuers/{issuer}/webhook",
    tag = "users",
    request_body = Object,
    params(
        ("issuer" = String, Path, description = "The name that it is configured under"),
        ("Idempotency-Key" = Option<String>, Header, description = "Has no effect here"),
    ),
    responses(
        (status = 200, body = WebhookTaken, description = "It was taken"),
        OpenProblems,
        (status = 401, body = Problem, content_type = "application/problem+json",
         description = "`webhook_refused`"),
        (status = 404, body = Problem, content_type = "application/problem+json",
         description = "`issuer_not_found`"),
    ),
)]
pub(crate) async fn post(
    State(api): State<CommandApi>,
    InPath(name): InPath<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<WebhookTaken>, Problem> {
    let effect = take(&api, &name, &headers, &body).await?;
    Ok(Json(WebhookTaken { effect }))
}
