//! Histories that once went wrong, each with the least that it takes.

use super::agent::Outside;
use super::world::{Births, Config, Inodes, Method, Naming, World};
use super::{Fault, History};
use crate::tail::ledger::mutants::{self, Mutant};
use std::cell::RefCell;

/// A folder with these logs, whose programs rename them to `.1` without a banner, and no agent yet.
fn history(config: Config, births: Births, inodes: Inodes) -> History {
    let mut world = World::new(1);
    (world.config, world.births, world.inodes) = (config, births, inodes);
    world.tick = 1;
    world.programs.truncate(1);
    let program = &mut world.programs[0];
    program.path = "app.log";
    (program.method, program.naming) = (Method::Rename, Naming::Number);
    (program.compresses, program.banner, program.keep) = (None, 0, 5);
    (program.fixed, program.filler, program.olddir) = (true, 60, "");
    History {
        world: RefCell::new(world),
        outside: Outside::new(),
        agent: None,
        unread: None,
    }
}

impl History {
    fn does(&mut self, what: impl FnOnce(&mut World)) -> &mut Self {
        self.world.get_mut().clock += 1_000_000_000;
        what(self.world.get_mut());
        self
    }

    fn starts(&mut self) -> &mut Self {
        self.start();
        self
    }

    fn looks(&mut self) -> &mut Self {
        self.look(0);
        self
    }

    fn rests(&mut self) -> &mut Self {
        self.rest(0);
        self
    }

    fn dies(&mut self) -> &mut Self {
        self.kill(ALL_IS_WRITTEN);
        self
    }

    fn holds(&mut self) {
        self.finish();
        let wrong = self.verdict();
        assert!(
            wrong.is_none(),
            "{}: {wrong:?}",
            self.world.borrow().story.join("\n")
        );
    }
}

/// Two lines or more.
const LINES: u64 = 5;
/// A banner of so many lines is one of different lines.
const SEVERAL: usize = 12;
/// A death that costs no record.
const ALL_IS_WRITTEN: u64 = 4;
/// The copy is truncated at once.
const AT_ONCE: u64 = 1;

/// Seeds 2397, 4605, 6234, 7945 and 17093.
#[test]
fn a_strange_file_with_the_inode_and_birth_of_a_deleted_log_is_not_sent() {
    history(Config::Literal, Births::Equal, Inodes::LastFreed)
        .does(|world| world.write(0, LINES))
        .starts()
        .does(|world| world.rotate(0, 0))
        .does(|world| world.compress("app.log.1"))
        .dies()
        // app.log.20250101
        .does(|world| world.stranger(5))
        .starts()
        .holds();
}

/// Seed 21966.
#[test]
fn an_old_file_that_is_compressed_into_the_inode_of_a_deleted_log_is_not_sent() {
    let mut history = history(Config::Literal, Births::Missing, Inodes::LastFreed);
    history.does(|world| world.programs[0].method = Method::Copy);
    history.does(|world| world.programs[0].naming = Naming::Date);
    history
        .does(|world| world.write(0, LINES))
        .does(|world| world.rotate(0, AT_ONCE))
        .does(|world| world.write(0, LINES))
        .starts()
        .does(|world| world.rotate(0, AT_ONCE))
        .dies()
        .does(|world| world.delete(0))
        .does(|world| world.compress("app.log-20260101"))
        .starts()
        .holds();
}

/// Seeds 12759 and 17063.
#[test]
fn a_copy_that_is_a_log_of_its_own_is_not_sent_twice_when_the_original_is_deleted() {
    let mut history = history(Config::GlobWithRotated, Births::Missing, Inodes::Lowest);
    history.does(|world| world.programs[0].method = Method::Copy);
    history
        .starts()
        .does(|world| world.write(0, LINES))
        .looks()
        .does(|world| world.rotate(0, AT_ONCE))
        .does(|world| world.write(0, LINES))
        .does(|world| world.rotate(0, 0))
        .does(|world| world.delete(0))
        .holds();
}

