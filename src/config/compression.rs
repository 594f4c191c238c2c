//! `compression_type` and `compression_level`: what there is, and what of it is in this build.

use super::error::{ConfigError, Warnings};
use super::options::Options;
use super::resolve::Origins;
use std::ops::RangeInclusive;

/// How bodies are compressed. Only what this build has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// A zlib stream.
    #[default]
    Deflate,
    /// A bzip2 stream.
    #[cfg(feature = "bz2")]
    Bz2,
    /// One LZ4 frame with independent blocks.
    #[cfg(feature = "lz4")]
    Lz4,
    /// One Zstandard frame.
    #[cfg(feature = "zstd")]
    Zstandard,
    /// Plain bodies.
    None,
}

impl Compression {
    /// The types in this build, in the order of the protocol's table.
    pub const ALL: &'static [Compression] = &[
        Compression::Deflate,
        #[cfg(feature = "bz2")]
        Compression::Bz2,
        #[cfg(feature = "lz4")]
        Compression::Lz4,
        #[cfg(feature = "zstd")]
        Compression::Zstandard,
        Compression::None,
    ];

    /// The value of `compression_type`; but for `none` this is the `Content-Encoding` too.
    pub const fn name(self) -> &'static str {
        match self {
            Compression::Deflate => "deflate",
            #[cfg(feature = "bz2")]
            Compression::Bz2 => "bz2",
            #[cfg(feature = "lz4")]
            Compression::Lz4 => "lz4",
            #[cfg(feature = "zstd")]
            Compression::Zstandard => "zstandard",
            Compression::None => "none",
        }
    }

    /// The one of that name, if this build has it.
    pub fn named(name: &str) -> Option<Compression> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// The levels that it has.
    pub const fn levels(self) -> RangeInclusive<i64> {
        match self {
            Compression::Deflate => 1..=9,
            #[cfg(feature = "bz2")]
            Compression::Bz2 => 1..=9,
            #[cfg(feature = "lz4")]
            Compression::Lz4 => 0..=16,
            #[cfg(feature = "zstd")]
            Compression::Zstandard => 1..=22,
            Compression::None => 0..=0,
        }
    }

    /// Whether its level follows the backlog as long as the operator sets none.
    pub const fn follows_pressure(self) -> bool {
        match self {
            Compression::Deflate => true,
            #[cfg(feature = "zstd")]
            Compression::Zstandard => true,
            _ => false,
        }
    }

    /// The level that counts as its default.
    pub const fn usual_level(self) -> i64 {
        match self {
            Compression::Deflate => 6,
            #[cfg(feature = "bz2")]
            Compression::Bz2 => 9,
            #[cfg(feature = "lz4")]
            Compression::Lz4 => 0,
            #[cfg(feature = "zstd")]
            Compression::Zstandard => 3,
            Compression::None => 0,
        }
    }
}

/// Checks the type against the build, and puts the type's usual level in the place of one that it
/// does not have.
///
/// # Errors
/// `invalidCompressionType` for a type that is not in this build.
pub(crate) fn resolve(
    o: &mut Options,
    origins: &Origins,
    warnings: &mut Warnings,
) -> Result<(), ConfigError> {
    let place = |name| {
        origins
            .get(name)
            .map_or_else(String::new, |place| format!("{place}: "))
    };
    let name = o.compression_type.as_str();
    let Some(kind) = Compression::named(name) else {
        let feature = if name == "zstandard" { "zstd" } else { name };
        let message = format!(
            "\"{name}\" is not in this build; it needs one with the cargo feature {feature}"
        );
        let has: Vec<&str> = Compression::ALL.iter().map(|kind| kind.name()).collect();
        let error = ConfigError::new("invalidCompressionType", message)
            .option("compression_type")
            .allowed(has.join(", "));
        return Err(match origins.get("compression_type") {
            Some(place) => error.at(place.clone()),
            None => error,
        });
    };
    if kind == Compression::None {
        warnings.daily(
            "compression none",
            format!(
                "{}option \"compression_type\" is \"none\": this costs about ten times the traffic",
                place("compression_type")
            ),
        );
        o.compression_level = None;
        return Ok(());
    }
    let levels = kind.levels();
    if let Some(level) = o.compression_level.filter(|level| !levels.contains(level)) {
        let usual = kind.usual_level();
        o.compression_level = Some(usual);
        warnings.daily(
            "compression level",
            format!(
                "{}option \"compression_level\": {level} is not from {} to {}, the levels of {name}; \
                 {usual} is used",
                place("compression_level"),
                levels.start(),
                levels.end(),
            ),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;

    #[test]
    fn every_type_takes_its_levels_and_replaces_others_by_its_usual_one() {
        for (name, least, most, usual) in [
            ("deflate", 1, 9, 6),
            ("bz2", 1, 9, 9),
            ("lz4", 0, 16, 0),
            ("zstandard", 1, 22, 3),
        ] {
            if Compression::named(name).is_none() {
                continue;
            }
            for (level, effective) in [
                (least - 1, usual),
                (least, least),
                (most, most),
                (most + 1, usual),
            ] {
                // the type comes with a file that is read after the level
                let config = Fixture::with(&format!("compression_level: {level}"))
                    .fragment("f.json", &format!("{{compression_type: \"{name}\"}}"))
                    .load();
                assert_eq!(config.options.compression_type, name);
                assert_eq!(config.options.compression_level, Some(effective), "{name}");
                assert_eq!(
                    config.warns(&["compression_level", name]),
                    level != effective,
                    "{name} {level}"
                );
            }
            let config = Fixture::with(&format!("compression_type: \"{name}\"")).load();
            assert_eq!(config.options.compression_level, None, "{name}");
            assert!(!config.warns(&["compression"]), "{name}");
        }
    }

    #[test]
    fn none_has_no_level_and_says_what_it_costs() {
        for level in [0, 5] {
            let config = Fixture::with(&format!(
                "compression_type: \"none\", compression_level: {level}"
            ))
            .load();
            assert_eq!(config.options.compression_level, None);
            assert!(config.warns(&["compression_type", "traffic"]));
        }
    }

    #[test]
    fn a_type_that_this_build_lacks_is_refused_with_what_it_has() {
        for (name, feature) in [("bz2", "bz2"), ("lz4", "lz4"), ("zstandard", "zstd")] {
            let fixture = Fixture::with(&format!("compression_type: \"{name}\""));
            if Compression::named(name).is_some() {
                fixture.load();
                continue;
            }
            let (code, message) = fixture.refused();
            assert_eq!(code, "invalidCompressionType");
            for part in [
                "agent.json, line 2, ",
                "option \"compression_type\"",
                &format!("cargo feature {feature}"),
                "allowed: deflate, ",
            ] {
                assert!(message.contains(part), "{part}: {message}");
            }
            let from_env = Fixture::with("").env("SCALYR_COMPRESSION_TYPE", name);
            let (code, message) = from_env.refused();
            assert_eq!(code, "invalidCompressionType");
            assert!(message.contains("SCALYR_COMPRESSION_TYPE"), "{message}");
        }
    }
}
