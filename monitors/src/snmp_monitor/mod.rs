//! `snmp_monitor`: what the agents of other devices tell by SNMP.

mod ber;
#[cfg(test)]
mod hostile_tests;
mod message;
mod mib;
mod names;
mod poll;
#[cfg(test)]
mod server_tests;
mod session;
mod target;
#[cfg(test)]
mod tests;
mod usm;

use crate::line::{clean_name, Value as Shown};
use crate::monitor::{Cadence, Description, Log, Measure, MetricSpec, Monitor, Service, Setup};
use crate::options::{Default, Kind, OptionSpec};
use crate::service::{aside, Deadline};
use crate::{Emitter, Error};
use common::stop::Stop;
use common::thread::Work;
use message::Value;
use names::Names;
use poll::{Sample, Wanted};
use session::{Limits, Login, Session};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use target::{Plan, Target};

/// Its entry in the registry.
pub const DESCRIPTION: Description = Description {
    module: "scalyr_agent.builtin_monitors.snmp_monitor",
    text: "Asks SNMP agents, such as those of switches, routers, printers and UPSs, for the values of objects, over UDP by IPv4 or IPv6. Each group in oid_groups is a list of objects; each entry of poll_targets says which agents (targets) are asked for which groups (oids). An object is given by dotted numbers with its instance (1.3.6.1.2.1.1.3.0) or as MODULE::name: a scalar has instance 0, a column of a table instance 1 unless another is given (IF-MIB::ifInOctets.3). With .* at the end all objects below are asked for by a walk. A target has host, port (161), timeout (1 second for each try), retries (3), version (SNMPv1, SNMPv2 for 2c, or SNMPv3; default SNMPv2, or SNMPv3 if it has a user), and community (public) or community_file. A user of SNMPv3 has username, auth_key or auth_key_file, auth_protocol (MD5, SHA, SHA224, SHA256, SHA384, SHA512; default MD5), priv_key or priv_key_file, priv_protocol (DES, 3DES, AES128, AES192, AES256; default DES) and context. AES192 and AES256 make their keys as net-snmp does, AES192C and AES256C as Cisco's devices do. A file holds the word in place of the option and is read for each sample. Names are looked up for each sample, IPv4 first. Objects that an agent does not have are left out and counted. The names of the metrics are those that the Python agent prints without MIB files; with mib_path those of the modules that the configuration names. A number is written by its name (up) if the object's own syntax in a MIB file gives it one, and numeric_values is off. Each object is a line of about 120 bytes, so 500 objects every 30 seconds reach the default write limit of 2,000 bytes per second: see monitor_log_write_rate.",
    options: OPTIONS,
    metrics: METRICS,
    open: false,
    log: Log::METRICS,
    write_limit: Description::WRITE_LIMIT,
    cadence: Cadence::Sampled,
    service: Some(Service {
        entry: r#"{
  "module": "scalyr_agent.builtin_monitors.snmp_monitor",
  "oid_groups": {
    "system": ["SNMPv2-MIB::sysUpTime", "SNMPv2-MIB::sysName"],
    "octets": ["1.3.6.1.2.1.31.1.1.1.6.1", "1.3.6.1.2.1.31.1.1.1.10.1"]
  },
  "poll_targets": [
    {"targets": [{"host": "192.0.2.1", "community": "monitoring"}], "oids": ["system", "octets"]},
    {
      "targets": [{
        "host": "192.0.2.2",
        "user": {
          "username": "monitor",
          "auth_protocol": "SHA256", "auth_key_file": "/etc/scalyr-agent-2/auth_key",
          "priv_protocol": "AES128", "priv_key_file": "/etc/scalyr-agent-2/priv_key"
        }
      }],
      "oids": ["system"]
    }
  ]
}"#,
        grants: "Reading is enough. For net-snmp's snmpd, in snmpd.conf: `rocommunity monitoring 192.0.2.9` lets this host read by that community; `createUser monitor SHA-256 \"auth key\" AES \"priv key\"` and `rouser monitor priv` make a user of SNMPv3 that may read.",
    }),
    make: |setup| Ok(Box::new(SnmpMonitor::new(setup)?)),
};

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "mib_path",
        Kind::Text,
        Default::None,
        "A folder with MIB source files, for objects that are given as MODULE::name. A file has the module's name, alone or with .txt, .mib or .my behind it. Only names are taken from them: assignments of object identifiers, also by way of imports, and names of numbers. The modules SNMPv2-SMI, SNMPv2-MIB, SNMPv2-TM and those of SNMPv3 need no file.",
    ),
    OptionSpec::new(
        "oid_groups",
        Kind::Object,
        Default::None,
        "An object: the name of each group, and the list of its objects.",
    ),
    OptionSpec::new(
        "poll_targets",
        Kind::Array,
        Default::None,
        "A list of objects, each with targets, a list of agents, and oids, a list of names of oid_groups. Without it the monitor does nothing.",
    ),
    OptionSpec::new(
        "error_repeat_interval",
        Kind::Int,
        Default::Int(300),
        "Seconds after which an error that lasts is told again.",
    )
    .at_least(0.0),
    OptionSpec::new(
        "use_legacy_format",
        Kind::Bool,
        Default::Bool(false),
        "Writes lines of the form poll-target TARGET oid=NAME value_=VALUE.",
    ),
    OptionSpec::new(
        "numeric_values",
        Kind::Bool,
        Default::Bool(false),
        "Writes integers, counters, gauges and ticks as numbers. Otherwise all values are text, as the Python agent writes them, on which searches may rely.",
    ),
    OptionSpec::new(
        "parallel_targets",
        Kind::Int,
        Default::Int(8),
        "At most this many targets are asked at the same time, each by a thread.",
    )
    .at_least(1.0)
    .at_most(64.0),
    OptionSpec::new(
        "target_deadline",
        Kind::Float,
        Default::None,
        "Seconds that everything with one target may take in a sample, from looking up its name to the last answer. Default: its timeout for all its tries, but at least 20. All targets together have 240.",
    )
    .at_least(0.1)
    .at_most(240.0),
    OptionSpec::new(
        "max_rows",
        Kind::Int,
        Default::Int(1000),
        "Objects that one walk (.*) may give; what is more is left out with an error.",
    )
    .at_least(1.0)
    .at_most(100_000.0),
];

