//! The examples of monitors/contrib, as they are delivered.

use super::*;

const CONTRIB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/contrib");

fn copy(scratch: &Scratch, name: &str, mode: u32) {
    let text = fs::read_to_string(Path::new(CONTRIB).join(name)).unwrap();
    put(scratch, name, mode, &text);
}

fn well(mut trial: Trial) {
    assert!(trial.stop() < child::GRACE);
    assert_eq!(trial.counter("plugin_bad_lines"), 0, "{}", trial.seen);
    assert_eq!(trial.counter("plugin_failures"), 0);
    assert_eq!(trial.status.snapshot().errors, 0);
}

#[test]
fn the_example_in_shell_works() {
    let scratch = Scratch::new("contrib-sh");
    copy(&scratch, "open_files.sh", 0o755);
    let entry = json!({"module": "open_files", "plugin_mode": "sample"});
    let mut trial = Trial::start(&scratch.path(""), &entry);
    trial.until_seen("[open_files()] open_files.limit ");
    assert!(trial.seen.contains("[open_files()] open_files.used "));
    well(trial);
}

#[test]
#[ignore = "needs python3"]
fn the_example_in_python_works() {
    let scratch = Scratch::new("contrib-py");
    copy(&scratch, "directory_size.py", 0o755);
    fs::create_dir_all(scratch.path("spool/below")).unwrap();
    put(&scratch, "spool/a", 0o644, "12345");
    put(&scratch, "spool/below/b", 0o644, "678");
    let spool = scratch.path("spool");
    let spool = spool.to_str().unwrap();
    let entry = json!({
        "module": "directory_size",
        "plugin_mode": "serve",
        "paths": [spool, "/directory/that/is/not/there"],
    });
    let mut trial = Trial::start(&scratch.path(""), &entry);
    trial.until_seen(&format!("] directory_size.files 2 path=\"{spool}\"\n"));
    trial.until_seen(&format!("] directory_size.bytes 8 path=\"{spool}\"\n"));
    well(trial);
    let mut trial = Trial::start(&scratch.path(""), &json!({"module": "directory_size"}));
    let error = trial.result().unwrap_err().to_string();
    assert!(error.contains("paths must be a list"), "{error}");
}

#[test]
#[ignore = "needs python3"]
fn the_example_in_the_way_of_the_python_agent_works() {
    let scratch = Scratch::new("contrib-monitor");
    copy(&scratch, "file_age.py", 0o644);
    put(&scratch, "dump", 0o644, "12345");
    let dump = scratch.path("dump");
    let dump = dump.to_str().unwrap();
    let entry = json!({"module": "file_age", "path": dump});
    let mut trial = Trial::start(&scratch.path(""), &entry);
    trial.until_seen(&format!("[file_age()] file_age.bytes 5 path=\"{dump}\"\n"));
    assert!(trial.seen.contains("file_age.seconds "), "{}", trial.seen);
    well(trial);
    let mut trial = Trial::start(&scratch.path(""), &json!({"module": "file_age"}));
    let error = trial.result().unwrap_err().to_string();
    assert!(error.contains("Missing required field \"path\""), "{error}");
}

#[test]
fn the_example_in_rust_works() {
    let scratch = Scratch::new("contrib-rs");
    let made = std::process::Command::new("rustc")
        .args(["--edition", "2021", "-o"])
        .arg(scratch.path("load_peak"))
        .arg(Path::new(CONTRIB).join("load_peak.rs"))
        .status()
        .unwrap();
    assert!(made.success());
    let entry = json!({"module": "load_peak", "plugin_mode": "serve"});
    let mut trial = Trial::start(&scratch.path(""), &entry);
    trial.until_seen("[load_peak()] load_peak.load1 ");
    assert!(trial.seen.contains("[load_peak()] load_peak.runnable "));
    well(trial);
}
