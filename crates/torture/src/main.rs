//! The torture suite as a program. See `lib.rs`.

use std::process::ExitCode;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    statline_torture::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("the suite makes mounts, limits and faults as Linux has them; it runs nowhere else");
    ExitCode::FAILURE
}
