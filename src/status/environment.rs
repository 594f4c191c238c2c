//! The environment variables of the report, with what is secret masked.

/// Words in a variable's name that make its value a secret.
const SECRET: [&str; 7] = [
    "KEY",
    "TOKEN",
    "PASSWORD",
    "PASSWD",
    "SECRET",
    "SALT",
    "CREDENTIAL",
];

/// Shown even if absent.
const ALWAYS: [&str; 2] = ["SCALYR_API_KEY", "SCALYR_SERVER"];

/// The text that is shown in place of a secret.
const REDACTED: &str = "<Redacted>";

/// The variables that the report shows, in its order, secrets masked; `None` for a value that is
/// absent or empty.
pub fn shown(environment: &[(String, String)]) -> Vec<(String, Option<String>)> {
    let mut others: Vec<&(String, String)> = environment
        .iter()
        .filter(|(name, _)| {
            let upper = name.to_uppercase();
            (upper.starts_with("SCALYR") || upper == "K8S_EVENT_DISABLE")
                && !ALWAYS.contains(&name.as_str())
        })
        .collect();
    crate::util::sort::by_key(&mut others, |(name, _)| name.to_uppercase());
    let always = ALWAYS.iter().map(|name| {
        let value = environment.iter().find(|(n, _)| n == name);
        ((*name).to_owned(), value.map_or("", |(_, value)| value))
    });
    always
        .chain(others.into_iter().map(|(n, v)| (n.clone(), v.as_str())))
        .map(|(name, value)| {
            let value = (!value.is_empty()).then(|| masked(&name, value));
            (name, value)
        })
        .collect()
}

fn masked(name: &str, value: &str) -> String {
    let upper = name.to_uppercase();
    if SECRET.iter().any(|word| upper.contains(word)) {
        return REDACTED.to_owned();
    }
    // A value must not break the report's lines either.
    without_userinfo(value).replace(['\n', '\r'], " ")
}

/// Replaces `user:password` in each `scheme://user:password@host` of the text.
fn without_userinfo(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (head, tail) = rest.split_at(at + 3);
        out.push_str(head);
        // The authority ends at the path; an unescaped @ in a password makes the last one count.
        let end = tail
            .find(|c: char| c == '/' || c == '?' || c == '#' || c.is_whitespace())
            .unwrap_or(tail.len());
        if let Some(at) = tail[..end].rfind('@') {
            out.push_str(REDACTED);
            rest = &tail[at..];
        } else {
            rest = tail;
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_of_the_environment_is_shown() {
        let environment: Vec<(String, String)> = [
            ("SCALYR_Z", "z"),
            ("scalyr_api_token", "hidden-1"),
            ("SCALYR_DB_PASSWORD", "hidden-2"),
            ("SCALYR_CLIENT_SECRET", "hidden-3"),
            ("SCALYR_K8S_KEYFILE", "hidden-4"),
            ("SCALYR_API_KEY", "hidden-5"),
            ("SCALYR_PROXY", "http://me:hidden-6@proxy:3128/x"),
            ("SCALYR_PROXIES", "a://hidden-7@b http://c:hid@den-8@d"),
            ("Scalyr_Foo", "b\nar"),
            ("K8S_EVENT_DISABLE", "true"),
            ("AWS_SECRET", "hidden-9"),
            ("SCALYR_EMPTY", ""),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
        let shown = shown(&environment);
        let text: Vec<String> = shown
            .iter()
            .map(|(name, value)| format!("{name}={}", value.as_deref().unwrap_or("-")))
            .collect();
        assert_eq!(
            text,
            [
                "SCALYR_API_KEY=<Redacted>",
                "SCALYR_SERVER=-",
                "K8S_EVENT_DISABLE=true",
                "scalyr_api_token=<Redacted>",
                "SCALYR_CLIENT_SECRET=<Redacted>",
                "SCALYR_DB_PASSWORD=<Redacted>",
                "SCALYR_EMPTY=-",
                "Scalyr_Foo=b ar",
                "SCALYR_K8S_KEYFILE=<Redacted>",
                "SCALYR_PROXIES=a://<Redacted>@b http://<Redacted>@d",
                "SCALYR_PROXY=http://<Redacted>@proxy:3128/x",
                "SCALYR_Z=z",
            ]
        );
    }
}
