//! The status page of Tomcat's manager, in JSON or in XML.

use serde_json::Value as Json;

/// Attributes of `memory`.
pub(super) const MEMORY: &[&str] = &["free", "total", "max"];
/// Attributes of a `memorypool`.
pub(super) const POOL: &[&str] = &["usageInit", "usageCommitted", "usageMax", "usageUsed"];
/// Attributes of a connector's `threadInfo`, and from the fourth on of its `requestInfo`.
pub(super) const CONNECTOR: &[&str] = &[
    "maxThreads",
    "currentThreadCount",
    "currentThreadsBusy",
    "maxTime",
    "processingTime",
    "requestCount",
    "errorCount",
    "bytesReceived",
    "bytesSent",
];
const REQUEST_INFO: usize = 3;
/// Attributes of a context's `manager`, which only the JSON of `/status/all` has.
pub(super) const SESSIONS: &[&str] = &[
    "activeSessions",
    "sessionCounter",
    "expiredSessions",
    "rejectedSessions",
];

/// At most this many pools, connectors and contexts each are taken.
const MOST: usize = 1000;

/// A pool, a connector or a context.
pub(super) struct Group {
    /// The name on the page; that of a connector without the quotes around it.
    pub(super) name: String,
    /// In the order of the constant; none for what is missing, and for what is less than 0: that
    /// stands for "no limit" or "not known".
    pub(super) values: Vec<Option<u64>>,
}

/// The facts that are known of a page.
#[derive(Default)]
pub(super) struct Page {
    pub(super) memory: Vec<Option<u64>>,
    pub(super) pools: Vec<Group>,
    /// At least one; without values if the page has none.
    pub(super) connectors: Vec<Group>,
    pub(super) contexts: Vec<Group>,
}

impl Page {
    /// None if it is no such page.
    pub(super) fn parse(text: &str) -> Option<Page> {
        let text = text.trim_start_matches('\u{feff}').trim_start();
        let mut page = match text.as_bytes().first()? {
            b'{' => json(&serde_json::from_str(text).ok()?)?,
            b'<' => xml(text)?,
            _ => return None,
        };
        let known = |values: &[Option<u64>]| values.iter().any(Option::is_some);
        let mut groups = page.pools.iter().chain(&page.connectors);
        if !known(&page.memory) && !groups.any(|group| known(&group.values)) {
            return None;
        }
        if page.connectors.is_empty() {
            page.connectors.push(Group {
                name: String::new(),
                values: vec![None; CONNECTOR.len()],
            });
        }
        Some(page)
    }
}

fn values(keys: &[&str], get: &dyn Fn(&str) -> Option<i64>) -> Vec<Option<u64>> {
    keys.iter()
        .map(|key| get(key).and_then(|number| u64::try_from(number).ok()))
        .collect()
}

fn group(name: &str, values: Vec<Option<u64>>) -> Group {
    Group {
        name: name.trim_matches('"').to_owned(),
        values,
    }
}

fn json(page: &Json) -> Option<Page> {
    // Some versions have numbers in quotes.
    let of = |object: &Json, keys: &[&str]| {
        values(keys, &|key| match &object[key] {
            Json::String(text) => text.parse().ok(),
            other => other.as_i64(),
        })
    };
    let name = |object: &Json| object["name"].as_str().unwrap_or_default().to_owned();
    let list = |list: &Json, each: &dyn Fn(&Json) -> Vec<Option<u64>>| -> Vec<Group> {
        let items = list.as_array().into_iter().flatten().take(MOST);
        items.map(|item| group(&name(item), each(item))).collect()
    };
    let tomcat = page.get("tomcat")?;
    let jvm = &tomcat["jvm"];
    let mut contexts = list(&tomcat["context"], &|item| of(&item["manager"], SESSIONS));
    contexts.retain(|context| context.values.iter().any(Option::is_some));
    Some(Page {
        memory: of(&jvm["memory"], MEMORY),
        pools: list(&jvm["memorypool"], &|item| of(item, POOL)),
        connectors: list(&tomcat["connector"], &|item| {
            let mut values = of(&item["threadInfo"], &CONNECTOR[..REQUEST_INFO]);
            values.extend(of(&item["requestInfo"], &CONNECTOR[REQUEST_INFO..]));
            values
        }),
        contexts,
    })
}

