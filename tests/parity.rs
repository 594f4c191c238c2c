//! The same configuration and files through the Python agent and through ours deliver the same.
//! `tests/parity/README.md` tells how a case is written and run.

#[path = "parity/case.rs"]
mod case;
#[path = "parity/site.rs"]
mod site;
#[path = "parity/text.rs"]
mod text;
#[path = "parity/transcript.rs"]
mod transcript;

use case::{Agent, Case};
use site::{run, Outcome, Python};
use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// The cases, those named by `PARITY_CASES` (parts of names, with commas) if it is set.
fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity/cases");
    let wanted = std::env::var("PARITY_CASES").unwrap_or_default();
    let mut paths: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "case"))
        .filter(|path| {
            let name = path.file_stem().unwrap().to_string_lossy();
            wanted.split(',').any(|part| name.contains(part))
        })
        .collect();
    paths.sort();
    let cases = paths.iter().map(|path| Case::read(path));
    cases
        .collect::<Result<_, _>>()
        .unwrap_or_else(|e| panic!("{e}"))
}

/// The Python that can run the agent.
fn python() -> Option<Python> {
    let has_agent = |program: &Path| {
        let mut command = Command::new(program);
        let command = command.args(["-c", "import scalyr_agent.agent_main"]);
        let ran = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        ran.is_ok_and(|status| status.success())
    };
    match std::env::var_os("SCALYR_TEST_PYTHON") {
        Some(named) => {
            let named = PathBuf::from(named);
            assert!(
                has_agent(&named),
                "SCALYR_TEST_PYTHON={} has no package scalyr-agent-2",
                named.display()
            );
            Some(named)
        }
        None => Some(PathBuf::from("python3")).filter(|program| has_agent(program)),
    }
}

/// Does the jobs, several at a time; the results in the order of the jobs.
fn in_parallel<J: Sync, R: Send>(jobs: &[J], work: impl Fn(&J) -> R + Sync) -> Vec<R> {
    let threads = std::env::var("PARITY_JOBS").map_or(12, |text| text.parse().unwrap());
    let queue: Mutex<VecDeque<usize>> = Mutex::new((0..jobs.len()).collect());
    let results: Mutex<Vec<Option<R>>> = Mutex::new(jobs.iter().map(|_| None).collect());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| loop {
                let Some(next) = queue.lock().unwrap().pop_front() else {
                    return;
                };
                let result = work(&jobs[next]);
                results.lock().unwrap()[next] = Some(result);
            });
        }
    });
    let results = results.into_inner().unwrap();
    results.into_iter().map(Option::unwrap).collect()
}

/// The complaint about a run, if there is one.
fn verdict(case: &Case, agent: Agent, outcome: &Outcome) -> Option<String> {
    let expected = case.expected(agent).unwrap_or("");
    if outcome.problems.is_empty() && outcome.transcript == expected && case.is_explained() {
        return None;
    }
    let mut text = format!("{} through {}:\n", case.name, agent.name());
    if !case.is_explained() {
        text.push_str("    a difference needs a `why`, and a `why` a difference\n");
    }
    for problem in &outcome.problems {
        text.push_str(&format!("    {problem}\n"));
    }
    if outcome.transcript != expected {
        let recorded = if case.both.is_some() {
            "both"
        } else {
            agent.name()
        };
        text.push_str(&format!(
            "    (- as recorded under `{recorded}`, + delivered)\n"
        ));
        text.push_str(&text::difference(expected, &outcome.transcript));
    }
    let log: Vec<&str> = outcome.agent_log.lines().collect();
    text.push_str("    agent.log, its end:\n");
    for line in &log[log.len().saturating_sub(15)..] {
        text.push_str(&format!("      {line}\n"));
    }
    Some(text)
}

/// Fails with what is wrong, if anything is.
fn conclude(count: usize, failures: Vec<String>) {
    if !failures.is_empty() {
        let failed = failures.len();
        panic!("{failed} of {count} runs:\n\n{}", failures.join("\n"));
    }
}

/// The recorded side of each case holds for our agent, also where there is no Python.
#[test]
fn ours_delivers_what_the_cases_say() {
    if std::env::var_os("PARITY_RECORD").is_some() {
        return;
    }
    let mut cases = cases();
    cases.retain(|case| !case.is_swap());
    let failures = in_parallel(&cases, |case| {
        verdict(case, Agent::Ours, &run(case, Agent::Ours, None, false))
    });
    conclude(cases.len(), failures.into_iter().flatten().collect());
}

/// The recorded side of each case holds for the Python agent, and for both where they take turns;
/// and ours delivers the same in the same minute.
#[test]
#[ignore = "needs python3 and the PyPI package scalyr-agent-2"]
fn both_agents_deliver_the_same() {
    let Some(python) = python() else {
        eprintln!(
            "skipped: neither SCALYR_TEST_PYTHON nor python3 has the PyPI package scalyr-agent-2"
        );
        return;
    };
    let cases = cases();
    let record = std::env::var_os("PARITY_RECORD").is_some();
    let mut jobs = Vec::new();
    for case in &cases {
        jobs.push((case, Agent::Ours));
        if !case.is_swap() {
            jobs.push((case, Agent::Python));
        }
    }
    let outcomes = in_parallel(&jobs, |&(case, agent)| {
        run(case, agent, Some(&python), record)
    });
    if record {
        return record_all(&cases, &jobs, &outcomes);
    }
    let runs = jobs.iter().zip(&outcomes);
    let failures = runs.filter_map(|(&(case, agent), outcome)| verdict(case, agent, outcome));
    conclude(jobs.len(), failures.collect());
}

/// Writes what was delivered into the cases' files.
fn record_all(cases: &[Case], jobs: &[(&Case, Agent)], outcomes: &[Outcome]) {
    for case in cases {
        let of = |wanted: Agent| {
            let mut runs = jobs.iter().zip(outcomes);
            let run = runs.find(|((of, agent), _)| of.name == case.name && *agent == wanted);
            run.map(|(_, outcome)| outcome)
        };
        let (ours, python) = (of(Agent::Ours).unwrap(), of(Agent::Python));
        for (agent, outcome) in [(Agent::Ours, Some(ours)), (Agent::Python, python)] {
            for problem in outcome.iter().flat_map(|outcome| &outcome.problems) {
                println!("{} through {}: {problem}", case.name, agent.name());
            }
        }
        let python = python.map(|outcome| outcome.transcript.as_str());
        case.record(&ours.transcript, python).unwrap();
        let differs = python.is_some_and(|python| python != ours.transcript);
        if differs == case.why.is_empty() {
            println!(
                "{}: {}",
                case.name,
                match differs {
                    true => "the agents differ: say `why`, or mend it",
                    false => "the agents agree: remove `why`",
                }
            );
        }
    }
}
