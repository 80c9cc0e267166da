//! Mutual TLS between the processes of a job.
//!
//! ```text
//!   the job's token ──HKDF──► key of the job's authority        the same in each process
//!                                  │ signs
//!   each process: a fresh key ──► its certificate ◄──────── checked by the other end, both ways
//! ```
//!
//! **The authority is never stored and never sent.** A process that knows the token is a member,
//! so each process makes the authority for itself, in memory. A member of another job has another
//! authority, and its handshake fails before it can send a request.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_ED25519};
use ring::hkdf;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring::default_provider};
use tokio_rustls::rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName,
};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tonic::transport::Uri;
use tower_service::Service;

/// Name in all certificates of a job. Processes are not distinguished: each is a member or not.
const MEMBER: &str = "member.faisca.internal";
const AUTHORITY: &str = "authority of a faisca job";
/// Separates the authority's key from every other use of the token.
const SALT: &[u8] = b"faisca: authority of a job";
/// Bytes of an Ed25519 key.
const KEY_BYTES: usize = 32;
/// What precedes an Ed25519 key in PKCS #8 (RFC 8410).
const PKCS8_HEADER: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// Opens an encrypted connection to a member of the job.
#[derive(Clone)]
pub(super) struct Connector(pub(super) TlsConnector);

impl Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.0.clone();
        let connected = async move {
            let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
            let port = uri.port_u16().unwrap_or_default();
            let stream = TcpStream::connect((host, port)).await?;
            stream.set_nodelay(true)?;
            let name = Member::server_name().map_err(io::Error::other)?;
            Ok(TokioIo::new(connector.connect(name, stream).await?))
        };
        connected.boxed()
    }
}

/// Keys and certificates of a process could not be made.
#[derive(Debug, thiserror::Error)]
#[error("encryption of the job's connections: {0}")]
pub struct TlsError(Box<dyn std::error::Error + Send + Sync>);

fn tls_error(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> TlsError {
    TlsError(error.into())
}

/// A member of a job: accepts and opens connections to other members.
#[derive(Clone)]
pub(super) struct Member {
    pub(super) acceptor: TlsAcceptor,
    pub(super) connector: TlsConnector,
}

impl Member {
    /// Makes a member of the job with this token.
    pub(super) fn of_job(token: &str) -> Result<Self, TlsError> {
        let (params, authority_key) = (authority_params()?, authority_key(token)?);
        let anchor = params.self_signed(&authority_key).map_err(tls_error)?;
        let authority = Issuer::new(params, authority_key);
        let key = KeyPair::generate_for(&PKCS_ED25519).map_err(tls_error)?;
        let certificate = CertificateParams::new([MEMBER.to_owned()])
            .and_then(|params| params.signed_by(&key, &authority))
            .map_err(tls_error)?;
        let mut roots = RootCertStore::empty();
        roots.add(anchor.der().clone()).map_err(tls_error)?;
        let roots = Arc::new(roots);
        let chain = vec![certificate.der().clone()];
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        Ok(Self {
            acceptor: Arc::new(server_config(&roots, chain.clone(), key.clone_key())?).into(),
            connector: Arc::new(client_config(&roots, chain, key)?).into(),
        })
    }

    /// Returns the name that a connection expects in the other end's certificate.
    pub(super) fn server_name() -> Result<ServerName<'static>, TlsError> {
        ServerName::try_from(MEMBER).map_err(tls_error)
    }
}

fn authority_params() -> Result<CertificateParams, TlsError> {
    let mut params = CertificateParams::new(Vec::new()).map_err(tls_error)?;
    params
        .distinguished_name
        .push(DnType::CommonName, AUTHORITY);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Ok(params)
}

/// Derives the authority's key from the token.
fn authority_key(token: &str) -> Result<KeyPair, TlsError> {
    let mut encoded = PKCS8_HEADER.to_vec();
    encoded.resize(PKCS8_HEADER.len() + KEY_BYTES, 0);
    hkdf::Salt::new(hkdf::HKDF_SHA256, SALT)
        .extract(token.as_bytes())
        .expand(&[AUTHORITY.as_bytes()], hkdf::HKDF_SHA256)
        .and_then(|key| key.fill(&mut encoded[PKCS8_HEADER.len()..]))
        .map_err(|_| tls_error("no key can be derived from the token"))?;
    KeyPair::try_from(&PrivatePkcs8KeyDer::from(encoded)).map_err(tls_error)
}

fn crypto_provider() -> Arc<CryptoProvider> {
    Arc::new(default_provider())
}

fn server_config(
    roots: &Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivatePkcs8KeyDer<'static>,
) -> Result<ServerConfig, TlsError> {
    let members = WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), crypto_provider())
        .build()
        .map_err(tls_error)?;
    ServerConfig::builder_with_provider(crypto_provider())
        .with_protocol_versions(&[&TLS13])
        .and_then(|config| {
            config
                .with_client_cert_verifier(members)
                .with_single_cert(chain, PrivateKeyDer::Pkcs8(key))
        })
        .map_err(tls_error)
}

fn client_config(
    roots: &Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivatePkcs8KeyDer<'static>,
) -> Result<ClientConfig, TlsError> {
    let members = WebPkiServerVerifier::builder_with_provider(Arc::clone(roots), crypto_provider())
        .build()
        .map_err(tls_error)?;
    ClientConfig::builder_with_provider(crypto_provider())
        .with_protocol_versions(&[&TLS13])
        .and_then(|config| {
            config
                .with_webpki_verifier(members)
                .with_client_auth_cert(chain, PrivateKeyDer::Pkcs8(key))
        })
        .map_err(tls_error)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// Sends a byte from a member of one job to a member of another, or the same.
    async fn send(from: &str, to: &str) -> std::io::Result<u8> {
        let (near, far) = duplex(1024);
        let (client, server) = (Member::of_job(from).unwrap(), Member::of_job(to).unwrap());
        let accepted = async move { server.acceptor.accept(far).await?.read_u8().await };
        let name = Member::server_name().unwrap();
        let sent = async move {
            let mut stream = client.connector.connect(name, near).await?;
            stream.write_u8(7).await?;
            stream.flush().await?;
            // Open until the other end has read.
            Ok::<_, std::io::Error>(stream)
        };
        let (accepted, sent) = tokio::join!(accepted, sent);
        sent.and(accepted)
    }

    #[tokio::test]
    async fn members_of_a_job_connect_and_others_are_refused() {
        assert_eq!(send("secret", "secret").await.unwrap(), 7);
        assert!(send("secret", "other").await.is_err());
        assert!(send("other", "secret").await.is_err());
    }
}
