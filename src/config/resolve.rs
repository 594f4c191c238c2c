//! From merged files and environment to typed options: precedence, conversion, bounds, and the
//! defaults that depend on other options.

use std::path::Path;

use super::coerce;
use super::decl::{Acts, Decl, Kind, Val};
use super::env::Env;
use super::error::{ConfigError, Place, Unused, Warnings, Wrong};
use super::merge::Merged;
use super::names;
use super::options::{Options, CORE};
use super::Install;

/// Where each option that is set was set.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Origins(Vec<(&'static str, Place)>);

impl Origins {
    /// Where this option was set.
    pub(crate) fn get(&self, option: &str) -> Option<&Place> {
        let found = self.0.iter().find(|(name, _)| *name == option);
        found.map(|(_, place)| place)
    }

    /// Whether this option was set.
    pub(crate) fn has(&self, option: &str) -> bool {
        self.get(option).is_some()
    }
}

/// Resolves all scalar options: a file wins over the environment, which wins over the default.
pub(crate) fn options(
    merged: &Merged,
    env: &Env,
    warnings: &mut Warnings,
) -> Result<(Options, Origins), ConfigError> {
    let default = Options::default();
    let mut options = Options::default();
    let mut origins = Origins::default();
    for decl in CORE.iter().chain(names::FOREIGN.iter().copied().flatten()) {
        let Some((val, place)) = value(decl, merged, env, warnings)? else {
            continue;
        };
        match decl.acts {
            Acts::Yes => {}
            // A value that changes nothing, since it is the default, needs no warning
            Acts::Never(_) if val == (decl.get)(&default) => {}
            Acts::Never(why) => warnings.unused(Unused {
                name: decl.name.to_owned(),
                place: place.clone(),
                why: why.to_owned(),
                is_missed: names::is_missed(why),
            }),
        }
        (decl.set)(&mut options, val);
        origins.0.push((decl.name, place));
    }
    if let Some(found) = merged.singles.get("config_directory") {
        if found.file_number > 0 {
            warnings.unused(Unused {
                name: "config_directory".to_owned(),
                place: found.place(),
                why: "it counts in the main file alone".to_owned(),
                is_missed: false,
            });
        }
    }
    Ok((options, origins))
}

fn value(
    decl: &Decl,
    merged: &Merged,
    env: &Env,
    warnings: &mut Warnings,
) -> Result<Option<(Val, Place)>, ConfigError> {
    let variable = match env.of(decl) {
        None => None,
        Some((name, text)) => {
            let place = Place::Variable(name.clone());
            let fail = |wrong: Wrong| hide(decl, wrong).at(place.clone(), decl.name);
            // Even if a file wins: a text that can't be read is a mistake either way.
            let val = decl
                .read_text(text)
                .map_err(|wrong| fail(wrong).allowed(decl.expected()))?;
            if decl.kind == Kind::Bool && !val_words_are_clear(text) {
                warnings.often(
                    format!("bool {name}"),
                    format!("environment variable {name}: anything but true counts as false"),
                );
            }
            Some((name, val, place.clone()))
        }
    };
    if let Some(found) = merged.singles.get(decl.name) {
        let fail = |wrong: Wrong| {
            hide(decl, wrong)
                .at(found.place(), decl.name)
                .allowed(decl.expected())
        };
        let val = decl.read_json(&found.node.value).map_err(fail)?;
        if let Some((name, other, _)) = variable {
            if decl.checked(other).as_ref() != Ok(&val) {
                conflict(decl.name, &name, &found.place(), warnings);
            }
        }
        return Ok(Some((val, found.place())));
    }
    match variable {
        None => Ok(None),
        Some((_, val, place)) => match decl.checked(val) {
            Ok(val) => Ok(Some((val, place))),
            Err(wrong) => Err(hide(decl, wrong)
                .at(place, decl.name)
                .allowed(decl.expected())),
        },
    }
}

/// Messages quote the value; those about secrets must not.
fn hide(decl: &Decl, wrong: Wrong) -> Wrong {
    if decl.mask.is_some() {
        Wrong::new(wrong.code, "the value does not fit")
    } else {
        wrong
    }
}

fn val_words_are_clear(text: &str) -> bool {
    text.is_empty() || text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false")
}

