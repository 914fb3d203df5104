//! GTID sets: parsing, printing and the algebra that says what is missing and what is errant.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The largest number a transaction can have (the server's `GNO_END - 1`).
const LAST_NUMBER: u64 = i64::MAX as u64 - 1;

/// The longest tag, in characters.
const TAG_LIMIT: usize = 32;

/// A UUID in the form in which GTIDs carry it: 8-4-4-4-12 hexadecimal digits, printed in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uuid(u128);

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", self.0);
        write!(f, "{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}

impl FromStr for Uuid {
    type Err = GtidParseError;

    fn from_str(text: &str) -> Result<Self, GtidParseError> {
        let wrong = || GtidParseError::Uuid(excerpt(text));
        let groups: Vec<&str> = text.split('-').collect();
        let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
        if lengths != [8, 4, 4, 4, 12] || !groups.iter().all(|group| group.bytes().all(|b| b.is_ascii_hexdigit())) {
            return Err(wrong());
        }
        u128::from_str_radix(&groups.concat(), 16).map(Self).map_err(|_| wrong())
    }
}

/// Whose transactions: the UUID of a server, or of a Galera cluster, and the tag that 8.3 and later allow beside it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tsid {
    /// The UUID.
    pub uuid: Uuid,
    /// The tag: `[a-z_][a-z0-9_]{0,31}`, lower case; `None` for untagged transactions, which sort first.
    pub tag: Option<String>,
}

/// Numbers of transactions: closed intervals, ascending, neither overlapping nor adjacent.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Intervals(Vec<(u64, u64)>);

impl Intervals {
    fn normalised(mut raw: Vec<(u64, u64)>) -> Self {
        raw.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::with_capacity(raw.len());
        for (start, end) in raw {
            match merged.last_mut() {
                Some(last) if start <= last.1 + 1 => last.1 = last.1.max(end),
                _ => merged.push((start, end)),
            }
        }
        Self(merged)
    }

    fn union(&self, other: &Self) -> Self {
        Self::normalised(self.0.iter().chain(&other.0).copied().collect())
    }

    fn subtract(&self, other: &Self) -> Self {
        let mut left = Vec::new();
        let mut first = 0;
        for &(mut start, end) in &self.0 {
            first += other.0[first..].partition_point(|hole| hole.1 < start);
            for &(from, to) in other.0[first..].iter().take_while(|hole| hole.0 <= end) {
                if from > start {
                    left.push((start, from - 1));
                }
                start = to + 1;
            }
            if start <= end {
                left.push((start, end));
            }
        }
        Self(left)
    }
}

/// A set of GTIDs.
///
/// `{}` prints the server's canonical form on one line; `{:#}` prints it byte for byte as the server does, with a
/// newline after each comma.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct GtidSet(BTreeMap<Tsid, Intervals>);

impl GtidSet {
    /// The set without members.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether it has no members.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many transactions it has, over all UUIDs, tags and intervals.
    pub fn count(&self) -> u128 {
        self.0.values().flat_map(|intervals| &intervals.0).map(|(start, end)| u128::from(end - start) + 1).sum()
    }

    /// Whose transactions it has, ascending.
    pub fn tsids(&self) -> impl Iterator<Item = &Tsid> {
        self.0.keys()
    }

    /// Whether a transaction is in it.
    pub fn contains(&self, tsid: &Tsid, number: u64) -> bool {
        self.0
            .get(tsid)
            .is_some_and(|intervals| intervals.0.iter().any(|&(start, end)| (start..=end).contains(&number)))
    }

    /// What is in either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut all = self.clone();
        for (tsid, intervals) in &other.0 {
            let entry = all.0.entry(tsid.clone()).or_default();
            *entry = entry.union(intervals);
        }
        all
    }

    /// What is in this set and not in the other, as the server's `GTID_SUBTRACT`.
    #[must_use]
    pub fn subtract(&self, other: &Self) -> Self {
        let rest = self.0.iter().map(|(tsid, intervals)| {
            let rest = other.0.get(tsid).map_or_else(|| intervals.clone(), |taken| intervals.subtract(taken));
            (tsid.clone(), rest)
        });
        Self(rest.filter(|(_, intervals)| !intervals.0.is_empty()).collect())
    }

    /// What is in both sets.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        self.subtract(&self.subtract(other))
    }

    /// Whether the other set has all of this one, as the server's `GTID_SUBSET`.
    pub fn is_subset_of(&self, other: &Self) -> bool {
        self.subtract(other).is_empty()
    }

    /// The part of one UUID, all its tags included.
    #[must_use]
    pub fn of_uuid(&self, uuid: Uuid) -> Self {
        Self(self.0.iter().filter(|(tsid, _)| tsid.uuid == uuid).map(|(k, v)| (k.clone(), v.clone())).collect())
    }

    /// The set split by UUID, ascending, all tags of one together; no part is empty.
    pub fn by_uuid(&self) -> Vec<(Uuid, Self)> {
        let mut parts: BTreeMap<Uuid, Self> = BTreeMap::new();
        for (tsid, intervals) in &self.0 {
            parts.entry(tsid.uuid).or_default().0.insert(tsid.clone(), intervals.clone());
        }
        parts.into_iter().collect()
    }

    /// Whose transactions these are and how many of each, for people: `5a…: 3, ee…: 12`; empty for the set without members.
    pub fn counts(&self) -> String {
        let parts = self.by_uuid().into_iter().map(|(uuid, part)| format!("{uuid}: {}", part.count()));
        parts.collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for GtidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before: Option<Uuid> = None;
        for (tsid, intervals) in &self.0 {
            if before != Some(tsid.uuid) {
                if before.is_some() {
                    f.write_str(if f.alternate() { ",\n" } else { "," })?;
                }
                write!(f, "{}", tsid.uuid)?;
                before = Some(tsid.uuid);
            }
            if let Some(tag) = &tsid.tag {
                write!(f, ":{tag}")?;
            }
            for (start, end) in &intervals.0 {
                if start == end { write!(f, ":{start}")? } else { write!(f, ":{start}-{end}")? }
            }
        }
        Ok(())
    }
}

