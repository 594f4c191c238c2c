//! `status -v`: the JSON report is what docs/status.schema.json says, quickly, and what it says of
//! bytes adds up.

mod common;

use common::Site;
use serde_json::{json, Value};
use std::time::{Duration, Instant};

/// Collects the parts of `value` that are not as the schema says. Knows only the words that the
/// schema uses.
fn complaints(root: &Value, schema: &Value, value: &Value, at: &str, out: &mut Vec<String>) {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.strip_prefix("#/$defs/").unwrap();
        return complaints(root, &root["$defs"][name], value, at, out);
    }
    let is = |wanted: &str| match wanted {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        other => panic!("the schema knows no {other}"),
    };
    let fits = match &schema["type"] {
        Value::String(one) => is(one),
        Value::Array(several) => several.iter().any(|one| is(one.as_str().unwrap())),
        other => panic!("{at}: no type but {other}"),
    };
    if !fits {
        out.push(format!("{at}: {value} is no {}", schema["type"]));
        return;
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        if value.get(name.as_str().unwrap()).is_none() && !value.is_null() {
            out.push(format!("{at}: {name} is missing"));
        }
    }
    for (name, member) in value.as_object().into_iter().flatten() {
        match (
            schema["properties"].get(name),
            schema.get("additionalProperties"),
        ) {
            (Some(schema), _) | (None, Some(schema)) => {
                complaints(root, schema, member, &format!("{at}.{name}"), out);
            }
            (None, None) => out.push(format!("{at}: {name} is not in the schema")),
        }
    }
    for (n, item) in value.as_array().into_iter().flatten().enumerate() {
        complaints(root, &schema["items"], item, &format!("{at}[{n}]"), out);
    }
}

fn assert_valid(report: &Value) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/status.schema.json");
    let schema: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let mut out = Vec::new();
    complaints(&schema, &schema, report, "", &mut out);
    assert!(out.is_empty(), "{}", out.join("\n"));
}

#[test]
fn the_json_report_is_what_its_schema_says() {
    let mut site = Site::new();
    site.append("a.log", "one\ntwo secret\nthree\n");
    site.log(json!({
        "path": site.log_path("*.log"),
        "copy_from_start": true,
        "redaction_rules": [{"match_expression": "secret", "replacement": "x"}],
    }));
    site.log(json!({"path": site.log_path("none")}));
    site.set(
        "monitors",
        json!([{"module": "test_monitor", "gauss_mean": 1, "sample_interval": 0.1}]),
    );
    site.start();
    site.until_seen("a report of all", || {
        let said = site.run(&["status", "-v", "--format", "json"]);
        let report: Value = serde_json::from_str(&said.out).unwrap_or_default();
        report["at_a_glance"]["account"]["copied"].as_u64() > Some(0)
    });
    assert_valid(&site.status_json());
    site.term();
}

#[test]
fn several_workers_give_a_report_of_the_same_schema() {
    let mut site = Site::new();
    site.set(
        "workers",
        json!([{"id": "w", "api_key": "k2", "sessions": 2}]),
    );
    site.append("a.log", "one\n");
    site.copy("a.log").start();
    site.until_lines("a.log", 1);
    assert_valid(&site.status_json());
    site.term();
}

#[test]
fn every_byte_is_accounted_for_under_rotation_sampling_and_redaction() {
    let mut site = Site::new();
    site.log(json!({
        "path": site.log_path("a.log"),
        "copy_from_start": true,
        "redaction_rules": [
            {"match_expression": "pw=\\w+", "replacement": "pw=X"},
            {"match_expression": "^4.*", "replacement": "longer than before: \\0"},
        ],
        "sampling_rules": [{"match_expression": "noise", "sampling_rate": 0.0}],
    }));
    let mut bytes = 0;
    for round in 0..5 {
        let text: String = (0..2_000)
            .map(|n| format!("{n} pw=secret{round}\n{n} noise\n"))
            .collect();
        bytes += text.len() as u64;
        site.append("a.log", text);
        if round == 0 {
            site.start();
        }
        site.until_seen("all of it taken", || {
            let said = site.run(&["status", "-v", "--format", "json"]);
            let report: Value = serde_json::from_str(&said.out).unwrap_or_default();
            report["at_a_glance"]["account"]["settled"] == json!(bytes)
        });
        std::fs::rename(
            site.log_path("a.log"),
            site.log_path(&format!("a.log.{round}")),
        )
        .unwrap();
    }
    let account = &site.status_json()["at_a_glance"]["account"];
    assert_eq!(account["unaccounted"], 0, "{account}");
    assert!(account["sampled_out"].as_u64() > Some(0), "{account}");
    assert!(account["shortened"].as_i64() != Some(0), "{account}");
    site.term();
}

