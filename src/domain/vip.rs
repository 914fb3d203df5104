//! The virtual address of a mesh name: derived from the name alone, so that every machine arrives at the same one.
//!
//! Addresses come from 240.0.0.0/4, which no network routes and the mesh captures. 240.240.0.0/16 is left to Istio's
//! own allocator (`PILOT_IP_AUTOALLOCATE_IPV4_PREFIX`), 255.0.0.0/8 holds the limited broadcast address, and a last
//! octet of 0 or 255 looks like a network or broadcast address to whoever thinks in /24.

use std::{collections::HashSet, net::Ipv4Addr};

/// First octets 240 to 254, any second octet, without the pair 240.240.
const PAIRS: u64 = 15 * 256 - 1;
/// Last octets 1 to 254.
const LAST: u64 = 254;
/// All addresses that can be derived.
const CANDIDATES: u64 = PAIRS * 256 * LAST;

/// The address a host gets when nothing else has it: the same for the same host on every machine and in every version.
///
/// Case and a closing dot do not count. In 240.0.0.0/4, outside 240.240.0.0/16 and 255.0.0.0/8, the last octet 1 to 254.
pub fn derive(host: &str) -> Ipv4Addr {
    candidate(start(host))
}

/// The derived address, or the next free one after it when others have it: the same for the same host and the same
/// `taken`, in whatever order. `taken` must not hold the host's own present address, or it is given another one.
pub fn choose(host: &str, taken: &[Ipv4Addr]) -> Ipv4Addr {
    let taken: HashSet<&Ipv4Addr> = taken.iter().collect();
    let start = start(host);
    // One more look than there are taken addresses always finds a free one: there are far more candidates than
    // addresses a cluster can hold.
    (0..=taken.len() as u64)
        .map(|step| candidate((start + step) % CANDIDATES))
        .find(|address| !taken.contains(address))
        .unwrap_or_else(|| candidate(start))
}

/// Whether a configured address may serve: in 240.0.0.0/4, outside Istio's own 240.240.0.0/16, no edge of a /24.
///
/// # Errors
/// What is wrong with it, to be read after "`vip` ".
pub fn check(address: Ipv4Addr) -> Result<(), &'static str> {
    let [first, second, _, last] = address.octets();
    if first < 240 {
        Err("is outside 240.0.0.0/4")
    } else if (first, second) == (240, 240) {
        Err("is in 240.240.0.0/16, from which Istio allocates by itself")
    } else if last == 0 || last == 255 {
        Err("ends in .0 or .255, which is a network or broadcast address")
    } else {
        Ok(())
    }
}

/// Where the search for a host's address begins, below [`CANDIDATES`].
fn start(host: &str) -> u64 {
    fnv1a(host.trim_end_matches('.').to_ascii_lowercase().as_bytes()) % CANDIDATES
}

/// FNV-1a, 64 bits. Written out because the addresses must never change: `DefaultHasher` may with any release of Rust.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The address of a number below [`CANDIDATES`]; a different one for every number.
fn candidate(index: u64) -> Ipv4Addr {
    let last = index % LAST + 1;
    let third = index / LAST % 256;
    let pair = index / LAST / 256;
    // Pair 240 is 240.240: it and all after it move up by one.
    let pair = if pair < 240 { pair } else { pair + 1 };
    let octet = |value: u64| u8::try_from(value & 0xff).unwrap_or_default();
    Ipv4Addr::new(octet(240 + pair / 256), octet(pair), octet(third), octet(last))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_hash_is_fnv_1a() {
        // Test vectors of the FNV reference code.
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn addresses_never_change() {
        assert_eq!(derive("pxc-source.production.global").to_string(), "251.149.113.209");
        assert_eq!(derive("pxc-source.staging.global").to_string(), "246.190.150.109");
    }

    #[test]
    fn the_first_and_last_candidates_are_the_edges_of_the_range() {
        assert_eq!(candidate(0), Ipv4Addr::new(240, 0, 0, 1));
        assert_eq!(candidate(CANDIDATES - 1), Ipv4Addr::new(254, 255, 255, 254));
        let before = 240 * 256 * LAST;
        assert_eq!(candidate(before - 1), Ipv4Addr::new(240, 239, 255, 254));
        assert_eq!(candidate(before), Ipv4Addr::new(240, 241, 0, 1));
    }

    #[test]
    fn addresses_outside_the_range_are_refused() {
        for good in ["240.0.0.1", "254.1.2.3", "240.239.9.9"] {
            assert_eq!(check(good.parse().unwrap()), Ok(()), "{good}");
        }
        for bad in ["239.255.255.254", "10.0.0.1", "240.240.0.7", "240.1.2.0", "240.1.2.255", "255.255.255.255"] {
            assert!(check(bad.parse().unwrap()).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_derived_address_may_serve(host in "[a-z0-9.-]{1,60}") {
            prop_assert_eq!(check(derive(&host)), Ok(()));
            prop_assert_ne!(derive(&host).octets()[0], 255);
        }

        #[test]
        fn case_and_a_closing_dot_do_not_count(host in "[a-z0-9-]{1,20}\\.[a-z]{1,20}") {
            prop_assert_eq!(derive(&host), derive(&format!("{}.", host.to_uppercase())));
        }

        #[test]
        fn different_numbers_are_different_addresses(a in 0..CANDIDATES, b in 0..CANDIDATES) {
            prop_assert_eq!(a == b, candidate(a) == candidate(b));
        }

        #[test]
        fn what_is_chosen_is_free_and_the_order_of_the_taken_does_not_count(
            host in "[a-z]{1,12}\\.global",
            run in 0_usize..40,
            others in proptest::collection::vec(any::<u32>(), 0..20),
        ) {
            let mut taken: Vec<Ipv4Addr> = others.into_iter().map(Ipv4Addr::from).collect();
            for _ in 0..run {
                taken.push(choose(&host, &taken));
            }
            let chosen = choose(&host, &taken);
            prop_assert!(!taken.contains(&chosen));
            prop_assert_eq!(check(chosen), Ok(()));
            taken.reverse();
            prop_assert_eq!(choose(&host, &taken), chosen);
        }

        #[test]
        fn the_derived_address_is_taken_when_it_is_free(host in "[a-z]{1,12}\\.global") {
            prop_assert_eq!(choose(&host, &[Ipv4Addr::new(10, 0, 0, 1)]), derive(&host));
        }
    }
}
