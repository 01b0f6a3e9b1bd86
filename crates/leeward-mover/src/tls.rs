//! Who may speak to whom: mutual TLS 1.3 with certificates from files that may be renewed at any time.
//!
//! A server takes a client whose certificate comes from the configured authority *and* is for the name of a configured peer. A
//! client checks the server's name likewise. Nothing is resumed: a certificate that is no longer good opens no connection.

use crate::config::{Config, Peer, TlsFiles};
use leeward_model::name::SiteName;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::{Resumption, verify_server_name};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    ServerConfig, SignatureScheme,
};
use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// HTTP/2, which gRPC is.
const PROTOCOL: &[u8] = b"h2";

/// Certificates that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file.
    #[error("{path}: {problem}; see `tls` in the mover's configuration [LW-0747]", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The files do not fit together.
    #[error("{path}: {source}; see `tls` in the mover's configuration [LW-0748]", path = path.display())]
    Unfit {
        /// The certificate's file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Error,
    },
}

/// What is in the files.
struct Loaded {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: Arc<RootCertStore>,
}

impl Loaded {
    fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for root in certificates(&files.ca)? {
            let bad = |error: Error| TlsError::File { path: files.ca.clone(), problem: error.to_string() };
            roots.add(root).map_err(bad)?;
        }
        let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| unread(&files.key, &error))?;
        Ok(Self { chain: certificates(&files.cert)?, key, roots: Arc::new(roots) })
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let all = all.map_err(|error| unread(path, &error))?;
    if all.is_empty() {
        return Err(TlsError::File { path: path.to_owned(), problem: "there is no certificate in it".to_owned() });
    }
    Ok(all)
}

fn unread(path: &Path, error: &rustls::pki_types::pem::Error) -> TlsError {
    // The parser's own words may quote what it read, and that may be a key.
    let problem = match error {
        rustls::pki_types::pem::Error::Io(error) => format!("cannot be read: {error}"),
        rustls::pki_types::pem::Error::NoItemsFound => "there is nothing of its kind in it".to_owned(),
        _ => "is no PEM file".to_owned(),
    };
    TlsError::File { path: path.to_owned(), problem }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Reads the files for one connection to `peer`.
///
/// # Errors
/// Files that cannot be used.
pub fn client(files: &TlsFiles) -> Result<Arc<ClientConfig>, TlsError> {
    let Loaded { chain, key, roots } = Loaded::read(files)?;
    let unfit = |source| TlsError::Unfit { path: files.cert.clone(), source };
    let builder = ClientConfig::builder_with_provider(provider());
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).map_err(unfit)?;
    let mut config = builder.with_root_certificates(roots).with_client_auth_cert(chain, key).map_err(unfit)?;
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(Arc::new(config))
}

/// The name that a peer's certificate must be for.
#[must_use]
pub fn name(peer: &Peer) -> ServerName<'static> {
    ServerName::DnsName(peer.name.dns().clone())
}

/// Who serves: reads its files again when they have changed.
pub struct Server {
    files: TlsFiles,
    peers: Arc<BTreeMap<SiteName, Peer>>,
    now: Mutex<(Stamps, Arc<ServerConfig>)>,
}

/// By what a changed file is known: inode, size, time of the last change of its bytes.
type Stamps = [Option<(u64, u64, i64, i64)>; 3];

impl Server {
    /// Reads the files.
    ///
    /// # Errors
    /// Files that cannot be used.
    pub fn new(files: &TlsFiles, config: &Config) -> Result<Self, TlsError> {
        let peers = Arc::new(config.peers.clone());
        let now = Mutex::new((stamps(files), server(files, &peers)?));
        Ok(Self { files: files.clone(), peers, now })
    }

    /// For the next connection. If there are new files that cannot be used, the old ones are gone on with, and why is returned.
    pub fn current(&self) -> (Arc<ServerConfig>, Option<TlsError>) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let found = stamps(&self.files);
        let mut trouble = None;
        if found != now.0 {
            match server(&self.files, &self.peers) {
                Ok(config) => *now = (found, config),
                // They are tried again at the next connection: they may just be being written.
                Err(error) => trouble = Some(error),
            }
        }
        (now.1.clone(), trouble)
    }

    /// Which peer presented these certificates.
    #[must_use]
    pub fn site(&self, presented: Option<&[CertificateDer<'_>]>) -> Option<SiteName> {
        site(&self.peers, presented?.first()?).ok()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("files", &self.files).finish_non_exhaustive()
    }
}

