//! Showing a second factor: what clients send, what it is found to be, and what comes of it.

use std::net::IpAddr;

use axum::http::StatusCode;
use domain::session::Factor;
use domain::user::factors::{FactorCommand, Factors, Offer};
use domain::user::{Command, UserEvent};
use domain::{Event, StreamName, UserId};
use infra::factors::{Answered, ChallengeRefused, PasskeyAnswer, RecoveryCode};
use infra::failure::Failure;
use infra::problem::Problem;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::CommandApi;
use crate::execute::{Done, Envelope};
use crate::identity::codes::first_event;

/// What failed.
const READ: &str = "read what came of a second factor";

/// A second factor.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SecondFactor {
    /// The code that the authenticator app shows now; spaces and hyphens in it do not count.
    Totp(String),
    /// A recovery code that was not used yet; spaces, hyphens and capitals do not matter.
    RecoveryCode(String),
    /// What a passkey answered.
    Passkey(PasskeyProof),
}

/// What a passkey answered, and the challenge.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasskeyProof {
    /// From `POST /v1/passkeys/challenge`.
    pub(super) challenge: String,
    /// What `navigator.credentials.get` gave, by its `toJSON`.
    #[schema(value_type = Object)]
    pub(super) credential: Value,
}

impl SecondFactor {
    /// What stands in for it in a command's hash: the log must not help to guess it.
    pub(super) fn mark(&self, api: &CommandApi) -> Result<String, Problem> {
        let text = serde_json::to_string(self);
        let text = text.map_err(|error| Failure::internal("name a second factor", error))?;
        Ok(api.password_mark(&text))
    }

    /// What it was said to be.
    pub(super) const fn factor(&self) -> Factor {
        match self {
            Self::Totp(_) => Factor::Totp,
            Self::RecoveryCode(_) => Factor::RecoveryCode,
            Self::Passkey(_) => Factor::Passkey,
        }
    }

    /// What it is, looked at with the server's keys.
    ///
    /// # Errors
    /// 401 `challenge_invalid` where a passkey answered a challenge that is none, or too old.
    pub(super) fn offer(
        &self,
        api: &CommandApi,
        user: UserId,
        factors: &Factors,
    ) -> Result<Offer, Problem> {
        let (keys, now) = (api.second_factors(), api.clock().now());
        let found = match self {
            Self::Totp(code) => factors.totp.as_ref().and_then(|totp| {
                let enrolment = totp.enrolment;
                let step = keys.totp.step(user, enrolment, code, now)?;
                Some(Offer::Totp { enrolment, step })
            }),
            Self::RecoveryCode(code) => factors.recovery.as_ref().and_then(|codes| {
                let (set, code) = (codes.set, RecoveryCode::parse(code)?);
                let number = keys.recovery.number(user, set, &code)?;
                Some(Offer::RecoveryCode { set, number })
            }),
            Self::Passkey(proof) => proof.offer(api, user, factors)?,
        };
        Ok(found.unwrap_or(Offer::Wrong(self.factor())))
    }
}

impl PasskeyProof {
    fn offer(
        &self,
        api: &CommandApi,
        user: UserId,
        factors: &Factors,
    ) -> Result<Option<Offer>, Problem> {
        let answer = PasskeyAnswer::parse(&self.credential);
        let answer = answer.filter(|it| it.user().is_none_or(|of| of == user));
        let Some(answer) = answer else {
            return Ok(None);
        };
        let Some((passkey, known)) = factors.passkey(&answer.credential_id()) else {
            return Ok(None);
        };
        let now = api.clock().now();
        let party = &api.second_factors().relying_party;
        match party.check(&self.challenge, &answer, &known.credential, now) {
            Ok(Answered {
                sign_count,
                challenged_at,
            }) => Ok(Some(Offer::Passkey {
                passkey,
                sign_count,
                challenged_at,
            })),
            Err(ChallengeRefused::Answer) => Ok(None),
            Err(refused @ ChallengeRefused::Challenge) => {
                Err(challenge_invalid(StatusCode::UNAUTHORIZED, refused))
            }
        }
    }
}

/// `challenge_invalid`.
pub(super) fn challenge_invalid(status: StatusCode, refused: ChallengeRefused) -> Problem {
    let problem = Problem::new(status, "challenge_invalid", "The challenge is not valid");
    problem.with_detail(refused)
}

/// The answer to every second factor that is not right.
pub(super) fn wrong_factor(status: StatusCode) -> Problem {
    let title = "The second factor is wrong";
    let detail = "a code is good once; a login takes five wrong tries";
    Problem::new(status, "wrong_factor", title).with_detail(detail)
}

/// Carries `command` out; `None` where it shows a second factor that is not right, which is in the log
/// then.
pub(super) async fn carry_out(
    api: &CommandApi,
    user: UserId,
    envelope: Envelope,
    command: FactorCommand,
) -> Result<Option<Done>, Problem> {
    let command = Command::Factor(command);
    let done = api.change_account(user, envelope, command).await?;
    if !done.changed {
        return Ok(Some(done));
    }
    match first_event(api, &StreamName::user(user), done, READ).await? {
        Some((
            Event::User(UserEvent::SecondFactorRefused(_) | UserEvent::PasskeySuspected(_)),
            _,
        )) => Ok(None),
        Some(_) => Ok(Some(done)),
        None => Err(Failure::internal(READ, "there is no event").into()),
    }
}

/// Does `work`, which shows that somebody at `address` is `user`, unless too many were wrong.
///
/// # Errors
/// 429 `rate_limited`, and what `work` may answer.
pub(super) async fn guarded<T>(
    api: &CommandApi,
    user: UserId,
    address: Option<IpAddr>,
    work: impl Future<Output = Result<Option<T>, Problem>>,
) -> Result<Option<T>, Problem> {
    let attempt = api
        .second_factors()
        .gate
        .enter(&user.to_string(), address)?;
    let done = work.await;
    match &done {
        Ok(Some(_)) => attempt.succeeded(),
        Ok(None) => drop(attempt),
        Err(_) => attempt.not_checked(),
    }
    done
}
