//! Logging in with what the browser brought back from another service.
//!
//! A code is good once, at the issuer. So the session's id derives from the login that was begun: who
//! sends the same again gets that session again without the issuer being asked, and nobody gets a
//! second. A try that was cut short between the issuer and the log cannot be repeated, as the code is
//! used up: the login begins again, and finds what the first try made.

use std::net::IpAddr;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use domain::session::{Factor, State as SessionState};
use domain::{Actor, CommandId, SessionId, StreamName, UserId, Version};
use infra::auth::{NotLetIn, TokenRefused};
use infra::event_store::Direction;
use infra::failure::Failure;
use infra::http::{Body, ClientAddress, InPath};
use infra::issuers::{Issuer, IssuerError, Purpose};
use infra::problem::Problem;
use serde::Deserialize;
use utoipa::ToSchema;

use super::admit::{Newcomers, Word, admit, vouched};
use super::{Brought, client, issuer, pending, wrong_login};
use crate::CommandApi;
use crate::execute::Envelope;
use crate::identity::open_session::{HandOver, LoggedIn, WayIn, check_device, open_session};
use crate::problems::OpenProblems;

/// What the browser brought back, and to whom.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FinishLogin {
    /// As the login was begun with.
    login: String,
    /// The parameter `state` that the browser came back with.
    state: String,
    /// The parameter `code`.
    code: String,
    /// The parameter `iss`, where there is one.
    #[serde(default)]
    iss: Option<String>,
    /// What the client calls its device: 1 to 100 characters.
    #[serde(default)]
    device: Option<String>,
    /// Whether to open the account again, where its user has deactivated it.
    #[serde(default)]
    reactivate: bool,
    /// Whether the tokens come in cookies instead of in the answer: for browsers.
    #[serde(default)]
    cookies: bool,
}

/// The command that `login` begins: one session comes of it.
struct Finishing<'a> {
    issuer: &'a Issuer,
    command: CommandId,
    brought: Brought,
    device: Option<String>,
    reactivate: bool,
    address: Option<IpAddr>,
}

impl Finishing<'_> {
    fn envelope(&self, actor: Actor) -> Result<Envelope, Failure> {
        let issuer = &self.issuer.config().name;
        let body = ("log_in_by_issuer", issuer, &self.brought, &self.device);
        Envelope::new(actor, self.command, &body)
    }

    /// Whose session this very command has opened before.
    async fn opened(&self, api: &CommandApi) -> Result<Option<UserId>, Problem> {
        let session = SessionId(self.command.derive("session").0);
        let user = match &*api.session(session).await? {
            SessionState::Absent => return Ok(None),
            SessionState::Open(login) => login.user,
            SessionState::Revoked { .. } => {
                return Err(NotLetIn::Token(TokenRefused::SessionEnded).into());
            }
        };
        let stream = StreamName::session(session);
        let first = api
            .store()
            .read_stream(&stream, Version(1), Direction::Forward, 1);
        let first = first.await?;
        let metadata = first.first().map(|opened| opened.metadata()).transpose();
        let metadata = metadata.map_err(|error| Failure::internal("read a login", error))?;
        // Whoever knows the login, and not all that was brought, gets nothing.
        let envelope = self.envelope(Actor::User(user))?;
        if metadata.is_some_and(|first| first.command_hash == envelope.hash()) {
            Ok(Some(user))
        } else {
            Err(Problem::new(
                StatusCode::CONFLICT,
                "login_used",
                "This login has ended in a session already",
            )
            .with_detail("a retry must send the same; begin again for another session"))
        }
    }

    async fn open(self, api: &CommandApi, user: UserId) -> Result<LoggedIn, Problem> {
        let vouched = vouched(api, user, &self.issuer.config().name).await?;
        let way_in = WayIn {
            user,
            login_epoch: vouched.login_epoch,
            command: self.command,
            envelope: self.envelope(Actor::User(user))?,
            device: self.device,
            address: self.address,
            amr: [Factor::Issuer].into(),
            reactivate: self.reactivate,
            vouched_by: Some(vouched.by),
        };
        open_session(api, way_in).await
    }
}

async fn finish(
    api: &CommandApi,
    name: &str,
    request: FinishLogin,
    address: Option<IpAddr>,
) -> Result<LoggedIn, Problem> {
    let issuer = issuer(api, name)?;
    if let Some(device) = &request.device {
        check_device(device)?;
    }
    let brought = Brought {
        login: request.login,
        state: request.state,
        code: request.code,
        iss: request.iss,
    };
    let begun = pending(api, issuer, &brought).await?;
    if begun.purpose != Purpose::LogIn {
        return Err(wrong_login());
    }
    let finishing = Finishing {
        issuer,
        command: CommandId(begun.id),
        brought,
        device: request.device,
        reactivate: request.reactivate,
        address,
    };
    if let Some(user) = finishing.opened(api).await? {
        return finishing.open(api, user).await;
    }
    let redeemed = issuer.redeem(client(issuer)?, &begun, &finishing.brought.code);
    let profile = match redeemed.await {
        Ok(profile) => profile,
        // Perhaps the same was sent twice at once, and the other was first.
        Err(refused @ IssuerError::Refused(_)) => {
            let user = finishing.opened(api).await?.ok_or(refused)?;
            return finishing.open(api, user).await;
        }
        Err(error) => return Err(error.into()),
    };
    let word = Word {
        issuer,
        profile: &profile,
        as_of: None,
    };
    let user = admit(api, word, Newcomers::AsConfigured).await?.user()?;
    finishing.open(api, user).await
}

/// Finish a login at another service
///
/// The first time, an account is made where the issuer is configured so. The login names the command: who
/// sends the same again within ten minutes gets the same session, and an Idempotency-Key changes nothing.
/// Where the answer is lost before the session is stored, the code is used up all the same: 401
/// `login_refused`, and the login begins again.
#[utoipa::path(
    post,
    path = "/v1/logins/{issuer}/callback",
    tag = "sessions",
    request_body = FinishLogin,
    params(
        ("issuer" = String, Path, description = "The name that it is configured under"),
        ("Idempotency-Key" = Option<String>, Header, description = "Has no effect here"),
    ),
    responses(
        (status = 201, body = LoggedIn, description = "The session is open"),
        OpenProblems,
        (status = 401, body = Problem, content_type = "application/problem+json",
         description = "`login_refused`: the issuer does not take the code, or its word does not hold; \
                        `second_factor_required` with a ticket; \
                        `session_ended` for a retry of a login that was revoked since"),
        (status = 403, body = Problem, content_type = "application/problem+json",
         description = "`not_registered`, `identity_closed`"),
        (status = 404, body = Problem, content_type = "application/problem+json",
         description = "`issuer_not_found`"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "`login_used`, `conflict`"),
        (status = 503, body = Problem, content_type = "application/problem+json",
         description = "`issuer_unavailable`, `busy`, `shutting_down`, `unavailable`; with Retry-After"),
    ),
)]
pub(crate) async fn post(
    State(api): State<CommandApi>,
    InPath(name): InPath<String>,
    ClientAddress(address): ClientAddress,
    Body(request): Body<FinishLogin>,
) -> Result<Response, Problem> {
    let hand_over = HandOver::asked(request.cookies);
    let logged_in = finish(&api, &name, request, address).await?;
    logged_in.answer(&api, StatusCode::CREATED, hand_over)
}
