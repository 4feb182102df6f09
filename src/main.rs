//! The `pvectl` command: hands the process's arguments and environment to the library and returns its exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    pvectl::cli::main(std::env::args_os(), pvectl::config::Env::from_process())
}