/// Seed 45865.
#[test]
fn an_old_file_that_is_compressed_after_a_banner_was_read_is_not_sent() {
    let mut history = history(Config::Literal, Births::Equal, Inodes::Lowest);
    let program = &mut history.world.get_mut().programs[0];
    (program.method, program.naming, program.banner) = (Method::Copy, Naming::Date, 1);
    history
        .does(|world| world.write(0, LINES))
        .does(|world| world.rotate(0, AT_ONCE))
        .does(|world| world.write(0, LINES))
        .starts()
        .does(|world| world.rotate(0, AT_ONCE))
        .rests()
        .does(|world| world.compress("app.log-20260101"))
        .holds();
}

/// Seed 45096.
#[test]
fn a_banner_that_is_gone_claims_no_old_file() {
    let mut history = history(Config::Literal, Births::Missing, Inodes::Lowest);
    history.does(|world| world.programs[0].banner = 1);
    history
        .does(|world| world.write(0, LINES))
        .does(|world| world.rotate(0, 1))
        .starts()
        .does(|world| world.rewrite(0, 0))
        .does(|world| world.write(0, LINES))
        .looks()
        .does(|world| world.compress("app.log.1"))
        .does(|world| world.rotate(0, 0))
        .holds();
}

/// Seed 51714.
#[test]
fn a_banner_whose_log_is_deleted_claims_no_older_file() {
    let mut history = history(Config::Literal, Births::Exact, Inodes::Never);
    let program = &mut history.world.get_mut().programs[0];
    (program.method, program.banner) = (Method::Copy, 60);
    history
        .does(|world| world.write(0, LINES))
        .does(|world| world.rotate(0, AT_ONCE))
        .does(|world| world.rotate(0, AT_ONCE))
        .does(|world| world.write(0, LINES))
        .starts()
        .does(|world| world.rotate(0, AT_ONCE))
        .rests()
        .does(|world| world.delete(0))
        .does(|world| world.compress("app.log.3"))
        .holds();
}

/// Seed 98070.
#[test]
fn a_banner_claims_no_archive_while_its_log_can_not_be_read() {
    let mut history = history(Config::Literal, Births::Exact, Inodes::Lowest);
    let program = &mut history.world.get_mut().programs[0];
    (program.method, program.naming, program.banner) = (Method::Copy, Naming::Date, 1);
    history
        .does(|world| world.write(0, LINES))
        .does(|world| world.rotate(0, AT_ONCE))
        .does(|world| world.compress("app.log-20260101"))
        .starts()
        .does(|world| world.write(0, LINES))
        .does(|world| world.replace(0))
        .does(|world| world.rotate(0, 0))
        .does(|world| world.compress("app.log-20260102"))
        .does(|world| {
            let fault = Fault::Open("app.log".to_owned(), super::libc_errno::EMFILE);
            world.faults.push((fault, 1));
        })
        .looks()
        .holds();
}

/// Seed 40943.
#[test]
fn a_copy_in_the_making_is_still_waited_for_right_after_a_restart() {
    let mut history = history(Config::GlobWithRotated, Births::Exact, Inodes::Never);
    history.does(|world| world.programs[0].method = Method::Copy);
    history.outside.now = 10_000;
    history
        .starts()
        .does(|world| world.write(0, LINES))
        .rests()
        .does(|world| world.rotate(0, 0))
        .does(|world| world.write(0, LINES))
        .rests()
        .dies()
        .starts()
        .does(|world| world.truncate_copied(0))
        .holds();
}

/// Seed 47157.
#[test]
fn an_archive_of_a_banner_does_not_make_one_of_new_lines_old() {
    let mut history = history(Config::Literal, Births::Coarse, Inodes::Never);
    let program = &mut history.world.get_mut().programs[0];
    (program.method, program.compresses, program.banner) = (Method::Copy, Some(false), 1);
    history
        .starts()
        .does(|world| world.write(0, LINES))
        .rests()
        .does(|world| world.rotate(0, AT_ONCE))
        .does(|world| world.rotate(0, AT_ONCE))
        .does(|world| world.write(0, LINES))
        .rests()
        .does(|world| world.delete(0))
        .dies()
        .does(|world| world.write(0, LINES))
        .does(|world| (0..4).for_each(|_| world.rotate(0, AT_ONCE)))
        .does(|world| world.delete(0))
        .starts()
        .holds();
}

