//! People look for what was said.

use reqwest::Method;
use serde_json::{Value, json};
use tests::Person;

use crate::site::Site;

/// The bodies of what `person` finds by a query that is escaped already, once everything up to
/// `position` is found.
async fn found(person: &Person, query: &str, position: &Value) -> Vec<String> {
    let path = format!("/v1/search?q={query}&min_position={position}");
    let answer = person.get(&path).await.ok();
    let hits = answer["hits"].as_array().expect("a list");
    let bodies = hits.iter().map(|hit| hit["message"]["body"].as_str());
    bodies
        .map(|body| body.expect("a body").to_owned())
        .collect()
}

pub(crate) async fn messages_are_found_in_every_language_by_those_who_see_them(site: &Site) {
    const TEA_HOUSE: &str = "The Tea House at noon?";
    const TOKYO: &str = "東京都でお茶を飲む";
    const COLD_WATER: &str = "อยากกินน้ำเย็น";
    let (anna, bob) = (site.person("anna").await, site.person("bob").await);
    let stranger = site.person("carl").await;
    let conversation = anna.starts_group("Lunch", &[&bob]).await;
    let messages = format!("/v1/conversations/{conversation}/messages");
    let english = anna.says(&conversation, TEA_HOUSE).await;
    anna.says(&conversation, TOKYO).await;
    let last = anna
        .post(&messages, json!({ "body": COLD_WATER }))
        .await
        .ok();
    let position = &last["position"];
    for (query, body) in [
        ("tea%20hou", TEA_HOUSE),
        ("%22house%20at%22", TEA_HOUSE),
        ("%E4%BA%AC%E9%83%BD", TOKYO),
        ("%E8%8C%B6", TOKYO),
        ("%E0%B8%99%E0%B9%89%E0%B8%B3", COLD_WATER),
    ] {
        assert_eq!(found(&bob, query, position).await, [body], "{query}");
        let nothing = found(&stranger, query, position).await;
        assert_eq!(nothing, Vec::<String>::new(), "{query}");
    }
    let within = format!("/v1/search?q=tea&conversation={conversation}");
    let refused = stranger.get(&within).await;
    refused.problem(404, "conversation_not_found");

    // Bob leaves, and goes on to find what it said then.
    let leave = format!("/v1/conversations/{conversation}/members/{}", bob.id);
    bob.ask(Method::DELETE, &leave, None, &[]).await.ok();
    let message = format!("{messages}/{english}");
    let edit = json!({ "body": "The Coffee House at noon?" });
    let edited = anna
        .ask(Method::PATCH, &message, Some(edit), &[])
        .await
        .ok();
    let position = &edited["position"];
    let coffee = found(&anna, "coffee", position).await;
    assert_eq!(coffee, ["The Coffee House at noon?"]);
    let tea = found(&anna, "tea", position).await;
    assert_eq!(tea, Vec::<String>::new());
    assert_eq!(found(&bob, "tea", position).await, [TEA_HOUSE]);
    let coffee = found(&bob, "coffee", position).await;
    assert_eq!(coffee, Vec::<String>::new());

    let deleted = anna.ask(Method::DELETE, &message, None, &[]).await.ok();
    for (person, query) in [(&anna, "coffee"), (&bob, "tea"), (&bob, "house")] {
        let nothing = found(person, query, &deleted["position"]).await;
        assert_eq!(nothing, Vec::<String>::new(), "{query}");
    }
}
