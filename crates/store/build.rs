//! Lists the migrations: each folder of `migrations/` is one, named `NNNN_name`, with a text for each engine
//! and the lowest version of the program that may run on it.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs, io};

#[expect(clippy::disallowed_methods, reason = "Cargo names the folders of a build script there")]
fn main() -> io::Result<()> {
    let [package, out] = ["CARGO_MANIFEST_DIR", "OUT_DIR"].map(env::var);
    let folder = Path::new(&package.map_err(io::Error::other)?).join("../../migrations");
    println!("cargo:rerun-if-changed={}", folder.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            names.extend(entry.file_name().into_string());
        }
    }
    names.sort();

    let mut list = String::from("&[\n");
    let mut last = 0;
    for name in &names {
        let number = name.get(..4).and_then(|digits| digits.parse::<u32>().ok());
        let Some(number) = number.filter(|number| *number > last && name.get(4..5) == Some("_")) else {
            return Err(io::Error::other(format!("migrations/{name}: expected a number above {last:04}")));
        };
        last = number;
        let path = folder.join(name).display().to_string();
        let lowest = fs::read_to_string(format!("{path}/lowest-version"));
        let lowest =
            lowest.map_err(|why| io::Error::other(format!("migrations/{name}/lowest-version: {why}")))?;
        let is_number = |part: &str| part.parse::<u64>().is_ok();
        if lowest.trim().split('.').count() != 3 || !lowest.trim().split('.').all(is_number) {
            return Err(io::Error::other(format!("migrations/{name}/lowest-version: expected `1.2.3`")));
        }
        let _ = writeln!(
            list,
            "Migration {{ number: {number}, name: {name:?}, lowest: {:?}, postgres: include_str!({:?}), \
             sqlite: include_str!({:?}) }},",
            lowest.trim(),
            format!("{path}/postgres.sql"),
            format!("{path}/sqlite.sql"),
        );
    }
    list.push_str("]\n");

    fs::write(Path::new(&out.map_err(io::Error::other)?).join("migrations.rs"), list)
}
