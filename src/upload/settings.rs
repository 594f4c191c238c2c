//! The part of the configuration that an upload session needs.

use super::pacing::Rules;
use crate::config::{Compression, Config, ServerUrl, Worker};
use crate::wire::Form;
use std::path::PathBuf;
use std::time::Duration;

/// A session's settings. Proxy addresses may hold passwords, so this has no `Debug`.
#[derive(Clone)]
pub struct UploadSettings {
    /// Where to.
    pub server: ServerUrl,
    /// The wire form of the bodies; decides the `Content-Type`.
    pub form: Form,
    /// How bodies are compressed.
    pub compression: Compression,
    /// `compression_level` if the operator set one, one of the type's levels.
    pub level: Option<u8>,
    /// `request_deadline`: how long the server may be silent, and how long connecting may take.
    pub request_deadline: Duration,
    /// PEM file with the roots to trust instead of the system's.
    pub ca_cert_path: Option<PathBuf>,
    /// `verify_server_certificate`.
    pub verify: bool,
    /// Proxy for an `http` server.
    pub http_proxy: Option<String>,
    /// Proxy for an `https` server.
    pub https_proxy: Option<String>,
    /// The `User-Agent` header; see [`user_agent`].
    pub user_agent: String,
    /// When requests go, and how large.
    pub pacing: Rules,
    /// Bytes of log text a second.
    pub rate_limit: Option<f64>,
    /// `disable_send_requests`: send nothing, call it a success.
    pub disable_send: bool,
}

impl UploadSettings {
    /// The settings of a worker's sessions.
    pub fn new(config: &Config, worker: &Worker) -> Self {
        let o = &config.options;
        let mut keys: Vec<&str> = config.workers.iter().map(|w| w.api_key.expose()).collect();
        crate::util::sort::plainly(&mut keys);
        keys.dedup();
        let sessions = config.workers.iter().map(|w| w.sessions).sum();
        UploadSettings {
            server: worker.server.clone(),
            form: if o.wire_form == "json" {
                Form::Json
            } else {
                Form::Scalyr
            },
            // The configuration has checked both
            compression: Compression::named(&o.compression_type).unwrap_or_default(),
            level: o
                .compression_level
                .and_then(|level| u8::try_from(level).ok()),
            request_deadline: seconds(o.request_deadline),
            ca_cert_path: o
                .ca_cert_path
                .as_ref()
                .filter(|path| !path.is_empty())
                .map(PathBuf::from),
            verify: o.verify_server_certificate,
            http_proxy: o.http_proxy.clone(),
            https_proxy: o.https_proxy.clone(),
            user_agent: user_agent(sessions, keys.len()),
            pacing: Rules {
                min_spacing: seconds(o.min_request_spacing_interval),
                max_spacing: seconds(o.max_request_spacing_interval),
                max_error_spacing: seconds(o.max_error_request_spacing_interval),
                low_water: bytes(o.low_water_bytes_sent),
                low_water_factor: o.low_water_request_spacing_adjustment,
                high_water: bytes(o.high_water_bytes_sent),
                high_water_factor: o.high_water_request_spacing_adjustment,
                failure_factor: o.failure_request_spacing_adjustment,
                too_large_factor: o.request_too_large_adjustment,
                max_request_size: bytes(o.max_allowed_request_size),
                min_request_size: bytes(o.min_allowed_request_size),
                ..Rules::default()
            },
            rate_limit: config.rate_limit,
            disable_send: o.disable_send_requests,
        }
    }

    /// Defaults, for a server.
    pub fn to(server: ServerUrl) -> Self {
        UploadSettings {
            server,
            form: Form::Scalyr,
            compression: Compression::Deflate,
            level: None,
            request_deadline: Duration::from_secs(60),
            ca_cert_path: None,
            verify: true,
            http_proxy: None,
            https_proxy: None,
            user_agent: user_agent(1, 1),
            pacing: Rules::default(),
            rate_limit: None,
            disable_send: false,
        }
    }
}

/// A day at the most; nothing for what is no time.
fn seconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value.min(86_400.0)).unwrap_or_default()
}

fn bytes(value: i64) -> usize {
    usize::try_from(value.max(0)).unwrap_or(usize::MAX)
}

impl UploadSettings {
    /// A sentence that says why the file of `SSL_CERT_FILE` is not used, if it would be.
    pub fn roots_problem(&self) -> Option<String> {
        #[cfg(feature = "tls")]
        if self.server.https && self.verify && self.ca_cert_path.is_none() {
            return common::roots::problem();
        }
        None
    }
}

