//! Completions and manual pages, made from the definition of the command line.

use clap::CommandFactory;

use crate::args::{Arguments, CompletionsArguments, ManArguments};
use crate::exit::{Exit, Failure};
use crate::terminal::Terminal;

pub(crate) fn completions(
    arguments: &CompletionsArguments,
    terminal: Terminal,
) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut Arguments::command(),
        "statline",
        &mut script,
    );
    terminal.print(&script)?;
    Ok(Exit::Complete)
}

pub(crate) fn man(arguments: &ManArguments, terminal: Terminal) -> Result<Exit, Failure> {
    // Global arguments reach the subcommands only when the command is built.
    let mut command = Arguments::command();
    command.build();
    if let Some(name) = &arguments.command {
        let Some(found) = command.find_subcommand(name) else {
            let known: Vec<&str> = command
                .get_subcommands()
                .map(clap::Command::get_name)
                .collect();
            return Err(Failure::usage(format!(
                "no command is called {name}; there are {}",
                known.join(", ")
            )));
        };
        command = found.clone();
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command)
        .render(&mut page)
        .map_err(|error| Failure::failed(format!("cannot write the manual: {error}")))?;
    terminal.print(&page)?;
    Ok(Exit::Complete)
}
