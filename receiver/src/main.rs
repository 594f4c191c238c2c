//! The `receiver` program: argv in, exit code out.

fn main() {
    let args: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect();
    std::process::exit(receiver::command::run(&args));
}
