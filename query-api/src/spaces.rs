//! `GET /v1/spaces` and what is under it: a space as a member sees it, who is in it, who is banned, which
//! invites are open, and what somebody may and why. Who is not in a space is told that there is none.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::conversation::Role;
use domain::space::{self, ChannelKind, Explained, Joining, Overrides, Permission, Permissions};
use domain::{CategoryId, ConversationId, InviteId, Position, SpaceId, SpaceRoleId, UserId};
use infra::http::{Authenticated, InPath, Query};
use infra::problem::Problem;
use infra::read_models::spaces::{self as model, Member};
use infra::read_models::{Model, Snapshot};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::QueryApi;
use crate::answers::{ReadProblems, limit, page};
use crate::min_position::MinPosition;

const MODELS: [&Model; 1] = [&model::MODEL];

/// Spaces on a page, unless asked otherwise, and at most.
const SPACES: (usize, usize) = (100, 200);

/// Members and bans on a page, likewise.
const PEOPLE: (usize, usize) = (200, 1_000);

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListParams {
    /// The `next` of the page before.
    after: Option<Position>,
    /// How many: 1 to 200, 100 by default.
    #[param(value_type = Option<u64>)]
    limit: Option<usize>,
    /// Wait until everything up to this position, or this cursor, is in the answer.
    #[param(value_type = Option<String>)]
    min_position: Option<MinPosition>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct OneParams {
    /// Wait until everything up to this position, or this cursor, is in the answer.
    #[param(value_type = Option<String>)]
    min_position: Option<MinPosition>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PeopleParams {
    /// The `next` of the page before.
    after: Option<UserId>,
    /// How many: 1 to 1000, 200 by default.
    #[param(value_type = Option<u64>)]
    limit: Option<usize>,
    /// Wait until everything up to this position, or this cursor, is in the answer.
    #[param(value_type = Option<String>)]
    min_position: Option<MinPosition>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ExplainParams {
    /// In which channel; without it in the space.
    channel: Option<ConversationId>,
    /// Wait until everything up to this position, or this cursor, is in the answer.
    #[param(value_type = Option<String>)]
    min_position: Option<MinPosition>,
}

/// A space in somebody's list.
#[derive(Serialize, ToSchema)]
pub(crate) struct SpaceView {
    id: SpaceId,
    name: String,
    owner: UserId,
    /// How people come in.
    joining: Joining,
    /// Whether it is closed for now, with all its channels.
    archived: bool,
    member_count: u64,
    created_at: DateTime<Utc>,
}

/// A page of spaces.
#[derive(Serialize, ToSchema)]
pub(crate) struct SpaceList {
    /// The spaces that the asker is in, in the order of joining.
    spaces: Vec<SpaceView>,
    /// Give it as `after` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Position>,
    /// Everything up to here is in the answer.
    position: Position,
}

/// A space with what is in it.
#[derive(Serialize, ToSchema)]
pub(crate) struct SpaceAnswer {
    #[serde(flatten)]
    space: SpaceView,
    /// What the asker may in the space.
    permissions: Permissions,
    /// The roles that the asker was given.
    my_roles: BTreeSet<SpaceRoleId>,
    /// All roles, the highest first; that of everyone has the id of the space.
    roles: Vec<RoleView>,
    /// As they stand in lists.
    categories: Vec<CategoryView>,
    /// Those that the asker sees, as they stand in lists.
    channels: Vec<ChannelView>,
    /// Everything up to here is in the answer.
    position: Position,
}

/// A role.
#[derive(Serialize, ToSchema)]
pub(crate) struct RoleView {
    id: SpaceRoleId,
    name: String,
    permissions: Permissions,
    /// How high it stands.
    rank: u64,
}

/// A category.
#[derive(Serialize, ToSchema)]
pub(crate) struct CategoryView {
    id: CategoryId,
    name: String,
    /// Where it stands among the others.
    position: u64,
}

/// A channel.
#[derive(Serialize, ToSchema)]
pub(crate) struct ChannelView {
    /// Of the conversation that it is.
    id: ConversationId,
    kind: ChannelKind,
    name: String,
    /// Under what it stands; absent under none.
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<CategoryId>,
    /// Where it stands there.
    position: u64,
    /// What is otherwise in it than in the space; for those who have `manage_roles`.
    #[serde(skip_serializing_if = "Option::is_none")]
    overrides: Option<Overrides>,
    /// What the asker may in it.
    permissions: Permissions,
}

/// A member of a space.
#[derive(Serialize, ToSchema)]
pub(crate) struct SpaceMemberView {
    user: UserId,
    /// The roles that they were given.
    roles: BTreeSet<SpaceRoleId>,
    joined_at: DateTime<Utc>,
}

/// A page of members of a space.
#[derive(Serialize, ToSchema)]
pub(crate) struct SpaceMemberList {
    /// In the order of ids.
    members: Vec<SpaceMemberView>,
    /// Give it as `after` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<UserId>,
    /// Everything up to here is in the answer.
    position: Position,
}

/// Somebody who is banned.
#[derive(Serialize, ToSchema)]
pub(crate) struct BanView {
    user: UserId,
    by: UserId,
    at: DateTime<Utc>,
    /// Why, in the words of who did it.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// A page of bans.
#[derive(Serialize, ToSchema)]
pub(crate) struct BanList {
    /// In the order of ids.
    bans: Vec<BanView>,
    /// Give it as `after` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<UserId>,
    /// Everything up to here is in the answer.
    position: Position,
}

/// An invite. Its code is not told: it was, when it was made.
#[derive(Serialize, ToSchema)]
pub(crate) struct InviteView {
    id: InviteId,
    by: UserId,
    created_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<DateTime<Utc>>,
    /// How many may come in by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    uses_max: Option<u64>,
    /// How many did.
    uses: u64,
}

/// The invites that are good now.
#[derive(Serialize, ToSchema)]
pub(crate) struct InviteList {
    /// The newest first; at most 100. Without `manage_space`, those of the asker.
    invites: Vec<InviteView>,
    /// Everything up to here is in the answer.
    position: Position,
}

/// What somebody may, and why.
#[derive(Serialize, ToSchema)]
pub(crate) struct ExplainedAnswer {
    /// Of the space all; of a channel those that mean something there.
    permissions: Vec<Explained>,
    /// Everything up to here is in the answer.
    position: Position,
}

/// A space as one of its members may know it.
struct Known {
    space: model::Space,
    roles: Vec<model::Role>,
    /// Those that are needed to answer.
    channels: Vec<model::Channel>,
    asker: Member,
    inherited: Option<Role>,
}

fn space_not_found() -> Problem {
    let detail = "there is no such space, or you are not in it";
    Problem::not_found("space_not_found", detail)
}

fn missing(permission: Permission) -> Problem {
    Problem::refused(&space::Refused::PermissionMissing(permission))
}

impl Known {
    /// With all channels: what somebody may in the space itself needs none.
    async fn with_channels(
        api: &QueryApi,
        snapshot: &mut Snapshot,
        id: SpaceId,
        asker: UserId,
    ) -> Result<Self, Problem> {
        let known = Self::of(api, snapshot, id, asker).await?;
        let channels = model::channels(snapshot, id).await?;
        Ok(Self { channels, ..known })
    }

    async fn of(
        api: &QueryApi,
        snapshot: &mut Snapshot,
        id: SpaceId,
        asker: UserId,
    ) -> Result<Self, Problem> {
        let asker_as_member = model::member(snapshot, id, asker).await?;
        let space = model::one(snapshot, id).await?;
        Ok(Self {
            space: space.ok_or_else(space_not_found)?,
            roles: model::roles(snapshot, id).await?,
            channels: Vec::new(),
            asker: asker_as_member.ok_or_else(space_not_found)?,
            inherited: inherited(api, asker).await?,
        })
    }

    /// What decides on these members.
    fn rules(&self, members: &[Member]) -> Result<space::Space, Problem> {
        Ok(model::rules(
            &self.space,
            &self.roles,
            &self.channels,
            members,
        )?)
    }

    /// Of `roles`, those that there are.
    fn there(&self, roles: &BTreeSet<SpaceRoleId>) -> BTreeSet<SpaceRoleId> {
        let there = self.roles.iter().map(|role| role.role);
        there.filter(|role| roles.contains(role)).collect()
    }

    fn may(&self, channel: Option<ConversationId>) -> Result<Permissions, Problem> {
        let rules = self.rules(std::slice::from_ref(&self.asker))?;
        Ok(rules.permissions(self.asker.member, channel, self.inherited))
    }
}

/// What the role of `user` on the whole server is worth.
async fn inherited(api: &QueryApi, user: UserId) -> Result<Option<Role>, Problem> {
    let account = api.guard.account(user).await?;
    Ok(account.as_ref().and_then(Role::inherited_by))
}

fn view(space: model::Space) -> SpaceView {
    SpaceView {
        id: space.id,
        name: space.name,
        owner: space.owner,
        joining: space.joining,
        archived: space.archived,
        member_count: space.member_count,
        created_at: space.created_at,
    }
}

/// My spaces
#[utoipa::path(
    get,
    path = "/v1/spaces",
    tag = "spaces",
    params(ListParams),
    responses(
        (status = 200, description = "A page of the spaces the asker is in", body = SpaceList),
        ReadProblems,
    ),
    security(("bearer" = []))
)]
pub(crate) async fn list(
    State(api): State<QueryApi>,
    Authenticated(caller): Authenticated,
    Query(params): Query<ListParams>,
) -> Result<Json<SpaceList>, Problem> {
    let limit = limit(params.limit, SPACES.0, SPACES.1)?;
    let mut snapshot = api.snapshot(&MODELS, params.min_position).await?;
    let after = params.after.unwrap_or(Position::ZERO);
    let spaces = model::of_member(&mut snapshot, caller.user, after, limit + 1).await?;
    let (spaces, next) = page(spaces, limit, |(_, joined)| *joined);
    Ok(Json(SpaceList {
        spaces: spaces.into_iter().map(|(space, _)| view(space)).collect(),
        next,
        position: snapshot.position(),
    }))
}

/// One space
///
/// With its roles, its categories, and the channels that the asker sees.
#[utoipa::path(
    get,
    path = "/v1/spaces/{space}",
    tag = "spaces",
    params(("space" = SpaceId, Path, description = "Which"), OneParams),
    responses(
        (status = 200, description = "The space", body = SpaceAnswer),
        (status = 404, description = "`space_not_found`: there is none, or the asker is not in it", body = Problem, content_type = "application/problem+json"),
        ReadProblems,
    ),
    security(("bearer" = []))
)]
pub(crate) async fn one(
    State(api): State<QueryApi>,
    Authenticated(caller): Authenticated,
    InPath(id): InPath<SpaceId>,
    Query(params): Query<OneParams>,
) -> Result<Json<SpaceAnswer>, Problem> {
    let mut snapshot = api.snapshot(&MODELS, params.min_position).await?;
    let known = Known::with_channels(&api, &mut snapshot, id, caller.user).await?;
    let categories = model::categories(&mut snapshot, id).await?;
    let rules = known.rules(std::slice::from_ref(&known.asker))?;
    let my_roles = known.there(&known.asker.roles.0);
    let inherited = known.inherited;
    let in_space = rules.permissions(caller.user, None, inherited);
    let sees_overrides = in_space.has(Permission::ManageRoles);
    let mut channels = Vec::new();
    for channel in known.channels {
        let permissions = rules.permissions(caller.user, Some(channel.channel), inherited);
        if !permissions.has(Permission::ViewChannel) {
            continue;
        }
        let mut overrides = channel.overrides.0;
        overrides
            .roles
            .retain(|role, _| rules.roles.contains_key(role));
        let is_there = |category: &CategoryId| categories.iter().any(|it| it.category == *category);
        channels.push(ChannelView {
            id: channel.channel,
            kind: channel.kind,
            name: channel.name,
            category: channel.category.filter(is_there),
            position: channel.place,
            overrides: sees_overrides.then_some(overrides),
            permissions,
        });
    }
    let role = |role: model::Role| RoleView {
        id: role.role,
        name: role.name,
        permissions: role.permissions.0,
        rank: role.ranked,
    };
    let category = |category: model::Category| CategoryView {
        id: category.category,
        name: category.name,
        position: category.place,
    };
    Ok(Json(SpaceAnswer {
        space: view(known.space),
        permissions: in_space,
        my_roles,
        roles: known.roles.into_iter().map(role).collect(),
        categories: categories.into_iter().map(category).collect(),
        channels,
        position: snapshot.position(),
    }))
}