/// The text is no GTID set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GtidParseError {
    /// A part does not begin with a UUID.
    #[error("`{0}` in a GTID set is no UUID")]
    Uuid(String),
    /// A UUID or a tag without numbers.
    #[error("`{0}` in a GTID set has no transaction numbers")]
    NoNumbers(String),
    /// What stands between two colons is neither a tag nor an interval.
    #[error("`{0}` in a GTID set is neither a tag nor an interval of numbers from 1 to {LAST_NUMBER}")]
    Part(String),
}

/// Keeps a message short where the text is not what it should be.
fn excerpt(text: &str) -> String {
    const KEPT: usize = 60;
    let kept: String = text.chars().take(KEPT).collect();
    if text.chars().count() > KEPT { format!("{kept}…") } else { kept }
}

fn tag(text: &str) -> Option<String> {
    let tag = text.to_ascii_lowercase();
    let first = tag.bytes().next()?;
    let fits = tag.len() <= TAG_LIMIT
        && (first.is_ascii_lowercase() || first == b'_')
        && tag.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    fits.then_some(tag)
}

fn interval(text: &str) -> Option<(u64, u64)> {
    let number = |digits: &str| {
        let digits = digits.trim();
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<u64>().ok()).flatten()
    };
    let (start, end) = match text.split_once('-') {
        Some((start, end)) => (number(start)?, number(end)?),
        None => (number(text)?, number(text)?),
    };
    (1 <= start && start <= end && end <= LAST_NUMBER).then_some((start, end))
}

impl FromStr for GtidSet {
    type Err = GtidParseError;

    /// Reads what the server prints and what people type: white space, upper case, any order, overlaps, a UUID more
    /// than once, empty parts between commas. Stricter than the server in one thing: a UUID without numbers and an interval
    /// that ends before it begins are errors here, while the server takes them for empty and prints neither (seen on 9.7).
    fn from_str(text: &str) -> Result<Self, GtidParseError> {
        let mut raw: BTreeMap<Tsid, Vec<(u64, u64)>> = BTreeMap::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let mut fields = part.split(':').map(str::trim);
            let uuid: Uuid = fields.next().unwrap_or_default().parse()?;
            let mut tsid = Tsid { uuid, tag: None };
            let mut complete = false;
            for field in fields {
                if let Some(interval) = interval(field) {
                    raw.entry(tsid.clone()).or_default().push(interval);
                    complete = true;
                } else if let Some(tag) = tag(field) {
                    if tsid.tag.is_some() && !complete {
                        return Err(GtidParseError::NoNumbers(excerpt(part)));
                    }
                    tsid.tag = Some(tag);
                    complete = false;
                } else {
                    return Err(GtidParseError::Part(excerpt(field)));
                }
            }
            if !complete {
                return Err(GtidParseError::NoNumbers(excerpt(part)));
            }
        }
        Ok(Self(raw.into_iter().map(|(tsid, intervals)| (tsid, Intervals::normalised(intervals))).collect()))
    }
}

