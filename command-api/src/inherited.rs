//! What those who run the server inherit in a conversation, looked up before it decides. Only for acts
//! that roles decide on.

use domain::UserId;
use domain::conversation::{Act, Role};
use infra::failure::Failure;

use crate::CommandApi;

impl CommandApi {
    /// The role that `asker` has at the least for `act` in a group that they are in.
    pub(crate) async fn inherited(
        &self,
        asker: UserId,
        act: &Act,
    ) -> Result<Option<Role>, Failure> {
        match act {
            Act::Rename { .. }
            | Act::ChangeSettings { .. }
            | Act::AddMember { .. }
            | Act::RemoveMember { .. }
            | Act::ChangeRole { .. }
            | Act::Delete { .. }
            | Act::Pin { .. }
            | Act::Unpin { .. }
            | Act::Send(_)
            | Act::Archive
            | Act::Unarchive => self.inherited_role(asker).await,
            Act::StartDirect { .. }
            | Act::StartGroup { .. }
            | Act::Leave
            | Act::Edit { .. }
            | Act::React { .. }
            | Act::FollowThread { .. }
            | Act::UnfollowThread { .. }
            | Act::Unreact { .. } => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::{OWNER_CODE, World, problem};

    #[tokio::test]
    async fn a_role_on_the_server_counts_at_once_in_groups_one_is_in_and_as_long_as_one_has_it() {
        let world = World::with(&["alice", "bob", "carol", "olga"]).await;
        let claim = world.post("olga", "/v1/owner");
        let claimed = claim.body(json!({ "code": OWNER_CODE })).send().await;
        assert_eq!(claimed.0, 200, "{}", claimed.1);
        let with_bob = world.group("alice", &["bob", "carol"]).await;
        let without = world.group("alice", &["carol"]).await;
        let role = format!("/v1/users/{}/system-roles/admin", world.id("bob"));
        let rename = async |group: &str, title: &str| {
            let request = world.patch("bob", &format!("/v1/conversations/{group}"));
            request.body(json!({ "title": title })).problem().await
        };
        let make_admin = async |who: &str| {
            let carol = world.id("carol");
            let path = format!("/v1/conversations/{with_bob}/members/{carol}");
            let request = world.patch(who, &path).body(json!({ "role": "admin" }));
            request.problem().await
        };
        let (done, too_low) = (problem(200, "", ""), problem(403, "role_too_low", ""));
        assert_eq!(rename(&with_bob, "Coffee").await, too_low);
        assert_eq!(world.put("olga", &role).send().await.0, 200);
        assert_eq!(rename(&with_bob, "Coffee").await, done);
        assert_eq!(make_admin("bob").await, too_low, "only an owner may");
        let outside = problem(404, "conversation_not_found", "");
        assert_eq!(rename(&without, "Coffee").await, outside);
        assert_eq!(make_admin("olga").await, outside);
        assert_eq!(world.delete("olga", &role).send().await.0, 200);
        assert_eq!(rename(&with_bob, "Tea").await, too_low);
    }
}
