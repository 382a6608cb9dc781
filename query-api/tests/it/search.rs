//! Search: what is found, how it is shown, and what is found by nobody who does not see it.

use std::fmt::Write as _;

use domain::conversation::HistoryVisibility::{Joined, Start};
use domain::conversation::{Content, Encrypted, Mention, MentionedRole, MessageSent, Role};
use domain::{AttachmentId, Seq, UserId};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::door::Door;
use crate::harness::{BOTH, Room, user};

/// A search, as an address: every byte of the query that could mean something is escaped.
fn path(query: &str, rest: &str) -> String {
    let mut path = "/v1/search?q=".to_owned();
    for byte in query.bytes() {
        let _ = write!(path, "%{byte:02X}");
    }
    path + rest
}

/// The seqs of what `who` finds, in order.
async fn seqs(door: &Door, who: UserId, path: &str) -> Vec<Value> {
    let found = door.get(who, path).await;
    let hits = found["hits"].as_array().unwrap();
    hits.iter()
        .map(|hit| hit["message"]["seq"].clone())
        .collect()
}

fn json_of(seqs: &[Seq]) -> Vec<Value> {
    seqs.iter().map(|seq| json!(seq)).collect()
}

#[tokio::test]
async fn both_databases_find_the_same_in_every_language() {
    for kind in BOTH {
        let door = Door::open(kind).await;
        let alice = user(1);
        let room = door.log.group(alice, &[], Start).await;
        let english = room.send(alice, "The Café house: “Ångström”, don't!").await;
        let japanese = room.send(alice, "東京都でお茶を飲む").await;
        let thai = room.send(alice, "อยากกินน้ำเย็น").await;
        let korean = room.send(alice, "커피를 마셔요").await;
        let hindi = room.send(alice, "हिन्दी में बात").await;
        let emoji = room
            .send(alice, "nice 👍🏽 see https://example.org/a_b")
            .await;
        let encrypted = Content::Encrypted(Encrypted {
            algorithm: "a".to_owned(),
            key_ids: vec!["k".to_owned()],
            nonce: "AAAA".to_owned(),
            ciphertext: "AAAA".to_owned(),
        });
        room.say_as(alice, "", |sent| sent.said = encrypted.said_by(alice))
            .await;
        for (query, expected) in [
            ("cafe hou", vec![english]),
            ("CAFÉ ANGSTROM", vec![english]),
            ("house cafe", vec![english]),
            ("\"house cafe\"", vec![]),
            ("\"cafe house\"", vec![english]),
            ("cafe -house", vec![]),
            ("hous ", vec![]),
            ("京都", vec![japanese]),
            ("茶", vec![japanese]),
            ("む", vec![japanese]),
            ("お茶 東京", vec![japanese]),
            ("東都", vec![]),
            ("น้ำ", vec![thai]),
            ("กิน เย็น", vec![thai]),
            ("커피", vec![korean]),
            ("हिन्दी", vec![hindi]),
            ("👍", vec![emoji]),
            ("example.org", vec![emoji]),
            ("a_b", vec![emoji]),
            ("AAAA", vec![]),
        ] {
            let found = seqs(&door, alice, &path(query, "")).await;
            assert_eq!(found, json_of(&expected), "{query} {kind:?}");
            let found = seqs(&door, alice, &path(query, "&order=relevance")).await;
            assert_eq!(found, json_of(&expected), "{query} {kind:?}");
        }
        let linked = seqs(&door, alice, "/v1/search?has=link").await;
        assert_eq!(linked, json_of(&[emoji]));
        door.close().await;
    }
}

#[tokio::test]
async fn a_hit_shows_where_it_is() {
    for kind in BOTH {
        let door = Door::open(kind).await;
        let alice = user(1);
        let room = door.log.group(alice, &[], Start).await;
        let seq = room.send(alice, "👍 the tea: green tea").await;
        let found = door.get(alice, &path("tea", "")).await;
        let hit = &found["hits"][0];
        assert_eq!(hit["conversation"], json!(room.id));
        assert_eq!(hit["message"]["seq"], json!(seq));
        assert_eq!(hit["message"]["body"], "👍 the tea: green tea");
        let places = json!([{"start": 7, "end": 10}, {"start": 18, "end": 21}]);
        assert_eq!(hit["highlights"], places);
        assert_eq!(hit["snippet"]["text"], "👍 the tea: green tea");
        assert_eq!(hit["snippet"]["highlights"], places);
        assert_eq!(found.get("next"), None);
        assert_eq!(found["position"], json!(door.log.head()));
        door.close().await;
    }
}

