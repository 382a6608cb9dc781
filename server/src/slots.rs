//! How many connections there may be: of all clients, and of those at one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use infra::limits::{Network, Proxies};
use parking_lot::Mutex;

/// Counts the open connections of a process.
pub(crate) struct Slots {
    open: Mutex<Open>,
    max: usize,
    per_network_max: usize,
    /// Many clients come from each of them.
    proxies: Arc<Proxies>,
}

#[derive(Default)]
struct Open {
    all: usize,
    /// As many as there are connections, at most.
    by_network: HashMap<Network, usize>,
}

/// The place of one connection, until it is dropped.
pub(crate) struct Slot {
    slots: Arc<Slots>,
    /// `None` where its address does not count.
    network: Option<Network>,
}

impl Slots {
    /// At most `max` connections, `per_network_max` of them from one network that is no proxy of ours.
    pub(crate) fn new(max: usize, per_network_max: usize, proxies: Arc<Proxies>) -> Arc<Self> {
        Arc::new(Self {
            open: Mutex::default(),
            max,
            per_network_max,
            proxies,
        })
    }

    /// A place for a connection from `peer`; `None` where there is none left, which is counted.
    pub(crate) fn take(self: &Arc<Self>, peer: IpAddr) -> Option<Slot> {
        let network = (!self.proxies.has(peer)).then(|| Network::of(peer));
        match self.count(network) {
            Ok(()) => {
                metrics::gauge!("verbatim_http_connections").increment(1);
                Some(Slot {
                    slots: Arc::clone(self),
                    network,
                })
            }
            Err(bound) => {
                metrics::counter!("verbatim_http_connections_refused_total", "bound" => bound)
                    .increment(1);
                tracing::debug!(%peer, bound, "a connection is refused: there are too many");
                None
            }
        }
    }

    fn count(&self, network: Option<Network>) -> Result<(), &'static str> {
        let mut open = self.open.lock();
        if open.all >= self.max {
            return Err("all");
        }
        if let Some(network) = network {
            let of_network = open.by_network.entry(network).or_default();
            if *of_network >= self.per_network_max {
                return Err("address");
            }
            *of_network += 1;
        }
        open.all += 1;
        Ok(())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut open = self.slots.open.lock();
        open.all -= 1;
        if let Some(network) = self.network
            && let Some(of_network) = open.by_network.get_mut(&network)
        {
            *of_network -= 1;
            if *of_network == 0 {
                open.by_network.remove(&network);
            }
        }
        drop(open);
        metrics::gauge!("verbatim_http_connections").decrement(1);
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::Arc;

    use infra::limits::Proxies;

    use super::Slots;

    #[test]
    fn places_are_bounded_together_and_for_each_address_but_for_proxies() {
        let proxies = Proxies::new(vec!["10.0.0.0/8".parse().unwrap()]);
        let slots = Slots::new(4, 2, Arc::new(proxies));
        let at = |address: &str| slots.take(address.parse::<IpAddr>().unwrap());
        let one = at("2001:db8::1").unwrap();
        let two = at("2001:db8::2").unwrap();
        assert!(at("2001:db8::3").is_none(), "one /64 has two");
        drop(one);
        let three = at("2001:db8::3").unwrap();
        let (four, five) = (at("10.0.0.1").unwrap(), at("10.0.0.1").unwrap());
        assert!(at("10.0.0.1").is_none(), "four are all");
        drop((two, three, four, five));
        let open = slots.open.lock();
        assert_eq!((open.all, open.by_network.len()), (0, 0));
    }
}
