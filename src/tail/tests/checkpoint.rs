//! Checkpoints after a kill, with a clock that was set, with other workers, and of the Python agent.

use super::*;

#[test]
fn killed_before_the_very_first_delivery_loses_nothing_and_keeps_its_numbers() {
    let mut desk = Desk::new(&["a.log"]);
    desk.append("a.log", "1\n2\n");
    desk.start();
    desk.run_and_die(2);
    desk.append("a.log", "3\n");
    desk.start();
    desk.run(6);
    assert_eq!(desk.all("a.log"), "1\n2\n3\n");
    assert!(desk.arrived.resent >= 2);
}

#[test]
fn killed_with_requests_under_way_during_rotations_repeats_nothing_visible() {
    let mut desk = Desk::new(&["a.log"]);
    desk.limit = 700;
    let mut n = 0;
    let mut expected = String::new();
    for round in 0..12 {
        for _ in 0..40 {
            desk.append("a.log", format!("line {n}\n"));
            expected += &format!("line {n}\n");
            n += 1;
        }
        desk.start();
        if round % 3 == 1 {
            desk.rename("a.log", &format!("a.log-2026112{round:02}"));
            desk.append("a.log", format!("after {round}\n"));
            expected += &format!("after {round}\n");
        }
        desk.run_and_die(1);
    }
    desk.start();
    desk.run(20);
    assert_eq!(desk.all("a.log"), expected);
}

#[test]
fn sent_again_after_a_kill_has_the_same_numbers() {
    let mut desk = Desk::new(&["a.log"]);
    desk.append("a.log", "1\n2\n3\n");
    desk.start();
    desk.now += Duration::from_secs(1);
    desk.fill();
    let first = desk.batch.complete(1).to_vec();
    let numbers = |body: &[u8]| -> Vec<String> {
        let body: serde_json::Value = serde_json::from_slice(body).unwrap();
        let events = body["events"].as_array().unwrap();
        events
            .iter()
            .map(|e| format!("{}{}{}", e["si"], e["sn"], e["sd"]))
            .collect()
    };
    desk.tailer.as_mut().unwrap().before_send();
    desk.kill();
    desk.start();
    desk.now += Duration::from_secs(1);
    desk.fill();
    assert_eq!(numbers(desk.batch.complete(1)), numbers(&first));
}

