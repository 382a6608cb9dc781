//! Access tokens of issuers: which are taken, and whose identities they are of. Making an account or a
//! session of them is a command, and so stands behind a port.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::UserId;
use domain::reservation::Reservation;
use domain::values::Subject;
use moka::future::Cache;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::auth::guard::Age;
use crate::auth::{NotLetIn, TokenRefused};
use crate::clock::Clock;
use crate::event_store::EventStore;
use crate::failure::Failure;
use crate::issuers::{AccessToken, Issuer, IssuerError, Issuers};
use crate::problem::Problem;
use crate::states::States;

/// Tokens that are remembered as good; of more, the least used is checked again.
const CHECKED_MAX: u64 = 100_000;

/// How long a token is remembered as good, used or not: then its issuer's keys are asked again, which
/// may have been withdrawn.
const CHECKED_FOR: Duration = Duration::from_mins(5);

/// Longest token of an issuer, in bytes.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// Makes somebody known who comes with an issuer's access token for the first time.
#[async_trait]
pub trait FirstSight: Send + Sync {
    /// Makes their account where there is none, and opens the session of the token. Again, it changes
    /// nothing.
    ///
    /// # Errors
    /// They may not have an account, the issuer deleted them, or what every command may answer.
    async fn admit(&self, token: &AccessToken) -> Result<(), Problem>;
}

/// What a guard knows of issuers.
pub(super) struct Theirs {
    issuers: Option<Arc<Issuers>>,
    identities: States<Reservation>,
    /// Tokens that were found good, by their SHA-256.
    checked: Cache<[u8; 32], AccessToken>,
    first_sight: OnceLock<Weak<dyn FirstSight>>,
}

/// What says whose token it is, before anything is checked.
#[derive(Deserialize)]
struct SaysIssuer {
    iss: String,
}

impl Theirs {
    pub(super) fn new(store: &Arc<dyn EventStore>, clock: &Clock) -> Self {
        Self {
            issuers: None,
            identities: States::new(Arc::clone(store), clock.clone()),
            checked: Cache::builder()
                .max_capacity(CHECKED_MAX)
                .time_to_live(CHECKED_FOR)
                .build(),
            first_sight: OnceLock::new(),
        }
    }

    pub(super) fn take_from(&mut self, issuers: Arc<Issuers>) {
        self.issuers = Some(issuers).filter(|issuers| issuers.take_access_tokens());
    }

    pub(super) fn set_first_sight(&self, first_sight: Weak<dyn FirstSight>) {
        // Whoever was first stays.
        let _ = self.first_sight.set(first_sight);
    }

    pub(super) fn first_sight(&self) -> Option<Arc<dyn FirstSight>> {
        self.first_sight.get().and_then(Weak::upgrade)
    }

    /// The issuer that `token` says it is of. Nothing of it is believed yet: it only says with whose
    /// keys it is to be checked.
    pub(super) fn issuer_of(&self, token: &str) -> Option<&Issuer> {
        let issuers = self.issuers.as_ref()?;
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
        let said: SaysIssuer = serde_json::from_slice(&payload).ok()?;
        issuers.of_access_tokens(&said.iss)
    }

    /// What `token` says, if it is good. Whether its time is over is for the caller to see.
    pub(super) async fn checked(
        &self,
        issuer: &Issuer,
        token: &str,
    ) -> Result<AccessToken, NotLetIn> {
        let digest: [u8; 32] = Sha256::digest(token).into();
        if let Some(token) = self.checked.get(&digest).await {
            return Ok(token);
        }
        let token = issuer.access_token(token).await;
        let token = token.map_err(|error| match error {
            IssuerError::Refused(_) => {
                tracing::debug!(%error, "an access token was refused");
                NotLetIn::Token(TokenRefused::Invalid)
            }
            IssuerError::Expired => NotLetIn::Token(TokenRefused::Expired),
            IssuerError::Away(_) | IssuerError::Busy | IssuerError::Failure(_) => {
                NotLetIn::from(Problem::from(error))
            }
        })?;
        self.checked.insert(digest, token.clone()).await;
        Ok(token)
    }