/// Who is in a space
#[utoipa::path(
    get,
    path = "/v1/spaces/{space}/members",
    tag = "spaces",
    params(("space" = SpaceId, Path, description = "Which"), PeopleParams),
    responses(
        (status = 200, description = "A page of members", body = SpaceMemberList),
        (status = 404, description = "`space_not_found`: there is none, or the asker is not in it", body = Problem, content_type = "application/problem+json"),
        ReadProblems,
    ),
    security(("bearer" = []))
)]
pub(crate) async fn members(
    State(api): State<QueryApi>,
    Authenticated(caller): Authenticated,
    InPath(id): InPath<SpaceId>,
    Query(params): Query<PeopleParams>,
) -> Result<Json<SpaceMemberList>, Problem> {
    let limit = limit(params.limit, PEOPLE.0, PEOPLE.1)?;
    let mut snapshot = api.snapshot(&MODELS, params.min_position).await?;
    let known = Known::of(&api, &mut snapshot, id, caller.user).await?;
    let members = model::members(&mut snapshot, id, params.after, limit + 1).await?;
    let (members, next) = page(members, limit, |last| last.member);
    let view = |member: Member| SpaceMemberView {
        user: member.member,
        roles: known.there(&member.roles.0),
        joined_at: member.joined_at,
    };
    Ok(Json(SpaceMemberList {
        members: members.into_iter().map(view).collect(),
        next,
        position: snapshot.position(),
    }))
}

