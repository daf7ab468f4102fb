//! Completions and manual pages, made from the definition of the command line.

use clap::CommandFactory;

use crate::args::{Arguments, CompletionsArguments, EXAMPLES, ManArguments};
use crate::exit::{EXIT_STATUS, Exit, Failure};
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
    let runs = matches!(arguments.command.as_deref(), None | Some("scan" | "run"));
    let is_main = arguments.command.is_none();
    // Text that stands in columns gets sections of its own.
    let plain = command
        .after_help(None::<&str>)
        .after_long_help(None::<&str>);
    let has_commands = plain.has_subcommands();
    let man = clap_mangen::Man::new(plain).source(concat!("statline ", env!("CARGO_PKG_VERSION")));
    let mut page = Vec::new();
    man.render_title(&mut page)
        .and_then(|()| man.render_name_section(&mut page))
        .and_then(|()| man.render_synopsis_section(&mut page))
        .and_then(|()| man.render_description_section(&mut page))
        .and_then(|()| man.render_options_section(&mut page))
        .and_then(|()| match has_commands {
            true => man.render_subcommands_section(&mut page),
            false => Ok(()),
        })
        .map_err(|error| Failure::failed(format!("cannot write the manual: {error}")))?;
    if runs {
        section(&mut page, "EXIT STATUS", EXIT_STATUS);
    }
    if is_main {
        section(&mut page, "EXAMPLES", EXAMPLES);
    }
    terminal.print(&page)?;
    Ok(Exit::Complete)
}

/// A section of lines that stay as they are; the first, its heading in `--help`, goes.
fn section(page: &mut Vec<u8>, heading: &str, text: &str) {
    page.extend_from_slice(format!(".SH \"{heading}\"\n.nf\n").as_bytes());
    for line in text.lines().skip(1) {
        // A backslash, a hyphen that is to be copied, a quote and a dot at the start of a line mean something to roff.
        let line = line
            .replace('\\', "\\e")
            .replace('-', "\\-")
            .replace('\'', "\\(aq");
        page.extend_from_slice(format!("\\&{line}\n").as_bytes());
    }
    page.extend_from_slice(b".fi\n");
}
