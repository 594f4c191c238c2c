use super::*;
use crate::emitter::captured::{stopper, Lines};
use crate::testing::{capture, make};
use crate::Place;
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{channel, Receiver};

/// Answers each connection by `answer`, which gets the path, and hands out the heads of the requests.
fn server(
    answer: impl Fn(&mut TcpStream, &str) + Send + 'static,
) -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tx, requests) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut got = Vec::new();
            let mut byte = [0];
            while !got.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                got.push(byte[0]);
            }
            let head = String::from_utf8_lossy(&got).into_owned();
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            let _ = tx.send(head);
            answer(&mut stream, &path);
        }
    });
    (address, requests)
}

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves one page.
fn serves(kind: &'static str, page: impl Into<Vec<u8>>) -> SocketAddr {
    let page = page.into();
    let answer = move |stream: &mut TcpStream, _: &str| {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            page.len()
        );
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.write_all(&page);
    };
    server(answer).0
}

struct Tried {
    out: Emitter,
    lines: Lines,
    monitor: Box<dyn Monitor>,
}

impl Tried {
    fn new(address: SocketAddr, mut entry: Json) -> Tried {
        if entry["url"].is_null() {
            entry["url"] = format!("http://{address}/metrics").into();
        }
        let (out, lines) = capture("m()");
        let monitor = make(&DESCRIPTION, &entry, &Place::new("/", "/")).unwrap();
        Tried {
            out,
            lines,
            monitor,
        }
    }

    /// The lines of a sample without stamp and tag, and its error.
    fn sample(&mut self) -> (String, String) {
        let result = self.monitor.gather(&mut self.out);
        self.out.flush();
        let lines = self.lines.take();
        let bare = lines.lines().map(|line| {
            let (stamp, rest) = line.split_once(" [m()] ").unwrap();
            assert_eq!(stamp.len(), "2022-04-15 11:11:08.015Z".len());
            format!("{rest}\n")
        });
        (
            bare.collect(),
            result.err().map_or(String::new(), |e| e.to_string()),
        )
    }

    fn counted(&self, name: &'static str) -> u64 {
        self.out.counter(name).load(Relaxed)
    }
}

/// The lines that a good page becomes.
fn written(kind: &'static str, page: &str, entry: Json) -> String {
    let (lines, error) = Tried::new(serves(kind, page), entry).sample();
    assert_eq!(error, "");
    lines
}

#[test]
fn corner_cases_are_written_as_the_python_agent_does_and_its_mistakes_are_not_made() {
    let page = r##"# HELP http_requests_total The total, of TYPE summary perhaps.
# TYPE http_requests_total counter
http_requests_total{method="post",code="200"} 1027 1395066363000
http_requests_total{method="post",code="400"} 3.0
# TYPE rpc_duration_seconds summary
rpc_duration_seconds{quantile="0.01"} 3102
rpc_duration_seconds_sum 1.7560473e+07
rpc_duration_seconds_count 2693
# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{le="+Inf"} 144320
my_gauge -5
g2{a="x,y",b="with \"quotes\" and }brace",c="a=b"} 2
esc{path="C:\\DIR\\FILE.TXT",error="Cannot find file:\n\"FILE.TXT\""} 1.458255915e9
inf_pos +Inf
inf_neg -Inf
sci 1e10
sci2 1E+3
hex 0x10
nan NaN
sci3 1.5e-5
sci4 2e+2
sci5 5e-05
upper_Case-Name 7
# TYPE Upper_Hist histogram
Upper_Hist 4
metric{monitor="x",value="y",instance="i",le-x="q"} 5
trailing_label{a="b",} 6
no_value
  indented 3
ts_bad 5 abc
ex_bucket{le="0.1"} 8 # {trace_id="KOO"} 0.067
last 1"##;
    let mut tried = Tried::new(serves(TEXT, page), json!({}));
    let (lines, error) = tried.sample();
    assert_eq!(error, "");
    assert_eq!(
        lines,
        r##"http_requests_total 1027 code="200" method="post" timestamp=1395066363000
http_requests_total 3.0 code="400" method="post"
rpc_duration_seconds_sum 17560473.0
rpc_duration_seconds_count 2693
http_request_duration_seconds_bucket 144320 le="+Inf"
my_gauge -5
g2 2 a="x,y" b="with \"quotes\" and }brace" c="a=b"
esc 1458255915.0 error="Cannot find file:\n\"FILE.TXT\"" path="C:\\DIR\\FILE.TXT"
inf_pos "+Inf"
inf_neg "-Inf"
sci 10000000000
sci2 1000
sci3 0.000015
sci4 200
sci5 0.00005
upper_case_name 7
upper_hist 4
metric_ 5 instance_="i" le-x="q" monitor_="x" value_="y"
trailing_label 6 a="b"
indented 3
ts_bad 5
ex_bucket 8 le="0.1"
last 1
"##
    );
    // hex, no_value, ts_bad
    assert_eq!(tried.counted("malformed_lines"), 3);
}

