//! The temporary folder, with the agent's configuration in it.

use crate::machine::Followed;
use serde_json::{json, Value};
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// A folder of the user alone; removed when dropped.
pub struct Site {
    root: PathBuf,
}

impl Site {
    /// Makes it, in `$TMPDIR` or `/tmp`.
    pub fn new() -> io::Result<Site> {
        let name = format!("scalyr-agent-demo-{}", std::process::id());
        let root = std::env::temp_dir().join(name);
        // Fails if it is there already, whoever made it
        fs::DirBuilder::new().mode(0o700).create(&root)?;
        let site = Site { root };
        for name in ["data", "log", "agent.d"] {
            fs::create_dir(site.path(name))?;
        }
        Ok(site)
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The agent's configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.path("agent.json")
    }

    /// Writes the configuration: what an operator would write, but for the quicker requests.
    pub fn write_config(&self, server: &str, logs: &[Followed]) -> io::Result<()> {
        let logs: Vec<Value> = logs
            .iter()
            .map(|log| {
                json!({
                    "path": log.path,
                    "copy_from_start": log.from_start,
                    "attributes": {"parser": "systemLog"},
                })
            })
            .collect();
        let config = json!({
            "api_key": "demo-key",
            "scalyr_server": server,
            "allow_http": true,
            "agent_data_path": self.path("data"),
            "agent_log_path": self.path("log"),
            "max_request_spacing_interval": 1.0,
            "logs": logs,
            // Takes the place of the implicit one, which samples every 30 s
            "implicit_metric_monitor": false,
            "monitors": [{
                "module": "scalyr_agent.builtin_monitors.linux_system_metrics",
                "sample_interval": 5,
            }],
        });
        fs::write(self.config_file(), format!("{config:#}\n"))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.root) {
            eprintln!("demo: cannot remove {}: {error}", self.root.display());
        }
    }
}