/// Who is banned
#[utoipa::path(
    get,
    path = "/v1/spaces/{space}/bans",
    tag = "spaces",
    params(("space" = SpaceId, Path, description = "Which"), PeopleParams),
    responses(
        (status = 200, description = "A page of bans", body = BanList),
        (status = 403, description = "`permission_missing`: it needs `ban_members`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`space_not_found`: there is none, or the asker is not in it", body = Problem, content_type = "application/problem+json"),
        ReadProblems,
    ),
    security(("bearer" = []))
)]
pub(crate) async fn bans(
    State(api): State<QueryApi>,
    Authenticated(caller): Authenticated,
    InPath(id): InPath<SpaceId>,
    Query(params): Query<PeopleParams>,
) -> Result<Json<BanList>, Problem> {
    let limit = limit(params.limit, PEOPLE.0, PEOPLE.1)?;
    let mut snapshot = api.snapshot(&MODELS, params.min_position).await?;
    let known = Known::of(&api, &mut snapshot, id, caller.user).await?;
    if !known.may(None)?.has(Permission::BanMembers) {
        return Err(missing(Permission::BanMembers));
    }
    let bans = model::bans(&mut snapshot, id, params.after, limit + 1).await?;
    let (bans, next) = page(bans, limit, |last| last.banned);
    let view = |ban: model::Ban| BanView {
        user: ban.banned,
        by: ban.banned_by,
        at: ban.banned_at,
        reason: ban.reason,
    };
    Ok(Json(BanList {
        bans: bans.into_iter().map(view).collect(),
        next,
        position: snapshot.position(),
    }))
}

