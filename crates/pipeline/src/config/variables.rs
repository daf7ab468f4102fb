//! `${VAR}` in the strings of a job.
//!
//! Variables go in after parsing and in string values only, so that a value can't add a key, end a
//! string or comment something out.
//!
//! What must stay true: the library reads no environment of its own; whoever loads the job hands
//! one in.

use std::ffi::OsString;

use super::bounds::{LARGEST, LONGEST, too_long};
use super::location::{Location, Origin};
use super::problem::Problem;
use super::problems;
use super::tree::{Node, Value};

/// Where the variables of a job come from: `&|name| std::env::var_os(name)` in a binary.
pub type Environment<'a> = dyn Fn(&str) -> Option<OsString> + 'a;

/// Puts the variables into every string of the tree, and reports what can't be.
///
/// The forms are those of the shell: `${VAR}`, `${VAR:-default}` and `${VAR:?message}`; the last
/// two also take an empty variable for an unset one. `$${` stands for `${`, and any other `$` for
/// itself. A value is not searched for variables, and together they are held to the size of a job.
pub(super) fn substitute(
    root: &mut Node,
    text: &str,
    environment: &Environment<'_>,
    problems: &mut Vec<Problem>,
) {
    let mut room = Room(LARGEST as usize);
    let mut is_full = false;
    root.each_string(&mut String::new(), &mut |node, path| {
        let Value::String(string) = &node.value else {
            return;
        };
        if !string.contains("${") {
            return;
        }
        if is_full {
            node.value = Value::Broken;
            return;
        }
        match expand(string, environment, &mut room) {
            Ok((expanded, substituted)) => {
                node.value = Value::String(expanded);
                node.substituted = substituted;
            }
            Err(fault) => {
                node.value = Value::Broken;
                let origin = narrow(&node.origin, text, &fault.expression);
                let location = Location::with_origin(path.to_owned(), origin);
                problems.push(Problem::error(location, fault.message).maybe_help(fault.help));
                // Nobody is told of more.
                is_full = room.0 == 0 || problems.len() > problems::MOST;
            }
        }
    });
}

/// The bytes that variables may still add to a job.
struct Room(usize);

/// The part of a string's span that holds `expression`, where the text spells it so; else the
/// whole.
fn narrow(origin: &Origin, text: &str, expression: &str) -> Origin {
    let Origin::Text(span) = origin else {
        return origin.clone();
    };
    let found = text
        .get(span.clone())
        .and_then(|written| written.find(expression));
    match found {
        Some(at) => Origin::Text(span.start + at..span.start + at + expression.len()),
        None => origin.clone(),
    }
}

/// Why a variable can't be put in.
#[derive(Debug)]
struct Fault {
    /// From `${` to `}`.
    expression: String,
    message: String,
    help: Option<String>,
}

/// The string with its variables put in, and whether there were any.
fn expand(
    mut rest: &str,
    environment: &Environment<'_>,
    room: &mut Room,
) -> Result<(String, bool), Fault> {
    let mut out = String::with_capacity(rest.len());
    let mut substituted = false;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            out.push_str(&rest[..at]);
            out.push('{');
            rest = &rest[at + 2..];
            continue;
        }
        out.push_str(&rest[..at]);
        let Some(end) = rest[at..].find('}') else {
            let message = "this `${` has no closing `}`";
            return Err(Fault {
                expression: rest[at..].to_owned(),
                message: message.to_owned(),
                help: Some("write `$${` for a `${` that is no variable".to_owned()),
            });
        };
        let expression = &rest[at..=at + end];
        let value = value_of(expression, environment)?;
        let too_much = |message: String| Fault {
            expression: expression.to_owned(),
            message,
            help: None,
        };
        if out.len() + value.len() > LONGEST {
            return Err(too_much(too_long("with its variables this string")));
        }
        room.0 = room.0.saturating_sub(value.len());
        if room.0 == 0 {
            let message = "with its variables this job is larger than 1 MiB".to_owned();
            return Err(too_much(message));
        }
        out.push_str(&value);
        substituted = true;
        rest = &rest[at + end + 1..];
    }
    out.push_str(rest);
    Ok((out, substituted))
}

