//! `apache_monitor`, `nginx_monitor` and `tomcat_monitor` beside real servers, which each test starts on
//! free ports of this machine and ends.
//!
//! Where `SCALYR_TEST_PYTHON` names a Python with the package `scalyr-agent-2`, that agent's monitor asks
//! the same server, and both have to say the same.

use crate::testing::{capture, make};
use crate::{Description, Monitor, Place};
use serde_json::{json, Value as Json};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(120);

struct Server {
    child: Child,
    dir: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl Server {
    /// Starts `command` and waits for `port`.
    fn start(dir: &Path, command: &mut Command, port: u16) -> Server {
        let log = fs::File::create(dir.join("output")).unwrap();
        let mut server = Server {
            child: command
                // Apache ends its whole process group.
                .process_group(0)
                .stdin(Stdio::null())
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .spawn()
                .unwrap(),
            dir: dir.to_owned(),
        };
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = server.child.try_wait().unwrap();
            let output = fs::read_to_string(dir.join("output")).unwrap_or_default();
            assert!(ended.is_none() && Instant::now() < until, "{output}");
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }

    /// Asks it to end, so that its workers end with it.
    fn stop(&mut self) {
        use nix::sys::signal::{kill, Signal};
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        let _ = kill(pid, Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn folder(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("{name}_{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// A request whose connection stays open.
fn get(port: u16, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "{path}");
        answer.push(byte[0]);
    }
    stream
}

fn monitor(description: &'static Description, entry: &Json) -> Box<dyn Monitor> {
    make(description, entry, &Place::new("/", "/")).unwrap()
}

/// Name with fields, and value, of each line of a sample.
fn sample(monitor: &mut dyn Monitor) -> Vec<(String, f64)> {
    let (mut out, lines) = capture("m");
    monitor.gather(&mut out).unwrap();
    out.flush();
    lines
        .take()
        .lines()
        .map(|line| metric(line).unwrap())
        .collect()
}

fn metric(line: &str) -> Option<(String, f64)> {
    let (_, metric) = line.split_once("Z [")?.1.split_once("] ")?;
    let mut words = metric.split(' ');
    let (name, value) = (words.next()?, words.next()?);
    let fields: Vec<&str> = words.collect();
    let series = format!("{name} {}", fields.join(" "));
    Some((series.trim().to_owned(), value.parse().ok()?))
}

fn value(sample: &[(String, f64)], series: &str) -> f64 {
    let found = sample.iter().find(|(name, _)| name == series);
    found.unwrap_or_else(|| panic!("{series} in {sample:?}")).1
}

/// A sample of the Python agent's monitor, if there is one here.
fn of_python(description: &Description, entry: &Json, lines: usize) -> Option<Vec<(String, f64)>> {
    let python = std::env::var_os("SCALYR_TEST_PYTHON")?;
    let mut child = Command::new(python)
        .args(["-m", "scalyr_agent.run_monitor", "-s", "0.5", "-c"])
        .arg(entry.to_string())
        .arg(description.module)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let found = output.lines().map_while(Result::ok);
    let found: Vec<_> = found.filter_map(|line| metric(&line)).take(lines).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    Some(found)
}

/// Both agents' lines are the same, in the same order, and the server is as idle for one as for the other.
fn same_as_python(description: &'static Description, entry: &Json) {
    let until = Instant::now() + PATIENCE;
    loop {
        let ours = sample(&mut *monitor(description, entry));
        let Some(theirs) = of_python(description, entry, ours.len()) else {
            return;
        };
        let names = |sample: &[(String, f64)]| -> Vec<String> {
            sample.iter().map(|(name, _)| name.clone()).collect()
        };
        assert_eq!(names(&ours), names(&theirs));
        // A connection may still be closing.
        if ours == theirs {
            return;
        }
        assert!(Instant::now() < until, "{ours:?} {theirs:?}");
    }
}

#[test]
#[ignore = "needs nginx"]
fn what_nginx_does_is_what_its_metrics_say() {
    use crate::nginx_monitor::DESCRIPTION;
    let (dir, port) = (folder("nginx_monitor"), free_port());
    let at = dir.display();
    let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temp = temp.map(|name| format!("{name}_temp_path {at}/{name};\n"));
    let config = format!(
        "daemon off; pid {at}/pid; error_log {at}/error.log;\nevents {{}}\nhttp {{ access_log off;\n{}\
         server {{ listen 127.0.0.1:{port}; listen unix:{at}/socket;\n\
         location /nginx_status {{ stub_status; }}\n\
         location /denied {{ deny all; }}\nlocation /ok {{ return 200; }}\n\
         location /moved {{ return 302 /nginx_status; }} }} }}",
        temp.concat()
    );
    fs::write(dir.join("nginx.conf"), config).unwrap();
    let start = || {
        let mut command = Command::new("nginx");
        Server::start(&dir, command.arg("-c").arg(dir.join("nginx.conf")), port)
    };
    let mut server = start();
    let url = |path: &str| format!("http://127.0.0.1:{port}{path}");
    let entry = json!({"status_url": url("/nginx_status"), "extra_metrics": true});
    let mut nginx = monitor(&DESCRIPTION, &entry);
    let before = sample(&mut *nginx);
    let idle: Vec<TcpStream> = (0..7).map(|_| get(port, "/ok")).collect();
    let after = sample(&mut *nginx);
    let grown = |name| value(&after, name) - value(&before, name);
    assert_eq!(grown("nginx.connections.accepted"), 8.0);
    assert_eq!(grown("nginx.connections.handled"), 8.0);
    assert_eq!(grown("nginx.requests"), 8.0);
    assert_eq!(value(&after, "nginx.connections.dropped"), 0.0);
    assert_eq!(value(&after, "nginx.connections.waiting"), 7.0);
    assert_eq!(value(&after, "nginx.connections.writing"), 1.0);
    same_as_python(&DESCRIPTION, &json!({"status_url": url("/nginx_status")}));
    drop(idle);
    for entry in [
        json!({"unix_socket": dir.join("socket")}),
        json!({"status_url": url("/moved")}),
    ] {
        assert_eq!(sample(&mut *monitor(&DESCRIPTION, &entry)).len(), 4);
    }
    let error = |path: &str| {
        let mut monitor = monitor(&DESCRIPTION, &json!({"status_url": url(path)}));
        monitor.gather(&mut capture("m").0).unwrap_err().to_string()
    };
    assert!(error("/denied").contains("allow 127.0.0.1;"));
    assert!(error("/none").contains("Switch it on there"));
    assert!(error("/ok").contains("no such page"));
    server.stop();
    assert!(error("/nginx_status").contains("Is nginx running"));
    let server = start();
    let again = sample(&mut *nginx);
    assert!(value(&again, "nginx.requests") < value(&after, "nginx.requests"));
    drop(server);
}

fn apache(dir: &Path, port: u16, mpm: &str) -> Server {
    let at = dir.display();
    let modules = |names: &[&str]| -> String {
        let lines = names.iter().map(|name| {
            format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n")
        });
        lines.collect()
    };
    let config = format!(
        "ServerRoot /etc/apache2\nPidFile {at}/pid\nDefaultRuntimeDir {at}\nErrorLog {at}/error.log\n\
         ServerName localhost\nListen 127.0.0.1:{port}\n{}User www-data\nGroup www-data\n\
         StartServers 1\nMaxRequestWorkers 8\n\
         <Location \"/server-status\">\nSetHandler server-status\nRequire local\n</Location>\n\
         <Location \"/private\">\nSetHandler server-status\nAuthType Basic\nAuthName x\n\
         AuthBasicProvider file\nAuthUserFile {at}/users\nRequire valid-user\n</Location>\n\
         <Location \"/denied\">\nSetHandler server-status\nRequire all denied\n</Location>\n",
        modules(&[
            mpm,
            "authn_core",
            "authn_file",
            "auth_basic",
            "authz_core",
            "authz_host",
            "authz_user",
            "status",
        ])
    );
    // SHA-1 of "s3cret"
    fs::write(dir.join("users"), "u:{SHA}/vNB+F2HQ559kaLUZbmHHvZrXpg=\n").unwrap();
    fs::write(dir.join("httpd.conf"), config).unwrap();
    let mut command = Command::new("apache2");
    let command = command.arg("-DFOREGROUND").arg("-f");
    Server::start(dir, command.arg(dir.join("httpd.conf")), port)
}

#[test]
#[ignore = "needs apache2"]
fn what_apache_does_is_what_its_metrics_say() {
    use crate::apache_monitor::DESCRIPTION;
    for (mpm, metrics) in [("mpm_event", 6), ("mpm_prefork", 2)] {
        let (dir, port) = (folder(mpm), free_port());
        let mut server = apache(&dir, port, mpm);
        let url = |path: &str| format!("http://127.0.0.1:{port}{path}");
        let entry = json!({"status_url": url("/server-status/?auto"), "extra_metrics": true});
        let mut apache = monitor(&DESCRIPTION, &entry);
        let before = sample(&mut *apache);
        for _ in 0..7 {
            get(port, "/server-status?auto");
        }
        // It counts a request when it is over.
        let until = Instant::now() + PATIENCE;
        let after = loop {
            let after = sample(&mut *apache);
            if value(&after, "apache.accesses") >= value(&before, "apache.accesses") + 8.0 {
                break after;
            }
            assert!(Instant::now() < until, "{after:?}");
        };
        assert!(value(&after, "apache.workers.active") >= 1.0);
        assert!(value(&after, "apache.scoreboard state=\"sending\"") >= 1.0);
        assert!(value(&after, "apache.uptime") < 120.0);
        let entry = json!({"status_url": url("/server-status/?auto")});
        assert_eq!(sample(&mut *monitor(&DESCRIPTION, &entry)).len(), metrics);
        same_as_python(&DESCRIPTION, &entry);
        let error = |entry: Json| {
            let mut monitor = monitor(&DESCRIPTION, &entry);
            monitor.gather(&mut capture("m").0).unwrap_err().to_string()
        };
        let at = |path: &str| json!({ "status_url": url(path) });
        assert!(error(at("/server-status/")).contains("end in ?auto"));
        assert!(error(at("/none?auto")).contains("Switch mod_status on"));
        assert!(error(at("/denied?auto")).contains("Require local"));
        assert!(error(at("/private?auto")).contains("Set monitor_user"));
        let mut entry = at("/private?auto");
        entry["monitor_user"] = json!("u");
        entry["monitor_password"] = json!("s3cret");
        assert_eq!(sample(&mut *monitor(&DESCRIPTION, &entry)).len(), metrics);
        entry["monitor_password"] = json!("other");
        assert!(error(entry).contains("refuses user \"u\""));
        server.stop();
        assert!(error(at("/server-status/?auto")).contains("Is Apache running"));
    }
}

#[test]
#[ignore = "needs tomcat10-instance-create and java"]
fn what_tomcat_does_is_what_its_metrics_say() {
    use crate::tomcat_monitor::DESCRIPTION;
    let (dir, port, second) = (folder("tomcat_monitor"), free_port(), free_port());
    let base = dir.join("base");
    let made = Command::new("tomcat10-instance-create").arg(&base).output();
    let made = made.unwrap();
    assert!(made.status.success(), "{made:?}");
    let conf = base.join("conf");
    let manager = conf.join("Catalina/localhost");
    fs::create_dir_all(&manager).unwrap();
    fs::copy(
        "/etc/tomcat10/Catalina/localhost/manager.xml",
        manager.join("manager.xml"),
    )
    .unwrap();
    let connector = |port| format!("<Connector address=\"127.0.0.1\" port=\"{port}\"/>");
    let server = format!(
        "<Server port=\"-1\"><GlobalNamingResources><Resource name=\"Users\" auth=\"Container\" \
         type=\"org.apache.catalina.UserDatabase\" pathname=\"conf/tomcat-users.xml\" \
         factory=\"org.apache.catalina.users.MemoryUserDatabaseFactory\"/></GlobalNamingResources>\
         <Service name=\"Catalina\">{}{}<Engine name=\"Catalina\" defaultHost=\"localhost\">\
         <Realm className=\"org.apache.catalina.realm.UserDatabaseRealm\" resourceName=\"Users\"/>\
         <Host name=\"localhost\" appBase=\"webapps\"/></Engine></Service></Server>",
        connector(port),
        connector(second)
    );
    fs::write(conf.join("server.xml"), server).unwrap();
    fs::write(
        conf.join("tomcat-users.xml"),
        "<tomcat-users><role rolename=\"manager-status\"/>\
         <user username=\"mon\" password=\"pw\" roles=\"manager-status\"/>\
         <user username=\"other\" password=\"pw\" roles=\"\"/></tomcat-users>",
    )
    .unwrap();
    let mut command = Command::new("/usr/share/tomcat10/bin/catalina.sh");
    let command = command
        .arg("run")
        .env("CATALINA_BASE", &base)
        .env("CATALINA_HOME", "/usr/share/tomcat10");
    let mut server = Server::start(&dir, command, port);
    let entry = |path: &str, user: &str, password: &str| {
        let url = format!("http://127.0.0.1:{port}{path}");
        json!({"monitor_url": url, "monitor_user": user, "monitor_password": password,
               "extra_metrics": true, "timeout": 60})
    };
    let mut tomcat = monitor(&DESCRIPTION, &entry("/manager/status/all", "mon", "pw"));
    // It listens before the manager is there.
    let until = Instant::now() + PATIENCE;
    while tomcat.gather(&mut capture("m").0).is_err() {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(200));
    }
    let before = sample(&mut *tomcat);
    for _ in 0..7 {
        get(port, "/none");
    }
    let after = sample(&mut *tomcat);
    let series = |name: &str| format!("{name} connector=\"http-nio-127.0.0.1-{port}\"");
    let grown = |name: &str| value(&after, &series(name)) - value(&before, &series(name));
    assert_eq!(grown("tomcat.runtime.request_count"), 8.0);
    assert_eq!(grown("tomcat.runtime.error_count"), 7.0);
    assert!(grown("tomcat.bytes.sent") > 1000.0);
    let total = value(&after, "tomcat.runtime.memory_bytes type=\"total\"");
    assert!(total > value(&after, "tomcat.runtime.memory_bytes type=\"free\""));
    assert!(value(&after, "tomcat.memory_pools.used pool=\"metaspace\"") > 1.0);
    value(
        &after,
        "tomcat.sessions.active context=\"localhost/manager\"",
    );
    let error = |path: &str, user: &str, password: &str| {
        let mut monitor = monitor(&DESCRIPTION, &entry(path, user, password));
        monitor.gather(&mut capture("m").0).unwrap_err().to_string()
    };
    assert!(error("/manager/status", "mon", "px").contains("refuses user \"mon\" (401)"));
    assert!(error("/manager/status", "other", "pw").contains("role manager-status"));
    assert!(error("/none", "mon", "pw").contains("correct monitor_url"));
    let status = entry("/manager/status", "mon", "pw");
    assert!(sample(&mut *monitor(&DESCRIPTION, &status)).len() > 20);
    server.stop();
    assert!(error("/manager/status", "mon", "pw").contains("Is Tomcat running"));
}