#[tokio::test]
async fn edits_and_deletions_are_reflected() {
    for kind in BOTH {
        let door = Door::open(kind).await;
        let (alice, bob, carol) = (user(1), user(2), user(3));
        let room = door.log.group(alice, &[bob, carol], Start).await;
        let kept = room.send(alice, "tea at five").await;
        let gone = room.send(alice, "tea at six").await;
        room.leave(bob).await;
        room.edit(alice, kept, "coffee at five").await;
        assert_eq!(seqs(&door, carol, &path("tea", "")).await, json_of(&[gone]));
        assert_eq!(
            seqs(&door, carol, &path("coffee five", "")).await,
            json_of(&[kept])
        );
        // Who left before the edit finds what they see.
        assert_eq!(
            seqs(&door, bob, &path("tea", "")).await,
            json_of(&[gone, kept])
        );
        assert!(seqs(&door, bob, &path("coffee", "")).await.is_empty());
        let found = door.get(bob, &path("tea five", "")).await;
        assert_eq!(found["hits"][0]["message"]["body"], "tea at five");
        room.delete(alice, gone).await;
        room.edit(alice, gone, "tea after all").await;
        assert!(seqs(&door, carol, &path("tea", "")).await.is_empty());
        assert_eq!(seqs(&door, bob, &path("tea", "")).await, json_of(&[kept]));
        room.delete(alice, kept).await;
        for who in [alice, bob, carol] {
            for query in ["tea", "coffee", "five"] {
                assert!(seqs(&door, who, &path(query, "")).await.is_empty());
            }
        }
        let token = "SELECT token FROM search_tokens";
        let mut transaction = door.database.read().await.unwrap();
        assert!(
            transaction.all(token, &[]).await.unwrap().is_empty(),
            "of what was deleted nothing stays in the index"
        );
        drop(transaction);
        door.close().await;
    }
}

#[tokio::test]
async fn nobody_finds_what_they_do_not_see() {
    for kind in BOTH {
        let door = Door::open(kind).await;
        let (alice, bob, dave) = (user(1), user(2), user(4));
        let room = door.log.group(alice, &[], Joined).await;
        let other = door.log.group(dave, &[], Start).await;
        other.send(dave, "a secret of dave's").await;
        room.send(alice, "a secret before").await;
        room.add(bob).await;
        let seen = room.send(alice, "a secret for bob").await;
        room.remove(bob, alice).await;
        room.send(alice, "a secret between").await;
        room.add(bob).await;
        let again = room.send(alice, "a secret again").await;
        room.leave(bob).await;
        room.send(alice, "a secret after").await;
        for order in ["newest", "relevance"] {
            let path = path("secret", &format!("&order={order}"));
            let mut found = seqs(&door, bob, &path).await;
            found.sort_by_key(Value::as_u64);
            assert_eq!(found, json_of(&[seen, again]));
        }
        let within = path("secret", &format!("&conversation={}", room.id));
        assert_eq!(seqs(&door, bob, &within).await, json_of(&[again, seen]));
        assert_eq!(
            door.problem(dave, &within).await,
            (404, "conversation_not_found".to_owned())
        );
        let nobody = path("nobodysaidthis", "");
        let (_, nothing) = door.text(bob, &nobody).await;
        let (_, hidden) = door.text(bob, &path("dave's", "")).await;
        assert_eq!(nothing, hidden, "the two cannot be told apart");
        door.close().await;
    }
}

