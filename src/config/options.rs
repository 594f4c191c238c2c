//! Every core option, declared once: those of the Python agent and those that only this one has.

use std::fmt;

use super::decl::{Decl, Held, Words};
use super::secret::{mask_all, mask_url, Secret};

/// The install directories and derived defaults are filled in when a configuration is loaded.
const BY_INSTALL: &str = "by kind of installation";
const AUTO_LEVEL: &str = "automatic: `deflate` and `zstandard` are thorough while there is time and fast while there is backlog, the others have their usual level";
const NOTHING_SKIPPED: &str = "unset: nothing is skipped";
const THREADS: &str = "sessions are threads of the one process";
const PYTHON: &str = "it concerns the Python program only";
const INGESTION: &str = "the other ingestion protocol is not public";

macro_rules! options {
    ($(section $section:literal { $(
        $(#[doc = $doc:literal])+
        $name:ident: $ty:ty = $default:expr $(, $with:ident($($arg:expr),*))* ;
    )* })*) => {
        /// The scalar options, each in its own type and by its own name. Times are seconds and
        /// sizes bytes. `docs/configuration.md` lists them with bounds and variables.
        #[derive(Clone)]
        pub struct Options { $($(
            $(#[doc = $doc])+
            pub $name: $ty,
        )*)* }

        impl Default for Options {
            fn default() -> Self {
                Options { $($( $name: $default, )*)* }
            }
        }

        /// The declarations of all fields of [`Options`].
        pub static CORE: &[Decl] = &[ $($(
            Decl::new(
                stringify!($name),
                <$ty as Held>::KIND,
                |o| o.$name.val(),
                |o, val| o.$name.put(val),
            )
            $(.$with($($arg),*))*
        ,)*)* ];

        /// The words on each of [`CORE`], in the same order.
        pub static CORE_WORDS: &[Words] = &[ $($( ($section, concat!($($doc),+)), )*)* ];
    };
}

options! {
section "Account, server and directories" {
    /// The write key of the account that the logs go to.
    api_key: Secret = Secret::default(), not_empty(), code("emptyApiKey"), mask(mask_all), default_text("none, it must be set");
    /// Address of the server: `https://host`, `host` or `host:port`. Always TLS unless `allow_http`.
    scalyr_server: String = "https://agent.scalyr.com".to_owned(), env("SCALYR_SERVER"), not_empty();
    /// Take `scalyr_server` and the workers' `server_url` as they are. Without it an `http://`
    /// address is changed to `https://`.
    allow_http: bool = false;
    /// When false, addresses in monitors' options are changed to `https://` as well.
    allow_http_monitors: bool = true;
    /// Check server and key at the start also when standard output is not a terminal.
    check_remote_if_no_tty: bool = false;
    /// Cut the automatic `serverHost` attribute at its first dot.
    strip_domain_from_default_server_host: bool = false;
    /// Directory of agent.log, metric logs and the pid file, and base of relative log paths.
    agent_log_path: String = String::new(), path(), default_text(BY_INSTALL);
    /// Directory of checkpoints and status files.
    agent_data_path: String = String::new(), path(), default_text(BY_INSTALL);
    /// Directory of the fragments, relative to that of the main file. Of no use in a fragment.
    config_directory: String = "agent.d".to_owned(), not_empty();
    /// Directories in which plug-ins are looked for, separated by colons, beyond `monitors/local` and
    /// `monitors/contrib` of the installation.
    additional_monitor_module_paths: String = String::new(), default_text("none");
    /// Upload the agent's own logs.
    implicit_agent_log_collection: bool = true;
    /// Start the system metrics monitor.
    implicit_metric_monitor: bool = true;
    /// Start a process metrics monitor for the agent itself.
    implicit_agent_process_metrics_monitor: bool = true;
}
section "Sending" {
    /// Compression of request bodies. `zstandard` packs as well as `deflate` for a fifth of the
    /// processor time, `lz4` is as fast and packs less, `bz2` packs best and is many times slower.
    /// `bz2`, `lz4` and `zstandard` are in builds with the cargo features `bz2`, `lz4` and `zstd`;
    /// a type that is not in the build is an error.
    compression_type: String = "deflate".to_owned(), one_of(&["deflate", "bz2", "none", "lz4", "zstandard"]);
    /// Level of compression: 1 to 9 for `deflate` (usually 6) and `bz2` (9), 0 to 16 for `lz4` (0;
    /// all of them are the same here), 1 to 22 for `zstandard` (3; from 12 on they take 40 to 130
    /// MB of memory). A level that the type does not have is replaced by the usual one.
    compression_level: Option<i64> = None, default_text(AUTO_LEVEL);
    /// Cap on the upload rate of each session: `unlimited`, `legacy`, or a rate such as `1.5MB/s`,
    /// `200KiB/s`, `5GB/d` (bytes only; per s, m, h, d or w; 1000-based, 1024-based with i).
    max_send_rate_enforcement: String = "unlimited".to_owned();
    /// With this or with `max_send_rate_enforcement: legacy` the cautious defaults of old apply:
    /// `max_allowed_request_size` 1048576, `pipeline_threshold` 1.1,
    /// `min_request_spacing_interval` 1.0. An explicit value of those wins in any case.
    disable_max_send_rate_enforcement_overrides: bool = false;
    /// Upper bound of a request body before compression.
    max_allowed_request_size: i64 = 5_900_000, between(1_000.0, 100_000_000.0);
    /// Lower bound that the size is reduced to after "too large" answers.
    min_allowed_request_size: i64 = 102_400, between(100.0, 100_000_000.0);
    /// Shortest pause between requests.
    min_request_spacing_interval: f64 = 0.0, between(0.0, 86_400.0);
    /// Longest pause after a success, and the first one.
    max_request_spacing_interval: f64 = 5.0, between(0.0, 86_400.0);
    /// Longest pause after a failure.
    max_error_request_spacing_interval: f64 = 30.0, between(0.0, 86_400.0);
    /// Below this size of a request the pause grows by the next option.
    low_water_bytes_sent: i64 = 20_480, min(0.0);
    /// Factor for the pause after a small request.
    low_water_request_spacing_adjustment: f64 = 1.5, between(0.01, 100.0);
    /// Above this size of a request the pause shrinks by the next option.
    high_water_bytes_sent: i64 = 102_400, min(0.0);
    /// Factor for the pause after a large request.
    high_water_request_spacing_adjustment: f64 = 0.6, between(0.01, 100.0);
    /// Factor for the pause after a failed request.
    failure_request_spacing_adjustment: f64 = 1.5, between(1.0, 100.0);
    /// Factor for the size after a "too large" answer.
    request_too_large_adjustment: f64 = 0.5, between(0.01, 0.99);
    /// How long one request may take.
    request_deadline: f64 = 60.0, between(0.1, 3_600.0);
    /// Fraction of the largest size from which the next request is prepared while one is in flight.
    pipeline_threshold: f64 = 0.0, min(0.0), never("the next request is always prepared while one is in flight");
    /// Write log attributes into each event in place of the table of logs.
    disable_logfile_addevents_format: bool = false;
    /// Never send a time stamp below the previous one.
    enforce_monotonic_timestamps: bool = false;
    /// Debugging: pretend that every request succeeded and send nothing.
    disable_send_requests: bool = false;
    /// Form of request bodies: `scalyr` (length-prefixed messages) or `json` (strict JSON).
    wire_form: String = "scalyr".to_owned(), one_of(&["scalyr", "json"]);
    /// Repeat each log's attributes in each of its events, as the Python agent does.
    repeat_log_attributes: bool = false;
    /// Seconds between empty requests while there is nothing to send.
    keep_alive_interval: f64 = 60.0, between(1.0, 600.0);
    /// The alternative ingestion protocol.
    use_new_ingestion: bool = false, never(INGESTION);
    /// Address for the alternative ingestion protocol.
    new_ingestion_bootstrap_address: String = "127.0.0.1:4772".to_owned(), never(INGESTION);
    /// TLS for the alternative ingestion protocol.
    new_ingestion_use_tls: bool = false, never(INGESTION);
}
section "TLS and proxies" {
    /// Check certificate and host name of the server.
    verify_server_certificate: bool = true;
    /// File with the root certificates to trust. Without it those in the file that the environment variable
    /// `SSL_CERT_FILE` names count, else the system's, else the built-in ones. If the variable's file can't be read or
    /// holds no certificate, a warning says so and the others count. `SSL_CERT_DIR` is not read.
    ca_cert_path: Option<String> = None, path(), default_text("unset");
    /// A second name of the same, never read.
    new_ca_cert_path: Option<String> = None, never(INGESTION);
    /// Choice of the Python HTTP library.
    use_requests_lib: bool = false, never(PYTHON);
    /// Choice of a Python TLS library.
    use_tlslite: bool = false, never(PYTHON);
    /// Proxy for http addresses; empty means none.
    http_proxy: Option<String> = None, mask(mask_url);
    /// Proxy for https addresses; empty means none.
    https_proxy: Option<String> = None, mask(mask_url);
}
section "Reading files" {
    /// Seconds between scans for files that newly match a `path`.
    max_new_log_detection_time: f64 = 60.0, between(0.05, 86_400.0);
    /// Least seconds between two looks at the same file.
    minimum_scan_interval: Option<i64> = None, between(0.0, 86_400.0);
    /// Most files that are open at once.
    max_open_files: i64 = 256, between(8.0, 65_536.0);
    /// Shortest pause between looks at files that are busy.
    min_poll_interval: f64 = 0.25, between(0.01, 3_600.0);
    /// Longest pause between looks at files that are quiet, and the usual one for what the agent itself writes. Where the
    /// kernel tells of changes (`inotify`), files that are quiet are looked at when it does, and else about once a minute.
    max_poll_interval: f64 = 5.0, between(0.01, 3_600.0);
    /// Let the kernel tell which files change. Without it, and where it can't tell (network file systems, overlays),
    /// files are looked at in turn.
    inotify: bool = true;
    /// Most folders and files of which the kernel is asked to tell. A quarter of what it grants to a user
    /// (`fs.inotify.max_user_watches`) is not exceeded in any case.
    inotify_max_watches: i64 = 8_192, between(0.0, 1_000_000.0);
    /// Seconds that a rotated file is still followed after its last change.
    rotated_file_grace: f64 = 300.0, between(0.0, 86_400.0);
    /// Longest text of an event; longer lines are split.
    max_line_size: i64 = 49_900, between(1.0, 50_000_000.0);
    /// Longest raw line of the `json` and `cri` formats.
    internal_parse_max_line_size: i64 = 65_536, between(1.0, 50_000_000.0), default_text("value of `read_page_size`");
    /// How much of a file is read at a time; should exceed `max_line_size`.
    read_page_size: i64 = 65_536, between(1.0, 50_000_000.0);
    /// How long the newline of a last line is waited for.
    line_completion_wait_time: f64 = 5.0, between(0.0, 86_400.0);
    /// A new file that has more than this to read is skipped ahead to so much before its end.
    max_log_offset_size: Option<i64> = None, min(0.0), default_text(NOTHING_SKIPPED);
    /// The same for a file that was read before.
    max_existing_log_offset_size: Option<i64> = None, min(0.0), default_text(NOTHING_SKIPPED);
    /// A file of which nothing could be uploaded for so long is skipped to its end.
    copy_staleness_threshold: Option<f64> = None, min(0.0), default_text(NOTHING_SKIPPED);
    /// A file unmodified for so long may be closed.
    close_old_files_duration_in_seconds: i64 = 3_600, min(0.0);
    /// A file that vanished so long ago counts as deleted.
    log_deletion_delay: f64 = 600.0, min(0.0);
    /// Where a file's counter of sequence numbers starts anew.
    max_sequence_number: i64 = 1_099_511_627_776, min(1.0);
    /// Follow any link that a wildcard of a `path` leads to. Without it a symbolic link there is
    /// followed only if it belongs to root, to the agent's user or to the owner of what it leads to,
    /// and a file with several hard links is taken up only if nobody but root, the agent's user and
    /// the file's owner may write in its folder. Otherwise whoever may write in a log folder could
    /// have any file of the machine sent. What stands before the first wildcard is not examined.
    follow_foreign_links: bool = false;
    /// Look for the copied file after a truncation.
    enable_copy_truncate_log_rotation_support: bool = true, no_env();
    /// Add the attribute `raw_timestamp` in the `json` and `cri` formats.
    include_raw_timestamp_field: bool = true;
    /// In the `json` format, join records until the text ends in a newline.
    merge_json_parsed_lines: bool = false;
}
section "Checkpoints" {
    /// Seconds between two writes of checkpoints.json for the Python agent, where something has changed and that is at most 64 KiB
    /// a minute. It is also written at the stop.
    full_checkpoint_interval_in_seconds: i64 = 60, between(1.0, 86_400.0);
    /// Longest time in seconds after which the position of delivered lines is synced to the disk. A kill or a crash of the agent
    /// costs nothing; after a loss of power the lines that were delivered in this time are sent again, with the same sequence
    /// numbers, by which the server drops them. Monitors that read a stream (journald) write its last entries again. 0: it
    /// is synced at each answer of the server, which wears flash out.
    position_sync_interval: f64 = 15.0, between(0.0, 3_600.0);
    /// Older checkpoints are ignored, and reading restarts at the end of the file.
    max_allowed_checkpoint_age: Option<i64> = None, min(0.0), default_text(NOTHING_SKIPPED);
    /// Checkpoints of files that match are dropped at the start: they are read from the beginning.
    ignore_checkpoints_on_startup_path_globs: Vec<String> = Vec::new();
}
section "The agent's own logs" {
    /// Size at which agent.log and metric logs are rotated.
    log_rotation_max_bytes: i64 = 20_971_520, min(0.0);
    /// Rotated copies that are kept.
    log_rotation_backup_count: i64 = 2, between(0.0, 1_000.0);
    /// 0 for normal, 1 to 5 for more and more detail in agent_debug.log.
    debug_level: i64 = 0, between(0.0, 5.0), code("badDebugLevel");
    /// Loggers that have debug level 5 whatever `debug_level` says: a module as agent.log names it, or
    /// one above it (`scalyr_agent.tail`), or a monitor (`shell_monitor(2)`).
    debug_level_logger_names: Vec<String> = Vec::new();
    /// Least severity that is repeated on standard output with `--no-fork`, in any case.
    stdout_severity: String = "NOTSET".to_owned(), upper_case(), code("badStdoutSeverity"),
        one_of(&["NOTSET", "DEBUG", "INFO", "WARN", "WARNING", "ERROR", "CRITICAL", "FATAL"]);
    /// Debug lines and parent processes in the record of the start.
    debug_init: bool = false, never("command lines of other processes may hold secrets");
}
section "Monitors and metrics" {
    /// Default seconds between two samples of a monitor.
    global_monitor_sample_interval: f64 = 30.0, between(0.1, 86_400.0);
    /// Random first delay per monitor.
    global_monitor_sample_interval_enable_jitter: bool = true;
    /// Metrics for which a rate per second is emitted too: `module:metric` or
    /// `module:metric:field=value`.
    calculate_rate_metric_names: Vec<String> = Vec::new();
    /// Seconds between purges of the rate cache; 0 is never.
    metric_functions_cleanup_interval: i64 = 1_800, min(0.0);
    /// Metrics go to the server by way of memory and not through log files: for devices whose flash
    /// is to be spared. What has not been sent when the agent ends is lost then.
    metrics_in_memory: bool = false;
    /// Bytes of metrics that may wait in memory for the server, with `metrics_in_memory`; what comes
    /// beyond that is dropped and counted.
    metrics_memory_bytes: i64 = 262_144, between(16_384.0, 67_108_864.0);
    /// Worker threads of the syslog monitor.
    syslog_processing_thread_count: i64 = 16, between(1.0, 1_024.0), no_env(), never("one thread serves all of a monitor's connections");
}
section "Housekeeping" {
    /// Seconds between looks at the configuration files.
    config_change_check_interval: f64 = 30.0, between(0.1, 86_400.0);
    /// Seconds between overall statistics lines.
    overall_stats_log_interval: f64 = 600.0, min(0.1);
    /// Seconds between statistics lines on copying.
    copying_manager_stats_log_interval: f64 = 300.0, min(0.1);
    /// Seconds between statistics lines on requests.
    bandwidth_stats_log_interval: f64 = 60.0, min(0.1);
    /// Seconds between internal timing statistics; 0 is off.
    instrumentation_stats_log_interval: i64 = 0, min(0.0), never("it tells of caches that are not here");
    /// Seconds between looks at what monitors add to the User-Agent.
    user_agent_refresh_interval: i64 = 60, min(1.0), never("no monitor of this version adds to it");
    /// How many seconds a session may make no attempt to copy before `status -H` and `status -v` end with
    /// exit code 2: a restart may mend it.
    healthy_max_time_since_last_copy_attempt: f64 = 60.0, min(0.0);
    /// How many seconds requests may fail, or not be answered, before `status` says that nothing is
    /// delivered. A refusal by the server, such as that of the key, counts at once.
    healthy_max_time_without_delivery: f64 = 300.0, min(0.0);
    /// How long `status -v` waits for an answer.
    agent_status_timeout: i64 = 30, between(1.0, 3_600.0), no_env();
    /// Keep the command line in the pid file and compare it.
    pidfile_advanced_reuse_guard: bool = false, never("the guard against a reused process id is always on");
    /// Forced garbage collection.
    garbage_collect_interval: i64 = 300, never(PYTHON);
    /// Choice of the Python JSON library.
    json_library: String = "auto".to_owned(), one_of(&["auto", "json", "orjson"]), never(PYTHON);
}
section "Workers" {
    /// One process per session of a worker.
    use_multiprocess_workers: bool = false, never(THREADS),
        formerly("use_multiprocess_copying_workers", "SCALYR_USE_MULTIPROCESS_COPYING_WORKERS");
    /// Sessions of a worker that gives no number.
    default_sessions_per_worker: i64 = 1, between(1.0, 1_024.0),
        formerly("default_workers_per_api_key", "SCALYR_DEFAULT_WORKERS_PER_API_KEY");
    /// Seconds between status lines of a session's process.
    default_worker_session_status_message_interval: f64 = 600.0, min(0.1), never(THREADS);
    /// Process metrics for each session's process.
    enable_worker_process_metrics_gather: bool = false, never(THREADS);
}
}

/// By name, secrets masked.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for decl in CORE {
            map.entry(&decl.name, &format_args!("{}", decl.show(self)));
        }
        map.finish()
    }
}

/// Equal values of all options.
impl PartialEq for Options {
    fn eq(&self, other: &Self) -> bool {
        CORE.iter()
            .all(|decl| (decl.get)(self) == (decl.get)(other))
    }
}