fn stamps(files: &TlsFiles) -> Stamps {
    [&files.cert, &files.key, &files.ca].map(|path| {
        let file = std::fs::metadata(path).ok()?;
        Some((file.ino(), file.size(), file.mtime(), file.mtime_nsec()))
    })
}

fn server(files: &TlsFiles, peers: &Arc<BTreeMap<SiteName, Peer>>) -> Result<Arc<ServerConfig>, TlsError> {
    let Loaded { chain, key, roots } = Loaded::read(files)?;
    let unfit = |source| TlsError::Unfit { path: files.cert.clone(), source };
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
    let inner = verifier
        .map_err(|error: VerifierBuilderError| TlsError::File { path: files.ca.clone(), problem: error.to_string() })?;
    let named = Arc::new(Named { inner, peers: peers.clone() });
    let builder = ServerConfig::builder_with_provider(provider());
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).map_err(unfit)?;
    let mut config = builder.with_client_cert_verifier(named).with_single_cert(chain, key).map_err(unfit)?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(Arc::new(config))
}

/// Which peer a certificate, whose origin was checked, is for.
fn site(peers: &BTreeMap<SiteName, Peer>, certificate: &CertificateDer<'_>) -> Result<SiteName, Error> {
    let parsed = ParsedCertificate::try_from(certificate)?;
    let of = peers.iter().find(|(_, peer)| verify_server_name(&parsed, &name(peer)).is_ok());
    // This becomes the alert `access_denied`, by which the client knows that it is its name.
    of.map(|(site, _)| site.clone()).ok_or(CertificateError::ApplicationVerificationFailure.into())
}

/// Takes certificates from the authority that are for a peer's name.
#[derive(Debug)]
struct Named {
    inner: Arc<dyn ClientCertVerifier>,
    peers: Arc<BTreeMap<SiteName, Peer>>,
}

impl ClientCertVerifier for Named {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.inner.verify_client_cert(end_entity, intermediates, now)?;
        site(&self.peers, end_entity)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// What is wrong between two sides, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The other's certificate is not taken here.
    Theirs(String),
    /// This side's certificate is not taken there.
    Ours(String),
    /// It is not about certificates.
    Else(String),
}

/// What a TLS error says, for people.
#[must_use]
pub fn trouble(error: &Error) -> Trouble {
    match error {
        Error::InvalidCertificate(why) => Trouble::Theirs(theirs(why)),
        Error::NoCertificatesPresented => Trouble::Theirs("it presents no certificate".to_owned()),
        Error::AlertReceived(alert) => match alert {
            // The second, where an authority of the same name is trusted there, with another key.
            AlertDescription::UnknownCA | AlertDescription::DecryptError => {
                Trouble::Ours("it comes from an authority that is not trusted there".to_owned())
            }
            AlertDescription::CertificateExpired => {
                Trouble::Ours("it has expired, or is not valid yet; compare the clocks".to_owned())
            }
            AlertDescription::AccessDenied => Trouble::Ours("the name in it is none of the peers there".to_owned()),
            AlertDescription::CertificateRequired => Trouble::Ours("none was sent".to_owned()),
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateRevoked => Trouble::Ours(format!("the other side says {alert:?}")),
            alert => Trouble::Else(format!("the other side says {alert:?}")),
        },
        error => Trouble::Else(error.to_string()),
    }
}

fn theirs(why: &CertificateError) -> String {
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet; compare the clocks".to_owned()
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "it comes from an authority that is not in the file of `tls.ca`".to_owned()
        }
        CertificateError::ApplicationVerificationFailure => "the name in it is none of the peers here".to_owned(),
        CertificateError::NotValidForName => "it is for another name".to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            format!("it is for {}, not for {}", presented.join(", "), expected.to_str())
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "it is not for this use: a mover's is for server and client authentication".to_owned()
        }
        other => other.to_string(),
    }
}

/// The TLS error in an I/O error.
#[must_use]
pub fn of_io(error: &std::io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}
