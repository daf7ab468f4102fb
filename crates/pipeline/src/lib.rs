//! Stages on threads of their own, joined by bounded channels.
#![forbid(unsafe_code)]
