//! Where a client is that comes through proxies: the last address that no proxy of ours vouches against.
//!
//! Anybody may write anything into `X-Forwarded-For` and `Forwarded` (RFC 7239). Proxies append to what
//! came, so it is read from the right, for as long as it was said by a proxy that is trusted.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use axum::http::{HeaderMap, header};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// The header that most proxies write.
const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// The proxies whose word is taken.
#[derive(Clone, Debug, Default)]
pub struct Proxies(Vec<Proxy>);

/// A proxy, or a network of them: an address, or one with a prefix length (CIDR).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Proxy(IpNet);

/// What names no proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a proxy is an address or a network such as 10.0.0.0/8")]
pub struct ProxyInvalid;

impl FromStr for Proxy {
    type Err = ProxyInvalid;

    fn from_str(text: &str) -> Result<Self, ProxyInvalid> {
        let text = text.trim();
        let network = text
            .parse::<IpNet>()
            .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network.map(Self).map_err(|_| ProxyInvalid)
    }
}

impl TryFrom<String> for Proxy {
    type Error = ProxyInvalid;

    fn try_from(text: String) -> Result<Self, ProxyInvalid> {
        text.parse()
    }
}

impl From<Proxy> for String {
    fn from(proxy: Proxy) -> Self {
        proxy.0.to_string()
    }
}

impl Proxies {
    /// Trusts `proxies` and nobody else.
    pub const fn new(proxies: Vec<Proxy>) -> Self {
        Self(proxies)
    }

    /// Whether `address` is one of them.
    pub fn has(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|proxy| proxy.0.contains(&address))
    }

    /// Where the client is of a request with `headers` that came from `peer`. What cannot be read ends
    /// the search. Two headers that do not say the same are not believed: a proxy of ours writes one of
    /// them and lets the client's other one through.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.has(peer) {
            return peer;
        }
        let by_name = headers
            .contains_key(X_FORWARDED_FOR)
            .then(|| self.last_untrusted(peer, &listed(headers)));
        let by_standard = headers
            .contains_key(header::FORWARDED)
            .then(|| self.last_untrusted(peer, &forwarded(headers)));
        match (by_name, by_standard) {
            (Some(one), Some(other)) if one != other => peer,
            (Some(client), _) | (None, Some(client)) => client,
            (None, None) => peer,
        }
    }

    fn last_untrusted(&self, peer: IpAddr, hops: &[Option<IpAddr>]) -> IpAddr {
        let mut client = peer;
        for hop in hops.iter().rev() {
            let Some(hop) = hop else { break };
            client = hop.to_canonical();
            if !self.has(client) {
                break;
            }
        }
        client
    }
}

/// The hops of `X-Forwarded-For`, the client first.
fn listed(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let lines = headers.get_all(X_FORWARDED_FOR).iter();
    lines
        .flat_map(|line| line.to_str().unwrap_or("?").split(','))
        .map(hop)
        .collect()
}

/// The hops of `Forwarded`, the client first. One without `for` cannot be read.
fn forwarded(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let lines = headers.get_all(header::FORWARDED).iter();
    lines
        .flat_map(|line| split(line.to_str().unwrap_or("?"), ','))
        .map(|element| {
            let pairs = split(element, ';');
            let named = pairs.into_iter().find_map(|pair| {
                let (name, value) = pair.split_once('=')?;
                name.trim().eq_ignore_ascii_case("for").then_some(value)
            });
            named.and_then(hop)
        })
        .collect()
}

/// An address with or without a port and quotes.
fn hop(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    if let Ok(with_port) = text.parse::<SocketAddr>() {
        return Some(with_port.ip());
    }
    let bare = text.strip_prefix('[')?.strip_suffix(']')?;
    bare.parse().ok()
}

