//! `graph`: a job for other programs to draw.

use crate::args::{GraphArguments, GraphFormat};
use crate::exit::{Exit, Failure};
use crate::load;
use crate::terminal::Terminal;

pub(crate) fn graph(arguments: &GraphArguments, terminal: Terminal) -> Result<Exit, Failure> {
    let job = load::job(&arguments.job, &arguments.set.set)?;
    let text = match arguments.format {
        GraphFormat::Mermaid => job.mermaid(),
        GraphFormat::Dot => job.dot(),
    };
    terminal.print(text.as_bytes())?;
    Ok(Exit::Complete)
}
