//! Files: uploaded in pieces, sent, got with ranges, and erased with the message that had them.

use std::path::Path;
use std::time::Duration;

use reqwest::{Client, Method, Response, StatusCode, header};
use serde_json::{Value, json};
use tests::{Person, S3Server, ServerProcess, free_port};

use crate::PROGRAM;
use crate::site::Site;

/// How often it is looked whether a file is gone.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long erasing may take.
const ERASED_WITHIN: Duration = Duration::from_secs(30);

/// A JPEG with a comment that tells where it was taken.
fn telling_picture(secret: &[u8]) -> Vec<u8> {
    let mut jpeg = std::io::Cursor::new(Vec::new());
    let picture = image::RgbImage::new(40, 20);
    let written = picture.write_to(&mut jpeg, image::ImageFormat::Jpeg);
    written.expect("a picture is written");
    let mut jpeg = jpeg.into_inner();
    let length = u16::try_from(secret.len() + 2).expect("it is short");
    let mut comment = vec![0xff, 0xfe];
    comment.extend(length.to_be_bytes());
    comment.extend(secret);
    jpeg.splice(2..2, comment);
    jpeg
}

async fn tus(
    who: &Person,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Response {
    let mut request = Client::new()
        .request(method, format!("{}{path}", who.server()))
        .bearer_auth(&who.token)
        .header("tus-resumable", "1.0.0");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.body(body).send().await;
    answer.expect("the server answers")
}

fn number(answer: &Response, name: &str) -> u64 {
    let value = answer.headers().get(name).expect(name);
    value.to_str().expect("text").parse().expect("a number")
}

/// Begins to upload; gives the path.
async fn begin(who: &Person, length: usize) -> String {
    let headers = [
        ("upload-length", &*length.to_string()),
        ("upload-metadata", "filename dGVhLmpwZw=="),
    ];
    let begun = tus(who, Method::POST, "/v1/attachments", &headers, vec![]).await;
    assert_eq!(begun.status(), StatusCode::CREATED);
    let location = begun.headers()[header::LOCATION].to_str();
    location.expect("a path").to_owned()
}

async fn go_on(who: &Person, path: &str, offset: usize, part: &[u8]) -> Response {
    let headers = [
        ("upload-offset", &*offset.to_string()),
        ("content-type", "application/offset+octet-stream"),
    ];
    let answer = tus(who, Method::PATCH, path, &headers, part.to_vec()).await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    answer
}

/// Uploads a file in one piece; gives its path and where in the log it is.
pub(crate) async fn upload(who: &Person, file: &[u8]) -> (String, u64) {
    let path = begin(who, file.len()).await;
    let done = go_on(who, &path, 0, file).await;
    (path, number(&done, "verbatim-position"))
}

/// The id of an uploaded file, by its path.
pub(crate) fn id_of(path: &str) -> &str {
    path.rsplit('/').next().expect("an id")
}

async fn fetch(who: &Person, url: &Value, headers: &[(&str, &str)]) -> Response {
    let url = url.as_str().expect("an address");
    let mut request = Client::new().get(format!("{}{url}", who.server()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.expect("the server answers")
}

/// A file comes in pieces; who is in the conversation gets it, others do not; it goes with its message.
pub(crate) async fn a_file_is_sent_got_and_erased(site: &Site) {
    let (ann, bob, eve) = (
        site.person("file-ann").await,
        site.person("file-bob").await,
        site.person("file-eve").await,
    );
    let room = ann.starts_group("Pictures", &[&bob]).await;
    let secret = b"N 59 19 E 18 04";
    let picture = telling_picture(secret);
    let path = begin(&ann, picture.len()).await;
    let (first, rest) = picture.split_at(picture.len() / 2);
    go_on(&ann, &path, 0, first).await;
    let standing = tus(&ann, Method::HEAD, &path, &[], vec![]).await;
    assert_eq!(number(&standing, "upload-offset"), first.len() as u64);
    go_on(&ann, &path, first.len(), rest).await;
    let messages = format!("/v1/conversations/{room}/messages");
    let message = json!({ "attachments": [id_of(&path)] });
    let sent = ann.post(&messages, message).await.ok();
    let one = format!(
        "{messages}/{}?min_position={}",
        sent["seq"], sent["position"]
    );
    let shown = bob.get(&one).await.ok();
    let file = &shown["attachments"][0];
    assert_eq!(file["media_type"], "image/jpeg");
    assert_eq!((&file["width"], &file["height"]), (&json!(40), &json!(20)));
    let got = fetch(&bob, &file["url"], &[]).await;
    assert_eq!(got.status(), StatusCode::OK);
    assert_eq!(got.headers()["x-content-type-options"], "nosniff");
    let csp = got.headers()["content-security-policy"].to_str();
    assert!(csp.expect("text").contains("sandbox"));
    let bytes = got.bytes().await.expect("the file");
    assert_eq!(json!(bytes.len()), file["size"]);
    assert!(!bytes.windows(secret.len()).any(|window| window == secret));
    let range = fetch(&bob, &file["url"], &[("range", "bytes=2-5")]).await;
    assert_eq!(range.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(range.bytes().await.expect("a part"), bytes[2..6]);
    let small = fetch(&bob, &file["thumbnail"]["url"], &[]).await;
    assert_eq!(small.headers()[header::CONTENT_TYPE], "image/jpeg");
    let asked = format!("{path}?min_position={}", sent["position"]);
    eve.get(&asked).await.problem(404, "attachment_not_found");
    let forged = file["url"]
        .as_str()
        .expect("text")
        .replace("signature=", "signature=0");
    let forged = fetch(&eve, &json!(forged), &[]).await;
    assert_eq!(forged.status(), StatusCode::FORBIDDEN);

    let message = format!("{messages}/{}", sent["seq"]);
    bob.ask(Method::DELETE, &message, None, &[])
        .await
        .problem(403, "role_too_low");
    let deleted = ann.ask(Method::DELETE, &message, None, &[]).await.ok();
    let asked = format!("{path}?min_position={}", deleted["position"]);
    bob.get(&asked).await.problem(404, "attachment_not_found");
    let gone = async {
        while fetch(&bob, &file["url"], &[]).await.status() != StatusCode::NOT_FOUND {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let gone = tokio::time::timeout(ERASED_WITHIN, gone).await;
    gone.expect("the file goes with its message");
}

/// Somebody has a picture, which others see small.
pub(crate) async fn somebody_has_a_picture(site: &Site) {
    let (ann, bob) = (site.person("face-ann").await, site.person("face-bob").await);
    let (path, _) = upload(&ann, &telling_picture(b"home")).await;
    let picture = json!({ "attachment": id_of(&path) });
    let avatar = "/v1/users/me/avatar";
    let set = ann
        .ask(Method::PUT, avatar, Some(picture.clone()), &[])
        .await
        .ok();
    let profile = format!("/v1/users/{}?min_position={}", ann.id, set["position"]);
    let shown = bob.get(&profile).await.ok();
    let small = fetch(&bob, &shown["avatar"]["url"], &[]).await;
    assert_eq!(small.status(), StatusCode::OK);
    let stolen = bob.ask(Method::PUT, avatar, Some(picture), &[]).await;
    stolen.problem(404, "attachment_not_found");
    let gone = ann.ask(Method::DELETE, avatar, None, &[]).await.ok();
    let profile = format!("/v1/users/{}?min_position={}", ann.id, gone["position"]);
    assert_eq!(bob.get(&profile).await.ok().get("avatar"), None);
}

fn files_below(folder: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    let count = |path: std::path::PathBuf| if path.is_dir() { files_below(&path) } else { 1 };
    entries
        .map(|entry| count(entry.expect("an entry").path()))
        .sum()
}

/// The same in a bucket of S3.
#[tokio::test]
async fn files_may_be_in_a_bucket() {
    let s3 = S3Server::start(free_port()).await;
    let url = s3.url();
    let mut server = ServerProcess::start_with(PROGRAM, &["--attachments-url", &url]).await;
    let ann = Person::register(&server.url(), "ann").await;
    let room = ann.starts_group("Alone", &[]).await;
    let picture = telling_picture(b"home");
    let path = begin(&ann, picture.len()).await;
    let (first, rest) = picture.split_at(100);
    go_on(&ann, &path, 0, first).await;
    server.kill().await;
    server.start_again().await;
    go_on(&ann, &path, 100, rest).await;
    let message = json!({ "attachments": [id_of(&path)] });
    let messages = format!("/v1/conversations/{room}/messages");
    let sent = ann.post(&messages, message).await.ok();
    let one = ann
        .get(&format!("{path}?min_position={}", sent["position"]))
        .await
        .ok();
    let part = fetch(&ann, &one["url"], &[("range", "bytes=0-1")]).await;
    assert_eq!(part.bytes().await.expect("a part")[..], [0xff, 0xd8]);
    assert_eq!(files_below(&s3.bucket().join("verbatim/attachments")), 2);
    let message = format!("{messages}/{}", sent["seq"]);
    ann.ask(Method::DELETE, &message, None, &[]).await.ok();
    let gone = async {
        while files_below(&s3.bucket().join("verbatim/attachments")) > 0 {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let gone = tokio::time::timeout(ERASED_WITHIN, gone).await;
    gone.expect("its bytes are erased");
}

/// Each offset that was acknowledged is there after a kill, and nothing is left once the message is deleted.
#[tokio::test]
async fn an_upload_goes_on_where_it_was_when_the_server_was_killed() {
    const PART: usize = 3_000_000;
    let mut server = ServerProcess::start(PROGRAM).await;
    let ann = Person::register(&server.url(), "ann").await;
    let room = ann.starts_group("Alone", &[]).await;
    let file: Vec<u8> = (0..3 * PART)
        .map(|at| u8::try_from(at % 251).expect("a byte"))
        .collect();
    let path = begin(&ann, file.len()).await;
    let mut last = None;
    for (index, part) in file.chunks(PART).enumerate() {
        let standing = tus(&ann, Method::HEAD, &path, &[], vec![]).await;
        assert_eq!(number(&standing, "upload-offset"), (index * PART) as u64);
        last = Some(number(
            &go_on(&ann, &path, index * PART, part).await,
            "upload-offset",
        ));
        server.kill().await;
        server.start_again().await;
    }
    assert_eq!(last, Some(file.len() as u64));
    let message = json!({ "body": "all of it", "attachments": [id_of(&path)] });
    let messages = format!("/v1/conversations/{room}/messages");
    let sent = ann.post(&messages, message).await.ok();
    let one = ann
        .get(&format!("{path}?min_position={}", sent["position"]))
        .await
        .ok();
    let got = fetch(&ann, &one["url"], &[])
        .await
        .bytes()
        .await
        .expect("the file");
    assert!(got == file, "it came as it was sent");
    let kept = server.data_dir().join("attachments");
    assert_eq!(files_below(&kept), 1);
    let message = format!("{messages}/{}", sent["seq"]);
    ann.ask(Method::DELETE, &message, None, &[]).await.ok();
    let gone = async {
        while files_below(&kept) > 0 {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let gone = tokio::time::timeout(ERASED_WITHIN, gone).await;
    gone.expect("its bytes are erased");
}