/// The `User-Agent` of an agent with these numbers of upload sessions and of different API keys. Its
/// parts and their order are the Python agent's.
pub fn user_agent(sessions: u32, keys: usize) -> String {
    let release = nix::sys::utsname::uname()
        .ok()
        .and_then(|u| u.release().to_str().map(str::to_owned))
        .unwrap_or_else(|| "unknown".to_owned());
    let workers = if sessions <= 1 {
        "mw-0".to_owned()
    } else {
        format!("mw-1|{sessions}|{keys}")
    };
    let text = format!(
        "Linux-{release}-{arch};rust-{rust};agent-{version};a-{root};{workers}",
        arch = std::env::consts::ARCH,
        rust = env!("CARGO_PKG_RUST_VERSION"),
        version = env!("CARGO_PKG_VERSION"),
        root = u8::from(nix::unistd::geteuid().is_root()),
    );
    // A header value; a custom kernel's release may hold anything
    text.chars().filter(char::is_ascii_graphic).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Install, Source};

    fn load(name: &str, json: &str) -> Config {
        let folder = std::env::temp_dir().join(format!("upload-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let main_file = folder.join("agent.json");
        std::fs::write(&main_file, json).unwrap();
        let config = Config::load(&Source {
            main_file,
            extra_dir: None,
            env: Vec::new(),
            install: Install::beneath(&folder),
        });
        std::fs::remove_dir_all(&folder).unwrap();
        config.unwrap()
    }

    #[test]
    fn what_the_operator_sets_arrives_and_the_rest_is_the_default() {
        let config = load("defaults", r#"{"api_key": "k"}"#);
        let settings = UploadSettings::new(&config, &config.workers[0]);
        // what the tests and the check assume is what an operator gets
        let defaults = UploadSettings::to(config.server.clone());
        assert_eq!(settings.pacing, defaults.pacing);
        assert_eq!(settings.level, None);
        assert_eq!(settings.request_deadline, defaults.request_deadline);
        assert_eq!(settings.user_agent, defaults.user_agent);
        assert!(settings.verify && settings.server.https && !settings.disable_send);

        let config = load(
            "explicit",
            r#"{"api_key": "k", "compression_type": "none", "wire_form": "json",
                "verify_server_certificate": false, "ca_cert_path": "/etc/own.pem",
                "https_proxy": "http://proxy:3128", "max_send_rate_enforcement": "1MB/s",
                "max_allowed_request_size": 50000, "max_request_spacing_interval": 2.5,
                "workers": [{"id": "other", "api_key": "k2", "sessions": 3,
                             "server_url": "https://eu.example.com:8443"}]}"#,
        );
        let worker = config.workers.iter().find(|w| w.id == "other").unwrap();
        let settings = UploadSettings::new(&config, worker);
        assert_eq!(settings.compression, Compression::None);
        assert_eq!(settings.form, Form::Json);
        assert!(!settings.verify);
        assert_eq!(settings.ca_cert_path, Some(PathBuf::from("/etc/own.pem")));
        assert_eq!(settings.https_proxy.as_deref(), Some("http://proxy:3128"));
        assert_eq!(settings.rate_limit, Some(1_000_000.0));
        assert_eq!(settings.pacing.max_request_size, 50_000);
        assert_eq!(settings.pacing.max_spacing, Duration::from_millis(2500));
        assert_eq!(settings.server.host, "eu.example.com");
        assert_eq!(settings.server.port, 8443);
        assert!(settings.user_agent.ends_with(";mw-1|4|2"));
    }

    #[test]
    fn the_user_agent_has_the_parts_support_looks_for() {
        let one = user_agent(1, 1);
        let parts: Vec<&str> = one.split(';').collect();
        assert_eq!(parts.len(), 5, "{one}");
        assert!(parts[0].starts_with("Linux-") && parts[0].ends_with(std::env::consts::ARCH));
        assert!(parts[1].starts_with("rust-"));
        assert_eq!(parts[2], concat!("agent-", env!("CARGO_PKG_VERSION")));
        assert!(parts[3] == "a-0" || parts[3] == "a-1");
        assert_eq!(parts[4], "mw-0");
        assert!(user_agent(4, 2).ends_with(";mw-1|4|2"));
    }
}
