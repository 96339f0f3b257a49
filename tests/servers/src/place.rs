//! Where servers keep downloads and data: `servers/` in the target directory, which git ignores and `cargo clean` removes.

use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::ServerError;

/// Tells something to whoever runs the tests: also of a test that passes, whose `eprintln!` would be kept from them.
pub(crate) fn tell(line: &str) {
    let _ = writeln!(io::stderr(), "watermill-servers: {line}");
}

/// The top of the repository.
pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new(".")).to_owned()
}

/// The directory of servers.
pub(crate) fn servers() -> Result<PathBuf, ServerError> {
    let directory = target().join("servers");
    create(&directory)?;
    Ok(directory)
}

/// The target directory that this program was built in, however it was told to cargo: cargo marks it with a file.
fn target() -> PathBuf {
    let program = env::current_exe().unwrap_or_default();
    if let Some(marked) = program.ancestors().find(|above| above.join("CACHEDIR.TAG").is_file()) {
        return marked.to_owned();
    }
    // Documentation tests are built elsewhere.
    let told = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    told.unwrap_or_else(|| workspace().join("target"))
}

/// Makes a directory, with those above it.
pub(crate) fn create(directory: &Path) -> Result<(), ServerError> {
    fs::create_dir_all(directory).map_err(ServerError::io(format!("create {}", directory.display())))
}

/// Writes a file.
pub(crate) fn write(file: &Path, text: &str) -> Result<(), ServerError> {
    fs::write(file, text).map_err(ServerError::io(format!("write {}", file.display())))
}

/// A lock between processes, that the system takes back from one that is killed.
pub(crate) struct Lock {
    /// Kept open: closing it opens the lock.
    _file: File,
}

impl Lock {
    /// Waits until no other process, and no other thread, has the lock of that name.
    pub(crate) fn take(name: &str) -> Result<Self, ServerError> {
        let path = servers()?.join(format!("{name}.lock"));
        let file = File::create(&path).map_err(ServerError::io(format!("create {}", path.display())))?;
        file.lock().map_err(ServerError::io(format!("lock {}", path.display())))?;
        Ok(Self { _file: file })
    }
}

/// A new directory for what a server writes. Whoever starts the server has it removed with the server's end.
pub(crate) fn fresh_directory(name: &str) -> Result<PathBuf, ServerError> {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let all = servers()?.join("data");
    create(&all)?;
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory = all.join(format!("{name}-{}-{number}", process::id()));
        match fs::create_dir(&directory) {
            Ok(()) => return Ok(directory),
            // Left by a process of the same number, long ago.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(ServerError::io(format!("create {}", directory.display()))(error)),
        }
    }
}

/// Removes a directory with all that is in it. What cannot be removed stays, until the target directory is removed.
pub(crate) fn remove(directory: &Path) {
    let _ = fs::remove_dir_all(directory);
}

/// A directory that is made once and then used by all later runs: that of this name, made from this. The mark is written last, so that what
/// was cut off, or was made from something else, is made anew.
pub(crate) fn once(
    name: &str,
    made_from: &str,
    make: impl FnOnce(&Path) -> Result<(), ServerError>,
) -> Result<PathBuf, ServerError> {
    let directory = servers()?.join(name);
    let mark = directory.join("complete");
    let is_there = || fs::read_to_string(&mark).is_ok_and(|known| known == made_from);
    if is_there() {
        return Ok(directory);
    }
    let _lock = Lock::take(name)?;
    // Another process may have made it while this one waited.
    if !is_there() {
        remove(&directory);
        create(&directory)?;
        make(&directory)?;
        write(&mark, made_from)?;
    }
    Ok(directory)
}