#[tokio::test]
async fn pages_are_exact_while_the_conversations_go_on() {
    for kind in BOTH {
        let door = Door::open(kind).await;
        let alice = user(1);
        let rooms = [
            door.log.group(alice, &[], Start).await,
            door.log.group(alice, &[], Start).await,
            door.log.group(alice, &[], Start).await,
        ];
        let mut expected = Vec::new();
        for number in 0..60_usize {
            // More of one than of another, and what is not found between.
            let room: &Room<'_> = &rooms[(number * number) % 3];
            let seq = room.send(alice, &format!("tea number {number}")).await;
            rooms[number % 3].send(alice, "something else").await;
            expected.push((json!(room.id), json!(seq)));
        }
        expected.reverse();
        let mut found = Vec::new();
        let mut rest = "&limit=7".to_owned();
        loop {
            let page = door.get(alice, &path("tea", &rest)).await;
            for hit in page["hits"].as_array().unwrap() {
                found.push((hit["conversation"].clone(), hit["message"]["seq"].clone()));
            }
            let Some(next) = page["next"].as_str() else {
                break;
            };
            rest = format!("&limit=7&cursor={next}");
            rooms[0].send(alice, "tea, newer than the search").await;
        }
        assert_eq!(found, expected, "{kind:?}");

        let ranked = format!("&order=relevance&conversation={}", rooms[1].id);
        let all = seqs(
            &door,
            alice,
            &path("tea number", &format!("{ranked}&limit=50")),
        )
        .await;
        let mut paged = Vec::new();
        let mut rest = format!("{ranked}&limit=4");
        loop {
            let page = door.get(alice, &path("tea number", &rest)).await;
            let hits = page["hits"].as_array().unwrap();
            paged.extend(hits.iter().map(|hit| hit["message"]["seq"].clone()));
            let Some(next) = page["next"].as_str() else {
                break;
            };
            rest = format!("{ranked}&limit=4&cursor={next}");
            rooms[1].send(alice, "tea number tea number").await;
        }
        assert_eq!(paged, all);
        door.close().await;
    }
}

#[tokio::test]
async fn filters_narrow_a_search_and_stand_alone() {
    for kind in BOTH {
        let door = Door::open(kind).await;
        let (alice, bob, carol) = (user(1), user(2), user(3));
        let room = door.log.group(alice, &[bob, carol], Start).await;
        let hers = room.send(alice, "tea http://example.org").await;
        let middle = door.log.clock.now();
        let his = room.send(bob, "tea").await;
        let call = |mentions: Vec<Mention>| {
            move |sent: &mut domain::conversation::MessageSent| {
                sent.mentions = mentions.into_iter().collect();
            }
        };
        let carols = room
            .say_as(bob, "tea, carol?", call(vec![Mention::User(carol)]))
            .await;
        let all = room
            .say_as(bob, "tea, all?", call(vec![Mention::Everyone]))
            .await;
        let admins = Mention::Role(MentionedRole::Admin);
        let admins = room.say_as(bob, "tea, admins?", call(vec![admins])).await;
        let author = format!("/v1/search?author={alice}");
        assert_eq!(seqs(&door, carol, &author).await, json_of(&[hers]));
        let both = path("tea", &format!("&author={bob}&has=link"));
        assert!(seqs(&door, carol, &both).await.is_empty());
        let called = "/v1/search?mentions=me";
        assert_eq!(seqs(&door, carol, called).await, json_of(&[all, carols]));
        assert_eq!(seqs(&door, alice, called).await, json_of(&[admins, all]));
        assert!(seqs(&door, bob, called).await.is_empty(), "by others only");
        room.change_role(carol, Role::Admin).await;
        assert_eq!(
            seqs(&door, carol, called).await,
            json_of(&[admins, all, carols])
        );
        let moment = middle.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
        let later = path("tea", &format!("&after={moment}&author={bob}"));
        assert_eq!(seqs(&door, carol, &later).await.len(), 4);
        let until = path("tea", &format!("&before={moment}"));
        assert!(seqs(&door, carol, &until).await.is_empty());
        let first = path("tea", &format!("&after={moment}&limit=50"));
        assert_eq!(seqs(&door, carol, &first).await.last(), Some(&json!(hers)));
        assert!(seqs(&door, carol, &first).await.contains(&json!(his)));
        door.close().await;
    }
}

