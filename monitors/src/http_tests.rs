use super::*;

#[test]
fn a_proxy_is_taken_from_the_environment_unless_the_host_is_excepted() {
    let chosen = |url: &str, env: &[(&str, &str)]| {
        let uri: Uri = url.parse().unwrap();
        let env = |name: &str| {
            let found = env.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        proxy(&uri, env).unwrap().map(|p| p.uri().to_string())
    };
    let both = [
        ("http_proxy", "http://one:3128"),
        ("HTTPS_PROXY", "two:3129"),
        ("no_proxy", "localhost, .example.com,10.0.0.1"),
    ];
    assert_eq!(
        chosen("http://a/", &both).as_deref(),
        Some("http://one:3128/")
    );
    assert_eq!(
        chosen("https://a/", &both).as_deref(),
        Some("http://two:3129/")
    );
    for excepted in [
        "http://localhost/",
        "http://example.com/",
        "https://a.Example.com:80/",
        "http://10.0.0.1/",
    ] {
        assert_eq!(chosen(excepted, &both), None, "{excepted}");
    }
    assert!(chosen("http://notexample.com/", &both).is_some());
    assert_eq!(
        chosen("http://a/", &[("http_proxy", "p:1"), ("no_proxy", "*")]),
        None
    );
    // lower case goes first, and empty is none
    assert_eq!(
        chosen("http://a/", &[("http_proxy", ""), ("HTTP_PROXY", "p:1")]),
        None
    );
    assert_eq!(chosen("http://a/", &[]), None);
}

#[test]
fn a_wrong_proxy_address_is_told_without_its_password() {
    let uri: Uri = "http://a/".parse().unwrap();
    let env = |name: &str| (name == "http_proxy").then(|| "gopher://u:secret@p:1".to_owned());
    let failure = proxy(&uri, env).unwrap_err();
    assert_eq!(failure.class, Class::Url);
    assert!(!failure.text.contains("secret"), "{}", failure.text);
    assert!(failure.text.contains("http_proxy"), "{}", failure.text);
}

#[test]
fn addresses_that_are_none_fail_as_recorded() {
    for (url, class, text) in [
        (
            "127.0.0.1/x",
            Class::Unknown,
            "unknown url type: '127.0.0.1/x'",
        ),
        (
            "ftp://x/y",
            Class::Url,
            "<urlopen error unknown url type: ftp>",
        ),
        (
            "file:///etc/hostname",
            Class::Url,
            "<urlopen error unknown url type: file>",
        ),
        ("http:///x", Class::Url, "<urlopen error no host given>"),
        ("HTTP:x", Class::Url, "<urlopen error no host given>"),
        (
            "localhost:80/x",
            Class::Url,
            "<urlopen error unknown url type: localhost>",
        ),
        (
            "MailTo:x",
            Class::Url,
            "<urlopen error unknown url type: mailto>",
        ),
        ("/x:y", Class::Unknown, "unknown url type: '/x:y'"),
        (":x", Class::Unknown, "unknown url type: ':x'"),
        (
            "http://h:99999/",
            Class::Unknown,
            "nonnumeric port: '99999'",
        ),
        ("http://[::1]:x", Class::Unknown, "nonnumeric port: 'x'"),
        (
            "http://u:p@h:+80?q",
            Class::Unknown,
            "nonnumeric port: '+80'",
        ),
    ] {
        let failure = parse(url).unwrap_err();
        assert_eq!((failure.class, failure.text.as_str()), (class, text));
    }
    for (url, sent) in [
        (" http://h:/x\n", "http://h:/x"),
        ("HTTPS://u:p@h/", "https://u:p@h/"),
        (
            "http://[::1]:80/?q=\"<x>\"`",
            "http://[::1]:80/?q=%22%3Cx%3E%22%60",
        ),
    ] {
        assert_eq!(parse(url).unwrap().to_string(), sent);
    }
    for odd in ["http://a b/", "http://h/a b", "http://"] {
        assert!(parse(odd).is_err(), "{odd}");
    }
}

#[test]
fn headers_cannot_smuggle_lines() {
    let mut request = Request::new("GET", "http://a/", ("1", "m"), None).unwrap();
    assert!(request.set("X", "a\r\nY: b").is_err());
    assert!(request.set("X Y", "a").is_err());
    let error = request.set("X", "secret\n").unwrap_err();
    assert!(!error.contains("secret"));
    assert!(Request::new("GE T", "http://a/", ("1", "m"), None).is_err());
}