/// Which invites are open
///
/// With `manage_space` all, without it one's own.
#[utoipa::path(
    get,
    path = "/v1/spaces/{space}/invites",
    tag = "spaces",
    params(("space" = SpaceId, Path, description = "Which"), OneParams),
    responses(
        (status = 200, description = "The invites", body = InviteList),
        (status = 404, description = "`space_not_found`: there is none, or the asker is not in it", body = Problem, content_type = "application/problem+json"),
        ReadProblems,
    ),
    security(("bearer" = []))
)]
pub(crate) async fn invites(
    State(api): State<QueryApi>,
    Authenticated(caller): Authenticated,
    InPath(id): InPath<SpaceId>,
    Query(params): Query<OneParams>,
) -> Result<Json<InviteList>, Problem> {
    let mut snapshot = api.snapshot(&MODELS, params.min_position).await?;
    let known = Known::of(&api, &mut snapshot, id, caller.user).await?;
    let sees_all = known.may(None)?.has(Permission::ManageSpace);
    let most = space::SpaceRules::INVITES_MAX;
    let invites = model::invites(&mut snapshot, id, api.clock.now(), most).await?;
    let shown = invites
        .into_iter()
        .filter(|invite| sees_all || invite.created_by == caller.user);
    let view = |invite: model::Invite| InviteView {
        id: invite.invite,
        by: invite.created_by,
        created_at: invite.created_at,
        expires_at: invite.expires_at,
        uses_max: invite.uses_max,
        uses: invite.uses,
    };
    Ok(Json(InviteList {
        invites: shown.map(view).collect(),
        position: snapshot.position(),
    }))
}