#[tokio::test]
async fn the_most_relevant_come_first() {
    for kind in BOTH {
        let door = Door::open(kind).await;
        let alice = user(1);
        let room = door.log.group(alice, &[], Start).await;
        let most = room.send(alice, "tea tea tea").await;
        let some = room.send(alice, "tea").await;
        let long = format!("tea and {}", "much else ".repeat(50));
        let least = room.send(alice, &long).await;
        let ranked = seqs(&door, alice, &path("tea", "&order=relevance")).await;
        assert_eq!(ranked, json_of(&[most, some, least]));
        let newest = seqs(&door, alice, &path("tea", "")).await;
        assert_eq!(newest, json_of(&[least, some, most]));
        door.close().await;
    }
}

#[tokio::test]
async fn a_long_conversation_is_found_to_its_beginning() {
    for kind in BOTH {
        let door = Door::open(kind).await;
        let alice = user(1);
        let room = door.log.group(alice, &[], Start).await;
        let first = room.send(alice, "the needle").await;
        for number in 0..2_300 {
            room.send(alice, &format!("straw {number}")).await;
        }
        let last = room.send(alice, "another needle").await;
        let found = seqs(&door, alice, &path("needle", "")).await;
        assert_eq!(found, json_of(&[last, first]));
        let found = seqs(&door, alice, &path("straw 7", "&limit=3")).await;
        assert_eq!(
            found.len(),
            1,
            "the number itself; one digit is no beginning"
        );
        let phrase = path("\"straw 1999\"", "");
        assert_eq!(seqs(&door, alice, &phrase).await.len(), 1);
        room.edit(alice, first, "the pin").await;
        room.delete(alice, last).await;
        assert!(seqs(&door, alice, &path("needle", "")).await.is_empty());
        assert_eq!(
            seqs(&door, alice, &path("pin", "")).await,
            json_of(&[first])
        );
        door.close().await;
    }
}

#[tokio::test]
async fn what_cannot_be_searched_for_is_a_problem() {
    let door = Door::open(BOTH[0]).await;
    let invalid = (400, "invalid_query".to_owned());
    for rest in [
        String::new(),
        "?q=".to_owned(),
        "?q=%21%3F".to_owned(),
        "?q=-tea".to_owned(),
        format!("?q={}", "x".repeat(201)),
        format!("?q={}", "a+".repeat(13)),
        "?q=tea&has=money".to_owned(),
        "?q=tea&mentions=you".to_owned(),
        "?q=tea&order=best".to_owned(),
        "?q=tea&limit=0".to_owned(),
        "?q=tea&limit=51".to_owned(),
        "?q=tea&cursor=17".to_owned(),
        "?q=tea&cursor=r.17.20".to_owned(),
        "?q=tea&order=relevance&cursor=n.17".to_owned(),
        "?q=tea&after=yesterday".to_owned(),
        "?q=tea&what=else".to_owned(),
    ] {
        let path = format!("/v1/search{rest}");
        assert_eq!(door.problem(user(1), &path).await, invalid, "{path}");
    }
    door.close().await;
}

#[tokio::test]
async fn messages_with_files_are_found_while_they_have_them() {
    for kind in BOTH {
        let door = Door::open(kind).await;
        let (alice, bob) = (user(1), user(2));
        let group = door.log.group(alice, &[bob], Start).await;
        let file = |number| AttachmentId(Uuid::from_u128(number));
        for number in 1..=3 {
            door.log.upload(alice, file(number)).await;
        }
        let with = |number| move |sent: &mut MessageSent| sent.attachments = vec![file(number)];
        let kept = group.say_as(alice, "", with(1)).await;
        let edited_away = group.say_as(alice, "tea", with(2)).await;
        group.say_as(alice, "tea", with(3)).await;
        let edited_in = group.send(alice, "tea").await;
        group.edit_files(alice, edited_away, vec![]).await;
        group.edit_files(alice, edited_in, vec![file(2)]).await;
        door.log.take_away(file(3), false).await;
        let found = seqs(&door, bob, "/v1/search?has=attachment").await;
        assert_eq!(found, [json!(edited_in), json!(kept)]);
        let found = seqs(&door, bob, "/v1/search?q=files&has=attachment").await;
        assert_eq!(found, [json!(edited_in)]);
        let hits = door.get(bob, "/v1/search?q=files").await;
        let shown = &hits["hits"][0]["message"]["attachments"][0]["id"];
        assert_eq!(*shown, json!(file(2)));
        door.close().await;
    }
}
