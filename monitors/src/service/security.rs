//! TLS towards a server, as its monitor's options want it.

#[cfg(feature = "tls")]
use super::link::{Plain, Way};
use super::options::{set, wrong};
use super::Link;
use crate::options::Options;
use crate::Error;
use std::path::PathBuf;
#[cfg(feature = "tls")]
use {
    rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    rustls::pki_types::{pem::PemObject as _, CertificateDer, PrivateKeyDer, ServerName, UnixTime},
    rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned},
    std::fmt,
    std::sync::Arc,
};

/// A connection in TLS.
#[cfg(feature = "tls")]
pub(super) type Session = StreamOwned<ClientConnection, Plain>;

/// Whether TLS is to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    No,
    /// If the server offers it.
    IfOffered,
    /// Otherwise there is no connection.
    Yes,
}

/// The options `tls`, `ca_file`, `cert_file` and `key_file`, and `use_ssl` where a monitor has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Security {
    wanted: Wanted,
    /// Look at the server's certificate.
    verify: bool,
    ca_file: Option<PathBuf>,
    /// Certificate and key.
    own: Option<(PathBuf, PathBuf)>,
}

impl Security {
    /// Reads the options. `use_ssl: true` is `require`, and `verify` with a `ca_file`, as the Python agent
    /// has it; `tls` wins.
    ///
    /// # Errors
    /// An unknown word; one of `cert_file` and `key_file` alone; TLS in a build without it.
    pub(crate) fn read(options: &Options, use_ssl: bool) -> Result<Security, Error> {
        let path = |name| set(options, name).map(PathBuf::from);
        let ca_file = path("ca_file");
        let (wanted, verify) = match set(options, "tls") {
            None if use_ssl => (Wanted::Yes, ca_file.is_some()),
            None | Some("off") => (Wanted::No, false),
            Some("prefer") => (Wanted::IfOffered, false),
            Some("require") => (Wanted::Yes, false),
            Some("verify") => (Wanted::Yes, true),
            Some(other) => {
                let why = format!("\"{other}\" is none of off, prefer, require, verify");
                return Err(wrong("tls", why));
            }
        };
        if wanted != Wanted::No && !cfg!(feature = "tls") {
            let why = "TLS is not part of this build (feature \"tls\")";
            return Err(wrong("tls", why));
        }
        let own = match (path("cert_file"), path("key_file")) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (None, Some(_)) => return Err(wrong("cert_file", "it is missing beside key_file")),
            (Some(_), None) => return Err(wrong("key_file", "it is missing beside cert_file")),
        };
        Ok(Security {
            wanted,
            verify,
            ca_file,
            own,
        })
    }

    /// Whether TLS is to be had.
    pub(crate) fn wanted(&self) -> Wanted {
        self.wanted
    }

    /// TLS that is had without a look at the certificate: somebody on the way may be the server.
    pub(crate) fn is_blind(&self) -> bool {
        self.wanted == Wanted::Yes && !self.verify
    }
}

#[cfg(not(feature = "tls"))]
impl Link {
    /// # Errors
    /// Always: [`Security::read`] refuses TLS in this build.
    pub(crate) fn secure(self, _: &Security, _: &str) -> Result<Link, Error> {
        Err(Error::new("TLS is not part of this build"))
    }
}

#[cfg(feature = "tls")]
impl Link {
    /// Goes on in TLS, with the server as `host`. The handshake is made at once.
    ///
    /// # Errors
    /// The files can't be used, the server does not speak TLS, or its certificate is not to be trusted.
    pub(crate) fn secure(self, security: &Security, host: &str) -> Result<Link, Error> {
        let mut plain = match self.0 {
            Way::Open(plain) => plain,
            other => return Ok(Link(other)),
        };
        let config = config(security)?;
        let name = ServerName::try_from(host).map_err(|_| {
            Error::new(format!("\"{host}\" is no host name that a certificate has"))
        })?;
        let begun = ClientConnection::new(Arc::new(config), name.to_owned());
        let mut connection = begun.map_err(|error| Error::new(format!("TLS failed: {error}")))?;
        while connection.is_handshaking() {
            if let Err(error) = connection.complete_io(&mut plain) {
                return Err(Error::new(format!("No TLS with {host}: {}", why(&error))));
            }
        }
        Ok(Link(Way::Tls(Box::new(StreamOwned::new(
            connection, plain,
        )))))
    }
}

/// The words for a handshake that failed.
#[cfg(feature = "tls")]
fn why(error: &std::io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        Some(error) => common::tls::reason(error, "ca_file").text,
        None => match common::tls::hung_up(error) {
            Some(text) => text.to_owned(),
            None => error.to_string(),
        },
    }
}

#[cfg(feature = "tls")]
fn config(security: &Security) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let failed = |error: rustls::Error| Error::new(format!("TLS can't be set up: {error}"));
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(failed)?;
    let builder = if security.verify {
        builder.with_root_certificates(roots(security)?)
    } else {
        let verifier = Arc::new(Blind(provider));
        builder
            .dangerous()
            .with_custom_certificate_verifier(verifier)
    };
    let Some((certificate, key)) = &security.own else {
        return Ok(builder.with_no_client_auth());
    };
    let unreadable = |path: &PathBuf, error: &dyn fmt::Display| {
        Error::new(format!("{} can't be used: {error}", path.display()))
    };
    // Read as a whole: the parser of slices is there already for root certificates
    let pem = |path: &PathBuf| std::fs::read(path).map_err(|error| unreadable(path, &error));
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem(certificate)?).collect();
    let chain = chain.map_err(|error| unreadable(certificate, &error))?;
    let own = PrivateKeyDer::from_pem_slice(&pem(key)?).map_err(|error| unreadable(key, &error))?;
    builder.with_client_auth_cert(chain, own).map_err(failed)
}

#[cfg(feature = "tls")]
fn roots(security: &Security) -> Result<rustls::RootCertStore, Error> {
    let known = match &security.ca_file {
        Some(path) => common::roots::of(path),
        None => common::roots::system(),
    };
    let known = match known.map_err(|why| Error::new(format!("ca_file: {why}")))? {
        ureq::tls::RootCerts::Specific(known) => known,
        _ => {
            return Err(Error::new(
                "There are no root certificates on this system: name a PEM file in ca_file",
            ))
        }
    };
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(known.iter().map(|one| CertificateDer::from(one.der())));
    Ok(roots)
}

/// Takes every certificate; the server still has to own its key.
#[cfg(feature = "tls")]
struct Blind(Arc<rustls::crypto::CryptoProvider>);

/// The trait wants it. The derived one would be linked, with those of all that is inside.
#[cfg(feature = "tls")]
impl fmt::Debug for Blind {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("Blind")
    }
}

#[cfg(feature = "tls")]
impl ServerCertVerifier for Blind {
    fn verify_server_cert(
        &self,
        _: &CertificateDer,
        _: &[CertificateDer],
        _: &ServerName,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
