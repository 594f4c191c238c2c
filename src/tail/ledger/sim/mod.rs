//! Random histories of files, faults and deaths on a fake disk, against an account of each line: it
//! arrives, it arrives once, or again if it was in flight at a death, and never under a log whose path
//! did not show it. Excused is only a closed list of reasons that the disk's history gives.
//!
//! A failure prints its seed and the shortest story that still fails. `LEDGER_SEED=7 LEDGER_EPISODES=1
//! cargo test ledger` repeats one, `LEDGER_SHOW=1` prints the decisions with it, and many episodes from
//! another seed on look for more.

mod agent;
mod costs;
mod dice;
mod excuses;
mod programs;
mod records;
mod roots;
mod runs;
mod visitors;
mod world;

use super::decide::Doubt;
use agent::{Agent, Outside};
use dice::Dice;
use std::cell::RefCell;
use std::collections::BTreeMap;
use world::{log_of, Config, Fault, Naming, World};

/// One event of a history. Its arguments mean something in every state, so that a story stays a story
/// when others are left out.
#[derive(Debug, Clone, Copy)]
struct Step {
    what: What,
    who: u64,
    arg: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Write,
    WriteHalf,
    WriteLate,
    Rotate,
    FinishCopy,
    Compress,
    Delete,
    DeleteRotated,
    Truncate,
    Edit,
    Rewrite,
    Stranger,
    DeleteStranger,
    MoveAway,
    MoveBack,
    Replace,
    Clock,
    Fault,
    Look,
    /// A look only where a glance can't tell all.
    Glance,
    /// A look, and all that it found is read and answered.
    Rest,
    Pump,
    Answer,
    CloseFiles,
    Kill,
    Reload,
    Start,
}

/// How often each happens, of the sum of all.
const OFTEN: [(What, u64); 26] = [
    (What::Write, 24),
    (What::WriteHalf, 3),
    (What::WriteLate, 4),
    (What::Rotate, 12),
    (What::FinishCopy, 6),
    (What::Compress, 2),
    (What::Delete, 2),
    (What::DeleteRotated, 2),
    (What::Truncate, 1),
    (What::Edit, 2),
    (What::Rewrite, 1),
    (What::Stranger, 2),
    (What::DeleteStranger, 1),
    (What::MoveAway, 1),
    (What::MoveBack, 1),
    (What::Replace, 2),
    (What::Clock, 2),
    (What::Fault, 3),
    (What::Look, 14),
    (What::Glance, 10),
    (What::Pump, 14),
    (What::Answer, 16),
    (What::CloseFiles, 1),
    (What::Kill, 3),
    (What::Reload, 3),
    (What::Start, 20),
];

/// After these some text may be nowhere.
const DESTROYS: [What; 8] = [
    What::Rotate,
    What::Delete,
    What::DeleteRotated,
    What::Truncate,
    What::Rewrite,
    What::Replace,
    What::CloseFiles,
    What::Kill,
];

fn steps(seed: u64) -> Vec<Step> {
    let mut dice = Dice::new(seed ^ 0x5EED);
    let all: u64 = OFTEN.iter().map(|(_, often)| often).sum();
    let count = 20 + seed % 60;
    let mut steps = Vec::new();
    let keeps_up = dice.one_in(2);
    // Mostly there is little before the first look
    let begins = if dice.one_in(16) { count } else { dice.roll(5) };
    for at in 0..count {
        let mut roll = dice.roll(all);
        let what = OFTEN
            .iter()
            .find(|(_, often)| match roll.checked_sub(*often) {
                Some(rest) => {
                    roll = rest;
                    false
                }
                None => true,
            });
        let what = match at == begins {
            true => What::Start,
            false => what.unwrap().0,
        };
        let (who, arg) = (dice.roll(1 << 20), dice.roll(1 << 20));
        // The agent keeps up: what is to go was read
        if keeps_up && DESTROYS.contains(&what) && !dice.one_in(4) {
            let what = What::Rest;
            steps.push(Step { what, who: 0, arg });
        }
        steps.push(Step { what, who, arg });
        if keeps_up && what == What::Rotate && !dice.one_in(4) {
            let what = What::Rest;
            steps.push(Step { what, who: 0, arg });
        }
    }
    steps
}

