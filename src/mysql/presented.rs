//! The certificates that a server shows: its greeting, and a TLS handshake that ends before anybody logs in. The driver does not
//! hand them out.
//!
//! The server counts a connection that ends here as one that was broken off, until the next login from the same address
//! (`max_connect_errors`): asked is only where such a login is made, too. Connections over its loopback are not counted.

use std::sync::Arc;

use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::{client::Target, error::MysqlError};
use crate::wait::Deadline;

/// Packets of the beginning are small; a greeting has less than 200 bytes.
const LONGEST: usize = 4096;
/// The first byte of an error in the place of a greeting.
const ERROR: u8 = 0xff;
/// Capability flags of the protocol: 4.1, TLS, its way of authentication.
const PROTOCOL_41: u32 = 0x200;
const SSL: u32 = 0x800;
const SECURE_CONNECTION: u32 = 0x8000;
/// utf8mb4_general_ci.
const COLLATION: u8 = 45;

/// The certificates that a server shows, its own first, as PEM.
///
/// # Errors
/// Unreachable, no TLS to be had, out of time.
pub async fn presented(target: &Target, deadline: Deadline) -> Result<Vec<String>, MysqlError> {
    tracing::debug!(server = target.name, "TLS handshake");
    let doing = "the look at its certificate";
    let bound = deadline.bound(handshake(target)).await;
    bound.map_err(|elapsed| MysqlError::TimedOut { server: target.name.clone(), doing, span: elapsed.span })?
}

async fn handshake(target: &Target) -> Result<Vec<String>, MysqlError> {
    let server = || target.name.clone();
    let broken = |error: std::io::Error| MysqlError::Unreachable { server: server(), text: error.to_string() };
    let tls = |text: String| MysqlError::Tls { server: server(), text };
    let mut stream = TcpStream::connect((target.host.as_str(), target.port)).await.map_err(broken)?;
    let mut head = [0_u8; 4];
    stream.read_exact(&mut head).await.map_err(broken)?;
    let length = usize::from(head[0]) | usize::from(head[1]) << 8 | usize::from(head[2]) << 16;
    if length > LONGEST {
        return Err(MysqlError::Unreachable { server: server(), text: "what answers is no MySQL".to_owned() });
    }
    let mut greeting = vec![0_u8; length];
    stream.read_exact(&mut greeting).await.map_err(broken)?;
    match offers_tls(&greeting) {
        Ok(true) => {}
        Ok(false) => return Err(tls("the server offers no TLS".to_owned())),
        Err(text) => return Err(MysqlError::Unreachable { server: server(), text }),
    }
    stream.write_all(&request(head[3])).await.map_err(broken)?;
    let name = ServerName::try_from(target.host.clone()).map_err(|error| tls(error.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| tls(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Any(provider)))
        .with_no_client_auth();
    let session = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    let mut session = session.map_err(|error| tls(error.to_string()))?;
    let shown = session.get_ref().1.peer_certificates().unwrap_or_default();
    let shown = shown.iter().map(|der| pem::encode(&pem::Pem::new("CERTIFICATE", der.as_ref()))).collect();
    // What was to be seen was seen.
    let _unclosed = session.shutdown().await;
    Ok(shown)
}

/// Whether a greeting offers TLS, or the text of the error in its place: version of the protocol, version of the server, number of
/// the thread, eight bytes, a zero, and then flags.
fn offers_tls(greeting: &[u8]) -> Result<bool, String> {
    let odd = || "what answers is no MySQL".to_owned();
    match greeting {
        [ERROR, low, high, text @ ..] => {
            Err(format!("error {}: {}", u16::from_le_bytes([*low, *high]), String::from_utf8_lossy(text)))
        }
        [10, rest @ ..] => {
            let version = rest.iter().position(|byte| *byte == 0).ok_or_else(odd)?;
            let flags = rest.get(version + 1 + 4 + 8 + 1..).and_then(|rest| rest.first_chunk::<2>()).ok_or_else(odd)?;
            Ok(u32::from(u16::from_le_bytes(*flags)) & SSL != 0)
        }
        _ => Err(odd()),
    }
}

/// The packet after which TLS begins; `sequence` is the greeting's number.
fn request(sequence: u8) -> Vec<u8> {
    let mut packet = vec![32, 0, 0, sequence.wrapping_add(1)];
    packet.extend((PROTOCOL_41 | SSL | SECURE_CONNECTION).to_le_bytes());
    packet.extend((1_u32 << 24).to_le_bytes());
    packet.push(COLLATION);
    packet.extend([0; 23]);
    packet
}

/// Takes any certificate: what is asked is which one the server shows, and nothing is sent to it.
#[derive(Debug)]
struct Any(Arc<CryptoProvider>);

impl ServerCertVerifier for Any {
    fn verify_server_cert(
        &self,
        _shown: &CertificateDer<'_>,
        _others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greeting_says_whether_there_is_tls() {
        let greeting = |flags: u16| {
            let mut bytes = b"\x0a9.7.0\0\x08\0\0\0abcdefgh\0".to_vec();
            bytes.extend(flags.to_le_bytes());
            bytes
        };
        assert_eq!(offers_tls(&greeting(0xffff)), Ok(true));
        assert_eq!(offers_tls(&greeting(0xf7ff)), Ok(false));
        assert_eq!(offers_tls(b"\xff\x69\x04Host is blocked"), Err("error 1129: Host is blocked".to_owned()));
        for odd in [&b""[..], b"HTTP/1.1 400", b"\x0a9.7.0", &greeting(0)[..20]] {
            assert_eq!(offers_tls(odd), Err("what answers is no MySQL".to_owned()));
        }
    }

    #[test]
    fn the_request_has_the_length_that_it_says() {
        let packet = request(0);
        assert_eq!((packet.len(), &packet[..4]), (36, &[32, 0, 0, 1][..]));
    }
}
