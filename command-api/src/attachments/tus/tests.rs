//! Uploads over the routes.

use std::sync::atomic::Ordering;

use axum::http::Method;
use domain::Event;
use domain::StreamName;
use domain::attachment::AttachmentEvent;
use futures::TryStreamExt as _;
use infra::blobs::Variant;
use infra::files::Scanner;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use super::*;
use crate::testing::uploads::{BYTES_MAX, QUOTA, Told, picture};
use crate::testing::{World, problem};

fn path(told: &Told) -> String {
    told.headers["location"].to_str().unwrap().to_owned()
}

fn id(told: &Told) -> AttachmentId {
    told.body["id"].as_str().unwrap().parse().unwrap()
}

async fn uploaded(world: &World, id: AttachmentId) -> domain::attachment::Uploaded {
    let events = world.events(&StreamName::attachment(id)).await;
    let Event::Attachment(AttachmentEvent::Uploaded(uploaded)) = events[0].event().unwrap() else {
        panic!("it was uploaded");
    };
    uploaded
}

async fn where_is(world: &World, who: &str, path: &str) -> Told {
    world.tus(who, Method::HEAD, path, &[], Body::empty()).await
}

#[tokio::test]
async fn a_file_comes_in_pieces_across_a_restart() {
    let world = World::with(&["alice", "bob"]).await;
    let begun = world.begin("alice", "text/plain", 12).await;
    assert_eq!(
        (begun.status, begun.number("upload-offset")),
        (201, Some(0))
    );
    assert!(begun.headers.contains_key("upload-expires"));
    let path = path(&begun);
    let first = world.go_on("alice", &path, 0, b"tea and").await;
    assert_eq!(
        (first.status, first.number("upload-offset")),
        (204, Some(7))
    );
    let world = world.restarted().await;
    let standing = where_is(&world, "alice", &path).await;
    assert_eq!(standing.number("upload-offset"), Some(7));
    assert_eq!(standing.number("upload-length"), Some(12));
    let wrong = world.go_on("alice", &path, 6, b"x cake").await;
    assert_eq!(wrong.problem(), (409, "upload_offset_wrong"));
    let too_long = world.go_on("alice", &path, 7, b" cake!").await;
    assert_eq!(too_long.problem(), (413, "upload_too_long"));
    let last = world.go_on("alice", &path, 7, b" cake").await;
    assert_eq!((last.status, last.number("upload-offset")), (204, Some(12)));
    assert!(last.number("verbatim-position").is_some());

    let id = id(&begun);
    let uploaded = uploaded(&world, id).await;
    assert_eq!(uploaded.media_type.as_str(), "text/plain");
    assert_eq!(uploaded.name.unwrap().value.as_str(), "tea.bin");
    assert_eq!((uploaded.size, uploaded.uploaded_size), (12, None));
    let blobs = world.place.rules.blobs.as_ref().unwrap();
    let kept = blobs.get(id, Variant::Original, 0..12).await.unwrap();
    let kept: Vec<_> = kept.unwrap().try_collect().await.unwrap();
    assert_eq!(kept.concat(), b"tea and cake");
    let standing = where_is(&world, "alice", &path).await;
    assert_eq!(standing.number("upload-offset"), Some(12));
    for (who, path) in [
        ("bob", &*path),
        (
            "alice",
            "/v1/attachments/0190d0f0-0000-7000-8000-000000000000",
        ),
    ] {
        assert_eq!(where_is(&world, who, path).await.status, 404);
        let refused = world.go_on(who, path, 0, b"x").await;
        assert_eq!(refused.problem(), (404, "attachment_not_found"));
    }
}

#[tokio::test]
async fn a_small_file_comes_with_its_announcement_which_may_be_repeated() {
    let world = World::with(&["alice"]).await;
    let headers = [
        ("upload-length", "3"),
        ("content-type", "application/offset+octet-stream"),
        ("idempotency-key", "k"),
    ];
    let send = || world.tus("alice", Method::POST, "/v1/attachments", &headers, "tea");
    let (first, again) = (send().await, send().await);
    assert_eq!(
        (first.status, first.number("upload-offset")),
        (201, Some(3))
    );
    assert_eq!(again.body["id"], first.body["id"]);
    assert_eq!(again.number("upload-offset"), Some(3));
    let types = world.types(&StreamName::attachment(id(&first))).await;
    assert_eq!(types, ["attachment-uploaded"]);
}

