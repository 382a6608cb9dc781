//! Files in messages, who gets them, and their bytes.

use axum::http::StatusCode;
use bytes::Bytes;
use domain::AttachmentId;
use domain::conversation::HistoryVisibility::Joined;
use domain::conversation::MessageSent;
use infra::blobs::Variant;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::door::{Door, each};
use crate::harness::{BOTH, user};

fn file(number: u128) -> AttachmentId {
    AttachmentId(Uuid::from_u128(0x00f1_1e00 + number))
}

async fn upload(door: &Door, number: u128) {
    let (owner, id) = (user(1), file(number));
    let original = Bytes::from("tea and cake");
    door.blobs
        .put(id, Variant::Original, original)
        .await
        .unwrap();
    let small = Bytes::from("tea.");
    door.blobs.put(id, Variant::Thumbnail, small).await.unwrap();
    door.log.upload(owner, id).await;
}

#[tokio::test]
async fn who_sees_a_message_sees_its_files() {
    for kind in BOTH {
        let door = Door::open(kind).await;
        let (alice, bob, carol) = (user(1), user(2), user(3));
        for number in 1..=4 {
            upload(&door, number).await;
        }
        let group = door.log.group(alice, &[bob], Joined).await;
        let files = |numbers: &'static [u128]| {
            move |sent: &mut MessageSent| {
                sent.attachments = numbers.iter().map(|number| file(*number)).collect();
            }
        };
        let sent = group.say_as(alice, "", files(&[2, 1])).await;
        group.add(carol).await;
        let path = format!("/v1/conversations/{}/messages/{sent}", group.id);
        let shown = door.get(bob, &path).await;
        let ids = [json!(file(2)), json!(file(1))];
        assert_eq!(each(&shown["attachments"], "id"), ids);
        let first = &shown["attachments"][0];
        assert_eq!(first["name"], "tea.png");
        assert_eq!((&first["width"], &first["size"]), (&json!(40), &json!(12)));
        let of = |number: u128| format!("/v1/attachments/{}", file(number));
        let not_found = (404, "attachment_not_found".to_owned());
        assert_eq!(door.get(bob, &of(1)).await["id"], json!(file(1)));
        assert_eq!(
            door.get(alice, &of(3)).await["id"],
            json!(file(3)),
            "her own"
        );
        assert_eq!(door.problem(bob, &of(3)).await, not_found);
        assert_eq!(door.problem(carol, &of(1)).await, not_found, "from before");
        assert_eq!(door.problem(alice, &of(9)).await, not_found);

        group.edit_files(alice, sent, vec![file(1), file(4)]).await;
        let shown = door.get(bob, &path).await;
        let ids = [json!(file(1)), json!(file(4))];
        assert_eq!(each(&shown["attachments"], "id"), ids);
        assert_eq!(door.problem(bob, &of(2)).await, not_found);
        assert_eq!(
            door.get(carol, &of(4)).await["id"],
            json!(file(4)),
            "since the edit"
        );
        door.log.take_away(file(4), false).await;
        let shown = door.get(bob, &path).await;
        assert_eq!(each(&shown["attachments"], "id"), [json!(file(1))]);
        group.delete(alice, sent).await;
        let shown = door.get(bob, &path).await;
        assert_eq!(shown.get("attachments"), None);
        assert_eq!(door.problem(bob, &of(1)).await, not_found);
        door.close().await;
    }
}

#[tokio::test]
async fn an_address_gives_the_bytes_until_the_file_is_removed() {
    for kind in BOTH {
        let door = Door::open(kind).await;
        let alice = user(1);
        upload(&door, 1).await;
        let path = format!("/v1/attachments/{}", file(1));
        let shown = door.get(alice, &path).await;
        let url = |value: &Value| value.as_str().unwrap().to_owned();
        let (original, small) = (url(&shown["url"]), url(&shown["thumbnail"]["url"]));
        let got = door.ask(None, &original).await;
        assert_eq!(got, (StatusCode::OK, "tea and cake".to_owned()));
        let got = door.ask(None, &small).await;
        assert_eq!(got, (StatusCode::OK, "tea.".to_owned()));
        let swapped = original.replace("original", "thumbnail");
        for bad in [
            swapped,
            format!("{original}0"),
            original.replace("expires=1", "expires=2"),
        ] {
            assert_eq!(door.ask(None, &bad).await.0, StatusCode::FORBIDDEN, "{bad}");
        }
        door.log.take_away(file(1), false).await;
        assert_eq!(door.problem(alice, &path).await.0, 404);
        assert_eq!(door.ask(None, &original).await.0, StatusCode::NOT_FOUND);
        door.close().await;
    }
}

#[tokio::test]
async fn a_picture_of_somebody_is_in_their_profile() {
    for kind in BOTH {
        let door = Door::open(kind).await;
        let (alice, bob) = (user(1), user(2));
        upload(&door, 1).await;
        door.log.avatar(alice, Some(file(1))).await;
        let profile = format!("/v1/users/{alice}");
        let shown = door.get(bob, &profile).await;
        assert_eq!(shown["avatar"]["attachment"], json!(file(1)));
        let url = shown["avatar"]["url"].as_str().unwrap();
        assert_eq!(door.ask(None, url).await.1, "tea.");
        door.log.avatar(alice, None).await;
        assert_eq!(door.get(bob, &profile).await.get("avatar"), None);
        door.close().await;
    }
}
