//! Options that are known by name and type only: those of parts that this agent does not have,
//! and the structured ones, which have modules of their own. A file with
//! them keeps working; the operator is told that they have no effect.

use super::decl::{Decl, Kind, Val, Words};

pub(crate) const K8S: &str = "Kubernetes collection is not part of this agent yet";
const DOCKER: &str = "Docker collection is not part of this agent yet";
const WINDOWS: &str = "it concerns Windows only";
const DEBUG: &str = "it is a debugging aid of the Python program";

/// Whether something with this reason is what the Python agent does, and somebody may miss.
pub(crate) fn is_missed(why: &str) -> bool {
    [K8S, DOCKER].contains(&why)
}

macro_rules! names {
    ($($list:ident: $why:expr, [$($kind:ident $($name:ident $(($($with:ident($($arg:expr),*)),*))?)*;)*])*) => {
        $(static $list: &[Decl] = &[$($(
            bare(stringify!($name), Kind::$kind, $why) $($(.$with($($arg),*))*)?
        ),*),*];)*
    };
}

const fn bare(name: &'static str, kind: Kind, why: &'static str) -> Decl {
    Decl::new(name, kind, |_| Val::Unset, |_, _| {}).never(why)
}

names! {
FOREIGN_K8S: K8S, [
    Strings k8s_ignore_namespaces k8s_include_namespaces;
    Text k8s_api_url k8s_kubelet_ca_cert k8s_service_account_cert k8s_service_account_token
        k8s_service_account_namespace k8s_ratelimit_strategy;
    Bool k8s_verify_api_queries k8s_verify_kubelet_queries k8s_log_api_responses
        k8s_log_api_exclude_200s k8s_events_disable k8s_explorer_enable k8s_fallback_urls_disable;
    Int k8s_token_re_read_interval k8s_cache_query_timeout_secs k8s_cache_expiry_secs
        k8s_cache_expiry_fuzz_secs k8s_cache_start_fuzz_secs k8s_cache_purge_secs
        k8s_log_api_min_response_len k8s_controlled_warmer_max_query_retries
        k8s_controlled_warmer_max_attempts k8s_controlled_warmer_blacklist_time
        k8s_ratelimit_cluster_num_agents k8s_ratelimit_consecutive_increase_threshold
        k8s_ratelimit_max_concurrency;
    Float k8s_log_api_min_latency k8s_log_api_ratelimit_interval k8s_ratelimit_cluster_rps_init
        k8s_ratelimit_cluster_rps_min k8s_ratelimit_cluster_rps_max
        k8s_ratelimit_increase_factor k8s_ratelimit_backoff_factor;
]
FOREIGN_DOCKER: DOCKER, [
    Int k8s_docker_client_timeout k8s_docker_client_max_pool_size;
]
FOREIGN_WINDOWS: WINDOWS, [
    Int win32_max_open_fds(between(512.0, 2048.0));
]
FOREIGN_DEBUG: DEBUG, [
    Bool use_unsafe_debugging enable_profiling enable_cpu_profiling enable_memory_profiling
        memory_profiler_include_traceback enable_gc_stats(no_env())
        disable_leak_monitor_threads(no_env()) disable_leak_monitors_creation(no_env())
        disable_leak_new_file_matches(no_env()) disable_leak_scan_for_new_bytes(no_env())
        disable_leak_processing_new_bytes(no_env()) disable_leak_copying_thread(no_env())
        disable_leak_overall_stats(no_env()) disable_leak_bandwidth_stats(no_env())
        disable_copy_manager_stats(no_env()) disable_leak_update_debug_log_level(no_env())
        disable_leak_verify_config_cache_config(no_env());
    Int copying_thread_profile_interval memory_profiler_max_items memory_profiler_frames_count
        max_profile_interval_minutes profile_duration_minutes
        disable_leak_all_config_updates(no_env()) disable_leak_verify_config(no_env())
        disable_leak_config_equivalence_check(no_env())
        disable_leak_verify_can_write_to_logs(no_env()) disable_leak_config_reload(no_env())
        disable_leak_verify_config_create_monitors_manager(no_env())
        disable_leak_verify_config_create_copying_manager(no_env());
    Text copying_thread_profile_output_path memory_profiler(one_of(&["pympler", "tracemalloc"]))
        profile_clock profile_log_name memory_profile_log_name;
    Strings memory_profiler_ignore_path_globs(comma_only());
]
}

/// All options without a field in [`super::Options`], by group.
pub static FOREIGN: &[&[Decl]] = &[FOREIGN_K8S, FOREIGN_DOCKER, FOREIGN_WINDOWS, FOREIGN_DEBUG];

macro_rules! structured {
    ($($kind:ident $name:ident $doc:literal $($with:ident($($arg:expr),*))*;)*) => {
        /// The options that are objects or arrays.
        pub static STRUCTURED: &[Decl] = &[$(
            Decl::new(stringify!($name), Kind::$kind, |_| Val::Unset, |_, _| {})
            $(.$with($($arg),*))*
        ),*];

        /// The words on each of [`STRUCTURED`], in the same order.
        pub static STRUCTURED_WORDS: &[Words] = &[$(("Objects and lists", $doc)),*];
    };
}

structured! {
    Object server_attributes "Attributes of the upload session: an object of strings and numbers. Fragments are merged in, the later file wins. `serverHost` is added if absent.";
    Array import_vars "Environment variables that strings of the same file may refer to as `$NAME`: names, or objects with `var` and `default`." no_env();
    Array logs "The files to copy, see below. Lists of several files are joined." no_env();
    Array journald_logs "Rules for lines of the systemd journal: members as in `logs` but with `journald_unit` (an expression for the beginning of the unit's name) or `journald_globs` (field: shell pattern) for `path`, and `emit_raw_details`, `detect_escaped_strings`." no_env();
    Array k8s_logs "Rules for logs of containers: members as in `logs` but with `k8s_pod_glob`, `k8s_namespace_glob`, `k8s_container_glob` for `path`. No effect: there is no Kubernetes monitor." no_env();
    Array monitors "The monitors to run: objects with `module`, and with `id`, `stop_agent_on_failure` and the monitor's own options as needed." no_env();
    Array workers "Further uploaders, each with `id`, `api_key`, and `server_url` and `sessions` as needed. Older name: `api_keys`." no_env();
}

/// Every top-level option that there is.
pub fn all() -> impl Iterator<Item = &'static Decl> {
    super::options::CORE
        .iter()
        .chain(STRUCTURED)
        .chain(FOREIGN.iter().copied().flatten())
}
