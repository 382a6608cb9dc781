//! What settings are taken, and from where.

use super::{Given, Role, Settings, SettingsError, refuse_unknown_variables};

fn file(text: &str) -> Result<Given, toml::de::Error> {
    toml::from_str(text)
}

#[test]
fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
    let flags = Given {
        session_hours: Some(1),
        ..Given::default()
    };
    let from_file = file("session_hours = 2\ndrain_seconds = 3").unwrap();
    let settings = Settings::merge(flags, from_file).unwrap();
    assert_eq!((settings.session_hours, settings.drain_seconds), (1, 3));
    assert_eq!(settings.listen.port(), 8080);
}

#[test]
fn an_unknown_key_is_refused_by_name() {
    let error = file("lisen = '0.0.0.0:80'").unwrap_err();
    assert!(error.to_string().contains("lisen"), "{error}");
}

#[test]
fn an_unknown_variable_is_refused_by_name() {
    let error = refuse_unknown_variables(["VERBATIM_LISEN".into()].into_iter()).unwrap_err();
    assert!(matches!(error, SettingsError::UnknownVariable(name) if name == "VERBATIM_LISEN"));
    refuse_unknown_variables(["VERBATIM_LISTEN".into(), "HOME".into()].into_iter()).unwrap();
}

#[test]
fn a_value_out_of_range_is_refused_by_name() {
    let flags = Given {
        heartbeat_ms: Some(1),
        ..Given::default()
    };
    let error = Settings::merge(flags, Given::default()).unwrap_err();
    assert!(error.to_string().contains("heartbeat_ms = 1"), "{error}");
    for minutes in [0, 1_441] {
        let given = file(&format!("access_token_minutes = {minutes}")).unwrap();
        let error = Settings::merge(Given::default(), given).unwrap_err();
        let said = error.to_string();
        assert!(said.contains("access_token_minutes"), "{said}");
    }
}

#[test]
fn one_role_alone_says_what_it_needs() {
    let mut given = Given {
        role: Some(Role::Gateway),
        event_store: Some("postgres://db/log".into()),
        ..Given::default()
    };
    let error = Settings::merge(given.clone(), Given::default()).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("gateway") && text.contains("nats_url"),
        "{text}"
    );
    assert!(!text.contains("event_store"), "{text}");
    given.database_url = Some("postgres://db/read".into());
    given.nats_url = Some("nats://bus".into());
    given.secret_file = Some("secret".into());
    Settings::merge(given, Given::default()).unwrap();
}

#[test]
fn a_short_secret_and_half_of_tls_are_refused() {
    let merged = |text: &str| Settings::merge(Given::default(), file(text).unwrap());
    let short = merged("eventstore_token = 'short'").unwrap_err();
    assert!(matches!(short, SettingsError::EventstoreToken), "{short}");
    let half = merged("eventstore_tls_key = 'key.pem'").unwrap_err();
    assert!(matches!(half, SettingsError::EventstoreTls), "{half}");
    let token = "0123456789abcdef0123456789abcdef";
    let settings = merged(&format!("eventstore_token = '{token}'")).unwrap();
    let shown = toml::to_string(&settings).unwrap();
    assert!(!shown.contains(token), "{shown}");
}

#[test]
fn a_mail_server_is_checked_and_its_password_not_shown() {
    let merged = |text: &str| Settings::merge(Given::default(), file(text).unwrap());
    for (wrong, key) in [
        (
            "smtp_url = 'mail.example.org'\nmail_from = 'a@example.org'",
            "smtp_url",
        ),
        ("smtp_url = 'smtp://mail.example.org'", "mail_from"),
        ("mail_from = 'nobody'", "mail_from"),
        ("public_name = ''", "public_name"),
        ("password_memory_kib = 64", "password_memory_kib"),
        ("password_passes = 0", "password_passes"),
    ] {
        let error = merged(wrong).unwrap_err().to_string();
        assert!(error.contains(key), "{error}");
    }
    let text = "smtp_url = 'smtps://verbatim:secret@mail.example.org'\nmail_from = 'a@example.org'";
    let shown = toml::to_string(&merged(text).unwrap()).unwrap();
    assert!(
        shown.contains("smtps://verbatim:…@mail.example.org"),
        "{shown}"
    );
    assert!(!shown.contains("secret@"), "{shown}");
}
