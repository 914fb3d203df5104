//! Addresses and ranges in CIDR form, as Kubernetes, Istio and their users write them.

use std::net::IpAddr;

use ipnet::IpNet;

/// An address alone, which is a range of one, or a range in CIDR form; `None` for anything else.
pub(crate) fn range(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// Whether an address or a range holds an address, which only one of the same family does.
pub(crate) fn contains(text: &str, address: impl Into<IpAddr>) -> bool {
    range(text).is_some_and(|range| range.contains(&address.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_addresses_of_its_own_family_only() {
        for (range, address, inside) in [
            ("198.18.0.0/24", "198.18.0.11", true),
            ("198.18.0.0/24", "198.18.1.11", false),
            ("198.18.0.11", "198.18.0.11", true),
            ("0.0.0.0/0", "198.18.0.11", true),
            ("::/0", "198.18.0.11", false),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "fe80::1", false),
            ("198.18.0.0/33", "198.18.0.0", false),
            ("198.18.0.0/x", "198.18.0.0", false),
            ("240.0.0.9/31", "240.0.0.8", true),
            ("*", "198.18.0.0", false),
            ("nonsense", "198.18.0.0", false),
        ] {
            assert_eq!(contains(range, address.parse::<IpAddr>().unwrap()), inside, "{range} {address}");
        }
    }
}
