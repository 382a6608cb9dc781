//! `GET /v1/users/me`, `GET /v1/users/{user}` and the directory: `GET /v1/users?handle=` and
//! `GET /v1/users?query=`.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::user::SystemRole;
use domain::values::Handle;
use domain::{Position, UserId};
use infra::auth::Caller;
use infra::http::{Authenticated, InPath, Query};
use infra::problem::Problem;
use infra::read_models::users::{self as model, Search, User};
use infra::read_models::words::words;
use infra::read_models::{Model, Snapshot, members};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::QueryApi;
use crate::answers::{ReadProblems, limit, page};
use crate::attachments::{AvatarView, Signer};
use crate::min_position::MinPosition;

const MODELS: [&Model; 1] = [&model::MODEL];

/// For whether two share a conversation.
const WITH_MEMBERS: [&Model; 2] = [&model::MODEL, &members::MODEL];

/// Users on a page of the directory, unless said otherwise, and at most.
const PAGE: usize = 20;
const PAGE_MAX: usize = 100;

/// Beginnings of words in a query, at most.
const BEGINNINGS_MAX: usize = 5;

/// Characters that one of them has at least, so that nobody leafs through everybody letter by letter.
const BEGINNING_CHARACTERS_MIN: usize = 2;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct OneParams {
    /// Wait until everything up to this position, or this cursor, is in the answer.
    #[param(value_type = Option<String>)]
    pub(crate) min_position: Option<MinPosition>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListParams {
    /// The one user with this handle, in any case. Not together with `query`.
    handle: Option<String>,
    /// Users whose handle or display name has words that begin like each of these words, whatever
    /// their case and accents: 1 to 5 words, one of 2 characters at least. Not together with `handle`.
    query: Option<String>,
    /// Of a query: those after this handle, from `next`.
    after: Option<String>,
    /// Of a query: how many, 1 to 100; 20 unless said otherwise.
    limit: Option<usize>,
    /// Wait until everything up to this position, or this cursor, is in the answer.
    #[param(value_type = Option<String>)]
    min_position: Option<MinPosition>,
}

/// A user as everybody sees them.
#[derive(Serialize, ToSchema)]
pub(crate) struct UserView {
    id: UserId,
    handle: String,
    display_name: String,
    registered_at: DateTime<Utc>,
    /// Whether they may come in: not suspended, not deactivated.
    active: bool,
    /// Whether a service acts as this user, and no person.
    bot: bool,
    /// What they are up to.
    #[serde(skip_serializing_if = "Option::is_none")]
    status_text: Option<String>,
    /// Where their clock is, by the name in the tz database.
    #[serde(skip_serializing_if = "Option::is_none")]
    time_zone: Option<String>,
    /// How to speak of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pronouns: Option<String>,
    /// Their picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    avatar: Option<AvatarView>,
}

/// A user.
#[derive(Serialize, ToSchema)]
pub(crate) struct UserAnswer {
    #[serde(flatten)]
    user: UserView,
    /// Everything up to here is in the answer.
    position: Position,
}

/// The asker, with what only they see of themselves.
#[derive(Serialize, ToSchema)]
pub(crate) struct MeAnswer {
    #[serde(flatten)]
    user: UserView,
    /// Absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    /// Whether the address is known to be theirs: a code that was mailed there came back, or an issuer
    /// says so.
    email_verified: bool,
    system_roles: BTreeSet<SystemRole>,
    /// Their language, as they set it.
    #[serde(skip_serializing_if = "Option::is_none")]
    locale: Option<String>,
    /// Where the account came from, if it was imported.
    #[serde(skip_serializing_if = "Option::is_none")]
    imported_from: Option<String>,
    /// Everything up to here is in the answer.
    position: Position,
}

/// Users of the directory; of a handle one or none.
#[derive(Serialize, ToSchema)]
pub(crate) struct UserList {
    users: Vec<UserView>,
    /// Where there are more: `after` of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// Everything up to here is in the answer.
    position: Position,
}

fn view(user: User, signer: &Signer) -> UserView {
    UserView {
        active: user.is_active(signer.now),
        bot: user.service.is_some(),
        id: user.id,
        handle: user.handle,
        display_name: user.display_name,
        registered_at: user.registered_at,
        status_text: user.status_text,
        time_zone: user.time_zone,
        pronouns: user.pronouns,
        avatar: user.avatar.map(|avatar| signer.avatar(avatar)),
    }
}

/// `user` as `asker` sees them: who is not active is there only for those who share a conversation
/// with them, and for those who run the server.
async fn seen_by(
    snapshot: &mut Snapshot,
    asker: &Caller,
    user: Option<User>,
    signer: &Signer,
) -> Result<Option<UserView>, Problem> {
    let Some(user) = user else {
        return Ok(None);
    };
    let is_seen = user.is_active(signer.now)
        || user.id == asker.user
        || asker.is_admin()
        || members::share(snapshot, asker.user, user.id).await?;
    Ok(is_seen.then(|| view(user, signer)))
}

pub(crate) fn user_not_found() -> Problem {
    Problem::not_found("user_not_found", "there is no such user")
}

/// Myself
#[utoipa::path(
    get,
    path = "/v1/users/me",
    tag = "users",
    params(OneParams),
    responses(
        (status = 200, description = "The asker", body = MeAnswer),
        (status = 404, description = "`user_not_found`: the account is so new that the read models do not have it yet; give `min_position`", body = Problem, content_type = "application/problem+json"),
        ReadProblems,
    ),
    security(("bearer" = []))
)]
pub(crate) async fn me(
    State(api): State<QueryApi>,
    Authenticated(caller): Authenticated,
    Query(params): Query<OneParams>,
) -> Result<Json<MeAnswer>, Problem> {
    let mut snapshot = api.snapshot(&MODELS, params.min_position).await?;
    let user = model::one(&mut snapshot, caller.user)
        .await?
        .ok_or_else(user_not_found)?;
    Ok(Json(MeAnswer {
        email_verified: user.is_email_verified(),
        email: user.email.clone(),
        system_roles: user.system_roles.clone(),
        locale: user.locale.clone(),
        imported_from: user.imported_from.clone(),
        user: view(user, &api.signer()),
        position: snapshot.position(),
    }))
}

