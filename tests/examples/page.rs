//! Pages with fenced blocks that are tested. The first word behind the fence says what a block is:
//!
//! - `json`: a file of `agent.d`, which holds for the blocks that follow. With a path behind it the
//!   block is a copy of that file of the repository.
//! - `json refused` and `error`: one that the agent does not take, and why
//! - `input PATH`: the content of a file
//! - `output`: the events that `dry-run` prints for the inputs before it, see [`event`]
//! - `sh`: commands for root's shell
//! - anything else: text of other programs

use serde_json::Value;
use std::path::{Path, PathBuf};

/// A fenced block.
#[derive(Debug, Clone)]
pub struct Block {
    /// The words behind the fence.
    pub info: String,
    /// The lines within it, with the last line end.
    pub text: String,
    /// The number of the fence's line, from 1.
    pub line: usize,
}

/// A page of `docs/`.
pub struct Page {
    path: PathBuf,
    stored: String,
    pub blocks: Vec<Block>,
}

impl Page {
    pub fn read(name: &str) -> Page {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        let stored = std::fs::read_to_string(&path).unwrap();
        let mut blocks: Vec<Block> = Vec::new();
        let mut is_inside = false;
        for (at, line) in stored.split_inclusive('\n').enumerate() {
            match line.strip_prefix("```") {
                Some(_) if is_inside => is_inside = false,
                Some(info) => {
                    is_inside = true;
                    blocks.push(Block {
                        info: info.trim().to_owned(),
                        text: String::new(),
                        line: at + 1,
                    });
                }
                None if is_inside => blocks.last_mut().unwrap().text.push_str(line),
                None => {}
            }
        }
        assert!(!is_inside, "{name}: the last block has no end");
        Page {
            path,
            stored,
            blocks,
        }
    }

    /// The page with its blocks as they are now.
    fn text(&self) -> String {
        let mut text = String::new();
        let mut blocks = self.blocks.iter();
        let mut is_inside = false;
        for line in self.stored.split_inclusive('\n') {
            let is_fence = line.starts_with("```");
            if !is_inside || is_fence {
                text.push_str(line);
            }
            if is_fence {
                is_inside = !is_inside;
                if is_inside {
                    text.push_str(&blocks.next().unwrap().text);
                }
            }
        }
        text
    }

    /// Asserts that no block had to be changed, or, with `UPDATE_DOCS=1`, writes the page.
    pub fn is_current(&self) {
        let text = self.text();
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&self.path, &text).unwrap();
            return;
        }
        for (stored, now) in self.stored.lines().zip(text.lines()) {
            assert_eq!(
                stored,
                now,
                "{} is not current; UPDATE_DOCS=1 cargo test --test examples rewrites it",
                self.path.display()
            );
        }
        assert!(
            self.stored == text,
            "{} is not current",
            self.path.display()
        );
    }
}

/// An event of `dry-run` as pages show it: without the path, the sequence number, a name that is the
/// path, and a time that is that of sending.
pub fn event(line: &str) -> String {
    let event: Value =
        serde_json::from_str(line).unwrap_or_else(|e| panic!("no event: {e}: {line}"));
    let mut attrs = event["attrs"].clone();
    attrs.as_object_mut().unwrap().remove("logfile");
    let mut members = Vec::new();
    for (name, is_shown) in [
        ("logfile", event["logfile"] != event["path"]),
        ("ts", !event["ts"].is_null()),
        ("attrs", attrs != serde_json::json!({})),
        ("message", true),
        ("sample_rate", !event["sample_rate"].is_null()),
    ] {
        let value = if name == "attrs" {
            &attrs
        } else {
            &event[name]
        };
        if is_shown {
            members.push(format!("\"{name}\": {value}"));
        }
    }
    format!("{{{}}}\n", members.join(", "))
}