#[tokio::test]
async fn a_picture_has_a_size_and_a_thumbnail() {
    let world = World::with(&["alice"]).await;
    let file = picture(1_300, 650);
    let attachment = world.upload("alice", "image/png", &file).await;
    let uploaded = uploaded(&world, attachment.parse().unwrap()).await;
    let dimensions = uploaded.dimensions.unwrap();
    assert_eq!((dimensions.width, dimensions.height), (1_300, 650));
    let thumbnail = uploaded.thumbnail.unwrap();
    assert_eq!(thumbnail.media_type.as_str(), "image/jpeg");
    assert_eq!(thumbnail.dimensions.width, 640);
}

#[tokio::test]
async fn what_is_too_much_is_refused_before_it_comes() {
    let world = World::with(&["alice"]).await;
    let max = usize::try_from(BYTES_MAX).unwrap();
    let begin = |length| world.begin("alice", "text/plain", length);
    assert_eq!(begin(max + 1).await.problem(), (413, "file_too_large"));
    assert_eq!(begin(0).await.problem(), (400, "invalid_header"));
    assert_eq!(begin(max).await.status, 201);
    // What was begun counts.
    assert_eq!(begin(max).await.problem(), (413, "quota_exceeded"));
    world.place.used.0.store(QUOTA, Ordering::Relaxed);
    assert_eq!(begin(1).await.problem(), (413, "quota_exceeded"));
    world.place.used.0.store(0, Ordering::Relaxed);
    for _ in 1..UNFINISHED_MAX {
        assert_eq!(begin(1).await.status, 201);
    }
    assert_eq!(begin(1).await.problem(), (409, "too_many_uploads"));
}

#[tokio::test]
async fn what_is_not_what_it_says_or_not_allowed_is_refused_and_erased() {
    let world = World::with(&["alice"]).await;
    let page = b"<!DOCTYPE html><script>".as_slice();
    for (media_type, file, code) in [
        ("image/png", b"tea".as_slice(), "type_differs"),
        ("application/octet-stream", page, "type_not_allowed"),
        (
            "image/png",
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
            "picture_broken",
        ),
    ] {
        let begun = world.begin("alice", media_type, file.len()).await;
        let path = path(&begun);
        let refused = world.go_on("alice", &path, 0, file).await;
        assert_eq!(refused.problem(), (422, code));
        assert_eq!(where_is(&world, "alice", &path).await.status, 404);
    }
    let refused = world.begin("alice", "text/html", 3).await;
    assert_eq!(refused.problem(), (422, "type_not_allowed"));
}

#[tokio::test]
async fn what_is_no_tus_is_told_so() {
    let world = World::with(&["alice"]).await;
    let post = |headers: &'static [(&'static str, &'static str)]| {
        world.tus(
            "alice",
            Method::POST,
            "/v1/attachments",
            headers,
            Body::empty(),
        )
    };
    for headers in [
        &[][..],
        &[("upload-length", "-1")],
        &[
            ("upload-length", "1"),
            ("upload-metadata", "filetype aW1hZ2U="),
        ],
        &[
            ("upload-length", "1"),
            ("upload-metadata", "filename not-base64"),
        ],
    ] {
        assert_eq!(post(headers).await.problem(), (400, "invalid_header"));
    }
    let without_version = world.post("alice", "/v1/attachments").problem().await;
    assert_eq!(without_version, problem(412, "tus_version", ""));
    let begun = world.begin("alice", "text/plain", 3).await;
    let json = [("upload-offset", "0"), ("content-type", "application/json")];
    let refused = world
        .tus("alice", Method::PATCH, &path(&begun), &json, "tea")
        .await;
    assert_eq!(refused.problem(), (415, "unsupported_media_type"));
    let told = world
        .tus(
            "alice",
            Method::OPTIONS,
            "/v1/attachments",
            &[],
            Body::empty(),
        )
        .await;
    assert_eq!(
        (told.status, told.number("tus-max-size")),
        (204, Some(BYTES_MAX))
    );
}

#[tokio::test]
async fn an_upload_ends_after_a_day_or_when_it_is_given_up() {
    let mut world = World::with(&["alice", "bob"]).await;
    let begun = world.begin("alice", "text/plain", 3).await;
    let path = path(&begun);
    assert_eq!(world.delete("bob", &path).send().await.0, 404);
    world.later(LASTS + TimeDelta::minutes(1));
    let session = world.log_in("alice").await;
    let alice = world.id("alice");
    world.meet("alice", alice, session["token"].as_str().unwrap());
    let refused = world.go_on("alice", &path, 0, b"tea").await;
    assert_eq!(refused.problem(), (410, "upload_expired"));
    assert_eq!(world.delete("alice", &path).send().await.0, 204);
    assert_eq!(where_is(&world, "alice", &path).await.status, 404);
    assert_eq!(world.delete("alice", &path).send().await.0, 404);
}