impl Serialize for GtidSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GtidSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    const B: &str = "4f22fa47-71ca-11e1-9e33-c80aa9429562";

    fn set(text: &str) -> GtidSet {
        text.parse().unwrap()
    }

    #[test]
    fn prints_as_the_server_does() {
        let read = set(&format!("{B}:5 , \n {A}:Tag_1: 7-8 :1, {}:3-4:2:9:8,,", A.to_uppercase()));
        assert_eq!(read.to_string(), format!("{A}:2-4:8-9:tag_1:1:7-8,{B}:5"));
        assert_eq!(format!("{read:#}"), format!("{A}:2-4:8-9:tag_1:1:7-8,\n{B}:5"));
        assert_eq!(read.count(), 9);
        assert_eq!(set(" \n").to_string(), "");
        assert_eq!(read.counts(), format!("{A}: 8, {B}: 1"));
    }

    #[test]
    fn counts_a_set_larger_than_64_bits() {
        assert_eq!(set(&format!("{A}:1-9223372036854775806,{B}:1-9223372036854775806")).count(), (1u128 << 64) - 4);
    }

    #[test]
    fn a_tag_of_one_uuid_is_not_its_untagged_transactions() {
        let tagged = set(&format!("{A}:blue:1-5"));
        assert!(!tagged.is_subset_of(&set(&format!("{A}:1-5"))));
        assert!(tagged.is_subset_of(&set(&format!("{A}:1-5:blue:1-9"))));
        assert_eq!(set(&format!("{A}:1:blue:2,{B}:3")).of_uuid(A.parse().unwrap()), set(&format!("{A}:1:blue:2")));
    }

    #[test]
    fn refuses_what_is_no_set() {
        use GtidParseError as E;
        let cases = [
            ("x:1".to_owned(), E::Uuid("x".into())),
            (A.to_owned(), E::NoNumbers(A.into())),
            (format!("{A}:blue"), E::NoNumbers(format!("{A}:blue"))),
            (format!("{A}:blue:red:1"), E::NoNumbers(format!("{A}:blue:red:1"))),
            (format!("{A}:0"), E::Part("0".into())),
            (format!("{A}:5-3"), E::Part("5-3".into())),
            (format!("{A}:9223372036854775807"), E::Part("9223372036854775807".into())),
            (format!("{A}:+1"), E::Part("+1".into())),
            (format!("{A}:{}:1", "a".repeat(33)), E::Part("a".repeat(33))),
            (format!("{A}:1:"), E::Part(String::new())),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<GtidSet>(), Err(error), "{text}");
        }
    }

    /// A set as a plain collection of its members.
    type Naive = BTreeSet<(usize, usize, u64)>;
    const UUIDS: [&str; 2] = [A, B];
    const TAGS: [Option<&str>; 3] = [None, Some("blue"), Some("_r2")];

    fn of_naive(naive: &Naive) -> GtidSet {
        let parts = naive.iter().rev().map(|&(uuid, tag, number)| match TAGS[tag] {
            Some(tag) => format!("{}:{tag}:{number}", UUIDS[uuid]),
            None => format!("{}:{number}", UUIDS[uuid]),
        });
        set(&parts.collect::<Vec<_>>().join(","))
    }

    fn naive() -> impl Strategy<Value = Naive> {
        proptest::collection::btree_set((0usize..2, 0usize..3, 1u64..24), 0..80)
    }

    proptest! {
        #[test]
        fn the_algebra_is_that_of_sets(a in naive(), b in naive()) {
            let (x, y) = (of_naive(&a), of_naive(&b));
            prop_assert_eq!(x.count(), a.len() as u128);
            prop_assert_eq!(x.is_empty(), a.is_empty());
            prop_assert_eq!(x.union(&y), of_naive(&(&a | &b)));
            prop_assert_eq!(x.subtract(&y), of_naive(&(&a - &b)));
            prop_assert_eq!(x.intersect(&y), of_naive(&(&a & &b)));
            prop_assert_eq!(x.is_subset_of(&y), a.is_subset(&b));
            prop_assert!(x.intersect(&y).is_subset_of(&x));
            for (uuid, uuid_text) in UUIDS.iter().enumerate() {
                for (tag, tag_text) in TAGS.iter().enumerate() {
                    let tsid = Tsid { uuid: uuid_text.parse().unwrap(), tag: tag_text.map(ToOwned::to_owned) };
                    for number in 1..24 {
                        prop_assert_eq!(x.contains(&tsid, number), a.contains(&(uuid, tag, number)));
                    }
                }
            }
        }

        #[test]
        fn the_parts_by_uuid_are_the_whole(a in naive()) {
            let x = of_naive(&a);
            let parts = x.by_uuid();
            prop_assert!(parts.is_sorted_by(|(one, _), (next, _)| one < next));
            for (uuid, part) in &parts {
                prop_assert!(!part.is_empty());
                prop_assert_eq!(part, &x.of_uuid(*uuid));
            }
            prop_assert_eq!(parts.iter().map(|(_, part)| part.count()).sum::<u128>(), x.count());
            prop_assert_eq!(&parts.iter().fold(GtidSet::new(), |all, (_, part)| all.union(part)), &x);
        }

        #[test]
        fn what_is_printed_reads_back(a in naive()) {
            let x = of_naive(&a);
            prop_assert_eq!(&set(&x.to_string()), &x);
            prop_assert_eq!(&set(&format!("{x:#}")), &x);
            let json = serde_json::to_string(&x).unwrap();
            prop_assert_eq!(&serde_json::from_str::<GtidSet>(&json).unwrap(), &x);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[-0-9a-f:, \n_xX]{0,80}|\\PC{0,40}") {
            let _ = text.parse::<GtidSet>();
        }
    }
}
