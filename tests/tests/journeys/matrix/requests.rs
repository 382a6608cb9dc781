//! A request for each route and a frame for each `op`, such as one who may would send it.

use reqwest::Method;
use serde_json::{Value, json};

use super::actors::Scene;

/// Frames that are no commands, but signals and subscriptions.
pub(super) const SIGNALS: [&str; 4] = ["subscribe", "unsubscribe", "typing", "presence"];

/// The route after which its asker is nobody.
pub(super) const ENDS_THE_SESSION: &str = "/v1/sessions/current";

/// Nobody's.
const NO_ADDRESS: &str = "nobody@example.org";

/// Nobody's, too.
const NO_PASSWORD: &str = "correct horse nobody has";

/// Likewise.
const NO_PASSKEY: &str = "0190d0f0-0000-7000-8000-000000000000";

/// A browser's, of RFC 8291, appendix A.
const PUSH_KEY: &str =
    "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";

/// A request with `{…}` where a scene has names.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    path: String,
    body: Value,
}

impl Request {
    /// A request of no route's in particular.
    pub(super) const fn new(method: Method, path: String, body: Value) -> Self {
        Self { method, path, body }
    }

    /// The request for a route of the OpenAPI document.
    #[expect(
        clippy::too_many_lines,
        clippy::unnested_or_patterns,
        reason = "a table, by method and path"
    )]
    pub(super) fn of(method: &Method, path: &str) -> Option<Self> {
        let nothing = Value::Null;
        let (mut query, mut whom) = ("", "{user}");
        let body = match (method.as_str(), path) {
            (
                "GET",
                "/.well-known/jwks.json"
                | "/health/live"
                | "/health/ready"
                | "/metrics"
                | "/v1/attachments/{attachment}"
                | "/v1/audit/conversations/{conversation}/events"
                | "/v1/audit/events"
                | "/v1/conversations"
                | "/v1/conversations/{conversation}"
                | "/v1/conversations/{conversation}/members"
                | "/v1/conversations/{conversation}/messages"
                | "/v1/conversations/{conversation}/messages/{seq}"
                | "/v1/conversations/{conversation}/messages/{seq}/edits"
                | "/v1/conversations/{conversation}/messages/{seq}/receipts"
                | "/v1/conversations/{conversation}/pins"
                | "/v1/conversations/{conversation}/threads"
                | "/v1/threads"
                | "/v1/services"
                | "/v1/sessions"
                | "/v1/spaces"
                | "/v1/spaces/{space}"
                | "/v1/spaces/{space}/bans"
                | "/v1/spaces/{space}/invites"
                | "/v1/spaces/{space}/members"
                | "/v1/spaces/{space}/members/{user}/permissions"
                | "/v1/status"
                | "/v1/stream"
                | "/v1/stream/sse"
                | "/v1/users/me"
                | "/v1/users/me/blocks"
                | "/v1/users/me/export"
                | "/v1/users/me/factors"
                | "/v1/users/me/identities"
                | "/v1/notifications"
                | "/v1/push/key"
                | "/v1/users/me/notifications"
                | "/v1/users/me/preferences"
                | "/v1/users/me/push-subscriptions"
                | "/v1/users/{user}",
            )
            | (
                "PUT",
                "/v1/conversations/{conversation}/archived"
                | "/v1/conversations/{conversation}/messages/{seq}/pin"
                | "/v1/conversations/{conversation}/messages/{seq}/reactions/{emoji}"
                | "/v1/conversations/{conversation}/threads/{thread}/followed"
                | "/v1/spaces/{space}/archived"
                | "/v1/spaces/{space}/bans/{user}"
                | "/v1/spaces/{space}/members/{user}/roles/{role}"
                | "/v1/users/{user}/system-roles/{role}",
            )
            | (
                "DELETE",
                "/v1/conversations/{conversation}/archived"
                | "/v1/conversations/{conversation}/members/{user}"
                | "/v1/conversations/{conversation}/messages/{seq}"
                | "/v1/conversations/{conversation}/messages/{seq}/pin"
                | "/v1/conversations/{conversation}/messages/{seq}/reactions/{emoji}"
                | "/v1/conversations/{conversation}/threads/{thread}/followed"
                | "/v1/services/{service}"
                | "/v1/sessions"
                | "/v1/sessions/{session}"
                | "/v1/spaces/{space}/archived"
                | "/v1/spaces/{space}/bans/{user}"
                | "/v1/spaces/{space}/categories/{category}"
                | "/v1/spaces/{space}/channels/{channel}"
                | "/v1/spaces/{space}/invites/{invite}"
                | "/v1/spaces/{space}/members/{user}"
                | "/v1/spaces/{space}/members/{user}/roles/{role}"
                | "/v1/spaces/{space}/roles/{role}"
                | "/v1/users/me/identities/{issuer}"
                | "/v1/users/me/push-subscriptions/{subscription}"
                | "/v1/users/{user}/system-roles/{role}",
            )
            // What speaks no tus is told so, whoever it is.
            | ("POST" | "OPTIONS", "/v1/attachments")
            | ("HEAD" | "PATCH" | "DELETE", "/v1/attachments/{attachment}")
            | ("DELETE", "/v1/users/me/avatar")
            | (
                "POST",
                "/v1/import/slack"
                | "/v1/invites/{code}"
                | "/v1/read-models/{name}/rebuild"
                | "/v1/spaces/{space}/join",
            )
            | ("DELETE", ENDS_THE_SESSION) => nothing,
            // Done to somebody whom no scene needs.
            ("PUT" | "DELETE", "/v1/users/me/blocks/{user}")
            | ("DELETE", "/v1/users/{user}/factors")
            | ("POST", "/v1/users/{user}/reinstate") => {
                whom = "{unloved}";
                nothing
            }
            ("POST", "/v1/users/{user}/suspend") => {
                whom = "{unloved}";
                json!({ "why": "to see who may" })
            }
            ("GET", "/v1/blobs/{attachment}/{variant}") => {
                query = "?expires=1&signature=guess";
                nothing
            }
            ("PUT", "/v1/users/me/avatar") => json!({ "attachment": "{attachment}" }),
            ("GET", "/v1/users") => {
                query = "?handle={handle}";
                nothing
            }
            ("GET", "/v1/search") => {
                query = "?q=hello";
                nothing
            }
            ("POST", "/v1/conversations") => json!({ "kind": "direct", "with": "{user}" }),
            ("PATCH", "/v1/conversations/{conversation}") => json!({ "title": "Another" }),
            ("POST", "/v1/conversations/{conversation}/members") => json!({ "user": "{outsider}" }),
            ("PATCH", "/v1/conversations/{conversation}/members/{user}") => {
                json!({ "role": "admin" })
            }
            ("POST", "/v1/conversations/{conversation}/messages") => json!({ "body": "hello" }),
            ("PATCH", "/v1/conversations/{conversation}/messages/{seq}") => {
                json!({ "body": "hello!" })
            }
            (
                "PUT",
                "/v1/conversations/{conversation}/receipts/delivered"
                | "/v1/conversations/{conversation}/receipts/seen"
                | "/v1/conversations/{conversation}/threads/{thread}/seen",
            ) => json!({ "seq": "{seq}" }),
            (
                "POST",
                "/v1/issuers/{issuer}/webhook"
                | "/v1/logins/{issuer}"
                | "/v1/passkeys/challenge"
                | "/v1/services/{service}/rotate"
                | "/v1/users/me/identities/{issuer}",
            ) => json!({}),
            (
                "POST",
                "/v1/logins/{issuer}/callback" | "/v1/users/me/identities/{issuer}/callback",
            ) => {
                json!({ "login": "begun elsewhere", "state": "a guess", "code": "a guess" })
            }
            ("POST", "/v1/owner") => json!({ "code": "a guess" }),
            ("POST", "/v1/codes") => json!({ "purpose": "log_in", "email": NO_ADDRESS }),
            ("POST", "/v1/passwords/reset") => {
                json!({
                    "email": NO_ADDRESS, "challenge": "a guess", "code": "12345678",
                    "password": NO_PASSWORD,
                })
            }
            (
                "PATCH",
                "/v1/spaces/{space}"
                | "/v1/spaces/{space}/categories/{category}"
                | "/v1/spaces/{space}/channels/{channel}"
                | "/v1/spaces/{space}/roles/{role}",
            )
            | ("POST", "/v1/spaces" | "/v1/spaces/{space}/categories") => {
                json!({ "name": "Another" })
            }
            ("PUT", "/v1/spaces/{space}/owner") => json!({ "user": "{user}" }),
            ("POST", "/v1/spaces/{space}/channels") => {
                json!({ "name": "Another", "kind": "voice" })
            }
            ("POST", "/v1/spaces/{space}/roles") => json!({ "name": "Another", "rank": 1 }),
            ("POST", "/v1/spaces/{space}/invites") => json!({ "uses_max": 1 }),
            (
                "PUT",
                "/v1/spaces/{space}/channels/{channel}/overrides/members/{user}"
                | "/v1/spaces/{space}/channels/{channel}/overrides/roles/{role}",
            ) => json!({ "deny": ["send_messages"] }),
            ("POST", "/v1/services") => json!({ "name": "Board", "scopes": ["analyst"] }),
            ("POST", "/v1/sessions") => json!({ "login": "other", "password": NO_PASSWORD }),
            ("POST", "/v1/sessions/code") => {
                json!({ "email": NO_ADDRESS, "challenge": "a guess", "code": "12345678" })
            }
            ("POST", "/v1/sessions/refresh") => json!({ "refresh_token": "vr_guess" }),
            ("POST", "/v1/sessions/second-factor") => {
                json!({ "ticket": "guess", "factor": { "totp": "123456" } })
            }
            ("POST", "/v1/sessions/passkey") => json!({ "challenge": "guess", "credential": {} }),
            (
                "POST",
                "/v1/users/me/factors/totp"
                | "/v1/users/me/factors/totp/remove"
                | "/v1/users/me/factors/recovery-codes"
                | "/v1/users/me/factors/passkeys/challenge"
                | "/v1/users/me/factors/passkeys/{passkey}/remove",
            ) => json!({ "proof": { "password": NO_PASSWORD } }),
            ("POST", "/v1/users/me/factors/totp/confirm") => json!({ "code": "123456" }),
            ("POST", "/v1/users/me/factors/passkeys") => {
                json!({ "challenge": "guess", "credential": {}, "name": "Key ring" })
            }
            ("PATCH", "/v1/users/me/factors/passkeys/{passkey}") => json!({ "name": "Phone" }),
            ("POST", "/v1/users") => json!({
                "handle": "{fresh}", "email": "{fresh}@example.org", "password": NO_PASSWORD,
                "display_name": "Somebody new",
            }),
            ("PATCH", "/v1/users/me") => json!({ "status_text": "away" }),
            ("POST", "/v1/users/me/deactivate") => json!({ "password": NO_PASSWORD }),
            ("PUT", "/v1/users/me/password") => {
                json!({ "current_password": NO_PASSWORD, "password": "another quiet horse" })
            }
            ("PUT", "/v1/conversations/{conversation}/notifications") => {
                json!({ "level": "mentions" })
            }
            ("PUT", "/v1/notifications/read") => json!({ "up_to": 1 }),
            ("PUT", "/v1/users/me/notifications") => json!({ "direct": "all" }),
            ("POST", "/v1/users/me/push-subscriptions") => json!({
                "endpoint": "https://push.example/1",
                "keys": { "p256dh": PUSH_KEY, "auth": "BTBZMqHH6r4Tts7J_aSIgg" },
            }),
            ("PUT", "/v1/users/me/preferences") => json!({ "theme": "dark" }),
            // What everybody is already: no scene needs it otherwise.
            ("PUT", "/v1/users/me/privacy") => json!({ "seen": "everyone" }),
            ("PUT", "/v1/users/me/presence") => json!({ "shown": "automatic" }),
            ("POST", "/v1/users/me/verify-email") => json!({ "code": "12345678" }),
            _ => return None,
        };
        Some(Self {
            method: method.clone(),
            path: format!(
                "{}{query}",
                path.replace("{user}", whom)
                    .replace("{passkey}", NO_PASSKEY)
                    .replace("{subscription}", NO_PASSKEY)
                    .replace("{thread}", "{seq}")
            ),
            body,
        })
    }

    /// The path in `scene`.
    pub(super) fn path(&self, scene: &Scene) -> String {
        scene.fill(&self.path)
    }

    /// The body in `scene`; `None` where there is none.
    pub(super) fn body(&self, scene: &Scene) -> Option<Value> {
        (!self.body.is_null()).then(|| scene.fill_body(&self.body))
    }
}

