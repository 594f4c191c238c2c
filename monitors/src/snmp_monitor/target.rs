//! The options `oid_groups` and `poll_targets`: which agent is asked for what, and in whose name.

use super::session::{Login, Memory, User};
use super::usm::{Auth, Privacy, AUTHS, PRIVACIES};
use crate::service::Secret;
use crate::{Emitter, Error};
use serde_json::{Map, Value as Json};
use std::path::PathBuf;
use std::time::Duration;

/// An agent that is asked.
pub struct Target {
    /// As lines show it: `host`, or `host:port` if the port is given.
    pub name: String,
    pub host: String,
    pub port: u16,
    /// Per try.
    pub timeout: Duration,
    pub tries: u32,
    version: Version,
    /// Which of the lists of objects it is asked for.
    pub list: usize,
    pub memory: Memory,
    /// Its last sample failed.
    pub failing: bool,
}

enum Version {
    /// Version 1 (0) or 2c (1) with a community.
    Community(u8, Secret),
    User(Box<Named>),
}

/// A user of version 3.
struct Named {
    name: String,
    context: String,
    auth: (Auth, Secret),
    privacy: (Privacy, Secret),
}

/// Lists of objects by their texts, and the agents that are asked for them.
#[derive(Default)]
pub struct Plan {
    pub lists: Vec<Vec<String>>,
    pub targets: Vec<Target>,
    /// Oddities that are no reason to refuse the configuration.
    pub notes: Vec<String>,
}

impl Target {
    /// The community or the user of its requests. Files of passwords are read anew.
    ///
    /// # Errors
    /// One can't be read, or is empty.
    pub fn login(&self, out: &mut Emitter) -> Result<Login, Error> {
        let mut key = |(secret, wanted): (&Secret, bool), name: &str| match wanted {
            true => match secret.get(out)? {
                key if key.is_empty() => Err(Error::new(format!("{name} is empty"))),
                key => Ok(key),
            },
            false => Ok(String::new()),
        };
        Ok(match &self.version {
            Version::Community(version, secret) => Login::Community(*version, secret.get(out)?),
            Version::User(named) => {
                let (auth, privacy) = (named.auth.0, named.privacy.0);
                Login::User(User {
                    name: named.name.clone(),
                    context: named.context.clone(),
                    auth,
                    auth_password: key((&named.auth.1, auth != Auth::None), "auth_key")?,
                    privacy,
                    priv_password: key((&named.privacy.1, privacy != Privacy::None), "priv_key")?,
                })
            }
        })
    }

    /// Whether it knows GETBULK.
    pub fn is_bulk(&self) -> bool {
        !matches!(self.version, Version::Community(0, _))
    }
}

