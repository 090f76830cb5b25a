//! The `eva` program; everything is in the library.

fn main() -> std::process::ExitCode {
    eva_voice::cli::main()
}
