//! What is made of an export.

use std::collections::BTreeMap;

use domain::conversation::{ConversationEvent, Kind, Role, Started};
use domain::values::Email;
use domain::{Actor, ConversationId, StreamName, reservation};
use serde_json::json;

use super::harness::*;
use crate::import::slack::*;

#[tokio::test]
async fn a_channel_becomes_a_group_with_its_history() {
    let server = Server::new();
    let folder = small().folder();
    let report = server.import(folder.path()).await;
    let id = ids::conversation("C1");
    let started = server.conversation(id).await.remove(0);
    let ConversationEvent::Started(Started {
        kind: Kind::Group,
        title: Some(title),
        members,
        ..
    }) = started
    else {
        panic!("{started:?}");
    };
    assert_eq!(title.value.as_str(), "general");
    let members: Vec<_> = members.iter().map(|m| (m.user, m.role)).collect();
    let expected = [
        ("U2", Role::Owner),
        ("U1", Role::Member),
        ("U3", Role::Member),
    ];
    assert_eq!(members, expected.map(|(id, role)| (ids::user(id), role)));
    assert_eq!(
        told(&server, id).await,
        [
            "U1: first",
            "U2: second to 2",
            "B1: done",
            "U3: ",
            "U2 edits 3: second",
            "U1 reacts to 3: +1::skin-tone-2",
            "U9 reacts to 3: +1::skin-tone-2",
            "U7: hi",
            "U1 edits 2: first!",
        ]
    );
    let expected = Report {
        users: Count {
            made: 6,
            existing: 0,
        },
        placeholders: 3,
        handles_changed: 1,
        conversations: Count {
            made: 1,
            existing: 0,
        },
        messages: Count {
            made: 5,
            existing: 0,
        },
        replies: 1,
        replies_without_root: 1,
        messages_without_text: 1,
        attachments_left_out: 1,
        edits: Count {
            made: 2,
            existing: 0,
        },
        reactions: Count {
            made: 2,
            existing: 0,
        },
        skipped: BTreeMap::from([
            (Reason::Notice, 1),
            (Reason::Deletion, 1),
            (Reason::ReactionWithoutUser, 1),
        ]),
        ..Report::default()
    };
    assert_eq!(report, expected);
}

#[tokio::test]
async fn everything_keeps_its_time_and_says_who_imported_it() {
    let server = Server::new();
    server.import(small().folder().path()).await;
    let stream = StreamName::conversation(ids::conversation("C1"));
    let mut times = Vec::new();
    for recorded in server.stream(&stream).await {
        let metadata = recorded.metadata().unwrap();
        assert_eq!(metadata.actor, Actor::Operator);
        times.push(metadata.occurred_at.map(|at| at.timestamp_micros()));
    }
    let second = 1_000_000;
    assert_eq!(times[0], Some(1_500_000_000 * second));
    assert_eq!(times[1], Some(1_577_836_800 * second + 100));
    assert_eq!(times[5], Some(1_577_836_900 * second));
    assert_eq!(times[6], None);
    assert_eq!(times[9], Some(1_577_923_300 * second));
}

#[tokio::test]
async fn users_are_made_with_what_is_known_of_them() {
    let server = Server::new();
    server.import(small().folder().path()).await;
    let anna = server.account("U1").await;
    assert_eq!(
        (anna.handle.as_str(), anna.display_name.as_str()),
        ("anna", "Anna A.")
    );
    assert_eq!(anna.email.unwrap().as_str(), "anna@example.org");
    assert_eq!(anna.password_hash, None);
    assert_eq!(server.account("U2").await.display_name.as_str(), "Bert");
    let other = server.account("U3").await;
    assert_eq!(
        (other.handle.as_str(), other.display_name.as_str()),
        ("anna-2", "The other Anna")
    );
    let bot = server.account("B1").await;
    assert_eq!(
        (bot.handle.as_str(), bot.display_name.as_str()),
        ("deploys", "deploys")
    );
    let guest = server.account("U7").await;
    assert_eq!(
        (guest.handle.as_str(), guest.display_name.as_str()),
        ("guest", "A Guest")
    );
    assert_eq!(server.account("U9").await.handle.as_str(), "u9");
    let found = server.api.find_user("anna-2").await.unwrap();
    assert_eq!(found.map(|(user, _)| user), Some(ids::user("U3")));
}

