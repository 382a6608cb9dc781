//! What people do in spaces: they come in by invites, get roles, talk in channels that others do not see,
//! and are put out.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Answer, Listener, Person};

use crate::site::Site;

/// How long a change may take until every node goes by it: half a second, and what a busy machine adds.
const HEARD_WITHIN: Duration = Duration::from_secs(10);

/// Before the same is asked again.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// A space of somebody's, with a channel for all and one that only its owner sees.
struct House<'a> {
    owner: &'a Person,
    space: String,
    open: String,
    hidden: String,
}

impl<'a> House<'a> {
    async fn of(owner: &'a Person) -> Self {
        let space = id_of(
            &owner
                .post("/v1/spaces", json!({"name": "Tea house"}))
                .await
                .ok(),
        );
        let channels = format!("/v1/spaces/{space}/channels");
        let channel = async |name: &str, position: u16| {
            let channel = json!({"name": name, "kind": "text", "position": position});
            id_of(&owner.post(&channels, channel).await.ok())
        };
        let house = Self {
            open: channel("general", 0).await,
            hidden: channel("kitchen", 1).await,
            owner,
            space,
        };
        let everyone = house.space.clone();
        house.shows_hidden_to(&everyone, "deny").await;
        house
    }

    fn at(&self, path: &str) -> String {
        format!("/v1/spaces/{}{path}", self.space)
    }

    async fn shows_hidden_to(&self, role: &str, what: &str) -> Value {
        let path = self.at(&format!("/channels/{}/overrides/roles/{role}", self.hidden));
        let set = json!({ what: ["view_channel"] });
        put(self.owner, &path, set).await.ok()
    }

    async fn invites(&self, guest: &Person) -> Value {
        let code = self.code().await;
        guest
            .post(&format!("/v1/invites/{code}"), Value::Null)
            .await
            .ok()
    }

    async fn code(&self) -> String {
        let invite = json!({"uses_max": 5, "expires_in_s": 3_600});
        let invite = self.owner.post(&self.at("/invites"), invite).await.ok();
        invite["code"].as_str().expect("a code").to_owned()
    }

    async fn role(&self, name: &str, rank: u16, permissions: Value) -> String {
        let role = json!({"name": name, "rank": rank, "permissions": permissions});
        id_of(&self.owner.post(&self.at("/roles"), role).await.ok())
    }

    async fn gives(&self, whom: &Person, role: &str) -> Value {
        let path = self.at(&format!("/members/{}/roles/{role}", whom.id));
        put(self.owner, &path, Value::Null).await.ok()
    }

    /// The names of the channels that `who` sees in the space, as of `since`.
    async fn channels_of(&self, who: &Person, since: &Value) -> Vec<String> {
        let path = self.at(&format!("?min_position={}", since["position"]));
        let seen = who.get(&path).await.ok();
        let channels = seen["channels"].as_array().expect("channels").iter();
        channels
            .map(|channel| channel["name"].as_str().expect("a name").to_owned())
            .collect()
    }
}

async fn three(site: &Site) -> [Person; 3] {
    [
        site.person("anna").await,
        site.person("bob").await,
        site.person("carol").await,
    ]
}

fn id_of(answer: &Value) -> String {
    answer["id"].as_str().expect("an id").to_owned()
}

async fn put(person: &Person, path: &str, body: Value) -> Answer {
    person.ask(Method::PUT, path, Some(body), &[]).await
}

async fn patch(person: &Person, path: &str, body: Value) -> Answer {
    person.ask(Method::PATCH, path, Some(body), &[]).await
}

async fn delete(person: &Person, path: &str) -> Answer {
    person.ask(Method::DELETE, path, None, &[]).await
}

