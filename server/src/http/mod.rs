//! All routes of the process on one listener.

mod address;
mod classes;
mod cors;
mod front;
mod heads;
mod limits;
mod operations;
mod rebuild;
mod request;
mod security;
mod status;
mod timeouts;
mod unread;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use infra::auth::Caller;
use infra::problem::Problem;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::SwaggerUi;

use crate::cli::CliResult;
use crate::role::Role;
use crate::serve::Server;

pub(crate) use front::Front;
pub(crate) use rebuild::Line as RebuildLine;

/// Largest request body, in bytes, except where a route says otherwise; more is 413.
const BODY_BYTES_MAX: usize = 256 * 1024;

/// Every route of the process's role, with its description.
fn described(server: &Server) -> OpenApiRouter {
    let role = server.node.role;
    let mut routes = OpenApiRouter::with_openapi(api_description());
    if role.does(Role::CommandApi) {
        routes = routes
            .merge(command_api::routes(server.node.command_api.clone()))
            .merge(command_api::import::slack::routes(server.slack.clone()));
    }
    if role.does(Role::QueryApi) {
        routes = routes.merge(query_api::routes(server.query_api.clone()));
    }
    if let Some(gateway) = &server.gateway {
        routes = routes.merge(gateway::routes(Arc::clone(gateway)));
    }
    routes = routes.merge(status::routes(server.clone()));
    if role.does(Role::Projector) {
        routes = routes.merge(rebuild::routes(server.clone()));
    }
    routes.merge(operations::routes(server.clone()))
}

/// The description of all routes, whatever the role of this process: a cluster has one API.
const WHOLE_API: &str = include_str!("../../../docs/openapi.json");

/// The routes of the process's role, the description of the API at `/openapi.json` and a page about it
/// at `/docs`.
pub(crate) fn router(server: &Server) -> CliResult<Router> {
    let (router, description) = described(server).split_for_parts();
    let description = match server.node.role {
        Role::All => serde_json::to_value(description)?,
        _ => serde_json::from_str(WHOLE_API)?,
    };
    let page = SwaggerUi::new("/docs").external_url_unchecked("/openapi.json", description);
    let router = router
        .merge(page)
        .fallback(request::no_route)
        .method_not_allowed_fallback(request::no_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(CatchPanicLayer::custom(request::panicked));
    Ok(server.front.before(router, &server.node.guard))
}

/// 403 `forbidden` for everybody but analysts, admins and owners.
fn analysts_only(caller: &Caller) -> Result<(), Problem> {
    if caller.is_analyst() {
        Ok(())
    } else {
        Err(Problem::forbidden(
            "this is for analysts, admins and owners of the server",
        ))
    }
}

fn api_description() -> OpenApi {
    let mut description = OpenApi::default();
    "Verbatim".clone_into(&mut description.info.title);
    env!("CARGO_PKG_VERSION").clone_into(&mut description.info.version);
    description.info.description = Some(include_str!("api.md").to_owned());
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    description
        .components
        .get_or_insert_default()
        .add_security_scheme("bearer", bearer);
    description
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::node::Node;
    use crate::serve::Server;
    use crate::settings::{Given, Settings};

    /// Set by `cargo xtask generate`: write the description instead of comparing with it.
    const WRITE: &str = "VERBATIM_TEST_WRITE_GENERATED";

    #[tokio::test]
    async fn the_committed_description_is_the_served_one() {
        let folder = tempfile::tempdir().unwrap();
        let given = Given {
            data_dir: Some(folder.path().to_owned()),
            ..Given::default()
        };
        let settings = Settings::load(&given, None).unwrap();
        let node = Node::open(&settings).await.unwrap();
        let server = Server::new(node.into(), &settings).await.unwrap();
        let described = super::described(&server)
            .into_openapi()
            .to_pretty_json()
            .unwrap()
            + "\n";
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
        if std::env::var_os(WRITE).is_some() {
            std::fs::write(&path, &described).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap();
        assert!(
            committed == described,
            "docs/openapi.json is old: run `cargo xtask generate`"
        );
    }
}