/// The parts of `text` between separators that stand outside of quotes.
fn split(text: &str, separator: char) -> Vec<&str> {
    let mut quoted = false;
    let parts = text.split(move |c: char| {
        quoted ^= c == '"';
        c == separator && !quoted
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;

    use super::{Proxies, Proxy};

    fn proxies() -> Proxies {
        let all = ["10.0.0.0/8", "2001:db8::/32", "127.0.0.1"];
        Proxies::new(all.iter().map(|proxy| proxy.parse().unwrap()).collect())
    }

    fn client(peer: &str, headers: &[(&'static str, &str)]) -> String {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let client = proxies().client(peer.parse().unwrap(), &map);
        client.to_string()
    }

    #[test]
    fn a_stranger_s_word_is_not_taken() {
        let said = [("x-forwarded-for", "198.51.100.1")];
        assert_eq!(client("192.0.2.1", &said), "192.0.2.1");
        assert_eq!(client("::ffff:192.0.2.1", &said), "192.0.2.1");
        assert_eq!(client("10.1.2.3", &said), "198.51.100.1");
        assert_eq!(client("::ffff:10.1.2.3", &said), "198.51.100.1");
        assert_eq!(client("10.1.2.3", &[]), "10.1.2.3");
    }

    #[test]
    fn the_rightmost_address_that_is_no_proxy_of_ours_counts() {
        for (list, expected) in [
            ("198.51.100.1", "198.51.100.1"),
            ("1.1.1.1, 198.51.100.1", "198.51.100.1"),
            ("1.1.1.1, 198.51.100.1, 10.0.0.9", "198.51.100.1"),
            ("10.0.0.7, 10.0.0.9", "10.0.0.7"),
            ("198.51.100.1:4711", "198.51.100.1"),
            ("[2a00::1]:80", "2a00::1"),
            ("2a00::1", "2a00::1"),
            // What cannot be read hides all that is before it.
            ("198.51.100.1, unknown", "10.1.2.3"),
            ("198.51.100.1, nonsense, 10.0.0.9", "10.0.0.9"),
            ("", "10.1.2.3"),
        ] {
            let said = [("x-forwarded-for", list)];
            assert_eq!(client("10.1.2.3", &said), expected, "{list}");
        }
        let lines = [
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-for", "198.51.100.1, 10.0.0.9"),
        ];
        assert_eq!(client("10.1.2.3", &lines), "198.51.100.1");
    }

    #[test]
    fn the_standard_header_is_read_too() {
        for (list, expected) in [
            ("for=198.51.100.1", "198.51.100.1"),
            ("For=\"198.51.100.1:80\";proto=https", "198.51.100.1"),
            (
                "for=1.1.1.1, proto=http;for=\"[2a00::1]:443\", for=10.0.0.9",
                "2a00::1",
            ),
            ("for=198.51.100.1;by=\"a,b;for=1.1.1.1\"", "198.51.100.1"),
            ("for=198.51.100.1, for=_hidden", "10.1.2.3"),
            ("by=10.0.0.9", "10.1.2.3"),
        ] {
            let said = [("forwarded", list)];
            assert_eq!(client("10.1.2.3", &said), expected, "{list}");
        }
    }

    #[test]
    fn headers_that_do_not_agree_are_not_believed() {
        let list = ("x-forwarded-for", "198.51.100.1");
        let same = [list, ("forwarded", "for=198.51.100.1")];
        assert_eq!(client("10.1.2.3", &same), "198.51.100.1");
        let other = [list, ("forwarded", "for=1.1.1.1")];
        assert_eq!(client("10.1.2.3", &other), "10.1.2.3");
    }

    #[test]
    fn a_proxy_is_an_address_or_a_network() {
        let shown = |text: &str| text.parse::<Proxy>().map(String::from);
        assert_eq!(shown("10.0.0.0/8").as_deref(), Ok("10.0.0.0/8"));
        assert_eq!(shown("127.0.0.1").as_deref(), Ok("127.0.0.1/32"));
        assert!(shown("localhost").is_err());
        assert!(shown("10.0.0.0/33").is_err());
    }
}
