//! Whom to trust (protocol.md §19): the operator's roots, else the system's, else those in the
//! binary.

use super::settings::UploadSettings;
use crate::util::throttle::Throttle;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;
use ureq::tls::{parse_pem, Certificate, PemItem, RootCerts, TlsConfig};

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

/// The client's TLS settings, or why there can be none.
pub fn config(settings: &UploadSettings) -> Result<TlsConfig, String> {
    let builder = TlsConfig::builder();
    if !settings.verify {
        static WARNED: LazyLock<Throttle> = LazyLock::new(Throttle::default);
        if WARNED.allow("sslverifyoff", Duration::from_secs(86_400)) {
            log::warn!(
                "[error=\"client/sslverifyoff\"] The server's certificate is not checked \
                 (verify_server_certificate is false): whoever is between here and the server can \
                 read the API key and the logs."
            );
        }
        return Ok(builder.disable_verification(true).build());
    }
    let roots = match &settings.ca_cert_path {
        Some(path) => RootCerts::new_with_certs(&read_bundle(path)?),
        None => system_roots()?,
    };
    Ok(builder.root_certs(roots).build())
}

fn system_roots() -> Result<RootCerts, String> {
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