struct History {
    world: RefCell<World>,
    outside: Outside,
    agent: Option<Agent>,
    /// A rest has left this line unread.
    unread: Option<u32>,
}

impl History {
    fn step(&mut self, step: Step) {
        let who = (step.who % self.world.borrow().programs.len() as u64) as usize;
        let Step { what, arg, .. } = step;
        let world = self.world.get_mut();
        // Time passes: up to 3 s
        world.clock += (step.who % 3_000) as i64 * 1_000_000;
        match what {
            What::Write => world.write(who, arg),
            What::WriteHalf => world.write_half(who, arg),
            What::WriteLate => world.write_late(who, arg),
            What::Rotate => world.rotate(who, arg),
            What::FinishCopy => world.truncate_copied(who),
            What::Compress => world.compress_some(who, arg),
            What::Delete => world.delete(who),
            What::DeleteRotated => world.delete_rotated(who, arg),
            What::Truncate => world.truncate(who, "is truncated"),
            What::Edit => world.edit(who, arg),
            What::Rewrite => world.rewrite(who, arg),
            What::Stranger if arg % 4 == 0 => self.impostor(arg),
            What::Stranger => world.stranger(arg),
            What::DeleteStranger => world.delete_stranger(arg),
            What::MoveAway => world.move_away(who, arg),
            What::MoveBack => world.move_back(),
            What::Replace => world.replace(who),
            What::Clock => {
                let seconds =
                    [1, -1, 3_600, -3_600, 20 * 365 * 86_400, -20 * 365 * 86_400][arg as usize % 6];
                world.clock += seconds * 1_000_000_000;
                world.say(format!("the clock jumps by {seconds} s"));
            }
            What::Fault => self.fault(arg),
            What::Look => {
                self.look(arg);
                self.checkpoint(arg);
            }
            What::Glance => self.glance(arg),
            What::Rest => self.rest(arg),
            What::Pump => self.pump(arg),
            What::Answer => self.answer(arg),
            What::CloseFiles => {
                if let Some(agent) = &mut self.agent {
                    world.say("files are closed");
                    agent.close_all(&self.world);
                }
            }
            What::Kill => self.kill(arg),
            What::Reload => self.reload(arg),
            What::Start => self.start(),
        }
    }

    fn fault(&mut self, arg: u64) {
        let world = self.world.get_mut();
        let names: Vec<String> = world.entries.keys().cloned().collect();
        if names.is_empty() {
            return;
        }
        let name = names[(arg / 64) as usize % names.len()].clone();
        let errno =
            [libc_errno::EACCES, libc_errno::EIO, libc_errno::EMFILE][(arg / 8) as usize % 3];
        let fault = match arg % 4 {
            0 => Fault::List(errno),
            1 => Fault::Stat(name, errno),
            2 => Fault::Open(name, errno),
            _ => Fault::Write(libc_errno::ENOSPC),
        };
        world.say(format!("fails: {fault:?}"));
        world.faults.push((fault, 1 + (arg / 512 % 4) as u32));
    }

    fn look(&mut self, arg: u64) {
        if let Some(agent) = &mut self.agent {
            self.outside.now += 200 + arg % 5_000;
            self.world.borrow_mut().say("look");
            agent.look(&self.world, &mut self.outside);
        }
    }

    fn glance(&mut self, arg: u64) {
        if let Some(agent) = &mut self.agent {
            self.world.borrow_mut().say("glance");
            if agent.glance(&self.world) {
                self.look(arg);
            }
        }
    }

    /// Writes a group of records at every fourth value of `arg`, without syncing it.
    fn checkpoint(&mut self, arg: u64) {
        let is_time = arg % 4 == 0 && self.outside.records.is_some();
        if let Some(agent) = self.agent.as_mut().filter(|_| is_time) {
            agent.save(false, Vec::new(), &self.world, &mut self.outside);
        }
    }

    fn pump(&mut self, arg: u64) {
        if let Some(agent) = &mut self.agent {
            self.world.borrow_mut().say("read");
            let page = match arg < 1 << 16 {
                true => 100 + (arg % 4_000) as usize,
                false => 1 << 20,
            };
            agent.pump(&self.world, &mut self.outside, page);
        }
    }

    fn answer(&mut self, arg: u64) {
        if let Some(agent) = &mut self.agent {
            self.world.borrow_mut().say("answer");
            agent.answer(arg, &self.world, &mut self.outside);
        }
    }

