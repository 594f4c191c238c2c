//! The declaration of an option: [`Decl`]. Parsing, validation, defaults, environment names and the
//! reference page all come from it.

use super::coerce;
use super::error::Wrong;
use super::json::Json;
use super::options::Options;
use super::secret::Secret;

/// The type of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A 64-bit integer.
    Int,
    /// A finite 64-bit float.
    Float,
    /// A string.
    Text,
    /// An array of strings.
    Strings,
    /// An object of strings and numbers.
    Object,
    /// An array of objects, or of strings and objects.
    Array,
}

impl Kind {
    /// The name on the reference page.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Bool => "bool",
            Kind::Int => "int",
            Kind::Float => "float",
            Kind::Text => "string",
            Kind::Strings => "strings",
            Kind::Object => "object",
            Kind::Array => "array",
        }
    }
}

/// Whether this agent does what an option says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acts {
    /// It does.
    Yes,
    /// It never will, for this reason: a warning by name when the operator set it.
    Never(&'static str),
}

/// The environment variable of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnvName {
    /// None.
    None,
    /// `SCALYR_` and the name in upper case, else the same in lower case.
    Standard,
    /// A name of its own, else the same in lower case.
    Named(&'static str),
}

/// The value of an option, whatever its type.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Val {
    Unset,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Strings(Vec<String>),
}

impl std::fmt::Display for Val {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Val::Unset => f.write_str("unset"),
            Val::Bool(b) => write!(f, "{b}"),
            Val::Int(i) => write!(f, "{i}"),
            Val::Float(x) => f.write_str(&coerce::float_text(*x)),
            Val::Text(text) => write!(f, "{text:?}"),
            Val::Strings(list) => write!(f, "{list:?}"),
        }
    }
}

/// One option.
#[derive(Debug, Clone, Copy)]
pub struct Decl {
    /// Its name in files.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Whether it is acted on.
    pub acts: Acts,
    /// Smallest value.
    pub min: Option<f64>,
    /// Largest value.
    pub max: Option<f64>,
    /// All values, for an option that has few.
    pub one_of: &'static [&'static str],
    /// Its environment variable.
    pub env: EnvName,
    /// An older variable, read when the one above is not set.
    pub old_env: Option<&'static str>,
    /// Its name in older files.
    pub old_name: Option<&'static str>,
    /// The default as the reference page shows it, where the value itself says too little.
    pub default_text: Option<&'static str>,
    /// The code of an error about its value.
    pub code: &'static str,
    /// Values are compared without case and kept in upper case.
    pub upper_case: bool,
    /// A path; relative ones are taken from the directory of the main file.
    pub path: bool,
    /// An empty string is refused.
    pub not_empty: bool,
    /// Lists from the environment are cut at commas only.
    pub comma_only: bool,
    /// How a value that holds a secret is shown.
    pub mask: Option<fn(&str) -> String>,
    /// Reads the option.
    pub get: fn(&Options) -> Val,
    /// Sets the option; a value of another type is ignored (conversion comes first).
    pub set: fn(&mut Options, Val),
}

/// The heading that an option stands under in the reference, and its meaning. They are no part of [`Decl`], so that the
/// agent, which prints no reference, does not hold them.
pub type Words = (&'static str, &'static str);

impl Decl {
    /// An option with everything at its most usual.
    pub const fn new(
        name: &'static str,
        kind: Kind,
        get: fn(&Options) -> Val,
        set: fn(&mut Options, Val),
    ) -> Self {
        Decl {
            name,
            kind,
            acts: Acts::Yes,
            min: None,
            max: None,
            one_of: &[],
            env: EnvName::Standard,
            old_env: None,
            old_name: None,
            default_text: None,
            code: "invalidValue",
            upper_case: false,
            path: false,
            not_empty: false,
            comma_only: false,
            mask: None,
            get,
            set,
        }
    }

