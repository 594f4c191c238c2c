//! The TLS settings of a session: which root certificates it trusts.

use super::settings::UploadSettings;
use crate::util::throttle::Throttle;
use common::roots;
use std::sync::LazyLock;
use std::time::Duration;
use ureq::tls::TlsConfig;

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
        Some(path) => roots::of(path)?,
        None => roots::system()?,
    };
    Ok(builder.root_certs(roots).build())
}
