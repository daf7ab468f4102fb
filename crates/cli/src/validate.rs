//! `validate`: all that is wrong with jobs, or in one line what they are.

use serde::Serialize;
use statline_pipeline::{Job, Problems};

use crate::args::{TextFormat, ValidateArguments};
use crate::escape::escaped_message;
use crate::exit::{Exit, Failure};
use crate::human::{self, Units};
use crate::load;
use crate::terminal::Terminal;

/// The version of the form of the findings as JSON.
const SCHEMA: u32 = 1;

/// The findings as JSON.
#[derive(Serialize)]
struct Findings {
    schema: u32,
    valid: bool,
    jobs: Vec<Finding>,
}

/// What was found out about one job.
#[derive(Serialize)]
struct Finding {
    file: String,
    valid: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stages: Option<usize>,
    /// What all channels hold at the most.
    #[serde(skip_serializing_if = "Option::is_none")]
    queue_bytes: Option<u64>,
    problems: Problems,
}

pub(crate) fn validate(arguments: &ValidateArguments, terminal: Terminal) -> Result<Exit, Failure> {
    let mut findings = Findings {
        schema: SCHEMA,
        valid: true,
        jobs: Vec::new(),
    };
    for path in &arguments.jobs {
        let (file, text) = load::text(path)?;
        let registry = load::registry();
        let parsed = Job::parse(
            &registry,
            &file,
            &text,
            &load::environment,
            &arguments.set.set,
        );
        findings.valid &= parsed.is_ok();
        if arguments.format == TextFormat::Text {
            match &parsed {
                Ok(job) => {
                    terminal.say(&job.warnings().render(terminal.colours_errors()));
                    terminal.print(verdict(&file, job).as_bytes())?;
                }
                Err(problems) => terminal.say(&problems.render(terminal.colours_errors())),
            }
        }
        findings.jobs.push(Finding::new(file, parsed));
    }
    if arguments.format == TextFormat::Json {
        terminal.print_json(&findings)?;
    }
    Ok(match findings.valid {
        true => Exit::Complete,
        false => Exit::Usage,
    })
}

impl Finding {
    fn new(file: String, parsed: Result<Job, Problems>) -> Finding {
        match parsed {
            Ok(job) => Finding {
                file,
                valid: true,
                name: Some(job.name().to_owned()),
                stages: Some(job.stages().count()),
                queue_bytes: Some(job.queue_bytes()),
                problems: job.warnings().clone(),
            },
            Err(problems) => Finding {
                file,
                valid: false,
                name: None,
                stages: None,
                queue_bytes: None,
                problems,
            },
        }
    }
}

fn verdict(file: &str, job: &Job) -> String {
    let stages: Vec<String> = job
        .stages()
        .map(|(name, kind)| match name == kind {
            true => name.to_owned(),
            false => format!("{name} ({kind})"),
        })
        .collect();
    format!(
        "{}: valid; {}: {}; its channels hold at most {}\n",
        escaped_message(file),
        human::counted(stages.len() as u64, "stage", "stages"),
        stages.join(", "),
        human::bytes(job.queue_bytes(), Units::Binary)
    )
}