/// What somebody may, and why
///
/// Each permission with what decided it: a role, an override, being the owner, or a role on the whole
/// server. Any member may ask, of channels that they see.
#[utoipa::path(
    get,
    path = "/v1/spaces/{space}/members/{user}/permissions",
    tag = "spaces",
    params(
        ("space" = SpaceId, Path, description = "Where"),
        ("user" = UserId, Path, description = "Who"),
        ExplainParams,
    ),
    responses(
        (status = 200, description = "Each permission", body = ExplainedAnswer),
        (status = 404, description = "`space_not_found`: there is none, or the asker is not in it; `no_such_member`; `channel_not_found`, also for those who do not see it", body = Problem, content_type = "application/problem+json"),
        ReadProblems,
    ),
    security(("bearer" = []))
)]
pub(crate) async fn permissions(
    State(api): State<QueryApi>,
    Authenticated(caller): Authenticated,
    InPath((id, user)): InPath<(SpaceId, UserId)>,
    Query(params): Query<ExplainParams>,
) -> Result<Json<ExplainedAnswer>, Problem> {
    let mut snapshot = api.snapshot(&MODELS, params.min_position).await?;
    let mut known = Known::of(&api, &mut snapshot, id, caller.user).await?;
    let channel = params.channel;
    let not_found = || Problem::refused(&space::Refused::ChannelNotFound);
    if let Some(channel) = channel {
        known.channels = model::channel(&mut snapshot, id, channel).await?;
    }
    if channel.is_some() && !known.may(channel)?.has(Permission::ViewChannel) {
        return Err(not_found());
    }
    let member = model::member(&mut snapshot, id, user).await?;
    let member = member.ok_or_else(|| Problem::refused(&space::Refused::NoSuchMember))?;
    let inherited = inherited(&api, user).await?;
    let rules = known.rules(&[member])?;
    let explained = rules.explain(user, channel, inherited);
    Ok(Json(ExplainedAnswer {
        permissions: explained.ok_or_else(not_found)?,
        position: snapshot.position(),
    }))
}
