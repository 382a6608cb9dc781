//! The identities of one's account: which there are, adding one, letting one go.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use domain::UserId;
use domain::user::{Command, Identity, IdentityCommand, Refused};
use domain::values::{Email, IssuerName, Subject};
use infra::commands::Accepted;
use infra::failure::Failure;
use infra::http::{Authenticated, Body, InPath};
use infra::issuers::Purpose;
use infra::problem::Problem;
use serde::Serialize;
use utoipa::ToSchema;

use super::admit::Word;
use super::begin::{BeginLogin, LoginBegun, begin};
use super::{Brought, client, issuer, pending, wrong_login};
use crate::CommandApi;
use crate::answer::{Answer, Answered};
use crate::asking::{Asked, Asking};
use crate::identity::claims::Claimant;
use crate::problems::CommandProblems;

/// The identities of an account.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct OwnIdentities {
    /// By the names of their issuers.
    identities: Vec<OwnIdentity>,
    /// Whether the account has a password too.
    has_password: bool,
}

/// An identity that is a way in.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct OwnIdentity {
    /// Who vouches.
    issuer: IssuerName,
    /// For whom, in its own terms.
    subject: Subject,
    /// The address that the issuer verified, where it said one.
    email: Option<Email>,
}

/// See by whose word one comes in
///
/// As of now, from the log.
#[utoipa::path(
    get,
    path = "/v1/users/me/identities",
    tag = "users",
    responses(
        (status = 200, body = OwnIdentities, description = "The identities"),
        (status = 401, body = Problem, content_type = "application/problem+json",
         description = "`unauthenticated`, `token_expired`, `token_invalid`, `session_ended`"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn get(
    State(api): State<CommandApi>,
    Authenticated(caller): Authenticated,
) -> Result<Json<OwnIdentities>, Problem> {
    let account = account(&api, caller.user).await?;
    let identities =
        account
            .identities
            .into_iter()
            .filter_map(|(issuer, identity)| match identity {
                Identity::Linked { subject, email, .. } => Some(OwnIdentity {
                    issuer,
                    subject,
                    email,
                }),
                Identity::Deleted { .. } => None,
            });
    Ok(Json(OwnIdentities {
        identities: identities.collect(),
        has_password: account.password_hash.is_some(),
    }))
}

async fn account(api: &CommandApi, user: UserId) -> Result<domain::user::Account, Problem> {
    let account = api.account(user).await?;
    account.ok_or_else(|| Failure::internal("read an account", "the caller has none").into())
}

/// Begin to link another service to one's account
///
/// As a login is begun; each call begins another, and an Idempotency-Key changes nothing.
#[utoipa::path(
    post,
    path = "/v1/users/me/identities/{issuer}",
    tag = "users",
    request_body = BeginLogin,
    params(
        ("issuer" = String, Path, description = "The name that it is configured under"),
        ("Idempotency-Key" = Option<String>, Header, description = "Has no effect here"),
    ),
    responses(
        (status = 200, body = LoginBegun, description = "Go there"),
        CommandProblems,
        (status = 404, body = Problem, content_type = "application/problem+json",
         description = "`issuer_not_found`"),
        (status = 503, body = Problem, content_type = "application/problem+json",
         description = "`issuer_unavailable`, `busy`, `unavailable`; with Retry-After"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn post(
    State(api): State<CommandApi>,
    Authenticated(caller): Authenticated,
    InPath(name): InPath<String>,
    Body(request): Body<BeginLogin>,
) -> Result<(StatusCode, Json<LoginBegun>), Problem> {
    let purpose = Purpose::Link(caller.user);
    let begun = begin(&api, &name, &request, purpose).await?;
    Ok((StatusCode::OK, Json(begun)))
}

/// Links what the browser brought back.
async fn link(
    api: &CommandApi,
    asking: Asking,
    name: &str,
    brought: &Brought,
) -> Result<Answer, Problem> {
    let issuer = issuer(api, name)?;
    let begun = pending(api, issuer, brought).await?;
    // What somebody else began would let them into this account.
    if begun.purpose != Purpose::Link(asking.user) {
        return Err(wrong_login());
    }
    let redeemed = issuer.redeem(client(issuer)?, &begun, &brought.code);
    let profile = redeemed.await?;
    let word = Word {
        issuer,
        profile: &profile,
        as_of: None,
    };
    let user = asking.user;
    let before = account(api, user).await?;
    if before.is_linked_to(&issuer.config().name) && !word.is_of(&before) {
        return Err(Problem::refused(&Refused::IssuerAlreadyLinked));
    }
    let claimant = Claimant::begin(api, user, asking.command);
    let stream = word.stream(api);
    if !word.is_of(&before) && !claimant.claim(api, &stream, |a| word.is_of(a)).await? {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "identity_taken",
            "This login is that of another account",
        )
        .with_detail("log in by it and unlink it there first"));
    }
    claimant.check_time(api)?;
    let envelope = asking.envelope(&("link_identity", name, brought))?;
    let command = Command::Identity {
        user,
        command: IdentityCommand::Link(word.vouched()),
    };
    let done = api.change_account(user, envelope, command).await?;
    Ok(Answer::new(user.0, done))
}

/// Link another service to one's account
///
/// From then on its word is a way into the account. A code is good once: where an answer is lost, see
/// whether the identity is there, and otherwise begin again.
#[utoipa::path(
    post,
    path = "/v1/users/me/identities/{issuer}/callback",
    tag = "users",
    request_body = Brought,
    params(
        ("issuer" = String, Path, description = "The name that it is configured under"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses(
        (status = 200, body = Accepted, description = "It is linked, or was so already"),
        CommandProblems,
        (status = 401, body = Problem, content_type = "application/problem+json",
         description = "`login_refused`: the issuer does not take the code, or its word does not hold; \
                        `unauthenticated`, `token_expired`, `token_invalid`, `session_ended`"),
        (status = 403, body = Problem, content_type = "application/problem+json",
         description = "`identity_closed`: the issuer has deleted it"),
        (status = 404, body = Problem, content_type = "application/problem+json",
         description = "`issuer_not_found`"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "`identity_taken`, `issuer_already_linked`, `conflict`"),
        (status = 503, body = Problem, content_type = "application/problem+json",
         description = "`issuer_unavailable`, `busy`, `shutting_down`, `unavailable`; with Retry-After"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn finish(
    State(api): State<CommandApi>,
    asked: Asked,
    InPath(name): InPath<String>,
    Body(brought): Body<Brought>,
) -> Result<Answered, Problem> {
    Ok(link(&api, asked.asking, &name, &brought).await?.ok())
}

/// Lets an identity go. It may be of an issuer that is not configured any more.
async fn unlink(api: &CommandApi, asking: Asking, name: &str) -> Result<Answer, Problem> {
    let unknown = |_| Problem::not_found("issuer_not_found", "there is no issuer of this name");
    let issuer = IssuerName::parse(name).map_err(unknown)?;
    let user = asking.user;
    let before = account(api, user).await?;
    let envelope = asking.envelope(&("unlink_identity", name))?;
    let command = Command::Identity {
        user,
        command: IdentityCommand::Unlink {
            issuer: issuer.clone(),
        },
    };
    let done = api.change_account(user, envelope, command).await?;
    // Cut short before this, the claim belongs to no account any more, and may be taken over.
    if let (Some(Identity::Linked { subject, .. }), Some(issuer)) =
        (before.identities.get(&issuer), api.issuers().get(&issuer))
    {
        let claimant = Claimant::begin(api, user, asking.command);
        let stream = api.issuers().identity_stream(issuer, subject);
        claimant.release(api, &stream).await?;
    }
    Ok(Answer::new(user.0, done))
}

/// Let another service be a way into one's account no longer
///
/// Sessions that were opened on its word end at once.
#[utoipa::path(
    delete,
    path = "/v1/users/me/identities/{issuer}",
    tag = "users",
    params(
        ("issuer" = String, Path, description = "The name that it is, or was, configured under"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses(
        (status = 200, body = Accepted, description = "It is a way in no longer, or was none"),
        CommandProblems,
        (status = 404, body = Problem, content_type = "application/problem+json",
         description = "`issuer_not_found`"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "`last_way_in`: the account has no password, no verified address and no other identity; `conflict`"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn delete(
    State(api): State<CommandApi>,
    asked: Asked,
    InPath(name): InPath<String>,
) -> Result<Answered, Problem> {
    Ok(unlink(&api, asked.asking, &name).await?.ok())
}