    /// All that the paths of logs show has to arrive: what becomes of it later excuses nothing.
    fn rest(&mut self, arg: u64) {
        let is_calm = self.world.get_mut().faults.is_empty() && self.agent.is_some();
        self.look(arg);
        for _ in 0..4 {
            self.pump(1 << 16);
            self.answer(5);
        }
        let world = self.world.get_mut();
        let paths = world.programs.iter().map(|program| program.path);
        let shown = paths.filter(|path| log_of(world.config, path).is_some());
        let inodes = shown.filter_map(|path| world.resolve(path));
        let mut lines = inodes.flat_map(|ino| &world.nodes[&ino].lines);
        let unread = lines.find(|line| {
            let is_excused = world.lines[**line as usize].lost.is_some();
            !is_excused && !self.outside.server.lines.contains_key(line)
        });
        self.unread = self.unread.or(unread.copied().filter(|_| is_calm));
    }

    /// A file appears whose name is that of a newer rotated one, while its log shows what it did.
    fn impostor(&mut self, arg: u64) {
        let name = self.world.get_mut().impostors_name();
        let Some(name) = name.filter(|_| self.agent.is_some()) else {
            return;
        };
        // The second rest proves the text that the first one has read
        self.rest(arg);
        self.rest(arg);
        self.world.get_mut().impostor(&name, arg);
        self.look(arg);
        if let Some(agent) = &mut self.agent {
            agent.save(true, Vec::new(), &self.world, &mut self.outside);
        }
    }

    fn kill(&mut self, arg: u64) {
        if let Some(agent) = self.agent.take() {
            self.world.borrow_mut().say("kill");
            agent.kill(arg, &self.world, &mut self.outside);
            let mut world = self.world.borrow_mut();
            world.running = false;
            world.excuse_copies();
            world.excuse_edits();
        }
    }

    fn reload(&mut self, arg: u64) {
        if let Some(agent) = &mut self.agent {
            let again = arg % 3 == 0;
            let world = self.world.borrow();
            // Without its entry a file of the name `app-1-20260101.log` may be one of `app.log`
            let has_two = matches!(world.config, Config::TwoLiterals | Config::OneOfTwo)
                && world
                    .programs
                    .get(1)
                    .is_some_and(|it| it.naming != Naming::DateInside);
            drop(world);
            let changes = has_two && arg / 3 % 2 == 0;
            let how = if again {
                "reload, all is read again"
            } else {
                "reload"
            };
            self.world.borrow_mut().say(how);
            agent.reload(again, changes, &self.world, &mut self.outside);
        }
    }

    fn start(&mut self) {
        if self.agent.is_none() {
            self.world.borrow_mut().say("start");
            self.world.borrow_mut().running = true;
            let config = self.world.borrow().config;
            self.agent = Some(Agent::start(&self.outside, config));
            self.look(0);
        }
    }

    /// Everything heals and comes to rest.
    fn finish(&mut self) {
        self.world.get_mut().faults.clear();
        self.start();
        if self.world.get_mut().config == Config::OneOfTwo {
            if let Some(agent) = &mut self.agent {
                agent.reload(true, true, &self.world, &mut self.outside);
            }
        }
        let world = self.world.get_mut();
        for who in 0..world.programs.len() {
            world.complete(who);
        }
        world.move_back();
        self.world.borrow_mut().say("that was it");
        let said = self.world.borrow().story.len();
        let show = std::env::var_os("LEDGER_SHOW").is_some();
        for round in 0..60 {
            self.look(3_000);
            for _ in 0..3 {
                self.pump(3_900);
                self.answer(5);
            }
            let rests = self.agent.as_ref().is_some_and(Agent::is_idle);
            if !show || round > 2 {
                let most = if show { 30 } else { 0 };
                self.world.borrow_mut().story.truncate(said + most);
            }
            if rests && round > 3 {
                break;
            }
        }
    }