/// One user
///
/// Who is suspended or deactivated is shown, with `active` false, to those who share or shared a
/// conversation with them; for others they do not exist.
#[utoipa::path(
    get,
    path = "/v1/users/{user}",
    tag = "users",
    params(("user" = UserId, Path, description = "Which user"), OneParams),
    responses(
        (status = 200, description = "The user", body = UserAnswer),
        (status = 404, description = "`user_not_found`", body = Problem, content_type = "application/problem+json"),
        ReadProblems,
    ),
    security(("bearer" = []))
)]
pub(crate) async fn one(
    State(api): State<QueryApi>,
    Authenticated(caller): Authenticated,
    InPath(id): InPath<UserId>,
    Query(params): Query<OneParams>,
) -> Result<Json<UserAnswer>, Problem> {
    let mut snapshot = api.snapshot(&WITH_MEMBERS, params.min_position).await?;
    let user = model::one(&mut snapshot, id).await?;
    let user = seen_by(&mut snapshot, &caller, user, &api.signer()).await?;
    Ok(Json(UserAnswer {
        user: user.ok_or_else(user_not_found)?,
        position: snapshot.position(),
    }))
}

/// The directory
///
/// With `handle` the one user who has it. With `query` users whose handle or display name fits, in the
/// order of their handles: only those who are active and want to be found (see the preference
/// `discoverable`), and nobody whom the asker blocks or who blocks them. Never by e-mail address.
#[utoipa::path(
    get,
    path = "/v1/users",
    tag = "users",
    params(ListParams),
    responses(
        (status = 200, description = "The users, or an empty list", body = UserList),
        ReadProblems,
    ),
    security(("bearer" = []))
)]
pub(crate) async fn list(
    State(api): State<QueryApi>,
    Authenticated(caller): Authenticated,
    Query(params): Query<ListParams>,
) -> Result<Json<UserList>, Problem> {
    match (&params.handle, &params.query) {
        (Some(handle), None) => by_handle(&api, &caller, handle, &params).await,
        (None, Some(query)) => by_words(&api, &caller, query, &params).await,
        (None, None) | (Some(_), Some(_)) => {
            let rule = "give one of handle and query";
            Err(Problem::invalid_query("query", rule))
        }
    }
}

async fn by_handle(
    api: &QueryApi,
    caller: &Caller,
    handle: &str,
    params: &ListParams,
) -> Result<Json<UserList>, Problem> {
    if params.after.is_some() || params.limit.is_some() {
        let rule = "a handle is one user's; there are no pages";
        return Err(Problem::invalid_query("handle", rule));
    }
    let handle =
        Handle::parse(handle).map_err(|invalid| Problem::invalid_query("handle", invalid))?;
    let mut snapshot = api.snapshot(&WITH_MEMBERS, params.min_position).await?;
    let user = model::by_handle(&mut snapshot, handle.as_str()).await?;
    let user = seen_by(&mut snapshot, caller, user, &api.signer()).await?;
    Ok(Json(UserList {
        users: user.into_iter().collect(),
        next: None,
        position: snapshot.position(),
    }))
}

async fn by_words(
    api: &QueryApi,
    caller: &Caller,
    query: &str,
    params: &ListParams,
) -> Result<Json<UserList>, Problem> {
    let limit = limit(params.limit, PAGE, PAGE_MAX)?;
    let beginnings: Vec<String> = words(query).take(BEGINNINGS_MAX + 1).collect();
    let is_long = |beginning: &String| beginning.chars().count() >= BEGINNING_CHARACTERS_MIN;
    if beginnings.len() > BEGINNINGS_MAX || !beginnings.iter().any(is_long) {
        let rule = "a query has 1 to 5 words, one of 2 characters at least";
        return Err(Problem::invalid_query("query", rule));
    }
    let mut snapshot = api.snapshot(&MODELS, params.min_position).await?;
    let signer = api.signer();
    let search = Search {
        beginnings: &beginnings,
        asker: caller.user,
        now: signer.now,
        after: params.after.as_deref().unwrap_or_default(),
        limit: limit + 1,
    };
    let users = model::search(&mut snapshot, &search).await?;
    let (users, next) = page(users, limit, |last| last.handle.clone());
    Ok(Json(UserList {
        next,
        users: users.into_iter().map(|user| view(user, &signer)).collect(),
        position: snapshot.position(),
    }))
}