/// Seed 47447.
#[test]
fn a_banner_claims_no_archive_of_a_file_that_was_edited_and_is_still_open() {
    let mut history = history(Config::Literal, Births::Missing, Inodes::Never);
    let program = &mut history.world.get_mut().programs[0];
    (program.compresses, program.banner) = (Some(false), 60);
    (program.fixed, program.filler) = (false, 10);
    history
        .starts()
        .does(|world| world.write(0, LINES))
        .looks()
        .does(|world| world.rotate(0, AT_ONCE))
        .looks()
        .does(|world| world.rotate(0, AT_ONCE))
        .looks()
        .does(|world| world.write(0, 1))
        .looks()
        .does(|world| world.edit(0, 6))
        .does(|world| world.write(0, LINES))
        .does(|world| world.rotate(0, AT_ONCE))
        .holds();
}

/// Seed 53540.
#[test]
fn a_log_that_is_moved_away_claims_no_copy_of_a_banner() {
    let mut history = history(Config::GlobWithRotated, Births::Coarse, Inodes::Lowest);
    let program = &mut history.world.get_mut().programs[0];
    (program.method, program.naming, program.banner) = (Method::Copy, Naming::Date, 1);
    history
        .starts()
        .does(|world| world.write(0, LINES))
        .does(|world| world.rotate(0, AT_ONCE))
        .does(|world| world.rotate(0, AT_ONCE))
        .rests()
        // The older one
        .does(|world| world.move_away(0, 0))
        .looks();
    let agent = history.agent.as_mut().unwrap();
    agent.close_all(&history.world);
    history.looks().does(World::move_back).holds();
}

/// Seed 173953: nobody can tell whose it is.
#[test]
fn an_archive_in_the_inode_of_a_banner_is_no_file_that_was_seen() {
    let mut history = history(Config::GlobWithRotated, Births::Missing, Inodes::LastFreed);
    let program = &mut history.world.get_mut().programs[0];
    (program.method, program.naming, program.banner) = (Method::Copy, Naming::Date, 1);
    history
        .does(|world| world.write(0, LINES))
        .does(|world| world.truncate(0, "is truncated"))
        .starts()
        .does(|world| world.write(0, LINES))
        .does(|world| world.rotate(0, AT_ONCE))
        .does(|world| world.delete(0))
        .does(|world| world.write(0, LINES))
        .dies()
        .does(|world| world.compress("app.log-20260101"))
        .does(|world| world.rotate(0, AT_ONCE))
        .starts()
        .holds();
}

/// Seed 239626.
#[test]
fn a_log_that_is_moved_away_is_not_edited_into_the_banner_of_another() {
    let mut history = history(Config::GlobWithRotated, Births::Equal, Inodes::LastFreed);
    let program = &mut history.world.get_mut().programs[0];
    (program.banner, program.filler) = (60, 900);
    history
        .starts()
        .does(|world| world.write(0, 7))
        .rests()
        .does(|world| world.rotate(0, AT_ONCE))
        .does(|world| world.rotate(0, AT_ONCE))
        .does(|world| world.delete(0))
        .rests()
        // app.log.2
        .does(|world| world.move_away(0, 1))
        .rests()
        .does(World::move_back)
        .holds();
}

/// Seed 294713.
#[test]
fn an_edited_log_that_is_compressed_while_another_file_can_not_be_read_is_read_on_from_the_edit() {
    let mut history = history(Config::Literal, Births::Exact, Inodes::Lowest);
    let program = &mut history.world.get_mut().programs[0];
    (program.naming, program.compresses) = (Naming::Date, Some(false));
    history
        .starts()
        .does(|world| world.write(0, LINES))
        .looks()
        .does(|world| world.rotate(0, AT_ONCE))
        .rests()
        .does(|world| {
            let archive = "app.log-20260101.gz".to_owned();
            world
                .faults
                .push((Fault::Stat(archive, super::libc_errno::EIO), 2));
        })
        .does(|world| world.write(0, LINES))
        .looks();
    history.pump(1 << 16);
    history
        // The last line
        .does(|world| world.edit(0, 6))
        .does(|world| world.rotate(0, AT_ONCE))
        .looks()
        .holds();
}

