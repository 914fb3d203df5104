//! The virtual address of a mesh name: derived from the name alone, so that every machine arrives at the same one.
//!
//! Addresses come from 240.0.0.0/4, which no network routes and the mesh captures. 240.240.0.0/16 is left to Istio's
//! own allocator (`PILOT_IP_AUTOALLOCATE_IPV4_PREFIX`), 255.0.0.0/8 holds the limited broadcast address, and a last
//! octet of 0 or 255 looks like a network or broadcast address to whoever thinks in /24.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

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

/// The derived address, or the next one after it that lies in none of the ranges in use: the same for the same host and the
/// same `taken`, in whatever order. `None` where they leave nothing free. `taken` must not hold the host's own present
/// address, or it is given another one.
pub fn choose(host: &str, taken: &[Ipv4Net]) -> Option<Ipv4Addr> {
    let mut taken = Ipv4Net::aggregate(&taken.to_vec());
    taken.sort_unstable();
    next_free(start(host), &taken).or_else(|| next_free(0, &taken)).map(candidate)
}

/// The first number from `from` on whose address is in none of the ranges, which are disjoint and ascending. A range is
/// passed in one step, however big it is.
fn next_free(from: u64, taken: &[Ipv4Net]) -> Option<u64> {
    let pass = |number: u64, range: &Ipv4Net| {
        if number < CANDIDATES && range.contains(&candidate(number)) { above(range.broadcast()) } else { number }
    };
    Some(taken.iter().fold(from, pass)).filter(|number| *number < CANDIDATES)
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

/// The number of the first candidate above an address; [`CANDIDATES`] where there is none.
fn above(address: Ipv4Addr) -> u64 {
    let [first, second, third, last] = address.octets().map(u64::from);
    match first {
        0..240 => 0,
        255 => CANDIDATES,
        _ => match (first - 240) * 256 + second {
            // Nothing of 240.240 is a candidate.
            240 => 240 * 256 * LAST,
            pair => {
                let pair = if pair < 240 { pair } else { pair - 1 };
                (pair * 256 + third) * LAST + last.min(LAST)
            }
        },
    }
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
        fn the_next_candidate_above_an_address_is_the_smallest_one(a in 0..CANDIDATES, bits in any::<u32>()) {
            prop_assert_eq!(above(candidate(a)), a + 1);
            let address = Ipv4Addr::from(bits);
            let next = above(address);
            prop_assert!(next == CANDIDATES || candidate(next) > address);
            prop_assert!(next == 0 || candidate(next - 1) <= address);
        }

        #[test]
        fn what_is_chosen_is_free_and_the_order_of_the_taken_does_not_count(
            host in "[a-z]{1,12}\\.global",
            run in 0_usize..40,
            others in proptest::collection::vec((any::<u32>(), 1_u8..=32), 0..20),
        ) {
            let mut taken: Vec<Ipv4Net> =
                others.into_iter().map(|(bits, length)| Ipv4Net::new(Ipv4Addr::from(bits), length).unwrap()).collect();
            for _ in 0..run {
                taken.extend(choose(&host, &taken).map(Ipv4Net::from));
            }
            let chosen = choose(&host, &taken);
            if let Some(chosen) = chosen {
                prop_assert!(!taken.iter().any(|range| range.contains(&chosen)));
                prop_assert_eq!(check(chosen), Ok(()));
            }
            taken.reverse();
            prop_assert_eq!(choose(&host, &taken), chosen);
        }

        #[test]
        fn ranges_are_passed_as_if_step_by_step(
            host in "[a-z]{1,12}\\.global",
            ranges in proptest::collection::vec((0_u32..2000, 24_u8..=32), 0..12),
        ) {
            let near = derive(&host).to_bits();
            let taken: Vec<Ipv4Net> = ranges
                .into_iter()
                .map(|(offset, length)| Ipv4Net::new(Ipv4Addr::from(near.saturating_add(offset)), length).unwrap())
                .collect();
            let stepped = (0..CANDIDATES)
                .map(|step| candidate((start(&host) + step) % CANDIDATES))
                .find(|address| !taken.iter().any(|range| range.contains(address)));
            prop_assert_eq!(choose(&host, &taken), stepped);
        }

        #[test]
        fn the_derived_address_is_taken_when_it_is_free(host in "[a-z]{1,12}\\.global") {
            prop_assert_eq!(choose(&host, &["10.0.0.0/8".parse().unwrap()]), Some(derive(&host)));
        }
    }

    #[test]
    fn a_range_of_any_size_is_left_and_nothing_free_is_said() {
        let of = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<Ipv4Net>>();
        let host = "pxc-source.production.global";
        for taken in [&["240.0.0.0/5"][..], &["248.0.0.0/5"], &["240.0.0.0/5", "248.0.0.0/6"], &["0.0.0.0/1"]] {
            let chosen = choose(host, &of(taken)).unwrap();
            assert!(!of(taken).iter().any(|range| range.contains(&chosen)), "{chosen} of {taken:?}");
            assert_eq!(check(chosen), Ok(()));
        }
        assert_eq!(choose(host, &of(&["240.0.0.0/5", "248.0.0.0/5"])), None);
        assert_eq!(choose(host, &of(&["0.0.0.0/0"])), None);
    }
}
