//! Completing a login with a second factor.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use domain::user::Refused;
use domain::user::factors::{FactorCommand, Refused as FactorRefused, Shown};
use domain::{Actor, CommandId};
use infra::http::{Body, ClientAddress};
use infra::problem::Problem;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::CommandApi;
use crate::asking::Key;
use crate::execute::Envelope;
use crate::identity::factors::show::{SecondFactor, carry_out, guarded, wrong_factor};
use crate::identity::factors::ticket::PendingLogin;
use crate::identity::open_session::{HandOver, LoggedIn, open_session};
use crate::problems::OpenProblems;

/// The rest of a login.
#[derive(Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CompleteLogin {
    /// From the answer `second_factor_required`.
    ticket: String,
    /// One of those that the answer names.
    factor: SecondFactor,
    /// Whether the tokens come in cookies instead of in the answer: for browsers.
    #[serde(default)]
    cookies: bool,
}

/// What is refused of a ticket is no way in.
fn no_way_in(problem: Problem) -> Problem {
    let of_tickets = [
        FactorRefused::TicketUsed,
        FactorRefused::TicketExpired,
        FactorRefused::TooManyTries,
    ];
    let is_of =
        |refused: &FactorRefused| problem.code == domain::Refusal::code(&Refused::Factor(*refused));
    if of_tickets.iter().any(is_of) {
        return Problem {
            status: StatusCode::UNAUTHORIZED.as_u16(),
            ..problem
        };
    }
    problem
}

async fn complete(
    api: &CommandApi,
    request: CompleteLogin,
    key: &Key,
    ClientAddress(address): ClientAddress,
) -> Result<LoggedIn, Problem> {
    let pending = PendingLogin::open(api, &request.ticket)?;
    let (user, factor) = (pending.user, &request.factor);
    let account = api.account(user).await?;
    let account = account.ok_or_else(|| Problem::refused(&Refused::NotFound))?;
    let offer = factor.offer(api, user, &account.factors)?;
    let mark = factor.mark(api)?;
    // As in logging in by a code: another factor under the same key is another command, and who tried it
    // is not known.
    let command = key.command(|key| CommandId::of(user, key));
    let trying = command.derive(&format!("second factor {} {mark}", pending.login));
    let envelope = Envelope::new(Actor::System, trying, &("second_factor", &mark))?;
    let show = FactorCommand::Show(Shown {
        offer,
        ticket: Some(pending.ticket()),
        at: api.clock().now(),
    });
    let shown = guarded(api, user, address, carry_out(api, user, envelope, show)).await;
    let shown = shown.map_err(no_way_in)?;
    shown.ok_or_else(|| wrong_factor(StatusCode::UNAUTHORIZED))?;
    let way_in = pending.way_in(factor.factor(), address)?;
    open_session(api, way_in).await
}

/// Complete a login with a second factor
///
/// With the ticket of an answer `second_factor_required`. A ticket is good once, for five minutes and five
/// wrong tries.
#[utoipa::path(
    post,
    path = "/v1/sessions/second-factor",
    tag = "sessions",
    request_body = CompleteLogin,
    params(("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes")),
    responses(
        (status = 201, body = LoggedIn, description = "The session is open"),
        OpenProblems,
        (status = 401, body = Problem, content_type = "application/problem+json",
         description = "`wrong_factor`, `ticket_invalid`, `ticket_used`, `ticket_expired`, \
            `too_many_tries`, `challenge_invalid`; `session_ended` where the password was changed since"),
        (status = 403, body = Problem, content_type = "application/problem+json",
         description = "`account_suspended`, `account_deactivated`"),
    ),
)]
pub(crate) async fn post(
    State(api): State<CommandApi>,
    key: Key,
    address: ClientAddress,
    Body(request): Body<CompleteLogin>,
) -> Result<Response, Problem> {
    let hand_over = HandOver::asked(request.cookies);
    let logged_in = complete(&api, request, &key, address).await?;
    logged_in.answer(&api, StatusCode::CREATED, hand_over)
}