impl Plan {
    /// Reads both options.
    ///
    /// # Errors
    /// The mistake, and its place.
    pub fn read(groups: &Json, polls: &Json) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        let wrong = |name, text| Error::of_option(name, format!("{name}: {text}"));
        let empty = Map::new();
        let groups = groups.as_object().unwrap_or(&empty);
        for (name, oids) in groups {
            if strings(oids).is_none() {
                let text = format!("the group \"{name}\" is no list of strings");
                return Err(wrong("oid_groups", text));
            }
        }
        let none = Vec::new();
        for (at, poll) in polls.as_array().unwrap_or(&none).iter().enumerate() {
            plan.add(groups, poll)
                .map_err(|text| wrong("poll_targets", format!("entry {}: {text}", at + 1)))?;
        }
        Ok(plan)
    }

    fn add(&mut self, groups: &Map<String, Json>, poll: &Json) -> Result<(), String> {
        let poll = poll.as_object().ok_or("it is no object")?;
        self.note_others(poll, &["targets", "oids"], "an entry of poll_targets");
        let targets = poll.get("targets").and_then(Json::as_array);
        let targets = targets.ok_or("it has no list \"targets\"")?;
        let wanted = poll.get("oids").and_then(strings);
        let mut list = Vec::new();
        for name in wanted.ok_or("it has no list \"oids\" of names of oid_groups")? {
            let group = groups.get(name).and_then(strings);
            let group = group.ok_or_else(|| format!("\"{name}\" is not in oid_groups"))?;
            list.extend(group.into_iter().map(str::to_owned));
        }
        if list.is_empty() {
            return Err("its groups in \"oids\" have no object".to_owned());
        }
        for target in targets {
            let target = target.as_object().ok_or("a target is no object")?;
            let host = text(target, "host")?.ok_or("a target has no \"host\"")?;
            self.target(target, host)
                .map_err(|why| format!("target {host}: {why}"))?;
        }
        self.lists.push(list);
        Ok(())
    }

    fn target(&mut self, target: &Map<String, Json>, host: &str) -> Result<(), String> {
        const MEMBERS: [&str; 8] = [
            "host",
            "port",
            "version",
            "timeout",
            "retries",
            "user",
            "community",
            "community_file",
        ];
        self.note_others(target, &MEMBERS, "a target");
        // Brackets around an address of IPv6 are not part of it
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let host = bare.unwrap_or(host).to_owned();
        if host.is_empty() {
            return Err("the host is empty".to_owned());
        }
        let shown = match host.contains(':') {
            true => format!("[{host}]"),
            false => host.clone(),
        };
        let (name, port) = match number(target, "port", (1.0, 65_535.0))? {
            Some(port) => (format!("{shown}:{port}"), port as u16),
            None => (shown, 161),
        };
        let timeout = number(target, "timeout", (0.01, 300.0))?.unwrap_or(1.0);
        let retries = number(target, "retries", (0.0, 100.0))?.unwrap_or(3.0);
        let user = match target.get("user") {
            None => None,
            Some(user) => Some(user.as_object().ok_or("\"user\" is no object")?),
        };
        let version = match (text(target, "version")?, user) {
            (None, None) => 1,
            (None, Some(_)) => 3,
            (Some(version), _) => {
                let lower = version.to_ascii_lowercase();
                match lower.trim_start_matches("snmp").trim_start_matches('v') {
                    "1" => 0,
                    "2" | "2c" => 1,
                    "3" => 3,
                    _ => {
                        return Err(format!(
                            "there is no version \"{version}\": it is SNMPv1, SNMPv2 (which is 2c) or SNMPv3"
                        ))
                    }
                }
            }
        };
        let version = match (version, user) {
            (3, user) => Version::User(Box::new(self.named(user.unwrap_or(&Map::new()))?)),
            (_, Some(_)) => return Err("\"user\" is for SNMPv3 only".to_owned()),
            (version, None) => {
                let community = match secret(target, "community", "community_file")? {
                    Secret::None => Secret::Text("public".to_owned()),
                    given => given,
                };
                Version::Community(version, community)
            }
        };
        self.targets.push(Target {
            name,
            host,
            port,
            timeout: Duration::from_secs_f64(timeout),
            tries: retries as u32 + 1,
            version,
            list: self.lists.len(),
            memory: Memory::default(),
            failing: false,
        });
        Ok(())
    }

    fn named(&mut self, user: &Map<String, Json>) -> Result<Named, String> {
        const MEMBERS: [&str; 8] = [
            "username",
            "auth_key",
            "auth_key_file",
            "auth_protocol",
            "priv_key",
            "priv_key_file",
            "priv_protocol",
            "context",
        ];
        self.note_others(user, &MEMBERS, "a user");
        let auth_key = secret(user, "auth_key", "auth_key_file")?;
        let priv_key = secret(user, "priv_key", "priv_key_file")?;
        let auth = protocol(
            user,
            "auth_protocol",
            &AUTHS,
            (Auth::None, Auth::Md5),
            &auth_key,
        )?;
        let usual = (Privacy::None, Privacy::Des);
        let privacy = protocol(user, "priv_protocol", &PRIVACIES, usual, &priv_key)?;
        let owned = |name| Ok::<_, String>(text(user, name)?.unwrap_or_default().to_owned());
        let name = owned("username")?;
        for (key, protocol) in [("auth_key", "auth_protocol"), ("priv_key", "priv_protocol")] {
            let set = |name| user.get(name).is_some_and(|value| value != "");
            let names = text(user, protocol)?.is_some_and(|p| !p.eq_ignore_ascii_case("none"));
            if names && !set(key) && !set(&format!("{key}_file")) {
                self.notes.push(format!(
                    "The user \"{name}\" has {protocol}, but no {key}: it has no effect, as in the Python agent."
                ));
            }
        }
        if privacy != Privacy::None && auth == Auth::None {
            return Err("a user with priv_key needs auth_key: SNMPv3 has no encryption without authentication".to_owned());
        }
        Ok(Named {
            name,
            context: owned("context")?,
            auth: (auth, auth_key),
            privacy: (privacy, priv_key),
        })
    }

    fn note_others(&mut self, object: &Map<String, Json>, known: &[&str], what: &str) {
        for key in object.keys().filter(|key| !known.contains(&key.as_str())) {
            self.notes
                .push(format!("\"{key}\" is no member of {what}: it is ignored."));
        }
    }
}

/// The protocol that a user has; without a key none, whatever it says.
fn protocol<P: Copy>(
    user: &Map<String, Json>,
    name: &str,
    all: &[(&str, P)],
    (none, usual): (P, P),
    key: &Secret,
) -> Result<P, String> {
    let given = text(user, name)?.filter(|text| !text.is_empty());
    if matches!(key, Secret::None) && given.is_none() {
        return Ok(none);
    }
    let found = match given {
        None => usual,
        Some(given) => {
            let mut plain = given.to_ascii_lowercase();
            plain.retain(|c| c.is_ascii_alphanumeric());
            match all.iter().find(|(name, _)| *name == plain) {
                Some((_, protocol)) => *protocol,
                None => {
                    let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
                    return Err(format!(
                        "there is no {name} \"{given}\": it is one of {}",
                        names.join(", ").to_ascii_uppercase()
                    ));
                }
            }
        }
    };
    Ok(match key {
        Secret::None => none,
        _ => found,
    })
}

fn strings(json: &Json) -> Option<Vec<&str>> {
    json.as_array()?.iter().map(Json::as_str).collect()
}

fn text<'a>(object: &'a Map<String, Json>, name: &str) -> Result<Option<&'a str>, String> {
    match object.get(name) {
        None => Ok(None),
        Some(value) => match value.as_str() {
            Some(text) => Ok(Some(text)),
            None => Err(format!("\"{name}\" is no string")),
        },
    }
}

fn number(
    object: &Map<String, Json>,
    name: &str,
    (min, max): (f64, f64),
) -> Result<Option<f64>, String> {
    match object.get(name) {
        None => Ok(None),
        Some(value) => match value.as_f64() {
            Some(number) if (min..=max).contains(&number) => Ok(Some(number)),
            _ => Err(format!("\"{name}\" is no number from {min} to {max}")),
        },
    }
}

fn secret(object: &Map<String, Json>, given: &str, file: &str) -> Result<Secret, String> {
    let set = |name| Ok::<_, String>(text(object, name)?.filter(|text| !text.is_empty()));
    match (set(given)?, set(file)?) {
        (Some(_), Some(_)) => Err(format!(
            "{given} and {file} are both set; remove one of the two"
        )),
        (Some(text), None) => Ok(Secret::Text(text.to_owned())),
        (None, Some(path)) => Ok(Secret::File(PathBuf::from(path))),
        (None, None) => Ok(Secret::None),
    }
}