/// One family of each type that OpenMetrics 1.0 has.
const EVERY_TYPE: &str = r##"# TYPE acme_http_router_request_seconds summary
# UNIT acme_http_router_request_seconds seconds
# HELP acme_http_router_request_seconds Latency though all of ACME's HTTP request router.
acme_http_router_request_seconds{path="/api/v1",quantile="0.5"} 0.12
acme_http_router_request_seconds_sum{path="/api/v1",method="GET"} 9036.32
acme_http_router_request_seconds_count{path="/api/v1",method="GET"} 807283.0
acme_http_router_request_seconds_created{path="/api/v1",method="GET"} 1605281325.0
# TYPE go_goroutines gauge
go_goroutines 69
# TYPE foo_seconds counter
foo_seconds_total 17.0 1520879607.789 # {trace_id="oHg5SJYRHA0"} 9.8 1520879607.789
foo_seconds_created 1520430000.123
# TYPE sizes histogram
sizes_bucket{le="0.01"} 0
sizes_bucket{le="+Inf"} 17 # {trace_id="KOO5S4vxi0o"} 0.67
sizes_count 17
sizes_sum 324789.3
sizes_created 1520430000.123
# TYPE queue gaugehistogram
queue_bucket{le="64.0"} 4
queue_bucket{le="+Inf"} 7
queue_gcount 7
queue_gsum -3.5
# TYPE build info
build_info{version="8.2.7"} 1 1520879607
# TYPE feature stateset
feature{feature="a"} 1
feature{feature="b"} 0
# TYPE what unknown
what 42
# EOF
"##;

#[test]
fn every_type_of_openmetrics_is_written() {
    assert_eq!(
        written(OPENMETRICS, EVERY_TYPE, json!({})),
        r##"acme_http_router_request_seconds_sum 9036.32 method="GET" path="/api/v1"
acme_http_router_request_seconds_count 807283.0 method="GET" path="/api/v1"
go_goroutines 69
foo_seconds_total 17.0 timestamp=1520879607789
foo_seconds_created 1520430000.123
sizes_bucket 0 le="0.01"
sizes_bucket 17 le="+Inf"
sizes_count 17
sizes_sum 324789.3
queue_bucket 4 le="64.0"
queue_bucket 7 le="+Inf"
queue_gcount 7
queue_gsum -3.5
build_info 1 timestamp=1520879607000 version="8.2.7"
feature 1 feature="a"
feature 0 feature="b"
what 42
"##
    );
}

#[test]
fn extra_metrics_are_quantiles_times_of_creation_and_how_the_scrape_went() {
    let entry = json!({"extra_metrics": true, "extra_fields": {"env": "lab"}});
    let lines = written(OPENMETRICS, EVERY_TYPE, entry);
    for line in [
        "acme_http_router_request_seconds 0.12 env=\"lab\" path=\"/api/v1\" quantile=\"0.5\"\n",
        "acme_http_router_request_seconds_created 1605281325.0 env=\"lab\"",
        "sizes_created 1520430000.123 env=\"lab\"\n",
        "up 1 env=\"lab\"\nscrape_duration_seconds 0.",
        "scrape_samples_scraped 20 env=\"lab\"\n",
    ] {
        assert!(lines.contains(line), "{line} {lines}");
    }
    let gone = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (lines, error) = Tried::new(gone, json!({"extra_metrics": true})).sample();
    assert!(
        lines.starts_with("up 0\nscrape_duration_seconds 0."),
        "{lines}"
    );
    assert!(lines.ends_with("scrape_samples_scraped 0\n"), "{lines}");
    assert!(error.contains("Connection refused"), "{error}");
}