/// A frame for `op`, without `op` and `id`.
pub(super) fn frame(op: &str) -> Value {
    let conversation = || json!({ "conversation": "{conversation}" });
    let with = |fields: Value| {
        let mut frame = conversation();
        for (name, value) in fields.as_object().into_iter().flatten() {
            frame[name] = value.clone();
        }
        frame
    };
    match op {
        "subscribe"
        | "unsubscribe"
        | "typing"
        | "leave_conversation"
        | "archive_conversation"
        | "unarchive_conversation" => conversation(),
        "presence" => json!({ "state": "online" }),
        "start_conversation" => json!({ "kind": "direct", "with": "{user}" }),
        "send_message" => with(json!({ "body": "hello" })),
        "edit_message" => with(json!({ "message": "{seq}", "body": "hello!" })),
        "delete_message" | "pin_message" | "unpin_message" => with(json!({ "message": "{seq}" })),
        "follow_thread" | "unfollow_thread" => with(json!({ "thread": "{seq}" })),
        "mark_thread_seen" => with(json!({ "thread": "{seq}", "seq": "{seq}" })),
        "add_reaction" | "remove_reaction" => with(json!({ "message": "{seq}", "emoji": "👍" })),
        "mark_seen" | "mark_delivered" => with(json!({ "seq": "{seq}" })),
        "rename_conversation" => with(json!({ "title": "Another" })),
        "change_settings" => with(json!({ "history_visibility": "start" })),
        "set_notifications" => with(json!({ "level": "mentions" })),
        "read_notifications" => json!({ "up_to": 1 }),
        "add_member" => with(json!({ "user": "{outsider}" })),
        "remove_member" => with(json!({ "user": "{user}" })),
        "change_role" => with(json!({ "user": "{user}", "role": "admin" })),
        "create_space" => json!({ "name": "Another" }),
        "use_invite" => json!({ "code": "{code}" }),
        op => frame_on_space(op),
    }
}

