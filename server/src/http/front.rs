//! What every request passes before it reaches a route, in order.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use infra::auth::Guard;
use infra::limits::Proxies;
use tower::ServiceBuilder;
use tower_http::cors::CorsLayer;

use crate::http::limits::Limiters;
use crate::http::security::Encryption;
use crate::http::timeouts::Timeouts;
use crate::http::{address, cors, heads, limits, request, security, timeouts, unread};
use crate::settings::Edge;

/// What stands before the routes.
pub(crate) struct Front {
    /// Counts requests.
    pub(crate) limiters: Arc<Limiters>,
    /// Whose word about addresses is taken.
    pub(crate) proxies: Arc<Proxies>,
    timeouts: Timeouts,
    encryption: Encryption,
    cors: Option<CorsLayer>,
}

impl Front {
    pub(crate) fn new(edge: &Edge) -> Self {
        Self {
            limiters: Arc::new(Limiters::new(edge)),
            proxies: Arc::new(Proxies::new(edge.trusted_proxies.clone())),
            timeouts: Timeouts {
                request_max: Duration::from_secs(edge.request_seconds_max.into()),
                body_max: Duration::from_secs(edge.body_seconds_max.into()),
            },
            encryption: if edge.tls_cert.is_some() {
                Encryption::Ours
            } else {
                Encryption::NotOurs
            },
            cors: cors::layer(edge),
        }
    }

    /// Puts itself before `router`. It is one layer, as each layer of a router is boxed and copied for
    /// each request.
    pub(super) fn before(&self, router: Router, guard: &Arc<Guard>) -> Router {
        let proxies = Arc::clone(&self.proxies);
        let counted = (Arc::clone(&self.limiters), Arc::clone(guard));
        let layers = ServiceBuilder::new()
            .layer(from_fn_with_state(proxies, address::find))
            .layer(from_fn(request::observe))
            .layer(from_fn_with_state(self.encryption, security::headers))
            // Browsers have to be able to read what is refused, too.
            .option_layer(self.cors.clone())
            .layer(from_fn(unread::drain))
            .layer(from_fn(heads::check))
            .layer(from_fn_with_state(self.timeouts, timeouts::bound))
            .layer(from_fn_with_state(counted, limits::limit));
        router.layer(layers)
    }
}