const METRICS: &[MetricSpec] = &[
    MetricSpec::new(
        "*",
        Measure::Gauge,
        "",
        &["oid", "poll_target"],
        "The value of an object. The metric's name is that of the object with _ for each character that such names can't have, as SNMPv2-MIB__sysUpTime.0; oid is the name as it is, poll_target the agent's host, with its port if one is configured. Octets that are no printable text are written as 0x and hexadecimal digits.",
    ),
    MetricSpec::new(
        "poll-target",
        Measure::Gauge,
        "",
        &["oid", "value_"],
        "With use_legacy_format, in place of all others: the agent; oid is the object's name.",
    ),
];

/// The lines of targets come in the order of the configuration, but those that are there wait no
/// longer than this for a target that is late.
const PATIENCE: Duration = Duration::from_millis(200);
/// Of a whole sample. One that takes five minutes is taken for hanging.
const LONGEST: Duration = Duration::from_secs(240);
/// The least time that a target has for all its answers.
const USUAL: Duration = Duration::from_secs(20);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Enough for the buffers of a session, which are on the heap.
const STACK: usize = 256 * 1024;

struct SnmpMonitor {
    mib_path: Option<PathBuf>,
    lists: Vec<Vec<String>>,
    targets: Vec<Target>,
    notes: Vec<String>,
    legacy: bool,
    numeric: bool,
    parallel: usize,
    deadline: Option<Duration>,
    repeat: Duration,
    most_rows: usize,
    /// Names, and what each list asks for; made in the first sample.
    known: Option<(Names, Vec<Wanted>)>,
    /// When names that could not be found are looked for again.
    again: Option<Instant>,
}