/// Seeds 16095 and 17878, whose deaths lose records.
#[test]
fn one_number_is_not_given_to_two_texts_after_the_same_banner() {
    let mut history = history(Config::Literal, Births::Coarse, Inodes::LastFreed);
    history.does(|world| world.programs[0].banner = 60);
    history
        .does(|world| world.write_half(0, 0))
        .starts()
        .does(|world| world.write(0, LINES));
    history.pump(1 << 16);
    history
        .dies()
        .does(|world| world.truncate(0, "is truncated"))
        .does(|world| world.write(0, LINES))
        .starts()
        .holds();
}

/// Seeds 5876 and 14394, whose deaths lose what is not written down.
#[test]
fn a_log_that_came_and_went_while_a_file_can_not_be_read_comes_after_a_restart() {
    let mut history = history(Config::Literal, Births::Exact, Inodes::LastFreed);
    history
        .starts()
        .does(|world| world.write(0, LINES))
        .rests()
        .does(|world| world.rotate(0, AT_ONCE))
        // app.log.20250101
        .does(|world| world.stranger(5))
        .rests()
        .does(|world| world.delete(0))
        .does(|world| world.write(0, LINES))
        .does(|world| world.rotate(0, AT_ONCE))
        .does(|world| world.write(0, LINES))
        .does(|world| {
            let stranger = "app.log.20250101".to_owned();
            let fault = Fault::Stat(stranger, super::libc_errno::EIO);
            world.faults.push((fault, 1));
        })
        .looks();
    // It is written down before anything is sent
    history.pump(1 << 16);
    history.dies().starts().holds();
}

/// Seed 26579.
#[test]
fn an_old_line_that_could_be_nowhere_is_not_sent_after_a_restart() {
    let mut history = history(Config::Literal, Births::Missing, Inodes::Never);
    history.does(|world| world.programs[0].method = Method::Copy);
    history
        // A single line
        .does(|world| world.write(0, 0))
        .starts()
        .does(|world| world.rotate(0, AT_ONCE))
        .does(|world| (0..4).for_each(|_| world.write(0, LINES)))
        .does(|world| {
            let copy = "app.log.1".to_owned();
            let fault = Fault::Stat(copy, super::libc_errno::EIO);
            world.faults.push((fault, 1));
        })
        .looks();
    history.pump(1 << 16);
    history
        .does(|world| world.rotate(0, AT_ONCE))
        .dies()
        .starts()
        .holds();
}

/// Seed 35214.
#[test]
fn a_log_that_began_as_the_next_one_does_comes_after_a_restart() {
    let mut history = history(Config::Literal, Births::Missing, Inodes::Lowest);
    let program = &mut history.world.get_mut().programs[0];
    (program.method, program.naming, program.banner) = (Method::Copy, Naming::Date, 60);
    history
        .does(|world| world.write(0, LINES))
        .starts()
        .does(|world| world.rotate(0, AT_ONCE))
        .looks()
        .does(|world| world.write(0, LINES))
        .does(|world| world.rotate(0, AT_ONCE))
        .does(|world| world.write(0, 2 * LINES));
    history.pump(1 << 16);
    history.dies().starts().holds();
}

/// Seed 77037.
#[test]
fn numbers_of_a_text_that_waited_for_the_disk_are_not_given_twice() {
    let mut history = history(Config::Literal, Births::Missing, Inodes::Never);
    history.starts().does(|world| world.write(0, LINES)).looks();
    let is_full = (Fault::Write(super::libc_errno::ENOSPC), 1);
    history.does(|world| world.faults.push(is_full));
    // Nothing is sent
    history.pump(1 << 16);
    history.looks().checkpoint(0);
    history.pump(1 << 16);
    history
        // The last line
        .does(|world| world.edit(0, 6))
        .dies()
        .starts()
        .holds();
}