/// Asks until the answer has this status: another node hears of a change a little later.
async fn until(status: u16, mut ask: impl AsyncFnMut() -> Answer) -> Answer {
    let asking = async {
        loop {
            let answer = ask().await;
            if answer.status.as_u16() == status {
                return answer;
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    };
    tokio::time::timeout(HEARD_WITHIN, asking)
        .await
        .expect("it is heard of")
}

pub(crate) async fn a_hidden_channel_is_opened_by_a_role_and_closed_by_a_kick(site: &Site) {
    let (anna, bob) = (site.person("anna").await, site.person("bob").await);
    let house = House::of(&anna).await;
    let joined = house.invites(&bob).await;
    assert_eq!(house.channels_of(&bob, &joined).await, ["general"]);
    bob.says(&house.open, "Hello!").await;
    let messages = format!("/v1/conversations/{}/messages", house.hidden);
    let say = async || bob.post(&messages, json!({"body": "Anybody?"})).await;
    say().await.problem(404, "conversation_not_found");

    let (mut listener, _) = Listener::live(&bob).await;
    let cooks = house.role("Cooks", 3, json!(["manage_messages"])).await;
    house.shows_hidden_to(&cooks, "allow").await;
    let given = house.gives(&bob, &cooks).await;
    let taken_in = listener.wait_for_event("member-added").await;
    assert_eq!(taken_in["conversation"], house.hidden.as_str());
    assert_eq!(
        house.channels_of(&bob, &given).await,
        ["general", "kitchen"]
    );
    until(201, async || say().await).await;
    let seq = anna.says(&house.hidden, "The soup is ready").await;
    while listener.wait_for_event("message-sent").await["seq"] != seq {}
    let path = format!("/v1/conversations/{}/messages/{seq}", house.hidden);
    until(200, async || delete(&bob, &path).await).await;
    let path = format!(
        "/v1/conversations/{}?min_position={}",
        house.hidden, given["position"]
    );
    let channel = bob.get(&path).await.ok();
    assert_eq!(channel["kind"], "channel");
    assert_eq!(channel["space"], house.space.as_str());

    let kicked = delete(&anna, &house.at(&format!("/members/{}", bob.id)))
        .await
        .ok();
    let mut closed = Vec::new();
    while closed.len() < 2 {
        let reset = listener.wait_for("reset").await;
        assert_eq!(reset["reason"], "removed");
        closed.push(reset["conversation"].as_str().expect("an id").to_owned());
    }
    closed.sort_unstable();
    let mut both = [house.open.clone(), house.hidden.clone()];
    both.sort_unstable();
    assert_eq!(closed, both);
    say().await.problem(404, "conversation_not_found");
    let path = house.at(&format!("?min_position={}", kicked["position"]));
    bob.get(&path).await.problem(404, "space_not_found");
}

pub(crate) async fn who_is_banned_is_kept_out_and_a_space_changes_hands(site: &Site) {
    let [anna, bob, carol] = three(site).await;
    let house = House::of(&anna).await;
    house.invites(&bob).await;
    house.invites(&carol).await;
    let ban = house.at(&format!("/bans/{}", bob.id));
    put(&carol, &ban, json!({}))
        .await
        .problem(403, "permission_missing");
    let banned = put(&anna, &ban, json!({"reason": "spam"})).await.ok();
    let code = house.code().await;
    let invite = format!("/v1/invites/{code}");
    bob.post(&invite, Value::Null).await.problem(403, "banned");
    let path = house.at(&format!("/bans?min_position={}", banned["position"]));
    let bans = anna.get(&path).await.ok();
    assert_eq!(bans["bans"][0]["reason"], "spam");
    carol.get(&path).await.problem(403, "permission_missing");
    bob.post("/v1/invites/vi_nonsense", Value::Null)
        .await
        .problem(404, "invite_not_found");

    let to_carol = json!({ "user": carol.id });
    let owner = house.at("/owner");
    put(&carol, &owner, to_carol.clone())
        .await
        .problem(403, "not_the_owner");
    let transferred = put(&anna, &owner, to_carol).await.ok();
    assert_eq!(
        house.channels_of(&carol, &transferred).await,
        ["general", "kitchen"]
    );
    assert_eq!(house.channels_of(&anna, &transferred).await, ["general"]);
    delete(&carol, &ban).await.ok();
    bob.post(&invite, Value::Null).await.ok();
    delete(&carol, &house.at(&format!("/members/{}", carol.id)))
        .await
        .problem(409, "owner_must_stay");
    delete(&anna, &house.at(&format!("/members/{}", anna.id)))
        .await
        .ok();
}

pub(crate) async fn whoever_asks_why_is_told(site: &Site) {
    let (anna, bob) = (site.person("anna").await, site.person("bob").await);
    let house = House::of(&anna).await;
    house.invites(&bob).await;
    let cooks = house.role("Cooks", 3, json!(["manage_messages"])).await;
    house.shows_hidden_to(&cooks, "allow").await;
    let given = house.gives(&bob, &cooks).await;
    let explain = |channel: &str| {
        let path = format!(
            "/members/{}/permissions?channel={channel}&min_position={}",
            bob.id, given["position"]
        );
        house.at(&path)
    };
    let why = async |channel: &str, permission: &str| {
        let explained = anna.get(&explain(channel)).await.ok();
        let all = explained["permissions"]
            .as_array()
            .expect("permissions")
            .clone();
        let found = all.into_iter().find(|it| it["permission"] == permission);
        found.expect("it is explained")
    };
    let view = why(&house.hidden, "view_channel").await;
    assert_eq!(view["allowed"], true);
    assert_eq!(
        view["because"],
        json!({"source": "role_override", "role": cooks})
    );
    let manage = why(&house.hidden, "manage_messages").await;
    assert_eq!(manage["because"], json!({"source": "role", "role": cooks}));
    let pin = why(&house.open, "pin_messages").await;
    assert_eq!(
        (&pin["allowed"], &pin["because"]["source"]),
        (&json!(false), &json!("not_given"))
    );
    let space = house.at(&format!("/members/{}/permissions", anna.id));
    let owner = bob.get(&space).await.ok();
    let mut sources = owner["permissions"].as_array().expect("permissions").iter();
    assert!(sources.all(|it| it["because"]["source"] == "owner"));
    let stranger = site.person("carol").await;
    stranger.get(&space).await.problem(404, "space_not_found");
}

pub(crate) async fn who_runs_a_space_arranges_its_channels(site: &Site) {
    let (anna, bob) = (site.person("anna").await, site.person("bob").await);
    let house = House::of(&anna).await;
    patch(&anna, &house.at(""), json!({"joining": "open"}))
        .await
        .ok();
    bob.post(&house.at("/join"), Value::Null).await.ok();
    let own = house.at(&format!("/members/{}", bob.id));
    let left = delete(&bob, &own).await.ok();
    let path = house.at(&format!("?min_position={}", left["position"]));
    bob.get(&path).await.problem(404, "space_not_found");
    bob.post(&house.at("/join"), Value::Null).await.ok();

    let front = json!({"name": "Front"});
    let front = id_of(&anna.post(&house.at("/categories"), front).await.ok());
    let voice = json!({"name": "Lounge", "kind": "voice", "category": front, "position": 5});
    let salon = id_of(&anna.post(&house.at("/channels"), voice).await.ok());
    let path = house.at(&format!("/channels/{salon}"));
    patch(&anna, &path, json!({"name": "Salon"})).await.ok();
    let place = json!({"category": null, "position": 2});
    let moved = patch(&anna, &path, place).await.ok();
    assert_eq!(house.channels_of(&bob, &moved).await, ["general", "Salon"]);
    let path = house.at(&format!("?min_position={}", moved["position"]));
    let seen = bob.get(&path).await.ok();
    assert_eq!(seen["categories"][0]["id"], front);
    let channel = &seen["channels"][1];
    assert_eq!(
        (&channel["id"], &channel["kind"]),
        (&json!(salon), &json!("voice"))
    );
    assert!(channel.get("category").is_none());
    assert!(channel.get("overrides").is_none());
    let seen = anna.get(&path).await.ok();
    assert!(seen["channels"][1].get("overrides").is_some());

    let archived = house.at("/archived");
    put(&anna, &archived, Value::Null).await.ok();
    let messages = format!("/v1/conversations/{}/messages", house.open);
    anna.post(&messages, json!({"body": "Anybody?"}))
        .await
        .problem(409, "conversation_archived");
    delete(&anna, &archived).await.ok();
    anna.says(&house.open, "We are open again").await;
}

pub(crate) async fn what_members_may_is_set_for_each(site: &Site) {
    let (anna, bob) = (site.person("anna").await, site.person("bob").await);
    let house = House::of(&anna).await;
    house.invites(&bob).await;
    let messages = format!("/v1/conversations/{}/messages", house.open);
    let say = async || bob.post(&messages, json!({"body": "Hello!"})).await;
    let own = house.at(&format!(
        "/channels/{}/overrides/members/{}",
        house.open, bob.id
    ));
    put(&anna, &own, json!({"deny": ["send_messages"]}))
        .await
        .ok();
    until(403, async || say().await)
        .await
        .problem(403, "permission_missing");
    let late = json!({"deny": ["speak"], "were": {"allow": [], "deny": []}});
    put(&anna, &own, late)
        .await
        .problem(409, "changed_meanwhile");
    put(&anna, &own, json!({})).await.ok();
    until(201, async || say().await).await;
    let call = json!({"body": "Hello!", "mentions": [{"role": "admin"}]});
    bob.post(&messages, call)
        .await
        .problem(422, "no_roles_in_channel");

    let waiters = house.role("Waiters", 2, json!([])).await;
    house.gives(&bob, &waiters).await;
    let seq = anna.says(&house.open, "Remember this").await;
    let pin = format!("/v1/conversations/{}/messages/{seq}/pin", house.open);
    put(&bob, &pin, Value::Null)
        .await
        .problem(403, "permission_missing");
    let role = json!({"permissions": ["pin_messages"], "permissions_were": []});
    patch(&anna, &house.at(&format!("/roles/{waiters}")), role)
        .await
        .ok();
    until(200, async || put(&bob, &pin, Value::Null).await).await;

    let channel = format!("/v1/conversations/{}", house.open);
    patch(&anna, &channel, json!({"slow_mode_s": 30}))
        .await
        .ok();
    say().await.ok();
    say().await.problem(409, "slow_mode");
    anna.says(&house.open, "I need not wait").await;
    anna.says(&house.open, "not at all").await;
}

pub(crate) async fn a_role_is_called_and_those_who_have_it_are_told(site: &Site) {
    let [anna, bob, carol] = three(site).await;
    let house = House::of(&anna).await;
    house.invites(&bob).await;
    house.invites(&carol).await;
    let cooks = house.role("Cooks", 3, json!([])).await;
    house.gives(&bob, &cooks).await;
    let messages = format!("/v1/conversations/{}/messages", house.open);
    let call = async |who: &Person, role: &str| {
        let call = json!({"body": "Dinner?", "mentions": [{ "space_role": role }]});
        who.post(&messages, call).await
    };
    call(&bob, &cooks).await.problem(403, "permission_missing");
    // The role of everyone is called by `everyone`.
    for none in [bob.id.as_str(), house.space.as_str()] {
        call(&anna, none).await.problem(404, "role_not_found");
    }
    let called = call(&anna, &cooks).await.ok();
    let told = async |who: &Person| {
        let position = &called["position"];
        let path = format!("/v1/conversations/{}?min_position={position}", house.open);
        let channel = who.get(&path).await.ok();
        let path = format!("/v1/notifications?min_position={position}");
        let list = who.get(&path).await.ok();
        let notice = &list["notifications"][0];
        let notice = [notice["kind"].clone(), notice["message"].clone()];
        (channel["mention_count"].clone(), notice)
    };
    let mention = [json!("mention"), called["seq"].clone()];
    assert_eq!(told(&bob).await, (json!(1), mention));
    let nothing = [Value::Null, Value::Null];
    assert_eq!(told(&carol).await, (json!(0), nothing));
}

pub(crate) async fn an_invite_is_used_up_revoked_and_gone_with_its_maker(site: &Site) {
    let [anna, bob, carol] = three(site).await;
    let house = House::of(&anna).await;
    let invites = house.at("/invites");
    let code_of = |invite: &Value| {
        let code = invite["code"].as_str().expect("a code");
        format!("/v1/invites/{code}")
    };
    let once = anna.post(&invites, json!({"uses_max": 1})).await.ok();
    bob.post(&code_of(&once), Value::Null).await.ok();
    // Who is in is in, whatever has become of the invite.
    let again = bob.post(&code_of(&once), Value::Null).await.ok();
    carol
        .post(&code_of(&once), Value::Null)
        .await
        .problem(404, "invite_not_found");
    let path = house.at(&format!("/invites?min_position={}", again["position"]));
    let open = anna.get(&path).await.ok();
    assert_eq!(open["invites"], json!([]), "it is used up");

    let second = anna.post(&invites, json!({})).await.ok();
    delete(&anna, &house.at(&format!("/invites/{}", id_of(&second))))
        .await
        .ok();
    carol
        .post(&code_of(&second), Value::Null)
        .await
        .problem(404, "invite_not_found");
    let of_bob = bob.post(&invites, json!({})).await.ok();
    delete(&anna, &house.at(&format!("/members/{}", bob.id)))
        .await
        .ok();
    carol
        .post(&code_of(&of_bob), Value::Null)
        .await
        .problem(404, "invite_not_found");
}
