//! TLS, by rustls.

use crate::{Failure, worded};
use health::{Http, Tls};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, InconsistentKeys, RootCertStore,
    SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
    sign::{CertifiedKey, SingleCertAndKey},
};
use std::{net::SocketAddr, path::Path, sync::Arc};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Shakes hands. Files are read anew for each check, so that a renewed certificate needs no reload.
pub async fn handshake(
    stream: TcpStream,
    tls: &Tls,
    http: &Http,
    target: SocketAddr,
) -> Result<TlsStream<TcpStream>, Failure> {
    let config = config(tls).map_err(Failure::Here)?;
    let named = tls.sni.clone().or_else(|| http.host.clone());
    let name = match named {
        Some(name) => {
            let host = name.split(':').next().unwrap_or_default().to_owned();
            ServerName::try_from(host)
                .map_err(|_| Failure::Here(format!("{name:?} is no name for TLS")))?
        }
        // An address is not sent as SNI (RFC 6066, 3).
        None => ServerName::from(target.ip()),
    };
    Ok(TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await?)
}

fn config(tls: &Tls) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match &tls.ca {
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots
                    .add(certificate)
                    .map_err(|error| format!("{}: {error}", path.display()))?;
            }
            builder.with_root_certificates(roots)
        }
        None => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(Arc::clone(&provider)))),
    };
    match &tls.identity {
        None => Ok(builder.with_no_client_auth()),
        Some((certificate, key)) => {
            let chain = certificates(certificate)?;
            let private = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| format!("{}: {error}", key.display()))?;
            let shown = shown(&provider, chain, private)
                .map_err(|error| format!("{}: {error}", certificate.display()))?;
            Ok(builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(shown))))
        }
    }
}

/// What a server that asks is shown.
fn shown(
    provider: &CryptoProvider,
    chain: Vec<CertificateDer<'static>>,
    private: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, Error> {
    let key = provider.key_provider.load_private_key(private)?;
    let shown = CertifiedKey::new(chain, key);
    match shown.keys_match() {
        Err(error) if is_version_1(&error) => {
            let own = shown.key.public_key();
            let der = shown.end_entity_cert()?;
            let has = |own: &[u8]| der.windows(own.len().max(1)).any(|part| part == own);
            match own.is_none_or(|own| has(own.as_ref())) {
                true => Ok(shown),
                false => Err(InconsistentKeys::KeyMismatch.into()),
            }
        }
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(shown),
        Err(error) => Err(error),
    }
}

/// A certificate of X.509's first version, as `openssl x509 -req` makes them where no extension is asked for. rustls reads none, but
/// servers and directors have them, and keepalived takes them.
fn is_version_1(error: &Error) -> bool {
    match error {
        Error::InvalidCertificate(CertificateError::Other(why)) => {
            why.to_string() == "UnsupportedCertVersion"
        }
        _ => false,
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text =
        std::fs::read(path).map_err(|error| format!("{}: {}", path.display(), worded(&error)))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| format!("{}: {error}", path.display()))?;
    if found.is_empty() {
        return Err(format!("{} has no certificate", path.display()));
    }
    Ok(found)
}

/// Takes any certificate, as keepalived does: what is checked is whether the server serves, not who it is. That it has the key
/// of the certificate it shows is verified, where that can be read ([`is_version_1`]).
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl Anybody {
    fn takes(
        verified: Result<HandshakeSignatureValid, Error>,
    ) -> Result<HandshakeSignatureValid, Error> {
        match verified {
            Err(error) if is_version_1(&error) => Ok(HandshakeSignatureValid::assertion()),
            verified => verified,
        }
    }
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::takes(verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        ))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::takes(verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        ))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
