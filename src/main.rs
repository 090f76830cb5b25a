//! The `eva` program; everything is in the library.

fn main() {}