#[tokio::test]
async fn its_owner_removes_an_attachment() {
    let world = World::with(&["alice", "bob"]).await;
    let attachment = world.upload("alice", "text/plain", b"tea").await;
    let path = format!("/v1/attachments/{attachment}");
    let refused = world.delete("bob", &path).problem().await;
    assert_eq!(refused, problem(404, "attachment_not_found", ""));
    assert_eq!(world.delete("alice", &path).send().await.0, 204);
    assert_eq!(world.delete("alice", &path).send().await.0, 204);
    let stream = StreamName::attachment(attachment.parse().unwrap());
    let types = world.types(&stream).await;
    assert_eq!(types, ["attachment-uploaded", "attachment-removed"]);
}

#[tokio::test]
async fn files_come_with_messages_of_those_whose_they_are_and_with_what_forwards_them() {
    let world = World::with(&["alice", "bob", "carol"]).await;
    let from = world.group("alice", &["bob"]).await;
    let to = world.group("bob", &["carol"]).await;
    let tea = world.upload("alice", "text/plain", b"tea").await;
    let cake = world.upload("bob", "text/plain", b"cake").await;
    let messages = |group: &str| format!("/v1/conversations/{group}/messages");
    let send = |who: &str, group: &str, body| world.post(who, &messages(group)).body(body);
    let (status, answer) = send("alice", &from, json!({"attachments": [tea]}))
        .send()
        .await;
    assert_eq!(status, 201, "{answer}");
    for (body, expected) in [
        (
            json!({"attachments": [cake]}),
            problem(404, "attachment_not_found", "/attachments/0"),
        ),
        (
            json!({"attachments": [tea, tea]}),
            problem(422, "invalid_body", "/attachments/1"),
        ),
        (
            json!({"attachments": []}),
            problem(422, "invalid_body", "/body"),
        ),
        (
            json!({"attachments": vec![tea.clone(); 11]}),
            problem(422, "too_many_attachments", ""),
        ),
    ] {
        assert_eq!(send("alice", &from, body).problem().await, expected);
    }
    let of = json!({"conversation": from, "message": answer["seq"]});
    let forward = |files: &[&String]| {
        let body = json!({"attachments": files, "forward_of": of, "body": ""});
        send("bob", &to, body)
    };
    assert_eq!(forward(&[&tea]).send().await.0, 201);
    let refused = forward(&[&tea, &cake]).problem().await;
    assert_eq!(refused, problem(422, "invalid_body", "/attachments/1"));

    let message = format!("{}/{}", messages(&from), answer["seq"]);
    let edit = |body| world.patch("alice", &message).body(body);
    let both = json!({"body": "both", "attachments": [tea, cake]});
    let refused = edit(both).problem().await;
    assert_eq!(
        refused,
        problem(404, "attachment_not_found", "/attachments/1")
    );
    let with_text = json!({"body": "tea", "attachments": [tea]});
    assert_eq!(edit(with_text).send().await.0, 200);
    world
        .delete("alice", &format!("/v1/attachments/{tea}"))
        .send()
        .await;
    let refused = forward(&[&tea]).problem().await;
    assert_eq!(
        refused,
        problem(404, "attachment_not_found", "/attachments/0")
    );
}

#[tokio::test]
async fn nothing_is_kept_that_the_scanner_minds_or_did_not_look_at() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let scanner = format!("clamd://{}", listener.local_addr().unwrap());
    let mut world = World::with_scanner(Scanner::new(&scanner).unwrap());
    world.join("alice").await;
    let answers = ["stream: Eicar-Test-Signature FOUND\0", "", "stream: OK\0"];
    let clamd = tokio::spawn(async move {
        for answer in answers {
            let (mut client, _) = listener.accept().await.unwrap();
            client.write_all(answer.as_bytes()).await.unwrap();
            client.shutdown().await.unwrap();
            // Until the client hangs up, so that nothing it sends is refused.
            let mut sink = tokio::io::sink();
            tokio::io::copy(&mut client, &mut sink).await.unwrap();
        }
    });
    let bad = world.begin("alice", "text/plain", 3).await;
    let refused = world.go_on("alice", &path(&bad), 0, b"bad").await;
    assert_eq!(refused.problem(), (422, "file_infected"));
    let good = world.begin("alice", "text/plain", 3).await;
    let unsure = world.go_on("alice", &path(&good), 0, b"tea").await;
    assert_eq!(unsure.status, 503);
    // All of it came; whoever asks how far it is has it looked at again.
    let done = where_is(&world, "alice", &path(&good)).await;
    assert_eq!((done.status, done.number("upload-offset")), (200, Some(3)));
    clamd.await.unwrap();
}
