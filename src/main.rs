//! The `scalyr-agent-2` program: argv in, exit code out. Everything else is in the library.

fn main() {
    std::process::exit(scalyr_agent_2::cli::main());
}