impl SnmpMonitor {
    fn new(setup: &Setup) -> Result<Self, Error> {
        let options = setup.options;
        let plan = Plan::read(options.json("oid_groups"), options.json("poll_targets"))?;
        let int = |name| {
            let value = options.int(name).unwrap_or_default();
            u64::try_from(value).unwrap_or_default()
        };
        let mib_path = Some(options.text("mib_path")).filter(|path| !path.is_empty());
        Ok(SnmpMonitor {
            mib_path: mib_path.map(PathBuf::from),
            lists: plan.lists,
            targets: plan.targets,
            notes: plan.notes,
            legacy: options.bool("use_legacy_format"),
            numeric: options.bool("numeric_values"),
            parallel: int("parallel_targets") as usize,
            deadline: options
                .float("target_deadline")
                .map(Duration::from_secs_f64),
            repeat: Duration::from_secs(int("error_repeat_interval")),
            most_rows: int("max_rows") as usize,
            known: None,
            again: None,
        })
    }

    /// Reads the objects of the lists, and the MIB files that they need.
    fn learn(&mut self, out: &mut Emitter) {
        let retry = self.again.is_some_and(|again| again <= Instant::now());
        if self.known.is_some() && !retry {
            return;
        }
        self.again = None;
        let mut names = Names::built_in();
        let mut unread: Vec<(String, String)> = Vec::new();
        let mut modules: Vec<&str> = Vec::new();
        let mut lists = Vec::new();
        for list in &self.lists {
            let mut wanted = Wanted {
                most_rows: self.most_rows,
                ..Wanted::default()
            };
            for text in list {
                if let (Some((module, _)), Some(folder)) = (text.split_once("::"), &self.mib_path) {
                    if !modules.contains(&module) && !names.has_module(module) {
                        modules.push(module);
                        if let Err(why) = mib::load(&mut names, folder, module) {
                            unread.push((module.to_owned(), why));
                        }
                    }
                }
                match names.read(text) {
                    Ok((oid, false)) => wanted.objects.push(oid),
                    Ok((oid, true)) => wanted.trees.push(oid),
                    Err(why) => {
                        let module = text.split_once("::").map(|(module, _)| module);
                        if !unread
                            .iter()
                            .any(|(known, _)| Some(known.as_str()) == module)
                        {
                            unread.push((text.clone(), why));
                        }
                    }
                }
            }
            lists.push(wanted);
        }
        for (text, why) in &unread {
            out.error_once_in(
                self.repeat,
                text,
                format_args!("{text:?} in oid_groups can't be asked for: {why}."),
            );
            self.again = Some(Instant::now() + self.repeat);
        }
        self.known = Some((names, lists));
    }
}

/// One target of one sample.
struct Job<'a> {
    target: &'a mut Target,
    login: Result<Login, Error>,
    wanted: &'a Wanted,
}

type Outcome = (Sample, Result<(), Error>);

impl Job<'_> {
    fn run(&mut self, time: Option<Duration>, end: Instant, stop: &Stop) -> Outcome {
        let mut sample = Sample::default();
        let target = &self.target;
        let usual = target.timeout.saturating_mul(target.tries).max(USUAL);
        let now = Instant::now();
        let deadline = end.min(now + time.unwrap_or(usual).min(LONGEST));
        let result = self.take(&mut sample, deadline, stop);
        (sample, result)
    }

    fn take(&mut self, sample: &mut Sample, deadline: Instant, stop: &Stop) -> Result<(), Error> {
        let time = deadline.saturating_duration_since(Instant::now());
        let target = &mut *self.target;
        let login = self.login.as_ref().map_err(Error::clone)?;
        let socket = connect(&target.host, target.port, time, stop)?;
        let limits = Limits {
            timeout: target.timeout,
            tries: target.tries,
            deadline,
            stop,
        };
        let bulk = target.is_bulk();
        let mut session = Session::new(socket, limits, login, &mut target.memory);
        sample.take(self.wanted, bulk, &mut |kind, repeat, oids| {
            session.ask(kind, repeat, oids)
        })
    }
}

