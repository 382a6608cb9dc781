//! Settings of the edge: who is where, what may come in, how often, and how long it may take.

use std::path::PathBuf;

use infra::limits::{Limit, Proxy};
use serde::Serialize;

use super::{Given, SettingsError, within};

/// The settings in force at the edge. They stand among the others, without a table of their own.
#[derive(Clone, Debug, Serialize)]
pub struct Edge {
    /// Certificates for TLS to clients; `None` is no TLS.
    pub tls_cert: Option<PathBuf>,
    /// The private key of the first.
    pub tls_key: Option<PathBuf>,
    /// Proxies whose word about a client's address is taken.
    pub trusted_proxies: Vec<Proxy>,
    /// Origins of web pages that may use the API; `*` alone is all of them.
    pub cors_origins: Vec<String>,
    /// Open connections of clients.
    pub connections_max: usize,
    /// The same, from one network.
    pub connections_per_address_max: usize,
    /// Seconds for the head of a request.
    pub head_seconds_max: u32,
    /// Seconds that a body may pause.
    pub body_seconds_max: u32,
    /// Seconds until a request is answered.
    pub request_seconds_max: u32,
    /// Commands of an address.
    pub limit_commands_address: Limit,
    /// Commands of a user, over HTTP and over all connections.
    pub limit_commands_user: Limit,
    /// Reads of an address.
    pub limit_reads_address: Limit,
    /// Reads of a user.
    pub limit_reads_user: Limit,
    /// Logins of an address.
    pub limit_login_address: Limit,
    /// Wrong passwords for one login name from one address.
    pub limit_login_name: Limit,
    /// The same from all addresses together that never logged in under the name.
    pub limit_login_strangers: Limit,
    /// Codes that an address asks for or tries.
    pub limit_code_address: Limit,
    /// Registrations of an address.
    pub limit_registration_address: Limit,
}

impl Edge {
    /// What `first` says, then what `then` says, then the defaults.
    pub(super) fn merge(first: &Given, then: &Given) -> Self {
        macro_rules! take {
            ($name:ident) => {
                first.$name.clone().or_else(|| then.$name.clone())
            };
            ($name:ident, $default:expr) => {
                take!($name).unwrap_or_else(|| $default)
            };
        }
        Self {
            tls_cert: take!(tls_cert),
            tls_key: take!(tls_key),
            trusted_proxies: take!(trusted_proxies, Vec::new()),
            cors_origins: take!(cors_origins, Vec::new()),
            connections_max: take!(connections_max, 60_000),
            connections_per_address_max: take!(connections_per_address_max, 2_000),
            head_seconds_max: take!(head_seconds_max, 30),
            body_seconds_max: take!(body_seconds_max, 20),
            request_seconds_max: take!(request_seconds_max, 60),
            limit_commands_address: take!(limit_commands_address, Limit::at(100, 1, 1_000)),
            limit_commands_user: take!(limit_commands_user, Limit::at(50, 1, 200)),
            limit_reads_address: take!(limit_reads_address, Limit::at(200, 1, 2_000)),
            limit_reads_user: take!(limit_reads_user, Limit::at(50, 1, 500)),
            limit_login_address: take!(limit_login_address, Limit::at(10, 60, 20)),
            limit_login_name: take!(limit_login_name, Limit::at(10, 600, 10)),
            limit_login_strangers: take!(limit_login_strangers, Limit::at(30, 600, 30)),
            limit_code_address: take!(limit_code_address, Limit::at(10, 600, 20)),
            limit_registration_address: take!(limit_registration_address, Limit::at(10, 3_600, 20)),
        }
    }

    pub(super) fn check(&self) -> Result<(), SettingsError> {
        if self.tls_cert.is_some() != self.tls_key.is_some() {
            return Err(SettingsError::Tls);
        }
        let connections = self.connections_max as u64;
        let per_address = self.connections_per_address_max as u64;
        let (head, body) = (self.head_seconds_max.into(), self.body_seconds_max.into());
        let request = self.request_seconds_max.into();
        let of_connections = "1 to 1000000";
        within("connections_max", connections, 1, 1_000_000, of_connections)?;
        let name = "connections_per_address_max";
        within(name, per_address, 1, 1_000_000, of_connections)?;
        within("head_seconds_max", head, 1, 600, "1 to 600")?;
        within("body_seconds_max", body, 1, 600, "1 to 600")?;
        within("request_seconds_max", request, 1, 3_600, "1 to 3600")?;
        for origin in &self.cors_origins {
            let alone = self.cors_origins.len() == 1;
            if !(is_origin(origin) || origin == "*" && alone) {
                return Err(SettingsError::CorsOrigin(origin.clone()));
            }
        }
        Ok(())
    }
}

/// Whether `text` is an origin as browsers send it: scheme, host and perhaps port, in lower case.
fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else {
        return false;
    };
    let of_scheme = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c);
    let of_host = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.:[]_".contains(c);
    !scheme.is_empty()
        && scheme.chars().all(of_scheme)
        && !host.is_empty()
        && host.chars().all(of_host)
}

#[cfg(test)]
mod tests {
    use infra::limits::Limit;

    use crate::settings::{Given, Settings, SettingsError};

    fn settings(text: &str) -> Result<Settings, SettingsError> {
        Settings::merge(Given::default(), toml::from_str(text).unwrap())
    }

    #[test]
    fn the_edge_is_read_from_a_file_and_shown_as_it_is_written() {
        let text = "limit_login_name = '3/1h,burst=5'\nlimit_reads_user = '0'\n\
                    trusted_proxies = ['10.0.0.0/8', '127.0.0.1']\n\
                    cors_origins = ['https://app.example.org']\n";
        let edge = settings(text).unwrap();
        assert_eq!(edge.edge.limit_login_name, Limit::at(3, 3_600, 5));
        assert_eq!(edge.edge.limit_reads_user, Limit::Off);
        let shown = toml::to_string(&edge).unwrap();
        for line in [
            "limit_login_name = \"3/1h,burst=5\"",
            "limit_reads_user = \"0\"",
            "trusted_proxies = [\"10.0.0.0/8\", \"127.0.0.1/32\"]",
            "limit_registration_address = \"10/1h,burst=20\"",
        ] {
            assert!(shown.contains(line), "{line} is not in {shown}");
        }
        settings(&format!("{text}listen = '127.0.0.1:1'")).unwrap();
    }

    #[test]
    fn what_is_no_limit_or_proxy_is_refused_with_what_would_do() {
        for (text, expected) in [
            ("limit_login_name = 'often'", "COUNT/TIME"),
            ("limit_login_name = 0", "string"),
            ("trusted_proxies = ['nginx']", "10.0.0.0/8"),
        ] {
            let error = toml::from_str::<Given>(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn an_origin_is_exact_or_all_alone() {
        for good in [
            "['https://app.example.org:8443', 'capacitor://localhost']",
            "['*']",
            "['http://[::1]:3000']",
        ] {
            settings(&format!("cors_origins = {good}")).unwrap();
        }
        for bad in [
            "app.example.org",
            "https://app.example.org/",
            "https://*.example.org",
            "https://App.example.org",
            "null",
            "https://",
        ] {
            let error = settings(&format!("cors_origins = ['{bad}']")).unwrap_err();
            assert!(error.to_string().contains(bad), "{error}");
        }
        settings("cors_origins = ['*', 'https://app.example.org']").unwrap_err();
    }

    #[test]
    fn half_of_tls_is_refused() {
        let half = settings("tls_cert = 'cert.pem'").unwrap_err();
        assert!(matches!(half, SettingsError::Tls), "{half}");
    }
}