#[test]
fn half_a_page_writes_no_number_that_was_cut_and_counts_as_failed() {
    for (kind, page, length, want, why) in [
        (
            TEXT,
            "a 12\nb 34",
            100,
            "a 12\n",
            "in the middle of the page",
        ),
        (OPENMETRICS, "a 12\nb 34\n", 10, "a 12\nb 34\n", "# EOF"),
        (OPENMETRICS, "a 12\n# EOF\n", 100, "a 12\n", ""),
        (OPENMETRICS, "a 12\n# EOF", 10, "a 12\n", ""),
        (OPENMETRICS, "a 12\n# EOF\nb 3\n", 15, "a 12\n", ""),
        (TEXT, "a 12\n# EOF\nb 3\n", 15, "a 12\nb 3\n", ""),
        (TEXT, "", 0, "", ""),
    ] {
        let (address, _) = server(move |stream, _| {
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
            );
            let _ = stream.write_all(head.as_bytes());
            let _ = stream.write_all(page.as_bytes());
        });
        let (lines, error) = Tried::new(address, json!({})).sample();
        assert_eq!(lines, want, "{page:?}");
        assert!(
            error.contains(why) && (error.is_empty() == why.is_empty()),
            "{page:?}: {error}"
        );
    }
}

#[test]
fn lines_are_written_before_the_page_has_ended() {
    let (tx, lines_seen) = channel::<()>();
    let (address, _asked) = server(move |stream, _| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        // More than the emitter gathers before it hands on
        let _ = stream.write_all("early{a=\"b\"} 1\n".repeat(10_000).as_bytes());
        lines_seen.recv().unwrap();
        let _ = stream.write_all(b"late 2\n");
    });
    let mut tried = Tried::new(address, json!({}));
    let lines = tried.lines.clone();
    let watching = std::thread::spawn(move || {
        let mut early = String::new();
        while early.is_empty() {
            early = lines.take();
            std::thread::yield_now();
        }
        tx.send(()).unwrap();
        early
    });
    let (rest, error) = tried.sample();
    assert_eq!(error, "");
    assert!(watching.join().unwrap().contains("early 1 a=\"b\""));
    assert!(rest.ends_with("late 2\n"));
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut out = vec![0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3];
    out.extend(miniz_oxide::deflate::compress_to_vec(content, 6));
    out.extend([0; 8]);
    out
}

fn serves_packed(encoding: &'static str, packed: Vec<u8>) -> (SocketAddr, Receiver<String>) {
    server(move |stream, _| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\n\r\n");
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.write_all(&packed);
    })
}

#[test]
fn packed_pages_are_asked_for_and_unpacked() {
    let page: String = (0..5000).map(|n| format!("m{{n=\"{n}\"}} {n}\n")).collect();
    let (address, asked) = serves_packed("gzip", gzip(page.as_bytes()));
    let (lines, error) = Tried::new(address, json!({})).sample();
    assert_eq!((lines.lines().count(), error.as_str()), (5000, ""));
    assert!(lines.ends_with("m 4999 n=\"4999\"\n"));
    let head = asked.recv().unwrap().to_ascii_lowercase();
    for part in [
        "get /metrics http/1.1\r\n",
        "accept-encoding: gzip\r\n",
        "user-agent: scalyr-agent-2/openmetricsmonitor\r\n",
        "accept: text/plain;version=0.0.4,*/*;q=0.1\r\n",
    ] {
        assert!(head.contains(part), "{part}: {head}");
    }
    assert!(!head.contains("openmetrics-text"));
}

#[test]
fn packed_pages_that_are_broken_bombs_or_of_another_kind_fail() {
    let page = "m 1\n".repeat(1000);
    let mut half = gzip(page.as_bytes());
    half.truncate(half.len() - 9);
    let bomb = gzip(&vec![b'x'; 40 << 20]);
    let lines = gzip("m 1\n".repeat(1 << 20).as_bytes());
    for (encoding, packed, why) in [
        ("gzip", half, "gzip stream ends"),
        ("gzip", page.clone().into_bytes(), "not gzip"),
        ("br", page.clone().into_bytes(), "\"br\""),
        ("gzip", bomb, "longer than 1000000 bytes"),
        ("gzip", lines, "longer than 1000000 bytes"),
    ] {
        let (address, _) = serves_packed(encoding, packed);
        let mut tried = Tried::new(address, json!({"max_page_bytes": 1_000_000}));
        let (lines, error) = tried.sample();
        assert!(error.contains(why), "{why}: {error}");
        assert!(lines.lines().count() <= 250_001);
        assert_eq!(tried.counted("failed_scrapes"), 1);
    }
}

