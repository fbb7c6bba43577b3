//! The `monai` program.

use clap::Parser as _;
use monai_node::cli::Cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    end_quietly_when_output_is_closed();
    let cli = Cli::parse();
    match monai_node::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("monai: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

/// `monai … | head` closes standard output early, on which the standard library's printing panics. That is no fault of
/// this program, so it ends without a word; a full disk behind `> file` is one, and gets its code.
fn end_quietly_when_output_is_closed() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.payload_as_str().unwrap_or_default();
        if text.starts_with("failed printing to stdout") {
            let closed = text.contains("Broken pipe");
            if !closed {
                eprintln!("monai: {text}");
            }
            std::process::exit(if closed { 0 } else { 5 });
        }
        report(panic);
    }));
}
