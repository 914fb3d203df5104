//! Certificates as mysqld's TLS library judges them: what is in a PEM file, which host one names, whether it leads to a root.

use std::net::IpAddr;

use jiff::Timestamp;
use x509_parser::{
    certificate::X509Certificate,
    error::X509Error,
    extensions::GeneralName,
    prelude::{FromDer as _, X509Name},
};

/// The labels of certificates that OpenSSL reads (`PEM_read_bio_X509`).
const LABELS: [&str; 3] = ["CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"];
/// More certificates than a chain in use has.
const LONGEST: usize = 12;
/// Hours before its end from which on a certificate is warned of: 14 days.
const SOON_HOURS: i64 = 14 * 24;

/// A certificate, with what is asked of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Whose it is, as `CN=…, O=…`.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// When it begins to hold.
    pub not_before: Timestamp,
    /// When it ends.
    pub not_after: Timestamp,
    /// DNS names of its SAN.
    names: Vec<String>,
    /// Addresses of its SAN.
    addresses: Vec<IpAddr>,
    /// Its common names, which count where the SAN has no DNS name.
    common_names: Vec<String>,
    /// It says of itself that it signs no others.
    is_leaf: bool,
    /// SubjectPublicKeyInfo, DER.
    public_key: Vec<u8>,
    der: Vec<u8>,
}

/// Whether a certificate holds at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// It does, for longer than two weeks.
    Yes,
    /// It does, and ends within two weeks.
    NotForLong,
    /// It does not yet.
    NotYet,
    /// It does not any more.
    NoMore,
}

