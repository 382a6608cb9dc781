//! For which domain passkeys are, and on which pages they may be used.

use infra::factors::RelyingPartyConfig;

use super::Settings;

impl Settings {
    /// Whose passkeys they are.
    pub(crate) fn relying_party(&self) -> RelyingPartyConfig {
        RelyingPartyConfig {
            name: self.public_name.clone(),
            id: self.passkey_domain.clone(),
            origins: self.passkey_origins.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::settings::{Given, Settings};

    fn settings(file: &str) -> Result<Settings, String> {
        let then = toml::from_str(file).map_err(|error| error.to_string())?;
        Settings::merge(Given::default(), then).map_err(|error| error.to_string())
    }

    #[test]
    fn origins_are_of_the_domain() {
        let party = settings("").unwrap().relying_party();
        assert_eq!((party.id.as_str(), party.origins.len()), ("localhost", 0));
        for good in [
            "passkey_domain = 'example.org'",
            "passkey_domain = 'example.org'\npasskey_origins = ['https://app.example.org']",
        ] {
            settings(good).unwrap();
        }
        for bad in [
            "passkey_origins = ['https://example.org']",
            "passkey_domain = 'example.org'\npasskey_origins = ['https://example.com']",
            "passkey_domain = 'no domain'",
        ] {
            let error = settings(bad).unwrap_err();
            assert!(error.contains("passkeys of"), "{error}");
        }
    }
}
