//! Limits on requests, per address and per user. Each process counts for itself: of several behind one
//! proxy, each grants the whole limit.
//!
//! Every answer to a request that counts says how things stand, as
//! draft-ietf-httpapi-ratelimit-headers-10 writes it: `RateLimit-Policy` what is granted (`q` at once,
//! good again after `w` seconds), `RateLimit` what is left of it (`r`, and `t` seconds until all of it is
//! good again).

use std::fmt::Write as _;
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use domain::UserId;
use infra::auth::{Guard, SentToken};
use infra::http::{Checked, ClientAddress};
use infra::limits::{Exceeded, Limit, Limiter, Network, Standing};
use infra::problem::Problem;

use crate::http::classes::Class;
use crate::settings::Edge;

/// Counts the requests of a process.
pub(crate) struct Limiters {
    commands_address: Counter<Network>,
    commands_user: Counter<UserId>,
    reads_address: Counter<Network>,
    reads_user: Counter<UserId>,
    login_address: Counter<Network>,
    code_address: Counter<Network>,
    registration_address: Counter<Network>,
}

/// A limiter and what its policy is called.
struct Counter<K: Hash + Eq> {
    policy: &'static str,
    limiter: Arc<Limiter<K>>,
}

impl Limiters {
    pub(crate) fn new(edge: &Edge) -> Self {
        Self {
            commands_address: Counter::new("commands-address", edge.limit_commands_address),
            commands_user: Counter::new("commands-user", edge.limit_commands_user),
            reads_address: Counter::new("reads-address", edge.limit_reads_address),
            reads_user: Counter::new("reads-user", edge.limit_reads_user),
            login_address: Counter::new("login-address", edge.limit_login_address),
            code_address: Counter::new("code-address", edge.limit_code_address),
            registration_address: Counter::new(
                "registration-address",
                edge.limit_registration_address,
            ),
        }
    }

    /// What counts the commands of users, for the gateway to count theirs with it.
    pub(crate) fn commands_of_users(&self) -> Arc<Limiter<UserId>> {
        Arc::clone(&self.commands_user.limiter)
    }

    const fn by_address(&self, class: Class) -> &Counter<Network> {
        match class {
            Class::Commands => &self.commands_address,
            Class::Reads => &self.reads_address,
            Class::Login => &self.login_address,
            Class::Code => &self.code_address,
            Class::Registration => &self.registration_address,
        }
    }

    /// What counts by user; who logs in or registers is none yet.
    const fn by_user(&self, class: Class) -> Option<&Counter<UserId>> {
        match class {
            Class::Commands => Some(&self.commands_user),
            Class::Reads => Some(&self.reads_user),
            Class::Login | Class::Code | Class::Registration => None,
        }
    }
}

/// Refuses what is too much with 429, and says on every answer how things stand.
pub(super) async fn limit(
    State((limiters, guard)): State<(Arc<Limiters>, Arc<Guard>)>,
    mut request: Request,
    next: Next,
) -> Response {
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or("unmatched", MatchedPath::as_str);
    let Some(class) = Class::of(request.method(), route) else {
        return next.run(request).await;
    };
    let mut told = Told::default();
    let mut response = match take(&limiters, &guard, class, &mut request, &mut told).await {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    told.write(response.headers_mut());
    response
}

async fn take(
    limiters: &Limiters,
    guard: &Guard,
    class: Class,
    request: &mut Request,
    told: &mut Told,
) -> Result<(), Problem> {
    let now = Instant::now();
    let address = request.extensions().get::<ClientAddress>();
    let network = Network::from(address.and_then(|ClientAddress(address)| *address));
    limiters.by_address(class).take(network, now, told)?;
    let Some(by_user) = limiters.by_user(class) else {
        return Ok(());
    };
    if SentToken::of(request.headers()).is_err() {
        return Ok(());
    }
    let checked = guard.caller_of(request.method(), request.headers()).await;
    let user = checked.as_ref().ok().map(|caller| caller.user);
    request.extensions_mut().insert(Checked(checked));
    match user {
        Some(user) => by_user.take(user, now, told),
        // Whether that matters is for the route to say.
        None => Ok(()),
    }
}

impl<K: Hash + Eq> Counter<K> {
    fn new(policy: &'static str, limit: Limit) -> Self {
        Self {
            policy,
            limiter: Arc::new(Limiter::new(limit)),
        }
    }

    fn take(&self, key: K, now: Instant, told: &mut Told) -> Result<(), Problem> {
        match self.limiter.take(key, now) {
            Ok(None) => Ok(()),
            Ok(Some(standing)) => {
                told.add(self.policy, standing);
                Ok(())
            }
            Err(exceeded) => {
                let Exceeded { standing, .. } = exceeded;
                told.add(self.policy, standing);
                metrics::counter!("verbatim_http_limited_total", "policy" => self.policy)
                    .increment(1);
                Err(exceeded.into())
            }
        }
    }
}

/// What the answer says of limits.
#[derive(Default)]
struct Told {
    policies: String,
    standings: String,
}

impl Told {
    fn add(&mut self, policy: &str, standing: Standing) {
        let between = if self.policies.is_empty() { "" } else { ", " };
        let (quota, window) = (standing.rate.burst(), seconds(standing.rate.window()));
        let (remaining, reset) = (standing.remaining, seconds(standing.reset));
        // Writing to a string cannot fail.
        let _ = write!(self.policies, "{between}\"{policy}\";q={quota};w={window}");
        let _ = write!(
            self.standings,
            "{between}\"{policy}\";r={remaining};t={reset}"
        );
    }

    fn write(&self, headers: &mut HeaderMap) {
        if self.policies.is_empty() {
            return;
        }
        for (name, text) in [
            ("ratelimit-policy", &self.policies),
            ("ratelimit", &self.standings),
        ] {
            if let Ok(value) = HeaderValue::from_str(text) {
                headers.insert(name, value);
            }
        }
    }
}

/// In whole seconds, rounded up.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use axum::http::HeaderMap;
    use infra::limits::Limit;

    use super::{Counter, Told};

    #[test]
    fn an_answer_says_what_is_granted_and_what_is_left() {
        let (mut told, now) = (Told::default(), Instant::now());
        let address = Counter::new("login-address", Limit::at(10, 60, 20));
        let user = Counter::new("reads-user", Limit::at(1, 1, 1));
        address.take(1, now, &mut told).unwrap();
        user.take('a', now, &mut told).unwrap();
        let mut headers = HeaderMap::new();
        told.write(&mut headers);
        let policies = "\"login-address\";q=20;w=120, \"reads-user\";q=1;w=1";
        assert_eq!(headers["ratelimit-policy"], policies);
        let standings = "\"login-address\";r=19;t=6, \"reads-user\";r=0;t=1";
        assert_eq!(headers["ratelimit"], standings);

        let mut told = Told::default();
        let problem = user.take('a', now, &mut told).unwrap_err();
        assert_eq!((problem.status, problem.retry_after_s), (429, Some(1)));
        told.write(&mut headers);
        assert_eq!(headers["ratelimit"], "\"reads-user\";r=0;t=1");
    }

    #[test]
    fn without_a_limit_nothing_is_said() {
        let mut told = Told::default();
        let off = Counter::new("login-address", Limit::Off);
        off.take(1, Instant::now(), &mut told).unwrap();
        let mut headers = HeaderMap::new();
        told.write(&mut headers);
        assert!(headers.is_empty());
    }
}
