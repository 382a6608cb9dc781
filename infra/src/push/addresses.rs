//! To which addresses we connect because a user says so: those that anybody reaches, and none within our
//! own network. A name is looked up here, and what it is looked up to is what is connected to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Where pushes may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// To addresses that anybody reaches, over TLS.
    PublicOnly,
    /// Anywhere, and without TLS too: for trying things out.
    Any,
}

impl Addresses {
    /// The address `url`, if it may be pushed to as far as it says itself.
    pub(super) fn checked(self, url: &str) -> Option<Url> {
        let url = Url::parse(url).ok()?;
        let has_credentials = !url.username().is_empty() || url.password().is_some();
        let host = url.host_str()?;
        let literal: Option<IpAddr> = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse()
            .ok();
        let may = match self {
            Self::PublicOnly => url.scheme() == "https" && literal.is_none_or(is_public),
            Self::Any => matches!(url.scheme(), "https" | "http"),
        };
        (may && !has_credentials).then_some(url)
    }
}

/// Looks names up and leaves out what is not public.
pub(super) struct PublicResolver;

impl Resolve for PublicResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|it| is_public(it.ip())).collect();
            if public.is_empty() {
                return Err("the host has no public address".into());
            }
            let public: Addrs = Box::new(public.into_iter());
            Ok(public)
        })
    }
}

/// Whether anybody reaches `address`: by the registries of special addresses of IANA.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_shared = a == 100 && (64..128).contains(&b);
    let is_of_protocols = a == 192 && b == 0 && c == 0;
    let is_relay = a == 192 && b == 88 && c == 99;
    let is_benchmark = a == 198 && (18..20).contains(&b);
    !(a == 0
        || a >= 224
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || is_shared
        || is_of_protocols
        || is_relay
        || is_benchmark)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let parts = address.segments();
    if let Some(mapped) = address.to_ipv4_mapped() {
        return is_public_v4(mapped);
    }
    // What is handed out is below 2000::/3. In it: protocols and tunnels, documentation, 6to4.
    let is_given = parts[0] & 0xe000 == 0x2000;
    let is_of_protocols = parts[0] == 0x2001 && parts[1] < 0x0200;
    let is_documentation =
        (parts[0] == 0x2001 && parts[1] == 0x0db8) || (parts[0] == 0x3fff && parts[1] < 0x1000);
    let is_6to4 = parts[0] == 0x2002;
    is_given && !is_of_protocols && !is_documentation && !is_6to4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_we_reach_is_not_public() {
        for public in [
            "1.1.1.1",
            "172.15.0.1",
            "100.128.0.1",
            "2606:4700::1111",
            "::ffff:1.1.1.1",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for ours in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "fc00::1",
            "fe80::1",
            "ff02::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
        ] {
            assert!(!is_public(ours.parse().unwrap()), "{ours}");
        }
    }

    #[test]
    fn an_address_is_https_of_a_public_host() {
        for good in [
            "https://push.example/a?b",
            "https://push.example:8443/",
            "https://1.1.1.1/",
        ] {
            assert!(Addresses::PublicOnly.checked(good).is_some(), "{good}");
        }
        for bad in [
            "http://push.example/",
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://[::1]/",
            "https://user@push.example/",
            "ftp://push.example/",
            "/push",
            "",
        ] {
            assert!(Addresses::PublicOnly.checked(bad).is_none(), "{bad}");
        }
        assert!(Addresses::Any.checked("http://127.0.0.1:1/").is_some());
        assert!(Addresses::Any.checked("file:///etc/passwd").is_none());
    }

    #[tokio::test]
    async fn a_name_for_this_machine_is_looked_up_to_nothing() {
        let name: Name = "localhost".parse().unwrap();
        let found = PublicResolver.resolve(name).await;
        assert!(found.is_err());
    }
}
