//! A case's file: what it shows, a configuration, the steps, and what is delivered by each agent.
//! README.md beside this file describes the format.

use crate::text::unescape;
use std::fs;
use std::path::{Path, PathBuf};

/// One of the two agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agent {
    Ours,
    Python,
}

impl Agent {
    pub fn name(self) -> &'static str {
        match self {
            Agent::Ours => "ours",
            Agent::Python => "python",
        }
    }

    fn of(name: &str) -> Option<Agent> {
        [Agent::Ours, Agent::Python]
            .into_iter()
            .find(|agent| agent.name() == name)
    }
}

/// Further properties to compare, besides messages, attributes and file names, and those to leave
/// out.
#[derive(Debug, Default)]
pub struct Compare {
    /// The time of each event.
    pub show_ts: bool,
    /// The sequence number of each event.
    pub show_sn: bool,
    /// The API key that each file is delivered with.
    pub show_keys: bool,
    /// The order of the events of a file does not matter.
    pub sort: bool,
    /// Attributes that do not matter.
    pub drop: Vec<String>,
}

/// One thing to do.
#[derive(Debug)]
pub struct Step {
    pub line: usize,
    /// Only when this agent runs.
    pub only: Option<Agent>,
    pub verb: String,
    pub words: Vec<String>,
    pub text: Option<Vec<u8>>,
}

/// A case.
#[derive(Debug, Default)]
pub struct Case {
    pub name: String,
    pub path: PathBuf,
    pub config: String,
    pub fragments: Vec<(String, String)>,
    pub env: Vec<(String, String)>,
    pub steps: Vec<Step>,
    pub compare: Compare,
    /// Why the agents differ; empty if they do not.
    pub why: String,
    /// The transcript of both agents.
    pub both: Option<String>,
    pub ours: Option<String>,
    pub python: Option<String>,
}

impl Case {
    pub fn read(path: &Path) -> Result<Case, String> {
        let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
        let mut case = Case {
            name: path.file_stem().unwrap().to_string_lossy().into_owned(),
            path: path.to_owned(),
            ..Case::default()
        };
        for (line, name, body) in sections(&text) {
            case.take_section(line, name, body)
                .map_err(|error| format!("{}:{error}", path.display()))?;
        }
        case.check()
            .map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(case)
    }

    fn take_section(&mut self, line: usize, name: &str, body: String) -> Result<(), String> {
        let (name, argument) = name.split_once(' ').unwrap_or((name, ""));
        match name {
            "" => {}
            "config" => self.config = body,
            "fragment" => self.fragments.push((argument.to_owned(), body)),
            "env" => {
                for pair in body.lines().filter(|text| !text.trim().is_empty()) {
                    let pair = pair.split_once('=');
                    let (name, value) = pair.ok_or(format!("{line}: not NAME=VALUE"))?;
                    self.env.push((name.to_owned(), value.to_owned()));
                }
            }
            "steps" => self.steps = steps(line, &body)?,
            "compare" => self.take_compare(line, &body)?,
            "why" => self.why = body.trim().to_owned(),
            "both" => self.both = Some(body),
            "ours" => self.ours = Some(body),
            "python" => self.python = Some(body),
            other => return Err(format!("{line}: no such section: {other}")),
        }
        Ok(())
    }