#[test]
fn answers_that_are_no_page_fail_with_what_to_do_and_without_their_whole_text() {
    let long: &'static str = "secret ".repeat(1000).leak();
    for (status, kind, body, parts) in [
        (
            "200 OK",
            "text/html",
            "<html>\n<body class=\"x\"> 3\n",
            &["no page of metrics", "<html>"][..],
        ),
        (
            "200 OK",
            "application/openmetrics-protobuf; x=y",
            "a 1\n",
            &["Protocol Buffers"],
        ),
        (
            "200 OK",
            "application/vnd.google.protobuf",
            "a 1\n",
            &["Protocol Buffers"],
        ),
        (
            "404 Not Found",
            "text/plain",
            "a 1\nb\n",
            &["status 404", "correct the path", "a 1\\nb"],
        ),
        (
            "401 No",
            "text/plain",
            "",
            &["status 401", "bearer_token_file"],
        ),
        ("500 No", "text/plain", long, &["status 500"]),
        ("302 Found", "text/plain", "", &["status 302"]),
        ("204 No Content", "text/plain", "", &["status 204"]),
    ] {
        let (address, _) = server(move |stream, _| {
            let head = format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n\r\n{body}");
            let _ = stream.write_all(head.as_bytes());
        });
        let url = format!("http://user:passw@{address}/m?token=t0ken");
        let (lines, error) = Tried::new(address, json!({"url": url})).sample();
        assert_eq!(lines, "");
        for part in parts {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert!(error.contains(&format!("http://{address}/m ")), "{error}");
        assert!(error.len() < 600, "{error}");
        assert!(
            !error.contains("passw") && !error.contains("t0ken"),
            "{error}"
        );
    }
    for text in [
        &b"\x16\x03\x01 garbage"[..],
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\na 1\n",
    ] {
        let (address, _) = server(move |stream, _| {
            let _ = stream.write_all(text);
        });
        let (lines, error) = Tried::new(address, json!({})).sample();
        assert!(
            lines.is_empty() && error.starts_with("Cannot read the metrics of "),
            "{error}"
        );
    }
}

#[test]
fn an_error_that_comes_again_is_the_same_text_whatever_the_server_says() {
    let requests = std::sync::atomic::AtomicU32::new(0);
    let (address, _asked) = server(move |stream, path| {
        let n = requests.fetch_add(1, Relaxed);
        let answer = match path {
            "/refused" => format!("500 No\r\n\r\nrequest {n} failed"),
            "/other" => format!("200 OK\r\n\r\n<p>{n}"),
            _ => format!(
                "200 OK\r\nContent-Length: 99\r\n\r\n{}",
                "#".repeat(n as usize)
            ),
        };
        let _ = stream.write_all(format!("HTTP/1.1 {answer}").as_bytes());
    });
    for path in ["refused", "other", "half"] {
        let mut tried = Tried::new(address, json!({"url": format!("http://{address}/{path}")}));
        let mut errors: Vec<String> = (0..5).map(|_| tried.sample().1).collect();
        assert!(errors.iter().all(|error| !error.is_empty()));
        errors.dedup();
        assert!(errors.len() <= 2, "{errors:?}");
    }
}

#[test]
fn rates_are_written_behind_the_metrics_that_they_are_asked_for() {
    let requests = std::sync::atomic::AtomicU32::new(0);
    let (address, _asked) = server(move |stream, _| {
        let n = requests.fetch_add(1, Relaxed) * 1_000_000;
        let page = format!("HTTP/1.1 200 OK\r\n\r\na{{b=\"c\"}} {n}\na{{b=\"d\"}} {n}\n");
        let _ = stream.write_all(page.as_bytes());
    });
    let mut tried = Tried::new(address, json!({}));
    let names = ["openmetrics_monitor:a:b=c".to_owned()];
    let rates = crate::rates::Rates::new("openmetrics_monitor", &names, &[], 0.0);
    tried.out = tried.out.with_rates(rates);
    assert_eq!(tried.sample().0, "a 0 b=\"c\"\na 0 b=\"d\"\n");
    // The times of the samples are milliseconds, which have to differ.
    std::thread::sleep(Duration::from_millis(5));
    let (lines, _) = tried.sample();
    let names: Vec<&str> = lines.lines().map(|line| &line[..6]).collect();
    assert_eq!(names, ["a 1000", "a_rate", "a 1000"], "{lines}");
}

#[test]
fn slow_and_endless_answers_end_with_the_timeout() {
    let (address, _asked) = server(|stream, path| {
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        match path {
            "/silent" => {}
            // An endless chunk, of one line
            "/chunk" => {
                let _ = stream.write_all(head);
                let _ = stream.write_all(b"ffffffffff\r\na 1\nb");
                while stream.write_all(&[b'x'; 1000]).is_ok() {}
            }
            _ => {
                let _ = stream.write_all(head);
                while stream.write_all(b"2\r\n#\n\r\n").is_ok() {}
            }
        }
        let _ = stream.read(&mut [0]);
    });
    for path in ["silent", "chunk", "trickle"] {
        let url = format!("http://{address}/{path}");
        let began = Instant::now();
        let mut tried = Tried::new(address, json!({"url": url, "timeout": 0.3}));
        let (_, error) = tried.sample();
        assert!(
            error.contains("timed out: raise timeout"),
            "{path}: {error}"
        );
        assert!(began.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn a_hundred_megabytes_in_one_line_take_no_memory_and_the_next_line_counts() {
    let (address, _asked) = server(|stream, _| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\na 1\nb{c=\"");
        let piece = vec![b'x'; 1 << 20];
        for _ in 0..100 {
            if stream.write_all(&piece).is_err() {
                return;
            }
        }
        let _ = stream.write_all(b"\"} 2\nd 3\n");
    });
    let mut tried = Tried::new(address, json!({"timeout": 60}));
    assert_eq!(tried.sample(), ("a 1\nd 3\n".to_owned(), String::new()));
    assert_eq!(tried.counted("lines_too_long"), 1);
}

#[test]
fn a_line_may_be_cut_anywhere_between_two_blocks() {
    let page = EVERY_TYPE;
    let whole = written(OPENMETRICS, page, json!({}));
    let entry = json!({"url": "http://h/"});
    let members: Vec<_> = entry.as_object().unwrap().clone().into_iter().collect();
    let options = crate::options::Options::read(OPTIONS, &members).unwrap();
    let monitor = OpenMetricsMonitor::new(&Setup {
        options: &options,
        place: &Place::new("/", "/"),
        module: "m",
        id: "",
    })
    .unwrap();
    for size in [1, 2, 3, 7, 64, 1000] {
        let (mut out, lines) = capture("m()");
        let mut parsed = Page::new(&monitor.written, 0);
        parsed.is_openmetrics(true);
        for piece in page.as_bytes().chunks(size) {
            parsed.push(piece, &mut out);
        }
        assert_eq!(parsed.end(&mut out), Ok(()));
        out.flush();
        let lines = lines.take();
        let bare = lines
            .lines()
            .map(|line| line.split_once(" [m()] ").unwrap().1);
        assert!(bare.eq(whole.lines()), "{size}");
    }
}

#[test]
fn metrics_and_labels_are_chosen_by_patterns_as_in_the_python_agent() {
    let page = "Keep_a{x=\"1\",y=\"2\"} 1\nkeep_b 2\nother{x=\"good\"} 3\nother{x=\"bad\"} 4\nthird{x=\"1\"} 5\n";
    for (entry, want) in [
        (
            json!({"metric_name_include_list": ["keep_*"]}),
            "keep_a 1 x=\"1\" y=\"2\"\nkeep_b 2\n",
        ),
        (
            json!({"metric_name_include_list": "keep_?, th[!x]rd"}),
            "keep_a 1 x=\"1\" y=\"2\"\nkeep_b 2\nthird 5 x=\"1\"\n",
        ),
        (
            json!({"metric_name_exclude_list": ["o*", "keep_a", "KEEP_B"]}),
            "keep_b 2\nthird 5 x=\"1\"\n",
        ),
        (
            json!({"metric_name_include_list": [], "metric_component_value_include_list": {"other": {"x": ["g*"]}, "*": {"x": ["1"], "z": ["no"]}}}),
            "keep_a 1 x=\"1\" y=\"2\"\nother 3 x=\"good\"\nthird 5 x=\"1\"\n",
        ),
        // A label that is missing is empty
        (
            json!({"metric_name_include_list": [], "metric_component_value_include_list": {"*": {"x": [""]}}}),
            "keep_b 2\n",
        ),
        // An excluded name stays so
        (
            json!({"metric_name_include_list": [], "metric_name_exclude_list": ["third"], "metric_component_value_include_list": {"*": {"x": ["1"]}}}),
            "keep_a 1 x=\"1\" y=\"2\"\n",
        ),
        (
            json!({"metric_component_value_exclude_list": {"*": {"x": ["1", "bad"]}}}),
            "keep_b 2\nother 3 x=\"good\"\n",
        ),
        (
            json!({"metric_name_include_list": ["keep*"], "label_exclude_list": ["x"]}),
            "keep_a 1 y=\"2\"\nkeep_b 2\n",
        ),
        (
            json!({"metric_name_include_list": ["keep*"], "label_include_list": ["x*"]}),
            "keep_a 1 x=\"1\"\nkeep_b 2\n",
        ),
        (json!({"metric_name_include_list": ["none"]}), ""),
    ] {
        assert_eq!(written(TEXT, page, entry.clone()), want, "{entry}");
    }
}

#[test]
fn extra_fields_and_time_stamps_stand_in_the_place_of_labels_of_their_name() {
    assert_eq!(
        written(
            TEXT,
            "m{env=\"page\",timestamp=\"label\",a=\"1\",a=\"2\"} 1 77\nn 2\n",
            json!({"extra_fields": {"env": "lab", "n": 3, "f": 0.5, "on": true}}),
        ),
        "m 1 a=\"2\" env=\"lab\" f=0.5 n=3 on=true timestamp=77\nn 2 env=\"lab\" f=0.5 n=3 on=true\n"
    );
}

#[test]
fn more_series_than_max_series_are_counted_and_left_out() {
    let page: String = (0..100).map(|n| format!("m{} {n}\n", n % 2)).collect();
    let entry = json!({"max_series": 10, "metric_name_exclude_list": ["m1"]});
    let mut tried = Tried::new(serves(TEXT, page), entry);
    for round in 1..3 {
        let (lines, error) = tried.sample();
        assert_eq!((lines.lines().count(), error.as_str()), (10, ""));
        assert_eq!(tried.counted("series_left_out"), round * 40);
    }
}

#[test]
fn a_token_is_read_anew_for_each_sample_and_told_to_no_other_host() {
    let scratch = common::testing::Scratch::new("token");
    let (other, asked_other) = server(|stream, _| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\na 1\n");
    });
    let (address, asked) = server(move |stream, path| {
        let to = if path == "/metrics" {
            "/m2".to_owned()
        } else {
            format!("http://{other}/")
        };
        let _ = write!(stream, "HTTP/1.1 307 Go\r\nLocation: {to}\r\n\r\n");
    });
    let file = scratch.path("token");
    let mut tried = Tried::new(
        address,
        json!({"bearer_token_file": file, "headers": {"X-Key": "k3y", "n": 5}}),
    );
    let (_, error) = tried.sample();
    assert!(error.contains("can't be read from"), "{error}");
    for token in ["first", "second"] {
        std::fs::write(&file, format!("{token}\n")).unwrap();
        assert_eq!(tried.sample(), ("a 1\n".to_owned(), String::new()));
        for _ in 0..2 {
            let head = asked.recv().unwrap().to_ascii_lowercase();
            let bearer = format!("authorization: bearer {token}\r\n");
            assert!(
                head.contains(&bearer) && head.contains("x-key: k3y\r\n"),
                "{head}"
            );
        }
        let head = asked_other.recv().unwrap().to_ascii_lowercase();
        assert!(!head.contains(token) && !head.contains("k3y"), "{head}");
    }
    std::fs::write(&file, "\n").unwrap();
    assert!(tried.sample().1.contains("bearer_token_file is empty"));
    std::fs::write(&file, "two\nlines").unwrap();
    let (_, error) = tried.sample();
    assert!(
        error.contains("bearer_token_file") && !error.contains("two"),
        "{error}"
    );
}

#[test]
fn a_login_in_the_address_is_sent() {
    let (address, asked) = server(|stream, _| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\na 1\n");
    });
    let url = format!("http://user:passw@{address}/");
    assert_eq!(Tried::new(address, json!({"url": url})).sample().0, "a 1\n");
    let head = asked.recv().unwrap().to_ascii_lowercase();
    assert!(
        head.contains("authorization: basic dxnlcjpwyxnzdw==\r\n"),
        "{head}"
    );
}

#[test]
fn wrong_options_are_refused_by_name() {
    for (option, value) in [
        ("headers", json!({"a b": "c"})),
        ("headers", json!({"a": "c\nd: e"})),
        ("headers", json!("x")),
        ("timeout", json!(0)),
        ("max_series", json!(0)),
        ("extra_fields", json!({"a": {}})),
        ("extra_fields", json!({"a": null})),
        ("metric_name_include_list", json!([1])),
        ("metric_component_value_include_list", json!({"m": []})),
        (
            "metric_component_value_include_list",
            json!({"m": {"l": "x"}}),
        ),
        (
            "metric_component_value_exclude_list",
            json!({"m": {"l": [1]}}),
        ),
    ] {
        let mut entry = json!({"url": "http://h/"});
        entry[option] = value;
        let error = make(&DESCRIPTION, &entry, &Place::new("/", "/")).err();
        let error = error.unwrap_or_else(|| panic!("{entry}"));
        assert_eq!(error.option(), Some(option), "{error}");
        assert!(error.to_string().contains(option), "{error}");
    }
    let error = make(&DESCRIPTION, &json!({}), &Place::new("/", "/")).err();
    assert_eq!(error.unwrap().option(), Some("url"));
}

#[test]
fn the_monitor_ends_soon_when_the_agent_stops() {
    let (tx, asked) = channel();
    let (address, _requests) = server(move |stream, _| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\na 1\n");
        tx.send(()).unwrap();
        let _ = stream.read(&mut [0]);
    });
    let mut tried = Tried::new(address, json!({"timeout": 60, "extra_metrics": true}));
    let stopper = stopper(&mut tried.out);
    let working = std::thread::spawn(move || tried.sample());
    asked.recv().unwrap();
    drop(stopper);
    let (lines, error) = working.join().unwrap();
    // No sample that failed, and nothing said about it.
    assert_eq!(error, "");
    assert!(!lines.contains("up "), "{lines}");
}

