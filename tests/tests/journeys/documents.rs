//! Examples in documents for client authors: each is asked of a server, which must take it, and answer at
//! least what the document says that it does.

use std::mem::discriminant;
use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Listener, Person};

use crate::site::Site;

/// Documents of which every example is tried. Each says in its first line what it is: a request, of which
/// every value is a body to send or, with `GET`, a part of the answer; or `push`, which journeys of
/// notifications look at.
const DOCUMENTS: [&str; 5] = [
    "messages.md",
    "notifications.md",
    "presence.md",
    "search.md",
    "spaces.md",
];

/// What documents call what the scene has.
const CONVERSATION: &str = "270a656e-ec3e-5a25-9d76-0e649f5b0aa8";
const USER: &str = "377fd07e-e56e-5745-959d-0c004bfd7331";
const TOKEN: &str = "eyJ0eXAi…";
const CURSOR: &str = "16.gnbYYKYRtZ2k";

/// A fenced piece of JSON.
struct Example {
    /// What stands behind `json` where it begins.
    says: String,
    text: String,
}

/// What the examples speak of.
struct Scene {
    anna: Person,
    names: Vec<(&'static str, String)>,
    position: Value,
}

impl Scene {
    /// Anna has a group with Bob, who calls her, and a space with a channel that Bob sees.
    async fn on(site: &Site) -> Self {
        let (anna, bob) = (site.person("anna").await, site.person("bob").await);
        let conversation = anna.starts_group("Lunch", &[&bob]).await;
        let messages = format!("/v1/conversations/{conversation}/messages");
        let seq = anna.says(&conversation, "Noodles at noon?").await;
        let called = json!({
            "body": "The Tea House at noon?",
            "mentions": [{ "user": anna.id }],
        });
        bob.post(&messages, called).await.ok();
        let space = json!({ "name": "Tea house", "joining": "open" });
        let space = id_of(&anna.post("/v1/spaces", space).await.ok());
        let channel = json!({ "name": "general", "kind": "text", "position": 0 });
        let channels = format!("/v1/spaces/{space}/channels");
        let channel = id_of(&anna.post(&channels, channel).await.ok());
        let join = format!("/v1/spaces/{space}/join");
        let joined = bob.post(&join, Value::Null).await.ok();
        let names = vec![
            ("{conversation}", conversation.clone()),
            (CONVERSATION, conversation),
            ("{seq}", seq.to_string()),
            ("{user}", bob.id.clone()),
            (USER, bob.id),
            ("{role}", space.clone()),
            ("{space}", space),
            ("{channel}", channel),
            (TOKEN, anna.token.clone()),
        ];
        Self {
            anna,
            names,
            position: joined["position"].clone(),
        }
    }

    fn here(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, is) in &self.names {
            text = text.replace(name, is);
        }
        text
    }

    /// Asks for what an example says; gives how many values it has.
    async fn tries(&mut self, example: &Example) -> usize {
        let (method, path) = example.says.split_once(' ').expect("a method and a path");
        let method: Method = method.parse().expect("a method");
        let path = self.here(path);
        let values = values(&self.here(&example.text));
        for value in &values {
            if method == Method::GET {
                let mark = if path.contains('?') { '&' } else { '?' };
                let path = format!("{path}{mark}min_position={}", self.position);
                let answer = self.anna.get(&path).await.ok();
                fits(value, &answer, &path);
            } else {
                let body = Some(value.clone());
                let answer = self.anna.ask(method.clone(), &path, body, &[]).await.ok();
                self.position = answer["position"].clone();
            }
        }
        values.len()
    }
}

pub(crate) async fn every_example_is_taken_by_the_server(site: &Site) {
    let mut scene = Scene::on(site).await;
    for name in DOCUMENTS {
        let mut tried = 0;
        for example in examples(name) {
            if example.says != "push" {
                tried += scene.tries(&example).await;
            }
        }
        assert!(tried > 0, "{name} has no example");
    }
}

pub(crate) async fn every_frame_of_the_protocol_is_taken(site: &Site) {
    let mut scene = Scene::on(site).await;
    let (mut listener, ready) = Listener::live(&scene.anna).await;
    let cursor = ready["cursor"].as_str().expect("a cursor").to_owned();
    scene.names.push((CURSOR, cursor));
    let frames: Vec<Value> = examples("gateway-protocol.md")
        .iter()
        .filter(|example| example.says == "frame")
        .flat_map(|example| values(&scene.here(&example.text)))
        .collect();
    assert!(!frames.is_empty(), "the protocol has no frame of a client");
    for frame in frames {
        if frame["op"] == "identify" {
            let mut other = Listener::connect(scene.anna.server()).await;
            other.send(frame.clone()).await;
            let answer = if frame["cursor"].is_null() {
                "ready"
            } else {
                "resumed"
            };
            other.wait_for(answer).await;
            continue;
        }
        listener.send(frame.clone()).await;
        let id = &frame["id"];
        if id.is_null() {
            listener.send(json!({ "op": "heartbeat" })).await;
        }
        loop {
            let answer = listener.next().await;
            assert_ne!(answer["op"], "error", "{frame} is answered {answer}");
            let is_last = if id.is_null() {
                answer["op"] == "heartbeat_ack"
            } else {
                answer["op"] == "ack" && answer["id"] == *id
            };
            if is_last {
                break;
            }
        }
    }
}

/// The pieces of JSON of a document.
fn examples(name: &str) -> Vec<Example> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs")
        .join(name);
    let document = std::fs::read_to_string(path).expect("the document");
    let mut examples = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        let Some(says) = line.strip_prefix("```json") else {
            continue;
        };
        let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        examples.push(Example {
            says: says.trim().to_owned(),
            text: text.join("\n"),
        });
    }
    examples
}

fn values(text: &str) -> Vec<Value> {
    serde_json::Deserializer::from_str(text)
        .into_iter()
        .collect::<Result<_, _>>()
        .unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Checks that an answer has every field of the example, each of the same type.
fn fits(example: &Value, answer: &Value, at: &str) {
    match (example, answer) {
        (Value::Object(example), Value::Object(answer)) => {
            for (name, value) in example {
                let at = format!("{at} {name}");
                let found = answer.get(name);
                fits(value, found.unwrap_or_else(|| panic!("no {at}")), &at);
            }
        }
        (Value::Array(example), Value::Array(answer)) => {
            for (value, found) in example.iter().zip(answer) {
                fits(value, found, at);
            }
            assert!(answer.len() >= example.len(), "{at} has less: {answer:?}");
        }
        _ => assert_eq!(
            discriminant(example),
            discriminant(answer),
            "{at} is {answer}"
        ),
    }
}

fn id_of(answer: &Value) -> String {
    answer["id"].as_str().expect("an id").to_owned()
}