/// Seed 13827.
#[test]
fn lines_that_two_glances_saw_at_a_banner_are_seen_by_the_next_look() {
    let mut history = history(Config::Literal, Births::Equal, Inodes::LastFreed);
    let program = &mut history.world.get_mut().programs[0];
    (program.method, program.banner) = (Method::Copy, 1);
    history
        .does(|world| _ = world.current(0))
        .starts()
        .does(|world| world.write(0, LINES));
    history.glance(0);
    history.glance(0);
    history
        .looks()
        .does(|world| world.rotate(0, AT_ONCE))
        .does(|world| world.write(0, LINES));
    history.pump(1 << 16);
    history.holds();
}

/// Seeds 39940 and 83918, whose deaths lose the last records of a look.
#[test]
fn a_log_that_came_and_went_unseen_comes_although_half_of_a_look_was_written_down() {
    for kept in 0..10 {
        let mut history = history(Config::Literal, Births::Missing, Inodes::Lowest);
        history.does(|world| world.programs[0].method = Method::Copy);
        history
            .starts()
            .does(|world| world.write(0, LINES))
            .rests()
            .does(|world| world.rotate(0, AT_ONCE))
            .does(|world| world.write(0, LINES))
            .rests()
            .does(|world| world.rotate(0, AT_ONCE))
            .does(|world| world.write(0, LINES))
            .does(|world| world.rotate(0, AT_ONCE))
            .does(|world| world.write(0, LINES))
            .looks()
            .checkpoint(0);
        // Leaves the first `kept` of the records that are not synced
        history.kill(8 * kept);
        history.starts().holds();
    }
}

/// Seed 111353.
#[test]
fn a_banner_that_a_glance_finds_again_hides_no_log_that_came_between() {
    let mut history = history(Config::Literal, Births::Equal, Inodes::Lowest);
    let program = &mut history.world.get_mut().programs[0];
    (program.method, program.naming, program.banner) = (Method::Copy, Naming::Date, 60);
    history
        .does(|world| world.write(0, LINES))
        .starts()
        .does(|world| world.rotate(0, AT_ONCE))
        .looks()
        .does(|world| world.write(0, LINES))
        // Without its banner
        .does(|world| world.rewrite(0, 5))
        .does(|world| world.rotate(0, AT_ONCE));
    history.glance(0);
    history.holds();
}

/// The block before the position is the same in both texts.
#[test]
fn a_log_that_is_written_anew_with_another_first_line_is_told_by_its_head() {
    let wrong = |mutant| {
        let mut history = history(Config::Literal, Births::Exact, Inodes::Never);
        let text = |world: &mut World| {
            world.write(0, LINES);
            world.programs[0].banner = 60;
            let ino = world.current(0);
            world.banner(0, ino);
            world.programs[0].banner = 0;
        };
        history.starts().does(text).rests();
        mutants::set(mutant);
        history
            .does(|world| world.truncate(0, "is truncated"))
            .does(text)
            .does(|world| world.write(0, LINES));
        history.glance(0);
        history.pump(1 << 16);
        history.finish();
        mutants::set(None);
        history.verdict()
    };
    assert_eq!(wrong(None), None);
    assert!(wrong(Some(Mutant::HeadUnchecked)).is_some());
}

/// Seed 1197.
#[test]
fn an_excluded_file_with_the_inode_and_the_banner_of_a_closed_log_is_not_sent() {
    let mut history = history(Config::Glob, Births::Missing, Inodes::LastFreed);
    history.does(|world| world.programs[0].banner = SEVERAL);
    history
        .does(|world| world.write_half(0, 0))
        .starts()
        .does(|world| world.write(0, LINES))
        .does(|world| world.delete(0))
        .does(|world| world.write(0, LINES));
    let agent = history.agent.as_mut().unwrap();
    agent.close_all(&history.world);
    history
        .does(|world| {
            let ino = world.create("secret.log");
            world.banner(0, ino);
            let (id, line) = world.line(0, 0);
            world.excuse(id, "nobody configured it");
            world.append(ino, format!("{line}\n").as_bytes(), &[id]);
        })
        .holds();
}

