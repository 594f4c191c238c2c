//! Root certificates: the operator's, else the system's, else those in the binary.

use std::path::Path;
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

/// The system's roots: `SSL_CERT_FILE`, the usual places, then those built in.
///
/// # Errors
/// There are none.
pub fn system() -> Result<RootCerts, String> {
    // Named explicitly, it is used or complained about
    if let Some(path) = std::env::var_os("SSL_CERT_FILE").filter(|p| !p.is_empty()) {
        return Ok(RootCerts::new_with_certs(&read_bundle(Path::new(&path))?));
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