/// A variable that a file overrides.
pub(crate) fn conflict(option: &str, variable: &str, place: &Place, warnings: &mut Warnings) {
    warnings.often(
        format!("conflict {option} {variable}"),
        format!(
            "conflicting values (global) of option \"{option}\": {place} wins, the environment \
             variable {variable} is ignored"
        ),
    );
}

/// Fills in what depends on the installation and on other options, and checks pairs.
pub(crate) fn derive(
    options: &mut Options,
    origins: &Origins,
    main_file: &Path,
    install: &Install,
    warnings: &mut Warnings,
) -> Result<(), ConfigError> {
    let set = |name: &str| origins.has(name);
    let o = options;
    if !set("agent_log_path") {
        o.agent_log_path = install.log_dir.to_string_lossy().into_owned();
    }
    if !set("agent_data_path") {
        o.agent_data_path = install.data_dir.to_string_lossy().into_owned();
    }
    let beside = main_file.parent().unwrap_or(Path::new("/"));
    for decl in CORE.iter().filter(|decl| decl.path) {
        if let Val::Text(path) = (decl.get)(o) {
            let path = beside.join(path).to_string_lossy().into_owned();
            (decl.set)(o, Val::Text(path));
        }
    }
    for proxy in [&mut o.http_proxy, &mut o.https_proxy] {
        if proxy.as_ref().is_some_and(|text| text.trim().is_empty()) {
            *proxy = None;
        }
    }
    if !set("internal_parse_max_line_size") {
        o.internal_parse_max_line_size = o.read_page_size;
    }
    let cautious = o.disable_max_send_rate_enforcement_overrides
        || o.max_send_rate_enforcement.trim() == "legacy";
    if cautious {
        // The values that the Python agent calls the plain defaults. The two offset limits are not
        // among them: without the operator's word nothing is skipped.
        if !set("max_allowed_request_size") {
            o.max_allowed_request_size = 1_048_576;
        }
        if !set("min_request_spacing_interval") {
            o.min_request_spacing_interval = 1.0;
        }
        if !set("pipeline_threshold") {
            o.pipeline_threshold = 1.1;
        }
    }
    super::compression::resolve(o, origins, warnings)?;
    ordered(
        "min_allowed_request_size",
        &mut o.min_allowed_request_size,
        "max_allowed_request_size",
        &mut o.max_allowed_request_size,
        origins,
    )?;
    ordered(
        "min_request_spacing_interval",
        &mut o.min_request_spacing_interval,
        "max_request_spacing_interval",
        &mut o.max_request_spacing_interval,
        origins,
    )?;
    ordered(
        "min_poll_interval",
        &mut o.min_poll_interval,
        "max_poll_interval",
        &mut o.max_poll_interval,
        origins,
    )
}

/// A pair of bounds in the wrong order is an error if the operator set both; else the one that was
/// not set gives way.
fn ordered<T: PartialOrd + Copy + std::fmt::Display>(
    low_name: &'static str,
    low: &mut T,
    high_name: &'static str,
    high: &mut T,
    origins: &Origins,
) -> Result<(), ConfigError> {
    if *low <= *high {
        return Ok(());
    }
    match (origins.get(low_name), origins.has(high_name)) {
        (Some(place), true) => Err(ConfigError::new(
            "invalidValue",
            format!("{low} is more than {high_name}, which is {high}"),
        )
        .at(place.clone())
        .option(low_name)
        .allowed(format!("at most {high}"))),
        (Some(_), false) => {
            *high = *low;
            Ok(())
        }
        (None, _) => {
            *low = *high;
            Ok(())
        }
    }
}

/// The rate cap in bytes per second.
pub(crate) fn rate(options: &Options, origins: &Origins) -> Result<Option<f64>, ConfigError> {
    super::rate::parse(&options.max_send_rate_enforcement).map_err(|allowed| {
        let text = coerce::quoted(&options.max_send_rate_enforcement);
        let error = ConfigError::new("notDataRate", format!("{text} is not a rate"))
            .option("max_send_rate_enforcement")
            .allowed(allowed);
        match origins.get("max_send_rate_enforcement") {
            Some(place) => error.at(place.clone()),
            None => error,
        }
    })
}