#[test]
fn a_page_survives_mutations_in_any_pieces() {
    let corpus = [include_str!("corpus.txt"), EVERY_TYPE].concat();
    let entry = json!({"url": "http://h/", "extra_metrics": true, "max_page_bytes": 4000});
    let members: Vec<_> = entry.as_object().unwrap().clone().into_iter().collect();
    let options = crate::options::Options::read(OPTIONS, &members).unwrap();
    let place = Place::new("/", "/");
    let setup = Setup {
        options: &options,
        place: &place,
        module: "m",
        id: "",
    };
    let monitor = OpenMetricsMonitor::new(&setup).unwrap();
    let mut random = 0x2545_F491_4F6C_DD1Du64;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 11) as usize % below
    };
    let (mut out, lines) = capture("m()");
    for _ in 0..mutations(10_000) / 50 + 1 {
        let mut bytes = corpus.clone().into_bytes();
        for _ in 0..50 {
            let at = next(bytes.len());
            match next(3) {
                0 => bytes[at] = next(256) as u8,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, b"\n\"\\{} "[next(6)]),
            }
        }
        let mut page = Page::new(&monitor.written, 0);
        page.is_openmetrics(next(2) == 0);
        let size = next(200) + 1;
        for piece in bytes.chunks(size) {
            page.push(piece, &mut out);
        }
        let _ = page.end(&mut out);
        page.report("http://h/", &mut out);
        out.flush();
        for line in lines.take().lines() {
            assert!(line.contains(" [m()] "), "{line}");
        }
    }
}

#[path = "servers_tests.rs"]
mod servers;
