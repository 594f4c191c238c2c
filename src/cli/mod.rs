//! Command line.
/// Runs the command of the process arguments; the exit code.
pub fn main() -> i32 {
    0
}
