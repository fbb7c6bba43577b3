//! The `monai` program.

use clap::Parser as _;
use monai_node::cli::Cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match monai_node::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("monai: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