#[test]
fn a_checkpoint_file_that_can_not_be_read_is_set_aside_and_not_removed() {
    let dir = std::env::temp_dir().join(format!("eio-{}", random::uuid4()));
    fs::create_dir(&dir).unwrap();
    let bad = dir.join("checkpoints-worker-default-0.json");
    // ELOOP stands for EIO
    std::os::unix::fs::symlink(&bad, &bad).unwrap();
    fs::write(
        dir.join("active-checkpoints-worker-default-0.json"),
        r#"{"time":1,"checkpoints":{}}"#,
    )
    .unwrap();
    let open = crate::tail::positions::open(&dir, Duration::ZERO, Duration::MAX);
    let damaged = open.unwrap().damaged;
    assert_eq!(damaged.len(), 1);
    assert!(fs::symlink_metadata(damaged[0].aside.as_ref().unwrap()).is_ok());
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_clock_that_was_set_back_does_not_bring_old_positions_back() {
    let mut desk = Desk::stopped("1\n");
    // That run was an hour ahead
    let file = desk.path("data/checkpoints.json");
    let mut json: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let later = |v: &mut serde_json::Value| *v = (v.as_f64().unwrap() + 3600.0).into();
    later(&mut json["time"]);
    for entry in json["checkpoints"].as_object_mut().unwrap().values_mut() {
        later(&mut entry["time"]);
    }
    fs::write(&file, json.to_string()).unwrap();
    desk.start();
    desk.append("a.log", "2\n");
    desk.run(3);
    desk.stop();
    desk.start();
    desk.run(6);
    assert_eq!(desk.all("a.log"), "1\n2\n");
    assert_eq!(desk.arrived.resent, 0);
}

#[test]
fn two_workers_that_copy_the_same_file_each_keep_their_position() {
    // The Python agent's checkpoints have a position for each path, not for each worker
    let mut desk = Desk::new(&["a.log"]);
    desk.append("a.log", "1\n");
    desk.start();
    let start = |desk: &Desk, session: &str, saved: Option<&crate::tail::Saved>| {
        let mut settings = Settings::new(desk.path("data"));
        settings.journal = desk.journal.clone();
        settings.session = session.into();
        settings.worker = session.split('-').next().unwrap().into();
        let mut entry = Entry::new(desk.dir.join("a.log"));
        entry.copy_from_start = true;
        Tailer::new(settings, vec![entry], desk.envelope.clone(), saved)
    };
    desk.tailer = None;
    let mut other = start(&desk, "other-0", None);
    let mut default = start(&desk, "default-0", None);
    let mut batch = Batch::new();
    let now = Instant::now() + Duration::from_secs(1);
    // `other` can't send; `default` can
    other.poll(now);
    default.poll(now);
    batch.start(&desk.envelope, desk.limit);
    default.fill(&mut batch, now);
    default.commit(&batch, now);
    other.checkpoint();
    default.checkpoint();
    let saved = desk.recall();
    let mut other = start(&desk, "other-0", saved.as_ref());
    batch.start(&desk.envelope, desk.limit);
    other.poll(now);
    other.fill(&mut batch, now);
    assert_eq!(
        batch.events(),
        1,
        "the line that was never sent to the other worker is lost"
    );
}

#[test]
fn files_that_are_gone_and_done_are_forgotten_and_not_reported_as_lost() {
    let mut desk = Desk::with(&["*.log"], true, |s| {
        s.deletion_delay = Duration::from_secs(5)
    });
    desk.append("a.log", "1\n");
    desk.start();
    // Remembered before anything of it was sent
    desk.stop();
    desk.start();
    desk.run(3);
    fs::remove_file(desk.path("a.log")).unwrap();
    desk.run(140);
    assert_eq!(
        desk.tailer.as_ref().unwrap().logs.len(),
        0,
        "it was retired"
    );
    desk.stop();
    let text = fs::read_to_string(desk.path("data/checkpoints.json")).unwrap();
    eprintln!("{text}");
    desk.start();
    let tailer = desk.tailer.as_ref().unwrap();
    assert_eq!(
        tailer.retired.total_skipped() + desk.lost(),
        0,
        "bytes that were sent count as lost"
    );
    assert!(!text.contains("a.log"), "never forgotten");
}

#[test]
fn late_lines_of_a_file_that_the_python_agent_left_half_read_have_numbers_of_their_own() {
    let mut desk = Desk::new(&["a.log"]);
    desk.append("a.log.1", "1\n2\n");
    desk.append("a.log", "3\n4\n");
    let (old, new) = (desk.ino("a.log.1"), desk.ino("a.log"));
    let time = crate::util::time::now_secs();
    let checkpoint = format!(
        r#"{{"time":{time},"checkpoints":{{"{}":{{"position":0,"pending_files":[
        {{"position_start":-2,"position_end":2,"last_known_size":4,"is_log_file":false,"inode":{old}}},
        {{"position_start":2,"position_end":4,"last_known_size":2,"is_log_file":true,"inode":{new}}}],
        "sequence_id":"b00d64aa-464c-4c37-81b8-36ce979a9e33","sequence_number":2,"time":{time}}}}}}}"#,
        desk.path("a.log").display()
    );
    fs::write(desk.path("data/checkpoints.json"), checkpoint).unwrap();
    desk.append("a.log.1", "x\n");
    desk.append("a.log.1", "y\n");
    desk.start();
    desk.run(6);
    assert_eq!(desk.all("a.log"), "2\nx\ny\n3\n4\n");
    assert_eq!(desk.arrived.resent, 0);
}