/// Where the signatures of a certificate lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chain<'a> {
    /// To a root that is trusted: every certificate on the way, the first one first.
    Trusted(Vec<&'a Certificate>),
    /// To this certificate, which nobody signed who is trusted or was shown.
    Open(&'a Certificate),
    /// To this certificate, whose signature is of a kind that is not known here.
    Untold(&'a Certificate),
}

impl Certificate {
    /// The certificates of a PEM text, in its order; what else it holds is left out.
    ///
    /// # Errors
    /// In words: the text holds no certificate, or one that cannot be read.
    pub fn of_pem(text: &str) -> Result<Vec<Self>, String> {
        let (mut blocks, mut others, mut within) = (String::new(), Vec::new(), false);
        for line in text.lines().map(str::trim_end) {
            let label = line.strip_prefix("-----BEGIN ").and_then(|rest| rest.strip_suffix("-----"));
            within = within || label.is_some_and(|label| LABELS.contains(&label));
            others.extend(label.filter(|_| !within));
            if within {
                blocks.extend([line, "\n"]);
            }
            within = within && !line.starts_with("-----END ");
        }
        let blocks = pem::parse_many(blocks).map_err(|error| format!("a certificate in it is damaged: {error}"))?;
        match (blocks.is_empty(), others.first()) {
            (false, _) => blocks.iter().map(|block| Self::of_der(block.contents())).collect(),
            (true, Some(label)) => Err(format!("it holds `{label}` and no certificate")),
            (true, None) => Err("there is no `-----BEGIN CERTIFICATE-----` in it".to_owned()),
        }
    }

    fn of_der(der: &[u8]) -> Result<Self, String> {
        let (_, read) =
            X509Certificate::from_der(der).map_err(|error| format!("a certificate in it cannot be read: {error}"))?;
        let time = |at: i64| Timestamp::from_second(at).map_err(|error| format!("a date in it is none: {error}"));
        let (mut names, mut addresses) = (Vec::new(), Vec::new());
        let alternatives = read.subject_alternative_name().ok().flatten();
        for name in alternatives.iter().flat_map(|extension| &extension.value.general_names) {
            match name {
                GeneralName::DNSName(name) => names.push((*name).to_owned()),
                GeneralName::IPAddress(bytes) => addresses.extend(address(bytes)),
                _ => {}
            }
        }
        let constraints = read.basic_constraints().ok().flatten();
        Ok(Self {
            subject: shown(read.subject()),
            issuer: shown(read.issuer()),
            not_before: time(read.validity().not_before.timestamp())?,
            not_after: time(read.validity().not_after.timestamp())?,
            names,
            addresses,
            common_names: read
                .subject()
                .iter_common_name()
                .filter_map(|name| name.as_str().ok())
                .map(ToOwned::to_owned)
                .collect(),
            is_leaf: constraints.is_some_and(|extension| !extension.value.ca),
            public_key: read.public_key().raw.to_vec(),
            der: der.to_vec(),
        })
    }

    /// Whether it holds at a moment.
    pub fn holds(&self, at: Timestamp) -> Holds {
        if at < self.not_before {
            Holds::NotYet
        } else if at > self.not_after {
            Holds::NoMore
        } else if self.not_after.duration_since(at).as_hours() < SOON_HOURS {
            Holds::NotForLong
        } else {
            Holds::Yes
        }
    }

    /// Whole days until it ends; 0 on its last day and afterwards.
    pub fn days_left(&self, at: Timestamp) -> i64 {
        (self.not_after.duration_since(at).as_hours() / 24).max(0)
    }

    /// Whether it names a host, a name or an address, as `X509_check_host` and `X509_check_ip_asc` say.
    pub fn is_for(&self, host: &str) -> bool {
        let names = if self.names.is_empty() { &self.common_names } else { &self.names };
        let address = host.parse().is_ok_and(|address: IpAddr| self.addresses.contains(&address));
        address || names.iter().any(|name| covers(name, host))
    }

    /// Every host that it names, in a phrase.
    pub fn hosts(&self) -> String {
        let addresses = self.addresses.iter().map(ToString::to_string);
        let all: Vec<String> = if self.names.is_empty() {
            self.common_names.iter().map(|name| format!("{name} (CN)")).chain(addresses).collect()
        } else {
            self.names.iter().cloned().chain(addresses).collect()
        };
        if all.is_empty() { "no host".to_owned() } else { all.join(", ") }
    }

    /// Subject, issuer and end, in a phrase.
    pub fn described(&self) -> String {
        format!("{}, issued by {}, from {} to {}", self.subject, self.issuer, self.not_before, self.not_after)
    }

    /// Whether a public key, PEM, is the one that it was made for; `None` where the text is no public key.
    pub fn has_public_key(&self, text: &str) -> Option<bool> {
        let key = pem::parse(text).ok().filter(|block| block.tag() == "PUBLIC KEY")?;
        Some(key.contents() == self.public_key)
    }

    /// Where its signatures lead: by what was shown with it, to what is trusted.
    pub fn chain<'a>(&'a self, shown: &'a [Self], trusted: &'a [Self], at: Timestamp) -> Chain<'a> {
        let mut way = vec![self];
        while let Some(last) = way.last().copied() {
            let is_root = last.subject == last.issuer;
            if is_root && trusted.iter().any(|one| one.der == last.der) {
                return Chain::Trusted(way);
            }
            // Of two that have one name and key, as a renewed root and the old one, the one that holds; else the first, as OpenSSL
            // takes it, which tries no second (seen with `openssl verify` of 3.0.19 and an authority that two roots had signed).
            let mut issuers: Vec<&Self> = trusted.iter().chain(shown).filter(|one| last.may_be_by(one)).collect();
            issuers.sort_by_key(|one| matches!(one.holds(at), Holds::NotYet | Holds::NoMore));
            let signed: Vec<(&Self, Option<bool>)> =
                issuers.into_iter().map(|one| (one, last.is_signed_by(one))).collect();
            let next = signed.iter().find(|(_, signed)| *signed == Some(true));
            match next {
                Some((issuer, _)) if issuer.der != last.der && way.len() < LONGEST => way.push(issuer),
                None if signed.iter().any(|(_, signed)| signed.is_none()) => return Chain::Untold(last),
                _ => return Chain::Open(last),
            }
        }
        Chain::Open(self)
    }

    /// By its name; OpenSSL does not tell cases apart.
    fn may_be_by(&self, issuer: &Self) -> bool {
        !issuer.is_leaf && self.issuer.eq_ignore_ascii_case(&issuer.subject)
    }

    /// `None` where the signature is of a kind that is not known here.
    fn is_signed_by(&self, issuer: &Self) -> Option<bool> {
        let (_, this) = X509Certificate::from_der(&self.der).ok()?;
        let (_, other) = X509Certificate::from_der(&issuer.der).ok()?;
        match this.verify_signature(Some(other.public_key())) {
            Ok(()) => Some(true),
            Err(X509Error::SignatureVerificationError) => Some(false),
            Err(_) => None,
        }
    }
}

