use super::*;
use crate::testing::capture;

const TOMCAT_10: &str = include_str!("pages/tomcat10.xml");
const TOMCAT_10_ALL: &str = include_str!("pages/tomcat10_all.json");
/// Two connectors, pools of the CMS collector, and a name with quotes in it as older versions write it.
const TOMCAT_8: &str = include_str!("pages/tomcat8.xml");

/// The lines of a sample, without what is the same in each.
fn lines(text: &str, extra: bool) -> Vec<String> {
    let (mut out, lines) = capture("tomcat_monitor()");
    write_page(Page::parse(text).unwrap(), extra, &mut out);
    out.flush();
    let head = "2022-04-15 11:11:08.015Z [tomcat_monitor()] tomcat.";
    let lines = lines.take();
    let lines = lines.lines().map(|line| line.strip_prefix(head).unwrap());
    lines.map(str::to_owned).collect()
}

#[test]
fn a_page_in_xml_has_the_metrics_and_the_order_of_the_python_agent() {
    let lines = lines(TOMCAT_10, false);
    assert_eq!(
        lines[..12],
        [
            "runtime.network_bytes 0.0 type=\"received\"",
            "runtime.network_bytes 0.013433 type=\"sent\"",
            "runtime.error_count 2",
            "runtime.memory_bytes 66.645096 type=\"free\"",
            "runtime.memory_bytes 6028.0 type=\"max\"",
            "runtime.memory_bytes 96.0 type=\"total\"",
            "runtime.processing_time 1917.0",
            "runtime.processing_time_max 1663.0",
            "runtime.request_count 8",
            "runtime.threads 1 type=\"busy\"",
            "runtime.threads 10 type=\"active\"",
            "runtime.threads 200 type=\"max\"",
        ]
    );
    assert_eq!(
        lines[12..16],
        [
            "memory_pools.initial 2.4375 pool=\"codeheap_non_nmethods\"",
            "memory_pools.max 5.558594 pool=\"codeheap_non_nmethods\"",
            "memory_pools.allocated 2.4375 pool=\"codeheap_non_nmethods\"",
            "memory_pools.used 1.214844 pool=\"codeheap_non_nmethods\"",
        ]
    );
    // A pool without a limit has no such line.
    assert!(lines.contains(&"memory_pools.initial 20.0 pool=\"g1_eden_space\"".to_owned()));
    assert!(!lines
        .iter()
        .any(|line| line.contains("max") && line.contains("g1_eden")));
}

#[test]
fn a_page_in_json_is_read_as_the_one_in_xml() {
    let names = |lines: &[String]| -> Vec<String> {
        let names = lines.iter().map(|line| {
            let mut words = line.split(' ');
            let name = words.next().unwrap();
            format!("{name} {}", words.skip(1).collect::<String>())
        });
        names.collect()
    };
    let (json, xml) = (lines(TOMCAT_10_ALL, false), lines(TOMCAT_10, false));
    assert_eq!(names(&json), names(&xml));
    assert!(json.contains(&"runtime.request_count 9".to_owned()));
    assert!(json.contains(&"runtime.threads 10 type=\"active\"".to_owned()));
}

#[test]
fn several_connectors_are_kept_apart() {
    let lines = lines(TOMCAT_8, true);
    let of = |part: &str| -> Vec<&str> {
        let found = lines.iter().filter(|line| line.starts_with(part));
        found.map(String::as_str).collect()
    };
    assert_eq!(
        of("runtime.threads"),
        [
            "runtime.threads 0 connector=\"ajp-nio-8009\" type=\"busy\"",
            "runtime.threads 0 connector=\"ajp-nio-8009\" type=\"active\"",
            "runtime.threads 3 connector=\"http-nio-8080\" type=\"busy\"",
            "runtime.threads 10 connector=\"http-nio-8080\" type=\"active\"",
            "runtime.threads 200 connector=\"http-nio-8080\" type=\"max\"",
        ]
    );
    assert_eq!(
        of("runtime.request_count"),
        ["runtime.request_count 10021 connector=\"http-nio-8080\""]
    );
    assert_eq!(
        of("runtime.processing_time "),
        ["runtime.processing_time 71068.0 connector=\"http-nio-8080\""]
    );
    assert_eq!(
        of("runtime.memory_bytes"),
        [
            "runtime.memory_bytes 6.38 type=\"free\"",
            "runtime.memory_bytes 123.75 type=\"max\"",
            "runtime.memory_bytes 16.875 type=\"total\"",
        ]
    );
    assert_eq!(
        of("bytes.sent"),
        ["bytes.sent 3334471 connector=\"http-nio-8080\""]
    );
}