    pub(crate) const fn min(mut self, min: f64) -> Self {
        self.min = Some(min);
        self
    }
    pub(crate) const fn between(mut self, min: f64, max: f64) -> Self {
        self.min = Some(min);
        self.max = Some(max);
        self
    }
    pub(crate) const fn one_of(mut self, values: &'static [&'static str]) -> Self {
        self.one_of = values;
        self
    }
    pub(crate) const fn no_env(mut self) -> Self {
        self.env = EnvName::None;
        self
    }
    pub(crate) const fn env(mut self, name: &'static str) -> Self {
        self.env = EnvName::Named(name);
        self
    }
    pub(crate) const fn formerly(mut self, name: &'static str, env: &'static str) -> Self {
        self.old_name = Some(name);
        self.old_env = Some(env);
        self
    }
    pub(crate) const fn default_text(mut self, text: &'static str) -> Self {
        self.default_text = Some(text);
        self
    }
    pub(crate) const fn code(mut self, code: &'static str) -> Self {
        self.code = code;
        self
    }
    pub(crate) const fn upper_case(mut self) -> Self {
        self.upper_case = true;
        self
    }
    pub(crate) const fn path(mut self) -> Self {
        self.path = true;
        self.not_empty = true;
        self
    }
    pub(crate) const fn not_empty(mut self) -> Self {
        self.not_empty = true;
        self
    }
    pub(crate) const fn comma_only(mut self) -> Self {
        self.comma_only = true;
        self
    }
    pub(crate) const fn mask(mut self, mask: fn(&str) -> String) -> Self {
        self.mask = Some(mask);
        self
    }
    pub(crate) const fn never(mut self, why: &'static str) -> Self {
        self.acts = Acts::Never(why);
        self
    }

    /// The environment variables to look at, first come first served.
    pub fn env_names(&self) -> Vec<String> {
        let name = match self.env {
            EnvName::None => return Vec::new(),
            EnvName::Standard => format!("SCALYR_{}", self.name.to_ascii_uppercase()),
            EnvName::Named(name) => name.to_owned(),
        };
        let lower = name.to_ascii_lowercase();
        let old = self.old_env.map(str::to_owned);
        [name, lower].into_iter().chain(old).collect()
    }

    /// The allowed values in words; empty if the type says all.
    pub fn allowed(&self) -> String {
        let number = |x: f64| match self.kind {
            Kind::Int => format!("{x:.0}"),
            _ => coerce::float_text(x),
        };
        match (self.min, self.max) {
            _ if !self.one_of.is_empty() => self.one_of.join(", "),
            (Some(min), Some(max)) => format!("{} to {}", number(min), number(max)),
            (Some(min), None) => format!("{} or more", number(min)),
            (None, Some(max)) => format!("at most {}", number(max)),
            (None, None) if self.not_empty => "a text that is not empty".to_owned(),
            (None, None) => String::new(),
        }
    }

    /// The kind of value that a file must have here, in words, for errors of type.
    pub(crate) fn expected(&self) -> String {
        let allowed = self.allowed();
        let kind = match self.kind {
            Kind::Bool => "true, false",
            Kind::Int => "a whole number",
            Kind::Float => "a number",
            Kind::Text => "a string",
            Kind::Strings => "an array of strings",
            Kind::Object => "an object of strings and numbers",
            Kind::Array => "an array of objects",
        };
        match (allowed.is_empty(), self.kind) {
            (true, _) => kind.to_owned(),
            (false, Kind::Int | Kind::Float) => format!("{kind}, {allowed}"),
            (false, _) => allowed,
        }
    }

    /// Converts and checks a value of a file.
    pub(crate) fn read_json(&self, value: &Json) -> Result<Val, Wrong> {
        let val = match self.kind {
            Kind::Bool => Val::Bool(coerce::boolean(value)?),
            Kind::Int => Val::Int(coerce::int(value)?),
            Kind::Float => Val::Float(coerce::float(value)?),
            Kind::Text => Val::Text(coerce::text(value)?),
            Kind::Strings => Val::Strings(coerce::strings(value)?),
            Kind::Object | Kind::Array => Val::Unset,
        };
        self.checked(val)
    }

    /// Converts the text of an environment variable; [`Decl::checked`] is the next step.
    pub(crate) fn read_text(&self, text: &str) -> Result<Val, Wrong> {
        Ok(match self.kind {
            Kind::Bool => Val::Bool(coerce::env_boolean(text)),
            Kind::Int => Val::Int(coerce::env_int(text)?),
            Kind::Float => Val::Float(coerce::env_float(text)?),
            Kind::Text => Val::Text(text.to_owned()),
            Kind::Strings => Val::Strings(coerce::env_strings(text, self.comma_only)),
            Kind::Object | Kind::Array => Val::Unset,
        })
    }

    /// Checks bounds and allowed values.
    pub(crate) fn checked(&self, val: Val) -> Result<Val, Wrong> {
        let wrong = |message: String| Err(Wrong::new(self.code, message));
        match val {
            Val::Int(_) | Val::Float(_) => {
                let number = match val {
                    Val::Int(i) => i as f64,
                    Val::Float(f) => f,
                    _ => 0.0,
                };
                if self.min.is_some_and(|min| number < min) {
                    return wrong(format!("{val} is too small"));
                }
                if self.max.is_some_and(|max| number > max) {
                    return wrong(format!("{val} is too large"));
                }
                Ok(val)
            }
            Val::Text(text) => {
                let text = if self.upper_case {
                    text.to_ascii_uppercase()
                } else {
                    text
                };
                if self.not_empty && text.trim().is_empty() {
                    return wrong("the value is empty".to_owned());
                }
                if !self.one_of.is_empty() && !self.one_of.contains(&text.as_str()) {
                    let shown = coerce::quoted(&text);
                    return wrong(format!("{shown} is not an allowed value"));
                }
                Ok(Val::Text(text))
            }
            other => Ok(other),
        }
    }

    /// The value for logs and reports: secrets masked.
    pub fn show(&self, options: &Options) -> String {
        match ((self.get)(options), self.mask) {
            (Val::Text(text), Some(mask)) => Val::Text(mask(&text)).to_string(),
            (val, _) => val.to_string(),
        }
    }
}

/// Types that an option can have in [`Options`].
pub(crate) trait Held {
    const KIND: Kind;
    fn val(&self) -> Val;
    fn put(&mut self, val: Val);
}

macro_rules! held {
    ($ty:ty, $variant:ident) => {
        impl Held for $ty {
            const KIND: Kind = Kind::$variant;
            fn val(&self) -> Val {
                Val::$variant(self.clone())
            }
            fn put(&mut self, val: Val) {
                if let Val::$variant(value) = val {
                    *self = value;
                }
            }
        }
    };
}
held!(bool, Bool);
held!(i64, Int);
held!(f64, Float);
held!(String, Text);
held!(Vec<String>, Strings);

impl<T: Held + Default> Held for Option<T> {
    const KIND: Kind = T::KIND;
    fn val(&self) -> Val {
        self.as_ref().map_or(Val::Unset, T::val)
    }
    fn put(&mut self, val: Val) {
        *self = match val {
            Val::Unset => None,
            val => {
                let mut inner = T::default();
                inner.put(val);
                Some(inner)
            }
        };
    }
}

impl Held for Secret {
    const KIND: Kind = Kind::Text;
    fn val(&self) -> Val {
        Val::Text(self.expose().to_owned())
    }
    fn put(&mut self, val: Val) {
        if let Val::Text(text) = val {
            *self = Secret::new(text);
        }
    }
}
