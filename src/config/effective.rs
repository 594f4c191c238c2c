//! The options in force, for logs and reports, with secrets masked.

use super::compression::Compression;
use super::decl::Val;
use super::options::CORE;
use super::secret::MASK;
use super::Config;

/// The settings block, in the reference's order; names that say something about Python only are
/// left out.
const SETTINGS: &[&str] = &[
    "verify_server_certificate",
    "ca_cert_path",
    "compression_type",
    "compression_level",
    "pipeline_threshold",
    "max_send_rate_enforcement",
    "disable_max_send_rate_enforcement_overrides",
    "min_allowed_request_size",
    "max_allowed_request_size",
    "min_request_spacing_interval",
    "max_request_spacing_interval",
    "read_page_size",
    "max_line_size",
    "internal_parse_max_line_size",
    "line_completion_wait_time",
    "max_log_offset_size",
    "max_existing_log_offset_size",
    "use_multiprocess_workers",
    "default_sessions_per_worker",
    "wire_form",
    "max_open_files",
];

impl Config {
    /// Names and values for the settings block of agent.log.
    pub fn settings(&self) -> Vec<(String, String)> {
        let mut settings: Vec<_> = SETTINGS
            .iter()
            .filter_map(|name| CORE.iter().find(|decl| decl.name == *name))
            .map(|decl| {
                let value = match (decl.get)(&self.options) {
                    Val::Unset if decl.name == "compression_level" => {
                        let kind = Compression::named(&self.options.compression_type);
                        match kind.unwrap_or_default() {
                            kind if kind.follows_pressure() => "automatic".to_owned(),
                            kind => kind.usual_level().to_string(),
                        }
                    }
                    Val::Text(text) if decl.mask.is_none() => text,
                    _ => decl.show(&self.options),
                };
                (decl.name.to_owned(), value)
            })
            .collect();
        let workers: Vec<String> = self
            .workers
            .iter()
            .map(|worker| {
                format!(
                    "{{id: {}, server_url: {}, sessions: {}, api_key: {MASK}}}",
                    worker.id, worker.server, worker.sessions
                )
            })
            .collect();
        settings.push((
            "sanitized_worker_configs".to_owned(),
            format!("[{}]", workers.join(", ")),
        ));
        settings
    }

    /// The lines of [`Config::settings`] whose value is another than in `before`.
    pub fn changed_settings(&self, before: &Config) -> Vec<(String, String)> {
        let old = before.settings();
        let mut new = self.settings();
        new.retain(|line| !old.contains(line));
        new
    }
}
