//! What a client's address counts as.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bits of an IPv6 address that name a network: whoever has one address there has all of them.
const IPV6_BITS: u32 = 64;

/// The network of a client, as limits count it: an IPv4 address by itself, an IPv6 address by its /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network(IpAddr);

impl Network {
    /// What those count as together who came over no network.
    pub const NONE: Self = Self(IpAddr::V4(Ipv4Addr::UNSPECIFIED));

    /// The network of `address`.
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => {
                let host = u128::MAX >> IPV6_BITS;
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !host))
            }
        })
    }
}

impl From<Option<IpAddr>> for Network {
    fn from(address: Option<IpAddr>) -> Self {
        address.map_or(Self::NONE, Self::of)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => address.fmt(out),
            IpAddr::V6(address) => write!(out, "{address}/{IPV6_BITS}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Network;

    fn shown(address: &str) -> String {
        Network::of(address.parse().unwrap()).to_string()
    }

    #[test]
    fn ipv4_counts_by_the_address_and_ipv6_by_the_network() {
        assert_eq!(shown("192.0.2.7"), "192.0.2.7");
        assert_eq!(shown("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(shown("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(shown("2001:db8:1:2::1"), shown("2001:db8:1:2:ffff::"));
        assert_ne!(shown("2001:db8:1:2::1"), shown("2001:db8:1:3::1"));
    }
}