/// A socket that is connected to a host; of several addresses to the first of IPv4. A name is looked
/// up on a thread, since that can't be interrupted.
fn connect(host: &str, port: u16, time: Duration, stop: &Stop) -> Result<UdpSocket, Error> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(connect_to((address, port).into())?);
    }
    let name = host.to_owned();
    let work = Box::new(move || {
        let found = (name.as_str(), port).to_socket_addrs();
        let unknown = |error| io::Error::other(format!("the name is not known: {error}"));
        let mut all = found.map_err(unknown)?;
        let first = all.next();
        let mut four = first.into_iter().chain(all).filter(SocketAddr::is_ipv4);
        match four.next().or(first) {
            Some(address) => connect_to(address).map(OwnedFd::from),
            None => Err(io::Error::other("the name leads to no address")),
        }
    });
    match aside("lookup", &Deadline::new(time, stop), work) {
        Ok(opened) => Ok(opened.into()),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            Err(Error::new("the name server does not answer in time"))
        }
        Err(error) => Err(error.into()),
    }
}

fn connect_to(address: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(address)?;
    Ok(socket)
}

impl Monitor for SnmpMonitor {
    fn gather(&mut self, out: &mut Emitter) -> Result<(), Error> {
        for note in self.notes.drain(..) {
            out.warn(format_args!("{note}"));
        }
        self.learn(out);
        let Some((names, lists)) = &self.known else {
            return Ok(());
        };
        let stop = out.stop().clone();
        let (deadline, end) = (self.deadline, Instant::now() + LONGEST);
        let shown: Vec<String> = self.targets.iter().map(|t| t.name.clone()).collect();
        let mut jobs: Vec<Job> = Vec::new();
        for target in &mut self.targets {
            jobs.push(Job {
                login: target.login(out),
                wanted: &lists[target.list],
                target,
            });
        }
        let count = jobs.len();
        let mut results: Vec<Option<Outcome>> = Vec::new();
        results.resize_with(count, || None);
        let mut failures: Vec<Option<Error>> = vec![None; count];
        let mut written = vec![false; count];
        let format = Format {
            names,
            legacy: self.legacy,
            numeric: self.numeric,
            repeat: self.repeat,
        };
        let queue = Mutex::new(jobs.iter_mut().enumerate());
        // A channel would cost kilobytes of machine code for its type
        let (news, told) = (Mutex::new(Vec::new()), Condvar::new());
        thread::scope(|scope| {
            let mut workers = Vec::new();
            for _ in 0..self.parallel.min(count) {
                let (queue, news, told, stop) = (&queue, &news, &told, &stop);
                let worker = move || loop {
                    // A panic of another worker ends the sample anyway
                    let next = queue.lock().ok().and_then(|mut queue| queue.next());
                    let Some((at, job)) = next.filter(|_| Instant::now() < end) else {
                        break;
                    };
                    let outcome = job.run(deadline, end, stop);
                    let Ok(mut news) = news.lock() else { break };
                    news.push((at, outcome));
                    told.notify_one();
                };
                let worker: Work = Box::new(worker);
                let builder = thread::Builder::new().name("snmp".to_owned());
                match builder.stack_size(STACK).spawn_scoped(scope, worker) {
                    Ok(worker) => workers.push(worker),
                    Err(error) if out.once_in(DAY, "thread") => {
                        out.warn(format_args!("No thread could be made: {error}."));
                    }
                    Err(_) => {}
                }
            }
            loop {
                // Looked at first: what the last one told before its end is among the news
                let ended = workers.iter().all(|worker| worker.is_finished());
                let waited = news.lock().map(|news| match news.is_empty() && !ended {
                    true => told.wait_timeout(news, PATIENCE).map(|(news, _)| news),
                    false => Ok(news),
                });
                let Ok(Ok(mut news)) = waited else { break };
                let came: Vec<(usize, Outcome)> = std::mem::take(&mut news);
                drop(news);
                let late = ended || came.is_empty();
                for (at, outcome) in came {
                    results[at] = Some(outcome);
                }
                for at in 0..count {
                    if written[at] {
                        continue;
                    }
                    let Some((sample, result)) = results[at].take() else {
                        if late {
                            continue;
                        }
                        break;
                    };
                    format.write(&shown[at], sample, out);
                    out.flush();
                    failures[at] = result.err();
                    written[at] = true;
                }
                if ended || !written.contains(&false) {
                    break;
                }
            }
        });
        for (failure, _) in failures.iter_mut().zip(written).filter(|(_, done)| !done) {
            *failure = Some(Error::new(
                "it was not asked, since no thread could be made or the others took 240 s: raise parallel_targets",
            ));
        }
        if stop.is_set() {
            return Ok(());
        }
        self.tell(&failures, out)
    }
}

