//! A login that waits for its second factor. All that is known of it travels sealed with the client; the
//! account's stream remembers wrong tries and that it was completed.

use std::collections::BTreeSet;
use std::net::IpAddr;

use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use domain::session::{Factor, VouchedBy};
use domain::user::Account;
use domain::user::factors::{TICKET_LIFETIME, Ticket};
use domain::{Actor, CommandId, UserId};
use infra::problem::{Problem, SecondFactorAsked};
use serde::{Deserialize, Serialize};

use crate::CommandApi;
use crate::execute::Envelope;
use crate::identity::open_session::WayIn;

/// What was shown so far, and who comes in.
#[derive(Serialize, Deserialize)]
pub(crate) struct PendingLogin {
    pub(super) user: UserId,
    /// The command that logs in: it names the ticket.
    pub(super) login: CommandId,
    login_epoch: u32,
    device: Option<String>,
    amr: BTreeSet<Factor>,
    reactivate: bool,
    vouched_by: Option<VouchedBy>,
    expires_at: DateTime<Utc>,
}

impl PendingLogin {
    /// Reads a ticket.
    ///
    /// # Errors
    /// 401 `ticket_invalid` for one that was not sealed here.
    pub(super) fn open(api: &CommandApi, ticket: &str) -> Result<Self, Problem> {
        let opened = api.second_factors().tickets.open(ticket);
        opened.ok_or_else(|| {
            let title = "The login cannot go on";
            let problem = Problem::new(StatusCode::UNAUTHORIZED, "ticket_invalid", title);
            problem.with_detail("this is not a ticket of this server; log in again")
        })
    }

    /// As the log names it.
    pub(super) fn ticket(&self) -> Ticket {
        Ticket {
            login: self.login,
            expires_at: self.expires_at,
        }
    }

    /// The way in, now that `factor` was shown too. Of a ticket there is one session, however often it is
    /// asked for.
    pub(super) fn way_in(self, factor: Factor, address: Option<IpAddr>) -> Result<WayIn, Problem> {
        let command = self.login.derive("second factor");
        let body = ("second_factor", self.login);
        let mut amr = self.amr;
        amr.insert(factor);
        Ok(WayIn {
            user: self.user,
            login_epoch: self.login_epoch,
            command,
            envelope: Envelope::new(Actor::User(self.user), command, &body)?,
            device: self.device,
            address,
            amr,
            reactivate: self.reactivate,
            vouched_by: self.vouched_by,
        })
    }
}

/// Whether `amr` lets somebody in to an account with second factors.
fn is_enough(amr: &BTreeSet<Factor>) -> bool {
    let is_second = |factor: &Factor| match factor {
        Factor::Totp | Factor::RecoveryCode | Factor::Passkey => true,
        Factor::Password | Factor::MailedCode | Factor::Issuer => false,
    };
    amr.iter().any(is_second)
}

/// Lets `way_in` go on where what was shown is enough for `account`.
///
/// # Errors
/// 401 `second_factor_required`, with a ticket for the rest of the login.
pub(crate) fn check_second_factor(
    api: &CommandApi,
    account: &Account,
    way_in: &WayIn,
) -> Result<(), Problem> {
    if is_enough(&way_in.amr) || !account.factors.are_on() {
        return Ok(());
    }
    let pending = PendingLogin {
        user: way_in.user,
        login: way_in.command,
        login_epoch: way_in.login_epoch,
        device: way_in.device.clone(),
        amr: way_in.amr.clone(),
        reactivate: way_in.reactivate,
        vouched_by: way_in.vouched_by.clone(),
        expires_at: api.clock().now() + TICKET_LIFETIME,
    };
    let title = "This account has a second factor";
    let problem = Problem::new(StatusCode::UNAUTHORIZED, "second_factor_required", title);
    let mut problem = problem
        .with_detail("send the ticket with a second factor to POST /v1/sessions/second-factor");
    problem.second_factor = Some(Box::new(SecondFactorAsked {
        ticket: api.second_factors().tickets.seal(&pending)?,
        ways: account.factors.ways(),
        expires_at: pending.expires_at,
    }));
    Err(problem)
}