#[test]
fn status_answers_at_once() {
    let mut site = Site::new();
    site.append("a.log", "one\n");
    site.copy("a.log").start();
    site.until_lines("a.log", 1);
    let took = |_| {
        let begun = Instant::now();
        assert!(site.status_v().contains("At a glance"));
        begun.elapsed()
    };
    // The machine may be busy with other tests: the quickest of some counts. An agent that looks
    // for requests once a second takes as long
    let quickest = (0..10).map(took).min().unwrap();
    assert!(quickest < Duration::from_millis(400), "{quickest:?}");
    site.term();
}

#[test]
fn many_who_ask_at_once_each_get_the_report_in_their_own_form() {
    let mut site = Site::new();
    site.append("a.log", "one\n");
    site.copy("a.log").start();
    site.until_lines("a.log", 1);
    let text: &[&str] = &["status", "-v"];
    let json: &[&str] = &["status", "-v", "--format", "json"];
    for (n, said) in site.run_at_once(&[text, json].repeat(6)).iter().enumerate() {
        assert_eq!(said.code, 0, "{}", said.err);
        match n % 2 {
            0 => assert!(said.out.starts_with("Scalyr Agent status."), "{}", said.out),
            _ => assert_valid(&serde_json::from_str(&said.out).unwrap()),
        }
    }
    site.term();
}

#[test]
fn the_speed_that_says_when_the_backlog_is_gone_counts_what_is_in_the_files() {
    let mut site = Site::new();
    // One that compresses to a few hundredths
    let line = format!("{}\n", "all the same ".repeat(20));
    site.append("a.log", line.repeat(20_000));
    site.log(json!({"path": site.log_path("a.log"), "copy_from_start": true}));
    site.start();
    site.until_lines("a.log", 20_000);
    let mut report = Value::Null;
    site.until_seen("half a second of life to count in", || {
        report = site.status_json();
        report["at_a_glance"]["bytes_per_second"].is_number()
    });
    let glance = &report["at_a_glance"];
    let age = report["current_time"].as_f64().unwrap() - report["launch_time"].as_f64().unwrap();
    let delivered = glance["bytes_per_second"].as_f64().unwrap() * age;
    let copied = glance["account"]["copied"].as_f64().unwrap();
    assert!(delivered > 0.9 * copied, "{delivered} of {copied}");
    site.term();
}

#[test]
fn a_file_that_is_left_alone_because_of_its_name_is_counted_and_told_once() {
    let mut site = Site::new();
    site.copy("a.log").start();
    site.append("a.log", "one\n");
    site.until_lines("a.log", 1);
    for round in 1..=3 {
        // Nobody knows a rotation of this log that gives dates
        let strange = site.log_path("a.log-20261123");
        if !strange.exists() {
            std::fs::write(site.log_path("new"), "of another program\n").unwrap();
            std::fs::rename(site.log_path("new"), &strange).unwrap();
        }
        let rotated = site.log_path(&format!("a.log.{round}"));
        std::fs::rename(site.log_path("a.log"), rotated).unwrap();
        site.append("a.log", format!("one of {round}\n"));
        site.until_lines("a.log", 1 + round);
    }
    let report = site.status_json();
    assert_valid(&report);
    let ambiguities = report["at_a_glance"]["ambiguities"].as_object().unwrap();
    let ambiguities: Vec<_> = ambiguities.iter().collect();
    let [(reason, count)] = ambiguities[..] else {
        panic!("{ambiguities:?}")
    };
    assert_eq!(*count, 1, "{reason}");
    assert!(reason.contains("because of its name"), "{reason}");
    let text = site.status_v();
    assert!(text.contains(&format!("1 time: {reason}")), "{text}");
    let log = site.agent_log();
    let told = log.lines().filter(|line| line.contains("a.log-20261123"));
    let told: Vec<_> = told.collect();
    let [told] = &told[..] else { panic!("{log}") };
    for part in ["no known content of that log has a name of", "add an entry"] {
        assert!(told.contains(part), "{told}");
    }
    site.term();
}