impl SnmpMonitor {
    /// Says which targets failed: as the error of the sample if all did, else each by itself.
    fn tell(&mut self, failures: &[Option<Error>], out: &mut Emitter) -> Result<(), Error> {
        let all = failures.iter().all(Option::is_some);
        let mut text = String::new();
        for (target, failure) in self.targets.iter_mut().zip(failures) {
            let Some(error) = failure else {
                if std::mem::take(&mut target.failing) {
                    out.info(format_args!("Target {} answers again.", target.name));
                }
                continue;
            };
            target.failing = true;
            out.counter("failed_targets").fetch_add(1, Relaxed);
            let line = format!("Target {}: {error}", target.name);
            if all && text.len() < 1000 {
                text += if text.is_empty() { "" } else { "; " };
                text += &line;
            } else if !all {
                out.error_once_in(self.repeat, &line, format_args!("{line}"));
            }
        }
        match all && !failures.is_empty() {
            true => Err(Error::new(text)),
            false => Ok(()),
        }
    }
}

/// How values are written.
struct Format<'a> {
    names: &'a Names,
    legacy: bool,
    numeric: bool,
    repeat: Duration,
}

impl Format<'_> {
    /// Writes what a target gave, and tells what it did not give.
    fn write(&self, target: &str, sample: Sample, out: &mut Emitter) {
        for (oid, value) in &sample.vars {
            let name = self.names.print(oid);
            let printed;
            let shown = match value {
                Value::Int(number) if self.numeric => Shown::Int(*number),
                Value::UInt(number) if self.numeric => Shown::UInt(*number),
                _ => {
                    printed = self.names.print_value(oid, value);
                    Shown::Text(&printed)
                }
            };
            let oid = ("oid", Shown::Text(&name));
            if self.legacy {
                out.emit("poll-target", target, &[oid, ("value", shown)]);
            } else {
                // Made fit here: that `::` is no part of names is nobody's mistake
                let metric = clean_name(&name).text;
                out.emit(&metric, shown, &[oid, ("poll_target", target.into())]);
            }
        }
        if let Some(first) = sample.missing.first() {
            let count = sample.missing.len();
            out.counter("missing_objects")
                .fetch_add(count as u64, Relaxed);
            if out.once_in(DAY, &format!("missing {target}")) {
                out.info(format_args!(
                    "Target {target} does not have {count} of the objects that it is asked for; the first is {}. They are left out.",
                    self.names.print(first)
                ));
            }
        }
        for (oid, why) in &sample.refused {
            let name = self.names.print(oid);
            out.error_once_in(
                self.repeat,
                &format!("refused {target} {name}"),
                format_args!("Target {target}: {why} at {name}"),
            );
        }
    }
}
