//! The keys and certificates of a world: one root for both meshes, an authority for each Kubernetes cluster, and one for
//! the MySQL servers.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};

/// Validity of everything made here, in days.
const VALID_DAYS: i64 = 3650;

/// A certificate that could not be made.
#[derive(Debug, thiserror::Error)]
#[error("could not make a certificate for {subject}: {cause}")]
pub struct PkiError {
    subject: String,
    cause: rcgen::Error,
}

/// An authority with its key.
pub(crate) struct Authority {
    /// Its own certificate, PEM.
    pub certificate: String,
    /// Its private key, PKCS #8 PEM.
    pub key: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key, both PEM.
pub(crate) struct Pair {
    pub certificate: String,
    pub key: String,
}

/// The subject of a leaf certificate.
#[derive(Default)]
pub(crate) struct Subject<'a> {
    pub name: &'a str,
    /// Becomes the Kubernetes group.
    pub organization: Option<&'a str>,
    /// DNS names and IP addresses.
    pub alternatives: Vec<String>,
    /// The certificate has held, and does not any more.
    pub expired: bool,
}

impl Authority {
    /// A self-signed root.
    pub(crate) fn root(name: &str) -> Result<Self, PkiError> {
        let make = || {
            let params = authority_params(name)?;
            let key = KeyPair::generate()?;
            let certificate = params.self_signed(&key)?.pem();
            Ok(Self { certificate, key: key.serialize_pem(), issuer: Issuer::new(params, key) })
        };
        make().map_err(|cause| PkiError { subject: name.to_owned(), cause })
    }

    /// The root that [`Authority::root`] made under this name, from its two PEM texts.
    pub(crate) fn load(certificate: String, key: String, name: &str) -> Result<Self, PkiError> {
        let make = || {
            let params = authority_params(name)?;
            Ok((params, KeyPair::from_pem(&key)?))
        };
        let (params, pair) = make().map_err(|cause| PkiError { subject: name.to_owned(), cause })?;
        Ok(Self { certificate, key, issuer: Issuer::new(params, pair) })
    }

    /// An authority signed by this one.
    pub(crate) fn intermediate(&self, name: &str) -> Result<Self, PkiError> {
        let make = || {
            let params = authority_params(name)?;
            let key = KeyPair::generate()?;
            let certificate = params.signed_by(&key, &self.issuer)?.pem();
            Ok(Self { certificate, key: key.serialize_pem(), issuer: Issuer::new(params, key) })
        };
        make().map_err(|cause| PkiError { subject: name.to_owned(), cause })
    }

    /// A leaf for servers and clients.
    pub(crate) fn leaf(&self, subject: Subject<'_>) -> Result<Pair, PkiError> {
        let make = || {
            let mut params = CertificateParams::new(subject.alternatives)?;
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, subject.name);
            if let Some(organization) = subject.organization {
                params.distinguished_name.push(DnType::OrganizationName, organization);
            }
            set_validity(&mut params);
            if subject.expired {
                params.not_before -= Duration::days(2);
                params.not_after = OffsetDateTime::now_utc() - Duration::hours(1);
            }
            params.use_authority_key_identifier_extension = true;
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
            let key = KeyPair::generate()?;
            Ok(Pair { certificate: params.signed_by(&key, &self.issuer)?.pem(), key: key.serialize_pem() })
        };
        make().map_err(|cause| PkiError { subject: subject.name.to_owned(), cause })
    }
}

fn authority_params(name: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    set_validity(&mut params);
    Ok(params)
}

fn set_validity(params: &mut CertificateParams) {
    // An hour back, for clocks that differ a little.
    params.not_before = OffsetDateTime::now_utc() - Duration::hours(1);
    params.not_after = OffsetDateTime::now_utc() + Duration::days(VALID_DAYS);
}

/// A fresh key for signing service account tokens: (private PEM, public PEM).
pub(crate) fn token_key() -> Result<(String, String), PkiError> {
    let key = KeyPair::generate().map_err(|cause| PkiError { subject: "service account tokens".to_owned(), cause })?;
    Ok((key.serialize_pem(), key.public_key_pem()))
}