fn xml(text: &str) -> Option<Page> {
    // HTML has none.
    let (_, mut rest) = text.split_once("<status>")?;
    let mut page = Page::default();
    while let Some((tag, behind)) = next_tag(rest) {
        rest = behind;
        let name = tag.split(|c: char| c.is_ascii_whitespace() || c == '/');
        let of = |keys| values(keys, &|key| attribute(tag, key)?.trim().parse().ok());
        let named = |values| {
            group(
                &unescaped(attribute(tag, "name").unwrap_or_default()),
                values,
            )
        };
        match name.into_iter().next().unwrap_or_default() {
            "memory" => page.memory = of(MEMORY),
            "memorypool" if page.pools.len() < MOST => page.pools.push(named(of(POOL))),
            "connector" if page.connectors.len() < MOST => {
                page.connectors.push(named(vec![None; CONNECTOR.len()]));
            }
            "threadInfo" => {
                if let Some(last) = page.connectors.last_mut() {
                    let values = of(&CONNECTOR[..REQUEST_INFO]);
                    last.values[..REQUEST_INFO].copy_from_slice(&values);
                }
            }
            "requestInfo" => {
                if let Some(last) = page.connectors.last_mut() {
                    let values = of(&CONNECTOR[REQUEST_INFO..]);
                    last.values[REQUEST_INFO..].copy_from_slice(&values);
                }
            }
            _ => {}
        }
    }
    Some(page)
}

/// The inside of the next tag, and what is behind it. `>` within an attribute does not end it.
fn next_tag(text: &str) -> Option<(&str, &str)> {
    let (_, text) = text.split_once('<')?;
    let mut quote = None;
    for (at, byte) in text.bytes().enumerate() {
        match quote {
            None if byte == b'>' => return Some((&text[..at], &text[at + 1..])),
            None if byte == b'"' || byte == b'\'' => quote = Some(byte),
            Some(open) if byte == open && ends(&text[at + 1..]) => quote = None,
            _ => {}
        }
    }
    None
}

/// Whether a quote before `rest` ends an attribute. Old versions write the name of a pool as it is:
/// `name='CodeHeap 'non-nmethods''`.
fn ends(rest: &str) -> bool {
    rest.starts_with(|c: char| c.is_ascii_whitespace() || "/>?".contains(c))
}

/// The value of an attribute, as it is written.
fn attribute<'a>(tag: &'a str, key: &str) -> Option<&'a str> {
    let mut from = 0;
    loop {
        let at = from + tag[from..].find(key)?;
        from = at + key.len();
        let before = tag[..at].ends_with(|c: char| c.is_ascii_whitespace());
        let Some(value) = tag[from..].strip_prefix('=').filter(|_| before) else {
            continue;
        };
        let quote = value.chars().next().filter(|c| "\"'".contains(*c))?;
        let value = &value[1..];
        let end = value
            .match_indices(quote)
            .map(|(at, _)| at)
            .find(|at| value.len() == at + 1 || ends(&value[at + 1..]))?;
        return Some(&value[..end]);
    }
}

/// With the usual entities resolved.
fn unescaped(text: &str) -> String {
    const ENTITIES: [(&str, &str); 7] = [
        ("&quot;", "\""),
        ("&#34;", "\""),
        ("&apos;", "'"),
        ("&#39;", "'"),
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&amp;", "&"),
    ];
    let mut text = text.to_owned();
    for (entity, character) in ENTITIES {
        text = text.replace(entity, character);
    }
    text
}