    /// The first thing that is wrong, if any is.
    fn verdict(&self) -> Option<String> {
        let world = self.world.borrow();
        for (first, second) in &self.outside.server.conflicts {
            // An edit of what is in flight, in text that no evidence covers, is not seen
            let is_edited = |line: &Option<u32>| {
                line.is_some_and(|line| {
                    world.lines[line as usize]
                        .lost
                        .is_some_and(|why| why.contains("edit"))
                })
            };
            if !is_edited(first) && !is_edited(second) {
                return Some(format!(
                    "one number stands for lines {first:?} and {second:?}"
                ));
            }
        }
        if let Some(line) = self.outside.server.divided {
            return Some(format!(
                "line {line} came under another log than its content"
            ));
        }
        if let Some(line) = self.unread {
            return Some(format!("line {line} is not read at rest"));
        }
        let none = Vec::new();
        for (at, line) in world.lines.iter().enumerate() {
            let came = self.outside.server.lines.get(&(at as u32)).unwrap_or(&none);
            if let Some(log) = came.iter().find(|log| !line.logs.contains(&log.0)) {
                return Some(match line.logs.is_empty() {
                    true => format!("line {at} was sent, though nobody configured it"),
                    false => format!("line {at} came under log {}", log.0),
                });
            }
            if came.is_empty() && line.lost.is_none() && !line.logs.is_empty() {
                return Some(format!("line {at} is lost"));
            }
            if !came.is_empty() && line.before && line.again.is_none() {
                return Some(format!(
                    "line {at} was there before the first look and was sent"
                ));
            }
            if came.len() > 1 && line.again.is_none() {
                return Some(format!("line {at} came {} times", came.len()));
            }
        }
        None
    }
}

mod libc_errno {
    pub const EIO: i32 = 5;
    pub const EACCES: i32 = 13;
    pub const EMFILE: i32 = 24;
    pub const ENOSPC: i32 = 28;
}

/// The end of a history: the failure, and the story.
#[derive(Default)]
struct Outcome {
    wrong: Option<String>,
    story: Vec<String>,
    excused: BTreeMap<&'static str, u32>,
    lines: usize,
    /// Questions that the evidence left open, in the last run of the agent.
    doubts: BTreeMap<Doubt, u64>,
}

fn run(seed: u64, steps: &[Step]) -> Outcome {
    let mut history = History {
        world: RefCell::new(World::new(seed)),
        outside: Outside::new(),
        agent: None,
        unread: None,
    };
    for step in steps {
        history.step(*step);
    }
    history.finish();
    let wrong = history.verdict();
    let world = history.world.borrow();
    let mut excused = BTreeMap::new();
    for (at, line) in world.lines.iter().enumerate() {
        let came = history
            .outside
            .server
            .lines
            .get(&(at as u32))
            .map_or(0, Vec::len);
        if let Some(why) = line.lost.filter(|_| came == 0) {
            *excused.entry(why).or_default() += 1;
        }
        if let Some(why) = line.again.filter(|_| came > 1) {
            *excused.entry(why).or_default() += 1;
        }
    }
    Outcome {
        wrong,
        story: world.story.clone(),
        excused,
        lines: world.lines.len(),
        doubts: history
            .agent
            .as_ref()
            .map(|agent| agent.ledger.doubts().clone())
            .unwrap_or_default(),
    }
}

/// The shortest story that fails in the same way: steps are left out as long as it does.
fn shrink(seed: u64, mut steps: Vec<Step>, how: &str) -> Vec<Step> {
    let mut size = steps.len() / 2;
    while size > 0 {
        let mut at = 0;
        let before = steps.len();
        while at < steps.len() {
            let end = (at + size).min(steps.len());
            let fewer = [&steps[..at], &steps[end..]].concat();
            match failure(seed, &fewer).as_deref() == Some(how) {
                true => steps = fewer,
                false => at = end,
            }
        }
        if size > 1 || steps.len() == before {
            size /= 2;
        }
    }
    steps
}

/// How a history fails: what is wrong, without numbers.
fn failure(seed: u64, steps: &[Step]) -> Option<String> {
    tried(seed, steps)
        .wrong
        .map(|wrong| without_numbers(&wrong))
}

fn tried(seed: u64, steps: &[Step]) -> Outcome {
    let outcome = std::panic::catch_unwind(|| run(seed, steps));
    outcome.unwrap_or_else(|_| Outcome {
        wrong: Some("panic".to_owned()),
        ..Outcome::default()
    })
}

fn without_numbers(wrong: &str) -> String {
    let kind = wrong.split(" stands for").next().unwrap_or("");
    kind.chars().filter(|c| !c.is_ascii_digit()).collect()
}