    fn take_compare(&mut self, line: usize, body: &str) -> Result<(), String> {
        for option in body.lines().map(str::trim).filter(|text| !text.is_empty()) {
            match option.split_once(' ') {
                None if option == "sort" => self.compare.sort = true,
                Some(("show", "ts")) => self.compare.show_ts = true,
                Some(("show", "sn")) => self.compare.show_sn = true,
                Some(("show", "keys")) => self.compare.show_keys = true,
                Some(("drop", name)) => self.compare.drop.push(name.to_owned()),
                _ => return Err(format!("{line}: nothing to compare by: {option}")),
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        if self.steps.is_empty() {
            return Err("no steps".into());
        }
        if self.both.is_some() && (self.ours.is_some() || self.python.is_some()) {
            return Err("`both` and one of `ours` and `python`".into());
        }
        if self.ours.is_some() != self.python.is_some() {
            return Err("`ours` without `python`, or the other way round".into());
        }
        Ok(())
    }

    /// Whether a difference is said to be meant, and nothing else is.
    pub fn is_explained(&self) -> bool {
        self.ours.is_some() != self.why.is_empty()
    }

    /// Whether the steps start both agents, one after the other in the same place.
    pub fn is_swap(&self) -> bool {
        self.steps.iter().any(|step| step.named_agent().is_some())
    }

    /// The transcript that is expected of an agent; `None` if nothing is recorded.
    pub fn expected(&self, agent: Agent) -> Option<&str> {
        let own = match agent {
            Agent::Ours => &self.ours,
            Agent::Python => &self.python,
        };
        own.as_deref().or(self.both.as_deref())
    }

    /// Writes what was delivered into the file. `python` is none if only one of them ran.
    pub fn record(&self, ours: &str, python: Option<&str>) -> Result<(), String> {
        let text = fs::read_to_string(&self.path).map_err(|error| error.to_string())?;
        let end = ["\n== both\n", "\n== ours\n", "\n== python\n"]
            .iter()
            .filter_map(|header| text.find(header))
            .min();
        let mut text = text[..end.unwrap_or(text.len())].trim_end().to_owned();
        text.push_str("\n\n");
        match python {
            Some(python) if python != ours => {
                text.push_str(&format!("== ours\n{ours}\n== python\n{python}"));
            }
            _ => text.push_str(&format!("== both\n{ours}")),
        }
        fs::write(&self.path, text).map_err(|error| error.to_string())
    }
}

impl Step {
    /// The agent that a `start` or `launch` names.
    pub fn named_agent(&self) -> Option<Agent> {
        let starts = ["start", "launch"].contains(&self.verb.as_str());
        self.words
            .first()
            .filter(|_| starts)
            .and_then(|w| Agent::of(w))
    }
}

/// The parts of the file: where the body begins, the header, the body.
fn sections(text: &str) -> Vec<(usize, &str, String)> {
    let mut sections = vec![(1, "", String::new())];
    for (number, line) in text.lines().enumerate() {
        match line.strip_prefix("== ") {
            Some(name) => sections.push((number + 2, name.trim(), String::new())),
            None => {
                if let Some((_, _, body)) = sections.last_mut() {
                    body.push_str(line);
                    body.push('\n');
                }
            }
        }
    }
    for (_, _, body) in &mut sections {
        // An empty line before the next header belongs to nothing
        body.truncate(body.trim_end().len());
        if !body.is_empty() {
            body.push('\n');
        }
    }
    sections
}

fn steps(first: usize, body: &str) -> Result<Vec<Step>, String> {
    let mut steps: Vec<Step> = Vec::new();
    for (line, text) in (first..).zip(body.lines()) {
        let wrong = |error: String| format!("{line}: {error}");
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let (command, literal) = match text.split_once('|') {
            Some((command, literal)) => {
                let literal = literal.strip_prefix(' ').unwrap_or(literal);
                (command, Some(unescape(literal).map_err(wrong)?))
            }
            None => (text, None),
        };
        let mut words = command.split_whitespace().map(|word| {
            let bytes = unescape(word).map_err(wrong)?;
            String::from_utf8(bytes).map_err(|error| wrong(error.to_string()))
        });
        let Some(mut verb) = words.next().transpose()? else {
            let step = steps.last_mut().ok_or(wrong("text of no step".into()))?;
            let more = literal.unwrap_or_default();
            step.text.get_or_insert_default().extend(more);
            continue;
        };
        let only = Agent::of(&verb);
        if only.is_some() {
            verb = words.next().transpose()?.ok_or(wrong("no step".into()))?;
        }
        steps.push(Step {
            line,
            only,
            verb,
            words: words.collect::<Result<_, _>>()?,
            text: literal,
        });
    }
    Ok(steps)
}
