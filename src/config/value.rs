//! Values of the relaxed JSON dialect, each with its place in the text.

/// A place in a text, both counted from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pos {
    /// Line. LF, CR and CR LF each end one.
    pub line: u32,
    /// Character in the line.
    pub column: u32,
}

/// A value of the dialect.
#[derive(Debug, Clone)]
pub enum Json {
    /// `null`; only elements of arrays and whole documents, since null members are dropped.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer that fits 64 bits.
    Int(i64),
    /// The digits (and minus) of an integer that does not.
    BigInt(String),
    /// Anything with a point or an exponent; may be infinite.
    Float(f64),
    /// A string.
    Text(String),
    /// An array.
    Array(Vec<Node>),
    /// An object: no duplicate keys, in order of first appearance.
    Object(Vec<Member>),
}

/// A value and where it starts.
#[derive(Debug, Clone)]
pub struct Node {
    /// The first character of the value.
    pub at: Pos,
    /// The value.
    pub value: Json,
}

/// A member of an object.
#[derive(Debug, Clone)]
pub struct Member {
    /// The key, unescaped.
    pub key: String,
    /// The first character of the key.
    pub key_at: Pos,
    /// The member's value; never null.
    pub value: Node,
}

/// Equal values. The order of an object's members does not count.
impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Json::Null, Json::Null) => true,
            (Json::Bool(a), Json::Bool(b)) => a == b,
            (Json::Int(a), Json::Int(b)) => a == b,
            (Json::BigInt(a), Json::BigInt(b)) | (Json::Text(a), Json::Text(b)) => a == b,
            (Json::Float(a), Json::Float(b)) => a == b,
            (Json::Array(a), Json::Array(b)) => a == b,
            (Json::Object(a), Json::Object(b)) => {
                a.len() == b.len() && {
                    let sorted = |members: &[Member]| {
                        let mut order: Vec<usize> = (0..members.len()).collect();
                        crate::util::sort::by(&mut order, |x, y| {
                            members[*x].key.cmp(&members[*y].key)
                        });
                        order
                    };
                    let mut pairs = sorted(a).into_iter().zip(sorted(b));
                    pairs.all(|(x, y)| a[x] == b[y])
                }
            }
            _ => false,
        }
    }
}

/// Equal values; the places don't count.
impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

/// Equal keys and values; the places don't count.
impl PartialEq for Member {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key && self.value == other.value
    }
}

impl Json {
    /// The kind of this value, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Json::Null => "null",
            Json::Bool(_) => "true or false",
            Json::Int(_) | Json::BigInt(_) => "a whole number",
            Json::Float(_) => "a number",
            Json::Text(_) => "a string",
            Json::Array(_) => "an array",
            Json::Object(_) => "an object",
        }
    }
}

/// The value as other crates understand it. Integers of more than 64 bits become text.
impl From<&Json> for serde_json::Value {
    fn from(value: &Json) -> Self {
        use serde_json::Value;
        match value {
            Json::Null => Value::Null,
            Json::Bool(b) => Value::Bool(*b),
            Json::Int(n) => Value::from(*n),
            Json::BigInt(digits) => Value::String(digits.clone()),
            Json::Float(x) => Value::from(*x),
            Json::Text(text) => Value::String(text.clone()),
            Json::Array(items) => items.iter().map(|n| Value::from(&n.value)).collect(),
            Json::Object(members) => {
                // `collect` would sort first, with machine code of its own
                let mut object = serde_json::Map::new();
                for member in members {
                    object.insert(member.key.clone(), Value::from(&member.value.value));
                }
                Value::Object(object)
            }
        }
    }
}