    /// Whose account `subject` is.
    pub(super) async fn holder(
        &self,
        issuer: &Issuer,
        subject: &Subject,
        age: Age,
    ) -> Result<Option<UserId>, Failure> {
        let Some(issuers) = &self.issuers else {
            return Ok(None);
        };
        let stream = issuers.identity_stream(issuer, subject);
        let reservation = match age {
            Age::Recent => self.identities.recent(&stream).await?,
            Age::Current => self.identities.current(&stream).await?,
        };
        Ok(reservation.holder)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use axum::routing::get;
    use axum::{Json, Router};
    use chrono::TimeDelta;
    use domain::reservation::{Held, ReservationEvent};
    use domain::session::{Opened, SessionEvent, VouchedBy};
    use domain::user::{
        ExternalIdentityLinked, ExternalIdentityUnlinked, Registered, UnlinkedBecause, UserEvent,
    };
    use domain::values::{DisplayName, Handle, IssuerName};
    use domain::{Event, Personal, StreamName, Version};
    use jsonwebtoken::{Algorithm, EncodingKey, Header};
    use serde_json::{Value, json};
    use tokio::net::TcpListener;

    use super::*;
    use crate::auth::testing::append;
    use crate::auth::{Guard, Tokens};
    use crate::clock::fresh_id;
    use crate::event_store::MemoryEventStore;
    use crate::issuers::testing::signer;
    use crate::issuers::{IssuerConfig, Kind, Policy};
    use crate::keys::Secret;

    /// A guard that takes the tokens of an issuer on this machine.
    struct World {
        url: String,
        clock: Clock,
        store: Arc<dyn EventStore>,
        issuers: Arc<Issuers>,
        guard: Guard,
    }

    fn name() -> IssuerName {
        IssuerName::parse("hosted").unwrap()
    }

    impl World {
        async fn new() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            let about = json!({ "issuer": url, "jwks_uri": format!("{url}/keys") });
            let keys = json!({ "keys": [signer("one").jwk] });
            let router = Router::new()
                .route(
                    "/.well-known/openid-configuration",
                    get(move || async { Json(about) }),
                )
                .route("/keys", get(move || async { Json(keys) }));
            tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
            let clock = Clock::fixed(Clock::system().now());
            let secret = Secret::new([1; 32]);
            let config = IssuerConfig {
                name: name(),
                kind: Kind::Oidc,
                url: url.clone(),
                client: None,
                policy: Policy {
                    auto_register: true,
                    link_by_verified_email: false,
                },
                audience: Some("api".to_owned()),
                webhook_secrets: vec![],
            };
            let issuers = Arc::new(Issuers::new(vec![config], &secret, &clock).unwrap());
            let store: Arc<dyn EventStore> = Arc::new(MemoryEventStore::new(clock.clone()));
            let guard = Guard::new(Tokens::new(&secret).unwrap(), &store, &clock);
            Self {
                guard: guard.with_issuers(Arc::clone(&issuers)),
                issuers,
                url,
                clock,
                store,
            }
        }

        fn claims(&self) -> Value {
            let now = self.clock.now().timestamp();
            json!({
                "iss": self.url, "aud": "api", "sub": "7", "sid": "s-1", "iat": now,
                "exp": now + 60, "preferred_username": "alice",
            })
        }

        async fn refused(&self, token: &str) -> TokenRefused {
            match self.guard.caller(token).await.unwrap_err() {
                NotLetIn::Token(refused) => refused,
                other => panic!("{other}"),
            }
        }

        async fn append(&self, stream: &StreamName, event: impl Into<Event>) {
            append(&self.store, stream, event.into()).await;
        }
    }

    /// Makes what the command side makes, without its checks.
    struct Maker {
        store: Arc<dyn EventStore>,
        issuers: Arc<Issuers>,
        user: UserId,
        admitted: AtomicU32,
    }

