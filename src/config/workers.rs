//! Workers: which keys and servers logs go to.

use super::error::{ConfigError, Place, Warnings, Wrong};
use super::fields::Fields;
use super::secret::Secret;
use super::server::ServerUrl;

/// Most sessions of one worker.
const MOST_SESSIONS: i64 = 1_024;

/// An uploader of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// Its name, `[a-zA-Z0-9_]+`, unique.
    pub id: String,
    /// The write key that it uses.
    pub api_key: Secret,
    /// Where it sends to.
    pub server: ServerUrl,
    /// How many independent sessions it runs, 1 or more.
    pub sessions: u32,
}

/// The values that workers inherit.
pub(crate) struct Defaults<'a> {
    pub(crate) api_key: &'a Secret,
    pub(crate) server: &'a ServerUrl,
    pub(crate) sessions: i64,
    pub(crate) allow_http: bool,
}

/// Reads the entries of `workers`; the default one is put first unless it is listed.
pub(crate) fn workers(
    entries: &[Fields],
    defaults: &Defaults,
    warnings: &mut Warnings,
) -> Result<Vec<Worker>, ConfigError> {
    let mut workers: Vec<Worker> = Vec::new();
    for fields in entries {
        let worker = worker(fields, defaults, warnings)?;
        if workers.iter().any(|other| other.id == worker.id) {
            let message = format!("there are two workers \"{}\"", worker.id);
            return Err(fields.error("id", Wrong::new("workerIdDuplication", message)));
        }
        workers.push(worker);
    }
    if workers.iter().all(|worker| worker.id != "default") {
        let default = Worker {
            id: "default".to_owned(),
            api_key: defaults.api_key.clone(),
            server: defaults.server.clone(),
            sessions: count(defaults.sessions),
        };
        workers.insert(0, default);
    }
    Ok(workers)
}

/// An API key as it is used: see [`Secret::trimmed`].
pub(crate) fn key(
    raw: &Secret,
    place: &Place,
    option: &str,
    warnings: &mut Warnings,
) -> Result<Secret, ConfigError> {
    let key = raw
        .trimmed()
        .map_err(|why| Wrong::new("invalidApiKey", why).at(place.clone(), option))?;
    if key != *raw && !key.expose().is_empty() {
        warnings.daily(
            format!("trimmed {option}"),
            format!(
                "{place}: option \"{option}\": the blanks and line ends around the key are left out"
            ),
        );
    }
    Ok(key)
}

fn worker(
    fields: &Fields,
    defaults: &Defaults,
    warnings: &mut Warnings,
) -> Result<Worker, ConfigError> {
    fields.warn_unknown(
        &["id", "api_key", "server_url", "sessions", "workers"],
        warnings,
    );
    let id = fields.required("id")?;
    let fine = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if id.is_empty() || !id.bytes().all(fine) {
        let message = format!("{} is no id of a worker", super::coerce::quoted(&id));
        return Err(fields
            .error("id", Wrong::new("invalidWorkerId", message))
            .allowed("one or more of a-z, A-Z, 0-9 and _"));
    }
    let key = fields.text("api_key")?.map(|text| {
        let option = format!("{}.api_key", fields.path);
        key(
            &Secret::new(text),
            &fields.place("api_key"),
            &option,
            warnings,
        )
    });
    let api_key = match key.transpose()? {
        Some(key) if key.expose().is_empty() => {
            return Err(fields.error("api_key", Wrong::new("emptyApiKey", "the key is empty")));
        }
        Some(key) if id == "default" && key != *defaults.api_key => {
            let message = "the worker \"default\" uses the top-level api_key; this is another key";
            return Err(fields.error("api_key", Wrong::new("wrongDefaultWorker", message)));
        }
        Some(key) => key,
        None if id == "default" => defaults.api_key.clone(),
        None => return Err(fields.missing("api_key")),
    };
    let server = match fields.text("server_url")? {
        None => defaults.server.clone(),
        Some(text) => ServerUrl::parse(&text, defaults.allow_http).map_err(|why| {
            let message = format!("this is no address of a server: {why}");
            fields
                .error("server_url", Wrong::new("invalidValue", message))
                .allowed("https://HOST or https://HOST:PORT")
        })?,
    };
    if let Some(text) = fields.text("server_url")?.filter(|t| t.contains("://")) {
        if server.forced(&text) {
            let place = fields.place("server_url");
            let option = format!("{}.server_url", fields.path);
            let note = server.forced_note();
            warnings.daily(
                format!("https forced {option}"),
                format!("{place}: option \"{option}\": {note}"),
            );
        }
    }
    let number = if fields.get("workers").is_some() {
        if fields.get("sessions").is_some() {
            let message = "\"workers\" is the old name of \"sessions\"; one of them is too much";
            return Err(fields.error("workers", Wrong::new("multipleKeys", message)));
        }
        let place = fields.place("workers");
        warnings.daily(
            "deprecated workers in workers",
            format!("{place}: option \"workers\" of a worker is now called \"sessions\""),
        );
        "workers"
    } else {
        "sessions"
    };
    let sessions = fields.int(number, 1, MOST_SESSIONS)?;
    Ok(Worker {
        id,
        api_key,
        server,
        sessions: count(sessions.unwrap_or(defaults.sessions)),
    })
}

/// The caller has checked the bounds.
fn count(sessions: i64) -> u32 {
    u32::try_from(sessions).unwrap_or(1).max(1)
}