/// What `expression`, from `${` to `}`, stands for.
fn value_of(expression: &str, environment: &Environment<'_>) -> Result<String, Fault> {
    let fault = |message: String, help: Option<String>| Fault {
        expression: expression.to_owned(),
        message,
        help,
    };
    let inner = &expression[2..expression.len() - 1];
    let end = inner.find(|character: char| !character.is_ascii_alphanumeric() && character != '_');
    let (name, form) = inner.split_at(end.unwrap_or(inner.len()));
    let is_name = name.starts_with(|first: char| !first.is_ascii_digit());
    if !is_name || !(form.is_empty() || form.starts_with(":-") || form.starts_with(":?")) {
        let message = format!("{expression:?} is not a variable");
        let help = "the forms are `${VAR}`, `${VAR:-default}` and `${VAR:?message}`; `$${` stands for `${` itself";
        return Err(fault(message, Some(help.to_owned())));
    }
    if form.contains("${") {
        let message = format!("the default of {name} holds another variable");
        return Err(fault(message, Some("a default is plain text".to_owned())));
    }
    let value = match environment(name).map(OsString::into_string) {
        Some(Ok(value)) => Some(value),
        Some(Err(_)) => return Err(fault(format!("the variable {name} is not UTF-8"), None)),
        None => None,
    };
    let or_empty = |value: Option<String>| value.filter(|value| !value.is_empty());
    match form.get(..2) {
        Some(":-") => Ok(or_empty(value).unwrap_or_else(|| form[2..].to_owned())),
        Some(":?") => or_empty(value).ok_or_else(|| match form[2..].trim() {
            "" => fault(
                format!("the variable {name} is unset or empty"),
                Some(format!("set {name}")),
            ),
            message => fault(message.to_owned(), Some(format!("set {name}"))),
        }),
        _ => value.ok_or_else(|| {
            let help = format!("set {name}, or write `${{{name}:-default}}`");
            fault(format!("the variable {name} is not set"), Some(help))
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use proptest::prelude::*;

    use super::{Environment, Fault, Room};

    fn expand(text: &str, environment: &Environment<'_>) -> Result<(String, bool), Fault> {
        super::expand(text, environment, &mut Room(1 << 20))
    }

    fn environment(name: &str) -> Option<OsString> {
        match name {
            "ROOT" => Some("/srv".into()),
            "EMPTY" => Some("".into()),
            _ => None,
        }
    }

    #[test]
    fn the_forms_are_those_of_the_shell() {
        let expanded = |text| expand(text, &environment).expect("all are well formed").0;
        assert_eq!(expanded("${ROOT}/data"), "/srv/data");
        assert_eq!(expanded("a${ROOT}${ROOT}b"), "a/srv/srvb");
        assert_eq!(expanded("${UNSET:-/tmp}"), "/tmp");
        assert_eq!(expanded("${EMPTY:-/tmp}"), "/tmp");
        assert_eq!(expanded("[${EMPTY}]"), "[]");
        assert_eq!(expanded("${UNSET:-}"), "");
        assert_eq!(expanded("${ROOT:?where}"), "/srv");
        assert_eq!(expanded("$${ROOT} $ROOT $$ $"), "${ROOT} $ROOT $$ $");
        assert_eq!(expanded("$${a} ${ROOT}"), "${a} /srv");
    }

    #[test]
    fn a_value_is_not_searched_for_variables() {
        let environment = |_: &str| Some(OsString::from("${ROOT}"));
        assert_eq!(
            expand("${X}", &environment).expect("is well formed").0,
            "${ROOT}"
        );
    }

    proptest! {
        #[test]
        fn no_text_panics(text in r"([${}:?A-Z-]|\PC){0,24}") {
            let _ = expand(&text, &environment);
        }

        #[test]
        fn a_text_without_variables_stays_as_it_is(text in r"[^{]{0,24}") {
            prop_assert_eq!(expand(&text, &environment).expect("nothing to expand").0, text);
        }
    }
}
