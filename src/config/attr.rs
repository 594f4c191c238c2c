//! Attribute values: what `attributes` and `server_attributes` may hold.

use crate::util::escape;

/// A string or a number; other types are refused when the configuration is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttrValue {
    /// Sent as a JSON string.
    Text(String),
    /// A JSON number in its literal form, sent as it stands.
    Number(String),
}

impl AttrValue {
    /// Appends the value as JSON.
    pub fn json(&self, out: &mut Vec<u8>) {
        match self {
            AttrValue::Text(text) => escape::json_str(out, text),
            AttrValue::Number(literal) => out.extend_from_slice(literal.as_bytes()),
        }
    }
}

/// Appends `"key":value,"key":value` without the braces around it.
pub fn json_members(out: &mut Vec<u8>, members: &[(String, AttrValue)]) {
    for (i, (key, value)) in members.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        escape::json_str(out, key);
        out.push(b':');
        value.json(out);
    }
}
