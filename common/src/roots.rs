//! Root certificates: the operator's, else the system's, else those in the binary.

use crate::throttle::Throttle;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;
use ureq::tls::{parse_pem, Certificate, PemItem, RootCerts};

/// Where systems keep their bundle.
const SYSTEM_BUNDLES: [&str; 7] = [
    "/etc/ssl/certs/ca-certificates.crt", // Debian, Alpine, OpenWrt, Arch, Gentoo
    "/etc/pki/tls/certs/ca-bundle.crt",   // Fedora, RHEL
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // RHEL 7 and later
    "/etc/ssl/ca-bundle.pem",             // SUSE
    "/var/lib/ca-certificates/ca-bundle.pem", // SUSE
    "/etc/ssl/cert.pem",                  // Alpine, OpenWrt, Buildroot
    "/etc/ssl/certs/ca-bundle.crt",       // NixOS
];

/// Names a PEM file of root certificates, as for OpenSSL.
const VARIABLE: &str = "SSL_CERT_FILE";

/// The certificates of the file that `SSL_CERT_FILE` names; none if it names none.
fn named() -> Option<Result<Vec<Certificate<'static>>, String>> {
    let path = std::env::var_os(VARIABLE).filter(|path| !path.is_empty())?;
    Some(read_bundle(Path::new(&path)))
}

/// A sentence that says why the file that `SSL_CERT_FILE` names is not used; none if it is, or if it
/// names none.
pub fn problem() -> Option<String> {
    Some(sentence(&named()?.err()?))
}

fn sentence(why: &str) -> String {
    format!(
        "The file of the environment variable {VARIABLE} is not used: {why}. Other root certificates \
         are. Correct the variable or remove it."
    )
}

const DAY: Duration = Duration::from_secs(86_400);

/// The system's roots: `SSL_CERT_FILE`, the usual places, then those built in. If the variable names a
/// file that can't be used, agent.log has a warning, at most once a day, and the others count.
///
/// # Errors
/// There are none.
pub fn system() -> Result<RootCerts, String> {
    static WARNED: LazyLock<Throttle> = LazyLock::new(Throttle::default);
    match named() {
        Some(Err(why)) if WARNED.allow(VARIABLE, DAY) => {
            log::warn!("{}", sentence(&why));
            choose(None)
        }
        named => choose(named.and_then(Result::ok)),
    }
}

fn choose(named: Option<Vec<Certificate<'static>>>) -> Result<RootCerts, String> {
    if let Some(certificates) = named {
        return Ok(RootCerts::new_with_certs(&certificates));
    }
    for path in SYSTEM_BUNDLES {
        if let Ok(certificates) = read_bundle(Path::new(path)) {
            return Ok(RootCerts::new_with_certs(&certificates));
        }
    }
    if cfg!(feature = "bundled-roots") {
        return Ok(RootCerts::WebPki);
    }
    Err("no root certificates found on this system; name a PEM file in ca_cert_path".to_owned())
}

/// The roots of one PEM file.
///
/// # Errors
/// It can't be read or holds no certificate.
pub fn of(path: &Path) -> Result<RootCerts, String> {
    Ok(RootCerts::new_with_certs(&read_bundle(path)?))
}

/// The certificates of a PEM file, at least one. Sections that are damaged or something else are
/// passed over.
fn read_bundle(path: &Path) -> Result<Vec<Certificate<'static>>, String> {
    let pem = std::fs::read(path)
        .map_err(|e| format!("cannot read root certificates from {}: {e}", path.display()))?;
    let certificates: Vec<_> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        return Err(format!("{} holds no certificate", path.display()));
    }
    Ok(certificates)
}