/// One for an `op` on a space.
fn frame_on_space(op: &str) -> Value {
    let with = |fields: Value| {
        let mut frame = json!({ "space": "{space}" });
        for (name, value) in fields.as_object().into_iter().flatten() {
            frame[name] = value.clone();
        }
        frame
    };
    match op {
        "archive_space" | "unarchive_space" | "join_space" | "leave_space" => with(json!({})),
        "transfer_space" | "kick_member" | "ban_member" | "unban_member" => {
            with(json!({ "user": "{user}" }))
        }
        "create_channel" => with(json!({ "name": "Another", "kind": "text" })),
        "change_channel" => with(json!({ "channel": "{channel}", "name": "Another" })),
        "remove_channel" => with(json!({ "channel": "{channel}" })),
        "set_override" => with(json!({
            "channel": "{channel}", "target": { "role": "{role}" }, "deny": ["send_messages"],
        })),
        "change_space" | "create_category" => with(json!({ "name": "Another" })),
        "change_category" => with(json!({ "category": "{category}", "name": "Another" })),
        "remove_category" => with(json!({ "category": "{category}" })),
        "define_role" => with(json!({ "name": "Another", "rank": 1 })),
        "change_space_role" => with(json!({ "role": "{role}", "name": "Another" })),
        "remove_role" => with(json!({ "role": "{role}" })),
        "assign_role" | "withdraw_role" => with(json!({ "user": "{user}", "role": "{role}" })),
        "revoke_invite" => with(json!({ "invite": "{invite}" })),
        other => panic!("{other} has no frame in matrix/requests.rs"),
    }
}