    #[async_trait]
    impl FirstSight for Maker {
        async fn admit(&self, token: &AccessToken) -> Result<(), Problem> {
            self.admitted.fetch_add(1, Ordering::SeqCst);
            let (user, store) = (self.user, &self.store);
            let issuer = self.issuers.get(&token.issuer).unwrap();
            let subject = token.profile.subject.clone();
            let identity = self.issuers.identity_stream(issuer, &subject);
            append(
                store,
                &identity,
                ReservationEvent::Claimed(Held { user }).into(),
            )
            .await;
            let registered = UserEvent::Registered(Registered {
                email: None,
                display_name: Personal::new(user, DisplayName::parse("Alice").unwrap()),
                handle: Handle::parse("alice").unwrap(),
                imported_from: None,
            });
            let linked = UserEvent::ExternalIdentityLinked(ExternalIdentityLinked {
                issuer: token.issuer.clone(),
                subject: Personal::new(user, subject),
                email: None,
                as_of: None,
            });
            for event in [registered, linked] {
                append(store, &StreamName::user(user), event.into()).await;
            }
            let opened = SessionEvent::Opened(Opened {
                user,
                expires_at: token.expires_at + TimeDelta::days(1),
                device: None,
                address: None,
                refresh_hash: None,
                login_epoch: 0,
                amr: [].into(),
                vouched_by: Some(VouchedBy {
                    issuer: token.issuer.clone(),
                    since: Version(2),
                }),
            });
            append(store, &StreamName::session(token.session), opened.into()).await;
            Ok(())
        }
    }

    #[tokio::test]
    async fn who_comes_first_is_made_known_where_that_can_be_done() {
        let world = World::new().await;
        let token = signer("one").sign(&world.claims());
        assert_eq!(world.refused(&token).await, TokenRefused::AccountNotReady);
        let maker = Arc::new(Maker {
            store: Arc::clone(&world.store),
            issuers: Arc::clone(&world.issuers),
            user: UserId(fresh_id()),
            admitted: AtomicU32::new(0),
        });
        let port: Arc<dyn FirstSight> = maker.clone();
        world.guard.set_first_sight(Arc::downgrade(&port));
        let caller = world.guard.caller(&token).await.unwrap();
        assert_eq!((caller.user, caller.issuer), (maker.user, Some(name())));
        // A younger token of the same login there is of the same session here.
        let mut claims = world.claims();
        claims["exp"] = (world.clock.now().timestamp() + 120).into();
        let younger = world
            .guard
            .caller(&signer("one").sign(&claims))
            .await
            .unwrap();
        assert_eq!(younger.session, caller.session);
        assert!(younger.expires_at > caller.expires_at);
        assert_eq!(maker.admitted.load(Ordering::SeqCst), 1);

        let user = StreamName::user(maker.user);
        let unlinked = UserEvent::ExternalIdentityUnlinked(ExternalIdentityUnlinked {
            issuer: name(),
            subject: Personal::new(maker.user, Subject::parse("7").unwrap()),
            because: UnlinkedBecause::DeletedByIssuer,
            as_of: None,
        });
        drop(port);
        drop(maker);
        world.append(&user, unlinked).await;
        world.clock.set(world.clock.now() + TimeDelta::seconds(1));
        let gone = world.refused(&token).await;
        assert_eq!(gone, TokenRefused::AccountNotReady, "the maker is gone");
    }

    #[tokio::test]
    async fn a_token_that_is_not_for_us_is_refused() {
        let world = World::new().await;
        let with = |name: &str, value: Value| {
            let mut claims = world.claims();
            claims[name] = value;
            signer("one").sign(&claims)
        };
        let now = world.clock.now().timestamp();
        for (token, refused) in [
            (with("aud", json!("other")), TokenRefused::Invalid),
            (with("nbf", json!(now + 61)), TokenRefused::Invalid),
            (with("exp", json!(now - 60)), TokenRefused::Expired),
            (
                with("iss", json!("https://evil.example")),
                TokenRefused::Invalid,
            ),
            (with("sub", json!("")), TokenRefused::Invalid),
            (signer("other").sign(&world.claims()), TokenRefused::Invalid),
        ] {
            assert_eq!(world.refused(&token).await, refused);
        }
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some("one".to_owned());
        let secret = URL_SAFE_NO_PAD
            .decode(signer("one").jwk["x"].as_str().unwrap())
            .unwrap();
        let key = EncodingKey::from_secret(&secret);
        let confused = jsonwebtoken::encode(&header, &world.claims(), &key).unwrap();
        assert_eq!(world.refused(&confused).await, TokenRefused::Invalid);
    }
}