/// Seed 1313.
#[test]
fn a_log_that_is_moved_away_is_not_edited_into_the_next_one_with_the_same_banner() {
    let mut history = history(Config::Literal, Births::Exact, Inodes::Lowest);
    let program = &mut history.world.get_mut().programs[0];
    (program.naming, program.banner, program.filler) = (Naming::Date, SEVERAL, 900);
    history
        .does(|world| world.write(0, 2))
        .starts()
        .does(|world| world.rotate(0, 0))
        .dies()
        .does(|world| world.move_away(0, 0))
        .does(|world| world.write(0, LINES))
        .does(|world| world.write_late(0, 0))
        .starts()
        .does(World::move_back)
        .holds();
}

/// Seed 1532.
#[test]
fn one_number_is_not_given_to_two_texts_after_the_same_banner_of_several_lines() {
    let mut history = history(Config::Literal, Births::Equal, Inodes::Never);
    history.does(|world| world.programs[0].banner = SEVERAL);
    history
        .does(|world| world.write_half(0, 0))
        .starts()
        .does(|world| world.write(0, LINES));
    history.pump(1 << 16);
    history
        .dies()
        .does(|world| world.rotate(0, 0))
        .does(|world| world.compress("app.log.1"))
        .does(|world| world.write(0, LINES))
        .starts()
        .holds();
}

/// Seed 7345.
#[test]
fn a_banner_of_several_lines_hides_no_log_that_came_between() {
    let mut history = history(Config::Literal, Births::Equal, Inodes::Lowest);
    let program = &mut history.world.get_mut().programs[0];
    (program.compresses, program.banner) = (Some(false), SEVERAL);
    history
        .starts()
        .does(|world| world.write(0, LINES))
        .rests()
        .does(|world| world.rotate(0, AT_ONCE))
        .rests()
        // Without its banner
        .does(|world| world.rewrite(0, 0))
        .does(|world| world.write(0, LINES))
        .does(|world| world.rotate(0, AT_ONCE))
        .holds();
}

/// Seed 15824.
#[test]
fn a_log_that_is_moved_away_is_not_edited_into_a_banner_of_several_lines() {
    let mut history = history(Config::GlobWithRotated, Births::Coarse, Inodes::LastFreed);
    let program = &mut history.world.get_mut().programs[0];
    (program.method, program.banner, program.filler) = (Method::Copy, SEVERAL, 900);
    history
        .does(|world| world.write(0, LINES))
        .starts()
        .does(|world| world.rotate(0, AT_ONCE))
        .does(|world| world.rotate(0, AT_ONCE))
        .does(|world| world.write(0, LINES))
        .does(|world| world.rotate(0, AT_ONCE))
        .rests()
        // app.log.1
        .does(|world| world.move_away(0, 0))
        .rests()
        .looks()
        .does(World::move_back)
        .holds();
}

/// Seed 97361.
#[test]
fn a_copy_of_a_few_lines_is_the_log_that_grew_and_was_truncated() {
    let mut history = history(Config::Literal, Births::Exact, Inodes::Never);
    let program = &mut history.world.get_mut().programs[0];
    (program.method, program.filler) = (Method::Copy, 10);
    history
        .starts()
        .does(|world| world.write(0, 3))
        .looks()
        .does(|world| world.rotate(0, 0))
        .does(|world| world.write(0, 3))
        .does(|world| world.truncate(0, "is truncated"));
    history.reload(0);
    history.holds();
}

/// Seeds 223425 and 294828.
#[test]
fn a_line_that_is_edited_into_a_new_file_comes_though_its_place_was_sent_before_a_death() {
    let mut history = history(Config::Literal, Births::Exact, Inodes::Lowest);
    history.does(|world| world.programs[0].filler = 900);
    history.starts().does(|world| world.write(0, 6)).rests();
    history.does(|world| world.write(0, 0));
    history.glance(0);
    history.pump(1 << 16);
    history
        // The last line, into a new file
        .does(|world| world.edit(0, 15))
        .kill(0);
    history.starts().holds();
}

/// Seed 42358: as before, and the new file is rotated away before the next start.
#[test]
fn a_line_that_is_edited_into_a_file_that_is_rotated_comes_though_its_place_was_sent() {
    let mut history = history(Config::Literal, Births::Exact, Inodes::Lowest);
    history.does(|world| world.programs[0].filler = 900);
    history.starts().does(|world| world.write(0, 6)).rests();
    history.does(|world| world.write(0, 0));
    history.glance(0);
    history.pump(1 << 16);
    history
        .does(|world| world.edit(0, 15))
        .does(|world| world.rotate(0, 0))
        .kill(0);
    history.starts().holds();
}

