//! What channels are put together under.

use axum::extract::State;
use domain::space::Act;
use domain::{CategoryId, SpaceId};
use infra::commands::Accepted;
use infra::http::{Body, InPath};
use infra::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Asked, SpaceProblems, title_if_any, title_of};
use crate::CommandApi;
use crate::answer::{Answer, Answered};
use crate::asking::{Asked as AskedBy, Asking};

/// The category to create.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateCategory {
    /// What it is called: 1 to 120 characters.
    name: String,
    /// Where it stands, among others with higher and lower numbers.
    #[serde(default)]
    position: u16,
}

/// What to change; what is left out stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeCategory {
    /// The new name: 1 to 120 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    position: Option<u16>,
}

/// Creates a category.
pub(crate) async fn create_category(
    api: &CommandApi,
    asking: Asking,
    space: SpaceId,
    request: CreateCategory,
) -> Result<Answer, Problem> {
    let category = CategoryId::created_by(asking.command);
    let act = Act::CreateCategory {
        category,
        name: title_of(&request.name)?,
        position: request.position,
    };
    let asked = Asked {
        thing: category.0,
        name: "create_category",
        fields: &request,
    };
    api.rule(asking, space, act, asked).await
}

/// Changes a category.
pub(crate) async fn change_category(
    api: &CommandApi,
    asking: Asking,
    space: SpaceId,
    category: CategoryId,
    request: ChangeCategory,
) -> Result<Answer, Problem> {
    let act = Act::ChangeCategory {
        category,
        name: title_if_any(request.name.as_deref())?,
        position: request.position,
    };
    let asked = Asked {
        thing: category.0,
        name: "change_category",
        fields: &(category, &request),
    };
    api.rule(asking, space, act, asked).await
}

/// Removes a category.
pub(crate) async fn remove_category(
    api: &CommandApi,
    asking: Asking,
    space: SpaceId,
    category: CategoryId,
) -> Result<Answer, Problem> {
    let asked = Asked {
        thing: category.0,
        name: "remove_category",
        fields: &category,
    };
    api.rule(asking, space, Act::RemoveCategory { category }, asked)
        .await
}

/// Create a category
#[utoipa::path(
    post,
    path = "/v1/spaces/{space}/categories",
    tag = "spaces",
    request_body = CreateCategory,
    params(
        ("space" = SpaceId, Path, description = "Where"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses((status = 201, body = Accepted, description = "It is created; `id` names it"), SpaceProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn post(
    State(api): State<CommandApi>,
    asked: AskedBy,
    InPath(space): InPath<SpaceId>,
    Body(request): Body<CreateCategory>,
) -> Result<Answered, Problem> {
    let created = create_category(&api, asked.asking, space, request);
    Ok(created.await?.created())
}

/// Rename or move a category
#[utoipa::path(
    patch,
    path = "/v1/spaces/{space}/categories/{category}",
    tag = "spaces",
    request_body = ChangeCategory,
    params(
        ("space" = SpaceId, Path, description = "Where"),
        ("category" = CategoryId, Path, description = "Which"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses((status = 200, body = Accepted, description = "It is so, or was already"), SpaceProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn patch(
    State(api): State<CommandApi>,
    asked: AskedBy,
    InPath((space, category)): InPath<(SpaceId, CategoryId)>,
    Body(request): Body<ChangeCategory>,
) -> Result<Answered, Problem> {
    let changed = change_category(&api, asked.asking, space, category, request);
    Ok(changed.await?.ok())
}

/// Remove a category
///
/// Its channels stand under none.
#[utoipa::path(
    delete,
    path = "/v1/spaces/{space}/categories/{category}",
    tag = "spaces",
    params(
        ("space" = SpaceId, Path, description = "Where"),
        ("category" = CategoryId, Path, description = "Which"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command; 1 to 200 bytes"),
    ),
    responses((status = 200, body = Accepted, description = "It is removed"), SpaceProblems),
    security(("bearer" = [])),
)]
pub(crate) async fn delete(
    State(api): State<CommandApi>,
    asked: AskedBy,
    InPath((space, category)): InPath<(SpaceId, CategoryId)>,
) -> Result<Answered, Problem> {
    let removed = remove_category(&api, asked.asking, space, category);
    Ok(removed.await?.ok())
}
