//! The costs of a look: files that are opened and text that is decompressed.

use super::agent::{Agent, Outside};
use super::world::{Births, Config, Inodes, Method, Naming, World};
use std::cell::RefCell;

/// A program whose log was rotated 53 times, the last but one compressed, and an agent that has all of it.
fn rotated(births: Births) -> (RefCell<World>, Outside, Agent) {
    let mut world = World::new(1);
    world.births = births;
    world.inodes = Inodes::Never;
    world.config = Config::Literal;
    world.programs.truncate(1);
    let program = &mut world.programs[0];
    program.path = "app.log";
    program.method = Method::Rename;
    program.naming = Naming::Number;
    program.compresses = Some(true);
    program.keep = 60;
    program.olddir = "";
    program.filler = 900;
    let world = RefCell::new(world);
    let mut outside = Outside::new();
    let mut agent = Agent::start(&outside, Config::Literal);
    agent.look(&world, &mut outside);
    for _ in 0..53 {
        round(&world, &mut outside, &mut agent);
    }
    (world, outside, agent)
}

fn round(world: &RefCell<World>, outside: &mut Outside, agent: &mut Agent) {
    for n in 0..30 {
        world.borrow_mut().write(0, 6 + 7 * n);
    }
    agent.look(world, outside);
    drain(world, outside, agent);
    world.borrow_mut().rotate(0, 1);
    outside.now += 5_000;
    agent.look(world, outside);
}

fn drain(world: &RefCell<World>, outside: &mut Outside, agent: &mut Agent) {
    for _ in 0..10 {
        agent.pump(world, outside, 1 << 20);
        agent.answer(5, world, outside);
    }
    assert!(agent.is_idle());
}

#[test]
fn a_rotation_of_52_archives_reads_none_of_them_whole() {
    for (births, at_most) in [(Births::Exact, 0), (Births::Missing, 1_024)] {
        let (world, mut outside, mut agent) = rotated(births);
        let nodes = |world: &RefCell<World>| world.borrow().nodes.clone();
        drain(&world, &mut outside, &mut agent);
        let before = nodes(&world);
        let archives = before.values().filter(|node| node.gz).count();
        assert_eq!(archives, 52);
        world.borrow_mut().reads.clear();
        round(&world, &mut outside, &mut agent);
        let mut unknown = 0;
        for (ino, node) in nodes(&world).iter().filter(|(_, node)| node.gz) {
            let reads = world.borrow().reads.get(ino).copied().unwrap_or_default();
            if before.contains_key(ino) {
                assert!(reads.bytes <= at_most, "{births:?}: {reads:?}");
                assert!(at_most > 0 || reads.opens == 0, "{births:?}: {reads:?}");
            } else {
                unknown += 1;
                // Its head, and at most two passes
                let length = node.text.len() as u64 - 2;
                assert!(reads.bytes <= 2 * length + 1_024, "{length}: {reads:?}");
            }
        }
        assert_eq!(unknown, 1);
    }
}