/// Seed 154786: nobody can tell of which text one line is the copy.
#[test]
fn a_copy_of_one_line_may_come_again_once_its_original_has_grown_and_gone() {
    let mut history = history(Config::Literal, Births::Missing, Inodes::LastFreed);
    let program = &mut history.world.get_mut().programs[0];
    (program.method, program.naming) = (Method::Copy, Naming::DateInside);
    history
        .starts()
        .does(|world| world.write(0, 0))
        .does(|world| world.rotate(0, 0))
        .dies()
        .does(|world| world.write(0, LINES))
        .starts();
    history.pump(1 << 16);
    history.does(|world| world.truncate_copied(0)).holds();
}

/// Seed 122049.
#[test]
fn a_log_that_is_moved_away_is_not_shortened_to_the_only_banner_in_sight() {
    let mut history = history(Config::Literal, Births::Missing, Inodes::LastFreed);
    history.does(|world| world.programs[0].banner = SEVERAL);
    history
        .does(|world| world.write(0, LINES))
        .starts()
        .does(|world| world.write(0, LINES))
        .does(|world| world.rotate(0, AT_ONCE))
        .does(|world| world.move_away(0, 0))
        .dies()
        .does(|world| world.rotate(0, 0))
        .starts()
        .does(World::move_back)
        .holds();
}

/// Seed 100430.
#[test]
fn a_banner_with_the_inode_and_the_name_of_the_one_before_hides_no_log_that_came_between() {
    let mut history = history(Config::Literal, Births::Missing, Inodes::LastFreed);
    let program = &mut history.world.get_mut().programs[0];
    (program.compresses, program.banner, program.keep) = (Some(true), SEVERAL, 2);
    history
        .does(|world| world.write(0, LINES))
        .does(|world| world.rewrite(0, 0))
        .starts()
        .does(|world| world.write(0, LINES))
        .rests()
        .dies()
        .does(|world| world.rotate(0, AT_ONCE))
        .does(|world| world.rotate(0, 0))
        .starts()
        .does(|world| world.write(0, LINES))
        .does(|world| world.rotate(0, AT_ONCE))
        .does(|world| world.rotate(0, 0))
        .holds();
}

/// Seed 146388.
#[test]
fn a_banner_that_was_read_on_before_it_was_compared_hides_no_copy_of_lines() {
    let mut history = history(Config::Literal, Births::Missing, Inodes::Lowest);
    let program = &mut history.world.get_mut().programs[0];
    (program.method, program.banner) = (Method::Copy, SEVERAL);
    history
        .starts()
        .does(|world| world.write(0, LINES))
        .rests()
        .does(|world| world.rotate(0, AT_ONCE))
        .does(|world| world.rotate(0, AT_ONCE))
        .dies()
        .starts()
        .does(|world| world.write(0, LINES))
        .does(|world| world.rotate(0, AT_ONCE))
        .does(|world| (0..4).for_each(|_| world.write(0, LINES)));
    history.pump(1 << 16);
    history.holds();
}

/// Seed 220545.
#[test]
fn a_copy_of_another_logs_banner_in_the_same_inode_is_not_taken_for_an_archive() {
    let mut history = history(Config::TwoLiterals, Births::Missing, Inodes::LastFreed);
    let world = history.world.get_mut();
    let mut other = world.programs[0].clone();
    (other.path, other.method, other.banner) = ("app-1.log", Method::Copy, SEVERAL);
    world.programs[0].banner = SEVERAL;
    world.programs.push(other);
    history
        .does(|world| world.write(1, LINES))
        .does(|world| world.rotate(1, AT_ONCE))
        .does(|world| world.rotate(1, AT_ONCE))
        .does(|world| world.write(0, LINES))
        .starts()
        .does(|world| world.rotate(0, AT_ONCE))
        .does(|world| world.write(0, LINES))
        .does(|world| world.rotate(0, AT_ONCE))
        .rests()
        .does(|world| world.compress("app-1.log.1"))
        .does(|world| world.compress("app.log.1"))
        .does(|world| {
            let copy = "app-1.log.2".to_owned();
            let fault = Fault::Open(copy, super::libc_errno::EMFILE);
            world.faults.push((fault, 1));
        })
        .looks()
        .holds();
}