#[test]
fn the_pools_of_the_python_agent_keep_their_names() {
    let lines = lines(TOMCAT_8, false);
    let used: Vec<&str> = lines
        .iter()
        .filter_map(|line| line.strip_prefix("memory_pools.used "))
        .collect();
    assert_eq!(
        used,
        [
            "1.0 pool=\"cms_old_gen\"",
            "1.0 pool=\"cms_perm_gen\"",
            "1.0 pool=\"code_cache\"",
            "1.0 pool=\"codeheap_non_nmethods\"",
            "0.5 pool=\"eden_space\"",
            "0.0 pool=\"survivor_space\"",
        ]
    );
}

#[test]
fn sessions_of_applications_come_with_extra_metrics() {
    let lines = lines(TOMCAT_10_ALL, true);
    assert_eq!(
        lines[lines.len() - 6..],
        [
            "bytes.received 0",
            "bytes.sent 15964",
            "sessions.active 0 context=\"localhost/manager\"",
            "sessions.created 0 context=\"localhost/manager\"",
            "sessions.expired 0 context=\"localhost/manager\"",
            "sessions.rejected 0 context=\"localhost/manager\"",
        ]
    );
    // Earlier versions have numbers in quotes.
    let page = TOMCAT_10_ALL.replace("\"activeSessions\":0", "\"activeSessions\":\"7\"");
    let sessions = "sessions.active 7 context=\"localhost/manager\"".to_owned();
    assert!(self::lines(&page, true).contains(&sessions));
}

#[test]
fn the_entry_of_the_python_agent_s_manual_works() {
    use crate::testing::make;
    let place = crate::Place::new("/", "/");
    let url = "http://localhost:8080/manager/status";
    for name in ["monitor_user", "monitor_username"] {
        let entry = serde_json::json!({"monitor_url": url, name: "statusmon", "monitor_password": "getstatus"});
        assert!(make(&DESCRIPTION, &entry, &place).is_ok(), "{name}");
        let half = serde_json::json!({"monitor_url": url, name: "statusmon"});
        let error = make(&DESCRIPTION, &half, &place).err().unwrap();
        assert!(
            error.to_string().contains("set monitor_password"),
            "{error}"
        );
    }
}

#[test]
fn a_page_that_is_not_the_manager_s_is_told_apart() {
    for page in [
        "",
        " ",
        "{",
        "{}",
        "[]",
        "{\"tomcat\":{}}",
        "{\"tomcat\":[1,2]}",
        "<html><h1>JVM</h1> Free Memory: 1 MiB</html>",
        "<status></status>",
        "<status><jvm><memory/></jvm>",
        "Active connections: 1",
    ] {
        assert!(Page::parse(page).is_none(), "{page:?}");
    }
    // The values of half a page are taken.
    let half = &TOMCAT_10[..TOMCAT_10.find("<connector").unwrap()];
    assert!(lines(half, false)[0].starts_with("runtime.memory_bytes"));
}

#[test]
fn every_metric_that_is_written_is_declared() {
    for (metric, ..) in [RUNTIME, POOLS, BYTES, SESSIONS].into_iter().flatten() {
        assert!(METRICS.iter().any(|spec| spec.name == *metric), "{metric}");
    }
}

#[test]
fn the_number_of_pools_and_connectors_is_bounded() {
    let pools = "<memorypool name='x' usageUsed='1'/>".repeat(20_000);
    let connectors =
        "<connector name='x'><threadInfo maxThreads=\"1\"/></connector>".repeat(20_000);
    let page = format!("<status>{pools}{connectors}</status>");
    assert!(lines(&page, false).len() <= 2000);
    let pool = r#"{"name":"x","usageUsed":1}"#;
    let pools = vec![pool; 20_000].join(",");
    let page = format!(r#"{{"tomcat":{{"jvm":{{"memorypool":[{pools}]}}}}}}"#);
    assert!(lines(&page, false).len() <= 1000);
    let nested = "[".repeat(100_000);
    assert!(Page::parse(&format!("{{\"tomcat\":{nested}")).is_none());
}

#[test]
fn the_pages_of_tomcat_survive_mutations() {
    let corpus = [TOMCAT_10, TOMCAT_10_ALL, TOMCAT_8].map(str::as_bytes);
    crate::testing::mutate(&corpus, |page| {
        let (mut out, _) = capture("m");
        if let Some(page) = Page::parse(&String::from_utf8_lossy(page)) {
            write_page(page, true, &mut out);
        }
    });
}