#[tokio::test]
async fn what_others_hold_stays_theirs() {
    let server = Server::new();
    let (stranger, _) = server.user("anna", None).await;
    let email = Email::parse("anna@example.org").unwrap();
    let claim = reservation::Command::Claim { user: stranger };
    let stream = server.api.email_stream(&email);
    server
        .command(server.api.reservations(), stream, claim)
        .await;
    let report = server.import(small().folder().path()).await;
    assert_eq!(report.emails_left_out, 1);
    assert_eq!(report.handles_changed, 2);
    let anna = server.account("U1").await;
    assert_eq!((anna.handle.as_str(), anna.email), ("anna-u1", None));
    let found = server.api.find_user("anna").await.unwrap();
    assert_eq!(found.map(|(user, _)| user), Some(stranger));
}

#[tokio::test]
async fn a_zip_of_a_folder_is_the_same_export() {
    let (one, other) = (Server::new(), Server::new());
    let folder = small().folder();
    let report = one.import(folder.path()).await;
    assert_eq!(other.import(&small().zip(folder.path())).await, report);
    assert_eq!(one.history().await, other.history().await);
}

#[tokio::test]
async fn direct_messages_groups_and_archived_channels() {
    let server = Server::new();
    let message = |text: &str| json!([{"user": "U1", "ts": "1577836800.000000", "text": text}]);
    let draft = Draft::default()
        .json("users.json", &users())
        .json(
            "dms.json",
            &json!([
            {"id": "D1", "members": ["U2", "U1"]}, {"id": "D2", "members": ["U1"]}]),
        )
        .json(
            "groups.json",
            &json!([
            {"id": "G1", "name": "secret", "creator": "U1", "members": ["U1"]}]),
        )
        .json(
            "mpims.json",
            &json!([
            {"id": "G2", "name": "mpdm-a--b--c-1", "members": ["U1", "U2", "U3"]}]),
        )
        .json(
            "channels.json",
            &json!([
            {"id": "C1", "name": "old", "is_archived": true, "members": []},
            {"id": "C1", "name": "old"}]),
        )
        .json("D1/2020-01-01.json", &message("to you"))
        .json("D2/2020-01-01.json", &message("to me"))
        .json("secret/2020-01-01.json", &message("psst"))
        .json("mpdm-a--b--c-1/2020-01-01.json", &message("to all"))
        .json("old/2020-01-01.json", &message("once"));
    let (owner, _) = server.user("owner", None).await;
    let by = Importer {
        actor: Actor::User(owner),
        owner: Some(owner),
    };
    let folder = draft.folder();
    let export = || Export::open(folder.path()).unwrap();
    let report = import(&server.api, export(), by, |_| {}).await.unwrap();
    assert_eq!(report.conversations.made, 5);
    assert_eq!(report.messages.made, 5);
    assert_eq!(report.skipped, BTreeMap::from([(Reason::Repeated, 1)]));
    let direct = ConversationId::direct(ids::user("U1"), ids::user("U2"));
    assert_eq!(told(&server, direct).await, ["U1: to you"]);
    let members = async |id: ConversationId| match server.conversation(id).await.remove(0) {
        ConversationEvent::Started(started) => {
            let members = started.members.into_iter();
            members.map(|member| member.user).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(members(ids::conversation("D2")).await, [ids::user("U1")]);
    assert_eq!(members(ids::conversation("G1")).await, [ids::user("U1")]);
    assert_eq!(members(ids::conversation("G2")).await.len(), 3);
    assert_eq!(members(ids::conversation("C1")).await, [owner]);
    let old = server.conversation(ids::conversation("C1")).await;
    assert!(matches!(old[2], ConversationEvent::Archived(_)), "{old:?}");
    let head = server.head();
    import(&server.api, export(), by, |_| {}).await.unwrap();
    assert_eq!(server.head(), head);
}