/// Seed 232528.
#[test]
fn a_log_that_is_moved_away_is_not_shortened_to_the_copy_of_its_banner() {
    let mut history = history(Config::Literal, Births::Exact, Inodes::LastFreed);
    let program = &mut history.world.get_mut().programs[0];
    (program.method, program.banner) = (Method::Copy, SEVERAL);
    history
        .starts()
        .does(|world| world.write(0, LINES))
        .looks()
        .does(|world| world.rotate(0, AT_ONCE))
        .does(|world| world.move_away(0, 0))
        .dies()
        .does(|world| world.rotate(0, AT_ONCE))
        .does(|world| world.rewrite(0, 0))
        .starts()
        .does(World::move_back)
        .holds();
}

/// Seed 2012.
#[test]
fn a_copy_of_a_banner_under_a_newer_name_hides_no_log_that_came_between() {
    let mut history = history(Config::Literal, Births::Exact, Inodes::Lowest);
    let program = &mut history.world.get_mut().programs[0];
    (program.naming, program.banner) = (Naming::Date, SEVERAL);
    history
        .does(|world| _ = world.current(0))
        .starts()
        .does(|world| world.write(0, LINES))
        .does(|world| world.rotate(0, AT_ONCE))
        .does(|world| world.write(0, LINES))
        .does(|world| world.rotate(0, AT_ONCE))
        .does(|world| world.rotate(0, AT_ONCE))
        .holds();
}

/// Seed 46066.
#[test]
fn a_copy_of_a_banner_that_is_a_log_of_its_own_claims_no_archive_of_another_log() {
    let mut history = history(Config::GlobWithRotated, Births::Equal, Inodes::Never);
    let program = &mut history.world.get_mut().programs[0];
    (program.method, program.naming, program.banner) = (Method::Copy, Naming::Date, SEVERAL);
    (program.compresses, program.keep) = (Some(true), 2);
    history
        .starts()
        .does(|world| _ = world.current(0))
        .does(|world| world.rotate(0, AT_ONCE))
        .does(|world| world.delete(0))
        .looks()
        .does(|world| world.write(0, LINES))
        .does(|world| world.rotate(0, AT_ONCE))
        .does(|world| world.rotate(0, AT_ONCE))
        .holds();
}

/// Seed 786452.
#[test]
fn a_log_that_its_link_left_while_it_grew_is_not_taken_for_the_next_one_with_its_banner() {
    let mut history = history(Config::Link, Births::Exact, Inodes::Lowest);
    let program = &mut history.world.get_mut().programs[0];
    (program.path, program.banner) = ("cur.log", SEVERAL);
    let hidden = Fault::Stat("run-3.txt".to_owned(), 24);
    history
        .starts()
        .does(|world| world.switch(0, 3))
        .looks()
        .does(|world| world.write(0, LINES))
        .does(|world| world.switch(0, 1))
        .does(|world| world.write(0, LINES))
        .does(|world| world.write(0, LINES))
        .does(|world| world.faults.push((hidden, 1)))
        .looks()
        .holds();
}

/// Seed 844973.
#[test]
fn a_strange_file_in_the_inode_of_a_banner_is_not_that_log() {
    let mut history = history(Config::Link, Births::Equal, Inodes::LastFreed);
    let programs = &mut history.world.get_mut().programs;
    programs[0].banner = 1;
    programs.push(programs[0].clone());
    programs[1].path = "cur.log";
    history
        .starts()
        .does(|world| _ = world.current(0))
        .looks()
        .rests()
        .dies()
        .does(|world| world.delete(0))
        .does(|world| world.switch(1, 4))
        .does(|world| world.switch(1, 2))
        .starts()
        .does(|world| world.switch(1, 4))
        .does(|world| world.write(1, LINES))
        .holds();
}