fn shown(name: &X509Name<'_>) -> String {
    let text = name.to_string();
    if text.is_empty() { "nobody".to_owned() } else { text }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// Whether a name of a certificate covers a host: a star stands for the first label, or a part of it, above two others.
fn covers(name: &str, host: &str) -> bool {
    let (name, host) = (name.to_ascii_lowercase(), host.to_ascii_lowercase());
    let (Some((first, rest)), Some((label, domain))) = (name.split_once('.'), host.split_once('.')) else {
        return name == host;
    };
    match first.split_once('*') {
        None => name == host,
        Some((before, after)) => {
            let fits = label.len() > before.len() + after.len() && label.starts_with(before) && label.ends_with(after);
            fits && rest == domain && rest.contains('.')
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_ED25519, date_time_ymd};

    use super::*;

    const NOW: &str = "2026-11-21T08:00:00Z";

    fn now() -> Timestamp {
        NOW.parse().unwrap()
    }

    /// Parameters that hold now, for a subject and the hosts of its SAN.
    fn params(name: &str, hosts: &[&str]) -> CertificateParams {
        let mut params = CertificateParams::new(hosts.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2036, 1, 1));
        params
    }

    fn authority(name: &str) -> CertificateParams {
        let mut params = params(name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    }

    fn read(text: &str) -> Certificate {
        Certificate::of_pem(text).unwrap().remove(0)
    }

    /// A root, an authority below it, a leaf of that, and another root of the first one's name.
    fn family() -> [Certificate; 4] {
        let keys = [(); 4].map(|()| KeyPair::generate().unwrap());
        let [root_key, middle_key, leaf_key, other_key] = &keys;
        let root = authority("Root").self_signed(root_key).unwrap().pem();
        let by_root = Issuer::new(authority("Root"), root_key);
        let middle = authority("Middle").signed_by(middle_key, &by_root).unwrap().pem();
        let by_middle = Issuer::new(authority("Middle"), middle_key);
        let leaf = params("leaf", &["db.example"]).signed_by(leaf_key, &by_middle).unwrap().pem();
        let other = authority("Root").self_signed(other_key).unwrap().pem();
        [root, middle, leaf, other].map(|text| read(&text))
    }

    #[test]
    fn a_chain_ends_at_a_root_of_the_file_and_nowhere_else() {
        let [root, middle, leaf, other] = family();
        let roots = std::slice::from_ref(&root);
        let shown = std::slice::from_ref(&middle);
        assert_eq!(leaf.chain(shown, roots, now()), Chain::Trusted(vec![&leaf, &middle, &root]));
        let both = [middle.clone(), root.clone()];
        assert_eq!(leaf.chain(&[], &both, now()), Chain::Trusted(vec![&leaf, &middle, &root]));
        assert_eq!(leaf.chain(&[], roots, now()), Chain::Open(&leaf), "the authority between is nowhere");
        assert_eq!(leaf.chain(&[], shown, now()), Chain::Open(&middle), "an authority that is no root ends nothing");
        assert_eq!(leaf.chain(&both, &[], now()), Chain::Open(&root), "a root that is shown is not trusted for it");
        let twins = [other.clone(), root.clone()];
        assert_eq!(leaf.chain(shown, &twins, now()), Chain::Trusted(vec![&leaf, &middle, &root]), "a name is no proof");
        assert_eq!(leaf.chain(shown, std::slice::from_ref(&other), now()), Chain::Open(&middle));
        assert_eq!(root.chain(&[], roots, now()), Chain::Trusted(vec![&root]), "the source may show the root itself");
    }

    #[test]
    fn a_leaf_signs_nothing() {
        let (key, leaf_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let mut signer = params("Root", &[]);
        signer.is_ca = IsCa::ExplicitNoCa;
        let text = signer.clone().self_signed(&key).unwrap().pem();
        let leaf = read(&params("leaf", &[]).signed_by(&leaf_key, &Issuer::new(signer, key)).unwrap().pem());
        let signer = read(&text);
        assert_eq!(leaf.chain(&[], &[signer], now()), Chain::Open(&leaf));
    }

    #[test]
    fn a_renewed_root_is_taken_before_the_old_one() {
        let (key, leaf_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let mut old = authority("Root");
        old.not_after = date_time_ymd(2026, 6, 1);
        let old = read(&old.self_signed(&key).unwrap().pem());
        let new = read(&authority("Root").self_signed(&key).unwrap().pem());
        let leaf = read(&params("leaf", &[]).signed_by(&leaf_key, &Issuer::new(authority("Root"), key)).unwrap().pem());
        let file = [old, new.clone()];
        assert_eq!(leaf.chain(&[], &file, now()), Chain::Trusted(vec![&leaf, &new]));
    }

    #[test]
    fn a_certificate_holds_from_its_first_to_its_last_moment() {
        let certificate = read(&params("a", &[]).self_signed(&KeyPair::generate().unwrap()).unwrap().pem());
        for (at, holds) in [
            ("2025-12-31T23:59:59Z", Holds::NotYet),
            ("2026-01-01T00:00:00Z", Holds::Yes),
            ("2035-12-17T23:00:00Z", Holds::Yes),
            ("2035-12-18T00:00:01Z", Holds::NotForLong),
            ("2036-01-01T00:00:00Z", Holds::NotForLong),
            ("2036-01-01T00:00:01Z", Holds::NoMore),
        ] {
            assert_eq!(certificate.holds(at.parse().unwrap()), holds, "{at}");
        }
        assert_eq!(certificate.days_left("2035-12-21T00:00:01Z".parse().unwrap()), 10);
        assert_eq!(certificate.days_left("2036-02-01T00:00:00Z".parse().unwrap()), 0);
    }

    #[test]
    fn names_are_compared_as_openssl_does() {
        for (name, host, fits) in [
            ("a.example", "A.Example", true),
            ("*.production.global", "pxc-source.production.global", true),
            ("pxc-*.production.global", "pxc-source.production.global", true),
            ("*.production.global", "production.global", false),
            ("*.production.global", "a.pxc.production.global", false),
            ("*.global", "production.global", false),
            ("*", "localhost", false),
            ("localhost", "localhost", true),
        ] {
            assert_eq!(covers(name, host), fits, "{name} {host}");
        }
        let key = KeyPair::generate().unwrap();
        let with = |hosts: &[&str]| read(&params("db.example", hosts).self_signed(&key).unwrap().pem());
        assert!(with(&[]).is_for("db.example"), "the common name counts where nothing else does");
        assert!(with(&["10.0.0.7"]).is_for("db.example"), "an address in the SAN leaves it counting");
        assert!(!with(&["other.example"]).is_for("db.example"));
        assert!(with(&["other.example", "10.0.0.7"]).is_for("10.0.0.7"));
        assert!(with(&["fd00::7"]).is_for("fd00::7") && !with(&["fd00::7"]).is_for("fd00::8"));
        assert_eq!(with(&["other.example", "10.0.0.7"]).hosts(), "other.example, 10.0.0.7");
        assert_eq!(with(&[]).hosts(), "db.example (CN)");
    }

    #[test]
    fn a_file_is_read_as_far_as_it_holds_certificates() {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let text = params("a", &[]).self_signed(&key).unwrap().pem();
        let others = format!("Subject: CN=a\n{}-----BEGIN PRIVATE KEY-----\n{text}", text.replace('\n', "\r\n"));
        assert_eq!(Certificate::of_pem(&others).unwrap().len(), 2, "text and other blocks between are left out");
        assert!(Certificate::of_pem("").unwrap_err().contains("no `-----BEGIN CERTIFICATE-----`"));
        assert!(Certificate::of_pem(&key.serialize_pem()).unwrap_err().contains("holds `PRIVATE KEY`"));
        let (half, _) = text.split_at(text.len() / 2);
        let cut = format!("{half}\n-----END CERTIFICATE-----\n");
        for damaged in [half, &cut, &text.replace("\nMI", "\nM!")] {
            Certificate::of_pem(damaged).unwrap_err();
        }
        let read = read(&text);
        assert_eq!(read.has_public_key(&key.public_key_pem()), Some(true));
        assert_eq!(read.has_public_key(&KeyPair::generate().unwrap().public_key_pem()), Some(false));
        assert_eq!(read.has_public_key("unable to load key"), None);
    }
}
